//! Directories that change while they are compared: both trees are watched, and what is new is compared as in a walk.

use super::CompareJob;
use crate::walk::place::{Place, Trees};
use crate::walk::watch::Watch;
use store::{Dir, Store};
use types::entry::Hint;
use types::error::{Cause, Error, Side};
use types::outcome::tally::Tally;
use types::path::Name;

impl CompareJob<'_> {
    /// For a walk whose directories are watched; what is named is not listed.
    #[must_use]
    pub fn watched(mut self, watch: Watch) -> Self {
        self.watch = Some(watch).filter(|_| self.named.is_none());
        self
    }

    /// Lists what has changed under another watch.
    pub fn watch_again(&mut self, watch: Watch) {
        self.watch = Some(watch);
    }

    /// Takes out what has watched the walk, where that was done.
    pub fn take_watch(&mut self) -> Option<Watch> {
        self.watch.take()
    }

    /// Takes out what this rank has counted; it begins anew.
    pub fn take_tally(&self) -> Tally {
        self.account.take_tally()
    }

    /// Objects are in no directories that could be looked at; and what is only in the target can be told only where
    /// directories of both are watched.
    pub(super) fn watch_over(&self, side: Side) -> Option<&Watch> {
        let holds_objects = [self.root.source.holds_objects(), self.root.target.holds_objects()];
        let is_watched = !holds_objects[0] && (side == Side::Source || !holds_objects[1]);
        self.watch.as_ref().filter(|_| is_watched)
    }

    pub(super) fn is_news_to_watch(
        &self,
        place: &Place,
        dir: &dyn Dir,
        (name, hint): (&Name, Hint),
    ) -> bool {
        let side = place.trees().side();
        let store = match side {
            Side::Source => &self.root.source,
            Side::Target => &self.root.target,
        };
        let watch = self.watch_over(side);
        watch.is_some_and(|watch| watch.is_news(place, dir, (name, hint), &**store))
    }

    /// Whether a directory that is listed again has a counterpart, which is listed again, too.
    pub(super) fn find_counterpart_again(&self, place: &Place) {
        if place.trees() != Trees::Both {
            return;
        }
        match self.open_counterpart(place).and_then(|dir| dir.metadata()) {
            Ok(metadata) => {
                let watch = self.watch_over(Side::Target);
                watch.inspect(|watch| watch.add(Side::Target, place, &metadata));
            }
            Err(Error { cause: Cause::System(libc::ENOTDIR | libc::ELOOP), .. }) => {
                place.set_trees(Trees::SourceOnly);
            }
            Err(error) if error.cause.is_vanished() => place.set_trees(Trees::SourceOnly),
            // It is told where the first entry is looked for.
            Err(_) => {}
        }
    }
}
