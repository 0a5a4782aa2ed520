//! The counterpart of an entry: the entry of the same name on the other side.

use std::sync::Arc;

use super::CompareJob;
use crate::walk::dir_ref::{DirRef, Trees};
use crate::walk::{self, Visit, WalkTask};
use sched::context::TaskContext;
use store::{Dir, SourceFile};
use types::entry::{Hint, Metadata, Xattrs};
use types::error::{At, Cause, Error, Side, SideError};
use types::outcome::compare;
use types::outcome::difference::{Fields, Findings, Presence};
use types::path::Name;

/// The target's directory, the metadata of the entry in it, and the entry's handle if inspecting it
/// has opened it.
pub(super) type Counterpart = (Arc<dyn Dir>, Metadata, Option<Box<dyn SourceFile>>);

impl CompareJob<'_> {
    /// Returns the name of an entry at the target, which differs from the source's only where two
    /// single entries were named.
    pub(super) fn target_name<'n>(&'n self, dir_ref: &DirRef, name: &'n Name) -> &'n Name {
        match &self.root.single {
            Some((_, renamed)) if dir_ref.path().is_root() => renamed,
            _ => name,
        }
    }

    pub(super) fn target_dir(&self, dir_ref: &DirRef) -> Result<Arc<dyn Dir>, SideError> {
        dir_ref.target_dir(&*self.root.target).at(Side::Target)
    }

    /// Compares the extended attributes of both sides, where they are to be compared.
    pub(super) fn compare_xattrs(
        &self,
        pair: &mut super::Pair,
        source: (&dyn Dir, Option<&Name>),
        target: (&dyn Dir, Option<&Name>),
    ) -> Result<(), SideError> {
        let filter = self.xattrs;
        if filter.concerns(pair.source.kind) {
            let of_source = source.0.xattrs(source.1).at(Side::Source)?;
            let of_target = target.0.xattrs(target.1).at(Side::Target)?;
            let differing = compare::xattrs(of_source.as_ref(), of_target.as_ref(), filter);
            pair.differing.insert(differing.intersection(self.compared));
            // Attributes of one side that the other side cannot hold are unknown, not different.
            let unknown = match (&of_source, &of_target) {
                (Some(known), None) | (None, Some(known)) => {
                    compare::xattrs(Some(known), Some(&Xattrs::new()), filter)
                }
                _ => Fields::NONE,
            };
            pair.unknown.insert(unknown.intersection(self.compared));
        }
        Ok(())
    }

    /// Returns the entry of the same name at the target, if there is one.
    pub(super) fn counterpart(&self, entry: &Visit<'_>) -> Result<Option<Counterpart>, SideError> {
        if entry.dir_ref.trees() == Trees::SourceOnly {
            return Ok(None);
        }
        let dir = match entry.target_dir(&*self.root.target).at(Side::Target) {
            // The target has no such directory, but a file or a link in its place, or nothing. The
            // walk would have noticed that; named entries are looked up without one.
            Err(side_error) if is_no_directory(side_error.error.cause) => return Ok(None),
            opened => opened?,
        };
        let name = self.target_name(entry.dir_ref, entry.name);
        // The first attempt uses the target's listing, which answers for many names with one
        // request.
        let seen = dir.peek(name, Hint::Unknown);
        let looked = seen.and_then(|seen| {
            if walk::is_whole(&seen) { Ok((seen, None)) } else { dir.stat_open(name) }
        });
        match looked {
            Ok((target, file)) => Ok(Some((dir, target, file))),
            Err(error) if error.cause.is_vanished() => Ok(None),
            Err(error) => Err(error).at(Side::Target),
        }
    }

    /// Returns the findings about an entry that is selected at the target alone. The source may
    /// have an entry of that name that filters exclude because of its type.
    pub(super) fn findings_of_extra(
        &self,
        source_dir: impl FnOnce() -> Result<Arc<dyn Dir>, Error>,
        name: &Name,
        target: &Metadata,
    ) -> (Option<Metadata>, Findings) {
        let left_out = || source_dir().ok()?.peek(name, Hint::Unknown).ok();
        match self.selection.needs_paths().then(left_out).flatten() {
            Some(source) => (Some(source), self.pair(source, *target).findings()),
            None => (None, Findings::only(Presence::OnlyTarget)),
        }
    }

    /// Walks a directory of the target in whose place the source has another type: everything in it
    /// is extraneous.
    pub(super) fn walk_target_below(&self, entry: &Visit<'_>, context: &TaskContext<'_, Self>) {
        let child = entry.dir_ref.child(entry.name, &*self.root.source);
        child.set_trees(Trees::TargetBelow);
        context.push(WalkTask::List(Arc::new(child)).into());
    }
}

/// Returns whether there is nothing of that name, or no directory.
fn is_no_directory(cause: Cause) -> bool {
    matches!(cause, Cause::System(libc::ENOENT | libc::ENOTDIR | libc::ELOOP))
}
