//! A comparison, from the paths to the summary.

use super::node_errors::{RankError, agree};
use super::outputs::OutputError;
use serde_json::json;

use super::parts::PartLists;
use super::phase::Phase;
use super::second_look::{self, Again, Watched};
use super::shared_roots::{SharedRoot, are_shared, lost};
use super::{announce, close, exit_for, find_stores, named, outputs, select, threads_of_rank};
use comm::Rank;
use comm::collective::gather;
use lists::base::Purpose;
use lists::staged::{StagedDirectory, StagedFile};
use ops::compare::options::{CompareOptions, Evidence};
use ops::compare::root::{CompareRoot, Unsuitable};
use ops::compare::{CompareJob, CompareTask, seed, unlisted};
use sched::engine;
use sched::growth::Threads;
use store::opening::{OpenAs, Symlinks};
use types::content::transfer::Transfer;
use types::error::Side;
use types::exit::Exit;
use types::listed::line::{LineFormat, json_path};
use types::outcome::tally::Compared;
use types::path;
use types::size::exact_bytes;

use crate::surface::cli::CommonArgs;
use crate::surface::filter_args::FilterArgs;
use crate::surface::named_args::NamedArgs;
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;
use crate::surface::summary::Operation;
use crate::surface::summary::compare::Method;
use ops::resolver::StoreResolver;
use ops::walk::in_order::prefetched_by;
use ops::walk::list::collector::Listing;
use ops::walk::listed::{CheckedTree, Listed};
use ops::walk::selection::{OwnThings, Selection};
use ops::walk::watch::Watch;

/// Request for a comparison. Paths are as the operator gave them.
#[derive(Debug, Clone)]
pub struct CompareRequest {
    /// Reference tree.
    pub source: Vec<u8>,
    /// Tree to check.
    pub target: Vec<u8>,
    /// Treatment of symbolic links that the two paths themselves are.
    pub symlinks: Symlinks,
    /// How.
    pub options: CompareOptions,
    /// Filters of entries.
    pub filters: FilterArgs,
    /// The entries to be dealt with, instead of walking.
    pub named: NamedArgs,
    /// Passes over what jobs have staged and their journals, where this is known.
    pub own: Option<OwnThings>,
    /// File for the line of each entry; standard output for `-`.
    pub combined: Option<Vec<u8>>,
    /// Files of the lists, in the order of the options' expressions.
    pub outputs: Vec<Vec<u8>>,
}

/// The name that stands for standard output.
const STDOUT: &[u8] = b"-";

/// Runs a comparison on all ranks.
pub fn run(session: &mut Session<'_, '_>, request: &CompareRequest, args: &CommonArgs) -> Exit {
    let is_root = session.mail.comm().rank() == Rank::ROOT;
    let mut reporter = Reporter::new(session.tool, "compare", args, session.topology.ranks);
    let Some(selection) = select(session, &request.filters, &mut reporter) else {
        return Exit::Usage;
    };
    let selection = match &request.own {
        Some(own) => selection.without_things_of_jobs(own.clone()),
        None => selection,
    };
    let below = Some((&request.source[..], Purpose::Read));
    let opened = match named::open(session, (&request.named, below), &mut reporter) {
        Ok(opened) => opened,
        Err(exit) => return exit,
    };
    let made = is_root.then(|| open_lists(request, args, &mut reporter));
    let lists = match PartLists::open(session, made, args.assume_shared, &mut reporter) {
        Ok(lists) => lists,
        Err(exit) => return exit,
    };
    let places = [(Side::Target, &request.target[..]), (Side::Source, &request.source)];
    let is_one = selection.is_one_file_system();
    // A manifest is a list in a file system.
    let count = if request.named.manifest().is_some() { 1 } else { 2 };
    let resolver = match find_stores(session, (&places[..count], is_one), args, &mut reporter) {
        Ok(resolver) => resolver,
        Err(exit) => return exit,
    };
    let root = match open_everywhere(session, &resolver, request, &mut reporter) {
        Ok(root) => root,
        Err(exit) => return exit,
    };
    if !are_shared(session, &shared(&root), &selection, args.assume_shared, &mut reporter) {
        return Exit::Unusable;
    }
    let method = method(&request.options, &resolver);
    if is_root {
        header(session, request, method, args, &mut reporter);
    }
    let rank = session.mail.comm().rank();
    let parts = match lists.create(session, &mut reporter) {
        Ok(parts) => parts,
        Err(exit) => return exit,
    };
    let mut job = CompareJob::new(&root, &request.options, &selection, opened.named.as_ref(), rank)
        .with_parts(parts)
        .watched(second_look::watch(session, Symlinks::Keep));
    let manifest = request.named.manifest().filter(|_| !request.options.one_way);
    let finds_unlisted = manifest.is_some();
    if let Some(manifest) = manifest {
        job = job.looking_for_unlisted(posix::stat_path(manifest, Symlinks::Follow).ok());
    }
    let walk = || if is_root { vec![seed(&root)] } else { Vec::new() };
    let also = (is_root && finds_unlisted).then(unlisted::seed);
    let seeds = opened.seeds().unwrap_or_else(walk).into_iter().chain(also);
    let seeds = seeds.map(Into::into).collect();
    let threads = threads_of_rank(session, &resolver, args);
    let mut walk = WatchedComparison { job: &mut job, root: &root, selection: &selection, threads };
    let (mut tally, counters) = walk.run(session, seeds, finds_unlisted, &mut reporter);
    let failed = tally.failed;
    tally.add(&lost(session, &shared(&root), &selection, &mut reporter));
    if request.options.hard_links {
        tally.compared.add(&regrouped(session, &job, &mut reporter));
    }
    lists.end(session, &job.finish_parts(failed), &tally, &mut reporter);
    let summary = session.summarise(&tally, &resolver, counters).map(|mut summary| {
        summary.operation = Operation::Compare(method);
        summary.exit = exit_for(&summary.totals(), args);
        summary
    });
    close(&mut reporter, summary)
}

/// A comparison, to be repeated where directories have changed.
struct WatchedComparison<'w, 'c> {
    job: &'w mut CompareJob<'c>,
    root: &'c CompareRoot,
    selection: &'c Selection,
    threads: Threads,
}

impl<'c> WatchedComparison<'_, 'c> {
    /// Compares from these tasks on, then what a manifest does not have, and what has changed
    /// meanwhile.
    fn run(
        &mut self,
        session: &mut Session<'_, '_>,
        seeds: Vec<CompareTask>,
        finds_unlisted: bool,
        reporter: &mut Reporter,
    ) -> Phase {
        if session.mail.comm().rank() == Rank::ROOT {
            reporter.order(prefetched_by(&*self.job, 0..1));
        }
        let settings = session.settings(self.threads);
        let mut counters = engine::run(self.job, seeds, reporter, session.mail, settings);
        if finds_unlisted {
            let seeds = self.job.unlisted(session.mail);
            counters.add(&engine::run(self.job, seeds, reporter, session.mail, settings));
        }
        reporter.phase_ended();
        let mut phase = (self.job.take_tally(), counters);
        if let Some(watch) = self.job.take_watch() {
            let watched = (&self.watched(), watch);
            second_look::take(
                session,
                watched,
                &mut phase,
                reporter,
                |session, again, phase, reporter| self.list_again(session, again, phase, reporter),
            );
        }
        self.give_held(session, &mut phase, reporter);
        phase
    }

    /// Gives the verdicts on directories that had to wait until the walk was over.
    fn give_held(
        &mut self,
        session: &mut Session<'_, '_>,
        phase: &mut Phase,
        reporter: &mut Reporter,
    ) {
        let Some(seeds) = self.job.held_verdicts(session.mail) else { return };
        let settings = session.settings(self.threads);
        let counters = engine::run(&*self.job, seeds, reporter, session.mail, settings);
        reporter.phase_ended();
        phase.0.add(&self.job.take_tally());
        phase.1.add(&counters);
    }

    fn watched(&self) -> Watched<'c> {
        let root = self.root;
        let trees = [(Side::Source, &*root.source), (Side::Target, &*root.target)];
        let trees = trees
            .map(|(side, store)| CheckedTree { store, shown: root.shown(side), side })
            .to_vec();
        Watched { trees, selection: self.selection, threads: self.threads }
    }

    fn list_again(
        &mut self,
        session: &mut Session<'_, '_>,
        (watch, again): (Watch, Again<'_>),
        phase: &mut Phase,
        reporter: &mut Reporter,
    ) -> Listed {
        self.job.watch_again(watch);
        let seeds = again.seeds.into_iter().map(Into::into).collect();
        let settings = session.settings(self.threads);
        let counters = engine::run(&*self.job, seeds, reporter, session.mail, settings);
        reporter.phase_ended();
        phase.0.add(&self.job.take_tally());
        phase.1.add(&counters);
        self.job.take_watch().map(|mut watch| watch.take_listed()).unwrap_or_default()
    }
}

/// Compares which names are names of one file, and tells of those that are not so on both sides.
fn regrouped(
    session: &mut Session<'_, '_>,
    job: &CompareJob<'_>,
    reporter: &mut Reporter,
) -> Compared {
    let found = job.regrouped(session.mail);
    for lines in gather(session.mail, &found.lines).into_iter().flatten() {
        reporter.differences(&lines);
    }
    let (hard_links_only_in_source, hard_links_only_in_target) = (found.parted, found.joined);
    Compared { hard_links_only_in_source, hard_links_only_in_target, ..Compared::default() }
}

fn method(options: &CompareOptions, resolver: &StoreResolver) -> Method {
    let by_checksums = options.evidence == Evidence::Checksums;
    Method {
        lite: options.lite,
        content: options.compares_content(),
        bypass_cache: options.bypass_cache,
        checksums: resolver.has_objects() && by_checksums,
        computed: resolver.has_agents() && !resolver.has_objects() && by_checksums,
    }
}

/// Makes the files and directories that results go to.
fn open_lists(
    request: &CompareRequest,
    args: &CommonArgs,
    reporter: &mut Reporter,
) -> Result<Vec<Option<StagedDirectory>>, OutputError> {
    let combined = request.combined.as_ref().filter(|file| *file != STDOUT);
    let is_file = |output: &&[u8]| *output != STDOUT;
    let written = combined.into_iter().chain(&request.outputs).map(Vec::as_slice);
    let written: Vec<&[u8]> = written.filter(is_file).collect();
    outputs::check(&written, &outputs::inputs(&request.named, &request.filters, args))?;
    if let Some(combined) = combined {
        let listing = Listing::Lines(LineFormat::of_file(combined));
        reporter.list_to(StagedFile::create(combined)?, listing)?;
    }
    let mut made = Vec::new();
    let outputs = request.outputs.iter().zip(&request.options.outputs);
    for ((output, (_, listing)), number) in outputs.zip(0..) {
        made.push(match listing {
            Listing::Parquet => Some(StagedDirectory::create(output)?),
            Listing::None => None,
            _ if output == STDOUT => None,
            listing => {
                let file = StagedFile::create(output)?;
                reporter.add_output(number, file, *listing)?;
                None
            }
        });
    }
    Ok(made)
}

/// Opens both trees on this rank; an exit code on all ranks where one of them cannot.
fn open_everywhere(
    session: &mut Session<'_, '_>,
    resolver: &StoreResolver,
    request: &CompareRequest,
    reporter: &mut Reporter,
) -> Result<CompareRoot, Exit> {
    let CompareRequest { source, target, symlinks, options, .. } = request;
    let transfer = Transfer { atime: options.atime, ..Transfer::default() };
    let open_as = OpenAs { transfer, ..OpenAs::default() };
    let opened = if let Some(manifest) = request.named.manifest() {
        CompareRoot::of_manifest(resolver, manifest, target, open_as)
    } else {
        let open_as = OpenAs { xattrs: options.xattr_filter(), ..open_as };
        CompareRoot::open(resolver, source, target, *symlinks, open_as)
    };
    agree(session, opened, reporter).ok_or(Exit::Unusable)
}

impl RankError for Unsuitable {
    fn words(&self, session: &Session<'_, '_>, reporter: &Reporter) -> String {
        match self {
            Self::Failure(failure) => failure.words(session, reporter),
            Self::Refusal(refusal) => refusal.clone(),
        }
    }
}

/// Roots that must be the same on all ranks.
fn shared(root: &CompareRoot) -> [SharedRoot<'_>; 2] {
    let names = root.single.as_ref().map(|(source, target)| [source, target]);
    [(Side::Source, &root.source, 0), (Side::Target, &root.target, 1)].map(
        |(side, store, number)| SharedRoot {
            shown: root.shown(side),
            store: &**store,
            entry: names.map(|names| names[number].as_c_str()),
            is_written: false,
        },
    )
}

fn header(
    session: &Session<'_, '_>,
    request: &CompareRequest,
    method: Method,
    args: &CommonArgs,
    reporter: &mut Reporter,
) {
    let (source, target) = (path::escaped(&request.source), path::escaped(&request.target));
    let fields: Vec<&str> = request.options.counted.names().collect();
    let lines = [
        format!("  {source} = {target}"),
        format!(
            "  {}, {}; chunks of {}",
            fields.join(" ").to_lowercase(),
            method.words(),
            exact_bytes(request.options.chunk_bytes)
        ),
    ];
    let fields = json!({
        "tool": session.tool,
        "mpi": session.mpi,
        "ranks": session.topology.ranks,
        "nodes": session.topology.nodes.len(),
        "threads": args.threads,
        "source": json_path(&request.source),
        "target": json_path(&request.target),
        "fields": fields,
        "lite": method.lite,
        "bypass_cache": method.bypass_cache,
    });
    announce(session, args, reporter);
    reporter.header(&lines, fields);
}
