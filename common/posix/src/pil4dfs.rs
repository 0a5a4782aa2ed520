//! Descriptors that the kernel does not know, because a preloaded library has made them up.
//!
//! DAOS's `libpil4dfs` replaces some of libc's functions where a path is below a dfuse mount, and
//! returns numbers from 0x2000_0000 on (`FD_FILE_BASE` in its `pil4dfs_int.h`). So all calls with
//! such a descriptor go through libc's functions, and only through those that the library replaces:
//! the kernel itself would answer `EBADF`. Its `int_dfs.c` shows which they are, and how they
//! behave; the rules that follow from that:
//!
//! - There is no `openat2`, `getdents64`, `copy_file_range`, `fallocate64`, `ioctl` or
//!   `/proc/self/fd`, there are no hard links, no special files and no lists of extended
//!   attributes.
//! - `statx` fails on a file that is open, and tells no device: `fstat` and `fstatat` are used.
//! - `futimens` and `fchmod` take files only; a directory is named `.` in itself.
//! - `O_DIRECTORY` is ignored, and `O_NOFOLLOW` opens the symbolic link itself: what was opened is
//!   checked.

#![allow(
    unsafe_code,
    reason = "rustix makes these calls around libc's functions, past the library"
)]

use std::ffi::c_int;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, statat};
use rustix::io::Errno;
use rustix::path::Arg;

use super::calls::{DIRECTORY, openat};
use types::entry::{Kind, Metadata, Time};
use types::outcome::difference::Fields;
use types::path::Name;

/// Smallest such number: far above those that a process may have open.
const LEAST: RawFd = 0x2000_0000;

/// Returns true for a descriptor that the kernel does not know.
pub(super) fn is_made_up(fd: impl AsFd) -> bool {
    let number = fd.as_fd().as_raw_fd();
    // The current directory is a negative number (openat(2)).
    number >= LEAST
}

/// Checks that an opened entry is a directory, as `O_DIRECTORY` would.
pub(super) fn checked_directory(fd: OwnedFd) -> Result<OwnedFd, Errno> {
    if !is_made_up(&fd) {
        return Ok(fd);
    }
    match FileType::from_raw_mode(fstat(&fd)?.st_mode) {
        FileType::Directory => Ok(fd),
        FileType::Symlink => Err(Errno::LOOP),
        _ => Err(Errno::NOTDIR),
    }
}

/// Checks that an opened entry is not a symbolic link, as `O_NOFOLLOW` would.
pub(super) fn checked_file(fd: OwnedFd) -> Result<OwnedFd, Errno> {
    if is_made_up(&fd) && FileType::from_raw_mode(fstat(&fd)?.st_mode) == FileType::Symlink {
        return Err(Errno::LOOP);
    }
    Ok(fd)
}

/// Reads the attributes of an open descriptor, or of an entry of a directory.
pub(super) fn metadata(at: impl AsFd, name: impl Arg, flags: AtFlags) -> Result<Metadata, Errno> {
    let stat = if flags.contains(AtFlags::EMPTY_PATH) {
        fstat(at)?
    } else {
        statat(at, name, flags & AtFlags::SYMLINK_NOFOLLOW)?
    };
    Ok(metadata_of(&stat))
}

#[allow(clippy::unnecessary_cast, reason = "its fields have other types elsewhere")]
fn metadata_of(stat: &Stat) -> Metadata {
    let time = |seconds, nanoseconds| Time {
        seconds,
        nanoseconds: u32::try_from(nanoseconds).unwrap_or(0),
    };
    Metadata {
        kind: Kind::from_mode(stat.st_mode),
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size_bytes: stat.st_size as u64,
        allocated_bytes: stat.st_blocks as u64 * 512,
        atime: time(stat.st_atime, stat.st_atime_nsec),
        mtime: time(stat.st_mtime, stat.st_mtime_nsec),
        ctime: time(stat.st_ctime, stat.st_ctime_nsec),
        links: stat.st_nlink as u64,
        device: stat.st_dev,
        inode: stat.st_ino,
        known: Fields::ALL,
    }
}

/// Lists all names of a directory but `.` and `..`, with their types, as far as those are known.
pub(super) fn list(fd: &OwnedFd, each: &mut dyn FnMut(&Name, FileType)) -> Result<(), Errno> {
    // The stream needs a descriptor of its own, which closing the stream closes.
    let own = openat(fd, c".", DIRECTORY, Mode::empty())?;
    for entry in Dir::new(own)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            each(entry.file_name(), entry.file_type());
        }
    }
    Ok(())
}

/// Sets the mode of an entry, or of the directory itself where the name is `.`; the entry must not
/// be a symbolic link.
pub(super) fn set_mode_at(dir: impl AsFd, name: &Name, mode: u32) -> Result<(), Errno> {
    // SAFETY: the descriptor is borrowed and the name a C string, both for the length of the call.
    result(unsafe { libc::fchmodat(dir.as_fd().as_raw_fd(), name.as_ptr(), mode, 0) })
}

/// Calls fchmod(2) through libc.
pub(super) fn set_mode(fd: impl AsFd, mode: u32) -> Result<(), Errno> {
    // SAFETY: the descriptor is borrowed for the length of the call.
    result(unsafe { libc::fchmod(fd.as_fd().as_raw_fd(), mode) })
}

/// Calls fchown(2) through libc; `None` leaves an owner or group unchanged.
pub(super) fn set_owner(fd: impl AsFd, uid: Option<u32>, gid: Option<u32>) -> Result<(), Errno> {
    let as_it_is = libc::uid_t::MAX;
    let (uid, gid) = (uid.unwrap_or(as_it_is), gid.unwrap_or(as_it_is));
    // SAFETY: the descriptor is borrowed for the length of the call.
    result(unsafe { libc::fchown(fd.as_fd().as_raw_fd(), uid, gid) })
}

/// Opens a file to set its attributes.
pub(super) fn open_for_attributes(dir: impl AsFd, name: &Name) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    checked_file(openat(dir, name, flags, Mode::empty())?)
}

fn result(returned: c_int) -> Result<(), Errno> {
    match returned {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()
            .raw_os_error()
            .map_or(Errno::IO, Errno::from_raw_os_error)),
    }
}
