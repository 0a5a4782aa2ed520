//! Removing what stopped jobs have left, from the places to the summary.

use std::sync::Arc;

use serde_json::json;

use super::shared_roots::{SharedRoot, are_shared};
use super::{agree, close, exit_of, find_sites, on_this_node, threads_max};
use crate::base::error::{Failure, Side};
use crate::base::exit::Exit;
use crate::base::path;
use crate::clean::{CleanJob, CleanOptions, Place};
use crate::comm::Rank;
use crate::comm::collective::broadcast;
use crate::model::age::Age;
use crate::model::entry::Time;
use crate::model::line::{LineFormat, json_path};
use crate::model::placement::Given;
use crate::sched::engine;
use crate::store::Store;
use crate::store::posix::OpenAs;
use crate::store::sites::Sites;
use crate::surface::cli::CommonArgs;
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;
use crate::surface::summary::{Deed, describe_team};
use crate::walk::account;
use crate::walk::selection::Selection;

/// What is to be cleaned. Places are as the operator gave them.
#[derive(Debug, Clone)]
pub struct CleanRequest {
    /// Where.
    pub places: Vec<Vec<u8>>,
    /// What is younger stays.
    pub min_age: Option<Age>,
    /// Nothing is removed, only named.
    pub dry_run: bool,
}

/// What is younger may be another job's that is at work.
const MIN_AGE: Age = Age::Seconds(24 * 3600);

/// Removes it, on all ranks.
pub fn run(session: &mut Session<'_, '_>, request: &CleanRequest, args: &CommonArgs) -> Exit {
    let is_root = session.mail.comm().rank() == Rank::ROOT;
    let mut reporter = Reporter::new(session.tool, "clean", args, session.team.ranks);
    let named: Vec<_> = request.places.iter().map(|path| (Side::Target, &path[..])).collect();
    let Some(sites) = find_sites(session, &named, args, &mut reporter) else {
        return Exit::Unusable;
    };
    let Some(places) = open(session, &sites, request, &mut reporter) else {
        return Exit::Unusable;
    };
    if !are_shared(
        session,
        &shared(&places, request),
        &Selection::all(),
        args.assume_shared,
        &mut reporter,
    ) {
        return Exit::Unusable;
    }
    let newest = request.min_age.unwrap_or(MIN_AGE).moment(Time::now()).seconds;
    let format = if args.json { LineFormat::Ndjson } else { LineFormat::Text };
    let options = CleanOptions {
        // All ranks have one clock.
        old_by_seconds: broadcast(session.mail, is_root.then_some(newest)),
        dry_run: request.dry_run,
        plan_as: (request.dry_run || !args.quiet).then_some(format),
    };
    if is_root {
        header(session, request, args, &mut reporter);
    }
    let job = CleanJob::new(places, options);
    let seeds = if is_root { job.seeds() } else { Vec::new() };
    let settings = session.settings(threads_max(session, &sites, args));
    let counters = engine::run(&job, seeds, &mut reporter, session.mail, settings);
    let summary = session.summarise(&job.tally(), &sites, counters).map(|mut summary| {
        summary.deed = Deed::Clean;
        summary.is_dry_run = request.dry_run;
        summary.exit = exit_of(&summary.totals());
        summary
    });
    close(&mut reporter, summary)
}

/// The places, if all of them can be opened on all ranks.
fn open(
    session: &mut Session<'_, '_>,
    sites: &Sites,
    request: &CleanRequest,
    reporter: &mut Reporter,
) -> Option<Arc<[Place]>> {
    let opened = request.places.iter().map(|path| match sites.objects(Side::Target, path) {
        Some((store, location)) => Ok(Place::Bucket { store, location }),
        None => sites
            .open(Side::Target, path, OpenAs::default())
            .map(|store| Place::Tree { store, beside: beside(sites, path), path: path.clone() })
            .map_err(|error| account::failure(Side::Target, path, b"", error)),
    });
    let opened: Result<Vec<Place>, Failure> = opened.collect();
    let here = on_this_node(session);
    let opened = opened.map_err(|failure| format!("{} {here}", reporter.words(&failure)));
    agree(session, opened, reporter).map(Into::into)
}

/// The directory that a place is in.
fn beside(sites: &Sites, path: &[u8]) -> Option<Box<dyn Store>> {
    let given = Given::new(path);
    given.last_name.as_ref()?;
    sites.open(Side::Target, &given.parent(), OpenAs::default()).ok()
}

/// What all ranks must see alike.
fn shared<'p>(places: &'p [Place], request: &CleanRequest) -> Vec<SharedRoot<'p>> {
    let is_written = !request.dry_run;
    let of = |place: &'p Place| match place {
        Place::Tree { store, path, .. } => {
            Some(SharedRoot { shown: path, store: &**store, entry: None, is_written })
        }
        Place::Bucket { .. } => None,
    };
    places.iter().filter_map(of).collect()
}

fn header(
    session: &Session<'_, '_>,
    request: &CleanRequest,
    args: &CommonArgs,
    reporter: &mut Reporter,
) {
    let team = describe_team(&session.team, args.threads);
    let mut lines = vec![format!("{} {}, {team}", session.tool, env!("CARGO_PKG_VERSION"))];
    let of = |path: &Vec<u8>| format!("  what stopped jobs have left in {}", path::escaped(path));
    lines.extend(request.places.iter().map(of));
    let places: Vec<_> = request.places.iter().map(|path| json_path(path)).collect();
    let fields = json!({
        "tool": session.tool,
        "mpi": session.mpi,
        "ranks": session.team.ranks,
        "nodes": session.team.nodes.len(),
        "clean": places,
        "dry_run": request.dry_run,
    });
    reporter.header(&lines, fields);
}
