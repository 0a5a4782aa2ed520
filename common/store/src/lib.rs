//! Where trees live: one trait, several kinds of place.
//!
//! A [`Store`] is a tree below a root that the operator gave; a [`Dir`] is an open directory of it, and
//! every name used with it is one component: nothing here can leave the root. Calls block; they run on
//! I/O threads. New content is *staged* under another name and appears under its own name only when it
//! is complete. Decorators ([`faulty`], [`dry_run`]) are stores around stores.

pub mod dry_run;
pub mod faulty;
pub mod memory;
mod new_entry;
pub mod opening;
mod receipt;
pub mod recorded;

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use types::content::chunk::Extent;
use types::content::crc64::Crc64;
use types::content::etag::{Etag, PartedEtag};
use types::entry::{Attributes, Hint, Identity, Kept, Kind, Metadata, Time, Xattrs};
use types::error::{Cause, Error, Op, Result};
use types::lustre::layout::{Layout, Striping};
use types::object::headers::ObjectHeaders;
use types::object::keys_below::KeysBelow;
use types::object::metadata::LinkForm;
use types::object::span::Span;
use types::outcome::compare::TimeRange;
use types::path::{Name, RelPath};
use types::place::root_view::RootView;
use types::service::Unfit;

pub use new_entry::{NewHardLink, NewSpecial, NewSymlink};
pub use receipt::{Receipt, Sender};

/// A tree below a root.
pub trait Store: Send + Sync {
    /// Opens a directory by its path below the root.
    fn open_dir(&self, path: &RelPath) -> Result<Arc<dyn Dir>>;

    /// How a directory looks now, whatever this node remembers of it.
    fn look(&self, path: &RelPath) -> Result<Metadata> {
        self.open_dir(path)?.metadata()
    }

    /// How far the clock that stamps changes here may be behind this node's, at most.
    fn clock_behind(&self) -> Duration {
        Duration::ZERO
    }

    /// Device of the file system that the root is on, as this node numbers it.
    fn device(&self) -> Result<u64>;

    /// How large the pieces are in which a file of that size goes to or comes from this store, where the
    /// operator wishes for such. Files that are not larger move whole.
    fn chunk_bytes(&self, _size_bytes: u64, wish_bytes: u64) -> u64 {
        wish_bytes
    }

    /// Another directory may be kept open for queued work without running out of handles.
    fn has_spare_handles(&self) -> bool {
        true
    }

    /// What of all its entries cannot be told here, although it was asked for, in words for one warning.
    fn shortcoming(&self) -> Option<&'static str> {
        None
    }

    /// Brings to storage what this node has changed.
    fn sync(&self) -> Result<()> {
        Ok(())
    }

    /// Nothing else that is written here can fare better than what has failed with that `errno`.
    fn is_past_help(&self, errno: i32) -> bool {
        matches!(errno, libc::ENOSPC | libc::EROFS)
    }

    /// The service that its files are objects of, where they are.
    fn service(&self) -> Option<u64> {
        None
    }

    /// What is kept are objects under keys: directories are what keys have in common.
    fn holds_objects(&self) -> bool {
        self.service().is_some()
    }

    /// New files here can be striped as the operator wishes.
    fn has_layouts(&self) -> bool {
        false
    }

    /// Directories are entries of their own, with attributes, and there are empty ones.
    fn keeps_directories(&self) -> bool {
        !self.holds_objects()
    }

    /// Names that differ only in case are one name here, as far as can be seen without writing.
    fn folds_case(&self) -> bool {
        false
    }

    /// The root as this node sees it, or the entry of it that is meant, with the mount points below that take part;
    /// `None` where all nodes see the same by its nature.
    fn view(
        &self,
        _entry: Option<&Name>,
        _takes_part: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Option<RootView>> {
        Ok(None)
    }

    /// Remembers what is mounted below the root, or below an entry of it.
    fn watch(&self, _entry: Option<&Name>) {}

    /// Fails where something else is mounted below the root than was, at points that take part: what is missing now
    /// has not vanished.
    fn check_mounts(&self, _takes_part: &dyn Fn(&[u8]) -> bool) -> Result<()> {
        Ok(())
    }

    /// Removes objects by their keys ([`Dir::keys_of`]), as many as may be in one request; those that are not there are
    /// removed already. The failures, each with the number of its key.
    fn remove_keys(&self, _keys: &[String]) -> Result<Vec<(usize, Error)>> {
        Err(Op::Remove.errno(libc::EOPNOTSUPP))
    }

    /// How far the clock that times of storing come from is ahead of this node's, at most; `None` where that is not
    /// known.
    fn clock_ahead(&self) -> Option<Duration> {
        Some(Duration::ZERO)
    }

    /// Times that the file system of an entry can keep, as far as it shows.
    fn time_range(&self, _entry: &Metadata) -> TimeRange {
        TimeRange::All
    }
}

impl<S: Store + ?Sized> Store for Box<S> {
    fn clock_ahead(&self) -> Option<Duration> {
        (**self).clock_ahead()
    }

    fn time_range(&self, entry: &Metadata) -> TimeRange {
        (**self).time_range(entry)
    }

    fn open_dir(&self, path: &RelPath) -> Result<Arc<dyn Dir>> {
        (**self).open_dir(path)
    }

    fn look(&self, path: &RelPath) -> Result<Metadata> {
        (**self).look(path)
    }

    fn clock_behind(&self) -> Duration {
        (**self).clock_behind()
    }

    fn device(&self) -> Result<u64> {
        (**self).device()
    }

    fn chunk_bytes(&self, size_bytes: u64, wish_bytes: u64) -> u64 {
        (**self).chunk_bytes(size_bytes, wish_bytes)
    }

    fn shortcoming(&self) -> Option<&'static str> {
        (**self).shortcoming()
    }

    fn has_spare_handles(&self) -> bool {
        (**self).has_spare_handles()
    }

    fn sync(&self) -> Result<()> {
        (**self).sync()
    }

    fn is_past_help(&self, errno: i32) -> bool {
        (**self).is_past_help(errno)
    }

    fn service(&self) -> Option<u64> {
        (**self).service()
    }

    fn has_layouts(&self) -> bool {
        (**self).has_layouts()
    }

    fn keeps_directories(&self) -> bool {
        (**self).keeps_directories()
    }

    fn folds_case(&self) -> bool {
        (**self).folds_case()
    }

    fn view(
        &self,
        entry: Option<&Name>,
        takes_part: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Option<RootView>> {
        (**self).view(entry, takes_part)
    }

    fn watch(&self, entry: Option<&Name>) {
        (**self).watch(entry);
    }

    fn check_mounts(&self, takes_part: &dyn Fn(&[u8]) -> bool) -> Result<()> {
        (**self).check_mounts(takes_part)
    }
}

/// Whoever reads a directory's names.
pub trait NameReader {
    /// An entry.
    fn name(&mut self, name: &Name, hint: Hint);

    /// A directory of objects, and all keys below it.
    fn directory(&mut self, name: &Name, _below: &KeysBelow) {
        self.name(name, Hint::Directory);
    }

    /// Whether a store is to find out all keys below a directory where that takes fewer requests than to list
    /// it and those in it.
    fn wants_below(&self) -> bool {
        false
    }

    /// Whether the directory may have nothing in it, also where a store has none that is empty: nobody has told
    /// of it.
    fn may_be_empty(&self) -> bool {
        true
    }

    /// A key below the directory that can be no entry, and why. An empty one is the directory's own.
    fn unfit(&mut self, key: &[u8], why: Unfit);

    /// Others have nothing to do.
    fn wants_to_share(&self) -> bool;

    /// Leaves a range to others.
    fn share(&mut self, rest: Span);
}

/// An open directory. Names are single components; symbolic links are never followed unless the store
/// was opened to follow them.
pub trait Dir: Send + Sync {
    /// Attributes of the directory itself.
    fn metadata(&self) -> Result<Metadata>;

    /// Calls `each` with every entry, in no order, without `.` and `..`.
    fn list(&self, each: &mut dyn FnMut(&Name, Hint)) -> Result<()>;

    /// Tells the reader of all names in a range, in no order. Where others want work, a store may leave
    /// part of the range to them.
    fn read(&self, _span: Span, reader: &mut dyn NameReader) -> Result<()> {
        self.list(&mut |name, hint| reader.name(name, hint))
    }

    /// Tells the reader of all names as a listing has told all keys below this directory.
    fn read_known(&self, _keys: &KeysBelow, reader: &mut dyn NameReader) -> Result<()> {
        self.read(Span::default(), reader)
    }

    /// Opens a directory in this one.
    fn open_dir(&self, name: &Name) -> Result<Arc<dyn Dir>>;

    /// Attributes of an entry.
    fn stat(&self, name: &Name) -> Result<Metadata>;

    /// Attributes of an entry, and the file open, where looking at it takes no less.
    fn stat_open(&self, name: &Name) -> Result<(Metadata, Option<Box<dyn SourceFile>>)> {
        self.stat(name).map(|metadata| (metadata, None))
    }

    /// Attributes of an entry as far as they cost next to nothing to know, from a listing perhaps:
    /// [`Metadata::known`] says which. Fails as [`Dir::stat`] does where there is no such entry.
    fn peek(&self, name: &Name, _hint: Hint) -> Result<Metadata> {
        self.stat(name)
    }

    /// Attributes of what an entry leads to, wherever that is: only to compare it with something.
    fn stat_followed(&self, name: &Name) -> Result<Metadata>;

    /// Opens a regular file for reading. Anything else is an error: a FIFO would hang, a device
    /// would act.
    fn open_file(&self, name: &Name) -> Result<Box<dyn SourceFile>>;

    /// Opens a file that a listing has told something about: a store may be asked once less.
    fn open_listed(&self, name: &Name, _hint: Hint) -> Result<Box<dyn SourceFile>> {
        self.open_file(name)
    }

    /// Opens a file to read one extent of it, if it is still the one that was met: otherwise it has
    /// changed.
    fn open_extent(
        &self,
        name: &Name,
        identity: &Identity,
        _extent: Extent,
    ) -> Result<Box<dyn SourceFile>> {
        let file = self.open_file(name)?;
        if file.metadata()?.identity() == *identity {
            Ok(file)
        } else {
            Err(Op::Copy.failed(Cause::Changed))
        }
    }

    /// Where a symbolic link points, byte for byte.
    fn read_link(&self, name: &Name) -> Result<Vec<u8>>;

    /// Opens the object that a symbolic link is, where it is one, and says in which form.
    fn open_link(&self, _name: &Name) -> Result<Option<(Box<dyn SourceFile>, LinkForm)>> {
        Ok(None)
    }

    /// The extended attributes that copies keep, of an entry or (without a name) of the directory
    /// itself; `None` where the store keeps none.
    fn xattrs(&self, name: Option<&Name>) -> Result<Option<Xattrs>>;

    /// How a regular file is striped; `None` where there is no such thing.
    fn layout(&self, _name: &Name) -> Result<Option<Layout>> {
        Ok(None)
    }

    /// Permission bits that the directory's default access control list leaves to new entries; `None` where it
    /// has none, and the umask limits them (acl(5)).
    fn default_acl_mode(&self) -> Result<Option<u32>> {
        Ok(None)
    }

    /// Makes a directory; `mode` is subject to the process's umask.
    fn make_dir(&self, name: &Name, mode: u32) -> Result<Made>;

    /// Begins a new file that nobody else can read, to get its own name later.
    fn stage_file(&self, new: &NewFile<'_>) -> Result<Box<dyn StagedFile>>;

    /// Takes over a new file that a stopped job of this user has staged under that name, with that inode if that is
    /// known; `None` where there is none.
    fn resume_staged(
        &self,
        _new: &NewFile<'_>,
        _inode: Option<u64>,
    ) -> Result<Option<Box<dyn StagedFile>>> {
        Ok(None)
    }

    /// Joins in writing a file that another rank has staged, to become `name`, by the ticket that
    /// [`StagedFile::ticket`] gave it.
    fn join_staged(&self, ticket: &[u8], name: &Name) -> Result<Box<dyn StagedFile>>;

    /// Aborts an upload that an interrupted job has begun for that name, unless it is the one of the other ticket.
    fn abort_upload(&self, _name: &Name, _ticket: &[u8], _unless: Option<&[u8]>) -> Result<()> {
        Ok(())
    }

    /// Makes a symbolic link, complete with attributes, replacing what is not a directory.
    fn make_symlink(&self, link: &NewSymlink<'_>) -> Result<Kept>;

    /// Makes a FIFO, socket or device, complete with attributes, replacing what is not a directory.
    /// Nothing is ever opened.
    fn make_special(&self, _special: &NewSpecial<'_>) -> Result<Kept> {
        Err(Op::MakeSpecial.errno(libc::EOPNOTSUPP))
    }

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

    /// The keys of the objects that [`Dir::remove`] would remove, or without a name the key of what stands for the
    /// directory itself; `None` where there are no keys.
    fn keys_of(&self, _entry: Option<(&Name, Kind)>) -> Result<Option<Vec<String>>> {
        Ok(None)
    }

    /// Makes an entry of this directory one more name of the file that has this name in another one.
    /// False where the two cannot share it.
    fn link_from(&self, _other: &dyn Dir, _name: &Name) -> Result<bool> {
        Ok(false)
    }

    /// Makes one more name of a file of this store, replacing what is not a directory; it must not be a
    /// name of that file already. False where there can be no such name.
    fn hard_link(&self, _link: &NewHardLink<'_>) -> Result<bool> {
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
    fn mount(&self) -> Result<Option<u64>> {
        Ok(None)
    }

    /// Whether this directory is `above`, or somewhere below it, as far as the store can tell.
    fn is_below(&self, above: &Metadata) -> bool {
        self.metadata().is_ok_and(|here| here.is_same_file(above))
    }
}

/// A file to be made.
#[derive(Debug, Clone)]
pub struct NewFile<'n> {
    /// The name under which it is prepared, where there is such a thing.
    pub staged: &'n Name,
    /// Its own name.
    pub name: &'n Name,
    /// How long it will be.
    pub size_bytes: u64,
    /// Last change of the source's content, for stores that keep it in any case.
    pub mtime: Option<Time>,
    /// In pieces of how many bytes it comes, where others join in writing it; `None` where it is
    /// written by one alone, from its beginning to its end.
    pub chunk_bytes: Option<u64>,
    /// Attributes it will get: some stores want them first.
    pub attributes: &'n Attributes,
    /// What the source's service keeps with it, for a store that can keep that, too.
    pub headers: Option<&'n ObjectHeaders>,
    /// How the source is striped, where that is to be kept.
    pub layout: Option<&'n Layout>,
    /// It replaces a file, from which it gets what it does not get from the source.
    pub replaces: bool,
    /// The object that the source is: its service may be this one, which copies it itself.
    pub from: Option<ObjectAddress>,
    /// The upload that an interrupted job has begun for it, by its ticket: no other job is at work on that.
    pub begun: Option<&'n [u8]>,
}

impl<'n> NewFile<'n> {
    /// A file to be written by one alone, of which nothing else is known.
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

    /// It becomes a copy of that one.
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

/// Where an object is, for a service that copies from one place to another itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectAddress {
    /// Tells services and accounts apart.
    pub service: u64,
    /// The bucket.
    pub bucket: String,
    /// The key in it.
    pub key: String,
    /// Which content it had when it was opened.
    pub etag: String,
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
    /// what is cached of it is written out and dropped first. Fails where the storage has not taken that.
    fn bypass_cache(&self) -> Result<()> {
        Ok(())
    }

    /// Checksum of the whole content, where the store keeps it.
    fn crc64(&self) -> Option<Crc64> {
        None
    }

    /// SHA-256 of the whole content, where the store keeps it.
    fn sha256(&self) -> Option<[u8; 32]> {
        None
    }

    /// A name that the store has for the content, and that may be an MD5: where it is the one of some bytes, they
    /// are the content. Where it is not nothing is known.
    fn etag(&self) -> Option<Etag> {
        None
    }

    /// That name with the size of the parts whose MD5s it stands for, for which a store may have to be asked; `None`
    /// where it stands for no parts of one size.
    fn parted_etag(&self) -> Result<Option<PartedEtag>> {
        Ok(None)
    }

    /// Whether all parts but the last are as large as the first one, as [`SourceFile::parted_etag`] takes it: many
    /// questions, for content that has come to another name.
    fn has_equal_parts(&self, _etag: &PartedEtag) -> Result<bool> {
        Ok(true)
    }

    /// What a service keeps with the object, where it is one.
    fn headers(&self) -> Option<&ObjectHeaders> {
        None
    }

    /// How the file is striped, where that is to be kept and known.
    fn layout(&self) -> Option<&Layout> {
        None
    }

    /// Where the object is, where it is one.
    fn address(&self) -> Option<ObjectAddress> {
        None
    }

    /// The first bytes in an extent that are not in a hole; `None` where there are none. A store that does
    /// not know of holes has none.
    fn data_in(&self, extent: Extent) -> Result<Option<Extent>> {
        Ok(Some(extent))
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
    /// What others need to join in writing it.
    fn ticket(&self) -> Vec<u8>;

    /// How a file of that size is striped here: it is written best in pieces that fit that.
    fn striping(&self, _size_bytes: u64) -> Option<Striping> {
        None
    }

    /// What is left of it when it is dropped can be taken over by its ticket ([`Dir::resume_staged`]).
    fn is_resumable(&self) -> bool {
        false
    }

    /// It is an upload in parts, which the store keeps until somebody completes or aborts it.
    fn is_upload(&self) -> bool {
        false
    }

    /// The number of what is staged, which it keeps as long as it is there, where there is such a thing.
    fn inode(&self) -> Option<u64> {
        None
    }

    /// Writes all of `data` at an offset.
    fn write_at(&self, data: &[u8], offset: u64) -> Result<()>;

    /// What is not written reads as zeros, and takes no room.
    fn keeps_holes(&self) -> bool {
        false
    }

    /// Makes an extent read as zeros that is not written; only for a store that keeps holes.
    fn leave_hole(&self, _extent: Extent) -> Result<()> {
        Err(Op::Write.errno(libc::EOPNOTSUPP))
    }

    /// The file ends here, where a hole does; only for a store that keeps holes.
    fn end_at(&self, _size_bytes: u64) -> Result<()> {
        Err(Op::Write.errno(libc::EOPNOTSUPP))
    }

    /// Makes it share all content of a source file of these attributes, as that is now. On an error it has
    /// none, or parts of it in their places.
    fn share_all(&self, _source: &dyn SourceFile, _metadata: &Metadata) -> Result<()> {
        Err(Op::Clone.errno(libc::EOPNOTSUPP))
    }

    /// Lets the store move bytes from a source file itself, at most `length` from `offset` on; returns
    /// how many it moved, or `None` where it cannot: then they are read and written.
    fn copy_from(&self, source: &dyn SourceFile, offset: u64, length: u64) -> Result<Option<u64>>;

    /// False where content would be thrown away (a dry run): then it need not be read.
    fn wants_content(&self) -> bool {
        true
    }

    /// Ends this writer's part: errors that the system kept back until now come out.
    fn close(self: Box<Self>) -> Result<Option<Receipt>>;

    /// How long the staged file is now, whoever wrote it; these are what the others have left.
    fn size_bytes(&self, receipts: &[Receipt]) -> Result<u64>;

    /// Gives the complete file its attributes and its own name, replacing what is not a directory
    /// there. On an error the staged file is removed.
    fn commit(self: Box<Self>, attributes: &Attributes, receipts: Vec<Receipt>) -> Result<Kept>;

    /// Removes the staged file.
    fn abandon(self: Box<Self>) -> Result<()>;
}
