//! Verification: written content is read again, by another rank than the one that wrote it where
//! there is one, and from the storage, not from the page cache. It must have the checksum that was
//! computed while the source was read.
//!
//! The chunks of a large file are verified after the last of them was written, since each write may
//! have damaged others, and while the file is staged, so that a wrong one never gets its final
//! name. A small file, or an object, is verified after it got its final name; a wrong one is
//! removed.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::context::{Context, CopyTaskContext, Progress};
use super::env::Env;
use super::large::{Large, LargeFiles};
use super::moving::Complete;
use super::upkeep::Upkeep;
use super::{CopyMessage, CopyTask};
use crate::chunked::{ChunkTask, ChunkWork, Ended, Outcome, UnverifiedChunk};
use crate::compare::buffers::Buffers;
use crate::compare::content::sum_extent;
use crate::remove::copied::Copied;
use crate::walk::dir_ref::DirRef;
use comm::Rank;
use store::{Dir, Receipt, Sender, SourceFile, StagedFile};
use types::content::chunk::{ChunkRun, Extent};
use types::content::crc64::Crc64;
use types::entry::{Kind, Metadata, Version};
use types::error::{At, Cause, Error, Op, Side, SideError};
use types::limits::UNVERIFIED_MAX;
use types::path::Name;

/// Written content that is to be read again.
#[derive(Debug, Serialize, Deserialize)]
pub enum VerifyTask {
    /// A file with its final name.
    File(WrittenFile),
    /// Chunks of a staged file that is written completely, each with its expected checksum. Their
    /// owner waits for the results.
    Chunks { task: Box<ChunkTask>, chunks: Vec<(u64, Crc64)> },
}

/// A file with its final name that is to be read again. Its writer receives a message afterwards.
#[derive(Debug, Serialize, Deserialize)]
pub struct WrittenFile {
    writer: Rank,
    dir_ref: Arc<DirRef>,
    name: CString,
    expected: Expected,
    /// The entry of the source, where it is to be removed.
    complete: Option<Complete>,
}

/// Expected state of a file with its final name; the version is the one that it had right after the
/// rename.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Expected {
    size_bytes: u64,
    crc64: Crc64,
    version: Version,
}

/// A file that has just got its final name, as its writer knows it.
#[derive(Clone, Copy)]
pub(super) struct Arrived<'m> {
    /// Metadata of the source; the size is that of the written content.
    pub metadata: &'m Metadata,
    /// Checksum of the written content, where it is known.
    pub crc64: Option<Crc64>,
    /// Inode of the staged file, where there is one.
    pub inode: Option<u64>,
    /// State of the source that was read, where it is to be removed.
    pub copied: Option<Copied>,
}

/// Executor that has files read again by other ranks, where that was requested.
#[derive(Default)]
pub(super) struct Verification {
    /// Number of files that wait for verification by another rank.
    unverified: AtomicU64,
}

impl Upkeep<'_> {
    /// Records a file that has got its final name, and has it verified where that is requested. The
    /// file is complete unless its verification has failed.
    pub(super) fn file_is_there(
        &self,
        dir_ref: &Arc<DirRef>,
        name: &Name,
        file: Arrived<'_>,
        cx: &mut Context<'_, '_>,
    ) -> Progress {
        let complete = file.copied.map(|it| cx.complete((dir_ref, name), (file.metadata, it)));
        if is_unheeded(cx.env, dir_ref, name) {
            return is_complete(complete.as_ref(), cx);
        }
        self.manifest.record((dir_ref, name), file.metadata, file.crc64, cx);
        let Some(verifier) = cx.env.verifier else { return is_complete(complete.as_ref(), cx) };
        match expected(cx.env, dir_ref, name, file) {
            Ok(expected) => {
                let name = cx.env.target_name(dir_ref, name).to_owned();
                let (writer, dir_ref) = (cx.env.rank, Arc::clone(dir_ref));
                let file = WrittenFile { writer, dir_ref, name, expected, complete };
                self.verification.have_verified(file, verifier, cx)
            }
            Err(side_error) => not_verified((dir_ref, name), side_error, cx),
        }
    }

    /// Records a large file that has got its final name, and checks its size: its chunks were
    /// verified before, where each has a checksum. The file is complete unless its size is wrong.
    pub(super) fn large_file_is_there(
        &self,
        dir_ref: &Arc<DirRef>,
        name: &Name,
        file: Arrived<'_>,
        cx: &mut Context<'_, '_>,
    ) -> Progress {
        if is_unheeded(cx.env, dir_ref, name)
            || cx.env.target(dir_ref).holds_objects()
            || file.crc64.is_none()
        {
            return self.file_is_there(dir_ref, name, file, cx);
        }
        self.manifest.record((dir_ref, name), file.metadata, file.crc64, cx);
        let complete = file.copied.map(|it| cx.complete((dir_ref, name), (file.metadata, it)));
        if cx.env.verifier.is_none() {
            return is_complete(complete.as_ref(), cx);
        }
        match version_at_target(cx.env, dir_ref, name, file.inode) {
            Ok(version) if version.identity.size_bytes == file.metadata.size_bytes => {
                cx.worker.gathered.tally.verified_files += 1;
                is_complete(complete.as_ref(), cx)
            }
            Ok(version) => {
                let short = Op::Verify.failed(Cause::ShortWrite {
                    written_bytes: version.identity.size_bytes,
                    expected_bytes: file.metadata.size_bytes,
                });
                let side_error = SideError { side: Side::Target, error: short };
                not_verified((dir_ref, name), side_error, cx)
            }
            Err(side_error) => not_verified((dir_ref, name), side_error, cx),
        }
    }
}

impl Verification {
    /// Sends a file to that rank to be read again, or reads it here.
    fn have_verified(
        &self,
        file: WrittenFile,
        verifier: Rank,
        cx: &mut Context<'_, '_>,
    ) -> Progress {
        let waiting = self.unverified.fetch_add(1, Ordering::Relaxed);
        // Other names become links to the file only after it is verified.
        let is_awaited = cx.linked.is_some();
        if verifier == cx.env.rank || waiting >= UNVERIFIED_MAX || is_awaited {
            self.unverified.fetch_sub(1, Ordering::Relaxed);
            verify_written(file, cx)
        } else {
            cx.task.write_to(verifier, &CopyMessage::Verify(VerifyTask::File(file)));
            Progress::Complete
        }
    }

    /// Counts a file that another rank has read again.
    pub fn was_verified(&self) {
        self.unverified.fetch_sub(1, Ordering::Relaxed);
    }
}

impl LargeFiles {
    /// Sends the chunks of a file that is written completely to other ranks than their writers, to
    /// be read again. Returns a file for which that is done, or is not needed.
    pub fn have_chunks_verified(
        &self,
        ended: Ended<Large>,
        cx: &mut Context<'_, '_>,
    ) -> Option<Ended<Large>> {
        let Ended { file, outcome, receipts, unverified } = ended;
        match file {
            Large::Written(file, receipts) => {
                Some(Ended { file: Large::Copy(file), outcome, receipts, unverified })
            }
            Large::Copy(file) if outcome == Outcome::Done && !unverified.is_empty() => {
                let chunks = file.chunks.clone();
                let written = Large::Written(file, receipts);
                let file = self.open.begin(written, unverified.len() as u64);
                send_to_readers(cx.env, &ChunkTask { file, ..chunks }, &unverified, cx.task);
                None
            }
            file => Some(Ended { file, outcome, receipts, unverified }),
        }
    }

    /// Verifies the first of these chunks; the rest is queued in halves, for other threads of this
    /// rank.
    pub fn verify_first(
        &self,
        task: &ChunkTask,
        mut chunks: Vec<(u64, Crc64)>,
        cx: &mut Context<'_, '_>,
    ) {
        while chunks.len() > 1 {
            let upper = chunks.split_off(chunks.len().div_ceil(2));
            let rest = VerifyTask::Chunks { task: Box::new(task.clone()), chunks: upper };
            cx.task.push_pinned(CopyTask::Verify(rest));
        }
        for (chunk, crc64) in chunks {
            let task = one_chunk(task, chunk);
            let verified =
                if self.open.is_decided(&task) { Ok(()) } else { verify_chunk(&task, crc64, cx) };
            if verified.is_err() {
                self.open.decide(&task);
            }
            let outcome = Outcome::of(verified.map(|()| Outcome::Done));
            self.tell_owner(&task, task.done(outcome, None), cx.task);
        }
    }

    /// Reports chunks that are not read again because the job was interrupted.
    pub fn give_up_verifying(
        &self,
        task: &ChunkTask,
        chunks: &[(u64, Crc64)],
        context: &CopyTaskContext<'_, '_>,
    ) {
        for (chunk, _) in chunks {
            self.give_up_chunks(&one_chunk(task, *chunk), context);
        }
    }
}

/// Has the source of a complete entry removed, if that is requested.
fn is_complete(complete: Option<&Complete>, cx: &mut Context<'_, '_>) -> Progress {
    if let Some(entry) = complete {
        cx.remove_later(entry);
    }
    Progress::Complete
}

/// Returns whether neither a manifest nor verification needs the file, or the copy of another
/// source replaces it.
fn is_unheeded(env: &Env<'_>, dir_ref: &DirRef, name: &Name) -> bool {
    let is_asked = env.has_manifest || env.verifier.is_some();
    !is_asked || env.is_replaced_later(dir_ref, name)
}

/// Reads a file again that this rank or another one has written. The file is complete unless that
/// has failed.
pub(super) fn verify_written(file: WrittenFile, cx: &mut Context<'_, '_>) -> Progress {
    let WrittenFile { writer, dir_ref, name, expected, complete } = file;
    let verified = verify_file(&dir_ref, &name, &expected, cx);
    let complete = complete.filter(|_| verified.is_ok());
    let is_own = writer == cx.env.rank;
    let progress = match verified {
        Ok(()) => {
            cx.worker.gathered.tally.verified_files += 1;
            is_complete(complete.as_ref().filter(|_| is_own), cx)
        }
        Err(side_error) => not_verified((&dir_ref, &name), side_error, cx),
    };
    if !is_own {
        cx.task.write_to(writer, &CopyMessage::Verified(complete));
    }
    progress
}

/// Counts a file that is not read again because the job was interrupted.
pub(super) fn give_up_file(cx: &mut Context<'_, '_>) {
    cx.worker.gathered.tally.not_verified += 1;
    cx.worker.gathered.tally.cancelled_tasks += 1;
}

/// Returns the inode of a staged file that is to be verified. A file that is shorter or longer than
/// the content written into it is an error, and does not get its final name.
pub(super) fn staged_inode(
    env: &Env<'_>,
    staged: &dyn StagedFile,
    expected_bytes: u64,
) -> Result<Option<u64>, Error> {
    let Some(inode) = env.verifier.and_then(|_| staged.inode()) else { return Ok(None) };
    match staged.size_bytes(&[])? {
        written_bytes if written_bytes != expected_bytes => {
            Err(Op::Write.failed(Cause::ShortWrite { written_bytes, expected_bytes }))
        }
        _ => Ok(Some(inode)),
    }
}

fn expected(
    env: &Env<'_>,
    dir_ref: &DirRef,
    name: &Name,
    file: Arrived<'_>,
) -> Result<Expected, SideError> {
    let crc64 = file.crc64.ok_or(Op::Verify.failed(Cause::NoChecksum)).at(Side::Target)?;
    let version = version_at_target(env, dir_ref, name, file.inode)?;
    Ok(Expected { size_bytes: file.metadata.size_bytes, crc64, version })
}

/// Returns the version of a file that has just got its final name, as seen by the node that staged
/// it.
fn version_at_target(
    env: &Env<'_>,
    dir_ref: &DirRef,
    name: &Name,
    inode: Option<u64>,
) -> Result<Version, SideError> {
    let dir = dir_ref.target_dir(env.target(dir_ref)).at(Side::Target)?;
    let found = dir.stat(env.target_name(dir_ref, name)).at(Side::Target)?;
    if inode.is_some_and(|inode| inode != found.inode) {
        return Err(Op::Verify.failed(Cause::Replaced)).at(Side::Target);
    }
    Ok(found.version())
}

/// Reports a file as failed that was to be verified and was not.
fn not_verified(
    (dir_ref, name): (&DirRef, &Name),
    side_error: SideError,
    cx: &mut Context<'_, '_>,
) -> Progress {
    if !matches!(side_error.error.cause, Cause::NotAsWritten | Cause::ShortWrite { .. }) {
        cx.worker.gathered.tally.not_verified += 1;
    }
    cx.fail(dir_ref, name.to_bytes(), side_error);
    Progress::Open
}

/// Reads a new symbolic link again, where verification is requested.
pub(super) fn verify_link(
    env: &Env<'_>,
    (dir_ref, name): (&DirRef, &Name),
    target: &dyn Dir,
    points_to: &[u8],
) -> Result<(), Error> {
    if env.verifier.is_none() || env.is_replaced_later(dir_ref, name) {
        return Ok(());
    }
    let is_it = target.read_link(env.target_name(dir_ref, name))? == points_to;
    is_it.then_some(()).ok_or(Op::Verify.failed(Cause::Replaced))
}

/// Inspects a new hard link again, where verification is requested.
pub(super) fn verify_hard_link(
    env: &Env<'_>,
    [copy, target]: [(&dyn Dir, &Name); 2],
) -> Result<(), Error> {
    if env.verifier.is_none() {
        return Ok(());
    }
    let stat = |(dir, name): (&dyn Dir, &Name)| dir.stat(name);
    let (copy, linked) = (stat(copy)?, stat(target)?);
    let is_like = || (copy.mode, copy.identity().size_bytes) == (linked.mode, linked.size_bytes);
    let is_it = match copy.links {
        // Which entries are one file is not known.
        Metadata::UNKNOWN_LINKS => is_like() && copy.mtime == linked.mtime,
        _ => copy.is_same_file(&linked),
    };
    is_it.then_some(()).ok_or(Op::Verify.failed(Cause::Replaced))
}

/// Returns a chunk that is to be read again when the whole file is written. Content that a service
/// has received needs none, because the service checks it.
pub(super) fn unverified_chunk(
    env: &Env<'_>,
    task: &ChunkTask,
    receipt: Option<&Receipt>,
) -> Option<UnverifiedChunk> {
    let is_copied = matches!(task.work, ChunkWork::Copy { .. });
    let receipt = receipt.filter(|it| is_copied && it.tag.is_empty())?;
    let receipt = Some(receipt).filter(|it| it.by != Sender::Service)?;
    Some(UnverifiedChunk { reader: env.verifier?, chunk: task.run.first, crc64: receipt.crc64? })
}

fn send_to_readers(
    env: &Env<'_>,
    file: &ChunkTask,
    unverified: &[UnverifiedChunk],
    context: &CopyTaskContext<'_, '_>,
) {
    let mut shares: BTreeMap<Rank, Vec<(u64, Crc64)>> = BTreeMap::new();
    for UnverifiedChunk { reader, chunk, crc64 } in unverified {
        shares.entry(*reader).or_default().push((*chunk, *crc64));
    }
    for (reader, chunks) in &shares {
        for chunks in chunks.chunks(UNVERIFIED_MAX as usize) {
            let (task, chunks) = (Box::new(file.clone()), chunks.to_vec());
            let task = VerifyTask::Chunks { task, chunks };
            if *reader == env.rank {
                context.push_pinned(CopyTask::Verify(task));
            } else {
                context.write_to(*reader, &CopyMessage::Verify(task));
            }
        }
    }
}

/// Reads a file again. Content that differs is an error with the cause: the file was replaced, or
/// its size, mtime or ctime changed after it got its final name, or else it is not as it was
/// written.
fn verify_file(
    dir_ref: &DirRef,
    name: &Name,
    expected: &Expected,
    cx: &mut Context<'_, '_>,
) -> Result<(), SideError> {
    let Expected { size_bytes, crc64, version } = *expected;
    let dir = dir_ref.target_dir(cx.env.target(dir_ref)).at(Side::Target)?;
    let file = dir.open_file(name).at(Side::Target)?;
    let whole = Extent { offset: 0, length: size_bytes };
    let is_whole = file.metadata().at(Side::Target)?.size_bytes == size_bytes;
    if is_whole && has_sum(&*file, whole, crc64, cx)? {
        return Ok(());
    }
    let now = dir.stat(name).at(Side::Target)?.version();
    if now != version {
        let is_it = now.identity.inode == version.identity.inode;
        let cause = if is_it { Cause::ChangedByOthers } else { Cause::Replaced };
        return Err(Op::Verify.failed(cause)).at(Side::Target);
    }
    // A file under its final name looks correct to any program that compares size and time, so a
    // wrong one is removed.
    dir.remove(name, Kind::File).at(Side::Target)?;
    Err(Op::Verify.failed(Cause::NotAsWritten)).at(Side::Target)
}

fn verify_chunk(task: &ChunkTask, crc64: Crc64, cx: &mut Context<'_, '_>) -> Result<(), SideError> {
    let ChunkWork::Copy { ticket, .. } = &task.work else { return Ok(()) };
    let dir = task.dir_ref.target_dir(cx.env.target(&task.dir_ref)).at(Side::Target)?;
    let staged = CString::new(ticket.clone()).unwrap_or_default();
    let file = dir.open_file(&staged).at(Side::Target)?;
    cx.worker.gathered.tally.verified_bytes +=
        task.extents().iter().map(|extent| extent.length).sum::<u64>();
    file.bypass_cache().at(Side::Target)?;
    let buffers = cx.worker.buffers(cx.env.options.buffer_bytes);
    if sum_staged(&*file, task, buffers).at(Side::Target)? == crc64 {
        Ok(())
    } else {
        Err(Op::Verify.failed(Cause::NotAsWritten)).at(Side::Target)
    }
}

fn has_sum(
    file: &dyn SourceFile,
    extent: Extent,
    expected: Crc64,
    cx: &mut Context<'_, '_>,
) -> Result<bool, SideError> {
    cx.worker.gathered.tally.verified_bytes += extent.length;
    // A service computes the checksum that it stores from the content that it received.
    if let Some(kept) = file.crc64() {
        return Ok(kept == expected);
    }
    file.bypass_cache().at(Side::Target)?;
    let buffers = cx.worker.buffers(cx.env.options.buffer_bytes);
    let found = sum_extent(file, extent, buffers);
    match found {
        // The file ends early.
        Err(error) if error.cause == Cause::Changed => Ok(false),
        found => Ok(found.at(Side::Target)? == expected),
    }
}

fn one_chunk(task: &ChunkTask, chunk: u64) -> ChunkTask {
    ChunkTask { run: ChunkRun { first: chunk, end: chunk + 1 }, ..task.clone() }
}

/// Computes the checksum of a chunk of a file that other ranks may still be writing: holes at its
/// end appear when it is complete.
pub(super) fn sum_staged(
    file: &dyn SourceFile,
    task: &ChunkTask,
    buffers: &mut Buffers,
) -> Result<Crc64, Error> {
    let size_bytes = file.metadata()?.size_bytes;
    let mut sum = Crc64::default();
    for extent in task.extents() {
        let there = Extent::between(extent.offset, size_bytes.clamp(extent.offset, extent.end()));
        let missing_bytes = extent.length - there.length;
        let found = sum_extent(file, there, buffers)?;
        let whole = found.combine(Crc64::of_zeros(missing_bytes), missing_bytes);
        sum = task.add_sum(sum, extent, whole);
    }
    Ok(sum)
}
