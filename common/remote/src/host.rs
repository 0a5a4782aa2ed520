//! A host, or several that share its file systems, with agents that serve them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use ::host::user::User;
use ::store::opening::OpenAs;
use types::content::crc64::Crc64;
use types::entry::Metadata;
use types::error::{Error, Op, Result};
use types::limits::{REMOTE_CONNECTIONS, REMOTE_REQUEST_ATTEMPTS, REMOTE_SILENCE_MAX};
use types::operand::root_view::{RootView, Sureness};

use crate::answers::Answers;
use crate::connection::{Arrived, Broken, Connection, Pending};
use crate::doors::Dial;
use crate::exchange::lock;
use crate::machines::Machines;
use crate::no_connection::{NoHost, Unprepared};
use crate::pool::{Pool, Unreachable, gone};
use crate::protocol::{Answer, Machine, Reply, Request, RootIs};
use crate::shell::ShellOptions;

/// How a host is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostSettings {
    /// `USER@HOST` of each host that shares the file systems.
    pub doors: Vec<String>,
    /// Options for ssh.
    pub shell: ShellOptions,
    /// Connections of each rank, at most.
    pub connections_max: u32,
    /// True if messages are compressed, where that pays.
    pub compress: bool,
    /// Time in which an agent answers something; after twice that time it is given up.
    pub silence_max: Duration,
    /// Machine that was reached by the name, where that is one.
    pub machine: Option<Machine>,
}

impl HostSettings {
    /// Settings for these hosts with the defaults.
    pub fn of(doors: Vec<String>) -> Self {
        let shell = ShellOptions::default();
        let connections_max = REMOTE_CONNECTIONS;
        let silence_max = REMOTE_SILENCE_MAX;
        Self { doors, shell, connections_max, compress: false, silence_max, machine: None }
    }
}

/// A host.
pub struct Host {
    pool: Pool<Connection>,
    machines: Machines,
    user: OnceLock<User>,
    roots: Mutex<Vec<RootOf>>,
    next_root: AtomicU32,
    umask: u32,
    compress: bool,
    silence_max: Duration,
    /// Identifier of the host, which marks its device numbers.
    id: u64,
    pub(crate) answers: Answers,
}

/// The connection by which a request was answered, as long as it is open.
pub struct Line(Weak<Connection>);

/// A root that has been opened, for connections that are made later.
#[derive(Clone)]
struct RootOf {
    number: u32,
    path: Vec<u8>,
    open_as: OpenAs,
    seen: Seen,
}

/// A root as one connection shows it.
#[derive(Clone)]
struct Seen {
    inode: u64,
    /// View with the mounts below, where there are several doors.
    view: Option<RootView>,
}

impl Host {
    /// Creates the access to a host through ssh. Makes no connection.
    pub fn new(settings: HostSettings) -> Self {
        let shell = settings.shell.clone();
        Self::dialled(settings, Box::new(move |door| shell.dial(door)))
    }

    /// Creates the access to a host to which `dial` makes connections.
    pub fn dialled(settings: HostSettings, dial: Box<Dial>) -> Self {
        let id = Crc64::of(settings.doors.join(",").as_bytes()).0 | 1 << 63;
        Self {
            machines: Machines::new(settings.doors.len() == 1, settings.machine),
            pool: Pool::new(settings.doors, settings.connections_max, dial, Connection::greet),
            user: OnceLock::new(),
            roots: Mutex::default(),
            next_root: AtomicU32::new(1),
            umask: ::host::process::current_umask(),
            compress: settings.compress,
            silence_max: settings.silence_max,
            id,
            answers: Answers::default(),
        }
    }

    /// Returns the identifier of the host.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Returns whether several hosts are named.
    pub fn has_several_doors(&self) -> bool {
        self.pool.doors() > 1
    }

    /// Returns the number of requests that were sent so far.
    pub fn requests(&self) -> u64 {
        self.pool.requests()
    }

    /// Makes the first connection. Returns the machine that it leads to, where the host has one
    /// name.
    ///
    /// # Errors
    /// Returns which host cannot be reached, and why.
    pub fn reach(&self) -> std::result::Result<Option<Machine>, NoHost> {
        self.connection().map_err(|_| self.pool.complaint())?;
        Ok(self.machines.first().filter(|_| !self.has_several_doors()))
    }

    /// Returns the user that works there, once a connection was made.
    pub fn user(&self) -> Option<User> {
        self.user.get().cloned()
    }

    /// Notes the machine that another rank has reached by the name. Connections to another one are
    /// broken off, and made again.
    pub fn is_on(&self, machine: Option<Machine>) {
        if machine.is_some_and(|machine| !self.machines.begin_with(machine)) {
            self.pool.break_connections();
        }
    }

    /// Sends a request until it is answered: again on another connection where its own breaks.
    /// `request` gets the number of the attempt.
    ///
    /// # Errors
    /// That of the operation, and `HostGone` where no host can be reached.
    pub fn ask(&self, op: Op, request: &dyn Fn(u32) -> Request, data: &[u8]) -> Result<Arrived> {
        self.ask_from(0, op, request, data).map(|(arrived, _)| arrived)
    }

    /// Sends a request as [`Host::ask`] does. Returns the line by which it was answered, too, for
    /// what that agent holds and others do not.
    ///
    /// # Errors
    /// As for [`Host::ask`].
    pub fn ask_any(&self, op: Op, request: &Request) -> Result<(Arrived, Line)> {
        self.ask_from(0, op, &|_| request.clone(), &[])
    }

    /// Sends a request to the agent at the end of that line; `None` where the line has broken.
    pub fn ask_by(&self, line: &Line, request: &Request) -> Option<Arrived> {
        let connection = line.0.upgrade()?;
        let arrived = connection.ask(request, &[]);
        arrived.inspect_err(|Broken| self.pool.forget(&connection)).ok()
    }

    /// Sends a request as [`Host::ask`] does, from the attempt of that number on.
    ///
    /// # Errors
    /// As for [`Host::ask`].
    pub(crate) fn ask_from(
        &self,
        first: u32,
        op: Op,
        request: &dyn Fn(u32) -> Request,
        data: &[u8],
    ) -> Result<(Arrived, Line)> {
        for attempt in first..REMOTE_REQUEST_ATTEMPTS {
            let request = request(attempt);
            let connection = self.connection_for(&request).map_err(|_| self.given_up(op))?;
            match connection.ask(&request, data) {
                Ok(arrived) => return Ok((arrived, Line(Arc::downgrade(&connection)))),
                Err(Broken) => self.pool.forget(&connection),
            }
        }
        Err(op.errno(libc::ENOTCONN))
    }

    /// Sends a request as [`Host::ask_any`] does, and returns whether it was sent again: then an
    /// earlier one may have been done.
    ///
    /// # Errors
    /// As for [`Host::ask`].
    pub(crate) fn ask_counted(&self, op: Op, request: &Request) -> Result<((Reply, Line), bool)> {
        let is_repeated = std::cell::Cell::new(false);
        let request = |attempt| {
            is_repeated.set(attempt > 0);
            request.clone()
        };
        let ((reply, _), line) = self.ask_from(0, op, &request, &[])?;
        Ok(((reply, line), is_repeated.get()))
    }

    /// Sends a request to all agents that are connected.
    ///
    /// # Errors
    /// The first error of any, and that of [`Host::ask`].
    pub fn ask_all(&self, op: Op, request: &Request) -> Result<()> {
        self.connection_for(request).map_err(|_| self.given_up(op))?;
        for connection in self.pool.all() {
            match connection.ask(request, &[]) {
                Ok((reply, _)) => drop(reply?),
                // Its host is another one's door, or has restarted.
                Err(Broken) => drop(self.ask(op, &|_| request.clone(), &[])?.0?),
            }
        }
        Ok(())
    }

    /// Sends a request without waiting for its answer.
    pub fn begin(&self, request: &Request, data: &[u8]) -> Option<Pending> {
        self.connection_for(request).ok()?.send(request, data).ok()
    }

    /// Waits for the answer to a request that has begun, and sends it again where its connection
    /// has broken.
    ///
    /// # Errors
    /// As for [`Host::ask`].
    pub fn finish(
        &self,
        pending: Option<Pending>,
        op: Op,
        request: &Request,
        data: &[u8],
    ) -> Result<Arrived> {
        match pending.map(Pending::wait) {
            Some(Ok(arrived)) => Ok(arrived),
            _ => self.ask_from(1, op, &|_| request.clone(), data).map(|(arrived, _)| arrived),
        }
    }

    /// Opens a root on all connections. Returns its number and its state.
    ///
    /// # Errors
    /// Those of opening it.
    pub fn open_root(&self, path: &[u8], open_as: OpenAs) -> Result<(u32, RootIs)> {
        self.answers.forget();
        let number = self.next_root.fetch_add(1, Ordering::Relaxed);
        self.connection().map_err(|_| self.given_up(Op::Open))?;
        let mut found: Option<(RootIs, Seen)> = None;
        let _held = self.pool.hold();
        for connection in self.pool.all() {
            let (root, seen) = match self.open_by(&connection, number, path, open_as) {
                Ok(opened) => opened,
                Err(Unopened::Broken) => continue,
                Err(Unopened::Error(error)) => return Err(error),
            };
            if let Some((_, first)) = &found {
                first.agree(&seen).map_err(|why| refused(&why))?;
            } else {
                self.check_others(&connection, &seen)?;
                found = Some((root, seen));
            }
        }
        let (root, seen) = found.ok_or_else(|| Op::Open.errno(libc::ENOTCONN))?;
        lock(&self.roots).push(RootOf { number, path: path.to_vec(), open_as, seen });
        Ok((number, RootIs { metadata: self.shown(root.metadata), ..root }))
    }

    /// Opens a root on one connection.
    fn open_by(
        &self,
        connection: &Connection,
        root: u32,
        path: &[u8],
        open_as: OpenAs,
    ) -> std::result::Result<(RootIs, Seen), Unopened> {
        let ask = |request: &Request| -> std::result::Result<Answer, Unopened> {
            let (reply, _) = connection.ask(request, &[]).map_err(|Broken| Unopened::Broken)?;
            reply.map_err(Unopened::Error)
        };
        let odd = || Unopened::Error(malformed(Op::Open));
        let opened = ask(&Request::Root { root, path: path.to_vec(), open_as })?;
        let Answer::Root(is) = opened else { return Err(odd()) };
        let view = if self.has_several_doors() {
            let Answer::View(view) = ask(&Request::View { root, entry: None })? else {
                return Err(odd());
            };
            view
        } else {
            None
        };
        let inode = is.metadata.inode;
        Ok((is, Seen { inode, view }))
    }

    /// Verifies that another root is on the file system of those that are open, where there are
    /// several doors: device numbers are relative to the root's then, and could not tell the two
    /// apart.
    fn check_others(&self, connection: &Connection, seen: &Seen) -> Result<()> {
        let Some(view) = &seen.view else { return Ok(()) };
        for root in lock(&self.roots).clone() {
            let now = connection.ask(&Request::View { root: root.number, entry: None }, &[]);
            let is_same = matches!(now, Ok((Ok(Answer::View(Some(other))), _))
                if other.root.device == view.root.device);
            if !is_same {
                let shown = types::path::escaped(&root.path);
                return Err(refused(&format!(
                    "not on the file system of \"{shown}\", from which it cannot be distinguished \
                     through several hosts; name one host, or use a command for each"
                )));
            }
        }
        Ok(())
    }

    /// Forgets a root that is not used any more.
    pub fn close_root(&self, number: u32) {
        lock(&self.roots).retain(|root| root.number != number);
    }

    /// Returns metadata whose device number is one of this host.
    pub fn shown(&self, metadata: Metadata) -> Metadata {
        Metadata { device: metadata.device ^ self.id, ..metadata }
    }

    /// Returns whether metadata is of an entry of this host.
    pub(crate) fn has_shown(&self, metadata: &Metadata) -> bool {
        (metadata.device ^ self.id) >> 63 == 0
    }

    /// Returns a connection for a request.
    fn connection_for(
        &self,
        request: &Request,
    ) -> std::result::Result<Arc<Connection>, Unreachable> {
        let connection = self.connection()?;
        if request.is_write() {
            self.machines.note_write();
        }
        if self.machines.loss().is_some() { Err(Unreachable) } else { Ok(connection) }
    }

    /// Returns a connection with all roots open.
    fn connection(&self) -> std::result::Result<Arc<Connection>, Unreachable> {
        self.pool.connection(&|connection| self.prepare(connection))
    }

    /// Begins the session on a new connection, and opens all roots there. Each must be the
    /// directory that it was on the other connections.
    fn prepare(&self, connection: &Connection) -> std::result::Result<(), Unprepared> {
        let relative_devices = self.has_several_doors();
        let compress = self.compress;
        connection.set_compression(compress);
        connection.set_silence(self.silence_max);
        let begin = Request::Begin { umask: self.umask, relative_devices, compress };
        match connection.begin(&begin).map_err(|Broken| Unprepared::Ended)?.0? {
            Answer::Begun { machine, user } => {
                self.machines.admit(machine)?;
                // The first one counts: all hosts of a file system know one user.
                let _ = self.user.set(user);
            }
            _ => return Err(malformed(Op::Open).into()),
        }
        for root in lock(&self.roots).clone() {
            let opened = self.open_by(connection, root.number, &root.path, root.open_as);
            let agreed = match opened {
                Ok((_, seen)) => root.seen.agree(&seen),
                Err(Unopened::Broken) => return Err(Unprepared::Ended),
                Err(Unopened::Error(error)) => Err(error.into()),
            };
            let of_root = |why| Unprepared::Root { path: root.path, source: Box::new(why) };
            agreed.map_err(of_root)?;
        }
        Ok(())
    }

    /// Returns the error of an operation for which no host can be reached.
    fn given_up(&self, op: Op) -> Error {
        let lost = self.machines.loss().map(|loss| gone(op, loss));
        lost.unwrap_or_else(|| gone(op, &self.pool.complaint()))
    }

    /// Ends all connections at once, as a failing network does.
    pub fn break_connections(&self) {
        self.pool.break_connections();
    }
}

/// Returns the error of a root that is another directory through another door.
fn refused(why: &impl ToString) -> Error {
    gone(Op::Open, why)
}

/// A root was not opened on a connection.
enum Unopened {
    Error(Error),
    Broken,
}

impl Seen {
    /// Makes sure that another connection shows the same directory, with the same mounts below.
    fn agree(&self, other: &Self) -> std::result::Result<(), Unprepared> {
        if self.inode != other.inode {
            return Err(Unprepared::OtherDirectory);
        }
        let (Some(first), Some(here)) = (&self.view, &other.view) else { return Ok(()) };
        match first.agree(here) {
            Ok(agreement) if agreement.sureness == Sureness::Certain => Ok(()),
            Ok(_) => Err(Unprepared::Unproven),
            Err(why) => Err(Unprepared::Different(why)),
        }
    }
}

/// Error of an answer that does not belong to its request.
pub fn malformed(op: Op) -> Error {
    op.errno(libc::EBADMSG)
}
