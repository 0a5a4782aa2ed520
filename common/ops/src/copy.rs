//! Copy operation: a walk whose visitor creates at the target each entry that it visits in the
//! source.
//!
//! Small files are copied when the walk visits them; large files become chunk tasks that any rank
//! may run ([`large`]). Every file is staged under a temporary name and appears complete.
//! Attributes of directories, which can only be set after everything below is complete, are set at
//! the end ([`finish`]).

mod arrival;
mod at_rest;
mod attribute_policy;
mod attributes;
mod chunks;
mod content;
mod context;
mod decide;
mod directory;
mod env;
pub mod extraneous;
pub mod finish;
mod hard_links;
mod hopeless;
mod in_the_way;
mod large;
pub mod leftovers;
mod link;
pub mod linked;
mod look;
mod manifest;
pub mod moving;
mod on_their_way;
pub mod options;
mod overlap;
pub mod plan;
pub mod prune;
pub mod resume;
pub mod root;
mod second_look;
mod small;
mod special;
pub mod sweep;
mod sync;
pub mod sync_plan;
mod task;
mod upkeep;
mod verify;
mod visit;

use crate::journal::Journal;
use crate::walk;
use crate::walk::selection::Selection;
use comm::Rank;
use context::{Context, Progress};
use directory::Directories;
use env::Env;
use hard_links::{HardLinks, end_first, make_links};
use in_the_way::Postponed;
use large::{Ending, LargeFiles, fail_large};
use leftovers::Leftovers;
use lists::named::Named;
use lists::shared_part::SharedPart;
use manifest::Manifest;
use moving::Moving;
use options::CopyOptions;
use prune::Pruning;
use root::CopyRoot;
use sched::context::TaskContext;
use sched::job::Job;
use types::entry::Preserved;
use types::listed::change::Reason;
use types::outcome::event::Event;
use types::outcome::tally::Tally;
use upkeep::Upkeep;
use verify::{Verification, VerifyTask, give_up_file, verify_written};

pub use context::CopyWorker;
pub use env::Stage;
pub use task::{CopyMessage, CopyTask};

pub(crate) use attribute_policy::{
    OWNER_ALL, OWNER_LOOK, Plain, mode_alone, of_old_directory, widen, widen_to_look,
};

/// Part of one rank in the copy.
pub struct CopyJob<'c> {
    env: Env<'c>,
    upkeep: Upkeep<'c>,
    links: HardLinks,
    large: LargeFiles,
}

impl<'c> CopyJob<'c> {
    /// Creates the part of rank `rank` in the copy of `roots`.
    pub fn new(
        roots: &'c [CopyRoot],
        options: &'c CopyOptions,
        selection: &'c Selection,
        named: Option<&'c Named>,
        rank: Rank,
    ) -> Self {
        Self {
            env: Env::new(roots, options, selection, named, rank),
            upkeep: Upkeep {
                directories: Directories::default(),
                postponed: Postponed::default(),
                manifest: Manifest::new(None),
                verification: Verification::default(),
            },
            links: HardLinks::new(roots),
            large: LargeFiles::default(),
        }
    }

    /// Returns the counts of what this rank has found and done.
    pub fn tally(&self) -> Tally {
        self.env.account.tally()
    }

    /// Sets the journal that records what another job could resume.
    #[must_use]
    pub fn with_journal(mut self, journal: Option<&'c Journal>) -> Self {
        self.env.journal = journal;
        self
    }

    /// Sets the move that removes the source of what is complete, if one is requested.
    #[must_use]
    pub fn with_moving(mut self, moving: Option<&'c Moving<'c>>) -> Self {
        self.env.moving = moving;
        self
    }

    /// Sets the record of directories without content, where those are left out.
    #[must_use]
    pub fn pruned_by(mut self, pruning: Option<&'c Pruning>) -> Self {
        self.env.pruning = pruning;
        self
    }

    /// Sets the rank, another one where the job has several, that reads again what this rank has
    /// written, if `--verify transferred` requests it.
    #[must_use]
    pub fn verified_by(mut self, rank: Rank) -> Self {
        self.env.verify_by(rank);
        self
    }

    /// Sets the stage of the job that the phase belongs to.
    #[must_use]
    pub fn at_stage(mut self, stage: Stage) -> Self {
        self.env.stage = stage;
        self
    }

    /// Sets the manifest that records the files of the target, if one is requested.
    #[must_use]
    pub fn with_manifest(mut self, manifest: &'c SharedPart) -> Self {
        let is_wanted = manifest.is_wanted() && self.env.writes();
        self.env.has_manifest = is_wanted;
        self.upkeep.manifest = Manifest::new(is_wanted.then_some(manifest));
        self
    }

    /// Selects a range of names for staged files that no other phase uses.
    #[must_use]
    pub fn in_phase(mut self, number: usize) -> Self {
        self.env.begin_phase(number);
        self
    }

    /// Switches from recording hard-linked files to copying them, when all their names are known.
    #[must_use]
    pub fn after_walk(mut self) -> Self {
        self.links = HardLinks::Known;
        self
    }

    /// Returns the work that is left for the end of the job.
    pub fn into_leftovers(self) -> Leftovers {
        let Upkeep { directories, postponed: Postponed { extraneous, deferred }, .. } = self.upkeep;
        let (directories, links) = (directories.records, self.links.into_records());
        Leftovers { earlier: Vec::new(), directories, extraneous, deferred, links }
    }

    /// Ends a large file of this rank, and releases the job that waited for it.
    fn end_large(&self, file: u64, cx: &mut Context<'_, '_>) {
        let Some(ending) = self.large.end(file, &self.upkeep, cx) else { return };
        let progress = match ending {
            Ending::Done(progress) => progress,
            Ending::Compared { dir_ref, name, sides, outcome } => {
                match self.end_comparison(&dir_ref, &name, &sides, outcome, cx) {
                    Ok(handled) => handled.progress,
                    Err(side_error) => {
                        fail_large(&dir_ref, &name, side_error, cx);
                        Progress::Open
                    }
                }
            }
        };
        end_first(progress, cx);
        cx.task.release();
    }

    fn context<'t>(
        &'t self,
        worker: &'t mut CopyWorker,
        context: &'t TaskContext<'t, Self>,
    ) -> Context<'t, 'c> {
        let (linked, reason, preserved) = (None, Reason::default(), Preserved::ALL);
        let (env, may_wait) = (&self.env, false);
        Context { env, worker, task: context, linked, reason, preserved, may_wait }
    }
}

impl Job for CopyJob<'_> {
    type Task = CopyTask;
    type Message = CopyMessage;
    type Event = Event;
    type Snapshot = Tally;
    type Worker = CopyWorker;

    fn worker(&self) -> CopyWorker {
        CopyWorker::new(self.env.options.buffer_bytes)
    }

    fn run(&self, task: CopyTask, worker: &mut CopyWorker, context: &TaskContext<'_, Self>) {
        let cx = &mut self.context(worker, context);
        match task {
            CopyTask::Walk(task) => walk::run(self, task, cx.worker, cx.task),
            CopyTask::Chunks(task) => self.large.run_chunks(task, cx),
            CopyTask::Commit(file) => self.end_large(file, cx),
            CopyTask::Verify(VerifyTask::File(file)) => {
                verify_written(file, cx);
            }
            CopyTask::Verify(VerifyTask::Chunks { task, chunks }) => {
                self.large.verify_first(&task, chunks, cx);
            }
            CopyTask::Linked(file) => self.copy_linked(file, cx),
            CopyTask::Links(links) => make_links(links, &self.upkeep, cx),
            CopyTask::Complete(entry) => cx.remove_later(&entry),
            CopyTask::Directory(dir_ref) => self.upkeep.directories.make_on_root(&dir_ref, cx),
            CopyTask::RemoveBatch => cx.remove_batch(),
            CopyTask::RemoveSources(blocks) => cx.remove_sources(&blocks),
        }
        self.env.account.settle(&mut worker.gathered);
    }

    fn discard(&self, task: CopyTask, worker: &mut CopyWorker, context: &TaskContext<'_, Self>) {
        let cx = &mut self.context(worker, context);
        let cancelled_tasks = &mut cx.worker.gathered.tally.cancelled_tasks;
        match task {
            CopyTask::Walk(_) | CopyTask::Directory(_) => *cancelled_tasks += 1,
            CopyTask::Chunks(task) => self.large.give_up_chunks(&task, cx.task),
            CopyTask::Commit(file) => self.end_large(file, cx),
            CopyTask::Verify(VerifyTask::File(_)) => give_up_file(cx),
            CopyTask::Verify(VerifyTask::Chunks { task, chunks }) => {
                self.large.give_up_verifying(&task, &chunks, cx.task);
            }
            CopyTask::Linked(file) => *cancelled_tasks += file.names.len() as u64,
            CopyTask::Links(links) => *cancelled_tasks += links.others.len() as u64,
            // The sources stay.
            CopyTask::Complete(_) | CopyTask::RemoveBatch | CopyTask::RemoveSources(_) => {
                *cancelled_tasks += 1;
            }
        }
        self.env.account.settle(&mut worker.gathered);
    }

    fn flush(&self, worker: &mut CopyWorker, context: &TaskContext<'_, Self>) {
        on_their_way::end_all(&self.upkeep, &mut self.context(worker, context));
        self.env.account.flush(&mut worker.gathered, context);
        self.upkeep.manifest.append(&mut worker.rows);
    }

    fn message(&self, _from: Rank, message: CopyMessage, context: &TaskContext<'_, Self>) {
        match message {
            CopyMessage::Chunks(done) => self.large.chunks_done(done, context),
            CopyMessage::Verify(task) => context.push_pinned(CopyTask::Verify(task)),
            CopyMessage::Directory(dir_ref) => context.push_pinned(CopyTask::Directory(dir_ref)),
            CopyMessage::Verified(complete) => {
                self.upkeep.verification.was_verified();
                if let Some(entry) = complete {
                    context.push_pinned(CopyTask::Complete(entry));
                }
            }
        }
    }

    fn deliver(&self, context: &TaskContext<'_, Self>) {
        self.env.account.deliver(context);
    }

    fn snapshot(&self) -> Tally {
        self.tally()
    }

    fn finds(task: &CopyTask) -> bool {
        matches!(task, CopyTask::Walk(_))
    }
}
