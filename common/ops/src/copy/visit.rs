//! Meeting an entry of the source: which way it takes, by what the listing or a look says it is.

use super::link;
use super::small;
use super::special;
use super::sweep;
use std::sync::Arc;

use super::context::{Context, Met};
use super::env::Env;
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
    /// Deals with an entry of that kind, or of the one that it turns out to have.
    pub(super) fn visit_kind(
        &self,
        entry: &Visit<'_>,
        mut kind: Kind,
        cx: &mut Context<'_, '_>,
    ) -> Result<Visited, Trouble> {
        let Self { links, large, upkeep, .. } = self;
        loop {
            let met = match kind {
                Kind::File => small::copy_file(entry, links, large, upkeep, cx)?,
                Kind::Symlink => link::copy_link(entry, links, cx)?,
                Kind::Directory => return Ok(Visited::Directory),
                special if cx.env.is_made(entry, special) => {
                    special::copy_special(entry, links, cx)?
                }
                special => return Ok(leave_out(special, cx)),
            };
            match met {
                Met::Done(visited) => return Ok(visited),
                Met::Other(other) => kind = other,
            }
        }
    }

    /// An entry of the source, by what the listing says it is.
    pub(super) fn visit_source(
        &self,
        entry: &Visit<'_>,
        cx: &mut Context<'_, '_>,
    ) -> Result<Visited, Trouble> {
        if cx.env.named.is_some() && cx.env.selection.is_named_part(&**entry.dir, entry.name) {
            return Ok(Visited::NOTHING_MOVED);
        }
        if let Some(rules) = &cx.env.options.sync {
            return self.sync_entry(rules, entry, cx);
        }
        match (entry.hint, cx.env.options.symlinks) {
            (Hint::File | Hint::Object(_) | Hint::Recorded(_), _) => {
                self.visit_kind(entry, Kind::File, cx)
            }
            (Hint::Directory, _) => Ok(Visited::Directory),
            (Hint::Symlink, Symlinks::Keep) => self.visit_kind(entry, Kind::Symlink, cx),
            (Hint::Symlink | Hint::Other | Hint::Unknown, _) => self.visit_after_look(entry, cx),
        }
    }

    /// Deals with an entry that only the target has, which is to be deleted, or to be recorded.
    fn meet_extra(&self, entry: &Visit<'_>, cx: &mut Context<'_, '_>) -> Result<Visited, Trouble> {
        if cx.env.deletes() {
            self.upkeep.postponed.extras.add(entry.place, entry.name, entry.hint);
            return Ok(Visited::NOTHING_MOVED);
        }
        let found = match entry.hint {
            Hint::Directory => return Ok(Visited::Directory),
            // Looked through for what was left alone.
            _ if !cx.env.has_manifest => return Ok(Visited::NOTHING_MOVED),
            _ => entry.dir.stat(entry.name).at(Side::Target)?,
        };
        if found.kind == Kind::Directory {
            return Ok(Visited::Directory);
        }
        let at = (&**entry.place, entry.name);
        // What another source has of that name is recorded where that is met.
        let is_others = cx.env.is_replaced_later(at.0, at.1) || cx.env.replaces_earlier(at.0, at.1);
        let is_chosen = found.kind == Kind::File && cx.env.selection.admits(&found);
        if is_chosen && !is_others && !self.upkeep.manifest.is_itself(&found) {
            self.upkeep.manifest.record(at, &found, None, cx);
        }
        Ok(Visited::NOTHING_MOVED)
    }

    /// Looks at what the listing did not tell, or what a followed link points to.
    pub(super) fn visit_after_look(
        &self,
        entry: &Visit<'_>,
        cx: &mut Context<'_, '_>,
    ) -> Result<Visited, Trouble> {
        let metadata =
            walk::look(entry, &*cx.env.root(entry.place).source, cx.env.options.symlinks)
                .at(Side::Source)?;
        cx.hand.gathered.seen = Some(metadata);
        if metadata.kind == Kind::Directory && entry.hint == Hint::Symlink {
            refuse_target(cx.env, entry)?;
        }
        self.visit_kind(entry, metadata.kind, cx)
    }
}

pub(super) fn leave_out(kind: Kind, cx: &mut Context<'_, '_>) -> Visited {
    cx.hand.gathered.tally.found.count(kind);
    cx.hand.gathered.tally.examined += 1;
    cx.hand.gathered.tally.special_files_skipped += 1;
    Visited::NOTHING_MOVED
}

fn is_journal(env: &Env<'_>, place: &Place, metadata: &Metadata) -> bool {
    let store = &*env.root(place).source;
    place.trees().side() == Side::Source
        && !place.path().is_root()
        && !store.holds_objects()
        && place.source_dir(store).is_ok_and(|dir| env.selection.is_journal(&*dir, metadata))
}

/// A followed link may lead to where this job writes: what it makes there would be copied again,
/// and so on.
pub(super) fn refuse_target(env: &Env<'_>, entry: &Visit<'_>) -> Result<(), Trouble> {
    let reached = entry.dir.open_dir(entry.name).at(Side::Source)?;
    let targets = env.roots.iter().filter_map(|root| root.target_metadata);
    if targets.into_iter().any(|target| reached.is_below(&target)) {
        return Err(Op::Follow.failed(Cause::LeadsToTarget)).at(Side::Source);
    }
    Ok(())
}

impl Visitor for CopyJob<'_> {
    fn selection(&self) -> &Selection {
        self.env.selection
    }

    fn named(&self) -> Option<&Named> {
        self.env.named
    }

    fn list_failed(&self, failure: Failure, hand: &mut CopyHand, crew: &Crew<'_, Self>) {
        hand.gathered.tally.unread_directories += 1;
        self.env.account.fail(failure, &mut hand.gathered, crew);
    }

    fn reach(
        &self,
        place: &Arc<Place>,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) -> Result<(), Skip> {
        self.upkeep.directories.make_reachable(place, &mut self.context(hand, crew))
    }

    fn source(&self, root: u32) -> &dyn Store {
        &*self.env.roots[root as usize].source
    }

    fn target(&self, root: u32) -> Option<&dyn Store> {
        Some(&*self.env.roots[root as usize].target)
    }

    fn wants_extras(&self) -> bool {
        self.env.meets_extras()
    }

    fn folds_case(&self, root: u32) -> bool {
        self.env.roots[root as usize].target.folds_case()
    }

    fn is_staged(&self, name: &Name) -> bool {
        name.to_bytes().starts_with(of_job(self.env.options.job.id).as_bytes())
            || self.env.journal.is_some_and(|journal| journal.has_staged(name.to_bytes()))
    }

    fn enter(
        &self,
        place: &Arc<Place>,
        metadata: &Metadata,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) -> Result<(), Skip> {
        if is_journal(&self.env, place, metadata) {
            return Err(Skip);
        }
        if place.trees().side() == Side::Target {
            if self.upkeep.manifest.is_itself(metadata) {
                return Err(Skip);
            }
            sweep::sweep_extra(place, &mut self.context(hand, crew));
            return Ok(());
        }
        let cx = &mut self.context(hand, crew);
        cx.hand.gathered.tally.meet(metadata);
        if self.env.target_roots.contains(&(metadata.device, metadata.inode)) {
            let error = Op::Copy.failed(Cause::TargetInside);
            cx.fail(place, b"", Trouble { side: Side::Source, error });
            return Err(Skip);
        }
        if self.env.named.is_some() {
            return self.upkeep.directories.make_reachable(place, cx);
        }
        self.upkeep.directories.make_directory(place, metadata, cx).map_err(|trouble| {
            cx.hand.gathered.tally.unread_directories += 1;
            cx.fail(place, b"", trouble);
            Skip
        })
    }

    fn enter_again(&self, place: &Arc<Place>, metadata: &Metadata, _hand: &mut CopyHand) {
        self.upkeep.directories.take_times_again(&self.env, place, metadata);
    }

    fn watch(&self, place: &Place) -> Option<&Watch> {
        self.env.watch_over(place).filter(|_| place.trees().side() == Side::Source)
    }

    fn take_seen(&self, hand: &mut CopyHand) -> Option<Metadata> {
        hand.gathered.seen.take()
    }

    /// What is to be deleted is found out anew; what else only the target has was dealt with.
    fn is_news(&self, place: &Place, dir: &dyn Dir, name: &Name, hint: Hint) -> bool {
        match self.watch(place) {
            Some(watch) => watch.is_news(place, dir, (name, hint), self.source(place.root())),
            None => self.env.deletes(),
        }
    }

    fn visit(&self, entry: &Visit<'_>, hand: &mut CopyHand, crew: &Crew<'_, Self>) -> Visited {
        let cx = &mut self.context(hand, crew);
        let visited = match entry.place.trees().side() {
            Side::Source => self.visit_source(entry, cx),
            Side::Target => self.meet_extra(entry, cx),
        };
        visited.unwrap_or_else(|trouble| {
            cx.fail(entry.place, entry.name.to_bytes(), trouble);
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
        self.context(hand, crew).fail(place, key, trouble);
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
        self.context(hand, crew).fail(place, b"", trouble);
        if hand.gathered.tally.vanished == vanished {
            hand.gathered.tally.unread_directories += 1;
        }
    }
}
