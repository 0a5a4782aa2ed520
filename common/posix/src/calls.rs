//! System calls that are repeated when a signal has interrupted them (`EINTR`).
//!
//! A handler with `SA_RESTART` makes the kernel repeat most calls, but not all, and network file
//! systems that are mounted interruptible return the error for every call that waits for a server.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, StatFs};
use rustix::io::{Result, retry_on_intr};
use rustix::path::Arg;

/// Flags to open a directory.
pub(super) const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Flags to open parent directories.
pub(super) const UP: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Calls open(2).
pub(super) fn open(path: impl Arg + Copy, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    retry_on_intr(|| rustix::fs::open(path, flags, mode))
}

/// Calls openat(2).
pub(super) fn openat(
    dir: impl AsFd,
    path: impl Arg + Copy,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd> {
    retry_on_intr(|| rustix::fs::openat(&dir, path, flags, mode))
}

/// Calls openat2(2).
pub(super) fn openat2(
    dir: impl AsFd,
    path: impl Arg + Copy,
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
) -> Result<OwnedFd> {
    retry_on_intr(|| rustix::fs::openat2(&dir, path, flags, mode, resolve))
}

/// Calls fstatfs(2).
pub(super) fn fstatfs(fd: impl AsFd) -> Result<StatFs> {
    retry_on_intr(|| rustix::fs::fstatfs(&fd))
}
