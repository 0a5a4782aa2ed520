//! A tree of a POSIX file system, reached through directory handles only.
//!
//! The root is the one path that is resolved as the operator gave it. Everything below is reached
//! by `openat2` with `RESOLVE_BENEATH` or by single components with `O_NOFOLLOW`, so swapping a
//! directory for a symbolic link cannot lead a copy outside its tree, and paths beyond `PATH_MAX`
//! work. Attributes are set by descriptor.
//!
//! Uses: `host`, `store`, `types`.

mod answered;
mod attributes;
mod calls;
mod case_insensitive;
mod copy_range;
mod daos;
mod dir;
mod direct;
mod failed;
mod file;
mod lustre;
mod new_files;
mod pil4dfs;
mod prefetch;
mod resolve;
mod special;
mod staged;
mod time_range;
mod view;
mod visible;
mod xattrs;

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

use answered::until_answered;
use copy_range::CopyRange;
use daos::{Daos, Reached};
use dir::PosixDir;
use host::{mounts, process};
use lustre::Lustre;
use store::opening::{Need, OpenAs, Symlinks};
use store::{Capabilities, Dir, NewFile, StagedFile, Store};
use types::attributes::keep::XattrFilter;
use types::content::transfer::Transfer;
use types::entry::Metadata;
use types::error::{Cause, Op, Result};
use types::file_systems;
use types::limits;
use types::operand::lineage::Lineage;
use types::operand::root_view;
use types::operand::root_view::RootView;
use types::outcome::compare::TimeRange;
use types::path::{Name, RelPath};
pub use view::Shown;

/// A tree of a POSIX file system.
pub struct PosixStore {
    root: OwnedFd,
    /// Type number of the file system, where the kernel knows it.
    system: Option<u64>,
    /// True where other ranks create directories here, which this node may see a little later.
    is_growing: bool,
    /// Mounts below the root when the job began.
    watched: OnceLock<Watched>,
    shared: Arc<Shared>,
}

/// Mounts below a root, or below an entry of it, which must not change.
struct Watched {
    entry: Option<CString>,
    /// The path of the root led to it.
    is_reached: bool,
    /// Mount points and device numbers.
    mounts: Vec<(Vec<u8>, u64)>,
    /// Count of changes of any mounts at the time of the last check.
    changes: AtomicU64,
}

/// State that all handles of one store share.
struct Shared {
    symlinks: Symlinks,
    need: Need,
    open_dirs: AtomicUsize,
    open_dirs_max: usize,
    /// User and group of this process, to see which files need no chown.
    uid: u32,
    gid: u32,
    transfer: Transfer,
    /// Device whose files cannot be cloned to this store, and the reason; `u64::MAX` while there is
    /// none.
    unshared: AtomicU64,
    unshared_errno: AtomicI32,
    /// Extended attributes that are read and set; others stay as they are.
    xattrs: XattrFilter,
    copy_range: CopyRange,
    lustre: Lustre,
    is_case_insensitive: OnceLock<bool>,
    /// Device of the root, and the range of times on it, once that was determined.
    time_range: OnceLock<(u64, TimeRange)>,
    /// Granularity of new files' times in nanoseconds, once there is a new file.
    time_step_ns: OnceLock<u32>,
    /// Properties of a tree on DAOS, where it is one.
    daos: Option<Daos>,
}

impl PosixStore {
    /// Opens the directory at `path`, resolved as the operator gave it.
    pub fn open(path: &[u8], open_as: OpenAs) -> Result<Self> {
        let open = || {
            resolve::open_for(open_as.need, OFlags::empty(), |flags| {
                calls::open(OsStr::from_bytes(path), flags, Mode::empty())
            })
        };
        let root = if open_as.is_growing { visible::until_visible(open) } else { open() };
        let root = root.map_err(|errno| Op::Open.errno(errno.raw_os_error()))?;
        let system = kind_of_system(&root);
        let daos = Daos::of(&root, system);
        Ok(Self {
            root,
            system,
            is_growing: open_as.is_growing,
            watched: OnceLock::new(),
            shared: Arc::new(Shared {
                symlinks: open_as.symlinks,
                need: open_as.below,
                open_dirs: AtomicUsize::new(0),
                open_dirs_max: match daos {
                    Some(Daos { reached: Reached::PastKernel, .. }) => limits::MADE_UP_DIRS_MAX,
                    _ => limits::open_dirs_max(process::descriptors_max()),
                },
                uid: rustix::process::geteuid().as_raw(),
                gid: rustix::process::getegid().as_raw(),
                transfer: open_as.transfer,
                unshared: AtomicU64::new(u64::MAX),
                unshared_errno: AtomicI32::new(0),
                xattrs: open_as.xattrs,
                copy_range: CopyRange::on(system),
                lustre: Lustre::default(),
                is_case_insensitive: OnceLock::new(),
                time_range: OnceLock::new(),
                time_step_ns: OnceLock::new(),
                daos,
            }),
        })
    }

    /// Reads the attributes of the root.
    pub fn root_metadata(&self) -> Result<Metadata> {
        attributes::stat_fd(&self.root)
    }

    /// Opens the root, or an entry of it, for stat(2) only; `None` where the kernel does not know
    /// it.
    fn meant(&self, entry: Option<&Name>) -> Result<Option<OwnedFd>> {
        if pil4dfs::is_made_up(&self.root) {
            return Ok(None);
        }
        let nofollow = match self.shared.symlinks {
            Symlinks::Keep => OFlags::NOFOLLOW,
            Symlinks::Follow => OFlags::empty(),
        };
        let opened = match entry {
            Some(name) => view::open_entry(self.root.as_fd(), name, nofollow),
            None => rustix::io::fcntl_dupfd_cloexec(&self.root, 0),
        };
        opened.map(Some).map_err(|errno| failed::failed(Op::Open, errno))
    }

    /// Opens a file of that inode that this job has staged, to complete it, whichever owner the
    /// file system shows; `None` where the name is that of another entry.
    ///
    /// # Errors
    /// Those of opening the directory and the file.
    pub fn adopt_staged(
        &self,
        path: &RelPath,
        new: &NewFile<'_>,
        inode: u64,
    ) -> Result<Option<Box<dyn StagedFile>>> {
        self.open_posix_dir(path)?.adopt_staged(new, inode)
    }

    fn open_posix_dir(&self, path: &RelPath) -> Result<PosixDir> {
        let open = || {
            until_answered(|| {
                resolve::open_dir(&self.root, path, self.shared.symlinks, self.shared.need)
            })
        };
        let fd = if self.is_growing { visible::until_visible(open) } else { open() }
            .map_err(|errno| Op::Open.errno(errno.raw_os_error()))?;
        Ok(PosixDir::new(fd, &self.shared))
    }

    /// Returns whether the root is mounted, and nothing is mounted over it.
    pub fn is_reached(&self) -> bool {
        let at = self.meant(None).ok().flatten();
        at.is_some_and(|at| view::is_reached(at.as_fd(), &mounts::table()))
    }

    /// Returns whether the whole tree is in memory, with all that is mounted below its root.
    pub fn is_in_memory(&self) -> bool {
        let is_of_memory =
            self.system.is_some_and(|it| [file_systems::TMPFS, file_systems::RAMFS].contains(&it));
        is_of_memory && self.mounts_below(None).is_empty()
    }

    /// Returns the device numbers of the mounts below the root, by mount point.
    pub fn mounts_below(&self, entry: Option<&Name>) -> Vec<(Vec<u8>, u64)> {
        let at = self.meant(entry).ok().flatten();
        at.map(|at| view::mounts_below(at.as_fd(), &mounts::table())).unwrap_or_default()
    }
}

impl Store for PosixStore {
    fn open_dir(&self, path: &RelPath) -> Result<Arc<dyn Dir>> {
        Ok(Arc::new(self.open_posix_dir(path)?))
    }

    fn look(&self, path: &RelPath) -> Result<Metadata> {
        if pil4dfs::is_made_up(&self.root) {
            return self.open_dir(path)?.metadata();
        }
        let open = || resolve::open_to_look(&self.root, path, self.shared.symlinks);
        let fd = until_answered(open).map_err(|errno| Op::Open.errno(errno.raw_os_error()))?;
        attributes::stat_fd_now(fd)
    }

    fn device(&self) -> Result<u64> {
        self.root_metadata().map(|metadata| metadata.device)
    }

    /// Returns the range of times of an entry's file system. A mount below the root is another one,
    /// of which nothing is known.
    fn time_range(&self, entry: &Metadata) -> TimeRange {
        let ask = || (self.device().unwrap_or_default(), time_range::of(&self.root, self.system));
        let (device, range) = *self.shared.time_range.get_or_init(ask);
        if device == entry.device { range } else { TimeRange::All }
    }

    fn chunk_bytes(&self, _size_bytes: u64, requested_bytes: u64) -> u64 {
        match &self.shared.daos {
            Some(daos) => requested_bytes.next_multiple_of(daos.chunk_bytes),
            None => requested_bytes,
        }
    }

    fn sync(&self) -> Result<()> {
        dir::sync_system(&self.root)
    }

    /// Returns true where the target is unusable. A parallel file system may have space while one
    /// of its disks is full, and a quota may be one of several.
    fn is_past_help(&self, errno: i32) -> bool {
        if pil4dfs::is_made_up(&self.root) {
            return errno == libc::ENOSPC;
        }
        let Ok(system) = calls::fstatfs(&self.root) else { return false };
        let blocks = if self.shared.uid == 0 { system.f_bfree } else { system.f_bavail };
        let room = blocks.saturating_mul(system.f_bsize as u64);
        let is_out_of_inodes = system.f_files > 0 && system.f_ffree == 0;
        match errno {
            libc::ENOSPC => room < limits::TARGET_ROOM_MIN || is_out_of_inodes,
            libc::EROFS => system.f_flags as u64 & libc::ST_RDONLY != 0,
            _ => false,
        }
    }

    fn capabilities(&self) -> Capabilities {
        let is_of_this_node = self.system.is_some_and(root_view::is_of_one_node);
        let daos = self.shared.daos.as_ref();
        Capabilities {
            has_layouts: self.system.is_some_and(lustre::is_lustre),
            prefetches_in_order: self.system.and_then(prefetch::in_order),
            clock_behind: if is_of_this_node {
                Duration::ZERO
            } else {
                limits::SERVER_CLOCK_BEHIND_MAX
            },
            shortcoming: daos.and_then(|daos| daos.shortcoming(self.shared.xattrs)),
            ..Capabilities::default()
        }
    }

    fn is_case_insensitive(&self) -> bool {
        *self
            .shared
            .is_case_insensitive
            .get_or_init(|| case_insensitive::is_case_insensitive(&self.root, self.system))
    }

    fn has_spare_handles(&self) -> bool {
        self.shared.open_dirs.load(Ordering::Relaxed) < self.shared.open_dirs_max
    }

    fn view(
        &self,
        entry: Option<&Name>,
        takes_part: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Option<RootView>> {
        let Some(at) = self.meant(entry)? else { return Ok(None) };
        let view = view::view(at.as_fd(), &mounts::table(), takes_part);
        view.map(Some).map_err(|errno| failed::failed(Op::Stat, errno))
    }

    fn watch(&self, entry: Option<&Name>) {
        self.watched.get_or_init(|| Watched {
            entry: entry.map(ToOwned::to_owned),
            changes: AtomicU64::new(mounts::changes()),
            is_reached: self.is_reached(),
            mounts: self.mounts_below(entry),
        });
    }

    fn check_mounts(&self, takes_part: &dyn Fn(&[u8]) -> bool) -> Result<()> {
        let Some(watched) = self.watched.get() else { return Ok(()) };
        let changes = mounts::changes();
        if watched.changes.load(Ordering::SeqCst) == changes {
            return Ok(());
        }
        let now = self.mounts_below(watched.entry.as_deref());
        let those = |mounts: &[(Vec<u8>, u64)]| -> Vec<(Vec<u8>, u64)> {
            mounts.iter().filter(|(point, _)| takes_part(point)).cloned().collect()
        };
        if those(&now) != those(&watched.mounts) || (watched.is_reached && !self.is_reached()) {
            return Err(Op::List.failed(Cause::MountsChanged));
        }
        watched.changes.store(changes, Ordering::SeqCst);
        Ok(())
    }
}

/// Returns the type number of the file system that a directory is on (statfs(2)), where the kernel
/// knows it.
fn kind_of_system(root: &OwnedFd) -> Option<u64> {
    let asked = (!pil4dfs::is_made_up(root)).then(|| calls::fstatfs(root));
    asked?.ok().map(|statfs| statfs.f_type as u64)
}

/// Reads the attributes of the entry at `path`, resolved as the operator gave it; `symlinks` tells
/// whether a symbolic link in the last component is followed.
pub fn stat_path(path: &[u8], symlinks: Symlinks) -> Result<Metadata> {
    attributes::stat(rustix::fs::CWD, OsStr::from_bytes(path), symlinks)
}

/// Creates the directory at `path`; its parent must exist.
pub fn make_dir_path(path: &[u8], mode: u32) -> Result<()> {
    rustix::fs::mkdir(OsStr::from_bytes(path), Mode::from_raw_mode(mode))
        .map_err(|errno| Op::MakeDir.errno(errno.raw_os_error()))
}

/// Removes the directory at `path`, if it is empty.
pub fn remove_dir_path(path: &[u8]) -> Result<()> {
    rustix::fs::rmdir(OsStr::from_bytes(path))
        .map_err(|errno| Op::Remove.errno(errno.raw_os_error()))
}

/// Returns true where the directory at `path` is `above`, or somewhere below it; false where there
/// is no such directory.
pub fn is_below(path: &[u8], above: &Metadata) -> bool {
    let here = calls::open(OsStr::from_bytes(path), calls::UP, Mode::empty());
    here.is_ok_and(|here| resolve::is_below(here, above))
}

/// Returns the directory at `path` with those above it; `None` where there is no such directory.
pub fn lineage(path: &[u8]) -> Option<Lineage> {
    let here = calls::open(OsStr::from_bytes(path), calls::UP, Mode::empty()).ok()?;
    let directories = view::lineage(here, &mounts::table()).ok()?;
    Some(Lineage { machine: process::machine_id(), directories })
}

/// Returns the directories of file systems that each tree shows: its own root first, and those of
/// the mounts below it (proc_pid_mountinfo(5)). There are none where the system does not tell.
pub fn shown_directories(trees: [&[u8]; 2]) -> [Vec<Shown>; 2] {
    let table = mounts::table();
    trees.map(|path| {
        let here = calls::open(OsStr::from_bytes(path), calls::UP, Mode::empty());
        here.map_or_else(|_| Vec::new(), |here| view::shown(here.as_fd(), &table))
    })
}

/// Returns the absolute path of the directory at `path` without symbolic links (proc_pid_fd(5)).
pub fn real_path(path: &[u8]) -> Option<Vec<u8>> {
    let here = rustix::fs::open(OsStr::from_bytes(path), calls::UP, Mode::empty()).ok()?;
    let link = format!("/proc/self/fd/{}", here.as_raw_fd());
    rustix::fs::readlink(link, Vec::new()).ok().map(CString::into_bytes)
}
