//! A file open for reading.

use std::os::fd::BorrowedFd;

use types::content::chunk::Extent;
use types::content::crc64::Crc64;
use types::content::etag::{Etag, PartedEtag};
use types::entry::{Metadata, Xattrs};
use types::error::Result;
use types::lustre::layout::Layout;
use types::object::headers::ObjectHeaders;

use crate::seam_trait::seam_trait;

/// Checksums that a store keeps of a file's whole content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checksums {
    /// CRC-64/NVME of the content.
    pub crc64: Option<Crc64>,
    /// SHA-256 of the content.
    pub sha256: Option<[u8; 32]>,
    /// A name that the store has for the content, and that may be an MD5: where it is the one of some bytes, they
    /// are the content. Where it is not nothing is known.
    pub etag: Option<Etag>,
}

/// The location of an object, for a service that copies from one location to another itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectAddress {
    /// Tells services and accounts apart.
    pub service: u64,
    /// The bucket.
    pub bucket: String,
    /// The key in it.
    pub key: String,
    /// The content that it had when it was opened.
    pub etag: String,
}

seam_trait! {
    /// A file open for reading.
    ///
    /// Beyond the core there are: attributes that only some stores keep; how the kernel or a service reads; and what a
    /// service knows of an object.
    pub trait SourceFile, decorated by SourceFileDecorator, in tests SpyFile;

    required {
        /// Returns the attributes as they are now.
        fn metadata(&self) -> Result<Metadata>;

        /// Reads at an offset; returns how many bytes, 0 only at the end of the file.
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize>;
    }

    provided {
        // Attributes that only some stores keep.

        /// Returns the extended attributes that copies preserve; `None` where the store keeps none.
        fn xattrs(&self) -> Result<Option<Xattrs>> {
            Ok(None)
        }

        /// Returns how the file is striped, where that is to be preserved and known.
        fn layout(&self) -> Option<&Layout> {
            None
        }

        // How content is read.

        /// Makes reads from now on come from the storage, not from memory, as far as the system lets us: what is
        /// cached of the file is written out and dropped first. Fails where the storage has not taken that.
        fn bypass_cache(&self) -> Result<()> {
            Ok(())
        }

        /// Returns the first bytes in an extent that are not in a hole; `None` where there are none. A store that does
        /// not know of holes has none.
        fn data_in(&self, extent: Extent) -> Result<Option<Extent>> {
            Ok(Some(extent))
        }

        /// Returns the kernel's handle, where there is one.
        fn as_fd(&self) -> Option<BorrowedFd<'_>> {
            None
        }

        // What a service knows of an object.

        /// Returns the checksums that the store keeps of the whole content.
        fn checksums(&self) -> Checksums {
            Checksums::default()
        }

        /// Returns the etag with the size of the parts whose MD5s it stands for, for which a store may have to be
        /// asked; `None` where it stands for no parts of one size.
        fn parted_etag(&self) -> Result<Option<PartedEtag>> {
            Ok(None)
        }

        /// Returns whether all parts but the last are as large as the first one, as [`SourceFile::parted_etag`] takes
        /// it: many questions, for content that has come to another name.
        fn has_equal_parts(&self, etag: &PartedEtag) -> Result<bool> {
            Ok(true)
        }

        /// Returns what a service keeps with the object, where it is one.
        fn headers(&self) -> Option<&ObjectHeaders> {
            None
        }

        /// Returns where the object is, where it is one.
        fn address(&self) -> Option<ObjectAddress> {
            None
        }
    }
}

/// Questions that operations ask of [`Checksums`] often.
impl dyn SourceFile + '_ {
    /// Returns the CRC-64/NVME that the store keeps of the whole content.
    pub fn crc64(&self) -> Option<Crc64> {
        self.checksums().crc64
    }

    /// Returns the SHA-256 that the store keeps of the whole content.
    pub fn sha256(&self) -> Option<[u8; 32]> {
        self.checksums().sha256
    }

    /// Returns the store's name for the content, which may be an MD5.
    pub fn etag(&self) -> Option<Etag> {
        self.checksums().etag
    }
}
