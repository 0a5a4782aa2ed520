//! A target that is looked at but never changed: what `--dry-run` copies to.
//!
//! What would be made exists from then on as far as this store is concerned, so a copy runs its whole
//! course, with all its checks, and only the changes are left out.

use std::sync::Arc;
use std::time::Duration;

use super::{
    Dir, Made, NameReader, NewFile, NewHardLink, NewSpecial, NewSymlink, Receipt, SourceFile,
    StagedFile, Store,
};
use types::entry::{Attributes, Hint, Kept, Kind, Metadata, Xattrs};
use types::error::{Cause, Error, Op, Result};
use types::object::keys_below::KeysBelow;
use types::object::span::Span;
use types::outcome::compare::TimeRange;
use types::path::{Name, RelPath};
use types::place::root_view::RootView;

/// A store around a store, or around nothing where the target's root does not exist yet.
pub struct DryRunStore<S> {
    inner: Option<S>,
}

impl<S: Store> DryRunStore<S> {
    /// `inner` is the real target, where there is one.
    pub fn new(inner: Option<S>) -> Self {
        Self { inner }
    }
}

impl<S: Store> Store for DryRunStore<S> {
    fn open_dir(&self, path: &RelPath) -> Result<Arc<dyn Dir>> {
        let inner = match &self.inner {
            Some(inner) => existing(inner.open_dir(path))?,
            None => None,
        };
        Ok(Arc::new(DryRunDir { inner }))
    }

    fn device(&self) -> Result<u64> {
        self.inner.as_ref().ok_or(Op::Stat.errno(libc::ENOENT)).and_then(Store::device)
    }

    fn chunk_bytes(&self, size_bytes: u64, wish_bytes: u64) -> u64 {
        self.inner.as_ref().map_or(wish_bytes, |inner| inner.chunk_bytes(size_bytes, wish_bytes))
    }

    fn has_spare_handles(&self) -> bool {
        self.inner.as_ref().is_none_or(Store::has_spare_handles)
    }

    fn service(&self) -> Option<u64> {
        self.inner.as_ref().and_then(Store::service)
    }

    fn time_range(&self, entry: &Metadata) -> TimeRange {
        self.inner.as_ref().map_or(TimeRange::All, |inner| inner.time_range(entry))
    }

    fn clock_ahead(&self) -> Option<Duration> {
        self.inner.as_ref().map_or(Some(Duration::ZERO), Store::clock_ahead)
    }

    fn has_layouts(&self) -> bool {
        self.inner.as_ref().is_some_and(Store::has_layouts)
    }

    fn keeps_directories(&self) -> bool {
        self.inner.as_ref().is_none_or(Store::keeps_directories)
    }

    fn folds_case(&self) -> bool {
        self.inner.as_ref().is_some_and(Store::folds_case)
    }

    fn view(
        &self,
        entry: Option<&Name>,
        takes_part: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Option<RootView>> {
        self.inner.as_ref().map_or(Ok(None), |inner| inner.view(entry, takes_part))
    }

    fn watch(&self, entry: Option<&Name>) {
        if let Some(inner) = &self.inner {
            inner.watch(entry);
        }
    }

    fn check_mounts(&self, takes_part: &dyn Fn(&[u8]) -> bool) -> Result<()> {
        self.inner.as_ref().map_or(Ok(()), |inner| inner.check_mounts(takes_part))
    }
}

/// Nothing there is no error: it would have been made.
fn existing<T>(opened: Result<T>) -> Result<Option<T>> {
    match opened {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.cause.is_vanished() => Ok(None),
        // It would have made way.
        Err(Error { cause: Cause::System(libc::ENOTDIR | libc::ELOOP), .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

struct DryRunDir {
    /// The real directory, where there is one.
    inner: Option<Arc<dyn Dir>>,
}

impl DryRunDir {
    fn real(&self, op: Op) -> Result<&Arc<dyn Dir>> {
        self.inner.as_ref().ok_or(op.errno(libc::ENOENT))
    }
}

impl Dir for DryRunDir {
    fn metadata(&self) -> Result<Metadata> {
        self.real(Op::Stat)?.metadata()
    }

    fn list(&self, each: &mut dyn FnMut(&Name, Hint)) -> Result<()> {
        self.inner.as_ref().map_or(Ok(()), |inner| inner.list(each))
    }

    fn read(&self, span: Span, reader: &mut dyn NameReader) -> Result<()> {
        self.inner.as_ref().map_or(Ok(()), |inner| inner.read(span, reader))
    }

    fn read_known(&self, keys: &KeysBelow, reader: &mut dyn NameReader) -> Result<()> {
        self.inner.as_ref().map_or(Ok(()), |inner| inner.read_known(keys, reader))
    }

    fn open_dir(&self, name: &Name) -> Result<Arc<dyn Dir>> {
        let inner = match &self.inner {
            Some(inner) => existing(inner.open_dir(name))?,
            None => None,
        };
        Ok(Arc::new(Self { inner }))
    }

    fn stat(&self, name: &Name) -> Result<Metadata> {
        self.real(Op::Stat)?.stat(name)
    }

    fn peek(&self, name: &Name, hint: Hint) -> Result<Metadata> {
        self.real(Op::Stat)?.peek(name, hint)
    }

    fn stat_followed(&self, name: &Name) -> Result<Metadata> {
        self.real(Op::Stat)?.stat_followed(name)
    }

    fn open_file(&self, name: &Name) -> Result<Box<dyn SourceFile>> {
        self.real(Op::Open)?.open_file(name)
    }

    fn read_link(&self, name: &Name) -> Result<Vec<u8>> {
        self.real(Op::ReadLink)?.read_link(name)
    }

    fn xattrs(&self, name: Option<&Name>) -> Result<Option<Xattrs>> {
        self.real(Op::GetXattrs)?.xattrs(name)
    }

    fn make_dir(&self, name: &Name, _mode: u32) -> Result<Made> {
        match existing(self.stat(name))? {
            None => Ok(Made::New),
            Some(metadata) if metadata.kind == Kind::Directory => Ok(Made::Existed),
            Some(_) => Err(Op::MakeDir.failed(Cause::KindDiffers)),
        }
    }

    fn stage_file(&self, _new: &NewFile<'_>) -> Result<Box<dyn StagedFile>> {
        Ok(Box::new(DryRunStaged))
    }

    fn join_staged(&self, _ticket: &[u8], _name: &Name) -> Result<Box<dyn StagedFile>> {
        Ok(Box::new(DryRunStaged))
    }

    fn make_symlink(&self, _link: &NewSymlink<'_>) -> Result<Kept> {
        Ok(Kept::ALL)
    }

    fn make_special(&self, _special: &NewSpecial<'_>) -> Result<Kept> {
        Ok(Kept::ALL)
    }

    fn device_number(&self, name: &Name) -> Result<Option<u64>> {
        self.real(Op::Stat)?.device_number(name)
    }

    fn set_attributes(&self, _attributes: &Attributes) -> Result<Kept> {
        Ok(Kept::ALL)
    }

    fn set_entry_attributes(&self, _: &Name, _: Kind, _: &Attributes) -> Result<Kept> {
        Ok(Kept::ALL)
    }

    fn mount(&self) -> Result<Option<u64>> {
        self.inner.as_ref().map_or(Ok(None), |inner| inner.mount())
    }

    fn remove(&self, _name: &Name, _kind: Kind) -> Result<()> {
        Ok(())
    }

    /// Only names of one file system can share a file, and one that does not exist yet will be on that of
    /// the directory above it.
    fn hard_link(&self, link: &NewHardLink<'_>) -> Result<bool> {
        let devices = (self.metadata(), link.dir.metadata());
        Ok(!matches!(devices, (Ok(here), Ok(there)) if here.device != there.device))
    }

    /// Only names of one file system can share a file.
    fn link_from(&self, other: &dyn Dir, _name: &Name) -> Result<bool> {
        let Some(here) = &self.inner else { return Ok(true) };
        Ok(here.metadata()?.device == other.metadata()?.device)
    }
}

struct DryRunStaged;

impl StagedFile for DryRunStaged {
    fn ticket(&self) -> Vec<u8> {
        Vec::new()
    }

    fn write_at(&self, _data: &[u8], _offset: u64) -> Result<()> {
        Ok(())
    }

    fn copy_from(&self, _: &dyn SourceFile, _: u64, length: u64) -> Result<Option<u64>> {
        Ok(Some(length))
    }

    fn wants_content(&self) -> bool {
        false
    }

    fn close(self: Box<Self>) -> Result<Option<Receipt>> {
        Ok(None)
    }

    fn size_bytes(&self, _receipts: &[Receipt]) -> Result<u64> {
        Ok(0)
    }

    fn commit(self: Box<Self>, _: &Attributes, _: Vec<Receipt>) -> Result<Kept> {
        Ok(Kept::ALL)
    }

    fn abandon(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
