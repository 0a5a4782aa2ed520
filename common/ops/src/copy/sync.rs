//! Making the target equal: what each entry needs, and doing no more than that.
//!
//! An entry that is missing or has other content is copied; one that only has other attributes is given
//! them in place; what is the same is not touched. A rule of the operator may leave entries as they are.

use std::sync::Arc;

use super::options::{Judge, SyncOptions};
use super::policy::Plain;
use super::{CopyHand, CopyJob, policy};
use crate::chunked::ChunkTask;
use crate::compare::content::{Way, is_same_whole};
use crate::compare::holes::Reading;
use crate::walk::account;
use crate::walk::place::Place;
use crate::walk::{Visit, Visited};
use sched::crew::Crew;
use store::{Dir, SourceFile};
use types::content::chunk::ChunkRun;
use types::entry::{Hint, Kind, Metadata};
use types::error::{At, Cause, Op, Side, Trouble};
use types::outcome::compare::Clue;
use types::outcome::difference::Fields;
use types::outcome::tally::Check;
use types::path::{self, Name};

/// What an entry needs that is at the target already, with the right kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// It has other content, or leads elsewhere.
    Content,
    /// It has the content, but some attribute is another one.
    Attributes,
    /// It is the same.
    Nothing,
    /// Its content is being compared by many ranks; then it is seen to.
    ToBeSeen,
}

/// Both sides of an entry.
pub(super) struct Sides {
    pub source: Metadata,
    pub target: Metadata,
}

impl CopyJob<'_> {
    /// Does for an entry what it needs.
    pub(super) fn sync_entry(
        &self,
        rules: &SyncOptions,
        entry: &Visit<'_>,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) -> Result<Visited, Trouble> {
        let source = match entry.hint {
            // Whoever lists it looks at it.
            Hint::Directory => None,
            _ => Some(self.source_of(rules, entry)?),
        };
        hand.gathered.seen = source;
        let kind = source.map_or(Kind::Directory, |source| source.kind);
        if source.is_some_and(|source| !self.selection.admits(&source)) {
            return Ok(Visited::NOTHING_MOVED);
        }
        let target = self.at_target(rules, entry)?;
        let is_left = |source| self.leaves_for_links(entry, &source, target.as_ref(), hand);
        if source.is_some_and(is_left) {
            return Ok(Visited::NOTHING_MOVED);
        }
        if kind.is_special() && !self.is_made(entry, kind) {
            self.tell_unlike(entry, kind, target.as_ref(), hand, crew);
            self.record_as_it_is((&**entry.place, entry.name), hand, crew);
            return Ok(Self::leave_out(kind, hand));
        }
        match (source, target) {
            (_, None) if self.leaves_missing(rules) => Ok(Self::keep_back(source.as_ref(), hand)),
            (None, target) => self.sync_directory(rules, entry, target, hand, crew),
            (Some(source), _) if source.kind == Kind::Directory => {
                self.sync_directory(rules, entry, target, hand, crew)
            }
            (Some(source), None) => {
                self.before_change(entry.place)?;
                if self.link_unchanged(rules, entry, &source, hand, crew)? {
                    return Ok(Visited::NOTHING_MOVED);
                }
                self.visit_kind(entry, source.kind, hand, crew)
            }
            (Some(source), Some(target)) => {
                let sides = Sides { source, target };
                self.sync_existing(rules, entry, sides, hand, crew)
            }
        }
    }

    /// What is not copied may still be unlike what the target has: that is said, and, as with rsync(1), no
    /// failure.
    fn tell_unlike(
        &self,
        entry: &Visit<'_>,
        kind: Kind,
        target: Option<&Metadata>,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) {
        if target.is_some_and(|target| target.kind != kind) {
            hand.gathered.tally.synced.type_mismatches += 1;
            let below = path::join(entry.place.path().as_bytes(), entry.name.to_bytes());
            let shown = &self.root(entry.place).shown_source;
            let error = Op::Copy.failed(Cause::LeftOut);
            self.account.leave_out(account::failure(Side::Source, shown, &below, error), crew);
        }
    }

    /// A directory is made, or what has its name makes way, before it is entered.
    fn sync_directory(
        &self,
        rules: &SyncOptions,
        entry: &Visit<'_>,
        target: Option<Metadata>,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) -> Result<Visited, Trouble> {
        if target.is_some_and(|target| target.kind == Kind::Directory) {
            return Ok(Visited::Directory);
        }
        if rules.ignore_existing && target.is_some() {
            self.record_as_it_is((&**entry.place, entry.name), hand, crew);
            return Ok(Self::keep_back(None, hand));
        }
        self.before_change(entry.place)?;
        if target.is_some() {
            self.plan_line("remove", entry.place, entry.name.to_bytes(), hand, crew);
        }
        Ok(Visited::NewDirectory)
    }

    fn sync_existing(
        &self,
        rules: &SyncOptions,
        entry: &Visit<'_>,
        sides: Sides,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) -> Result<Visited, Trouble> {
        if rules.ignore_existing && !sides.source.is_same_file(&sides.target) {
            hand.is_complete = self.is_joined(rules, entry, &sides, hand, crew)?;
            self.record_as_it_is((&**entry.place, entry.name), hand, crew);
            return Ok(Self::keep_back(Some(&sides.source), hand));
        }
        let sides = &self.look_closer(rules, entry, sides)?;
        let Sides { source, target } = sides;
        if source.is_same_file(target) {
            // One more name of the source itself: nothing can be more equal.
            return self.satisfy(Need::Nothing, entry, source, hand, crew);
        }
        if rules.keeps_newer(source, target) {
            self.record_as_it_is((&**entry.place, entry.name), hand, crew);
            return Ok(Self::keep_back(Some(source), hand));
        }
        if source.kind != target.kind {
            let is_in_the_way = target.kind == Kind::Directory;
            if is_in_the_way && self.make_way(rules, entry, source.kind, hand, crew)? {
                return Ok(Visited::NOTHING_MOVED);
            }
            self.before_change(entry.place)?;
            return self.visit_kind(entry, source.kind, hand, crew);
        }
        if Self::is_parted(hand) {
            return self.part(entry, source.kind, hand, crew);
        }
        match self.need(rules, entry, sides, hand, crew)? {
            Need::ToBeSeen => Ok(Visited::Done { moved_bytes: u64::MAX / 2 }),
            need => self.satisfy(need, entry, source, hand, crew),
        }
    }

    /// Gives an entry what it was found to need.
    pub(super) fn satisfy(
        &self,
        need: Need,
        entry: &Visit<'_>,
        source: &Metadata,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) -> Result<Visited, Trouble> {
        match need {
            Need::Content => {
                self.before_change(entry.place)?;
                self.visit_kind(entry, source.kind, hand, crew)
            }
            Need::Attributes => {
                hand.gathered.meet(source);
                self.repair(entry, source, hand, crew)?;
                hand.is_complete = true;
                self.record_unchanged(entry, source, hand, crew);
                Ok(Visited::NOTHING_MOVED)
            }
            Need::Nothing | Need::ToBeSeen => {
                hand.gathered.meet(source);
                hand.gathered.tally.synced.unchanged += 1;
                hand.is_complete = true;
                self.record_unchanged(entry, source, hand, crew);
                Ok(Visited::NOTHING_MOVED)
            }
        }
    }

    /// What an entry of the right kind needs.
    pub(super) fn need(
        &self,
        rules: &SyncOptions,
        entry: &Visit<'_>,
        sides: &Sides,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) -> Result<Need, Trouble> {
        let target_dir = entry.place.target_dir(self.target(entry.place)).at(Side::Target)?;
        let name = self.target_name(entry.place, entry.name);
        let Sides { source, target } = sides;
        let content_differs = match (source.kind, rules.judge) {
            (Kind::Symlink, _) => {
                let points_to = target_dir.read_link(name).ok();
                Some(entry.dir.read_link(entry.name).at(Side::Source)?) != points_to
            }
            (kind, _) if kind.is_special() => {
                let device = target_dir.device_number(name).ok();
                Some(entry.dir.device_number(entry.name).at(Side::Source)?) != device
            }
            _ if source.size_bytes != target.size_bytes => true,
            (_, judge)
                if self.is_in_doubt(entry.place, sides)
                    && (judge == Judge::SizeOnly
                        || self.clue(entry.place, sides) == Clue::Same) =>
            {
                return self.need_by_content(rules, entry, &*target_dir, sides, hand, crew);
            }
            (_, Judge::SizeOnly) => false,
            (_, Judge::SizeAndTime) => match self.clue(entry.place, sides) {
                Clue::Same => {
                    let is_by_storing = !target.known.contains(Fields::MTIME);
                    hand.gathered.tally.synced.unchanged_by_upload_time += u64::from(is_by_storing);
                    false
                }
                Clue::Differs => true,
                Clue::Unclear => {
                    return self.need_by_content(rules, entry, &*target_dir, sides, hand, crew);
                }
            },
            (_, Judge::Content) => {
                return self.need_by_content(rules, entry, &*target_dir, sides, hand, crew);
            }
        };
        if content_differs {
            return Ok(Need::Content);
        }
        self.attributes_needed(entry, &*target_dir, sides, hand)
    }

    /// What a file of the right size needs, as its content shows.
    fn need_by_content(
        &self,
        rules: &SyncOptions,
        entry: &Visit<'_>,
        target_dir: &dyn Dir,
        sides: &Sides,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) -> Result<Need, Trouble> {
        // Opened once here, so that what cannot be read is said once.
        let source = entry.dir.open_file(entry.name).at(Side::Source)?;
        // What cannot be inspected counts as different: to compare it was only to save work.
        let target_name = self.target_name(entry.place, entry.name);
        let Ok(target) = target_dir.open_file(target_name) else { return Ok(Need::Content) };
        let files = [source, target];
        let size_bytes = sides.source.size_bytes;
        let is_large = size_bytes > self.chunk_bytes(entry.place, size_bytes);
        let way = Way::of(&*files[0], &*files[1], rules.evidence)?;
        let check = way.check(&*files[0], &*files[1]);
        // Copying is no more than downloading, where that was not asked for.
        if check == Check::Downloaded && rules.judge != Judge::Content {
            return Ok(Need::Content);
        }
        if is_large && way.known().is_none() {
            hand.gathered.tally.compared.by(check).files += 1;
            self.begin_comparison((entry.place, entry.name), way, sides, hand, crew);
            return Ok(Need::ToBeSeen);
        }
        if self.is_same_content(way, &files, size_bytes, hand)? {
            self.attributes_needed(entry, target_dir, sides, hand)
        } else {
            Ok(Need::Content)
        }
    }

    pub(super) fn is_same_content(
        &self,
        way: Way,
        files: &[Box<dyn SourceFile>; 2],
        size_bytes: u64,
        hand: &mut CopyHand,
    ) -> Result<bool, Trouble> {
        let [source, target] = files.each_ref().map(|file| &**file);
        let buffers = hand.buffers(self.options.buffer_bytes);
        // What was read is evidence where what is copied is read again.
        let reading =
            if self.verifier.is_some() { Reading::Everything } else { Reading::AroundHoles };
        let compared = is_same_whole(way, source, target, size_bytes, reading, buffers);
        let Some((is_same, check)) = unless_in_doubt(compared)? else { return Ok(false) };
        let volume = hand.gathered.tally.compared.by(check);
        volume.files += 1;
        volume.bytes += size_bytes;
        Ok(is_same)
    }

    pub(super) fn begin_comparison(
        &self,
        (place, name): (&Arc<Place>, &Name),
        way: Way,
        sides: &Sides,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) {
        let (source, target) = (sides.source.version(), sides.target.version());
        let wish_bytes = self.chunk_bytes(place, sides.source.size_bytes);
        let (work, chunk_bytes) = way.chunks([source, target], wish_bytes);
        let run = ChunkRun::whole(sides.source.size_bytes, chunk_bytes);
        let (place, name) = (Arc::clone(place), name.to_owned());
        let (of_task, name_of_task) = (Arc::clone(&place), name.clone());
        let (sides, linked) = (Sides { ..*sides }, hand.linked.take());
        let large = super::Large::Comparison { place, name, sides, way, linked };
        let file = self.large.begin(large, run.count());
        crew.hold();
        let (place, name) = (of_task, name_of_task);
        let (owner, identity, lanes) = (self.rank, source.identity, None);
        let task = ChunkTask { owner, file, place, name, identity, chunk_bytes, lanes, work, run };
        crew.push(task.into());
    }

    /// Gives an entry the source's attributes in place.
    pub(super) fn repair(
        &self,
        entry: &Visit<'_>,
        source: &Metadata,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) -> Result<(), Trouble> {
        let name = self.target_name(entry.place, entry.name);
        self.plan_line("set attributes", entry.place, entry.name.to_bytes(), hand, crew);
        let xattrs = self.own_xattrs(entry, source.kind)?;
        let dir = entry.place.target_dir(self.target(entry.place)).at(Side::Target)?;
        let plain = Plain::of_entry(self.options, source, &*dir).at(Side::Target)?;
        let attributes = policy::of_any(self.options, source, xattrs, plain);
        let kept = dir.set_entry_attributes(name, source.kind, &attributes).at(Side::Target)?;
        hand.gathered.tally.synced.attributes_set += 1;
        hand.gathered.tally.xattrs_not_preserved += u64::from(kept.xattrs_lost);
        hand.gathered.tally.attributes_not_preserved += u64::from(kept.attributes_lost);
        hand.gathered.tally.object_properties_not_preserved += u64::from(kept.properties_lost);
        self.check_given(entry.place, name, kept, hand, crew);
        Ok(())
    }

    /// What the target does not have is left out. What is missing only because it was deleted for that
    /// entry is not.
    pub(super) fn leaves_missing(&self, rules: &SyncOptions) -> bool {
        rules.existing && !self.is_after_deletion
    }

    /// A rule of the operator leaves the target as it is.
    fn keep_back(source: Option<&Metadata>, hand: &mut CopyHand) -> Visited {
        if let Some(source) = source {
            hand.gathered.meet(source);
        }
        hand.gathered.tally.synced.skipped += 1;
        Visited::NOTHING_MOVED
    }

    /// Whether a file of another copy, in that directory, has the source's content by the operator's rule, and
    /// all attributes that it is to have.
    pub(super) fn is_unchanged(
        &self,
        rules: &SyncOptions,
        entry: &Visit<'_>,
        dir: &dyn Dir,
        sides: &Sides,
        hand: &mut CopyHand,
    ) -> Result<bool, Trouble> {
        let Sides { source, target } = sides;
        let are_files = [source.kind, target.kind] == [Kind::File; 2];
        if !are_files || source.size_bytes != target.size_bytes {
            return Ok(false);
        }
        let is_same = match (rules.judge, self.clue(entry.place, sides)) {
            (Judge::SizeOnly, _) | (Judge::SizeAndTime, Clue::Same) => true,
            (Judge::SizeAndTime, Clue::Differs) => false,
            (Judge::Content, _) | (Judge::SizeAndTime, Clue::Unclear) => {
                self.has_same_content(rules, entry, dir, sides, hand)?
            }
        };
        Ok(is_same && self.attributes_needed(entry, dir, sides, hand)? == Need::Nothing)
    }

    fn has_same_content(
        &self,
        rules: &SyncOptions,
        entry: &Visit<'_>,
        dir: &dyn Dir,
        sides: &Sides,
        hand: &mut CopyHand,
    ) -> Result<bool, Trouble> {
        let source = entry.dir.open_file(entry.name).at(Side::Source)?;
        let name = self.target_name(entry.place, entry.name);
        let Ok(other) = dir.open_file(name) else { return Ok(false) };
        let files = [source, other];
        let way = Way::of(&*files[0], &*files[1], rules.evidence)?;
        self.is_same_content(way, &files, sides.source.size_bytes, hand)
    }

    /// A file that is the same in the directory of `--link-dest` becomes a link to that one. True where
    /// that was done.
    fn link_unchanged(
        &self,
        rules: &SyncOptions,
        entry: &Visit<'_>,
        source: &Metadata,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) -> Result<bool, Trouble> {
        let Some(link_dest) = &self.root(entry.place).link_dest else { return Ok(false) };
        if self.target_name(entry.place, entry.name) != entry.name {
            // The old copy of a file that gets another name is not looked for.
            return Ok(false);
        }
        let Ok(old_dir) = link_dest.open_dir(entry.place.path()) else { return Ok(false) };
        let Ok(old) = old_dir.stat(entry.name) else { return Ok(false) };
        let sides = Sides { source: *source, target: old };
        if !self.is_unchanged(rules, entry, &*old_dir, &sides, hand)? {
            return Ok(false);
        }
        let dir = entry.place.target_dir(self.target(entry.place)).at(Side::Target)?;
        let linked = dir.link_from(&*old_dir, entry.name).at(Side::Target)?;
        if linked {
            self.plan_line(
                "create hard link to --link-dest",
                entry.place,
                entry.name.to_bytes(),
                hand,
                crew,
            );
            hand.gathered.meet(source);
            hand.gathered.tally.synced.hard_linked_to_link_dest += 1;
            hand.is_complete = true;
            self.record_unchanged(entry, source, hand, crew);
        }
        Ok(linked)
    }
}

/// What a comparison has found that only saves work. `None` where it is in doubt: what changes meanwhile is copied, with
/// a check of its own; and so is what cannot be read at the target, where the copy says whether anything is wrong.
pub(super) fn unless_in_doubt<T>(compared: Result<T, Trouble>) -> Result<Option<T>, Trouble> {
    match compared {
        Err(trouble) if trouble.side == Side::Target || trouble.error.cause == Cause::Changed => {
            Ok(None)
        }
        compared => compared.map(Some),
    }
}
