//! Requests ahead: what visits of the next names of a directory will use is requested for many of
//! them together, where the store of a tree is far away.

use std::sync::Arc;

use super::batch::NameBatch;
use super::dir_ref::DirRef;
use super::{Visitor, target_dir};
use store::{Dir, Upcoming};
use types::limits::{NAMES_OF_XATTRS_AHEAD, NAMES_REQUESTED_AHEAD};

/// The next names of a batch, as far as they were requested.
pub(super) struct Ahead<'d> {
    dir_ref: &'d Arc<DirRef>,
    upcoming: [Option<Upcoming>; 2],
    /// Handles that have what was requested: of the directory that is walked, and of its
    /// counterpart.
    handles: [Option<Arc<dyn Dir>>; 2],
    /// Names until the next request.
    left: usize,
}

impl<'d> Ahead<'d> {
    pub fn new<V: Visitor>(visitor: &V, dir_ref: &'d Arc<DirRef>) -> Self {
        Self { dir_ref, upcoming: visitor.upcoming(dir_ref), handles: [None, None], left: 0 }
    }

    /// Returns the number of names at the beginning of the batch that were requested, and should
    /// not be left to others.
    pub fn requested(&self) -> usize {
        if self.handles.iter().any(Option::is_some) { self.left } else { 0 }
    }

    /// Makes the next requests, if those before were used up.
    pub fn request<V: Visitor>(&mut self, visitor: &V, dir: &Arc<dyn Dir>, batch: &NameBatch) {
        if self.left > 0 || self.upcoming == [None, None] {
            return;
        }
        let is_light = self.upcoming.iter().flatten().all(|it| *it == Upcoming::Xattrs);
        let count = if is_light { NAMES_OF_XATTRS_AHEAD } else { NAMES_REQUESTED_AHEAD };
        let names = batch.first(count);
        self.left = names.len();
        let [here, there] = self.upcoming;
        // A counterpart that cannot be opened is reported by the visits.
        let other = there.and_then(|_| target_dir(visitor, self.dir_ref).ok());
        self.handles = [
            here.and_then(|upcoming| dir.ahead(&names, upcoming)),
            other.zip(there).and_then(|(other, upcoming)| other.ahead(&names, upcoming)),
        ];
    }

    /// Returns the handles for the next visit: of the directory, and of its counterpart.
    pub fn handles<'h>(
        &'h self,
        dir: &'h Arc<dyn Dir>,
    ) -> (&'h Arc<dyn Dir>, Option<&'h Arc<dyn Dir>>) {
        let [here, there] = &self.handles;
        (here.as_ref().unwrap_or(dir), there.as_ref())
    }

    /// Counts a name that was visited.
    pub fn visited(&mut self) {
        self.left = self.left.saturating_sub(1);
    }
}
