//! Removing what stopped jobs have left, from the locations to the summary.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use super::node_errors::agree;
use super::shared_roots::{SharedRoot, are_shared};
use super::{announce, close, exit_of, find_stores, threads_of_rank};
use crate::surface::cli::CommonArgs;
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;
use crate::surface::summary::Operation;
use comm::Rank;
use comm::collective::{broadcast, reduce};
use lists::as_path;
use ops::clean::{CleanJob, CleanOptions, CleanRoot, DeadJournal, ThoseJobs};
use ops::journal::folder::StagedBy;
use ops::resolver::StoreResolver;
use ops::walk::account;
use ops::walk::selection::Selection;
use sched::counters::Counters;
use sched::engine;
use store::Store;
use store::opening::OpenAs;
use types::entry::Time;
use types::error::{Failure, Side};
use types::exit::Exit;
use types::listed::line::json_path;
use types::operand::placement::Given;
use types::outcome::tally::Tally;
use types::path;
use types::select::age::Age;

/// Request for cleaning. Locations are as the operator gave them.
#[derive(Debug, Clone)]
pub struct CleanRequest {
    /// Locations to clean.
    pub locations: Vec<Vec<u8>>,
    /// Minimum age of what is removed.
    pub min_age: Option<Age>,
    /// List only, and remove nothing.
    pub dry_run: bool,
}

/// Default of the minimum age: younger files may belong to a running job.
const MIN_AGE: Age = Age::Seconds(24 * 3600);

/// Removes it, on all ranks.
pub fn run(session: &mut Session<'_, '_>, request: &CleanRequest, args: &CommonArgs) -> Exit {
    let is_root = session.mail.comm().rank() == Rank::ROOT;
    let mut reporter = Reporter::new(session.tool, "clean", args, session.topology.ranks);
    let named: Vec<_> = request.locations.iter().map(|path| (Side::Target, &path[..])).collect();
    let resolver = match find_stores(session, (&named, false), args, &mut reporter) {
        Ok(resolver) => resolver.discarding_changes(request.dry_run),
        Err(exit) => return exit,
    };
    let Some(roots) = open(session, &resolver, request, &mut reporter) else {
        return Exit::Unusable;
    };
    if !are_shared(session, &shared(&roots), &Selection::all(), args.assume_shared, &mut reporter) {
        return Exit::Unusable;
    }
    let newest = request.min_age.unwrap_or(MIN_AGE).moment(Time::now()).seconds;
    let options = CleanOptions {
        // All ranks have one clock.
        old_by_seconds: broadcast(session.mail, is_root.then_some(newest)),
        plan_as: (request.dry_run || !args.quiet).then(|| args.line_format()),
    };
    if is_root {
        header(session, request, args, &mut reporter);
    }
    let mut cleaning =
        Cleaning { session, resolver: &resolver, options, args, reporter: &mut reporter };
    let (mut tally, mut counters, journals) = cleaning.clean(roots);
    let elsewhere = cleaning.elsewhere(journals, &request.locations);
    let mut exit = Exit::Ok;
    if !elsewhere.is_empty() {
        match cleaning.open(&elsewhere) {
            Some(roots) => {
                let (more, of_more, _) = cleaning.clean(roots);
                tally.add(&more);
                counters.add(&of_more);
            }
            None => exit = Exit::Partial,
        }
    }
    let summary = session.summarise(&tally, &resolver, counters).map(|mut summary| {
        summary.operation = Operation::Clean;
        summary.is_dry_run = request.dry_run;
        summary.exit = exit_of(&summary.totals()).worst(exit);
        summary
    });
    close(&mut reporter, summary)
}

/// A directory, and whether those below it are meant, too.
type Searched = (Vec<u8>, bool);

/// Locations of temporary files whose journals were elsewhere, with the numbers of their jobs.
type Elsewhere = BTreeMap<Searched, Vec<u64>>;

/// One run over all locations, in order.
struct Cleaning<'a, 's, 'c> {
    session: &'a mut Session<'s, 'c>,
    resolver: &'a StoreResolver,
    options: CleanOptions,
    args: &'a CommonArgs,
    reporter: &'a mut Reporter,
}

impl Cleaning<'_, '_, '_> {
    /// Cleans some roots; returns what this rank has done, and the journals that it has removed.
    fn clean(&mut self, roots: Arc<[CleanRoot]>) -> (Tally, Counters, Vec<DeadJournal>) {
        let job = CleanJob::new(roots, self.options);
        let is_root = self.session.mail.comm().rank() == Rank::ROOT;
        let seeds = if is_root { job.seeds() } else { Vec::new() };
        let settings =
            self.session.settings(threads_of_rank(self.session, self.resolver, self.args));
        let mut counters = engine::run(&job, seeds, self.reporter, self.session.mail, settings);
        let found = reduce(self.session.mail, job.take_staged(), Vec::extend);
        let seeds = found.map_or_else(Vec::new, CleanJob::removals);
        counters.add(&engine::run(&job, seeds, self.reporter, self.session.mail, settings));
        (job.tally(), counters, job.take_journals())
    }

    /// Locations in which jobs of these journals have temporary files, other than those that were
    /// cleaned.
    fn elsewhere(&mut self, journals: Vec<DeadJournal>, cleaned: &[Vec<u8>]) -> Elsewhere {
        let all = reduce(self.session.mail, journals, Vec::extend);
        let elsewhere = all.map(|journals| {
            let real = |path: &Vec<u8>| self.resolver.real_path(Side::Target, path);
            let cleaned: Vec<_> = cleaned.iter().filter_map(real).collect();
            let mut elsewhere = Elsewhere::new();
            for journal in journals {
                let StagedBy { target, jobs } = match known(&journal) {
                    Ok(staged_by) => staged_by,
                    Err(words) => {
                        self.reporter.warn(&words.to_string());
                        continue;
                    }
                };
                let new = searched(target).filter(|(path, _)| !is_in_one_of(path, &cleaned));
                if let Some(location) = new {
                    elsewhere.entry(location).or_default().extend(jobs);
                }
            }
            elsewhere
        });
        broadcast(self.session.mail, elsewhere)
    }

    /// Opens the locations, if all ranks can and see the same.
    fn open(&mut self, elsewhere: &Elsewhere) -> Option<Arc<[CleanRoot]>> {
        let opened = elsewhere.iter().map(|((path, is_deep), numbers)| {
            let staged_by = Some(ThoseJobs { numbers: numbers.clone(), is_deep: *is_deep });
            self.resolver
                .open(Side::Target, path, OpenAs::default())
                .map(|store| CleanRoot::Tree { store, beside: None, path: path.clone(), staged_by })
                .map_err(|error| account::failure(Side::Target, path, b"", error))
        });
        let opened: Result<Vec<CleanRoot>, Failure> = opened.collect();
        let roots: Arc<[CleanRoot]> = agree(self.session, opened, self.reporter)?.into();
        let shared = shared(&roots);
        let all = Selection::all();
        let assume = self.args.assume_shared;
        are_shared(self.session, &shared, &all, assume, self.reporter).then_some(roots)
    }
}

/// Location of a journal's temporary files, if that is known and in a file system.
///
/// # Errors
/// Returns why it is not.
fn known(journal: &DeadJournal) -> Result<&StagedBy, UnknownPlace> {
    let corrupt = || UnknownPlace::Unknown { journal: journal.path.clone() };
    let staged_by = journal.staged_by.as_ref().ok_or_else(corrupt)?;
    if !staged_by.target.starts_with(b"/") {
        let (journal, target) = (journal.path.clone(), staged_by.target.clone());
        return Err(UnknownPlace::NotHere { journal, target });
    }
    Ok(staged_by)
}

/// Reason why the temporary files of a journal's job are not removed with the journal.
#[derive(Debug, thiserror::Error)]
enum UnknownPlace {
    /// The journal is corrupt.
    #[error(
        "journal {} is corrupt, so where its job has temporary files is unknown; dcp --clean TARGET \
         removes them",
        path::escaped(journal)
    )]
    Unknown { journal: Vec<u8> },
    /// The job was to a host or a service.
    #[error(
        "journal {} belongs to a job to {}: dcp --clean there removes what it has begun",
        path::escaped(journal),
        path::escaped(target)
    )]
    NotHere { journal: Vec<u8>, target: Vec<u8> },
}

/// Directory of temporary files of that target, if it still exists: its parent where it is a file.
fn searched(target: &[u8]) -> Option<Searched> {
    let is_directory = |path: &[u8]| as_path(path).is_dir();
    if is_directory(target) {
        return Some((target.to_vec(), true));
    }
    let parent = Given::new(target).parent();
    is_directory(&parent).then_some((parent, false))
}

fn is_in_one_of(path: &[u8], cleaned: &[Vec<u8>]) -> bool {
    cleaned.iter().any(|location| as_path(path).starts_with(as_path(location)))
}

/// The roots, if all of them can be opened on all ranks.
fn open(
    session: &mut Session<'_, '_>,
    resolver: &StoreResolver,
    request: &CleanRequest,
    reporter: &mut Reporter,
) -> Option<Arc<[CleanRoot]>> {
    let opened = request.locations.iter().map(|path| match CleanRoot::bucket(resolver, path) {
        Some(bucket) => Ok(bucket),
        None => resolver
            .open(Side::Target, path, OpenAs::default())
            .map(|store| {
                let (beside, path) = (beside(resolver, path), path.clone());
                CleanRoot::Tree { store, beside, path, staged_by: None }
            })
            .map_err(|error| account::failure(Side::Target, path, b"", error)),
    });
    let opened: Result<Vec<CleanRoot>, Failure> = opened.collect();
    agree(session, opened, reporter).map(Into::into)
}

/// The directory that a location is in.
fn beside(resolver: &StoreResolver, path: &[u8]) -> Option<Box<dyn Store>> {
    let given = Given::new(path);
    given.last_name.as_ref()?;
    resolver.open(Side::Target, &given.parent(), OpenAs::default()).ok()
}

/// Roots that must be the same on all ranks.
fn shared(roots: &[CleanRoot]) -> Vec<SharedRoot<'_>> {
    let of = roots.iter().filter_map(|root| match root {
        CleanRoot::Tree { store, path, .. } => {
            let is_written = !store.discards_writes();
            Some(SharedRoot { shown: path, store: &**store, entry: None, is_written })
        }
        CleanRoot::Bucket { .. } => None,
    });
    of.collect()
}

fn header(
    session: &Session<'_, '_>,
    request: &CleanRequest,
    args: &CommonArgs,
    reporter: &mut Reporter,
) {
    let mut lines = Vec::new();
    let of = |path: &Vec<u8>| {
        format!("  incomplete uploads and temporary files in {}", path::escaped(path))
    };
    lines.extend(request.locations.iter().map(of));
    let roots: Vec<_> = request.locations.iter().map(|path| json_path(path)).collect();
    let fields = json!({
        "tool": session.tool,
        "mpi": session.mpi,
        "ranks": session.topology.ranks,
        "nodes": session.topology.nodes.len(),
        "threads": args.threads,
        "locations": roots,
        "dry_run": request.dry_run,
    });
    announce(session, args, reporter);
    reporter.header(&lines, fields);
}
