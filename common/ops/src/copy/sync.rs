//! Synchronisation: determines what each entry needs, and does no more than that.
//!
//! An entry that is missing or has other content is copied; an entry that differs only in
//! attributes gets them in place; an entry that is the same is not touched. An option of the
//! operator may leave entries as they are.

use super::attributes;
use super::hard_links;
use super::look;
use super::resume;
use super::special;
use std::sync::Arc;

use super::attribute_policy::Plain;
use super::context::{Context, Handled};
use super::decide::{
    Action, Content, Existing, Need, Sides, decide, decide_content, decide_existing,
};
use super::env::Env;
use super::large::LargeFiles;
use super::manifest::Manifest;
use super::options::{OldCopy, SyncOptions};
use super::upkeep::Upkeep;
use super::{CopyJob, attribute_policy};
use crate::chunked::Outcome;
use crate::compare::content::{Way, is_same_file};
use crate::compare::holes::Reading;
use crate::walk::account;
use crate::walk::dir_ref::DirRef;
use crate::walk::{Skip, Visit, Visited};
use store::{Dir, SourceFile};
use types::entry::{Hint, Kind, Metadata, Preserved};
use types::error::{At, Cause, Error, Op, Side, SideError};
use types::listed::change::{self, Reason};
use types::outcome::difference::Fields;
use types::outcome::tally::Check;
use types::path::{self, Name};
use types::service::ServiceFault;

impl CopyJob<'_> {
    /// Does for an entry what it needs.
    pub(super) fn sync_entry(
        &self,
        criteria: &SyncOptions,
        entry: &Visit<'_>,
        cx: &mut Context<'_, '_>,
    ) -> Result<Handled, SideError> {
        let source = match entry.hint {
            // A directory is inspected when it is listed.
            Hint::Directory => None,
            _ => Some(look::source_of(cx.env, criteria, entry)?),
        };
        cx.worker.gathered.seen = source;
        let kind = source.map_or(Kind::Directory, |source| source.kind);
        if source.is_some_and(|source| !cx.env.selection.admits(&source)) {
            return Ok(Handled::SKIPPED);
        }
        let Upkeep { directories, .. } = &self.upkeep;
        if kind == Kind::Directory && cx.env.named.is_some() && cx.env.pruning.is_some() {
            return Ok(Handled::directory(Visited::Directory));
        }
        if kind != Kind::Directory && directories.has_content(entry.dir_ref, cx) == Err(Skip) {
            return Ok(Handled::SKIPPED);
        }
        let target = look::at_target(cx.env, criteria, entry)?;
        let is_left = |source| self.links.leaves_for_links(entry, &source, target.as_ref(), cx);
        if source.is_some_and(is_left) {
            return Ok(Handled::SKIPPED);
        }
        if kind.is_special() && !cx.env.is_made(entry, kind) {
            tell_unlike(entry, kind, target.as_ref(), cx);
            self.upkeep.manifest.record_as_it_is((&**entry.dir_ref, entry.name), cx);
            return Ok(special::leave_out(kind, cx));
        }
        match decide(source, target, criteria, cx.env.stage) {
            Action::LeaveMissing => Ok(keep_back(source.as_ref(), cx)),
            Action::Enter => Ok(Handled::directory(Visited::Directory)),
            Action::KeepInsteadOfDirectory => {
                self.upkeep.manifest.record_as_it_is((&**entry.dir_ref, entry.name), cx);
                Ok(keep_back(None, cx))
            }
            Action::MakeDirectory if cx.env.pruning.is_some() => {
                let pruning = cx.env.pruning.filter(|_| target.is_some() && cx.env.deletes());
                pruning.inspect(|pruning| pruning.found_in_the_way(entry));
                Ok(Handled::directory(Visited::NewDirectory))
            }
            Action::MakeDirectory if target.is_some() && !criteria.mirrors => {
                Err(Op::MakeDir.failed(Cause::KindDiffers)).at(Side::Target)
            }
            Action::MakeDirectory => {
                self.upkeep.directories.before_change(cx.env, entry.dir_ref)?;
                if target.is_some() {
                    cx.plan_line("remove", entry.dir_ref, entry.name.to_bytes());
                }
                Ok(Handled::directory(Visited::NewDirectory))
            }
            Action::Create(_) if entry.in_order => Ok(Handled::LATER),
            Action::Create(source) => {
                self.upkeep.directories.before_change(cx.env, entry.dir_ref)?;
                if is_in_old_copy(criteria, entry, &source, &self.upkeep.manifest, cx)? {
                    cx.stays(entry.dir_ref);
                    // No other name can become a link to what the target does not get.
                    let is_there = criteria.old_copy.as_ref().is_some_and(OldCopy::is_linked);
                    return Ok(if is_there { Handled::COMPLETE } else { Handled::SKIPPED });
                }
                self.visit_kind(entry, source.kind, cx)
            }
            Action::Keep(sides) => {
                let is_joined = hard_links::is_joined(criteria, entry, &sides, &self.large, cx)?;
                self.upkeep.manifest.record_as_it_is((&**entry.dir_ref, entry.name), cx);
                let skipped = keep_back(Some(&sides.source), cx);
                Ok(if is_joined { Handled::COMPLETE } else { skipped })
            }
            Action::LookCloser(sides) => self.sync_existing(criteria, entry, sides, cx),
        }
    }

    fn sync_existing(
        &self,
        criteria: &SyncOptions,
        entry: &Visit<'_>,
        sides: Sides,
        cx: &mut Context<'_, '_>,
    ) -> Result<Handled, SideError> {
        let sides = &look::look_closer(cx.env, criteria, entry, sides)?;
        let Sides { source, target } = sides;
        cx.reason = Reason::of(source, Some(target));
        cx.preserved = Preserved::ALL;
        let range = cx.env.time_range(entry.dir_ref, [&sides.source, &sides.target]);
        match decide_existing(sides, criteria, range) {
            Existing::Nothing => {
                // The removal of the source would be that of the target.
                cx.stays(entry.dir_ref);
                Ok(self.leave(entry, source, cx))
            }
            Existing::Keep => {
                self.upkeep.manifest.record_as_it_is((&**entry.dir_ref, entry.name), cx);
                Ok(keep_back(Some(source), cx))
            }
            Existing::Replace { .. } if entry.in_order => Ok(Handled::LATER),
            Existing::Replace { directory } => {
                let Upkeep { postponed, directories, .. } = &self.upkeep;
                let is_made_way = directory && criteria.mirrors;
                if is_made_way
                    && postponed.make_way(directories, criteria, entry, source.kind, cx)?
                {
                    return Ok(Handled::DEFERRED);
                }
                directories.before_change(cx.env, entry.dir_ref)?;
                self.visit_kind(entry, source.kind, cx)
            }
            Existing::Compare if hard_links::is_parted(cx) => {
                hard_links::prepare_parting(entry, source.kind, &self.upkeep.directories, cx)?;
                self.visit_kind(entry, source.kind, cx)
            }
            Existing::Compare => match need(criteria, entry, sides, &self.large, cx)? {
                Need::ToBeSeen => Ok(Handled::BEGUN),
                Need::Content | Need::Attributes if entry.in_order => Ok(Handled::LATER),
                need => self.satisfy(need, entry, source, cx),
            },
        }
    }

    /// Does what an entry was found to need.
    pub(super) fn satisfy(
        &self,
        need: Need,
        entry: &Visit<'_>,
        source: &Metadata,
        cx: &mut Context<'_, '_>,
    ) -> Result<Handled, SideError> {
        match need {
            Need::Content => {
                self.upkeep.directories.before_change(cx.env, entry.dir_ref)?;
                self.visit_kind(entry, source.kind, cx)
            }
            Need::Attributes => {
                cx.worker.gathered.meet(source);
                repair(entry, source, cx)?;
                cx.is_there((entry.dir_ref, entry.name), source, cx.preserved);
                self.upkeep.manifest.record_unchanged(entry, source, cx);
                Ok(Handled::COMPLETE)
            }
            Need::Later => Ok(Handled::LATER),
            Need::Nothing | Need::ToBeSeen => {
                cx.is_there((entry.dir_ref, entry.name), source, cx.preserved);
                Ok(self.leave(entry, source, cx))
            }
        }
    }

    /// Counts an entry that is unchanged.
    fn leave(&self, entry: &Visit<'_>, source: &Metadata, cx: &mut Context<'_, '_>) -> Handled {
        cx.worker.gathered.meet(source);
        cx.worker.gathered.tally.synced.unchanged += 1;
        self.upkeep.manifest.record_unchanged(entry, source, cx);
        Handled::COMPLETE
    }

    /// Copies a file whose chunks were all compared, sets its attributes, or leaves it unchanged.
    pub(super) fn end_comparison(
        &self,
        dir_ref: &Arc<DirRef>,
        name: &Name,
        sides: &Sides,
        outcome: Outcome,
        cx: &mut Context<'_, '_>,
    ) -> Result<Handled, SideError> {
        let dir = dir_ref.source_dir(&*cx.env.root(dir_ref).source).at(Side::Source)?;
        let entry = Visit::again(dir_ref, &dir, name, Hint::File);
        let outcome = match outcome {
            Outcome::Failed(side_error) => {
                unless_in_doubt(Err(side_error))?.unwrap_or(Outcome::Differs)
            }
            outcome => outcome,
        };
        cx.reason = Reason::of(&sides.source, Some(&sides.target));
        let need = match outcome {
            Outcome::Failed(_) | Outcome::Differs => Need::Content,
            Outcome::Done => {
                let target_dir = dir_ref.target_dir(cx.env.target(dir_ref)).at(Side::Target)?;
                attributes::attributes_needed(&entry, &*target_dir, sides, cx)?
            }
        };
        self.satisfy(need, &entry, &sides.source, cx)
    }
}

/// Determines what an entry of the right kind needs.
pub(super) fn need(
    criteria: &SyncOptions,
    entry: &Visit<'_>,
    sides: &Sides,
    large: &LargeFiles,
    cx: &mut Context<'_, '_>,
) -> Result<Need, SideError> {
    let target_dir = entry.target_dir(cx.env.target(entry.dir_ref)).at(Side::Target)?;
    let name = cx.env.target_name(entry.dir_ref, entry.name);
    let Sides { source, target } = sides;
    let content = match source.kind {
        Kind::Symlink => {
            let points_to = target_dir.read_link(name).ok();
            let is_same = Some(entry.dir.read_link(entry.name).at(Side::Source)?) == points_to;
            if is_same { Content::Same } else { Content::Differs }
        }
        kind if kind.is_special() => {
            let device = target_dir.device_number(name).ok();
            let is_same = Some(entry.dir.device_number(entry.name).at(Side::Source)?) == device;
            if is_same { Content::Same } else { Content::Differs }
        }
        _ => {
            let env = cx.env;
            let is_in_doubt = || resume::is_in_doubt(env, entry.dir_ref, sides);
            let clue = || attributes::clue(env, entry.dir_ref, sides);
            decide_content(sides, criteria.change_test, is_in_doubt, clue)
        }
    };
    match content {
        Content::Differs => return Ok(Need::Content),
        _ if entry.in_order && takes_requests(content, source.kind, cx.env) => {
            return Ok(Need::Later);
        }
        Content::Unknown => {
            return need_by_content(criteria, entry, &*target_dir, sides, large, cx);
        }
        Content::SameByTime => {
            let is_by_storing = !target.known.contains(Fields::MTIME);
            cx.worker.gathered.tally.synced.unchanged_by_upload_time += u64::from(is_by_storing);
        }
        Content::Same => {}
    }
    attributes::attributes_needed(entry, &*target_dir, sides, cx)
}

/// True if more than an inspection of both sides is needed: their content, or their extended
/// attributes.
fn takes_requests(content: Content, kind: Kind, env: &Env<'_>) -> bool {
    content == Content::Unknown || env.options.keep.xattr_filter().concerns(kind)
}

/// Determines what a file of the right size needs, by its content.
fn need_by_content(
    criteria: &SyncOptions,
    entry: &Visit<'_>,
    target_dir: &dyn Dir,
    sides: &Sides,
    large: &LargeFiles,
    cx: &mut Context<'_, '_>,
) -> Result<Need, SideError> {
    // The source is opened once, here, so that an error is reported once.
    let source = entry.dir.open_file(entry.name).at(Side::Source)?;
    // A file that cannot be read counts as different: the comparison would only have saved work.
    let target_name = cx.env.target_name(entry.dir_ref, entry.name);
    let Ok(target) = target_dir.open_file(target_name) else { return Ok(Need::Content) };
    let files = [source, target];
    let size_bytes = sides.source.size_bytes;
    let is_large = size_bytes > cx.env.chunk_bytes(entry.dir_ref, size_bytes);
    let way = Way::of(&*files[0], &*files[1], criteria.evidence)?;
    let check = way.check(&*files[0], &*files[1]);
    // Copying costs no more than downloading, where a comparison by content was not requested.
    if check == Check::Downloaded && !criteria.change_test.reads_content() {
        return Ok(Need::Content);
    }
    if is_large && way.known().is_none() {
        cx.worker.gathered.tally.compared.by(check).files += 1;
        large.begin_comparison((entry.dir_ref, entry.name), way, sides, cx);
        return Ok(Need::ToBeSeen);
    }
    if is_same_content(way, &files, size_bytes, cx)? {
        attributes::attributes_needed(entry, target_dir, sides, cx)
    } else {
        Ok(Need::Content)
    }
}

/// Looks a missing file up in an older copy. Returns true if it is unchanged there, so that it was
/// linked or is left out.
fn is_in_old_copy(
    criteria: &SyncOptions,
    entry: &Visit<'_>,
    source: &Metadata,
    manifest: &Manifest<'_>,
    cx: &mut Context<'_, '_>,
) -> Result<bool, SideError> {
    let Some(old_copy) = &cx.env.root(entry.dir_ref).old_copy else { return Ok(false) };
    if cx.env.target_name(entry.dir_ref, entry.name) != entry.name {
        // The old copy of a file that gets another name is not looked up.
        return Ok(false);
    }
    let Ok(old_dir) = old_copy.open_dir(entry.dir_ref.path()) else { return Ok(false) };
    let Ok(old) = old_dir.stat(entry.name) else { return Ok(false) };
    let sides = Sides { source: *source, target: old };
    if !is_unchanged(criteria, entry, &*old_dir, &sides, cx)? {
        return Ok(false);
    }
    if !criteria.old_copy.as_ref().is_some_and(OldCopy::is_linked) {
        cx.worker.gathered.meet(source);
        cx.worker.gathered.tally.synced.unchanged += 1;
        return Ok(true);
    }
    let dir = entry.dir_ref.target_dir(cx.env.target(entry.dir_ref)).at(Side::Target)?;
    let linked = dir.link_from(&*old_dir, entry.name).at(Side::Target)?;
    if linked {
        cx.plan_line("create hard link to --link-dest", entry.dir_ref, entry.name.to_bytes());
        cx.worker.gathered.meet(source);
        cx.worker.gathered.tally.synced.hard_linked_to_link_dest += 1;
        cx.reason = Reason::of(source, None);
        cx.record(change::Action::LinkDest, (entry.dir_ref, entry.name.to_bytes()), source.kind);
        manifest.record_unchanged(entry, source, cx);
    }
    Ok(linked)
}

/// Reports an entry that is not copied and whose type differs at the target; as with rsync(1), this
/// is no failure.
fn tell_unlike(entry: &Visit<'_>, kind: Kind, target: Option<&Metadata>, cx: &mut Context<'_, '_>) {
    if target.is_some_and(|target| target.kind != kind) {
        cx.worker.gathered.tally.synced.type_mismatches += 1;
        let below = path::join(entry.dir_ref.path().as_bytes(), entry.name.to_bytes());
        let shown = &cx.env.root(entry.dir_ref).shown_source;
        let error = Op::Copy.failed(Cause::LeftOut);
        cx.env.account.leave_out(account::failure(Side::Source, shown, &below, error), cx.task);
    }
}

pub(super) fn is_same_content(
    way: Way,
    files: &[Box<dyn SourceFile>; 2],
    size_bytes: u64,
    cx: &mut Context<'_, '_>,
) -> Result<bool, SideError> {
    let [source, target] = files.each_ref().map(|file| &**file);
    let buffers = cx.worker.buffers(cx.env.options.buffer_bytes);
    // Everything that was read counts as evidence, where verification reads the copied content
    // again.
    let reading =
        if cx.env.verifier.is_some() { Reading::Everything } else { Reading::AroundHoles };
    let how = (way, cx.env.evidence());
    let compared = is_same_file(how, source, target, size_bytes, reading, buffers);
    let Some((is_same, check)) = unless_in_doubt(compared)? else { return Ok(false) };
    let volume = cx.worker.gathered.tally.compared.by(check);
    volume.files += 1;
    volume.bytes += size_bytes;
    Ok(is_same)
}

/// Sets the attributes of the source for an entry in place.
pub(super) fn repair(
    entry: &Visit<'_>,
    source: &Metadata,
    cx: &mut Context<'_, '_>,
) -> Result<(), SideError> {
    let name = cx.env.target_name(entry.dir_ref, entry.name);
    cx.plan_line("set attributes", entry.dir_ref, entry.name.to_bytes());
    let xattrs = attributes::own_xattrs(cx.env, entry, source.kind)?;
    let dir = entry.dir_ref.target_dir(cx.env.target(entry.dir_ref)).at(Side::Target)?;
    let plain = Plain::of_entry(cx.env.options, source, &*dir).at(Side::Target)?;
    let attributes = attribute_policy::of_any(cx.env.options, source, xattrs, plain);
    let preserved = dir.set_entry_attributes(name, source.kind, &attributes).at(Side::Target)?;
    cx.worker.gathered.tally.synced.attributes_set += 1;
    cx.worker.gathered.tally.xattrs_not_preserved += u64::from(preserved.xattrs_lost);
    cx.worker.gathered.tally.attributes_not_preserved += u64::from(preserved.attributes_lost);
    cx.worker.gathered.tally.object_properties_not_preserved +=
        u64::from(preserved.properties_lost);
    cx.preserved = preserved;
    cx.record(change::Action::SetAttributes, (entry.dir_ref, entry.name.to_bytes()), source.kind);
    cx.check_given(entry.dir_ref, name, preserved);
    Ok(())
}

/// Counts an entry that an option of the operator leaves as it is.
fn keep_back(source: Option<&Metadata>, cx: &mut Context<'_, '_>) -> Handled {
    if let Some(source) = source {
        cx.worker.gathered.meet(source);
    }
    cx.worker.gathered.tally.synced.skipped += 1;
    Handled::SKIPPED
}

/// Returns whether a file of another copy, in that directory, has the content of the source by the
/// change test, and all attributes that it is to have.
pub(super) fn is_unchanged(
    criteria: &SyncOptions,
    entry: &Visit<'_>,
    dir: &dyn Dir,
    sides: &Sides,
    cx: &mut Context<'_, '_>,
) -> Result<bool, SideError> {
    let Sides { source, target } = sides;
    let are_files = [source.kind, target.kind] == [Kind::File; 2];
    if !are_files {
        return Ok(false);
    }
    let clue = || attributes::clue(cx.env, entry.dir_ref, sides);
    let is_same = match decide_content(sides, criteria.change_test, || false, clue) {
        Content::Same | Content::SameByTime => true,
        Content::Differs => false,
        Content::Unknown => has_same_content(criteria, entry, dir, sides, cx)?,
    };
    Ok(is_same && attributes::attributes_needed(entry, dir, sides, cx)? == Need::Nothing)
}

fn has_same_content(
    criteria: &SyncOptions,
    entry: &Visit<'_>,
    dir: &dyn Dir,
    sides: &Sides,
    cx: &mut Context<'_, '_>,
) -> Result<bool, SideError> {
    let source = entry.dir.open_file(entry.name).at(Side::Source)?;
    let name = cx.env.target_name(entry.dir_ref, entry.name);
    let Ok(other) = dir.open_file(name) else { return Ok(false) };
    let files = [source, other];
    let way = Way::of(&*files[0], &*files[1], criteria.evidence)?;
    is_same_content(way, &files, sides.source.size_bytes, cx)
}

/// Returns the result of a comparison that only saves work. Returns `None` where it is in doubt: a
/// source that changes meanwhile, or whose bytes contradict its ETag, is copied, with a check of
/// its own; a target that cannot be read is copied, too, and the copy reports any error. A target
/// whose bytes contradict its ETag is an error: where ETags are not MD5s, each run would copy it
/// again.
pub(super) fn unless_in_doubt<T>(compared: Result<T, SideError>) -> Result<Option<T>, SideError> {
    let is_contradicted = |error: &Error| error.cause == Cause::Service(ServiceFault::WrongEtag);
    let is_in_doubt = |SideError { side, error }: &SideError| match side {
        Side::Source => error.cause == Cause::Changed || is_contradicted(error),
        Side::Target => !is_contradicted(error),
    };
    match compared {
        Err(side_error) if is_in_doubt(&side_error) => Ok(None),
        compared => compared.map(Some),
    }
}
