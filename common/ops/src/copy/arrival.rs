//! What shows that content has arrived as its store keeps it: a checksum of the whole, or an ETag.

use std::ffi::CString;

use super::context::Context;
use super::env::Env;
use super::large::LargeCopy;
use crate::compare::content::part_md5s;
use crate::walk::place::Place;
use store::{Receipt, SourceFile};
use types::content::chunk::Extent;
use types::content::etag::PartedEtag;
use types::entry::Proof;
use types::error::{At, Cause, Op, Side, Trouble};
use types::limits::{S3_BLOCKS_BYTES_MAX, S3_PART_CHUNK_BYTES_MAX, S3_READ_AGAIN_BYTES_MAX};
use types::service::ServiceFault;

/// The ETag that what arrives is compared with: where no better checksum is kept, and the service does not copy the
/// object itself.
pub(super) fn etag_of(
    env: &Env<'_>,
    place: &Place,
    source: &dyn SourceFile,
) -> Result<Option<PartedEtag>, Trouble> {
    let from = env.root(place).source.service();
    let is_copied_there = from.is_some() && from == env.target(place).service();
    if is_copied_there || source.crc64().is_some() {
        return Ok(None);
    }
    source.parted_etag().at(Side::Source)
}

/// The size of chunks in which an object is read that was to be read in such: whole parts, unless these are too
/// large and what is written can be read again.
pub(super) fn whole_parts(
    env: &Env<'_>,
    place: &Place,
    (size_bytes, chunk_bytes): (u64, u64),
    etag: Option<&PartedEtag>,
) -> u64 {
    let target_keeps_files = !env.target(place).holds_objects();
    // A part of an object is in memory as a whole.
    let bytes_max = match target_keeps_files {
        true if size_bytes > S3_READ_AGAIN_BYTES_MAX => u64::MAX,
        true => S3_PART_CHUNK_BYTES_MAX,
        false => S3_BLOCKS_BYTES_MAX,
    };
    let whole_parts = etag.map(|etag| etag.chunk_bytes(chunk_bytes));
    whole_parts.filter(|bytes| *bytes <= bytes_max).unwrap_or(chunk_bytes)
}

/// Whether parts of that size are hashed while they are copied: where chunks are whole parts, or where what was
/// written cannot be read again, and one thread can read all of it.
pub(super) fn is_hashed(
    env: &Env<'_>,
    place: &Place,
    (size_bytes, chunk_bytes): (u64, u64),
    part_bytes: u64,
) -> bool {
    let is_in_order = env.target(place).holds_objects() && size_bytes <= S3_READ_AGAIN_BYTES_MAX;
    chunk_bytes.is_multiple_of(part_bytes) || is_in_order
}

/// MD5s of the parts of a complete file as it was written, where its chunks were no whole parts; none where it
/// cannot be read before it has its name.
pub(super) fn md5s_as_written(
    file: &LargeCopy,
    cx: &mut Context<'_, '_>,
) -> Result<Option<Vec<u128>>, Trouble> {
    let (etag, size_bytes) = (file.etag, file.size_bytes());
    let is_hashed = file.part_bytes.is_some() || cx.env.target(&file.place).holds_objects();
    let is_read_again = !is_hashed && size_bytes <= S3_READ_AGAIN_BYTES_MAX;
    let Some(etag) = etag.filter(|_| is_read_again) else { return Ok(None) };
    let dir = file.place.target_dir(cx.env.target(&file.place)).at(Side::Target)?;
    let staged = CString::new(file.staged.ticket()).unwrap_or_default();
    let written = dir.open_file(&staged).at(Side::Target)?;
    let whole = Extent::between(0, size_bytes);
    let buffers = cx.hand.buffers(cx.env.options.buffer_bytes);
    part_md5s(&*written, whole, etag.part_bytes, buffers).at(Side::Target).map(Some)
}

/// What arrived is what the source's own checksum stands for, where it has one and all pieces were summed up on their
/// way; or what its ETag stands for, where the MD5s of its parts are known.
pub(super) fn check_arrived(
    source: &dyn SourceFile,
    etag: Option<&PartedEtag>,
    (size_bytes, receipts): (u64, &[Receipt]),
    is_one_piece: bool,
) -> Result<Option<Proof>, Trouble> {
    let md5s = || Receipt::part_md5s_of(receipts, size_bytes);
    let proof = match (source.crc64(), Receipt::crc64_of(receipts, size_bytes)) {
        (Some(expected), Some(arrived)) if expected != arrived => {
            return Err(Op::Read.failed(Cause::Corrupt)).at(Side::Source);
        }
        (Some(_), arrived) if arrived.is_some() || is_one_piece => Proof::Crc64,
        // Its length is all there is to be shown.
        (None, _) if size_bytes == 0 && etag.is_some() => Proof::Md5,
        (None, _) => match etag.zip(md5s()) {
            Some((etag, md5s)) => check_md5s(source, etag, &md5s)?,
            None => Proof::None,
        },
        _ => Proof::None,
    };
    Ok(source.address().map(|_| proof))
}

/// Content that has come to another ETag is other content, unless its parts are not of the size that was taken for
/// theirs.
pub(super) fn check_md5s(
    source: &dyn SourceFile,
    etag: &PartedEtag,
    md5s: &[u128],
) -> Result<Proof, Trouble> {
    if etag.is_of(md5s) {
        return Ok(Proof::Md5);
    }
    if etag.is_told && source.has_equal_parts(etag).at(Side::Source)? {
        return Err(Op::Read.failed(Cause::Service(ServiceFault::WrongEtag))).at(Side::Source);
    }
    Ok(Proof::None)
}

/// What shows of a copy that it is the source's content: of what is read here and sent elsewhere, no more than
/// what shows that it came whole.
pub(super) fn proof_of(read: Option<Proof>, sent: Option<Proof>) -> Option<Proof> {
    match (read, sent) {
        (Some(Proof::None), Some(sent)) if sent != Proof::ServiceCopy => Some(Proof::None),
        _ => sent.or(read),
    }
}
