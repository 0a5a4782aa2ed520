//! Entries that are to be made in a directory.

use crate::{Dir, ObjectAddress, SourceFile};
use types::entry::{Attributes, Kind, Metadata, Time};
use types::lustre::layout::Layout;
use types::object::headers::ObjectHeaders;
use types::path::Name;

/// A file to be made.
#[derive(Debug, Clone)]
pub struct NewFile<'n> {
    /// The name under which it is prepared, where there is such a thing.
    pub staged: &'n Name,
    /// Its own name.
    pub name: &'n Name,
    /// Its size when it is complete.
    pub size_bytes: u64,
    /// The modification time of the source's content, for stores that keep it in any case.
    pub mtime: Option<Time>,
    /// The size of the pieces in which it comes, where others join in writing it; `None` where it is
    /// written by one alone, from its beginning to its end.
    pub chunk_bytes: Option<u64>,
    /// Attributes it will get: some stores want them first.
    pub attributes: &'n Attributes,
    /// Headers that the source's service keeps with it, for a store that can keep them, too.
    pub headers: Option<&'n ObjectHeaders>,
    /// The layout of the source, where that is to be preserved.
    pub layout: Option<&'n Layout>,
    /// Set where it replaces a file, from which it gets what it does not get from the source.
    pub replaces: bool,
    /// The object that the source is: its service may be this one, which copies it itself.
    pub from: Option<ObjectAddress>,
    /// The upload that an interrupted job has begun for it, by its ticket: no other job is at work on that.
    pub begun: Option<&'n [u8]>,
}

impl<'n> NewFile<'n> {
    /// Describes a file to be written by one alone, of which nothing else is known.
    pub fn new(staged: &'n Name, name: &'n Name, attributes: &'n Attributes) -> Self {
        Self {
            staged,
            name,
            size_bytes: 0,
            mtime: None,
            chunk_bytes: None,
            attributes,
            headers: None,
            layout: None,
            replaces: false,
            from: None,
            begun: None,
        }
    }

    /// Makes it a copy of that source file.
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

/// A symbolic link to be made.
#[derive(Debug, Clone)]
pub struct NewSymlink<'n> {
    /// The path that it points to, byte for byte.
    pub points_to: &'n [u8],
    /// The name under which it is prepared.
    pub staged: &'n Name,
    /// Its own name.
    pub name: &'n Name,
    /// The modification time of the source, for stores that keep it in any case.
    pub mtime: Option<Time>,
    /// Its attributes; a link has no mode of its own.
    pub attributes: Attributes,
}

/// A hard link to be made.
#[derive(Clone, Copy)]
pub struct NewHardLink<'n> {
    /// The directory in which the file has a name.
    pub dir: &'n dyn Dir,
    /// Its name there.
    pub of: &'n Name,
    /// The name under which the new one is prepared where it is taken.
    pub staged: &'n Name,
    /// The new name.
    pub name: &'n Name,
}

/// A FIFO, socket or device to be made.
#[derive(Debug, Clone)]
pub struct NewSpecial<'n> {
    /// Its kind.
    pub kind: Kind,
    /// The device that it stands for, as [`Dir::device_number`] tells it.
    pub device: Option<u64>,
    /// The name under which it is prepared.
    pub staged: &'n Name,
    /// Its own name.
    pub name: &'n Name,
    /// Its attributes.
    pub attributes: Attributes,
}
