//! Problems of some ranks, joined along a tree of ranks into a few lines.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::surface::session::Session;
use comm::Rank;
use comm::collective::{broadcast, reduce};
use types::limits::NODES_NAMED_MAX;

/// Lines of some ranks; those of one node are alike, and the first few nodes show what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Troubles {
    /// Rank 0's own: then it is wrong everywhere, most likely.
    first: Option<String>,
    lines: BTreeSet<String>,
    has_more: bool,
}

impl Troubles {
    /// One more line of this rank.
    pub fn add(&mut self, session: &Session<'_, '_>, line: String) {
        if session.mail.comm().rank() == Rank::ROOT {
            self.first.get_or_insert(line);
        } else {
            self.take(line);
        }
    }

    /// One more line of this rank, which says nothing of others.
    pub fn add_one_of_many(&mut self, line: String) {
        self.take(line);
    }

    fn take(&mut self, line: String) {
        if self.lines.len() < NODES_NAMED_MAX || self.lines.contains(&line) {
            self.lines.insert(line);
        } else {
            self.has_more = true;
        }
    }

    /// Takes over another rank's.
    pub fn join(&mut self, other: Self) {
        self.has_more |= other.has_more;
        self.first = self.first.take().or(other.first);
        other.lines.into_iter().for_each(|line| self.take(line));
    }

    /// Lines to print once.
    pub fn into_lines(self) -> Vec<String> {
        if let Some(first) = self.first {
            return vec![first];
        }
        let more = self.has_more.then(|| "… and so on, on other nodes".to_owned());
        self.lines.into_iter().chain(more).collect()
    }

    /// The lines of all ranks, on rank 0; on the others as many, which nobody reads.
    pub fn of_all(self, session: &mut Session<'_, '_>) -> Vec<String> {
        let lines = reduce(session.mail, self, Self::join).map(Self::into_lines);
        broadcast(session.mail, lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Troubles {
        Troubles { lines: BTreeSet::from([line.to_owned()]), ..Troubles::default() }
    }

    #[test]
    fn nodes_are_named_once_and_not_all_of_thousands() {
        let mut all = Troubles::default();
        (0..10_000).for_each(|rank| all.join(of(&format!("no mount (on node{})", rank / 100))));
        let lines = all.clone().into_lines();
        assert_eq!(lines.len(), NODES_NAMED_MAX + 1);
        assert!(lines[0].ends_with("(on node0)") && lines[NODES_NAMED_MAX].contains("and so on"));
        all.join(Troubles { first: Some("nothing there".to_owned()), ..Troubles::default() });
        assert_eq!(all.into_lines(), ["nothing there"]);
        assert!(Troubles::default().into_lines().is_empty());
    }
}
