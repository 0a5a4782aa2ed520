//! Removal of files that jobs have staged in a tree and not renamed. The name alone shows that a
//! file was staged by this program, and the time since its last change that its job is dead.

use std::sync::Arc;

use super::journals::Evidence;
use super::{CleanJob, Place, ThoseJobs};
use crate::journal::folder::LOCKED;
use crate::walk::account::Gathered;
use crate::walk::selection::Selection;
use crate::walk::{self, Skip, Visit, Visited, Visitor};
use sched::crew::Crew;
use store::Store;
use types::entry::{Hint, Kind, Metadata};
use types::error::{Error, Failure, Trouble};
use types::path::{self, Name};
use types::place::staged_name::{is_of_job, is_staged};

impl ThoseJobs {
    fn have_staged(&self, name: &Name) -> bool {
        self.numbers.iter().any(|job| is_of_job(name, *job))
    }
}

impl CleanJob {
    fn tree(&self, index: u32) -> (&dyn Store, &[u8]) {
        match &self.places[index as usize] {
            Place::Tree { store, path, .. } => (&**store, path),
            Place::Bucket { store, .. } => (store, b""),
        }
    }

    fn those_jobs(&self, index: u32) -> Option<&ThoseJobs> {
        match &self.places[index as usize] {
            Place::Tree { staged_by, .. } => staged_by.as_ref(),
            Place::Bucket { .. } => None,
        }
    }

    fn shown(&self, place: &walk::place::Place, name: &[u8]) -> Vec<u8> {
        let (_, root) = self.tree(place.root());
        path::join(root, &path::join(place.path().as_bytes(), name))
    }

    /// Inspects an entry that may be a staged file or the file by which a journal is recognised.
    /// Only such names, and entries of a type that the listing does not tell, cost a stat(2).
    fn look_at(
        &self,
        entry: &Visit<'_>,
        hand: &mut Gathered,
        crew: &Crew<'_, Self>,
    ) -> Result<Visited, Error> {
        let those_jobs = self.those_jobs(entry.place.root());
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
            _ if is_ours || may_be_journal => entry.dir.stat(entry.name)?,
            _ => return Ok(Visited::NOTHING_MOVED),
        };
        if metadata.kind == Kind::Directory {
            return Ok(directory);
        }
        if may_be_journal && metadata.kind == Kind::File {
            let (store, _) = self.tree(entry.place.root());
            let shown = self.shown(entry.place, b"");
            self.clean_journal(
                (store, entry.place.path()),
                Evidence::Description,
                &shown,
                hand,
                crew,
            )?;
        }
        if is_ours {
            self.remove_old(entry, &metadata, hand, crew);
        }
        Ok(Visited::NOTHING_MOVED)
    }

    /// Removes a staged file that was not changed for long enough.
    fn remove_old(
        &self,
        entry: &Visit<'_>,
        metadata: &Metadata,
        hand: &mut Gathered,
        crew: &Crew<'_, Self>,
    ) {
        hand.tally.leftovers.found += 1;
        // The ctime cannot be set by any user, and every write updates it.
        if metadata.ctime.seconds > self.options.old_by_seconds {
            hand.tally.leftovers.too_recent += 1;
            return;
        }
        let shown = self.shown(entry.place, entry.name.to_bytes());
        self.remove(&shown, "remove", || entry.dir.remove(entry.name, metadata.kind), hand, crew);
    }

    fn fail_at(
        &self,
        place: &walk::place::Place,
        name: &Name,
        error: Error,
        hand: &mut Gathered,
        crew: &Crew<'_, Self>,
    ) {
        self.fail(&self.shown(place, name.to_bytes()), error, hand, crew);
    }
}

impl Visitor for CleanJob {
    fn source(&self, root: u32) -> &dyn Store {
        self.tree(root).0
    }

    fn selection(&self) -> &Selection {
        &self.selection
    }

    fn list_failed(&self, failure: Failure, hand: &mut Gathered, crew: &Crew<'_, Self>) {
        self.account.fail(failure, hand, crew);
    }

    fn enter(
        &self,
        _: &Arc<walk::place::Place>,
        _: &Metadata,
        hand: &mut Gathered,
        _: &Crew<'_, Self>,
    ) -> Result<(), Skip> {
        hand.tally.examined += 1;
        Ok(())
    }

    fn visit(&self, entry: &Visit<'_>, hand: &mut Gathered, crew: &Crew<'_, Self>) -> Visited {
        match self.look_at(entry, hand, crew) {
            Ok(visited) => visited,
            // A job at work has renamed the file meanwhile.
            Err(error) if error.cause.is_vanished() => Visited::NOTHING_MOVED,
            Err(error) => {
                self.fail_at(entry.place, entry.name, error, hand, crew);
                Visited::NOTHING_MOVED
            }
        }
    }

    fn unfit(
        &self,
        place: &walk::place::Place,
        key: &[u8],
        trouble: Trouble,
        hand: &mut Gathered,
        crew: &Crew<'_, Self>,
    ) {
        self.fail(&self.shown(place, key), trouble.error, hand, crew);
    }

    fn unreadable(
        &self,
        place: &walk::place::Place,
        trouble: Trouble,
        hand: &mut Gathered,
        crew: &Crew<'_, Self>,
    ) {
        hand.tally.unread_directories += 1;
        self.fail_at(place, c"", trouble.error, hand, crew);
    }
}
