//! Meeting an entry of the source: which way it takes, by what the listing or a look says it is.

use std::sync::Arc;

use super::{CopyHand, CopyJob};
use crate::walk::place::Place;
use crate::walk::selection::Selection;
use crate::walk::watch::Watch;
use crate::walk::{self, Skip, Visit, Visited, Visitor};
use lists::named::Named;
use sched::crew::Crew;
use store::opening::Symlinks;
use store::{Dir, Store};
use types::entry::{Hint, Kind, Metadata};
use types::error::{At, Cause, Failure, Op, Side, Trouble};
use types::path::Name;
use types::place::staged_name::of_job;

impl CopyJob<'_> {
    /// What only the target has is deleted.
    pub(super) fn deletes(&self) -> bool {
        self.options.sync.as_ref().is_some_and(|sync| sync.delete)
    }

    pub(super) fn visit_kind(
        &self,
        entry: &Visit<'_>,
        kind: Kind,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) -> Result<Visited, Trouble> {
        match kind {
            Kind::File => self.copy_file(entry, hand, crew),
            Kind::Symlink => self.copy_link(entry, hand, crew),
            Kind::Directory => Ok(Visited::Directory),
            special if self.is_made(entry, special) => self.copy_special(entry, hand, crew),
            special => Ok(Self::leave_out(special, hand)),
        }
    }

    pub(super) fn leave_out(kind: Kind, hand: &mut CopyHand) -> Visited {
        hand.gathered.tally.found.count(kind);
        hand.gathered.tally.examined += 1;
        hand.gathered.tally.special_files_skipped += 1;
        Visited::NOTHING_MOVED
    }

    /// An entry of the source, by what the listing says it is.
    pub(super) fn visit_source(
        &self,
        entry: &Visit<'_>,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) -> Result<Visited, Trouble> {
        if self.named.is_some() && self.selection.is_named_part(&**entry.dir, entry.name) {
            return Ok(Visited::NOTHING_MOVED);
        }
        if let Some(rules) = &self.options.sync {
            return self.sync_entry(rules, entry, hand, crew);
        }
        match (entry.hint, self.options.symlinks) {
            (Hint::File | Hint::Object(_) | Hint::Recorded(_), _) => {
                self.visit_kind(entry, Kind::File, hand, crew)
            }
            (Hint::Directory, _) => Ok(Visited::Directory),
            (Hint::Symlink, Symlinks::Keep) => self.visit_kind(entry, Kind::Symlink, hand, crew),
            (Hint::Symlink | Hint::Other | Hint::Unknown, _) => {
                self.visit_after_look(entry, hand, crew)
            }
        }
    }

    /// Looks at what the listing did not tell, or what a followed link points to.
    pub(super) fn visit_after_look(
        &self,
        entry: &Visit<'_>,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) -> Result<Visited, Trouble> {
        let metadata = walk::look(entry, &*self.root(entry.place).source, self.options.symlinks)
            .at(Side::Source)?;
        hand.gathered.seen = Some(metadata);
        if metadata.kind == Kind::Directory && entry.hint == Hint::Symlink {
            self.refuse_target(entry)?;
        }
        self.visit_kind(entry, metadata.kind, hand, crew)
    }

    fn is_journal(&self, place: &Place, metadata: &Metadata) -> bool {
        let store = &*self.root(place).source;
        place.trees().side() == Side::Source
            && !place.path().is_root()
            && !store.holds_objects()
            && place.source_dir(store).is_ok_and(|dir| self.selection.is_journal(&*dir, metadata))
    }

    /// A followed link may lead to where this job writes: what it makes there would be copied again,
    /// and so on.
    pub(super) fn refuse_target(&self, entry: &Visit<'_>) -> Result<(), Trouble> {
        let reached = entry.dir.open_dir(entry.name).at(Side::Source)?;
        let targets = self.roots.iter().filter_map(|root| root.target_metadata);
        if targets.into_iter().any(|target| reached.is_below(&target)) {
            return Err(Op::Follow.failed(Cause::LeadsToTarget)).at(Side::Source);
        }
        Ok(())
    }
}

impl Visitor for CopyJob<'_> {
    fn selection(&self) -> &Selection {
        self.selection
    }

    fn named(&self) -> Option<&Named> {
        self.named
    }

    fn list_failed(&self, failure: Failure, hand: &mut CopyHand, crew: &Crew<'_, Self>) {
        hand.gathered.tally.unread_directories += 1;
        self.account.fail(failure, &mut hand.gathered, crew);
    }

    fn reach(
        &self,
        place: &Arc<Place>,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) -> Result<(), Skip> {
        self.make_reachable(place, hand, crew)
    }

    fn source(&self, root: u32) -> &dyn Store {
        &*self.roots[root as usize].source
    }

    fn target(&self, root: u32) -> Option<&dyn Store> {
        Some(&*self.roots[root as usize].target)
    }

    fn wants_extras(&self) -> bool {
        self.deletes() || self.manifest.is_some()
    }

    fn folds_case(&self, root: u32) -> bool {
        self.roots[root as usize].target.folds_case()
    }

    fn is_staged(&self, name: &Name) -> bool {
        name.to_bytes().starts_with(of_job(self.options.job.id).as_bytes())
            || self.journal.is_some_and(|journal| journal.has_staged(name.to_bytes()))
    }

    fn enter(
        &self,
        place: &Arc<Place>,
        metadata: &Metadata,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) -> Result<(), Skip> {
        if self.is_journal(place, metadata) {
            return Err(Skip);
        }
        if place.trees().side() == Side::Target {
            let is_manifest = self.manifest.is_some_and(|it| it.is_itself(metadata));
            if is_manifest {
                return Err(Skip);
            }
            self.sweep_extra(place, hand, crew);
            return Ok(());
        }
        hand.gathered.tally.meet(metadata);
        if self.target_roots.contains(&(metadata.device, metadata.inode)) {
            let error = Op::Copy.failed(Cause::TargetInside);
            self.fail(place, b"", Trouble { side: Side::Source, error }, hand, crew);
            return Err(Skip);
        }
        if self.named.is_some() {
            return self.make_reachable(place, hand, crew);
        }
        self.make_directory(place, metadata, hand, crew).map_err(|trouble| {
            hand.gathered.tally.unread_directories += 1;
            self.fail(place, b"", trouble, hand, crew);
            Skip
        })
    }

    fn enter_again(&self, place: &Arc<Place>, metadata: &Metadata, _hand: &mut CopyHand) {
        self.take_times_again(place, metadata);
    }

    fn watch(&self, place: &Place) -> Option<&Watch> {
        self.watch_over(place).filter(|_| place.trees().side() == Side::Source)
    }

    fn take_seen(&self, hand: &mut CopyHand) -> Option<Metadata> {
        hand.gathered.seen.take()
    }

    /// What is to be deleted is found out anew; what else only the target has was dealt with.
    fn is_news(&self, place: &Place, dir: &dyn Dir, name: &Name, hint: Hint) -> bool {
        match self.watch(place) {
            Some(watch) => watch.is_news(place, dir, (name, hint), self.source(place.root())),
            None => self.deletes(),
        }
    }

    fn visit(&self, entry: &Visit<'_>, hand: &mut CopyHand, crew: &Crew<'_, Self>) -> Visited {
        let visited = match entry.place.trees().side() {
            Side::Source => self.visit_source(entry, hand, crew),
            Side::Target => self.meet_extra(entry, hand, crew),
        };
        visited.unwrap_or_else(|trouble| {
            self.fail(entry.place, entry.name.to_bytes(), trouble, hand, crew);
            Visited::NOTHING_MOVED
        })
    }

    fn unfit(
        &self,
        place: &Place,
        key: &[u8],
        trouble: Trouble,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) {
        self.fail(place, key, trouble, hand, crew);
    }

    fn unreadable(
        &self,
        place: &Place,
        trouble: Trouble,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) {
        // One that has vanished has nothing in it that could have been read.
        let vanished = hand.gathered.tally.vanished;
        self.fail(place, b"", trouble, hand, crew);
        if hand.gathered.tally.vanished == vanished {
            hand.gathered.tally.unread_directories += 1;
        }
    }
}
