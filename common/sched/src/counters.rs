//! What the engine itself counts on a rank.

use serde::{Deserialize, Serialize};

/// Counters of one rank's engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Tasks run on this rank.
    pub tasks_run: u64,
    /// Tasks that came from other ranks.
    pub tasks_stolen: u64,
    /// Tasks given to other ranks.
    pub tasks_given: u64,
    /// Questions for work.
    pub steals_asked: u64,
    /// Questions that brought work.
    pub steals_won: u64,
    /// Questions of others answered with work.
    pub steals_given: u64,
    /// Bytes of the tasks that came and went.
    pub steal_bytes: u64,
    /// Waves of termination detection.
    pub waves: u64,
    /// I/O threads in use at the end.
    pub threads: u64,
    /// Time that these threads had nothing to do, summed.
    pub idle_ns: u64,
    /// Wall time of the engine.
    pub wall_ns: u64,
    /// CPU time of this rank meanwhile.
    pub cpu_ns: u64,
}

impl Counters {
    /// Adds a later phase's, or another rank's.
    pub fn add(&mut self, other: &Self) {
        self.tasks_run += other.tasks_run;
        self.tasks_stolen += other.tasks_stolen;
        self.tasks_given += other.tasks_given;
        self.steals_asked += other.steals_asked;
        self.steals_won += other.steals_won;
        self.steals_given += other.steals_given;
        self.steal_bytes += other.steal_bytes;
        self.waves += other.waves;
        self.threads = self.threads.max(other.threads);
        self.idle_ns += other.idle_ns;
        self.wall_ns += other.wall_ns;
        self.cpu_ns += other.cpu_ns;
    }
}
