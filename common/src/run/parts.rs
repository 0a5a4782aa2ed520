//! Parquet lists, of which every rank writes a part.

use crate::base::error::Failure;
use crate::base::exit::Exit;
use crate::comm::Rank;
use crate::comm::collective::{broadcast, gather};
use crate::lists::part::{PartOf, PartWriter};
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;

/// This rank's part of each of these lists whose directories rank 0 has made; `None` for what is no such list.
///
/// # Errors
/// The exit code, on all ranks, where one cannot be made; rank 0 has said why.
pub(super) fn open<'l>(
    session: &mut Session<'_, '_>,
    lists: impl Iterator<Item = Option<&'l [u8]>>,
    reporter: &mut Reporter,
) -> Result<Vec<Option<PartWriter>>, Exit> {
    let rank = session.mail.comm().rank();
    let id = (rank == Rank::ROOT).then(|| format!("{:016x}", fastrand::u64(..)));
    let id: String = broadcast(session.mail, id);
    let (part, parts) = (rank.0, session.mail.comm().size());
    let create = |list: Option<&[u8]>| {
        let of =
            |list: &[u8]| PartOf { list: list.to_vec(), id: id.clone(), part, parts, sorted: None };
        list.map(|list| PartWriter::create(&of(list))).transpose()
    };
    let created: Result<Vec<_>, Failure> = lists.map(create).collect();
    let troubles = gather(session.mail, &created.as_ref().err().cloned());
    let first = troubles.map(|troubles| troubles.into_iter().flatten().next());
    if let Some(Some(failure)) = &first {
        reporter.refuse(&failure.to_string());
    }
    let all_made = broadcast(session.mail, first.map(|first| first.is_none()));
    created.ok().filter(|_| all_made).ok_or(Exit::Unusable)
}
