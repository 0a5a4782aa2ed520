//! The rest of a job: now and then some threads more, or fewer, are tried for a short time.
//!
//! A rank among many sees its own throughput grow with its threads even on a server that is full:
//! it takes from the others. The latency, however, is the same for all. So all ranks try at the
//! same time: time is divided into slots, by a clock that nodes share well enough, and the place of
//! a slot in its cycle decides what is tried. If the latency grows with some threads more, the
//! storage queues them; if it falls with some threads fewer, they were too many. Ranks need no
//! messages for that, and jobs that share a server act as one.

use std::time::Duration;

use host::process::Usage;
use types::limits;

use super::ramp::Knee;
use super::sample::{Mark, Sample};
use super::{Advice, Moment, Site, is_limited_otherwise};

/// Slots of a cycle, with as many threads as before but in two of them.
const SLOTS: u64 = 12;
/// Slots of a cycle where many ranks act together: each trial costs them less.
const SLOTS_OF_MANY: u64 = 6;
/// Slot in which more threads are tried.
const RISE: u64 = 1;
/// Slot in which fewer threads are tried.
const FALL: u64 = 3;
/// Further slots in which more threads are tried after the ramp, as long as that succeeds.
const EAGER_RISES: [u64; 4] = [5, 7, 9, 11];

/// State after the ramp.
#[derive(Debug)]
pub(super) struct Steady {
    /// Threads in use, except while others are tried.
    threads: u32,
    tried: Option<u32>,
    slot: Duration,
    current: Option<Slot>,
    /// Sample of the slot before the one in which others are tried, and of that slot.
    before: Option<Sample>,
    trial: Option<Sample>,
    /// Last measurement but those of trials.
    last: Knee,
    /// Least latency, slowly forgotten.
    latency_least: f64,
    /// Successful trials of more threads in a row.
    rises: u32,
    /// Successful trials of fewer threads in a row.
    falls: u32,
    /// True from the ramp on, until a trial of more threads fails.
    is_eager: bool,
}

/// Result of an observation.
#[derive(Debug)]
pub(super) enum Step {
    Advice(Advice),
    /// Operations are others than those that the knee was found with.
    RampAnew,
}

/// Slot in progress.
#[derive(Debug)]
struct Slot {
    number: u64,
    /// Beginning of the measurement, when the operations of the slot before have ended.
    mark: Option<Mark>,
    is_valid: bool,
}

impl Steady {
    pub fn new(site: &Site, knee: Knee) -> Self {
        Self {
            threads: knee.threads,
            tried: None,
            slot: slot_for(site, knee),
            current: None,
            before: None,
            trial: None,
            last: knee,
            latency_least: knee.latency,
            rises: 0,
            falls: 0,
            is_eager: true,
        }
    }

    pub fn threads(&self) -> u32 {
        self.threads
    }

    /// Observes the threads; acts at the boundaries of slots.
    pub fn advise(&mut self, moment: Moment<'_, impl FnOnce() -> Usage>) -> Step {
        let Moment { site, now, state, usage } = moment;
        let number = (now.as_nanos() / self.slot.as_nanos()) as u64;
        let in_use = self.tried.unwrap_or(self.threads);
        if let Some(current) = &mut self.current
            && current.number == number
        {
            current.is_valid &= !is_limited_otherwise(state) && state.threads == in_use;
            let into = now.as_nanos() % self.slot.as_nanos();
            if current.mark.is_none() && current.is_valid && into >= self.slot.as_nanos() / 4 {
                current.mark = Some(Mark::new(now, usage()));
            }
            return Step::Advice(Advice::Keep);
        }
        let tried = self.tried.take().is_some();
        match self.ended(site, (number, now), in_use, usage) {
            Some(sample) if self.is_another_phase(site, &sample) => return Step::RampAnew,
            Some(sample) if tried => self.trial = Some(sample),
            Some(sample) => self.compare(sample),
            None => self.forget(),
        }
        Step::Advice(self.begin(site, now, number))
    }

    /// Returns true where operations have become so much faster that others must have ended, such
    /// as those that a directory lets happen one after the other: what they have shown is past.
    /// Ranks among many make all faster when they use fewer threads.
    fn is_another_phase(&self, site: &Site, sample: &Sample) -> bool {
        !site.is_one_of_many()
            && sample.waits >= limits::GROWTH_WAITS_CLEAR
            && sample.threads == self.last.threads
            && sample.latency < self.last.latency * limits::GROWTH_PHASE_FALL
    }

    fn forget(&mut self) {
        (self.before, self.trial) = (None, None);
    }

    /// Returns the measurement of the slot that has ended, where the next one follows it and the
    /// number of threads decided how much was done.
    fn ended(
        &mut self,
        site: &Site,
        (number, now): (u64, Duration),
        threads: u32,
        usage: impl FnOnce() -> Usage,
    ) -> Option<Sample> {
        let ended =
            self.current.take().filter(|slot| slot.is_valid && slot.number + 1 == number)?;
        let window = ended.mark?.until(now, usage());
        let is_known = window.waits > 0 && !site.is_computing(&window, threads);
        is_known.then(|| Sample::new(threads, &window))
    }

    /// Compares the slot of a trial with those before and after it, so that a change that only
    /// happened meanwhile cancels out.
    fn compare(&mut self, after: Sample) {
        self.last = Knee { threads: after.threads, latency: after.latency };
        if after.waits >= limits::GROWTH_WAITS_CLEAR {
            self.latency_least = self.latency_least.min(after.latency);
        }
        let (before, trial) = (self.before.replace(after), self.trial.take());
        let (Some(before), Some(trial)) = (before, trial) else { return };
        let change = 2.0 * trial.latency / (before.latency + after.latency);
        if trial.threads > after.threads {
            // Chance, too, must not make a full server fuller.
            self.tried_more(change * (1.0 + trial.error(&after) / 2.0), trial.threads);
        } else {
            self.tried_fewer(change, trial.error(&after), trial.threads);
        }
    }

    fn tried_more(&mut self, change: f64, threads: u32) {
        let is_slow = self.last.latency > self.latency_least * limits::GROWTH_SLOWER_MAX;
        if change < limits::GROWTH_LATENCY_RISE && !is_slow {
            (self.rises, self.falls) = (self.rises + 1, 0);
            self.change_to(threads);
        } else {
            self.rises = 0;
            self.is_eager = false;
        }
    }

    fn tried_fewer(&mut self, change: f64, error: f64, threads: u32) {
        if change > limits::GROWTH_LATENCY_FALL {
            self.falls = 0;
            return;
        }
        // Only what is certain leads to larger steps.
        let is_certain = change * (1.0 + error) < limits::GROWTH_LATENCY_FALL;
        (self.rises, self.falls) = (0, if is_certain { self.falls + 1 } else { 0 });
        self.change_to(threads);
    }

    fn change_to(&mut self, threads: u32) {
        self.threads = threads;
        self.forget();
    }

    /// Begins a slot; returns the number of threads in it.
    fn begin(&mut self, site: &Site, now: Duration, mut number: u64) -> Advice {
        let slots = if site.is_one_of_many() { SLOTS_OF_MANY } else { SLOTS };
        if number.is_multiple_of(slots) {
            self.latency_least +=
                (self.last.latency - self.latency_least).max(0.0) * limits::GROWTH_FORGETTING;
            let slot = slot_for(site, Knee { threads: self.threads, latency: self.last.latency });
            if slot != self.slot {
                self.slot = slot;
                self.forget();
                number = (now.as_nanos() / slot.as_nanos()) as u64;
            }
        }
        self.current = Some(Slot { number, mark: None, is_valid: true });
        let is_eager = self.is_eager && !site.is_one_of_many();
        let is_rise = |slot| slot == RISE || is_eager && EAGER_RISES.contains(&slot);
        let threads = match number % slots {
            slot if is_rise(slot) => {
                self.threads.saturating_add(self.step(site, number, self.rises))
            }
            FALL => self.threads.saturating_sub(self.step(site, number, self.falls.min(1))),
            _ => self.threads,
        };
        self.threads = self.threads.min(site.threads.max());
        let threads = threads.clamp(1, site.threads.max());
        self.tried = (threads != self.threads).then_some(threads);
        Advice::Use(threads)
    }

    /// Returns the number of threads more or fewer that are tried: a quarter, or more after
    /// successes. Of ranks with few threads, not all try one at the same time, so that it is a
    /// quarter of all.
    fn step(&self, site: &Site, number: u64, successes: u32) -> u32 {
        let part = 4 >> successes.min(if site.is_one_of_many() { 1 } else { 2 });
        if site.ranks == 1 {
            return (self.threads / part).max(1);
        }
        let seed = u64::from(site.rank) << 40 ^ number;
        (self.threads + fastrand::Rng::with_seed(seed).u32(0..part)) / part
    }
}

/// Returns the length of slots in which each thread does a number of operations. There are only a
/// few lengths, so that ranks with about the same latency have the same.
fn slot_for(site: &Site, knee: Knee) -> Duration {
    // Among many ranks, chance cancels out.
    let (waits, factor) = if site.is_one_of_many() {
        (limits::GROWTH_SLOT_WAITS / 2.0, 4)
    } else {
        (
            limits::GROWTH_SLOT_WAITS
                .max(4.0 * limits::GROWTH_SLOT_WAITS / f64::from(knee.threads)),
            2,
        )
    };
    let mut slot = limits::GROWTH_SLOT_MIN;
    while slot < limits::GROWTH_SLOT_MAX && knee.latency * waits > slot.as_secs_f64() * 1.2 {
        slot *= factor;
    }
    slot
}
