//! Containers of DAOS on all nodes: one rank of each finds or mounts them for all ranks that are
//! there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::surface::reporter::Reporter;
use crate::surface::session::Session;
use comm::Rank;
use comm::collective::{broadcast, gather};
use ops::resolver::{Mounted, StoreResolver};
use types::operand::container::Container;

/// Mount points of a node's containers.
#[derive(Clone, Serialize, Deserialize)]
enum Points {
    /// A path for each container.
    All(Vec<Vec<u8>>),
    /// One of them is not mounted.
    Failed {
        /// The reason.
        why: String,
    },
}

/// Returns the store resolver with these containers mounted; `None` on all ranks where some node
/// cannot mount one. Containers that are mounted for this job are unmounted with the resolver, also
/// in case of an error.
pub(super) fn mount(
    session: &mut Session<'_, '_>,
    resolver: StoreResolver,
    containers: Vec<Container>,
    reporter: &mut Reporter,
) -> Option<StoreResolver> {
    let (mounted, points) = if is_first_of_node(session) {
        match containers.iter().map(Mounted::find).collect::<Result<Vec<_>, _>>() {
            Ok(mounted) => {
                let points = mounted.iter().map(Mounted::point).collect();
                (mounted, Some(Points::All(points)))
            }
            Err(why) => (Vec::new(), Some(Points::Failed { why: why.to_string() })),
        }
    } else {
        (Vec::new(), None)
    };
    let nodes = everywhere(session, points);
    let here = nodes.get(&session.topology.host).cloned();
    if session.mail.comm().rank() == Rank::ROOT {
        for (host, points) in &nodes {
            if let Points::Failed { why } = points {
                reporter.refuse(format!("{why} (on {host})"));
            }
        }
    }
    let all_there = nodes.values().all(|points| matches!(points, Points::All(_)));
    let Some(Points::All(points)) = here.filter(|_| all_there) else { return None };
    Some(resolver.with_containers(containers.into_iter().zip(points).collect(), mounted))
}

/// True if no rank with a smaller number is on this node.
fn is_first_of_node(session: &mut Session<'_, '_>) -> bool {
    let hosts = gather(session.mail, &session.topology.host);
    let firsts = hosts.map(|hosts| {
        let mut firsts = BTreeMap::new();
        for (host, rank) in hosts.into_iter().zip(0_u32..) {
            firsts.entry(host).or_insert(rank);
        }
        firsts
    });
    let firsts = broadcast(session.mail, firsts);
    firsts.get(&session.topology.host) == Some(&session.mail.comm().rank().0)
}

/// Results of the first rank of each node, by node.
fn everywhere(session: &mut Session<'_, '_>, points: Option<Points>) -> BTreeMap<String, Points> {
    let found = points.map(|points| (session.topology.host.clone(), points));
    let all = gather(session.mail, &found);
    broadcast(session.mail, all.map(|all| all.into_iter().flatten().collect()))
}
