//! A move: the removal of sources around the phases of a copy.

use std::sync::Arc;

use super::copying::Copying;
use super::node_errors::agree;
use super::phase::{Phase, is_stopped};
use super::remove::Removal;
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;
use comm::collective::{broadcast, gather};
use ops::copy::options::CopyOptions;
use ops::copy::plan::CopyPlan;
use ops::copy::root::{CopyRoot, RootPlan};
use ops::remove::RemoveOptions;
use ops::remove::root::RemoveRoot;
use ops::resolver::StoreResolver;
use ops::walk::account;
use store::dry_run::DryRunStore;
use types::error::{Failure, Side};
use types::exit::Exit;

/// Opens the roots from which a move removes what it has copied, on this rank; `None` where no move
/// is requested.
///
/// # Errors
/// Returns the exit code on all ranks where one cannot be opened; rank 0 has said why.
pub(super) fn open(
    session: &mut Session<'_, '_>,
    (resolver, plan): (&StoreResolver, &CopyPlan),
    (roots, options): (&[CopyRoot], &CopyOptions),
    reporter: &mut Reporter,
) -> Result<Option<Vec<RemoveRoot>>, Exit> {
    if !options.remove_source {
        return Ok(None);
    }
    let open = |(plan, root): (&RootPlan, &CopyRoot)| {
        let mut store = Arc::clone(&root.source);
        if options.dry_run {
            store = Arc::new(DryRunStore::of_existing(store));
        }
        RemoveRoot::of_source(resolver, (&store, &plan.source), plan.is_itself)
            .map_err(|error| account::failure(Side::Source, &plan.source, b"", error))
    };
    let opened: Result<Vec<_>, Failure> = plan.roots.iter().zip(roots).map(open).collect();
    agree(session, opened, reporter).map(Some).ok_or(Exit::Unusable)
}

/// Returns the options of the removal.
pub(super) fn options(options: &CopyOptions) -> RemoveOptions {
    RemoveOptions {
        told_as: options.plan_as,
        record: options.record,
        traceless: false,
        moves: true,
    }
}

/// Removes the sources that are left when all is copied, and directories that are empty then. All
/// ranks call it.
pub(super) fn end(
    session: &mut Session<'_, '_>,
    copying: Copying<'_>,
    phase: &mut Phase,
    reporter: &mut Reporter,
) {
    let Some(moving) = copying.moving else { return };
    if is_stopped(session, &phase.0) {
        return;
    }
    let torn = gather(session.mail, &moving.torn_files());
    let torn = broadcast(session.mail, torn.map(|all| all.into_iter().flatten().collect()));
    let (tasks, failure) = match moving.take_rest(&torn) {
        Ok(tasks) => (tasks, None),
        Err(failure) => (Vec::new(), Some(failure)),
    };
    phase.0.failed += u64::from(failure.is_some());
    for failure in gather(session.mail, &failure).into_iter().flatten().flatten() {
        reporter.failure(&failure);
    }
    // After a failure, the attributes of a directory may be missing at the target.
    let has_failed = gather(session.mail, &(phase.0.failed > 0));
    let has_failed = broadcast(session.mail, has_failed.map(|all| all.contains(&true)));
    let mut removal = Removal::new(session, moving.removal, copying.threads, reporter);
    removal.engine(tasks);
    if !has_failed {
        removal.directories();
    }
    let (_, counters) = removal.phase;
    phase.0.add(&moving.removal.tally());
    phase.1.add(&counters);
}
