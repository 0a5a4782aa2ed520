//! Tasks of a copy, and messages between its ranks.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::linked::{LinkedFile, Links};
use super::moving::Complete;
use super::verify::VerifyTask;
use crate::chunked::{ChunkTask, ChunksDone};
use crate::remove::copied::Copied;
use crate::walk::WalkTask;
use crate::walk::dir_ref::DirRef;
use crate::walk::packed::Block;

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
    /// An entry that is complete at the target, and that this rank has written.
    Complete(Complete),
    /// A directory that has content and that rank 0 plans or records for all ranks.
    Directory(Arc<DirRef>),
    /// Complete entries of this rank whose copies are to be synced, and whose sources are removed
    /// then.
    RemoveBatch,
    /// Entries whose copies were synced, and whose sources are removed.
    RemoveSources(Vec<Block<Copied>>),
}

/// Message between ranks.
#[derive(Debug, Serialize, Deserialize)]
pub enum CopyMessage {
    /// Chunks that are done, of a file that the receiver owns.
    Chunks(ChunksDone),
    /// Content to be read again.
    Verify(VerifyTask),
    /// A directory that has content, to be planned or recorded once.
    Directory(Arc<DirRef>),
    /// Report that content that the receiver has written was read again, with the entry if it is
    /// complete and its source is to be removed.
    Verified(Option<Complete>),
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
