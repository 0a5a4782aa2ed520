//! A copy, from the paths to the summary.

use std::collections::BTreeSet;
use std::ffi::CString;

use serde_json::json;

use super::links::{self, Copying};
use super::named::{self, Opened};
use super::{close, exit_of, find_sites, select, threads_max};
use crate::base::error::{Failure, Side};
use crate::base::exit::Exit;
use crate::base::path;
use crate::base::size::{human_bytes, human_count};
use crate::comm::Rank;
use crate::comm::collective::{broadcast, gather};
use crate::copy::CopyJob;
use crate::copy::finish::{DirectoryRecords, FinishJob, FinishTask};
use crate::copy::options::CopyOptions;
use crate::copy::plan::{self, CopyPlan};
use crate::copy::root::{CopyRoot, RootPlan, Singles};
use crate::model::line::{LineFormat, json_path};
use crate::model::tally::Tally;
use crate::sched::counters::Counters;
use crate::sched::engine;
use crate::store::sites::Sites;
use crate::surface::cli::CommonArgs;
use crate::surface::filter_args::FilterArgs;
use crate::surface::named_args::NamedArgs;
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;
use crate::surface::summary::{Deed, describe_team};
use crate::walk::{WalkTask, account};

/// What a copy is asked for. Paths are as the operator gave them.
#[derive(Debug, Clone)]
pub struct CopyRequest {
    /// What to copy.
    pub sources: Vec<Vec<u8>>,
    /// Where to.
    pub target: Vec<u8>,
    /// How.
    pub options: CopyOptions,
    /// Which entries take part.
    pub filters: FilterArgs,
    /// The entries to be dealt with, instead of walking.
    pub named: NamedArgs,
}

/// What a phase has counted on this rank.
pub(super) type Phase = (Tally, Counters);

/// Runs a copy on all ranks.
pub fn run(session: &mut Session<'_, '_>, request: CopyRequest, args: &CommonArgs) -> Exit {
    let is_root = session.mail.comm().rank() == Rank::ROOT;
    let mut reporter = Reporter::new(session.tool, "copy", args, session.team.ranks);
    let Some(selection) = select(session, &request.filters, &mut reporter) else {
        return Exit::Usage;
    };
    let opened = match named::open(session, &request.named, &mut reporter) {
        Ok(opened) => opened,
        Err(exit) => return exit,
    };
    let targets = std::iter::once((Side::Target, &request.target[..]));
    let places: Vec<_> =
        request.sources.iter().map(|path| (Side::Source, &path[..])).chain(targets).collect();
    let Some(sites) = find_sites(session, &places, args, &mut reporter) else {
        return Exit::Unusable;
    };
    let prepared = is_root.then(|| prepare(session, &sites, request, args, &mut reporter));
    let (plan, options) = broadcast(session.mail, prepared);
    if plan.roots.is_empty() {
        return if plan.refusals.is_empty() { Exit::Unusable } else { Exit::Usage };
    }
    let Some(roots) = open_everywhere(session, &sites, (&plan, &options), &mut reporter) else {
        return Exit::Unusable;
    };
    let rank = session.mail.comm().rank();
    let threads = threads_max(session, &sites, args);
    let job = CopyJob::new(&roots, &options, &selection, opened.named.as_ref(), rank);
    let mut phase = copy_entries(session, &job, (&plan, &opened), threads, &mut reporter);
    let mut leftovers = job.into_leftovers();
    let copying =
        Copying { roots: &roots, options: &options, selection: &selection, threads_max: threads };
    links::copy(session, copying, &mut leftovers, &mut phase, &mut reporter);
    let (mut tally, mut counters) = phase;
    let directories = leftovers.directories;
    let (more, finish) = finish_directories(session, &roots, directories, args, &mut reporter);
    tally.add(&more);
    counters.add(&finish);
    tally.failed += if is_root { plan.failures.len() as u64 } else { 0 };
    let summary = session.summarise(&tally, &sites, counters).map(|mut summary| {
        summary.deed = Deed::Copy;
        summary.is_dry_run = options.dry_run;
        summary.exit = exit_of(&summary.totals());
        summary
    });
    close(&mut reporter, summary)
}

/// Rank 0 looks at the paths before anything is written.
fn prepare(
    session: &Session<'_, '_>,
    sites: &Sites,
    request: CopyRequest,
    args: &CommonArgs,
    reporter: &mut Reporter,
) -> (CopyPlan, CopyOptions) {
    let CopyRequest { mut sources, target, mut options, named, .. } = request;
    options.plan_as = if args.json { LineFormat::Ndjson } else { LineFormat::Text };
    let mut plan = CopyPlan::default();
    if !named.is_empty() && sources.len() != 1 {
        plan.refusals.push("entries that are named are of one SOURCE; name one".to_owned());
    } else {
        if !named.is_empty() {
            // What is named is in it.
            sources[0].push(b'/');
        }
        plan = plan::make(sites, &sources, &target, &options);
    }
    if !plan.refusals.is_empty() {
        plan.refusals.iter().for_each(|refusal| reporter.refuse(refusal));
        plan.roots.clear();
    } else if plan.roots.is_empty() {
        plan.failures.iter().for_each(|failure| reporter.refuse(&reporter.words(failure)));
    } else {
        header(session, &plan, &options, args, reporter);
        plan.failures.iter().for_each(|failure| reporter.failure(failure));
    }
    (plan, options)
}

/// Roots that the header names; a glob may have given thousands.
const HEADER_ROOTS_MAX: usize = 8;

fn describe_root(root: &RootPlan) -> String {
    let (source, target) = (path::escaped(&root.source), path::escaped(&root.target));
    match &root.singles {
        None => format!("  {source} -> {target}"),
        Some(Singles { names, renamed }) if names.len() == 1 => {
            let copy = renamed.as_ref().unwrap_or(&names[0]);
            let of = |dir: &[u8], name: &CString| path::escaped(&path::join(dir, name.to_bytes()));
            format!("  {} -> {}", of(&root.source, &names[0]), of(&root.target, copy))
        }
        Some(Singles { names, .. }) => {
            format!("  {} entries of {source} -> {target}", human_count(names.len() as u64))
        }
    }
}

/// What is about to happen, before it does.
fn header(
    session: &Session<'_, '_>,
    plan: &CopyPlan,
    options: &CopyOptions,
    args: &CommonArgs,
    reporter: &mut Reporter,
) {
    let team = describe_team(&session.team, args.threads);
    let mut lines = vec![format!("{} {}, {team}", session.tool, env!("CARGO_PKG_VERSION"))];
    lines.extend(plan.roots.iter().take(HEADER_ROOTS_MAX).map(describe_root));
    if plan.roots.len() > HEADER_ROOTS_MAX {
        lines.push(format!("  … and {} more", plan.roots.len() - HEADER_ROOTS_MAX));
    }
    lines.push(format!(
        "  chunks of {}, buffers of {}{}{}",
        human_bytes(options.chunk_bytes),
        human_bytes(options.buffer_bytes),
        options.keep.words(),
        if options.dry_run { ", dry run" } else { "" },
    ));
    let roots: Vec<_> = plan
        .roots
        .iter()
        .map(|root| json!({"source": json_path(&root.source), "target": json_path(&root.target)}))
        .collect();
    let fields = json!({
        "tool": session.tool,
        "mpi": session.mpi,
        "ranks": session.team.ranks,
        "nodes": session.team.nodes.len(),
        "threads": args.threads,
        "chunk_bytes": options.chunk_bytes,
        "buffer_bytes": options.buffer_bytes,
        "preserve": options.keep.is_any(),
        "keep": options.keep,
        "dry_run": options.dry_run,
        "roots": roots,
    });
    reporter.header(&lines, fields);
}

const KEPT_TOGETHER: &str = "objects keep mode, owner and times together or not at all; of those asked \
for, only the time of change is kept";

/// Opens all roots on this rank; `None` on all ranks where one of them cannot.
pub(super) fn open_everywhere(
    session: &mut Session<'_, '_>,
    sites: &Sites,
    (plan, options): (&CopyPlan, &CopyOptions),
    reporter: &mut Reporter,
) -> Option<Vec<CopyRoot>> {
    let opened: Result<Vec<CopyRoot>, Failure> =
        plan.roots.iter().map(|root| root.open(sites, options)).collect();
    let host = &session.team.host;
    let words = |failure| format!("{} (on {host})", reporter.words(failure));
    let trouble = opened.as_ref().err().map(words);
    let troubles = gather(session.mail, &trouble);
    let all_open = troubles.map(|troubles| {
        // Ranks of one node fail alike: each line once.
        let mut lines: Vec<String> = troubles.into_iter().flatten().collect();
        lines.dedup();
        for line in &lines {
            reporter.refuse(line);
        }
        lines.is_empty()
    });
    let all_open = broadcast(session.mail, all_open);
    // Rank 0 has looked at all places.
    sites.are_reached();
    let some_fit_not = opened.iter().flatten().any(|root| root.target.holds_objects());
    if some_fit_not && !options.keep.fits_objects() && session.mail.comm().rank() == Rank::ROOT {
        reporter.warn(KEPT_TOGETHER);
    }
    if session.mail.comm().rank() == Rank::ROOT {
        let shortcomings = opened.iter().flatten().filter_map(|root| root.source.shortcoming());
        for words in shortcomings.collect::<BTreeSet<_>>() {
            reporter.warn(words);
        }
    }
    all_open.then_some(opened.ok()).flatten()
}

pub(super) fn copy_entries(
    session: &mut Session<'_, '_>,
    job: &CopyJob<'_>,
    (plan, opened): (&CopyPlan, &Opened),
    threads_max: u32,
    reporter: &mut Reporter,
) -> Phase {
    let is_root = session.mail.comm().rank() == Rank::ROOT;
    let roots = plan.roots.iter().zip(0..).filter(|_| is_root);
    let walk = || roots.flat_map(|(root, index)| root.seeds(index)).collect();
    let named = |seeds: Vec<WalkTask>| seeds.into_iter().map(Into::into).collect();
    let seeds = opened.seeds().map_or_else(walk, named);
    let settings = session.settings(threads_max);
    let counters = engine::run(job, seeds, reporter, session.mail, settings);
    reporter.phase_ended();
    (job.tally(), counters)
}

/// Sets the directories' own attributes, now that nothing changes below them any more.
pub(super) fn finish_directories(
    session: &mut Session<'_, '_>,
    roots: &[CopyRoot],
    directories: DirectoryRecords,
    args: &CommonArgs,
    reporter: &mut Reporter,
) -> Phase {
    let settings = session.settings(args.threads);
    let (blocks, restricted) = directories.into_parts();
    let job = FinishJob::new(roots);
    let seeds = blocks.into_iter().map(FinishTask::Block).collect();
    let mut counters = engine::run(&job, seeds, reporter, session.mail, settings);
    let restricted = gather(session.mail, &restricted);
    let some_left = restricted.as_ref().map(|all| all.iter().any(|of_rank| !of_rank.is_empty()));
    if broadcast(session.mail, some_left) {
        let all = restricted.map(|all| FinishTask::restricted(all.concat()));
        let last = engine::run(&job, all.into_iter().collect(), reporter, session.mail, settings);
        counters.add(&last);
    }
    let mut tally = job.tally();
    tally.failed += settle(session, roots, reporter);
    (tally, counters)
}

/// What was changed is on storage, where that is wished. Returns how many targets on this rank are not.
fn settle(session: &mut Session<'_, '_>, roots: &[CopyRoot], reporter: &mut Reporter) -> u64 {
    let failures: Vec<Failure> = roots
        .iter()
        .filter_map(|root| {
            let error = root.target.settle().err()?;
            Some(account::failure(Side::Target, &root.shown_target, b"", error))
        })
        .collect();
    for failure in gather(session.mail, &failures).into_iter().flatten().flatten() {
        reporter.failure(&failure);
    }
    failures.len() as u64
}
