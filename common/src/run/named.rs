//! Entries named by the operator, opened on all ranks.

use super::repeats;
use crate::surface::named_args::NamedArgs;
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;
use comm::Rank;
use comm::collective::{broadcast, gather};
use lists::base::{Base, Purpose};
use lists::named::{Named, Origin};
use lists::paths::PathsFile;
use lists::source::{ListSource, Piece, Share};
use ops::copy::root::CopyRoot;
use ops::walk::{WalkTask, account};
use types::error::{Cause, Failure, Op, Side};
use types::exit::Exit;
use types::path::in_small_letters;

/// Named entries, and the pieces of them that this rank begins with.
#[derive(Default)]
pub struct Opened {
    /// `None` where trees are walked.
    pub named: Option<Named>,
    pieces: Vec<Piece>,
}

impl Opened {
    /// The arguments by which another run over the same entries finds them: a pipe cannot be read
    /// again.
    pub fn again(&self, args: &NamedArgs) -> NamedArgs {
        match self.named.as_ref().map(Named::origin) {
            Some(Origin::Paths(paths)) => NamedArgs::of_paths(paths.clone()),
            _ => args.clone(),
        }
    }

    /// The first tasks of this rank, in place of those of a walk.
    pub fn seeds(&self) -> Option<Vec<WalkTask>> {
        self.named.as_ref()?;
        Some(self.pieces.iter().copied().map(WalkTask::Named).collect())
    }

    /// Keeps the first of names that collide on a case-insensitive target. The others are
    /// failures: how many, on rank 0. All ranks call it.
    pub fn part_folded(
        &mut self,
        session: &mut Session<'_, '_>,
        roots: &[CopyRoot],
        reporter: &mut Reporter,
    ) -> u64 {
        let Some(named) = self.named.take() else { return 0 };
        let is_root = session.mail.comm().rank() == Rank::ROOT;
        let folds = is_root.then(|| roots.iter().any(|root| root.target.is_case_insensitive()));
        if !broadcast(session.mail, folds) {
            self.named = Some(named);
            return 0;
        }
        let folded = repeated(session, &named, &self.pieces, Same::Letters);
        let shown = roots.first().map(|root| &root.shown_source[..]).unwrap_or_default();
        for again in folded.iter().filter(|_| is_root) {
            let error = Op::Copy.failed(Cause::Folds);
            reporter.failure(&account::failure(Side::Source, shown, &again.path, error));
        }
        let count = if is_root { folded.len() as u64 } else { 0 };
        self.named = Some(named.without(folded.into_iter().map(|again| again.position)));
        count
    }
}

/// Rank 0 looks at what is named below a directory for all; each rank looks into the parts that
/// fall to it.
///
/// # Errors
/// The exit code, on all ranks, where it cannot be read; rank 0 has said why.
pub fn open(
    session: &mut Session<'_, '_>,
    (args, below): (&NamedArgs, Option<(&[u8], Purpose)>),
    reporter: &mut Reporter,
) -> Result<Opened, Exit> {
    if args.is_empty() {
        return Ok(Opened::default());
    }
    let (rank, ranks) = (session.mail.comm().rank(), session.mail.comm().size());
    let looked = (rank == Rank::ROOT).then(|| look(args, below));
    let origin: Result<Origin, Failure> = broadcast(session.mail, looked);
    let share = origin.clone().and_then(|origin| origin.share(rank.0, ranks));
    let list = match &origin {
        Ok(Origin::List(list) | Origin::Manifest(list)) => Some(list),
        _ => None,
    };
    let may_repeat = agree_on(session, &share, list, reporter)?;
    let (share, origin) =
        share.and_then(|share| Ok((share, origin?))).map_err(|_| Exit::Unusable)?;
    let origin = if may_repeat { of_one_place(session, origin, &share.pieces) } else { origin };
    let mut named = Named::from(origin);
    // The files of a manifest are compared one by one, and nothing is written.
    if may_repeat && !matches!(named.origin(), Origin::Manifest(_)) {
        let repeated = repeated(session, &named, &share.pieces, Same::Bytes);
        named = named.without(repeated.into_iter().map(|again| again.position));
    }
    Ok(Opened { named: Some(named), pieces: share.pieces })
}

/// Finds the entries of a list of several directories by their paths alone: which of them the
/// operator's is a copy of is not known. All ranks call it.
fn of_one_place(session: &mut Session<'_, '_>, origin: Origin, pieces: &[Piece]) -> Origin {
    let Origin::List(list) = origin else { return origin };
    let has_others = gather(session.mail, &list.has_other_roots(pieces));
    let has_others = broadcast(session.mail, has_others.map(|all| all.contains(&true)));
    Origin::List(if has_others { list.without_copy() } else { list })
}

/// Relation by which names collide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Same {
    /// Equal bytes.
    Bytes,
    /// Equal but for case.
    Letters,
}

/// The names that stand there once more, besides those that are passed over already. What cannot be
/// read is a failure when it is to be dealt with.
fn repeated(
    session: &mut Session<'_, '_>,
    named: &Named,
    pieces: &[Piece],
    same: Same,
) -> Vec<repeats::Named> {
    let of_piece = |piece: &Piece| {
        let piece = *piece;
        let there = named.origin().names(piece).into_iter().flatten();
        there.zip(0..).filter_map(move |(name, number)| {
            let (path, _) = name.ok()?;
            let position = (piece, number);
            (!named.is_repeated(position)).then(|| match same {
                Same::Bytes => {
                    (path.as_bytes().to_vec(), repeats::Named { position, path: Vec::new() })
                }
                Same::Letters => {
                    let path = path.as_bytes().to_vec();
                    (in_small_letters(&path), repeats::Named { position, path })
                }
            })
        })
    };
    repeats::find(session, || pieces.iter().flat_map(of_piece))
}

fn look(args: &NamedArgs, below: Option<(&[u8], Purpose)>) -> Result<Origin, Failure> {
    if let Some(manifest) = args.manifest() {
        return ListSource::open(manifest).map(Origin::Manifest);
    }
    if let Some(paths) = args.paths() {
        return Ok(Origin::Paths(paths.clone()));
    }
    match (args.input(), args.files_from()) {
        (Some(list), _) => {
            let list = ListSource::open(&list)?;
            let list = match below {
                Some((directory, purpose)) => list.below(Base::new(directory, purpose)),
                None => list,
            };
            Ok(Origin::List(list))
        }
        (None, files) => {
            PathsFile::open(&files.unwrap_or_default(), args.separator()).map(Origin::Paths)
        }
    }
}

/// Tells whether any part of a list may have an entry more than once, if all ranks could read their
/// parts.
///
/// # Errors
/// The exit code, on all ranks, where one could not, or where the parts are not of one list; rank 0
/// has said why.
pub(super) fn agree_on(
    session: &mut Session<'_, '_>,
    share: &Result<Share, Failure>,
    list: Option<&ListSource>,
    reporter: &mut Reporter,
) -> Result<bool, Exit> {
    let told = share.as_ref().map(|share| (share.id.clone(), share.may_repeat));
    let told = gather(session.mail, &told.map_err(Clone::clone));
    let agreed = told.map(|told| {
        may_repeat(told, list).map_err(|failure| {
            reporter.refuse(&failure);
            exit_of(&failure)
        })
    });
    broadcast(session.mail, agreed)
}

/// The exit code of a job whose list cannot be read.
fn exit_of(failure: &Failure) -> Exit {
    match failure.error.cause {
        Cause::Stopped => Exit::Interrupted,
        _ => Exit::Unusable,
    }
}

fn may_repeat(
    told: Vec<Result<(Option<String>, bool), Failure>>,
    list: Option<&ListSource>,
) -> Result<bool, Failure> {
    let told = told.into_iter().collect::<Result<Vec<_>, Failure>>()?;
    let mut ids: Vec<&String> = told.iter().filter_map(|(id, _)| id.as_ref()).collect();
    ids.dedup();
    match list {
        Some(list) if ids.len() > 1 => Err(list.mixed()),
        _ => Ok(told.iter().any(|(_, may_repeat)| *may_repeat)),
    }
}
