//! Copying a large file: many ranks write into one staged file, and its owner gives it its name.

use std::ffi::CString;
use std::sync::Arc;

use super::content::copy_extent;
use super::small::NewFile;
use super::sync::{Need, Sides};
use super::{CopyHand, CopyJob, CopyTask, Large};
use crate::base::error::{At, Cause, Op, Side, Trouble};
use crate::base::path::Name;
use crate::chunked::{ChunkTask, ChunkWork, ChunksDone, Outcome};
use crate::compare::content::is_same_extent;
use crate::model::chunk::ChunkRun;
use crate::model::entry::{Hint, Kept, Kind, Version};
use crate::sched::crew::Crew;
use crate::store::{Dir, SourceFile, StagedFile};
use crate::walk::Visit;
use crate::walk::place::Place;

/// A large file on its way.
pub(super) struct LargeCopy {
    place: Arc<Place>,
    name: CString,
    source: Box<dyn SourceFile>,
    staged: Box<dyn StagedFile>,
    new: NewFile,
}

impl CopyJob<'_> {
    /// Stages a large file and queues all its chunks.
    pub(super) fn begin_large(
        &self,
        entry: &Visit<'_>,
        source: Box<dyn SourceFile>,
        target: &dyn Dir,
        new: NewFile,
        crew: &Crew<'_, Self>,
    ) -> Result<(), Trouble> {
        let metadata = new.metadata;
        let staged_name = self.staged_name();
        let target_name = self.target_name(entry.place, entry.name);
        let staged = target.stage_file(&staged_name, target_name).at(Side::Target)?;
        let run = ChunkRun::whole(metadata.size_bytes, self.options.chunk_bytes);
        let (place, name) = (Arc::clone(entry.place), entry.name.to_owned());
        let large = LargeCopy { place, name, source, staged, new };
        let file = self.large.begin(Large::Copy(large), run.count());
        // Until the last chunk is in, this rank waits for letters.
        crew.hold();
        crew.push(CopyTask::Chunks(ChunkTask {
            owner: self.rank,
            file,
            place: Arc::clone(entry.place),
            name: entry.name.to_owned(),
            identity: metadata.identity(),
            work: ChunkWork::Copy { staged: staged_name },
            run,
        }));
        Ok(())
    }

    /// Works on the first chunk of a run.
    pub(super) fn run_chunks(
        &self,
        mut task: ChunkTask,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) {
        task.keep_first(crew);
        let outcome = match &task.work {
            ChunkWork::Copy { staged } => self.copy_chunk(&task, staged, hand),
            ChunkWork::Compare { .. } if self.large.is_decided(&task) => Ok(Outcome::Done),
            ChunkWork::Compare { source, target } => {
                self.compare_chunk(&task, [*source, *target], hand)
            }
        };
        if outcome != Ok(Outcome::Done) {
            self.large.decide(&task);
        }
        self.tell_owner(&task, Outcome::of(outcome), crew);
    }

    /// The job was stopped before these chunks began.
    pub(super) fn give_up_chunks(&self, task: &ChunkTask, crew: &Crew<'_, Self>) {
        let stopped = Trouble { side: Side::Source, error: Op::Copy.failed(Cause::Stopped) };
        self.tell_owner(task, Outcome::Failed(stopped), crew);
    }

    fn copy_chunk(
        &self,
        task: &ChunkTask,
        staged: &Name,
        hand: &mut CopyHand,
    ) -> Result<Outcome, Trouble> {
        let source_dir = task.place.source_dir(&*self.root(&task.place).source).at(Side::Source)?;
        let source = source_dir.open_file(&task.name).at(Side::Source)?;
        if source.metadata().at(Side::Source)?.identity() != task.identity {
            return Err(Op::Copy.failed(Cause::Changed)).at(Side::Source);
        }
        let target_dir = task.place.target_dir(self.target(&task.place)).at(Side::Target)?;
        let staged = target_dir.join_staged(staged).at(Side::Target)?;
        let extent = task.run.extent(task.identity.size_bytes, self.options.chunk_bytes);
        copy_extent(&*source, &*staged, extent, &mut hand.buffer)?;
        staged.close().at(Side::Target)?;
        hand.gathered.tally.copied_bytes += extent.length;
        hand.gathered.tally.chunks += 1;
        Ok(Outcome::Done)
    }

    fn tell_owner(&self, task: &ChunkTask, outcome: Outcome, crew: &Crew<'_, Self>) {
        let done = task.done(outcome);
        if task.owner == self.rank {
            self.chunks_done(&done, crew);
        } else {
            crew.write_to(task.owner, &done);
        }
    }

    /// Counts chunks in; after the last one the file is ended, on an I/O thread.
    pub(super) fn chunks_done(&self, done: &ChunksDone, crew: &Crew<'_, Self>) {
        if self.large.count(done) {
            crew.push_pinned(CopyTask::Commit(done.file()));
        }
    }

    /// Ends a large file whose chunks are all accounted for.
    pub(super) fn end_large(&self, file: u64, hand: &mut CopyHand, crew: &Crew<'_, Self>) {
        match self.large.end(file) {
            Some((Large::Copy(file), outcome)) => {
                let (place, name) = (Arc::clone(&file.place), file.name.clone());
                match Self::commit_large(file, outcome) {
                    Ok(kept) => Self::copied(Kind::File, kept, hand),
                    Err(trouble) => self.fail_large(&place, &name, trouble, hand, crew),
                }
            }
            Some((Large::Comparison { place, name, sides }, outcome)) => {
                let ended = self.end_comparison(&place, &name, &sides, outcome, hand, crew);
                if let Err(trouble) = ended {
                    self.fail_large(&place, &name, trouble, hand, crew);
                }
            }
            None => return,
        }
        crew.release();
    }

    /// A chunk of both sides, to know whether the file must be copied.
    fn compare_chunk(
        &self,
        task: &ChunkTask,
        [source, target]: [Version; 2],
        hand: &mut CopyHand,
    ) -> Result<Outcome, Trouble> {
        let source_dir = task.place.source_dir(&*self.root(&task.place).source).at(Side::Source)?;
        let target_dir = task.place.target_dir(self.target(&task.place)).at(Side::Target)?;
        let from_source = source_dir.open_file(&task.name).at(Side::Source)?;
        let from_target = target_dir.open_file(&task.name).at(Side::Target)?;
        let extent = task.run.extent(task.identity.size_bytes, self.options.chunk_bytes);
        // What changes meanwhile is copied, with a check of its own.
        let is_unchanged = from_source.metadata().at(Side::Source)?.version() == source
            && from_target.metadata().at(Side::Target)?.version() == target;
        hand.gathered.tally.compared.bytes += extent.length;
        let buffers = hand.buffers(self.options.buffer_bytes);
        let is_same =
            is_unchanged && is_same_extent(&*from_source, &*from_target, extent, buffers)?;
        Ok(if is_same { Outcome::Done } else { Outcome::Differs })
    }

    /// All chunks were compared: the file is copied, given attributes, or left alone.
    fn end_comparison(
        &self,
        place: &Arc<Place>,
        name: &Name,
        sides: &Sides,
        outcome: Outcome,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) -> Result<(), Trouble> {
        let dir = place.source_dir(&*self.root(place).source).at(Side::Source)?;
        let entry = Visit { place, dir: &dir, name, hint: Hint::File };
        let need = match outcome {
            Outcome::Failed(trouble) => return Err(trouble),
            Outcome::Differs => Need::Content,
            Outcome::Done => {
                let target_dir = place.target_dir(self.target(place)).at(Side::Target)?;
                self.attributes_needed(&entry, &*target_dir, sides, hand)?
            }
        };
        self.satisfy(need, &entry, &sides.source, hand, crew).map(|_| ())
    }

    /// Gives the complete file its name; removes what was staged where anything went wrong.
    fn commit_large(file: LargeCopy, outcome: Outcome) -> Result<Kept, Trouble> {
        let unchanged = match outcome {
            Outcome::Failed(trouble) => Err(trouble),
            Outcome::Done | Outcome::Differs => file.check(),
        };
        let LargeCopy { staged, new, .. } = file;
        if let Err(trouble) = unchanged {
            // The first error is the one to report.
            let _ = staged.abandon();
            return Err(trouble);
        }
        staged.commit(&new.attributes).at(Side::Target)
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

impl LargeCopy {
    /// The source is what it was, and all that many ranks wrote has arrived.
    fn check(&self) -> Result<(), Trouble> {
        if self.staged.size_bytes().at(Side::Target)? != self.new.metadata.size_bytes {
            return Err(Op::Write.failed(Cause::Incomplete)).at(Side::Target);
        }
        let now = self.source.metadata().at(Side::Source)?;
        if now.identity() == self.new.metadata.identity() {
            Ok(())
        } else {
            Err(Op::Copy.failed(Cause::Changed)).at(Side::Source)
        }
    }
}
