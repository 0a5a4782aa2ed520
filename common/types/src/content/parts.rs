//! Part sizes of a multipart upload: as requested where that fits, larger where the object would
//! need too many parts.

use crate::content::chunk::Extent;
use crate::size::human_bytes;

/// Largest number of parts of one upload (Amazon S3 User Guide, "multipart upload limits", as are
/// the next two).
pub const PARTS_MAX: u64 = 10_000;

/// Smallest size of a part in bytes; only the last part may be smaller.
pub const PART_BYTES_MIN: u64 = 5 << 20;

/// Largest size of a part in bytes, and of the body of one request.
pub const PART_BYTES_MAX: u64 = 5 << 30;

/// Largest size of an object: as much as that many parts of that size can hold, 48.8 TiB. Some
/// services take less, and say so.
pub const OBJECT_BYTES_MAX: u64 = PARTS_MAX * PART_BYTES_MAX;

/// Default part size in bytes.
pub const PART_BYTES: u64 = 16 << 20;

/// Granularity of part sizes in bytes, so that parts begin where chunks and file-system blocks do.
const STEP_BYTES: u64 = 1 << 20;

/// Division of an object into parts of one size, the last one with the remainder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// Size of the object in bytes.
    pub size_bytes: u64,
    /// Size of each part but the last one in bytes.
    pub part_bytes: u64,
}

/// An object has more bytes than one upload can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} are more than S3 takes in one object ({}, as {PARTS_MAX} parts of {})",
    human_bytes(*.size_bytes), human_bytes(OBJECT_BYTES_MAX), human_bytes(PART_BYTES_MAX)
)]
pub struct TooLarge {
    /// Size of the object in bytes.
    pub size_bytes: u64,
}

impl Parts {
    /// Divides an object into parts of at least `requested_bytes`, as far as S3 takes such.
    ///
    /// # Errors
    /// Fails for an object larger than [`OBJECT_BYTES_MAX`].
    pub fn of(size_bytes: u64, requested_bytes: u64) -> Result<Self, TooLarge> {
        if size_bytes > OBJECT_BYTES_MAX {
            return Err(TooLarge { size_bytes });
        }
        let requested_bytes = requested_bytes.clamp(PART_BYTES_MIN, PART_BYTES_MAX);
        let part_bytes = requested_bytes.max(size_bytes.div_ceil(PARTS_MAX));
        Ok(Self { size_bytes, part_bytes: part_bytes.next_multiple_of(STEP_BYTES) })
    }

    /// Returns the number of parts; one, empty, for an empty object.
    pub fn count(self) -> u64 {
        self.size_bytes.div_ceil(self.part_bytes).max(1)
    }

    /// Returns the byte range of a part, by its index from 0 (S3's part numbers begin at 1).
    pub fn extent(self, index: u64) -> Extent {
        let offset = index.saturating_mul(self.part_bytes).min(self.size_bytes);
        Extent { offset, length: self.part_bytes.min(self.size_bytes - offset) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const TIB: u64 = 1 << 40;

    #[track_caller]
    fn check(parts: Parts) {
        assert!(parts.part_bytes.is_multiple_of(MIB));
        assert!((PART_BYTES_MIN..=PART_BYTES_MAX).contains(&parts.part_bytes));
        assert!((1..=PARTS_MAX).contains(&parts.count()), "{parts:?}");
        let last = parts.extent(parts.count() - 1);
        assert_eq!(last.offset + last.length, parts.size_bytes);
        assert!(last.length > 0 || parts.size_bytes == 0);
        let before = parts.count().checked_sub(2).map(|index| parts.extent(index));
        assert!(before.is_none_or(
            |part| part.length == parts.part_bytes && part.offset + part.length == last.offset
        ));
    }

    #[test]
    fn a_requested_size_is_kept_up_to_ten_thousand_parts_of_it() {
        let table = [
            (0, 16, 1),
            (1, 16, 1),
            (5 * MIB, 16, 1),
            (16 * MIB, 16, 1),
            (16 * MIB + 1, 16, 2),
            (PARTS_MAX * PART_BYTES, 16, PARTS_MAX),
            (PARTS_MAX * PART_BYTES + 1, 17, 9_412),
            (5 * TIB, 525, 9_987),
            (OBJECT_BYTES_MAX, 5120, PARTS_MAX),
        ];
        for (size_bytes, part_mib, count) in table {
            let parts = Parts::of(size_bytes, PART_BYTES).unwrap();
            assert_eq!((parts.part_bytes / MIB, parts.count()), (part_mib, count), "{size_bytes}");
            check(parts);
        }
    }

    #[test]
    fn requested_sizes_are_brought_within_bounds() {
        for (requested, part_bytes) in [
            (0, PART_BYTES_MIN),
            (1, PART_BYTES_MIN),
            (PART_BYTES_MIN + 1, 6 * MIB),
            (PART_BYTES_MAX - 1, PART_BYTES_MAX),
            (PART_BYTES_MAX + 1, PART_BYTES_MAX),
            (u64::MAX, PART_BYTES_MAX),
        ] {
            let parts = Parts::of(TIB, requested).unwrap();
            let needed = TIB.div_ceil(PARTS_MAX).next_multiple_of(MIB);
            assert_eq!(parts.part_bytes, part_bytes.max(needed), "{requested}");
            assert_eq!(Parts::of(1, requested).unwrap().part_bytes, part_bytes, "{requested}");
        }
    }

    #[test]
    fn any_size_and_wish_gives_parts_that_s3_takes() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..20_000 {
            let (size_shift, requested_shift) = (random.u32(0..46), random.u32(0..64));
            let size_bytes = random.u64(0..=OBJECT_BYTES_MAX >> size_shift);
            let requested_bytes = random.u64(..) >> requested_shift;
            check(Parts::of(size_bytes, requested_bytes).unwrap());
        }
    }

    #[test]
    fn more_than_all_parts_can_hold_is_refused_with_the_limit() {
        for size_bytes in [OBJECT_BYTES_MAX + 1, 50 * TIB, 50 * TIB + 1, u64::MAX] {
            let why = Parts::of(size_bytes, PART_BYTES).unwrap_err().to_string();
            assert!(why.contains("48.8 TiB") && why.contains("5.0 GiB"), "{why}");
        }
    }
}
