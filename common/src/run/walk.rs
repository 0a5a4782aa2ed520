//! A walk, or the reading of a list instead, from the paths to the summary.

mod input;
mod output;

use std::time::Instant;

use serde_json::json;

use super::buckets;
use super::phase::Phase;
use super::second_look::{self, Again, Watched};
use super::shared_roots::lost;
use super::{announce, close, exit_for, find_stores, named, select, threads_of_rank};
use crate::surface::cli::CommonArgs;
use crate::surface::filter_args::FilterArgs;
use crate::surface::named_args::NamedArgs;
use crate::surface::report::About;
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;
use comm::Rank;
use comm::collective::broadcast;
use input::Input;
use ops::resolver::StoreResolver;
use ops::walk::in_order::prefetched_by;
use ops::walk::list::collector::{CollectorOptions, ListCollector, Listing};
use ops::walk::list::read::ReadJob;
use ops::walk::list::{ListJob, ObjectFacts, WalkRoot, seeds};
use ops::walk::listed::{CheckedTree, Listed};
use ops::walk::selection::Selection;
use ops::walk::watch::Watch;
use sched::engine;
use sched::growth::Threads;
use store::opening::Symlinks;
use types::entry::Time;
use types::error::Side;
use types::exit::Exit;
use types::listed::line::json_path;
use types::path;

/// Request for a walk. Paths are as the operator gave them.
#[derive(Debug, Clone)]
pub struct WalkRequest {
    /// Roots to walk.
    pub paths: Vec<Vec<u8>>,
    /// A list to read instead.
    pub input: Option<Vec<u8>>,
    /// Treatment of symbolic links.
    pub symlinks: Symlinks,
    /// How closely to look at objects.
    pub facts: ObjectFacts,
    /// Lists and statistics to make.
    pub collector: CollectorOptions,
    /// File of the list; standard output for `None`.
    pub list: Option<Vec<u8>>,
    /// File of the report.
    pub report: Option<Vec<u8>>,
    /// Filters of entries.
    pub filters: FilterArgs,
    /// The entries to be dealt with, instead of walking.
    pub named: NamedArgs,
}

/// Error of a list of mpiFileUtils whose paths would lead nowhere.
#[derive(Debug, thiserror::Error)]
#[error(
    "-o: a list of mpiFileUtils has paths of this node alone; write FILE.ndjson or FILE.parquet for S3 \
     and other hosts"
)]
struct NotHere;

fn check_places(request: &WalkRequest, resolver: &StoreResolver) -> Result<(), NotHere> {
    let is_elsewhere = resolver.has_objects() || resolver.has_hosts();
    let is_of_theirs = request.list.is_some() && request.collector.listing == Listing::Mfu;
    if is_of_theirs && is_elsewhere { Err(NotHere) } else { Ok(()) }
}

/// Runs a walk on all ranks.
pub fn run(session: &mut Session<'_, '_>, request: &WalkRequest, args: &CommonArgs) -> Exit {
    course(session, request, args).unwrap_or_else(|exit| exit)
}

/// Returns the exit code, as an error where nothing was begun.
fn course(
    session: &mut Session<'_, '_>,
    request: &WalkRequest,
    args: &CommonArgs,
) -> Result<Exit, Exit> {
    let is_root = session.mail.comm().rank() == Rank::ROOT;
    let mut reporter = reporter_of(session, request, args);
    if let Some(exit) = buckets::list(session, &request.paths, args, &mut reporter) {
        return Ok(exit);
    }
    let Some(selection) = select(session, &request.filters, &mut reporter) else {
        return Err(Exit::Usage);
    };
    let entries = named::open(session, (&request.named, None), &mut reporter)?;
    let places: Vec<_> = request.paths.iter().map(|path| (Side::Source, &path[..])).collect();
    let resolver =
        find_stores(session, (&places, selection.is_one_file_system()), args, &mut reporter)?;
    check_places(request, &resolver).map_err(|why| session.refuse(why))?;
    let choice = (&selection, args);
    let Some((input, failed)) = input::open(session, &resolver, request, choice, &mut reporter)
    else {
        return Err(Exit::Unusable);
    };
    let outputs = output::open(session, request, args, &mut reporter)?;
    let part = outputs.first_part(session, request, &mut reporter)?;
    let selection = selection.without_outputs(outputs.own_entries.clone());
    let now_seconds = broadcast(session.mail, is_root.then(|| Time::now().seconds));
    let mut options = request.collector.clone();
    options.usage.now_seconds = now_seconds;
    let shown = input.shown(request);
    if is_root {
        header(session, &shown, args, &mut reporter);
    }
    let collector = ListCollector::new(&options, part);
    let threads = threads_of_rank(session, &resolver, args);
    let began = Instant::now();
    let (mut tally, counters) = match &input {
        Input::Trees(roots) => {
            let (selection, collector) = (&selection, &collector);
            let walk = WatchedWalk { roots, request, selection, collector, threads };
            walk.run(session, &entries, &mut reporter)
        }
        Input::List { source, repeated, pieces } => {
            let job = ReadJob::new(source, repeated, &selection, &collector);
            let settings = session.settings(threads);
            let counters = engine::run(&job, pieces.clone(), &mut reporter, session.mail, settings);
            reporter.phase_ended();
            (collector.account.take_tally(), counters)
        }
    };
    tally.failed += if is_root { failed } else { 0 };
    if let Input::Trees(roots) = &input {
        let shared: Vec<_> = roots.iter().map(input::shared).collect();
        tally.add(&lost(session, &shared, &selection, &mut reporter));
    }
    let report = outputs.finish_list(session, request, &collector, &tally, &mut reporter);
    let usage = output::gather_usage(session, &collector);
    let summary = session.summarise(&tally, &resolver, counters).map(|mut summary| {
        summary.exit = exit_for(&summary.totals(), args);
        summary.elapsed = began.elapsed();
        summary.usage = usage;
        if let Some(file) = report {
            let about = About { roots: &shown, is_list: request.input.is_some(), now_seconds };
            output::write_report(file, &about, &summary, &mut reporter);
        }
        summary
    });
    Ok(close(&mut reporter, summary))
}

fn reporter_of(session: &Session<'_, '_>, request: &WalkRequest, args: &CommonArgs) -> Reporter {
    let verb = if request.input.is_some() { "read" } else { "walk" };
    let mut reporter = Reporter::new(session.tool, verb, args, session.topology.ranks);
    if request.collector.listing.checksum().is_some() && request.list.is_none() {
        reporter.keep_output_for_list();
    }
    reporter
}

/// A walk, to be repeated where directories have changed.
struct WatchedWalk<'w> {
    roots: &'w [WalkRoot],
    request: &'w WalkRequest,
    selection: &'w Selection,
    collector: &'w ListCollector,
    threads: Threads,
}

impl WatchedWalk<'_> {
    /// Walks the trees, or these entries of them, and once more where directories have changed
    /// meanwhile.
    fn run(
        &self,
        session: &mut Session<'_, '_>,
        entries: &named::Opened,
        reporter: &mut Reporter,
    ) -> Phase {
        let is_root = session.mail.comm().rank() == Rank::ROOT;
        let walk = || if is_root { seeds(self.roots) } else { Vec::new() };
        let seeds = entries.seeds().unwrap_or_else(walk);
        let (facts, named) = (self.request.facts, entries.named.as_ref());
        let job = ListJob::new(self.roots, facts, self.selection, named, self.collector);
        let mut job = job.watched(second_look::watch(session, self.request.symlinks));
        if is_root {
            reporter.order(prefetched_by(&job, 0..self.roots.len() as u32));
        }
        let settings = session.settings(self.threads);
        let counters = engine::run(&job, seeds, reporter, session.mail, settings);
        reporter.phase_ended();
        let mut phase = (self.collector.account.take_tally(), counters);
        if let Some(watch) = job.take_watch() {
            let watched = (&self.watched(), watch);
            second_look::take(
                session,
                watched,
                &mut phase,
                reporter,
                |session, again, phase, reporter| self.list_again(session, again, phase, reporter),
            );
        }
        phase
    }

    fn watched(&self) -> Watched<'_> {
        let trees = self.roots.iter().flat_map(|root| {
            let (store, shown) = (&*root.source, &root.shown[..]);
            [Side::Source, Side::Target].map(|side| CheckedTree { store, shown, side })
        });
        Watched { trees: trees.collect(), selection: self.selection, threads: self.threads }
    }

    fn list_again(
        &self,
        session: &mut Session<'_, '_>,
        (watch, again): (Watch, Again<'_>),
        phase: &mut Phase,
        reporter: &mut Reporter,
    ) -> Listed {
        let job =
            ListJob::new(self.roots, self.request.facts, self.selection, None, self.collector);
        let mut job = job.watched(watch);
        let settings = session.settings(self.threads);
        let counters = engine::run(&job, again.seeds, reporter, session.mail, settings);
        reporter.phase_ended();
        phase.0.add(&self.collector.account.take_tally());
        phase.1.add(&counters);
        job.take_watch().map(|mut watch| watch.take_listed()).unwrap_or_default()
    }
}

fn header(
    session: &Session<'_, '_>,
    shown: &[Vec<u8>],
    args: &CommonArgs,
    reporter: &mut Reporter,
) {
    let mut lines = Vec::new();
    lines.extend(shown.iter().map(|path| format!("  {}", path::escaped(path))));
    let roots: Vec<_> = shown.iter().map(|path| json_path(path)).collect();
    let fields = json!({
        "tool": session.tool,
        "mpi": session.mpi,
        "ranks": session.topology.ranks,
        "nodes": session.topology.nodes.len(),
        "threads": args.threads,
        "roots": roots,
    });
    announce(session, args, reporter);
    reporter.header(&lines, fields);
}
