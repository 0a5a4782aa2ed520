//! Times that a file system can keep: its kind and its form tell, where they do.

#![allow(unsafe_code, reason = "ioctl(2) of XFS")]

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::Mode;

use super::calls::openat;
use super::resolve::DIRECTORY;
use types::outcome::compare::TimeRange;

/// What statfs(2) says of kinds of file systems (`linux/magic.h`).
const EXT: u64 = 0xEF53;
const XFS: u64 = 0x5846_5342;
const MSDOS: u64 = 0x4D44;
const EXFAT: u64 = 0x2011_BAB0;

/// Kinds that keep all times to the nanosecond: tmpfs, ramfs, btrfs, bcachefs, F2FS, ZFS.
const EXACT: [u64; 6] =
    [0x0102_1994, 0x8584_58F6, 0x9123_683E, 0xCA45_1A4E, 0xF2F5_2010, 0x2FC1_2FC1];

/// `XFS_IOC_FSGEOMETRY` (`xfs_fs.h`): it fills a `struct xfs_fsop_geom` of 256 bytes.
const XFS_GEOMETRY: libc::c_ulong = 0x8100_587E;

/// Where the flags are in that, and the one for times of 64 bits.
const XFS_FLAGS_AT: usize = 92;
const XFS_BIGTIME: u32 = 1 << 21;

/// The range of times on the file system of that kind that a directory is on.
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

/// Kernels that do not know the flag keep times of 32 bits.
fn of_xfs(root: &OwnedFd) -> TimeRange {
    // A handle for passage only is of no use for that.
    let Ok(root) = openat(root, c".", DIRECTORY, Mode::empty()) else { return TimeRange::All };
    let mut geometry = [0_u8; 256];
    // SAFETY: the kernel writes at most the 256 bytes that the request's number says, and they are there.
    let asked = unsafe { libc::ioctl(root.as_raw_fd(), XFS_GEOMETRY, geometry.as_mut_ptr()) };
    let flags = &geometry[XFS_FLAGS_AT..][..4];
    match (asked, flags.try_into().map(u32::from_ne_bytes)) {
        (0, Ok(flags)) if flags & XFS_BIGTIME != 0 => TimeRange::BIGTIME,
        (0, Ok(_)) => TimeRange::SIGNED_32,
        _ => TimeRange::All,
    }
}
