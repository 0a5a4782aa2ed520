//! Removal of trees, from the paths to the summary.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::json;

use super::node_errors::{RankError, agree, on_this_node};
use super::outputs::OutputError;
use super::phase::{Phase, is_stopped};
use super::shared_roots::{SharedRoot, are_shared, lost};
use super::{
    announce, close, exit_for, find_stores, left_out, list_root, named, outputs, record, select,
    threads_of_rank,
};
use crate::surface::again;
use crate::surface::cli::CommonArgs;
use crate::surface::filter_args::FilterArgs;
use crate::surface::named_args::NamedArgs;
use crate::surface::record_args::RecordRequest;
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;
use crate::surface::summary::Operation;
use comm::Rank;
use comm::collective::{broadcast, gather, reduce};
use lists::base::Purpose;
use lists::staged::StagedFile;
use ops::remove::root::{NotRemovable, RemoveRoot, overlap, refusal};
use ops::remove::{Level, RemoveJob, RemoveOptions, RemoveTask};
use ops::resolver::StoreResolver;
use ops::walk::list::collector::Listing;
use ops::walk::selection::Selection;
use sched::engine;
use sched::growth::Threads;
use types::error::{Failure, Side};
use types::exit::Exit;
use types::limits::{FINISH_BATCH_DIRS, REDUCE_PIECE_BYTES};
use types::listed::line::{LineFormat, json_path};
use types::operand::placement::Given;
use types::path;
use types::select::regex::{MatchOptions, Matcher};

/// Request for a removal. Paths are as the operator gave them.
#[derive(Debug, Clone)]
pub struct RemoveRequest {
    /// Trees and single entries; none where a list names its own.
    pub paths: Vec<Vec<u8>>,
    /// True if nothing is removed and the plan is printed.
    pub dry_run: bool,
    /// True if removed entries are listed.
    pub is_listed: bool,
    /// Destination of the list; `None` for standard output.
    pub list: Option<Vec<u8>>,
    /// Format of the list.
    pub list_as: LineFormat,
    /// True if directories that stay keep their timestamps.
    pub traceless: bool,
    /// Regular expressions that select entries.
    pub matching: MatchOptions,
    /// Record of what is removed.
    pub record: Option<RecordRequest>,
    /// Filters that select entries.
    pub filters: FilterArgs,
    /// Entries to be removed, instead of those of a walk.
    pub named: NamedArgs,
}

impl RemoveRequest {
    /// Returns whether no filter keeps anything from being removed.
    fn selects_all(&self) -> bool {
        let MatchOptions { matching, excluded, of_names: _ } = &self.matching;
        self.filters.admits_all() && matching.is_none() && excluded.is_none()
    }
}

/// Runs a removal on all ranks.
pub fn run(session: &mut Session<'_, '_>, request: &RemoveRequest, args: &CommonArgs) -> Exit {
    let mut reporter = Reporter::new(session.tool, "remove", args, session.topology.ranks);
    match try_run(session, request, args, &mut reporter) {
        Ok(exit) | Err(exit) => exit,
    }
}

fn try_run(
    session: &mut Session<'_, '_>,
    request: &RemoveRequest,
    args: &CommonArgs,
    reporter: &mut Reporter,
) -> Result<Exit, Exit> {
    let is_root = session.mail.comm().rank() == Rank::ROOT;
    let found;
    let request = if request.paths.is_empty() {
        let root = list_root::find(session, &request.named, reporter)?;
        found = RemoveRequest { paths: vec![root], ..request.clone() };
        &found
    } else {
        request
    };
    refuse(session, request, reporter)?;
    let selection = select(session, &request.filters, reporter).ok_or(Exit::Usage)?;
    let matcher = Matcher::new(&request.matching).map_err(|why| session.refuse(why))?;
    let below = request.paths.first().map(|path| (&path[..], Purpose::Delete));
    let entries = named::open(session, (&request.named, below), reporter)?;
    let places: Vec<_> = request.paths.iter().map(|path| (Side::Source, &path[..])).collect();
    let resolver = find_stores(session, (&places, selection.is_one_file_system()), args, reporter)?;
    let resolver = resolver.discarding_changes(request.dry_run);
    let (roots, failed) = open(session, &resolver, request, reporter).ok_or(Exit::Unusable)?;
    let roots = if entries.named.is_none() { selected(roots, &selection) } else { roots };
    if is_root {
        left_out(request.paths.len() - failed as usize - roots.len(), reporter);
    }
    refuse_roots(session, (request, &roots, entries.named.is_some()), &resolver)?;
    let shared: Vec<_> = roots.iter().map(shared).collect();
    if !are_shared(session, &shared, &selection, args.assume_shared, reporter) {
        return Err(Exit::Unusable);
    }
    let selection = selection.without_outputs(open_list(session, (request, args), reporter)?);
    let trees: Vec<_> = request.paths.iter().map(Vec::as_slice).collect();
    let inputs = outputs::inputs(&request.named, &request.filters, args);
    record::begin(session, request.record.as_ref(), (&trees, &inputs, request.dry_run), reporter)?;
    if is_root {
        header(session, &roots, request, args, reporter);
    }
    let options = RemoveOptions {
        told_as: (request.dry_run || request.is_listed).then_some(request.list_as),
        record: request.record.as_ref().map(|record| record.format),
        traceless: request.traceless,
        moves: false,
    };
    let job = RemoveJob::new(&roots, (&selection, &matcher), entries.named.as_ref(), options);
    let threads = threads_of_rank(session, &resolver, args);
    let began = Instant::now();
    let mut removal = Removal::new(session, &job, threads, reporter);
    let walk = || if is_root { seeds(&roots) } else { Vec::new() };
    removal.walk(entries.seeds().unwrap_or_else(walk));
    removal.clean_up(&shared, &selection);
    let is_whole = !is_stopped(removal.session, &job.tally());
    let Removal { phase: (mut tally, counters), .. } = removal;
    tally.add(&job.tally());
    if is_root {
        tally.failed += failed;
        tally.failed += if is_whole { left(&roots, &job, &resolver, reporter) } else { 0 };
        restore(&roots, options, reporter);
    }
    let summary = session.summarise(&tally, &resolver, counters).map(|mut summary| {
        summary.operation = Operation::Remove;
        summary.again = Some(again::command(summary.tool, None));
        summary.is_dry_run = request.dry_run;
        summary.exit = exit_for(&summary.totals(), args);
        summary.elapsed = began.elapsed();
        summary
    });
    Ok(close(reporter, summary))
}

/// Reports the paths that must not be removed; if there is one, nothing is removed.
fn refuse(
    session: &Session<'_, '_>,
    request: &RemoveRequest,
    reporter: &mut Reporter,
) -> Result<(), Exit> {
    let refusals: Vec<String> = request.paths.iter().filter_map(|path| refusal(path)).collect();
    if session.mail.comm().rank() == Rank::ROOT {
        for refusal in &refusals {
            reporter.refuse(refusal);
        }
    }
    if refusals.is_empty() { Ok(()) } else { Err(Exit::Usage) }
}

/// Refuses a list of entries of what is no directory, and the removal of a home directory with all
/// in it, however it is named.
fn refuse_roots(
    session: &mut Session<'_, '_>,
    (request, roots, has_list): (&RemoveRequest, &[RemoveRoot], bool),
    resolver: &StoreResolver,
) -> Result<(), Exit> {
    if has_list && roots.iter().any(|root| root.single.is_some()) {
        let path = path::escaped(&request.paths[0]);
        let why = format!("\"{path}\" is no directory, in which the entries of a list could be");
        return Err(session.refuse(why));
    }
    let removes_all = !has_list && request.selects_all();
    let with_home = || roots.iter().find(|root| removes_all && root.has_home(resolver));
    // Nodes may differ in what is a home directory; that of rank 0 counts.
    let is_root = session.mail.comm().rank() == Rank::ROOT;
    let home = is_root.then(|| with_home().map(|root| path::escaped(&root.given)));
    let Some(path) = broadcast(session.mail, home) else { return Ok(()) };
    Err(session.refuse(format!(
        "\"{path}\" is the user's home directory or contains it, which is not removed as a whole; name \
         what is in it"
    )))
}

/// Returns the roots but for directories that the filters leave out by their own names. Entries of
/// other types are left out when they are met.
fn selected(mut roots: Vec<RemoveRoot>, selection: &Selection) -> Vec<RemoveRoot> {
    roots.retain(|root| {
        let name = Given::new(&root.given).last_name.filter(|_| root.single.is_none());
        name.is_none_or(|name| selection.admits_operand(&name, true))
    });
    roots
}

fn seeds(roots: &[RemoveRoot]) -> Vec<ops::walk::WalkTask> {
    roots.iter().zip(0..).map(|(root, index)| root.seed(index)).collect()
}

fn shared(root: &RemoveRoot) -> SharedRoot<'_> {
    let entry = root.single.as_deref();
    let is_written = entry.is_none() && !root.store.discards_writes();
    SharedRoot { shown: &root.shown, store: &*root.store, entry, is_written }
}

/// Opens the roots that rank 0 can open; returns them with the number of those that it cannot.
/// Returns `None` on all ranks where no root can be opened, where one must not be removed, or where
/// another rank cannot open one that rank 0 can.
fn open(
    session: &mut Session<'_, '_>,
    resolver: &StoreResolver,
    request: &RemoveRequest,
    reporter: &mut Reporter,
) -> Option<(Vec<RemoveRoot>, u64)> {
    let is_root = session.mail.comm().rank() == Rank::ROOT;
    let opened: Vec<_> =
        request.paths.iter().map(|path| RemoveRoot::open(resolver, path)).collect();
    let can = is_root.then(|| openable(&opened, reporter));
    let can: Option<Vec<bool>> = broadcast(session.mail, can);
    let can = can?;
    let failed = can.iter().filter(|can| !**can).count() as u64;
    let meant = opened.into_iter().zip(can).filter_map(|(opened, can)| can.then_some(opened));
    let roots: Result<Vec<RemoveRoot>, NotRemovable> = meant.collect();
    let roots = agree(session, roots, reporter).filter(|roots| !roots.is_empty())?;
    let apart = is_root.then(|| are_apart(&roots, reporter));
    broadcast(session.mail, apart).then_some((roots, failed))
}

impl RankError for NotRemovable {
    fn words(&self, session: &Session<'_, '_>, reporter: &Reporter) -> String {
        match self {
            Self::Refused(why) => format!("{why} {}", on_this_node(session)),
            Self::Failed(failure) => failure.words(session, reporter),
        }
    }
}

/// Returns which roots can be opened; `None` where one must not be removed.
fn openable(
    opened: &[Result<RemoveRoot, NotRemovable>],
    reporter: &mut Reporter,
) -> Option<Vec<bool>> {
    let reason = opened.iter().filter_map(|opened| opened.as_ref().err());
    let mut is_refused = false;
    for reason in reason {
        match reason {
            NotRemovable::Refused(why) => {
                reporter.refuse(why);
                is_refused = true;
            }
            NotRemovable::Failed(failure) => reporter.failure(failure),
        }
    }
    (!is_refused).then(|| opened.iter().map(Result::is_ok).collect())
}

/// Checks that no root is inside another one, since the paths in filters are relative to the named
/// root.
fn are_apart(roots: &[RemoveRoot], reporter: &mut Reporter) -> bool {
    let found = overlap(roots);
    if let Some((inner, outer)) = found {
        let shown = |root: usize| path::escaped(&roots[root].given);
        let (inner, outer) = (shown(inner), shown(outer));
        reporter.refuse(format!("\"{inner}\" is in \"{outer}\", or the same; name one of them"));
    }
    found.is_none()
}

/// Creates the file of the list on rank 0. Returns its temporary name and inode on all ranks.
fn open_list(
    session: &mut Session<'_, '_>,
    (request, args): (&RemoveRequest, &CommonArgs),
    reporter: &mut Reporter,
) -> Result<Vec<(Vec<u8>, u64)>, Exit> {
    let is_root = session.mail.comm().rank() == Rank::ROOT;
    let Some(list) = request.list.as_ref() else { return Ok(Vec::new()) };
    let made = is_root.then(|| {
        outputs::check(&[list], &outputs::inputs(&request.named, &request.filters, args))?;
        let file = StagedFile::create(list)?;
        let own = file.own_entry();
        reporter.list_to(file, Listing::Lines(request.list_as))?;
        Ok::<_, OutputError>(own.into_iter().collect())
    });
    let made = made.map(|made| made.map_err(|why| reporter.refuse(why)).ok());
    broadcast(session.mail, made).ok_or(Exit::Unusable)
}

/// Reports roots in S3 in which an object is left although nothing was to stay, because another
/// client has stored it meanwhile; returns their number.
fn left(
    roots: &[RemoveRoot],
    job: &RemoveJob<'_>,
    resolver: &StoreResolver,
    reporter: &mut Reporter,
) -> u64 {
    let numbered = roots.iter().zip(0..).filter(|(_, number)| job.removes_all_of(*number));
    let failures = numbered.filter_map(|(root, _)| {
        let error = root.check_gone(resolver).err()?;
        Some(Failure { path: root.given.clone(), side: Side::Source, error })
    });
    let failures: Vec<Failure> = failures.collect();
    for failure in &failures {
        reporter.failure(failure);
    }
    failures.len() as u64
}

/// Restores the timestamps of the parent directories of the roots.
fn restore(roots: &[RemoveRoot], options: RemoveOptions, reporter: &mut Reporter) {
    if !options.traceless {
        return;
    }
    for root in roots {
        if let Err(error) = root.restore_above() {
            let shown = path::escaped(&root.given);
            reporter.warn(&format!("{} the directory of \"{shown}\": {}", error.op, error.cause));
        }
    }
}

/// A removal that is running.
pub(super) struct Removal<'a, 's, 'c> {
    session: &'a mut Session<'s, 'c>,
    job: &'a RemoveJob<'a>,
    threads: Threads,
    /// Counts besides the tally of the job.
    pub phase: Phase,
    reporter: &'a mut Reporter,
}

/// Directories that one thread removes, the deepest first, or those of a level that all threads
/// share.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum Step {
    Level(u32),
    Together(Vec<u32>),
}

impl<'a, 's, 'c> Removal<'a, 's, 'c> {
    /// Creates a removal that has not begun.
    pub fn new(
        session: &'a mut Session<'s, 'c>,
        job: &'a RemoveJob<'a>,
        threads: Threads,
        reporter: &'a mut Reporter,
    ) -> Self {
        Self { session, job, threads, phase: Phase::default(), reporter }
    }

    /// Runs tasks of the removal on all ranks.
    pub fn engine(&mut self, tasks: Vec<RemoveTask>) {
        let settings = self.session.settings(self.threads);
        let counters = engine::run(self.job, tasks, self.reporter, self.session.mail, settings);
        self.phase.1.add(&counters);
    }

    /// Removes the contents of directories.
    fn walk(&mut self, seeds: Vec<ops::walk::WalkTask>) {
        self.engine(seeds.into_iter().map(RemoveTask::Walk).collect());
    }

    /// Removes directories, and objects that still wait, unless the job was interrupted.
    fn clean_up(&mut self, shared: &[SharedRoot<'_>], selection: &Selection) {
        if is_stopped(self.session, &self.job.tally()) {
            return;
        }
        self.phase.0.add(&lost(self.session, shared, selection, self.reporter));
        let failed = gather(self.session.mail, &(self.phase.0.failed > 0));
        if broadcast(self.session.mail, failed.map(|failed| failed.contains(&true))) {
            return;
        }
        self.directories();
    }

    /// Removes the directories that were recorded, and objects that wait.
    pub fn directories(&mut self) {
        self.flush_waiting();
        self.exchange_kept();
        for step in self.steps() {
            let tasks = self.tasks(step);
            self.engine(tasks);
            if is_stopped(self.session, &self.job.tally()) {
                return;
            }
            self.exchange_kept();
        }
        self.flush_waiting();
        self.exchange_kept();
    }

    /// Removes the objects that did not fill a request.
    fn flush_waiting(&mut self) {
        let waiting = self.job.take_waiting();
        let any = gather(self.session.mail, &!waiting.is_empty());
        if broadcast(self.session.mail, any.map(|any| any.contains(&true))) {
            self.engine(waiting);
        }
    }

    /// Distributes to all ranks in which directories something stays.
    fn exchange_kept(&mut self) {
        if self.session.topology.ranks == 1 {
            return;
        }
        let all = reduce(self.session.mail, self.job.take_kept(), Extend::extend);
        let pieces = all.map(|all| {
            let of_message = REDUCE_PIECE_BYTES / 10;
            all.chunks(of_message).map(<[u64]>::to_vec).collect::<Vec<_>>()
        });
        let count = broadcast(self.session.mail, pieces.as_ref().map(Vec::len));
        let mut pieces = pieces.map(Vec::into_iter);
        for _ in 0..count {
            let piece = pieces.as_mut().map(|pieces| pieces.next().unwrap_or_default());
            self.job.keep(&broadcast(self.session.mail, piece));
        }
    }

    /// Returns the order in which directories are removed, the same on all ranks.
    fn steps(&mut self) -> Vec<Step> {
        let all = gather(self.session.mail, &self.job.levels());
        let steps = all.map(|all| {
            let mut levels: BTreeMap<u32, Level> = BTreeMap::new();
            for (depth, level) in all.into_iter().flatten() {
                let sum = levels.entry(depth).or_default();
                sum.directories += level.directories;
                sum.path_bytes += level.path_bytes;
            }
            steps_of(&levels)
        });
        broadcast(self.session.mail, steps)
    }

    /// Returns the tasks of this rank for a step.
    fn tasks(&mut self, step: Step) -> Vec<RemoveTask> {
        match step {
            Step::Level(depth) => {
                let blocks = self.job.take_level(depth).into_iter();
                blocks.map(|block| RemoveTask::Directories(vec![block])).collect()
            }
            Step::Together(depths) => {
                let own: Vec<_> = depths.iter().map(|depth| self.job.take_level(*depth)).collect();
                let Some(all) = gather(self.session.mail, &own) else { return Vec::new() };
                let mut by_depth: Vec<Vec<_>> = depths.iter().map(|_| Vec::new()).collect();
                for levels in all {
                    for (blocks, level) in by_depth.iter_mut().zip(levels) {
                        blocks.extend(level);
                    }
                }
                vec![RemoveTask::Directories(by_depth.into_iter().flatten().collect())]
            }
        }
    }
}

/// Groups levels into steps. Levels with few directories are not worth a run of the engine each:
/// they go together, one directory after the other.
fn steps_of(levels: &BTreeMap<u32, Level>) -> Vec<Step> {
    let (mut steps, mut few, mut sum) = (Vec::new(), Vec::new(), Level::default());
    for (depth, level) in levels.iter().rev() {
        let directories = sum.directories + level.directories;
        let path_bytes = sum.path_bytes + level.path_bytes;
        let fits = directories <= FEW && path_bytes <= REDUCE_PIECE_BYTES as u64;
        if !fits && !few.is_empty() {
            steps.push(Step::Together(std::mem::take(&mut few)));
        }
        if level.directories > FINISH_BATCH_DIRS as u64
            || level.path_bytes > REDUCE_PIECE_BYTES as u64
        {
            steps.extend((!few.is_empty()).then(|| Step::Together(std::mem::take(&mut few))));
            steps.push(Step::Level(*depth));
            sum = Level::default();
            continue;
        }
        sum = if fits { Level { directories, path_bytes } } else { *level };
        few.push(*depth);
    }
    steps.extend((!few.is_empty()).then_some(Step::Together(few)));
    steps
}

/// Largest number of directories of several levels that one thread removes: some milliseconds of
/// work on a network file system.
const FEW: u64 = 4 * FINISH_BATCH_DIRS as u64;

fn header(
    session: &Session<'_, '_>,
    roots: &[RemoveRoot],
    request: &RemoveRequest,
    args: &CommonArgs,
    reporter: &mut Reporter,
) {
    let mut lines = Vec::new();
    let what = if request.dry_run { "would delete" } else { "delete" };
    lines.extend(roots.iter().map(|root| format!("  {what} {}", path::escaped(&root.given))));
    let roots: Vec<_> = roots.iter().map(|root| json_path(&root.given)).collect();
    let fields = json!({
        "tool": session.tool,
        "mpi": session.mpi,
        "ranks": session.topology.ranks,
        "nodes": session.topology.nodes.len(),
        "threads": args.threads,
        "roots": roots,
        "dry_run": request.dry_run,
    });
    announce(session, args, reporter);
    reporter.header(&lines, fields);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thin_levels_go_together_and_wide_ones_alone() {
        let level = |directories| Level { directories, path_bytes: directories };
        let levels = [(0, 1), (1, 3), (2, 1000), (3, 60), (4, 64), (5, 1)];
        let levels = levels.into_iter().map(|(depth, count)| (depth, level(count))).collect();
        let steps = steps_of(&levels);
        assert_eq!(
            steps,
            [Step::Together(vec![5, 4, 3]), Step::Level(2), Step::Together(vec![1, 0])]
        );
        // A tree of the greatest depth takes as many runs as messages, not as many as levels.
        let chain: BTreeMap<u32, Level> = (0..10_000).map(|depth| (depth, level(1))).collect();
        let steps = steps_of(&chain);
        assert_eq!(steps.len(), 10_000_usize.div_ceil(FEW as usize));
        let long = Level { directories: 1, path_bytes: 1 << 30 };
        assert_eq!(steps_of(&BTreeMap::from([(7, long)])), [Step::Level(7)]);
    }
}
