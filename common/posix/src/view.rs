//! View of a root from this node: its identity, its file system, and the mounts below it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{
    AtFlags, Mode, OFlags, Statx, StatxFlags, StatxTimestamp, fstatvfs, readlinkat, statx,
};
use rustix::io::{Errno, retry_on_intr};

use super::calls::{UP, fstatfs, openat};
use host::mounts::{self, Mount};
use host::process::machine_id;
use types::entry::Time;
use types::file_systems;
use types::limits::LINEAGE_DIRECTORIES_MAX;
use types::operand::root_view::{RootView, Seen, is_known_by_origin};
use types::path::join;

/// Types whose file system ID (`f_fsid`) is made of what is on the disk, or by chance; others make
/// it of the device number on this node.
const NUMBERED: [u64; 4] =
    [file_systems::EXT, file_systems::BTRFS, file_systems::F2FS, file_systems::TMPFS];

/// Type of a mounted file system with nothing but mount points, which are made on access.
const ON_DEMAND: &[u8] = b"autofs";

/// An inspected entry, by handle.
struct At<'f> {
    fd: BorrowedFd<'f>,
    statx: Statx,
    /// Path as this process sees it; empty where that is not known.
    path: Vec<u8>,
}

/// Views a root, or an entry that takes its place, with the mount points below it that take part.
pub(super) fn view(
    fd: BorrowedFd<'_>,
    table: &[Mount],
    takes_part: &dyn Fn(&[u8]) -> bool,
) -> Result<RootView, Errno> {
    let at = At::of(fd)?;
    let root = at.seen(table)?;
    let mut below = BTreeMap::new();
    for (point, mount) in at.mounts_below(table) {
        if takes_part(&point) {
            below.insert(point.clone(), at.mounted(&point, mount, table)?);
        }
    }
    Ok(RootView { machine: machine_id(), root, below })
}

/// Views a directory, and those above it up to the root of the file system.
pub(super) fn lineage(directory: OwnedFd, table: &[Mount]) -> Result<Vec<Seen>, Errno> {
    let mut at = directory;
    let mut directories: Vec<Seen> = Vec::new();
    loop {
        let seen = At::of(at.as_fd())?.seen(table)?;
        // The root of the file system is its own parent.
        let is_root = directories.last().is_some_and(|below| below.is_same(&seen, true));
        if is_root || directories.len() >= LINEAGE_DIRECTORIES_MAX {
            return Ok(directories);
        }
        directories.push(seen);
        at = openat(&at, c"..", UP, Mode::empty())?;
    }
}

/// A directory of a file system that a tree shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Path below the root of the tree; empty for the root itself.
    pub below: Vec<u8>,
    /// Device number of the file system.
    pub device: u64,
    /// Path of the directory in the file system.
    pub directory: Vec<u8>,
}

/// Returns the directories that the tree below a root shows, the root first; none where the mount
/// of the root is not known.
pub(super) fn shown(fd: BorrowedFd<'_>, table: &[Mount]) -> Vec<Shown> {
    let Ok(at) = At::of(fd) else { return Vec::new() };
    let Some(own) = at.mount(table) else { return Vec::new() };
    let Some(below) = mounts::relative(&at.path, &own.point) else { return Vec::new() };
    let root = Shown { below: Vec::new(), device: own.device, directory: join(&own.shown, below) };
    let mounted = at.mounts_below(table).into_iter().map(|(below, mount)| Shown {
        below,
        device: mount.device,
        directory: mount.shown.clone(),
    });
    std::iter::once(root).chain(mounted).collect()
}

/// Returns the points and device numbers of the mounts below a root, to notice when they change.
pub(super) fn mounts_below(fd: BorrowedFd<'_>, table: &[Mount]) -> Vec<(Vec<u8>, u64)> {
    let Ok(at) = At::of(fd) else { return Vec::new() };
    at.mounts_below(table).into_iter().map(|(point, mount)| (point, mount.device)).collect()
}

/// Returns whether the path of a directory leads to it: its file system is mounted, and nothing is
/// mounted over it. Where there is no such path any more, that is told by other means.
pub(super) fn is_reached(fd: BorrowedFd<'_>, table: &[Mount]) -> bool {
    let Ok(at) = At::of(fd) else { return false };
    let is_mounted = table.is_empty() || !at.has(StatxFlags::MNT_ID) || at.mount(table).is_some();
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let found = openat(rustix::fs::CWD, &at.path[..], flags, Mode::empty());
    let Ok(found) = found else { return is_mounted };
    let is_same = |found: &At<'_>| {
        let numbers =
            |at: &At<'_>| (at.statx.stx_dev_major, at.statx.stx_dev_minor, at.statx.stx_ino);
        numbers(found) == numbers(&at)
    };
    is_mounted && At::of(found.as_fd()).is_ok_and(|found| is_same(&found))
}

impl<'f> At<'f> {
    fn of(fd: BorrowedFd<'f>) -> Result<Self, Errno> {
        // Changes that another node made a moment ago count.
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_FORCE_SYNC;
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME | StatxFlags::MNT_ID;
        let statx = retry_on_intr(|| statx(fd, c"", flags, wanted))?;
        let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let path = readlinkat(rustix::fs::CWD, link, Vec::new());
        Ok(Self { fd, statx, path: path.map(std::ffi::CString::into_bytes).unwrap_or_default() })
    }

    fn has(&self, flag: StatxFlags) -> bool {
        StatxFlags::from_bits_retain(self.statx.stx_mask).contains(flag)
    }

    fn mount<'t>(&self, table: &'t [Mount]) -> Option<&'t Mount> {
        let id = self.has(StatxFlags::MNT_ID).then_some(self.statx.stx_mnt_id)?;
        mounts::by_id(table, id)
    }

    fn seen(&self, table: &[Mount]) -> Result<Seen, Errno> {
        let system = fstatfs(self.fd)?.f_type as u64;
        let mount = self.mount(table);
        let numbered =
            NUMBERED.contains(&system).then(|| retry_on_intr(|| fstatvfs(self.fd))).transpose()?;
        Ok(Seen {
            system,
            kind: mount.map(|mount| mount.kind.clone()).unwrap_or_default(),
            system_id: numbered.map(|statvfs| statvfs.f_fsid).filter(|id| *id != 0),
            device: rustix::fs::makedev(self.statx.stx_dev_major, self.statx.stx_dev_minor),
            inode: self.statx.stx_ino,
            born: self.has(StatxFlags::BTIME).then(|| time(self.statx.stx_btime)),
            changed: time(self.statx.stx_ctime),
            origin: mount.filter(|_| is_known_by_origin(system)).and_then(|it| self.origin(it)),
        })
    }

    /// Returns the source of a mount, and the path below it. A DAOS container has a name of its
    /// own; dfuse calls the source of all of them the same.
    fn origin(&self, mount: &Mount) -> Option<Vec<u8>> {
        let source = if mount.is_dfuse() {
            mounts::attribute(mount, "user.daos").filter(|link| !link.is_empty())?
        } else {
            mount.source.clone()
        };
        let below = mounts::relative(&self.path, &mount.point)?;
        Some([&source[..], &mount.shown, below].join(&0))
    }

    fn mounts_below<'t>(&self, table: &'t [Mount]) -> Vec<(Vec<u8>, &'t Mount)> {
        let Some(mount) = self.mount(table).filter(|_| !self.path.is_empty()) else {
            return Vec::new();
        };
        let met = mounts::below(table, mount.id, &self.path).into_iter();
        met.filter_map(|it| Some((mounts::relative(&it.point, &self.path)?.to_vec(), it))).collect()
    }

    /// Views the root of a mount at a point below; `None` where this user has no permission, or it
    /// is not visible.
    fn mounted(&self, point: &[u8], mount: &Mount, table: &[Mount]) -> Result<Option<Seen>, Errno> {
        if mount.kind == ON_DEMAND {
            return Ok(None);
        }
        match open_entry(self.fd, OsStr::from_bytes(point), OFlags::NOFOLLOW) {
            Ok(fd) => At::of(fd.as_fd())?.seen(table).map(Some),
            Err(Errno::ACCESS | Errno::PERM) => Ok(None),
            Err(errno) => Err(errno),
        }
    }
}

/// Opens an entry of any type for stat(2) only.
pub(super) fn open_entry(
    dir: BorrowedFd<'_>,
    name: impl rustix::path::Arg + Copy,
    nofollow: OFlags,
) -> Result<OwnedFd, Errno> {
    openat(dir, name, OFlags::PATH | OFlags::CLOEXEC | nofollow, Mode::empty())
}

fn time(stamp: StatxTimestamp) -> Time {
    Time { seconds: stamp.tv_sec, nanoseconds: stamp.tv_nsec }
}
