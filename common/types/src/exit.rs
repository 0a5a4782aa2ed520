//! Exit codes: a public promise, listed in `docs/exit-codes.md`.

use serde::{Deserialize, Serialize};

/// How a job ended. Every rank returns the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Exit {
    /// All was done.
    Ok = 0,
    /// dcmp: the two trees differ.
    Different = 1,
    /// The command line makes no sense, or the ranks do not know each other.
    Usage = 2,
    /// A source or target cannot be used at all; nothing was done.
    Unusable = 3,
    /// The job was told to stop by a signal before all was done.
    Interrupted = 20,
    /// Some entries failed; the rest was done.
    Partial = 23,
    /// Some source entries went away meanwhile; the rest was done.
    Vanished = 24,
    /// dsync: more would have been deleted than `--max-delete` allows; nothing was deleted.
    DeleteLimit = 25,
    /// A fault of the program itself.
    Bug = 70,
    /// The work was done but its results could not be written.
    Reporting = 74,
}

impl Exit {
    /// The number for the operating system.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Of two endings the one that must not be hidden.
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
