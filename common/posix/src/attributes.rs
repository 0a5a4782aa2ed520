//! Reading and setting attributes by handle.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, StatxFlags, Timespec, Timestamps, Uid, chmodat, chownat, futimens,
    statx, utimensat,
};
use rustix::io::Errno;
use rustix::path::Arg;

use super::answered::until_answered;
use super::calls::openat;
use super::failed::failed;
use super::pil4dfs::{self, is_made_up};
use super::xattrs::Holder;
use store::opening::Symlinks;
use types::entry::{Attributes, Kind, Metadata, Owner, Preserved, Time, Times, Xattrs};
use types::error::{Cause, Op, Result};
use types::outcome::difference::Fields;
use types::path::Name;

/// Reads the attributes of `name` in a directory.
pub(super) fn stat(dir: impl AsFd, name: impl Arg, symlinks: Symlinks) -> Result<Metadata> {
    let flags = match symlinks {
        Symlinks::Keep => AtFlags::SYMLINK_NOFOLLOW,
        Symlinks::Follow => AtFlags::empty(),
    };
    read(dir, name, flags | AtFlags::NO_AUTOMOUNT)
}

/// Reads the attributes of an open file or directory.
pub(super) fn stat_fd(fd: impl AsFd) -> Result<Metadata> {
    read(fd, c"", AtFlags::EMPTY_PATH)
}

/// Reads the attributes of an open file or directory from the server of a network file system, past
/// its cache.
pub(super) fn stat_fd_now(fd: impl AsFd) -> Result<Metadata> {
    read(fd, c"", AtFlags::EMPTY_PATH | AtFlags::STATX_FORCE_SYNC)
}

fn read(at: impl AsFd, name: impl Arg, flags: AtFlags) -> Result<Metadata> {
    if is_made_up(&at) {
        return pil4dfs::metadata(at, name, flags).map_err(|errno| failed(Op::Stat, errno));
    }
    let stat = until_answered(|| {
        name.as_cow_c_str().and_then(|name| statx(&at, &*name, flags, StatxFlags::BASIC_STATS))
    });
    let stat = stat.map_err(|errno| failed(Op::Stat, errno))?;
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
        known: Fields::ALL,
    })
}

/// Sets the attributes of an open file or directory: the owner first, since that clears set-id bits
/// and file capabilities, then extended attributes, which a read-only mode would forbid, then the
/// mode, then the times. `known` is its present owner, where that is known: it saves calls that
/// change nothing, each a round trip on a parallel file system.
pub(super) fn set(
    fd: impl AsFd,
    attributes: &Attributes,
    known: Option<Owner>,
    holder: &Holder<'_>,
) -> Result<Preserved> {
    let mut preserved = Preserved::ALL;
    if let Some(owner) = attributes.owner
        && known != Some(owner)
    {
        let change = |uid, gid| change_owner(&fd, uid, gid);
        preserved = try_owner(owner, change, || stat_fd(&fd))?;
    }
    if let Some(xattrs) = &attributes.xattrs {
        let set_mode = |mode| pil4dfs::set_mode(&fd, mode);
        preserved.xattrs_lost = !write_xattrs(holder, xattrs, || stat_fd(&fd), set_mode)?;
    }
    let now = || stat_fd(&fd).map(|now| Owner::from(&now));
    if let Some(mode) = attributes.mode_to_set(preserved, now)? {
        pil4dfs::set_mode(&fd, mode).map_err(|errno| failed(Op::SetMode, errno))?;
    }
    if let Some(times) = &attributes.times {
        futimens(&fd, &timestamps(times)).map_err(|errno| failed(Op::SetTimes, errno))?;
    }
    Ok(preserved)
}

/// Writes extended attributes; returns false where there is no room for them. Those of users need
/// the right to read and write the entry (xattr(7)), which the owner gets for a moment where the
/// mode denies it.
fn write_xattrs(
    holder: &Holder<'_>,
    xattrs: &Xattrs,
    look: impl Fn() -> Result<Metadata>,
    set_mode: impl Fn(u32) -> std::result::Result<(), Errno>,
) -> Result<bool> {
    let denied = match holder.write(xattrs) {
        Err(error) if error.cause == Cause::System(libc::EACCES) => error,
        written => return written,
    };
    let Metadata { kind, mode, .. } = look()?;
    let is_denied = kind != Kind::Symlink && mode & OWNER_READ_WRITE != OWNER_READ_WRITE;
    if !is_denied || set_mode(mode | OWNER_READ_WRITE).is_err() {
        return Err(denied);
    }
    let written = holder.write(xattrs);
    set_mode(mode).map_err(|errno| failed(Op::SetMode, errno))?;
    written
}

/// Rights of the owner to read and to write.
const OWNER_READ_WRITE: u32 = 0o600;

/// Sets the attributes of an entry that cannot be opened for reading, or must not be: by its name
/// in its directory, or a directory as `.` in its own handle. A symbolic link gets attributes
/// itself; it has no mode.
pub(super) fn set_by_name(
    dir: impl AsFd,
    name: &Name,
    attributes: &Attributes,
    holder: &Holder<'_>,
) -> Result<Preserved> {
    if is_made_up(&dir) {
        return set_in_made_up(dir.as_fd(), name, attributes, holder);
    }
    let mut preserved = Preserved::ALL;
    if let Some(owner) = attributes.owner {
        let change = |uid, gid| chownat(&dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW);
        preserved = try_owner(owner, change, || stat(&dir, name, Symlinks::Keep))?;
    }
    if let Some(xattrs) = &attributes.xattrs {
        let look = || stat(&dir, name, Symlinks::Keep);
        let set_mode = |mode| set_mode_by_name(&dir, name, mode);
        preserved.xattrs_lost = !write_xattrs(holder, xattrs, look, set_mode)?;
    }
    let now = || stat(&dir, name, Symlinks::Keep).map(|now| Owner::from(&now));
    if let Some(mode) = attributes.mode_to_set(preserved, now)? {
        set_mode_by_name(&dir, name, mode).map_err(|errno| failed(Op::SetMode, errno))?;
    }
    if let Some(times) = &attributes.times {
        utimensat(&dir, name, &timestamps(times), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| failed(Op::SetTimes, errno))?;
    }
    Ok(preserved)
}

/// Sets the attributes of an entry in a directory whose descriptor the kernel does not know.
fn set_in_made_up(
    dir: BorrowedFd<'_>,
    name: &Name,
    attributes: &Attributes,
    holder: &Holder<'_>,
) -> Result<Preserved> {
    let has_others =
        attributes.owner.is_some() || attributes.mode.is_some() || attributes.xattrs.is_some();
    let mut preserved = Preserved::ALL;
    if name == c"." {
        preserved =
            set(dir, &Attributes { mode: None, times: None, ..attributes.clone() }, None, holder)?;
        let now = || stat_fd(dir).map(|now| Owner::from(&now));
        if let Some(mode) = attributes.mode_to_set(preserved, now)? {
            pil4dfs::set_mode_at(dir, name, mode).map_err(|errno| failed(Op::SetMode, errno))?;
        }
    } else if has_others {
        match pil4dfs::open_for_attributes(dir, name) {
            Ok(file) => return set(&file, attributes, None, &holder.of(&file)),
            // No call sets a symbolic link's owner there.
            Err(Errno::LOOP) => {
                let is_lost = attributes.owner.is_some();
                preserved = Preserved { user_lost: is_lost, group_lost: is_lost, ..preserved };
            }
            Err(errno) => return Err(failed(Op::Open, errno)),
        }
    }
    if let Some(times) = &attributes.times {
        utimensat(dir, name, &timestamps(times), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| failed(Op::SetTimes, errno))?;
    }
    Ok(preserved)
}

fn change_owner(fd: impl AsFd, uid: Option<Uid>, gid: Option<Gid>) -> rustix::io::Result<()> {
    pil4dfs::set_owner(fd, uid.map(Uid::as_raw), gid.map(Gid::as_raw))
}

/// Sets an entry's mode. Since chmod(2) follows symbolic links, the entry is opened by a handle
/// that cannot be one, and changed through that, as glibc does where the kernel has no
/// fchmodat2(2).
fn set_mode_by_name(dir: impl AsFd, name: &Name, mode: u32) -> rustix::io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if name == c"." {
        // Its own handle is enough, and needs no permission to search it.
        return set_mode_of_pinned(dir.as_fd(), mode);
    }
    let pinned = openat(&dir, name, flags, Mode::empty())?;
    let stat = statx(&pinned, c"", AtFlags::EMPTY_PATH, StatxFlags::TYPE)?;
    if Kind::from_mode(u32::from(stat.stx_mode)) == Kind::Symlink {
        return Err(Errno::LOOP);
    }
    set_mode_of_pinned(pinned.as_fd(), mode)
}

fn set_mode_of_pinned(pinned: BorrowedFd<'_>, mode: u32) -> rustix::io::Result<()> {
    let path = format!("/proc/self/fd/{}", pinned.as_raw_fd());
    chmodat(rustix::fs::CWD, path, Mode::from_raw_mode(mode), AtFlags::empty())
}

/// Sets owner and group. Where the system does not let this user give files away, the group alone
/// is tried: a user may choose among their own groups. Returns which of the two could not be set
/// and differs from the present one, which `now` reads.
pub(super) fn try_owner(
    owner: Owner,
    chown: impl Fn(Option<Uid>, Option<Gid>) -> rustix::io::Result<()>,
    now: impl Fn() -> Result<Metadata>,
) -> Result<Preserved> {
    let is_given = |id: &u32| *id != Owner::AS_IT_IS;
    let uid = Some(owner.uid).filter(is_given).map(Uid::from_raw);
    let gid = Some(owner.gid).filter(is_given).map(Gid::from_raw);
    match chown(uid, gid) {
        Ok(()) => Ok(Preserved::ALL),
        // Some file systems do not support owners.
        Err(Errno::PERM | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => {
            let (mut user_lost, mut group_lost) = (uid.is_some(), gid.is_some());
            if let Ok(now) = now() {
                user_lost &= owner.uid != now.uid;
                group_lost &= owner.gid != now.gid;
            }
            let group_lost = group_lost && chown(None, gid).is_err();
            Ok(Preserved { user_lost, group_lost, ..Preserved::ALL })
        }
        Err(errno) => Err(failed(Op::SetOwner, errno)),
    }
}

/// Converts times to the form of utimensat(2).
pub(super) fn timestamps(times: &Times) -> Timestamps {
    let spec = |time: Time| Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() };
    Timestamps { last_access: spec(times.atime), last_modification: spec(times.mtime) }
}
