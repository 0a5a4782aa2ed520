//! Making a target equal its source, from the paths to the summary.

use std::collections::BTreeSet;

use serde_json::json;

use super::announce;
use super::copying::Copying;
use super::criteria;
use super::found_journal::Found;
use super::links;
use super::old_copy;
use super::phase::{Phase, is_stopped};
use super::same_command::{self, Command};
use super::transfer::{self, After, Prepared, Transfer};
use crate::surface::cli::CommonArgs;
use crate::surface::copy_args::RequestedCopy;
use crate::surface::json as events;
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;
use comm::Rank;
use comm::collective::{broadcast, gather};
use ops::copy::Stage;
use ops::copy::extraneous::Extraneous;
use ops::copy::finish::DirectoryRecords;
use ops::copy::leftovers::Leftovers;
use ops::copy::options::CopyOptions;
use ops::copy::plan::CopyPlan;
use ops::copy::sync_plan;
use ops::delete::guard::{CompleteWalk, DeletionSet};
use ops::delete::{DeleteJob, DeleteTask, Mode};
use ops::journal::folder::absolute;
use ops::resolver::StoreResolver;
use ops::walk::dir_ref::Trees;
use ops::walk::packed::RootedPath;
use ops::walk::selection::Selection;
use ops::walk::{WalkTask, account};
use sched::counters::Counters;
use sched::engine;
use store::opening::Symlinks;
use types::error::{Cause, Failure, Op, Side};
use types::exit::Exit;
use types::listed::line::json_path;
use types::outcome::tally::Tally;
use types::path;
use types::path::contents_of;
use types::size::{exact_bytes, human_count};

/// Request for a synchronisation. Paths are as the operator gave them.
#[derive(Debug, Clone)]
pub struct SyncRequest {
    /// Tree to mirror.
    pub source: Vec<u8>,
    /// Tree to make equal.
    pub target: Vec<u8>,
    /// More entries than these are not deleted.
    pub delete_max: Option<u64>,
    /// How.
    pub requested: RequestedCopy,
}

/// Runs a synchronisation on all ranks.
pub fn run(session: &mut Session<'_, '_>, request: &SyncRequest, args: &CommonArgs) -> Exit {
    transfer::run(session, request, args)
}

impl Transfer for SyncRequest {
    const VERB: &str = "sync";

    fn requested(&self) -> &RequestedCopy {
        &self.requested
    }

    fn places(&self) -> Vec<(Side, &[u8])> {
        let old = self.requested.options.old_copy().map(|old| (Side::Target, &old.path[..]));
        let own = [(Side::Source, &self.source[..]), (Side::Target, &self.target)];
        own.into_iter().chain(old).collect()
    }

    fn prepare(
        &self,
        session: &Session<'_, '_>,
        looked: (&StoreResolver, &Selection),
        args: &CommonArgs,
        reporter: &mut Reporter,
    ) -> Prepared {
        prepare(session, looked, self.clone(), args, reporter)
    }

    fn finish(&self, after: After<'_, '_, '_>, reporter: &mut Reporter) -> (Exit, Phase) {
        let After { session, copying, args, phase, leftovers } = after;
        Sync { session, copying, args, phase }.clean_up(leftovers, self.delete_max, reporter)
    }
}

/// Advice for a target that has no room before something is deleted.
const DELETE_FIRST: &str =
    "; the same command with --existing --ignore-existing deletes, and copies nothing";

/// Returns true where a job ended because its target, or a quota there, is full.
fn is_full(totals: &Tally) -> bool {
    [libc::ENOSPC, libc::EDQUOT].into_iter().any(|errno| totals.fatal_errno == errno as u64)
}

/// Directories that are left after a deletion.
#[derive(Default)]
struct Deleted {
    /// Directories that stay, and whose attributes have changed.
    changed: DirectoryRecords,
    /// Directories of all ranks in which something stays, where the deletion is only planned.
    kept: Vec<RootedPath>,
}

/// Steps after the copy.
struct Sync<'r, 's, 'c> {
    session: &'r mut Session<'s, 'c>,
    copying: Copying<'r>,
    args: &'r CommonArgs,
    /// Counts of this rank so far.
    phase: Phase,
}

impl<'r> Sync<'r, '_, '_> {
    /// Deletes what may be deleted, copies what waited for that, then sets the directories'
    /// attributes.
    fn clean_up(
        mut self,
        leftovers: Leftovers,
        delete_max: Option<u64>,
        reporter: &mut Reporter,
    ) -> (Exit, Phase) {
        let Leftovers { mut directories, mut extraneous, mut deferred, .. } = leftovers;
        let mut verdict = Exit::Ok;
        if self.copying.options.sync.as_ref().is_some_and(|sync| sync.delete) {
            let totals = self.totals();
            // A synchronisation has one root.
            let source = self.copying.roots[0].source.capabilities();
            match CompleteWalk::prove(&totals, &source) {
                Ok(proof) => {
                    extraneous.append(self.pruned());
                    let deletion_set = DeletionSet::extraneous(extraneous, &proof);
                    let (exit, deleted) =
                        self.delete_extraneous(deletion_set, delete_max, reporter);
                    verdict = exit;
                    directories.append(deleted.changed);
                    if self.copying.options.dry_run {
                        self.report_kept(&mut deferred, deleted.kept, reporter);
                    }
                    if exit == Exit::Ok && !is_stopped(self.session, &self.phase.0) {
                        directories.append(self.copy_deferred(deferred, reporter));
                    }
                }
                Err(why) => {
                    let way_out = if is_full(&totals) { DELETE_FIRST } else { "" };
                    self.warn(&format!("nothing was deleted, because {why}{way_out}"), reporter);
                }
            }
        }
        let directories = (directories, self.phase.0.fatal_errno);
        let (tally, counters) = self.copying.finish(self.session, directories, self.args, reporter);
        self.phase.0.add(&tally);
        self.phase.1.add(&counters);
        (verdict, self.phase)
    }

    /// Warns once of limits that hold for the whole job.
    fn warn(&self, text: &str, reporter: &mut Reporter) {
        if self.session.mail.comm().rank() == Rank::ROOT {
            reporter.warn(text);
        }
    }

    /// Reports entries whose names belong to directories that stay, which no store of a dry run
    /// tells.
    fn report_kept(
        &mut self,
        deferred: &mut Extraneous,
        kept: Vec<RootedPath>,
        reporter: &mut Reporter,
    ) {
        let failure = |(root, below): RootedPath| {
            let shown = &self.copying.roots[root as usize].shown_target;
            let error = Op::Copy.failed(Cause::UndeletedDirectory);
            account::failure(Side::Target, shown, &below, error)
        };
        let taken = deferred.take_out(&kept.into_iter().collect()).into_iter();
        let failures: Vec<Failure> = taken.map(failure).collect();
        self.phase.0.failed += failures.len() as u64;
        for failure in gather(self.session.mail, &failures).into_iter().flatten().flatten() {
            reporter.failure(&failure);
        }
    }

    /// Files and links whose names directories of the target had.
    fn copy_deferred(&mut self, deferred: Extraneous, reporter: &mut Reporter) -> DirectoryRecords {
        let seeds = deferred.into_tasks(Trees::Both);
        let any = gather(self.session.mail, &!seeds.is_empty());
        if !broadcast(self.session.mail, any.map(|any| any.contains(&true))) {
            return DirectoryRecords::default();
        }
        let mut options = self.copying.options.clone();
        // Temporary names of its own.
        options.job.id = options.job.id.wrapping_add(1);
        let copying = Copying { options: &options, stage: Stage::AfterDeletion, ..self.copying };
        let job = copying.job(self.session, None);
        let settings = self.session.settings(copying.threads);
        let seeds = seeds.into_iter().map(Into::into).collect();
        let counters = engine::run(&job, seeds, reporter, self.session.mail, settings);
        reporter.phase_ended();
        self.phase.0.add(&job.tally());
        self.phase.1.add(&counters);
        let mut leftovers = job.into_leftovers();
        links::copy(self.session, copying, &mut leftovers, &mut self.phase, reporter);
        leftovers.directories
    }

    /// Tells all ranks which directories have content; returns what the target has on this rank in
    /// place of some that have none.
    fn pruned(&mut self) -> Extraneous {
        let Some(pruning) = self.copying.pruning else { return Extraneous::default() };
        let news = gather(self.session.mail, &pruning.take_news());
        for of_rank in broadcast(self.session.mail, news) {
            pruning.extend(&of_rank);
        }
        pruning.take_extraneous()
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

    fn delete_extraneous(
        &mut self,
        deletion_set: DeletionSet,
        delete_max: Option<u64>,
        reporter: &mut Reporter,
    ) -> (Exit, Deleted) {
        if let Some(delete_max) = delete_max {
            let counted = self.count(&deletion_set, reporter);
            if counted > delete_max {
                let (counted, most) = (human_count(counted), human_count(delete_max));
                let why = format!("it would be {counted} entries, more than --max-delete {most}");
                self.warn(&format!("nothing was deleted: {why}"), reporter);
                return (Exit::DeleteLimit, Deleted::default());
            }
        }
        let mode = self.copying.options.plan_as.map_or(Mode::Delete, Mode::Plan);
        (Exit::Ok, self.delete(deletion_set, mode, reporter))
    }

    /// How many entries would be deleted on all ranks.
    fn count(&mut self, deletion_set: &DeletionSet, reporter: &mut Reporter) -> u64 {
        let job = self.deletion(Mode::Count);
        self.run_deletion(&job, deletion_set.to_count(), reporter);
        let counts = gather(self.session.mail, &job.tally().synced.deleted.total());
        broadcast(self.session.mail, counts.map(|counts| counts.iter().sum()))
    }

    fn delete(
        &mut self,
        deletion_set: DeletionSet,
        mode: Mode,
        reporter: &mut Reporter,
    ) -> Deleted {
        let job = self.deletion(mode);
        let is_any = !deletion_set.is_empty() || !job.depths().is_empty();
        let any = gather(self.session.mail, &is_any);
        let any = any.map(|any| any.contains(&true));
        if !broadcast(self.session.mail, any) {
            return Deleted::default();
        }
        reporter.phase_ended();
        let counters = self.run_deletion(&job, deletion_set.into_tasks(), reporter);
        self.phase.0.add(&job.tally());
        self.phase.1.add(&counters);
        let is_plan = matches!(mode, Mode::Plan(_));
        let kept = if is_plan { job.kept() } else { Vec::new() };
        Deleted { kept, changed: job.into_changed() }
    }

    fn deletion(&self, mode: Mode) -> DeleteJob<'r> {
        let Copying { roots, selection, options, pruning, .. } = self.copying;
        DeleteJob::new(roots, selection, mode, options).pruned_by(pruning)
    }

    /// First what is in directories, then, the deepest level first, those in which nothing stays.
    fn run_deletion(
        &mut self,
        job: &DeleteJob<'_>,
        tasks: Vec<WalkTask>,
        reporter: &mut Reporter,
    ) -> Counters {
        let threads = self.copying.threads.at_most(self.args.threads);
        let settings = self.session.settings(threads);
        let seeds = tasks.into_iter().map(DeleteTask::Walk).collect();
        let mut counters = engine::run(job, seeds, reporter, self.session.mail, settings);
        let kept = gather(self.session.mail, &job.kept());
        job.keep(broadcast(self.session.mail, kept.map(|kept| kept.concat())));
        for depth in self.levels(job).into_iter().rev() {
            let level = job.take_level(depth);
            counters.add(&engine::run(job, level, reporter, self.session.mail, settings));
        }
        counters
    }

    /// The depths at which any rank has directories to remove.
    fn levels(&mut self, job: &DeleteJob<'_>) -> BTreeSet<u32> {
        let all = gather(self.session.mail, &job.depths());
        broadcast(self.session.mail, all.map(|all| all.into_iter().flatten().collect()))
    }
}

fn prepare(
    session: &Session<'_, '_>,
    (resolver, selection): (&StoreResolver, &Selection),
    request: SyncRequest,
    args: &CommonArgs,
    reporter: &mut Reporter,
) -> Prepared {
    let SyncRequest { source, target, requested, .. } = request;
    let RequestedCopy { mut options, resume, manifest, named, .. } = requested.clone();
    // What is named is in it.
    let planned = if named.is_empty() { source.clone() } else { contents_of(&source) };
    options.plan_as = options.dry_run.then(|| args.line_format());
    let sources = std::slice::from_ref(&source);
    let own = manifest.iter().chain(&resume.dir);
    let located = old_copy::locate(resolver, &target, &mut options, reporter);
    let found = located.and_then(|()| match deletion_set(own, &target, &options) {
        Some(refusal) => Err((Exit::Usage, refusal)),
        None => same_command::find(
            Command {
                tool: session.tool,
                sources,
                target: &target,
                requested: &requested,
                s3: &args.s3,
            },
            resolver,
            reporter,
        ),
    });
    let (plan, journal) = match found {
        Ok(found) => {
            found.prepare(&mut options);
            if sync_plan::is_link_to_single(resolver, &planned) {
                options.symlinks = Symlinks::Follow;
            }
            (sync_plan::make(resolver, &planned, &target, (&options, selection)), Some(found))
        }
        Err((Exit::Unusable, why)) => {
            reporter.refuse(&why);
            (CopyPlan::default(), None)
        }
        Err((_, refusal)) => (CopyPlan { refusals: vec![refusal], ..CopyPlan::default() }, None),
    };
    if plan.roots.is_empty() {
        plan.refusals.iter().for_each(|refusal| reporter.refuse(refusal));
        plan.failures.iter().for_each(|failure| reporter.refuse(reporter.words(failure)));
    } else {
        header(session, (&source, &target), &options, journal.as_ref(), args, reporter);
    }
    if let (Some(found), true) = (&journal, plan.roots.is_empty()) {
        found.give_up();
    }
    Prepared { plan, options, journal }
}

/// Why one of the job's own files cannot be where it is: it would be deleted as what only the
/// target has.
fn deletion_set<'p>(
    own: impl Iterator<Item = &'p Vec<u8>>,
    target: &[u8],
    options: &CopyOptions,
) -> Option<String> {
    let deletes = options.sync.as_ref().is_some_and(|sync| sync.delete);
    let above = absolute(target);
    let is_inside = |root: &&Vec<u8>| {
        let below = absolute(root).strip_prefix(&above[..]).map(<[u8]>::to_vec);
        below.is_some_and(|below| above.ends_with(b"/") || below.starts_with(b"/"))
    };
    let inside = own.filter(|_| deletes).find(is_inside)?;
    let shown = path::escaped(inside);
    Some(format!("{shown} is in the target, where --delete would delete it; name another location"))
}

fn header(
    session: &Session<'_, '_>,
    (source, target): (&[u8], &[u8]),
    options: &CopyOptions,
    journal: Option<&Found>,
    args: &CommonArgs,
    reporter: &mut Reporter,
) {
    let criteria = options.sync.as_ref().map(criteria::words).unwrap_or_default();
    let mut lines = vec![
        format!("  {} => {}", path::escaped(source), path::escaped(target)),
        format!(
            "  {criteria}; chunks of {}, buffers of {}{}{}",
            exact_bytes(options.chunk_bytes),
            exact_bytes(options.buffer_bytes),
            options.words(),
            if options.dry_run { ", dry run" } else { "" }
        ),
    ];
    lines.extend(options.old_copy().map(old_copy::words));
    lines.extend(journal.and_then(Found::words));
    let fields = json!({
        "tool": session.tool,
        "mpi": session.mpi,
        "ranks": session.topology.ranks,
        "nodes": session.topology.nodes.len(),
        "threads": args.threads,
        "source": json_path(source),
        "target": json_path(target),
        "sync": options.sync.as_ref().map(events::criteria),
        "preserve": events::preserve(&options.keep),
        "chunk_bytes": options.chunk_bytes,
        "dry_run": options.dry_run,
        "journal": journal.and_then(|found| found.dir.as_deref()).map(json_path),
        "resumed": journal.is_some_and(|found| found.earlier.is_some()),
    });
    announce(session, args, reporter);
    reporter.header(&lines, fields);
}
