//! Directories of the target that have the name of a file, link or special file: such a directory
//! is removed only when its replacement is certain.

use super::context::Context;
use super::directory::Directories;
use super::env::{Env, Stage};
use super::extraneous::Extraneous;
use super::options::SyncOptions;
use crate::walk::Visit;
use store::{Dir, NewFile, NewSpecial, NewSymlink};
use types::entry::{Attributes, Hint, Kind};
use types::error::{At, Cause, Error, Op, Side, SideError};
use types::listed::change::Action;
use types::path::Name;

/// Executor that handles directories in the way of entries, and records what is done later.
#[derive(Default)]
pub(super) struct Postponed {
    /// Extraneous entries of the target, to be deleted.
    pub extraneous: Extraneous,
    /// Files and links whose names belong to directories of the target, until those are deleted.
    pub deferred: Extraneous,
}

impl Postponed {
    /// Removes a directory that has the name of an entry of another kind. An empty one is removed
    /// at once. One that is not empty is deleted like any other extraneous entry, under the same
    /// conditions. Returns true if the entry is deferred until then.
    pub fn make_way(
        &self,
        directories: &Directories,
        criteria: &SyncOptions,
        entry: &Visit<'_>,
        kind: Kind,
        cx: &mut Context<'_, '_>,
    ) -> Result<bool, SideError> {
        let target = entry.dir_ref.target_dir(cx.env.target(entry.dir_ref)).at(Side::Target)?;
        let is_after_deletion = cx.env.stage == Stage::AfterDeletion;
        // The store of a dry run still has what the plan has deleted.
        if is_after_deletion && cx.env.target(entry.dir_ref).discards_writes() {
            return Ok(false);
        }
        let name = cx.env.target_name(entry.dir_ref, entry.name);
        let is_empty = is_empty_tree(&*target, name)?;
        if !is_empty && (!criteria.delete || is_after_deletion) {
            let left =
                if criteria.delete { Cause::UndeletedDirectory } else { Cause::FullDirectory };
            return Err(Op::Copy.failed(left)).at(Side::Target);
        }
        directories.before_change(cx.env, entry.dir_ref)?;
        rehearse(cx.env, entry, kind, &*target)?;
        if is_empty {
            cx.plan_line("remove", entry.dir_ref, entry.name.to_bytes());
            target.remove(name, Kind::Directory).at(Side::Target)?;
            cx.record(Action::Delete, (entry.dir_ref, entry.name.to_bytes()), Kind::Directory);
            return Ok(false);
        }
        self.extraneous.add(entry.dir_ref, name, Hint::Directory);
        self.deferred.add(entry.dir_ref, entry.name, entry.hint);
        Ok(true)
    }
}

/// True if a directory at the target is empty.
fn is_empty_tree(target: &dyn Dir, name: &Name) -> Result<bool, SideError> {
    let mut is_empty = true;
    let dir = target.open_dir(name).at(Side::Target)?;
    match dir.list(&mut |_, _| is_empty = false) {
        // The deletion lists the directory, with more rights than this process has now.
        Err(Error { cause: Cause::System(libc::EACCES), .. }) => Ok(false),
        listed => listed.at(Side::Target).map(|()| is_empty),
    }
}

/// Reads the beginning of the entry, and creates one of its kind next to the directory, which is
/// removed again: an entry that cannot be read or created is an error before the directory is
/// deleted.
fn rehearse(
    env: &Env<'_>,
    entry: &Visit<'_>,
    kind: Kind,
    target: &dyn Dir,
) -> Result<(), SideError> {
    let is_tried = !env.target(entry.dir_ref).holds_objects();
    let (staged, name) = (env.staged_name(), env.staged_name());
    let (staged, name) = (&*staged, &*name);
    match kind {
        Kind::File => {
            let source = entry.dir.open_file(entry.name).at(Side::Source)?;
            source.read_at(&mut [0], 0).at(Side::Source)?;
            if is_tried {
                let new = NewFile::new(staged, name, Attributes::NONE);
                let staged = target.stage_file(&new).at(Side::Target)?;
                staged.abandon().at(Side::Target)?;
            }
            return Ok(());
        }
        Kind::Symlink => {
            let points_to = &entry.dir.read_link(entry.name).at(Side::Source)?;
            let (mtime, attributes) = (None, Attributes::default());
            let link = NewSymlink { points_to, staged, name, mtime, attributes };
            if is_tried {
                target.make_symlink(&link).at(Side::Target)?;
            }
        }
        kind => {
            let device = entry.dir.device_number(entry.name).at(Side::Source)?;
            let attributes = Attributes::default();
            let special = NewSpecial { kind, device, staged, name, attributes };
            if is_tried {
                target.make_special(&special).at(Side::Target)?;
            }
        }
    }
    if is_tried { target.remove(name, kind).at(Side::Target) } else { Ok(()) }
}
