//! Jobs that were interrupted or killed: what they have written, and what they have left.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::job::{Ended, run};
use crate::judge::picture;

/// Starts a job whose output is discarded.
pub fn begin(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Returns all entries but directories in a tree that may change meanwhile.
pub fn files_in(tree: &Path) -> Vec<PathBuf> {
    let (mut waiting, mut files) = (vec![tree.to_owned()], Vec::new());
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() { waiting.push(path) } else { files.push(path) }
        }
    }
    files
}

/// Returns true for the name of a staged file.
pub fn is_staged(path: &Path) -> bool {
    path.file_name().unwrap().as_encoded_bytes().starts_with(b".dcp.")
}

/// Returns the journals beside a target.
pub fn journals(target: &Path) -> Vec<PathBuf> {
    let dir = fs::read_dir(target.parent().unwrap()).unwrap();
    let paths = dir.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.to_string_lossy().contains(".dcp-")).collect()
}

/// Returns the bytes that a job has written; fails where a file with its final name is not
/// complete.
pub fn written(source: &Path, target: &Path) -> u64 {
    // A rank that its launcher has killed may finish a system call after the launcher has ended.
    let is_there = |path: &&PathBuf| path.exists();
    let bytes_of = |path: &PathBuf| {
        let metadata = fs::metadata(path).unwrap();
        if is_staged(path) {
            return (metadata.blocks() * 512).min(metadata.size());
        }
        let original = source.join(path.strip_prefix(target).unwrap());
        assert!(
            fs::read(original).unwrap() == fs::read(path).unwrap(),
            "{} is not whole",
            path.display()
        );
        metadata.size()
    };
    files_in(target).iter().filter(is_there).map(bytes_of).sum()
}

/// Returns a count of all ranks.
pub fn totals(ended: &Ended, what: &str) -> u64 {
    ended.summary()["totals"][what].as_u64().unwrap()
}

/// Compares two trees, and fails unless content, modes and times are equal.
#[track_caller]
pub fn assert_same_tree(source: &Path, target: &Path) {
    let mut diff = Command::new("diff");
    assert_eq!(run(diff.arg("-r").args([source, target])).expect(0).stdout, "");
    let [source, target] = [source, target].map(picture);
    for (path, entry) in &source {
        let copy = &target[path];
        assert_eq!((entry.mode, entry.mtime), (copy.mode, copy.mtime), "{}", path.display());
    }
}

/// Fails where a file that a job has staged is left.
#[track_caller]
pub fn assert_nothing_left(target: &Path) {
    let left: Vec<PathBuf> = files_in(target).into_iter().filter(|path| is_staged(path)).collect();
    assert_eq!(left, Vec::<PathBuf>::new());
}
