//! Entries named by the operator, opened on all ranks.

use crate::base::error::Failure;
use crate::base::exit::Exit;
use crate::comm::Rank;
use crate::comm::collective::{broadcast, gather};
use crate::lists::named::{Named, Origin};
use crate::lists::paths::PathsFile;
use crate::lists::source::{ListSource, Piece};
use crate::sort::exchange;
use crate::sort::shelf::Shelf;
use crate::surface::named_args::NamedArgs;
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;
use crate::walk::WalkTask;

/// What is named, and the pieces of it that this rank begins with.
#[derive(Default)]
pub struct Opened {
    /// `None` where trees are walked.
    pub named: Option<Named>,
    pieces: Vec<Piece>,
}

impl Opened {
    /// The first tasks of this rank, in place of those of a walk.
    pub fn seeds(&self) -> Option<Vec<WalkTask>> {
        self.named.as_ref()?;
        Some(self.pieces.iter().copied().map(WalkTask::Named).collect())
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
    let is_open = broadcast(session.mail, refusal.map(|refusal| refusal.is_none()));
    match (share, origin) {
        (Ok(share), Ok(origin)) if is_open => {
            let repeated = repeated(session, &origin, &share.pieces);
            let named = Named::from(origin).without(repeated);
            Ok(Opened { named: Some(named), pieces: share.pieces })
        }
        _ => Err(Exit::Unusable),
    }
}

/// Which names stand there once more, by piece and number: two ranks must not be at one file. All names are
/// sorted for that, over all ranks; a list that dwalk or dcmp has written has each once. What cannot be read is
/// told of when it is to be dealt with.
fn repeated(session: &mut Session<'_, '_>, origin: &Origin, pieces: &[Piece]) -> Vec<(Piece, u64)> {
    if !matches!(origin, Origin::Paths(_)) {
        return Vec::new();
    }
    let mut own = Shelf::default();
    for piece in pieces {
        let names = origin.names(*piece).into_iter().flatten();
        for (name, number) in names.zip(0_u64..) {
            if let Ok((path, _)) = name {
                let place = (piece, number);
                let place = postcard::to_stdvec(&place).expect("plain values always serialise");
                own.push(path.as_bytes(), &place);
            }
        }
    }
    let in_order = exchange::sort(own, session.mail);
    let (mut repeated, mut before) = (Vec::new(), None);
    for (path, place) in in_order.entries() {
        if before == Some(path) {
            repeated.push(postcard::from_bytes(place).expect("this build has written it"));
        }
        before = Some(path);
    }
    let all = gather(session.mail, &repeated).map(|all| all.concat());
    broadcast(session.mail, all)
}

fn look(args: &NamedArgs) -> Result<Origin, Failure> {
    if let Some(manifest) = args.manifest() {
        return ListSource::open(manifest).map(Origin::Manifest);
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
