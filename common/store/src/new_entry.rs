//! Entries that are to be created in a directory.

use serde::{Deserialize, Serialize};

use crate::{Dir, ObjectAddress, SourceFile};
use types::entry::{Attributes, Kind, Metadata, Time};
use types::lustre::layout::Layout;
use types::object::headers::ObjectHeaders;
use types::path::Name;

/// Ranks that write a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Writers {
    /// One rank, from the beginning of the file to its end.
    One,
    /// Several ranks, in chunks.
    Several {
        /// Size of a chunk.
        chunk_bytes: u64,
    },
}

/// A file to be created.
#[derive(Debug, Clone)]
pub struct NewFile<'n> {
    /// Name of the staged file, where there is one.
    pub staged: &'n Name,
    /// Final name of the file.
    pub name: &'n Name,
    /// Size of the complete file.
    pub size_bytes: u64,
    /// Modification time of the content of the source, for stores that always preserve it.
    pub mtime: Option<Time>,
    /// Ranks that write the file.
    pub writers: Writers,
    /// Attributes of the complete file, which some stores need first.
    pub attributes: &'n Attributes,
    /// Headers that the service of the source stores with it, for a store that can store them, too.
    pub headers: Option<&'n ObjectHeaders>,
    /// Layout of the source, where that is to be preserved.
    pub layout: Option<&'n Layout>,
    /// True if the file replaces another one, from which it gets the attributes that it does not
    /// get from the source.
    pub replaces: bool,
    /// Object that is the source: if its service is that of the target, the service copies it
    /// itself.
    pub from: Option<ObjectAddress>,
    /// Ticket of the upload that an interrupted job has begun for the file, and that no running job
    /// uses.
    pub begun: Option<&'n [u8]>,
}

impl<'n> NewFile<'n> {
    /// Describes a file that one rank writes, without any further properties.
    pub fn new(staged: &'n Name, name: &'n Name, attributes: &'n Attributes) -> Self {
        Self {
            staged,
            name,
            size_bytes: 0,
            mtime: None,
            writers: Writers::One,
            attributes,
            headers: None,
            layout: None,
            replaces: false,
            from: None,
            begun: None,
        }
    }

    /// Describes a copy of that source file.
    #[must_use]
    pub fn copy_of(self, source: &'n dyn SourceFile, metadata: &Metadata) -> Self {
        Self {
            size_bytes: metadata.size_bytes,
            mtime: metadata.last_change(),
            headers: source.headers(),
            layout: source.layout(),
            from: source.address(),
            ..self
        }
    }
}

/// A symbolic link to be created.
#[derive(Debug, Clone)]
pub struct NewSymlink<'n> {
    /// Path that the link points to, byte for byte.
    pub points_to: &'n [u8],
    /// Name under which the link is staged.
    pub staged: &'n Name,
    /// Final name of the link.
    pub name: &'n Name,
    /// Modification time of the source, for stores that always preserve it.
    pub mtime: Option<Time>,
    /// Attributes of the link, which has no mode of its own.
    pub attributes: Attributes,
}

/// A hard link to be created.
#[derive(Clone, Copy)]
pub struct NewHardLink<'n> {
    /// Directory of an existing link of the file.
    pub dir: &'n dyn Dir,
    /// Name of the existing link.
    pub of: &'n Name,
    /// Name under which the new link is staged, if its final name is taken.
    pub staged: &'n Name,
    /// Final name of the new link.
    pub name: &'n Name,
}

/// A FIFO, socket or device to be created.
#[derive(Debug, Clone)]
pub struct NewSpecial<'n> {
    /// Kind of the special file.
    pub kind: Kind,
    /// Device number, as returned by [`Dir::device_number`].
    pub device: Option<u64>,
    /// Name under which the special file is staged.
    pub staged: &'n Name,
    /// Final name of the special file.
    pub name: &'n Name,
    /// Attributes of the special file.
    pub attributes: Attributes,
}
