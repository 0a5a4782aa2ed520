//! Range and granularity of times that a file system can store, by its type and format.

#![allow(unsafe_code, reason = "ioctl(2) of XFS")]

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::Mode;

use super::calls::{DIRECTORY, openat};
use types::file_systems::{BCACHEFS, BTRFS, EXFAT, EXT, F2FS, MSDOS, RAMFS, TMPFS, XFS, ZFS};
use types::outcome::compare::TimeRange;

/// Types that store all times to the nanosecond.
const EXACT: [u64; 6] = [TMPFS, RAMFS, BTRFS, BCACHEFS, F2FS, ZFS];

/// Request number of `XFS_IOC_FSGEOMETRY` (`xfs_fs.h`), which fills a `struct xfs_fsop_geom` of 256
/// bytes.
const XFS_GEOMETRY: libc::c_ulong = 0x8100_587E;

/// Offset of the flags in that structure, and the flag for times of 64 bits.
const XFS_FLAGS_AT: usize = 92;
const XFS_BIGTIME: u32 = 1 << 21;

/// Returns the range of times on the file system of that type that a directory is on.
pub(super) fn of(root: &OwnedFd, kind: Option<u64>) -> TimeRange {
    match kind {
        Some(EXT) => TimeRange::Ext,
        Some(XFS) => of_xfs(root),
        Some(MSDOS) => TimeRange::FAT,
        Some(EXFAT) => TimeRange::EXFAT,
        Some(kind) if EXACT.contains(&kind) => TimeRange::Exact,
        _ => TimeRange::All,
    }
}

/// Returns the range of XFS. Kernels that do not know the flag store times of 32 bits.
fn of_xfs(root: &OwnedFd) -> TimeRange {
    // A handle with search permission only does not support that.
    let Ok(root) = openat(root, c".", DIRECTORY, Mode::empty()) else { return TimeRange::All };
    let mut geometry = [0_u8; 256];
    // SAFETY: the kernel writes at most the 256 bytes that the request's number says, and they are
    // there.
    let asked = unsafe { libc::ioctl(root.as_raw_fd(), XFS_GEOMETRY, geometry.as_mut_ptr()) };
    let flags = &geometry[XFS_FLAGS_AT..][..4];
    match (asked, flags.try_into().map(u32::from_ne_bytes)) {
        (0, Ok(flags)) if flags & XFS_BIGTIME != 0 => TimeRange::BIGTIME,
        (0, Ok(_)) => TimeRange::SIGNED_32,
        _ => TimeRange::All,
    }
}
