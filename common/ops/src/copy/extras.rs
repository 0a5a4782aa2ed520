//! Entries remembered for later: those to be deleted, until it is known whether they may be, and those
//! that can be copied only after that.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::walk::WalkTask;
use crate::walk::batch::NameBatch;
use crate::walk::place::{Place, Trees};
use types::entry::Hint;
use types::limits::BATCH_NAMES_MAX;
use types::path::Name;

/// Names by directory: a path once for up to so many names, without open handles.
#[derive(Debug, Default)]
pub struct Extras {
    batches: Mutex<Vec<(Arc<Place>, NameBatch)>>,
}

impl Extras {
    fn lock(&self) -> MutexGuard<'_, Vec<(Arc<Place>, NameBatch)>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers an entry of a directory.
    pub(super) fn add(&self, place: &Place, name: &Name, hint: Hint) {
        let mut batches = self.lock();
        match batches.last_mut() {
            Some((last, names))
                if last.path() == place.path()
                    && last.root() == place.root()
                    && names.len() < BATCH_NAMES_MAX =>
            {
                names.push(name, hint);
            }
            _ => {
                let mut names = NameBatch::default();
                names.push(name, hint);
                batches.push((Arc::new(place.path_only()), names));
            }
        }
    }

    /// Forgets what is in other directories than those.
    pub(super) fn retain(&mut self, is_kept: impl Fn(&Place) -> bool) {
        let batches = self.batches.get_mut().unwrap_or_else(PoisonError::into_inner);
        batches.retain(|(place, _)| is_kept(place));
    }

    /// Remembers the directories that are in the way of entries, of which those in some places are deferred.
    pub(super) fn add_in_the_way(&self, deferred: &Self, is_of: impl Fn(&Place) -> bool) {
        for (place, names) in deferred.lock().iter().filter(|(place, _)| is_of(place)) {
            let mut names = names.clone();
            while names.take_first(|name, _, _| self.add(place, name, Hint::Directory)).is_some() {}
        }
    }

    /// Takes over what another phase has remembered.
    pub(super) fn append(&mut self, other: Self) {
        let other = other.batches.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.batches.get_mut().unwrap_or_else(PoisonError::into_inner).extend(other);
    }

    /// As pieces of a walk, in directories that are in these trees.
    pub fn into_tasks(self, trees: Trees) -> Vec<WalkTask> {
        let batches = self.batches.into_inner().unwrap_or_else(PoisonError::into_inner);
        let task = |(place, names): (Arc<Place>, NameBatch)| {
            place.set_trees(trees);
            WalkTask::Batch(place, names)
        };
        batches.into_iter().map(task).collect()
    }
}
