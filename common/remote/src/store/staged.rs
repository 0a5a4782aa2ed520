//! A staged file of a remote tree. A small file is collected, and travels with its attributes in
//! one message; a larger one is staged there, and writes are sent before earlier ones are answered.

use std::collections::VecDeque;
use std::ffi::CString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::store::{NewFile, Receipt, Remains, StagedCapabilities, StagedFile, Writers};
use types::content::chunk::Extent;
use types::entry::{Attributes, Preserved};
use types::error::{Error, Op, Result};
use types::limits::{REMOTE_DATA_BYTES_MAX, REMOTE_WHOLE_BYTES_MAX, REMOTE_WINDOW};

use super::{Root, answered, renamed};
use crate::bundle::{Item, Ticket};
use crate::connection::Pending;
use crate::protocol::{Answer, At, New, Request, StagedAs, StagedIs};

/// A staged file of a remote tree.
pub(super) struct RemoteStaged {
    root: Arc<Root>,
    /// Name of the staged file as the operation gave it.
    staged: CString,
    /// Description of the file; `None` for a writer that did not stage it.
    new: Option<New>,
    state: Mutex<State>,
}

enum State {
    /// Content of a small file, in order, and its size.
    Collected { extents: Vec<Extent>, data: Vec<u8>, size_bytes: u64 },
    /// The file was given up for sending with its attributes.
    Sent(Ticket),
    /// The file is staged, and writes are in progress.
    There { at: StagedAs, is: StagedIs, writes: Writes },
}

/// Writes that are not answered yet.
#[derive(Default)]
struct Writes {
    sent: VecDeque<(Request, Vec<u8>, Option<Pending>)>,
    /// First error of a write.
    failed: Option<Error>,
}

impl RemoteStaged {
    /// Stages a file. The copy of a small file is not sent before it is complete.
    pub fn stage(root: &Arc<Root>, dir: At, new: &NewFile<'_>) -> Result<Self> {
        let staged = Self {
            root: Arc::clone(root),
            staged: new.staged.to_owned(),
            new: Some(described(dir, new)),
            state: Mutex::new(State::Collected {
                extents: Vec::new(),
                data: Vec::new(),
                size_bytes: 0,
            }),
        };
        // A source was inspected, so the size is known; and one rank writes the file.
        let is_small = new.mtime.is_some()
            && new.writers == Writers::One
            && new.size_bytes <= REMOTE_WHOLE_BYTES_MAX
            && !root.is_in_place;
        if !is_small {
            staged.send_to_stage(&mut staged.lock())?;
        }
        Ok(staged)
    }

    /// Takes over a staged file of an interrupted job.
    pub fn resume(
        root: &Arc<Root>,
        dir: At,
        new: &NewFile<'_>,
        inode: Option<u64>,
    ) -> Result<Option<Self>> {
        let described = described(dir, new);
        let request = Request::Resume { new: described.clone(), inode };
        let answer = root.ask(Op::Open, &request)?;
        let is = answered!(Op::Open, answer, Answer::Staged(is) => is)?;
        Ok(is.map(|is| Self::there(root, described.at.clone(), Some(described), is)))
    }

    /// Opens a staged file that another writer has created.
    pub fn join(root: &Arc<Root>, at: StagedAs) -> Result<Self> {
        let answer = root.ask(Op::Open, &Request::Join { at: at.clone() })?;
        let is = answered!(Op::Open, answer, Answer::Staged(Some(is)) => is)?;
        Ok(Self::there(root, at, None, is))
    }

    fn there(root: &Arc<Root>, at: StagedAs, new: Option<New>, is: StagedIs) -> Self {
        let staged = CString::new(at.staged.clone()).unwrap_or_default();
        let at = StagedAs { inode: Some(is.inode), ..at };
        let state = Mutex::new(State::There { at, is, writes: Writes::default() });
        Self { root: Arc::clone(root), staged, new, state }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stages the file there, with the content that was collected.
    fn send_to_stage(&self, state: &mut State) -> Result<()> {
        let State::Collected { extents, data, size_bytes } = state else { return Ok(()) };
        let Some(new) = &self.new else { return Ok(()) };
        let name = std::cell::RefCell::new(Vec::new());
        let answer = self.root.ask_each(Op::Create, &|attempt| {
            let staged = renamed(&self.staged, attempt);
            name.replace(staged.clone());
            Request::Stage { new: New { at: StagedAs { staged, ..new.at.clone() }, ..new.clone() } }
        })?;
        let is = answered!(Op::Create, answer, Answer::Staged(Some(is)) => is)?;
        let staged = if is.is_resumable { name.into_inner() } else { new.at.name.clone() };
        let at = StagedAs { staged, inode: Some(is.inode), ..new.at.clone() };
        let mut writes = Writes::default();
        let mut begin = 0;
        for extent in &*extents {
            let piece = &data[begin..begin + extent.length as usize];
            writes.send(&self.root, &at, piece, extent.offset);
            begin += extent.length as usize;
        }
        let size_bytes = *size_bytes;
        let written = extents.last().map_or(0, |extent| extent.end());
        *state = State::There { at: at.clone(), is, writes };
        if size_bytes > written {
            let request = Request::EndAt { at, size_bytes };
            self.root.ask(Op::Write, &request)?;
        }
        Ok(())
    }

    /// Stages the file there if it is not yet, and waits for all writes.
    fn settle(&self) -> Result<(StagedAs, StagedIs)> {
        let mut state = self.lock();
        self.send_to_stage(&mut state)?;
        let State::There { at, is, writes } = &mut *state else {
            return Err(Op::Create.errno(libc::EBADMSG));
        };
        writes.wait(&self.root, 0);
        match &writes.failed {
            Some(error) => Err(error.clone()),
            None => Ok((at.clone(), *is)),
        }
    }

    fn new_at(&self, at: StagedAs, attributes: &Attributes) -> Result<New> {
        let new = self.new.clone().ok_or_else(|| Op::Rename.errno(libc::EINVAL))?;
        Ok(New { at, attributes: attributes.clone(), ..new })
    }

    /// Sends a file that was collected, with its attributes and with other files. Returns whether
    /// it is on its way.
    fn send_whole(&self, attributes: &Attributes) -> bool {
        let mut state = self.lock();
        let (State::Collected { extents, data, size_bytes }, Some(new)) = (&mut *state, &self.new)
        else {
            return matches!(*state, State::Sent(_));
        };
        let (extents, size_bytes) = (std::mem::take(extents), *size_bytes);
        let new = New { attributes: attributes.clone(), ..new.clone() };
        let staged = self.staged.clone();
        let request = move |attempt| {
            let at = StagedAs { staged: renamed(&staged, attempt), ..new.at.clone() };
            let new = New { at, ..new.clone() };
            Request::Put { new, extents: extents.clone(), size_bytes }
        };
        let data = std::mem::take(data);
        let item = Item { op: Op::Write, request: Box::new(request), data };
        *state = State::Sent(self.root.outbox.add(&self.root.host, item));
        true
    }

    /// Waits for a file that was sent.
    fn arrived(&self) -> Result<Preserved> {
        let empty = State::Collected { extents: Vec::new(), data: Vec::new(), size_bytes: 0 };
        match std::mem::replace(&mut *self.lock(), empty) {
            State::Sent(ticket) => {
                let (reply, _) = self.root.outbox.wait(&self.root.host, ticket)?;
                answered!(Op::Write, reply?, Answer::Preserved(preserved) => preserved)
            }
            _ => Err(Op::Write.errno(libc::EBADMSG)),
        }
    }
}

fn described(dir: At, new: &NewFile<'_>) -> New {
    let (staged, name) = (new.staged.to_bytes().to_vec(), new.name.to_bytes().to_vec());
    New {
        at: StagedAs { dir, staged, name, inode: None },
        size_bytes: new.size_bytes,
        mtime: new.mtime,
        writers: new.writers,
        replaces: new.replaces,
        attributes: new.attributes.clone(),
    }
}

impl Writes {
    /// Sends data, and waits for the oldest writes where there are too many.
    fn send(&mut self, root: &Root, at: &StagedAs, data: &[u8], offset: u64) {
        for (piece, number) in data.chunks(REMOTE_DATA_BYTES_MAX).zip(0..) {
            self.wait(root, REMOTE_WINDOW - 1);
            let offset = offset + number * REMOTE_DATA_BYTES_MAX as u64;
            let request = Request::Write { at: at.clone(), offset };
            let pending = root.host.begin(&request, piece);
            self.sent.push_back((request, piece.to_vec(), pending));
        }
    }

    /// Waits until no more than that many writes are in progress.
    fn wait(&mut self, root: &Root, left: usize) {
        while self.sent.len() > left {
            let Some((request, data, pending)) = self.sent.pop_front() else { return };
            let answer = root.host.finish(pending, Op::Write, &request, &data);
            if let Err(error) = answer.and_then(|(reply, _)| reply) {
                self.failed.get_or_insert(error);
            }
        }
    }
}

impl StagedFile for RemoteStaged {
    fn ticket(&self) -> Vec<u8> {
        match &*self.lock() {
            State::Collected { .. } | State::Sent(_) => self.staged.to_bytes().to_vec(),
            State::There { at, .. } => at.staged.clone(),
        }
    }

    fn capabilities(&self) -> StagedCapabilities {
        let is_resumable = match &*self.lock() {
            State::Collected { .. } | State::Sent(_) => false,
            State::There { is, .. } => is.is_resumable,
        };
        StagedCapabilities {
            remains: if is_resumable { Remains::File } else { Remains::Nothing },
            keeps_holes: true,
            ..StagedCapabilities::default()
        }
    }

    fn inode(&self) -> Option<u64> {
        self.settle().ok().map(|(_, is)| is.inode)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        let mut state = self.lock();
        if let State::Collected { extents, data, size_bytes } = &mut *state {
            let is_next = extents.last().is_none_or(|last| offset >= last.end());
            if is_next && (data.len() + bytes.len()) as u64 <= REMOTE_WHOLE_BYTES_MAX {
                extents.push(Extent { offset, length: bytes.len() as u64 });
                data.extend_from_slice(bytes);
                *size_bytes = (*size_bytes).max(offset + bytes.len() as u64);
                return Ok(());
            }
            self.send_to_stage(&mut state)?;
        }
        let State::There { at, writes, .. } = &mut *state else {
            return Err(Op::Write.errno(libc::EBADMSG));
        };
        writes.send(&self.root, at, bytes, offset);
        writes.failed.clone().map_or(Ok(()), Err)
    }

    fn size_bytes(&self, _: &[Receipt]) -> Result<u64> {
        if let State::Collected { size_bytes, .. } = &*self.lock() {
            return Ok(*size_bytes);
        }
        let (at, _) = self.settle()?;
        let answer = self.root.ask(Op::Stat, &Request::StagedSize { at })?;
        answered!(Op::Stat, answer, Answer::Size(size_bytes) => size_bytes)
    }

    /// Makes a hole; in a new file nothing need be done.
    fn leave_hole(&self, extent: Extent) -> Result<()> {
        let at = match &*self.lock() {
            State::There { at, is, .. } if !is.is_resumable => at.clone(),
            _ => return Ok(()),
        };
        self.root.ask(Op::Write, &Request::Hole { at, extent }).map(drop)
    }

    fn end_at(&self, size: u64) -> Result<()> {
        if let State::Collected { size_bytes, .. } = &mut *self.lock() {
            *size_bytes = size;
            return Ok(());
        }
        let (at, _) = self.settle()?;
        self.root.ask(Op::Write, &Request::EndAt { at, size_bytes: size }).map(drop)
    }

    fn begin_commit(&self, attributes: &Attributes) -> bool {
        self.send_whole(attributes)
    }

    fn close(self: Box<Self>) -> Result<Option<Receipt>> {
        let (at, _) = self.settle()?;
        if self.root.is_durable {
            self.root.ask(Op::Sync, &Request::Close { at })?;
        }
        Ok(None)
    }

    fn commit(self: Box<Self>, attributes: &Attributes, _: Vec<Receipt>) -> Result<Preserved> {
        if self.send_whole(attributes) {
            return self.arrived();
        }
        let (at, is) = match self.settle() {
            Ok(settled) => settled,
            Err(error) => {
                // The first error is the one to report.
                let _ = self.abandon();
                return Err(error);
            }
        };
        let new = self.new_at(at, attributes)?;
        let answer = self.root.ask(Op::Rename, &Request::Commit { new, inode: is.inode })?;
        answered!(Op::Rename, answer, Answer::Preserved(preserved) => preserved)
    }

    /// Removes the staged file. Writes in progress are waited for: a late one finds no file.
    fn abandon(self: Box<Self>) -> Result<()> {
        let mut state = self.lock();
        let State::There { at, is, writes } = &mut *state else { return Ok(()) };
        writes.wait(&self.root, 0);
        if !is.is_resumable {
            return Ok(());
        }
        match self.root.ask(Op::Remove, &Request::Abandon { at: at.clone() }) {
            Err(error) if error.cause.is_vanished() => Ok(()),
            removed => removed.map(drop),
        }
    }
}
