//! An open directory.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use types::content::chunk::Extent;
use types::entry::{Attributes, Hint, Identity, Kind, Metadata, Preserved, Time, Xattrs};
use types::error::{Cause, Op, Result};
use types::lustre::layout::Layout;
use types::object::key_range::KeyRange;
use types::object::keys_below::KeysBelow;
use types::object::metadata::LinkForm;
use types::path::{Name, RelPath};

use crate::seam_trait::seam_trait;
use crate::{NameReader, NewFile, NewHardLink, NewSpecial, NewSymlink, SourceFile, StagedFile};

/// The outcome of [`Dir::make_dir`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// The directory is new, so it is empty.
    New,
    /// The directory existed already.
    Existed,
}

/// Use of entries that is about to be made of them one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upcoming {
    /// The content of files, with their attributes.
    Content,
    /// The checksums of files, with their attributes.
    Checksums,
    /// Extended attributes alone.
    Xattrs,
}

/// Address of a directory on another host, for operations on two directories there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteAddress {
    /// Identifier of the host.
    pub host: u64,
    /// Number of the root that the directory is below.
    pub root: u32,
    /// Path below the root.
    pub path: RelPath,
}

seam_trait! {
    /// An open directory. Names are single components; symbolic links are never followed unless the
    /// store was opened to follow them.
    ///
    /// Provided methods are in groups: faster ways to read, for a store that reports more at once;
    /// attributes and types of entries that only some stores have; leftovers of interrupted jobs;
    /// hard links; and the location of the directory.
    pub trait Dir, decorated by DirDecorator, in tests SpyDir;

    required {
        /// Returns the metadata of the directory itself.
        fn metadata(&self) -> Result<Metadata>;

        /// Calls `each` with every entry, in no order, without `.` and `..`.
        fn list(&self, each: &mut dyn FnMut(&Name, Hint)) -> Result<()>;

        /// Opens a directory in this one.
        fn open_dir(&self, name: &Name) -> Result<Arc<dyn Dir>>;

        /// Returns the metadata of an entry.
        fn stat(&self, name: &Name) -> Result<Metadata>;

        /// Opens a regular file for reading. Any other entry is an error: opening a FIFO would
        /// block, and opening a device could have side effects.
        fn open_file(&self, name: &Name) -> Result<Box<dyn SourceFile>>;

        /// Returns the target of a symbolic link, byte for byte.
        fn read_link(&self, name: &Name) -> Result<Vec<u8>>;

        /// Creates a directory; `mode` is subject to the umask of the process.
        fn make_dir(&self, name: &Name, mode: u32) -> Result<Made>;

        /// Stages a new file that no other user can read, to be renamed to its final name later.
        fn stage_file(&self, new: &NewFile<'_>) -> Result<Box<dyn StagedFile>>;

        /// Opens a file that another rank has staged for writing, to become `name`, by the ticket
        /// that [`StagedFile::ticket`] returned there.
        fn join_staged(&self, ticket: &[u8], name: &Name) -> Result<Box<dyn StagedFile>>;

        /// Creates a symbolic link with its attributes, replacing any entry but a directory.
        fn make_symlink(&self, link: &NewSymlink<'_>) -> Result<Preserved>;

        /// Sets attributes of the directory itself.
        fn set_attributes(&self, attributes: &Attributes) -> Result<Preserved>;

        /// Sets attributes of an existing entry of that kind, which is not a directory.
        fn set_entry_attributes(
            &self,
            name: &Name,
            kind: Kind,
            attributes: &Attributes,
        ) -> Result<Preserved>;

        /// Removes an entry; a directory only if it is empty.
        fn remove(&self, name: &Name, kind: Kind) -> Result<()>;
    }

    provided {
        // Faster ways to read: a store may need fewer requests.

        /// Passes all names in a range to the reader, in no order. If other threads or ranks want
        /// work, a store may leave part of the range to them.
        fn read(&self, key_range: KeyRange, reader: &mut dyn NameReader) -> Result<()> {
            self.list(&mut |name, hint| reader.name(name, hint))
        }

        /// Returns whether a listing can begin at any key, so that this directory and another one
        /// can be read in the same key ranges. Where it is true, [`Dir::read`] passes the names of
        /// a range alone, and each exactly once.
        fn is_divisible(&self) -> bool {
            false
        }

        /// Passes all names to the reader, where a listing has returned all keys below this
        /// directory already.
        fn read_known(&self, keys: &KeysBelow, reader: &mut dyn NameReader) -> Result<()> {
            self.read(KeyRange::default(), reader)
        }

        /// Returns the metadata of an entry that costs next to nothing to know, perhaps from a
        /// listing: [`Metadata::known`] tells which. Fails like [`Dir::stat`] where there is no
        /// such entry.
        fn peek(&self, name: &Name, hint: Hint) -> Result<Metadata> {
            self.stat(name)
        }

        /// Returns the metadata of an entry, and the open file if a stat takes no less.
        fn stat_open(&self, name: &Name) -> Result<(Metadata, Option<Box<dyn SourceFile>>)> {
            self.stat(name).map(|metadata| (metadata, None))
        }

        /// Opens a file for which a listing has returned a hint.
        fn open_listed(&self, name: &Name, hint: Hint) -> Result<Box<dyn SourceFile>> {
            self.open_file(name)
        }

        /// Requests together what is about to be used of these entries, and returns a handle of
        /// this directory that has it; `None` where that saves nothing. The handle is for these
        /// entries, each of which is used once and soon.
        fn ahead(&self, names: &[(&Name, Hint)], upcoming: Upcoming) -> Option<Arc<dyn Dir>> {
            None
        }

        /// Opens a file to read one extent of it, if it still is the file that was listed;
        /// otherwise it has changed.
        fn open_extent(
            &self,
            name: &Name,
            identity: &Identity,
            extent: Extent,
        ) -> Result<Box<dyn SourceFile>> {
            let file = self.open_file(name)?;
            if file.metadata()?.identity() == *identity {
                Ok(file)
            } else {
                Err(Op::Copy.failed(Cause::Changed))
            }
        }

        // Attributes and types of entries that only some stores have.

        /// Returns the metadata of the entry that a link points to, wherever that is, only for a
        /// comparison. Links of most stores cannot be followed.
        fn stat_followed(&self, name: &Name) -> Result<Metadata> {
            self.stat(name)
        }

        /// Opens the object that represents a symbolic link, where there is one, and returns its
        /// form.
        fn open_link(&self, name: &Name) -> Result<Option<(Box<dyn SourceFile>, LinkForm)>> {
            Ok(None)
        }

        /// Returns the extended attributes that copies preserve, of an entry or (without a name) of
        /// the directory itself; `None` where the store has none.
        fn xattrs(&self, name: Option<&Name>) -> Result<Option<Xattrs>> {
            Ok(None)
        }

        /// Returns the striping of a regular file; `None` where files are not striped.
        fn layout(&self, name: &Name) -> Result<Option<Layout>> {
            Ok(None)
        }

        /// Returns the permission bits that the default ACL of the directory leaves to new entries;
        /// `None` where it has none, and the umask limits them (acl(5)).
        fn default_acl_mode(&self) -> Result<Option<u32>> {
            Ok(None)
        }

        /// Creates a FIFO, socket or device with its attributes, replacing any entry but a
        /// directory. Nothing is ever opened.
        fn make_special(&self, special: &NewSpecial<'_>) -> Result<Preserved> {
            Err(Op::MakeSpecial.errno(libc::EOPNOTSUPP))
        }

        /// Returns the device number of an entry that is a device.
        fn device_number(&self, name: &Name) -> Result<Option<u64>> {
            Ok(None)
        }

        // Leftovers of interrupted jobs.

        /// Takes over a new file that an interrupted job of this user has staged under that name,
        /// with that inode if it is known; `None` where there is none.
        fn resume_staged(
            &self,
            new: &NewFile<'_>,
            inode: Option<u64>,
        ) -> Result<Option<Box<dyn StagedFile>>> {
            Ok(None)
        }

        /// Aborts an upload that an interrupted job has begun for that name, unless it is the one
        /// of the other ticket.
        fn abort_upload(&self, name: &Name, ticket: &[u8], unless: Option<&[u8]>) -> Result<()> {
            Ok(())
        }

        /// Aborts the uploads for that name that an interrupted job may have initiated at about
        /// that time without learning of it: those without any part, on which no job works.
        fn abort_unrecorded_uploads(&self, name: &Name, at: Time) -> Result<()> {
            Ok(())
        }

        // Hard links.

        /// Makes an entry of this directory a hard link to the file of the same name in another
        /// one. Returns false where the two directories cannot share it.
        fn link_from(&self, other: &dyn Dir, name: &Name) -> Result<bool> {
            Ok(false)
        }

        /// Creates a hard link to a file of this store, replacing any entry but a directory; the
        /// replaced entry must not be a link of that file already. Returns false where no such link
        /// is possible.
        fn hard_link(&self, link: &NewHardLink<'_>) -> Result<bool> {
            Ok(false)
        }

        /// Returns the keys of the objects that [`Dir::remove`] would remove, or without a name the
        /// key of the object of the directory itself; `None` if the store has no keys.
        fn keys_of(&self, entry: Option<(&Name, Kind)>) -> Result<Option<Vec<String>>> {
            Ok(None)
        }

        // Location of the directory.

        /// Syncs the changes of this node to the file system that the directory is on, which may be
        /// another one than that of the root ([`crate::Store::sync`]).
        fn sync(&self) -> Result<()> {
            Err(Op::Sync.errno(libc::EOPNOTSUPP))
        }

        /// Returns the file descriptor, where there is one.
        fn as_fd(&self) -> Option<BorrowedFd<'_>> {
            None
        }

        /// Returns the address of the directory on another host, where it is there.
        fn remote_address(&self) -> Option<RemoteAddress> {
            None
        }

        /// Removes an entry that is no directory, or fails with `Changed` where it has another
        /// inode number now. Nothing comes in between where the storage can do that.
        fn remove_unchanged(&self, name: &Name, kind: Kind, inode: u64) -> Result<()> {
            if self.stat(name)?.inode != inode {
                return Err(Op::Remove.failed(Cause::Changed));
            }
            self.remove(name, kind)
        }

        /// Returns whether an entry that is no directory has further hard links, as far as the
        /// store can tell: content and attributes that are written to it are theirs, too.
        fn has_other_names(&self, name: &Name, metadata: &Metadata) -> Result<bool> {
            Ok(metadata.links > 1)
        }

        /// Returns the mount through which the directory was reached, where there are mounts: one
        /// file system may be mounted in several places.
        fn mount(&self) -> Result<Option<u64>> {
            Ok(None)
        }

        /// Returns whether this directory is `above`, or anywhere below it, as far as the store can
        /// tell.
        fn is_below(&self, above: &Metadata) -> bool {
            self.metadata().is_ok_and(|here| here.is_same_file(above))
        }
    }
}
