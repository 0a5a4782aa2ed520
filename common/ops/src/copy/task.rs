//! The pieces of a copy, and what ranks write to each other.

use serde::{Deserialize, Serialize};

use super::linked::{LinkedFile, Links};
use super::verify::VerifyTask;
use crate::chunked::{ChunkTask, ChunksDone};
use crate::walk::WalkTask;

/// A piece of the copy.
#[derive(Debug, Serialize, Deserialize)]
pub enum CopyTask {
    /// A piece of the walk.
    Walk(WalkTask),
    /// Chunks of a large file.
    Chunks(ChunkTask),
    /// All chunks of this large file are there: give it its name. Runs on its owner only.
    Commit(u64),
    /// Something that another rank has written is to be read again. Not by that one.
    Verify(VerifyTask),
    /// A file with several names: its first name is to be copied.
    Linked(LinkedFile),
    /// Names that become links to the first one's copy.
    Links(Links),
}

/// What ranks write to each other.
#[derive(Debug, Serialize, Deserialize)]
pub enum CopyLetter {
    /// Chunks of a file of the receiver's.
    Chunks(ChunksDone),
    /// Something is to be read again.
    Verify(VerifyTask),
    /// Something that the receiver has written was read again.
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
