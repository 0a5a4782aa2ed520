//! Division of a file into chunks, even ones or those of its stripes.

use serde::{Deserialize, Serialize};

use crate::content::chunk::{ChunkRun, Extent};
use crate::content::stripe_chunks::StripeChunks;

/// Division of a file into chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cut {
    /// Consecutive chunks of the same size, each in one piece; the last may be smaller.
    Even {
        /// Size of a chunk in bytes.
        chunk_bytes: u64,
    },
    /// Chunks along the stripes of a Lustre file, each in several pieces.
    Striped(StripeChunks),
}

impl Cut {
    /// Returns all chunks of a file of that size.
    pub fn whole(self, size_bytes: u64) -> ChunkRun {
        match self {
            Self::Even { chunk_bytes } => ChunkRun::whole(size_bytes, chunk_bytes),
            Self::Striped(stripes) => stripes.whole(size_bytes),
        }
    }

    /// Returns the byte ranges of the chunks of a run, in the order of the chunks.
    pub fn extents(self, run: ChunkRun, size_bytes: u64) -> Vec<Extent> {
        match self {
            Self::Even { chunk_bytes } => vec![run.extent(size_bytes, chunk_bytes)],
            Self::Striped(stripes) => {
                (run.first..run.end).flat_map(|chunk| stripes.extents(chunk, size_bytes)).collect()
            }
        }
    }
}
