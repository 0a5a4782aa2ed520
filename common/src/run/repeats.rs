//! The search for names that stand more than once, over all ranks: two ranks must not be at one
//! file.

use std::hash::{DefaultHasher, Hasher};

use serde::{Deserialize, Serialize};

use crate::surface::session::Session;
use comm::collective::{broadcast, gather};
use lists::repeated::Position;
use ops::sort::exchange;
use ops::sort::sort_buffer::SortBuffer;
use ops::sort::twice;
use types::limits::REPEATS_HASHES_MAX;

/// A name, where it stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Named {
    pub position: Position,
    /// The path, where the key by which names are one is not the path itself.
    pub path: Vec<u8>,
}

/// Finds all names but the first of each key among those of all ranks, and tells every rank.
/// `names` returns those of this rank, with their keys, and is read several times, so that memory
/// grows with names that stand more than once, and not with the list.
pub(super) fn find<I: Iterator<Item = (Vec<u8>, Named)>>(
    session: &mut Session<'_, '_>,
    names: impl Fn() -> I,
) -> Vec<Named> {
    let hashes = || names().map(|(key, _)| hash(&key));
    let twice = twice::find(hashes, REPEATS_HASHES_MAX, session.mail);
    if twice.is_empty() {
        return Vec::new();
    }
    // Others have the same hash by chance.
    find_among(session, names().filter(|(key, _)| twice.binary_search(&hash(key)).is_ok()))
}

fn hash(key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(key);
    hasher.finish()
}

/// Finds them in memory, where all names are sorted.
fn find_among(
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
