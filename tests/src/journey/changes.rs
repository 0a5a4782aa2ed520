//! Changes that other programs make between two runs of a job.

use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use fastrand::Rng;

use crate::unfinished::is_staged;

/// Kind of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Writes other bytes to a source file, of the same number and with the same modification time.
    RewriteInPlace,
    /// Writes other bytes to a source file, with another modification time.
    Rewrite,
    /// Appends to a source file.
    Append,
    /// Changes the permissions of a source entry.
    Permit,
    /// Changes the owner of a source entry.
    GiveAway,
    /// Changes an extended attribute of a source entry.
    Mark,
    /// Changes the modification time of a source entry.
    Touch,
    /// Renames a source file.
    Rename,
    /// Renames a source directory.
    RenameDirectory,
    /// Removes a source file.
    Delete,
    /// Adds a source file.
    Add,
    /// Removes a target file.
    Lose,
    /// Truncates a target file.
    CutOff,
}

impl Change {
    /// All kinds of changes.
    pub const ALL: [Self; 13] = [
        Self::RewriteInPlace,
        Self::Rewrite,
        Self::Append,
        Self::Permit,
        Self::GiveAway,
        Self::Mark,
        Self::Touch,
        Self::Rename,
        Self::RenameDirectory,
        Self::Delete,
        Self::Add,
        Self::Lose,
        Self::CutOff,
    ];

    pub(super) fn is_of_target(self) -> bool {
        matches!(self, Self::Lose | Self::CutOff)
    }

    /// Makes the change, if there is an entry for it; returns a description.
    pub(super) fn make(self, random: &mut Rng, root: &Path, source: &Path) -> Option<String> {
        let (mut files, directories) = entries(root);
        // Entries of others at the target are not changed.
        files.retain(|file| {
            source.join(file.strip_prefix(root).unwrap()).exists() || is_staged(file)
        });
        let file = files.get(random.usize(..files.len().max(1)));
        let any = if random.u8(..4) == 0 {
            directories.get(random.usize(..directories.len().max(1)))
        } else {
            file
        };
        let path = match self {
            Self::Permit | Self::GiveAway | Self::Mark | Self::Touch => any?.clone(),
            Self::RenameDirectory => {
                directories.get(1..)?.get(random.usize(..(directories.len() - 1).max(1)))?.clone()
            }
            Self::Add => directories.get(random.usize(..directories.len()))?.join(new_name(random)),
            _ => file?.clone(),
        };
        self.apply(random, &path);
        Some(format!("{self:?} {}", path.display()))
    }

    fn apply(self, random: &mut Rng, path: &Path) {
        match self {
            Self::RewriteInPlace => {
                let metadata = fs::metadata(path).unwrap();
                fs::write(path, bytes(random, metadata.len() as usize)).unwrap();
                let file = File::options().write(true).open(path).unwrap();
                let times = FileTimes::new().set_modified(metadata.modified().unwrap());
                file.set_times(times).unwrap();
            }
            Self::Rewrite => {
                let length = fs::metadata(path).unwrap().len() as usize;
                let length = if random.bool() { length } else { length_of_file(random) };
                fs::write(path, bytes(random, length)).unwrap();
                // The time differs from the earlier one.
                set_time_to(path, 1_600_000_000 + u64::from(random.u32(..) >> 4));
            }
            Self::Append => {
                let mut content = fs::read(path).unwrap();
                let more = random.usize(1..200_000);
                content.extend(bytes(random, more));
                fs::write(path, content).unwrap();
            }
            Self::Permit => permit(random, path),
            Self::GiveAway => {
                chown(path, Some(random.u32(1000..1003)), Some(random.u32(1000..1003))).unwrap();
            }
            Self::Mark => {
                let value = [random.u8(..3); 9];
                let flags = rustix::fs::XattrFlags::empty();
                rustix::fs::lsetxattr(path, "user.mark", &value, flags).unwrap();
            }
            Self::Touch => set_time(random, path),
            Self::Rename | Self::RenameDirectory => {
                fs::rename(path, path.with_file_name(new_name(random))).unwrap();
            }
            Self::Delete | Self::Lose => fs::remove_file(path).unwrap(),
            Self::Add => write(random, path),
            Self::CutOff => {
                let length = fs::metadata(path).unwrap().len();
                let file = File::options().write(true).open(path).unwrap();
                file.set_len(random.u64(..=length)).unwrap();
            }
        }
    }
}

/// Returns files and directories, the root first; no symbolic links.
fn entries(root: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let (mut files, mut directories, mut at) = (Vec::new(), vec![root.to_owned()], 0);
    while at < directories.len() {
        for entry in fs::read_dir(&directories[at]).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => directories.push(entry.path()),
                kind if kind.is_file() => files.push(entry.path()),
                _ => {}
            }
        }
        at += 1;
    }
    files.sort();
    (files, directories)
}

/// Creates a tree of a few directories, with small files, some of several chunks, and symbolic
/// links.
pub(super) fn make_source(random: &mut Rng, root: &Path) {
    let dirs = ["", "d0", "d1", "d1/e"].map(|dir| root.join(dir));
    for dir in &dirs {
        fs::create_dir_all(dir).unwrap();
    }
    for dir in &dirs {
        for number in 0..random.usize(1..4) {
            write(random, &dir.join(format!("f{number}")));
        }
    }
    for number in 0..random.usize(1..3) {
        let length = random.usize(70_000..700_000);
        let path = random.choice(&dirs).unwrap().join(format!("large{number}"));
        fs::write(&path, bytes(random, length)).unwrap();
        dress(random, &path);
    }
    symlink("d0/f0", root.join("link")).unwrap();
    if random.u8(..3) == 0 {
        fs::hard_link(root.join("f0"), root.join("d1/name")).unwrap();
    }
    for dir in dirs.iter().rev() {
        dress(random, dir);
    }
}

/// Creates a file of several parts.
pub(super) fn make_larger(random: &mut Rng, root: &Path) {
    let length = random.usize(6 << 20..16 << 20);
    fs::write(root.join("larger"), bytes(random, length)).unwrap();
    dress(random, &root.join("larger"));
}

fn write(random: &mut Rng, path: &Path) {
    let length = length_of_file(random);
    fs::write(path, bytes(random, length)).unwrap();
    dress(random, path);
}

fn length_of_file(random: &mut Rng) -> usize {
    match random.u8(..8) {
        0 => 0,
        1 => random.usize(66_000..300_000),
        _ => random.usize(1..4000),
    }
}

fn bytes(random: &mut Rng, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    random.fill(&mut bytes);
    bytes
}

fn new_name(random: &mut Rng) -> String {
    format!("n{:x}", random.u32(..))
}

fn dress(random: &mut Rng, path: &Path) {
    if random.u8(..4) == 0 {
        Change::GiveAway.apply(random, path);
    }
    if random.u8(..4) == 0 {
        Change::Mark.apply(random, path);
    }
    permit(random, path);
    set_time(random, path);
}

fn permit(random: &mut Rng, path: &Path) {
    let modes =
        if path.is_dir() { [0o755, 0o750, 0o555, 0o2775] } else { [0o644, 0o600, 0o755, 0o444] };
    fs::set_permissions(path, Permissions::from_mode(*random.choice(&modes).unwrap())).unwrap();
}

/// Sets a time of a few days, so that often two entries have the same.
fn set_time(random: &mut Rng, path: &Path) {
    set_time_to(path, 1_500_000_000 + 86_400 * random.u64(..3));
}

fn set_time_to(path: &Path, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::new(seconds, 123);
    File::open(path).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
}
