//! A directory on an SFTP server: a path, and what its listing has returned.

use std::collections::{HashSet, VecDeque};
use std::ffi::CString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use remote::known::{Entry, Known};
use remote::protocol::checked_name;
use remote::store::renamed;
use store::opening::Symlinks;
use store::{Dir, Made, NewFile, NewHardLink, NewSymlink, RemoteAddress, SourceFile, StagedFile};
use types::content::chunk::Extent;
use types::entry::{self, Attributes, Hint, Identity, Metadata, Preserved};
use types::error::{Cause, Error, Op, Result};
use types::limits::SFTP_LIST_WINDOW;
use types::path::{self, Name, RelPath, escaped};

use super::attributes::{self, Holder};
use super::file::{Expected, SftpFile};
use super::linked_names::LinkedNames;
use super::staged::SftpStaged;
use super::{Root, checked, child, inode_of, is_path_below};
use crate::answers::{self, FAILURE, told};
use crate::host::{Host, again};
use crate::packet::{Attrs, Kind, Listed, Packet, Reply};
use crate::session::{Extension, Pending};

/// A directory on an SFTP server.
pub(super) struct SftpDir {
    root: Arc<Root>,
    below: RelPath,
    /// Absolute path.
    path: Vec<u8>,
    /// Metadata from entering it, for one use.
    entered: Mutex<Option<Metadata>>,
    known: Mutex<Known>,
    linked: Mutex<LinkedNames>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SftpDir {
    /// Opens a directory. All directories on the way to it are inspected at once: none may be a
    /// symbolic link.
    pub fn enter(root: &Arc<Root>, below: RelPath) -> Result<Self> {
        let path = root.at(&below);
        checked(Op::Open, &path)?;
        let metadata = match root.symlinks {
            Symlinks::Keep => metadata_of_last(root, &below)?,
            Symlinks::Follow => opening(root.stat_followed(&path))?,
        };
        Self::entered(root, below, path, metadata)
    }

    /// Opens a directory in one that is open.
    fn enter_child(&self, name: &Name) -> Result<Self> {
        let path = child(&self.path, name);
        let metadata = opening(self.root.stat(&path))?;
        Self::entered(&self.root, self.below.child(name), path, metadata)
    }

    fn entered(root: &Arc<Root>, below: RelPath, path: Vec<u8>, found: Metadata) -> Result<Self> {
        if found.kind != entry::Kind::Directory {
            return Err(Op::Open.errno(libc::ENOTDIR));
        }
        let (root, entered) = (Arc::clone(root), Mutex::new(Some(found)));
        Ok(Self { root, below, path, entered, known: Mutex::default(), linked: Mutex::default() })
    }

    fn host(&self) -> &Host {
        &self.root.host
    }

    fn changes(&self, name: &Name) {
        lock(&self.known).change(name);
        lock(&self.entered).take();
    }

    /// Lists the directory once; names that were listed before are left out.
    fn list_once(
        &self,
        seen: &mut HashSet<CString>,
        each: &mut dyn FnMut(&Name, Hint),
    ) -> Result<()> {
        let handle = self.host().open(Op::List, &Packet::of(Kind::Opendir, &self.path))?;
        let request = handle.packet(Kind::Readdir);
        let mut begun: VecDeque<Pending> = VecDeque::new();
        let (mut window, mut stale, mut tells_itself) = (2, 0, false);
        loop {
            while begun.len() < window {
                begun.push_back(handle.send(Op::List, &request)?);
            }
            window = (2 * window).min(SFTP_LIST_WINDOW);
            let Some(pending) = begun.pop_front() else { return Ok(()) };
            let take = |reply| match reply {
                Reply::Names(names) if !names.is_empty() => Some(names),
                _ => None,
            };
            let page = answers::part(Op::List, pending.wait(Op::List)?, take)?;
            let is_last = page.is_none();
            let page = page.unwrap_or_default();
            lock(&self.linked).add(&page, is_last);
            tells_itself |= page.iter().any(|listed| listed.name == b".");
            let entries = self.entries(page)?;
            lock(&self.known).add(&entries, is_last);
            stale += usize::from(entries.iter().all(|entry| seen.contains(&entry.name)));
            // A listing that begins anew has no more pages of known names than names.
            if stale > seen.len() + 3 {
                return Err(answers::malformed(Op::List));
            }
            for Entry { name, hint, .. } in entries {
                if seen.insert(name.clone()) {
                    each(&name, hint);
                }
            }
            if is_last {
                return if tells_itself { Ok(()) } else { self.check_search() };
            }
        }
    }

    /// Fails where entries of the directory may not be inspected: OpenSSH's server leaves those out
    /// of a listing whose attributes it cannot read, the directory itself first.
    fn check_search(&self) -> Result<()> {
        let request = Packet::of(Kind::Lstat, &path::join(&self.path, b"."));
        match answers::attrs(Op::List, &self.host().ask(Op::List, &request)?) {
            Err(error) if error.cause == Cause::System(libc::EACCES) => Err(error),
            _ => Ok(()),
        }
    }

    /// Validates entries that have arrived.
    fn entries(&self, page: Vec<Listed>) -> Result<Vec<Entry>> {
        let is_other = |listed: &Listed| !matches!(&listed.name[..], b"." | b"..");
        page.into_iter().filter(is_other).map(|listed| self.entry(listed)).collect()
    }

    fn entry(&self, Listed { name, attrs, .. }: Listed) -> Result<Entry> {
        let shown = escaped(&name);
        let name = checked_name(name).map_err(|_| {
            let error = Op::List.errno(libc::EBADMSG);
            told(error, &format!("the SFTP server lists \"{shown}\", which is no name"))
        })?;
        let inode = inode_of(&child(&self.path, &name));
        let metadata = answers::metadata(&attrs, self.host().id(), inode);
        let hint = metadata.map_or(Hint::Unknown, |metadata| Hint::from(metadata.kind));
        // What a link leads to is not listed.
        let is_itself = self.root.symlinks == Symlinks::Keep || hint != Hint::Symlink;
        Ok(Entry { name, hint, metadata: metadata.filter(|_| is_itself), xattrs: None })
    }

    /// Returns whether a file has further hard links, which a listing alone tells. Where there is
    /// none, it may have some.
    fn is_linked(&self, name: &Name) -> bool {
        let known = lock(&self.linked).has(name);
        known.unwrap_or_else(|| {
            self.list(&mut |_, _| ()).is_err() || lock(&self.linked).has(name) == Some(true)
        })
    }

    /// Returns whether a file is to be written into: a regular one that has no other name.
    fn is_rewritten(&self, name: &Name) -> bool {
        let is_file = || self.stat(name).is_ok_and(|found| found.kind == entry::Kind::File);
        self.root.is_in_place && is_file() && !self.is_linked(name)
    }

    fn open(&self, name: &Name, expected: Expected) -> Result<Box<dyn SourceFile>> {
        let file = SftpFile::open(&self.root, child(&self.path, name), expected)?;
        Ok(Box::new(file))
    }

    /// Creates a symbolic link under that name, with its attributes.
    fn stage_symlink(&self, link: &NewSymlink<'_>, path: &[u8]) -> Result<Preserved> {
        // OpenSSH's order of the two paths, which other servers have adopted.
        let request = Packet::of(Kind::Symlink, link.points_to).text(path);
        let made = answers::done(
            Op::Symlink,
            self.host().session(Op::Symlink)?.ask(Op::Symlink, &request)?,
        );
        made.map_err(|error| self.explained(error, path))?;
        let is_it = answers::path(
            Op::ReadLink,
            self.host().ask(Op::ReadLink, &Packet::of(Kind::Readlink, path))?,
        )? == link.points_to;
        if !is_it {
            return Err(told(
                Op::Symlink.errno(libc::EBADMSG),
                "the SFTP server has created a link that points to another path",
            ));
        }
        let attributes = Attributes { mode: None, ..link.attributes.clone() };
        let holder = Holder::Entry(self.host(), path, entry::Kind::Symlink);
        attributes::set(&holder, &attributes, &|| self.root.lstat(path))
    }

    /// Finds the reason of a failure to create an entry.
    fn explained(&self, error: Error, path: &[u8]) -> Error {
        if error.cause == FAILURE && self.root.lstat(path).is_ok() {
            return Error { cause: Cause::System(libc::EEXIST), ..error };
        }
        self.host().explained(error, &self.path)
    }

    /// Returns whether a directory is as a new one of that mode: an earlier request has made it.
    fn is_as_made(&self, path: &[u8], found: &Metadata, mode: u32) -> bool {
        let is_of_mode = found.mode & 0o777 == mode & !host::process::current_umask() & 0o777;
        is_of_mode && is_empty(self.host(), path) == Ok(true)
    }

    /// Returns the path of another directory, if that is on the same host.
    fn beside(&self, other: &dyn Dir) -> Option<Vec<u8>> {
        let other = other.remote_address().filter(|it| it.host == self.host().id())?;
        Some(types::path::join(&self.host().root(other.root)?, other.path.as_bytes()))
    }

    /// Creates a hard link. Returns false where the server, or its file system, makes none.
    fn link(&self, from: &[u8], to: &[u8]) -> Result<bool> {
        if !self.host().has(Op::Link, Extension::HardLink)? {
            return Ok(false);
        }
        let request = Packet::extended(Extension::HardLink.name()).text(from).text(to);
        let (reply, is_repeated) = self.host().ask_counted(Op::Link, &request)?;
        match answers::done(Op::Link, reply) {
            Ok(()) => Ok(true),
            // Another file system, too many links, or one that has none.
            Err(error) if error.cause == FAILURE || error.cause.is_unsupported() => {
                match self.root.lstat(to) {
                    Err(missing) if missing.cause.is_vanished() => Ok(false),
                    // An earlier request may have made it; the next attempt finds out.
                    Ok(_) if !is_repeated => Err(Op::Link.errno(libc::EEXIST)),
                    _ => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }
}

/// Returns the result of inspecting what is to be opened.
fn opening(found: Result<Metadata>) -> Result<Metadata> {
    found.map_err(|error| Error { op: Op::Open, ..error })
}

/// Returns the metadata of a directory after inspecting all directories from the root to it.
fn metadata_of_last(root: &Root, below: &RelPath) -> Result<Metadata> {
    let mut paths = vec![root.path.clone()];
    for name in below.components() {
        paths.push(types::path::join(&paths[paths.len() - 1], name));
    }
    let requests: Vec<_> = paths.iter().map(|path| Packet::of(Kind::Lstat, path)).collect();
    let replies = root.host.ask_all(Op::Open, &requests)?;
    let found = replies.iter().zip(&paths).map(|(reply, path)| {
        root.host.metadata(Op::Open, &answers::attrs(Op::Open, reply)?, inode_of(path))
    });
    let found = found.collect::<Result<Vec<_>>>()?;
    if found.iter().any(|it| it.kind != entry::Kind::Directory) {
        return Err(Op::Open.errno(libc::ENOTDIR));
    }
    found.last().copied().ok_or_else(|| answers::malformed(Op::Open))
}

/// Returns whether a directory has no entries.
fn is_empty(host: &Host, path: &[u8]) -> Result<bool> {
    let handle = host.open(Op::List, &Packet::of(Kind::Opendir, path))?;
    loop {
        let reply = handle.session().ask(Op::List, &handle.packet(Kind::Readdir))?;
        let take = |reply| match reply {
            Reply::Names(names) if !names.is_empty() => Some(names),
            _ => None,
        };
        match answers::part(Op::List, reply, take)? {
            None => return Ok(true),
            Some(names) if names.iter().all(|it| matches!(&it.name[..], b"." | b"..")) => {}
            Some(_) => return Ok(false),
        }
    }
}

/// Removes a directory, if it is empty.
pub(super) fn remove_dir(host: &Host, path: &[u8]) -> Result<()> {
    let (reply, is_repeated) = host.ask_counted(Op::Remove, &Packet::of(Kind::Rmdir, path))?;
    let Err(error) = answers::done(Op::Remove, reply) else { return Ok(()) };
    match host.stat(Kind::Lstat, path, 0) {
        Err(missing) if missing.cause.is_vanished() && is_repeated => Ok(()),
        Ok(found) if found.kind != entry::Kind::Directory => Err(Op::Remove.errno(libc::ENOTDIR)),
        Ok(_) if error.cause == FAILURE && is_empty(host, path) == Ok(false) => {
            Err(Op::Remove.errno(libc::ENOTEMPTY))
        }
        _ => Err(host.explained(error, path)),
    }
}

impl Dir for SftpDir {
    fn metadata(&self) -> Result<Metadata> {
        let entered = lock(&self.entered).take();
        entered.map_or_else(|| self.root.stat(&self.path), Ok)
    }

    /// Lists the directory. It is listed again where the connection has broken.
    fn list(&self, each: &mut dyn FnMut(&Name, Hint)) -> Result<()> {
        let mut seen = HashSet::new();
        again(|_| self.list_once(&mut seen, each))
    }

    fn open_dir(&self, name: &Name) -> Result<Arc<dyn Dir>> {
        Ok(Arc::new(self.enter_child(name)?))
    }

    fn stat(&self, name: &Name) -> Result<Metadata> {
        self.root.stat(&child(&self.path, name))
    }

    fn stat_followed(&self, name: &Name) -> Result<Metadata> {
        self.root.stat_followed(&child(&self.path, name))
    }

    fn peek(&self, name: &Name, _: Hint) -> Result<Metadata> {
        let known = lock(&self.known).peek(name);
        known.unwrap_or_else(|| self.stat(name))
    }

    fn open_file(&self, name: &Name) -> Result<Box<dyn SourceFile>> {
        self.open(name, Expected::default())
    }

    fn open_listed(&self, name: &Name, hint: Hint) -> Result<Box<dyn SourceFile>> {
        let is_file = hint == Hint::File && self.root.symlinks == Symlinks::Keep;
        self.open(name, Expected { is_file, is_whole: true, ..Expected::default() })
    }

    fn open_extent(
        &self,
        name: &Name,
        identity: &Identity,
        extent: Extent,
    ) -> Result<Box<dyn SourceFile>> {
        let is_file = self.root.symlinks == Symlinks::Keep;
        let (identity, extent) = (Some(*identity), Some(extent));
        self.open(name, Expected { is_file, identity, extent, ..Expected::default() })
    }

    fn read_link(&self, name: &Name) -> Result<Vec<u8>> {
        let path = child(&self.path, name);
        checked(Op::ReadLink, &path)?;
        let request = Packet::of(Kind::Readlink, &path);
        answers::path(Op::ReadLink, self.host().ask(Op::ReadLink, &request)?)
    }

    fn make_dir(&self, name: &Name, mode: u32) -> Result<Made> {
        self.changes(name);
        let path = child(&self.path, name);
        checked(Op::MakeDir, &path)?;
        let attrs = Attrs { mode: Some(mode), ..Attrs::default() };
        let request = Packet::of(Kind::Mkdir, &path).attrs(&attrs);
        let (reply, is_repeated) = self.host().ask_counted(Op::MakeDir, &request)?;
        let Err(error) = answers::done(Op::MakeDir, reply) else { return Ok(Made::New) };
        match self.root.lstat(&path) {
            Ok(found) if found.kind != entry::Kind::Directory => {
                Err(Op::MakeDir.failed(Cause::KindDiffers))
            }
            Ok(found) if is_repeated && self.is_as_made(&path, &found, mode) => Ok(Made::New),
            Ok(_) => Ok(Made::Existed),
            Err(_) => Err(self.host().explained(error, &self.path)),
        }
    }

    fn stage_file(&self, new: &NewFile<'_>) -> Result<Box<dyn StagedFile>> {
        self.changes(new.name);
        let staged = if self.is_rewritten(new.name) {
            SftpStaged::rewrite(&self.root, &self.path, new)
        } else {
            SftpStaged::stage(&self.root, &self.path, new)
        };
        let explained = |error| self.host().explained(error, &self.path);
        Ok(Box::new(staged.map_err(explained)?))
    }

    fn resume_staged(
        &self,
        new: &NewFile<'_>,
        _: Option<u64>,
    ) -> Result<Option<Box<dyn StagedFile>>> {
        self.changes(new.name);
        let staged = SftpStaged::resume(&self.root, &self.path, new)?;
        Ok(staged.map(|staged| Box::new(staged) as Box<dyn StagedFile>))
    }

    fn join_staged(&self, ticket: &[u8], name: &Name) -> Result<Box<dyn StagedFile>> {
        let staged = CString::new(ticket).map_err(|_| Op::Open.errno(libc::EINVAL))?;
        SftpStaged::join(&self.root, &self.path, &staged, name)
            .map(|staged| Box::new(staged) as Box<dyn StagedFile>)
    }

    fn make_symlink(&self, link: &NewSymlink<'_>) -> Result<Preserved> {
        self.changes(link.name);
        let name = child(&self.path, link.name);
        checked(Op::Symlink, &name)?;
        again(|attempt| {
            let staged = types::path::join(&self.path, &renamed(link.staged, attempt));
            let made = self.stage_symlink(link, &staged).and_then(|preserved| {
                self.root.rename(Op::Rename, &staged, &name)?;
                Ok(preserved)
            });
            made.inspect_err(|error| {
                if error.cause != Cause::System(libc::EEXIST) {
                    let _ = self.root.remove_file(&staged);
                }
            })
        })
    }

    fn set_attributes(&self, attributes: &Attributes) -> Result<Preserved> {
        lock(&self.entered).take();
        again(|_| {
            let holder = Holder::Entry(self.host(), &self.path, entry::Kind::Directory);
            attributes::set(&holder, attributes, &|| self.root.lstat(&self.path))
        })
    }

    fn set_entry_attributes(
        &self,
        name: &Name,
        kind: entry::Kind,
        attributes: &Attributes,
    ) -> Result<Preserved> {
        self.changes(name);
        let path = child(&self.path, name);
        let of_link = Attributes { mode: None, ..attributes.clone() };
        let attributes = if kind == entry::Kind::Symlink { &of_link } else { attributes };
        again(|_| {
            // A link that has taken the place of another entry would be followed.
            if self.root.lstat(&path)?.kind != kind {
                return Err(Op::SetMode.failed(Cause::Changed));
            }
            let holder = Holder::Entry(self.host(), &path, kind);
            attributes::set(&holder, attributes, &|| self.root.lstat(&path))
        })
    }

    fn remove(&self, name: &Name, kind: entry::Kind) -> Result<()> {
        self.changes(name);
        let path = child(&self.path, name);
        checked(Op::Remove, &path)?;
        if kind == entry::Kind::Directory {
            return remove_dir(self.host(), &path);
        }
        self.root.remove_file(&path).map_err(|error| match self.root.lstat(&path) {
            Ok(found) if found.kind == entry::Kind::Directory => Op::Remove.errno(libc::EISDIR),
            _ => self.host().explained(error, &self.path),
        })
    }

    fn link_from(&self, other: &dyn Dir, name: &Name) -> Result<bool> {
        let Some(from) = self.beside(other) else { return Ok(false) };
        self.changes(name);
        self.link(&child(&from, name), &child(&self.path, name))
    }

    fn hard_link(&self, link: &NewHardLink<'_>) -> Result<bool> {
        let Some(from) = self.beside(link.dir) else { return Ok(false) };
        self.changes(link.name);
        let (from, name) = (child(&from, link.of), child(&self.path, link.name));
        match self.link(&from, &name) {
            Err(error) if error.cause == Cause::System(libc::EEXIST) => {}
            linked => return linked,
        }
        let staged = child(&self.path, link.staged);
        if !self.link(&from, &staged)? {
            return Ok(false);
        }
        let renamed = self.root.rename(Op::Link, &staged, &name);
        // Where the name is a hard link of the same file already, both names stay (rename(2)).
        let _ = self.root.remove_file(&staged);
        renamed.map(|()| true)
    }

    fn has_other_names(&self, name: &Name, _: &Metadata) -> Result<bool> {
        Ok(self.is_linked(name))
    }

    fn remote_address(&self) -> Option<RemoteAddress> {
        let (host, root) = (self.host().id(), self.root.number);
        Some(RemoteAddress { host, root, path: self.below.clone() })
    }

    fn is_below(&self, above: &Metadata) -> bool {
        is_path_below(self.host(), &self.path, above)
    }
}
