//! Exit codes: a public promise, listed in `docs/exit-codes.md`.

use serde::{Deserialize, Serialize};

/// Exit code of a job. Every rank returns the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Exit {
    /// Everything was done.
    Ok = 0,
    /// The two trees differ (dcmp).
    Different = 1,
    /// The command line is invalid, or the ranks do not form one job.
    Usage = 2,
    /// A source or target is unusable; nothing was done.
    Unusable = 3,
    /// The job was interrupted by a signal before everything was done.
    Interrupted = 20,
    /// A part of the entries failed; all others were done.
    Partial = 23,
    /// A part of the source entries vanished during the job; all others were done.
    Vanished = 24,
    /// More entries would have been deleted than `--max-delete` allows; nothing was deleted
    /// (dsync).
    DeleteLimit = 25,
    /// A bug in the program itself.
    Bug = 70,
    /// The work was done, but its results could not be written.
    Reporting = 74,
}

impl Exit {
    /// Returns the number for the operating system.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Returns the more severe of two exit codes.
    #[must_use]
    pub fn worst(self, other: Self) -> Self {
        if self.weight() >= other.weight() { self } else { other }
    }

    fn weight(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Different => 1,
            Self::Vanished => 2,
            Self::Partial => 3,
            Self::DeleteLimit => 4,
            Self::Interrupted => 5,
            Self::Reporting => 6,
            Self::Unusable => 7,
            Self::Usage => 8,
            Self::Bug => 9,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Exit;

    #[test]
    fn failed_entries_outweigh_vanished_ones() {
        assert_eq!(Exit::Vanished.worst(Exit::Partial), Exit::Partial);
        assert_eq!(Exit::Partial.worst(Exit::Vanished), Exit::Partial);
        assert_eq!(Exit::Ok.worst(Exit::Vanished), Exit::Vanished);
    }
}
