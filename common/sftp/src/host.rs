//! A host with an SFTP server: the connections of a rank to it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use remote::doors::Dial;
use remote::no_connection::NoHost;
use remote::pool::{Pool, Unreachable, gone};
use remote::shell::start;
use types::content::crc64::Crc64;
use types::entry::Metadata;
use types::error::{Cause, Error, Op, Result};
use types::limits::{REMOTE_REQUEST_ATTEMPTS, SFTP_WINDOW_BYTES};

use crate::answers::{self, FAILURE, broken, is_broken, malformed};
use crate::packet::{Attrs, Bytes, Kind, Packet, Reply};
use crate::session::{Extension, Handle, Pending, Session};

/// How a host is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SftpSettings {
    /// Name of the host in messages.
    pub name: String,
    /// Command that connects its standard input and output with the server.
    pub command: Vec<String>,
    /// Connections of each rank, at most.
    pub connections_max: u32,
    /// Requests for content of one file in progress, at most, where the operator has set it.
    pub requests_max: Option<u32>,
    /// Content in one request, at most, where the operator has set it.
    pub data_bytes_max: Option<u32>,
    /// Time in which the server answers something; a connection is broken off after twice that
    /// time.
    pub silence_max: Duration,
}

/// A host with an SFTP server.
pub struct Host {
    pool: Pool<Session>,
    settings: SftpSettings,
    roots: Mutex<Vec<Vec<u8>>>,
    /// Identifier of the host, which stands for its device.
    id: u64,
}

/// Space that is left on a file system, and whether it can be written.
struct Space {
    available_bytes: u64,
    is_read_only: bool,
}

/// Bit of a read-only file system in the reply to `statvfs@openssh.com`.
const READ_ONLY: u64 = 1;

/// Calls a function until its connection holds, with the number of the attempt.
pub(crate) fn again<T>(mut ask: impl FnMut(u32) -> Result<T>) -> Result<T> {
    let mut attempt = 0;
    loop {
        let answer = ask(attempt);
        attempt += 1;
        match answer {
            Err(error) if is_broken(&error) && attempt < REMOTE_REQUEST_ATTEMPTS => {}
            answer => return answer,
        }
    }
}

impl Host {
    /// Creates the access to a host. Makes no connection.
    pub fn new(settings: SftpSettings) -> Self {
        let command = settings.command.clone();
        Self::dialled(settings, Box::new(move |_| start(&command)))
    }

    /// Creates the access to a host to which `dial` makes connections.
    pub fn dialled(settings: SftpSettings, dial: Box<Dial>) -> Self {
        let id = Crc64::of(format!("sftp {}", settings.name).as_bytes()).0 | 1 << 63;
        let names = vec![settings.name.clone()];
        let pool = Pool::new(names, settings.connections_max, dial, Session::greet);
        Self { pool, settings, roots: Mutex::default(), id }
    }

    /// Makes the first connection.
    ///
    /// # Errors
    /// Returns why the host cannot be reached.
    pub fn reach(&self) -> std::result::Result<(), NoHost> {
        self.connection().map(drop).map_err(|_| self.pool.complaint())
    }

    /// Returns the identifier of the host.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Ends all connections at once, as a failing network does.
    pub fn break_connections(&self) {
        self.pool.break_connections();
    }

    /// Remembers the path of a root, and returns its number.
    pub(crate) fn add_root(&self, path: &[u8]) -> u32 {
        let mut roots = self.roots.lock().unwrap_or_else(PoisonError::into_inner);
        roots.push(path.to_vec());
        roots.len() as u32 - 1
    }

    /// Returns the path of the root of that number.
    pub(crate) fn root(&self, number: u32) -> Option<Vec<u8>> {
        let roots = self.roots.lock().unwrap_or_else(PoisonError::into_inner);
        roots.get(number as usize).cloned()
    }

    fn connection(&self) -> std::result::Result<Arc<Session>, Unreachable> {
        self.pool.connection(&|session| {
            session.set_silence(self.settings.silence_max);
            Ok(())
        })
    }

    /// Returns a connection.
    pub(crate) fn session(&self, op: Op) -> Result<Arc<Session>> {
        self.connection().map_err(|_| gone(op, &self.pool.complaint()))
    }

    /// Returns whether the server has an extension.
    pub(crate) fn has(&self, op: Op, extension: Extension) -> Result<bool> {
        Ok(self.session(op)?.server().has(extension))
    }

    /// Returns the content in one request for reading, and the number of such requests in progress.
    pub(crate) fn reading(&self, session: &Session) -> (u64, usize) {
        self.window(session.server().read_bytes)
    }

    /// Returns the content in one request for writing, and the number of such requests in progress.
    pub(crate) fn writing(&self, session: &Session) -> (u64, usize) {
        self.window(session.server().write_bytes)
    }

    fn window(&self, limit: u32) -> (u64, usize) {
        let bytes = self.settings.data_bytes_max.map_or(limit, |bytes| bytes.min(limit)).max(1);
        let fitting = (SFTP_WINDOW_BYTES / u64::from(bytes)).max(1);
        let requests = self.settings.requests_max.map_or(fitting, u64::from).min(fitting).max(1);
        (bytes.into(), requests as usize)
    }

    /// Sends a request that may be repeated as it is.
    pub(crate) fn ask(&self, op: Op, packet: &Packet) -> Result<Reply> {
        again(|_| self.session(op)?.ask(op, packet))
    }

    /// Sends a request, and tells whether it was sent again: then an earlier one may have been
    /// done.
    pub(crate) fn ask_counted(&self, op: Op, packet: &Packet) -> Result<(Reply, bool)> {
        again(|attempt| Ok((self.session(op)?.ask(op, packet)?, attempt > 0)))
    }

    /// Sends requests together, and returns their replies.
    pub(crate) fn ask_all(&self, op: Op, packets: &[Packet]) -> Result<Vec<Reply>> {
        again(|_| {
            let session = self.session(op)?;
            let sent: Result<Vec<Pending>> =
                packets.iter().map(|packet| session.send(op, packet)).collect();
            sent?.into_iter().map(|pending| pending.wait(op)).collect()
        })
    }

    /// Opens a file or directory by a request that may be repeated.
    pub(crate) fn open(&self, op: Op, packet: &Packet) -> Result<Handle> {
        again(|_| self.open_once(op, packet))
    }

    /// Opens a file or directory.
    pub(crate) fn open_once(&self, op: Op, packet: &Packet) -> Result<Handle> {
        let session = self.session(op)?;
        let handle = answers::handle(op, session.ask(op, packet)?)?;
        Ok(Handle::new(session, handle))
    }

    /// Returns the metadata of what is at a path; `kind` says whether links are followed.
    pub(crate) fn stat(&self, kind: Kind, path: &[u8], inode: u64) -> Result<Metadata> {
        let reply = self.ask(Op::Stat, &Packet::of(kind, path))?;
        self.metadata(Op::Stat, &answers::attrs(Op::Stat, &reply)?, inode)
    }

    /// Returns attributes as metadata.
    pub(crate) fn metadata(&self, op: Op, attrs: &Attrs, inode: u64) -> Result<Metadata> {
        answers::metadata(attrs, self.id, inode).ok_or_else(|| malformed(op))
    }

    /// Returns the absolute path of an entry without symbolic links.
    pub(crate) fn real_path(&self, op: Op, path: &[u8]) -> Result<Vec<u8>> {
        let path = answers::path(op, self.ask(op, &Packet::of(Kind::Realpath, path))?)?;
        if path.starts_with(b"/") { Ok(path) } else { Err(malformed(op)) }
    }

    /// Finds out whether a failure of a change at a path is that of a full or read-only file
    /// system: the protocol has no code for either.
    pub(crate) fn explained(&self, error: Error, path: &[u8]) -> Error {
        let may_be = error.cause == FAILURE || error.cause == Cause::System(libc::EACCES);
        match self.space(path).filter(|_| may_be) {
            Some(space) if space.is_read_only => {
                Error { cause: Cause::System(libc::EROFS), ..error }
            }
            Some(space) if space.available_bytes == 0 && error.cause == FAILURE => {
                Error { cause: Cause::System(libc::ENOSPC), ..error }
            }
            _ => error,
        }
    }

    /// Returns the space at a path, where the server tells it.
    fn space(&self, path: &[u8]) -> Option<Space> {
        if !self.has(Op::Stat, Extension::Statvfs).ok()? {
            return None;
        }
        let request = Packet::extended(Extension::Statvfs.name()).text(path);
        let Reply::Extended(told) = self.ask(Op::Stat, &request).ok()? else { return None };
        let mut told = Bytes(&told);
        let numbers: Vec<u64> = std::iter::from_fn(|| told.long()).take(11).collect();
        let [_, unit_bytes, _, _, available, _, _, _, _, flags, _] = numbers[..] else {
            return None;
        };
        Some(Space {
            available_bytes: available.saturating_mul(unit_bytes),
            is_read_only: flags & READ_ONLY != 0,
        })
    }

    /// Returns the error of a connection that cannot be used for a handle any more.
    pub(crate) fn lost(op: Op) -> Error {
        broken(op, None)
    }
}
