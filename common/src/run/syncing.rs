//! Bringing what a copy has made to storage, now and then, and writing down in its journal how far
//! that is.

use std::sync::{Condvar, Mutex, PoisonError};

use ops::copy::root::CopyRoot;
use ops::journal::Journal;
use types::limits::JOURNAL_SYNC_EVERY;

/// A rank's part of that.
pub(super) struct Syncing<'r> {
    journal: &'r Journal,
    roots: &'r [CopyRoot],
    ranks: u32,
    is_over: Mutex<bool>,
    over: Condvar,
}

/// Ends it, also where the work ends with a panic.
struct Ending<'s, 'r>(&'s Syncing<'r>);

impl Drop for Ending<'_, '_> {
    fn drop(&mut self) {
        *self.0.is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.over.notify_all();
    }
}

impl<'r> Syncing<'r> {
    /// Starts syncing these roots, to which so many ranks copy.
    pub fn new(journal: &'r Journal, roots: &'r [CopyRoot], ranks: u32) -> Self {
        Self { journal, roots, ranks, is_over: Mutex::default(), over: Condvar::new() }
    }

    /// Does it, on a thread of its own, while the work is done: it may take long, and need not be
    /// waited for.
    pub fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        std::thread::scope(|scope| {
            scope.spawn(|| self.run());
            let _ending = Ending(self);
            work()
        })
    }

    fn run(&self) {
        loop {
            let is_over = self.is_over.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = self.over.wait_timeout_while(is_over, JOURNAL_SYNC_EVERY, |is| !*is);
            let (is_over, _) = waited.unwrap_or_else(PoisonError::into_inner);
            if *is_over {
                return;
            }
            drop(is_over);
            self.journal.synced(self.ranks, self.device(), || self.sync());
        }
    }

    /// All is done that will be, and the journal stays.
    pub fn end(&self) {
        if self.sync() {
            self.journal.synced_for_good(self.ranks, self.device());
        }
    }

    fn sync(&self) -> bool {
        self.roots.iter().all(|root| root.target.sync().is_ok())
    }

    /// The device of all targets, if that is one.
    fn device(&self) -> Option<u64> {
        let of = |root: &CopyRoot| root.target_metadata.map(|target| target.device);
        let first = of(self.roots.first()?)?;
        self.roots.iter().all(|root| of(root) == Some(first)).then_some(first)
    }
}
