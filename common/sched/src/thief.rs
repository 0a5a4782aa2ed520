//! Choice of when and whom a rank asks for work: one request at a time, to a random rank; after
//! refusals it waits longer and longer.
//!
//! The first time it asks when it has nothing to do. Where there was plenty it asks again before
//! all of it is done, so that its threads work on while the answer waits for the victim's
//! processor.

use std::time::Duration;

use comm::Rank;
use types::limits;

#[derive(Debug)]
pub(super) struct Thief {
    rank: Rank,
    size: u32,
    random: fastrand::Rng,
    waits_for_answer: bool,
    pause: Duration,
    ask_at: Duration,
    /// Number of refusals since this rank last got tasks.
    refusals: u32,
    /// Number of queued tasks below which the rank asks again.
    low_water: u32,
}

impl Thief {
    pub fn new(rank: Rank, size: u32, seed: u64) -> Self {
        Self {
            rank,
            size,
            random: fastrand::Rng::with_seed(seed ^ u64::from(rank.0).wrapping_mul(0x9e37_79b9)),
            waits_for_answer: false,
            pause: limits::STEAL_PAUSE_MIN,
            ask_at: Duration::ZERO,
            refusals: 0,
            low_water: 0,
        }
    }

    /// Returns true where this rank, with that many tasks queued, needs more.
    pub fn is_hungry(&self, queued: u32, has_idle_threads: bool) -> bool {
        (queued == 0 && has_idle_threads) || queued < self.low_water
    }

    /// Returns the rank to ask now, if any. Must be called while this rank is hungry.
    pub fn victim(&mut self, now: Duration) -> Option<Rank> {
        if self.size < 2 || self.waits_for_answer || now < self.ask_at {
            return None;
        }
        self.waits_for_answer = true;
        let other = self.random.u32(0..self.size - 1);
        Some(Rank(if other >= self.rank.0 { other + 1 } else { other }))
    }

    /// Records the answer, with its number of tasks.
    pub fn answered(&mut self, now: Duration, tasks: u32) {
        self.waits_for_answer = false;
        self.low_water = tasks / limits::STEAL_AHEAD_DIVISOR;
        if tasks > 0 {
            self.pause = limits::STEAL_PAUSE_MIN;
            self.ask_at = now;
            self.refusals = 0;
        } else {
            self.refusals += 1;
            self.ask_at = now + self.pause;
            self.pause = (self.pause * 2).min(limits::steal_pause_max(self.size));
        }
    }

    /// Returns true where other ranks have refused often enough to show that little is queued
    /// anywhere.
    pub fn is_starved(&self) -> bool {
        self.refusals >= limits::STARVED_REFUSALS_MIN
    }

    /// Returns when to ask again; `None` while an answer is awaited.
    pub fn ask_at(&self) -> Option<Duration> {
        (!self.waits_for_answer).then_some(self.ask_at)
    }
}
