//! Measurements of throughput and latency.

use std::time::Duration;

use host::process::Usage;

/// Beginning of a window of observation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub at: Duration,
    pub usage: Usage,
    /// Waits from then on that end no operation: threads that were added begin with one.
    pub begun: u64,
}

/// Difference between two moments.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub wall: Duration,
    /// Operations that have waited for storage.
    pub waits: u64,
    pub preemptions: u64,
    /// Processors in use.
    pub cpu: f64,
}

/// Throughput and latency with a number of threads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub threads: u32,
    /// Number of operations on which this is based.
    pub waits: u64,
    /// Operations per second.
    pub rate: f64,
    /// Seconds that an operation waits, by Little's law.
    pub latency: f64,
}

impl Mark {
    pub fn new(at: Duration, usage: Usage) -> Self {
        Self { at, usage, begun: 0 }
    }

    /// Returns the window from here to a later moment.
    pub fn until(&self, now: Duration, usage: Usage) -> Window {
        let wall = now.saturating_sub(self.at);
        let cpu = usage.cpu.saturating_sub(self.usage.cpu).as_secs_f64();
        Window {
            wall,
            waits: usage.waits.saturating_sub(self.usage.waits).saturating_sub(self.begun),
            preemptions: usage.preemptions.saturating_sub(self.usage.preemptions),
            cpu: cpu / wall.as_secs_f64().max(f64::MIN_POSITIVE),
        }
    }
}

impl Sample {
    /// Measures a window with at least one wait.
    pub fn new(threads: u32, window: &Window) -> Self {
        let all = f64::from(threads);
        // Some part waits: a CPU that is busy is another case.
        let waiting = (all - window.cpu).max(all / 10.0);
        let rate = window.waits as f64 / window.wall.as_secs_f64();
        Self { threads, waits: window.waits, rate, latency: waiting / rate }
    }

    /// Returns the share of the threads more than at an earlier sample that only made all wait
    /// longer: 0 where nothing queues, 1 beyond the knee.
    pub fn crowding(&self, before: &Self) -> f64 {
        let threads = f64::from(self.threads) / f64::from(before.threads);
        (self.latency / before.latency).ln() / threads.ln()
    }

    /// Returns the error of the ratio of two latencies, if those of operations vary by half.
    pub fn error(&self, other: &Self) -> f64 {
        0.5 * (1.0 / self.waits as f64 + 1.0 / other.waits as f64).sqrt()
    }
}
