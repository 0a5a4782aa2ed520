//! Hard links: every name of a file becomes a name of one copy.
//!
//! The walk only remembers the names of files with several ([`super::linked`]). When it is over each
//! file is a task: its first name is copied like any other file, and when that copy is complete the
//! others become links to it. A name that cannot be one, because the target takes no links or no more of
//! them, becomes a copy of its own, to which those behind it are linked. Names that are one file at the
//! target, and several in the source, are parted: each such file but one is copied anew.

use super::linked::{LinkName, LinkedFile, Links, key_of};
use super::options::{HardLinks, SyncOptions};
use super::sync::{Need, Sides};
use super::{CopyHand, CopyJob, CopyTask};
use crate::walk::{Visit, Visited};
use sched::crew::Crew;
use store::NewHardLink;
use types::content::transfer::Rewriting;
use types::entry::{Hint, Kind, Metadata};
use types::error::{At, Cause, Error, Op, Side, Trouble};
use types::path;

/// What became of a name that was to be a link.
enum Linked {
    /// It is one, or stays as it is because a rule says so.
    Done,
    /// It must be a copy of its own.
    Apart,
}

impl CopyJob<'_> {
    /// Leaves a file with several names, in the source or at the target, for when all of those are known; true
    /// where that was done. A job that replaces whatever there is need not know what the target has.
    pub(super) fn leaves_for_links(
        &self,
        entry: &Visit<'_>,
        source: &Metadata,
        target: Option<&Metadata>,
        hand: &mut CopyHand,
    ) -> bool {
        let is_linkable = match source.kind {
            Kind::Directory => false,
            Kind::File | Kind::Symlink => true,
            special => self.is_made(entry, special),
        };
        let shared = target.filter(|target| target.kind == source.kind && target.links > 1);
        if self.options.hard_links == HardLinks::Separate
            || self.is_after_walk
            || !is_linkable
            || (source.links < 2 && shared.is_none())
        {
            return false;
        }
        if self.target(entry.place).holds_objects() {
            hand.gathered.tally.hard_links_not_preserved += 1;
            return false;
        }
        let mut key = key_of(&self.devices.sources, source);
        if source.links < 2 {
            // A file by itself, whatever a store numbers it.
            key.extend(path::join(entry.place.path().as_bytes(), entry.name.to_bytes()));
        }
        let name = LinkName::new(entry.place, entry.name);
        match shared {
            Some(target) => {
                self.links.add_shared(&key_of(&self.devices.targets, target), &key, &name);
            }
            None => self.links.add(&key, &name),
        }
        hand.gathered.seen = Some(*source);
        true
    }

    /// What the target has of the name that is being dealt with is to stay with other names only.
    pub(super) fn is_parted(hand: &CopyHand) -> bool {
        let first = hand.linked.as_ref().and_then(|file| file.names.first());
        first.is_some_and(|name| name.is_apart)
    }

    /// Gives a name a file of its own. Where files are written into, that must not be the one it has: other
    /// names keep that.
    pub(super) fn part(
        &self,
        entry: &Visit<'_>,
        kind: Kind,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) -> Result<Visited, Trouble> {
        self.before_change(entry.place)?;
        if self.options.transfer.rewriting == Rewriting::InPlace {
            let target = entry.place.target_dir(self.target(entry.place)).at(Side::Target)?;
            let name = self.target_name(entry.place, entry.name);
            target.remove(name, kind).at(Side::Target)?;
        }
        self.visit_kind(entry, kind, hand, crew)
    }

    /// What the target has of the name stays, and is a copy that the names that are missing can be linked to:
    /// it is the same as the source.
    pub(super) fn is_joined(
        &self,
        rules: &SyncOptions,
        entry: &Visit<'_>,
        sides: &Sides,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) -> Result<bool, Trouble> {
        let Sides { source, target } = sides;
        if hand.linked.is_none() || source.kind != target.kind || Self::is_parted(hand) {
            return Ok(false);
        }
        let dir = entry.place.target_dir(self.target(entry.place)).at(Side::Target)?;
        match source.kind {
            Kind::File => self.is_unchanged(rules, entry, &*dir, sides, hand),
            _ => Ok(self.need(rules, entry, sides, hand, crew)? == Need::Nothing),
        }
    }

    /// Where what is there stays, or was dealt with, a name that is there comes first: the others are to become links to it.
    fn existing_first(&self, file: &mut LinkedFile) {
        let is_there =
            |link: &LinkName| self.kind_at_target(link).is_some_and(|kind| kind != Kind::Directory);
        if let Some(at) = file.names.iter().position(is_there) {
            let existing = file.names.remove(at);
            file.names.insert(0, existing);
        }
    }

    /// Copies a file's first name, as the copy that the others become links to.
    pub(super) fn copy_linked(
        &self,
        mut file: LinkedFile,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) {
        let stays = self.options.sync.as_ref().is_some_and(|rules| rules.ignore_existing);
        if stays || self.is_after_deletion {
            self.existing_first(&mut file);
        }
        let Some(first) = file.names.first().cloned() else { return };
        hand.is_complete = false;
        hand.is_deferred = false;
        hand.linked = Some(file);
        if !self.is_replaced_later(&first.place, &first.name) {
            self.visit_name(&first, hand, crew);
        }
        if hand.is_deferred {
            self.defer_others(hand);
        }
        Self::end_first(hand, crew);
    }

    fn kind_at_target(&self, link: &LinkName) -> Option<Kind> {
        let dir = link.place.target_dir(self.target(&link.place)).ok()?;
        let found = dir.stat(self.target_name(&link.place, &link.name));
        found.ok().map(|found| found.kind)
    }

    /// The first name waits until a directory in its way is deleted: it is to become a link to what the others are by
    /// then. Under `--existing` the others are those that have something at the target.
    fn defer_others(&self, hand: &CopyHand) {
        if self.options.dry_run {
            return;
        }
        let names = hand.linked.as_ref().map(|file| &file.names[..]).unwrap_or_default();
        let must_exist = self.options.sync.as_ref().is_some_and(|rules| rules.existing);
        let takes_part = |link: &&LinkName| !must_exist || self.kind_at_target(link).is_some();
        for link in names.iter().skip(1).filter(takes_part) {
            self.deferred.add(&link.place, &link.name, Hint::Unknown);
        }
    }

    /// The first name has been dealt with, unless many ranks are at it: the others become links to the
    /// copy, or, where there is none, the next one takes the first one's place.
    pub(super) fn end_first(hand: &mut CopyHand, crew: &Crew<'_, Self>) {
        let Some(mut file) = hand.linked.take() else { return };
        if hand.is_complete {
            for links in Links::of(file) {
                crew.push(CopyTask::Links(links));
            }
        } else {
            file.names.remove(0);
            if !file.names.is_empty() {
                crew.push(CopyTask::Linked(file));
            }
        }
    }

    fn visit_name(&self, link: &LinkName, hand: &mut CopyHand, crew: &Crew<'_, Self>) {
        let place = &link.place;
        let visited = place
            .source_dir(&*self.root(place).source)
            .at(Side::Source)
            .and_then(|dir| {
                let entry = Visit { place, dir: &dir, name: &link.name, hint: Hint::Unknown };
                self.visit_source(&entry, hand, crew)
            })
            .and_then(|visited| match visited {
                Visited::Done { .. } => Ok(()),
                Visited::Directory | Visited::NewDirectory => {
                    Err(Op::Copy.failed(Cause::Changed)).at(Side::Source)
                }
            });
        if let Err(trouble) = visited {
            self.fail(place, link.name.to_bytes(), trouble, hand, crew);
        }
    }

    /// Makes names links to the copy that the first one has got.
    pub(super) fn make_links(&self, task: Links, hand: &mut CopyHand, crew: &Crew<'_, Self>) {
        let Links { first, mut others } = task;
        let mut made = 0;
        for other in &others {
            match self.make_link(&first, other, hand, crew) {
                Ok(Linked::Done) => {}
                Ok(Linked::Apart) => break,
                Err(trouble) => {
                    self.fail(&other.place, other.name.to_bytes(), trouble, hand, crew);
                }
            }
            made += 1;
        }
        let names = others.split_off(made);
        if !names.is_empty() {
            crew.push(CopyTask::Linked(LinkedFile { names }));
        }
    }

    fn make_link(
        &self,
        first: &LinkName,
        other: &LinkName,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) -> Result<Linked, Trouble> {
        let LinkName { place, name, .. } = other;
        let dir = place.source_dir(&*self.root(place).source).at(Side::Source)?;
        let entry = Visit { place, dir: &dir, name, hint: Hint::File };
        let source = dir.stat(name).at(Side::Source)?;
        if !self.is_still_one(first, &source).at(Side::Source)? {
            return Ok(Linked::Apart);
        }
        if !self.selection.admits(&source) || self.is_replaced_later(place, name) {
            return Ok(Linked::Done);
        }
        let copy = first.place.target_dir(self.target(&first.place)).at(Side::Target)?;
        let copy_name = self.target_name(&first.place, &first.name);
        if let Some(rules) = &self.options.sync {
            let there = self.at_target(rules, &entry)?;
            let of_copy = copy.stat(copy_name).ok();
            if self.is_link_needless(rules, &source, [there.as_ref(), of_copy.as_ref()], hand) {
                self.record_as_it_is((&**place, &**name), hand, crew);
                return Ok(Linked::Done);
            }
            let kinds = (source.kind, there.map(|there| there.kind));
            if self.waits_for_deletion(rules, &entry, kinds, hand, crew)? {
                // The two are brought together again.
                self.deferred.add(&first.place, &first.name, Hint::Unknown);
                return Ok(Linked::Done);
            }
            self.before_change(place)?;
        }
        let target = place.target_dir(self.target(place)).at(Side::Target)?;
        let there = self.replaced(&entry, &*target, &source)?;
        let of_copy = there.and_then(|_| copy.stat(copy_name).ok());
        if there.zip(of_copy).is_some_and(|(there, copy)| there.is_same_file(&copy)) {
            // A stopped job has made it.
            hand.gathered.tally.meet_link(&source);
            hand.gathered.tally.synced.unchanged += 1;
            self.record_unchanged(&entry, &source, hand, crew);
            return Ok(Linked::Done);
        }
        let staged = self.staged_name();
        let link = NewHardLink {
            dir: &*copy,
            of: copy_name,
            staged: &staged,
            name: self.target_name(place, name),
        };
        if !target.hard_link(&link).at(Side::Target)? {
            hand.gathered.tally.hard_links_not_preserved += 1;
            return Ok(Linked::Apart);
        }
        self.verify_hard_link([(&*copy, copy_name), (&*target, link.name)]).at(Side::Target)?;
        self.plan_line("create hard link", place, name.to_bytes(), hand, crew);
        hand.gathered.tally.meet_link(&source);
        hand.gathered.tally.hard_linked += 1;
        self.record_unchanged(&entry, &source, hand, crew);
        Ok(Linked::Done)
    }

    /// The name is still one of the file that the first one is a name of.
    fn is_still_one(&self, first: &LinkName, source: &Metadata) -> Result<bool, Error> {
        let dir = first.place.source_dir(&*self.root(&first.place).source);
        match dir.and_then(|dir| dir.stat(&first.name)) {
            Ok(of_first) => Ok(of_first.is_same_file(source)),
            Err(error) if error.cause.is_vanished() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What the target has of that name is a link to the copy already, or is to stay as it is.
    fn is_link_needless(
        &self,
        rules: &SyncOptions,
        source: &Metadata,
        [target, copy]: [Option<&Metadata>; 2],
        hand: &mut CopyHand,
    ) -> bool {
        if target.zip(copy).is_some_and(|(target, copy)| target.is_same_file(copy)) {
            hand.gathered.tally.meet_link(source);
            hand.gathered.tally.synced.unchanged += 1;
            return true;
        }
        let is_kept_back = match target {
            None => self.leaves_missing(rules),
            Some(target) => rules.ignore_existing || rules.keeps_newer(source, target),
        };
        if is_kept_back {
            hand.gathered.tally.meet_link(source);
            hand.gathered.tally.synced.skipped += 1;
        }
        is_kept_back
    }

    /// A directory with something in it has the name, which is deleted first.
    fn waits_for_deletion(
        &self,
        rules: &SyncOptions,
        entry: &Visit<'_>,
        (source, target): (Kind, Option<Kind>),
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) -> Result<bool, Trouble> {
        let is_in_the_way = target == Some(Kind::Directory);
        Ok(is_in_the_way && self.make_way(rules, entry, source, hand, crew)?)
    }
}
