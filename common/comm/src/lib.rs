//! Ranks and the messages between them.
//!
//! [`Comm`] is the whole interface of a parallel job to the other crates. MPI is one
//! implementation; threads of one process and a seeded simulator are the others, so that everything
//! above runs under test without MPI and under every order of messages.
//!
//! Uses: `host`, `types`.

pub mod collective;
pub mod launcher;
pub mod mailbox;
#[cfg(feature = "mpi")]
pub mod mpi;
pub mod sim;
pub mod solo;
pub mod threads;

use serde::{Deserialize, Serialize};

use types::exit::Exit;

/// Number of a process of the job, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Rank(pub u32);

impl Rank {
    /// Rank that reports to the user.
    pub const ROOT: Self = Self(0);

    /// Returns the rank as an index into per-rank lists.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Connection of one rank to all others. Only the main thread of a rank has it.
pub trait Comm {
    /// Returns this rank.
    fn rank(&self) -> Rank;

    /// Returns the number of ranks of the job.
    fn size(&self) -> u32;

    /// Sends a message; never waits. The order of messages is not guaranteed.
    fn send(&mut self, to: Rank, message: Vec<u8>);

    /// Returns the next message that has arrived, if any, with its sender; never waits.
    fn try_recv(&mut self) -> Option<(Rank, Vec<u8>)>;

    /// Returns the number of messages that were sent and have not left yet: above a bound, callers
    /// should hold back.
    fn unsent(&self) -> usize;

    /// Aborts the job on all ranks at once with that exit code.
    fn abort(&self, exit: Exit) -> !;

    /// Ends this rank's part in good order, together with all others. The process is about to exit
    /// with this code.
    fn finish(&mut self, exit: Exit);
}
