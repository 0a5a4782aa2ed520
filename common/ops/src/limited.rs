//! Stores whose use is limited: each block and each operation on an entry waits for its tokens.

use std::sync::Arc;

use host::throttle::{self, Throttle, add, give_back, take};
use store::{
    Dir, DirDecorator, Made, NameReader, NewFile, NewHardLink, NewSpecial, NewSymlink, Receipt,
    SourceFile, SourceFileDecorator, StagedFile, StagedFileDecorator, Store, StoreDecorator,
    Upcoming,
};
use types::content::chunk::Extent;
use types::entry::{Attributes, Hint, Identity, Kind, Metadata, Preserved, Xattrs};
use types::error::{Error, Result};
use types::lustre::layout::Layout;
use types::object::key_range::KeyRange;
use types::object::keys_below::KeysBelow;
use types::object::metadata::LinkForm;
use types::path::{Name, RelPath};
use types::rate::Work;

/// Limits the use of a store, where the job is limited.
pub fn limited(store: Box<dyn Store>, at: At) -> Box<dyn Store> {
    if throttle::own().is_none() {
        return store;
    }
    Box::new(LimitedStore { inner: store, at })
}

/// Place of the bytes of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// File system that the node has mounted.
    Node,
    /// Host that an agent or an SFTP server makes reachable.
    Host,
    /// Service, whose client counts each request itself.
    Service,
}

/// Waits until one operation may begin. That on a service is as many as it has requests, and waits
/// for those before.
fn operation(at: At) {
    take(Work::Operations, u64::from(at != At::Service));
}

/// Waits until bytes may be written, or for what was written before.
fn take_written(at: At, bytes: u64) {
    take(Work::Written, bytes);
    if at != At::Node {
        take(Work::Uploaded, bytes);
    }
}

/// Kinds of work that reading is.
fn reading(at: At) -> &'static [Work] {
    match at {
        At::Node => &[Work::Read],
        At::Host | At::Service => &[Work::Read, Work::Downloaded],
    }
}

/// Waits until a block may be read, or for what was read before.
fn take_read(at: At, bytes: u64) {
    for work in reading(at) {
        take(*work, bytes);
    }
}

/// Returns the length of a block, where that much would be moved.
fn block(wanted: usize) -> usize {
    throttle::own().and_then(Throttle::block_bytes).map_or(wanted, |bytes| bytes.min(wanted))
}

struct LimitedStore {
    inner: Box<dyn Store>,
    at: At,
}

impl StoreDecorator for LimitedStore {
    fn inner(&self) -> &dyn Store {
        &*self.inner
    }

    fn open_dir(&self, path: &RelPath) -> Result<Arc<dyn Dir>> {
        operation(self.at);
        let inner = StoreDecorator::inner(self).open_dir(path)?;
        Ok(Arc::new(LimitedDir { inner, at: self.at }))
    }

    fn make_dir(&self, path: &RelPath, mode: u32) -> Result<Made> {
        operation(self.at);
        StoreDecorator::inner(self).make_dir(path, mode)
    }

    fn set_each(&self, directories: &[(RelPath, Attributes)]) -> Vec<Result<Preserved>> {
        for _ in directories {
            operation(self.at);
        }
        StoreDecorator::inner(self).set_each(directories)
    }

    fn look_each(&self, paths: &[RelPath]) -> Vec<Result<Metadata>> {
        for _ in paths {
            operation(self.at);
        }
        StoreDecorator::inner(self).look_each(paths)
    }

    fn look(&self, path: &RelPath) -> Result<Metadata> {
        operation(self.at);
        StoreDecorator::inner(self).look(path)
    }

    fn remove_keys(&self, keys: &[String]) -> Result<Vec<(usize, Error)>> {
        operation(self.at);
        StoreDecorator::inner(self).remove_keys(keys)
    }
}

struct LimitedDir {
    inner: Arc<dyn Dir>,
    at: At,
}

impl LimitedDir {
    fn source(&self, inner: Box<dyn SourceFile>) -> Box<dyn SourceFile> {
        Box::new(LimitedSource { inner, at: self.at, block_bytes: block(usize::MAX) })
    }

    fn staged(&self, inner: Box<dyn StagedFile>) -> Box<dyn StagedFile> {
        Box::new(LimitedStaged { inner, at: self.at })
    }
}

impl DirDecorator for LimitedDir {
    fn inner(&self) -> &dyn Dir {
        &*self.inner
    }

    fn list(&self, each: &mut dyn FnMut(&Name, Hint)) -> Result<()> {
        operation(self.at);
        self.inner.list(each)
    }

    fn read(&self, key_range: KeyRange, reader: &mut dyn NameReader) -> Result<()> {
        operation(self.at);
        self.inner.read(key_range, reader)
    }

    fn read_known(&self, keys: &KeysBelow, reader: &mut dyn NameReader) -> Result<()> {
        self.inner.read_known(keys, reader)
    }

    fn open_dir(&self, name: &Name) -> Result<Arc<dyn Dir>> {
        operation(self.at);
        Ok(Arc::new(Self { inner: self.inner.open_dir(name)?, at: self.at }))
    }

    fn stat(&self, name: &Name) -> Result<Metadata> {
        operation(self.at);
        self.inner.stat(name)
    }

    /// Counts nothing of a service or another host, which mostly knows the answer from a listing.
    fn peek(&self, name: &Name, hint: Hint) -> Result<Metadata> {
        if self.at == At::Node {
            operation(At::Node);
        }
        self.inner.peek(name, hint)
    }

    fn stat_followed(&self, name: &Name) -> Result<Metadata> {
        operation(self.at);
        self.inner.stat_followed(name)
    }

    fn layout(&self, name: &Name) -> Result<Option<Layout>> {
        operation(self.at);
        self.inner.layout(name)
    }

    fn device_number(&self, name: &Name) -> Result<Option<u64>> {
        operation(self.at);
        self.inner.device_number(name)
    }

    fn ahead(&self, names: &[(&Name, Hint)], upcoming: Upcoming) -> Option<Arc<dyn Dir>> {
        let inner = self.inner.ahead(names, upcoming)?;
        Some(Arc::new(Self { inner, at: self.at }))
    }

    fn stat_open(&self, name: &Name) -> Result<(Metadata, Option<Box<dyn SourceFile>>)> {
        operation(self.at);
        let (metadata, file) = self.inner.stat_open(name)?;
        Ok((metadata, file.map(|file| self.source(file))))
    }

    fn open_file(&self, name: &Name) -> Result<Box<dyn SourceFile>> {
        operation(self.at);
        self.inner.open_file(name).map(|file| self.source(file))
    }

    fn open_listed(&self, name: &Name, hint: Hint) -> Result<Box<dyn SourceFile>> {
        operation(self.at);
        self.inner.open_listed(name, hint).map(|file| self.source(file))
    }

    fn open_extent(
        &self,
        name: &Name,
        identity: &Identity,
        extent: Extent,
    ) -> Result<Box<dyn SourceFile>> {
        operation(self.at);
        self.inner.open_extent(name, identity, extent).map(|file| self.source(file))
    }

    fn read_link(&self, name: &Name) -> Result<Vec<u8>> {
        operation(self.at);
        self.inner.read_link(name)
    }

    fn open_link(&self, name: &Name) -> Result<Option<(Box<dyn SourceFile>, LinkForm)>> {
        let opened = self.inner.open_link(name)?;
        Ok(opened.map(|(file, form)| (self.source(file), form)))
    }

    fn xattrs(&self, name: Option<&Name>) -> Result<Option<Xattrs>> {
        operation(self.at);
        self.inner.xattrs(name)
    }

    fn make_dir(&self, name: &Name, mode: u32) -> Result<Made> {
        operation(self.at);
        self.inner.make_dir(name, mode)
    }

    fn stage_file(&self, new: &NewFile<'_>) -> Result<Box<dyn StagedFile>> {
        operation(self.at);
        self.inner.stage_file(new).map(|file| self.staged(file))
    }

    fn resume_staged(
        &self,
        new: &NewFile<'_>,
        inode: Option<u64>,
    ) -> Result<Option<Box<dyn StagedFile>>> {
        operation(self.at);
        Ok(self.inner.resume_staged(new, inode)?.map(|file| self.staged(file)))
    }

    fn join_staged(&self, ticket: &[u8], name: &Name) -> Result<Box<dyn StagedFile>> {
        operation(self.at);
        self.inner.join_staged(ticket, name).map(|file| self.staged(file))
    }

    fn make_symlink(&self, link: &NewSymlink<'_>) -> Result<Preserved> {
        operation(self.at);
        self.inner.make_symlink(link)
    }

    fn make_special(&self, special: &NewSpecial<'_>) -> Result<Preserved> {
        operation(self.at);
        self.inner.make_special(special)
    }

    fn set_attributes(&self, attributes: &Attributes) -> Result<Preserved> {
        operation(self.at);
        self.inner.set_attributes(attributes)
    }

    fn set_entry_attributes(
        &self,
        name: &Name,
        kind: Kind,
        attributes: &Attributes,
    ) -> Result<Preserved> {
        operation(self.at);
        self.inner.set_entry_attributes(name, kind, attributes)
    }

    fn remove(&self, name: &Name, kind: Kind) -> Result<()> {
        operation(self.at);
        self.inner.remove(name, kind)
    }

    fn remove_unchanged(&self, name: &Name, kind: Kind, inode: u64) -> Result<()> {
        operation(self.at);
        self.inner.remove_unchanged(name, kind, inode)
    }

    fn link_from(&self, other: &dyn Dir, name: &Name) -> Result<bool> {
        operation(self.at);
        self.inner.link_from(other, name)
    }

    fn hard_link(&self, link: &NewHardLink<'_>) -> Result<bool> {
        operation(self.at);
        self.inner.hard_link(link)
    }
}

struct LimitedSource {
    inner: Box<dyn SourceFile>,
    at: At,
    /// Length of a block. It stays, since a store reads blocks of one length ahead.
    block_bytes: usize,
}

impl SourceFileDecorator for LimitedSource {
    fn inner(&self) -> &dyn SourceFile {
        &*self.inner
    }

    /// Reads a block. How much there is is not known before: the rest is given back.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        operation(self.at);
        let length = buffer.len().min(self.block_bytes);
        take_read(self.at, length as u64);
        let read = self.inner.read_at(&mut buffer[..length], offset);
        let rest = length - read.as_ref().copied().unwrap_or(0).min(length);
        for work in reading(self.at) {
            give_back(*work, rest as u64);
        }
        read
    }
}

struct LimitedStaged {
    inner: Box<dyn StagedFile>,
    at: At,
}

/// A source from which a service reads what it sends: each block waits to be sent, too.
struct SentSource<'s> {
    inner: &'s dyn SourceFile,
    at: At,
}

impl SourceFileDecorator for SentSource<'_> {
    fn inner(&self) -> &dyn SourceFile {
        self.inner
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let read = self.inner.read_at(buffer, offset)?;
        take_written(self.at, read as u64);
        Ok(read)
    }
}

impl StagedFileDecorator for LimitedStaged {
    fn inner(&self) -> &dyn StagedFile {
        &*self.inner
    }

    fn into_inner(self: Box<Self>) -> Box<dyn StagedFile> {
        self.inner
    }

    fn write_at(&self, data: &[u8], offset: u64) -> Result<()> {
        operation(self.at);
        take_written(self.at, data.len() as u64);
        self.inner.write_at(data, offset)
    }

    /// Moves one block at a time in the kernel. A service takes all at once: it copies an object
    /// itself, without moving any byte, or reads a source to the end.
    fn copy_from(&self, source: &dyn SourceFile, offset: u64, length: u64) -> Result<Option<u64>> {
        operation(self.at);
        if self.at == At::Host {
            // A host would copy as fast as it can.
            return Ok(None);
        }
        if self.at != At::Node {
            let source = SentSource { inner: source, at: self.at };
            return self.inner.copy_from(&source, offset, length);
        }
        take_written(self.at, 0);
        take_read(At::Node, 0);
        let at_most = block(usize::try_from(length).unwrap_or(usize::MAX)) as u64;
        let moved = self.inner.copy_from(source, offset, at_most)?;
        add(Work::Written, moved.unwrap_or(0));
        add(Work::Read, moved.unwrap_or(0));
        Ok(moved)
    }

    fn commit(
        self: Box<Self>,
        attributes: &Attributes,
        receipts: Vec<Receipt>,
    ) -> Result<Preserved> {
        operation(self.at);
        self.inner.commit(attributes, receipts)
    }
}
