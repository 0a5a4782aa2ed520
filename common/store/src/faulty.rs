//! A store that fails on purpose: which calls fail is a function of the seed, the operation and the
//! name, so a run is repeated by its seed however its threads are scheduled.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{
    Dir, Made, NewFile, NewHardLink, NewSpecial, NewSymlink, Receipt, SourceFile, StagedFile, Store,
};
use types::content::chunk::Extent;
use types::entry::{Attributes, Hint, Kept, Kind, Metadata, Xattrs};
use types::error::{Op, Result};
use types::lustre::layout::{Layout, Striping};
use types::outcome::compare::TimeRange;
use types::path::{Name, RelPath};

/// Which calls fail, and how often they did.
pub struct Faults {
    seed: u64,
    rules: Vec<Rule>,
    short_reads: bool,
    garbled_one_in: Option<u64>,
    injected: AtomicU64,
    meanwhile: Option<Meanwhile>,
}

/// What others do to a file while it is read.
type Meanwhile = (Vec<u8>, Box<dyn Fn() + Send + Sync>);

struct Rule {
    op: Op,
    errno: i32,
    one_in: u64,
}

impl Faults {
    /// No faults yet.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            rules: Vec::new(),
            short_reads: false,
            garbled_one_in: None,
            injected: AtomicU64::new(0),
            meanwhile: None,
        }
    }

    /// Of the names an operation is used on, one in so many fails with that `errno`.
    #[must_use]
    pub fn fail(mut self, op: Op, errno: i32, one_in: u64) -> Self {
        self.rules.push(Rule { op, errno, one_in });
        self
    }

    /// Of the files that are written, one in so many gets other bytes than it was given, and nobody is told.
    #[must_use]
    pub fn garble_writes(mut self, one_in: u64) -> Self {
        self.garbled_one_in = Some(one_in);
        self
    }

    /// Reads return fewer bytes than asked for, as they may.
    #[must_use]
    pub fn with_short_reads(mut self) -> Self {
        self.short_reads = true;
        self
    }

    /// After each read from a file of that name this happens: what others do meanwhile.
    #[must_use]
    pub fn meanwhile(mut self, name: &[u8], deed: impl Fn() + Send + Sync + 'static) -> Self {
        self.meanwhile = Some((name.to_vec(), Box::new(deed)));
        self
    }

    /// Calls that failed on purpose so far.
    pub fn injected(&self) -> u64 {
        self.injected.load(Ordering::Relaxed)
    }

    fn is_struck(&self, op: Op, name: &[u8], one_in: u64) -> bool {
        let mut hasher = DefaultHasher::new();
        (self.seed, op, name).hash(&mut hasher);
        hasher.finish().is_multiple_of(one_in)
    }

    /// What is written into a file of that name is not what was given.
    pub fn garbles(&self, name: &[u8]) -> bool {
        self.garbled_one_in.is_some_and(|one_in| self.is_struck(Op::Write, name, one_in))
    }

    /// Fails where a rule says so.
    fn strike(&self, op: Op, name: &[u8]) -> Result<()> {
        for rule in self.rules.iter().filter(|rule| rule.op == op) {
            if self.is_struck(op, name, rule.one_in) {
                self.injected.fetch_add(1, Ordering::Relaxed);
                return Err(op.errno(rule.errno));
            }
        }
        Ok(())
    }
}

/// A store around a store.
pub struct FaultyStore<S> {
    inner: S,
    faults: Arc<Faults>,
}

impl<S: Store> FaultyStore<S> {
    /// `inner`, with faults.
    pub fn new(inner: S, faults: Arc<Faults>) -> Self {
        Self { inner, faults }
    }
}

impl<S: Store> Store for FaultyStore<S> {
    fn open_dir(&self, path: &RelPath) -> Result<Arc<dyn Dir>> {
        let last = path.components().last().unwrap_or_default();
        self.faults.strike(Op::Open, last)?;
        let inner = self.inner.open_dir(path)?;
        Ok(FaultyDir::around(inner, &self.faults))
    }

    fn device(&self) -> Result<u64> {
        self.inner.device()
    }

    fn has_spare_handles(&self) -> bool {
        self.inner.has_spare_handles()
    }

    fn is_past_help(&self, errno: i32) -> bool {
        self.inner.is_past_help(errno)
    }

    fn service(&self) -> Option<u64> {
        self.inner.service()
    }

    fn clock_behind(&self) -> Duration {
        self.inner.clock_behind()
    }

    fn time_range(&self, entry: &Metadata) -> TimeRange {
        self.inner.time_range(entry)
    }

    fn clock_ahead(&self) -> Option<Duration> {
        self.inner.clock_ahead()
    }

    fn keeps_directories(&self) -> bool {
        self.inner.keeps_directories()
    }
}

struct FaultyDir {
    inner: Arc<dyn Dir>,
    faults: Arc<Faults>,
}

impl FaultyDir {
    fn around(inner: Arc<dyn Dir>, faults: &Arc<Faults>) -> Arc<dyn Dir> {
        Arc::new(Self { inner, faults: Arc::clone(faults) })
    }

    fn staged(&self, inner: Box<dyn StagedFile>, name: &Name) -> Box<dyn StagedFile> {
        let name = name.to_bytes().to_vec();
        Box::new(FaultyStaged { inner, faults: Arc::clone(&self.faults), name })
    }
}

impl Dir for FaultyDir {
    fn metadata(&self) -> Result<Metadata> {
        self.inner.metadata()
    }

    fn list(&self, each: &mut dyn FnMut(&Name, Hint)) -> Result<()> {
        let mut first_name = None;
        self.inner.list(&mut |name, hint| {
            first_name.get_or_insert_with(|| name.to_owned());
            each(name, hint);
        })?;
        // The directory has no name of its own here; its first entry stands for it.
        first_name.map_or(Ok(()), |name| self.faults.strike(Op::List, name.to_bytes()))
    }

    fn open_dir(&self, name: &Name) -> Result<Arc<dyn Dir>> {
        self.faults.strike(Op::Open, name.to_bytes())?;
        Ok(Self::around(self.inner.open_dir(name)?, &self.faults))
    }

    fn stat(&self, name: &Name) -> Result<Metadata> {
        self.faults.strike(Op::Stat, name.to_bytes())?;
        self.inner.stat(name)
    }

    fn stat_followed(&self, name: &Name) -> Result<Metadata> {
        self.inner.stat_followed(name)
    }

    fn open_file(&self, name: &Name) -> Result<Box<dyn SourceFile>> {
        self.faults.strike(Op::Open, name.to_bytes())?;
        let inner = self.inner.open_file(name)?;
        let name = name.to_bytes().to_vec();
        Ok(Box::new(FaultyFile { inner, faults: Arc::clone(&self.faults), name }))
    }

    fn read_link(&self, name: &Name) -> Result<Vec<u8>> {
        self.faults.strike(Op::ReadLink, name.to_bytes())?;
        self.inner.read_link(name)
    }

    fn xattrs(&self, name: Option<&Name>) -> Result<Option<Xattrs>> {
        if let Some(name) = name {
            self.faults.strike(Op::GetXattrs, name.to_bytes())?;
        }
        self.inner.xattrs(name)
    }

    fn layout(&self, name: &Name) -> Result<Option<Layout>> {
        self.faults.strike(Op::GetXattrs, name.to_bytes())?;
        self.inner.layout(name)
    }

    fn default_acl_mode(&self) -> Result<Option<u32>> {
        self.inner.default_acl_mode()
    }

    fn make_dir(&self, name: &Name, mode: u32) -> Result<Made> {
        self.faults.strike(Op::MakeDir, name.to_bytes())?;
        self.inner.make_dir(name, mode)
    }

    fn stage_file(&self, new: &NewFile<'_>) -> Result<Box<dyn StagedFile>> {
        self.faults.strike(Op::Create, new.name.to_bytes())?;
        Ok(self.staged(self.inner.stage_file(new)?, new.name))
    }

    fn join_staged(&self, ticket: &[u8], name: &Name) -> Result<Box<dyn StagedFile>> {
        Ok(self.staged(self.inner.join_staged(ticket, name)?, name))
    }

    fn make_symlink(&self, link: &NewSymlink<'_>) -> Result<Kept> {
        self.faults.strike(Op::Symlink, link.name.to_bytes())?;
        self.inner.make_symlink(link)
    }

    fn make_special(&self, special: &NewSpecial<'_>) -> Result<Kept> {
        self.faults.strike(Op::MakeSpecial, special.name.to_bytes())?;
        self.inner.make_special(special)
    }

    fn set_attributes(&self, attributes: &Attributes) -> Result<Kept> {
        self.inner.set_attributes(attributes)
    }

    fn set_entry_attributes(
        &self,
        name: &Name,
        kind: Kind,
        attributes: &Attributes,
    ) -> Result<Kept> {
        self.faults.strike(Op::SetMode, name.to_bytes())?;
        self.inner.set_entry_attributes(name, kind, attributes)
    }

    fn hard_link(&self, link: &NewHardLink<'_>) -> Result<bool> {
        self.faults.strike(Op::Link, link.name.to_bytes())?;
        self.inner.hard_link(link)
    }

    fn device_number(&self, name: &Name) -> Result<Option<u64>> {
        self.inner.device_number(name)
    }

    fn mount(&self) -> Result<Option<u64>> {
        self.inner.mount()
    }

    fn remove(&self, name: &Name, kind: Kind) -> Result<()> {
        self.faults.strike(Op::Remove, name.to_bytes())?;
        self.inner.remove(name, kind)
    }
}

struct FaultyFile {
    inner: Box<dyn SourceFile>,
    faults: Arc<Faults>,
    name: Vec<u8>,
}

impl SourceFile for FaultyFile {
    fn metadata(&self) -> Result<Metadata> {
        self.inner.metadata()
    }

    fn xattrs(&self) -> Result<Option<Xattrs>> {
        self.inner.xattrs()
    }

    fn layout(&self) -> Option<&Layout> {
        self.inner.layout()
    }

    fn data_in(&self, extent: Extent) -> Result<Option<Extent>> {
        self.inner.data_in(extent)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        self.faults.strike(Op::Read, &self.name)?;
        let length = if self.faults.short_reads { buffer.len().div_ceil(3) } else { buffer.len() };
        let read = self.inner.read_at(&mut buffer[..length], offset);
        match &self.faults.meanwhile {
            Some((name, deed)) if *name == self.name => deed(),
            _ => {}
        }
        read
    }

    /// No handle: content must take the way on which reads can fail.
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

struct FaultyStaged {
    inner: Box<dyn StagedFile>,
    faults: Arc<Faults>,
    name: Vec<u8>,
}

impl StagedFile for FaultyStaged {
    fn ticket(&self) -> Vec<u8> {
        self.inner.ticket()
    }

    fn striping(&self, size_bytes: u64) -> Option<Striping> {
        self.inner.striping(size_bytes)
    }

    fn inode(&self) -> Option<u64> {
        self.inner.inode()
    }

    fn write_at(&self, data: &[u8], offset: u64) -> Result<()> {
        self.faults.strike(Op::Write, &self.name)?;
        if data.is_empty() || !self.faults.garbles(&self.name) {
            return self.inner.write_at(data, offset);
        }
        let mut garbled = data.to_vec();
        garbled[data.len() / 2] ^= 1;
        self.inner.write_at(&garbled, offset)
    }

    fn share_all(&self, source: &dyn SourceFile, metadata: &Metadata) -> Result<()> {
        self.inner.share_all(source, metadata)
    }

    fn keeps_holes(&self) -> bool {
        self.inner.keeps_holes()
    }

    fn leave_hole(&self, extent: Extent) -> Result<()> {
        self.inner.leave_hole(extent)
    }

    fn end_at(&self, size_bytes: u64) -> Result<()> {
        self.inner.end_at(size_bytes)
    }

    fn copy_from(&self, source: &dyn SourceFile, offset: u64, length: u64) -> Result<Option<u64>> {
        self.inner.copy_from(source, offset, length)
    }

    fn close(self: Box<Self>) -> Result<Option<Receipt>> {
        self.faults.strike(Op::Close, &self.name)?;
        self.inner.close()
    }

    fn size_bytes(&self, receipts: &[Receipt]) -> Result<u64> {
        self.inner.size_bytes(receipts)
    }

    fn commit(self: Box<Self>, attributes: &Attributes, receipts: Vec<Receipt>) -> Result<Kept> {
        if let Err(error) = self.faults.strike(Op::Rename, &self.name) {
            self.inner.abandon()?;
            return Err(error);
        }
        self.inner.commit(attributes, receipts)
    }

    fn abandon(self: Box<Self>) -> Result<()> {
        self.inner.abandon()
    }
}
