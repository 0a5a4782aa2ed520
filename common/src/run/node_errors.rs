//! Errors of some ranks, joined along a tree of ranks into a few lines.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::surface::reporter::Reporter;
use crate::surface::session::Session;
use comm::Rank;
use comm::collective::{broadcast, reduce};
use types::error::Failure;
use types::limits::NODES_NAMED_MAX;

/// An error that keeps one rank, and with it the job, from starting.
pub(super) trait RankError {
    /// Returns one line for it, with the node where others may not see the same.
    fn words(&self, session: &Session<'_, '_>, reporter: &Reporter) -> String;
}

impl RankError for Failure {
    fn words(&self, session: &Session<'_, '_>, reporter: &Reporter) -> String {
        format!("{} {}", reporter.words(self), on_this_node(session))
    }
}

/// Returns this rank's result if all ranks succeeded. Errors are reported, once for each node.
pub(super) fn agree<T>(
    session: &mut Session<'_, '_>,
    here: Result<T, impl RankError>,
    reporter: &mut Reporter,
) -> Option<T> {
    let mut errors = NodeErrors::default();
    let here = here.map_err(|error| errors.add(session, error.words(session, reporter))).ok();
    let lines = errors.of_all(session);
    if session.mail.comm().rank() == Rank::ROOT {
        for line in &lines {
            reporter.refuse(line);
        }
    }
    here.filter(|_| lines.is_empty())
}

/// Returns the node, to be appended to a message in a job of several nodes.
pub(super) fn on_this_node(session: &Session<'_, '_>) -> String {
    let host = &session.topology.host;
    let is_first = session.mail.comm().rank() == Rank::ROOT;
    if session.topology.nodes.len() == 1 || is_first {
        return format!("(on {host})");
    }
    format!("(on {host}); mount it there too, or start the job without that node")
}

/// Error lines of some ranks. Those of one node are alike, and the first few nodes show what is
/// wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct NodeErrors {
    /// Rank 0's own, which most likely holds on all nodes.
    first: Option<String>,
    lines: BTreeSet<String>,
    has_more: bool,
}

impl NodeErrors {
    /// Adds a line of this rank.
    pub fn add(&mut self, session: &Session<'_, '_>, line: String) {
        if session.mail.comm().rank() == Rank::ROOT {
            self.first.get_or_insert(line);
        } else {
            self.take(line);
        }
    }

    /// Adds a line of this rank, which says nothing of others.
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

    /// Adds the lines of another rank.
    pub fn join(&mut self, other: Self) {
        self.has_more |= other.has_more;
        self.first = self.first.take().or(other.first);
        other.lines.into_iter().for_each(|line| self.take(line));
    }

    /// Returns the lines to print once.
    pub fn into_lines(self) -> Vec<String> {
        if let Some(first) = self.first {
            return vec![first];
        }
        let more = self.has_more.then(|| "… and so on, on other nodes".to_owned());
        self.lines.into_iter().chain(more).collect()
    }

    /// Returns the lines of all ranks, on rank 0; on the others as many, which nobody reads.
    pub fn of_all(self, session: &mut Session<'_, '_>) -> Vec<String> {
        let lines = reduce(session.mail, self, Self::join).map(Self::into_lines);
        broadcast(session.mail, lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> NodeErrors {
        NodeErrors { lines: BTreeSet::from([line.to_owned()]), ..NodeErrors::default() }
    }

    #[test]
    fn nodes_are_named_once_and_not_all_of_thousands() {
        let mut all = NodeErrors::default();
        (0..10_000).for_each(|rank| all.join(of(&format!("no mount (on node{})", rank / 100))));
        let lines = all.clone().into_lines();
        assert_eq!(lines.len(), NODES_NAMED_MAX + 1);
        assert!(lines[0].ends_with("(on node0)") && lines[NODES_NAMED_MAX].contains("and so on"));
        all.join(NodeErrors { first: Some("nothing there".to_owned()), ..NodeErrors::default() });
        assert_eq!(all.into_lines(), ["nothing there"]);
        assert!(NodeErrors::default().into_lines().is_empty());
    }
}
