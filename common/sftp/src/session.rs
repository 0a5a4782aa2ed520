//! A connection to an SFTP server, which many threads share.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use remote::exchange::{self, Exchange, Link};
use remote::no_connection::Ungreeted;
use remote::pool::Connected;
use types::error::{Op, Result};
use types::limits::{REMOTE_SILENCE_MAX, SFTP_DATA_BYTES, SFTP_DATA_BYTES_MAX};

use crate::answers::{self, broken};
use crate::packet::{self, Bytes, Kind, Packet, Reply, VERSION};

/// An open connection.
pub struct Session {
    exchange: Exchange<Reply>,
    server: Server,
    /// Time in which the server answers something; after twice that time the connection is broken
    /// off.
    silence_max: Mutex<Duration>,
}

/// Features that a server has offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Server {
    extensions: u8,
    /// Most bytes of content in one request for reading.
    pub read_bytes: u32,
    /// Most bytes of content in one request for writing.
    pub write_bytes: u32,
}

/// Extensions of OpenSSH that are of use here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extension {
    /// Renames over an existing entry, as rename(2) does.
    PosixRename,
    /// Tells how full a file system is.
    Statvfs,
    /// Creates a hard link.
    HardLink,
    /// Syncs a file to storage.
    Fsync,
    /// Sets attributes of a symbolic link itself.
    Lsetstat,
    /// Tells the limits of the server.
    Limits,
    /// Copies a range of a file to another one.
    CopyData,
}

impl Extension {
    const ALL: [Self; 7] = [
        Self::PosixRename,
        Self::Statvfs,
        Self::HardLink,
        Self::Fsync,
        Self::Lsetstat,
        Self::Limits,
        Self::CopyData,
    ];

    /// Returns its name in the protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::PosixRename => "posix-rename@openssh.com",
            Self::Statvfs => "statvfs@openssh.com",
            Self::HardLink => "hardlink@openssh.com",
            Self::Fsync => "fsync@openssh.com",
            Self::Lsetstat => "lsetstat@openssh.com",
            Self::Limits => "limits@openssh.com",
            // draft-ietf-secsh-filexfer-extensions-00, section 7.
            Self::CopyData => "copy-data",
        }
    }

    /// Returns its version, where it has not changed since.
    fn version(self) -> &'static [u8] {
        if self == Self::Statvfs { b"2" } else { b"1" }
    }
}

impl Server {
    /// Returns whether the server has an extension.
    pub fn has(&self, extension: Extension) -> bool {
        self.extensions & 1 << extension as u8 != 0
    }
}

/// A reply that is yet to come.
pub struct Pending {
    reply: exchange::Pending<Reply>,
    session: Arc<Session>,
}

impl Pending {
    /// Waits for the reply.
    ///
    /// # Errors
    /// `ENOTCONN` where the connection ended before.
    pub fn wait(self, op: Op) -> Result<Reply> {
        let Self { reply, session } = self;
        let exchange = &session.exchange;
        let (silence_max, mut was_silent) = (session.silence_max(), false);
        loop {
            let arrived = exchange.arrived();
            if let Some(reply) = reply.wait_for(silence_max) {
                return reply.map_err(|_| broken(op, exchange.why()));
            }
            let is_silent = exchange.arrived() == arrived;
            if is_silent && was_silent {
                exchange.break_off();
                return Err(broken(op, None));
            }
            was_silent = is_silent;
        }
    }
}

impl Session {
    /// Greets the server at the other end of a link.
    ///
    /// # Errors
    /// Those of the link, and one for a server of another version.
    pub fn greet(mut link: Link) -> std::result::Result<Self, (Ungreeted, Link)> {
        let server = match greeted(&mut link) {
            Ok(server) => server,
            Err(error) => {
                let silence = "there is no answer of an SFTP server";
                return Err((Ungreeted::of(error, silence), link));
            }
        };
        let exchange = Exchange::over(link, packet::receive);
        let server = limited(&exchange, server);
        Ok(Self { exchange, server, silence_max: Mutex::new(REMOTE_SILENCE_MAX) })
    }

    /// Sets the time in which the server answers something.
    pub fn set_silence(&self, silence_max: Duration) {
        *self.silence_max.lock().unwrap_or_else(PoisonError::into_inner) = silence_max;
    }

    fn silence_max(&self) -> Duration {
        *self.silence_max.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the features of the server.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Sends a request.
    ///
    /// # Errors
    /// `ENOTCONN` where the connection has ended.
    pub fn send(self: &Arc<Self>, op: Op, packet: &Packet) -> Result<Pending> {
        let sent = self
            .exchange
            .send(0, |id| Ok(move |to: &mut dyn io::Write| packet.send(to, id as u32)));
        let reply = sent.map_err(|_| broken(op, self.exchange.why()))?;
        Ok(Pending { reply, session: Arc::clone(self) })
    }

    /// Sends a request, and waits for its reply.
    ///
    /// # Errors
    /// `ENOTCONN` where the connection has ended.
    pub fn ask(self: &Arc<Self>, op: Op, packet: &Packet) -> Result<Reply> {
        self.send(op, packet)?.wait(op)
    }
}

impl Connected for Session {
    type Answer = Reply;

    fn exchange(&self) -> &Exchange<Reply> {
        &self.exchange
    }
}

/// Returns the features of the server with the limits that it tells.
fn limited(exchange: &Exchange<Reply>, server: Server) -> Server {
    if !server.has(Extension::Limits) {
        return server;
    }
    let request = &Packet::extended(Extension::Limits.name());
    let told = exchange.send(0, |id| Ok(move |to: &mut dyn io::Write| request.send(to, id as u32)));
    let Ok(Reply::Extended(told)) = told.and_then(exchange::Pending::wait) else { return server };
    let mut told = Bytes(&told);
    let mut next = || told.long().unwrap_or(0);
    let (_packet, read, write) = (next(), next(), next());
    // Zero stands for no limit.
    let within = |limit: u64| if limit == 0 { u64::MAX } else { limit };
    let bytes = |limit: u64| within(limit).min(SFTP_DATA_BYTES_MAX.into()) as u32;
    Server { read_bytes: bytes(read), write_bytes: bytes(write), ..server }
}

fn greeted(link: &mut Link) -> io::Result<Server> {
    // The number of a first packet is the version.
    Packet::new(Kind::Init).send(&mut *link.to, VERSION)?;
    let unsupported = |why: String| io::Error::new(io::ErrorKind::Unsupported, why);
    let body = match packet::receive_body(&mut *link.from)? {
        Some((kind, body)) if kind == Kind::Version as u8 => body,
        Some(_) => return Err(unsupported("the greeting is not that of SFTP".to_owned())),
        None => return Err(io::ErrorKind::UnexpectedEof.into()),
    };
    let mut bytes = Bytes(&body);
    match bytes.number() {
        Some(VERSION) => {}
        Some(other) => {
            return Err(unsupported(format!(
                "the server has version {other} of SFTP, and this program version {VERSION}"
            )));
        }
        None => return Err(unsupported("the greeting is not that of SFTP".to_owned())),
    }
    let mut extensions = 0;
    while let Some((name, version)) = bytes.text().zip(bytes.text()) {
        let is_it = |it: &&Extension| it.name().as_bytes() == name && it.version() == version;
        if let Some(extension) = Extension::ALL.iter().find(is_it) {
            extensions |= 1 << *extension as u8;
        }
    }
    Ok(Server { extensions, read_bytes: SFTP_DATA_BYTES, write_bytes: SFTP_DATA_BYTES })
}

/// An open file or directory of a server, on the connection by which it was opened.
pub struct Handle {
    session: Arc<Session>,
    bytes: Vec<u8>,
    is_open: bool,
}

impl Handle {
    /// Takes over a handle.
    pub fn new(session: Arc<Session>, bytes: Vec<u8>) -> Self {
        Self { session, bytes, is_open: true }
    }

    /// Returns the connection.
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Returns whether the connection has ended, and the handle with it.
    pub fn is_broken(&self) -> bool {
        self.session.is_broken()
    }

    /// Returns the handle as the server gave it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Begins a packet about the handle.
    pub fn packet(&self, kind: Kind) -> Packet {
        Packet::of(kind, &self.bytes)
    }

    /// Begins a packet of an extension about the handle.
    pub fn extended(&self, extension: Extension) -> Packet {
        Packet::extended(extension.name()).text(&self.bytes)
    }

    /// Sends a request.
    ///
    /// # Errors
    /// `ENOTCONN` where the connection has ended.
    pub fn send(&self, op: Op, packet: &Packet) -> Result<Pending> {
        self.session.send(op, packet)
    }

    /// Closes the handle, and returns the error that the server has delayed until now.
    ///
    /// # Errors
    /// That one, and `ENOTCONN` where the connection has ended.
    pub fn close(mut self) -> Result<()> {
        self.is_open = false;
        let reply = self.session.ask(Op::Close, &self.packet(Kind::Close))?;
        answers::done_by_handle(Op::Close, reply)
    }
}

/// Closes the handle without waiting for the reply.
impl Drop for Handle {
    fn drop(&mut self) {
        if self.is_open {
            let _ = self.session.send(Op::Close, &self.packet(Kind::Close));
        }
    }
}
