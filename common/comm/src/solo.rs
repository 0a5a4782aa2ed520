//! Job of one rank, for a tool started without a launcher: MPI is not initialised, which saves up
//! to a third of a second.

use std::collections::VecDeque;

use super::{Comm, Rank};
use types::exit::Exit;

/// Connection of a single rank, which has no others.
#[derive(Debug, Default)]
pub struct Solo {
    to_self: VecDeque<Vec<u8>>,
}

impl Comm for Solo {
    fn rank(&self) -> Rank {
        Rank::ROOT
    }

    fn size(&self) -> u32 {
        1
    }

    fn send(&mut self, _to: Rank, message: Vec<u8>) {
        self.to_self.push_back(message);
    }

    fn try_recv(&mut self) -> Option<(Rank, Vec<u8>)> {
        self.to_self.pop_front().map(|message| (Rank::ROOT, message))
    }

    fn unsent(&self) -> usize {
        0
    }

    #[allow(clippy::exit, reason = "the one way to end a process from any depth")]
    fn abort(&self, exit: Exit) -> ! {
        std::process::exit(i32::from(exit.code()))
    }

    fn finish(&mut self, _exit: Exit) {}
}
