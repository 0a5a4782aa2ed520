//! The directory that a list was made of, where the operator names only the list.

use serde::{Deserialize, Serialize};

use crate::surface::named_args::NamedArgs;
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;
use comm::Rank;
use comm::collective::{broadcast, gather};
use lists::source::ListSource;
use types::entry::Kind;
use types::error::Failure;
use types::exit::Exit;
use types::listed::record::{OwnedRecord, parent, trimmed};
use types::path;

/// Directory that some entries of a list have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Root {
    path: Vec<u8>,
    /// True where an entry of that path is not a directory.
    is_file: bool,
}

impl Root {
    /// The directory that the entry was found from; where the list does not tell, what all entries
    /// have in common, and of one entry the entry itself.
    fn of(entry: &OwnedRecord, is_foreign: bool) -> Self {
        let path = trimmed(&entry.path);
        let root = if is_foreign { path } else { entry.view().root() };
        let is_file = root == path && entry.metadata.kind != Kind::Directory;
        Self { path: root.to_vec(), is_file }
    }

    fn with(self, other: &Self) -> Self {
        let path = common(&self.path, &other.path);
        let is_file = |root: &Self| root.is_file && root.path == path;
        Self { is_file: is_file(&self) || is_file(other), path: path.to_vec() }
    }

    fn directory(&self) -> &[u8] {
        if self.is_file { parent(&self.path) } else { &self.path }
    }
}

/// The longest path that is above both, or is one of them.
fn common<'p>(one: &'p [u8], other: &[u8]) -> &'p [u8] {
    let equal = one.iter().zip(other).take_while(|(one, other)| one == other).count();
    let ends = |path: &[u8]| path.get(equal).is_none_or(|byte| *byte == b'/');
    if ends(one) && ends(other) {
        return trimmed(&one[..equal]);
    }
    match one[..equal].iter().rposition(|byte| *byte == b'/') {
        Some(slash) => trimmed(&one[..=slash]),
        None => b"",
    }
}

/// Finds the directory by reading the list once on all ranks.
///
/// # Errors
/// The exit code, on all ranks, where it cannot be read or names no one directory; rank 0 has said
/// why.
pub(super) fn find(
    session: &mut Session<'_, '_>,
    named: &NamedArgs,
    reporter: &mut Reporter,
) -> Result<Vec<u8>, Exit> {
    let (rank, ranks) = (session.mail.comm().rank(), session.mail.comm().size());
    let list = named.input().unwrap_or_default();
    let opened = (rank == Rank::ROOT).then(|| ListSource::open(&list));
    let opened: Result<ListSource, Failure> = broadcast(session.mail, opened);
    let is_foreign = opened.as_ref().is_ok_and(ListSource::is_foreign);
    let here = opened.and_then(|source| of_rank(&source, rank.0, ranks));
    let found = gather(session.mail, &here).map(|all| {
        let roots = all.into_iter().collect::<Result<Vec<Vec<Root>>, Failure>>();
        let roots = roots.map_err(|failure| reporter.refuse(failure)).ok()?;
        let found = one_of(roots.concat(), is_foreign, &list);
        found.map_err(|why| reporter.refuse(why)).ok()
    });
    broadcast(session.mail, found).ok_or(Exit::Unusable)
}

/// The directories of the entries that fall to this rank: the one they have in common, or up to two
/// that the list names.
fn of_rank(source: &ListSource, rank: u32, ranks: u32) -> Result<Vec<Root>, Failure> {
    let mut found: Vec<Root> = Vec::new();
    for piece in source.share(rank, ranks)?.pieces {
        for entry in source.records(piece)? {
            let root = Root::of(&entry?, source.is_foreign());
            match found.pop() {
                Some(before) if source.is_foreign() => found.push(before.with(&root)),
                Some(before) if before.path != root.path => return Ok(vec![before, root]),
                _ => found.push(root),
            }
        }
    }
    Ok(found)
}

/// Reason why a list is not of one directory.
#[derive(Debug, thiserror::Error)]
enum NoRoot {
    #[error("\"{}\" is of several directories: write a list of each", path::escaped(.0))]
    Several(Vec<u8>),
    #[error("\"{}\" has no entries", path::escaped(.0))]
    Empty(Vec<u8>),
    #[error(
        "the entries of \"{}\" are in no one directory: name it as PATH", path::escaped(.0)
    )]
    NoneInCommon(Vec<u8>),
}

fn one_of(roots: Vec<Root>, is_foreign: bool, list: &[u8]) -> Result<Vec<u8>, NoRoot> {
    let list = list.to_vec();
    let differs = |root: &Root| roots.iter().any(|other| other.path != root.path);
    if !is_foreign && roots.iter().any(differs) {
        return Err(NoRoot::Several(list));
    }
    match roots.into_iter().reduce(|all, root| all.with(&root)) {
        None => Err(NoRoot::Empty(list)),
        Some(root) if root.directory().is_empty() => Err(NoRoot::NoneInCommon(list)),
        Some(root) => Ok(root.directory().to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_paths_have_in_common_ends_at_a_slash() {
        for (one, other, wanted) in [
            ("/a/b/c", "/a/b/d", "/a/b"),
            ("/a/bc", "/a/bd", "/a"),
            ("/a/b", "/a/b/c", "/a/b"),
            ("/a/b/c", "/a/b", "/a/b"),
            ("/a", "/b", "/"),
            ("a/b", "c", ""),
            ("a", "a", "a"),
        ] {
            let found = common(one.as_bytes(), other.as_bytes());
            assert_eq!(found, wanted.as_bytes(), "{one} {other}");
        }
    }

    #[test]
    fn a_single_file_is_in_its_directory() {
        let root = Root { path: b"/a/file".to_vec(), is_file: true };
        assert_eq!(root.directory(), b"/a");
        let both = root.with(&Root { path: b"/a/dir".to_vec(), is_file: false });
        assert_eq!(both.directory(), b"/a");
    }
}
