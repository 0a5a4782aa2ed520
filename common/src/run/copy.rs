//! A copy, from the paths to the summary.

use std::ffi::CString;

use serde_json::json;

use super::announce;
use super::criteria;
use super::found_journal::Found;
use super::left_out;
use super::moving;
use super::old_copy;
use super::phase::Phase;
use super::same_command::{self, Command};
use super::transfer::{self, After, Prepared, Transfer};
use super::verify;
use crate::surface::cli::CommonArgs;
use crate::surface::copy_args::RequestedCopy;
use crate::surface::json as events;
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;
use ops::copy::options::CopyOptions;
use ops::copy::plan::{self, CopyPlan};
use ops::copy::root::{RootPlan, Singles};
use ops::resolver::StoreResolver;
use ops::walk::selection::Selection;
use types::attributes::keep::Keep;
use types::error::Side;
use types::exit::Exit;
use types::listed::line::json_path;
use types::operand::placement::{TargetIs, without_slashes};
use types::path;
use types::path::contents_of;
use types::size::{exact_bytes, human_bytes, human_count};

/// Request for a copy. Paths are as the operator gave them.
#[derive(Debug, Clone)]
pub struct CopyRequest {
    /// Sources.
    pub sources: Vec<Vec<u8>>,
    /// Target.
    pub target: Vec<u8>,
    /// How.
    pub requested: RequestedCopy,
}

/// Runs a copy on all ranks.
pub fn run(session: &mut Session<'_, '_>, request: &CopyRequest, args: &CommonArgs) -> Exit {
    transfer::run(session, request, args)
}

impl Transfer for CopyRequest {
    const VERB: &str = "copy";

    fn requested(&self) -> &RequestedCopy {
        &self.requested
    }

    fn places(&self) -> Vec<(Side, &[u8])> {
        let sources = self.sources.iter().map(|path| (Side::Source, &path[..]));
        let old = self.requested.options.old_copy().map(|old| (Side::Target, &old.path[..]));
        sources.chain([(Side::Target, &self.target[..])]).chain(old).collect()
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

    fn contents(&self, plan: &CopyPlan, has_journal: bool) -> Option<&[u8]> {
        let ([source], [root]) = (&self.sources[..], &plan.roots[..]) else { return None };
        let is_its_copy = without_slashes(&root.target) == without_slashes(&self.target);
        let is_nested = root.singles.is_none() && is_its_copy && !source.ends_with(b"/");
        (is_nested && !has_journal).then_some(source)
    }

    fn finish(&self, after: After<'_, '_, '_>, reporter: &mut Reporter) -> (Exit, Phase) {
        let After { session, copying, args, mut phase, leftovers } = after;
        for directories in leftovers.earlier.into_iter().chain([leftovers.directories]) {
            let more = copying.finish(session, (directories, phase.0.fatal_errno), args, reporter);
            phase.0.add(&more.0);
            phase.1.add(&more.1);
        }
        moving::end(session, copying, &mut phase, reporter);
        (Exit::Ok, phase)
    }
}

fn prepare(
    session: &Session<'_, '_>,
    (resolver, selection): (&StoreResolver, &Selection),
    request: CopyRequest,
    args: &CommonArgs,
    reporter: &mut Reporter,
) -> Prepared {
    let CopyRequest { mut sources, target, requested } = request;
    let RequestedCopy { mut options, named, .. } = requested.clone();
    options.plan_as = options.dry_run.then(|| args.line_format());
    let (mut plan, mut journal) = (CopyPlan::default(), None);
    if let Some(refusal) = verify::refusal(&options) {
        plan.refusals.push(refusal);
    } else if !named.is_empty() && sources.len() != 1 {
        plan.refusals.push("--files-from and -i name entries of one SOURCE; name one".to_owned());
    } else {
        if !named.is_empty() {
            // What is named is in it.
            sources[0] = contents_of(&sources[0]);
        }
        let command = Command {
            tool: session.tool,
            sources: &sources,
            target: &target,
            requested: &requested,
            s3: &args.s3,
        };
        let located = old_copy::locate(resolver, &target, &mut options, reporter);
        match located.and_then(|()| same_command::find(command, resolver, reporter)) {
            Ok(found) => {
                found.prepare(&mut options);
                let target_was = found.target_was();
                plan = plan::make(resolver, &sources, &target, target_was, (&options, selection));
                let recorded = found.record_target(&plan);
                plan.refusals.extend(recorded.err().map(|why| why.to_string()));
                journal = Some(found);
            }
            Err((Exit::Unusable, why)) => reporter.refuse(&why),
            Err((_, refusal)) => plan.refusals.push(refusal),
        }
    }
    if !plan.refusals.is_empty() {
        plan.refusals.iter().for_each(|refusal| reporter.refuse(refusal));
        plan.roots.clear();
    } else if plan.roots.is_empty() && !plan.failures.is_empty() {
        plan.failures.iter().for_each(|failure| reporter.refuse(reporter.words(failure)));
    } else {
        header(session, &plan, &options, journal.as_ref(), args, reporter);
        if options.dry_run && options.keep == Keep::default() {
            not_no_clobber(resolver, &target, reporter);
        }
        plan.failures.iter().for_each(|failure| reporter.failure(failure));
    }
    left_out(plan.excluded, reporter);
    if let (Some(found), true) = (&journal, plan.roots.is_empty() && plan.excluded == 0) {
        found.give_up();
    }
    Prepared { plan, options, journal }
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

/// Tells those who know `-n` from cp and s5cmd, where it skips files that exist, that it means
/// another thing.
fn not_no_clobber(resolver: &StoreResolver, target: &[u8], reporter: &mut Reporter) {
    if plan::target_is(resolver, target) != TargetIs::Missing {
        reporter.warn(NOT_NO_CLOBBER);
    }
}

const NOT_NO_CLOBBER: &str = "-n is a dry run, as in rsync and rclone: nothing is written; to skip existing files \
    as cp -n does, write --ignore-existing";

/// Prints the plan of the job before it starts.
fn header(
    session: &Session<'_, '_>,
    plan: &CopyPlan,
    options: &CopyOptions,
    journal: Option<&Found>,
    args: &CommonArgs,
    reporter: &mut Reporter,
) {
    let mut lines = Vec::new();
    lines.extend(plan.roots.iter().take(HEADER_ROOTS_MAX).map(describe_root));
    if plan.roots.len() > HEADER_ROOTS_MAX {
        lines.push(format!("  … and {} more", plan.roots.len() - HEADER_ROOTS_MAX));
    }
    lines.push(format!(
        "  chunks of {}, buffers of {}{}{}",
        exact_bytes(options.chunk_bytes),
        human_bytes(options.buffer_bytes),
        options.words(),
        if options.dry_run { ", dry run" } else { "" },
    ));
    if options.remove_source {
        lines.push("  sources are deleted when their copies are complete".to_owned());
    }
    lines.extend(options.sync.as_ref().map(|sync| format!("  {}", criteria::words(sync))));
    lines.extend(options.old_copy().map(old_copy::words));
    lines.extend(journal.and_then(Found::words));
    let roots: Vec<_> = plan
        .roots
        .iter()
        .map(|root| json!({"source": json_path(&root.source), "target": json_path(&root.target)}))
        .collect();
    let mut fields = json!({
        "tool": session.tool,
        "mpi": session.mpi,
        "ranks": session.topology.ranks,
        "nodes": session.topology.nodes.len(),
        "threads": args.threads,
        "chunk_bytes": options.chunk_bytes,
        "buffer_bytes": options.buffer_bytes,
        "preserve": events::preserve(&options.keep),
        "dry_run": options.dry_run,
        "remove_source": options.remove_source,
        "journal": journal.and_then(|found| found.dir.as_deref()).map(json_path),
        "resumed": journal.is_some_and(|found| found.earlier.is_some()),
        "roots": roots,
    });
    if let Some(criteria) = &options.sync {
        fields["sync"] = events::criteria(criteria);
    }
    announce(session, args, reporter);
    reporter.header(&lines, fields);
}
