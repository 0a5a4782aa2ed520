//! Large files as chunks that any rank may process, and the bookkeeping of their owners.
//!
//! The rank that met a file owns it: it distributes runs of chunks as tasks, counts their results,
//! and completes the file once, right after the last chunk. Chunks that failed, or that need no
//! processing any more, are still counted, so the file ends when no rank works on it any longer.

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::walk::dir_ref::DirRef;
use comm::Rank;
use sched::context::TaskContext;
use sched::job::Job;
use store::Receipt;
use types::content::chunk::{ChunkRun, Extent};
use types::content::crc64::Crc64;
use types::content::cut::Cut;
use types::content::transfer::TransferMode;
use types::entry::{Identity, Version};
use types::error::{Cause, Op, Side, SideError};

/// A run of chunks of a large file, which any rank may process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChunkTask {
    /// The rank that counts the results.
    pub owner: Rank,
    /// The owner's number of the file.
    pub file: u64,
    /// The directory of the file.
    pub dir_ref: Arc<DirRef>,
    /// The name of the file in its directory.
    pub name: CString,
    /// The identity that the source must still have.
    pub identity: Identity,
    /// The division of the file into chunks.
    pub cut: Cut,
    /// The operation on the chunks.
    pub work: ChunkWork,
    /// The numbers of the chunks.
    pub run: ChunkRun,
}

/// An operation on chunks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum ChunkWork {
    /// Copy the chunk into the staged file with this ticket.
    Copy {
        /// The data by which a rank joins in writing the staged file.
        ticket: Vec<u8>,
        /// The transfer mode.
        transfer_mode: TransferMode,
    },
    /// Compare the chunk with that of the target's file of the same name.
    Compare {
        /// The version that the source must still have.
        source: Version,
        /// The version that the target must still have.
        target: Version,
    },
    /// Compute checksums of the chunk on one side, because that of the whole file is known on the
    /// other.
    Sum {
        /// The side to be read.
        side: Side,
        /// The version that the file on that side must still have.
        version: Version,
        /// The kind of checksums.
        digest: Digest,
    },
}

/// Kind of checksums that chunks get, by that of the whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Digest {
    /// CRC-64/NVME of each chunk, from which that of the file follows.
    Crc64,
    /// MD5s of parts: the checksum of the file is the MD5 of them.
    PartMd5s {
        /// Size of a part in bytes.
        part_bytes: u64,
    },
}

/// A message to the owner of a file that chunks are completed, or never will be.
#[derive(Debug, Serialize, Deserialize)]
pub struct ChunksDone {
    file: u64,
    chunks: u64,
    outcome: Outcome,
    receipt: Option<Receipt>,
    unverified: Option<UnverifiedChunk>,
}

/// A chunk that was written, and that is to be read again for verification when the whole file is
/// staged.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct UnverifiedChunk {
    /// The rank that reads the chunk. Where there are several, it is not the one that has written
    /// it, whose cache would hide a fault of the storage.
    pub reader: Rank,
    /// The number of the chunk.
    pub chunk: u64,
    /// The checksum that the chunk must have.
    pub crc64: Crc64,
}

/// The result of processing chunks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The chunks were copied, are equal on both sides, or were not processed because the result of
    /// the file is known.
    Done,
    /// The chunks differ.
    Differs,
    /// Processing has failed.
    Failed(SideError),
}

/// The large files that this rank owns, with the data `F` for each.
pub struct Chunked<F> {
    open: Mutex<Open<F>>,
}

/// The large files in progress.
struct Open<F> {
    files: HashMap<u64, OpenFile<F>>,
    begun: u64,
    /// Files, owned by any rank, of which some chunk has differed or failed here, so that their
    /// other chunks need no processing.
    decided: HashSet<(Rank, u64)>,
}

/// A large file in progress, and what its chunks have resulted in so far.
struct OpenFile<F> {
    file: F,
    chunks_left: u64,
    /// The first result other than [`Outcome::Done`].
    outcome: Outcome,
    /// The receipts of those who have written the chunks.
    receipts: Vec<Receipt>,
    unverified: Vec<UnverifiedChunk>,
}

/// A large file all of whose chunks are accounted for.
pub struct Ended<F> {
    /// The owner's data of the file.
    pub file: F,
    /// The combined result of the chunks.
    pub outcome: Outcome,
    /// The receipts of those who have written the chunks.
    pub receipts: Vec<Receipt>,
    /// The chunks to be read again for verification.
    pub unverified: Vec<UnverifiedChunk>,
}

impl<F> Default for Chunked<F> {
    fn default() -> Self {
        let open = Open { files: HashMap::new(), begun: 0, decided: HashSet::new() };
        Self { open: Mutex::new(open) }
    }
}

impl<F> Chunked<F> {
    fn lock(&self) -> MutexGuard<'_, Open<F>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a file with that many chunks. Returns its number.
    pub fn begin(&self, file: F, chunks: u64) -> u64 {
        let mut open = self.lock();
        open.begun += 1;
        let number = open.begun;
        let (outcome, receipts, unverified) = (Outcome::Done, Vec::new(), Vec::new());
        let file = OpenFile { file, chunks_left: chunks, outcome, receipts, unverified };
        open.files.insert(number, file);
        number
    }

    /// Counts the result of chunks. Returns true with the last of them; then [`Chunked::end`] is to
    /// be called, by an I/O thread.
    pub fn count(&self, done: ChunksDone) -> bool {
        let mut open = self.lock();
        let Some(file) = open.files.get_mut(&done.file) else { return false };
        let chunks_left = file.chunks_left.checked_sub(done.chunks);
        if file.outcome == Outcome::Done {
            // Each chunk is counted once, by the task that has it. If one is counted twice, another
            // may be missing, so the file has failed; the rest of the job is not affected.
            file.outcome = if chunks_left.is_some() { done.outcome } else { miscounted() };
        }
        file.chunks_left = chunks_left.unwrap_or(0);
        file.receipts.extend(done.receipt);
        file.unverified.extend(done.unverified);
        file.chunks_left == 0
    }

    /// Removes a file whose chunks are all accounted for.
    pub fn end(&self, file: u64) -> Option<Ended<F>> {
        let OpenFile { file, outcome, receipts, unverified, .. } =
            self.lock().files.remove(&file)?;
        Some(Ended { file, outcome, receipts, unverified })
    }

    /// Returns whether a chunk of the file has differed or failed, as far as this rank knows.
    pub fn is_decided(&self, task: &ChunkTask) -> bool {
        self.lock().decided.contains(&(task.owner, task.file))
    }

    /// Records that a chunk of the file has differed or failed here.
    pub fn decide(&self, task: &ChunkTask) {
        self.lock().decided.insert((task.owner, task.file));
    }
}

fn miscounted() -> Outcome {
    let error = Op::Copy.failed(Cause::ChunksMiscounted);
    Outcome::Failed(SideError { side: Side::Target, error })
}

impl ChunkTask {
    /// Reduces the task to its first chunk, and queues the rest in halves, which others can steal.
    pub fn keep_first<J: Job<Task: From<Self>>>(&mut self, context: &TaskContext<'_, J>) {
        while let Some(upper) = self.run.split_off() {
            context.push(Self { run: upper, ..self.clone() }.into());
        }
    }

    /// Builds the message that tells the owner of the result.
    pub fn done(&self, outcome: Outcome, receipt: Option<Receipt>) -> ChunksDone {
        let chunks = self.run.count();
        ChunksDone { file: self.file, chunks, outcome, receipt, unverified: None }
    }

    /// Returns the extent from the first byte of the chunks to the last: exactly their bytes, where
    /// the file is cut evenly. Stripe chunks of different runs interleave, but no two runs begin at
    /// the same offset.
    pub fn key_range(&self) -> Extent {
        let extents = self.extents();
        match (extents.first(), extents.last()) {
            (Some(first), Some(last)) => Extent::between(first.offset, last.end()),
            _ => Extent::between(0, 0),
        }
    }

    /// Adds the next extent of the chunks to their checksum. For stripe chunks, the result is their
    /// contribution to the checksum of the whole file.
    pub fn add_sum(&self, sum: Crc64, extent: Extent, next: Crc64) -> Crc64 {
        match self.cut {
            Cut::Even { .. } => sum.combine(next, extent.length),
            Cut::Striped(_) => sum.with_share(next.share(self.identity.size_bytes - extent.end())),
        }
    }

    /// Returns the extents of the chunks, whichever way the file is cut.
    pub fn extents(&self) -> Vec<Extent> {
        self.cut.extents(self.run, self.identity.size_bytes)
    }
}

impl ChunksDone {
    /// Returns the owner's number of the file.
    pub fn file(&self) -> u64 {
        self.file
    }

    /// Adds to the message that the chunk is to be read again for verification.
    #[must_use]
    pub fn to_be_verified(self, unverified: Option<UnverifiedChunk>) -> Self {
        Self { unverified, ..self }
    }
}

impl Outcome {
    /// Converts the result of an operation that can fail.
    pub fn of(done: Result<Self, SideError>) -> Self {
        done.unwrap_or_else(Self::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(chunks: u64) -> ChunksDone {
        ChunksDone { file: 1, chunks, outcome: Outcome::Done, receipt: None, unverified: None }
    }

    #[test]
    fn a_chunk_that_is_counted_twice_is_a_failure_of_its_file_alone() {
        let files = Chunked::default();
        for name in ["miscounted", "whole"] {
            files.begin(name, 3);
        }
        assert!(!files.count(done(2)));
        assert!(files.count(done(2)));
        let ended = files.end(1).expect("has ended");
        assert!(matches!(
            ended.outcome,
            Outcome::Failed(SideError { error, .. }) if error.cause == Cause::ChunksMiscounted
        ));
        assert!(files.count(ChunksDone { file: 2, ..done(3) }));
        assert_eq!(files.end(2).expect("has ended").outcome, Outcome::Done);
    }
}
