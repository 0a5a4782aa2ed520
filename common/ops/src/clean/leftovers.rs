//! Removal of files that jobs have staged in a tree and not renamed. The name alone shows that a
//! file was staged by this program, and the time since its last change that its job is dead.

use std::sync::{Arc, PoisonError};

use super::journals::Evidence;
use super::{CleanJob, CleanRoot, StagedIn, ThoseJobs};
use crate::journal::folder::LOCKED;
use crate::walk::account::{Account, Gathered};
use crate::walk::dir_ref::DirRef;
use crate::walk::selection::Selection;
use crate::walk::{Skip, Visit, Visited, Visitor};
use sched::context::TaskContext;
use store::{Dir, Store};
use types::entry::{Attributes, Hint, Kind, Metadata};
use types::error::{Cause, Error, SideError};
use types::operand::staged_name::{is_of_job, is_staged};
use types::path::{self, Name};

impl ThoseJobs {
    fn have_staged(&self, name: &Name) -> bool {
        self.numbers.iter().any(|job| is_of_job(name, *job))
    }
}

impl CleanJob {
    fn tree(&self, index: u32) -> (&dyn Store, &[u8]) {
        match &self.roots[index as usize] {
            CleanRoot::Tree { store, path, .. } => (&**store, path),
            CleanRoot::Bucket { store, .. } => (&**store, b""),
        }
    }

    fn those_jobs(&self, index: u32) -> Option<&ThoseJobs> {
        match &self.roots[index as usize] {
            CleanRoot::Tree { staged_by, .. } => staged_by.as_ref(),
            CleanRoot::Bucket { .. } => None,
        }
    }

    fn shown(&self, dir_ref: &DirRef, name: &[u8]) -> Vec<u8> {
        let (_, root) = self.tree(dir_ref.root());
        path::join(root, &path::join(dir_ref.path().as_bytes(), name))
    }

    /// Inspects an entry that may be a staged file or the file by which a journal is recognised.
    /// Only such names, and entries of a type that the listing does not tell, cost a stat(2).
    fn look_at(
        &self,
        entry: &Visit<'_>,
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) -> Result<Visited, Error> {
        let those_jobs = self.those_jobs(entry.dir_ref.root());
        let is_ours =
            is_staged(entry.name) && those_jobs.is_none_or(|jobs| jobs.have_staged(entry.name));
        let may_be_journal = entry.name == LOCKED && those_jobs.is_none();
        let directory = match those_jobs {
            Some(ThoseJobs { is_deep: false, .. }) => Visited::NOTHING_MOVED,
            _ => Visited::Directory,
        };
        let metadata = match entry.hint {
            Hint::Directory => return Ok(directory),
            Hint::Unknown => entry.dir.stat(entry.name)?,
            _ if may_be_journal => entry.dir.stat(entry.name)?,
            _ if is_ours => {
                self.note_staged(entry);
                return Ok(Visited::NOTHING_MOVED);
            }
            _ => return Ok(Visited::NOTHING_MOVED),
        };
        if metadata.kind == Kind::Directory {
            return Ok(directory);
        }
        if may_be_journal && metadata.kind == Kind::File {
            let (store, _) = self.tree(entry.dir_ref.root());
            let shown = self.shown(entry.dir_ref, b"");
            self.clean_journal(
                (store, entry.dir_ref.path()),
                Evidence::Description,
                &shown,
                worker,
                context,
            )?;
        }
        if is_ours {
            self.note_staged(entry);
        }
        Ok(Visited::NOTHING_MOVED)
    }

    /// Notes a staged file, to be removed when all of its directory are known.
    fn note_staged(&self, entry: &Visit<'_>) {
        let path = entry.dir_ref.path().as_bytes().to_vec();
        let mut staged = self.staged.lock().unwrap_or_else(PoisonError::into_inner);
        staged.entry((entry.dir_ref.root(), path)).or_default().push(entry.name.to_owned());
    }

    /// Removes the staged files of a directory that were not changed for long enough. The directory
    /// keeps its times.
    pub(super) fn remove_staged(
        &self,
        ((root, path), names): &StagedIn,
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) {
        let dir_ref = DirRef::of_bytes(*root, path);
        let opened = self.tree(*root).0.open_dir(dir_ref.path());
        let removed = opened.and_then(|dir| {
            let times = dir.metadata()?.times();
            let mut is_changed = false;
            for name in names {
                is_changed |= self.remove_old((&dir_ref, &*dir, name), worker, context);
            }
            let as_before = Attributes { times, ..Attributes::default() };
            match if is_changed { dir.set_attributes(&as_before).map(drop) } else { Ok(()) } {
                // Only its owner may set them.
                Err(error) if error.cause == Cause::System(libc::EPERM) => Ok(()),
                set => set,
            }
        });
        match removed {
            Err(error) if !error.cause.is_vanished() => {
                self.fail_at(&dir_ref, c"", error, worker, context);
            }
            _ => {}
        }
    }

    /// Removes a staged file that was not changed for long enough. Returns whether it was removed.
    fn remove_old(
        &self,
        (dir_ref, dir, name): (&DirRef, &dyn Dir, &Name),
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) -> bool {
        let metadata = match dir.stat(name) {
            Ok(metadata) => metadata,
            // A job at work has renamed the file meanwhile.
            Err(error) if error.cause.is_vanished() => return false,
            Err(error) => {
                self.fail_at(dir_ref, name, error, worker, context);
                return false;
            }
        };
        worker.tally.leftovers.found += 1;
        // The ctime cannot be set by any user, and every write updates it.
        if metadata.ctime.seconds > self.options.old_by_seconds {
            worker.tally.leftovers.too_recent += 1;
            return false;
        }
        let shown = self.shown(dir_ref, name.to_bytes());
        self.remove(&shown, "remove", || dir.remove(name, metadata.kind), worker, context)
    }

    fn fail_at(
        &self,
        dir_ref: &DirRef,
        name: &Name,
        error: Error,
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) {
        self.fail(&self.shown(dir_ref, name.to_bytes()), error, worker, context);
    }
}

impl Visitor for CleanJob {
    fn account(&self) -> &Account {
        &self.account
    }

    fn source(&self, root: u32) -> &dyn Store {
        self.tree(root).0
    }

    fn selection(&self) -> &Selection {
        &self.selection
    }

    fn enter(
        &self,
        _: &Arc<DirRef>,
        _: &Metadata,
        worker: &mut Gathered,
        _: &TaskContext<'_, Self>,
    ) -> Result<(), Skip> {
        worker.tally.examined += 1;
        Ok(())
    }

    fn visit(
        &self,
        entry: &Visit<'_>,
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) -> Visited {
        match self.look_at(entry, worker, context) {
            Ok(visited) => visited,
            // A job at work has renamed the file meanwhile.
            Err(error) if error.cause.is_vanished() => Visited::NOTHING_MOVED,
            Err(error) => {
                self.fail_at(entry.dir_ref, entry.name, error, worker, context);
                Visited::NOTHING_MOVED
            }
        }
    }

    fn invalid_key(
        &self,
        dir_ref: &DirRef,
        key: &[u8],
        side_error: SideError,
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) {
        self.fail(&self.shown(dir_ref, key), side_error.error, worker, context);
    }

    fn unreadable(
        &self,
        dir_ref: &DirRef,
        side_error: SideError,
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) {
        worker.tally.unread_directories += 1;
        self.fail_at(dir_ref, c"", side_error.error, worker, context);
    }
}
