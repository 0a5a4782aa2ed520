//! The walk for its own sake: counts entries, and lists them where that is asked for.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::account::{self, Account, Gathered};
use super::place::Place;
use super::{Skip, Visit, Visited, Visitor, WalkTask};
use crate::base::error::{Error, Side};
use crate::base::path;
use crate::comm::Rank;
use crate::model::entry::{Hint, Kind, Metadata};
use crate::model::line::{LineFormat, LineWriter};
use crate::model::notice::Notice;
use crate::model::tally::Tally;
use crate::sched::crew::Crew;
use crate::sched::job::Job;
use crate::store::Store;

/// A tree to walk, open on this rank.
pub struct WalkRoot {
    /// The tree.
    pub source: Box<dyn Store>,
    /// Its path as the user wrote it.
    pub shown: Vec<u8>,
}

/// What the operator wants of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListOptions {
    /// How to list the entries, if at all.
    pub lines: Option<LineFormat>,
    /// Symbolic links are followed, so a loop is possible.
    pub follows: bool,
}

/// One rank's part of a walk.
pub struct ListJob<'c> {
    roots: &'c [WalkRoot],
    options: ListOptions,
    account: Account,
}

/// What one thread keeps.
pub struct ListHand {
    gathered: Gathered,
    writer: Option<LineWriter>,
}

impl<'c> ListJob<'c> {
    /// Walks these trees.
    pub fn new(roots: &'c [WalkRoot], options: ListOptions) -> Self {
        Self { roots, options, account: Account::default() }
    }

    /// What this rank has found.
    pub fn tally(&self) -> Tally {
        self.account.tally()
    }

    fn fail(
        &self,
        place: &Place,
        name: &[u8],
        error: Error,
        hand: &mut ListHand,
        crew: &Crew<'_, Self>,
    ) {
        let below = path::join(place.path().as_bytes(), name);
        let shown = &self.roots[usize::from(place.root())].shown;
        let failure = account::failure(Side::Source, shown, &below, error);
        self.account.fail(failure, &mut hand.gathered, crew);
    }

    fn meet(
        &self,
        place: &Place,
        name: &[u8],
        metadata: &Metadata,
        hand: &mut ListHand,
        crew: &Crew<'_, Self>,
    ) {
        hand.gathered.tally.meet(metadata);
        if let Some(writer) = &mut hand.writer {
            let shown = &self.roots[usize::from(place.root())].shown;
            let below = path::join(place.path().as_bytes(), name);
            writer.write(&path::join(shown, &below), metadata, &mut hand.gathered.lines);
            hand.gathered.send_lines(crew, false);
        }
    }

    fn look(
        &self,
        entry: &Visit<'_>,
        hand: &mut ListHand,
        crew: &Crew<'_, Self>,
    ) -> Result<Visited, Error> {
        // With links kept, a link is looked at like anything else.
        let hint = if self.options.follows { entry.hint } else { Hint::Unknown };
        let store = self.source(entry.place.root());
        let metadata = super::look(&Visit { hint, ..*entry }, store)?;
        if metadata.kind == Kind::Directory {
            return Ok(Visited::Directory);
        }
        self.meet(entry.place, entry.name.to_bytes(), &metadata, hand, crew);
        Ok(Visited::NOTHING_MOVED)
    }
}

impl Job for ListJob<'_> {
    type Task = WalkTask;
    type Letter = ();
    type Notice = Notice;
    type Snapshot = Tally;
    type Hand = ListHand;

    fn hand(&self) -> ListHand {
        ListHand { gathered: Gathered::default(), writer: self.options.lines.map(LineWriter::new) }
    }

    fn run(&self, task: WalkTask, hand: &mut ListHand, crew: &Crew<'_, Self>) {
        super::run(self, task, hand, crew);
        self.account.settle(&mut hand.gathered);
    }

    fn discard(&self, _task: WalkTask, hand: &mut ListHand, _crew: &Crew<'_, Self>) {
        hand.gathered.tally.given_up += 1;
        self.account.settle(&mut hand.gathered);
    }

    fn flush(&self, hand: &mut ListHand, crew: &Crew<'_, Self>) {
        self.account.settle(&mut hand.gathered);
        hand.gathered.send_lines(crew, true);
    }

    fn letter(&self, _from: Rank, _letter: (), _crew: &Crew<'_, Self>) {}

    fn snapshot(&self) -> Tally {
        self.tally()
    }
}

impl Visitor for ListJob<'_> {
    fn source(&self, root: u16) -> &dyn Store {
        &*self.roots[usize::from(root)].source
    }

    fn enter(
        &self,
        place: &Arc<Place>,
        metadata: &Metadata,
        hand: &mut ListHand,
        crew: &Crew<'_, Self>,
    ) -> Result<(), Skip> {
        self.meet(place, b"", metadata, hand, crew);
        Ok(())
    }

    fn visit(&self, entry: &Visit<'_>, hand: &mut ListHand, crew: &Crew<'_, Self>) -> Visited {
        // A directory is looked at by whoever lists it.
        if entry.hint == Hint::Directory {
            return Visited::Directory;
        }
        self.look(entry, hand, crew).unwrap_or_else(|error| {
            self.fail(entry.place, entry.name.to_bytes(), error, hand, crew);
            Visited::NOTHING_MOVED
        })
    }

    fn unreadable(&self, place: &Place, error: Error, hand: &mut ListHand, crew: &Crew<'_, Self>) {
        hand.gathered.tally.unread_directories += 1;
        self.fail(place, b"", error, hand, crew);
    }
}

/// The first tasks of a walk of so many roots.
pub fn seeds(roots: usize) -> Vec<WalkTask> {
    (0..roots as u16).map(|root| WalkTask::List(Arc::new(Place::root_of(root)))).collect()
}
