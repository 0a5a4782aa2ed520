//! Gather, broadcast and reduce along a tree, made of plain messages.
//!
//! MPI's own collectives spin while they wait, which costs seconds when ranks outnumber cores;
//! these sleep, and they run over every [`super::Comm`].

use std::collections::BTreeMap;

use serde::{Serialize, de::DeserializeOwned};

use super::Rank;
use super::mailbox::{Channel, Mailbox};
use types::exit::Exit;
use types::limits::{REDUCE_PIECE_BYTES, TREE_ARITY};

/// Returns the parent of a rank in the tree, for all but rank 0.
pub fn parent(rank: Rank) -> Option<Rank> {
    (rank.0 > 0).then(|| Rank((rank.0 - 1) / TREE_ARITY))
}

/// Returns the children of a rank in the tree.
pub fn children(rank: Rank, size: u32) -> impl Iterator<Item = Rank> {
    let first = u64::from(rank.0) * u64::from(TREE_ARITY) + 1;
    (first..first + u64::from(TREE_ARITY))
        .take_while(move |child| *child < u64::from(size))
        .map(|child| Rank(child as u32))
}

/// Sends the value of rank 0 to every rank (`Some` there, `None` elsewhere).
pub fn broadcast<T: Serialize + DeserializeOwned>(mail: &mut Mailbox<'_>, value: Option<T>) -> T {
    let channel = mail.open();
    let bytes = match &value {
        Some(value) => encode(value),
        None => mail.recv(channel).1,
    };
    for child in children(mail.comm().rank(), mail.comm().size()) {
        mail.send(channel, child, &bytes);
    }
    value.unwrap_or_else(|| decode(mail, &bytes))
}

/// Returns every rank's value on rank 0, in rank order; `None` elsewhere.
pub fn gather<T: Serialize + DeserializeOwned>(
    mail: &mut Mailbox<'_>,
    value: &T,
) -> Option<Vec<T>> {
    let channel = mail.open();
    let (rank, size) = (mail.comm().rank(), mail.comm().size());
    let mut gathered = vec![(rank.0, encode(value))];
    for _ in children(rank, size) {
        gathered.extend(receive_part(mail, channel));
    }
    if let Some(parent) = parent(rank) {
        mail.send(channel, parent, &encode(&gathered));
        return None;
    }
    gathered.sort_unstable_by_key(|(rank, _)| *rank);
    Some(gathered.iter().map(|(_, bytes)| decode(mail, bytes)).collect())
}

/// Merges every rank's value into one, on rank 0; returns `None` elsewhere. The value may be larger
/// than a message: it is sent in pieces, and each rank first merges those of its children.
pub fn reduce<T: Serialize + DeserializeOwned>(
    mail: &mut Mailbox<'_>,
    mut value: T,
    mut join: impl FnMut(&mut T, T),
) -> Option<T> {
    let channel = mail.open();
    let (rank, size) = (mail.comm().rank(), mail.comm().size());
    let mut waiting = children(rank, size).count();
    let mut pieces: BTreeMap<Rank, BTreeMap<u32, Vec<u8>>> = BTreeMap::new();
    while waiting > 0 {
        let (from, bytes) = mail.recv(channel);
        let (number, count, piece): (u32, u32, Vec<u8>) = decode(mail, &bytes);
        let of_rank = pieces.entry(from).or_default();
        of_rank.insert(number, piece);
        if of_rank.len() == count as usize {
            let whole = pieces.remove(&from).unwrap_or_default().into_values().flatten();
            let whole: Vec<u8> = whole.collect();
            join(&mut value, decode(mail, &whole));
            waiting -= 1;
        }
    }
    let Some(parent) = parent(rank) else { return Some(value) };
    let bytes = encode(&value);
    let count = bytes.len().div_ceil(REDUCE_PIECE_BYTES).max(1) as u32;
    for number in 0..count {
        let begin = number as usize * REDUCE_PIECE_BYTES;
        let piece = &bytes[begin..bytes.len().min(begin + REDUCE_PIECE_BYTES)];
        mail.send(channel, parent, &encode(&(number, count, piece)));
    }
    None
}

fn receive_part(mail: &mut Mailbox<'_>, channel: Channel) -> Vec<(u32, Vec<u8>)> {
    let (_, bytes) = mail.recv(channel);
    decode(mail, &bytes)
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("plain values in memory always serialise")
}

fn decode<T: DeserializeOwned>(mail: &Mailbox<'_>, bytes: &[u8]) -> T {
    postcard::from_bytes(bytes).unwrap_or_else(|error| {
        tracing::error!(%error, "message from a different build; use one build on all nodes");
        mail.comm().abort(Exit::Bug)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threads;

    #[test]
    fn every_rank_but_the_root_has_one_parent() {
        for size in [1, 2, 9, 10, 4096] {
            let mut seen = vec![0; size as usize];
            for rank in (0..size).map(Rank) {
                for child in children(rank, size) {
                    assert_eq!(parent(child), Some(rank));
                    seen[child.index()] += 1;
                }
            }
            assert_eq!(seen[0], 0);
            assert!(seen[1..].iter().all(|times| *times == 1));
        }
    }

    #[test]
    fn values_larger_than_a_message_are_joined() {
        let joined = threads::run(11, |comm| {
            let mail = &mut Mailbox::new(comm);
            let own = vec![mail.comm().rank().0 as u8; 3 << 20];
            reduce(mail, own, Extend::extend)
        });
        let mut all = joined[0].clone().unwrap();
        all.sort_unstable();
        assert_eq!(all.len(), 11 * (3 << 20));
        assert!((0..11).all(|rank| all[(rank * (3 << 20)) + 1] == rank as u8));
        assert!(joined[1..].iter().all(Option::is_none));
    }

    #[test]
    fn values_reach_all_ranks_and_come_back_in_order() {
        for size in [1, 2, 7, 20] {
            let gathered = threads::run(size, |comm| {
                let mail = &mut Mailbox::new(comm);
                let rank = mail.comm().rank();
                let seed = broadcast(mail, (rank == Rank::ROOT).then_some(41_u64));
                gather(mail, &(seed + u64::from(rank.0)))
            });
            let expected: Vec<u64> = (0..u64::from(size)).map(|rank| 41 + rank).collect();
            assert_eq!(gathered[0], Some(expected));
            assert!(gathered[1..].iter().all(Option::is_none));
        }
    }
}
