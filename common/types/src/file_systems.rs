//! Type numbers of file systems, as statfs(2) has them in `f_type` (`linux/magic.h`, and the file
//! systems' own sources).

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
/// NFS (`NFS_SUPER_MAGIC`).
pub const NFS: u64 = 0x6969;
/// IBM Storage Scale, once GPFS.
pub const GPFS: u64 = 0x4750_4653;
/// BeeGFS.
pub const BEEGFS: u64 = 0x1983_0326;
/// Ceph (`CEPH_SUPER_MAGIC`).
pub const CEPH: u64 = 0x00C3_6400;
/// AFS of the kernel (`AFS_FS_MAGIC`).
pub const AFS: u64 = 0x6B41_4653;
/// OpenAFS (`AFS_SUPER_MAGIC`).
pub const OPENAFS: u64 = 0x5346_414F;
/// PanFS.
pub const PANFS: u64 = 0xAAD7_AAEA;
/// OCFS2 (`OCFS2_SUPER_MAGIC`).
pub const OCFS2: u64 = 0x7461_636F;
/// GFS2 (`GFS2_MAGIC`).
pub const GFS2: u64 = 0x0116_1970;
/// OrangeFS.
pub const ORANGEFS: u64 = 0x2003_0528;
/// 9P (`V9FS_MAGIC`).
pub const V9FS: u64 = 0x0102_1997;
/// StorNext.
pub const SNFS: u64 = 0xBEEF_DEAD;
/// CIFS (`CIFS_SUPER_MAGIC`).
pub const CIFS: u64 = 0xFF53_4D42;
/// SMB 2 and later (`SMB2_SUPER_MAGIC`).
pub const SMB2: u64 = 0xFE53_4D42;
/// SMB of old kernels (`SMB_SUPER_MAGIC`).
pub const SMB: u64 = 0x517B;
