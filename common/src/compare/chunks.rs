//! Comparing a large file: many ranks compare its chunks, and its owner gives the verdict.

use std::ffi::CString;
use std::sync::Arc;

use super::content::is_same_extent;
use super::{CompareHand, CompareJob, CompareTask, Pair};
use crate::base::error::{At, Cause, Op, Side, Trouble};
use crate::base::path::Name;
use crate::chunked::{ChunkTask, ChunkWork, ChunksDone, Ended, Outcome};
use crate::model::chunk::ChunkRun;
use crate::model::difference::{Fields, Findings};
use crate::model::entry::Version;
use crate::sched::crew::Crew;
use crate::store::{Dir, SourceFile};
use crate::walk::Visit;
use crate::walk::place::Place;

/// Both sides of a file, open.
pub(super) struct FilePair {
    pub source: Box<dyn SourceFile>,
    pub target: Box<dyn SourceFile>,
}

/// A large file that is being compared.
pub(super) struct LargePair {
    place: Arc<Place>,
    name: CString,
    files: FilePair,
    pair: Pair,
}

impl FilePair {
    /// Both are what they were when they were looked at: else what was read proves nothing.
    pub fn check(&self, source: Version, target: Version) -> Result<(), Trouble> {
        let changed = Op::Compare.failed(Cause::Changed);
        if self.source.metadata().at(Side::Source)?.version() != source {
            return Err(changed).at(Side::Source);
        }
        if self.target.metadata().at(Side::Target)?.version() != target {
            return Err(changed).at(Side::Target);
        }
        Ok(())
    }
}

impl CompareJob<'_> {
    /// Opens both sides of a file, for reading past the cache where that is asked for.
    pub(super) fn open_pair(
        &self,
        place: &Place,
        source_dir: &Arc<dyn Dir>,
        target_dir: &dyn Dir,
        name: &Name,
    ) -> Result<FilePair, Trouble> {
        let source = source_dir.open_file(name).at(Side::Source)?;
        let target = target_dir.open_file(self.target_name(place, name)).at(Side::Target)?;
        if self.options.bypass_cache {
            source.bypass_cache();
            target.bypass_cache();
        }
        Ok(FilePair { source, target })
    }

    /// Queues all chunks of a large file.
    pub(super) fn begin_large(
        &self,
        entry: &Visit<'_>,
        target_dir: &dyn Dir,
        pair: Pair,
        crew: &Crew<'_, Self>,
    ) -> Result<(), Trouble> {
        let files = self.open_pair(entry.place, entry.dir, target_dir, entry.name)?;
        let chunk_bytes =
            self.root.source.chunk_bytes(pair.source.size_bytes, self.options.chunk_bytes);
        let run = ChunkRun::whole(pair.source.size_bytes, chunk_bytes);
        let (source, target) = (pair.source.version(), pair.target.version());
        let (place, name) = (Arc::clone(entry.place), entry.name.to_owned());
        let file = self.large.begin(LargePair { place, name, files, pair }, run.count());
        // Until the last chunk is in, this rank waits for letters.
        crew.hold();
        crew.push(CompareTask::Chunks(ChunkTask {
            owner: self.rank,
            file,
            place: Arc::clone(entry.place),
            name: entry.name.to_owned(),
            identity: source.identity,
            chunk_bytes,
            work: ChunkWork::Compare { source, target },
            run,
        }));
        Ok(())
    }

    /// Compares the first chunk of a run, unless the file is decided already.
    pub(super) fn run_chunks(
        &self,
        mut task: ChunkTask,
        hand: &mut CompareHand,
        crew: &Crew<'_, Self>,
    ) {
        if self.large.is_decided(&task) {
            return self.tell_owner(&task, task.done(Outcome::Done, None), crew);
        }
        task.keep_first(crew);
        let outcome = Outcome::of(self.compare_chunk(&task, hand));
        if outcome != Outcome::Done {
            self.large.decide(&task);
        }
        self.tell_owner(&task, task.done(outcome, None), crew);
    }

    /// The job was stopped before these chunks began.
    pub(super) fn give_up_chunks(&self, task: &ChunkTask, crew: &Crew<'_, Self>) {
        let stopped = Trouble { side: Side::Source, error: Op::Compare.failed(Cause::Stopped) };
        self.tell_owner(task, task.done(Outcome::Failed(stopped), None), crew);
    }

    fn compare_chunk(&self, task: &ChunkTask, hand: &mut CompareHand) -> Result<Outcome, Trouble> {
        let ChunkWork::Compare { source, target } = &task.work else { return Ok(Outcome::Done) };
        let source_dir = task.place.source_dir(&*self.root.source).at(Side::Source)?;
        let target_dir = self.target_dir(&task.place)?;
        let files = self.open_pair(&task.place, &source_dir, &*target_dir, &task.name)?;
        files.check(*source, *target)?;
        let extent = task.extent();
        let is_same = is_same_extent(&*files.source, &*files.target, extent, &mut hand.buffers)?;
        hand.gathered.tally.chunks += 1;
        hand.gathered.tally.compared.bytes += extent.length;
        Ok(if is_same { Outcome::Done } else { Outcome::Differs })
    }

    fn tell_owner(&self, task: &ChunkTask, done: ChunksDone, crew: &Crew<'_, Self>) {
        if task.owner == self.rank {
            self.chunks_done(done, crew);
        } else {
            crew.write_to(task.owner, &done);
        }
    }

    /// Counts chunks in; after the last one the verdict is given, on an I/O thread.
    pub(super) fn chunks_done(&self, done: ChunksDone, crew: &Crew<'_, Self>) {
        let file = done.file();
        if self.large.count(done) {
            crew.push_pinned(CompareTask::Conclude(file));
        }
    }

    /// The verdict on a large file whose chunks are all accounted for.
    pub(super) fn conclude(&self, file: u64, hand: &mut CompareHand, crew: &Crew<'_, Self>) {
        let Some(Ended { file, outcome, .. }) = self.large.end(file) else { return };
        let LargePair { place, name, files, mut pair } = file;
        let checked = match outcome {
            Outcome::Failed(trouble) => Err(trouble),
            Outcome::Done | Outcome::Differs => {
                files.check(pair.source.version(), pair.target.version())
            }
        };
        match checked {
            Ok(()) => {
                if outcome == Outcome::Differs {
                    pair.differing.insert(Fields::CONTENT);
                }
                let both = (Some(&pair.source), Some(&pair.target));
                self.judge(&place, &name, both, Findings::both(pair.differing), hand, crew);
            }
            Err(trouble) => self.fail(&place, name.to_bytes(), trouble, hand, crew),
        }
        crew.release();
    }
}
