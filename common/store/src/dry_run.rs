//! A tree that is inspected but never changed: with `--dry-run`, a job works on it as on any other.
//!
//! A job runs completely, with all its checks, and only the changes are left out. Entries that
//! would be created exist from then on as far as the store of a copy's target is concerned. Entries
//! that would be removed still exist.

use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::absent::{AbsentDir, AbsentStore};
use crate::{
    Capabilities, Dir, DirDecorator, Made, NewFile, NewHardLink, NewSpecial, NewSymlink, Receipt,
    Sender, SourceFile, StagedCapabilities, StagedFile, Store, StoreDecorator, Upcoming,
};
use types::content::chunk::Extent;
use types::entry::{Attributes, Hint, Kind, Metadata, Preserved, Time};
use types::error::{Cause, Error, Op, Result};
use types::path::{Name, RelPath};

/// A store around another one, or around none where the root of the target does not exist yet.
pub struct DryRunStore<S> {
    inner: Option<S>,
    missing: Missing,
}

/// Meaning of a missing directory that is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// The job would have created it: it is empty.
    Created,
    /// The job creates nothing: it is missing.
    Absent,
}

impl<S: Store> DryRunStore<S> {
    /// Wraps `inner`, the real target, where it exists.
    pub fn new(inner: Option<S>) -> Self {
        Self { inner, missing: Missing::Created }
    }

    /// Wraps a tree in which the job creates nothing.
    pub fn of_existing(inner: S) -> Self {
        Self { inner: Some(inner), missing: Missing::Absent }
    }

    /// Returns the real tree, where it exists.
    pub fn real(&self) -> Option<&S> {
        self.inner.as_ref()
    }

    /// Opens the nearest existing directory above that path.
    fn above(&self, path: &RelPath) -> Option<Arc<dyn Dir>> {
        let (parent, _) = path.split_last()?;
        self.inner().open_dir(&parent).ok().or_else(|| self.above(&parent))
    }
}

impl<S: Store> StoreDecorator for DryRunStore<S> {
    fn inner(&self) -> &dyn Store {
        match &self.inner {
            Some(inner) => inner,
            None => &AbsentStore,
        }
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { discards_writes: true, ..self.inner().capabilities() }
    }

    fn open_dir(&self, path: &RelPath) -> Result<Arc<dyn Dir>> {
        let opened = self.missing.or_created(self.inner().open_dir(path))?;
        Ok(DryRunDir::around(opened, self.missing, || self.above(path)))
    }

    fn make_dir(&self, path: &RelPath, mode: u32) -> Result<Made> {
        match path.split_last() {
            Some((parent, name)) => StoreDecorator::open_dir(self, &parent)?.make_dir(&name, mode),
            None => Ok(Made::Existed),
        }
    }

    fn set_each(&self, directories: &[(RelPath, Attributes)]) -> Vec<Result<Preserved>> {
        let set = |(path, attributes): &(RelPath, Attributes)| {
            StoreDecorator::open_dir(self, path)?.set_attributes(attributes)
        };
        directories.iter().map(set).collect()
    }

    fn remove_keys(&self, _keys: &[String]) -> Result<Vec<(usize, Error)>> {
        Ok(Vec::new())
    }

    /// Does nothing, because nothing has changed.
    fn sync(&self) -> Result<()> {
        Ok(())
    }
}

impl Missing {
    /// Returns the opened directory, or `None` for one that the job would have created.
    fn or_created(self, opened: Result<Arc<dyn Dir>>) -> Result<Option<Arc<dyn Dir>>> {
        match self {
            Self::Created => existing(opened),
            Self::Absent => opened.map(Some),
        }
    }
}

/// Turns the error of a missing entry into `None`: the entry would have been created.
fn existing<T>(opened: Result<T>) -> Result<Option<T>> {
    match opened {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.cause.is_vanished() => Ok(None),
        // The entry would have been removed for its replacement.
        Err(Error { cause: Cause::System(libc::ENOTDIR | libc::ELOOP), .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) struct DryRunDir {
    inner: Arc<dyn Dir>,
    missing: Missing,
    /// The directory itself, or the nearest existing one above it.
    real: Option<Arc<dyn Dir>>,
}

impl DryRunDir {
    /// Wraps an existing directory, or creates the stand-in for a new one below another.
    fn around(
        opened: Option<Arc<dyn Dir>>,
        missing: Missing,
        above: impl FnOnce() -> Option<Arc<dyn Dir>>,
    ) -> Arc<dyn Dir> {
        Arc::new(if let Some(inner) = opened {
            Self { real: Some(Arc::clone(&inner)), missing, inner }
        } else {
            let real = above();
            Self { inner: Arc::new(NewDir { above: real.clone() }), missing, real }
        })
    }
}

impl DirDecorator for DryRunDir {
    fn inner(&self) -> &dyn Dir {
        &*self.inner
    }

    fn ahead(&self, names: &[(&Name, Hint)], upcoming: Upcoming) -> Option<Arc<dyn Dir>> {
        let inner = self.inner.ahead(names, upcoming)?;
        Some(Self::around(Some(inner), self.missing, || None))
    }

    fn open_dir(&self, name: &Name) -> Result<Arc<dyn Dir>> {
        let opened = self.missing.or_created(self.inner.open_dir(name))?;
        Ok(Self::around(opened, self.missing, || self.real.clone()))
    }

    fn make_dir(&self, name: &Name, _mode: u32) -> Result<Made> {
        match existing(self.inner.stat(name))? {
            None => Ok(Made::New),
            Some(metadata) if metadata.kind == Kind::Directory => Ok(Made::Existed),
            Some(_) => Err(Op::MakeDir.failed(Cause::KindDiffers)),
        }
    }

    fn stage_file(&self, _new: &NewFile<'_>) -> Result<Box<dyn StagedFile>> {
        Ok(Box::new(DryRunStaged::default()))
    }

    /// Takes over no staged file, because a job that did would remove it.
    fn resume_staged(
        &self,
        _new: &NewFile<'_>,
        _inode: Option<u64>,
    ) -> Result<Option<Box<dyn StagedFile>>> {
        Ok(None)
    }

    fn join_staged(&self, _ticket: &[u8], _name: &Name) -> Result<Box<dyn StagedFile>> {
        Ok(Box::new(DryRunStaged::default()))
    }

    fn abort_upload(&self, _: &Name, _: &[u8], _: Option<&[u8]>) -> Result<()> {
        Ok(())
    }

    fn abort_unrecorded_uploads(&self, _: &Name, _: Time) -> Result<()> {
        Ok(())
    }

    fn make_symlink(&self, _link: &NewSymlink<'_>) -> Result<Preserved> {
        Ok(Preserved::ALL)
    }

    fn make_special(&self, _special: &NewSpecial<'_>) -> Result<Preserved> {
        Ok(Preserved::ALL)
    }

    fn set_attributes(&self, _attributes: &Attributes) -> Result<Preserved> {
        Ok(Preserved::ALL)
    }

    fn set_entry_attributes(&self, _: &Name, _: Kind, _: &Attributes) -> Result<Preserved> {
        Ok(Preserved::ALL)
    }

    fn remove(&self, _name: &Name, _kind: Kind) -> Result<()> {
        Ok(())
    }

    /// Inspects the entry alone.
    fn remove_unchanged(&self, name: &Name, _kind: Kind, inode: u64) -> Result<()> {
        let is_unchanged = DirDecorator::stat(self, name)?.inode == inode;
        is_unchanged.then_some(()).ok_or(Op::Remove.failed(Cause::Changed))
    }

    /// Returns no keys, because no object is removed.
    fn keys_of(&self, _entry: Option<(&Name, Kind)>) -> Result<Option<Vec<String>>> {
        Ok(None)
    }

    /// Compares file systems: hard links must be on one, and a new directory will be on that of its
    /// parent.
    fn hard_link(&self, link: &NewHardLink<'_>) -> Result<bool> {
        let devices = (self.inner.metadata(), link.dir.metadata());
        Ok(!matches!(devices, (Ok(here), Ok(there)) if here.device != there.device))
    }

    /// Compares file systems: hard links must be on one.
    fn link_from(&self, other: &dyn Dir, _name: &Name) -> Result<bool> {
        let Some(real) = &self.real else { return Ok(true) };
        Ok(real.metadata()?.device == other.metadata()?.device)
    }

    /// Returns no file descriptor, because the directory could be changed with it.
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// A directory that would have been created: it is empty.
struct NewDir {
    /// The nearest existing directory above it.
    above: Option<Arc<dyn Dir>>,
}

impl DirDecorator for NewDir {
    fn inner(&self) -> &dyn Dir {
        &AbsentDir
    }

    /// Returns the metadata that a new directory inherits from its parent.
    fn metadata(&self) -> Result<Metadata> {
        let unknown = || Ok(Metadata::of_kind(Kind::Directory));
        let above = self.above.as_ref().map_or_else(unknown, |above| above.metadata())?;
        Ok(Metadata { mode: 0o700 | above.mode & 0o2000, inode: 0, ..above })
    }

    fn default_acl_mode(&self) -> Result<Option<u32>> {
        self.above.as_ref().map_or(Ok(None), |above| above.default_acl_mode())
    }
}

/// A file that records only which range of bytes it was given.
#[derive(Default)]
struct DryRunStaged {
    taken: Mutex<Option<Extent>>,
}

impl DryRunStaged {
    fn taken(&self) -> MutexGuard<'_, Option<Extent>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, extent: Extent) {
        let mut taken = self.taken();
        let earlier = taken.unwrap_or(extent);
        let (begin, end) = (earlier.offset.min(extent.offset), earlier.end().max(extent.end()));
        *taken = Some(Extent::between(begin, end));
    }
}

impl StagedFile for DryRunStaged {
    fn ticket(&self) -> Vec<u8> {
        Vec::new()
    }

    fn write_at(&self, data: &[u8], offset: u64) -> Result<()> {
        self.take(Extent { offset, length: data.len() as u64 });
        Ok(())
    }

    fn size_bytes(&self, receipts: &[Receipt]) -> Result<u64> {
        let own = *self.taken();
        let extents = receipts.iter().map(|receipt| receipt.extent).chain(own);
        Ok(extents.map(Extent::end).max().unwrap_or(0))
    }

    fn capabilities(&self) -> StagedCapabilities {
        StagedCapabilities {
            wants_content: false,
            keeps_holes: true,
            ..StagedCapabilities::default()
        }
    }

    fn leave_hole(&self, extent: Extent) -> Result<()> {
        self.take(extent);
        Ok(())
    }

    fn end_at(&self, size_bytes: u64) -> Result<()> {
        self.take(Extent { offset: size_bytes, length: 0 });
        Ok(())
    }

    fn copy_from(&self, _: &dyn SourceFile, offset: u64, length: u64) -> Result<Option<u64>> {
        self.take(Extent { offset, length });
        Ok(Some(length))
    }

    /// Passes the extent in a receipt to the rank that commits the file, which has no other way to
    /// know it.
    fn close(self: Box<Self>) -> Result<Option<Receipt>> {
        let taken = *self.taken();
        Ok(taken.map(|extent| Receipt::sent(extent, None, String::new(), Sender::Here)))
    }

    fn commit(self: Box<Self>, _: &Attributes, _: Vec<Receipt>) -> Result<Preserved> {
        Ok(Preserved::ALL)
    }

    fn abandon(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
