//! Common course of copies and synchronisations, from the request to the end.

use std::collections::BTreeSet;

use super::copying::Copying;
use super::ending::Ending;
use super::found_journal::Found;
use super::manifest::Manifest;
use super::node_errors::agree;
use super::phase::Phase;
use super::resume::{self, ResumeState};
use super::shared_roots::{SharedRoot, are_shared, lost};
use super::{
    find_stores, links, manifest, moving, named, outputs, record, select, threads_of_rank, verify,
};
use crate::surface::again;
use crate::surface::cli::CommonArgs;
use crate::surface::copy_args::RequestedCopy;
use crate::surface::named_args::NamedArgs;
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;
use crate::surface::summary::Operation;
use comm::Rank;
use comm::collective::broadcast;
use host::user::User;
use lists::base::Purpose;
use ops::copy::Stage;
use ops::copy::leftovers::Leftovers;
use ops::copy::moving::Moving;
use ops::copy::options::CopyOptions;
use ops::copy::plan::CopyPlan;
use ops::copy::prune::Pruning;
use ops::copy::root::{CopyRoot, RootTarget};
use ops::remove::RemoveJob;
use ops::resolver::StoreResolver;
use ops::walk::selection::Selection;
use types::error::{Failure, Side};
use types::exit::Exit;
use types::select::regex::{MatchOptions, Matcher};

/// Request, as all ranks know it.
pub(super) trait Transfer {
    /// Verb for the progress bar and for messages.
    const VERB: &str;

    fn requested(&self) -> &RequestedCopy;

    /// Returns the operation that the summary describes: one that compares first where criteria
    /// decide.
    fn operation(&self) -> Operation {
        let is_sync = self.requested().options.sync.is_some();
        if is_sync { Operation::Sync } else { Operation::Copy }
    }

    /// The paths that were given.
    fn places(&self) -> Vec<(Side, &[u8])>;

    /// The source whose contents another run must name, where the target that was to be its copy is
    /// there now and no journal tells so.
    fn contents(&self, _plan: &CopyPlan, _has_journal: bool) -> Option<&[u8]> {
        None
    }

    /// The paths of what is copied or deleted, which an output of the job must not be a part of.
    fn own_trees(&self) -> Vec<&[u8]> {
        let deletes = self.requested().options.sync.as_ref().is_some_and(|sync| sync.delete);
        let places = self.places().into_iter();
        places.filter(|(side, _)| *side == Side::Source || deletes).map(|(_, path)| path).collect()
    }

    /// Rank 0 looks at the paths before anything is written. A plan without roots is the end: why,
    /// was said.
    fn prepare(
        &self,
        session: &Session<'_, '_>,
        looked: (&StoreResolver, &Selection),
        args: &CommonArgs,
        reporter: &mut Reporter,
    ) -> Prepared;

    /// Runs the steps after the entries; returns the exit code that the counts do not imply.
    fn finish(&self, after: After<'_, '_, '_>, reporter: &mut Reporter) -> (Exit, Phase);
}

/// Plan of the job, and its journal.
pub(super) struct Prepared {
    pub plan: CopyPlan,
    pub options: CopyOptions,
    pub journal: Option<Found>,
}

/// A copy whose entries were dealt with.
pub(super) struct After<'r, 's, 'c> {
    pub session: &'r mut Session<'s, 'c>,
    pub copying: Copying<'r>,
    pub args: &'r CommonArgs,
    /// Counts of this rank so far.
    pub phase: Phase,
    pub leftovers: Leftovers,
}

/// The entries that are named, and the source that they are in.
fn named_in<T: Transfer>(request: &T) -> (&NamedArgs, Option<(&[u8], Purpose)>) {
    let is_source = |(side, _): &(Side, &[u8])| *side == Side::Source;
    let source = request.places().into_iter().find(is_source);
    let requested = request.requested();
    let moves = requested.options.remove_source;
    let purpose = if moves { Purpose::Delete } else { Purpose::Read };
    (&requested.named, source.map(|(_, path)| (path, purpose)))
}

/// Does it on all ranks.
pub(super) fn run<T: Transfer>(
    session: &mut Session<'_, '_>,
    request: &T,
    args: &CommonArgs,
) -> Exit {
    course(session, request, args).unwrap_or_else(|exit| exit)
}

/// Returns the exit code, as an error where nothing was begun.
fn course<T: Transfer>(
    session: &mut Session<'_, '_>,
    request: &T,
    args: &CommonArgs,
) -> Result<Exit, Exit> {
    let requested = request.requested();
    let is_root = session.mail.comm().rank() == Rank::ROOT;
    let mut reporter = Reporter::new(session.tool, T::VERB, args, session.topology.ranks);
    let selection = select(session, &requested.filters, &mut reporter).ok_or(Exit::Usage)?;
    let mut opened = named::open(session, named_in(request), &mut reporter)?;
    let resolver = find_places(session, request, (&selection, args), &mut reporter)?;
    let mut found = None;
    let prepared = is_root.then(|| {
        let mut prepared = request.prepare(session, (&resolver, &selection), args, &mut reporter);
        prepared.plan.locate(&resolver);
        prepared.options.user = user_at_target(request, &resolver);
        found = prepared.journal;
        (prepared.plan, prepared.options)
    });
    let (plan, options) = broadcast(session.mail, prepared);
    check_has_roots(&plan)?;
    let shared = args.assume_shared;
    let resume_state = resume::open(session, found, (&options, shared), &mut reporter);
    let resume_state = resume_state.ok_or(Exit::Unusable)?;
    let own = resume_state.own_things();
    let selection = selection.without_things_of_jobs(own.clone());
    let manifest = open_outputs(session, (request, args), &options, &mut reporter)?;
    let (choice, what) = ((&selection, args), (&plan, &options));
    let roots = open_shared(session, &resolver, what, choice, &mut reporter);
    let roots = roots.ok_or(Exit::Unusable)?;
    let folded = opened.part_folded(session, &roots, &mut reporter);
    let sources = moving::open(session, (&resolver, &plan), (&roots, &options), &mut reporter)?;
    let matcher = Matcher::new(&MatchOptions::default()).map_err(|why| session.refuse(why))?;
    let how = moving::options(&options);
    let (filters, pruning) = ((&selection, &matcher), Pruning::default());
    let removal =
        sources.as_ref().map(|it| RemoveJob::new(it, filters, opened.named.as_ref(), how));
    let moving = removal.as_ref().map(|removal| Moving::new(&roots, removal));
    let copying = Copying {
        roots: &roots,
        options: &options,
        selection: &selection,
        journal: resume_state.journal.as_ref(),
        manifest: &manifest.part,
        moving: moving.as_ref(),
        pruning: options.prune_empty_dirs.then_some(&pruning),
        stage: Stage::Walk,
        threads: threads_of_rank(session, &resolver, args),
    };
    let (verdict, (mut tally, counters)) = resume_state.during(session, &roots, |session| {
        let what = (&plan, &opened, folded, &resume_state);
        let after = copy_all(session, copying, args, what, &mut reporter);
        request.finish(after, &mut reporter)
    });
    tally.failed += if is_root { plan.failures.len() as u64 } else { 0 };
    tally.temporary_files_skipped += selection.passed_over();
    let (filters, named) = (requested.filters.clone(), opened.again(&requested.named));
    let part = verify::Part { filters, named, own };
    let ending = Ending {
        operation: request.operation(),
        resolver: &resolver,
        plan: &plan,
        roots: &roots,
        options: &options,
        part: &part,
        manifest,
        again: again::command(
            session.tool,
            request.contents(&plan, resume_state.journal.is_some()),
        ),
        resume_state,
        verdict,
    };
    Ok(ending.conclude(session, (tally, counters), args, &mut reporter))
}

/// Finds out how the paths of a request are reached. A dry run creates nothing for that.
fn find_places<T: Transfer>(
    session: &mut Session<'_, '_>,
    request: &T,
    (selection, args): (&Selection, &CommonArgs),
    reporter: &mut Reporter,
) -> Result<StoreResolver, Exit> {
    let is_one = selection.is_one_file_system();
    let resolver = find_stores(session, (&request.places(), is_one), args, reporter)?;
    Ok(resolver.without_probes(request.requested().options.dry_run))
}

/// Returns the exit code of a plan without anything to do, as an error.
fn check_has_roots(plan: &CopyPlan) -> Result<(), Exit> {
    // Filters may have left out all sources, which is done then.
    let is_done = plan.excluded > 0 && plan.failures.is_empty() && plan.refusals.is_empty();
    if is_done || !plan.roots.is_empty() {
        Ok(())
    } else if !plan.refusals.is_empty() {
        Err(Exit::Usage)
    } else {
        Err(Exit::Unusable)
    }
}

/// Returns the user with whose rights the target is changed.
fn user_at_target<T: Transfer>(request: &T, resolver: &StoreResolver) -> User {
    let target = request.places().into_iter().find(|(side, _)| *side == Side::Target);
    target.map_or_else(User::own, |(_, path)| resolver.user(path))
}

/// Opens the manifest and begins the record, on all ranks.
///
/// # Errors
/// The exit code, where one of them cannot be written; rank 0 has said why.
fn open_outputs<T: Transfer>(
    session: &mut Session<'_, '_>,
    (request, args): (&T, &CommonArgs),
    options: &CopyOptions,
    reporter: &mut Reporter,
) -> Result<Manifest, Exit> {
    let requested = request.requested();
    let path = requested.manifest.as_deref().filter(|_| !requested.options.dry_run);
    let inputs = outputs::inputs(&requested.named, &requested.filters, args);
    let manifest = manifest::open(session, path, (&inputs, args.assume_shared), reporter)?;
    let (record, trees) = (requested.record.as_ref(), request.own_trees());
    record::begin(session, record, (&trees, &inputs, options.dry_run), reporter)?;
    Ok(manifest)
}

/// Deals with all entries, and with files that have several names when all of those are known.
fn copy_all<'r, 's, 'c>(
    session: &'r mut Session<'s, 'c>,
    copying: Copying<'r>,
    args: &'r CommonArgs,
    (plan, opened, folded, resume_state): (&CopyPlan, &'r named::Opened, u64, &ResumeState),
    reporter: &mut Reporter,
) -> After<'r, 's, 'c> {
    let (mut leftovers, mut phase) = copying.entries(session, (plan, opened), reporter);
    phase.0.failed += folded + resume_state.sweep_roots(session, (plan, copying.roots), reporter);
    links::copy(session, copying, &mut leftovers, &mut phase, reporter);
    let shared = shared(plan, copying.roots, copying.options);
    phase.0.add(&lost(session, &shared, copying.selection, reporter));
    After { session, copying, args, phase, leftovers }
}

/// Roots that must be the same on all ranks: the single entries, unless there are many, and the
/// directories that are copied or copied to.
fn shared<'r>(
    plan: &'r CopyPlan,
    roots: &'r [CopyRoot],
    options: &'r CopyOptions,
) -> Vec<SharedRoot<'r>> {
    let is_written = !options.dry_run;
    let old_copy = options.old_copy().map(|old| &old.path[..]);
    let mut all = Vec::new();
    for (plan, root) in plan.roots.iter().zip(roots) {
        let source = SharedRoot {
            shown: &plan.source,
            store: &*root.source,
            entry: None,
            is_written: false,
        };
        all.extend(source.or_its_entries(plan.singles.as_ref().map(|it| &it.names[..])));
        // A dry run into what does not exist looks at nothing there.
        if plan.target_is != RootTarget::Absent {
            let (shown, store) = (&plan.target, &*root.target);
            all.push(SharedRoot { shown, store, entry: None, is_written });
        }
        all.extend(root.old_copy.iter().map(|old| SharedRoot {
            shown: old_copy.unwrap_or_default(),
            store: &**old,
            entry: None,
            is_written: false,
        }));
    }
    all
}

const NOT_STRIPED: &str = "--stripe has no effect where the target is not on Lustre";

const KEPT_TOGETHER: &str = "objects store mode, owner and timestamps together or not at all; of \
    those requested, only the modification time is preserved; -p preserves all";

/// Opens all roots on this rank; `None` on all ranks where they are not the same everywhere. What
/// was made for the job is gone then.
fn open_shared(
    session: &mut Session<'_, '_>,
    resolver: &StoreResolver,
    (plan, options): (&CopyPlan, &CopyOptions),
    (selection, args): (&Selection, &CommonArgs),
    reporter: &mut Reporter,
) -> Option<Vec<CopyRoot>> {
    let opened = open_everywhere(session, resolver, (plan, options), reporter);
    let opened = opened.filter(|roots| {
        let roots = shared(plan, roots, options);
        are_shared(session, &roots, selection, args.assume_shared, reporter)
    });
    if opened.is_none() && session.mail.comm().rank() == Rank::ROOT {
        plan.take_back(resolver);
    }
    opened
}

/// Opens all roots on this rank; `None` on all ranks where one of them cannot.
fn open_everywhere(
    session: &mut Session<'_, '_>,
    resolver: &StoreResolver,
    (plan, options): (&CopyPlan, &CopyOptions),
    reporter: &mut Reporter,
) -> Option<Vec<CopyRoot>> {
    let opened: Result<Vec<CopyRoot>, Failure> =
        plan.roots.iter().map(|root| root.open(resolver, options)).collect();
    let opened = agree(session, opened, reporter);
    // Rank 0 has looked at all places.
    resolver.are_reached();
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
        let shortcoming = |root: &CopyRoot| root.source.capabilities().shortcoming;
        let shortcomings = opened.iter().flatten().filter_map(shortcoming);
        for words in shortcomings.collect::<BTreeSet<_>>() {
            reporter.warn(words);
        }
    }
    opened
}
