//! A file open for reading.

use std::os::fd::BorrowedFd;

use types::content::chunk::Extent;
use types::content::crc64::Crc64;
use types::content::etag::{Etag, PartedEtag};
use types::entry::{Identity, Metadata, Xattrs};
use types::error::Result;
use types::lustre::layout::Layout;
use types::object::headers::ObjectHeaders;

use crate::seam_trait::seam_trait;

/// Checksums that a store has of the whole content of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checksums {
    /// CRC-64/NVME of the content.
    pub crc64: Option<Crc64>,
    /// SHA-256 of the content.
    pub sha256: Option<[u8; 32]>,
    /// Identifier of the content that may be an MD5: if it is the MD5 of some bytes, they are the
    /// content; if not, nothing is known.
    pub etag: Option<Etag>,
}

/// Address of an object, for a service that copies objects itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectAddress {
    /// Identifier of the service and account.
    pub service: u64,
    /// Name of the bucket.
    pub bucket: String,
    /// Key of the object in the bucket.
    pub key: String,
    /// ETag of the content that the object had when it was opened.
    pub etag: String,
}

/// File of a server, for one that copies files itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFile {
    /// Identifier of the host.
    pub host: u64,
    /// Path on the host.
    pub path: Vec<u8>,
    /// Identity that the file had when it was opened.
    pub identity: Identity,
}

seam_trait! {
    /// A file open for reading.
    ///
    /// Provided methods are in groups: attributes that only some stores have; the way in which the
    /// kernel or a server reads; and properties of an object that a service knows.
    pub trait SourceFile, decorated by SourceFileDecorator, in tests SpyFile;

    required {
        /// Returns the current metadata.
        fn metadata(&self) -> Result<Metadata>;

        /// Reads at an offset; returns the number of bytes, which is 0 only at the end of the file.
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize>;
    }

    provided {
        // Attributes that only some stores have.

        /// Returns the extended attributes that copies preserve; `None` where the store has none.
        fn xattrs(&self) -> Result<Option<Xattrs>> {
            Ok(None)
        }

        /// Returns the striping of the file, where that is to be preserved and known.
        fn layout(&self) -> Option<&Layout> {
            None
        }

        // Ways in which content is read.

        /// Makes later reads come from the storage instead of the page cache, as far as the system
        /// allows: cached data of the file is written out and dropped first. Fails where the
        /// storage has not accepted the data.
        fn bypass_cache(&self) -> Result<()> {
            Ok(())
        }

        /// Returns the first range of data in an extent that is not in a hole; `None` where there
        /// is none. For a store without holes the whole extent is data.
        fn data_in(&self, extent: Extent) -> Result<Option<Extent>> {
            Ok(Some(extent))
        }

        /// Returns whether [`SourceFile::crc64_of`] costs less than reading.
        fn can_checksum(&self) -> bool {
            false
        }

        /// Computes the CRC-64/NVME of an extent where the file is stored; `None` where that is no
        /// cheaper than reading the extent. Fails with `Changed` where the file ends before the
        /// extent does.
        fn crc64_of(&self, extent: Extent) -> Result<Option<Crc64>> {
            Ok(None)
        }

        /// Returns the file descriptor, where there is one.
        fn as_fd(&self) -> Option<BorrowedFd<'_>> {
            None
        }

        /// Returns the path by which the server of the file opens it, if it has one.
        fn server_file(&self) -> Option<ServerFile> {
            None
        }

        // Properties of an object that a service knows.

        /// Returns the checksums that the store has of the whole content.
        fn checksums(&self) -> Checksums {
            Checksums::default()
        }

        /// Returns the ETag with the size of the parts whose MD5s it covers, for which a store may
        /// need a request; `None` where it covers no parts of one size.
        fn parted_etag(&self) -> Result<Option<PartedEtag>> {
            Ok(None)
        }

        /// Returns whether all parts but the last have the size of the first one, as
        /// [`SourceFile::parted_etag`] assumes. This takes many requests, and is only for content
        /// that has turned out to have another ETag.
        fn has_equal_parts(&self, etag: &PartedEtag) -> Result<bool> {
            Ok(true)
        }

        /// Returns the headers that a service stores with the object, if the file is one.
        fn headers(&self) -> Option<&ObjectHeaders> {
            None
        }

        /// Returns the address of the object, if the file is one.
        fn address(&self) -> Option<ObjectAddress> {
            None
        }
    }
}

/// Shortcuts to [`Checksums`].
impl dyn SourceFile + '_ {
    /// Returns the CRC-64/NVME that the store has of the whole content.
    pub fn crc64(&self) -> Option<Crc64> {
        self.checksums().crc64
    }

    /// Returns the SHA-256 that the store has of the whole content.
    pub fn sha256(&self) -> Option<[u8; 32]> {
        self.checksums().sha256
    }

    /// Returns the identifier that the store has for the content, which may be an MD5.
    pub fn etag(&self) -> Option<Etag> {
        self.checksums().etag
    }
}
