//! Where trees live: one trait, several kinds of place.
//!
//! A [`Store`] is a tree below a root that the operator gave; a [`Dir`] is an open directory of it, and
//! every name used with it is one component: nothing here can leave the root. Calls block; they run on
//! I/O threads. New content is *staged* under another name and appears under its own name only when it
//! is complete. Decorators ([`faulty`], [`dry_run`]) are stores around stores.

pub mod dry_run;
pub mod faulty;
pub mod memory;
pub mod posix;
pub mod s3;

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use crate::base::error::Result;
use crate::base::path::{Name, RelPath};
use crate::model::entry::{Attributes, Hint, Kept, Kind, Metadata, Xattrs};

/// A tree below a root.
pub trait Store: Send + Sync {
    /// Opens a directory by its path below the root.
    fn open_dir(&self, path: &RelPath) -> Result<Arc<dyn Dir>>;

    /// Device of the file system that the root is on, as this node numbers it.
    fn device(&self) -> Result<u64>;

    /// Another directory may be kept open for queued work without running out of handles.
    fn has_spare_handles(&self) -> bool {
        true
    }
}

/// An open directory. Names are single components; symbolic links are never followed unless the store
/// was opened to follow them.
pub trait Dir: Send + Sync {
    /// Attributes of the directory itself.
    fn metadata(&self) -> Result<Metadata>;

    /// Calls `each` with every entry, in no order, without `.` and `..`.
    fn list(&self, each: &mut dyn FnMut(&Name, Hint)) -> Result<()>;

    /// Opens a directory in this one.
    fn open_dir(&self, name: &Name) -> Result<Arc<dyn Dir>>;

    /// Attributes of an entry.
    fn stat(&self, name: &Name) -> Result<Metadata>;

    /// Attributes of what an entry leads to, wherever that is: only to compare it with something.
    fn stat_followed(&self, name: &Name) -> Result<Metadata>;

    /// Opens a regular file for reading. Anything else is an error: a FIFO would hang, a device
    /// would act.
    fn open_file(&self, name: &Name) -> Result<Box<dyn SourceFile>>;

    /// Where a symbolic link points, byte for byte.
    fn read_link(&self, name: &Name) -> Result<Vec<u8>>;

    /// The extended attributes that copies keep, of an entry or (without a name) of the directory
    /// itself; `None` where the store keeps none.
    fn xattrs(&self, name: Option<&Name>) -> Result<Option<Xattrs>>;

    /// Makes a directory; `mode` is subject to the process's umask.
    fn make_dir(&self, name: &Name, mode: u32) -> Result<Made>;

    /// Begins a new file under the name `staged`, readable by nobody else, to become `name` later.
    fn stage_file(&self, staged: &Name, name: &Name) -> Result<Box<dyn StagedFile>>;

    /// Joins in writing a file that another rank has staged.
    fn join_staged(&self, staged: &Name) -> Result<Box<dyn StagedFile>>;

    /// Makes a symbolic link, complete with attributes, replacing what is not a directory.
    fn make_symlink(&self, link: &NewSymlink<'_>) -> Result<Kept>;

    /// Gives the directory itself these attributes.
    fn set_attributes(&self, attributes: &Attributes) -> Result<Kept>;

    /// Gives an entry that is there, of that kind and no directory, these attributes.
    fn set_entry_attributes(
        &self,
        name: &Name,
        kind: Kind,
        attributes: &Attributes,
    ) -> Result<Kept>;

    /// Removes an entry; a directory only when it is empty.
    fn remove(&self, name: &Name, kind: Kind) -> Result<()>;

    /// Makes an entry of this directory one more name of the file that has this name in another one.
    /// False where the two cannot share it.
    fn link_from(&self, _other: &dyn Dir, _name: &Name) -> Result<bool> {
        Ok(false)
    }

    /// The kernel's handle, where there is one.
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Which device an entry stands for, where it stands for one.
    fn device_number(&self, _name: &Name) -> Result<Option<u64>> {
        Ok(None)
    }

    /// Which mount the directory was reached through, where there is such a thing: one file system may
    /// show in several places.
    fn mount(&self) -> Option<u64> {
        None
    }

    /// Whether this directory is `above`, or somewhere below it, as far as the store can tell.
    fn is_below(&self, above: &Metadata) -> bool {
        self.metadata().is_ok_and(|here| here.is_same_file(above))
    }
}

/// A symbolic link to be made.
#[derive(Debug, Clone)]
pub struct NewSymlink<'n> {
    /// Where it points, byte for byte.
    pub points_to: &'n [u8],
    /// The name under which it is prepared.
    pub staged: &'n Name,
    /// Its own name.
    pub name: &'n Name,
    /// Its attributes; a link has no mode of its own.
    pub attributes: Attributes,
}

/// What became of [`Dir::make_dir`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// The directory is new, so it is empty.
    New,
    /// There was one already.
    Existed,
}

/// A file open for reading.
pub trait SourceFile: Send + Sync {
    /// Attributes now.
    fn metadata(&self) -> Result<Metadata>;

    /// The extended attributes that copies keep; `None` where the store keeps none.
    fn xattrs(&self) -> Result<Option<Xattrs>>;

    /// From now on content is read from the storage, not from memory, as far as the system lets us:
    /// what is cached of it is dropped first. False where that cannot be asked for.
    fn bypass_cache(&self) -> bool {
        false
    }

    /// Reads at an offset; returns how many bytes, 0 only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize>;

    /// The kernel's handle, where there is one.
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// A new file that is not visible under its own name yet.
///
/// Dropping it leaves the staged file for others that write it too; only [`StagedFile::commit`] and
/// [`StagedFile::abandon`] end it.
pub trait StagedFile: Send + Sync {
    /// Writes all of `data` at an offset.
    fn write_at(&self, data: &[u8], offset: u64) -> Result<()>;

    /// Lets the store move bytes from a source file itself, at most `length` from `offset` on; returns
    /// how many it moved, or `None` where it cannot: then they are read and written.
    fn copy_from(&self, source: &dyn SourceFile, offset: u64, length: u64) -> Result<Option<u64>>;

    /// False where content would be thrown away (a dry run): then it need not be read.
    fn wants_content(&self) -> bool {
        true
    }

    /// Ends this writer's part: errors that the system kept back until now come out.
    fn close(self: Box<Self>) -> Result<()>;

    /// How long the staged file is now, whoever wrote it.
    fn size_bytes(&self) -> Result<u64>;

    /// Gives the complete file its attributes and its own name, replacing what is not a directory
    /// there. On an error the staged file is removed.
    fn commit(self: Box<Self>, attributes: &Attributes) -> Result<Kept>;

    /// Removes the staged file.
    fn abandon(self: Box<Self>) -> Result<()>;
}
