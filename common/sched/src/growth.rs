//! Number of I/O threads that a rank should have in use, by the throughput and the latency that it
//! measures.
//!
//! While there is a backlog and the rank leaves much of its CPU unused, its threads wait for the
//! storage. More of them are worth it as long as operations per second grow with them. On a storage
//! that is full they only make all operations wait longer, also those of other jobs, so the number
//! stays at the knee of that curve. [`ramp`] finds it within some round trips, [`steady`] follows
//! it. When its CPU is busy, more threads would only get in each other's way.
//!
//! An operation that waits for storage is a voluntary context switch, which the kernel counts
//! anyway: nothing is counted or timed for each operation.

mod ramp;
mod sample;
#[cfg(test)]
mod simulated;
mod steady;
#[cfg(test)]
mod tests;

use std::time::Duration;

use host::process::Usage;
use types::limits;

use ramp::Ramp;
use sample::Window;
use steady::Steady;

/// Number of I/O threads of a rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// Number up to a largest one that is worth it, by what is measured.
    UpTo(u32),
    /// A number that is known beforehand, since waits would be misread: those for a line to another
    /// host are of all lengths, and not for a storage that is full; those for the lock of a file in
    /// memory are not for a storage that could do more.
    Exactly(u32),
}

impl Threads {
    /// Returns the largest number.
    pub fn max(self) -> u32 {
        match self {
            Self::UpTo(max) | Self::Exactly(max) => max,
        }
    }

    /// Returns the same with at most that many.
    #[must_use]
    pub fn at_most(self, most: u32) -> Self {
        match self {
            Self::UpTo(max) => Self::UpTo(max.min(most)),
            Self::Exactly(number) => Self::Exactly(number.min(most)),
        }
    }
}

/// Decides the number of threads of a rank, from observations at given times.
#[derive(Debug)]
pub struct Growth {
    site: Site,
    phase: Phase,
}

/// Place of a rank in its job and on its node.
#[derive(Debug, Clone, Copy)]
pub struct Site {
    /// Number of threads.
    pub threads: Threads,
    /// Number of processors that this rank may use; below 1 where ranks outnumber processors.
    pub cpu_share: f64,
    /// Number of this rank.
    pub rank: u32,
    /// Number of ranks of the job.
    pub ranks: u32,
}

#[derive(Debug)]
enum Phase {
    Ramp(Ramp),
    Steady(Steady),
}

/// State of a rank's threads at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolState {
    /// Threads that may work.
    pub threads: u32,
    /// Threads that may work and have nothing to do.
    pub idle: u32,
    /// Tasks in the queue.
    pub queued: u32,
    /// Large transfers in progress.
    pub large_transfers: u32,
}

/// Observation of a rank's threads.
struct Moment<'g, U> {
    site: &'g Site,
    now: Duration,
    state: PoolState,
    usage: U,
}

/// Advice about the number of threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// Enough threads, or too early to tell.
    Keep,
    /// Running tasks should be divided: the threads wait for storage, and no task is queued for
    /// more of them.
    Divide,
    /// So many threads should work.
    Use(u32),
}

impl Growth {
    /// Begins with [`Growth::first`] threads.
    pub fn new(site: Site) -> Self {
        Self { site, phase: Phase::Ramp(Ramp::default()) }
    }

    /// Sets the largest number of threads, since the system refuses more.
    pub fn limit(&mut self, threads_max: u32) {
        self.site.threads = self.site.threads.at_most(threads_max.max(1));
    }

    /// Returns the number of threads to start with: as many as the CPU can feed, or one where so
    /// many ranks begin together that this alone could overload a server.
    pub fn first(&self) -> u32 {
        match self.site.threads {
            Threads::Exactly(number) => number,
            Threads::UpTo(_) if self.site.is_one_of_many() => 1,
            Threads::UpTo(_) => self.site.fed_by_cpu(),
        }
    }

    /// Returns the number of threads that are worth their while, where the knee is known.
    pub fn knee(&self) -> Option<u32> {
        match &self.phase {
            Phase::Ramp(_) => None,
            Phase::Steady(steady) => Some(steady.threads()),
        }
    }

    /// Observes the threads. `now` is the time of a clock that the ranks share, more or less, and
    /// `usage` returns the resource usage of the threads so far; it is called only where needed.
    pub fn advise(
        &mut self,
        now: Duration,
        state: PoolState,
        usage: impl FnOnce() -> Usage,
    ) -> Advice {
        if matches!(self.site.threads, Threads::Exactly(_) | Threads::UpTo(1)) {
            return Advice::Keep;
        }
        let moment = Moment { site: &self.site, now, state, usage };
        match &mut self.phase {
            Phase::Ramp(ramp) => match ramp.advise(moment) {
                ramp::Step::Advice(advice) => advice,
                ramp::Step::Settle(knee) => {
                    self.phase = Phase::Steady(Steady::new(&self.site, knee));
                    Advice::Use(knee.threads)
                }
            },
            Phase::Steady(steady) => match steady.advise(moment) {
                steady::Step::Advice(advice) => advice,
                steady::Step::RampAnew => {
                    let threads = steady.threads();
                    self.phase = Phase::Ramp(Ramp::default());
                    Advice::Use(threads)
                }
            },
        }
    }
}

impl Site {
    /// Returns the number of threads that the CPU can feed.
    fn fed_by_cpu(&self) -> u32 {
        (self.cpu_share.ceil() as u32).clamp(1, self.threads.max())
    }

    /// Returns true where so many ranks act together that each must be careful.
    fn is_one_of_many(&self) -> bool {
        self.ranks > limits::GROWTH_EAGER_RANKS_MAX
    }

    /// Returns true where the CPU, not the storage, limited the threads in a window.
    fn is_computing(&self, window: &Window, threads: u32) -> bool {
        let usable = self.cpu_share.min(f64::from(threads));
        // Preemption more often than waiting: other processes need this CPU, too.
        window.cpu > usable * limits::GROWTH_BUSY_SHARE || window.preemptions > window.waits
    }
}

/// Returns true where the number of threads does not decide how much is done.
fn is_limited_otherwise(state: PoolState) -> bool {
    state.idle > 0 || state.large_transfers >= limits::GROWTH_LARGE_TRANSFERS
}
