//! How many I/O threads a rank should have, from what its threads wait for.
//!
//! While there is a backlog and the rank leaves much of its CPU unused, its threads wait for the
//! storage: more of them hide more of that latency. When its CPU is busy, more threads would only
//! get in each other's way. So a parallel file system soon sees all threads, a local disk few.

use std::time::Duration;

use crate::base::limits;

/// Decides the number of threads of a rank, window by window.
#[derive(Debug)]
pub struct Growth {
    threads_max: u32,
    /// Processors this rank may count on; below 1 where ranks outnumber processors.
    cpu_share: f64,
    window: Option<Window>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    began: Duration,
    cpu_then: Duration,
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
        Self { threads_max, cpu_share, window: None }
    }

    /// Threads to begin with: those the CPU can feed.
    pub fn first(&self) -> u32 {
        (self.cpu_share.ceil() as u32).clamp(1, self.threads_max)
    }

    /// Looks at the window that ends now. `cpu` is the CPU time this process has used so far.
    pub fn advise(
        &mut self,
        now: Duration,
        cpu: Duration,
        threads: u32,
        idle: u32,
        queued: u32,
    ) -> Advice {
        if threads >= self.threads_max || idle > 0 {
            self.window = None;
            return Advice::Keep;
        }
        let Some(window) = self.window else {
            self.window = Some(Window { began: now, cpu_then: cpu });
            return Advice::Keep;
        };
        let wall = now.saturating_sub(window.began);
        if wall < limits::CREW_WINDOW {
            return Advice::Keep;
        }
        self.window = Some(Window { began: now, cpu_then: cpu });
        let used = cpu.saturating_sub(window.cpu_then).as_secs_f64() / wall.as_secs_f64();
        let usable = self.cpu_share.min(f64::from(threads));
        if used > usable * limits::CREW_BUSY_SHARE {
            Advice::Keep
        } else if queued == 0 {
            Advice::Divide
        } else {
            Advice::Start(threads.min(self.threads_max - threads).min(queued))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Advice after a window of 1 ms in which the rank used so much CPU.
    fn after_window(share: f64, threads: u32, queued: u32, used: Duration) -> Advice {
        let mut growth = Growth::new(32, share);
        let begin = Duration::from_secs(1);
        assert_eq!(growth.advise(begin, begin, threads, 0, queued), Advice::Keep);
        let end = begin + limits::CREW_WINDOW;
        growth.advise(end, begin + used, threads, 0, queued)
    }

    #[test]
    fn threads_that_wait_for_storage_double() {
        let little = Duration::from_micros(50);
        assert_eq!(after_window(2.0, 2, 100, little), Advice::Start(2));
        assert_eq!(after_window(2.0, 24, 100, little), Advice::Start(8));
        assert_eq!(after_window(2.0, 8, 3, little), Advice::Start(3));
        assert_eq!(after_window(2.0, 32, 100, little), Advice::Keep);
    }

    #[test]
    fn threads_that_compute_are_enough() {
        assert_eq!(after_window(2.0, 2, 100, Duration::from_micros(1900)), Advice::Keep);
        assert_eq!(after_window(0.5, 1, 100, Duration::from_micros(480)), Advice::Keep);
    }

    #[test]
    fn without_a_backlog_tasks_are_divided_first() {
        assert_eq!(after_window(2.0, 2, 0, Duration::ZERO), Advice::Divide);
    }

    #[test]
    fn ranks_that_outnumber_processors_start_with_one_thread() {
        assert_eq!(Growth::new(32, 1.0 / 32.0).first(), 1);
        assert_eq!(Growth::new(32, 2.0).first(), 2);
        assert_eq!(Growth::new(1, 2.0).first(), 1);
    }
}
