//! Removal of what interrupted jobs have left: incomplete multipart uploads in buckets
//! (`uploads`), and staged files (`leftovers`) and journals (`journals`) in file systems.

mod journals;
mod leftovers;
mod uploads;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::walk::account::{self, Account, Gathered};
use crate::walk::packed::RootedPath;
use crate::walk::selection::Selection;
use crate::walk::{self, WalkTask};
pub use journals::DeadJournal;
use s3::{OpenUpload, UploadMarker};
use sched::context::TaskContext;
use sched::job::Job;
use store::Store;
use types::error::{Error, Side};
use types::listed::line::{LineFormat, write_plan};
use types::operand::location::ObjectLocation;
use types::outcome::event::Event;
use types::outcome::tally::Tally;
pub use uploads::Uploads;

/// A location to be cleaned.
pub enum CleanRoot {
    /// A bucket or prefix, whose incomplete uploads are aborted.
    Bucket {
        /// The objects of the location.
        store: Box<dyn Uploads>,
        /// The location as the operator wrote it.
        location: ObjectLocation,
    },
    /// A directory tree, in which staged files and journals are removed, and journals beside it.
    Tree {
        /// The tree itself.
        store: Box<dyn Store>,
        /// The parent directory of the tree, if it has a name there: journals are beside their
        /// targets.
        beside: Option<Box<dyn Store>>,
        /// The path as the operator wrote it.
        path: Vec<u8>,
        /// The jobs whose staged files alone are removed, where they are known.
        staged_by: Option<ThoseJobs>,
    },
}

/// Jobs whose journal was found elsewhere.
#[derive(Debug, Clone)]
pub struct ThoseJobs {
    /// The numbers of the jobs.
    pub numbers: Vec<u64>,
    /// True if they have also staged files in directories below the location.
    pub is_deep: bool,
}

/// The options of cleaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CleanOptions {
    /// The time, in seconds since 1970-01-01 UTC, from which on changed things stay, because a job
    /// may still be at work on them.
    pub old_by_seconds: i64,
    /// The format in which removals are listed; `None` where they are not.
    pub plan_as: Option<LineFormat>,
}

/// A task of cleaning.
#[derive(Debug, Serialize, Deserialize)]
pub enum CleanTask {
    /// List the uploads of a location, from a page on.
    List(u32, Option<UploadMarker>),
    /// Look for journals beside a location.
    Beside(u32),
    /// Abort some uploads.
    GiveUp(u32, Vec<OpenUpload>),
    /// Run a task of the walk through a tree.
    Walk(WalkTask),
    /// Remove the staged files of a directory.
    Remove(StagedIn),
}

/// A directory of a location, and the names of staged files in it.
pub type StagedIn = (RootedPath, Vec<CString>);

impl From<WalkTask> for CleanTask {
    fn from(task: WalkTask) -> Self {
        Self::Walk(task)
    }
}

/// The part of one rank in cleaning.
pub struct CleanJob {
    roots: Arc<[CleanRoot]>,
    options: CleanOptions,
    selection: Selection,
    account: Account,
    journals: Mutex<Vec<DeadJournal>>,
    /// The staged files that were found.
    staged: Mutex<BTreeMap<RootedPath, Vec<CString>>>,
}

impl CleanJob {
    /// Creates the job for these locations, which must be the same on all ranks.
    pub fn new(roots: Arc<[CleanRoot]>, options: CleanOptions) -> Self {
        Self {
            roots,
            options,
            selection: Selection::all(),
            account: Account::default(),
            journals: Mutex::default(),
            staged: Mutex::default(),
        }
    }

    /// Returns the journals that this rank has removed, or would remove.
    pub fn take_journals(&self) -> Vec<DeadJournal> {
        std::mem::take(&mut *self.journals.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the staged files that this rank has found, by directory.
    pub fn take_staged(&self) -> Vec<StagedIn> {
        let mut staged = self.staged.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *staged).into_iter().collect()
    }

    /// Returns the tasks that remove what all ranks have found, one for each directory: it keeps
    /// its times, which several ranks at work in it could not restore.
    pub fn removals(found: Vec<StagedIn>) -> Vec<CleanTask> {
        let mut directories = BTreeMap::<RootedPath, Vec<CString>>::new();
        for (directory, names) in found {
            directories.entry(directory).or_default().extend(names);
        }
        directories.into_iter().map(CleanTask::Remove).collect()
    }

    /// Returns the counts of the job.
    pub fn tally(&self) -> Tally {
        self.account.tally()
    }

    /// Returns the first tasks for each location.
    pub fn seeds(&self) -> Vec<CleanTask> {
        let seeds = |(root, index): (&CleanRoot, u32)| match root {
            CleanRoot::Bucket { .. } => vec![CleanTask::List(index, None)],
            CleanRoot::Tree { staged_by, .. } => {
                let walk = WalkTask::List(Arc::new(walk::dir_ref::DirRef::root_of(index)));
                let beside = staged_by.is_none().then_some(CleanTask::Beside(index));
                [walk.into()].into_iter().chain(beside).collect()
            }
        };
        self.roots.iter().zip(0..).flat_map(seeds).collect()
    }

    /// Lists and removes something. Returns whether it was removed.
    fn remove(
        &self,
        shown: &[u8],
        verb: &str,
        remove: impl FnOnce() -> Result<(), Error>,
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) -> bool {
        if let Some(format) = self.options.plan_as {
            write_plan(format, verb, shown, &mut worker.lines);
            worker.send_lines(context, false);
        }
        match remove() {
            // The job that staged it has completed it meanwhile, or someone else has removed it.
            Err(error) if error.cause.is_vanished() => false,
            Ok(()) => {
                worker.tally.leftovers.removed += 1;
                true
            }
            Err(error) => {
                self.fail(shown, error, worker, context);
                false
            }
        }
    }

    fn fail(
        &self,
        shown: &[u8],
        error: Error,
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) {
        self.account.fail(account::failure(Side::Target, shown, b"", error), worker, context);
    }
}

impl Job for CleanJob {
    type Task = CleanTask;
    type Message = ();
    type Event = Event;
    type Snapshot = Tally;
    type Worker = Gathered;

    fn worker(&self) -> Gathered {
        Gathered::default()
    }

    fn run(&self, task: CleanTask, worker: &mut Gathered, context: &TaskContext<'_, Self>) {
        match task {
            CleanTask::List(index, from) => self.list(index, from.as_ref(), worker, context),
            CleanTask::GiveUp(index, uploads) => {
                for upload in &uploads {
                    self.give_up(index, upload, worker, context);
                }
            }
            CleanTask::Beside(index) => self.clean_beside(index, worker, context),
            CleanTask::Walk(task) => walk::run(self, task, worker, context),
            CleanTask::Remove(staged) => self.remove_staged(&staged, worker, context),
        }
        self.account.settle(worker);
    }

    fn discard(&self, _task: CleanTask, worker: &mut Gathered, _context: &TaskContext<'_, Self>) {
        self.account.cancel(worker);
    }

    fn flush(&self, worker: &mut Gathered, context: &TaskContext<'_, Self>) {
        self.account.flush(worker, context);
    }

    fn snapshot(&self) -> Tally {
        self.tally()
    }
}
