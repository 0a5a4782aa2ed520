//! Chunks of a striped file, cut so that each chunk is in few objects, and consecutive chunks are
//! in the same ones.
//!
//! A writer into an object of Lustre has a lock on a range of it, which the server extends until it
//! meets another writer's. If chunks were cut one after the other, each would be in all objects,
//! and ranks would take the locks from each other all the time. So a file is seen as a table, with
//! a row for each round of stripes and a column for each object. A *lane* is a column, or a few
//! side by side where the table is short; a chunk is some rows of one lane. Chunks are numbered
//! lane by lane: halving a run separates lanes first, so ranks have objects of their own, and only
//! where more threads are at work than there are objects do two ranks have parts of one, one behind
//! the other.

use serde::{Deserialize, Serialize};

use crate::content::chunk::{ChunkRun, Extent};
use crate::lustre::layout::Striping;

/// Division of a striped file into chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StripeChunks {
    /// Size of a row: one stripe on each object, in bytes.
    row_bytes: u64,
    /// Size of one lane's share of a row in bytes; the last lane may be narrower.
    lane_bytes: u64,
    /// Number of rows in a chunk.
    chunk_rows: u64,
}

impl StripeChunks {
    /// Divides a file with that striping into chunks of whole stripes, each of about
    /// `requested_bytes`.
    pub fn new(striping: Striping, size_bytes: u64, requested_bytes: u64) -> Self {
        let Striping { stripe_bytes, stripe_count } = striping;
        let row_bytes = stripe_bytes * stripe_count;
        let rows = size_bytes.div_ceil(row_bytes).max(1);
        // Several columns make up a lane where one is smaller than a chunk; all lanes have about as
        // many.
        let most = (requested_bytes / (rows * stripe_bytes)).clamp(1, stripe_count);
        let columns = stripe_count.div_ceil(stripe_count.div_ceil(most));
        let lane_bytes = columns * stripe_bytes;
        Self { row_bytes, lane_bytes, chunk_rows: (requested_bytes / lane_bytes).max(1) }
    }

    fn rows(self, size_bytes: u64) -> u64 {
        size_bytes.div_ceil(self.row_bytes).max(1)
    }

    /// Returns the number of lanes that contain any bytes.
    fn lanes(self, size_bytes: u64) -> u64 {
        self.row_bytes.min(size_bytes.max(1)).div_ceil(self.lane_bytes)
    }

    fn chunks_per_lane(self, size_bytes: u64) -> u64 {
        self.rows(size_bytes).div_ceil(self.chunk_rows)
    }

    /// Returns all chunks of a file.
    pub fn whole(self, size_bytes: u64) -> ChunkRun {
        ChunkRun { first: 0, end: self.lanes(size_bytes) * self.chunks_per_lane(size_bytes) }
    }

    /// Returns the byte ranges of a chunk, in ascending order; none where the file's last row ends
    /// before it.
    pub fn extents(self, chunk: u64, size_bytes: u64) -> Vec<Extent> {
        let per_lane = self.chunks_per_lane(size_bytes);
        let in_row = chunk / per_lane * self.lane_bytes;
        let first = chunk % per_lane * self.chunk_rows;
        let end = (first + self.chunk_rows).min(self.rows(size_bytes));
        if self.lane_bytes >= self.row_bytes {
            let end = (end * self.row_bytes).min(size_bytes);
            return vec![Extent::between((first * self.row_bytes).min(end), end)];
        }
        let in_row_end = (in_row + self.lane_bytes).min(self.row_bytes);
        let extent = |row: u64| {
            let begin = row * self.row_bytes + in_row;
            let end = (row * self.row_bytes + in_row_end).min(size_bytes);
            (begin < end).then(|| Extent::between(begin, end))
        };
        (first..end).filter_map(extent).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn striping(stripe_bytes: u64, stripe_count: u64) -> Striping {
        Striping { stripe_bytes, stripe_count }
    }

    /// Returns the objects that the chunks of a run are in.
    fn objects(
        stripe_chunks: StripeChunks,
        striping: Striping,
        run: ChunkRun,
        size: u64,
    ) -> BTreeSet<u64> {
        let extents = (run.first..run.end).flat_map(|chunk| stripe_chunks.extents(chunk, size));
        let stripes = extents.flat_map(|extent| {
            extent.offset / striping.stripe_bytes..extent.end().div_ceil(striping.stripe_bytes)
        });
        stripes.map(|stripe| stripe % striping.stripe_count).collect()
    }

    #[test]
    fn chunks_cover_every_byte_once_in_whole_stripes() {
        for stripe_bytes in [10, 64, 1000] {
            for stripe_count in [1, 2, 3, 4, 7, 160] {
                for size in [1, 9, 10, 11, 639, 640, 641, 12_345, 100_000] {
                    for requested in [1, 10, 320, 1000, 1_000_000] {
                        check_cover(striping(stripe_bytes, stripe_count), size, requested);
                    }
                }
            }
        }
    }

    fn check_cover(striping: Striping, size: u64, requested: u64) {
        let stripe_chunks = StripeChunks::new(striping, size, requested);
        let run = stripe_chunks.whole(size);
        let mut all = Vec::new();
        for chunk in run.first..run.end {
            let extents = stripe_chunks.extents(chunk, size);
            let bytes: u64 = extents.iter().map(|extent| extent.length).sum();
            let most = requested.max(striping.stripe_bytes);
            assert!(bytes <= most, "{striping:?} {size} {requested}: {bytes} bytes");
            all.extend(extents);
        }
        all.sort_by_key(|extent| extent.offset);
        let mut next = 0;
        for extent in all {
            assert_eq!(extent.offset, next, "{striping:?} {size} {requested}");
            assert!(extent.offset.is_multiple_of(striping.stripe_bytes));
            next = extent.end();
        }
        assert_eq!(next, size, "{striping:?} {size} {requested}");
    }

    /// Halves runs as ranks do: with as many ranks as objects, no two ranks have chunks of the same
    /// object.
    #[test]
    fn halves_of_a_run_are_in_different_objects() {
        for (stripe_bytes, count, size, requested) in [
            (MIB, 4, 4096 * MIB, 32 * MIB),
            (4 * MIB, 16, 9999 * MIB, 32 * MIB),
            (MIB, 8, 64 * MIB, 4 * MIB),
        ] {
            let striping = striping(stripe_bytes, count);
            let stripe_chunks = StripeChunks::new(striping, size, requested);
            let mut runs = vec![stripe_chunks.whole(size)];
            while (runs.len() as u64) < count {
                runs = runs
                    .into_iter()
                    .flat_map(|mut run| {
                        run.split_off().into_iter().chain([run]).collect::<Vec<_>>()
                    })
                    .collect();
            }
            let mut seen = BTreeSet::new();
            for run in runs {
                let own = objects(stripe_chunks, striping, run, size);
                assert_eq!(own.len(), 1);
                assert!(own.iter().all(|object| seen.insert(*object)), "{own:?}");
            }
            assert_eq!(seen.len() as u64, count);
        }
    }

    /// Checks a file with many stripes and little content: chunks stay as large as requested, side
    /// by side.
    #[test]
    fn a_short_table_is_cut_into_few_chunks() {
        let stripe_chunks = StripeChunks::new(striping(MIB, 160), 100 * MIB, 32 * MIB);
        assert_eq!(stripe_chunks.whole(100 * MIB).count(), 4);
        assert_eq!(stripe_chunks.extents(3, 100 * MIB), [Extent::between(96 * MIB, 100 * MIB)]);
        let stripe_chunks = StripeChunks::new(striping(MIB, 4), 33 * MIB, 32 * MIB);
        assert_eq!(stripe_chunks.whole(33 * MIB).count(), 2);
        assert_eq!(stripe_chunks.extents(1, 33 * MIB)[0], Extent::between(2 * MIB, 4 * MIB));
    }

    #[test]
    fn one_object_is_cut_into_whole_stripes_in_a_row() {
        let stripe_chunks = StripeChunks::new(striping(3 * MIB, 1), 100 * MIB, 32 * MIB);
        assert_eq!(stripe_chunks.whole(100 * MIB).count(), 4);
        assert_eq!(stripe_chunks.extents(1, 100 * MIB), [Extent::between(30 * MIB, 60 * MIB)]);
    }
}
