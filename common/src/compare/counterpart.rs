//! The other side of an entry of the source.

use std::sync::Arc;

use super::CompareJob;
use crate::base::error::{At, Cause, Side, Trouble};
use crate::model::entry::{Hint, Metadata};
use crate::sched::crew::Crew;
use crate::store::{Dir, SourceFile};
use crate::walk::place::Trees;
use crate::walk::{self, Visit, WalkTask};

/// The target's directory, and its entry there, open where looking at it has opened it.
pub(super) type Counterpart = (Arc<dyn Dir>, Metadata, Option<Box<dyn SourceFile>>);

impl CompareJob<'_> {
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
