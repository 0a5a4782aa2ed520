//! The search for names that stand more than once, over all ranks: two ranks must not be at one file.

use serde::{Deserialize, Serialize};

use crate::surface::session::Session;
use comm::collective::{broadcast, gather};
use lists::repeated::Position;
use ops::sort::exchange;
use ops::sort::sort_buffer::SortBuffer;

/// A name, where it stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Named {
    pub position: Position,
    /// The path, where the key by which names are one is not the path itself.
    pub path: Vec<u8>,
}

/// Finds all names but the first of each key among those of all ranks, and tells every rank. All names are sorted for
/// that; `names` are those of this rank, with their keys.
pub(super) fn find(
    session: &mut Session<'_, '_>,
    names: impl Iterator<Item = (Vec<u8>, Named)>,
) -> Vec<Named> {
    let mut own = SortBuffer::default();
    for (key, name) in names {
        let value = postcard::to_stdvec(&name).expect("plain values always serialise");
        own.push(&key, &value);
    }
    let in_order = exchange::sort(own, session.mail);
    let (mut repeated, mut before) = (Vec::new(), None);
    for (key, value) in in_order.entries() {
        if before == Some(key) {
            repeated.push(postcard::from_bytes(value).expect("this build has written it"));
        }
        before = Some(key);
    }
    let all = gather(session.mail, &repeated).map(|all: Vec<Vec<Named>>| all.concat());
    broadcast(session.mail, all)
}
