//! The connections of a rank to a host: made as they are needed, up to a limit, and made again
//! where they break.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use types::error::{Cause, Error, Op};
use types::limits::REMOTE_REQUESTS_OF_CONNECTION;
use types::service::{Details, ServiceFault};

use crate::doors::{Dial, Doors, Greet};
use crate::exchange::{Exchange, lock};
use crate::no_connection::NoConnection;
use crate::no_connection::{NoHost, Unprepared};

/// A connection that threads share.
pub trait Connected: Send + Sync {
    /// Answer to a request.
    type Answer: Send + 'static;

    /// Returns the requests and answers of the connection.
    fn exchange(&self) -> &Exchange<Self::Answer>;

    /// Returns the number of requests that wait for their answers.
    fn in_progress(&self) -> usize {
        self.exchange().in_progress()
    }

    /// Returns whether another connection would help.
    fn is_busy(&self) -> bool {
        self.in_progress() >= REMOTE_REQUESTS_OF_CONNECTION
    }

    /// Returns the number of requests that were sent.
    fn sent(&self) -> u64 {
        self.exchange().sent()
    }

    /// Returns whether the connection has ended.
    fn is_broken(&self) -> bool {
        self.exchange().is_broken()
    }

    /// Ends the connection at once.
    fn break_off(&self) {
        self.exchange().break_off();
    }
}

/// Connections to a host, or to several that share its file systems.
pub struct Pool<C> {
    doors: Doors<C>,
    connections_max: u32,
    connections: Mutex<Vec<Arc<C>>>,
    /// One thread at a time makes connections.
    dialling: Mutex<()>,
    last: Mutex<Option<Dialled>>,
    sent_before: AtomicU64,
}

/// The last attempt to make a connection.
struct Dialled {
    begun: Instant,
    ended: Instant,
}

impl Dialled {
    /// Returns whether as much time has passed since as the attempt took. Another connection
    /// before that may cost more than it ever saves: a short job would make them all in vain.
    fn is_paid_off(&self, now: Instant) -> bool {
        now.duration_since(self.ended) >= self.ended.duration_since(self.begun)
    }
}

/// No host can be reached.
#[derive(Debug)]
pub struct Unreachable;

/// Returns the error of an operation for which no host can be reached, with the reason.
pub fn gone(op: Op, why: &impl ToString) -> Error {
    op.failed(Cause::Service(ServiceFault::HostGone))
        .with(Some(Details { message: Some(why.to_string()), ..Details::default() }))
}

/// Function that makes a new connection ready for use.
pub type Prepare<'p, C> = &'p dyn Fn(&C) -> Result<(), Unprepared>;

impl<C: Connected> Pool<C> {
    /// Creates an empty pool of at most that many connections.
    pub fn new(names: Vec<String>, connections_max: u32, dial: Box<Dial>, greet: Greet<C>) -> Self {
        Self {
            doors: Doors::new(names, dial, greet),
            connections_max: connections_max.max(1),
            connections: Mutex::default(),
            dialling: Mutex::default(),
            last: Mutex::default(),
            sent_before: AtomicU64::new(0),
        }
    }

    /// Returns the number of hosts.
    pub fn doors(&self) -> usize {
        self.doors.count()
    }

    /// Returns why no host can be reached.
    pub fn complaint(&self) -> NoHost {
        self.doors.complaint()
    }

    /// Returns the number of requests that were sent so far.
    pub fn requests(&self) -> u64 {
        let open: u64 = lock(&self.connections).iter().map(|connection| connection.sent()).sum();
        self.sent_before.load(Ordering::Relaxed) + open
    }

    /// Returns all connections.
    pub fn all(&self) -> Vec<Arc<C>> {
        lock(&self.connections).clone()
    }

    /// Returns a guard while which lives no connection is added.
    pub fn hold(&self) -> MutexGuard<'_, ()> {
        lock(&self.dialling)
    }

    /// Returns a connection: the least busy one, or a new one where all are busy.
    ///
    /// # Errors
    /// `Unreachable` where there is none and none can be made.
    pub fn connection(&self, prepare: Prepare<'_, C>) -> Result<Arc<C>, Unreachable> {
        if let Some(connection) = self.idle() {
            return Ok(connection);
        }
        let dialling = match self.least_busy() {
            // Another thread is making one, and this one is of use meanwhile.
            Some(busy) => match self.dialling.try_lock() {
                Ok(dialling) => dialling,
                Err(_) => return Ok(busy),
            },
            None => lock(&self.dialling),
        };
        let made = self.idle().map_or_else(|| self.add(prepare), Ok);
        drop(dialling);
        made.or_else(|unreachable| self.least_busy().ok_or(unreachable))
    }

    /// Returns the least busy connection, unless another one is to be made.
    fn idle(&self) -> Option<Arc<C>> {
        let is_complete = lock(&self.connections).len() >= self.connections_max as usize;
        let is_paid_off = |last: &Dialled| last.is_paid_off(Instant::now());
        let is_enough = is_complete || !lock(&self.last).as_ref().is_none_or(is_paid_off);
        let is_idle = |it: &Arc<C>| is_enough || !it.is_busy();
        self.least_busy().filter(is_idle)
    }

    fn least_busy(&self) -> Option<Arc<C>> {
        let mut connections = lock(&self.connections);
        connections.retain(|connection| {
            let is_open = !connection.is_broken();
            if !is_open {
                self.sent_before.fetch_add(connection.sent(), Ordering::Relaxed);
            }
            is_open
        });
        connections.iter().min_by_key(|connection| connection.in_progress()).cloned()
    }

    /// Makes another connection.
    fn add(&self, prepare: Prepare<'_, C>) -> Result<Arc<C>, Unreachable> {
        loop {
            let is_first = lock(&self.connections).is_empty();
            let begun = Instant::now();
            let dialled = self.doors.dial(is_first);
            let prepared =
                dialled.map(|(connection, door)| (prepare(&connection), connection, door));
            *lock(&self.last) = Some(Dialled { begun, ended: Instant::now() });
            let (prepared, connection, door) = prepared.ok_or(Unreachable)?;
            match prepared {
                Ok(()) => {
                    connection.exchange().door.store(door, Ordering::Relaxed);
                    let connection = Arc::new(connection);
                    lock(&self.connections).push(Arc::clone(&connection));
                    return Ok(connection);
                }
                Err(why) => self.doors.give_up(door, why.into()),
            }
        }
    }

    /// Removes a broken connection. A host that answers nothing is given up.
    pub fn forget(&self, broken: &C) {
        let exchange = broken.exchange();
        if exchange.is_silent() {
            let door = exchange.door.load(Ordering::Relaxed);
            self.doors.give_up(door, NoConnection::AnswersNothing);
        }
        broken.break_off();
        self.least_busy();
    }

    /// Ends all connections at once, as a failing network does.
    pub fn break_connections(&self) {
        lock(&self.connections).iter().for_each(|connection| connection.break_off());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn another_connection_waits_as_long_as_the_last_one_took() {
        let begun = Instant::now();
        let ended = begun + Duration::from_millis(400);
        let is_paid_off = |after_ms| {
            Dialled { begun, ended }.is_paid_off(ended + Duration::from_millis(after_ms))
        };
        assert_eq!([0, 399, 400, 1000].map(is_paid_off), [false, false, true, true]);
    }
}
