//! Simulation of N ranks in one thread under a virtual clock: a seeded network that delays and
//! reorders messages.
//!
//! A run is a function of its seed, so a failure is replayed by its number.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::time::Duration;

use super::{Comm, Rank};
use types::exit::Exit;

/// The network between the simulated ranks.
#[derive(Debug)]
pub struct SimNetwork {
    inner: Rc<RefCell<Inner>>,
}

#[derive(Debug)]
struct Inner {
    now: Duration,
    random: fastrand::Rng,
    delay_max: Duration,
    sent: u64,
    /// Arrival times and receivers of messages since the last [`SimNetwork::take_arrivals`].
    arrivals: Vec<(Duration, Rank)>,
    /// Messages in transit, by receiver, the earliest first.
    inboxes: Vec<BinaryHeap<Reverse<Arrival>>>,
}

/// Arrival time, a tie-breaker, the sender and the message.
type Arrival = (Duration, u64, Rank, Vec<u8>);

impl SimNetwork {
    /// Creates a network whose messages take a random time up to `delay_max`, each on its own: any
    /// two may overtake each other.
    pub fn new(size: u32, seed: u64, delay_max: Duration) -> Self {
        let inner = Inner {
            now: Duration::ZERO,
            random: fastrand::Rng::with_seed(seed),
            delay_max,
            sent: 0,
            arrivals: Vec::new(),
            inboxes: (0..size).map(|_| BinaryHeap::new()).collect(),
        };
        Self { inner: Rc::new(RefCell::new(inner)) }
    }

    /// Returns one rank's connection to the network.
    pub fn comm(&self, rank: Rank) -> SimComm {
        SimComm { rank, inner: Rc::clone(&self.inner) }
    }

    /// Advances the clock; messages that are due by then arrive.
    pub fn advance(&self, now: Duration) {
        self.inner.borrow_mut().now = now;
    }

    /// Returns the arrival times and receivers of the messages that were sent since the last call.
    pub fn take_arrivals(&self) -> Vec<(Duration, Rank)> {
        std::mem::take(&mut self.inner.borrow_mut().arrivals)
    }
}

/// Connection of one simulated rank.
#[derive(Debug)]
pub struct SimComm {
    rank: Rank,
    inner: Rc<RefCell<Inner>>,
}

impl Comm for SimComm {
    fn rank(&self) -> Rank {
        self.rank
    }

    fn size(&self) -> u32 {
        self.inner.borrow().inboxes.len() as u32
    }

    fn send(&mut self, to: Rank, message: Vec<u8>) {
        let inner = &mut *self.inner.borrow_mut();
        let delay_ns = inner.random.u64(0..=inner.delay_max.as_nanos() as u64);
        let arrival = inner.now + Duration::from_nanos(delay_ns);
        inner.sent += 1;
        inner.arrivals.push((arrival, to));
        inner.inboxes[to.index()].push(Reverse((arrival, inner.sent, self.rank, message)));
    }

    fn try_recv(&mut self) -> Option<(Rank, Vec<u8>)> {
        let inner = &mut *self.inner.borrow_mut();
        let inbox = &mut inner.inboxes[self.rank.index()];
        let due = inbox.peek().is_some_and(|Reverse((at, ..))| *at <= inner.now);
        due.then(|| inbox.pop()).flatten().map(|Reverse((_, _, from, message))| (from, message))
    }

    fn unsent(&self) -> usize {
        0
    }

    fn abort(&self, exit: Exit) -> ! {
        std::panic::resume_unwind(Box::new(super::threads::Aborted(exit)))
    }

    fn finish(&mut self, _exit: Exit) {}
}
