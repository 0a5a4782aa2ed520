//! Tasks of a copy, and messages between its ranks.

use serde::{Deserialize, Serialize};

use super::linked::{LinkedFile, Links};
use super::verify::VerifyTask;
use crate::chunked::{ChunkTask, ChunksDone};
use crate::walk::WalkTask;

/// A task of the copy.
#[derive(Debug, Serialize, Deserialize)]
pub enum CopyTask {
    /// A task of the walk.
    Walk(WalkTask),
    /// Chunks of a large file.
    Chunks(ChunkTask),
    /// The large file whose chunks are all done, to be renamed to its final name; runs only on its
    /// owner.
    Commit(u64),
    /// Written content to be read again, by another rank than the one that wrote it.
    Verify(VerifyTask),
    /// A hard-linked file whose first name is to be copied.
    Linked(LinkedFile),
    /// Names that become links to the copy of the first name.
    Links(Links),
}

/// Message between ranks.
#[derive(Debug, Serialize, Deserialize)]
pub enum CopyMessage {
    /// Chunks that are done, of a file that the receiver owns.
    Chunks(ChunksDone),
    /// Content to be read again.
    Verify(VerifyTask),
    /// Report that content that the receiver has written was read again.
    Verified,
}

impl From<WalkTask> for CopyTask {
    fn from(task: WalkTask) -> Self {
        Self::Walk(task)
    }
}

impl From<LinkedFile> for CopyTask {
    fn from(file: LinkedFile) -> Self {
        Self::Linked(file)
    }
}

impl From<ChunkTask> for CopyTask {
    fn from(task: ChunkTask) -> Self {
        Self::Chunks(task)
    }
}
