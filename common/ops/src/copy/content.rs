//! Moving bytes from an open source file to a staged one.

use store::{SourceFile, StagedFile};
use types::content::chunk::Extent;
use types::content::crc64::{Crc64, Crc64Nvme};
use types::content::etag::PartHasher;
use types::content::transfer::{Holes, InKernel, Manner, Reflink, Sums, Transfer};
use types::entry::Metadata;
use types::error::{At, Cause, Error, Op, Side, Trouble};

/// Below this, reading and writing costs the same as letting the kernel copy.
const IN_KERNEL_BYTES_MIN: u64 = 256 << 10;

/// Runs of zeros become holes in blocks of this size: file systems have none smaller, but for a few.
const HOLE_BLOCK_BYTES: u64 = 4 << 10;

/// A piece of a file, and how it is moved.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    /// Which bytes.
    pub extent: Extent,
    /// Size of the whole file.
    pub size_bytes: u64,
    /// How.
    pub manner: Manner,
}

/// Lets a new file share all content with the source, where that is wished and possible.
pub(super) fn share(
    source: &dyn SourceFile,
    staged: &dyn StagedFile,
    metadata: &Metadata,
    transfer: Transfer,
) -> Result<bool, Trouble> {
    let wish = transfer.sharing();
    // What claims to be empty has nothing to share.
    if wish == Reflink::Never || metadata.size_bytes == 0 {
        return Ok(false);
    }
    match staged.share_all(source, metadata) {
        Ok(()) => Ok(true),
        // Reading and writing finds out what is really wrong, if anything is.
        Err(_) if wish == Reflink::Auto => Ok(false),
        Err(error) => Err(error).at(Side::Target),
    }
}

/// Copies a piece whole. Returns the checksum of what was read, where it is wanted, or the source has one to
/// compare it with; the hasher, where there is one, has been given all of it.
///
/// A source that ends early has changed: the copy is not padded. One that is cut off while its holes are
/// looked for has a hole there; whoever copies the file looks afterwards whether it has changed.
pub(super) fn copy_piece(
    source: &dyn SourceFile,
    staged: &dyn StagedFile,
    piece: Piece,
    hasher: &mut Option<PartHasher>,
    buffer: &mut [u8],
) -> Result<Option<Crc64>, Trouble> {
    let Piece { extent, size_bytes, manner } = piece;
    if manner.holes == Holes::None || !staged.keeps_holes() {
        let plain = Manner { sums: manner.sums, ..Manner::PLAIN };
        let manner = if staged.keeps_holes() { manner } else { plain };
        return copy_data(source, staged, extent, manner, hasher, buffer).map(|it| it.crc64);
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
            let copied = copy_hole(source, staged, hole, manner, hasher, buffer)?;
            written = copied.written_to.unwrap_or(written);
            crc64 = crc64.zip(copied.crc64).map(|(sum, next)| sum.combine(next, hole.length));
        }
        let Some(data) = data else { break };
        let copied = copy_data(source, staged, data, manner, hasher, buffer)?;
        written = copied.written_to.unwrap_or(written);
        crc64 = crc64.zip(copied.crc64).map(|(sum, next)| sum.combine(next, data.length));
        at = data.end();
    }
    if end == size_bytes && written < end {
        staged.end_at(size_bytes).at(Side::Target)?;
    }
    Ok(crc64)
}

/// What came of copying an extent.
struct Copied {
    /// Checksum of what was read, where the source has one to compare it with.
    crc64: Option<Crc64>,
    /// Where the last byte was written, and one on; `None` where all became a hole.
    written_to: Option<u64>,
}

/// Copies what the file system says is a hole. A checksum stands for bytes that were read: where there is to be
/// one they are, and what the file system was wrong about is written.
fn copy_hole(
    source: &dyn SourceFile,
    staged: &dyn StagedFile,
    hole: Extent,
    manner: Manner,
    hasher: &mut Option<PartHasher>,
    buffer: &mut [u8],
) -> Result<Copied, Trouble> {
    if manner.sums == Sums::All || hasher.is_some() {
        let manner = Manner { holes: Holes::Made, ..manner };
        return copy_data(source, staged, hole, manner, hasher, buffer);
    }
    staged.leave_hole(hole).at(Side::Target)?;
    Ok(Copied { crc64: Some(Crc64::of_zeros(hole.length)), written_to: None })
}

fn copy_data(
    source: &dyn SourceFile,
    staged: &dyn StagedFile,
    extent: Extent,
    manner: Manner,
    hasher: &mut Option<PartHasher>,
    buffer: &mut [u8],
) -> Result<Copied, Trouble> {
    let is_summed = manner.sums == Sums::All || source.crc64().is_some();
    let mut crc64 = is_summed.then(Crc64Nvme::new);
    let (mut at, end, mut written_to) = (extent.offset, extent.end(), None);
    // A service that copies an object itself saves two requests with content, however small.
    let is_object = source.address().is_some();
    let is_worth_it = extent.length >= IN_KERNEL_BYTES_MIN && manner.sums == Sums::AsKept;
    let is_allowed = manner.in_kernel == InKernel::Allowed && hasher.is_none();
    let mut in_kernel = is_allowed && (is_worth_it || is_object);
    while at < end {
        if in_kernel {
            match staged.copy_from(source, at, end - at).at(Side::Target)? {
                Some(moved) => {
                    at += moved;
                    written_to = Some(at);
                    // Whoever moved the bytes has checked them, or left a receipt.
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
            if manner.holes == Holes::Made {
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

/// Writes what is not in a block of zeros. Returns where the last write ended, if there was one.
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

/// Where the block ends that begins there, in data from that offset on, and whether it is all zeros.
fn block_at(data: &[u8], at: u64, begin: usize) -> (usize, bool) {
    let to_boundary = HOLE_BLOCK_BYTES - (at + begin as u64) % HOLE_BLOCK_BYTES;
    let end = (begin + to_boundary as usize).min(data.len());
    (end, is_zero(&data[begin..end]))
}

/// At most a block of [`HOLE_BLOCK_BYTES`].
fn is_zero(block: &[u8]) -> bool {
    static ZEROS: [u8; HOLE_BLOCK_BYTES as usize] = [0; HOLE_BLOCK_BYTES as usize];
    *block == ZEROS[..block.len()]
}

/// Copies from the start until the source ends: for files that claim to be empty, as in /proc, and may
/// not be. Returns how many bytes were copied, and their checksum.
pub(super) fn copy_to_end(
    source: &dyn SourceFile,
    staged: &dyn StagedFile,
    buffer: &mut [u8],
) -> Result<(u64, Crc64), Trouble> {
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
