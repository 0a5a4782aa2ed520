//! Entries named by the operator, opened on all ranks.

use crate::base::error::Failure;
use crate::base::exit::Exit;
use crate::comm::Rank;
use crate::comm::collective::{broadcast, gather};
use crate::lists::named::Named;
use crate::lists::paths::PathsFile;
use crate::lists::source::{ListSource, Piece};
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
    let named: Result<Named, Failure> = broadcast(session.mail, looked);
    let share = named.clone().and_then(|named| named.share(rank.0, ranks));
    let said = share.as_ref().map(|share| share.id.clone()).map_err(Clone::clone);
    let refusal = gather(session.mail, &said).map(|all| refusal_of(all, named.as_ref().ok()));
    if let Some(Some(failure)) = &refusal {
        reporter.refuse(&failure.to_string());
    }
    let is_open = broadcast(session.mail, refusal.map(|refusal| refusal.is_none()));
    match (share, named) {
        (Ok(share), Ok(named)) if is_open => {
            Ok(Opened { named: Some(named), pieces: share.pieces })
        }
        _ => Err(Exit::Unusable),
    }
}

fn look(args: &NamedArgs) -> Result<Named, Failure> {
    if let Some(manifest) = args.manifest() {
        return ListSource::open(manifest).map(Named::Manifest);
    }
    match (args.input(), args.files_from()) {
        (Some(list), _) => ListSource::open(&list).map(Named::List),
        (None, files) => {
            PathsFile::open(&files.unwrap_or_default(), args.separator()).map(Named::Paths)
        }
    }
}

/// The first failure; or that parts are not of one list.
fn refusal_of(
    said: Vec<Result<Option<String>, Failure>>,
    named: Option<&Named>,
) -> Option<Failure> {
    let mut ids = Vec::new();
    for of_rank in said {
        match of_rank {
            Err(failure) => return Some(failure),
            Ok(id) => ids.extend(id),
        }
    }
    ids.dedup();
    match named {
        Some(Named::List(list) | Named::Manifest(list)) if ids.len() > 1 => Some(list.mixed()),
        _ => None,
    }
}
