//! listxattrat(2) of Linux 6.13: the names of an entry's extended attributes, by a directory and
//! one component. A path through `/proc/self/fd` takes the kernel three times as long.

#![allow(unsafe_code, reason = "neither libc nor rustix has the call yet")]

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;

use types::path::Name;

/// Number of the call, where the architecture uses the common table (`asm-generic/unistd.h`).
const LISTXATTRAT: libc::c_long = 465;

const HAS_COMMON_TABLE: bool = cfg!(any(
    all(target_arch = "x86_64", target_pointer_width = "64"),
    target_arch = "aarch64",
    target_arch = "riscv64",
    target_arch = "powerpc64",
    target_arch = "s390x",
));

/// True once the kernel has said that it has not got the call.
static IS_MISSING: AtomicBool = AtomicBool::new(!HAS_COMMON_TABLE);

/// Lists the names of the extended attributes of an entry, even of a symbolic link itself. Returns
/// `None` where the system does not permit the call, or does not have it.
pub(super) fn list(
    dir: BorrowedFd<'_>,
    name: &Name,
    names: &mut [u8],
) -> Option<rustix::io::Result<usize>> {
    if IS_MISSING.load(Ordering::Relaxed) {
        return None;
    }
    // SAFETY: the arguments are those of listxattrat(2): a descriptor and a C string that live
    // until the call returns, and a buffer with its length.
    let length = unsafe {
        libc::syscall(
            LISTXATTRAT,
            dir.as_raw_fd(),
            name.as_ptr(),
            libc::AT_SYMLINK_NOFOLLOW,
            names.as_mut_ptr(),
            names.len(),
        )
    };
    match usize::try_from(length) {
        Ok(length) => Some(Ok(length)),
        Err(_) => refused(Errno::from_io_error(&std::io::Error::last_os_error())?),
    }
}

/// Evaluates an error of the call. Listing needs no permission, so `EPERM` comes from a sandbox
/// that does not know the call.
fn refused(errno: Errno) -> Option<rustix::io::Result<usize>> {
    match errno {
        Errno::NOSYS => {
            IS_MISSING.store(true, Ordering::Relaxed);
            None
        }
        Errno::PERM => None,
        errno => Some(Err(errno)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    /// Lists an entry in both ways, where the kernel has the call.
    fn both(dir: &std::fs::File, name: &Name, room: usize) {
        let path = super::super::path_of(dir.as_fd(), name);
        let (mut here, mut there) = (vec![0; room], vec![0; room]);
        let by_path = rustix::fs::llistxattr(&*path, &mut there[..]);
        match list(dir.as_fd(), name, &mut here) {
            Some(listed) => assert_eq!((listed, here), (by_path, there), "{name:?}"),
            None => assert!(IS_MISSING.load(Ordering::Relaxed), "{name:?}"),
        }
    }

    #[test]
    fn an_entry_has_the_names_that_it_has_by_its_path() {
        let home = tempfile::tempdir_in(".").unwrap();
        let file = home.path().join("file");
        std::fs::write(&file, b"x").unwrap();
        std::os::unix::fs::symlink("file", home.path().join("link")).unwrap();
        for name in ["user.one", "user.two"] {
            rustix::fs::setxattr(&file, name, b"value", rustix::fs::XattrFlags::empty()).unwrap();
        }
        let dir = std::fs::File::open(home.path()).unwrap();
        for name in [c"file", c"link", c".", c"missing"] {
            for room in [256, 3] {
                both(&dir, name, room);
            }
        }
    }

    #[test]
    fn a_sandbox_that_forbids_the_call_is_not_taken_for_the_file_system() {
        assert_eq!(refused(Errno::PERM), None);
        assert_eq!(refused(Errno::ACCESS), Some(Err(Errno::ACCESS)));
        assert_eq!(refused(Errno::OPNOTSUPP), Some(Err(Errno::OPNOTSUPP)));
    }
}
