//! Moving bytes from an open source file to a staged one.

use crate::base::crc64::{Crc64, Crc64Nvme};
use crate::base::error::{At, Cause, Op, Side, Trouble};
use crate::model::chunk::Extent;
use crate::model::entry::Proof;
use crate::store::{Receipt, SourceFile, StagedFile};

/// Below this, reading and writing costs the same as letting the kernel copy.
const IN_KERNEL_BYTES_MIN: u64 = 256 << 10;

/// Copies an extent whole. Returns the checksum of what was read, where the source has one to compare it
/// with.
///
/// A source that ends early has changed: the copy is not padded.
pub(super) fn copy_extent(
    source: &dyn SourceFile,
    staged: &dyn StagedFile,
    extent: Extent,
    buffer: &mut [u8],
) -> Result<Option<Crc64>, Trouble> {
    let mut crc64 = source.crc64().map(|_| Crc64Nvme::new());
    let end = extent.offset + extent.length;
    let mut at = extent.offset;
    // A service that copies an object itself saves two requests with content, however small.
    let mut in_kernel = extent.length >= IN_KERNEL_BYTES_MIN || source.address().is_some();
    while at < end {
        if in_kernel {
            match staged.copy_from(source, at, end - at).at(Side::Target)? {
                Some(moved) => {
                    at += moved;
                    // Whoever moved the bytes has checked them, or left a receipt.
                    crc64 = None;
                }
                None => in_kernel = false,
            }
        } else {
            let want = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
            let moved = move_once(source, staged, at, &mut buffer[..want])?;
            if moved == 0 {
                return Err(Op::Read.failed(Cause::Changed)).at(Side::Source);
            }
            if let Some(crc64) = &mut crc64 {
                crc64.update(&buffer[..moved]);
            }
            at += moved as u64;
        }
    }
    Ok(crc64.map(|crc64| crc64.finish()))
}

/// Copies from the start until the source ends: for files that claim to be empty, as in /proc, and may
/// not be. Returns the bytes copied.
pub(super) fn copy_to_end(
    source: &dyn SourceFile,
    staged: &dyn StagedFile,
    buffer: &mut [u8],
) -> Result<u64, Trouble> {
    let mut at = 0;
    loop {
        match move_once(source, staged, at, buffer)? {
            0 => return Ok(at),
            moved => at += moved as u64,
        }
    }
}

/// Reads once and writes what came; returns how much.
fn move_once(
    source: &dyn SourceFile,
    staged: &dyn StagedFile,
    at: u64,
    buffer: &mut [u8],
) -> Result<usize, Trouble> {
    let read = source.read_at(buffer, at).at(Side::Source)?;
    staged.write_at(&buffer[..read], at).at(Side::Target)?;
    Ok(read)
}

/// What arrived is what the source's own checksum stands for, where it has one and all pieces were
/// summed up on their way.
pub(super) fn check_sum(
    source: &dyn SourceFile,
    size_bytes: u64,
    receipts: &[Receipt],
) -> Result<Option<Proof>, Trouble> {
    match (source.crc64(), Receipt::crc64_of(receipts, size_bytes)) {
        (Some(expected), Some(arrived)) if expected != arrived => {
            Err(Op::Read.failed(Cause::Corrupt)).at(Side::Source)
        }
        (Some(_), Some(_)) => Ok(Some(Proof::Crc64)),
        _ => Ok(source.address().map(|_| Proof::None)),
    }
}
