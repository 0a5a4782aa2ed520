//! The head of an object: its metadata, without its content.

use types::content::crc64::Crc64;
use types::content::etag::Etag;
use types::entry::Metadata;
use types::object::headers::ObjectHeaders;
use types::outcome::difference::Fields;

/// An object at one point in time, as a HEAD or GET describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// The object's metadata as an entry of a tree.
    pub metadata: Metadata,
    /// The entity tag, which identifies the content.
    pub etag: String,
    /// The CRC-64/NVME of the whole content, where the service stores one.
    pub crc64: Option<Crc64>,
    /// The SHA-256 of the whole content, where the service stores one.
    pub sha256: Option<[u8; 32]>,
    /// The MD5 in the ETag, where it is one.
    pub md5: Option<Etag>,
    /// The other headers and user metadata of the object.
    pub headers: ObjectHeaders,
}

impl Head {
    /// Returns the attributes of a directory by its marker, the head of which this is; `plain`
    /// holds what is known without a marker.
    pub fn of_directory(&self, plain: &Metadata) -> Metadata {
        let told = [Fields::UID, Fields::GID, Fields::PERM, Fields::ATIME, Fields::MTIME];
        let known = told.into_iter().filter(|field| self.metadata.known.contains(*field));
        let has_mode = self.metadata.known.contains(Fields::PERM);
        Metadata {
            kind: plain.kind,
            // A marker without a mode has that of an object, which is none for a directory.
            mode: if has_mode { self.metadata.mode } else { plain.mode },
            size_bytes: 0,
            allocated_bytes: 0,
            inode: plain.inode,
            known: known.fold(plain.known, Fields::union),
            ..self.metadata
        }
    }
}
