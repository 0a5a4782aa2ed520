//! The phases of a copy on this rank, and what they have in common.

use super::named::Opened;
use super::phase::{Phase, is_stopped};
use super::second_look::{self, Again, Watched};
use crate::surface::cli::CommonArgs;
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;
use comm::Rank;
use comm::collective::{broadcast, gather};
use lists::named::Named;
use lists::shared_part::SharedPart;
use ops::copy::finish::{DirectoryRecords, FinishJob, FinishTask};
use ops::copy::leftovers::Leftovers;
use ops::copy::moving::Moving;
use ops::copy::options::CopyOptions;
use ops::copy::plan::CopyPlan;
use ops::copy::prune::Pruning;
use ops::copy::root::{CopyRoot, RootPlan};
use ops::copy::{CopyJob, Stage};
use ops::journal::Journal;
use ops::walk::in_order::prefetched_by;
use ops::walk::listed::{CheckedTree, Listed};
use ops::walk::packed::RootedPath;
use ops::walk::selection::Selection;
use ops::walk::watch::{Watch, of_tree};
use ops::walk::{WalkTask, account};
use sched::engine;
use sched::growth::Threads;
use types::content::transfer::Durable;
use types::entry::Times;
use types::error::{Failure, Side};

/// State of the whole copy.
#[derive(Clone, Copy)]
pub(super) struct Copying<'r> {
    pub roots: &'r [CopyRoot],
    pub options: &'r CopyOptions,
    pub selection: &'r Selection,
    pub journal: Option<&'r Journal>,
    pub manifest: &'r SharedPart,
    pub moving: Option<&'r Moving<'r>>,
    pub pruning: Option<&'r Pruning>,
    pub stage: Stage,
    /// I/O threads of a rank, at most.
    pub threads: Threads,
}

impl<'r> Copying<'r> {
    /// Runs this rank's part of a phase, of a walk or of named entries.
    pub fn job(&self, session: &Session<'_, '_>, named: Option<&'r Named>) -> CopyJob<'r> {
        let rank = session.mail.comm().rank();
        CopyJob::new(self.roots, self.options, self.selection, named, rank)
            .with_journal(self.journal)
            .with_manifest(self.manifest)
            .with_moving(self.moving)
            .pruned_by(self.pruning)
            .at_stage(self.stage)
            .verified_by(session.verifier())
    }

    /// Copies what is walked or named; where names may be those of several sources, one source
    /// after the other.
    pub fn entries(
        &self,
        session: &mut Session<'_, '_>,
        (plan, opened): (&CopyPlan, &'r Opened),
        reporter: &mut Reporter,
    ) -> (Leftovers, Phase) {
        let (mut leftovers, mut counted) = (Leftovers::default(), Phase::default());
        for (number, roots) in plan.phases().into_iter().enumerate() {
            if number > 0 && is_stopped(session, &counted.0) {
                let is_root = session.mail.comm().rank() == Rank::ROOT;
                counted.0.cancelled_tasks += if is_root { roots.len() as u64 } else { 0 };
                continue;
            }
            let part = (&plan.roots[roots.clone()], roots.start as u32);
            let (more, phase) = self.part(session, part, opened, number, reporter);
            leftovers = if number == 0 { more } else { more.after(leftovers) };
            counted.0.add(&phase.0);
            counted.1.add(&phase.1);
        }
        (leftovers, counted)
    }

    /// Copies what is walked in those roots, of which the first has that index, or named.
    fn part(
        &self,
        session: &mut Session<'_, '_>,
        (roots, first): (&[RootPlan], u32),
        opened: &'r Opened,
        number: usize,
        reporter: &mut Reporter,
    ) -> (Leftovers, Phase) {
        let watch = second_look::watch(session, self.options.symlinks);
        let mut job = self.job(session, opened.named.as_ref()).in_phase(number).watched(watch);
        let is_root = session.mail.comm().rank() == Rank::ROOT;
        if is_root {
            reporter.order(prefetched_by(&job, first..first + roots.len() as u32));
        }
        let roots = roots.iter().zip(first..).filter(|_| is_root);
        let walk = || roots.flat_map(|(root, index)| root.seeds(index)).collect();
        let named = |seeds: Vec<WalkTask>| seeds.into_iter().map(Into::into).collect();
        let seeds = opened.seeds().map_or_else(walk, named);
        let settings = session.settings(self.threads);
        let counters = engine::run(&job, seeds, reporter, session.mail, settings);
        reporter.phase_ended();
        let mut phase = (job.tally(), counters);
        let watch = job.take_watch();
        let mut walk = WatchedCopy { copying: self, number, leftovers: job.into_leftovers() };
        if let Some(watch) = watch {
            let watched = (&self.watched(), watch);
            second_look::take(
                session,
                watched,
                &mut phase,
                reporter,
                |session, again, phase, reporter| walk.list_again(session, again, phase, reporter),
            );
        }
        (walk.leftovers, phase)
    }

    fn watched(&self) -> Watched<'r> {
        let trees = self.roots.iter().flat_map(|root| {
            let source = (&*root.source, &root.shown_source, Side::Source);
            [source, (&*root.target, &root.shown_target, Side::Target)]
        });
        let trees = trees.map(|(store, shown, side)| CheckedTree { store, shown, side }).collect();
        Watched { trees, selection: self.selection, threads: self.threads }
    }

    /// Sets the directories' own attributes, now that nothing changes below them any more. This
    /// rank may have given up for that `errno` before.
    pub fn finish(
        &self,
        session: &mut Session<'_, '_>,
        (directories, fatal_errno): (DirectoryRecords, u64),
        args: &CommonArgs,
        reporter: &mut Reporter,
    ) -> Phase {
        let settings = session.settings(self.threads.at_most(args.threads));
        let (blocks, restricted) = directories.into_parts();
        let deletes = self.options.sync.as_ref().is_some_and(|sync| sync.delete);
        let job = FinishJob::new(self.roots, self.options, fatal_errno)
            .pruned_by(self.pruning.filter(|_| deletes));
        let seeds = blocks.into_iter().map(FinishTask::Block).collect();
        let mut counters = engine::run(&job, seeds, reporter, session.mail, settings);
        let restricted = gather(session.mail, &restricted);
        let some_left =
            restricted.as_ref().map(|all| all.iter().any(|of_rank| !of_rank.is_empty()));
        if broadcast(session.mail, some_left) {
            let all = restricted.map(|all| FinishTask::restricted(all.concat()));
            let seeds = all.into_iter().collect();
            counters.add(&engine::run(&job, seeds, reporter, session.mail, settings));
        }
        let mut tally = job.tally();
        tally.failed += self.settle(session, reporter);
        (tally, counters)
    }

    /// Syncs all changes to storage, where that is requested. Returns how many targets of this rank
    /// failed.
    fn settle(&self, session: &mut Session<'_, '_>, reporter: &mut Reporter) -> u64 {
        let is_requested = self.options.transfer.durable == Durable::Now;
        let failure = |root: &CopyRoot| {
            let error = root.target.sync().err()?;
            Some(account::failure(Side::Target, &root.shown_target, b"", error))
        };
        let failures: Vec<Failure> =
            self.roots.iter().filter(|_| is_requested).filter_map(failure).collect();
        for failure in gather(session.mail, &failures).into_iter().flatten().flatten() {
            reporter.failure(&failure);
        }
        failures.len() as u64
    }
}

/// Phases of second looks have numbers of their own: there are fewer sources than that.
const SECOND_LOOKS: usize = 1 << 22;

/// The walk of a phase, and what it has left.
struct WatchedCopy<'w, 'r> {
    copying: &'w Copying<'r>,
    number: usize,
    leftovers: Leftovers,
}

impl WatchedCopy<'_, '_> {
    fn list_again(
        &mut self,
        session: &mut Session<'_, '_>,
        (watch, again): (Watch, Again<'_>),
        phase: &mut Phase,
        reporter: &mut Reporter,
    ) -> Listed {
        let of_source = |(tree, path): &RootedPath| {
            let (root, side) = of_tree(*tree);
            (side == Side::Source).then(|| (root, path.clone()))
        };
        self.leftovers
            .forget_extraneous_of(&again.directories.iter().filter_map(of_source).collect());
        let job = self.copying.job(session, None).in_phase(SECOND_LOOKS + self.number);
        let mut job = job.watched(watch);
        let seeds = again.seeds.into_iter().map(Into::into).collect();
        let settings = session.settings(self.copying.threads);
        let counters = engine::run(&job, seeds, reporter, session.mail, settings);
        reporter.phase_ended();
        let times = gather(session.mail, &job.take_new_times());
        let times: Vec<(RootedPath, Times)> =
            broadcast(session.mail, times.map(|all| all.concat()));
        phase.0.add(&job.tally());
        phase.1.add(&counters);
        let listed = job.take_watch().map(|mut watch| watch.take_listed()).unwrap_or_default();
        self.leftovers.add_second(job.into_leftovers(), &times.into_iter().collect());
        listed
    }
}
