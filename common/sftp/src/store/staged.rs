//! A staged file on an SFTP server. Writes are sent before earlier ones are answered.

use std::collections::VecDeque;
use std::ffi::CString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use remote::store::renamed;
use store::{
    NewFile, Receipt, Remains, ServerFile, SourceFile, StagedCapabilities, StagedFile, Writers,
};
use types::content::chunk::Extent;
use types::entry::{self, Attributes, Metadata, Preserved};
use types::error::{Cause, Error, Op, Result};
use types::limits::{SFTP_COPY_BLOCK_BYTES, SFTP_COPY_BYTES_MAX};
use types::path::Name;

use super::attributes::{self, Holder};
use super::file::READ;
use super::{Root, checked, child, inode_of};
use crate::answers::{self, is_broken, no_handle};
use crate::host::{Host, again};
use crate::packet::{Attrs, Kind, Packet, Reply};
use crate::session::{Extension, Handle, Pending};

/// Flags of an open request.
const WRITE: u32 = 2;
const CREATE: u32 = 8;
const EXCLUSIVE: u32 = 32;

/// Mode of a new file that only its owner may open.
const PRIVATE: u32 = 0o600;

/// Zeros that are written at once where a hole cannot be made.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A staged file on an SFTP server.
pub(super) struct SftpStaged {
    root: Arc<Root>,
    /// Name of the file until it is complete; its final one where it is rewritten in place.
    staged: CString,
    /// Path of it.
    path: Vec<u8>,
    /// Final path; `None` for a writer that did not stage it.
    name: Option<Vec<u8>>,
    /// True where the existing file is rewritten.
    is_old: bool,
    /// True where this writer alone writes the file, from its beginning to its end.
    is_alone: bool,
    state: Mutex<State>,
}

/// Connection and writes of a writer.
#[derive(Default)]
struct State {
    handle: Option<Handle>,
    /// File of the server that is copied, on the same connection.
    source: Option<(ServerFile, Handle)>,
    sent: VecDeque<Sent>,
    /// First error of a write.
    failed: Option<Error>,
    /// End of what was written.
    end: u64,
}

/// A write that is not answered yet.
struct Sent {
    offset: u64,
    data: Vec<u8>,
    pending: Option<Pending>,
}

impl SftpStaged {
    /// Opens the existing file, which is to be rewritten; stages a new one where there is none.
    pub fn rewrite(root: &Arc<Root>, dir: &[u8], new: &NewFile<'_>) -> Result<Self> {
        checked(Op::Create, &child(dir, new.name))?;
        Self::open_old(root, dir, new)?.map_or_else(|| Self::stage(root, dir, new), Ok)
    }

    /// Stages a file.
    pub fn stage(root: &Arc<Root>, dir: &[u8], new: &NewFile<'_>) -> Result<Self> {
        let name = child(dir, new.name);
        checked(Op::Create, &name)?;
        let (handle, staged) = create(root, dir, new.staged)?;
        let file = Self::of(root, dir, staged, Some(name));
        // Of a file that several ranks write, the owner writes nothing by its handle.
        let is_alone = new.writers == Writers::One;
        let state = State { handle: is_alone.then_some(handle), ..State::default() };
        Ok(Self { is_alone, state: Mutex::new(state), ..file })
    }

    /// Opens the existing file of the name; `None` where there is none, or an entry of another
    /// type.
    fn open_old(root: &Arc<Root>, dir: &[u8], new: &NewFile<'_>) -> Result<Option<Self>> {
        let path = child(dir, new.name);
        let old = match root.lstat(&path) {
            Ok(old) if old.kind == entry::Kind::File => old,
            Err(error) if !error.cause.is_vanished() => return Err(error),
            _ => return Ok(None),
        };
        let file = Self::of(root, dir, new.name.to_owned(), Some(path));
        if old.size_bytes > new.size_bytes {
            file.end_at(new.size_bytes)?;
        }
        Ok(Some(Self { is_old: true, ..file }))
    }

    /// Takes over a file that an interrupted job has staged; `None` where there is none.
    pub fn resume(root: &Arc<Root>, dir: &[u8], new: &NewFile<'_>) -> Result<Option<Self>> {
        let file = Self::of(root, dir, new.staged.to_owned(), Some(child(dir, new.name)));
        match root.lstat(&file.path) {
            Ok(found) if found.kind == entry::Kind::File => {}
            Err(error) if !error.cause.is_vanished() => return Err(error),
            _ => return Ok(None),
        }
        match again(|_| file.hold(&mut file.lock())) {
            // Its mode may forbid to write it, after a job that ended just before it was complete.
            Err(error) if error.cause == Cause::System(libc::EACCES) => Ok(None),
            held => held.map(|()| Some(file)),
        }
    }

    /// Opens a file that another rank has staged, or the old one, where that is rewritten.
    pub fn join(root: &Arc<Root>, dir: &[u8], staged: &Name, name: &Name) -> Result<Self> {
        let file = Self::of(root, dir, staged.to_owned(), None);
        let is_old = staged == name;
        again(|_| file.hold(&mut file.lock()))?;
        Ok(Self { is_old, ..file })
    }

    fn of(root: &Arc<Root>, dir: &[u8], staged: CString, name: Option<Vec<u8>>) -> Self {
        Self {
            root: Arc::clone(root),
            path: child(dir, &staged),
            staged,
            name,
            is_old: false,
            is_alone: false,
            state: Mutex::default(),
        }
    }

    fn host(&self) -> &Host {
        &self.root.host
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the file, if it is not open on a connection that works. A link is not followed.
    fn hold(&self, state: &mut State) -> Result<()> {
        if state.handle.as_ref().is_some_and(|handle| !handle.is_broken()) {
            return Ok(());
        }
        if self.root.lstat(&self.path)?.kind != entry::Kind::File {
            return Err(Op::Open.failed(Cause::Replaced));
        }
        let request = Packet::of(Kind::Open, &self.path).number(WRITE).attrs(&Attrs::default());
        state.handle = Some(self.host().open_once(Op::Open, &request)?);
        Ok(())
    }

    /// Sends data, and waits for the oldest writes where there are too many.
    fn send(&self, state: &mut State, data: &[u8], offset: u64) -> Result<()> {
        again(|_| self.hold(state))?;
        let handle = state.handle.as_ref().ok_or_else(|| Host::lost(Op::Write))?;
        let (bytes, window) = self.host().writing(handle.session());
        let mut at = offset;
        for piece in data.chunks(bytes as usize) {
            self.wait(state, window - 1);
            let pending = state.handle.as_ref().and_then(|handle| begin(handle, piece, at).ok());
            state.sent.push_back(Sent { offset: at, data: piece.to_vec(), pending });
            at += piece.len() as u64;
        }
        state.end = state.end.max(at);
        state.failed.clone().map_or(Ok(()), Err)
    }

    /// Waits until no more than that many writes are in progress.
    fn wait(&self, state: &mut State, left: usize) {
        while state.sent.len() > left {
            let Some(sent) = state.sent.pop_front() else { return };
            if let Err(error) = self.finish(state, sent) {
                let error = self.host().explained(error, &self.path);
                state.failed.get_or_insert(error);
            }
        }
    }

    /// Waits for a write, and sends it again where its connection has broken.
    fn finish(&self, state: &mut State, sent: Sent) -> Result<()> {
        let Sent { offset, data, pending } = sent;
        let first = pending.map(|pending| pending.wait(Op::Write));
        match first {
            Some(Err(error)) if !is_broken(&error) => return Err(error),
            Some(Ok(reply)) => return answers::done_by_handle(Op::Write, reply),
            _ => {}
        }
        again(|_| {
            self.hold(state)?;
            let handle = state.handle.as_ref().ok_or_else(|| Host::lost(Op::Write))?;
            let reply = begin(handle, &data, offset)?.wait(Op::Write)?;
            answers::done_by_handle(Op::Write, reply)
        })
    }

    /// Waits for all writes.
    fn settle(&self, state: &mut State) -> Result<()> {
        self.wait(state, 0);
        state.failed.clone().map_or(Ok(()), Err)
    }

    /// Sends a request about the open file, which may be repeated.
    fn by_handle<T>(&self, state: &mut State, ask: impl Fn(&Handle) -> Result<T>) -> Result<T> {
        again(|_| {
            self.hold(state)?;
            ask(state.handle.as_ref().ok_or_else(|| Host::lost(Op::Write))?)
        })
    }

    fn metadata(&self, handle: &Handle) -> Result<Metadata> {
        let reply = handle.session().ask(Op::Stat, &handle.packet(Kind::Fstat))?;
        let attrs = answers::attrs(Op::Stat, &reply).map_err(no_handle)?;
        self.host().metadata(Op::Stat, &attrs, inode_of(&self.path))
    }

    /// Lets the server copy a range of one of its files; returns false where it cannot.
    fn copy_once(
        &self,
        state: &mut State,
        file: &ServerFile,
        (offset, length): (u64, u64),
    ) -> Result<bool> {
        self.hold(state)?;
        let Some(to) = &state.handle else { return Ok(false) };
        if !to.session().server().has(Extension::CopyData) {
            return Ok(false);
        }
        let is_at_hand = |(held, handle): &(ServerFile, Handle)| {
            held == file && Arc::ptr_eq(handle.session(), to.session())
        };
        if !state.source.as_ref().is_some_and(is_at_hand) {
            let Some(handle) = self.opened_beside(to, file)? else { return Ok(false) };
            state.source = Some((file.clone(), handle));
        }
        let Some((_, from)) = &state.source else { return Ok(false) };
        let request = from.extended(Extension::CopyData).long(offset).long(length);
        let request = request.text(to.bytes()).long(offset);
        let reply = to.session().ask(Op::Write, &request)?;
        // Whatever the server could not do shows where the content is read and written.
        Ok(answers::done(Op::Write, reply).is_ok())
    }

    /// Opens a file of the server on the connection of this one; `None` for one that is not as it
    /// was.
    fn opened_beside(&self, to: &Handle, file: &ServerFile) -> Result<Option<Handle>> {
        let session = to.session();
        let is_same = |reply: &Reply| {
            let attrs = answers::attrs(Op::Open, reply);
            let metadata =
                attrs.and_then(|it| self.host().metadata(Op::Open, &it, file.identity.inode));
            metadata.is_ok_and(|it| it.kind == entry::Kind::File && it.identity() == file.identity)
        };
        // To open what is no file any more may block the server.
        if !is_same(&session.ask(Op::Open, &Packet::of(Kind::Lstat, &file.path))?) {
            return Ok(None);
        }
        let open = Packet::of(Kind::Open, &file.path).number(READ).attrs(&Attrs::default());
        let Ok(handle) = answers::handle(Op::Open, session.ask(Op::Open, &open)?) else {
            return Ok(None);
        };
        let handle = Handle::new(Arc::clone(session), handle);
        let held = session.ask(Op::Open, &handle.packet(Kind::Fstat))?;
        Ok(is_same(&held).then_some(handle))
    }

    /// Syncs the file, where that is requested, and closes it.
    fn end(&self, state: &mut State) -> Result<()> {
        if self.root.is_durable {
            self.by_handle(state, sync)?;
        }
        match state.handle.take() {
            // What was written is there; a connection that breaks closes the file, too.
            Some(handle) => {
                handle.close().or_else(|error| if is_broken(&error) { Ok(()) } else { Err(error) })
            }
            None => Ok(()),
        }
    }

    /// Sets the attributes, closes the file and renames it: a file is never visible before all of
    /// it is right.
    fn complete(&self, attributes: &Attributes) -> Result<Preserved> {
        let name = self.name.as_ref().ok_or(Op::Rename.errno(libc::EINVAL))?;
        let mut state = self.lock();
        self.settle(&mut state)?;
        let preserved = self.by_handle(&mut state, |handle| {
            attributes::set(&Holder::File(handle), attributes, &|| self.metadata(handle))
        })?;
        if self.is_alone {
            let written_bytes =
                self.by_handle(&mut state, |handle| self.metadata(handle))?.size_bytes;
            let expected_bytes = state.end;
            if written_bytes != expected_bytes {
                return Err(Op::Write.failed(Cause::ShortWrite { written_bytes, expected_bytes }));
            }
        }
        self.end(&mut state)?;
        if !self.is_old {
            self.root.rename(Op::Rename, &self.path, name)?;
        }
        Ok(preserved)
    }

    fn remove(&self) -> Result<()> {
        match self.root.remove_file(&self.path) {
            Err(error) if error.cause.is_vanished() => Ok(()),
            removed => removed,
        }
    }
}

/// Creates a new file under that name, or under another one where the connection has broken: the
/// file that an earlier attempt may have created is removed.
fn create(root: &Root, dir: &[u8], staged: &Name) -> Result<(Handle, CString)> {
    let mut tried: Option<Vec<u8>> = None;
    again(|attempt| {
        if let Some(path) = tried.take() {
            let _ = root.remove_file(&path);
        }
        let staged = CString::new(renamed(staged, attempt));
        let staged = staged.map_err(|_| Op::Create.errno(libc::EINVAL))?;
        let path = tried.insert(child(dir, &staged));
        create_once(root, path).map(|handle| (handle, staged))
    })
}

fn create_once(root: &Root, path: &[u8]) -> Result<Handle> {
    checked(Op::Create, path)?;
    let attrs = Attrs { mode: Some(PRIVATE), ..Attrs::default() };
    let flags = WRITE | CREATE | EXCLUSIVE;
    let request = Packet::of(Kind::Open, path).number(flags).attrs(&attrs);
    root.host.open_once(Op::Create, &request).map_err(|error| {
        let is_taken = !is_broken(&error) && root.lstat(path).is_ok();
        let cause = if is_taken { Cause::System(libc::EEXIST) } else { error.cause };
        Error { cause, ..error }
    })
}

fn begin(handle: &Handle, data: &[u8], offset: u64) -> Result<Pending> {
    handle.send(Op::Write, &handle.packet(Kind::Write).long(offset).text(data))
}

fn sync(handle: &Handle) -> Result<()> {
    if !handle.session().server().has(Extension::Fsync) {
        return Err(answers::told(
            Op::Sync.errno(libc::EOPNOTSUPP),
            "the SFTP server does not sync files",
        ));
    }
    let reply = handle.session().ask(Op::Sync, &handle.extended(Extension::Fsync))?;
    answers::done_by_handle(Op::Sync, reply)
}

impl StagedFile for SftpStaged {
    fn ticket(&self) -> Vec<u8> {
        self.staged.to_bytes().to_vec()
    }

    fn capabilities(&self) -> StagedCapabilities {
        StagedCapabilities {
            remains: if self.is_old { Remains::Nothing } else { Remains::File },
            keeps_holes: true,
            ..StagedCapabilities::default()
        }
    }

    fn inode(&self) -> Option<u64> {
        self.name.as_deref().map(inode_of)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> Result<()> {
        self.send(&mut self.lock(), data, offset)
    }

    fn copy_from(&self, source: &dyn SourceFile, offset: u64, length: u64) -> Result<Option<u64>> {
        let here = source.server_file().filter(|file| file.host == self.host().id());
        let Some(file) = here else { return Ok(None) };
        let length = length.min(SFTP_COPY_BYTES_MAX);
        // OpenSSH's server does not tell an error of the last block (process_extended_copy_data of
        // sftp-server.c), so that block is copied again, at last by this process.
        let Some(told) = length.checked_sub(SFTP_COPY_BLOCK_BYTES).filter(|told| *told > 0) else {
            return Ok(None);
        };
        let mut state = self.lock();
        if !again(|_| self.copy_once(&mut state, &file, (offset, length)))? {
            return Ok(None);
        }
        state.end = state.end.max(offset + length);
        Ok(Some(told))
    }

    fn size_bytes(&self, _: &[Receipt]) -> Result<u64> {
        self.settle(&mut self.lock())?;
        Ok(self.root.lstat(&self.path)?.size_bytes)
    }

    /// Leaves a hole. In a new file nothing need be done; in an old one zeros are written.
    fn leave_hole(&self, extent: Extent) -> Result<()> {
        let mut at = extent.offset;
        while self.is_old && at < extent.end() {
            let length = (extent.end() - at).min(ZEROS.len() as u64);
            self.write_at(&ZEROS[..length as usize], at)?;
            at += length;
        }
        Ok(())
    }

    fn end_at(&self, size_bytes: u64) -> Result<()> {
        let mut state = self.lock();
        self.settle(&mut state)?;
        let attrs = Attrs { size_bytes: Some(size_bytes), ..Attrs::default() };
        self.by_handle(&mut state, |handle| {
            let request = handle.packet(Kind::Fsetstat).attrs(&attrs);
            answers::done_by_handle(Op::Write, handle.session().ask(Op::Write, &request)?)
        })?;
        state.end = size_bytes;
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<Option<Receipt>> {
        let mut state = self.lock();
        self.settle(&mut state)?;
        self.end(&mut state)?;
        Ok(None)
    }

    fn commit(self: Box<Self>, attributes: &Attributes, _: Vec<Receipt>) -> Result<Preserved> {
        self.complete(attributes).inspect_err(|_| {
            // The first error is the one to report.
            if !self.is_old {
                let _ = self.remove();
            }
        })
    }

    /// Removes the staged file. Writes in progress are waited for: a late one finds no file.
    fn abandon(self: Box<Self>) -> Result<()> {
        self.wait(&mut self.lock(), 0);
        if self.is_old { Ok(()) } else { self.remove() }
    }
}
