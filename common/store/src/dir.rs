//! An open directory.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use types::content::chunk::Extent;
use types::entry::{Attributes, Hint, Identity, Kept, Kind, Metadata, Xattrs};
use types::error::{Cause, Op, Result};
use types::lustre::layout::Layout;
use types::object::keys_below::KeysBelow;
use types::object::metadata::LinkForm;
use types::object::span::Span;
use types::path::Name;

use crate::seam_trait::seam_trait;
use crate::{NameReader, NewFile, NewHardLink, NewSpecial, NewSymlink, SourceFile, StagedFile};

/// The outcome of [`Dir::make_dir`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// The directory is new, so it is empty.
    New,
    /// There was one already.
    Existed,
}

seam_trait! {
    /// An open directory. Names are single components; symbolic links are never followed unless the store
    /// was opened to follow them.
    ///
    /// Beyond the core there are: faster ways to read, for a store that tells more at once; attributes and kinds of
    /// entries that only some stores keep; what stopped jobs have left; hard links; and where the directory is.
    pub trait Dir, decorated by DirDecorator, in tests SpyDir;

    required {
        /// Returns attributes of the directory itself.
        fn metadata(&self) -> Result<Metadata>;

        /// Calls `each` with every entry, in no order, without `.` and `..`.
        fn list(&self, each: &mut dyn FnMut(&Name, Hint)) -> Result<()>;

        /// Opens a directory in this one.
        fn open_dir(&self, name: &Name) -> Result<Arc<dyn Dir>>;

        /// Returns attributes of an entry.
        fn stat(&self, name: &Name) -> Result<Metadata>;

        /// Opens a regular file for reading. Anything else is an error: a FIFO would hang, a device
        /// would act.
        fn open_file(&self, name: &Name) -> Result<Box<dyn SourceFile>>;

        /// Returns where a symbolic link points, byte for byte.
        fn read_link(&self, name: &Name) -> Result<Vec<u8>>;

        /// Makes a directory; `mode` is subject to the process's umask.
        fn make_dir(&self, name: &Name, mode: u32) -> Result<Made>;

        /// Begins a new file that nobody else can read, to get its own name later.
        fn stage_file(&self, new: &NewFile<'_>) -> Result<Box<dyn StagedFile>>;

        /// Joins in writing a file that another rank has staged, to become `name`, by the ticket that
        /// [`StagedFile::ticket`] gave it.
        fn join_staged(&self, ticket: &[u8], name: &Name) -> Result<Box<dyn StagedFile>>;

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
    }

    provided {
        // Faster ways to read: a store may be asked less often.

        /// Tells the reader of all names in a range, in no order. Where others want work, a store may leave
        /// part of the range to them.
        fn read(&self, span: Span, reader: &mut dyn NameReader) -> Result<()> {
            self.list(&mut |name, hint| reader.name(name, hint))
        }

        /// Tells the reader of all names as a listing has told all keys below this directory.
        fn read_known(&self, keys: &KeysBelow, reader: &mut dyn NameReader) -> Result<()> {
            self.read(Span::default(), reader)
        }

        /// Returns attributes of an entry as far as they cost next to nothing to know, from a listing perhaps:
        /// [`Metadata::known`] says which. Fails as [`Dir::stat`] does where there is no such entry.
        fn peek(&self, name: &Name, hint: Hint) -> Result<Metadata> {
            self.stat(name)
        }

        /// Returns attributes of an entry, and the file open, where inspecting it takes no less.
        fn stat_open(&self, name: &Name) -> Result<(Metadata, Option<Box<dyn SourceFile>>)> {
            self.stat(name).map(|metadata| (metadata, None))
        }

        /// Opens a file that a listing has told something about.
        fn open_listed(&self, name: &Name, hint: Hint) -> Result<Box<dyn SourceFile>> {
            self.open_file(name)
        }

        /// Opens a file to read one extent of it, if it is still the one that was met: otherwise it has
        /// changed.
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

        // Attributes and kinds of entries that only some stores keep.

        /// Returns attributes of what an entry leads to, wherever that is: only to compare it with something. Links
        /// of most stores lead nowhere.
        fn stat_followed(&self, name: &Name) -> Result<Metadata> {
            self.stat(name)
        }

        /// Opens the object that a symbolic link is, where it is one, and says in which form.
        fn open_link(&self, name: &Name) -> Result<Option<(Box<dyn SourceFile>, LinkForm)>> {
            Ok(None)
        }

        /// Returns the extended attributes that copies preserve, of an entry or (without a name) of the directory
        /// itself; `None` where the store keeps none.
        fn xattrs(&self, name: Option<&Name>) -> Result<Option<Xattrs>> {
            Ok(None)
        }

        /// Returns how a regular file is striped; `None` where there is no such thing.
        fn layout(&self, name: &Name) -> Result<Option<Layout>> {
            Ok(None)
        }

        /// Returns the permission bits that the directory's default access control list leaves to new entries; `None`
        /// where it has none, and the umask limits them (acl(5)).
        fn default_acl_mode(&self) -> Result<Option<u32>> {
            Ok(None)
        }

        /// Makes a FIFO, socket or device, complete with attributes, replacing what is not a directory.
        /// Nothing is ever opened.
        fn make_special(&self, special: &NewSpecial<'_>) -> Result<Kept> {
            Err(Op::MakeSpecial.errno(libc::EOPNOTSUPP))
        }

        /// Returns which device an entry stands for, where it stands for one.
        fn device_number(&self, name: &Name) -> Result<Option<u64>> {
            Ok(None)
        }

        // What stopped jobs have left.

        /// Takes over a new file that a stopped job of this user has staged under that name, with that inode if that
        /// is known; `None` where there is none.
        fn resume_staged(
            &self,
            new: &NewFile<'_>,
            inode: Option<u64>,
        ) -> Result<Option<Box<dyn StagedFile>>> {
            Ok(None)
        }

        /// Aborts an upload that an interrupted job has begun for that name, unless it is the one of the other ticket.
        fn abort_upload(&self, name: &Name, ticket: &[u8], unless: Option<&[u8]>) -> Result<()> {
            Ok(())
        }

        // Hard links.

        /// Makes an entry of this directory a hard link to the file that has this name in another one.
        /// False where the two cannot share it.
        fn link_from(&self, other: &dyn Dir, name: &Name) -> Result<bool> {
            Ok(false)
        }

        /// Makes a hard link to a file of this store, replacing what is not a directory; it must not be a
        /// name of that file already. False where there can be no such name.
        fn hard_link(&self, link: &NewHardLink<'_>) -> Result<bool> {
            Ok(false)
        }

        /// Returns the keys of the objects that [`Dir::remove`] would remove, or without a name the key of the directory's
        /// own object; `None` if the store has no keys.
        fn keys_of(&self, entry: Option<(&Name, Kind)>) -> Result<Option<Vec<String>>> {
            Ok(None)
        }

        // Where the directory is.

        /// Returns the kernel's handle, where there is one.
        fn as_fd(&self) -> Option<BorrowedFd<'_>> {
            None
        }

        /// Returns which mount the directory was reached through, where there is such a thing: one file system may
        /// show in several places.
        fn mount(&self) -> Result<Option<u64>> {
            Ok(None)
        }

        /// Returns whether this directory is `above`, or somewhere below it, as far as the store can tell.
        fn is_below(&self, above: &Metadata) -> bool {
            self.metadata().is_ok_and(|here| here.is_same_file(above))
        }
    }
}
