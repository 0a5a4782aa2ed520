//! Large files: chunks that any rank may copy into one staged file.
//!
//! The rank that met the file owns it: it stages the file, hands out runs of chunks as tasks, counts
//! what comes back, and commits once, right after the last chunk. Chunks of a file that failed are
//! still accounted for, so that its staged file is removed when nobody writes to it any more.

use std::collections::HashMap;
use std::ffi::CString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::content::copy_extent;
use super::{At, CopyHand, CopyJob, CopyTask, Trouble};
use crate::base::error::{Cause, Op, Side};
use crate::base::path::Name;
use crate::comm::Rank;
use crate::model::chunk::ChunkRun;
use crate::model::entry::{Attributes, Identity, Kind, Metadata};
use crate::sched::crew::Crew;
use crate::store::{Dir, SourceFile, StagedFile};
use crate::walk::Visit;
use crate::walk::place::Place;

/// Some chunks of a large file, for any rank.
#[derive(Debug, Serialize, Deserialize)]
pub struct ChunkTask {
    owner: Rank,
    file: u64,
    place: Arc<Place>,
    name: CString,
    staged: CString,
    /// The source must still be this.
    identity: Identity,
    run: ChunkRun,
}

/// Tells a file's owner that chunks are done, or will never be.
#[derive(Debug, Serialize, Deserialize)]
pub struct ChunksDone {
    file: u64,
    chunks: u64,
    trouble: Option<Trouble>,
}

/// The large files this rank owns.
#[derive(Default)]
pub(super) struct LargeFiles {
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    files: HashMap<u64, LargeFile>,
    begun: u64,
}

struct LargeFile {
    place: Arc<Place>,
    name: CString,
    source: Box<dyn SourceFile>,
    staged: Box<dyn StagedFile>,
    metadata: Metadata,
    attributes: Attributes,
    chunks_left: u64,
    /// The first that went wrong.
    trouble: Option<Trouble>,
}

impl LargeFiles {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CopyJob<'_> {
    /// Stages a large file and queues all its chunks.
    pub(super) fn begin_large(
        &self,
        entry: &Visit<'_>,
        source: Box<dyn SourceFile>,
        target: &dyn Dir,
        metadata: Metadata,
        attributes: Attributes,
        crew: &Crew<'_, Self>,
    ) -> Result<(), Trouble> {
        let staged_name = self.staged_name();
        let target_name = self.target_name(entry.place, entry.name);
        let staged = target.stage_file(&staged_name, target_name).at(Side::Target)?;
        let run = ChunkRun::whole(metadata.size_bytes, self.options.chunk_bytes);
        let file = {
            let mut open = self.large.lock();
            open.begun += 1;
            let file = open.begun;
            let large = LargeFile {
                place: Arc::clone(entry.place),
                name: entry.name.to_owned(),
                source,
                staged,
                metadata,
                attributes,
                chunks_left: run.count(),
                trouble: None,
            };
            open.files.insert(file, large);
            file
        };
        // Until the last chunk is in, this rank waits for letters.
        crew.hold();
        crew.push(CopyTask::Chunks(ChunkTask {
            owner: self.rank,
            file,
            place: Arc::clone(entry.place),
            name: entry.name.to_owned(),
            staged: staged_name,
            identity: metadata.identity(),
            run,
        }));
        Ok(())
    }

    /// Copies the first chunk of a run; the rest is queued in halves, for others to take.
    pub(super) fn copy_chunks(
        &self,
        mut task: ChunkTask,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) {
        while let Some(upper) = task.run.split_off() {
            crew.push(CopyTask::Chunks(task.with_run(upper)));
        }
        let copied = self.copy_chunk(&task, hand);
        if let Ok(length) = copied {
            hand.gathered.tally.copied_bytes += length;
            hand.gathered.tally.chunks += 1;
        }
        self.tell_owner(&task, copied.err(), crew);
    }

    /// The job was stopped before these chunks began.
    pub(super) fn give_up_chunks(&self, task: &ChunkTask, crew: &Crew<'_, Self>) {
        let stopped = Trouble { side: Side::Source, error: Op::Copy.failed(Cause::Stopped) };
        self.tell_owner(task, Some(stopped), crew);
    }

    fn copy_chunk(&self, task: &ChunkTask, hand: &mut CopyHand) -> Result<u64, Trouble> {
        let source_dir = task.place.source_dir(&*self.root(&task.place).source).at(Side::Source)?;
        let source = source_dir.open_file(&task.name).at(Side::Source)?;
        if source.metadata().at(Side::Source)?.identity() != task.identity {
            return Err(Op::Copy.failed(Cause::Changed)).at(Side::Source);
        }
        let target_dir = task.place.target_dir(self.target(&task.place)).at(Side::Target)?;
        let staged = target_dir.join_staged(&task.staged).at(Side::Target)?;
        let extent = task.run.extent(task.identity.size_bytes, self.options.chunk_bytes);
        copy_extent(&*source, &*staged, extent, &mut hand.buffer)?;
        staged.close().at(Side::Target)?;
        Ok(extent.length)
    }

    fn tell_owner(&self, task: &ChunkTask, trouble: Option<Trouble>, crew: &Crew<'_, Self>) {
        let done = ChunksDone { file: task.file, chunks: task.run.count(), trouble };
        if task.owner == self.rank {
            self.chunks_done(&done, crew);
        } else {
            crew.write_to(task.owner, &done);
        }
    }

    /// Counts chunks in; after the last one the file is committed, on an I/O thread.
    pub(super) fn chunks_done(&self, done: &ChunksDone, crew: &Crew<'_, Self>) {
        let mut open = self.large.lock();
        let Some(file) = open.files.get_mut(&done.file) else { return };
        file.chunks_left = file.chunks_left.saturating_sub(done.chunks);
        file.trouble = file.trouble.or(done.trouble);
        if file.chunks_left == 0 {
            crew.push_pinned(CopyTask::Commit(done.file));
        }
    }

    /// Ends a large file whose chunks are all accounted for.
    pub(super) fn commit_large(&self, file: u64, hand: &mut CopyHand, crew: &Crew<'_, Self>) {
        let Some(file) = self.large.lock().files.remove(&file) else { return };
        let (place, name) = (Arc::clone(&file.place), file.name.clone());
        match file.commit() {
            Ok(kept) => Self::copied(Kind::File, kept, hand),
            Err(trouble) => self.fail_large(&place, &name, trouble, hand, crew),
        }
        crew.release();
    }

    /// What was given up because the job stops is not a failure of its own: the cause was reported.
    fn fail_large(
        &self,
        place: &Place,
        name: &Name,
        trouble: Trouble,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) {
        if trouble.error.cause == Cause::Stopped {
            hand.gathered.tally.given_up += 1;
        } else {
            self.fail(place, name.to_bytes(), trouble, hand, crew);
        }
    }
}

impl ChunkTask {
    fn with_run(&self, run: ChunkRun) -> Self {
        Self {
            place: Arc::clone(&self.place),
            name: self.name.clone(),
            staged: self.staged.clone(),
            run,
            ..*self
        }
    }
}

impl LargeFile {
    /// Gives the complete file its name; removes what was staged where anything went wrong.
    fn commit(self) -> Result<crate::model::entry::Kept, Trouble> {
        let unchanged = match self.trouble {
            Some(trouble) => Err(trouble),
            None => self.check(),
        };
        if let Err(trouble) = unchanged {
            // The first error is the one to report.
            let _ = self.staged.abandon();
            return Err(trouble);
        }
        self.staged.commit(&self.attributes).at(Side::Target)
    }

    /// The source is what it was, and all that many ranks wrote has arrived.
    fn check(&self) -> Result<(), Trouble> {
        if self.staged.size_bytes().at(Side::Target)? != self.metadata.size_bytes {
            return Err(Op::Write.failed(Cause::Incomplete)).at(Side::Target);
        }
        let now = self.source.metadata().at(Side::Source)?;
        if now.identity() == self.metadata.identity() {
            Ok(())
        } else {
            Err(Op::Copy.failed(Cause::Changed)).at(Side::Source)
        }
    }
}
