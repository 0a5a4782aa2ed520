//! A directory of a remote tree.

use std::collections::HashSet;
use std::ffi::CString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::store::{
    Dir, Made, NewFile, NewHardLink, NewSpecial, NewSymlink, RemoteAddress, SourceFile, StagedFile,
    Upcoming,
};
use types::content::chunk::Extent;
use types::entry::{Attributes, Hint, Identity, Kind, Metadata, Preserved, Xattrs};
use types::error::{Cause, Op, Result};
use types::limits::{REMOTE_REQUEST_ATTEMPTS, REMOTE_WHOLE_BYTES_MAX};
use types::path::{Name, RelPath};

use super::ahead::Ahead;
use super::file::RemoteFile;
use super::staged::RemoteStaged;
use super::{Root, answered, renamed};
use crate::bundle::Item;
use crate::host::{Line, malformed};
use crate::known::{Entry, Known};
use crate::protocol::{
    Answer, At, Entered, FileIs, ListedXattrs, NewEntry, Page, Request, StagedAs, StatAs,
    checked_name,
};

/// A directory of a remote tree: a path, and what its listing has returned.
pub(super) struct RemoteDir {
    root: Arc<Root>,
    path: RelPath,
    /// Results of entering it, each for one use.
    entered: Arc<Mutex<Fresh>>,
    known: Arc<Mutex<Known>>,
    /// Permissions that the default ACL leaves, once they were requested.
    default_acl: Arc<Mutex<Option<AclMode>>>,
    /// Entries that were requested ahead.
    ahead: Ahead,
}

/// Permissions that the default ACL of a directory leaves, if it has one.
#[derive(Clone, Copy)]
struct AclMode(Option<u32>);

/// Results of entering a directory that were not used yet.
#[derive(Default)]
struct Fresh {
    metadata: Option<Metadata>,
    xattrs: Option<Result<Option<Xattrs>>>,
    batch: Option<Batch>,
}

/// Entries of a listing, and the line by which its next ones are requested.
struct Batch {
    page: Page,
    line: Line,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl RemoteDir {
    /// Opens a directory; one request returns its first entries, too.
    pub fn enter(root: &Arc<Root>, path: RelPath) -> Result<Self> {
        let request = Request::Enter { dir: root.at(&path), xattrs: root.lists_xattrs() };
        let ((reply, _), line) = root.host.ask_any(Op::Open, &request)?;
        let entered = answered!(Op::Open, reply?, Answer::Entered(entered) => entered)?;
        Self::entered(root, path, entered, line)
    }

    /// Opens a directory, of which that is known.
    fn entered(root: &Arc<Root>, path: RelPath, entered: Entered, line: Line) -> Result<Self> {
        let Entered { metadata, xattrs, page } = entered;
        let metadata = root.host.shown(metadata);
        if metadata.kind != Kind::Directory {
            return Err(malformed(Op::Open));
        }
        let mut known = Known::default();
        if let Some(page) = &page {
            known.add(&entries(root, page.entries.clone())?, page.more.is_none());
        }
        let batch = page.map(|page| Batch { page, line });
        let fresh = Fresh { metadata: Some(metadata), xattrs, batch };
        let entered = Arc::new(Mutex::new(fresh));
        let (root, known) = (Arc::clone(root), Arc::new(Mutex::new(known)));
        let (default_acl, ahead) = Default::default();
        Ok(Self { root, path, entered, known, default_acl, ahead })
    }

    /// Opens a directory: one that this thread has just created is known.
    pub fn open_at(root: &Arc<Root>, path: RelPath) -> Result<Self> {
        match root.made.take(&path) {
            Some((entered, line)) => Self::entered(root, path, entered, line),
            None => Self::enter(root, path),
        }
    }

    /// Creates a directory, and remembers it for the thread, which opens it next.
    pub fn make_at(root: &Arc<Root>, path: RelPath, mode: u32) -> Result<Made> {
        let Some((parent, name)) = path.split_last() else {
            return Err(Op::MakeDir.errno(libc::EEXIST));
        };
        let name_bytes = name.to_bytes().to_vec();
        let request = Request::MakeDir { dir: root.at(&parent), name: name_bytes, mode };
        let ((reply, line), is_repeated) = root.host.ask_counted(Op::MakeDir, &request)?;
        let (is_new, entered) = answered!(
            Op::MakeDir, reply?, Answer::Made { is_new, entered } => (is_new, entered)
        )?;
        let is_new = is_new || is_repeated && Self::is_as_made(root, &path, mode);
        if let Some(entered) = entered.filter(|_| is_new) {
            root.made.put(path, (entered, line));
        }
        Ok(if is_new { Made::New } else { Made::Existed })
    }

    fn at(&self) -> At {
        self.root.at(&self.path)
    }

    fn staged_as(&self, staged: Vec<u8>, name: &Name) -> StagedAs {
        StagedAs { dir: self.at(), staged, name: name.to_bytes().to_vec(), inode: None }
    }

    fn changes(&self, name: &Name) {
        lock(&self.known).change(name);
        self.is_left();
    }

    /// Forgets what entering the directory has returned, because that is not up to date.
    fn is_left(&self) {
        *lock(&self.entered) = Fresh::default();
    }

    fn stat_as(&self, name: Option<&Name>, how: StatAs) -> Result<Metadata> {
        let name = name.map(|name| name.to_bytes().to_vec());
        let answer = self.root.ask(Op::Stat, &Request::Stat { dir: self.at(), name, how })?;
        answered!(Op::Stat, answer, Answer::Metadata(metadata) => self.root.host.shown(metadata))
    }

    fn open(
        &self,
        name: &Name,
        read_bytes: u64,
        identity: Option<Identity>,
    ) -> Result<Box<dyn SourceFile>> {
        let request = self.opening(name, read_bytes, false, identity);
        let (reply, data) = self.root.host.ask(Op::Open, &|_| request.clone(), &[])?;
        let is = answered!(Op::Open, reply?, Answer::File(is) => *is)?;
        self.opened(name, is, data)
    }

    fn opening(
        &self,
        name: &Name,
        read_bytes: u64,
        sum: bool,
        identity: Option<Identity>,
    ) -> Request {
        Request::Open { dir: self.at(), name: name.to_bytes().to_vec(), read_bytes, sum, identity }
    }

    fn opened(&self, name: &Name, is: FileIs, data: Vec<u8>) -> Result<Box<dyn SourceFile>> {
        let is = FileIs { metadata: self.root.host.shown(is.metadata), ..is };
        let file = RemoteFile::new(&self.root, self.at(), name, is, data)?;
        Ok(Box::new(file))
    }

    /// Opens a file that was requested ahead.
    fn open_ahead(&self, name: &Name) -> Option<Result<Box<dyn SourceFile>>> {
        let arrived = self.ahead.take_file(&self.root.host, name)?;
        Some(arrived.and_then(|(is, data)| self.opened(name, is, data)))
    }

    /// Returns the request that is made ahead for an entry: only for a file, by the listing.
    fn ahead_of(&self, name: &Name, hint: Hint, upcoming: Upcoming) -> Option<Item> {
        let is_file = match lock(&self.known).peek(name) {
            Some(seen) => seen.is_ok_and(|seen| seen.kind == Kind::File),
            None => hint == Hint::File,
        };
        let name_bytes = Some(name.to_bytes().to_vec());
        let (op, request) = match upcoming {
            Upcoming::Content => {
                (Op::Open, self.opening(name, REMOTE_WHOLE_BYTES_MAX, false, None))
            }
            Upcoming::Checksums => (Op::Open, self.opening(name, 0, true, None)),
            Upcoming::Xattrs => {
                (Op::GetXattrs, Request::Xattrs { dir: self.at(), name: name_bytes })
            }
        };
        is_file.then(|| Item::plain(op, request))
    }

    /// Returns the first entries, from entering the directory or anew.
    fn first_batch(&self) -> Result<Batch> {
        let entered = lock(&self.entered).batch.take();
        entered.map_or_else(|| self.list_anew(), Ok)
    }

    fn list_anew(&self) -> Result<Batch> {
        let request = Request::List { dir: self.at(), xattrs: self.root.lists_xattrs() };
        let ((reply, _), line) = self.root.host.ask_any(Op::List, &request)?;
        let page = answered!(Op::List, reply?, Answer::Page(page) => page)?;
        Ok(Batch { page, line })
    }

    /// Returns the next entries, from the agent that holds them; `None` where it does not any more,
    /// or its connection has broken.
    fn next_batch(&self, list: u64, line: Line) -> Result<Option<Batch>> {
        let request = Request::More { dir: self.at(), list };
        let Some((reply, _)) = self.root.host.ask_by(&line, &request) else { return Ok(None) };
        if reply.as_ref().is_err_and(|error| *error == malformed(Op::List)) {
            return Ok(None);
        }
        let page = answered!(Op::List, reply?, Answer::Page(page) => page)?;
        Ok(Some(Batch { page, line }))
    }

    fn make(
        &self,
        op: Op,
        staged: &Name,
        name: &Name,
        entry: &NewEntry,
        attributes: &Attributes,
    ) -> Result<Preserved> {
        self.changes(name);
        let answer = self.root.ask_each(op, &|attempt| Request::Make {
            at: self.staged_as(renamed(staged, attempt), name),
            entry: entry.clone(),
            attributes: attributes.clone(),
        })?;
        answered!(op, answer, Answer::Preserved(preserved) => preserved)
    }

    fn set(&self, entry: Option<(&Name, Kind)>, attributes: &Attributes) -> Result<Preserved> {
        let entry = entry.map(|(name, kind)| (name.to_bytes().to_vec(), kind));
        let attributes = attributes.clone();
        let request = Request::SetAttributes { dir: self.at(), entry, attributes };
        let answer = self.root.ask(Op::SetMode, &request)?;
        answered!(Op::SetMode, answer, Answer::Preserved(preserved) => preserved)
    }
}

/// Validates entries that have arrived.
fn entries(root: &Root, page: Vec<crate::protocol::ListedEntry>) -> Result<Vec<Entry>> {
    let entry = |listed: crate::protocol::ListedEntry| {
        let name = checked_name(listed.name).map_err(|_| malformed(Op::List))?;
        let is_plain = !matches!(listed.hint, Hint::Object(_) | Hint::Recorded(_));
        let hint = if is_plain { listed.hint } else { return Err(malformed(Op::List)) };
        let metadata = listed.metadata.map(|metadata| root.host.shown(metadata));
        Ok(Entry { name, hint, metadata, xattrs: listed.xattrs })
    };
    page.into_iter().map(entry).collect()
}

impl Dir for RemoteDir {
    fn metadata(&self) -> Result<Metadata> {
        let entered = lock(&self.entered).metadata.take();
        entered.map_or_else(|| self.stat_as(None, StatAs::Plain), Ok)
    }

    /// Lists the directory page by page. Names are unique; more than one page is checked for that.
    /// Where an agent does not hold the rest any more, the directory is listed again, and known
    /// names are skipped.
    fn list(&self, each: &mut dyn FnMut(&Name, Hint)) -> Result<()> {
        let mut batch = self.first_batch()?;
        let mut seen: HashSet<CString> = HashSet::new();
        let is_long = batch.page.more.is_some();
        let mut begun = 0;
        loop {
            let Batch { page, line } = batch;
            let (more, known) = (page.more, seen.len());
            let listed = entries(&self.root, page.entries)?;
            if listed.is_empty() && more.is_some() {
                return Err(malformed(Op::List));
            }
            lock(&self.known).add(&listed, more.is_none());
            for Entry { name, hint, .. } in listed {
                if !is_long || seen.insert(name.clone()) {
                    each(&name, hint);
                }
            }
            let Some(list) = more else { return Ok(()) };
            begun = if seen.len() > known { 0 } else { begun };
            batch = match self.next_batch(list, line)? {
                Some(batch) => batch,
                None if begun < REMOTE_REQUEST_ATTEMPTS => {
                    begun += 1;
                    self.list_anew()?
                }
                None => return Err(Op::List.errno(libc::ENOTCONN)),
            };
        }
    }

    fn open_dir(&self, name: &Name) -> Result<Arc<dyn Dir>> {
        let dir = Self::open_at(&self.root, self.path.child(name))?;
        Ok(Arc::new(dir))
    }

    fn stat(&self, name: &Name) -> Result<Metadata> {
        self.stat_as(Some(name), StatAs::Plain)
    }

    fn stat_followed(&self, name: &Name) -> Result<Metadata> {
        self.stat_as(Some(name), StatAs::Followed)
    }

    fn peek(&self, name: &Name, _: Hint) -> Result<Metadata> {
        let known = lock(&self.known).peek(name);
        known.unwrap_or_else(|| self.stat(name))
    }

    fn stat_open(&self, name: &Name) -> Result<(Metadata, Option<Box<dyn SourceFile>>)> {
        match self.open_ahead(name) {
            Some(Ok(file)) => Ok((file.metadata()?, Some(file))),
            // A file that cannot be opened has metadata, too.
            Some(Err(_)) => self.stat(name).map(|metadata| (metadata, None)),
            None => self.peek(name, Hint::Unknown).map(|metadata| (metadata, None)),
        }
    }

    fn open_file(&self, name: &Name) -> Result<Box<dyn SourceFile>> {
        self.open_ahead(name).unwrap_or_else(|| self.open(name, 0, None))
    }

    fn open_listed(&self, name: &Name, _: Hint) -> Result<Box<dyn SourceFile>> {
        let open = || self.open(name, REMOTE_WHOLE_BYTES_MAX, None);
        self.open_ahead(name).unwrap_or_else(open)
    }

    fn open_extent(
        &self,
        name: &Name,
        identity: &Identity,
        _: Extent,
    ) -> Result<Box<dyn SourceFile>> {
        self.open(name, 0, Some(*identity))
    }

    fn read_link(&self, name: &Name) -> Result<Vec<u8>> {
        let request = Request::ReadLink { dir: self.at(), name: name.to_bytes().to_vec() };
        let answer = self.root.ask(Op::ReadLink, &request)?;
        let is_path = |bytes: &[u8]| bytes.len() < libc::PATH_MAX as usize && !bytes.contains(&0);
        answered!(Op::ReadLink, answer, Answer::Bytes(bytes) if is_path(&bytes) => bytes)
    }

    fn ahead(&self, names: &[(&Name, Hint)], upcoming: Upcoming) -> Option<Arc<dyn Dir>> {
        let ahead = Ahead::default();
        if upcoming == Upcoming::Xattrs {
            self.root.list_xattrs();
        }
        for (name, hint) in names {
            let listed = lock(&self.known).xattrs(name).filter(|_| upcoming == Upcoming::Xattrs);
            if let Some(ListedXattrs(xattrs)) = listed {
                ahead.know_xattrs(name, xattrs);
            } else if let Some(item) = self.ahead_of(name, *hint, upcoming) {
                ahead.request(&self.root.host, name, item);
            }
        }
        ahead.send(&self.root.host).then(|| {
            let (entered, known) = (Arc::clone(&self.entered), Arc::clone(&self.known));
            let (root, path) = (Arc::clone(&self.root), self.path.clone());
            let default_acl = Arc::clone(&self.default_acl);
            Arc::new(Self { root, path, entered, known, default_acl, ahead }) as Arc<dyn Dir>
        })
    }

    fn xattrs(&self, name: Option<&Name>) -> Result<Option<Xattrs>> {
        if let Some(known) = name.and_then(|name| self.ahead.xattrs(&self.root.host, name)) {
            return known;
        }
        if name.is_none()
            && let Some(known) = lock(&self.entered).xattrs.take()
        {
            return known;
        }
        let name = name.map(|name| name.to_bytes().to_vec());
        let answer = self.root.ask(Op::GetXattrs, &Request::Xattrs { dir: self.at(), name })?;
        answered!(Op::GetXattrs, answer, Answer::Xattrs(xattrs) => xattrs)
    }

    fn default_acl_mode(&self) -> Result<Option<u32>> {
        if let Some(AclMode(known)) = *lock(&self.default_acl) {
            return Ok(known);
        }
        let answer = self.root.ask(Op::GetXattrs, &Request::DefaultAclMode { dir: self.at() })?;
        let mode = answered!(Op::GetXattrs, answer, Answer::Mode(mode) => mode)?;
        *lock(&self.default_acl) = Some(AclMode(mode));
        Ok(mode)
    }

    fn make_dir(&self, name: &Name, mode: u32) -> Result<Made> {
        self.changes(name);
        Self::make_at(&self.root, self.path.child(name), mode)
    }

    fn stage_file(&self, new: &NewFile<'_>) -> Result<Box<dyn StagedFile>> {
        self.changes(new.name);
        RemoteStaged::stage(&self.root, self.at(), new)
            .map(|staged| Box::new(staged) as Box<dyn StagedFile>)
    }

    fn resume_staged(
        &self,
        new: &NewFile<'_>,
        inode: Option<u64>,
    ) -> Result<Option<Box<dyn StagedFile>>> {
        self.changes(new.name);
        let staged = RemoteStaged::resume(&self.root, self.at(), new, inode)?;
        Ok(staged.map(|staged| Box::new(staged) as Box<dyn StagedFile>))
    }

    fn join_staged(&self, ticket: &[u8], name: &Name) -> Result<Box<dyn StagedFile>> {
        RemoteStaged::join(&self.root, self.staged_as(ticket.to_vec(), name))
            .map(|staged| Box::new(staged) as Box<dyn StagedFile>)
    }

    fn make_symlink(&self, link: &NewSymlink<'_>) -> Result<Preserved> {
        self.make(Op::Symlink, link.staged, link.name, &link.into(), &link.attributes)
    }

    fn make_special(&self, special: &NewSpecial<'_>) -> Result<Preserved> {
        let NewSpecial { staged, name, attributes, .. } = special;
        self.make(Op::MakeSpecial, staged, name, &special.into(), attributes)
    }

    fn device_number(&self, name: &Name) -> Result<Option<u64>> {
        let request = Request::DeviceNumber { dir: self.at(), name: name.to_bytes().to_vec() };
        let answer = self.root.ask(Op::Stat, &request)?;
        answered!(Op::Stat, answer, Answer::Number(number) => number)
    }

    fn set_attributes(&self, attributes: &Attributes) -> Result<Preserved> {
        self.is_left();
        *lock(&self.default_acl) = None;
        self.set(None, attributes)
    }

    fn set_entry_attributes(
        &self,
        name: &Name,
        kind: Kind,
        attributes: &Attributes,
    ) -> Result<Preserved> {
        self.changes(name);
        self.set(Some((name, kind)), attributes)
    }

    /// Removes an entry. Where the request is repeated, the first one may have removed it.
    fn remove(&self, name: &Name, kind: Kind) -> Result<()> {
        self.changes(name);
        let request = Request::Remove { dir: self.at(), name: name.to_bytes().to_vec(), kind };
        match self.root.host.ask_counted(Op::Remove, &request)? {
            ((Err(error), _), true) if error.cause.is_vanished() => Ok(()),
            ((removed, _), _) => removed.map(drop),
        }
    }

    fn link_from(&self, other: &dyn Dir, name: &Name) -> Result<bool> {
        let Some(from) = self.beside(other) else { return Ok(false) };
        self.changes(name);
        let request = Request::LinkFrom { dir: self.at(), from, name: name.to_bytes().to_vec() };
        match self.root.host.ask_counted(Op::Link, &request)? {
            ((Err(error), _), true) if error.cause == Cause::System(libc::EEXIST) => {
                let is_made = self.stat(name)?.is_same_file(&other.stat(name)?);
                if is_made { Ok(true) } else { Err(error) }
            }
            ((linked, _), _) => answered!(Op::Link, linked?, Answer::Is(is_made) => is_made),
        }
    }

    fn hard_link(&self, link: &NewHardLink<'_>) -> Result<bool> {
        let Some(from) = self.beside(link.dir) else { return Ok(false) };
        self.changes(link.name);
        let answer = self.root.ask_each(Op::Link, &|attempt| Request::HardLink {
            at: self.staged_as(renamed(link.staged, attempt), link.name),
            from: from.clone(),
            of: link.of.to_bytes().to_vec(),
        })?;
        answered!(Op::Link, answer, Answer::Is(is_made) => is_made)
    }

    fn remote_address(&self) -> Option<RemoteAddress> {
        let (host, root) = (self.root.host.id(), self.root.number);
        Some(RemoteAddress { host, root, path: self.path.clone() })
    }

    fn mount(&self) -> Result<Option<u64>> {
        let answer = self.root.ask(Op::Stat, &Request::Mount { dir: self.at() })?;
        answered!(Op::Stat, answer, Answer::Number(number) => number)
    }
}

impl RemoteDir {
    /// Returns whether a directory is as a new one of that mode: an earlier request has made it.
    fn is_as_made(root: &Arc<Root>, path: &RelPath, mode: u32) -> bool {
        let Ok(found) = Self::enter(root, path.clone()) else { return false };
        let entered = lock(&found.entered);
        let (Some(metadata), Some(batch)) = (&entered.metadata, &entered.batch) else {
            return false;
        };
        let mode = mode & !::host::process::current_umask();
        metadata.mode & 0o777 == mode & 0o777 && batch.page.entries.is_empty()
    }

    /// Returns where another directory is, if that is on the same host.
    fn beside(&self, other: &dyn Dir) -> Option<At> {
        let other = other.remote_address().filter(|it| it.host == self.root.host.id())?;
        Some(At { root: other.root, path: other.path.as_bytes().to_vec() })
    }
}
