//! A copy, from the paths to the summary.

use std::collections::BTreeSet;
use std::ffi::CString;

use serde_json::json;

use super::copying::Copying;
use super::ending::Ending;
use super::links;
use super::named::{self, Opened};
use super::resume::{self, Found};
use super::{agree, find_sites, select, threads_max};
use super::{manifest, verify};
use crate::base::error::{Failure, Side};
use crate::base::exit::Exit;
use crate::base::path;
use crate::base::size::{human_bytes, human_count};
use crate::comm::Rank;
use crate::comm::collective::{broadcast, gather};
use crate::copy::CopyJob;
use crate::copy::finish::{DirectoryRecords, FinishJob, FinishTask};
use crate::copy::options::{CopyOptions, ResumeRequest};
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
    /// What becomes of a job that was stopped.
    pub resume: ResumeRequest,
    /// Where is recorded what is at the target, a Parquet list.
    pub manifest: Option<Vec<u8>>,
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
    let mut opened = match named::open(session, &request.named, &mut reporter) {
        Ok(opened) => opened,
        Err(exit) => return exit,
    };
    let targets = std::iter::once((Side::Target, &request.target[..]));
    let places: Vec<_> =
        request.sources.iter().map(|path| (Side::Source, &path[..])).chain(targets).collect();
    let Some(sites) = find_sites(session, &places, args, &mut reporter) else {
        return Exit::Unusable;
    };
    let manifest_path = request.manifest.clone().filter(|_| !request.options.dry_run);
    let part = verify::Part { filters: request.filters.clone(), named: request.named.clone() };
    let mut found = None;
    let prepared = is_root.then(|| {
        let (plan, options, journal) = prepare(session, &sites, request, args, &mut reporter);
        found = journal;
        (plan, options)
    });
    let (plan, options) = broadcast(session.mail, prepared);
    if plan.roots.is_empty() {
        return if plan.refusals.is_empty() { Exit::Unusable } else { Exit::Usage };
    }
    let Some(kept) = resume::open(session, found, &options, &mut reporter) else {
        return Exit::Unusable;
    };
    let manifest = match manifest::open(session, manifest_path.as_deref(), &mut reporter) {
        Ok(manifest) => manifest,
        Err(exit) => return exit,
    };
    let Some(roots) = open_everywhere(session, &sites, (&plan, &options), &mut reporter) else {
        return Exit::Unusable;
    };
    let folded = opened.part_folded(session, &roots, &mut reporter);
    let copying = Copying {
        roots: &roots,
        options: &options,
        selection: &selection,
        journal: kept.journal.as_ref(),
        manifest: &manifest,
        threads_max: threads_max(session, &sites, args),
    };
    let job = copying.job(session, opened.named.as_ref());
    let mut phase =
        copy_entries(session, &job, (&plan, &opened), copying.threads_max, &mut reporter);
    phase.0.failed += folded;
    let mut leftovers = job.into_leftovers();
    links::copy(session, copying, &mut leftovers, &mut phase, &mut reporter);
    let (mut tally, mut counters) = phase;
    let directories = leftovers.directories;
    let (more, finish) = finish_directories(session, &roots, directories, args, &mut reporter);
    tally.add(&more);
    counters.add(&finish);
    tally.failed += if is_root { plan.failures.len() as u64 } else { 0 };
    let ending = Ending {
        deed: Deed::Copy,
        sites: &sites,
        plan: &plan,
        roots: &roots,
        options: &options,
        part: &part,
        manifest: &manifest,
        kept,
        verdict: Exit::Ok,
    };
    ending.conclude(session, (tally, counters), args, &mut reporter)
}

/// Rank 0 looks at the paths before anything is written.
fn prepare(
    session: &Session<'_, '_>,
    sites: &Sites,
    request: CopyRequest,
    args: &CommonArgs,
    reporter: &mut Reporter,
) -> (CopyPlan, CopyOptions, Option<Found>) {
    let CopyRequest { mut sources, target, mut options, named, resume, .. } = request;
    options.plan_as = if args.json { LineFormat::Ndjson } else { LineFormat::Text };
    let (mut plan, mut journal) = (CopyPlan::default(), None);
    if let Some(refusal) = verify::refusal(&options) {
        plan.refusals.push(refusal);
    } else if !named.is_empty() && sources.len() != 1 {
        plan.refusals.push("entries that are named are of one SOURCE; name one".to_owned());
    } else {
        if !named.is_empty() {
            // What is named is in it.
            sources[0].push(b'/');
        }
        match resume::find(&resume, sites, &sources, &target, &options) {
            Ok(found) => {
                found.prepare(&mut options);
                let target_was = found.target_was();
                plan = plan::make(sites, &sources, &target, target_was, &options);
                journal = Some(found);
            }
            Err(refusal) => plan.refusals.push(refusal),
        }
    }
    if !plan.refusals.is_empty() {
        plan.refusals.iter().for_each(|refusal| reporter.refuse(refusal));
        plan.roots.clear();
    } else if plan.roots.is_empty() {
        plan.failures.iter().for_each(|failure| reporter.refuse(&reporter.words(failure)));
    } else {
        header(session, &plan, &options, journal.as_ref(), args, reporter);
        plan.failures.iter().for_each(|failure| reporter.failure(failure));
    }
    if let (Some(found), true) = (&journal, plan.roots.is_empty()) {
        found.give_up();
    }
    (plan, options, journal)
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
    journal: Option<&Found>,
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
    lines.extend(journal.and_then(Found::words));
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
        "journal": journal.and_then(|found| found.dir.as_deref()).map(json_path),
        "resumes": journal.is_some_and(|found| found.earlier.is_some()),
        "roots": roots,
    });
    reporter.header(&lines, fields);
}

const NOT_STRIPED: &str = "--stripe has no effect where the target is not on Lustre";

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
    let words = |failure: &Failure| format!("{} (on {host})", reporter.words(failure));
    let opened = opened.map_err(|failure| words(&failure));
    let opened = agree(session, opened, reporter);
    // Rank 0 has looked at all places.
    sites.are_reached();
    let some_fit_not = opened.iter().flatten().any(|root| root.target.holds_objects());
    let no_stripes = || opened.iter().flatten().any(|root| !root.target.has_layouts());
    let is_root = session.mail.comm().rank() == Rank::ROOT;
    if is_root && options.transfer.stripe.is_some() && no_stripes() {
        reporter.warn(NOT_STRIPED);
    }
    if some_fit_not && !options.keep.fits_objects() && is_root {
        reporter.warn(KEPT_TOGETHER);
    }
    if is_root {
        let shortcomings = opened.iter().flatten().filter_map(|root| root.source.shortcoming());
        for words in shortcomings.collect::<BTreeSet<_>>() {
            reporter.warn(words);
        }
    }
    opened
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
