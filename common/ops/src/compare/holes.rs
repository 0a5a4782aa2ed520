//! Holes that two sparse files share, which need not be read as far as their file systems can be
//! trusted.

use super::buffers::{Buffers, read_most};
use store::SourceFile;
use types::content::chunk::Extent;
use types::error::{Result, Side};
use types::limits::{HOLE_BYTES_MIN, HOLE_PROBE_BYTES, HOLE_PROBE_STRIDE_BYTES};

/// The bytes of two files that are read to compare them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Every byte is read, because the reading itself is the evidence.
    Everything,
    /// Shared holes are skipped, except for sample blocks.
    AroundHoles,
}

impl Reading {
    /// Returns the proper choice for an extent. Files that occupy as much storage as they have
    /// bytes have no holes worth looking for.
    pub fn of_extent(
        self,
        source: &dyn SourceFile,
        target: &dyn SourceFile,
        extent: Extent,
    ) -> Self {
        let is_sparse = |file: &dyn SourceFile| {
            file.metadata().is_ok_and(|file| file.allocated_bytes < file.size_bytes)
        };
        let is_worth_it = self == Self::AroundHoles
            && extent.length >= HOLE_BYTES_MIN
            && is_sparse(source)
            && is_sparse(target);
        if is_worth_it { Self::AroundHoles } else { Self::Everything }
    }
}

/// A cursor over the data segments of a file.
pub(super) struct Data<'f> {
    file: &'f dyn SourceFile,
    /// The data segment that was found last.
    found: Option<Extent>,
}

impl<'f> Data<'f> {
    pub fn of(file: &'f dyn SourceFile) -> Self {
        Self { file, found: None }
    }

    /// Returns the offset of the next data from `at` on, at most `end`.
    fn next(&mut self, at: u64, end: u64) -> Result<u64> {
        if self.found.is_none_or(|found| found.end() <= at) {
            let nothing = Extent { offset: end, length: u64::MAX - end };
            self.found = Some(self.file.data_in(Extent::between(at, end))?.unwrap_or(nothing));
        }
        Ok(self.found.map_or(at, |found| found.offset.clamp(at, end)))
    }
}

/// Returns the end of a hole that both files have at an offset, or the offset itself if no hole
/// there is worth skipping. Returns `None` if a file system does not report holes, or has reported
/// one with data in it and is no longer trusted.
pub(super) fn common_hole(
    files: &mut [Data<'_>; 2],
    at: u64,
    end: u64,
    room: &mut Buffers,
) -> Option<u64> {
    let [source, target] = files;
    let (of_source, of_target) = (source.next(at, end).ok()?, target.next(at, end).ok()?);
    let hole_end = of_source.min(of_target);
    let hole = Extent::between(at, hole_end);
    // A seek for each tiny hole costs more than reading it.
    if hole.length < HOLE_BYTES_MIN {
        return Some(at);
    }
    let is_true = reads_as_zeros(source.file, hole, room.of(Side::Source))
        && reads_as_zeros(target.file, hole, room.of(Side::Target));
    is_true.then_some(hole_end)
}

/// Reads sample blocks at intervals and the last block of a hole, and returns whether all of them
/// are zeros. Some file systems report recently written data as a hole, and a trusted report would
/// make two different files equal.
fn reads_as_zeros(file: &dyn SourceFile, hole: Extent, room: &mut [u8]) -> bool {
    let block = HOLE_PROBE_BYTES.min(room.len() as u64);
    let last = hole.end().saturating_sub(block).max(hole.offset);
    let probes = (hole.offset..last).step_by(HOLE_PROBE_STRIDE_BYTES as usize).chain([last]);
    let mut probes = probes.map(|at| {
        let room = &mut room[..block as usize];
        let is_whole = read_most(file, room, at).is_ok_and(|read| read == room.len());
        is_whole && room.iter().all(|byte| *byte == 0)
    });
    probes.all(|is_zeros| is_zeros)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::content::is_same_extent;
    use types::entry::{Kind, Metadata, Xattrs};
    use types::error::Op;
    use types::outcome::difference::Fields;

    const SIZE_BYTES: u64 = 40 << 20;

    /// A file of zeros except for one byte, all of which its file system reports as a hole, or all
    /// but the block of that byte.
    struct Sparse {
        byte_at: u64,
        is_honest: bool,
        bytes_read: std::sync::atomic::AtomicU64,
    }

    fn sparse(byte_at: u64, is_honest: bool) -> Sparse {
        Sparse { byte_at, is_honest, bytes_read: 0.into() }
    }

    impl SourceFile for Sparse {
        fn metadata(&self) -> Result<Metadata> {
            Ok(Metadata {
                size_bytes: SIZE_BYTES,
                allocated_bytes: 4096,
                known: Fields::ALL,
                ..Metadata::of_kind(Kind::File)
            })
        }

        fn xattrs(&self) -> Result<Option<Xattrs>> {
            Err(Op::GetXattrs.errno(libc::EIO))
        }

        fn data_in(&self, extent: Extent) -> Result<Option<Extent>> {
            let begin = self.byte_at - self.byte_at % HOLE_PROBE_BYTES;
            let (begin, end) =
                (begin.max(extent.offset), (begin + HOLE_PROBE_BYTES).min(extent.end()));
            Ok((self.is_honest && begin < end).then(|| Extent::between(begin, end)))
        }

        fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
            let length = buffer.len().min((SIZE_BYTES - offset) as usize);
            buffer.fill(0);
            if let Some(byte) = self.byte_at.checked_sub(offset).filter(|at| *at < length as u64) {
                buffer[byte as usize] = 1;
            }
            self.bytes_read.fetch_add(length as u64, std::sync::atomic::Ordering::Relaxed);
            Ok(length)
        }
    }

    fn compare(files: [&Sparse; 2], reading: Reading) -> bool {
        let all = Extent { offset: 0, length: SIZE_BYTES };
        let mut buffers = Buffers::new(512 << 10);
        is_same_extent(files[0], files[1], all, reading, &mut buffers).unwrap()
    }

    #[test]
    fn holes_of_both_are_passed_over_and_data_of_either_is_not() {
        for byte_at in [0, 5_000_000, 12_345_678, SIZE_BYTES - 1] {
            let same = [sparse(byte_at, true), sparse(byte_at, true)];
            assert!(compare(same.each_ref(), Reading::AroundHoles));
            for file in &same {
                let read = file.bytes_read.load(std::sync::atomic::Ordering::Relaxed);
                assert!(read < 2 << 20, "{read} bytes for {byte_at}");
            }
            let other = sparse(byte_at ^ 1, true);
            assert!(!compare([&same[0], &other], Reading::AroundHoles));
            let elsewhere = sparse(SIZE_BYTES / 2, true);
            assert!(!compare([&same[0], &elsewhere], Reading::AroundHoles));
            assert!(!compare([&elsewhere, &same[1]], Reading::AroundHoles));
        }
    }

    #[test]
    fn a_hole_that_reads_as_something_else_is_none() {
        for byte_at in [0, HOLE_PROBE_STRIDE_BYTES + 7, SIZE_BYTES - 1] {
            let (one, other) = (sparse(byte_at, false), sparse(byte_at + 1, false));
            let other = Sparse { byte_at: other.byte_at.min(SIZE_BYTES - 2), ..other };
            assert!(!compare([&one, &other], Reading::AroundHoles), "{byte_at}");
        }
        // A byte between two samples is only found by reading everything.
        let (one, other) = (sparse(99_999, false), sparse(99_998, false));
        assert!(!compare([&one, &other], Reading::Everything));
    }
}
