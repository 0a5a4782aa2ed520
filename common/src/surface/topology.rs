//! The ranks of the job and the nodes they are on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use comm::collective::{broadcast, gather};
use comm::mailbox::Mailbox;

/// How the job is spread over nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// Number of ranks.
    pub ranks: u32,
    /// Ranks on each node, by host name.
    pub nodes: BTreeMap<String, u32>,
    /// Node of this rank.
    pub host: String,
}

impl Topology {
    /// Lets all ranks find out where they all are.
    pub fn meet(mail: &mut Mailbox<'_>) -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let nodes = gather(mail, &host).map(|hosts| {
            let mut nodes = BTreeMap::new();
            for host in hosts {
                *nodes.entry(host).or_insert(0) += 1;
            }
            nodes
        });
        Self { ranks: mail.comm().size(), nodes: broadcast(mail, nodes), host }
    }

    /// Processors this rank may count on; below 1 where ranks outnumber processors.
    ///
    /// A rank that its launcher has bound to some of the processors has those to itself.
    pub fn cpu_share(&self) -> f64 {
        let usable = std::thread::available_parallelism().map_or(1.0, |count| count.get() as f64);
        let bound = rustix::thread::sched_getaffinity(None).map_or(0, |set| set.count());
        if (bound as usize) < online_processors() {
            return usable;
        }
        let neighbours = self.nodes.get(&self.host).copied().unwrap_or(1);
        usable / f64::from(neighbours.max(1))
    }
}

/// Processors of this node; 0 where that is not known.
fn online_processors() -> usize {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    let count = |range: &str| -> Option<usize> {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(last.parse::<usize>().ok()? - first.parse::<usize>().ok()? + 1)
    };
    text.trim().split(',').filter_map(count).sum()
}
