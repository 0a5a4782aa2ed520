//! Execution of chunks of large files: the rank that takes a chunk copies, compares or checksums
//! it, and reports to the owner of the file.

use super::content::{Piece, copy_piece};
use super::context::Context;
use super::context::CopyTaskContext;
use super::large::LargeFiles;
use super::resume;
use super::sync::unless_in_doubt;
use super::verify;
use crate::chunked::{ChunkTask, ChunkWork, Digest, Outcome};
use crate::compare::content::{Way, is_same_by_sums, is_same_extent, open_version, summed};
use crate::compare::holes::Reading;
use store::{Receipt, Sender};
use types::content::chunk::ChunkRun;
use types::content::crc64::Crc64;
use types::content::cut::Cut;
use types::content::etag::PartHasher;
use types::content::transfer::{Sums, TransferMode};
use types::entry::Version;
use types::error::{At, Cause, Op, Side, SideError};
use types::outcome::tally::Check;

impl LargeFiles {
    /// Works on the first chunk of a run.
    pub(super) fn run_chunks(&self, mut task: ChunkTask, cx: &mut Context<'_, '_>) {
        if let Some(part_bytes) = parts_across_chunks(&task) {
            return self.copy_in_order(&task, part_bytes, cx);
        }
        // The rest waits in halves: another thread or rank steals the largest of them.
        task.keep_first(cx.task);
        let mut receipt = None;
        let outcome = match &task.work {
            ChunkWork::Copy { ticket, transfer_mode } => {
                let mut hasher = transfer_mode.part_bytes.map(PartHasher::new);
                let copied = copy_chunk(&task, ticket, *transfer_mode, &mut hasher, cx);
                copied.map(|left| {
                    receipt = with_md5s(left, hasher);
                    Outcome::Done
                })
            }
            ChunkWork::Compare { .. } | ChunkWork::Sum { .. } if self.open.is_decided(&task) => {
                Ok(Outcome::Done)
            }
            ChunkWork::Compare { source, target } => compare_chunk(&task, [*source, *target], cx),
            ChunkWork::Sum { side, version, digest } => {
                sum_chunk(&task, (*side, *version), *digest, cx).map(|left| {
                    receipt = left;
                    if receipt.is_some() { Outcome::Done } else { Outcome::Differs }
                })
            }
        };
        if outcome != Ok(Outcome::Done) {
            self.open.decide(&task);
        }
        let unverified = verify::unverified_chunk(cx.env, &task, receipt.as_ref());
        let done = task.done(Outcome::of(outcome), receipt).to_be_verified(unverified);
        self.tell_owner(&task, done, cx.task);
    }

    /// Reports chunks as failed that had not begun when the job was interrupted.
    pub(super) fn give_up_chunks(&self, task: &ChunkTask, context: &CopyTaskContext<'_, '_>) {
        let stopped = SideError { side: Side::Source, error: Op::Copy.failed(Cause::Stopped) };
        self.tell_owner(task, task.done(Outcome::Failed(stopped), None), context);
    }

    /// Copies all chunks of a run one after the other, so that an MD5 covers more than one of them.
    fn copy_in_order(&self, task: &ChunkTask, part_bytes: u64, cx: &mut Context<'_, '_>) {
        let ChunkWork::Copy { ticket, transfer_mode } = &task.work else { return };
        let mut hasher = Some(PartHasher::new(part_bytes));
        for first in task.run.first..task.run.end {
            let chunk = ChunkTask { run: ChunkRun { first, end: first + 1 }, ..task.clone() };
            if cx.task.is_stopped() || self.open.is_decided(task) {
                self.give_up_chunks(&chunk, cx.task);
                continue;
            }
            let copied = copy_chunk(&chunk, ticket, *transfer_mode, &mut hasher, cx);
            let is_last = first + 1 == task.run.end;
            let copied =
                copied.map(|left| if is_last { with_md5s(left, hasher.take()) } else { left });
            if copied.is_err() {
                self.open.decide(task);
            }
            let (outcome, receipt) = match copied {
                Ok(receipt) => (Outcome::Done, receipt),
                Err(side_error) => (Outcome::Failed(side_error), None),
            };
            self.tell_owner(&chunk, chunk.done(outcome, receipt), cx.task);
        }
    }
}

fn copy_chunk(
    task: &ChunkTask,
    ticket: &[u8],
    transfer_mode: TransferMode,
    hasher: &mut Option<PartHasher>,
    cx: &mut Context<'_, '_>,
) -> Result<Option<Receipt>, SideError> {
    let extents = task.extents();
    // The chunk table of a striped file may have chunks beyond the end of the file.
    let Some(first) = extents.first() else {
        let nothing = Receipt::of_bytes(task.key_range(), Crc64::default());
        return Ok(Some(nothing).filter(|_| transfer_mode.sums == Sums::All));
    };
    let bytes: u64 = extents.iter().map(|extent| extent.length).sum();
    let target_dir = task.dir_ref.target_dir(cx.env.target(&task.dir_ref)).at(Side::Target)?;
    if let Some(receipt) = resume::written_before(task, ticket, hasher, &*target_dir, cx) {
        cx.worker.gathered.tally.resumed_bytes += bytes;
        return Ok(Some(receipt));
    }
    let source_dir =
        task.dir_ref.source_dir(&*cx.env.root(&task.dir_ref).source).at(Side::Source)?;
    let source = source_dir.open_extent(&task.name, &task.identity, *first).at(Side::Source)?;
    let target_name = cx.env.target_name(&task.dir_ref, &task.name);
    let staged = target_dir.join_staged(ticket, target_name).at(Side::Target)?;
    let mut crc64 = Some(Crc64::default());
    for extent in &extents {
        let piece = Piece { extent: *extent, size_bytes: task.identity.size_bytes, transfer_mode };
        let next = copy_piece(&*source, &*staged, piece, hasher, &mut cx.worker.buffer)?;
        crc64 = crc64.zip(next).map(|(sum, next)| task.add_sum(sum, *extent, next));
    }
    let (journal, extent) = (cx.env.journal_of(&*staged), task.key_range());
    let receipt = staged.close().at(Side::Target)?;
    if let (Some(journal), Some(crc64)) = (journal, crc64) {
        journal.chunk(ticket, extent, crc64);
    }
    let tally = &mut cx.worker.gathered.tally;
    if receipt.as_ref().is_some_and(|receipt| receipt.by == Sender::Before) {
        tally.resumed_bytes += bytes;
    } else {
        tally.copied_bytes += bytes;
        tally.chunks += 1;
    }
    Ok(receipt.or_else(|| {
        let is_evidence = crc64.is_some() || hasher.is_some();
        is_evidence.then(|| Receipt::sent(extent, crc64, String::new(), Sender::Here))
    }))
}

/// Compares a chunk of both sides, to find out whether the file must be copied.
fn compare_chunk(
    task: &ChunkTask,
    [source, target]: [Version; 2],
    cx: &mut Context<'_, '_>,
) -> Result<Outcome, SideError> {
    let source_dir =
        task.dir_ref.source_dir(&*cx.env.root(&task.dir_ref).source).at(Side::Source)?;
    let target_dir = task.dir_ref.target_dir(cx.env.target(&task.dir_ref)).at(Side::Target)?;
    let extent = task.key_range();
    let from_source = open_version(&*source_dir, &task.name, source, extent);
    let Some(source) = unless_in_doubt(from_source.at(Side::Source))? else {
        return Ok(Outcome::Differs);
    };
    let target_name = cx.env.target_name(&task.dir_ref, &task.name);
    let from_target = open_version(&*target_dir, target_name, target, extent);
    let Some(target) = unless_in_doubt(from_target.at(Side::Target))? else {
        return Ok(Outcome::Differs);
    };
    let evidence = cx.env.evidence();
    let buffers = cx.worker.buffers(cx.env.options.buffer_bytes);
    let by_sums = is_same_by_sums(&*source, &*target, extent, evidence, buffers);
    let Some(by_sums) = unless_in_doubt(by_sums)? else { return Ok(Outcome::Differs) };
    let (compared, check) = match by_sums {
        Some(is_same) => (Ok(is_same), Check::Checksum),
        None => (
            is_same_extent(&*source, &*target, extent, Reading::AroundHoles, buffers),
            Way::BYTES.check(&*source, &*target),
        ),
    };
    cx.worker.gathered.tally.compared.by(check).bytes += extent.length;
    let is_same = unless_in_doubt(compared)?.unwrap_or(false);
    Ok(if is_same { Outcome::Done } else { Outcome::Differs })
}

/// Computes the checksum of a chunk on the side that has none stored. Returns `None` for a file
/// that has changed: it is copied, with a check of its own.
fn sum_chunk(
    task: &ChunkTask,
    (side, version): (Side, Version),
    digest: Digest,
    cx: &mut Context<'_, '_>,
) -> Result<Option<Receipt>, SideError> {
    let (dir, name) = match side {
        Side::Source => (task.dir_ref.source_dir(&*cx.env.root(&task.dir_ref).source), &*task.name),
        Side::Target => {
            let name = cx.env.target_name(&task.dir_ref, &task.name);
            (task.dir_ref.target_dir(cx.env.target(&task.dir_ref)), name)
        }
    };
    let extent = task.key_range();
    let opened = open_version(&*dir.at(side)?, name, version, extent);
    let (buffers, compared) = cx.worker.buffers_and_count(cx.env.options.buffer_bytes);
    let summed = opened.and_then(|file| summed(&*file, extent, digest, buffers, compared));
    unless_in_doubt(summed.at(side))
}

/// Returns the size of parts whose MD5s are wanted and that do not divide a chunk evenly: these are
/// read in order. Stripe chunks have no parts, because no object is cut along stripes.
fn parts_across_chunks(task: &ChunkTask) -> Option<u64> {
    let (ChunkWork::Copy { transfer_mode, .. }, Cut::Even { chunk_bytes }) = (&task.work, task.cut)
    else {
        return None;
    };
    transfer_mode.part_bytes.filter(|part_bytes| !chunk_bytes.is_multiple_of(*part_bytes))
}

/// Adds to a receipt the MD5s of the parts that were read for it.
fn with_md5s(receipt: Option<Receipt>, hasher: Option<PartHasher>) -> Option<Receipt> {
    let part_md5s = hasher.map(PartHasher::finish).unwrap_or_default();
    receipt.map(|receipt| Receipt { part_md5s, ..receipt })
}
