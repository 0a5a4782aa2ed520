//! Evidence that content has arrived as its store has it: a checksum of the whole, or an ETag.

use std::ffi::CString;

use super::context::Context;
use super::env::Env;
use super::large::LargeCopy;
use crate::compare::content::part_md5s;
use crate::walk::dir_ref::DirRef;
use store::{Receipt, SourceFile};
use types::content::chunk::Extent;
use types::content::etag::PartedEtag;
use types::entry::Proof;
use types::error::{At, Cause, Op, Side, SideError};
use types::limits::{S3_BLOCKS_BYTES_MAX, S3_PART_CHUNK_BYTES_MAX, S3_READ_AGAIN_BYTES_MAX};
use types::service::ServiceFault;

/// Returns the ETag that arriving content is compared with. Returns `None` where the source has a
/// better checksum, where the service copies the object itself, or where nothing arrives because
/// the target discards what is written.
pub(super) fn etag_of(
    env: &Env<'_>,
    dir_ref: &DirRef,
    source: &dyn SourceFile,
) -> Result<Option<PartedEtag>, SideError> {
    let from = env.root(dir_ref).source.service();
    let target = env.target(dir_ref);
    let is_copied_there = from.is_some() && from == target.service();
    if is_copied_there || target.discards_writes() || source.crc64().is_some() {
        return Ok(None);
    }
    source.parted_etag().at(Side::Source)
}

/// Returns the chunk size for reading an object: a multiple of the part size where possible, unless
/// that is too large and the written content can be read again.
pub(super) fn whole_parts(
    env: &Env<'_>,
    dir_ref: &DirRef,
    (size_bytes, chunk_bytes): (u64, u64),
    etag: Option<&PartedEtag>,
) -> u64 {
    let target_keeps_files = !env.target(dir_ref).holds_objects();
    // A part of an object is in memory as a whole.
    let bytes_max = match target_keeps_files {
        true if size_bytes > S3_READ_AGAIN_BYTES_MAX => u64::MAX,
        true => S3_PART_CHUNK_BYTES_MAX,
        false => S3_BLOCKS_BYTES_MAX,
    };
    let whole_parts = etag.map(|etag| etag.chunk_bytes(chunk_bytes));
    whole_parts.filter(|bytes| *bytes <= bytes_max).unwrap_or(chunk_bytes)
}

/// True if parts of `part_bytes` are hashed during the copy: where chunks are whole parts, or where
/// the written content cannot be read again and one thread can read all of it.
pub(super) fn is_hashed(
    env: &Env<'_>,
    dir_ref: &DirRef,
    (size_bytes, chunk_bytes): (u64, u64),
    part_bytes: u64,
) -> bool {
    let is_in_order = env.target(dir_ref).holds_objects() && size_bytes <= S3_READ_AGAIN_BYTES_MAX;
    chunk_bytes.is_multiple_of(part_bytes) || is_in_order
}

/// Returns the MD5s of the parts of a complete file, read again as it was written, where its chunks
/// are not whole parts. Returns `None` where the file cannot be read before it has its final name.
pub(super) fn md5s_as_written(
    file: &LargeCopy,
    cx: &mut Context<'_, '_>,
) -> Result<Option<Vec<u128>>, SideError> {
    let (etag, size_bytes) = (file.etag, file.size_bytes());
    let is_hashed = file.part_bytes.is_some() || cx.env.target(&file.dir_ref).holds_objects();
    let is_read_again = !is_hashed && size_bytes <= S3_READ_AGAIN_BYTES_MAX;
    let Some(etag) = etag.filter(|_| is_read_again) else { return Ok(None) };
    let dir = file.dir_ref.target_dir(cx.env.target(&file.dir_ref)).at(Side::Target)?;
    let staged = CString::new(file.staged.ticket()).unwrap_or_default();
    let written = dir.open_file(&staged).at(Side::Target)?;
    let whole = Extent::between(0, size_bytes);
    let buffers = cx.worker.buffers(cx.env.options.buffer_bytes);
    part_md5s(&*written, whole, etag.part_bytes, buffers).at(Side::Target).map(Some)
}

/// Compares arrived content with the checksum of the source, where it has one and all pieces were
/// checksummed on the way; otherwise with its ETag, where the MD5s of its parts are known.
pub(super) fn check_arrived(
    source: &dyn SourceFile,
    etag: Option<&PartedEtag>,
    (size_bytes, receipts): (u64, &[Receipt]),
    is_one_piece: bool,
) -> Result<Option<Proof>, SideError> {
    let md5s = || Receipt::part_md5s_of(receipts, size_bytes);
    let proof = match (source.crc64(), Receipt::crc64_of(receipts, size_bytes)) {
        (Some(expected), Some(arrived)) if expected != arrived => {
            return Err(Op::Read.failed(Cause::Corrupt)).at(Side::Source);
        }
        (Some(_), arrived) if arrived.is_some() || is_one_piece => Proof::Crc64,
        // An empty file has nothing to check but its length.
        (None, _) if size_bytes == 0 && etag.is_some() => Proof::Md5,
        (None, _) => match etag.zip(md5s()) {
            Some((etag, md5s)) => check_md5s(source, etag, &md5s)?,
            None => Proof::None,
        },
        _ => Proof::None,
    };
    Ok(source.address().map(|_| proof))
}

/// Compares the MD5s of the parts with an ETag. A different ETag is an error, unless the assumed
/// part size is not the one that the source has.
pub(super) fn check_md5s(
    source: &dyn SourceFile,
    etag: &PartedEtag,
    md5s: &[u128],
) -> Result<Proof, SideError> {
    if etag.is_of(md5s) {
        return Ok(Proof::Md5);
    }
    if etag.is_reported && source.has_equal_parts(etag).at(Side::Source)? {
        return Err(Op::Read.failed(Cause::Service(ServiceFault::WrongEtag))).at(Side::Source);
    }
    Ok(Proof::None)
}

/// Returns the proof that a copy has the content of the source. For content that is read here and
/// sent elsewhere, it is no stronger than the proof of reading.
pub(super) fn proof_of(read: Option<Proof>, sent: Option<Proof>) -> Option<Proof> {
    match (read, sent) {
        (Some(Proof::None), Some(sent)) if sent != Proof::ServiceCopy => Some(Proof::None),
        _ => sent.or(read),
    }
}
