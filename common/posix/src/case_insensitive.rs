//! Detection of case-insensitive file systems, in which names that differ only in case collide: FAT
//! and exFAT, SMB servers, marked directories of ext4 and f2fs.
//!
//! The detection does not write: it uses the type of the file system, the directory's mark, the
//! directory's own name in its parent, and names that exist already.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Dir, Mode, OFlags, ioctl_getflags};

use super::attributes;
use super::calls::{DIRECTORY, openat};
use super::pil4dfs::is_made_up;
use store::opening::Symlinks;
use types::entry::Kind;
use types::file_systems;
use types::path::Name;

/// Types of file systems that are always case-insensitive.
const FOLDING_SYSTEMS: [u64; 2] = [file_systems::MSDOS, file_systems::EXFAT];

/// Flag of a case-insensitive directory (`FS_CASEFOLD_FL` in linux/fs.h).
const FOLDING_FLAG: u32 = 0x4000_0000;

/// Number of names that are tried: every rank tries them, in the same directory.
const NAMES_MAX: usize = 8;

/// Returns true where names in that directory collide if they differ only in case.
pub(super) fn is_case_insensitive(root: &OwnedFd, system: Option<u64>) -> bool {
    if is_made_up(root) {
        return false;
    }
    let is_such_system = system.is_some_and(|system| FOLDING_SYSTEMS.contains(&system));
    // A handle with search permission only cannot be queried.
    let here = openat(root, c".", DIRECTORY, Mode::empty()).ok();
    is_such_system
        || here.as_ref().is_some_and(is_marked)
        || folds_its_own_name(root)
        || here.is_some_and(|here| folds_a_name_in(&here))
}

fn is_marked(dir: &OwnedFd) -> bool {
    ioctl_getflags(dir).is_ok_and(|flags| flags.bits() & FOLDING_FLAG != 0)
}

/// Returns true where the parent directory finds the directory under its name in the other case, if
/// it is on the same file system.
fn folds_its_own_name(root: &OwnedFd) -> bool {
    let path = rustix::fs::readlink(format!("/proc/self/fd/{}", root.as_raw_fd()), Vec::new());
    let Some(name) = path.ok().and_then(|path| {
        let name = path.to_bytes().rsplit(|byte| *byte == b'/').next()?.to_vec();
        CString::new(name).ok()
    }) else {
        return false;
    };
    let above = openat(root, c"..", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let (Ok(above), Ok(own)) = (above, attributes::stat_fd(root)) else { return false };
    let is_one_system = attributes::stat_fd(&above).is_ok_and(|above| above.device == own.device);
    is_one_system && is_also(&above, &name)
}

/// Returns true where an existing name stands for the same entry in the other case.
fn folds_a_name_in(dir: &OwnedFd) -> bool {
    let Ok(names) = Dir::read_from(dir) else { return false };
    let names = names.filter_map(Result::ok).take(NAMES_MAX);
    names.map(|entry| entry.file_name().to_owned()).any(|name| is_also(dir, &name))
}

/// Returns true where that name in the other case is the same entry, and not another hard link of
/// it.
fn is_also(dir: impl AsFd, name: &Name) -> bool {
    let Some(other) = in_other_letters(name) else { return false };
    let stat = |name: &Name| {
        attributes::stat(&dir, std::ffi::OsStr::from_bytes(name.to_bytes()), Symlinks::Keep).ok()
    };
    stat(name).zip(stat(&other)).is_some_and(|(one, other)| {
        one.is_same_file(&other) && (one.links == 1 || one.kind == Kind::Directory)
    })
}

/// Swaps lower and upper case in a name; `None` where there are no letters.
fn in_other_letters(name: &Name) -> Option<CString> {
    let swap = |byte: &u8| match byte {
        byte if byte.is_ascii_lowercase() => byte.to_ascii_uppercase(),
        byte => byte.to_ascii_lowercase(),
    };
    let swapped: Vec<u8> = name.to_bytes().iter().map(swap).collect();
    (swapped != name.to_bytes()).then(|| CString::new(swapped).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_swapped_where_there_are_any() {
        assert_eq!(in_other_letters(c"a1-B").as_deref(), Some(c"A1-b"));
        assert_eq!(in_other_letters(c"1-2"), None);
    }

    #[test]
    fn two_names_of_one_file_are_no_sign() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("name"), "").unwrap();
        std::fs::hard_link(dir.path().join("name"), dir.path().join("NAME")).unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        let open =
            |path: &std::path::Path| rustix::fs::open(path, DIRECTORY, Mode::empty()).unwrap();
        assert!(!is_case_insensitive(&open(dir.path()), None));
        assert!(!is_case_insensitive(&open(&dir.path().join("sub")), None));
        assert!(is_case_insensitive(&open(dir.path()), Some(0x4d44)));
    }
}
