//! Type numbers of file systems, as statfs(2) has them in `f_type` (`linux/magic.h`).

/// ext2, ext3 and ext4 (`EXT4_SUPER_MAGIC`).
pub const EXT: u64 = 0xEF53;
/// XFS (`XFS_SUPER_MAGIC`).
pub const XFS: u64 = 0x5846_5342;
/// Btrfs (`BTRFS_SUPER_MAGIC`).
pub const BTRFS: u64 = 0x9123_683E;
/// bcachefs (`BCACHEFS_STATFS_MAGIC` of its sources).
pub const BCACHEFS: u64 = 0xCA45_1A4E;
/// F2FS (`F2FS_SUPER_MAGIC`).
pub const F2FS: u64 = 0xF2F5_2010;
/// ZFS (`ZFS_SUPER_MAGIC` of OpenZFS).
pub const ZFS: u64 = 0x2FC1_2FC1;
/// tmpfs (`TMPFS_MAGIC`).
pub const TMPFS: u64 = 0x0102_1994;
/// ramfs (`RAMFS_MAGIC`).
pub const RAMFS: u64 = 0x8584_58F6;
/// FAT (`MSDOS_SUPER_MAGIC`).
pub const MSDOS: u64 = 0x4D44;
/// exFAT (`EXFAT_SUPER_MAGIC`).
pub const EXFAT: u64 = 0x2011_BAB0;
/// FUSE (`FUSE_SUPER_MAGIC`).
pub const FUSE: u64 = 0x6573_5546;
/// Lustre (`LL_SUPER_MAGIC` of `lustre_user.h`).
pub const LUSTRE: u64 = 0x0BD0_0BD0;
