//! A connection to an agent, which many threads share: each request has a number, and a thread of
//! the connection hands each answer to the thread that waits for it.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::process::Child;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use types::error::Op;
use types::limits::REMOTE_END_MAX;

use crate::frame::{self, Frame, Greeting, VERSION};
use crate::packing::Packer;
use crate::protocol::{Reply, Request};

/// Reader and writer of a new connection, and the process that holds it, if there is one.
pub struct Link {
    /// Answers.
    pub from: Box<dyn Read + Send>,
    /// Requests.
    pub to: Box<dyn Write + Send>,
    /// Process such as ssh.
    pub child: Option<Child>,
}

/// An open connection.
pub struct Connection {
    to: Mutex<Option<Box<dyn Write + Send>>>,
    waiting: Arc<Waiting>,
    next: AtomicU64,
    packer: Packer,
    child: Mutex<Option<Child>>,
}

/// Requests that wait for their answers.
#[derive(Default)]
struct Waiting {
    /// `None` after the connection has broken.
    answers: Mutex<Option<HashMap<u64, SyncSender<Arrived>>>>,
    in_progress: AtomicUsize,
}

/// An answer with its data.
pub type Arrived = (Reply, Vec<u8>);

/// The connection has broken, so it is not known whether the request was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

/// An answer that is yet to come.
pub struct Pending(Receiver<Arrived>);

impl Pending {
    /// Waits for the answer.
    ///
    /// # Errors
    /// `Broken` where the connection ended before.
    pub fn wait(self) -> Result<Arrived, Broken> {
        self.0.recv().map_err(|_| Broken)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Connection {
    /// Greets the agent at the other end of a link.
    ///
    /// # Errors
    /// Those of the link, and one line for an agent of another version.
    pub fn greet(mut link: Link) -> Result<Self, (String, Link)> {
        match greeted(&mut link) {
            Ok(()) => Ok(Self::over(link)),
            Err(error) if is_end(&error) => {
                let why = "the agent did not answer; is dcp in PATH there (--agent-path)?";
                Err((why.to_owned(), link))
            }
            Err(error) => Err((error.to_string(), link)),
        }
    }

    fn over(link: Link) -> Self {
        let waiting = Arc::new(Waiting {
            answers: Mutex::new(Some(HashMap::new())),
            in_progress: AtomicUsize::new(0),
        });
        let (theirs, mut from) = (Arc::clone(&waiting), link.from);
        let mut child = link.child;
        if let Some(child) = &mut child {
            crate::host::drain(child);
        }
        std::thread::spawn(move || {
            if let Err(error) = theirs.distribute(&mut *from) {
                tracing::debug!(%error, "a connection to another host has ended");
            }
            theirs.break_off();
        });
        Self {
            to: Mutex::new(Some(link.to)),
            waiting,
            next: AtomicU64::new(1),
            packer: Packer::default(),
            child: Mutex::new(child),
        }
    }

    /// Compresses further requests, or does not.
    pub fn set_compression(&self, is_on: bool) {
        self.packer.set(is_on);
    }

    /// Sends a request.
    ///
    /// # Errors
    /// `Broken` where the connection has ended.
    pub fn send(&self, request: &Request, data: &[u8]) -> Result<Pending, Broken> {
        let (sender, receiver) = sync_channel(1);
        let Ok(head) = frame::encode(request) else {
            // More extended attributes than a message holds: no fault of the connection.
            let _ = sender.send((Err(Op::SetXattrs.errno(libc::E2BIG)), Vec::new()));
            return Ok(Pending(receiver));
        };
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let frame = frame::seal(id, &head, data, &self.packer);
        lock(&self.waiting.answers).as_mut().ok_or(Broken)?.insert(id, sender);
        self.waiting.in_progress.fetch_add(1, Ordering::Relaxed);
        let mut to = lock(&self.to);
        let is_sent =
            |to: &mut Box<dyn Write + Send>| frame.is_ok_and(|it| it.send(&mut **to).is_ok());
        let sent = to.as_mut().is_some_and(is_sent);
        if !sent {
            *to = None;
            self.waiting.break_off();
            return Err(Broken);
        }
        Ok(Pending(receiver))
    }

    /// Sends a request, and waits for its answer.
    ///
    /// # Errors
    /// `Broken` where the connection has ended.
    pub fn ask(&self, request: &Request, data: &[u8]) -> Result<Arrived, Broken> {
        self.send(request, data)?.wait()
    }

    /// Returns the number of requests that wait for their answers.
    pub fn in_progress(&self) -> usize {
        self.waiting.in_progress.load(Ordering::Relaxed)
    }

    /// Returns the number of requests that were sent.
    pub fn sent(&self) -> u64 {
        self.next.load(Ordering::Relaxed) - 1
    }

    /// Returns whether the connection has ended.
    pub fn is_broken(&self) -> bool {
        lock(&self.waiting.answers).is_none()
    }

    /// Ends the connection at once.
    pub fn break_off(&self) {
        self.waiting.break_off();
        if let Some(child) = &mut *lock(&self.child) {
            let _ = child.kill();
        }
        *lock(&self.to) = None;
    }
}

impl Waiting {
    fn distribute(&self, from: &mut dyn Read) -> io::Result<()> {
        while let Some(Frame { id, message, data }) = frame::receive::<Reply>(from)? {
            let sender = lock(&self.answers).as_mut().and_then(|answers| answers.remove(&id));
            let Some(sender) = sender else {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "an unexpected answer"));
            };
            self.in_progress.fetch_sub(1, Ordering::Relaxed);
            // Where nobody waits any more, the request has been given up.
            let _ = sender.send((message, data));
        }
        Ok(())
    }

    /// Wakes all waiting threads: dropping the senders ends their receivers.
    fn break_off(&self) {
        *lock(&self.answers) = None;
    }
}

fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe)
}

fn greeted(link: &mut Link) -> io::Result<()> {
    Greeting::own().send(&mut *link.to)?;
    let agent = Greeting::receive(&mut *link.from)?;
    if agent.protocol == VERSION {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        format!(
            "the agent has version {} (protocol {}), and this program {} (protocol {VERSION}); name \
             a matching one with --agent-path",
            agent.software,
            agent.protocol,
            Greeting::own().software
        ),
    ))
}

/// Closes the connection, so that the agent ends, and waits for its process.
impl Drop for Connection {
    fn drop(&mut self) {
        *lock(&self.to) = None;
        if let Some(child) = lock(&self.child).take() {
            end(child);
        }
    }
}

/// Waits for the end of a process whose input is closed, and ends it after a while.
pub(crate) fn end(mut child: Child) {
    drop(child.stdin.take());
    let deadline = Instant::now() + REMOTE_END_MAX;
    while Instant::now() < deadline {
        match child.try_wait() {
            Ok(None) => std::thread::sleep(Duration::from_millis(5)),
            _ => return,
        }
    }
    let _ = child.kill();
    let _ = child.wait();
}
