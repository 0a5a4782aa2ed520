//! Creation of a directory at the target before anything below it is copied.

use super::attributes;
use super::env::Env;
use super::resume;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use super::attribute_policy::{self, Plain};
use super::context::Context;
use super::decide::Sides;
use super::finish::DirectoryRecords;
use crate::walk::Skip;
use crate::walk::dir_ref::{DirRef, Rights, Trees};
use crate::walk::packed::RootedPath;
use store::{Dir, Made};
use types::entry::{Attributes, Kind, Metadata, Preserved, Times, Xattrs};
use types::error::{At, Cause, Error, Side, SideError};
use types::listed::change::{Action, Reason};
use types::outcome::difference::Fields;
use types::path::RelPath;

/// Executor that creates directories, and records the attributes that each gets at the end.
#[derive(Default)]
pub(super) struct Directories {
    pub records: DirectoryRecords,
    /// Directories that were created without a walk to them, or later than that: the hash of each
    /// path, and whether it could be created.
    reached: Mutex<HashMap<u64, Result<(), Skip>>>,
    /// Directories that rank 0 has planned later than the walk, for all ranks.
    pub(super) planned: Mutex<HashSet<RootedPath>>,
    /// Timestamps of directories that were listed again.
    pub(super) new_times: Mutex<Vec<(RootedPath, Times)>>,
}

impl Directories {
    /// Creates the counterpart of a directory, or uses the existing one.
    pub(super) fn make_directory(
        &self,
        dir_ref: &Arc<DirRef>,
        metadata: &Metadata,
        cx: &mut Context<'_, '_>,
    ) -> Result<(), SideError> {
        if !cx.env.target(dir_ref).keeps_directories() {
            return count_directory(dir_ref, metadata, cx).at(Side::Target);
        }
        let xattrs =
            cx.env.xattrs_of(|| dir_ref.source_dir(&*cx.env.root(dir_ref).source)?.xattrs(None))?;
        cx.reason = Reason::default();
        let attributes = match make_here(cx.env, dir_ref, metadata).at(Side::Target)? {
            Made::New => attributes_of_new(dir_ref, metadata, xattrs, cx)?,
            Made::Existed if cx.env.options.sync.is_some() => {
                let attributes = self.sync_attributes(dir_ref, metadata, xattrs, cx)?;
                self.record(cx.env, dir_ref, attributes.as_ref());
                return self.sweep(dir_ref, cx);
            }
            Made::Existed => {
                dir_ref.set_trees(Trees::Both);
                let widened_from = widen(cx.env, dir_ref).at(Side::Target)?;
                self.sweep(dir_ref, cx)?;
                if resume::was_made(cx.env, dir_ref) {
                    let plain = plain_of_made(cx.env, dir_ref, metadata).at(Side::Target)?;
                    attribute_policy::of_made_directory(cx.env.options, metadata, xattrs, plain)
                } else {
                    let plain = plain(cx.env, dir_ref, metadata).at(Side::Target)?;
                    attribute_policy::of_old_directory(
                        cx.env.options,
                        metadata,
                        xattrs,
                        widened_from,
                        plain,
                    )
                }
            }
        };
        self.record(cx.env, dir_ref, attributes.as_ref());
        // Several tasks may reach the directory of a named entry.
        if dir_ref.is_fresh() || cx.env.named.is_none() {
            cx.copied((&**dir_ref, c""), Kind::Directory, Preserved::ALL);
        }
        Ok(())
    }

    /// Records the attributes that a directory gets at the end of the job, if any. Where writes are
    /// discarded there is nothing to set, and the end of the job opens no directory again.
    pub(super) fn record(&self, env: &Env<'_>, dir_ref: &DirRef, attributes: Option<&Attributes>) {
        if let Some(attributes) = attributes.filter(|_| !env.target(dir_ref).discards_writes()) {
            self.records.add(dir_ref, attributes);
        }
    }

    /// Prepares an existing directory for changes: makes it writable, and records the attributes
    /// that it gets again at the end.
    pub(super) fn before_change(&self, env: &Env<'_>, dir_ref: &DirRef) -> Result<(), SideError> {
        if env.options.sync.is_none() || dir_ref.is_fresh() || env.target(dir_ref).holds_objects() {
            return Ok(());
        }
        dir_ref.prepare(|| {
            let target = dir_ref.target_dir(env.target(dir_ref)).at(Side::Target)?;
            let is_superuser = env.options.user.is_superuser;
            let widened_from = attribute_policy::widen(&*target, is_superuser).at(Side::Target)?;
            let end = if dir_ref.path().is_root() && env.root(dir_ref).names.is_some() {
                widened_from.map(attribute_policy::mode_alone)
            } else {
                let source = dir_ref.source_dir(&*env.root(dir_ref).source).at(Side::Source)?;
                let metadata = source.metadata().at(Side::Source)?;
                let xattrs = env.xattrs_of(|| source.xattrs(None))?;
                let plain = Plain::of_directory(env.options, &metadata, &*target);
                let plain = plain.at(Side::Target)?;
                attribute_policy::of_old_directory(
                    env.options,
                    &metadata,
                    xattrs,
                    widened_from,
                    plain,
                )
            };
            self.record(env, dir_ref, end.as_ref());
            Ok(())
        })
    }

    /// Creates a directory with all its parents, each with the attributes of its source, unless
    /// this rank has done so before: for entries that are named instead of found by a walk.
    pub(super) fn make_reachable(
        &self,
        dir_ref: &Arc<DirRef>,
        cx: &mut Context<'_, '_>,
    ) -> Result<(), Skip> {
        self.for_each_above(dir_ref, cx, |dir_ref, cx| {
            if dir_ref.path().is_root() && cx.env.root(dir_ref).target_metadata.is_none() {
                // A dry run has a target that does not exist.
                dir_ref.set_trees(Trees::SourceOnly);
            }
            let source = &*cx.env.root(dir_ref).source;
            let looked = dir_ref.source_dir(source).and_then(|dir| dir.metadata());
            self.make_directory(dir_ref, &looked.at(Side::Source)?, cx)
        })
    }

    /// Does something with a directory and all above it, the root first, once on this rank. `Err`
    /// excludes the entries of the directory, after the failure was reported.
    pub(super) fn for_each_above<'t, 'c>(
        &self,
        dir_ref: &Arc<DirRef>,
        cx: &mut Context<'t, 'c>,
        mut act: impl FnMut(&Arc<DirRef>, &mut Context<'t, 'c>) -> Result<(), SideError>,
    ) -> Result<(), Skip> {
        // Other threads that need these directories wait until they exist.
        let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        let mut path = RelPath::root();
        let components: Vec<&[u8]> = dir_ref.path().components().collect();
        for end in 0..=components.len() {
            if end > 0 {
                let name = CString::new(components[end - 1]).map_err(|_| Skip)?;
                path = path.child(&name);
            }
            match reached.entry(hash_of(dir_ref.root(), &path)) {
                Entry::Occupied(made) => (*made.get())?,
                Entry::Vacant(vacant) => {
                    let dir_ref = Arc::new(DirRef::at(dir_ref.root(), path.clone()));
                    let made = act(&dir_ref, cx).map_err(|side_error| {
                        cx.fail(&dir_ref, b"", side_error);
                        Skip
                    });
                    (*vacant.insert(made))?;
                }
            }
        }
        Ok(())
    }

    /// Returns the attributes that an existing directory is to get; none where nothing differs.
    fn sync_attributes(
        &self,
        dir_ref: &DirRef,
        source: &Metadata,
        xattrs: Option<Xattrs>,
        cx: &mut Context<'_, '_>,
    ) -> Result<Option<Attributes>, SideError> {
        let (dir, widened_from) =
            self.look_into(cx.env, dir_ref, source, xattrs.as_ref()).at(Side::Target)?;
        let plain = Plain::of_directory(cx.env.options, source, &*dir).at(Side::Target)?;
        let wanted = attribute_policy::of_any(cx.env.options, source, xattrs, plain);
        let mut target = dir.metadata().at(Side::Target)?;
        target.mode = widened_from.unwrap_or(target.mode);
        let sides = Sides { source: *source, target };
        let range = cx.env.time_range(dir_ref, [source, &target]);
        let mut differing = attributes::differing_attributes(&sides, plain, range, cx);
        if !dir_ref.path().is_root() && is_without_marker(cx.env, dir_ref, &target) {
            differing.insert(cx.env.options.keep.fields());
        }
        if wanted.xattrs.is_some() {
            differing.insert(match dir.xattrs(None) {
                Ok(at_target) => {
                    attributes::differing_xattrs(cx.env, wanted.xattrs.clone(), at_target)
                }
                // Extended attributes that cannot be read count as different.
                Err(_) => Fields::XATTR,
            });
        }
        if differing.is_empty() {
            cx.worker.gathered.tally.synced.unchanged += 1;
            return Ok(None);
        }
        cx.plan_line("set attributes", dir_ref, b"");
        cx.worker.gathered.tally.synced.attributes_set += 1;
        cx.reason = Reason { is_new: false, fields: differing, bytes: 0 };
        cx.record(Action::SetAttributes, (dir_ref, b""), Kind::Directory);
        Ok(Some(wanted))
    }

    /// Opens an existing directory. A directory that its own owner may not list has its mode
    /// widened before, and gets the attributes of the source at the end in any case. Returns the
    /// mode that it had, if that was widened.
    fn look_into(
        &self,
        env: &Env<'_>,
        dir_ref: &DirRef,
        source: &Metadata,
        xattrs: Option<&Xattrs>,
    ) -> Result<(Arc<dyn Dir>, Option<u32>), Error> {
        let mut widened_from = None;
        let dir = dir_ref.target_dir_let_in(env.target(dir_ref), |dir| {
            widened_from = attribute_policy::widen_to_look(dir, env.options.user.is_superuser)?;
            if widened_from.is_none() {
                return Ok(Rights::AsBefore);
            }
            let plain = Plain::of_directory(env.options, source, dir)?;
            let wanted = attribute_policy::of_any(env.options, source, xattrs.cloned(), plain);
            let mode = wanted.mode.or(widened_from);
            self.record(env, dir_ref, Some(&Attributes { mode, ..wanted }));
            Ok(Rights::Gained)
        })?;
        Ok((dir, widened_from))
    }
}

/// Returns whether a directory of objects has no object of its own that could have its attributes:
/// only such an object has a time at which it was stored.
fn is_without_marker(env: &Env<'_>, dir_ref: &DirRef, target: &Metadata) -> bool {
    env.target(dir_ref).holds_objects() && target.ctime.seconds == 0
}

/// Notes that a directory is new, and returns the attributes that it gets at the end.
pub(super) fn attributes_of_new(
    dir_ref: &DirRef,
    metadata: &Metadata,
    xattrs: Option<Xattrs>,
    cx: &mut Context<'_, '_>,
) -> Result<Option<Attributes>, SideError> {
    dir_ref.set_trees(Trees::SourceOnly);
    cx.reason.is_new = true;
    cx.plan_line("create directory", dir_ref, b"");
    let plain = plain(cx.env, dir_ref, metadata).at(Side::Target)?;
    let attributes = attribute_policy::of_new_directory(cx.env.options, metadata, xattrs, plain);
    give_rights(cx.env, dir_ref, attributes.as_ref());
    Ok(attributes)
}

/// Sets the attributes of a new directory at once where the job may be interrupted and resumed: the
/// directory may have been renamed in the source by then, so that no walk comes to it again.
fn give_rights(env: &Env<'_>, dir_ref: &DirRef, attributes: Option<&Attributes>) {
    let decided = attributes.and_then(|attributes| Some((attributes, attributes.mode?)));
    let Some((attributes, mode)) = decided.filter(|_| env.journal.is_some()) else {
        return;
    };
    let mode = Some(mode | attribute_policy::OWNER_ALL);
    let rights = Attributes { mode, times: None, ..attributes.clone() };
    // The attributes are set again at the end, where a failure is reported.
    let _ = dir_ref.target_dir(env.target(dir_ref)).and_then(|dir| dir.set_attributes(&rights));
}

/// Counts a directory whose target holds objects: it comes into being with its contents and has no
/// attributes.
fn count_directory(
    dir_ref: &Arc<DirRef>,
    metadata: &Metadata,
    cx: &mut Context<'_, '_>,
) -> Result<(), Error> {
    dir_ref.set_trees(match make_here(cx.env, dir_ref, metadata)? {
        Made::New => Trees::SourceOnly,
        Made::Existed => Trees::Both,
    });
    let is_lost = cx.env.root(dir_ref).source.keeps_directories();
    cx.worker.gathered.tally.directories_not_preserved += u64::from(is_lost);
    Ok(())
}

/// Returns the basis for the mode of an existing directory, where the source does not determine it.
fn plain(env: &Env<'_>, dir_ref: &DirRef, source: &Metadata) -> Result<Plain, Error> {
    Plain::of_directory(env.options, source, &*dir_ref.target_dir(env.target(dir_ref))?)
}

/// Returns the basis for the mode of a directory that an interrupted job has created, where the
/// source does not determine it.
fn plain_of_made(env: &Env<'_>, dir_ref: &DirRef, source: &Metadata) -> Result<Plain, Error> {
    Plain::of_made_directory(env.options, source, &*dir_ref.target_dir(env.target(dir_ref))?)
}

/// Creates a directory below the root; the root itself was created or found before the walk began.
/// In a synchronisation, an existing directory is only opened, later, and nothing is tried that
/// could change anything.
pub(super) fn make_here(
    env: &Env<'_>,
    dir_ref: &DirRef,
    metadata: &Metadata,
) -> Result<Made, Error> {
    let Some((parent, name)) = dir_ref.path().split_last() else {
        return Ok(if dir_ref.is_fresh() { Made::New } else { Made::Existed });
    };
    if env.options.sync.is_some() && env.named.is_none() && !dir_ref.is_fresh() {
        return Ok(Made::Existed);
    }
    // The store of a dry run still has an entry of another kind that the plan has replaced.
    if dir_ref.is_fresh() && env.target(dir_ref).discards_writes() {
        return Ok(Made::New);
    }
    let mode = attribute_policy::making_mode(env.options, metadata);
    let target = env.target(dir_ref);
    let parent = || dir_ref.target_parent(target, &parent);
    if attribute_policy::was_widened(env.options, metadata) && !env.options.keep.decides_mode() {
        resume::before_widened(env, dir_ref, &*parent()?, &name);
    }
    let is_there = |metadata: Metadata| metadata.kind == Kind::Directory;
    if env.options.sync.is_some() && parent()?.stat(&name).is_ok_and(is_there) {
        return Ok(Made::Existed);
    }
    match dir_ref.make_target(target, mode) {
        // The entry is removed no earlier than now, when the directory of the source is open and
        // will be read.
        Err(error) if error.cause == Cause::KindDiffers && env.options.mirrors() => {
            let parent = parent()?;
            parent.remove(&name, parent.stat(&name)?.kind)?;
            parent.make_dir(&name, mode)
        }
        other => other,
    }
}

/// Makes a directory writable for the duration of the copy that its own owner may not write to.
/// Returns the mode that it had.
fn widen(env: &Env<'_>, dir_ref: &DirRef) -> Result<Option<u32>, Error> {
    let target = dir_ref.target_dir(env.target(dir_ref))?;
    attribute_policy::widen(&*target, env.options.user.is_superuser)
}

/// Hashes a path. A collision would leave one directory uncreated, which its entries would then
/// report.
fn hash_of(root: u32, path: &RelPath) -> u64 {
    let mut hasher = DefaultHasher::new();
    (root, path).hash(&mut hasher);
    hasher.finish()
}
