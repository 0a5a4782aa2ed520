//! Copy of a large file: many ranks write into one staged file, and its owner renames it to its
//! final name.

use super::arrival;
use super::env::Env;
use super::look;
use super::resume;
use super::small;
use std::ffi::CString;
use std::sync::Arc;

use super::arrival::{check_arrived, check_md5s, proof_of};
use super::attribute_policy::Plain;
use super::content::share;
use super::context::{Context, CopyTaskContext, Progress};
use super::decide::Sides;
use super::linked::LinkedFile;
use super::resume::{Staging, stays};
use super::small::FileCopy;
use super::upkeep::Upkeep;
use super::verify::Arrived;
use super::{CopyMessage, CopyTask};
use crate::chunked::{ChunkTask, ChunkWork, Chunked, ChunksDone, Ended, Outcome};
use crate::compare::content::Way;
use crate::walk::Visit;
use crate::walk::dir_ref::DirRef;
use store::{Dir, Receipt, SourceFile, StagedFile};
use types::content::crc64::Crc64;
use types::content::cut::Cut;
use types::content::etag::PartedEtag;
use types::content::stripe_chunks::StripeChunks;
use types::content::transfer::{Holes, TransferMode};
use types::entry::{Hint, Kind, Metadata, Preserved, Proof};
use types::error::{At, Cause, Op, Side, SideError};
use types::path::Name;
use types::service::ServiceFault;

/// A large file that is being copied.
pub(super) struct LargeCopy {
    pub(super) dir_ref: Arc<DirRef>,
    name: CString,
    /// All its chunks, before a number is assigned to the file.
    pub(super) chunks: ChunkTask,
    source: Box<dyn SourceFile>,
    pub(super) staged: Box<dyn StagedFile>,
    copy: FileCopy,
    /// ETag that its content is compared with.
    pub(super) etag: Option<PartedEtag>,
    /// Size of the parts that are compared during the copy.
    pub(super) part_bytes: Option<u64>,
    /// MD5s of its parts as they were written, where the file was read again.
    md5s_as_written: Option<Vec<u128>>,
    /// The names of the file, where it is hard-linked.
    linked: Option<LinkedFile>,
}

/// A large file that many ranks work on.
pub(super) enum Large {
    /// The file is being copied.
    Copy(LargeCopy),
    /// The file is written and is being read again. The receipts are those of its writers.
    Written(LargeCopy, Vec<Receipt>),
    /// The file is being compared with the target's, to find out whether it must be copied.
    Comparison {
        dir_ref: Arc<DirRef>,
        name: CString,
        sides: Sides,
        way: Way,
        /// The names of the file, where it is hard-linked.
        linked: Option<LinkedFile>,
    },
}

/// Executor of the large files that this rank owns, and of chunks of any file.
#[derive(Default)]
pub(super) struct LargeFiles {
    pub(super) open: Chunked<Large>,
}

/// Remaining step for a large file whose chunks are all accounted for.
#[allow(clippy::large_enum_variant, reason = "one at a time, handed on at once")]
pub(super) enum Ending {
    /// The file is complete, has failed, or was begun again.
    Done(Progress),
    /// The comparison is complete, and the entry gets what it needs.
    Compared { dir_ref: Arc<DirRef>, name: CString, sides: Sides, outcome: Outcome },
}

impl LargeFiles {
    /// Stages a large file and queues all its chunks; or completes it at once, where it is cloned
    /// from the source.
    pub(super) fn begin_large(
        &self,
        entry: &Visit<'_>,
        source: Box<dyn SourceFile>,
        target: &dyn Dir,
        copy: FileCopy,
        cx: &mut Context<'_, '_>,
    ) -> Result<Option<Preserved>, SideError> {
        let metadata = copy.metadata;
        let etag = arrival::etag_of(cx.env, entry.dir_ref, &*source)?;
        let Staging { staged, chunk_bytes } =
            resume::stage_large(cx.env, entry, &*source, etag.as_ref(), target, &copy)?;
        cx.worker.gathered.tally.needed_bytes += metadata.size_bytes;
        let part_bytes = etag.map(|etag| etag.part_bytes);
        let part_bytes = part_bytes.filter(|bytes| {
            arrival::is_hashed(cx.env, entry.dir_ref, (metadata.size_bytes, chunk_bytes), *bytes)
        });
        let transfer_mode =
            TransferMode { part_bytes, ..cx.env.options.transfer.transfer_mode(&metadata) };
        let ticket = staged.ticket();
        let transfer_mode = if cx.env.journal_of(&*staged).is_some() {
            transfer_mode.summed()
        } else {
            transfer_mode
        };
        let from_objects = cx.env.root(entry.dir_ref).source.holds_objects();
        let cut = if from_objects {
            Cut::Even { chunk_bytes }
        } else {
            cut_of(&*staged, &metadata, transfer_mode, chunk_bytes)
        };
        let (dir_ref, name) = (Arc::clone(entry.dir_ref), entry.name.to_owned());
        let chunks = ChunkTask {
            owner: cx.env.rank,
            file: 0,
            dir_ref: Arc::clone(&dir_ref),
            name: name.clone(),
            identity: metadata.identity(),
            cut,
            work: ChunkWork::Copy { ticket, transfer_mode },
            run: cut.whole(metadata.size_bytes),
        };
        let shared = share(&*source, &*staged, &metadata, cx.env.options.transfer);
        let mut large = LargeCopy {
            dir_ref,
            name,
            chunks: chunks.clone(),
            source,
            staged,
            copy,
            etag,
            part_bytes,
            md5s_as_written: None,
            linked: None,
        };
        match shared {
            Ok(false) => {}
            Ok(true) => return commit_large(cx.env, large, Outcome::Done, Vec::new()).map(Some),
            Err(side_error) => {
                return commit_large(cx.env, large, Outcome::Failed(side_error), Vec::new())
                    .map(Some);
            }
        }
        // Only now, because an error before leaves the other names to the next of them.
        large.linked = cx.linked.take();
        let file = self.open.begin(Large::Copy(large), chunks.run.count());
        // This rank waits for messages until the last chunk is done, so the job must not end:
        // chunks at other ranks are no work of this one, and its own queue may be empty.
        cx.task.hold();
        cx.task.push(CopyTask::Chunks(ChunkTask { file, ..chunks }));
        Ok(None)
    }

    pub(super) fn tell_owner(
        &self,
        task: &ChunkTask,
        done: ChunksDone,
        context: &CopyTaskContext<'_, '_>,
    ) {
        if task.owner == context.rank() {
            self.chunks_done(done, context);
        } else {
            context.write_to(task.owner, &CopyMessage::Chunks(done));
        }
    }

    /// Counts finished chunks; after the last one the file is ended on an I/O thread.
    pub(super) fn chunks_done(&self, done: ChunksDone, context: &CopyTaskContext<'_, '_>) {
        let file = done.file();
        if self.open.count(done) {
            context.push_pinned(CopyTask::Commit(file));
        }
    }

    /// Ends a large file whose chunks are all accounted for. Returns `None` while they are read
    /// again.
    pub fn end(&self, file: u64, upkeep: &Upkeep<'_>, cx: &mut Context<'_, '_>) -> Option<Ending> {
        let ended = self.open.end(file)?;
        let Ended { file, outcome, receipts, .. } = self.have_chunks_verified(ended, cx)?;
        match file {
            Large::Copy(file) | Large::Written(file, _) => {
                Some(Ending::Done(self.end_copy(file, outcome, receipts, upkeep, cx)))
            }
            Large::Comparison { dir_ref, name, sides, way, linked } => {
                cx.linked = linked;
                let size_bytes = sides.source.size_bytes;
                if outcome == Outcome::Done && way.is_disproved(&receipts, size_bytes) {
                    self.begin_comparison((&dir_ref, &name), way.after_name(), &sides, cx);
                    return Some(Ending::Done(Progress::Open));
                }
                let outcome = way.verdict(outcome, &receipts, size_bytes);
                Some(Ending::Compared { dir_ref, name, sides, outcome })
            }
        }
    }

    fn end_copy(
        &self,
        mut file: LargeCopy,
        mut outcome: Outcome,
        receipts: Vec<Receipt>,
        upkeep: &Upkeep<'_>,
        cx: &mut Context<'_, '_>,
    ) -> Progress {
        if outcome == Outcome::Done {
            match arrival::md5s_as_written(&file, cx) {
                Ok(md5s) => file.md5s_as_written = md5s,
                Err(side_error) => outcome = Outcome::Failed(side_error),
            }
        }
        cx.linked = file.linked.take();
        let (dir_ref, name) = (Arc::clone(&file.dir_ref), file.name.clone());
        let (copy, crc64) = (file.copy.clone(), file.sum(&receipts));
        let metadata = copy.metadata;
        let inode = cx.env.verifier.and_then(|_| file.staged.inode());
        match commit_large(cx.env, file, outcome, receipts) {
            Err(side_error) if is_to_be_begun_anew(&side_error) && !copy.is_anew => {
                if let Err(side_error) = self.copy_anew(&dir_ref, &name, copy, cx) {
                    fail_large(&dir_ref, &name, side_error, cx);
                }
                Progress::Open
            }
            Ok(preserved) => {
                cx.reason = copy.reason;
                cx.copied((&dir_ref, &name), Kind::File, preserved);
                let copied = cx.movable((&dir_ref, &name), &metadata, preserved);
                let file = Arrived { metadata: &metadata, crc64, inode, copied };
                upkeep.large_file_is_there(&dir_ref, &name, file, cx)
            }
            Err(side_error) => {
                fail_large(&dir_ref, &name, side_error, cx);
                Progress::Open
            }
        }
    }

    /// Starts the comparison of the two sides of a file by many ranks.
    pub(super) fn begin_comparison(
        &self,
        (dir_ref, name): (&Arc<DirRef>, &Name),
        way: Way,
        sides: &Sides,
        cx: &mut Context<'_, '_>,
    ) {
        let (source, target) = (sides.source.version(), sides.target.version());
        let requested_bytes = cx.env.chunk_bytes(dir_ref, sides.source.size_bytes);
        let task = way.task(cx.env.rank, (dir_ref, name), [source, target], requested_bytes);
        let (dir_ref, name) = (Arc::clone(dir_ref), name.to_owned());
        let (sides, linked) = (Sides { ..*sides }, cx.linked.take());
        let large = Large::Comparison { dir_ref, name, sides, way, linked };
        let file = self.open.begin(large, task.run.count());
        cx.task.hold();
        cx.task.push(CopyTask::Chunks(ChunkTask { file, ..task }));
    }

    /// Copies a file again from its beginning, because another job has ended its upload, or because
    /// its ctime changed, so that its content may have changed.
    fn copy_anew(
        &self,
        dir_ref: &Arc<DirRef>,
        name: &Name,
        copy: FileCopy,
        cx: &mut Context<'_, '_>,
    ) -> Result<(), SideError> {
        let dir = dir_ref.source_dir(&*cx.env.root(dir_ref).source).at(Side::Source)?;
        let source = dir.open_file(name).at(Side::Source)?;
        let metadata = source.metadata().at(Side::Source)?;
        if metadata.identity() != copy.metadata.identity() {
            return Err(Op::Copy.failed(Cause::Changed)).at(Side::Source);
        }
        let target = dir_ref.target_dir(cx.env.target(dir_ref)).at(Side::Target)?;
        let entry = Visit::again(dir_ref, &dir, name, Hint::File);
        let mut copy = FileCopy { is_anew: true, ..copy };
        if metadata.version() != copy.metadata.version() {
            let xattrs = cx.env.xattrs_of(|| source.xattrs())?;
            let old = look::replaced(cx.env, &entry, &*target, &metadata)?;
            let old = old.filter(|old| old.kind == Kind::File);
            let plain = Plain::of_entry(cx.env.options, &metadata, &*target).at(Side::Target)?;
            copy.attributes =
                small::attributes_of(cx.env, &entry, &metadata, xattrs, old.as_ref(), plain);
            copy.metadata = metadata;
        }
        self.begin_large(&entry, source, &*target, copy, cx).map(|_| ())
    }
}

/// Returns the division of a file, along the stripes of its target where that has any. Objects are
/// not cut so: they are requested in one piece.
fn cut_of(
    staged: &dyn StagedFile,
    metadata: &Metadata,
    transfer_mode: TransferMode,
    chunk_bytes: u64,
) -> Cut {
    let Some(mut striping) = staged.striping(metadata.size_bytes) else {
        return Cut::Even { chunk_bytes };
    };
    // Holes are detected sequentially.
    if transfer_mode.holes == Holes::Preserved {
        striping.stripe_count = 1;
    }
    Cut::Striped(StripeChunks::new(striping, metadata.size_bytes, chunk_bytes))
}

/// Renames the complete file to its final name; removes the staged file where anything failed.
fn commit_large(
    env: &Env<'_>,
    file: LargeCopy,
    outcome: Outcome,
    receipts: Vec<Receipt>,
) -> Result<Preserved, SideError> {
    let unchanged = match outcome {
        Outcome::Failed(side_error) => Err(side_error),
        Outcome::Done | Outcome::Differs => file.check(&receipts),
    };
    let proof = match unchanged {
        Ok(proof) => proof,
        Err(side_error) => {
            resume::give_up_large(env, file, side_error.error.cause);
            return Err(side_error);
        }
    };
    let LargeCopy { staged, copy, .. } = file;
    // The record is ended after the rename: if the job dies between the two, the next one finds the
    // staged file gone, and the file complete.
    let (journal, ticket) = (env.journal.filter(|_| stays(&*staged)), staged.ticket());
    let preserved = staged.commit(&copy.attributes, receipts).at(Side::Target);
    if let Some(journal) = journal {
        journal.end(&ticket);
    }
    let preserved = preserved?;
    Ok(Preserved { proof: proof_of(proof, preserved.proof), ..preserved })
}

/// Reports a large file as failed. A file that was cancelled because the job stops is only counted:
/// the cause was reported.
pub(super) fn fail_large(
    dir_ref: &DirRef,
    name: &Name,
    side_error: SideError,
    cx: &mut Context<'_, '_>,
) {
    if side_error.error.cause == Cause::Stopped {
        cx.worker.gathered.tally.cancelled_tasks += 1;
    } else {
        cx.fail(dir_ref, name.to_bytes(), side_error);
    }
}

fn is_to_be_begun_anew(side_error: &SideError) -> bool {
    let is_changed = side_error.side == Side::Source && side_error.error.cause == Cause::Changed;
    is_changed || side_error.error.cause == Cause::Service(ServiceFault::NoUpload)
}

impl LargeCopy {
    /// Returns the staged file.
    pub(super) fn into_staged(self) -> Box<dyn StagedFile> {
        self.staged
    }

    /// Returns the checksum of the whole file, if each chunk was checksummed during the copy.
    fn sum(&self, receipts: &[Receipt]) -> Option<Crc64> {
        match self.chunks.cut {
            Cut::Even { .. } => Receipt::crc64_of(receipts, self.copy.metadata.size_bytes),
            Cut::Striped(_) if self.chunks.run.count() != receipts.len() as u64 => None,
            Cut::Striped(_) => receipts
                .iter()
                .try_fold(Crc64::default(), |sum, receipt| Some(sum.with_share(receipt.crc64?))),
        }
    }

    /// Checks that the source is unchanged, and that all written content has arrived.
    fn check(&self, receipts: &[Receipt]) -> Result<Option<Proof>, SideError> {
        let metadata = &self.copy.metadata;
        let written_bytes = self.staged.size_bytes(receipts).at(Side::Target)?;
        let expected_bytes = metadata.size_bytes;
        if written_bytes != expected_bytes {
            let short = Cause::ShortWrite { written_bytes, expected_bytes };
            return Err(Op::Write.failed(short)).at(Side::Target);
        }
        let now = self.source.metadata().at(Side::Source)?;
        if now.version() != metadata.version() {
            return Err(Op::Copy.failed(Cause::Changed)).at(Side::Source);
        }
        match (&self.etag, &self.md5s_as_written) {
            (Some(etag), Some(md5s)) => check_md5s(&*self.source, etag, md5s).map(Some),
            (etag, _) => {
                let arrived = (metadata.size_bytes, receipts);
                check_arrived(&*self.source, etag.as_ref(), arrived, false)
            }
        }
    }

    /// Returns the size of the file.
    pub(super) fn size_bytes(&self) -> u64 {
        self.copy.metadata.size_bytes
    }
}
