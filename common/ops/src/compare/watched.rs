//! Directories that change while they are compared: both trees are watched, and new entries are
//! compared as in the walk.

use super::CompareJob;
use crate::walk::dir_ref::{DirRef, Trees};
use crate::walk::watch::Watch;
use store::Dir;
use types::entry::Hint;
use types::error::{Cause, Error, Side};
use types::outcome::tally::Tally;
use types::path::Name;

impl CompareJob<'_> {
    /// Makes the job record what it lists and visits, for a second listing. A comparison of named
    /// entries lists nothing, so there is nothing to record.
    #[must_use]
    pub fn watched(mut self, watch: Watch) -> Self {
        self.watch = Some(watch).filter(|_| self.named.is_none());
        self
    }

    /// Sets the record for the second listing.
    pub fn watch_again(&mut self, watch: Watch) {
        self.watch = Some(watch);
    }

    /// Returns the record of what was listed and visited, if there is one.
    pub fn take_watch(&mut self) -> Option<Watch> {
        self.watch.take()
    }

    /// Returns this rank's counts and resets them.
    pub fn take_tally(&self) -> Tally {
        self.account.take_tally()
    }

    /// Returns the record for one side. Objects are in no directories whose times could be
    /// compared; and what is only in the target can be determined only where directories on both
    /// sides are watched.
    pub(super) fn watch_over(&self, side: Side) -> Option<&Watch> {
        let holds_objects = [self.root.source.holds_objects(), self.root.target.holds_objects()];
        let is_watched = !holds_objects[0] && (side == Side::Source || !holds_objects[1]);
        self.watch.as_ref().filter(|_| is_watched)
    }

    /// Returns whether an entry of a directory that is listed again is new, by the record of its
    /// side. Without a record, nothing is.
    pub(super) fn is_news_to_watch(
        &self,
        dir_ref: &DirRef,
        dir: &dyn Dir,
        (name, hint): (&Name, Hint),
    ) -> bool {
        let side = dir_ref.trees().side();
        let store = match side {
            Side::Source => &self.root.source,
            Side::Target => &self.root.target,
        };
        let watch = self.watch_over(side);
        watch.is_some_and(|watch| watch.is_news(dir_ref, dir, (name, hint), &**store))
    }

    /// Looks up the counterpart of a directory that is listed again, so that it is listed again
    /// too.
    pub(super) fn find_counterpart_again(&self, dir_ref: &DirRef) {
        if dir_ref.trees() != Trees::Both {
            return;
        }
        match self.open_counterpart(dir_ref).and_then(|dir| dir.metadata()) {
            Ok(metadata) => {
                let watch = self.watch_over(Side::Target);
                watch.inspect(|watch| watch.add(Side::Target, dir_ref, &metadata));
            }
            Err(Error { cause: Cause::System(libc::ENOTDIR | libc::ELOOP), .. }) => {
                dir_ref.set_trees(Trees::SourceOnly);
            }
            Err(error) if error.cause.is_vanished() => dir_ref.set_trees(Trees::SourceOnly),
            // The failure is reported where the first entry is looked up.
            Err(_) => {}
        }
    }
}
