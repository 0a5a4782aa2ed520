//! A walk, from the paths to the summary.

use serde_json::json;

use super::{close, exit_of, select};
use crate::base::error::Failure;
use crate::base::exit::Exit;
use crate::base::path;
use crate::comm::Rank;
use crate::comm::collective::{broadcast, gather};
use crate::model::line::json_path;
use crate::sched::engine;
use crate::surface::cli::CommonArgs;
use crate::surface::filter_args::FilterArgs;
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;
use crate::surface::summary::describe_team;
use crate::walk::list::{ListJob, ListOptions, WalkRoot, seeds};

/// What a walk is asked for. Paths are as the operator gave them.
#[derive(Debug, Clone)]
pub struct WalkRequest {
    /// What to walk.
    pub paths: Vec<Vec<u8>>,
    /// How.
    pub options: ListOptions,
    /// Where the list goes; standard output where that is `None`.
    pub list: Option<Vec<u8>>,
    /// Which entries take part.
    pub filters: FilterArgs,
}

/// Runs a walk on all ranks.
pub fn run(session: &mut Session<'_, '_>, request: &WalkRequest, args: &CommonArgs) -> Exit {
    let is_root = session.mail.comm().rank() == Rank::ROOT;
    let mut reporter = Reporter::new(session.tool, "walk", args, session.team.ranks);
    let Some(selection) = select(session, &request.filters, &mut reporter) else {
        return Exit::Usage;
    };
    let list_is_open = is_root.then(|| open_list(request, &mut reporter));
    if !broadcast(session.mail, list_is_open) {
        return Exit::Unusable;
    }
    let (roots, failed) = open_everywhere(session, request, &mut reporter);
    if roots.is_empty() {
        return Exit::Unusable;
    }
    if is_root {
        header(session, &roots, args, &mut reporter);
    }
    let job = ListJob::new(&roots, request.options, &selection);
    let first = if is_root { seeds(&roots) } else { Vec::new() };
    let settings = session.settings(args.threads);
    let counters = engine::run(&job, first, &mut reporter, session.mail, settings);
    let mut tally = job.tally();
    tally.failed += if is_root { failed } else { 0 };
    let summary = session.summarise(&tally, counters).map(|mut summary| {
        summary.exit = exit_of(&summary.totals());
        summary
    });
    close(&mut reporter, summary)
}

fn open_list(request: &WalkRequest, reporter: &mut Reporter) -> bool {
    let Some(list) = &request.list else { return true };
    match reporter.list_to(list) {
        Ok(()) => true,
        Err(error) => {
            let errno = error.raw_os_error().unwrap_or(libc::EIO);
            let words = crate::base::error::errno_words(errno);
            reporter.refuse(&format!("create \"{}\": {words}", path::escaped(list)));
            false
        }
    }
}

/// Opens the paths that every rank can open; the others are failures, reported once. Returns how many
/// failed, too.
fn open_everywhere(
    session: &mut Session<'_, '_>,
    request: &WalkRequest,
    reporter: &mut Reporter,
) -> (Vec<WalkRoot>, u64) {
    let (mut roots, mut failed) = (Vec::new(), 0);
    for path in &request.paths {
        let opened = WalkRoot::open(path, request.options.symlinks);
        let trouble: Option<Failure> = opened.as_ref().err().cloned();
        let troubles = gather(session.mail, &trouble);
        let first = troubles.map(|troubles| troubles.into_iter().flatten().next());
        if let Some(Some(failure)) = &first {
            reporter.failure(failure);
        }
        let is_open = broadcast(session.mail, first.map(|first| first.is_none()));
        match opened {
            Ok(root) if is_open => roots.push(root),
            _ => failed += 1,
        }
    }
    (roots, failed)
}

fn header(
    session: &Session<'_, '_>,
    roots: &[WalkRoot],
    args: &CommonArgs,
    reporter: &mut Reporter,
) {
    let team = describe_team(&session.team, args.threads);
    let mut lines = vec![format!("{} {}, {team}", session.tool, env!("CARGO_PKG_VERSION"))];
    lines.extend(roots.iter().map(|root| format!("  {}", path::escaped(&root.given))));
    let roots: Vec<_> = roots.iter().map(|root| json_path(&root.given)).collect();
    let fields = json!({
        "tool": session.tool,
        "mpi": session.mpi,
        "ranks": session.team.ranks,
        "nodes": session.team.nodes.len(),
        "threads": args.threads,
        "roots": roots,
    });
    reporter.header(&lines, fields);
}
