//! Where entries come from: trees, or a list.

use super::WalkRequest;
use crate::base::error::Failure;
use crate::comm::Rank;
use crate::comm::collective::{broadcast, gather};
use crate::lists::source::{ListSource, Piece};
use crate::store::sites::Sites;
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;
use crate::walk::list::WalkRoot;

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
/// where nothing can.
pub fn open(
    session: &mut Session<'_, '_>,
    sites: &Sites,
    request: &WalkRequest,
    reporter: &mut Reporter,
) -> Option<(Input, u64)> {
    if let Some(list) = &request.input {
        return open_list(session, list, reporter).map(|input| (input, 0));
    }
    let (roots, failed) = open_everywhere(session, sites, request, reporter);
    (!roots.is_empty()).then_some((Input::Trees(roots), failed))
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

/// Opens the paths that every rank can open; the others are failures, reported once. Returns how many
/// failed, too.
fn open_everywhere(
    session: &mut Session<'_, '_>,
    sites: &Sites,
    request: &WalkRequest,
    reporter: &mut Reporter,
) -> (Vec<WalkRoot>, u64) {
    let (mut roots, mut failed) = (Vec::new(), 0);
    for path in &request.paths {
        let opened = WalkRoot::open(sites, path, request.symlinks);
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
