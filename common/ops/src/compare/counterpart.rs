//! The other side of an entry of the source.

use std::sync::Arc;

use super::CompareJob;
use crate::walk::place::{Place, Trees};
use crate::walk::{self, Visit, WalkTask};
use sched::crew::Crew;
use store::{Dir, SourceFile};
use types::entry::{Hint, Metadata, Xattrs};
use types::error::{At, Cause, Error, Side, Trouble};
use types::outcome::compare;
use types::outcome::difference::{Fields, Findings, Presence};
use types::path::Name;

/// The target's directory, and its entry there, open where looking at it has opened it.
pub(super) type Counterpart = (Arc<dyn Dir>, Metadata, Option<Box<dyn SourceFile>>);

impl CompareJob<'_> {
    /// The name of an entry at the target: another one only where two single entries were named.
    pub(super) fn target_name<'n>(&'n self, place: &Place, name: &'n Name) -> &'n Name {
        match &self.root.single {
            Some((_, renamed)) if place.path().is_root() => renamed,
            _ => name,
        }
    }

    pub(super) fn target_dir(&self, place: &Place) -> Result<Arc<dyn Dir>, Trouble> {
        place.target_dir(&*self.root.target).at(Side::Target)
    }

    /// Extended attributes of both sides, where they are to be compared.
    pub(super) fn compare_xattrs(
        &self,
        pair: &mut super::Pair,
        source: (&dyn Dir, Option<&Name>),
        target: (&dyn Dir, Option<&Name>),
    ) -> Result<(), Trouble> {
        let filter = self.xattrs;
        if filter.concerns(pair.source.kind) {
            let of_source = source.0.xattrs(source.1).at(Side::Source)?;
            let of_target = target.0.xattrs(target.1).at(Side::Target)?;
            let differing = compare::xattrs(of_source.as_ref(), of_target.as_ref(), filter);
            pair.differing.insert(differing.intersection(self.compared));
            // What the one has and the other cannot have.
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

    /// The entry of the same name at the target, if there is one.
    pub(super) fn counterpart(&self, entry: &Visit<'_>) -> Result<Option<Counterpart>, Trouble> {
        if entry.place.trees() == Trees::SourceOnly {
            return Ok(None);
        }
        let dir = match self.target_dir(entry.place) {
            // Nobody has come by it: the entry was named. A file or a link may be where the directory was.
            Err(trouble) if is_no_directory(trouble.error.cause) => return Ok(None),
            opened => opened?,
        };
        let name = self.target_name(entry.place, entry.name);
        // A listing tells what is missing for many names at once.
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

    /// The findings about an entry that takes part at the target alone. The directory of the source that it would be in may
    /// have one of its name that filters leave out as the kind of entry that it is.
    pub(super) fn findings_of_extra(
        &self,
        source_dir: impl FnOnce() -> Result<Arc<dyn Dir>, Error>,
        name: &Name,
        target: &Metadata,
    ) -> (Option<Metadata>, Findings) {
        let left_out = || source_dir().ok()?.peek(name, Hint::Unknown).ok();
        match self.selection.has_rules().then(left_out).flatten() {
            Some(source) => (Some(source), self.pair(source, *target).findings()),
            None => (None, Findings::only(Presence::OnlyTarget)),
        }
    }

    /// The target has a directory where the source has something else: what is in it has no
    /// counterpart.
    pub(super) fn walk_target_below(&self, entry: &Visit<'_>, crew: &Crew<'_, Self>) {
        let child = entry.place.child(entry.name, &*self.root.source);
        child.set_trees(Trees::TargetBelow);
        crew.push(WalkTask::List(Arc::new(child)).into());
    }
}

/// There is nothing of that name, or something else than a directory.
fn is_no_directory(cause: Cause) -> bool {
    matches!(cause, Cause::System(libc::ENOENT | libc::ENOTDIR | libc::ELOOP))
}
