//! The permission to delete, in the form of a value that only a complete walk of the source without
//! errors produces. Deletion thus cannot be called by mistake after a partial walk.

use crate::copy::extraneous::Extraneous;
use crate::walk::WalkTask;
use crate::walk::dir_ref::Trees;
use store::Capabilities;
use types::outcome::tally::Tally;

/// The proof that everything in the source was met and nothing failed, so that an entry of the
/// target that the source lacks is really extraneous.
#[derive(Debug)]
pub struct CompleteWalk(());

impl CompleteWalk {
    /// Derives the proof from the totals of all ranks.
    ///
    /// # Errors
    /// Returns a phrase that says why nothing may be deleted.
    pub fn prove(totals: &Tally, source: &Capabilities) -> Result<Self, &'static str> {
        if totals.unread_directories > 0 {
            return Err("parts of the trees could not be read");
        }
        if !totals.is_walk_complete() {
            return Err("the job ended before all was read");
        }
        if totals.failed > 0 {
            return Err("some entries failed");
        }
        // The directories of their paths may be others since, such as mount points without their
        // file systems.
        if totals.vanished > 0 && !source.holds_directories {
            return Err(
                "entries of the source vanished, and an SFTP server does not tell whether \
                        all of it did",
            );
        }
        Ok(Self(()))
    }
}

/// The set of entries that are to be deleted, with the proof that they may be.
#[derive(Debug)]
pub struct DeletionSet(Vec<WalkTask>);

impl DeletionSet {
    /// Selects the extraneous entries, which takes the proof that the whole source was met.
    pub fn extraneous(extraneous: Extraneous, _proof: &CompleteWalk) -> Self {
        // The directories that both sides have stay; only the extraneous entries below them go.
        Self(extraneous.into_tasks(Trees::TargetBelow))
    }

    /// Returns the first tasks of the deletion.
    pub fn into_tasks(self) -> Vec<WalkTask> {
        self.0
    }

    /// Returns the same tasks, for counting what would be deleted.
    #[must_use]
    pub fn to_count(&self) -> Vec<WalkTask> {
        self.0.clone()
    }

    /// Returns whether there is nothing to delete on this rank.
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
        let held = Capabilities::default();
        assert!(CompleteWalk::prove(&whole, &held).is_ok());
        assert!(CompleteWalk::prove(&Tally { failed: 1, ..whole }, &held).is_err());
        // An entry that has vanished does not count against the proof: each name is looked up once
        // more before it is deleted.
        let vanished = Tally { vanished: 1, ..whole };
        assert!(CompleteWalk::prove(&vanished, &held).is_ok());
        let by_path = Capabilities { holds_directories: false, ..held };
        assert!(CompleteWalk::prove(&vanished, &by_path).is_err());
        assert!(CompleteWalk::prove(&Tally { unread_directories: 1, ..whole }, &held).is_err());
        assert!(CompleteWalk::prove(&Tally { cancelled_tasks: 1, ..whole }, &held).is_err());
    }
}
