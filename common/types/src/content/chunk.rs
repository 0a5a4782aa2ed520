//! Chunks of a large file: which bytes one task copies, and how a run of chunks is divided.

use serde::{Deserialize, Serialize};

/// A run of whole chunks of one file, by index: `first..end`.
///
/// One task holds a run, not a chunk: it is halved as it is handed on, so a file of any size costs
/// a few tasks, and thieves take the largest halves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "chunk indices, as above")]
pub struct ChunkRun {
    pub first: u64,
    pub end: u64,
}

impl ChunkRun {
    /// Returns all chunks of a file; one, empty, for an empty file.
    pub fn whole(size_bytes: u64, chunk_bytes: u64) -> Self {
        Self { first: 0, end: size_bytes.div_ceil(chunk_bytes).max(1) }
    }

    /// Returns the number of chunks in the run.
    pub fn count(self) -> u64 {
        self.end - self.first
    }

    /// Halves the run: keeps the lower half and returns the upper one; `None` when only one chunk
    /// is left.
    pub fn split_off(&mut self) -> Option<Self> {
        if self.count() < 2 {
            return None;
        }
        let middle = self.first + self.count().div_ceil(2);
        let upper = Self { first: middle, end: self.end };
        self.end = middle;
        Some(upper)
    }

    /// Returns the byte range of the run in a file of that size.
    pub fn extent(self, size_bytes: u64, chunk_bytes: u64) -> Extent {
        let offset = (self.first * chunk_bytes).min(size_bytes);
        let end = (self.end * chunk_bytes).min(size_bytes);
        Extent { offset, length: end - offset }
    }
}

/// A range of bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "both in bytes")]
pub struct Extent {
    pub offset: u64,
    pub length: u64,
}

impl Extent {
    /// Returns the range from one offset to another, both in bytes.
    pub fn between(offset: u64, end: u64) -> Self {
        Self { offset, length: end - offset }
    }

    /// Returns the offset of the first byte behind the range.
    pub fn end(self) -> u64 {
        self.offset + self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halving_a_run_covers_every_byte_once() {
        for size in [0, 1, 99, 100, 101, 1000, 12_345] {
            let mut runs = vec![ChunkRun::whole(size, 100)];
            let mut extents = Vec::new();
            while let Some(mut run) = runs.pop() {
                while let Some(upper) = run.split_off() {
                    runs.push(upper);
                }
                extents.push(run.extent(size, 100));
            }
            extents.sort_by_key(|extent| extent.offset);
            let mut next = 0;
            for extent in &extents {
                assert_eq!(extent.offset, next);
                assert!(extent.length <= 100);
                next += extent.length;
            }
            assert_eq!(next, size);
        }
    }

    #[test]
    fn ten_terabytes_are_one_task_to_begin_with() {
        let whole = ChunkRun::whole(10 << 40, 32 << 20);
        assert_eq!(whole.count(), 327_680);
        assert_eq!(whole.extent(10 << 40, 32 << 20), Extent { offset: 0, length: 10 << 40 });
    }
}
