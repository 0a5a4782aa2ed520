//! Entries other than files and directories that are to be made in a directory.

use super::Dir;
use types::entry::{Attributes, Kind, Time};
use types::path::Name;

/// A symbolic link to be made.
#[derive(Debug, Clone)]
pub struct NewSymlink<'n> {
    /// Where it points, byte for byte.
    pub points_to: &'n [u8],
    /// The name under which it is prepared.
    pub staged: &'n Name,
    /// Its own name.
    pub name: &'n Name,
    /// Last change of the source, for stores that keep it in any case.
    pub mtime: Option<Time>,
    /// Its attributes; a link has no mode of its own.
    pub attributes: Attributes,
}

/// One more name of a file, to be made.
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
    /// Which of them.
    pub kind: Kind,
    /// Which device, as [`Dir::device_number`] tells it.
    pub device: Option<u64>,
    /// The name under which it is prepared.
    pub staged: &'n Name,
    /// Its own name.
    pub name: &'n Name,
    /// Its attributes.
    pub attributes: Attributes,
}
