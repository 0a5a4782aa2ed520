//! Giving up uploads that were not completed, from the places to the summary.

use std::sync::Arc;

use serde_json::json;

use super::{close, exit_of, find_sites, threads_max};
use crate::base::error::Side;
use crate::base::exit::Exit;
use crate::base::path;
use crate::clean::{CleanJob, CleanOptions, CleanTask, Place};
use crate::comm::Rank;
use crate::comm::collective::broadcast;
use crate::model::age::Age;
use crate::model::entry::Time;
use crate::model::line::{LineFormat, json_path};
use crate::sched::engine;
use crate::store::sites::Sites;
use crate::surface::cli::CommonArgs;
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;
use crate::surface::summary::{Deed, describe_team};

/// What is to be cleaned. Places are as the operator gave them.
#[derive(Debug, Clone)]
pub struct CleanRequest {
    /// Where.
    pub places: Vec<Vec<u8>>,
    /// Younger uploads stay.
    pub min_age: Option<Age>,
    /// Nothing is given up, only named.
    pub dry_run: bool,
}

/// What is younger may be another job's that is at work.
const MIN_AGE: Age = Age::Seconds(24 * 3600);

/// Gives uploads up, on all ranks.
pub fn run(session: &mut Session<'_, '_>, request: &CleanRequest, args: &CommonArgs) -> Exit {
    let is_root = session.mail.comm().rank() == Rank::ROOT;
    let mut reporter = Reporter::new(session.tool, "clean", args, session.team.ranks);
    let named: Vec<_> = request.places.iter().map(|path| (Side::Target, &path[..])).collect();
    let Some(sites) = find_sites(session, &named, args, &mut reporter) else {
        return Exit::Unusable;
    };
    let Some(places) = open(&sites, request, is_root.then_some(&mut reporter)) else {
        return Exit::Usage;
    };
    let newest = request.min_age.unwrap_or(MIN_AGE).moment(Time::now()).seconds;
    let format = if args.json { LineFormat::Ndjson } else { LineFormat::Text };
    let options = CleanOptions {
        // All ranks have one clock.
        begun_by_seconds: broadcast(session.mail, is_root.then_some(newest)),
        dry_run: request.dry_run,
        plan_as: (request.dry_run || !args.quiet).then_some(format),
    };
    if is_root {
        header(session, request, args, &mut reporter);
    }
    let seeds = (0..places.len() as u32).filter(|_| is_root).map(|at| CleanTask::List(at, None));
    let job = CleanJob::new(places, options);
    let settings = session.settings(threads_max(session, &sites, args));
    let counters = engine::run(&job, seeds.collect(), &mut reporter, session.mail, settings);
    let summary = session.summarise(&job.tally(), &sites, counters).map(|mut summary| {
        summary.deed = Deed::Clean;
        summary.is_dry_run = request.dry_run;
        summary.exit = exit_of(&summary.totals());
        summary
    });
    close(&mut reporter, summary)
}

/// The places, if all of them are in S3.
fn open(
    sites: &Sites,
    request: &CleanRequest,
    mut reporter: Option<&mut Reporter>,
) -> Option<Arc<[Place]>> {
    let opened = request.places.iter().map(|path| {
        let place = sites.objects(Side::Target, path);
        if let (None, Some(reporter)) = (&place, reporter.as_mut()) {
            let shown = path::escaped(path);
            reporter.refuse(&format!(
                "{shown}: --clean gives up uploads in S3, and this is no such place"
            ));
        }
        place.map(|(store, location)| Place { store, location })
    });
    opened.collect::<Vec<_>>().into_iter().collect()
}

fn header(
    session: &Session<'_, '_>,
    request: &CleanRequest,
    args: &CommonArgs,
    reporter: &mut Reporter,
) {
    let team = describe_team(&session.team, args.threads);
    let mut lines = vec![format!("{} {}, {team}", session.tool, env!("CARGO_PKG_VERSION"))];
    let of =
        |path: &Vec<u8>| format!("  uploads that were not completed in {}", path::escaped(path));
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
