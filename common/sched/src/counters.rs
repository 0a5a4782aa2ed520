//! Counters of the engine itself on a rank.

use serde::{Deserialize, Serialize};

/// Counters of one rank's engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Tasks that were run on this rank.
    pub tasks_run: u64,
    /// Tasks received from other ranks.
    pub tasks_stolen: u64,
    /// Tasks given to other ranks.
    pub tasks_granted: u64,
    /// Steal requests sent.
    pub steal_attempts: u64,
    /// Steal requests that were answered with tasks.
    pub steals_succeeded: u64,
    /// Steal requests of others that this rank has answered with tasks.
    pub steals_granted: u64,
    /// Bytes of the tasks received and given.
    pub steal_bytes: u64,
    /// Waves of termination detection.
    pub waves: u64,
    /// I/O threads in use at the end.
    pub threads: u64,
    /// Most I/O threads in use at any time.
    pub threads_most: u64,
    /// Time that I/O threads might have worked, summed, in nanoseconds.
    pub thread_ns: u64,
    /// Idle time of these threads, summed, in nanoseconds.
    pub idle_ns: u64,
    /// Wall time of the engine in nanoseconds.
    pub wall_ns: u64,
    /// CPU time of this rank meanwhile, in nanoseconds.
    pub cpu_ns: u64,
}

impl Counters {
    /// Adds the counters of a later phase or of another rank.
    pub fn add(&mut self, other: &Self) {
        self.tasks_run += other.tasks_run;
        self.tasks_stolen += other.tasks_stolen;
        self.tasks_granted += other.tasks_granted;
        self.steal_attempts += other.steal_attempts;
        self.steals_succeeded += other.steals_succeeded;
        self.steals_granted += other.steals_granted;
        self.steal_bytes += other.steal_bytes;
        self.waves += other.waves;
        self.threads = self.threads.max(other.threads);
        self.threads_most = self.threads_most.max(other.threads_most);
        self.thread_ns += other.thread_ns;
        self.idle_ns += other.idle_ns;
        self.wall_ns += other.wall_ns;
        self.cpu_ns += other.cpu_ns;
    }
}
