//! Large files: chunks that any rank may work on, and an owner that counts them in.
//!
//! The rank that met a file owns it: it hands out runs of chunks as tasks, counts what comes back, and
//! ends the file once, right after its last chunk. Chunks that failed, or that need not be looked at any
//! more, are still accounted for, so that the end comes when nobody works on the file.

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::walk::place::Place;
use comm::Rank;
use sched::crew::Crew;
use sched::job::Job;
use store::Receipt;
use types::content::chunk::{ChunkRun, Extent};
use types::content::crc64::Crc64;
use types::content::lanes::Lanes;
use types::content::transfer::Manner;
use types::entry::{Identity, Version};
use types::error::{Side, Trouble};

/// Some chunks of a large file, for any rank.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChunkTask {
    /// Who counts the chunks in.
    pub owner: Rank,
    /// The owner's number for the file.
    pub file: u64,
    /// The directory it is in.
    pub place: Arc<Place>,
    /// Its name there.
    pub name: CString,
    /// The source must still be this.
    pub identity: Identity,
    /// Size of a chunk, where chunks follow each other.
    pub chunk_bytes: u64,
    /// How the file is cut, where it is cut along its stripes.
    pub lanes: Option<Lanes>,
    /// What to do with the chunks.
    pub work: ChunkWork,
    /// Which chunks.
    pub run: ChunkRun,
}

/// What is done with a chunk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum ChunkWork {
    /// Copy it into the staged file of that name.
    Copy {
        /// What it takes to join in writing it.
        ticket: Vec<u8>,
        /// How.
        manner: Manner,
    },
    /// Compare it with that of the target's file of the same name.
    Compare {
        /// The source must still be this.
        source: Version,
        /// The target must still be this.
        target: Version,
    },
    /// Sum it up on one side: of the other one the whole's checksum is known.
    Sum {
        /// The side to be read.
        side: Side,
        /// The file there must still be this.
        version: Version,
        /// The whole's checksum is one of MD5s of parts of that size.
        part_bytes: Option<u64>,
    },
}

/// Tells a file's owner that chunks are done, or will never be.
#[derive(Debug, Serialize, Deserialize)]
pub struct ChunksDone {
    file: u64,
    chunks: u64,
    outcome: Outcome,
    receipt: Option<Receipt>,
    unverified: Option<UnverifiedChunk>,
}

/// A chunk that was written and is to be read again, when the whole file is there.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct UnverifiedChunk {
    /// Who is to read it: not who has written it, where there are several ranks.
    pub reader: Rank,
    /// Its number.
    pub chunk: u64,
    /// What it must have.
    pub crc64: Crc64,
}

/// What became of chunks, the better first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Copied; or the same in both files; or not looked at because the file is decided.
    Done,
    /// Not the same in both files.
    Differs,
    /// Neither.
    Failed(Trouble),
}

/// The large files this rank owns.
pub struct Chunked<F> {
    open: Mutex<Open<F>>,
}

struct Open<F> {
    files: HashMap<u64, OpenFile<F>>,
    begun: u64,
    /// Files, of any rank, of which some chunk here differed or failed: the others need no look.
    decided: HashSet<(Rank, u64)>,
}

struct OpenFile<F> {
    file: F,
    chunks_left: u64,
    /// The first that was not [`Outcome::Done`].
    outcome: Outcome,
    /// What the writers have left.
    receipts: Vec<Receipt>,
    unverified: Vec<UnverifiedChunk>,
}

/// A large file whose chunks are all accounted for.
pub struct Ended<F> {
    /// What its owner remembered.
    pub file: F,
    /// What became of the chunks.
    pub outcome: Outcome,
    /// What their writers have left.
    pub receipts: Vec<Receipt>,
    /// Chunks that are to be read again.
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

    /// Remembers a file until so many chunks are in; returns its number.
    pub fn begin(&self, file: F, chunks: u64) -> u64 {
        let mut open = self.lock();
        open.begun += 1;
        let number = open.begun;
        let (outcome, receipts, unverified) = (Outcome::Done, Vec::new(), Vec::new());
        let file = OpenFile { file, chunks_left: chunks, outcome, receipts, unverified };
        open.files.insert(number, file);
        number
    }

    /// Counts chunks in; true with the last of them: then [`Chunked::end`] is due, on an I/O thread.
    pub fn count(&self, done: ChunksDone) -> bool {
        let mut open = self.lock();
        let Some(file) = open.files.get_mut(&done.file) else { return false };
        file.chunks_left = file.chunks_left.saturating_sub(done.chunks);
        if file.outcome == Outcome::Done {
            file.outcome = done.outcome;
        }
        file.receipts.extend(done.receipt);
        file.unverified.extend(done.unverified);
        file.chunks_left == 0
    }

    /// Takes out a file whose chunks are all in.
    pub fn end(&self, file: u64) -> Option<Ended<F>> {
        let OpenFile { file, outcome, receipts, unverified, .. } =
            self.lock().files.remove(&file)?;
        Some(Ended { file, outcome, receipts, unverified })
    }

    /// Whether a chunk of this file has differed or failed, as far as this rank knows.
    pub fn is_decided(&self, task: &ChunkTask) -> bool {
        self.lock().decided.contains(&(task.owner, task.file))
    }

    /// A chunk of this file has differed or failed here.
    pub fn decide(&self, task: &ChunkTask) {
        self.lock().decided.insert((task.owner, task.file));
    }
}

impl ChunkTask {
    /// Keeps the first chunk; the rest is queued in halves, for others to take.
    pub fn keep_first<J: Job<Task: From<Self>>>(&mut self, crew: &Crew<'_, J>) {
        while let Some(upper) = self.run.split_off() {
            crew.push(Self { run: upper, ..self.clone() }.into());
        }
    }

    /// What the owner is to be told.
    pub fn done(&self, outcome: Outcome, receipt: Option<Receipt>) -> ChunksDone {
        let chunks = self.run.count();
        ChunksDone { file: self.file, chunks, outcome, receipt, unverified: None }
    }

    /// The bytes of the chunks, where chunks follow each other.
    pub fn extent(&self) -> Extent {
        self.run.extent(self.identity.size_bytes, self.chunk_bytes)
    }

    /// From the first byte of the chunks to the last. Chunks of a striped file lie in between each other, but no two
    /// begin alike.
    pub fn span(&self) -> Extent {
        let extents = self.extents();
        match (extents.first(), extents.last()) {
            (Some(first), Some(last)) => Extent::between(first.offset, last.end()),
            _ => Extent::between(0, 0),
        }
    }

    /// Adds the next extent of the chunks to their checksum. Where chunks lie in between each other that is what they
    /// add to the checksum of the whole file.
    pub fn add_sum(&self, sum: Crc64, extent: Extent, next: Crc64) -> Crc64 {
        match self.lanes {
            None => sum.combine(next, extent.length),
            Some(_) => sum.with_share(next.share(self.identity.size_bytes - extent.end())),
        }
    }

    /// The bytes of the chunks, however they are cut.
    pub fn extents(&self) -> Vec<Extent> {
        let size_bytes = self.identity.size_bytes;
        match self.lanes {
            None => vec![self.extent()],
            Some(lanes) => {
                let chunks = self.run.first..self.run.end;
                chunks.flat_map(|chunk| lanes.extents(chunk, size_bytes)).collect()
            }
        }
    }
}

impl ChunksDone {
    /// The owner's number for the file.
    pub fn file(&self) -> u64 {
        self.file
    }

    /// The chunk is to be read again.
    #[must_use]
    pub fn to_be_verified(self, unverified: Option<UnverifiedChunk>) -> Self {
        Self { unverified, ..self }
    }
}

impl Outcome {
    /// Of something that could fail.
    pub fn of(done: Result<Self, Trouble>) -> Self {
        done.unwrap_or_else(Self::Failed)
    }
}
