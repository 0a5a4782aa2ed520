//! How many I/O threads a rank should have, from what its threads wait for.
//!
//! While there is a backlog and the rank leaves much of its CPU unused, its threads wait for the
//! storage: more of them hide more of that latency. When its CPU is busy, more threads would only
//! get in each other's way. So a parallel file system soon sees all threads, a local disk few.
//!
//! Where the last threads that were started have not made the rank use more CPU, it is not latency that
//! it waits for but bandwidth, of the network or of the other side: then more are started ever more seldom.

use std::time::Duration;

use crate::base::limits;
use crate::base::process::Usage;

/// Decides the number of threads of a rank, window by window.
#[derive(Debug)]
pub struct Growth {
    threads_max: u32,
    /// Processors this rank may count on; below 1 where ranks outnumber processors.
    cpu_share: f64,
    window: Option<(Duration, Usage)>,
    last: Option<LastStart>,
}

/// What was seen when threads were last started.
#[derive(Debug)]
struct LastStart {
    /// CPU in use before, in processors.
    used: f64,
    at: Duration,
    /// How long to wait for more of it before the next start.
    patience: Duration,
}

/// A rank's threads at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crew {
    /// Threads started so far.
    pub threads: u32,
    /// Those that have nothing to do.
    pub idle: u32,
    /// Tasks that wait.
    pub queued: u32,
    /// What they have used so far.
    pub usage: Usage,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// Enough threads, or not known yet.
    Keep,
    /// The threads wait, and there is nothing queued for more: tasks should be divided.
    Divide,
    /// Start so many more.
    Start(u32),
}

impl Growth {
    /// At most `threads_max` threads.
    pub fn new(threads_max: u32, cpu_share: f64) -> Self {
        Self { threads_max, cpu_share, window: None, last: None }
    }

    /// The system refuses more threads.
    pub fn close(&mut self) {
        self.threads_max = 0;
    }

    /// More threads may still be of use.
    pub fn is_open(&self, threads: u32) -> bool {
        threads < self.threads_max
    }

    /// Threads to begin with: those the CPU can feed.
    pub fn first(&self) -> u32 {
        (self.cpu_share.ceil() as u32).clamp(1, self.threads_max)
    }

    /// Looks at the threads now; says something when a window ends.
    pub fn advise(&mut self, now: Duration, crew: Crew) -> Advice {
        if !self.is_open(crew.threads) || crew.idle > 0 {
            self.window = None;
            return Advice::Keep;
        }
        let Some((began, then)) = self.window else {
            self.window = Some((now, crew.usage));
            return Advice::Keep;
        };
        let wall = now.saturating_sub(began);
        // CPU time is exact for threads that have waited meanwhile; for others it takes some ticks.
        let waits = crew.usage.waits.saturating_sub(then.waits);
        let is_exact = wall >= limits::CREW_WINDOW_MIN && waits >= u64::from(crew.threads);
        if !is_exact && wall < limits::CREW_WINDOW_MAX {
            return Advice::Keep;
        }
        self.window = Some((now, crew.usage));
        let used = crew.usage.cpu.saturating_sub(then.cpu).as_secs_f64() / wall.as_secs_f64();
        let usable = self.cpu_share.min(f64::from(crew.threads));
        // More often pushed aside than waiting: other processes want this CPU, too.
        let preempted = crew.usage.preemptions.saturating_sub(then.preemptions);
        if used > usable * limits::CREW_BUSY_SHARE || preempted > waits {
            Advice::Keep
        } else if crew.queued == 0 {
            Advice::Divide
        } else if self.is_worth(now, used) {
            Advice::Start(crew.threads.min(self.threads_max - crew.threads).min(crew.queued))
        } else {
            Advice::Keep
        }
    }

    /// Whether more threads may help, from what the last ones did.
    fn is_worth(&mut self, now: Duration, used: f64) -> bool {
        let patience = match &self.last {
            Some(last) if used < last.used * limits::CREW_GAIN_MIN => {
                if now < last.at + last.patience {
                    return false;
                }
                (last.patience * 8).min(limits::CREW_PATIENCE_MAX)
            }
            _ => limits::CREW_PATIENCE_MIN,
        };
        self.last = Some(LastStart { used, at: now, patience });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Advice after so long, in which the threads used so much CPU and waited so often.
    fn after(wall_us: u64, cpu_us: u64, waits: u64, threads: u32, queued: u32) -> Advice {
        let mut growth = Growth::new(32, 2.0);
        let at = |wall_us, cpu_us, waits| {
            let usage = Usage { cpu: Duration::from_micros(cpu_us), waits, preemptions: 0 };
            (Duration::from_micros(wall_us), Crew { threads, idle: 0, queued, usage })
        };
        let (begin, crew) = at(500, 700, 3);
        assert_eq!(growth.advise(begin, crew), Advice::Keep);
        let (end, crew) = at(500 + wall_us, 700 + cpu_us, 3 + waits);
        growth.advise(end, crew)
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
        let crew = |cpu_ms, preemptions| Crew {
            threads: 1,
            idle: 0,
            queued: 100,
            usage: Usage { cpu: Duration::from_millis(cpu_ms), waits: 0, preemptions },
        };
        assert_eq!(growth.advise(Duration::ZERO, crew(0, 0)), Advice::Keep);
        assert_eq!(growth.advise(Duration::from_millis(20), crew(4, 5)), Advice::Keep);
        assert_eq!(growth.advise(Duration::from_millis(40), crew(8, 5)), Advice::Start(1));
    }

    /// Threads after so many windows, if the rank uses that much CPU with so many.
    fn threads_after(windows: u32, cpu_of: fn(u32) -> f64) -> u32 {
        let mut growth = Growth::new(256, 2.0);
        let (mut threads, mut usage) = (2, Usage::default());
        for window in 0..windows {
            let now = limits::CREW_WINDOW_MAX * window;
            let crew = Crew { threads, idle: 0, queued: 1000, usage };
            if let Advice::Start(more) = growth.advise(now, crew) {
                threads += more;
            }
            usage.cpu += limits::CREW_WINDOW_MAX.mul_f64(cpu_of(threads));
            usage.waits += u64::from(threads);
        }
        threads
    }

    #[test]
    fn threads_that_make_nothing_faster_stay_few() {
        let latency = threads_after(12, |threads| 0.005 * f64::from(threads));
        assert_eq!(latency, 256, "each of them adds as much as the first");
        let bandwidth = threads_after(100, |threads| (0.1 * f64::from(threads)).min(0.9));
        assert!((16..=128).contains(&bandwidth), "nine would do: {bandwidth}");
        assert_eq!(threads_after(3000, |_| 0.3), 256, "it is tried for ever, though seldom");
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
