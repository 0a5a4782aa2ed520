//! Entries named by the operator, opened on all ranks.

use serde::{Deserialize, Serialize};

use crate::base::error::{Cause, Failure, Op, Side};
use crate::base::exit::Exit;
use crate::base::path::in_small_letters;
use crate::comm::Rank;
use crate::comm::collective::{broadcast, gather};
use crate::copy::root::CopyRoot;
use crate::lists::named::{Named, Origin};
use crate::lists::paths::PathsFile;
use crate::lists::source::{ListSource, Piece};
use crate::sort::exchange;
use crate::sort::shelf::Shelf;
use crate::surface::named_args::NamedArgs;
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;
use crate::walk::{WalkTask, account};

/// What is named, and the pieces of it that this rank begins with.
#[derive(Default)]
pub struct Opened {
    /// `None` where trees are walked.
    pub named: Option<Named>,
    pieces: Vec<Piece>,
}

impl Opened {
    /// The arguments by which another run over the same entries finds them: a pipe cannot be read again.
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

    /// Where a target takes names that differ only in case for one, the first of such names is left. The others are
    /// failures: how many, on rank 0. All ranks call it.
    pub fn part_folded(
        &mut self,
        session: &mut Session<'_, '_>,
        roots: &[CopyRoot],
        reporter: &mut Reporter,
    ) -> u64 {
        let Some(named) = self.named.take() else { return 0 };
        let is_root = session.mail.comm().rank() == Rank::ROOT;
        let folds = is_root.then(|| roots.iter().any(|root| root.target.folds_case()));
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
        self.named = Some(named.without(folded.into_iter().map(|again| again.place)));
        count
    }
}

/// Rank 0 looks at what is named for all; each rank looks into the parts that fall to it.
///
/// # Errors
/// The exit code, on all ranks, where it cannot be read; rank 0 has said why.
pub fn open(
    session: &mut Session<'_, '_>,
    args: &NamedArgs,
    reporter: &mut Reporter,
) -> Result<Opened, Exit> {
    if args.is_empty() {
        return Ok(Opened::default());
    }
    let (rank, ranks) = (session.mail.comm().rank(), session.mail.comm().size());
    let looked = (rank == Rank::ROOT).then(|| look(args));
    let origin: Result<Origin, Failure> = broadcast(session.mail, looked);
    let share = origin.clone().and_then(|origin| origin.share(rank.0, ranks));
    let said = share.as_ref().map(|share| share.id.clone()).map_err(Clone::clone);
    let refusal = gather(session.mail, &said).map(|all| refusal_of(all, origin.as_ref().ok()));
    if let Some(Some(failure)) = &refusal {
        reporter.refuse(&failure.to_string());
    }
    let verdict = broadcast(session.mail, refusal.map(|refusal| verdict_of(refusal.as_ref())));
    match (share, origin) {
        (Ok(share), Ok(origin)) if verdict == Exit::Ok => {
            let named = Named::from(origin);
            let repeated = repeated(session, &named, &share.pieces, Same::Bytes);
            let named = named.without(repeated.into_iter().map(|again| again.place));
            Ok(Opened { named: Some(named), pieces: share.pieces })
        }
        _ if verdict == Exit::Ok => Err(Exit::Unusable),
        _ => Err(verdict),
    }
}

/// The exit code of a job whose list cannot be read.
fn verdict_of(refusal: Option<&Failure>) -> Exit {
    match refusal.map(|failure| failure.error.cause) {
        None => Exit::Ok,
        Some(Cause::Stopped) => Exit::Interrupted,
        Some(_) => Exit::Unusable,
    }
}

/// Which names are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Same {
    /// Those of the same bytes.
    Bytes,
    /// Those that differ only in case.
    Letters,
}

/// A name that is one with another that stands there.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Again {
    /// Its piece, and its number in that.
    place: (Piece, u64),
    /// The name, where the other one may be written otherwise.
    path: Vec<u8>,
}

/// Which names stand there once more: two ranks must not be at one file. All names are sorted for that, over all
/// ranks; a list that dwalk or dcmp has written has each once. What cannot be read is told of when it is to be dealt
/// with.
fn repeated(
    session: &mut Session<'_, '_>,
    named: &Named,
    pieces: &[Piece],
    same: Same,
) -> Vec<Again> {
    if same == Same::Bytes && !matches!(named.origin(), Origin::Paths(_)) {
        return Vec::new();
    }
    let mut own = Shelf::default();
    for piece in pieces {
        let there = named.origin().names(*piece).into_iter().flatten();
        for (name, number) in there.zip(0..) {
            let Ok((path, _)) = name else { continue };
            if named.is_repeated(*piece, number) {
                continue;
            }
            let path = path.as_bytes();
            let (key, path) = match same {
                Same::Bytes => (path.to_vec(), Vec::new()),
                Same::Letters => (in_small_letters(path), path.to_vec()),
            };
            let again = Again { place: (*piece, number), path };
            let value = postcard::to_stdvec(&again).expect("plain values always serialise");
            own.push(&key, &value);
        }
    }
    let in_order = exchange::sort(own, session.mail);
    let (mut repeated, mut before) = (Vec::new(), None);
    for (key, value) in in_order.entries() {
        if before == Some(key) {
            repeated.push(postcard::from_bytes(value).expect("this build has written it"));
        }
        before = Some(key);
    }
    let all = gather(session.mail, &repeated).map(|all: Vec<Vec<Again>>| all.concat());
    broadcast(session.mail, all)
}

fn look(args: &NamedArgs) -> Result<Origin, Failure> {
    if let Some(manifest) = args.manifest() {
        return ListSource::open(manifest).map(Origin::Manifest);
    }
    if let Some(paths) = args.paths() {
        return Ok(Origin::Paths(paths.clone()));
    }
    match (args.input(), args.files_from()) {
        (Some(list), _) => ListSource::open(&list).map(Origin::List),
        (None, files) => {
            PathsFile::open(&files.unwrap_or_default(), args.separator()).map(Origin::Paths)
        }
    }
}

/// The first failure; or that parts are not of one list.
fn refusal_of(
    said: Vec<Result<Option<String>, Failure>>,
    origin: Option<&Origin>,
) -> Option<Failure> {
    let mut ids = Vec::new();
    for of_rank in said {
        match of_rank {
            Err(failure) => return Some(failure),
            Ok(id) => ids.extend(id),
        }
    }
    ids.dedup();
    match origin {
        Some(Origin::List(list) | Origin::Manifest(list)) if ids.len() > 1 => Some(list.mixed()),
        _ => None,
    }
}
