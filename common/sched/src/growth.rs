//! Number of I/O threads that a rank should have, by what its threads wait for.
//!
//! While there is a backlog and the rank leaves much of its CPU unused, its threads wait for the
//! storage: more of them hide more of that latency. When its CPU is busy, more threads would only
//! get in each other's way. So a parallel file system is soon used by all threads, a local disk by few.
//! With enough large transfers in progress they wait for bandwidth, and no threads are added.

use std::time::Duration;

use host::process::Usage;
use types::limits;

/// Decides the number of threads of a rank, window by window.
#[derive(Debug)]
pub struct Growth {
    threads_max: u32,
    /// Number of processors that this rank may use; below 1 where ranks outnumber processors.
    cpu_share: f64,
    window: Option<(Duration, Usage)>,
}

/// State of a rank's threads at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolState {
    /// Threads started so far.
    pub threads: u32,
    /// Idle threads.
    pub idle: u32,
    /// Tasks in the queue.
    pub queued: u32,
    /// Large transfers in progress.
    pub large_transfers: u32,
    /// Resource usage of the threads so far.
    pub usage: Usage,
}

/// Advice about the number of threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// Enough threads, or too early to tell.
    Keep,
    /// Running tasks should be divided: the threads wait for storage, and no task is queued for
    /// more of them.
    Divide,
    /// More threads should be started, as many as this.
    Start(u32),
}

impl Growth {
    /// Limits the number of threads to `threads_max`.
    pub fn new(threads_max: u32, cpu_share: f64) -> Self {
        Self { threads_max, cpu_share, window: None }
    }

    /// Ends the growth, since the system refuses more threads.
    pub fn close(&mut self) {
        self.threads_max = 0;
    }

    /// Returns true where more threads may still be of use.
    pub fn is_open(&self, threads: u32) -> bool {
        threads < self.threads_max
    }

    /// Returns the number of threads to start with: as many as the CPU can feed.
    pub fn first(&self) -> u32 {
        (self.cpu_share.ceil() as u32).clamp(1, self.threads_max)
    }

    /// Observes the threads; returns advice at the end of a window.
    pub fn advise(&mut self, now: Duration, context: PoolState) -> Advice {
        if !self.is_open(context.threads) || context.idle > 0 || has_its_bandwidth(context) {
            self.window = None;
            return Advice::Keep;
        }
        let Some((began, then)) = self.window else {
            self.window = Some((now, context.usage));
            return Advice::Keep;
        };
        let wall = now.saturating_sub(began);
        // CPU time is exact for threads that have waited meanwhile; for others it takes some ticks.
        let waits = context.usage.waits.saturating_sub(then.waits);
        let is_exact = wall >= limits::CREW_WINDOW_MIN && waits >= u64::from(context.threads);
        if !is_exact && wall < limits::CREW_WINDOW_MAX {
            return Advice::Keep;
        }
        self.window = Some((now, context.usage));
        let used = context.usage.cpu.saturating_sub(then.cpu).as_secs_f64() / wall.as_secs_f64();
        let usable = self.cpu_share.min(f64::from(context.threads));
        // Preemption more often than waiting: other processes need this CPU, too.
        let preempted = context.usage.preemptions.saturating_sub(then.preemptions);
        if used > usable * limits::CREW_BUSY_SHARE || preempted > waits {
            Advice::Keep
        } else if context.queued == 0 {
            Advice::Divide
        } else {
            Advice::Start(
                context.threads.min(self.threads_max - context.threads).min(context.queued),
            )
        }
    }
}

fn has_its_bandwidth(context: PoolState) -> bool {
    context.large_transfers >= limits::CREW_LARGE_TRANSFERS
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the advice after that wall time, in which the threads used that much CPU time and
    /// waited that often.
    fn after(wall_us: u64, cpu_us: u64, waits: u64, threads: u32, queued: u32) -> Advice {
        let mut growth = Growth::new(32, 2.0);
        let at = |wall_us, cpu_us, waits| {
            let usage = Usage { cpu: Duration::from_micros(cpu_us), waits, preemptions: 0 };
            (
                Duration::from_micros(wall_us),
                PoolState { threads, idle: 0, queued, large_transfers: 0, usage },
            )
        };
        let (begin, context) = at(500, 700, 3);
        assert_eq!(growth.advise(begin, context), Advice::Keep);
        let (end, context) = at(500 + wall_us, 700 + cpu_us, 3 + waits);
        growth.advise(end, context)
    }

    #[test]
    fn threads_that_wait_for_storage_double() {
        assert_eq!(after(1000, 50, 2, 2, 100), Advice::Start(2));
        assert_eq!(after(1000, 50, 24, 24, 100), Advice::Start(8));
        assert_eq!(after(1000, 50, 8, 8, 3), Advice::Start(3));
        assert_eq!(after(1000, 50, 32, 32, 100), Advice::Keep);
    }

    #[test]
    fn storage_slower_than_the_shortest_window_is_seen_a_little_later() {
        assert_eq!(after(1000, 0, 0, 2, 100), Advice::Keep);
        assert_eq!(after(20_000, 100, 0, 2, 100), Advice::Start(2));
    }

    #[test]
    fn threads_that_compute_are_enough() {
        assert_eq!(after(1000, 1900, 2, 2, 100), Advice::Keep);
        assert_eq!(after(20_000, 38_000, 0, 2, 100), Advice::Keep);
    }

    #[test]
    fn cpu_time_that_is_a_tick_late_misleads_nobody() {
        assert_eq!(after(1000, 0, 0, 2, 100), Advice::Keep);
        assert_eq!(after(20_000, 2 * 16_000, 0, 2, 100), Advice::Keep);
    }

    #[test]
    fn threads_that_others_push_aside_are_enough() {
        let mut growth = Growth::new(32, 0.5);
        let context = |cpu_ms, preemptions| PoolState {
            threads: 1,
            idle: 0,
            queued: 100,
            large_transfers: 0,
            usage: Usage { cpu: Duration::from_millis(cpu_ms), waits: 0, preemptions },
        };
        assert_eq!(growth.advise(Duration::ZERO, context(0, 0)), Advice::Keep);
        assert_eq!(growth.advise(Duration::from_millis(20), context(4, 5)), Advice::Keep);
        assert_eq!(growth.advise(Duration::from_millis(40), context(8, 5)), Advice::Start(1));
    }

    #[test]
    fn large_transfers_need_no_more_threads_than_a_few() {
        let mut growth = Growth::new(256, 2.0);
        let mut advice = |at_ms, large_transfers| {
            let usage = Usage { waits: at_ms, ..Usage::default() };
            let context = PoolState { threads: 16, idle: 0, queued: 100, large_transfers, usage };
            growth.advise(Duration::from_millis(at_ms), context)
        };
        assert_eq!([advice(0, 16), advice(20, 16), advice(40, 16)], [Advice::Keep; 3]);
        assert_eq!((advice(60, 15), advice(80, 15)), (Advice::Keep, Advice::Start(16)));
    }

    #[test]
    fn without_a_backlog_tasks_are_divided_first() {
        assert_eq!(after(1000, 0, 2, 2, 0), Advice::Divide);
    }

    #[test]
    fn ranks_that_outnumber_processors_start_with_one_thread() {
        assert_eq!(Growth::new(32, 1.0 / 32.0).first(), 1);
        assert_eq!(Growth::new(32, 2.0).first(), 2);
        assert_eq!(Growth::new(1, 2.0).first(), 1);
    }
}
