//! Transfer of bytes from an open source file to a staged one.

use store::{SourceFile, StagedFile};
use types::content::chunk::Extent;
use types::content::crc64::{Crc64, Crc64Nvme};
use types::content::etag::PartHasher;
use types::content::transfer::{Holes, InKernel, Reflink, Sums, Transfer, TransferMode};
use types::entry::Metadata;
use types::error::{At, Cause, Error, Op, Side, SideError};

/// Length below which reading and writing costs as little as a copy in the kernel.
const IN_KERNEL_BYTES_MIN: u64 = 256 << 10;

/// Size of the blocks in which runs of zeros become holes; most file systems have no smaller ones.
const HOLE_BLOCK_BYTES: u64 = 4 << 10;

/// A piece of a file, and the mode in which it is transferred.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    /// Range of bytes.
    pub extent: Extent,
    /// Size of the whole file.
    pub size_bytes: u64,
    /// Mode of the transfer.
    pub transfer_mode: TransferMode,
}

/// Clones the whole content of the source into a new file, where that is requested and possible.
pub(super) fn share(
    source: &dyn SourceFile,
    staged: &dyn StagedFile,
    metadata: &Metadata,
    transfer: Transfer,
) -> Result<bool, SideError> {
    let requested = transfer.sharing();
    // A file that claims to be empty has nothing to clone.
    if requested == Reflink::Never || metadata.size_bytes == 0 {
        return Ok(false);
    }
    match staged.share_all(source, metadata) {
        Ok(()) => Ok(true),
        // Reading and writing reveals the real error, if there is one.
        Err(_) if requested == Reflink::Auto => Ok(false),
        Err(error) => Err(error).at(Side::Target),
    }
}

/// Copies a whole piece. Returns the checksum of what was read, where it is requested or the source
/// has one to compare it with; the hasher, where there is one, is given all of it.
///
/// A source that ends early has changed: the copy is not padded. A source that is truncated while
/// it is searched for holes has a hole there; the caller checks afterwards whether the file has
/// changed.
pub(super) fn copy_piece(
    source: &dyn SourceFile,
    staged: &dyn StagedFile,
    piece: Piece,
    hasher: &mut Option<PartHasher>,
    buffer: &mut [u8],
) -> Result<Option<Crc64>, SideError> {
    let Piece { extent, size_bytes, transfer_mode } = piece;
    if transfer_mode.holes == Holes::None || !staged.keeps_holes() {
        let plain = TransferMode { sums: transfer_mode.sums, ..TransferMode::PLAIN };
        let transfer_mode = if staged.keeps_holes() { transfer_mode } else { plain };
        return copy_data(source, staged, extent, transfer_mode, hasher, buffer).map(|it| it.crc64);
    }
    let end = extent.end();
    let (mut at, mut written) = (extent.offset, extent.offset);
    let mut crc64 = Some(Crc64::default());
    while at < end {
        let rest = Extent::between(at, end);
        let data = source.data_in(rest).at(Side::Source)?;
        let hole_end = data.map_or(end, |data| data.offset);
        if at < hole_end {
            let hole = Extent::between(at, hole_end);
            let copied = copy_hole(source, staged, hole, transfer_mode, hasher, buffer)?;
            written = copied.written_to.unwrap_or(written);
            crc64 = crc64.zip(copied.crc64).map(|(sum, next)| sum.combine(next, hole.length));
        }
        let Some(data) = data else { break };
        let copied = copy_data(source, staged, data, transfer_mode, hasher, buffer)?;
        written = copied.written_to.unwrap_or(written);
        crc64 = crc64.zip(copied.crc64).map(|(sum, next)| sum.combine(next, data.length));
        at = data.end();
    }
    if end == size_bytes && written < end {
        staged.end_at(size_bytes).at(Side::Target)?;
    }
    Ok(crc64)
}

/// Result of copying an extent.
struct Copied {
    /// Checksum of what was read, where the source has one to compare it with.
    crc64: Option<Crc64>,
    /// Offset after the last byte that was written; `None` where everything became a hole.
    written_to: Option<u64>,
}

/// Copies a range that the file system reports as a hole. A checksum covers bytes that were read:
/// where one is requested, the range is read, and data that the file system has overlooked is
/// written.
fn copy_hole(
    source: &dyn SourceFile,
    staged: &dyn StagedFile,
    hole: Extent,
    transfer_mode: TransferMode,
    hasher: &mut Option<PartHasher>,
    buffer: &mut [u8],
) -> Result<Copied, SideError> {
    if transfer_mode.sums == Sums::All || hasher.is_some() {
        let transfer_mode = TransferMode { holes: Holes::Made, ..transfer_mode };
        return copy_data(source, staged, hole, transfer_mode, hasher, buffer);
    }
    staged.leave_hole(hole).at(Side::Target)?;
    Ok(Copied { crc64: Some(Crc64::of_zeros(hole.length)), written_to: None })
}

fn copy_data(
    source: &dyn SourceFile,
    staged: &dyn StagedFile,
    extent: Extent,
    transfer_mode: TransferMode,
    hasher: &mut Option<PartHasher>,
    buffer: &mut [u8],
) -> Result<Copied, SideError> {
    let is_summed = transfer_mode.sums == Sums::All || source.crc64().is_some();
    let mut crc64 = is_summed.then(Crc64Nvme::new);
    let (mut at, end, mut written_to) = (extent.offset, extent.end(), None);
    // A service that copies an object itself saves two requests with content, however small.
    let is_object = source.address().is_some();
    let is_worth_it = extent.length >= IN_KERNEL_BYTES_MIN && transfer_mode.sums == Sums::AsKept;
    let is_allowed = transfer_mode.in_kernel == InKernel::Allowed && hasher.is_none();
    let mut in_kernel = is_allowed && (is_worth_it || is_object);
    while at < end {
        if in_kernel {
            match staged.copy_from(source, at, end - at).at(Side::Target)? {
                Some(moved) => {
                    at += moved;
                    written_to = Some(at);
                    // The store that moved the bytes has checked them, or left a receipt.
                    crc64 = None;
                }
                None => in_kernel = false,
            }
        } else {
            let want = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
            let read = source.read_at(&mut buffer[..want], at).at(Side::Source)?;
            if read == 0 {
                return Err(Op::Read.failed(Cause::Changed)).at(Side::Source);
            }
            let data = &buffer[..read];
            if transfer_mode.holes == Holes::Made {
                written_to = write_around_zeros(staged, data, at).at(Side::Target)?.or(written_to);
            } else {
                staged.write_at(data, at).at(Side::Target)?;
                written_to = Some(at + read as u64);
            }
            if let Some(crc64) = &mut crc64 {
                crc64.update(data);
            }
            if let Some(hasher) = hasher {
                hasher.update(data);
            }
            at += read as u64;
        }
    }
    Ok(Copied { crc64: crc64.map(|crc64| crc64.finish()), written_to })
}

/// Writes data except for blocks of zeros. Returns the end of the last write, if there was one.
fn write_around_zeros(staged: &dyn StagedFile, data: &[u8], at: u64) -> Result<Option<u64>, Error> {
    let (mut begin, mut written_to) = (0, None);
    while begin < data.len() {
        let (mut end, is_hole) = block_at(data, at, begin);
        while end < data.len() {
            let (next, is_hole_too) = block_at(data, at, end);
            if is_hole_too != is_hole {
                break;
            }
            end = next;
        }
        if is_hole {
            staged.leave_hole(Extent::between(at + begin as u64, at + end as u64))?;
        } else {
            staged.write_at(&data[begin..end], at + begin as u64)?;
            written_to = Some(at + end as u64);
        }
        begin = end;
    }
    Ok(written_to)
}

/// Returns the end of the block that begins at `begin`, in data that begins at the file offset
/// `at`, and whether the block is all zeros.
fn block_at(data: &[u8], at: u64, begin: usize) -> (usize, bool) {
    let to_boundary = HOLE_BLOCK_BYTES - (at + begin as u64) % HOLE_BLOCK_BYTES;
    let end = (begin + to_boundary as usize).min(data.len());
    (end, is_zero(&data[begin..end]))
}

/// True if a block of at most [`HOLE_BLOCK_BYTES`] is all zeros.
fn is_zero(block: &[u8]) -> bool {
    static ZEROS: [u8; HOLE_BLOCK_BYTES as usize] = [0; HOLE_BLOCK_BYTES as usize];
    *block == ZEROS[..block.len()]
}

/// Copies from the start until the source ends: for files that claim to be empty, as in /proc, and
/// may not be. Returns the number of bytes that were copied, and their checksum.
pub(super) fn copy_to_end(
    source: &dyn SourceFile,
    staged: &dyn StagedFile,
    buffer: &mut [u8],
) -> Result<(u64, Crc64), SideError> {
    let (mut at, mut crc64) = (0, Crc64Nvme::new());
    loop {
        let read = source.read_at(buffer, at).at(Side::Source)?;
        if read == 0 {
            return Ok((at, crc64.finish()));
        }
        staged.write_at(&buffer[..read], at).at(Side::Target)?;
        crc64.update(&buffer[..read]);
        at += read as u64;
    }
}
