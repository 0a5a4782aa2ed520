//! Entries that are recorded for later: those to be deleted, until it is known whether deletion is
//! allowed, and those that can be copied only after that.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::walk::WalkTask;
use crate::walk::batch::NameBatch;
use crate::walk::dir_ref::{DirRef, Trees};
use crate::walk::packed::RootedPath;
use types::entry::Hint;
use types::limits::BATCH_NAMES_MAX;
use types::path::{self, Name};

/// Names by directory: one path for each batch of names, without open handles.
#[derive(Debug, Default)]
pub struct Extraneous {
    batches: Mutex<Vec<(Arc<DirRef>, NameBatch)>>,
}

impl Extraneous {
    fn lock(&self) -> MutexGuard<'_, Vec<(Arc<DirRef>, NameBatch)>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records an entry of a directory.
    pub(super) fn add(&self, dir_ref: &DirRef, name: &Name, hint: Hint) {
        let mut batches = self.lock();
        match batches.last_mut() {
            Some((last, names))
                if last.path() == dir_ref.path()
                    && last.root() == dir_ref.root()
                    && names.len() < BATCH_NAMES_MAX =>
            {
                names.push(name, hint);
            }
            _ => {
                let mut names = NameBatch::default();
                names.push(name, hint);
                batches.push((Arc::new(dir_ref.path_only()), names));
            }
        }
    }

    /// Drops the entries of all directories except those.
    pub(super) fn retain(&mut self, is_kept: impl Fn(&DirRef) -> bool) {
        let batches = self.batches.get_mut().unwrap_or_else(PoisonError::into_inner);
        batches.retain(|(dir_ref, _)| is_kept(dir_ref));
    }

    /// Takes out the entries whose names belong to some of these directories of the target, and
    /// returns which.
    pub fn take_out(&mut self, directories: &HashSet<RootedPath>) -> Vec<RootedPath> {
        let taken = RefCell::new(Vec::new());
        self.retain_names(|dir_ref, name| {
            let below = path::join(dir_ref.path().as_bytes(), name.to_bytes());
            let directory = (dir_ref.root(), below);
            let is_free = !directories.contains(&directory);
            if !is_free {
                taken.borrow_mut().push(directory);
            }
            is_free
        });
        taken.into_inner()
    }

    /// Drops the entries that are not to be kept.
    pub(super) fn retain_names(&mut self, is_kept: impl Fn(&DirRef, &Name) -> bool) {
        let all = std::mem::take(self).batches.into_inner().unwrap_or_else(PoisonError::into_inner);
        for (dir_ref, mut names) in all {
            let keep = |name: &Name, hint| {
                if is_kept(&dir_ref, name) {
                    self.add(&dir_ref, name, hint);
                }
            };
            while names.take_first(|name, hint, _| keep(name, hint)).is_some() {}
        }
    }

    /// Records the directories that are in the way of deferred entries, for the deferred entries of
    /// some directories.
    pub(super) fn add_in_the_way(&self, deferred: &Self, is_of: impl Fn(&DirRef) -> bool) {
        for (dir_ref, names) in deferred.lock().iter().filter(|(dir_ref, _)| is_of(dir_ref)) {
            let mut names = names.clone();
            while names.take_first(|name, _, _| self.add(dir_ref, name, Hint::Directory)).is_some()
            {
            }
        }
    }

    /// Appends the entries that another phase has recorded.
    pub fn append(&mut self, other: Self) {
        let other = other.batches.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.batches.get_mut().unwrap_or_else(PoisonError::into_inner).extend(other);
    }

    /// Converts the entries to tasks of a walk, with their directories present in these trees.
    pub fn into_tasks(self, trees: Trees) -> Vec<WalkTask> {
        let batches = self.batches.into_inner().unwrap_or_else(PoisonError::into_inner);
        let task = |(dir_ref, names): (Arc<DirRef>, NameBatch)| {
            dir_ref.set_trees(trees);
            WalkTask::Batch(dir_ref, names)
        };
        batches.into_iter().map(task).collect()
    }
}
