//! Entries to be deleted, remembered until it is known whether they may be.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::limits::BATCH_NAMES_MAX;
use crate::base::path::Name;
use crate::model::entry::Hint;
use crate::walk::WalkTask;
use crate::walk::batch::NameBatch;
use crate::walk::place::{Place, Trees};

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
                let place = place.path_only();
                // The directory itself stays.
                place.set_trees(Trees::TargetBelow);
                batches.push((Arc::new(place), names));
            }
        }
    }

    /// As pieces of a walk.
    pub(crate) fn into_tasks(self) -> Vec<WalkTask> {
        let batches = self.batches.into_inner().unwrap_or_else(PoisonError::into_inner);
        batches.into_iter().map(|(place, names)| WalkTask::Batch(place, names)).collect()
    }
}
