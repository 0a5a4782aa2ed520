//! Copying a regular file: whole, by the thread that met it, or as chunks when it is large.

use super::arrival;
use super::arrival::{check_arrived, proof_of};
use super::content::{Piece, copy_piece, copy_to_end, share};
use super::context::{Context, Met};
use super::env::Env;
use super::hard_links::HardLinks;
use super::large::LargeFiles;
use super::look;
use super::policy;
use super::policy::Plain;
use super::resume;
use super::upkeep::Upkeep;
use super::verify;
use super::verify::Arrived;
use crate::walk::{Visit, Visited};
use store::{Dir, NewFile, Receipt, Sender, SourceFile, StagedFile};
use types::content::chunk::Extent;
use types::content::crc64::Crc64;
use types::content::etag::{PartHasher, PartedEtag};
use types::content::transfer::Transfer;
use types::entry::{Attributes, Kept, Kind, Metadata, Proof, Xattrs};
use types::error::{At, Cause, Error, Op, Side, Trouble};
use types::outcome::difference::Fields;
use types::service::ServiceFault;

/// Copies a regular file. One that changes meanwhile, or arrives otherwise than it is kept, is tried once
/// more, then it is an error.
pub(super) fn copy_file(
    entry: &Visit<'_>,
    links: &HardLinks,
    large: &LargeFiles,
    upkeep: &Upkeep<'_>,
    cx: &mut Context<'_, '_>,
) -> Result<Met, Trouble> {
    let source = open_source(cx.env, entry).at(Side::Source)?;
    let metadata = source.metadata().at(Side::Source)?;
    if metadata.kind != Kind::File {
        return Ok(Met::Other(metadata.kind));
    }
    if !cx.env.selection.admits(&metadata) {
        return Ok(Met::Done(Visited::NOTHING_MOVED));
    }
    // Who makes a target equal has asked before.
    if cx.env.options.sync.is_none() && links.leaves_for_links(entry, &metadata, None, cx) {
        return Ok(Met::Done(Visited::NOTHING_MOVED));
    }
    cx.hand.gathered.meet(&metadata);
    let target = entry.place.target_dir(cx.env.target(entry.place)).at(Side::Target)?;
    let replaced = look::replaced(cx.env, entry, &*target, &metadata)?;
    if resume::is_finished(entry, &*target, (&metadata, replaced.as_ref()), cx)? {
        cx.hand.gathered.tally.synced.unchanged += 1;
        cx.hand.is_complete = true;
        upkeep.manifest.record_unchanged(entry, &metadata, cx);
        return Ok(Met::Done(Visited::NOTHING_MOVED));
    }
    let old_file = replaced.filter(|old| old.kind == Kind::File);
    let has_old = old_file.is_some();
    let xattrs = cx.env.xattrs_of(|| source.xattrs())?;
    let plain = Plain::of_entry(cx.env.options, &metadata, &*target).at(Side::Target)?;
    let attributes = attributes_of(cx.env, entry, &metadata, xattrs, old_file.as_ref(), plain);
    cx.plan_line(verb(cx.env, replaced.as_ref()), entry.place, entry.name.to_bytes());
    let chunk_bytes = cx.env.chunk_bytes(entry.place, metadata.size_bytes);
    let is_large = metadata.size_bytes > chunk_bytes || resume::was_begun(cx.env, entry);
    if is_large && !cx.env.options.dry_run {
        let copy = FileCopy { metadata, attributes, replaces: has_old, is_anew: false };
        if let Some(kept) = large.begin_large(entry, source, &*target, copy, cx)? {
            cx.hand.gathered.tally.copied_bytes += metadata.size_bytes;
            let at = (&**entry.place, entry.name);
            cx.copied(at, Kind::File, kept);
            upkeep.file_is_there(
                entry.place,
                entry.name,
                Arrived { metadata: &metadata, crc64: None, inode: None },
                cx,
            );
            return Ok(Met::Done(Visited::Done { moved_bytes: metadata.size_bytes }));
        }
        // Nothing was moved yet, but this file is work enough: others may take the rest.
        return Ok(Met::Done(Visited::Done { moved_bytes: u64::MAX / 2 }));
    }
    let transfer = cx.env.options.transfer;
    let (source_file, target, is_sized) = (&*source, &*target, metadata.size_bytes > 0);
    let etag = if cx.env.options.dry_run {
        None
    } else {
        arrival::etag_of(cx.env, entry.place, source_file)?
    };
    let source = source_file;
    let copy = WholeFile { source, etag, target, attributes, has_old, transfer, is_sized };
    let (filled, kept, metadata) =
        copy_at_rest(&copy, entry, (metadata, old_file.as_ref(), plain), cx)?;
    cx.copied((entry.place, entry.name), Kind::File, kept);
    let Filled { size_bytes, crc64, inode, .. } = filled;
    let copied = Metadata { size_bytes, ..metadata };
    let file = Arrived { metadata: &copied, crc64, inode };
    upkeep.file_is_there(entry.place, entry.name, file, cx);
    Ok(Met::Done(Visited::Done { moved_bytes: size_bytes }))
}
/// Copies a file whole, and once more if it has changed meanwhile; returns its attributes at that time.
fn copy_at_rest(
    copy: &WholeFile<'_>,
    entry: &Visit<'_>,
    (metadata, replaced, plain): (Metadata, Option<&Metadata>, Plain),
    cx: &mut Context<'_, '_>,
) -> Result<(Filled, Kept, Metadata), Trouble> {
    match copy_whole(copy, entry, &metadata, cx) {
        Err(Trouble { error, .. }) if is_worth_another_try(error.cause) => {
            let again = copy.source.metadata().at(Side::Source)?;
            let xattrs = cx.env.xattrs_of(|| copy.source.xattrs())?;
            let attributes = attributes_of(cx.env, entry, &again, xattrs, replaced, plain);
            let is_sized = again.size_bytes > 0 && !is_made_as_it_is_read(&metadata, &again);
            let copy = WholeFile { attributes, is_sized, ..*copy };
            let (filled, kept) = copy_whole(&copy, entry, &again, cx)?;
            Ok((filled, kept, again))
        }
        copied => copied.map(|(filled, kept)| (filled, kept, metadata)),
    }
}

/// The attributes of a file's copy. The time that is kept with an object is kept in any case, as other
/// clients of S3 do: else nobody could tell later whether the two are the same.
pub(super) fn attributes_of(
    env: &Env<'_>,
    entry: &Visit<'_>,
    metadata: &Metadata,
    xattrs: Option<Xattrs>,
    replaced: Option<&Metadata>,
    plain: Plain,
) -> Attributes {
    let attributes = policy::of_file(env.options, metadata, xattrs, replaced, plain);
    let keeps_time =
        metadata.known.contains(Fields::MTIME) && env.root(entry.place).source.holds_objects();
    let times = attributes.times.or_else(|| metadata.times().filter(|_| keeps_time));
    Attributes { times, ..attributes }
}

/// What a service is to copy itself is not asked for its content.
fn open_source(env: &Env<'_>, entry: &Visit<'_>) -> Result<Box<dyn SourceFile>, Error> {
    let from = env.root(entry.place).source.service();
    if from.is_some() && from == env.target(entry.place).service() {
        entry.dir.open_file(entry.name)
    } else {
        entry.dir.open_listed(entry.name, entry.hint)
    }
}

/// What is done, for the plan.
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
) -> Result<(Filled, Kept), Trouble> {
    let (staged_name, name) = (cx.env.staged_name(), cx.env.target_name(entry.place, entry.name));
    let new = NewFile::new(&staged_name, name, &copy.attributes).copy_of(copy.source, metadata);
    let new = NewFile { replaces: copy.has_old, ..new };
    let staged = copy.target.stage_file(&new).at(Side::Target)?;
    let filled = copy.fill(&*staged, metadata, &mut cx.hand.buffer).and_then(|filled| {
        let inode = verify::staged_inode(cx.env, &*staged, filled.size_bytes).at(Side::Target)?;
        Ok(Filled { inode, ..filled })
    });
    let filled = match filled {
        Ok(filled) => filled,
        Err(trouble) => {
            // The first error is the one to report; the leftover has a name that tells what it is.
            let _ = staged.abandon();
            return Err(trouble);
        }
    };
    let kept = staged.commit(&copy.attributes, Vec::new()).at(Side::Target)?;
    cx.hand.gathered.tally.copied_bytes += filled.size_bytes;
    let proof = proof_of(filled.proof, kept.proof);
    Ok((filled, Kept { proof, ..kept }))
}

/// The source may be at rest the next time, or its content come as it is.
fn is_worth_another_try(cause: Cause) -> bool {
    let came_otherwise = [ServiceFault::WrongEtag, ServiceFault::WrongLength].map(Cause::Service);
    matches!(cause, Cause::Changed | Cause::Corrupt) || came_otherwise.contains(&cause)
}

/// One file's way from here to there.
struct WholeFile<'f> {
    source: &'f dyn SourceFile,
    /// What its content is compared with.
    etag: Option<PartedEtag>,
    target: &'f dyn Dir,
    attributes: Attributes,
    /// It replaces a file.
    has_old: bool,
    transfer: Transfer,
    /// It ends where its size says.
    is_sized: bool,
}

/// What was written of a file.
struct Filled {
    size_bytes: u64,
    /// What shows that it is the source's.
    proof: Option<Proof>,
    /// Checksum of what was read, if it is known.
    crc64: Option<Crc64>,
    /// The inode it was written into, where it is to be verified.
    inode: Option<u64>,
}

/// What becomes of a file.
#[derive(Clone)]
pub(super) struct FileCopy {
    /// The source's.
    pub metadata: Metadata,
    /// What it gets.
    pub attributes: Attributes,
    /// It was begun before, and another job has ended that.
    pub is_anew: bool,
    /// It replaces a file.
    pub replaces: bool,
}

impl WholeFile<'_> {
    fn check_arrived(
        &self,
        size_bytes: u64,
        receipts: &[Receipt],
    ) -> Result<Option<Proof>, Trouble> {
        check_arrived(self.source, self.etag.as_ref(), (size_bytes, receipts), true)
    }

    /// Copies the content and makes sure that the source was the same file throughout.
    fn fill(
        &self,
        staged: &dyn StagedFile,
        metadata: &Metadata,
        buffer: &mut [u8],
    ) -> Result<Filled, Trouble> {
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
                let manner = self.transfer.manner(metadata);
                let piece = Piece { extent: whole, size_bytes, manner };
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

/// A file that ended before its size, and takes no room: those of sysfs say 4096 bytes, and are made when they are
/// read. Their times may change when they are looked at.
fn is_made_as_it_is_read(before: &Metadata, now: &Metadata) -> bool {
    now.allocated_bytes == 0 && now.size_bytes == before.size_bytes && now.is_same_file(before)
}
