//! Reading again what was written: by another rank than the one that wrote it where there is one, and from the
//! storage, not from memory. What is there must have the checksum that was worked out while the source was
//! read.
//!
//! The chunks of a large file are verified after the last of them was written, since each write may have damaged others,
//! and while the file is staged, so that a wrong one never gets its name. A small file, or an object, is verified when it
//! has its name; a wrong one is removed.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::context::Context;
use super::context::CopyCrew;
use super::env::Env;
use super::large::{Large, LargeFiles};
use super::upkeep::Upkeep;
use super::{CopyLetter, CopyTask};
use crate::chunked::{ChunkTask, ChunkWork, Ended, Outcome, UnverifiedChunk};
use crate::compare::content::{Buffers, sum_extent};
use crate::walk::place::Place;
use comm::Rank;
use store::{Dir, Receipt, Sender, SourceFile, StagedFile};
use types::content::chunk::{ChunkRun, Extent};
use types::content::crc64::Crc64;
use types::entry::{Kind, Metadata, Version};
use types::error::{At, Cause, Error, Op, Side, Trouble};
use types::limits::UNVERIFIED_MAX;
use types::path::Name;

/// Something that was written and is to be read again.
#[derive(Debug, Serialize, Deserialize)]
pub enum VerifyTask {
    /// A file that has its name.
    File(WrittenFile),
    /// Chunks of a staged file of which all is written, and what each must have. Their owner waits to hear of them.
    Chunks { task: Box<ChunkTask>, chunks: Vec<(u64, Crc64)> },
}

/// A file that has its name and is to be read again. Its writer is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct WrittenFile {
    writer: Rank,
    place: Arc<Place>,
    name: CString,
    expected: Expected,
}

/// What a file that has its name must be; the version is that of right after it got its name.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Expected {
    size_bytes: u64,
    crc64: Crc64,
    version: Version,
}

/// A file that has just got its name, as its writer knows it.
#[derive(Clone, Copy)]
pub(super) struct Arrived<'m> {
    /// The source's attributes; the size is that of what was written.
    pub metadata: &'m Metadata,
    /// Checksum of what was written, where it is known.
    pub crc64: Option<Crc64>,
    /// The inode that was staged, where there is one.
    pub inode: Option<u64>,
}

/// Executor that has files read again by other ranks, where that was requested.
#[derive(Default)]
pub(super) struct Verification {
    /// Number of files that wait for that.
    unverified: AtomicU64,
}

impl Upkeep<'_> {
    /// Records a file that has got its name, and has it verified, where that is requested.
    pub(super) fn file_is_there(
        &self,
        place: &Arc<Place>,
        name: &Name,
        file: Arrived<'_>,
        cx: &mut Context<'_, '_>,
    ) {
        if is_unheeded(cx.env, place, name) {
            return;
        }
        self.manifest.record((place, name), file.metadata, file.crc64, cx);
        if let Some(verifier) = cx.env.verifier {
            match expected(cx.env, place, name, file) {
                Ok(expected) => {
                    let name = cx.env.target_name(place, name).to_owned();
                    let (writer, place) = (cx.env.rank, Arc::clone(place));
                    let file = WrittenFile { writer, place, name, expected };
                    self.verification.have_verified(file, verifier, cx);
                }
                Err(trouble) => not_verified((place, name), trouble, cx),
            }
        }
    }

    /// Verifies a large file that has its name: its chunks were verified before, where each has a checksum.
    pub(super) fn large_file_is_there(
        &self,
        place: &Arc<Place>,
        name: &Name,
        file: Arrived<'_>,
        cx: &mut Context<'_, '_>,
    ) {
        if is_unheeded(cx.env, place, name)
            || cx.env.target(place).holds_objects()
            || file.crc64.is_none()
        {
            return self.file_is_there(place, name, file, cx);
        }
        self.manifest.record((place, name), file.metadata, file.crc64, cx);
        if cx.env.verifier.is_none() {
            return;
        }
        match version_at_target(cx.env, place, name, file.inode) {
            Ok(version) if version.identity.size_bytes == file.metadata.size_bytes => {
                cx.hand.gathered.tally.verified_files += 1;
            }
            Ok(version) => {
                let short = Op::Verify.failed(Cause::ShortWrite {
                    written_bytes: version.identity.size_bytes,
                    expected_bytes: file.metadata.size_bytes,
                });
                let trouble = Trouble { side: Side::Target, error: short };
                not_verified((place, name), trouble, cx);
            }
            Err(trouble) => not_verified((place, name), trouble, cx),
        }
    }
}

impl Verification {
    /// Has a file read again by that rank, or reads it here.
    fn have_verified(&self, file: WrittenFile, verifier: Rank, cx: &mut Context<'_, '_>) {
        let waiting = self.unverified.fetch_add(1, Ordering::Relaxed);
        // Other names become links to it only when it is right.
        let is_awaited = cx.hand.linked.is_some();
        if verifier == cx.env.rank || waiting >= UNVERIFIED_MAX || is_awaited {
            self.unverified.fetch_sub(1, Ordering::Relaxed);
            verify_written(file, cx);
        } else {
            cx.crew.write_to(verifier, &CopyLetter::Verify(VerifyTask::File(file)));
        }
    }

    /// Counts a file in that another rank has read again.
    pub fn was_verified(&self) {
        self.unverified.fetch_sub(1, Ordering::Relaxed);
    }
}

impl LargeFiles {
    /// Has the chunks of a file read again that is written, by other ranks than those that have written them. Returns a
    /// file for which that was done, or need not be.
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
                send_to_readers(cx.env, &ChunkTask { file, ..chunks }, &unverified, cx.crew);
                None
            }
            file => Some(Ended { file, outcome, receipts, unverified }),
        }
    }

    /// Verifies the first of these chunks; the rest is queued in halves, for other threads of this rank.
    pub fn verify_first(
        &self,
        task: &ChunkTask,
        mut chunks: Vec<(u64, Crc64)>,
        cx: &mut Context<'_, '_>,
    ) {
        while chunks.len() > 1 {
            let upper = chunks.split_off(chunks.len().div_ceil(2));
            let rest = VerifyTask::Chunks { task: Box::new(task.clone()), chunks: upper };
            cx.crew.push_pinned(CopyTask::Verify(rest));
        }
        for (chunk, crc64) in chunks {
            let task = one_chunk(task, chunk);
            let verified =
                if self.open.is_decided(&task) { Ok(()) } else { verify_chunk(&task, crc64, cx) };
            if verified.is_err() {
                self.open.decide(&task);
            }
            let outcome = Outcome::of(verified.map(|()| Outcome::Done));
            self.tell_owner(&task, task.done(outcome, None), cx.crew);
        }
    }

    /// Counts chunks in that are not read again, because the job was stopped.
    pub fn give_up_verifying(
        &self,
        task: &ChunkTask,
        chunks: &[(u64, Crc64)],
        crew: &CopyCrew<'_, '_>,
    ) {
        for (chunk, _) in chunks {
            self.give_up_chunks(&one_chunk(task, *chunk), crew);
        }
    }
}

/// Whether nobody asks what is there now, or another source's copy will be.
fn is_unheeded(env: &Env<'_>, place: &Place, name: &Name) -> bool {
    let is_asked = env.has_manifest || env.verifier.is_some();
    !is_asked || env.is_replaced_later(place, name)
}

/// Reads a file again that this rank or another one has written.
pub(super) fn verify_written(file: WrittenFile, cx: &mut Context<'_, '_>) {
    let WrittenFile { writer, place, name, expected } = file;
    match verify_file(&place, &name, &expected, cx) {
        Ok(()) => cx.hand.gathered.tally.verified_files += 1,
        Err(trouble) => not_verified((&place, &name), trouble, cx),
    }
    if writer != cx.env.rank {
        cx.crew.write_to(writer, &CopyLetter::Verified);
    }
}

/// Counts a file that is not read again, because the job was stopped.
pub(super) fn give_up_file(cx: &mut Context<'_, '_>) {
    cx.hand.gathered.tally.not_verified += 1;
    cx.hand.gathered.tally.cancelled_tasks += 1;
}

/// The inode of a staged file that is to be verified. One that is not as long as what was written into it does
/// not get its name.
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
    place: &Place,
    name: &Name,
    file: Arrived<'_>,
) -> Result<Expected, Trouble> {
    let crc64 = file.crc64.ok_or(Op::Verify.failed(Cause::NoChecksum)).at(Side::Target)?;
    let version = version_at_target(env, place, name, file.inode)?;
    Ok(Expected { size_bytes: file.metadata.size_bytes, crc64, version })
}

/// The version of a file that has just got its name, as the node sees it that has staged it.
fn version_at_target(
    env: &Env<'_>,
    place: &Place,
    name: &Name,
    inode: Option<u64>,
) -> Result<Version, Trouble> {
    let dir = place.target_dir(env.target(place)).at(Side::Target)?;
    let found = dir.stat(env.target_name(place, name)).at(Side::Target)?;
    if inode.is_some_and(|inode| inode != found.inode) {
        return Err(Op::Verify.failed(Cause::Replaced)).at(Side::Target);
    }
    Ok(found.version())
}

/// What was to be verified and was not is a failure.
fn not_verified((place, name): (&Place, &Name), trouble: Trouble, cx: &mut Context<'_, '_>) {
    cx.hand.is_complete = false;
    if !matches!(trouble.error.cause, Cause::NotAsWritten | Cause::ShortWrite { .. }) {
        cx.hand.gathered.tally.not_verified += 1;
    }
    cx.fail(place, name.to_bytes(), trouble);
}

/// Reads a link again that was just made, where that is wished.
pub(super) fn verify_link(
    env: &Env<'_>,
    (place, name): (&Place, &Name),
    target: &dyn Dir,
    points_to: &[u8],
) -> Result<(), Error> {
    if env.verifier.is_none() || env.is_replaced_later(place, name) {
        return Ok(());
    }
    let is_it = target.read_link(env.target_name(place, name))? == points_to;
    is_it.then_some(()).ok_or(Op::Verify.failed(Cause::Replaced))
}

/// Looks again at a hard link that was just made, where that is wished.
pub(super) fn verify_hard_link(
    env: &Env<'_>,
    [copy, target]: [(&dyn Dir, &Name); 2],
) -> Result<(), Error> {
    if env.verifier.is_none() {
        return Ok(());
    }
    let stat = |(dir, name): (&dyn Dir, &Name)| dir.stat(name);
    let is_it = stat(copy)?.is_same_file(&stat(target)?);
    is_it.then_some(()).ok_or(Op::Verify.failed(Cause::Replaced))
}

/// A chunk that is to be read again when the whole file is written. Services check what they get.
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
    crew: &CopyCrew<'_, '_>,
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
                crew.push_pinned(CopyTask::Verify(task));
            } else {
                crew.write_to(*reader, &CopyLetter::Verify(task));
            }
        }
    }
}

/// Content is right, or it is not as it was written, or others have changed the file: then the file is another
/// one, or its size, mtime or ctime are others than when it got its name.
fn verify_file(
    place: &Place,
    name: &Name,
    expected: &Expected,
    cx: &mut Context<'_, '_>,
) -> Result<(), Trouble> {
    let Expected { size_bytes, crc64, version } = *expected;
    let dir = place.target_dir(cx.env.target(place)).at(Side::Target)?;
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
    // A name that is there says that all is well to whoever looks at size and time.
    dir.remove(name, Kind::File).at(Side::Target)?;
    Err(Op::Verify.failed(Cause::NotAsWritten)).at(Side::Target)
}

fn verify_chunk(task: &ChunkTask, crc64: Crc64, cx: &mut Context<'_, '_>) -> Result<(), Trouble> {
    let ChunkWork::Copy { ticket, .. } = &task.work else { return Ok(()) };
    let dir = task.place.target_dir(cx.env.target(&task.place)).at(Side::Target)?;
    let staged = CString::new(ticket.clone()).unwrap_or_default();
    let file = dir.open_file(&staged).at(Side::Target)?;
    cx.hand.gathered.tally.verified_bytes +=
        task.extents().iter().map(|extent| extent.length).sum::<u64>();
    file.bypass_cache().at(Side::Target)?;
    let buffers = cx.hand.buffers(cx.env.options.buffer_bytes);
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
) -> Result<bool, Trouble> {
    cx.hand.gathered.tally.verified_bytes += extent.length;
    // What a service keeps it has worked out from what it got.
    if let Some(kept) = file.crc64() {
        return Ok(kept == expected);
    }
    file.bypass_cache().at(Side::Target)?;
    let buffers = cx.hand.buffers(cx.env.options.buffer_bytes);
    let found = sum_extent(file, extent, buffers);
    match found {
        // It ends early.
        Err(error) if error.cause == Cause::Changed => Ok(false),
        found => Ok(found.at(Side::Target)? == expected),
    }
}

fn one_chunk(task: &ChunkTask, chunk: u64) -> ChunkTask {
    ChunkTask { run: ChunkRun { first: chunk, end: chunk + 1 }, ..task.clone() }
}

/// Checksum of a chunk of a file that others may still be writing: holes at its end
/// come to be when it is complete.
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
