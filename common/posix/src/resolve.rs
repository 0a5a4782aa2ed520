//! Resolution of a path below a root to an open directory, without ever leaving the root.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::attributes;
use super::calls::{DIRECTORY, UP, openat, openat2};
use super::pil4dfs::{checked_directory, is_made_up};
use store::opening::{Need, Symlinks};
use types::entry::Metadata;
use types::limits;
use types::path::RelPath;

/// Largest path in bytes that the kernel accepts (`PATH_MAX` with its NUL).
const PATH_BYTES_MAX: usize = 4095;

/// True where the kernel or a sandbox does not support openat2(2).
static NO_OPENAT2: AtomicBool = AtomicBool::new(false);

/// Opens a directory for what is needed: where it may not be read, search permission is enough for
/// passage.
pub(super) fn open_for(
    need: Need,
    extra: OFlags,
    open: impl Fn(OFlags) -> Result<OwnedFd, Errno>,
) -> Result<OwnedFd, Errno> {
    match open(DIRECTORY | extra) {
        Err(Errno::ACCESS) if need == Need::Passage => open(DIRECTORY | extra | OFlags::PATH),
        other => other.and_then(checked_directory),
    }
}

/// Opens the directory at `path` below `root`.
pub(super) fn open_dir(
    root: &OwnedFd,
    path: &RelPath,
    symlinks: Symlinks,
    need: Need,
) -> Result<OwnedFd, Errno> {
    // The root is open already, for whatever it is needed.
    let need = if path.is_root() { Need::Passage } else { need };
    open_for(need, OFlags::empty(), |flags| open_below(root, path, symlinks, flags))
}

/// Opens the directory at `path` below `root` only to stat it: no permission to read it is needed.
pub(super) fn open_to_look(
    root: &OwnedFd,
    path: &RelPath,
    symlinks: Symlinks,
) -> Result<OwnedFd, Errno> {
    open_below(root, path, symlinks, DIRECTORY | OFlags::PATH)
}

fn open_below(
    root: &OwnedFd,
    path: &RelPath,
    symlinks: Symlinks,
    flags_at_end: OFlags,
) -> Result<OwnedFd, Errno> {
    if path.is_root() {
        return match openat(root, c".", flags_at_end, Mode::empty()) {
            // Without search permission even `.` cannot be looked up.
            Err(Errno::ACCESS) if flags_at_end.contains(OFlags::PATH) => {
                Ok(rustix::io::fcntl_dupfd_cloexec(root, 0)?)
            }
            opened => opened,
        };
    }
    let mut segments = segments(path.as_bytes()).peekable();
    let mut at: Option<OwnedFd> = None;
    while let Some(segment) = segments.next() {
        let from = at.as_ref().map_or(root.as_fd(), AsFd::as_fd);
        // On the way down search permission is enough.
        let on_the_way = segments.peek().is_some();
        let flags = if on_the_way { DIRECTORY | OFlags::PATH } else { flags_at_end };
        at = Some(open_segment(from, segment, flags, symlinks)?);
    }
    at.ok_or(Errno::NOENT)
}

/// Divides a path at `/` into pieces that the kernel accepts.
fn segments(mut path: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        if path.is_empty() {
            return None;
        }
        let end = if path.len() <= PATH_BYTES_MAX {
            path.len()
        } else {
            path[..PATH_BYTES_MAX].iter().rposition(|byte| *byte == b'/').unwrap_or(path.len())
        };
        let (segment, rest) = path.split_at(end);
        path = rest.strip_prefix(b"/").unwrap_or(rest);
        Some(segment)
    })
}

fn open_segment(
    from: BorrowedFd<'_>,
    segment: &[u8],
    flags: OFlags,
    symlinks: Symlinks,
) -> Result<OwnedFd, Errno> {
    if symlinks == Symlinks::Follow {
        return openat(from, OsStr::from_bytes(segment), flags, Mode::empty());
    }
    if NO_OPENAT2.load(Ordering::Relaxed) || is_made_up(from) {
        return open_by_components(from, segment, flags);
    }
    match open_beneath(from, segment, flags) {
        Err(Errno::NOSYS | Errno::PERM) => {
            NO_OPENAT2.store(true, Ordering::Relaxed);
            open_by_components(from, segment, flags)
        }
        other => other,
    }
}

fn open_beneath(from: BorrowedFd<'_>, segment: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mut tries = 0;
    loop {
        // EAGAIN: something was renamed meanwhile and the kernel could not be sure (openat2(2)).
        match openat2(from, OsStr::from_bytes(segment), flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN) if tries < limits::RESOLVE_TRIES_MAX => tries += 1,
            other => return other,
        }
    }
}

/// Opens a directory without openat2(2): one component after the other, none of them a symbolic
/// link.
fn open_by_components(
    from: BorrowedFd<'_>,
    segment: &[u8],
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    let mut components = segment.split(|byte| *byte == b'/').peekable();
    let mut at: Option<OwnedFd> = None;
    while let Some(component) = components.next() {
        let parent = at.as_ref().map_or(from, AsFd::as_fd);
        let on_the_way = components.peek().is_some();
        let flags = if on_the_way { DIRECTORY | OFlags::PATH } else { flags };
        let opened =
            openat(parent, OsStr::from_bytes(component), flags | OFlags::NOFOLLOW, Mode::empty())?;
        at = Some(opened);
    }
    at.ok_or(Errno::NOENT)
}

/// Returns true where a directory is `above`, or somewhere below it. Goes up by handles, so there
/// is no limit on the depth.
pub(super) fn is_below(directory: OwnedFd, above: &Metadata) -> bool {
    let mut at = Ok(directory);
    let mut below: Option<Metadata> = None;
    while let Ok(directory) = at {
        let Ok(here) = attributes::stat_fd(&directory) else { return false };
        if here.is_same_file(above) {
            return true;
        }
        // The root of the file system is its own parent.
        if below.is_some_and(|below| below.is_same_file(&here)) {
            return false;
        }
        below = Some(here);
        at = openat(&directory, c"..", UP, Mode::empty());
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> (tempfile::TempDir, OwnedFd) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/b/c")).unwrap();
        std::os::unix::fs::symlink("a", dir.path().join("link")).unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("a/out")).unwrap();
        let root = openat(rustix::fs::CWD, dir.path(), DIRECTORY, Mode::empty()).unwrap();
        (dir, root)
    }

    fn opens(root: &OwnedFd, path: &[u8]) -> [bool; 2] {
        [
            open_beneath(root.as_fd(), path, DIRECTORY).is_ok(),
            open_by_components(root.as_fd(), path, DIRECTORY).is_ok(),
        ]
    }

    #[test]
    fn with_and_without_openat2_links_lead_nowhere() {
        let (_dir, root) = tree();
        for good in [&b"a"[..], b"a/b", b"a/b/c"] {
            assert_eq!(opens(&root, good), [true, true]);
        }
        for bad in [&b"link"[..], b"link/b", b"a/out", b"a/out/etc", b"missing"] {
            assert_eq!(opens(&root, bad), [false, false], "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn a_path_longer_than_path_max_opens() {
        let (_dir, root) = tree();
        let name = std::ffi::CString::new(vec![b'n'; 255]).unwrap();
        let (mut path, mut at) = (RelPath::root(), root.try_clone().unwrap());
        for _ in 0..40 {
            rustix::fs::mkdirat(&at, name.as_c_str(), Mode::RWXU).unwrap();
            at = openat(&at, name.as_c_str(), DIRECTORY, Mode::empty()).unwrap();
            path = path.child(&name);
        }
        assert!(path.as_bytes().len() > 2 * PATH_BYTES_MAX);
        let opened = open_dir(&root, &path, Symlinks::Keep, Need::Listing).unwrap();
        let inode = |fd: &OwnedFd| rustix::fs::fstat(fd).unwrap().st_ino;
        assert_eq!(inode(&opened), inode(&at));
    }

    #[test]
    fn segments_are_cut_at_slashes_only() {
        let long = [vec![b'x'; 4000], b"/".to_vec(), vec![b'y'; 4000]].concat();
        let cut: Vec<&[u8]> = segments(&long).collect();
        assert_eq!(cut, [&vec![b'x'; 4000][..], &vec![b'y'; 4000]]);
    }
}
