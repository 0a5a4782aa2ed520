//! Making the target equal: what each entry needs, and doing no more than that.
//!
//! An entry that is missing or has other content is copied; one that only has other attributes is given
//! them in place; what is the same is not touched. A rule of the operator may leave entries as they are.

use super::attributes;
use super::hard_links;
use super::look;
use super::resume;
use super::visit;
use std::sync::Arc;

use super::context::Context;
use super::decide::{Action, Content, Existing, decide, decide_content, decide_existing};
use super::large::LargeFiles;
use super::manifest::Manifest;
use super::options::{Judge, SyncOptions};
use super::policy::Plain;
use super::upkeep::Upkeep;
use super::{CopyJob, policy};
use crate::chunked::Outcome;
use crate::compare::content::{Way, is_same_whole};
use crate::compare::holes::Reading;
use crate::walk::account;
use crate::walk::place::Place;
use crate::walk::{Visit, Visited};
use store::{Dir, SourceFile};
use types::entry::{Hint, Kind, Metadata};
use types::error::{At, Cause, Op, Side, Trouble};
use types::outcome::compare::Clue;
use types::outcome::difference::Fields;
use types::outcome::tally::Check;
use types::path::{self, Name};

/// Need of an entry that is at the target already, with the right kind.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
        cx: &mut Context<'_, '_>,
    ) -> Result<Visited, Trouble> {
        let source = match entry.hint {
            // Whoever lists it looks at it.
            Hint::Directory => None,
            _ => Some(look::source_of(cx.env, rules, entry)?),
        };
        cx.hand.gathered.seen = source;
        let kind = source.map_or(Kind::Directory, |source| source.kind);
        if source.is_some_and(|source| !cx.env.selection.admits(&source)) {
            return Ok(Visited::NOTHING_MOVED);
        }
        let target = look::at_target(cx.env, rules, entry)?;
        let is_left = |source| self.links.leaves_for_links(entry, &source, target.as_ref(), cx);
        if source.is_some_and(is_left) {
            return Ok(Visited::NOTHING_MOVED);
        }
        if kind.is_special() && !cx.env.is_made(entry, kind) {
            tell_unlike(entry, kind, target.as_ref(), cx);
            self.upkeep.manifest.record_as_it_is((&**entry.place, entry.name), cx);
            return Ok(visit::leave_out(kind, cx));
        }
        match decide(source, target, rules, cx.env.stage) {
            Action::LeaveMissing => Ok(keep_back(source.as_ref(), cx)),
            Action::Enter => Ok(Visited::Directory),
            Action::KeepInsteadOfDirectory => {
                self.upkeep.manifest.record_as_it_is((&**entry.place, entry.name), cx);
                Ok(keep_back(None, cx))
            }
            Action::MakeDirectory => {
                self.upkeep.directories.before_change(cx.env, entry.place)?;
                if target.is_some() {
                    cx.plan_line("remove", entry.place, entry.name.to_bytes());
                }
                Ok(Visited::NewDirectory)
            }
            Action::Create(source) => {
                self.upkeep.directories.before_change(cx.env, entry.place)?;
                if link_unchanged(rules, entry, &source, &self.upkeep.manifest, cx)? {
                    return Ok(Visited::NOTHING_MOVED);
                }
                self.visit_kind(entry, source.kind, cx)
            }
            Action::Keep(sides) => {
                cx.hand.is_complete = hard_links::is_joined(rules, entry, &sides, &self.large, cx)?;
                self.upkeep.manifest.record_as_it_is((&**entry.place, entry.name), cx);
                Ok(keep_back(Some(&sides.source), cx))
            }
            Action::LookCloser(sides) => self.sync_existing(rules, entry, sides, cx),
        }
    }

    fn sync_existing(
        &self,
        rules: &SyncOptions,
        entry: &Visit<'_>,
        sides: Sides,
        cx: &mut Context<'_, '_>,
    ) -> Result<Visited, Trouble> {
        let sides = &look::look_closer(cx.env, rules, entry, sides)?;
        let Sides { source, .. } = sides;
        match decide_existing(sides, rules) {
            Existing::Nothing => self.satisfy(Need::Nothing, entry, source, cx),
            Existing::Keep => {
                self.upkeep.manifest.record_as_it_is((&**entry.place, entry.name), cx);
                Ok(keep_back(Some(source), cx))
            }
            Existing::Replace { directory } => {
                let Upkeep { postponed, directories, .. } = &self.upkeep;
                if directory && postponed.make_way(directories, rules, entry, source.kind, cx)? {
                    return Ok(Visited::NOTHING_MOVED);
                }
                directories.before_change(cx.env, entry.place)?;
                self.visit_kind(entry, source.kind, cx)
            }
            Existing::Compare if hard_links::is_parted(cx) => {
                hard_links::prepare_parting(entry, source.kind, &self.upkeep.directories, cx)?;
                self.visit_kind(entry, source.kind, cx)
            }
            Existing::Compare => match need(rules, entry, sides, &self.large, cx)? {
                Need::ToBeSeen => Ok(Visited::Done { moved_bytes: u64::MAX / 2 }),
                need => self.satisfy(need, entry, source, cx),
            },
        }
    }

    /// Gives an entry what it was found to need.
    pub(super) fn satisfy(
        &self,
        need: Need,
        entry: &Visit<'_>,
        source: &Metadata,
        cx: &mut Context<'_, '_>,
    ) -> Result<Visited, Trouble> {
        match need {
            Need::Content => {
                self.upkeep.directories.before_change(cx.env, entry.place)?;
                self.visit_kind(entry, source.kind, cx)
            }
            Need::Attributes => {
                cx.hand.gathered.meet(source);
                repair(entry, source, cx)?;
                cx.hand.is_complete = true;
                self.upkeep.manifest.record_unchanged(entry, source, cx);
                Ok(Visited::NOTHING_MOVED)
            }
            Need::Nothing | Need::ToBeSeen => {
                cx.hand.gathered.meet(source);
                cx.hand.gathered.tally.synced.unchanged += 1;
                cx.hand.is_complete = true;
                self.upkeep.manifest.record_unchanged(entry, source, cx);
                Ok(Visited::NOTHING_MOVED)
            }
        }
    }

    /// Copies a file whose chunks were all compared, gives it attributes, or leaves it alone.
    pub(super) fn end_comparison(
        &self,
        place: &Arc<Place>,
        name: &Name,
        sides: &Sides,
        outcome: Outcome,
        cx: &mut Context<'_, '_>,
    ) -> Result<(), Trouble> {
        let dir = place.source_dir(&*cx.env.root(place).source).at(Side::Source)?;
        let entry = Visit { place, dir: &dir, name, hint: Hint::File };
        let outcome = match outcome {
            Outcome::Failed(trouble) => unless_in_doubt(Err(trouble))?.unwrap_or(Outcome::Differs),
            outcome => outcome,
        };
        let need = match outcome {
            Outcome::Failed(_) | Outcome::Differs => Need::Content,
            Outcome::Done => {
                let target_dir = place.target_dir(cx.env.target(place)).at(Side::Target)?;
                attributes::attributes_needed(&entry, &*target_dir, sides, cx)?
            }
        };
        self.satisfy(need, &entry, &sides.source, cx).map(|_| ())
    }
}

/// Finds out what an entry of the right kind needs.
pub(super) fn need(
    rules: &SyncOptions,
    entry: &Visit<'_>,
    sides: &Sides,
    large: &LargeFiles,
    cx: &mut Context<'_, '_>,
) -> Result<Need, Trouble> {
    let target_dir = entry.place.target_dir(cx.env.target(entry.place)).at(Side::Target)?;
    let name = cx.env.target_name(entry.place, entry.name);
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
            let is_in_doubt = || resume::is_in_doubt(env, entry.place, sides);
            let clue = || attributes::clue(env, entry.place, sides);
            decide_content(sides, rules.judge, is_in_doubt, clue)
        }
    };
    match content {
        Content::Differs => return Ok(Need::Content),
        Content::Unknown => {
            return need_by_content(rules, entry, &*target_dir, sides, large, cx);
        }
        Content::SameByTime => {
            let is_by_storing = !target.known.contains(Fields::MTIME);
            cx.hand.gathered.tally.synced.unchanged_by_upload_time += u64::from(is_by_storing);
        }
        Content::Same => {}
    }
    attributes::attributes_needed(entry, &*target_dir, sides, cx)
}

/// Finds out what a file of the right size needs, as its content shows.
fn need_by_content(
    rules: &SyncOptions,
    entry: &Visit<'_>,
    target_dir: &dyn Dir,
    sides: &Sides,
    large: &LargeFiles,
    cx: &mut Context<'_, '_>,
) -> Result<Need, Trouble> {
    // Opened once here, so that what cannot be read is said once.
    let source = entry.dir.open_file(entry.name).at(Side::Source)?;
    // What cannot be inspected counts as different: to compare it was only to save work.
    let target_name = cx.env.target_name(entry.place, entry.name);
    let Ok(target) = target_dir.open_file(target_name) else { return Ok(Need::Content) };
    let files = [source, target];
    let size_bytes = sides.source.size_bytes;
    let is_large = size_bytes > cx.env.chunk_bytes(entry.place, size_bytes);
    let way = Way::of(&*files[0], &*files[1], rules.evidence)?;
    let check = way.check(&*files[0], &*files[1]);
    // Copying is no more than downloading, where that was not asked for.
    if check == Check::Downloaded && rules.judge != Judge::Content {
        return Ok(Need::Content);
    }
    if is_large && way.known().is_none() {
        cx.hand.gathered.tally.compared.by(check).files += 1;
        large.begin_comparison((entry.place, entry.name), way, sides, cx);
        return Ok(Need::ToBeSeen);
    }
    if is_same_content(way, &files, size_bytes, cx)? {
        attributes::attributes_needed(entry, target_dir, sides, cx)
    } else {
        Ok(Need::Content)
    }
}

/// Links a file that is the same in the directory of `--link-dest` to that one. True where that was done.
fn link_unchanged(
    rules: &SyncOptions,
    entry: &Visit<'_>,
    source: &Metadata,
    manifest: &Manifest<'_>,
    cx: &mut Context<'_, '_>,
) -> Result<bool, Trouble> {
    let Some(link_dest) = &cx.env.root(entry.place).link_dest else { return Ok(false) };
    if cx.env.target_name(entry.place, entry.name) != entry.name {
        // The old copy of a file that gets another name is not looked for.
        return Ok(false);
    }
    let Ok(old_dir) = link_dest.open_dir(entry.place.path()) else { return Ok(false) };
    let Ok(old) = old_dir.stat(entry.name) else { return Ok(false) };
    let sides = Sides { source: *source, target: old };
    if !is_unchanged(rules, entry, &*old_dir, &sides, cx)? {
        return Ok(false);
    }
    let dir = entry.place.target_dir(cx.env.target(entry.place)).at(Side::Target)?;
    let linked = dir.link_from(&*old_dir, entry.name).at(Side::Target)?;
    if linked {
        cx.plan_line("create hard link to --link-dest", entry.place, entry.name.to_bytes());
        cx.hand.gathered.meet(source);
        cx.hand.gathered.tally.synced.hard_linked_to_link_dest += 1;
        cx.hand.is_complete = true;
        manifest.record_unchanged(entry, source, cx);
    }
    Ok(linked)
}

/// What is not copied may still be unlike what the target has: that is said, and, as with rsync(1), no
/// failure.
fn tell_unlike(entry: &Visit<'_>, kind: Kind, target: Option<&Metadata>, cx: &mut Context<'_, '_>) {
    if target.is_some_and(|target| target.kind != kind) {
        cx.hand.gathered.tally.synced.type_mismatches += 1;
        let below = path::join(entry.place.path().as_bytes(), entry.name.to_bytes());
        let shown = &cx.env.root(entry.place).shown_source;
        let error = Op::Copy.failed(Cause::LeftOut);
        cx.env.account.leave_out(account::failure(Side::Source, shown, &below, error), cx.crew);
    }
}

pub(super) fn is_same_content(
    way: Way,
    files: &[Box<dyn SourceFile>; 2],
    size_bytes: u64,
    cx: &mut Context<'_, '_>,
) -> Result<bool, Trouble> {
    let [source, target] = files.each_ref().map(|file| &**file);
    let buffers = cx.hand.buffers(cx.env.options.buffer_bytes);
    // What was read is evidence where what is copied is read again.
    let reading =
        if cx.env.verifier.is_some() { Reading::Everything } else { Reading::AroundHoles };
    let compared = is_same_whole(way, source, target, size_bytes, reading, buffers);
    let Some((is_same, check)) = unless_in_doubt(compared)? else { return Ok(false) };
    let volume = cx.hand.gathered.tally.compared.by(check);
    volume.files += 1;
    volume.bytes += size_bytes;
    Ok(is_same)
}

/// Gives an entry the source's attributes in place.
pub(super) fn repair(
    entry: &Visit<'_>,
    source: &Metadata,
    cx: &mut Context<'_, '_>,
) -> Result<(), Trouble> {
    let name = cx.env.target_name(entry.place, entry.name);
    cx.plan_line("set attributes", entry.place, entry.name.to_bytes());
    let xattrs = attributes::own_xattrs(cx.env, entry, source.kind)?;
    let dir = entry.place.target_dir(cx.env.target(entry.place)).at(Side::Target)?;
    let plain = Plain::of_entry(cx.env.options, source, &*dir).at(Side::Target)?;
    let attributes = policy::of_any(cx.env.options, source, xattrs, plain);
    let kept = dir.set_entry_attributes(name, source.kind, &attributes).at(Side::Target)?;
    cx.hand.gathered.tally.synced.attributes_set += 1;
    cx.hand.gathered.tally.xattrs_not_preserved += u64::from(kept.xattrs_lost);
    cx.hand.gathered.tally.attributes_not_preserved += u64::from(kept.attributes_lost);
    cx.hand.gathered.tally.object_properties_not_preserved += u64::from(kept.properties_lost);
    cx.check_given(entry.place, name, kept);
    Ok(())
}

/// A rule of the operator leaves the target as it is.
fn keep_back(source: Option<&Metadata>, cx: &mut Context<'_, '_>) -> Visited {
    if let Some(source) = source {
        cx.hand.gathered.meet(source);
    }
    cx.hand.gathered.tally.synced.skipped += 1;
    Visited::NOTHING_MOVED
}

/// Whether a file of another copy, in that directory, has the source's content by the operator's rule, and
/// all attributes that it is to have.
pub(super) fn is_unchanged(
    rules: &SyncOptions,
    entry: &Visit<'_>,
    dir: &dyn Dir,
    sides: &Sides,
    cx: &mut Context<'_, '_>,
) -> Result<bool, Trouble> {
    let Sides { source, target } = sides;
    let are_files = [source.kind, target.kind] == [Kind::File; 2];
    if !are_files || source.size_bytes != target.size_bytes {
        return Ok(false);
    }
    let is_same = match (rules.judge, attributes::clue(cx.env, entry.place, sides)) {
        (Judge::SizeOnly, _) | (Judge::SizeAndTime, Clue::Same) => true,
        (Judge::SizeAndTime, Clue::Differs) => false,
        (Judge::Content, _) | (Judge::SizeAndTime, Clue::Unclear) => {
            has_same_content(rules, entry, dir, sides, cx)?
        }
    };
    Ok(is_same && attributes::attributes_needed(entry, dir, sides, cx)? == Need::Nothing)
}

fn has_same_content(
    rules: &SyncOptions,
    entry: &Visit<'_>,
    dir: &dyn Dir,
    sides: &Sides,
    cx: &mut Context<'_, '_>,
) -> Result<bool, Trouble> {
    let source = entry.dir.open_file(entry.name).at(Side::Source)?;
    let name = cx.env.target_name(entry.place, entry.name);
    let Ok(other) = dir.open_file(name) else { return Ok(false) };
    let files = [source, other];
    let way = Way::of(&*files[0], &*files[1], rules.evidence)?;
    is_same_content(way, &files, sides.source.size_bytes, cx)
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
