//! The copy: a walk whose visitor makes at the target what it meets at the source.
//!
//! Small files are copied where the walk meets them; large ones become chunk tasks that any rank may
//! run ([`large`]). Every file is staged under a temporary name and appears complete. What can only be
//! set when everything below a directory is done is kept for the end ([`finish`]).

mod arrival;
mod attributes;
mod chunks;
mod content;
mod context;
mod decide;
mod directory;
mod env;
pub mod extras;
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
pub mod options;
mod overlap;
pub mod plan;
mod policy;
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
use context::Context;
use directory::Directories;
use env::Env;
use hard_links::{HardLinks, end_first, make_links};
use in_the_way::Postponed;
use large::{Ending, LargeFiles, fail_large};
use leftovers::Leftovers;
use lists::named::Named;
use lists::shared_part::SharedPart;
use manifest::Manifest;
use options::CopyOptions;
use root::CopyRoot;
use sched::crew::Crew;
use sched::job::Job;
use types::outcome::notice::Notice;
use types::outcome::tally::Tally;
use upkeep::Upkeep;
use verify::{Verification, VerifyTask, give_up_file, verify_written};

pub use context::CopyHand;
pub use env::Stage;
pub use task::{CopyLetter, CopyTask};

pub(crate) use hopeless::Hopeless;
pub(crate) use policy::{
    OWNER_ALL, OWNER_LOOK, Plain, mode_alone, of_old_directory, widen, widen_to_look,
};

/// One rank's part of the copy.
pub struct CopyJob<'c> {
    env: Env<'c>,
    upkeep: Upkeep<'c>,
    links: HardLinks,
    large: LargeFiles,
}

impl<'c> CopyJob<'c> {
    /// Part of rank `rank` in copying `roots`.
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

    /// Counts of what this rank has found and done.
    pub fn tally(&self) -> Tally {
        self.env.account.tally()
    }

    /// Writes down in that journal what another job could resume.
    #[must_use]
    pub fn with_journal(mut self, journal: Option<&'c Journal>) -> Self {
        self.env.journal = journal;
        self
    }

    /// Has that rank, another one if there is one, read again what this one has written, if that is requested.
    #[must_use]
    pub fn verified_by(mut self, rank: Rank) -> Self {
        self.env.verify_by(rank);
        self
    }

    /// Says which part of the job the phase belongs to.
    #[must_use]
    pub fn at_stage(mut self, stage: Stage) -> Self {
        self.env.stage = stage;
        self
    }

    /// Records in that manifest what is at the target, where one is wanted.
    #[must_use]
    pub fn with_manifest(mut self, manifest: &'c SharedPart) -> Self {
        let is_wanted = manifest.is_wanted() && !self.env.options.dry_run;
        self.env.has_manifest = is_wanted;
        self.upkeep.manifest = Manifest::new(is_wanted.then_some(manifest));
        self
    }

    /// Gives staged files names that no other phase gives them.
    #[must_use]
    pub fn in_phase(mut self, number: usize) -> Self {
        self.env.begin_phase(number);
        self
    }

    /// Copies hard-linked files, whose names are all known.
    #[must_use]
    pub fn after_walk(mut self) -> Self {
        self.links = HardLinks::Known;
        self
    }

    /// Work that is left for the end of the job.
    pub fn into_leftovers(self) -> Leftovers {
        let Upkeep { directories, postponed: Postponed { extras, deferred }, .. } = self.upkeep;
        let (directories, links) = (directories.records, self.links.into_records());
        Leftovers { earlier: Vec::new(), directories, extras, deferred, links }
    }

    /// Ends a large file of this rank, and what waits for it.
    fn end_large(&self, file: u64, cx: &mut Context<'_, '_>) {
        let Some(ending) = self.large.end(file, &self.upkeep, cx) else { return };
        if let Ending::Compared { place, name, sides, outcome } = ending
            && let Err(trouble) = self.end_comparison(&place, &name, &sides, outcome, cx)
        {
            fail_large(&place, &name, trouble, cx);
        }
        end_first(cx);
        cx.crew.release();
    }

    fn context<'t>(&'t self, hand: &'t mut CopyHand, crew: &'t Crew<'t, Self>) -> Context<'t, 'c> {
        Context { env: &self.env, hand, crew }
    }
}

impl Job for CopyJob<'_> {
    type Task = CopyTask;
    type Letter = CopyLetter;
    type Notice = Notice;
    type Snapshot = Tally;
    type Hand = CopyHand;

    fn hand(&self) -> CopyHand {
        CopyHand::new(self.env.options.buffer_bytes)
    }

    fn run(&self, task: CopyTask, hand: &mut CopyHand, crew: &Crew<'_, Self>) {
        let cx = &mut self.context(hand, crew);
        match task {
            CopyTask::Walk(task) => walk::run(self, task, cx.hand, cx.crew),
            CopyTask::Chunks(task) => self.large.run_chunks(task, cx),
            CopyTask::Commit(file) => self.end_large(file, cx),
            CopyTask::Verify(VerifyTask::File(file)) => verify_written(file, cx),
            CopyTask::Verify(VerifyTask::Chunks { task, chunks }) => {
                self.large.verify_first(&task, chunks, cx);
            }
            CopyTask::Linked(file) => self.copy_linked(file, cx),
            CopyTask::Links(links) => make_links(links, &self.upkeep, cx),
        }
        self.env.account.settle(&mut hand.gathered);
    }

    fn discard(&self, task: CopyTask, hand: &mut CopyHand, crew: &Crew<'_, Self>) {
        let cx = &mut self.context(hand, crew);
        let cancelled_tasks = &mut cx.hand.gathered.tally.cancelled_tasks;
        match task {
            CopyTask::Walk(_) => *cancelled_tasks += 1,
            CopyTask::Chunks(task) => self.large.give_up_chunks(&task, cx.crew),
            CopyTask::Commit(file) => self.end_large(file, cx),
            CopyTask::Verify(VerifyTask::File(_)) => give_up_file(cx),
            CopyTask::Verify(VerifyTask::Chunks { task, chunks }) => {
                self.large.give_up_verifying(&task, &chunks, cx.crew);
            }
            CopyTask::Linked(file) => *cancelled_tasks += file.names.len() as u64,
            CopyTask::Links(links) => *cancelled_tasks += links.others.len() as u64,
        }
        self.env.account.settle(&mut hand.gathered);
    }

    fn flush(&self, hand: &mut CopyHand, crew: &Crew<'_, Self>) {
        self.env.account.settle(&mut hand.gathered);
        hand.gathered.send_lines(crew, true);
        self.upkeep.manifest.append(&mut hand.rows);
    }

    fn letter(&self, _from: Rank, letter: CopyLetter, crew: &Crew<'_, Self>) {
        match letter {
            CopyLetter::Chunks(done) => self.large.chunks_done(done, crew),
            CopyLetter::Verify(task) => crew.push_pinned(CopyTask::Verify(task)),
            CopyLetter::Verified => self.upkeep.verification.was_verified(),
        }
    }

    fn snapshot(&self) -> Tally {
        self.tally()
    }
}
