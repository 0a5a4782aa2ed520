//! Directories without content, which count on neither side (`--prune-empty-dirs`).
//!
//! A directory has content if an entry other than a directory takes part that is in it or anywhere
//! below it, on either side. That is known when the walk is over, on all ranks together; until then
//! the verdicts on directories are held.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::{CompareJob, CompareTask, Sides};
use crate::walk::dir_ref::DirRef;
use crate::walk::marked_dirs::MarkedDirs;
use comm::collective::{broadcast, gather};
use comm::mailbox::Mailbox;
use types::entry::{Kind, Metadata};
use types::limits::FINISH_BATCH_DIRS;
use types::outcome::difference::Findings;
use types::path::Name;

/// Directories with content, and the verdicts on those that this rank has compared.
#[derive(Debug, Default)]
pub(super) struct Pruning {
    content: MarkedDirs,
    held: Mutex<Vec<HeldVerdict>>,
}

/// Verdict on a directory, which is given if the directory has content.
#[derive(Debug, Serialize, Deserialize)]
pub struct HeldVerdict {
    pub(super) dir_ref: Arc<DirRef>,
    pub(super) source: Option<Metadata>,
    pub(super) target: Option<Metadata>,
    pub(super) findings: Findings,
}

impl Pruning {
    /// Notes an entry; returns true where its verdict is held, because it is a directory.
    pub fn holds(
        &self,
        (dir_ref, name): (&DirRef, &Name),
        (source, target): Sides<'_>,
        findings: Findings,
    ) -> bool {
        let mut both = [source, target].into_iter().flatten();
        if !name.is_empty() || !both.all(|side| side.kind == Kind::Directory) {
            self.content.add(0, dir_ref.path().as_bytes());
            return false;
        }
        if dir_ref.path().is_root() {
            return false;
        }
        let dir_ref = Arc::new(dir_ref.path_only());
        let held =
            HeldVerdict { dir_ref, source: source.copied(), target: target.copied(), findings };
        self.held.lock().unwrap_or_else(PoisonError::into_inner).push(held);
        true
    }
}

impl CompareJob<'_> {
    /// Returns the directories with content that this rank has compared, as tasks that give their
    /// verdicts, when the walk is over; `None` where none is held. All ranks call it.
    pub fn held_verdicts(&self, mail: &mut Mailbox<'_>) -> Option<Vec<CompareTask>> {
        let pruning = self.pruning.as_ref()?;
        let news = gather(mail, &pruning.content.take_news());
        for of_rank in broadcast(mail, news) {
            pruning.content.extend(&of_rank);
        }
        let held =
            std::mem::take(&mut *pruning.held.lock().unwrap_or_else(PoisonError::into_inner));
        let has_content =
            |held: &HeldVerdict| pruning.content.has(0, held.dir_ref.path().as_bytes());
        let mut tasks = Vec::new();
        let mut batch = Vec::new();
        for held in held.into_iter().filter(has_content) {
            batch.push(held);
            if batch.len() == FINISH_BATCH_DIRS {
                tasks.push(CompareTask::Directories(std::mem::take(&mut batch)));
            }
        }
        tasks.extend((!batch.is_empty()).then_some(CompareTask::Directories(batch)));
        Some(tasks)
    }
}
