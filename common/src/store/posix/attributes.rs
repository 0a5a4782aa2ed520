//! Reading and setting attributes by handle.

use std::os::fd::AsFd;

use rustix::fs::{
    AtFlags, Gid, Mode, StatxFlags, Timespec, Timestamps, Uid, chmodat, chownat, fchmod, fchown,
    futimens, statx, utimensat,
};
use rustix::io::Errno;
use rustix::path::Arg;

use super::Symlinks;
use super::failed::failed;
use crate::base::error::{Op, Result};
use crate::base::path::Name;
use crate::model::entry::{Attributes, Kept, Kind, Metadata, Owner, SET_ID_BITS, Time, Times};

/// Attributes of `name` in a directory.
pub(super) fn stat(dir: impl AsFd, name: impl Arg, symlinks: Symlinks) -> Result<Metadata> {
    let flags = match symlinks {
        Symlinks::Keep => AtFlags::SYMLINK_NOFOLLOW,
        Symlinks::Follow => AtFlags::empty(),
    };
    read(dir, name, flags | AtFlags::NO_AUTOMOUNT)
}

/// Attributes of what a handle is open on.
pub(super) fn stat_fd(fd: impl AsFd) -> Result<Metadata> {
    read(fd, c"", AtFlags::EMPTY_PATH)
}

fn read(at: impl AsFd, name: impl Arg, flags: AtFlags) -> Result<Metadata> {
    let stat =
        statx(at, name, flags, StatxFlags::BASIC_STATS).map_err(|errno| failed(Op::Stat, errno))?;
    let time = |stamp: rustix::fs::StatxTimestamp| Time {
        seconds: stamp.tv_sec,
        nanoseconds: stamp.tv_nsec,
    };
    let mode = u32::from(stat.stx_mode);
    Ok(Metadata {
        kind: Kind::from_mode(mode),
        mode: mode & 0o7777,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        size_bytes: stat.stx_size,
        allocated_bytes: stat.stx_blocks * 512,
        atime: time(stat.stx_atime),
        mtime: time(stat.stx_mtime),
        ctime: time(stat.stx_ctime),
        links: u64::from(stat.stx_nlink),
        device: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
        inode: stat.stx_ino,
    })
}

/// Gives what a handle is open on its attributes: owner first, since that clears set-id bits, then
/// mode, then times. `known` is who owns it now, where that is known: it saves calls that change
/// nothing, each a round trip on a parallel file system.
pub(super) fn set(fd: impl AsFd, attributes: &Attributes, known: Option<Owner>) -> Result<Kept> {
    let mut kept = Kept::All;
    if let Some(owner) = attributes.owner
        && known != Some(owner)
    {
        kept = set_owner(&fd, owner)?;
    }
    if let Some(mode) = attributes.mode {
        let lost = if kept == Kept::All { 0 } else { SET_ID_BITS };
        fchmod(&fd, Mode::from_raw_mode(mode & !lost))
            .map_err(|errno| failed(Op::SetMode, errno))?;
    }
    if let Some(times) = &attributes.times {
        futimens(&fd, &timestamps(times)).map_err(|errno| failed(Op::SetTimes, errno))?;
    }
    Ok(kept)
}

/// The same for a directory on which no handle for reading can be had, named in its own handle.
pub(super) fn set_by_name(fd: impl AsFd, name: &Name, attributes: &Attributes) -> Result<Kept> {
    let mut kept = Kept::All;
    let flags = AtFlags::empty();
    if let Some(Owner { uid, gid }) = attributes.owner {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        if chownat(&fd, name, Some(uid), Some(gid), flags).is_err() {
            kept = Kept::AllButOwner;
        }
    }
    if let Some(mode) = attributes.mode {
        let lost = if kept == Kept::All { 0 } else { SET_ID_BITS };
        chmodat(&fd, name, Mode::from_raw_mode(mode & !lost), flags)
            .map_err(|errno| failed(Op::SetMode, errno))?;
    }
    if let Some(times) = &attributes.times {
        utimensat(&fd, name, &timestamps(times), flags)
            .map_err(|errno| failed(Op::SetTimes, errno))?;
    }
    Ok(kept)
}

/// Where the system does not let this user give files away, the group alone is tried: a user may
/// choose among their own groups.
fn set_owner(fd: impl AsFd, owner: Owner) -> Result<Kept> {
    let gid = Some(Gid::from_raw(owner.gid));
    match fchown(&fd, Some(Uid::from_raw(owner.uid)), gid) {
        Ok(()) => Ok(Kept::All),
        Err(Errno::PERM | Errno::INVAL) => {
            let _ = fchown(&fd, None, gid);
            Ok(Kept::AllButOwner)
        }
        Err(errno) => Err(failed(Op::SetOwner, errno)),
    }
}

/// Times in the form of utimensat(2).
pub(super) fn timestamps(times: &Times) -> Timestamps {
    let spec = |time: Time| Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() };
    Timestamps { last_access: spec(times.atime), last_modification: spec(times.mtime) }
}
