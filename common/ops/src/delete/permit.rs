//! Who may delete: the holder of a value that only a complete, error-free walk of the source produces.

use crate::copy::extras::Extras;
use crate::walk::WalkTask;
use crate::walk::place::Trees;
use types::outcome::tally::Tally;

/// Proof that everything in the source was met, and nothing failed: what the target has beyond it is
/// really beyond it.
#[derive(Debug)]
pub struct CompleteWalk(());

impl CompleteWalk {
    /// From the counts of all ranks together; the error says in words what is missing.
    ///
    /// # Errors
    /// Why nothing may be deleted.
    pub fn prove(totals: &Tally) -> Result<Self, &'static str> {
        if !totals.is_walk_complete() {
            return Err("parts of the source could not be read");
        }
        if totals.failed > 0 {
            return Err("some entries failed");
        }
        Ok(Self(()))
    }
}

/// Entries that are to be deleted, and may be.
#[derive(Debug)]
pub struct Doomed(Vec<WalkTask>);

impl Doomed {
    /// What only the target has: only once the whole source was met.
    pub fn extras(extras: Extras, _proof: &CompleteWalk) -> Self {
        // The directories themselves stay.
        Self(extras.into_tasks(Trees::TargetBelow))
    }

    /// The first pieces of the deletion.
    pub fn into_tasks(self) -> Vec<WalkTask> {
        self.0
    }

    /// The same again, to be counted first.
    #[must_use]
    pub fn to_count(&self) -> Vec<WalkTask> {
        self.0.clone()
    }

    /// Nothing is to be deleted on this rank.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_complete_and_faultless_walk_permits_deletion() {
        let whole = Tally::default();
        assert!(CompleteWalk::prove(&whole).is_ok());
        assert!(CompleteWalk::prove(&Tally { failed: 1, ..whole }).is_err());
        // What is gone is gone, and each name is asked for once more.
        assert!(CompleteWalk::prove(&Tally { vanished: 1, ..whole }).is_ok());
        assert!(CompleteWalk::prove(&Tally { unread_directories: 1, ..whole }).is_err());
        assert!(CompleteWalk::prove(&Tally { given_up: 1, ..whole }).is_err());
    }
}
