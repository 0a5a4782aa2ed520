//! A packed collection of one value for each of many directories. Each path is stored without the
//! prefix that it shares with the one before, since paths come in nearly sorted order.

use std::borrow::Cow;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use types::limits::{FINISH_BATCH_DIRS, STEAL_BYTES_MAX};

/// The index of a root or tree, and a path below it.
pub type RootedPath = (u32, Vec<u8>);

/// Directories with a value of each, in blocks that can be sent to other ranks.
#[derive(Debug)]
pub struct Packed<T> {
    blocks: Vec<Block<T>>,
    /// The path of the last record in the last block.
    last_path: Vec<u8>,
}

/// A sequence of records, in serialised form.
#[derive(Debug, Serialize, Deserialize)]
pub struct Block<T> {
    count: u32,
    bytes: Vec<u8>,
    #[serde(skip)]
    of: PhantomData<fn() -> T>,
}

/// The head of a record in a block: the root, the number of bytes shared with the previous path,
/// and the rest of the path.
type Head<'p> = (u32, u32, Cow<'p, [u8]>);

impl<T> Default for Packed<T> {
    fn default() -> Self {
        Self { blocks: Vec::new(), last_path: Vec::new() }
    }
}

impl<T: Serialize + DeserializeOwned> Packed<T> {
    /// Adds a record.
    pub fn add(&mut self, root: u32, path: &[u8], value: &T) {
        if self.blocks.last().is_none_or(Block::is_full) {
            if let Some(full) = self.blocks.last_mut() {
                full.bytes.shrink_to_fit();
            }
            self.blocks.push(Block { count: 0, bytes: Vec::new(), of: PhantomData });
            self.last_path.clear();
        }
        let shared = self.last_path.iter().zip(path).take_while(|(a, b)| a == b).count();
        let head: Head<'_> = (root, shared as u32, path[shared..].into());
        let block = self.blocks.last_mut().expect("a block was just made sure of");
        let packed = postcard::to_stdvec(&(head, value));
        block.bytes.extend(packed.expect("plain values always serialise"));
        block.count += 1;
        self.last_path.truncate(shared);
        self.last_path.extend_from_slice(&path[shared..]);
    }

    /// Adds all records of another collection.
    pub fn append(&mut self, other: Self) {
        // The last block continues from its last path, so it must remain the last; blocks of others
        // are complete.
        self.blocks.splice(0..0, other.blocks);
    }

    /// Iterates over all records.
    pub fn iter(&self) -> impl Iterator<Item = (RootedPath, T)> + '_ {
        self.blocks.iter().flat_map(Block::iter)
    }

    /// Returns the blocks, each of which can be processed by itself.
    pub fn into_blocks(self) -> Vec<Block<T>> {
        self.blocks
    }

    /// Returns whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }
}

impl<T: DeserializeOwned> Block<T> {
    /// Iterates over the records, and stops where the bytes are malformed.
    pub fn iter(&self) -> impl Iterator<Item = (RootedPath, T)> + '_ {
        let (mut rest, mut path) = (&self.bytes[..], Vec::new());
        std::iter::from_fn(move || {
            let (head, behind) = postcard::take_from_bytes::<Head<'_>>(rest).ok()?;
            let (root, shared, tail) = head;
            path.truncate(shared as usize);
            path.extend_from_slice(&tail);
            let (value, behind) = postcard::take_from_bytes(behind).ok()?;
            rest = behind;
            Some(((root, path.clone()), value))
        })
    }
}

impl<T> Block<T> {
    fn is_full(&self) -> bool {
        self.count as usize >= FINISH_BATCH_DIRS || self.bytes.len() >= STEAL_BYTES_MAX
    }
}

#[cfg(test)]
impl<T> Packed<T> {
    /// Returns the memory in use, in bytes.
    pub(crate) fn capacity_bytes(&self) -> usize {
        self.blocks.iter().map(|block| block.bytes.capacity() + size_of::<Block<T>>()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_records_come_back_in_order() {
        let paths: Vec<String> = (0..300).map(|n| format!("a/{}/b{}", n / 7, n)).collect();
        let mut packed = Packed::default();
        paths.iter().zip(0_u64..).for_each(|(path, n)| packed.add(3, path.as_bytes(), &n));
        let back: Vec<_> = packed.iter().collect();
        assert_eq!(back.len(), paths.len());
        for ((record, path), number) in back.iter().zip(&paths).zip(0..) {
            assert_eq!(*record, ((3, path.as_bytes().to_vec()), number));
        }
    }
}
