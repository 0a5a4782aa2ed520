//! Trees to copy.

use std::ffi::OsStr;
use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

/// Returns a real tree of more than 10,000 entries: the files of the Rust toolchain, the sources
/// of the crates that it has fetched, or the clients of others for a user who reaches neither. The
/// toolchain of a distribution is spread over all of `/usr`, which is no such tree.
pub fn real_tree() -> PathBuf {
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output();
    let sysroot = sysroot.map(|told| String::from_utf8(told.stdout).unwrap()).unwrap_or_default();
    let sysroot = Path::new(sysroot.trim());
    let home = std::env::var_os("CARGO_HOME").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cargo"),
        PathBuf::from,
    );
    let of_rust = [sysroot.join("share/doc/rust/html/core/arch"), home.join("registry/src")];
    let of_toolchain = Some(sysroot.to_owned()).filter(|sysroot| !sysroot.starts_with("/usr"));
    of_rust
        .into_iter()
        .chain(of_toolchain)
        .chain([crate::job::project().join("target/venv")])
        .find(|tree| tree.is_dir() && has_more_than(tree, 10_000))
        .expect("a tree of more than 10,000 entries on this machine")
}

fn has_more_than(tree: &Path, count: usize) -> bool {
    let listed = Command::new("find").arg(tree).output().unwrap();
    listed.stdout.iter().filter(|byte| **byte == b'\n').count() > count
}

/// Writes a file, with its directories.
pub fn write(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Returns bytes without repetitions.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Creates an entry of each awkward kind that a copy preserves with `-p`.
pub fn awkward_tree(root: &Path) {
    fs::create_dir_all(root).unwrap();
    for (number, length) in [0, 1, 4095, 4096, 65_536, 1_048_575, 1_048_576, 1_048_577, 5_000_000]
        .into_iter()
        .enumerate()
    {
        write(&root.join(format!("sizes/{number}-{length}")), &noise(length));
    }
    for byte in (1..=255_u8).filter(|byte| *byte != b'/' && *byte != b'.') {
        write(&root.join("names").join(OsStr::from_bytes(&[byte])), &[byte]);
    }
    write(&root.join("names").join(OsStr::from_bytes(&[b'n'; 255])), b"255");
    for odd in ["-rf", " ", "...", "a\nb", "\u{202e}txt", ".dcp.0123456789abcdef.0"] {
        write(&root.join("names").join(odd), odd.as_bytes());
    }
    links(&root.join("links"));
    // An ordinary user cannot read the first, so does not copy it.
    let modes = [0o000, 0o400, 0o555, 0o644, 0o755, 0o1777, 0o2755, 0o4755, 0o6777];
    for mode in modes.into_iter().skip(usize::from(!rustix::process::geteuid().is_root())) {
        let path = root.join(format!("modes/{mode:04o}"));
        write(&path, b"x");
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }
    times(&root.join("times"));
    fs::create_dir_all(root.join("dirs/empty")).unwrap();
    for mode in [0o500, 0o555, 0o700, 0o2775, 0o1777] {
        let dir = root.join(format!("dirs/{mode:04o}"));
        write(&dir.join("inside/file"), b"x");
        fs::set_permissions(&dir, Permissions::from_mode(mode)).unwrap();
        set_times(
            &dir,
            SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, u32::from(mode as u16)),
        );
    }
}

fn links(dir: &Path) {
    fs::create_dir_all(dir).unwrap();
    for (name, points_to) in [
        ("relative", "../sizes"),
        ("absolute", "/etc/passwd"),
        ("dangling", "nowhere"),
        ("self", "self"),
    ] {
        symlink(points_to, dir.join(name)).unwrap();
    }
    symlink("x".repeat(4000), dir.join("long")).unwrap();
    symlink(OsStr::from_bytes(b"\xff\n"), dir.join("odd")).unwrap();
}

fn times(dir: &Path) {
    let epoch = SystemTime::UNIX_EPOCH;
    let moments = [
        ("before-1970", epoch - Duration::new(86_400, 0) + Duration::from_nanos(1)),
        ("epoch", epoch),
        ("nanoseconds", epoch + Duration::new(1_700_000_000, 123_456_789)),
        ("after-2038", epoch + Duration::new(5_000_000_000, 999_999_999)),
    ];
    for (name, moment) in moments {
        write(&dir.join(name), name.as_bytes());
        set_times(&dir.join(name), moment);
    }
}

fn set_times(path: &Path, moment: SystemTime) {
    let times = FileTimes::new().set_accessed(moment).set_modified(moment);
    File::open(path).unwrap().set_times(times).unwrap();
}

/// Creates `directories` directories with `files` small files in each.
pub fn small_files(root: &Path, directories: usize, files: usize) {
    for directory in 0..directories {
        let dir = root.join(format!("d{directory:04}"));
        fs::create_dir_all(&dir).unwrap();
        for file in 0..files {
            fs::write(dir.join(format!("f{file:05}")), format!("{directory} {file}")).unwrap();
        }
    }
}

/// Creates a directory of that many entries, which are hard links of one inode: cheap to make.
pub fn wide_directory(root: &Path, entries: usize) {
    fs::create_dir_all(root).unwrap();
    let mut first = root.join("0");
    fs::write(&first, b"x").unwrap();
    for number in 1..entries {
        // ext4 allows 65,000 names of one inode.
        let name = root.join(number.to_string());
        if number % 60_000 == 0 {
            fs::write(&name, b"x").unwrap();
            first = name;
        } else {
            fs::hard_link(&first, &name).unwrap();
        }
    }
}
