//! Hard links: every name of a file becomes a name of one copy.
//!
//! The walk only records the names of hard-linked files ([`super::linked`]). After the walk each
//! file is a task: its first name is copied like any other file, and when that copy is complete the
//! other names become hard links to it. A name that cannot be linked, because the target supports
//! no links or has reached its limit, becomes a separate copy, to which the names after it are
//! linked. Names that are hard links of one file at the target, and of several files in the source,
//! are separated: each such file but one is copied anew.

use super::context::{Context, Progress};
use super::decide::{Need, Sides};
use super::directory::Directories;
use super::env::Env;
use super::env::Stage;
use super::extraneous::Extraneous;
use super::large::LargeFiles;
use super::linked::{Devices, LinkRecords};
use super::linked::{LinkName, LinkedFile, Links, key_of};
use super::look;
use super::options::{self, SyncOptions};
use super::root::CopyRoot;
use super::sync;
use super::upkeep::Upkeep;
use super::verify;
use super::{CopyJob, CopyTask};
use crate::walk::{Visit, Visited};
use store::NewHardLink;
use types::content::transfer::Rewriting;
use types::entry::{Hint, Kind, Metadata, Preserved};
use types::error::{At, Cause, Error, Op, Side, SideError};
use types::listed::change::{Action, Reason};
use types::path;

/// Outcome for a name that was to be a link.
enum Linked {
    /// The name is a link, or stays as it is because of an option.
    Done,
    /// The name needs a copy of its own.
    Apart,
}

/// Executor of hard-linked files. During the walk it only records their names.
pub(super) enum HardLinks {
    /// Names are recorded as they are visited.
    Remembered { records: LinkRecords, devices: Devices },
    /// All names are known: files are copied, and linked.
    Known,
}

impl HardLinks {
    /// Creates the executor that records names below those roots.
    pub fn new(roots: &[CopyRoot]) -> Self {
        Self::Remembered { records: LinkRecords::default(), devices: Devices::of(roots) }
    }

    /// Returns the names that were recorded.
    pub fn into_records(self) -> LinkRecords {
        match self {
            Self::Remembered { records, .. } => records,
            Self::Known => LinkRecords::default(),
        }
    }

    /// Defers a file that has several hard links, in the source or at the target, until all of them
    /// are known; returns true if it did. A job that replaces any existing file need not know the
    /// links at the target.
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
            || source.links == Metadata::UNKNOWN_LINKS
            || (source.links < 2 && shared.is_none())
        {
            return false;
        }
        if cx.env.target(entry.dir_ref).holds_objects() {
            cx.worker.gathered.tally.hard_links_not_preserved += 1;
            return false;
        }
        let mut key = key_of(&devices.sources, source);
        // Keys decide which names are brought together; what belongs together is checked again
        // before it is linked.
        if source.links < 2 {
            // A file with one link has its path in the key, whatever inode number a store reports.
            key.extend(path::join(entry.dir_ref.path().as_bytes(), entry.name.to_bytes()));
        }
        let name = LinkName::new(entry.dir_ref, entry.name);
        match shared {
            Some(target) => {
                records.add_shared(&key_of(&devices.targets, target), &key, &name);
            }
            None => records.add(&key, &name),
        }
        cx.worker.gathered.seen = Some(*source);
        true
    }
}

impl CopyJob<'_> {
    /// Copies the first name of a file, as the copy that the others become links to.
    pub(super) fn copy_linked(&self, mut file: LinkedFile, cx: &mut Context<'_, '_>) {
        let stays = cx.env.options.sync.as_ref().is_some_and(|criteria| criteria.ignore_existing);
        if stays || cx.env.stage == Stage::AfterDeletion {
            existing_first(cx.env, &mut file);
        }
        let Some(first) = file.names.first().cloned() else { return };
        cx.linked = Some(file);
        let progress = if cx.env.is_replaced_later(&first.dir_ref, &first.name) {
            Progress::Open
        } else {
            self.visit_name(&first, cx)
        };
        if progress == Progress::Deferred {
            defer_others(&self.upkeep.postponed.deferred, cx);
        }
        end_first(progress, cx);
    }

    fn visit_name(&self, link: &LinkName, cx: &mut Context<'_, '_>) -> Progress {
        let dir_ref = &link.dir_ref;
        let visited = dir_ref
            .source_dir(&*cx.env.root(dir_ref).source)
            .at(Side::Source)
            .and_then(|dir| {
                let entry = Visit::again(dir_ref, &dir, &link.name, Hint::Unknown);
                self.visit_source(&entry, cx)
            })
            .and_then(|handled| match handled.visited {
                Visited::Done { .. } => Ok(handled.progress),
                Visited::Directory | Visited::NewDirectory | Visited::Later => {
                    Err(Op::Copy.failed(Cause::Changed)).at(Side::Source)
                }
            });
        visited.unwrap_or_else(|side_error| {
            cx.fail(dir_ref, link.name.to_bytes(), side_error);
            Progress::Open
        })
    }
}

/// Links names to the copy that the first one has got.
pub(super) fn make_links(task: Links, upkeep: &Upkeep<'_>, cx: &mut Context<'_, '_>) {
    let Links { first, mut others } = task;
    let mut made = 0;
    for other in &others {
        match make_link(&first, other, upkeep, cx) {
            Ok(Linked::Done) => {}
            Ok(Linked::Apart) => break,
            Err(side_error) => {
                cx.fail(&other.dir_ref, other.name.to_bytes(), side_error);
            }
        }
        made += 1;
    }
    // Names from the one that got no link on belong to a new file, so that links go on from there.
    let names = others.split_off(made);
    if !names.is_empty() {
        cx.task.push(CopyTask::Linked(LinkedFile { names }));
    }
}

fn make_link(
    first: &LinkName,
    other: &LinkName,
    upkeep: &Upkeep<'_>,
    cx: &mut Context<'_, '_>,
) -> Result<Linked, SideError> {
    let LinkName { dir_ref, name, .. } = other;
    let dir = dir_ref.source_dir(&*cx.env.root(dir_ref).source).at(Side::Source)?;
    let entry = Visit::again(dir_ref, &dir, name, Hint::File);
    let source = dir.stat(name).at(Side::Source)?;
    // The names were recorded during the walk, by inode: since then one of them may have become
    // another file, or devices of two nodes have the same number.
    if !is_still_one(cx.env, first, &source).at(Side::Source)? {
        return Ok(Linked::Apart);
    }
    if !cx.env.selection.admits(&source) || cx.env.is_replaced_later(dir_ref, name) {
        return Ok(Linked::Done);
    }
    let copy = first.dir_ref.target_dir(cx.env.target(&first.dir_ref)).at(Side::Target)?;
    let copy_name = cx.env.target_name(&first.dir_ref, &first.name);
    if let Some(criteria) = &cx.env.options.sync {
        let there = look::at_target(cx.env, criteria, &entry)?;
        let of_copy = copy.stat(copy_name).ok();
        if is_link_needless(criteria, &source, [there.as_ref(), of_copy.as_ref()], cx) {
            if there.zip(of_copy).is_some_and(|(there, copy)| there.is_same_file(&copy)) {
                cx.is_there((dir_ref, name), &source, Preserved::ALL);
            } else {
                cx.stays(dir_ref);
            }
            upkeep.manifest.record_as_it_is((&**dir_ref, &**name), cx);
            return Ok(Linked::Done);
        }
        cx.reason = Reason::of(&source, there.as_ref());
        let kinds = (source.kind, there.map(|there| there.kind));
        if waits_for_deletion(criteria, &entry, kinds, upkeep, cx)? {
            // Both names are deferred, so that they are linked later.
            upkeep.postponed.deferred.add(&first.dir_ref, &first.name, Hint::Unknown);
            return Ok(Linked::Done);
        }
        upkeep.directories.before_change(cx.env, dir_ref)?;
    }
    let target = dir_ref.target_dir(cx.env.target(dir_ref)).at(Side::Target)?;
    let there = look::replaced(cx.env, &entry, &*target, &source)?;
    let of_copy = there.and_then(|_| copy.stat(copy_name).ok());
    if there.zip(of_copy).is_some_and(|(there, copy)| there.is_same_file(&copy)) {
        // An interrupted job has created the link.
        cx.worker.gathered.tally.meet_link(&source);
        cx.worker.gathered.tally.synced.unchanged += 1;
        cx.is_there((dir_ref, name), &source, Preserved::ALL);
        upkeep.manifest.record_unchanged(&entry, &source, cx);
        return Ok(Linked::Done);
    }
    let staged = cx.env.staged_name();
    let link = NewHardLink {
        dir: &*copy,
        of: copy_name,
        staged: &staged,
        name: cx.env.target_name(dir_ref, name),
    };
    // The target has no hard links, or no more of this file: the name gets a copy of its own.
    if !target.hard_link(&link).at(Side::Target)? {
        cx.worker.gathered.tally.hard_links_not_preserved += 1;
        return Ok(Linked::Apart);
    }
    verify::verify_hard_link(cx.env, [(&*copy, copy_name), (&*target, link.name)])
        .at(Side::Target)?;
    cx.plan_line("create hard link", dir_ref, name.to_bytes());
    cx.worker.gathered.tally.meet_link(&source);
    cx.worker.gathered.tally.hard_linked += 1;
    cx.reason = Reason::of(&source, there.as_ref());
    cx.record(Action::HardLink, (dir_ref, name.to_bytes()), source.kind);
    cx.is_there((dir_ref, name), &source, Preserved::ALL);
    upkeep.manifest.record_unchanged(&entry, &source, cx);
    Ok(Linked::Done)
}

/// True if the name at the target is a link to the copy already, or stays as it is.
fn is_link_needless(
    criteria: &SyncOptions,
    source: &Metadata,
    [target, copy]: [Option<&Metadata>; 2],
    cx: &mut Context<'_, '_>,
) -> bool {
    if target.zip(copy).is_some_and(|(target, copy)| target.is_same_file(copy)) {
        cx.worker.gathered.tally.meet_link(source);
        cx.worker.gathered.tally.synced.unchanged += 1;
        return true;
    }
    let is_kept_back = match target {
        None => cx.env.leaves_missing(criteria),
        Some(target) => criteria.ignore_existing || criteria.keeps_newer(source, target),
    };
    if is_kept_back {
        cx.worker.gathered.tally.meet_link(source);
        cx.worker.gathered.tally.synced.skipped += 1;
    }
    is_kept_back
}

/// True if the name belongs to a directory that is not empty and is deleted first.
fn waits_for_deletion(
    criteria: &SyncOptions,
    entry: &Visit<'_>,
    (source, target): (Kind, Option<Kind>),
    upkeep: &Upkeep<'_>,
    cx: &mut Context<'_, '_>,
) -> Result<bool, SideError> {
    let is_in_the_way = target == Some(Kind::Directory);
    Ok(is_in_the_way
        && upkeep.postponed.make_way(&upkeep.directories, criteria, entry, source, cx)?)
}

/// Prepares a separate file for a name. Where files are rewritten in place, the name is removed
/// first, because the other hard links keep the old content.
pub(super) fn prepare_parting(
    entry: &Visit<'_>,
    kind: Kind,
    directories: &Directories,
    cx: &mut Context<'_, '_>,
) -> Result<(), SideError> {
    directories.before_change(cx.env, entry.dir_ref)?;
    if cx.env.options.transfer.rewriting == Rewriting::InPlace {
        let target = entry.dir_ref.target_dir(cx.env.target(entry.dir_ref)).at(Side::Target)?;
        let name = cx.env.target_name(entry.dir_ref, entry.name);
        target.remove(name, kind).at(Side::Target)?;
    }
    Ok(())
}

/// True if the entry at the target stays, and is a copy that missing names can be linked to because
/// it equals the source.
pub(super) fn is_joined(
    criteria: &SyncOptions,
    entry: &Visit<'_>,
    sides: &Sides,
    large: &LargeFiles,
    cx: &mut Context<'_, '_>,
) -> Result<bool, SideError> {
    let Sides { source, target } = sides;
    if cx.linked.is_none() || source.kind != target.kind || is_parted(cx) {
        return Ok(false);
    }
    let dir = entry.dir_ref.target_dir(cx.env.target(entry.dir_ref)).at(Side::Target)?;
    match source.kind {
        Kind::File => sync::is_unchanged(criteria, entry, &*dir, sides, cx),
        _ => Ok(sync::need(criteria, entry, sides, large, cx)? == Need::Nothing),
    }
}

/// Defers the other names of a file whose first name waits until a directory in its way is deleted:
/// the first name is to become a link to the copy that the others have by then. Under `--existing`
/// only the names that exist at the target are deferred.
fn defer_others(deferred: &Extraneous, cx: &mut Context<'_, '_>) {
    // The store of a dry run creates no entry, so a name that is deferred would be planned twice.
    if !cx.env.writes() {
        return;
    }
    let names = cx.linked.as_ref().map(|file| &file.names[..]).unwrap_or_default();
    let must_exist = cx.env.options.sync.as_ref().is_some_and(|criteria| criteria.existing);
    let takes_part = |link: &&LinkName| !must_exist || kind_at_target(cx.env, link).is_some();
    for link in names.iter().skip(1).filter(takes_part) {
        deferred.add(&link.dir_ref, &link.name, Hint::Unknown);
    }
}

/// True if the current name at the target stays linked to other names only, those of another file.
pub(super) fn is_parted(cx: &Context<'_, '_>) -> bool {
    let first = cx.linked.as_ref().and_then(|file| file.names.first());
    first.is_some_and(|name| name.is_apart)
}

/// Moves a name to the front that exists at the target, where existing entries stay or are done:
/// the other names are to become links to it.
fn existing_first(env: &Env<'_>, file: &mut LinkedFile) {
    let is_there =
        |link: &LinkName| kind_at_target(env, link).is_some_and(|kind| kind != Kind::Directory);
    if let Some(at) = file.names.iter().position(is_there) {
        let existing = file.names.remove(at);
        file.names.insert(0, existing);
    }
}

fn kind_at_target(env: &Env<'_>, link: &LinkName) -> Option<Kind> {
    let dir = link.dir_ref.target_dir(env.target(&link.dir_ref)).ok()?;
    let found = dir.stat(env.target_name(&link.dir_ref, &link.name));
    found.ok().map(|found| found.kind)
}

/// Continues after the first name: the other names become links to the copy, or, where there is
/// none, the next name takes its place. Nothing is to do while many ranks are copying the first
/// name: the large file then has the other names.
pub(super) fn end_first(progress: Progress, cx: &mut Context<'_, '_>) {
    let Some(mut file) = cx.linked.take() else { return };
    if progress == Progress::Complete {
        for links in Links::of(file) {
            cx.task.push(CopyTask::Links(links));
        }
    } else {
        file.names.remove(0);
        if !file.names.is_empty() {
            cx.task.push(CopyTask::Linked(file));
        }
    }
}

/// True if the entry is still a hard link of the file that the first name belongs to.
fn is_still_one(env: &Env<'_>, first: &LinkName, source: &Metadata) -> Result<bool, Error> {
    let dir = first.dir_ref.source_dir(&*env.root(&first.dir_ref).source);
    match dir.and_then(|dir| dir.stat(&first.name)) {
        Ok(of_first) => Ok(of_first.is_same_file(source)),
        Err(error) if error.cause.is_vanished() => Ok(false),
        Err(error) => Err(error),
    }
}
