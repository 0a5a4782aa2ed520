//! A pipe to a process that answers numbered requests, which many threads share: a thread of it
//! hands each answer to the thread that waits for it.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::process::Child;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crate::process::{drain, end};

/// Reader and writer of a new connection, and the process that holds it, if there is one.
pub struct Link {
    /// Answers.
    pub from: Box<dyn Read + Send>,
    /// Requests.
    pub to: Box<dyn Write + Send>,
    /// Process such as ssh.
    pub child: Option<Child>,
}

/// Reads the next answer with the number of its request; `None` at the end of the connection.
pub type Receive<A> = fn(&mut dyn Read) -> io::Result<Option<(u64, A)>>;

/// The requests and answers of an open connection.
pub struct Exchange<A> {
    to: Mutex<Option<Box<dyn Write + Send>>>,
    waiting: Arc<Waiting<A>>,
    next: AtomicU64,
    is_silent: AtomicBool,
    /// Host that the connection leads to, by its index.
    pub(crate) door: AtomicUsize,
    child: Mutex<Option<Child>>,
}

/// Recipient of the answer to each request, and the content of both in bytes.
type Waiters<A> = HashMap<u64, (SyncSender<A>, usize)>;

/// Requests that wait for their answers.
struct Waiting<A> {
    /// `None` after the connection has broken.
    answers: Mutex<Option<Waiters<A>>>,
    in_progress: AtomicUsize,
    /// Number of answers that have arrived.
    arrived: AtomicU64,
    /// Content of these requests and their answers, in bytes.
    bytes: AtomicUsize,
    /// Reason of the end, where that is more than the end.
    why: OnceLock<String>,
}

/// The connection has broken, so it is not known whether the request was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

/// An answer that is yet to come.
pub struct Pending<A>(Receiver<A>);

impl<A> Pending<A> {
    /// An answer that is known already.
    pub fn known(answer: A) -> Self {
        let (sender, receiver) = sync_channel(1);
        let _ = sender.send(answer);
        Self(receiver)
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// `Broken` where the connection ended before.
    pub fn wait(self) -> Result<A, Broken> {
        self.0.recv().map_err(|_| Broken)
    }

    /// Waits for the answer for that time at most; `None` where it has not come.
    pub fn wait_for(&self, time: Duration) -> Option<Result<A, Broken>> {
        match self.0.recv_timeout(time) {
            Ok(answer) => Some(Ok(answer)),
            Err(RecvTimeoutError::Disconnected) => Some(Err(Broken)),
            Err(RecvTimeoutError::Timeout) => None,
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<A: Send + 'static> Exchange<A> {
    /// Takes a connection over, whose answers `receive` reads one by one, each with the number of
    /// its request.
    pub fn over(link: Link, receive: Receive<A>) -> Self {
        let waiting = Arc::new(Waiting {
            answers: Mutex::new(Some(HashMap::new())),
            in_progress: AtomicUsize::new(0),
            arrived: AtomicU64::new(0),
            bytes: AtomicUsize::new(0),
            why: OnceLock::new(),
        });
        let (theirs, mut from) = (Arc::clone(&waiting), link.from);
        let mut child = link.child;
        if let Some(child) = &mut child {
            drain(child);
        }
        std::thread::spawn(move || {
            if let Err(error) = theirs.distribute(&mut *from, receive) {
                tracing::debug!(%error, "a connection to another host has ended");
                if error.kind() == ErrorKind::InvalidData {
                    let _ = theirs.why.set(error.to_string());
                }
            }
            theirs.break_off();
        });
        Self {
            to: Mutex::new(Some(link.to)),
            waiting,
            next: AtomicU64::new(1),
            is_silent: AtomicBool::new(false),
            door: AtomicUsize::new(0),
            child: Mutex::new(child),
        }
    }

    /// Sends a request, which `seal` makes of its number, one of 32 bits: what it returns writes
    /// the request, while no other thread writes. `bytes` of content travel with it, or with the
    /// answer.
    ///
    /// # Errors
    /// `Broken` where the connection has ended.
    pub fn send<W: FnOnce(&mut dyn Write) -> io::Result<()>>(
        &self,
        bytes: usize,
        seal: impl FnOnce(u64) -> io::Result<W>,
    ) -> Result<Pending<A>, Broken> {
        let (sender, receiver) = sync_channel(1);
        let id = self.next.fetch_add(1, Ordering::Relaxed) & u64::from(u32::MAX);
        let write = seal(id);
        lock(&self.waiting.answers).as_mut().ok_or(Broken)?.insert(id, (sender, bytes));
        self.waiting.in_progress.fetch_add(1, Ordering::Relaxed);
        self.waiting.bytes.fetch_add(bytes, Ordering::Relaxed);
        let mut to = lock(&self.to);
        let sent = write.and_then(|write| write(&mut **to.as_mut().ok_or(ErrorKind::BrokenPipe)?));
        let Err(error) = sent else { return Ok(Pending(receiver)) };
        if error.kind() == ErrorKind::TimedOut {
            self.is_silent.store(true, Ordering::SeqCst);
        }
        // At once: another request must not follow upon a part of this one.
        *to = None;
        drop(to);
        self.break_off();
        Err(Broken)
    }

    /// Returns why the connection was given up, where the other side has sent what it must not.
    pub fn why(&self) -> Option<String> {
        self.waiting.why.get().cloned()
    }

    /// Returns the number of answers that have arrived.
    pub fn arrived(&self) -> u64 {
        self.waiting.arrived.load(Ordering::Relaxed)
    }

    /// Returns whether a request can be sent at once: no other one is being written.
    pub fn is_writable(&self) -> bool {
        self.to.try_lock().is_ok()
    }

    /// Ends the connection, because the other side answers nothing.
    pub fn fall_silent(&self) {
        self.is_silent.store(true, Ordering::SeqCst);
        self.break_off();
    }

    /// Returns whether the other side was given up because it answered nothing.
    pub fn is_silent(&self) -> bool {
        self.is_silent.load(Ordering::SeqCst)
    }

    /// Returns the number of requests that wait for their answers.
    pub fn in_progress(&self) -> usize {
        self.waiting.in_progress.load(Ordering::Relaxed)
    }

    /// Returns the content of these requests and of their answers, in bytes.
    pub fn bytes_in_progress(&self) -> usize {
        self.waiting.bytes.load(Ordering::Relaxed)
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

impl<A> Waiting<A> {
    fn distribute(&self, from: &mut dyn Read, receive: Receive<A>) -> io::Result<()> {
        while let Some((id, answer)) = receive(from)? {
            let sender = lock(&self.answers).as_mut().and_then(|answers| answers.remove(&id));
            let Some((sender, bytes)) = sender else {
                return Err(io::Error::new(ErrorKind::InvalidData, "an unexpected answer"));
            };
            self.in_progress.fetch_sub(1, Ordering::Relaxed);
            self.arrived.fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            // Where nobody waits any more, the request has been given up.
            let _ = sender.send(answer);
        }
        Ok(())
    }

    /// Wakes all waiting threads: dropping the senders ends their receivers.
    fn break_off(&self) {
        *lock(&self.answers) = None;
    }
}

/// Closes the connection, so that the other side ends, and waits for its process.
impl<A> Drop for Exchange<A> {
    fn drop(&mut self) {
        *lock(&self.to) = None;
        if let Some(child) = lock(&self.child).take() {
            end(child);
        }
    }
}

/// Returns whether an error means that the other side has ended.
pub fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patient::PatientPipe;

    #[test]
    fn a_host_that_reads_nothing_is_given_up_though_no_thread_waits_for_an_answer() {
        let (unread, to) = io::pipe().unwrap();
        let (from, _unwritten) = io::pipe().unwrap();
        let to = PatientPipe::new(to.into(), Duration::from_millis(10)).unwrap();
        let link = Link { from: Box::new(from), to: Box::new(to), child: None };
        let exchange = Exchange::<()>::over(link, |from| from.read(&mut [0]).map(|_| None));
        let whole = vec![7; 1 << 20];
        let sent = exchange.send(0, |_| Ok(|to: &mut dyn Write| to.write_all(&whole)));
        assert!(matches!(sent, Err(Broken)));
        assert!(exchange.is_silent() && exchange.is_broken());
        drop(unread);
    }
}
