//! The N largest items, in a heap of N items.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use serde::{Deserialize, Serialize};

/// The largest items with their paths. Among equal ones, those with the smallest paths count.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Top {
    wanted: u32,
    /// The items, with the smallest one on top, which a larger one replaces.
    heap: BinaryHeap<Reverse<(u64, Reverse<Vec<u8>>)>>,
}

impl PartialEq for Top {
    fn eq(&self, other: &Self) -> bool {
        self.wanted == other.wanted && self.sorted() == other.sorted()
    }
}

impl Eq for Top {}

impl Top {
    /// Creates a collection of that many items.
    pub fn new(wanted: u32) -> Self {
        Self { wanted, heap: BinaryHeap::new() }
    }

    /// Adds an item if it is among the largest so far.
    pub fn offer(&mut self, bytes: u64, path: &[u8]) {
        if self.heap.len() < self.wanted as usize {
            self.heap.push(Reverse((bytes, Reverse(path.to_vec()))));
        } else if let Some(mut smallest) = self.heap.peek_mut() {
            let Reverse((least, Reverse(behind))) = &*smallest;
            if bytes > *least || (bytes == *least && path < &behind[..]) {
                *smallest = Reverse((bytes, Reverse(path.to_vec())));
            }
        }
    }

    /// Adds the items of another thread or rank.
    pub fn merge(&mut self, other: Self) {
        for Reverse((bytes, Reverse(path))) in other.heap {
            self.offer(bytes, &path);
        }
    }

    /// Returns the items in decreasing order.
    pub fn sorted(&self) -> Vec<(u64, &[u8])> {
        let mut all: Vec<_> =
            self.heap.iter().map(|Reverse((bytes, Reverse(path)))| (*bytes, &path[..])).collect();
        all.sort_unstable_by_key(|(bytes, path)| (Reverse(*bytes), *path));
        all
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use types::entry::{Kind, Metadata, Time};

    pub fn file(size_bytes: u64, mtime: i64) -> Metadata {
        let time = Time { seconds: mtime, nanoseconds: 0 };
        Metadata {
            mode: 0o644,
            size_bytes,
            allocated_bytes: size_bytes,
            device: 1,
            inode: 1,
            known: types::outcome::difference::Fields::ALL,
            ..Metadata::of_kind(Kind::File).with_times(time)
        }
    }

    #[test]
    fn the_largest_stay_however_they_are_divided() {
        let sizes: Vec<u64> = (0..1000).map(|number| number * 7919 % 331).collect();
        let offer = |top: &mut Top, from: usize| {
            for (at, size) in sizes.iter().enumerate().skip(from).step_by(3) {
                top.offer(*size, format!("{at:04}").as_bytes());
            }
        };
        let mut parts = [Top::new(10), Top::new(10), Top::new(10)];
        parts.iter_mut().zip(0..).for_each(|(top, from)| offer(top, from));
        let mut merged = Top::new(10);
        for part in parts {
            merged.merge(part);
        }
        let mut all: Vec<(u64, String)> =
            sizes.iter().enumerate().map(|(at, size)| (*size, format!("{at:04}"))).collect();
        all.sort_by_key(|(size, path)| (Reverse(*size), path.clone()));
        let wanted: Vec<(u64, &[u8])> =
            all[..10].iter().map(|(size, path)| (*size, path.as_bytes())).collect();
        assert_eq!(merged.sorted(), wanted);
        let mut none = Top::new(0);
        none.offer(1, b"a");
        assert!(none.sorted().is_empty());
    }
}
