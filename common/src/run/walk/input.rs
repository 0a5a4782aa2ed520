//! Input of a walk: trees, or a list.

use std::os::unix::ffi::OsStringExt;

use super::super::node_errors::agree;
use super::super::shared_roots::{SharedRoot, are_shared};
use super::WalkRequest;
use crate::run::{named, repeats};
use crate::surface::cli::CommonArgs;
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;
use comm::Rank;
use comm::collective::broadcast;
use lists;
use lists::repeated::Repeated;
use lists::source::{ListSource, Piece};
use ops::resolver::StoreResolver;
use ops::walk::list::WalkRoot;
use ops::walk::selection::Selection;
use types::error::Failure;
use types::operand::placement::without_slashes;
use types::path;

/// Open on this rank.
pub enum Input {
    /// Trees to walk.
    Trees(Vec<WalkRoot>),
    /// A list, and the pieces of it that this rank begins with.
    List { source: ListSource, repeated: Repeated, pieces: Vec<Piece> },
}

impl Input {
    /// Paths that the operator named.
    pub fn shown(&self, request: &WalkRequest) -> Vec<Vec<u8>> {
        match self {
            Self::Trees(roots) => roots.iter().map(|root| root.given.clone()).collect(),
            Self::List { .. } => request.input.iter().cloned().collect(),
        }
    }
}

/// Opens what the operator named; returns how many of several trees cannot be, too. `None` on all
/// ranks where nothing can, or where ranks see different things.
pub fn open(
    session: &mut Session<'_, '_>,
    resolver: &StoreResolver,
    request: &WalkRequest,
    (selection, args): (&Selection, &CommonArgs),
    reporter: &mut Reporter,
) -> Option<(Input, u64)> {
    if let Some(list) = &request.input {
        return open_list(session, list, reporter).map(|input| (input, 0));
    }
    let (roots, failed) = open_everywhere(session, resolver, request, reporter)?;
    let shared: Vec<_> = roots.iter().map(shared).collect();
    let is_it =
        !roots.is_empty() && are_shared(session, &shared, selection, args.assume_shared, reporter);
    is_it.then_some((Input::Trees(roots), failed))
}

/// Root that must be the same on all ranks.
pub fn shared(root: &WalkRoot) -> SharedRoot<'_> {
    let entry = root.single.as_deref();
    SharedRoot { shown: &root.shown, store: &*root.source, entry, is_written: false }
}

/// Rank 0 looks at the list for all; each rank looks into the parts that fall to it.
fn open_list(session: &mut Session<'_, '_>, list: &[u8], reporter: &mut Reporter) -> Option<Input> {
    let (rank, ranks) = (session.mail.comm().rank(), session.mail.comm().size());
    let refuse = |failure: Failure| reporter.refuse(&failure);
    let source = (rank == Rank::ROOT).then(|| ListSource::open(list).map_err(refuse).ok());
    let source: ListSource = broadcast(session.mail, source)?;
    let share = source.share(rank.0, ranks);
    let may_repeat = named::agree_on(session, &share, Some(&source), reporter).ok()?;
    let pieces = share.ok()?.pieces;
    let mut repeated = Repeated::default();
    // Memory would grow with a list whose entries nothing is done to.
    if may_repeat && !source.is_foreign() {
        let found = repeats::find(session, || names(&source, &pieces));
        repeated.extend(found.into_iter().map(|name| name.position));
    }
    Some(Input::List { source, repeated, pieces })
}

/// The paths in these pieces; what cannot be read is a failure when it is to be counted.
fn names<'l>(
    source: &'l ListSource,
    pieces: &'l [Piece],
) -> impl Iterator<Item = (Vec<u8>, repeats::Named)> + 'l {
    pieces.iter().flat_map(|piece| {
        let records = source.records(*piece).into_iter().flatten().zip(0..);
        records.filter_map(|(record, number)| {
            let name = repeats::Named { position: (*piece, number), path: Vec::new() };
            Some((record.ok()?.path, name))
        })
    })
}

/// The paths without those that a walk of another one meets: what is in several of them is counted
/// once.
fn distinct(request: &WalkRequest, reporter: &mut Reporter) -> Vec<Vec<u8>> {
    let real: Vec<Vec<u8>> = request.paths.iter().map(|path| real_path(path)).collect();
    let mut kept = Vec::new();
    for (index, path) in request.paths.iter().enumerate() {
        let is_again = real[..index].contains(&real[index]);
        let meets = |other: &Vec<u8>| is_inside(&real[index], other);
        let above = real.iter().position(meets).filter(|_| request.filters.admits_all_paths());
        let shown = path::escaped(path);
        match above {
            _ if is_again => reporter.warn(&format!("\"{shown}\" is named twice; counted once")),
            Some(above) => {
                let above = path::escaped(&request.paths[above]);
                reporter.warn(&format!("\"{shown}\" is inside \"{above}\"; counted once, with it"));
            }
            None => kept.push(path.clone()),
        }
    }
    kept
}

/// The path without symbolic links, where it is one of this machine's.
fn real_path(path: &[u8]) -> Vec<u8> {
    match std::fs::canonicalize(lists::as_path(path)) {
        Ok(real) => real.into_os_string().into_vec(),
        Err(_) => without_slashes(path).to_vec(),
    }
}

fn is_inside(path: &[u8], above: &[u8]) -> bool {
    let below = path.strip_prefix(above);
    below.is_some_and(|below| (above == b"/" && !below.is_empty()) || below.starts_with(b"/"))
}

/// Opens the paths that rank 0 can open; the others are failures, reported once. Returns how many
/// failed, too; `None` where another rank cannot open one of them.
fn open_everywhere(
    session: &mut Session<'_, '_>,
    resolver: &StoreResolver,
    request: &WalkRequest,
    reporter: &mut Reporter,
) -> Option<(Vec<WalkRoot>, u64)> {
    let is_root = session.mail.comm().rank() == Rank::ROOT;
    let paths = broadcast(session.mail, is_root.then(|| distinct(request, reporter)));
    let open = |path: &Vec<u8>| WalkRoot::open(resolver, path, request.symlinks);
    let opened: Vec<Result<WalkRoot, Failure>> = paths.iter().map(open).collect();
    let can = is_root.then(|| {
        for failure in opened.iter().filter_map(|opened| opened.as_ref().err()) {
            reporter.failure(failure);
        }
        opened.iter().map(Result::is_ok).collect()
    });
    let can: Vec<bool> = broadcast(session.mail, can);
    let failed = can.iter().filter(|can| !**can).count() as u64;
    let meant = opened.into_iter().zip(can).filter_map(|(opened, can)| can.then_some(opened));
    let roots: Result<Vec<WalkRoot>, Failure> = meant.collect();
    agree(session, roots, reporter).map(|roots| (roots, failed))
}
