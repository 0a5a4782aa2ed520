//! Comparison of large files: many ranks compare chunks, and the owner of the file gives the
//! verdict.

use std::ffi::CString;
use std::sync::Arc;

use super::content::{Way, is_same_extent, open_version, outcome_of_sum, summed};
use super::{CompareHand, CompareJob, CompareTask, Opened, Pair};
use crate::chunked::{ChunkTask, ChunkWork, ChunksDone, Ended, Outcome};
use crate::walk::Visit;
use crate::walk::place::Place;
use sched::crew::Crew;
use store::{Dir, Receipt, SourceFile};
use types::content::chunk::{ChunkRun, Extent};
use types::entry::Version;
use types::error::{At, Cause, Op, Side, Trouble};
use types::outcome::difference::Fields;
use types::path::Name;

/// The open handles of both sides of a file.
pub(super) struct FilePair {
    pub source: Box<dyn SourceFile>,
    pub target: Box<dyn SourceFile>,
}

/// A large file that is being compared.
pub(super) struct LargePair {
    place: Arc<Place>,
    name: CString,
    files: FilePair,
    way: Way,
    pair: Pair,
}

impl FilePair {
    /// Verifies that both files are unchanged since they were inspected; otherwise nothing that was
    /// read proves anything.
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
    /// Opens both sides of a file, bypassing the page cache where that is requested.
    pub(super) fn open_pair(
        &self,
        entry: &Visit<'_>,
        target_dir: &dyn Dir,
        opened: Opened,
    ) -> Result<FilePair, Trouble> {
        let open_source = || entry.dir.open_file(entry.name).at(Side::Source);
        let source = opened.0.map_or_else(open_source, Ok)?;
        let target_name = self.target_name(entry.place, entry.name);
        let open_target = || target_dir.open_file(target_name).at(Side::Target);
        let target = opened.1.map_or_else(open_target, Ok)?;
        if self.options.bypass_cache {
            source.bypass_cache().at(Side::Source)?;
            target.bypass_cache().at(Side::Target)?;
        }
        Ok(FilePair { source, target })
    }

    /// Queues all chunks of a large file, unless checksums in the stores decide without reading.
    pub(super) fn begin_large(
        &self,
        entry: &Visit<'_>,
        target_dir: &dyn Dir,
        mut pair: Pair,
        hand: &mut CompareHand,
        crew: &Crew<'_, Self>,
    ) -> Result<(), Trouble> {
        let files = self.open_pair(entry, target_dir, std::mem::take(&mut pair.opened))?;
        let way = Way::of(&*files.source, &*files.target, self.options.evidence)?;
        let (place, name) = (Arc::clone(entry.place), entry.name.to_owned());
        let large = LargePair { place, name, files, way, pair };
        if let Some(is_same) = way.known() {
            let check = way.check(&*large.files.source, &*large.files.target);
            let size_bytes = large.pair.source.size_bytes;
            hand.gathered.tally.compared.by(check).bytes += size_bytes;
            let outcome = if is_same { Outcome::Done } else { Outcome::Differs };
            self.tell_verdict(large, outcome, hand, crew);
        } else {
            self.queue_chunks(large, crew);
        }
        Ok(())
    }

    /// Queues all chunks of a large file.
    fn queue_chunks(&self, large: LargePair, crew: &Crew<'_, Self>) {
        let (source, target) = (large.pair.source.version(), large.pair.target.version());
        let size_bytes = large.pair.source.size_bytes;
        let wish_bytes = self.root.source.chunk_bytes(size_bytes, self.options.chunk_bytes);
        let (work, chunk_bytes) = large.way.chunks([source, target], wish_bytes);
        let run = ChunkRun::whole(size_bytes, chunk_bytes);
        let (place, name) = (Arc::clone(&large.place), large.name.clone());
        let file = self.large.begin(large, run.count());
        // The rank waits for messages until the last chunk is counted, so the job must not end
        // before.
        crew.hold();
        let (owner, identity, lanes) = (self.rank, source.identity, None);
        let task = ChunkTask { owner, file, place, name, identity, chunk_bytes, lanes, work, run };
        crew.push(CompareTask::Chunks(task));
    }

    /// Compares the first chunk of a run, unless the result of the file is known already.
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
        let mut receipt = None;
        let outcome = Outcome::of(match &task.work {
            ChunkWork::Sum { side, version, part_bytes } => {
                self.sum_chunk(&task, (*side, *version), *part_bytes, hand).map(|left| {
                    receipt = Some(left);
                    Outcome::Done
                })
            }
            _ => self.compare_chunk(&task, hand),
        });
        if outcome != Outcome::Done {
            self.large.decide(&task);
        }
        self.tell_owner(&task, task.done(outcome, receipt), crew);
    }

    /// Reports chunks as failed that had not begun when the job was interrupted.
    pub(super) fn give_up_chunks(&self, task: &ChunkTask, crew: &Crew<'_, Self>) {
        let stopped = Trouble { side: Side::Source, error: Op::Compare.failed(Cause::Stopped) };
        self.tell_owner(task, task.done(Outcome::Failed(stopped), None), crew);
    }

    /// Compares one chunk byte by byte.
    fn compare_chunk(&self, task: &ChunkTask, hand: &mut CompareHand) -> Result<Outcome, Trouble> {
        let ChunkWork::Compare { source, target } = &task.work else { return Ok(Outcome::Done) };
        let source_dir = task.place.source_dir(&*self.root.source).at(Side::Source)?;
        let target_dir = self.target_dir(&task.place)?;
        let extent = task.extent();
        let source = self.open_chunk(&*source_dir, &task.name, *source, extent);
        let name = self.target_name(&task.place, &task.name);
        let target = self.open_chunk(&*target_dir, name, *target, extent);
        let (source, target) = (source.at(Side::Source)?, target.at(Side::Target)?);
        let is_same =
            is_same_extent(&*source, &*target, extent, self.reading(), &mut hand.buffers)?;
        let check = Way::Bytes.check(&*source, &*target);
        hand.gathered.tally.chunks += 1;
        hand.gathered.tally.compared.by(check).bytes += extent.length;
        Ok(if is_same { Outcome::Done } else { Outcome::Differs })
    }

    /// Computes the checksum of one chunk on the side that is read.
    fn sum_chunk(
        &self,
        task: &ChunkTask,
        (side, version): (Side, Version),
        part_bytes: Option<u64>,
        hand: &mut CompareHand,
    ) -> Result<Receipt, Trouble> {
        let (dir, name) = match side {
            Side::Source => (task.place.source_dir(&*self.root.source).at(side)?, &*task.name),
            Side::Target => {
                (self.target_dir(&task.place)?, self.target_name(&task.place, &task.name))
            }
        };
        let extent = task.extent();
        let file = self.open_chunk(&*dir, name, version, extent).at(side)?;
        let tally = &mut hand.gathered.tally;
        tally.chunks += 1;
        summed(&*file, extent, part_bytes, &mut hand.buffers, &mut tally.compared).at(side)
    }

    /// Opens a file to read one extent, bypassing the page cache where that is requested.
    fn open_chunk(
        &self,
        dir: &dyn Dir,
        name: &Name,
        version: Version,
        extent: Extent,
    ) -> types::error::Result<Box<dyn SourceFile>> {
        let file = open_version(dir, name, version, extent)?;
        if self.options.bypass_cache {
            file.bypass_cache()?;
        }
        Ok(file)
    }

    fn tell_owner(&self, task: &ChunkTask, done: ChunksDone, crew: &Crew<'_, Self>) {
        if task.owner == self.rank {
            self.chunks_done(done, crew);
        } else {
            crew.write_to(task.owner, &done);
        }
    }

    /// Counts chunks, and queues the verdict after the last one for an I/O thread.
    pub(super) fn chunks_done(&self, done: ChunksDone, crew: &Crew<'_, Self>) {
        let file = done.file();
        if self.large.count(done) {
            crew.push_pinned(CompareTask::Conclude(file));
        }
    }

    /// Gives the verdict on a large file all of whose chunks are accounted for.
    pub(super) fn conclude(&self, file: u64, hand: &mut CompareHand, crew: &Crew<'_, Self>) {
        let Some(Ended { file, outcome, receipts, .. }) = self.large.end(file) else { return };
        let size_bytes = file.pair.source.size_bytes;
        // The ETag was no MD5 of the content, so it proves nothing either way: the bytes decide.
        if outcome == Outcome::Done && file.way.is_disproved(&receipts, size_bytes) {
            self.queue_chunks(LargePair { way: Way::Bytes, ..file }, crew);
            return crew.release();
        }
        let outcome = outcome_of_sum(outcome, file.way.expected(), &receipts, size_bytes);
        self.tell_verdict(file, outcome, hand, crew);
        crew.release();
    }

    /// Gives the verdict on a large file, after verifying that both sides are still what they were.
    fn tell_verdict(
        &self,
        file: LargePair,
        outcome: Outcome,
        hand: &mut CompareHand,
        crew: &Crew<'_, Self>,
    ) {
        let LargePair { place, name, files, way, mut pair } = file;
        let is_different = outcome == Outcome::Differs;
        let checked = match outcome {
            Outcome::Failed(trouble) => Err(trouble),
            Outcome::Done | Outcome::Differs => {
                files.check(pair.source.version(), pair.target.version())
            }
        };
        match checked {
            Ok(()) => {
                let check = way.check(&*files.source, &*files.target);
                hand.gathered.tally.compared.by(check).files += 1;
                if is_different {
                    pair.differing.insert(Fields::CONTENT);
                }
                let both = (Some(&pair.source), Some(&pair.target));
                self.judge(&place, &name, both, pair.findings(), hand, crew);
            }
            Err(trouble) => self.fail(&place, name.to_bytes(), trouble, hand, crew),
        }
    }
}
