//! Hard links: every name of a file becomes a name of one copy.
//!
//! The walk only remembers the names of files with several ([`super::linked`]). When it is over each
//! file is a task: its first name is copied like any other file, and when that copy is complete the
//! others become links to it. A name that cannot be one, because the target takes no links or no more of
//! them, becomes a copy of its own, to which those behind it are linked. Names that are one file at the
//! target, and several in the source, are parted: each such file but one is copied anew.

use super::context::Context;
use super::directory::Directories;
use super::env::Env;
use super::env::Stage;
use super::extras::Extras;
use super::large::LargeFiles;
use super::linked::{Devices, LinkRecords};
use super::linked::{LinkName, LinkedFile, Links, key_of};
use super::look;
use super::options::{self, SyncOptions};
use super::root::CopyRoot;
use super::sync;
use super::sync::{Need, Sides};
use super::upkeep::Upkeep;
use super::verify;
use super::{CopyJob, CopyTask};
use crate::walk::{Visit, Visited};
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

/// Executor of hard-linked files while the walk goes on, which only remembers their names.
pub(super) enum HardLinks {
    /// Names are remembered where they are met.
    Remembered { records: LinkRecords, devices: Devices },
    /// All names are known: files are copied, and linked.
    Known,
}

impl HardLinks {
    /// Executor that remembers names below those roots.
    pub fn new(roots: &[CopyRoot]) -> Self {
        Self::Remembered { records: LinkRecords::default(), devices: Devices::of(roots) }
    }

    /// Names that were remembered.
    pub fn into_records(self) -> LinkRecords {
        match self {
            Self::Remembered { records, .. } => records,
            Self::Known => LinkRecords::default(),
        }
    }

    /// Leaves a file with several names, in the source or at the target, for when all of those are known; true
    /// where that was done. A job that replaces whatever there is need not know what the target has.
    pub(super) fn leaves_for_links(
        &self,
        entry: &Visit<'_>,
        source: &Metadata,
        target: Option<&Metadata>,
        cx: &mut Context<'_, '_>,
    ) -> bool {
        let Self::Remembered { records, devices } = self else { return false };
        let is_linkable = match source.kind {
            Kind::Directory => false,
            Kind::File | Kind::Symlink => true,
            special => cx.env.is_made(entry, special),
        };
        let shared = target.filter(|target| target.kind == source.kind && target.links > 1);
        if cx.env.options.hard_links == options::HardLinks::Separate
            || !is_linkable
            || (source.links < 2 && shared.is_none())
        {
            return false;
        }
        if cx.env.target(entry.place).holds_objects() {
            cx.hand.gathered.tally.hard_links_not_preserved += 1;
            return false;
        }
        let mut key = key_of(&devices.sources, source);
        if source.links < 2 {
            // A file by itself, whatever a store numbers it.
            key.extend(path::join(entry.place.path().as_bytes(), entry.name.to_bytes()));
        }
        let name = LinkName::new(entry.place, entry.name);
        match shared {
            Some(target) => {
                records.add_shared(&key_of(&devices.targets, target), &key, &name);
            }
            None => records.add(&key, &name),
        }
        cx.hand.gathered.seen = Some(*source);
        true
    }
}

impl CopyJob<'_> {
    /// Copies a file's first name, as the copy that the others become links to.
    pub(super) fn copy_linked(&self, mut file: LinkedFile, cx: &mut Context<'_, '_>) {
        let stays = cx.env.options.sync.as_ref().is_some_and(|rules| rules.ignore_existing);
        if stays || cx.env.stage == Stage::AfterDeletion {
            existing_first(cx.env, &mut file);
        }
        let Some(first) = file.names.first().cloned() else { return };
        cx.hand.is_complete = false;
        cx.hand.is_deferred = false;
        cx.hand.linked = Some(file);
        if !cx.env.is_replaced_later(&first.place, &first.name) {
            self.visit_name(&first, cx);
        }
        if cx.hand.is_deferred {
            defer_others(&self.upkeep.postponed.deferred, cx);
        }
        end_first(cx);
    }

    fn visit_name(&self, link: &LinkName, cx: &mut Context<'_, '_>) {
        let place = &link.place;
        let visited = place
            .source_dir(&*cx.env.root(place).source)
            .at(Side::Source)
            .and_then(|dir| {
                let entry = Visit { place, dir: &dir, name: &link.name, hint: Hint::Unknown };
                self.visit_source(&entry, cx)
            })
            .and_then(|visited| match visited {
                Visited::Done { .. } => Ok(()),
                Visited::Directory | Visited::NewDirectory => {
                    Err(Op::Copy.failed(Cause::Changed)).at(Side::Source)
                }
            });
        if let Err(trouble) = visited {
            cx.fail(place, link.name.to_bytes(), trouble);
        }
    }
}

/// Makes names links to the copy that the first one has got.
pub(super) fn make_links(task: Links, upkeep: &Upkeep<'_>, cx: &mut Context<'_, '_>) {
    let Links { first, mut others } = task;
    let mut made = 0;
    for other in &others {
        match make_link(&first, other, upkeep, cx) {
            Ok(Linked::Done) => {}
            Ok(Linked::Apart) => break,
            Err(trouble) => {
                cx.fail(&other.place, other.name.to_bytes(), trouble);
            }
        }
        made += 1;
    }
    let names = others.split_off(made);
    if !names.is_empty() {
        cx.crew.push(CopyTask::Linked(LinkedFile { names }));
    }
}

fn make_link(
    first: &LinkName,
    other: &LinkName,
    upkeep: &Upkeep<'_>,
    cx: &mut Context<'_, '_>,
) -> Result<Linked, Trouble> {
    let LinkName { place, name, .. } = other;
    let dir = place.source_dir(&*cx.env.root(place).source).at(Side::Source)?;
    let entry = Visit { place, dir: &dir, name, hint: Hint::File };
    let source = dir.stat(name).at(Side::Source)?;
    if !is_still_one(cx.env, first, &source).at(Side::Source)? {
        return Ok(Linked::Apart);
    }
    if !cx.env.selection.admits(&source) || cx.env.is_replaced_later(place, name) {
        return Ok(Linked::Done);
    }
    let copy = first.place.target_dir(cx.env.target(&first.place)).at(Side::Target)?;
    let copy_name = cx.env.target_name(&first.place, &first.name);
    if let Some(rules) = &cx.env.options.sync {
        let there = look::at_target(cx.env, rules, &entry)?;
        let of_copy = copy.stat(copy_name).ok();
        if is_link_needless(rules, &source, [there.as_ref(), of_copy.as_ref()], cx) {
            upkeep.manifest.record_as_it_is((&**place, &**name), cx);
            return Ok(Linked::Done);
        }
        let kinds = (source.kind, there.map(|there| there.kind));
        if waits_for_deletion(rules, &entry, kinds, upkeep, cx)? {
            // The two are brought together again.
            upkeep.postponed.deferred.add(&first.place, &first.name, Hint::Unknown);
            return Ok(Linked::Done);
        }
        upkeep.directories.before_change(cx.env, place)?;
    }
    let target = place.target_dir(cx.env.target(place)).at(Side::Target)?;
    let there = look::replaced(cx.env, &entry, &*target, &source)?;
    let of_copy = there.and_then(|_| copy.stat(copy_name).ok());
    if there.zip(of_copy).is_some_and(|(there, copy)| there.is_same_file(&copy)) {
        // A stopped job has made it.
        cx.hand.gathered.tally.meet_link(&source);
        cx.hand.gathered.tally.synced.unchanged += 1;
        upkeep.manifest.record_unchanged(&entry, &source, cx);
        return Ok(Linked::Done);
    }
    let staged = cx.env.staged_name();
    let link = NewHardLink {
        dir: &*copy,
        of: copy_name,
        staged: &staged,
        name: cx.env.target_name(place, name),
    };
    if !target.hard_link(&link).at(Side::Target)? {
        cx.hand.gathered.tally.hard_links_not_preserved += 1;
        return Ok(Linked::Apart);
    }
    verify::verify_hard_link(cx.env, [(&*copy, copy_name), (&*target, link.name)])
        .at(Side::Target)?;
    cx.plan_line("create hard link", place, name.to_bytes());
    cx.hand.gathered.tally.meet_link(&source);
    cx.hand.gathered.tally.hard_linked += 1;
    upkeep.manifest.record_unchanged(&entry, &source, cx);
    Ok(Linked::Done)
}

/// Whether what the target has of that name is a link to the copy already, or is to stay as it is.
fn is_link_needless(
    rules: &SyncOptions,
    source: &Metadata,
    [target, copy]: [Option<&Metadata>; 2],
    cx: &mut Context<'_, '_>,
) -> bool {
    if target.zip(copy).is_some_and(|(target, copy)| target.is_same_file(copy)) {
        cx.hand.gathered.tally.meet_link(source);
        cx.hand.gathered.tally.synced.unchanged += 1;
        return true;
    }
    let is_kept_back = match target {
        None => cx.env.leaves_missing(rules),
        Some(target) => rules.ignore_existing || rules.keeps_newer(source, target),
    };
    if is_kept_back {
        cx.hand.gathered.tally.meet_link(source);
        cx.hand.gathered.tally.synced.skipped += 1;
    }
    is_kept_back
}

/// Whether a directory with something in it has the name, which is deleted first.
fn waits_for_deletion(
    rules: &SyncOptions,
    entry: &Visit<'_>,
    (source, target): (Kind, Option<Kind>),
    upkeep: &Upkeep<'_>,
    cx: &mut Context<'_, '_>,
) -> Result<bool, Trouble> {
    let is_in_the_way = target == Some(Kind::Directory);
    Ok(is_in_the_way && upkeep.postponed.make_way(&upkeep.directories, rules, entry, source, cx)?)
}

/// Prepares giving a name a file of its own. Where files are written into, that must not be the one it has: other
/// names keep that.
pub(super) fn prepare_parting(
    entry: &Visit<'_>,
    kind: Kind,
    directories: &Directories,
    cx: &mut Context<'_, '_>,
) -> Result<(), Trouble> {
    directories.before_change(cx.env, entry.place)?;
    if cx.env.options.transfer.rewriting == Rewriting::InPlace {
        let target = entry.place.target_dir(cx.env.target(entry.place)).at(Side::Target)?;
        let name = cx.env.target_name(entry.place, entry.name);
        target.remove(name, kind).at(Side::Target)?;
    }
    Ok(())
}

/// Whether what the target has of the name stays, and is a copy that the names that are missing can be linked to:
/// it is the same as the source.
pub(super) fn is_joined(
    rules: &SyncOptions,
    entry: &Visit<'_>,
    sides: &Sides,
    large: &LargeFiles,
    cx: &mut Context<'_, '_>,
) -> Result<bool, Trouble> {
    let Sides { source, target } = sides;
    if cx.hand.linked.is_none() || source.kind != target.kind || is_parted(cx) {
        return Ok(false);
    }
    let dir = entry.place.target_dir(cx.env.target(entry.place)).at(Side::Target)?;
    match source.kind {
        Kind::File => sync::is_unchanged(rules, entry, &*dir, sides, cx),
        _ => Ok(sync::need(rules, entry, sides, large, cx)? == Need::Nothing),
    }
}

/// Defers the other names of a file whose first one waits until a directory in its way is deleted: it is to become a link to what the others are by
/// then. Under `--existing` the others are those that have something at the target.
fn defer_others(deferred: &Extras, cx: &mut Context<'_, '_>) {
    if cx.env.options.dry_run {
        return;
    }
    let names = cx.hand.linked.as_ref().map(|file| &file.names[..]).unwrap_or_default();
    let must_exist = cx.env.options.sync.as_ref().is_some_and(|rules| rules.existing);
    let takes_part = |link: &&LinkName| !must_exist || kind_at_target(cx.env, link).is_some();
    for link in names.iter().skip(1).filter(takes_part) {
        deferred.add(&link.place, &link.name, Hint::Unknown);
    }
}

/// Whether what the target has of the name that is being dealt with is to stay with other names only.
pub(super) fn is_parted(cx: &Context<'_, '_>) -> bool {
    let first = cx.hand.linked.as_ref().and_then(|file| file.names.first());
    first.is_some_and(|name| name.is_apart)
}

/// Puts a name first that is there, where what is there stays or was dealt with: the others are to become links to it.
fn existing_first(env: &Env<'_>, file: &mut LinkedFile) {
    let is_there =
        |link: &LinkName| kind_at_target(env, link).is_some_and(|kind| kind != Kind::Directory);
    if let Some(at) = file.names.iter().position(is_there) {
        let existing = file.names.remove(at);
        file.names.insert(0, existing);
    }
}

fn kind_at_target(env: &Env<'_>, link: &LinkName) -> Option<Kind> {
    let dir = link.place.target_dir(env.target(&link.place)).ok()?;
    let found = dir.stat(env.target_name(&link.place, &link.name));
    found.ok().map(|found| found.kind)
}

/// Goes on from the first name, unless many ranks are at it: the others become links to the
/// copy, or, where there is none, the next one takes the first one's place.
pub(super) fn end_first(cx: &mut Context<'_, '_>) {
    let Some(mut file) = cx.hand.linked.take() else { return };
    if cx.hand.is_complete {
        for links in Links::of(file) {
            cx.crew.push(CopyTask::Links(links));
        }
    } else {
        file.names.remove(0);
        if !file.names.is_empty() {
            cx.crew.push(CopyTask::Linked(file));
        }
    }
}

/// Whether the name is still one of the file that the first one is a name of.
fn is_still_one(env: &Env<'_>, first: &LinkName, source: &Metadata) -> Result<bool, Error> {
    let dir = first.place.source_dir(&*env.root(&first.place).source);
    match dir.and_then(|dir| dir.stat(&first.name)) {
        Ok(of_first) => Ok(of_first.is_same_file(source)),
        Err(error) if error.cause.is_vanished() => Ok(false),
        Err(error) => Err(error),
    }
}
