//! Where entries come from: trees, or a list.

use super::super::shared_roots::{SharedRoot, are_shared};
use super::super::{agree, on_this_node};
use super::WalkRequest;
use crate::base::error::Failure;
use crate::comm::Rank;
use crate::comm::collective::{broadcast, gather};
use crate::lists::source::{ListSource, Piece};
use crate::store::sites::Sites;
use crate::surface::cli::CommonArgs;
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;
use crate::walk::list::WalkRoot;
use crate::walk::selection::Selection;

/// Open on this rank.
pub enum Input {
    /// Trees to walk.
    Trees(Vec<WalkRoot>),
    /// A list, and the pieces of it that this rank begins with.
    List(ListSource, Vec<Piece>),
}

impl Input {
    /// What the operator named.
    pub fn shown(&self, request: &WalkRequest) -> Vec<Vec<u8>> {
        match self {
            Self::Trees(roots) => roots.iter().map(|root| root.given.clone()).collect(),
            Self::List(..) => request.input.iter().cloned().collect(),
        }
    }
}

/// Opens what the operator named; returns how many of several trees cannot be, too. `None` on all ranks
/// where nothing can, or where ranks see different things.
pub fn open(
    session: &mut Session<'_, '_>,
    sites: &Sites,
    request: &WalkRequest,
    (selection, args): (&Selection, &CommonArgs),
    reporter: &mut Reporter,
) -> Option<(Input, u64)> {
    if let Some(list) = &request.input {
        return open_list(session, list, reporter).map(|input| (input, 0));
    }
    let (roots, failed) = open_everywhere(session, sites, request, reporter)?;
    let shared: Vec<_> = roots.iter().map(shared).collect();
    let is_it =
        !roots.is_empty() && are_shared(session, &shared, selection, args.assume_shared, reporter);
    is_it.then_some((Input::Trees(roots), failed))
}

fn shared(root: &WalkRoot) -> SharedRoot<'_> {
    let entry = root.single.as_deref();
    SharedRoot { shown: &root.shown, store: &*root.source, entry, is_written: false }
}

/// Rank 0 looks at the list for all; each rank looks into the parts that fall to it.
fn open_list(session: &mut Session<'_, '_>, list: &[u8], reporter: &mut Reporter) -> Option<Input> {
    let (rank, ranks) = (session.mail.comm().rank(), session.mail.comm().size());
    let mut refuse = |failure: Failure| reporter.refuse(&failure.to_string());
    let source = (rank == Rank::ROOT).then(|| ListSource::open(list).map_err(&mut refuse).ok());
    let source: ListSource = broadcast(session.mail, source)?;
    let share = source.share(rank.0, ranks);
    let said = share.as_ref().map(|share| share.id.clone()).map_err(Clone::clone);
    let trouble = gather(session.mail, &said).map(|all| trouble_of(all, &source));
    let is_open = trouble.map(|trouble| trouble.map(&mut refuse).is_none());
    let is_open = broadcast(session.mail, is_open);
    share.ok().filter(|_| is_open).map(|share| Input::List(source, share.pieces))
}

/// The first failure; or that parts are not of one list.
fn trouble_of(said: Vec<Result<Option<String>, Failure>>, source: &ListSource) -> Option<Failure> {
    let mut ids = Vec::new();
    for of_rank in said {
        match of_rank {
            Err(failure) => return Some(failure),
            Ok(id) => ids.extend(id),
        }
    }
    ids.dedup();
    (ids.len() > 1).then(|| source.mixed())
}

/// Opens the paths that rank 0 can open; the others are failures, reported once. Returns how many failed, too; `None`
/// where another rank cannot open one of them.
fn open_everywhere(
    session: &mut Session<'_, '_>,
    sites: &Sites,
    request: &WalkRequest,
    reporter: &mut Reporter,
) -> Option<(Vec<WalkRoot>, u64)> {
    let is_root = session.mail.comm().rank() == Rank::ROOT;
    let open = |path: &Vec<u8>| WalkRoot::open(sites, path, request.symlinks);
    let opened: Vec<Result<WalkRoot, Failure>> = request.paths.iter().map(open).collect();
    let can = is_root.then(|| {
        for failure in opened.iter().filter_map(|opened| opened.as_ref().err()) {
            reporter.failure(failure);
        }
        opened.iter().map(Result::is_ok).collect()
    });
    let can: Vec<bool> = broadcast(session.mail, can);
    let failed = can.iter().filter(|can| !**can).count() as u64;
    let meant = opened.into_iter().zip(can).filter_map(|(opened, can)| can.then_some(opened));
    let here = on_this_node(session);
    let roots: Result<Vec<WalkRoot>, Failure> = meant.collect();
    let roots = roots.map_err(|failure| format!("{} {here}", reporter.words(&failure)));
    agree(session, roots, reporter).map(|roots| (roots, failed))
}
