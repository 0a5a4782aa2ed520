//! Directories that a job marks, each with all directories above it, on all ranks together: those
//! in which something stays, and those with content.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use types::path::parent;

/// Hashes of eight bytes, one for each marked directory and for each above it; all ranks have the
/// same in the end.
#[derive(Debug, Default)]
pub struct MarkedDirs(Mutex<Hashes>);

#[derive(Debug, Default)]
struct Hashes {
    all: HashSet<u64>,
    /// Hashes that other ranks do not have yet.
    news: Vec<u64>,
}

impl MarkedDirs {
    fn lock(&self) -> MutexGuard<'_, Hashes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks a directory, and all directories above it.
    pub fn add(&self, root: u32, path: &[u8]) {
        let mut hashes = self.lock();
        let mut above = Some(path);
        while let Some(path) = above {
            let hash = hash_of(root, path);
            // If a directory is in the set, all directories above it are.
            if !hashes.all.insert(hash) {
                break;
            }
            hashes.news.push(hash);
            above = parent(path);
        }
    }

    /// True if a directory is marked.
    pub fn has(&self, root: u32, path: &[u8]) -> bool {
        self.lock().all.contains(&hash_of(root, path))
    }

    /// Takes out the hashes that other ranks do not have yet.
    pub fn take_news(&self) -> Vec<u64> {
        std::mem::take(&mut self.lock().news)
    }

    /// Adds the hashes of other ranks.
    pub fn extend(&self, of_others: &[u64]) {
        self.lock().all.extend(of_others);
    }
}

fn hash_of(root: u32, path: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (root, path).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_above_a_marked_one_is_marked_and_told_once() {
        let marked = MarkedDirs::default();
        marked.add(1, b"a/b/c");
        marked.add(1, b"a/b/d");
        for path in [&b""[..], b"a", b"a/b", b"a/b/c", b"a/b/d"] {
            assert!(marked.has(1, path));
        }
        assert!(!marked.has(0, b"a") && !marked.has(1, b"a/bc"));
        let news = marked.take_news();
        assert_eq!((news.len(), marked.take_news().len()), (5, 0));
        let other = MarkedDirs::default();
        other.extend(&news);
        assert!(other.has(1, b"a/b"));
    }
}
