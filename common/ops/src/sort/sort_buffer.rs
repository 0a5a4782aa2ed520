//! A buffer of entries with their sort keys, packed in blocks, and their order.

use super::processors;
use types::limits::SORT_BLOCK_BYTES;

/// The size in bytes of the lengths of key and value, which precede each entry.
const HEADER_BYTES: usize = 8;

/// The sort buffer of one rank or thread.
#[derive(Debug, Default)]
pub struct SortBuffer {
    blocks: Vec<Vec<u8>>,
    order: Vec<Slot>,
}

/// The position of an entry, and the first bytes of its key behind those that all keys share, which
/// suffice for most comparisons without touching the blocks. They are known while entries are
/// sorted.
#[derive(Debug, Clone, Copy)]
struct Slot {
    first: [u64; 2],
    block: u32,
    at: u32,
}

impl Slot {
    fn new(block: u32, at: usize) -> Self {
        Self { first: [0; 2], block, at: at as u32 }
    }
}

impl SortBuffer {
    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Returns whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Returns whether more than one block is filled, so that the thread should hand the buffer
    /// over.
    pub fn is_block(&self) -> bool {
        self.blocks.len() > 1
    }

    /// Adds an entry.
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        let needed = HEADER_BYTES + key.len() + value.len();
        if self.blocks.last().is_none_or(|block| block.len() + needed > SORT_BLOCK_BYTES) {
            self.blocks.push(Vec::new());
        }
        let number = self.blocks.len() as u32 - 1;
        let Some(block) = self.blocks.last_mut() else { return };
        self.order.push(Slot::new(number, block.len()));
        block.extend((key.len() as u32).to_le_bytes());
        block.extend((value.len() as u32).to_le_bytes());
        block.extend_from_slice(key);
        block.extend_from_slice(value);
    }

    /// Takes over all entries of another buffer.
    pub fn append(&mut self, mut other: Self) {
        let before = self.blocks.len() as u32;
        other.blocks.iter_mut().for_each(Vec::shrink_to_fit);
        self.blocks.append(&mut other.blocks);
        let moved = |slot: Slot| Slot { block: slot.block + before, ..slot };
        self.order.extend(other.order.into_iter().map(moved));
    }

    /// Adds a block that another rank has packed; `None` if it is malformed.
    pub fn append_block(&mut self, block: Vec<u8>) -> Option<()> {
        let number = self.blocks.len() as u32;
        let mut at = 0;
        while at < block.len() {
            let (_, _, next) = entry(&block, at)?;
            self.order.push(Slot::new(number, at));
            at = next;
        }
        self.blocks.push(block);
        Some(())
    }

    /// Removes the first block of a buffer that is packed for another rank. The order of the
    /// entries is discarded.
    pub fn take_first_block(&mut self) -> Vec<u8> {
        self.order.clear();
        if self.blocks.is_empty() { Vec::new() } else { self.blocks.remove(0) }
    }

    /// Sorts the entries by their keys.
    pub fn sort(&mut self) {
        let shared = self.shared_bytes();
        let blocks = &self.blocks;
        for slot in &mut self.order {
            slot.first = first_bytes(&key(blocks, *slot)[shared..]);
        }
        processors::sort_by(&mut self.order, |a, b| {
            a.first.cmp(&b.first).then_with(|| key(blocks, *a).cmp(key(blocks, *b)))
        });
    }

    /// Returns the number of bytes with which all keys begin alike, such as those of a common
    /// directory.
    fn shared_bytes(&self) -> usize {
        let mut keys = self.order.iter().map(|slot| key(&self.blocks, *slot));
        let first = keys.next().unwrap_or_default();
        keys.fold(first.len(), |shared, key| {
            first[..shared].iter().zip(key).take_while(|(one, other)| one == other).count()
        })
    }

    /// Returns the key of an entry, by its index in the order.
    pub fn key(&self, at: usize) -> &[u8] {
        key(&self.blocks, self.order[at])
    }

    /// Iterates over keys and values, in order.
    pub fn entries(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.range(0..self.order.len())
    }

    /// Iterates over keys and values of a range in the order.
    pub fn range(&self, range: std::ops::Range<usize>) -> impl Iterator<Item = (&[u8], &[u8])> {
        let order = self.order.get(range).unwrap_or_default();
        order.iter().map(|slot| packed(&self.blocks, *slot))
    }

    /// Returns the index in the order of the first entry whose key is not below `least`.
    pub fn lower_bound(&self, least: &[u8]) -> usize {
        self.order.partition_point(|slot| key(&self.blocks, *slot) < least)
    }
}

fn packed(blocks: &[Vec<u8>], slot: Slot) -> (&[u8], &[u8]) {
    let found = entry(&blocks[slot.block as usize], slot.at as usize);
    let (key, value, _) = found.expect("the slot was filled when the entry was packed");
    (key, value)
}

fn key(blocks: &[Vec<u8>], slot: Slot) -> &[u8] {
    packed(blocks, slot).0
}

/// Returns the key, the value, and the offset of the next entry; `None` where the block is
/// malformed.
fn entry(block: &[u8], at: usize) -> Option<(&[u8], &[u8], usize)> {
    let (lengths, rest) = block.get(at..)?.split_first_chunk::<HEADER_BYTES>()?;
    let (key, value) = lengths.split_at(HEADER_BYTES / 2);
    let (key, value) = (length(key)?, length(value)?);
    let (key, rest) = rest.split_at_checked(key)?;
    let value = rest.get(..value)?;
    Some((key, value, at + HEADER_BYTES + key.len() + value.len()))
}

fn length(bytes: &[u8]) -> Option<usize> {
    Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
}

/// Returns the first bytes of a key as numbers that compare as they do, with zeros behind its end.
fn first_bytes(key: &[u8]) -> [u64; 2] {
    let number = |at: usize| {
        let bytes = key.get(at..).unwrap_or_default();
        let mut number = [0; 8];
        let length = bytes.len().min(8);
        number[..length].copy_from_slice(&bytes[..length]);
        u64::from_be_bytes(number)
    };
    [number(0), number(8)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_begin_alike_end_or_differ_anywhere_are_in_order() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let begin = "/a/b".repeat(random.usize(0..9));
            let mut keys: Vec<Vec<u8>> = (0..random.usize(0..60))
                .map(|_| {
                    let length = random.usize(0..24);
                    let rest = (0..length).map(|_| random.choice(*b"\0ab\xff").unwrap());
                    begin.bytes().chain(rest).collect()
                })
                .collect();
            let mut sort_buffer = SortBuffer::default();
            for key in &keys {
                sort_buffer.push(key, b"value");
            }
            sort_buffer.sort();
            keys.sort();
            assert!(sort_buffer.entries().map(|(key, _)| key).eq(&keys), "seed {seed}");
            assert_eq!(sort_buffer.lower_bound(&[]), 0);
        }
    }
}
