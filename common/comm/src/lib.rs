//! Ranks and the messages between them.
//!
//! [`Comm`] is all that the rest of the crate knows of a parallel job. MPI is one implementation;
//! threads of one process and a seeded simulator are the others, so that everything above runs
//! under test without MPI and under every order of messages.

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
    /// The rank that talks to the user.
    pub const ROOT: Self = Self(0);

    /// As an index into per-rank lists.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// How one rank reaches the others. Only the main thread of a rank has it.
pub trait Comm {
    /// This rank.
    fn rank(&self) -> Rank;

    /// How many ranks the job has.
    fn size(&self) -> u32;

    /// Hands a message over; never waits. Order between messages is not promised.
    fn send(&mut self, to: Rank, message: Vec<u8>);

    /// The next message that has arrived, if any; never waits.
    fn try_recv(&mut self) -> Option<(Rank, Vec<u8>)>;

    /// Messages handed over that have not left yet: above a bound, callers should hold back.
    fn unsent(&self) -> usize;

    /// Ends the job on all ranks at once with that exit code.
    fn abort(&self, exit: Exit) -> !;

    /// Ends this rank's part in good order, together with all others; the process is about to end with this code.
    fn finish(&mut self, exit: Exit);
}
