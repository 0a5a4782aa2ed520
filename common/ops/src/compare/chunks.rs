//! Comparison of large files: many ranks compare chunks, and the owner of the file gives the
//! verdict.

use std::ffi::CString;
use std::sync::Arc;

use super::content::{Way, is_same_by_sums, is_same_extent, open_version, summed};
use super::{CompareJob, CompareTask, CompareWorker, Opened, Pair};
use crate::chunked::{ChunkTask, ChunkWork, ChunksDone, Digest, Ended, Outcome};
use crate::walk::Visit;
use crate::walk::dir_ref::DirRef;
use sched::context::TaskContext;
use store::{Dir, Receipt, SourceFile};
use types::content::chunk::Extent;
use types::entry::Version;
use types::error::{At, Cause, Op, Side, SideError};
use types::outcome::difference::Fields;
use types::outcome::tally::Check;
use types::path::Name;

/// The open handles of both sides of a file.
pub(super) struct FilePair {
    pub source: Box<dyn SourceFile>,
    pub target: Box<dyn SourceFile>,
}

/// A large file that is being compared.
pub(super) struct LargePair {
    dir_ref: Arc<DirRef>,
    name: CString,
    files: FilePair,
    way: Way,
    pair: Pair,
}

impl FilePair {
    /// Verifies that both files are unchanged since they were inspected; otherwise nothing that was
    /// read proves anything.
    pub fn check(&self, source: Version, target: Version) -> Result<(), SideError> {
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
    ) -> Result<FilePair, SideError> {
        let open_source = || entry.dir.open_file(entry.name).at(Side::Source);
        let source = opened.0.map_or_else(open_source, Ok)?;
        let target_name = self.target_name(entry.dir_ref, entry.name);
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
        worker: &mut CompareWorker,
        context: &TaskContext<'_, Self>,
    ) -> Result<(), SideError> {
        let files = self.open_pair(entry, target_dir, std::mem::take(&mut pair.opened))?;
        let way = Way::of(&*files.source, &*files.target, self.options.evidence)?;
        let (dir_ref, name) = (Arc::clone(entry.dir_ref), entry.name.to_owned());
        let large = LargePair { dir_ref, name, files, way, pair };
        if let Some(is_same) = way.known() {
            let check = way.check(&*large.files.source, &*large.files.target);
            let size_bytes = large.pair.source.size_bytes;
            worker.gathered.tally.compared.by(check).bytes += size_bytes;
            let outcome = if is_same { Outcome::Done } else { Outcome::Differs };
            self.tell_verdict(large, outcome, worker, context);
        } else {
            self.queue_chunks(large, context);
        }
        Ok(())
    }

    /// Queues all chunks of a large file.
    fn queue_chunks(&self, large: LargePair, context: &TaskContext<'_, Self>) {
        let (source, target) = (large.pair.source.version(), large.pair.target.version());
        let size_bytes = large.pair.source.size_bytes;
        let requested_bytes = self.root.source.chunk_bytes(size_bytes, self.options.chunk_bytes);
        let named = (&large.dir_ref, &*large.name);
        let task = large.way.task(self.rank, named, [source, target], requested_bytes);
        let file = self.large.begin(large, task.run.count());
        // The rank waits for messages until the last chunk is counted, so the job must not end
        // before.
        context.hold();
        context.push(CompareTask::Chunks(ChunkTask { file, ..task }));
    }

    /// Compares the first chunk of a run, unless the result of the file is known already.
    pub(super) fn run_chunks(
        &self,
        mut task: ChunkTask,
        worker: &mut CompareWorker,
        context: &TaskContext<'_, Self>,
    ) {
        if self.large.is_decided(&task) {
            return self.tell_owner(&task, task.done(Outcome::Done, None), context);
        }
        task.keep_first(context);
        let mut receipt = None;
        let outcome = Outcome::of(match &task.work {
            ChunkWork::Sum { side, version, digest } => {
                self.sum_chunk(&task, (*side, *version), *digest, worker).map(|left| {
                    receipt = Some(left);
                    Outcome::Done
                })
            }
            _ => self.compare_chunk(&task, worker),
        });
        if outcome != Outcome::Done {
            self.large.decide(&task);
        }
        self.tell_owner(&task, task.done(outcome, receipt), context);
    }

    /// Reports chunks as failed that had not begun when the job was interrupted.
    pub(super) fn give_up_chunks(&self, task: &ChunkTask, context: &TaskContext<'_, Self>) {
        let stopped = SideError { side: Side::Source, error: Op::Compare.failed(Cause::Stopped) };
        self.tell_owner(task, task.done(Outcome::Failed(stopped), None), context);
    }

    /// Compares one chunk byte by byte.
    fn compare_chunk(
        &self,
        task: &ChunkTask,
        worker: &mut CompareWorker,
    ) -> Result<Outcome, SideError> {
        let ChunkWork::Compare { source, target } = &task.work else { return Ok(Outcome::Done) };
        let source_dir = task.dir_ref.source_dir(&*self.root.source).at(Side::Source)?;
        let target_dir = self.target_dir(&task.dir_ref)?;
        let extent = task.key_range();
        let source = self.open_chunk(&*source_dir, &task.name, *source, extent);
        let name = self.target_name(&task.dir_ref, &task.name);
        let target = self.open_chunk(&*target_dir, name, *target, extent);
        let (source, target) = (source.at(Side::Source)?, target.at(Side::Target)?);
        let (evidence, buffers) = (self.options.evidence, &mut worker.buffers);
        let by_sums = is_same_by_sums(&*source, &*target, extent, evidence, buffers)?;
        let (is_same, check) = if let Some(is_same) = by_sums {
            (is_same, Check::Checksum)
        } else {
            let is_same = is_same_extent(&*source, &*target, extent, self.reading(), buffers)?;
            (is_same, Way::BYTES.check(&*source, &*target))
        };
        worker.gathered.tally.chunks += 1;
        worker.gathered.tally.compared.by(check).bytes += extent.length;
        Ok(if is_same { Outcome::Done } else { Outcome::Differs })
    }

    /// Computes the checksum of one chunk on the side that is read.
    fn sum_chunk(
        &self,
        task: &ChunkTask,
        (side, version): (Side, Version),
        digest: Digest,
        worker: &mut CompareWorker,
    ) -> Result<Receipt, SideError> {
        let (dir, name) = match side {
            Side::Source => (task.dir_ref.source_dir(&*self.root.source).at(side)?, &*task.name),
            Side::Target => {
                (self.target_dir(&task.dir_ref)?, self.target_name(&task.dir_ref, &task.name))
            }
        };
        let extent = task.key_range();
        let file = self.open_chunk(&*dir, name, version, extent).at(side)?;
        let tally = &mut worker.gathered.tally;
        tally.chunks += 1;
        summed(&*file, extent, digest, &mut worker.buffers, &mut tally.compared).at(side)
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

    fn tell_owner(&self, task: &ChunkTask, done: ChunksDone, context: &TaskContext<'_, Self>) {
        if task.owner == self.rank {
            self.chunks_done(done, context);
        } else {
            context.write_to(task.owner, &done);
        }
    }

    /// Counts chunks, and queues the verdict after the last one for an I/O thread.
    pub(super) fn chunks_done(&self, done: ChunksDone, context: &TaskContext<'_, Self>) {
        let file = done.file();
        if self.large.count(done) {
            context.push_pinned(CompareTask::Conclude(file));
        }
    }

    /// Gives the verdict on a large file all of whose chunks are accounted for.
    pub(super) fn conclude(
        &self,
        file: u64,
        worker: &mut CompareWorker,
        context: &TaskContext<'_, Self>,
    ) {
        let Some(Ended { file, outcome, receipts, .. }) = self.large.end(file) else { return };
        let size_bytes = file.pair.source.size_bytes;
        // The ETag was no MD5 of the content, so it proves nothing either way: the bytes decide.
        if outcome == Outcome::Done && file.way.is_disproved(&receipts, size_bytes) {
            let way = file.way.after_name();
            self.queue_chunks(LargePair { way, ..file }, context);
            return context.release();
        }
        let outcome = file.way.verdict(outcome, &receipts, size_bytes);
        self.tell_verdict(file, outcome, worker, context);
        context.release();
    }

    /// Gives the verdict on a large file, after verifying that both sides are still what they were.
    fn tell_verdict(
        &self,
        file: LargePair,
        outcome: Outcome,
        worker: &mut CompareWorker,
        context: &TaskContext<'_, Self>,
    ) {
        let LargePair { dir_ref, name, files, way, mut pair } = file;
        let is_different = outcome == Outcome::Differs;
        let checked = match outcome {
            Outcome::Failed(side_error) => Err(side_error),
            Outcome::Done | Outcome::Differs => {
                files.check(pair.source.version(), pair.target.version())
            }
        };
        match checked {
            Ok(()) => {
                let check = way.check(&*files.source, &*files.target);
                worker.gathered.tally.compared.by(check).files += 1;
                if is_different {
                    pair.differing.insert(Fields::CONTENT);
                }
                let both = (Some(&pair.source), Some(&pair.target));
                self.give_or_hold(&dir_ref, &name, both, pair.findings(), worker, context);
            }
            Err(side_error) => self.fail(&dir_ref, name.to_bytes(), side_error, worker, context),
        }
    }
}
