//! Removing what jobs that did not get to their end have left: in buckets uploads that were begun and not
//! completed ([`uploads`]), in file systems what was staged ([`leftovers`]) and journals ([`journals`]).

mod journals;
mod leftovers;
mod uploads;

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::walk::account::{self, Account, Gathered};
use crate::walk::selection::Selection;
use crate::walk::{self, WalkTask};
use comm::Rank;
pub use journals::DeadJournal;
use s3::{ObjectStore, OpenUpload, UploadMarker};
use sched::crew::Crew;
use sched::job::Job;
use store::Store;
use types::error::{Error, Side};
use types::listed::line::{LineFormat, write_plan};
use types::outcome::notice::Notice;
use types::outcome::tally::Tally;
use types::place::location::ObjectLocation;

/// A place to be cleaned.
pub enum Place {
    /// Uploads to it are given up.
    Bucket {
        /// Where its objects are.
        store: ObjectStore,
        /// What the operator calls it.
        location: ObjectLocation,
    },
    /// Staged files below it are removed, and journals below and beside it.
    Tree {
        /// The tree.
        store: Box<dyn Store>,
        /// The directory that it is in, where it has a name there: journals are beside their targets.
        beside: Option<Box<dyn Store>>,
        /// What the operator calls it.
        path: Vec<u8>,
        /// Nothing is removed but what these jobs have staged there, where they are told.
        staged_by: Option<ThoseJobs>,
    },
}

/// Jobs whose journal was found elsewhere.
#[derive(Debug, Clone)]
pub struct ThoseJobs {
    /// Their numbers.
    pub numbers: Vec<u64>,
    /// They have staged in directories below the place, too.
    pub is_deep: bool,
}

/// What is removed, and what is said of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CleanOptions {
    /// What was begun or changed later stays, in seconds since 1970: somebody may be at work on it.
    pub old_by_seconds: i64,
    /// They are named, and stay.
    pub dry_run: bool,
    /// How they are named; not at all where nobody wants to read it.
    pub plan_as: Option<LineFormat>,
}

/// A piece of the work.
#[derive(Debug, Serialize, Deserialize)]
pub enum CleanTask {
    /// Lists the uploads of a place, from a page on.
    List(u32, Option<UploadMarker>),
    /// Looks for journals beside a place.
    Beside(u32),
    /// Gives some of them up.
    GiveUp(u32, Vec<OpenUpload>),
    /// A piece of the walk through a tree.
    Walk(WalkTask),
}

impl From<WalkTask> for CleanTask {
    fn from(task: WalkTask) -> Self {
        Self::Walk(task)
    }
}

/// One rank's part in the work.
pub struct CleanJob {
    places: Arc<[Place]>,
    options: CleanOptions,
    selection: Selection,
    account: Account,
    journals: Mutex<Vec<DeadJournal>>,
}

impl CleanJob {
    /// For these places, the same on all ranks.
    pub fn new(places: Arc<[Place]>, options: CleanOptions) -> Self {
        let (account, journals) = (Account::default(), Mutex::default());
        Self { places, options, selection: Selection::all(), account, journals }
    }

    /// Journals that were removed by this rank, or would be.
    pub fn take_journals(&self) -> Vec<DeadJournal> {
        std::mem::take(&mut *self.journals.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What was done.
    pub fn tally(&self) -> Tally {
        self.account.tally()
    }

    /// The first task of each place.
    pub fn seeds(&self) -> Vec<CleanTask> {
        let seeds = |(place, index): (&Place, u32)| match place {
            Place::Bucket { .. } => vec![CleanTask::List(index, None)],
            Place::Tree { staged_by, .. } => {
                let walk = WalkTask::List(Arc::new(walk::place::Place::root_of(index)));
                let beside = staged_by.is_none().then_some(CleanTask::Beside(index));
                [walk.into()].into_iter().chain(beside).collect()
            }
        };
        self.places.iter().zip(0..).flat_map(seeds).collect()
    }

    /// Removes something, or only says that it would be.
    fn remove(
        &self,
        shown: &[u8],
        verb: &str,
        remove: impl FnOnce() -> Result<(), Error>,
        hand: &mut Gathered,
        crew: &Crew<'_, Self>,
    ) {
        if let Some(format) = self.options.plan_as {
            write_plan(format, verb, shown, &mut hand.lines);
            hand.send_lines(crew, false);
        }
        match if self.options.dry_run { Ok(()) } else { remove() } {
            // Its job has completed it, or somebody else has removed it.
            Err(error) if error.cause.is_vanished() => {}
            Ok(()) => hand.tally.leftovers.removed += 1,
            Err(error) => self.fail(shown, error, hand, crew),
        }
    }

    fn fail(&self, shown: &[u8], error: Error, hand: &mut Gathered, crew: &Crew<'_, Self>) {
        self.account.fail(account::failure(Side::Target, shown, b"", error), hand, crew);
    }
}

impl Job for CleanJob {
    type Task = CleanTask;
    type Letter = ();
    type Notice = Notice;
    type Snapshot = Tally;
    type Hand = Gathered;

    fn hand(&self) -> Gathered {
        Gathered::default()
    }

    fn run(&self, task: CleanTask, hand: &mut Gathered, crew: &Crew<'_, Self>) {
        match task {
            CleanTask::List(index, from) => self.list(index, from.as_ref(), hand, crew),
            CleanTask::GiveUp(index, uploads) => {
                for upload in &uploads {
                    self.give_up(index, upload, hand, crew);
                }
            }
            CleanTask::Beside(index) => self.clean_beside(index, hand, crew),
            CleanTask::Walk(task) => walk::run(self, task, hand, crew),
        }
        self.account.settle(hand);
    }

    fn discard(&self, _task: CleanTask, hand: &mut Gathered, _crew: &Crew<'_, Self>) {
        hand.tally.given_up += 1;
        self.account.settle(hand);
    }

    fn flush(&self, hand: &mut Gathered, crew: &Crew<'_, Self>) {
        hand.send_lines(crew, true);
        self.account.settle(hand);
    }

    fn letter(&self, _from: Rank, _letter: (), _crew: &Crew<'_, Self>) {}

    fn snapshot(&self) -> Tally {
        self.tally()
    }
}
