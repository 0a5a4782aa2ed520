//! Copy of a regular file: as a whole, by the thread that visits it, or as chunks where it is
//! large.

use super::arrival;
use super::arrival::{check_arrived, proof_of};
use super::at_rest;
use super::attribute_policy;
use super::attribute_policy::Plain;
use super::content::{Piece, copy_piece, copy_to_end, share};
use super::context::{Context, Handled, Met, Progress};
use super::env::Env;
use super::hard_links::HardLinks;
use super::large::LargeFiles;
use super::look;
use super::on_their_way;
use super::resume;
use super::upkeep::Upkeep;
use super::verify;
use super::verify::Arrived;
use crate::walk::dir_ref::DirRef;
use crate::walk::{Skip, Visit};
use std::sync::Arc;
use store::{Dir, NewFile, Receipt, Sender, SourceFile, StagedFile};
use types::content::chunk::Extent;
use types::content::crc64::Crc64;
use types::content::etag::{PartHasher, PartedEtag};
use types::content::transfer::Transfer;
use types::entry::{Attributes, Kind, Metadata, Preserved, Proof, Xattrs};
use types::error::{At, Cause, Op, Side, SideError};
use types::listed::change::Reason;
use types::outcome::difference::Fields;
use types::path::Name;
use types::service::ServiceFault;

/// Copies a regular file. A file that changes meanwhile, or whose arrived content does not match
/// its checksum, is copied once more; after that it is an error.
pub(super) fn copy_file(
    entry: &Visit<'_>,
    links: &HardLinks,
    large: &LargeFiles,
    upkeep: &Upkeep<'_>,
    cx: &mut Context<'_, '_>,
) -> Result<Met, SideError> {
    let (source, metadata) = at_rest::open(cx.env, entry).at(Side::Source)?;
    if metadata.kind != Kind::File {
        return Ok(Met::Other(metadata.kind));
    }
    if !cx.env.selection.admits(&metadata) {
        return Ok(Met::Done(Handled::SKIPPED));
    }
    if upkeep.directories.has_content(entry.dir_ref, cx) == Err(Skip) {
        return Ok(Met::Done(Handled::SKIPPED));
    }
    // A synchronisation has asked before.
    if cx.env.options.sync.is_none() && links.leaves_for_links(entry, &metadata, None, cx) {
        return Ok(Met::Done(Handled::SKIPPED));
    }
    cx.worker.gathered.meet(&metadata);
    let target = entry.dir_ref.target_dir(cx.env.target(entry.dir_ref)).at(Side::Target)?;
    let replaced = look::replaced(cx.env, entry, &*target, &metadata)?;
    cx.reason = Reason::of(&metadata, replaced.as_ref());
    cx.preserved = Preserved::ALL;
    if resume::is_finished(entry, &*target, (&metadata, replaced.as_ref()), cx)? {
        cx.worker.gathered.tally.complete_before(metadata.size_bytes);
        upkeep.manifest.record_unchanged(entry, &metadata, cx);
        cx.is_there((entry.dir_ref, entry.name), &metadata, cx.preserved);
        return Ok(Met::Done(Handled::COMPLETE));
    }
    let old_file = replaced.filter(|old| old.kind == Kind::File);
    let has_old = old_file.is_some();
    let xattrs = cx.env.xattrs_of(|| source.xattrs())?;
    let plain = Plain::of_entry(cx.env.options, &metadata, &*target).at(Side::Target)?;
    let attributes = attributes_of(cx.env, entry, &metadata, xattrs, old_file.as_ref(), plain);
    cx.plan_line(verb(cx.env, replaced.as_ref()), entry.dir_ref, entry.name.to_bytes());
    let chunk_bytes = cx.env.chunk_bytes(entry.dir_ref, metadata.size_bytes);
    let is_large = metadata.size_bytes > chunk_bytes || resume::was_begun(cx.env, entry);
    // Where writes are discarded, a large file is no more work than a small one.
    if is_large && !cx.env.target(entry.dir_ref).discards_writes() {
        let copy =
            FileCopy { metadata, attributes, replaces: has_old, is_anew: false, reason: cx.reason };
        if let Some(preserved) = large.begin_large(entry, source, &*target, copy, cx)? {
            cx.worker.gathered.tally.copied_bytes += metadata.size_bytes;
            let at = (&**entry.dir_ref, entry.name);
            cx.copied(at, Kind::File, preserved);
            let copied = cx.movable(at, &metadata, preserved);
            let file = Arrived { metadata: &metadata, crc64: None, inode: None, copied };
            let progress = upkeep.file_is_there(entry.dir_ref, entry.name, file, cx);
            return Ok(Met::Done(Handled::copied(metadata.size_bytes, progress)));
        }
        return Ok(Met::Done(Handled::BEGUN));
    }
    let transfer = cx.env.options.transfer;
    let (source_file, target, is_sized) = (&*source, &*target, metadata.size_bytes > 0);
    let etag = arrival::etag_of(cx.env, entry.dir_ref, source_file)?;
    let source = source_file;
    let copy = WholeFile { source, etag, target, attributes, has_old, transfer, is_sized };
    let (filled, end, metadata) =
        copy_at_rest(&copy, entry, (metadata, old_file.as_ref(), plain), cx)?;
    let size_bytes = filled.size_bytes;
    let written = Written { at: (entry.dir_ref, entry.name), filled, metadata };
    Ok(Met::Done(match end {
        End::Done(preserved) => {
            let progress = written.end(preserved, upkeep, cx);
            Handled::copied(size_bytes, progress)
        }
        End::Begun(staged, attributes) => {
            on_their_way::add(written, staged, attributes, upkeep, cx);
            Handled::copied(size_bytes, Progress::Open)
        }
    }))
}

/// A file that was written as a whole.
pub(super) struct Written<'w> {
    /// Directory and name of it.
    pub at: (&'w Arc<DirRef>, &'w Name),
    /// Result of writing it.
    pub filled: Filled,
    /// Metadata of the source.
    pub metadata: Metadata,
}

/// End of the copy of a file.
enum End {
    /// The file has its final name, and these attributes.
    Done(Preserved),
    /// The staged file is on its way to its name and these attributes.
    Begun(Box<dyn StagedFile>, Attributes),
}

impl Written<'_> {
    /// Counts and records the file, which is complete at the target.
    pub fn end(
        self,
        preserved: Preserved,
        upkeep: &Upkeep<'_>,
        cx: &mut Context<'_, '_>,
    ) -> Progress {
        let Self { at, filled: Filled { size_bytes, proof, crc64, inode }, metadata } = self;
        cx.worker.gathered.tally.copied_bytes += size_bytes;
        cx.worker.gathered.tally.needed_bytes += size_bytes;
        let preserved = Preserved { proof: proof_of(proof, preserved.proof), ..preserved };
        cx.copied((at.0, at.1), Kind::File, preserved);
        let copied = cx.movable((at.0, at.1), &metadata, preserved);
        let written = Metadata { size_bytes, ..metadata };
        let file = Arrived { metadata: &written, crc64, inode, copied };
        upkeep.file_is_there(at.0, at.1, file, cx)
    }
}

/// Copies a file as a whole, and once more if it has changed meanwhile; returns its metadata at
/// that time.
fn copy_at_rest(
    copy: &WholeFile<'_>,
    entry: &Visit<'_>,
    (metadata, replaced, plain): (Metadata, Option<&Metadata>, Plain),
    cx: &mut Context<'_, '_>,
) -> Result<(Filled, End, Metadata), SideError> {
    match copy_whole(copy, entry, &metadata, cx) {
        Err(SideError { error, .. }) if is_worth_another_try(error.cause) => {
            let again = at_rest::metadata_again(cx.env, entry, copy.source).at(Side::Source)?;
            let xattrs = cx.env.xattrs_of(|| copy.source.xattrs())?;
            let attributes = attributes_of(cx.env, entry, &again, xattrs, replaced, plain);
            let is_sized = again.size_bytes > 0 && !is_made_as_it_is_read(&metadata, &again);
            let copy = WholeFile { attributes, is_sized, ..*copy };
            let (filled, end) = copy_whole(&copy, entry, &again, cx)?;
            Ok((filled, end, again))
        }
        copied => copied.map(|(filled, end)| (filled, end, metadata)),
    }
}

/// Returns the attributes of the copy of a file. The modification time stored with an object is
/// always preserved, as by other clients of S3; otherwise no later run could tell whether the two
/// are the same.
pub(super) fn attributes_of(
    env: &Env<'_>,
    entry: &Visit<'_>,
    metadata: &Metadata,
    xattrs: Option<Xattrs>,
    replaced: Option<&Metadata>,
    plain: Plain,
) -> Attributes {
    let attributes = attribute_policy::of_file(env.options, metadata, xattrs, replaced, plain);
    let keeps_time =
        metadata.known.contains(Fields::MTIME) && env.root(entry.dir_ref).source.holds_objects();
    let times = attributes.times.or_else(|| metadata.times().filter(|_| keeps_time));
    Attributes { times, ..attributes }
}

/// Returns the verb for the plan.
fn verb(env: &Env<'_>, replaced: Option<&Metadata>) -> &'static str {
    match replaced {
        Some(old) if env.options.sync.is_some() && old.kind == Kind::File => "update",
        Some(_) if env.options.sync.is_some() => "replace",
        _ => "copy",
    }
}

fn copy_whole(
    copy: &WholeFile<'_>,
    entry: &Visit<'_>,
    metadata: &Metadata,
    cx: &mut Context<'_, '_>,
) -> Result<(Filled, End), SideError> {
    let (staged_name, name) = (cx.env.staged_name(), cx.env.target_name(entry.dir_ref, entry.name));
    let new = NewFile::new(&staged_name, name, &copy.attributes).copy_of(copy.source, metadata);
    let new = NewFile { replaces: copy.has_old, ..new };
    let staged = copy.target.stage_file(&new).at(Side::Target)?;
    let filled = copy.fill(&*staged, metadata, &mut cx.worker.buffer).and_then(|filled| {
        let inode = verify::staged_inode(cx.env, &*staged, filled.size_bytes).at(Side::Target)?;
        Ok(Filled { inode, ..filled })
    });
    let filled = match filled {
        Ok(filled) => filled,
        Err(side_error) => {
            // The first error is the one to report; the name of the remaining file shows that it is
            // a staged one.
            let _ = staged.abandon();
            return Err(side_error);
        }
    };
    if cx.may_wait && staged.begin_commit(&copy.attributes) {
        return Ok((filled, End::Begun(staged, copy.attributes.clone())));
    }
    let preserved = staged.commit(&copy.attributes, Vec::new()).at(Side::Target)?;
    Ok((filled, End::Done(preserved)))
}

/// True if another attempt may succeed: the source may be stable the next time, or its content
/// arrive intact.
fn is_worth_another_try(cause: Cause) -> bool {
    let came_otherwise = [ServiceFault::WrongEtag, ServiceFault::WrongLength].map(Cause::Service);
    matches!(cause, Cause::Changed | Cause::Corrupt) || came_otherwise.contains(&cause)
}

/// Copy of one file as a whole.
struct WholeFile<'f> {
    source: &'f dyn SourceFile,
    /// ETag that the content is compared with.
    etag: Option<PartedEtag>,
    target: &'f dyn Dir,
    attributes: Attributes,
    /// True if the copy replaces a file.
    has_old: bool,
    transfer: Transfer,
    /// True if the content ends where the size says.
    is_sized: bool,
}

/// Result of writing the content of a file.
pub(super) struct Filled {
    pub size_bytes: u64,
    /// Proof that the content is that of the source.
    proof: Option<Proof>,
    /// Checksum of what was read, if it is known.
    crc64: Option<Crc64>,
    /// Inode of the staged file, where it is to be verified.
    inode: Option<u64>,
}

/// Description of the copy of a file.
#[derive(Clone)]
pub(super) struct FileCopy {
    /// Metadata of the source.
    pub metadata: Metadata,
    /// Attributes of the copy.
    pub attributes: Attributes,
    /// True if the copy was begun before and is begun again, because another job ended its upload
    /// or the source changed.
    pub is_anew: bool,
    /// True if the copy replaces a file.
    pub replaces: bool,
    /// Reason of the copy.
    pub reason: Reason,
}

impl WholeFile<'_> {
    fn check_arrived(
        &self,
        size_bytes: u64,
        receipts: &[Receipt],
    ) -> Result<Option<Proof>, SideError> {
        check_arrived(self.source, self.etag.as_ref(), (size_bytes, receipts), true)
    }

    /// Copies the content, and checks that the source was unchanged throughout.
    fn fill(
        &self,
        staged: &dyn StagedFile,
        metadata: &Metadata,
        buffer: &mut [u8],
    ) -> Result<Filled, SideError> {
        if !staged.wants_content() {
            let size_bytes = metadata.size_bytes;
            return Ok(Filled { size_bytes, proof: None, crc64: None, inode: None });
        }
        let whole = Extent { offset: 0, length: metadata.size_bytes };
        let written = match metadata.size_bytes {
            _ if !self.is_sized => {
                let (size_bytes, crc64) = copy_to_end(self.source, staged, buffer)?;
                let proof = self.check_arrived(size_bytes, &[])?;
                Filled { size_bytes, proof, crc64: Some(crc64), inode: None }
            }
            size_bytes if share(self.source, staged, metadata, self.transfer)? => {
                Filled { size_bytes, proof: None, crc64: None, inode: None }
            }
            size_bytes => {
                let mut hasher = self.etag.map(|etag| PartHasher::new(etag.part_bytes));
                let transfer_mode = self.transfer.transfer_mode(metadata);
                let piece = Piece { extent: whole, size_bytes, transfer_mode };
                let crc64 = copy_piece(self.source, staged, piece, &mut hasher, buffer)?;
                let part_md5s = hasher.map(PartHasher::finish).unwrap_or_default();
                let receipt = Receipt::sent(whole, crc64, String::new(), Sender::Here);
                let proof = self.check_arrived(size_bytes, &[Receipt { part_md5s, ..receipt }])?;
                Filled { size_bytes, proof, crc64, inode: None }
            }
        };
        let now = self.source.metadata().at(Side::Source)?;
        if now.version() != metadata.version() {
            return Err(Op::Copy.failed(Cause::Changed)).at(Side::Source);
        }
        Ok(written)
    }
}

/// True for a file that ended before its size and has no blocks: files of sysfs claim 4096 bytes
/// and are generated when they are read. Their timestamps may change when they are inspected.
fn is_made_as_it_is_read(before: &Metadata, now: &Metadata) -> bool {
    now.allocated_bytes == 0 && now.size_bytes == before.size_bytes && now.is_same_file(before)
}
