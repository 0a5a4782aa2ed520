//! A tree in memory, for tests: many ranks of one process share it.

use std::collections::{BTreeMap, HashMap};
use std::ffi::CString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Dir, Made, NewFile, NewHardLink, NewSymlink, Receipt, SourceFile, StagedFile, Store};
use types::entry::{Attributes, Hint, Kind, Metadata, Owner, Preserved, Time, Xattrs};
use types::error::{Cause, Error, Op, Result};
use types::lustre::layout::Striping;
use types::outcome::difference::Fields;
use types::path::{Name, RelPath};

/// A tree in memory.
#[derive(Clone)]
pub struct MemoryStore {
    tree: Arc<Mutex<Tree>>,
}

type Inode = u64;
const ROOT: Inode = 1;

struct Tree {
    nodes: HashMap<Inode, Node>,
    next_inode: Inode,
    umask: u32,
    striping: Option<Striping>,
}

struct Node {
    metadata: Metadata,
    xattrs: Xattrs,
    content: Content,
}

enum Content {
    File(Vec<u8>),
    Directory(BTreeMap<CString, Inode>),
    Symlink(Vec<u8>),
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// Creates an empty tree.
    pub fn new() -> Self {
        let mut tree =
            Tree { nodes: HashMap::new(), next_inode: ROOT, umask: 0o022, striping: None };
        tree.insert(Kind::Directory, 0o755, Content::Directory(BTreeMap::new()));
        Self { tree: Arc::new(Mutex::new(tree)) }
    }

    /// Creates an empty tree in which files claim to be striped.
    pub fn striped(striping: Striping) -> Self {
        let store = Self::new();
        lock(&store.tree).striping = Some(striping);
        store
    }

    fn dir(&self, inode: Inode) -> MemoryDir {
        MemoryDir { tree: Arc::clone(&self.tree), inode }
    }
}

impl Store for MemoryStore {
    fn open_dir(&self, path: &RelPath) -> Result<Arc<dyn Dir>> {
        let mut at = ROOT;
        for component in path.components() {
            let name = CString::new(component).map_err(|_| Op::Open.errno(libc::EINVAL))?;
            at = self.dir(at).find(&name, Op::Open)?;
        }
        let dir = self.dir(at);
        lock(&dir.tree).children(at, Op::Open)?;
        Ok(Arc::new(dir))
    }

    fn device(&self) -> Result<u64> {
        Ok(lock(&self.tree).node(ROOT, Op::Stat)?.metadata.device)
    }
}

fn lock(tree: &Mutex<Tree>) -> MutexGuard<'_, Tree> {
    tree.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tree {
    fn insert(&mut self, kind: Kind, mode: u32, content: Content) -> Inode {
        let inode = self.next_inode;
        self.next_inode += 1;
        let time = Time { seconds: 1_700_000_000, nanoseconds: inode as u32 };
        let metadata = Metadata {
            mode,
            device: 1,
            inode,
            known: Fields::ALL,
            ..Metadata::of_kind(kind).with_times(time)
        };
        self.nodes.insert(inode, Node { metadata, xattrs: Xattrs::new(), content });
        inode
    }

    fn node(&mut self, inode: Inode, op: Op) -> Result<&mut Node> {
        self.nodes.get_mut(&inode).ok_or(op.errno(libc::ENOENT))
    }

    fn children(&mut self, inode: Inode, op: Op) -> Result<&mut BTreeMap<CString, Inode>> {
        match &mut self.node(inode, op)?.content {
            Content::Directory(children) => Ok(children),
            _ => Err(op.errno(libc::ENOTDIR)),
        }
    }

    /// Puts an entry in a directory, replacing any entry but a directory there.
    fn link(&mut self, parent: Inode, name: &Name, inode: Inode, op: Op) -> Result<()> {
        if let Some(old) = self.children(parent, op)?.get(name).copied() {
            if matches!(self.node(old, op)?.content, Content::Directory(_)) {
                return Err(op.failed(Cause::KindDiffers));
            }
            self.unlink(old);
        }
        self.children(parent, op)?.insert(name.to_owned(), inode);
        Ok(())
    }

    /// Removes a name; with its last one a file is removed.
    fn unlink(&mut self, inode: Inode) {
        if let Some(node) = self.nodes.get_mut(&inode) {
            node.metadata.links -= 1;
            if node.metadata.links == 0 {
                self.nodes.remove(&inode);
            }
        }
    }

    fn set_attributes(&mut self, inode: Inode, attributes: &Attributes) -> Result<Preserved> {
        let Node { metadata, xattrs, .. } = self.node(inode, Op::SetMode)?;
        if let Some(wanted) = &attributes.xattrs {
            *xattrs = (**wanted).clone();
        }
        if let Some(owner) = attributes.owner {
            let old = Owner { uid: metadata.uid, gid: metadata.gid };
            Owner { uid: metadata.uid, gid: metadata.gid } = owner.or(old);
        }
        let now = || Ok(Owner::from(&*metadata));
        if let Some(mode) = attributes.mode_to_set(Preserved::ALL, now)? {
            metadata.mode = mode;
        }
        if let Some(times) = attributes.times {
            (metadata.atime, metadata.mtime) = (times.atime, times.mtime);
        }
        Ok(Preserved::ALL)
    }
}

struct MemoryDir {
    tree: Arc<Mutex<Tree>>,
    inode: Inode,
}

impl MemoryDir {
    fn find(&self, name: &Name, op: Op) -> Result<Inode> {
        let mut tree = lock(&self.tree);
        tree.children(self.inode, op)?.get(name).copied().ok_or(op.errno(libc::ENOENT))
    }

    fn file(&self, inode: Inode) -> MemoryFile {
        MemoryFile { tree: Arc::clone(&self.tree), inode }
    }

    fn is_file(&self, inode: Inode, op: Op) -> Result<()> {
        match lock(&self.tree).node(inode, op)?.content {
            Content::File(_) => Ok(()),
            Content::Directory(_) => Err(op.errno(libc::EISDIR)),
            Content::Symlink(_) => Err(op.errno(libc::ELOOP)),
        }
    }
}

impl Dir for MemoryDir {
    fn metadata(&self) -> Result<Metadata> {
        Ok(lock(&self.tree).node(self.inode, Op::Stat)?.metadata)
    }

    fn list(&self, each: &mut dyn FnMut(&Name, Hint)) -> Result<()> {
        let names: Vec<(CString, Kind)> = {
            let mut tree = lock(&self.tree);
            let children = tree.children(self.inode, Op::List)?.clone();
            children
                .into_iter()
                .filter_map(|(name, inode)| Some((name, tree.nodes.get(&inode)?.metadata.kind)))
                .collect()
        };
        for (name, kind) in &names {
            each(name, Hint::from(*kind));
        }
        Ok(())
    }

    fn open_dir(&self, name: &Name) -> Result<Arc<dyn Dir>> {
        let inode = self.find(name, Op::Open)?;
        lock(&self.tree).children(inode, Op::Open)?;
        Ok(Arc::new(Self { tree: Arc::clone(&self.tree), inode }))
    }

    fn stat(&self, name: &Name) -> Result<Metadata> {
        let inode = self.find(name, Op::Stat)?;
        Ok(lock(&self.tree).node(inode, Op::Stat)?.metadata)
    }

    fn open_file(&self, name: &Name) -> Result<Box<dyn SourceFile>> {
        let inode = self.find(name, Op::Open)?;
        self.is_file(inode, Op::Open)?;
        Ok(Box::new(self.file(inode)))
    }

    fn read_link(&self, name: &Name) -> Result<Vec<u8>> {
        let inode = self.find(name, Op::ReadLink)?;
        match &lock(&self.tree).node(inode, Op::ReadLink)?.content {
            Content::Symlink(points_to) => Ok(points_to.clone()),
            _ => Err(Op::ReadLink.errno(libc::EINVAL)),
        }
    }

    fn xattrs(&self, name: Option<&Name>) -> Result<Option<Xattrs>> {
        let inode = match name {
            Some(name) => self.find(name, Op::GetXattrs)?,
            None => self.inode,
        };
        Ok(Some(lock(&self.tree).node(inode, Op::GetXattrs)?.xattrs.clone()))
    }

    fn make_dir(&self, name: &Name, mode: u32) -> Result<Made> {
        if let Ok(inode) = self.find(name, Op::MakeDir) {
            let is_dir = lock(&self.tree).children(inode, Op::MakeDir).is_ok();
            return if is_dir {
                Ok(Made::Existed)
            } else {
                Err(Op::MakeDir.failed(Cause::KindDiffers))
            };
        }
        let mut tree = lock(&self.tree);
        let mode = mode & !tree.umask;
        let inode = tree.insert(Kind::Directory, mode, Content::Directory(BTreeMap::new()));
        tree.link(self.inode, name, inode, Op::MakeDir)?;
        Ok(Made::New)
    }

    fn stage_file(&self, new: &NewFile<'_>) -> Result<Box<dyn StagedFile>> {
        let (staged, name) = (new.staged, new.name);
        if self.find(staged, Op::Create).is_ok() {
            return Err(Op::Create.errno(libc::EEXIST));
        }
        let mut tree = lock(&self.tree);
        let inode = tree.insert(Kind::File, 0o600, Content::File(Vec::new()));
        tree.link(self.inode, staged, inode, Op::Create)?;
        Ok(Box::new(MemoryStaged {
            dir: self.inode,
            file: self.file(inode),
            staged: staged.to_owned(),
            name: name.to_owned(),
        }))
    }

    fn join_staged(&self, ticket: &[u8], _name: &Name) -> Result<Box<dyn StagedFile>> {
        let staged = CString::new(ticket).map_err(|_| Op::Open.errno(libc::EINVAL))?;
        let inode = self.find(&staged, Op::Open)?;
        Ok(Box::new(MemoryStaged {
            dir: self.inode,
            file: self.file(inode),
            name: staged.clone(),
            staged,
        }))
    }

    fn make_symlink(&self, link: &NewSymlink<'_>) -> Result<Preserved> {
        let mut tree = lock(&self.tree);
        let inode = tree.insert(Kind::Symlink, 0o777, Content::Symlink(link.points_to.to_vec()));
        tree.link(self.inode, link.name, inode, Op::Symlink)?;
        tree.set_attributes(inode, &link.attributes)
    }

    fn set_attributes(&self, attributes: &Attributes) -> Result<Preserved> {
        lock(&self.tree).set_attributes(self.inode, attributes)
    }

    fn set_entry_attributes(
        &self,
        name: &Name,
        _kind: Kind,
        attributes: &Attributes,
    ) -> Result<Preserved> {
        let inode = self.find(name, Op::SetMode)?;
        lock(&self.tree).set_attributes(inode, attributes)
    }

    fn hard_link(&self, link: &NewHardLink<'_>) -> Result<bool> {
        let dir = link.dir.metadata()?;
        let mut tree = lock(&self.tree);
        let inode = tree.children(dir.inode, Op::Link)?.get(link.of).copied();
        let inode = inode.ok_or(Op::Link.errno(libc::ENOENT))?;
        tree.node(inode, Op::Link)?.metadata.links += 1;
        tree.link(self.inode, link.name, inode, Op::Link)?;
        Ok(true)
    }

    fn remove(&self, name: &Name, kind: Kind) -> Result<()> {
        let inode = self.find(name, Op::Remove)?;
        let mut tree = lock(&self.tree);
        match &tree.node(inode, Op::Remove)?.content {
            Content::Directory(_) if kind != Kind::Directory => {
                return Err(Op::Remove.errno(libc::EISDIR));
            }
            Content::Directory(children) if !children.is_empty() => {
                return Err(Op::Remove.errno(libc::ENOTEMPTY));
            }
            Content::File(_) | Content::Symlink(_) if kind == Kind::Directory => {
                return Err(Op::Remove.errno(libc::ENOTDIR));
            }
            _ => {}
        }
        tree.unlink(inode);
        tree.children(self.inode, Op::Remove)?.remove(name);
        Ok(())
    }
}

struct MemoryFile {
    tree: Arc<Mutex<Tree>>,
    inode: Inode,
}

impl MemoryFile {
    fn with_bytes<T>(&self, op: Op, use_bytes: impl FnOnce(&mut Vec<u8>) -> T) -> Result<T> {
        let mut tree = lock(&self.tree);
        let node = tree.node(self.inode, op)?;
        let Content::File(bytes) = &mut node.content else { return Err(op.errno(libc::EBADF)) };
        let used = use_bytes(bytes);
        node.metadata.size_bytes = bytes.len() as u64;
        node.metadata.allocated_bytes = bytes.len() as u64;
        Ok(used)
    }
}

impl SourceFile for MemoryFile {
    fn metadata(&self) -> Result<Metadata> {
        Ok(lock(&self.tree).node(self.inode, Op::Stat)?.metadata)
    }

    fn xattrs(&self) -> Result<Option<Xattrs>> {
        Ok(Some(lock(&self.tree).node(self.inode, Op::GetXattrs)?.xattrs.clone()))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        self.with_bytes(Op::Read, |bytes| {
            let rest = bytes.get(offset as usize..).unwrap_or_default();
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            count
        })
    }
}

struct MemoryStaged {
    dir: Inode,
    file: MemoryFile,
    staged: CString,
    name: CString,
}

impl MemoryStaged {
    fn unlink(&self, op: Op) -> Result<()> {
        lock(&self.file.tree).children(self.dir, op)?.remove(&self.staged);
        Ok(())
    }

    fn publish(&self, attributes: &Attributes) -> Result<Preserved> {
        let mut tree = lock(&self.file.tree);
        let preserved = tree.set_attributes(self.file.inode, attributes)?;
        tree.link(self.dir, &self.name, self.file.inode, Op::Rename)?;
        Ok(preserved)
    }
}

impl StagedFile for MemoryStaged {
    fn ticket(&self) -> Vec<u8> {
        self.staged.to_bytes().to_vec()
    }

    fn striping(&self, _size_bytes: u64) -> Option<Striping> {
        lock(&self.file.tree).striping
    }

    fn write_at(&self, data: &[u8], offset: u64) -> Result<()> {
        self.file.with_bytes(Op::Write, |bytes| {
            let (begin, end) = (offset as usize, offset as usize + data.len());
            bytes.resize(bytes.len().max(end), 0);
            bytes[begin..end].copy_from_slice(data);
        })
    }

    fn close(self: Box<Self>) -> Result<Option<Receipt>> {
        Ok(None)
    }

    fn size_bytes(&self, _receipts: &[Receipt]) -> Result<u64> {
        Ok(self.file.metadata()?.size_bytes)
    }

    fn commit(self: Box<Self>, attributes: &Attributes, _: Vec<Receipt>) -> Result<Preserved> {
        let published = self.publish(attributes);
        let unlinked: std::result::Result<(), Error> = self.unlink(Op::Remove);
        published.and_then(|preserved| unlinked.map(|()| preserved))
    }

    fn abandon(self: Box<Self>) -> Result<()> {
        self.unlink(Op::Remove)
    }
}
