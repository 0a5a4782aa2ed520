//! Channels over one [`Comm`]: each phase of a job has its own, numbered in the same order on every
//! rank, so that a message of one phase never reaches another.
//!
//! A rank may already be in the next phase: its message is stored until this rank gets there. A
//! late answer may belong to a phase that has ended: it is dropped, since a phase ends only when no
//! message that matters is in progress.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Comm, Rank};
use host::{bug, interrupt};
use types::exit::Exit;
use types::limits;

/// Channel of one phase of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Channel(u32);

/// Version in the first byte of every message: messages with another one are refused.
const WIRE_VERSION: u8 = 1;
const HEADER_BYTES: usize = 5;

/// A [`Comm`] with channels.
pub struct Mailbox<'c> {
    comm: &'c mut dyn Comm,
    opened: u32,
    early: VecDeque<(Channel, Rank, Vec<u8>)>,
}

impl<'c> Mailbox<'c> {
    /// Takes over a `Comm` for the rest of the job.
    pub fn new(comm: &'c mut dyn Comm) -> Self {
        Self { comm, opened: 0, early: VecDeque::new() }
    }

    /// Opens the next channel. Every rank opens the same ones in the same order.
    pub fn open(&mut self) -> Channel {
        self.opened += 1;
        Channel(self.opened)
    }

    /// Returns the underlying `Comm`.
    pub fn comm(&self) -> &dyn Comm {
        self.comm
    }

    /// Sends `body` on a channel; never waits.
    pub fn send(&mut self, channel: Channel, to: Rank, body: &[u8]) {
        let mut message = Vec::with_capacity(HEADER_BYTES + body.len());
        message.push(WIRE_VERSION);
        message.extend_from_slice(&channel.0.to_le_bytes());
        message.extend_from_slice(body);
        self.comm.send(to, message);
    }

    /// Returns the next message of a channel, if one has arrived, with its sender.
    pub fn try_recv(&mut self, channel: Channel) -> Option<(Rank, Vec<u8>)> {
        if let Some(at) = self.early.iter().position(|(of, _, _)| *of == channel) {
            let (_, from, body) = self.early.remove(at).expect("the position was just found");
            return Some((from, body));
        }
        while let Some((from, mut message)) = self.comm.try_recv() {
            let Some(of) = read_header(&message) else {
                self.refuse(from, &message);
            };
            drop(message.drain(..HEADER_BYTES));
            if of == channel {
                return Some((from, message));
            }
            if of > channel {
                self.early.push_back((of, from, message));
            }
        }
        None
    }

    /// Waits for the next message of a channel; sleeps instead of spinning.
    pub fn recv(&mut self, channel: Channel) -> (Rank, Vec<u8>) {
        let mut nap = Nap::new();
        loop {
            if let Some(received) = self.try_recv(channel) {
                return received;
            }
            leave_in_time(self.comm);
            std::thread::sleep(nap.next_nap());
        }
    }

    fn refuse(&self, from: Rank, message: &[u8]) -> ! {
        tracing::error!(
            from = from.0,
            bytes = message.len(),
            "message from a different version of this program; use one build on all nodes"
        );
        self.comm.abort(Exit::Bug)
    }
}

/// Aborts the job if a thread of this rank has panicked, or if the rank was interrupted and has
/// waited too long for others: they may be on a node that has failed.
pub fn leave_in_time(comm: &dyn Comm) {
    if bug::has_panicked() {
        comm.abort(Exit::Bug);
    }
    if interrupt::wanted_for().is_some_and(|time| time > limits::INTERRUPT_FAREWELL_MAX) {
        tracing::error!("interrupted: other ranks do not respond, and are not waited for");
        comm.abort(Exit::Interrupted);
    }
}

fn read_header(message: &[u8]) -> Option<Channel> {
    let (header, _) = message.split_first_chunk::<HEADER_BYTES>()?;
    let [version, channel @ ..] = *header;
    (version == WIRE_VERSION).then(|| Channel(u32::from_le_bytes(channel)))
}

/// Growing naps between two polls for messages: short while something happens, long while nothing
/// does.
#[derive(Debug)]
pub struct Nap {
    next: Duration,
    quiet_since: Instant,
}

impl Nap {
    /// Starts with the shortest nap.
    pub fn new() -> Self {
        Self { next: limits::NAP_MIN, quiet_since: Instant::now() }
    }

    /// Returns the duration of the next nap.
    pub fn next_nap(&mut self) -> Duration {
        let nap = self.next;
        let long_quiet = self.quiet_since.elapsed() > limits::NAP_IDLE_AFTER;
        let longest = if long_quiet { limits::NAP_IDLE } else { limits::NAP_MAX };
        self.next = (nap * 2).min(longest);
        nap
    }

    /// Restarts with the shortest nap, since something happened and more may follow soon.
    pub fn reset(&mut self) {
        *self = Self::new();
    }
}

impl Default for Nap {
    fn default() -> Self {
        Self::new()
    }
}
