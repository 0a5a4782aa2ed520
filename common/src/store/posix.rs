//! A tree of a POSIX file system, reached through directory handles only.
//!
//! The root is the one path that is resolved as the operator gave it. Everything below is reached by
//! `openat2` with `RESOLVE_BENEATH` or by single components with `O_NOFOLLOW`, so nobody can lead a
//! copier outside its tree by swapping a directory for a link, and paths beyond `PATH_MAX` work.
//! Attributes are set by descriptor.

mod attributes;
mod dir;
mod file;
mod resolve;
mod staged;
mod visible;

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{Dir, Store};
use crate::base::error::{Cause, Op, Result};
use crate::base::limits;
use crate::base::path::RelPath;
use crate::model::entry::Metadata;
use dir::PosixDir;

/// What to do with symbolic links below the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Symlinks {
    /// They are entries of their own.
    Keep,
    /// What they point to stands in their place, wherever it is.
    Follow,
}

/// A tree of a POSIX file system.
pub struct PosixStore {
    root: OwnedFd,
    /// Other ranks make directories here, which this node may see a little later.
    is_growing: bool,
    shared: Arc<Shared>,
}

/// What all handles of one store share.
struct Shared {
    symlinks: Symlinks,
    open_dirs: AtomicUsize,
    open_dirs_max: usize,
    /// This process's user and group, to see which files need no chown.
    uid: u32,
    gid: u32,
    /// Ways of copying in the kernel that this store has refused so far.
    refused: AtomicU32,
}

impl PosixStore {
    /// Opens the directory at `path`, resolved as the operator gave it.
    pub fn open(path: &[u8], symlinks: Symlinks) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(OsStr::from_bytes(path), flags, Mode::empty())
            .map_err(|errno| Op::Open.errno(errno.raw_os_error()))?;
        Ok(Self {
            root,
            is_growing: false,
            shared: Arc::new(Shared {
                symlinks,
                open_dirs: AtomicUsize::new(0),
                open_dirs_max: open_dirs_max(),
                uid: rustix::process::geteuid().as_raw(),
                gid: rustix::process::getegid().as_raw(),
                refused: AtomicU32::new(0),
            }),
        })
    }

    /// Opens the directory at `path`, a tree in which other ranks make directories: what is not there
    /// yet, be it the root, is waited for.
    pub fn open_growing(path: &[u8], symlinks: Symlinks) -> Result<Self> {
        let mut last = Op::Open.errno(libc::ENOENT);
        let opened = visible::until_visible(|| {
            Self::open(path, symlinks).map_err(|error| {
                last = error;
                match error.cause {
                    Cause::System(errno) => Errno::from_raw_os_error(errno),
                    _ => Errno::IO,
                }
            })
        });
        opened.map(|store| Self { is_growing: true, ..store }).map_err(|_| last)
    }
}

impl Store for PosixStore {
    fn open_dir(&self, path: &RelPath) -> Result<Arc<dyn Dir>> {
        let open = || resolve::open_dir(&self.root, path, self.shared.symlinks);
        let fd = if self.is_growing { visible::until_visible(open) } else { open() }
            .map_err(|errno| Op::Open.errno(errno.raw_os_error()))?;
        Ok(Arc::new(PosixDir::new(fd, &self.shared)))
    }

    fn has_spare_handles(&self) -> bool {
        self.shared.open_dirs.load(Ordering::Relaxed) < self.shared.open_dirs_max
    }
}

/// Attributes of what is at `path`, resolved as the operator gave it; the last component is followed
/// or not as asked.
pub fn stat_path(path: &[u8], symlinks: Symlinks) -> Result<Metadata> {
    attributes::stat(rustix::fs::CWD, OsStr::from_bytes(path), symlinks)
}

/// Makes the directory at `path`; its parent must exist.
pub fn make_dir_path(path: &[u8], mode: u32) -> Result<()> {
    rustix::fs::mkdir(OsStr::from_bytes(path), Mode::from_raw_mode(mode))
        .map_err(|errno| Op::MakeDir.errno(errno.raw_os_error()))
}

/// Lets this process open as many files as it may. To be called once, before any store is opened.
pub fn raise_open_file_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where that is refused, the lower limit holds and `open_dirs_max` follows it.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// Directory handles for queued work: a quarter of what the process may open, since source and target
/// each keep theirs, and files need some too.
fn open_dirs_max() -> usize {
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(allowed / 4).unwrap_or(usize::MAX).min(limits::OPEN_DIRS_MAX)
}
