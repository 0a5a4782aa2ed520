//! A file on an SFTP server that is open for reading. Requests for the next bytes are sent before
//! earlier ones are answered.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use store::{ServerFile, SourceFile};
use types::content::chunk::Extent;
use types::entry::{self, Identity, Metadata};
use types::error::{Cause, Error, Op, Result};
use types::limits::SFTP_WINDOW_BYTES;

use super::{Root, checked, inode_of};
use crate::answers::{self, no_handle};
use crate::host::{Host, again};
use crate::packet::{Attrs, Kind, Packet, Reply};
use crate::session::{Handle, Pending};

/// Flag of an open request: reading.
pub(super) const READ: u32 = 1;

/// Knowledge of a file before it is opened.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Expected {
    /// True for a file that a listing has shown as one.
    pub is_file: bool,
    /// True if the whole file will be read.
    pub is_whole: bool,
    /// Identity that the file must have.
    pub identity: Option<Identity>,
    /// Extent that will be read.
    pub extent: Option<Extent>,
}

/// A file on an SFTP server.
pub(super) struct SftpFile {
    root: Arc<Root>,
    path: Vec<u8>,
    metadata: Metadata,
    /// End of what will be read.
    end: u64,
    state: Mutex<State>,
}

struct State {
    handle: Handle,
    /// Metadata from opening it, for one use.
    opened: Option<Metadata>,
    /// End of the last read.
    read_to: Option<u64>,
    /// Reads in progress, one after the other.
    begun: VecDeque<(Extent, Piece)>,
}

/// Data of a read.
enum Piece {
    Awaited(Pending),
    Arrived(Vec<u8>),
}

impl Piece {
    /// Waits for the data; `None` at the end of the file.
    fn data(self) -> Result<Option<Vec<u8>>> {
        let pending = match self {
            Self::Arrived(data) => return Ok(Some(data)),
            Self::Awaited(pending) => pending,
        };
        answers::part(Op::Read, pending.wait(Op::Read)?, |reply| match reply {
            Reply::Data(data) => Some(data).filter(|data| !data.is_empty()),
            _ => None,
        })
    }
}

impl SftpFile {
    /// Opens a regular file.
    pub fn open(root: &Arc<Root>, path: Vec<u8>, expected: Expected) -> Result<Self> {
        checked(Op::Open, &path)?;
        let (handle, metadata) = again(|attempt| {
            // What is no file any more may have blocked the server.
            open_once(root, &path, expected.is_file && attempt == 0)
        })?;
        if expected.identity.is_some_and(|identity| identity != metadata.identity()) {
            return Err(Op::Copy.failed(Cause::Changed));
        }
        let end = expected.extent.map_or(metadata.size_bytes, Extent::end);
        let mut state =
            State { handle, opened: Some(metadata), read_to: None, begun: VecDeque::new() };
        if expected.is_whole && metadata.size_bytes <= SFTP_WINDOW_BYTES {
            let _ = state.begin(&root.host, 0, metadata.size_bytes);
        }
        Ok(Self { root: Arc::clone(root), path, metadata, end, state: Mutex::new(state) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the file again where its connection has broken. It must be the same one.
    fn hold(&self, state: &mut State) -> Result<()> {
        if !state.handle.is_broken() {
            return Ok(());
        }
        state.begun.clear();
        let (handle, metadata) = open_once(&self.root, &self.path, false)?;
        if metadata.identity() != self.metadata.identity() {
            return Err(Op::Read.failed(Cause::Changed));
        }
        state.handle = handle;
        Ok(())
    }

    fn metadata_now(&self) -> Result<Metadata> {
        let mut state = self.lock();
        self.hold(&mut state)?;
        let reply = state.handle.session().ask(Op::Stat, &state.handle.packet(Kind::Fstat))?;
        let attrs = answers::attrs(Op::Stat, &reply).map_err(no_handle)?;
        self.root.host.metadata(Op::Stat, &attrs, self.metadata.inode)
    }

    fn read_once(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let mut state = self.lock();
        self.hold(&mut state)?;
        if state.begun.front().is_some_and(|(extent, _)| extent.offset != offset) {
            state.begun.clear();
        }
        let is_next = state.read_to == Some(offset) || !state.begun.is_empty();
        let wanted = offset + buffer.len() as u64;
        let end = match self.metadata.size_bytes {
            // One request shows whether the file has grown.
            size_bytes if offset >= size_bytes => wanted.min(offset + 1),
            size_bytes if is_next => self.end.max(wanted).min(size_bytes),
            size_bytes => wanted.min(size_bytes),
        };
        state.begin(&self.root.host, offset, end)?;
        let count = state.take(buffer, offset)?;
        state.read_to = Some(offset + count as u64);
        if count > 0 {
            state.begin(&self.root.host, offset + count as u64, end)?;
        }
        Ok(count)
    }
}

impl State {
    /// Begins reads up to an end, as many as may be in progress, after those that have begun.
    fn begin(&mut self, host: &Host, offset: u64, end: u64) -> Result<()> {
        let (bytes, window) = host.reading(self.handle.session());
        let mut at = self.begun.back().map_or(offset, |(extent, _)| extent.end());
        while at < end && self.begun.len() < window {
            let extent = Extent { offset: at, length: bytes.min(end - at) };
            let request = self.handle.packet(Kind::Read).long(at).number(extent.length as u32);
            let pending = self.handle.send(Op::Read, &request)?;
            self.begun.push_back((extent, Piece::Awaited(pending)));
            at = extent.end();
        }
        Ok(())
    }

    /// Waits for the reads that fill the buffer, up to one that is short; returns their bytes.
    fn take(&mut self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let mut count = 0;
        while count < buffer.len() {
            let Some((extent, piece)) = self.begun.pop_front() else { break };
            let Some(data) = piece.data()? else {
                self.begun.clear();
                break;
            };
            if data.len() as u64 > extent.length || extent.offset != offset + count as u64 {
                return Err(answers::malformed(Op::Read));
            }
            let fitting = data.len().min(buffer.len() - count);
            buffer[count..count + fitting].copy_from_slice(&data[..fitting]);
            count += fitting;
            if fitting < data.len() {
                let done = fitting as u64;
                let (offset, length) = (extent.offset + done, extent.length - done);
                let rest = Piece::Arrived(data[fitting..].to_vec());
                self.begun.push_front((Extent { offset, length }, rest));
            } else if (data.len() as u64) < extent.length {
                // The next ones begin after a gap.
                self.begun.clear();
                break;
            }
        }
        Ok(count)
    }
}

/// Opens a file, and returns its metadata. What is no file is not opened: that would block, or have
/// side effects. A file that is known to be one is inspected after it is opened, together with the
/// path: that must not be a link.
fn open_once(root: &Root, path: &[u8], is_file: bool) -> Result<(Handle, Metadata)> {
    let open = Packet::of(Kind::Open, path).number(READ).attrs(&Attrs::default());
    let found = if is_file { None } else { Some(checked_file(root.stat(path)?)?) };
    let session = root.host.session(Op::Open)?;
    let opened = session.send(Op::Open, &open)?;
    let stat = match found {
        Some(_) => None,
        None => Some(session.send(Op::Open, &Packet::of(Kind::Lstat, path))?),
    };
    let handle = answers::handle(Op::Open, opened.wait(Op::Open)?)
        .map(|handle| Handle::new(Arc::clone(&session), handle));
    let found = match (found, stat) {
        (None, Some(stat)) => {
            let attrs = answers::attrs(Op::Open, &stat.wait(Op::Open)?)?;
            checked_file(root.host.metadata(Op::Open, &attrs, inode_of(path))?)?
        }
        (found, _) => found.ok_or_else(|| answers::malformed(Op::Open))?,
    };
    let handle = handle?;
    let reply = session.ask(Op::Open, &handle.packet(Kind::Fstat))?;
    let attrs = answers::attrs(Op::Open, &reply).map_err(no_handle)?;
    Ok((handle, root.host.metadata(Op::Open, &attrs, found.inode)?))
}

/// Makes sure that an entry is a regular file.
fn checked_file(found: Metadata) -> Result<Metadata> {
    match found.kind {
        entry::Kind::File => Ok(found),
        entry::Kind::Directory => Err(Op::Open.errno(libc::EISDIR)),
        entry::Kind::Symlink => Err(Op::Open.errno(libc::ELOOP)),
        _ => Err(Op::Open.failed(Cause::Changed)),
    }
}

impl SourceFile for SftpFile {
    fn metadata(&self) -> Result<Metadata> {
        let opened = self.lock().opened.take();
        opened.map_or_else(|| again(|_| self.metadata_now()), Ok)
    }

    fn server_file(&self) -> Option<ServerFile> {
        let (path, identity) = (self.path.clone(), self.metadata.identity());
        Some(ServerFile { host: self.root.host.id(), path, identity })
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        again(|_| self.read_once(buffer, offset)).map_err(|error| Error { op: Op::Read, ..error })
    }
}
