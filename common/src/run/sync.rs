//! Making a target equal its source, from the paths to the summary.

use std::collections::BTreeSet;

use serde_json::json;

use super::copy::{Phase, copy_entries, finish_directories, open_everywhere};
use super::{close, exit_of, named, select};
use crate::base::exit::Exit;
use crate::base::path;
use crate::base::size::{human_bytes, human_count};
use crate::comm::Rank;
use crate::comm::collective::{broadcast, gather};
use crate::copy::finish::DirectoryRecords;
use crate::copy::options::{CopyOptions, Judge, SyncOptions};
use crate::copy::plan::CopyPlan;
use crate::copy::root::CopyRoot;
use crate::copy::{CopyJob, Leftovers, sync_plan};
use crate::delete::permit::{CompleteWalk, Doomed};
use crate::delete::{DeleteJob, DeleteTask, Mode};
use crate::model::line::{LineFormat, json_path};
use crate::model::tally::Tally;
use crate::sched::engine;
use crate::surface::cli::CommonArgs;
use crate::surface::filter_args::FilterArgs;
use crate::surface::named_args::NamedArgs;
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;
use crate::surface::summary::{Deed, describe_team};
use crate::walk::selection::Selection;

/// What a synchronisation is asked for. Paths are as the operator gave them.
#[derive(Debug, Clone)]
pub struct SyncRequest {
    /// What should be.
    pub source: Vec<u8>,
    /// What is to become equal.
    pub target: Vec<u8>,
    /// How.
    pub options: CopyOptions,
    /// More entries than these are not deleted.
    pub delete_max: Option<u64>,
    /// Which entries take part.
    pub filters: FilterArgs,
    /// The entries to be dealt with, instead of walking.
    pub named: NamedArgs,
}

/// Runs a synchronisation on all ranks.
pub fn run(session: &mut Session<'_, '_>, request: SyncRequest, args: &CommonArgs) -> Exit {
    let is_root = session.mail.comm().rank() == Rank::ROOT;
    let mut reporter = Reporter::new(session.tool, "sync", args, session.team.ranks);
    let Some(selection) = select(session, &request.filters, &mut reporter) else {
        return Exit::Usage;
    };
    let opened = match named::open(session, &request.named, &mut reporter) {
        Ok(opened) => opened,
        Err(exit) => return exit,
    };
    let delete_max = request.delete_max;
    let prepared = is_root.then(|| prepare(session, request, args, &mut reporter));
    let (plan, options) = broadcast(session.mail, prepared);
    if plan.roots.is_empty() {
        return Exit::Unusable;
    }
    let Some(roots) = open_everywhere(session, &plan, &options, &mut reporter) else {
        return Exit::Unusable;
    };
    let rank = session.mail.comm().rank();
    let job = CopyJob::new(&roots, &options, &selection, opened.named.as_ref(), rank);
    let phase = copy_entries(session, &job, (&plan, &opened), args, &mut reporter);
    let leftovers = job.into_leftovers();
    let mut sync = Sync { session, roots: &roots, options: &options, args, phase };
    let verdict = sync.clean_up(leftovers, &selection, delete_max, &mut reporter);
    let (tally, counters) = sync.phase;
    let summary = session.summarise(&tally, counters).map(|mut summary| {
        summary.deed = Deed::Sync;
        summary.is_dry_run = options.dry_run;
        summary.exit = exit_of(&summary.totals()).worst(verdict);
        summary
    });
    close(&mut reporter, summary)
}

/// What comes after the copy.
struct Sync<'r, 's, 'c> {
    session: &'r mut Session<'s, 'c>,
    roots: &'r [CopyRoot],
    options: &'r CopyOptions,
    args: &'r CommonArgs,
    /// What was counted so far on this rank.
    phase: Phase,
}

impl Sync<'_, '_, '_> {
    /// Deletes what may be deleted, then sets the directories' attributes.
    fn clean_up(
        &mut self,
        leftovers: Leftovers,
        selection: &Selection,
        delete_max: Option<u64>,
        reporter: &mut Reporter,
    ) -> Exit {
        let Leftovers { mut directories, extras, replaced } = leftovers;
        // Another name than the filters know.
        let all = Selection::all();
        let mode = if self.options.dry_run { Mode::Count } else { Mode::Delete };
        directories.append(self.delete(Doomed::replaced(replaced), &all, mode, reporter).1);
        let mut verdict = Exit::Ok;
        if self.options.sync.as_ref().is_some_and(|sync| sync.delete) {
            match CompleteWalk::prove(&self.totals()) {
                Ok(proof) => {
                    let doomed = Doomed::extras(extras, &proof);
                    let (exit, changed) =
                        self.delete_extras(doomed, selection, delete_max, reporter);
                    verdict = exit;
                    directories.append(changed);
                }
                Err(why) => reporter.warn(&format!("nothing was deleted, because {why}")),
            }
        }
        let (tally, counters) =
            finish_directories(self.session, self.roots, directories, self.args, reporter);
        self.phase.0.add(&tally);
        self.phase.1.add(&counters);
        verdict
    }

    /// Counts of all ranks together.
    fn totals(&mut self) -> Tally {
        let all = gather(self.session.mail, &self.phase.0);
        let totals = all.map(|all| {
            let mut totals = Tally::default();
            for tally in &all {
                totals.add(tally);
            }
            totals
        });
        broadcast(self.session.mail, totals)
    }

    fn delete_extras(
        &mut self,
        doomed: Doomed,
        selection: &Selection,
        delete_max: Option<u64>,
        reporter: &mut Reporter,
    ) -> (Exit, DirectoryRecords) {
        if let Some(delete_max) = delete_max {
            let counted = self.count(&doomed, selection, reporter);
            if counted > delete_max {
                reporter.warn(&format!(
                    "nothing was deleted: it would be {} entries, more than --max-delete {}",
                    human_count(counted),
                    human_count(delete_max)
                ));
                return (Exit::DeleteLimit, DirectoryRecords::default());
            }
        }
        let mode =
            if self.options.dry_run { Mode::Plan(self.options.plan_as) } else { Mode::Delete };
        (Exit::Ok, self.delete(doomed, selection, mode, reporter).1)
    }

    /// How many entries would be deleted on all ranks.
    fn count(&mut self, doomed: &Doomed, selection: &Selection, reporter: &mut Reporter) -> u64 {
        let job = DeleteJob::new(self.roots, selection, Mode::Count, true);
        let settings = self.session.settings(self.args.threads);
        let seeds = doomed.to_count().into_iter().map(DeleteTask::Walk).collect();
        engine::run(&job, seeds, reporter, self.session.mail, settings);
        let counts = gather(self.session.mail, &job.tally().synced.deleted.total());
        broadcast(self.session.mail, counts.map(|counts| counts.iter().sum()))
    }

    /// Deletes, and then removes the directories, the deepest level first.
    fn delete(
        &mut self,
        doomed: Doomed,
        selection: &Selection,
        mode: Mode,
        reporter: &mut Reporter,
    ) -> (Tally, DirectoryRecords) {
        let any = gather(self.session.mail, &!doomed.is_empty());
        let any = any.map(|any| any.contains(&true));
        if !broadcast(self.session.mail, any) {
            return (Tally::default(), DirectoryRecords::default());
        }
        let is_superuser = self.options.job.is_superuser;
        let job = DeleteJob::new(self.roots, selection, mode, is_superuser);
        let settings = self.session.settings(self.args.threads);
        reporter.phase_ended();
        let seeds = doomed.into_tasks().into_iter().map(DeleteTask::Walk).collect();
        let mut counters = engine::run(&job, seeds, reporter, self.session.mail, settings);
        for depth in self.levels(&job).into_iter().rev() {
            let level = job.take_level(depth);
            counters.add(&engine::run(&job, level, reporter, self.session.mail, settings));
        }
        let tally = job.tally();
        self.phase.0.add(&tally);
        self.phase.1.add(&counters);
        (tally, job.into_changed())
    }

    /// The depths at which any rank has directories to remove.
    fn levels(&mut self, job: &DeleteJob<'_>) -> BTreeSet<u32> {
        let all = gather(self.session.mail, &job.depths());
        broadcast(self.session.mail, all.map(|all| all.into_iter().flatten().collect()))
    }
}

/// Rank 0 looks at the paths before anything is written.
fn prepare(
    session: &Session<'_, '_>,
    request: SyncRequest,
    args: &CommonArgs,
    reporter: &mut Reporter,
) -> (CopyPlan, CopyOptions) {
    let SyncRequest { source, target, mut options, .. } = request;
    options.plan_as = if args.json { LineFormat::Ndjson } else { LineFormat::Text };
    let plan = sync_plan::make(&source, &target, &options);
    if plan.roots.is_empty() {
        plan.failures.iter().for_each(|failure| reporter.refuse(&failure.to_string()));
    } else {
        header(session, &source, &target, &options, args, reporter);
    }
    (plan, options)
}

fn describe(sync: &SyncOptions) -> String {
    let judge = match sync.judge {
        Judge::SizeAndTime => "unchanged where size and time are",
        Judge::SizeOnly => "unchanged where the size is",
        Judge::Content => "unchanged where every byte is",
    };
    let rules = [
        (sync.delete, "what only the target has is deleted"),
        (sync.update, "newer files of the target stay"),
        (sync.ignore_existing, "what is there stays"),
        (sync.existing, "what is missing stays missing"),
    ];
    let rules = rules.into_iter().filter(|(is_set, _)| *is_set).map(|(_, words)| words);
    [judge].into_iter().chain(rules).collect::<Vec<_>>().join(", ")
}

fn header(
    session: &Session<'_, '_>,
    source: &[u8],
    target: &[u8],
    options: &CopyOptions,
    args: &CommonArgs,
    reporter: &mut Reporter,
) {
    let team = describe_team(&session.team, args.threads);
    let rules = options.sync.as_ref().map(describe).unwrap_or_default();
    let lines = [
        format!("{} {}, {team}", session.tool, env!("CARGO_PKG_VERSION")),
        format!("  {} => {}", path::escaped(source), path::escaped(target)),
        format!(
            "  {rules}; chunks of {}{}",
            human_bytes(options.chunk_bytes),
            if options.dry_run { ", dry run" } else { "" }
        ),
    ];
    let fields = json!({
        "tool": session.tool,
        "mpi": session.mpi,
        "ranks": session.team.ranks,
        "nodes": session.team.nodes.len(),
        "threads": args.threads,
        "source": json_path(source),
        "target": json_path(target),
        "sync": options.sync,
        "chunk_bytes": options.chunk_bytes,
        "dry_run": options.dry_run,
    });
    reporter.header(&lines, fields);
}
