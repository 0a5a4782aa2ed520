//! Usage by directory, in bounded memory.
//!
//! Each directory is counted by the entries directly in it; sums of everything below are computed
//! at the end. When there are too many directories, the half with the least below it is merged into
//! the directories above. Sums remain exact, except that a directory that is met again after it was
//! merged lacks what was counted before: at most `folded_bytes_max`.

use std::cmp::Reverse;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::Use;
use types::limits;
use types::listed::record::parent;

/// The usage of directories, by path.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Directories {
    own: HashMap<Vec<u8>, Own>,
    path_bytes: usize,
    /// The directory counted last, which is not yet in the map. Entries come directory by
    /// directory, so this saves most lookups.
    current: Option<(Vec<u8>, Own)>,
    /// The number of directories that are no longer counted separately.
    pub folded: u64,
    /// The usage below roots that are no longer counted separately, as there is no directory above
    /// them.
    pub others: Use,
    /// The greatest number of bytes that the sum of a directory may lack.
    pub folded_bytes_max: u64,
}

/// The usage of the entries directly in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Own {
    depth: u32,
    part: Use,
}

/// The usage of a directory with everything below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Below {
    /// The path of the directory.
    pub path: Vec<u8>,
    /// The number of directories between it and its root.
    pub depth: u32,
    /// The usage of the directory itself and everything below.
    pub part: Use,
}

impl Directories {
    /// Counts an entry in the directory with that path.
    pub fn count(&mut self, path: &[u8], depth: u32, part: &Use) {
        if let Some((current, own)) = &mut self.current
            && current == path
        {
            return own.part.add(part);
        }
        self.settle();
        self.current = Some((path.to_vec(), Own { depth, part: *part }));
        self.bound(limits::USAGE_DIRECTORIES_MAX);
    }

    /// Returns whether there are so many directories that a thread should hand them over to its
    /// rank.
    pub fn is_full(&self) -> bool {
        self.own.len() > limits::USAGE_DIRECTORIES_OF_THREAD_MAX
            || self.path_bytes > limits::USAGE_PATH_BYTES_MAX / 8
    }

    fn settle(&mut self) {
        if let Some((path, own)) = self.current.take() {
            self.insert(path, own);
        }
    }

    fn insert(&mut self, path: Vec<u8>, own: Own) {
        let length = path.len();
        let mut is_new = false;
        let dir_ref = self.own.entry(path).or_insert_with(|| {
            is_new = true;
            Own { depth: own.depth, part: Use::default() }
        });
        dir_ref.part.add(&own.part);
        self.path_bytes += if is_new { length } else { 0 };
    }

    /// Adds the directories of another thread or rank.
    pub fn merge(&mut self, mut other: Self) {
        self.settle();
        other.settle();
        for (path, own) in other.own {
            self.insert(path, own);
        }
        self.folded += other.folded;
        self.others.add(&other.others);
        self.folded_bytes_max = self.folded_bytes_max.saturating_add(other.folded_bytes_max);
        self.bound(limits::USAGE_DIRECTORIES_MAX);
    }

    /// Merges directories into those above until the bounds hold.
    fn bound(&mut self, most: usize) {
        let is_too_much =
            |it: &Self| it.own.len() > most || it.path_bytes > limits::USAGE_PATH_BYTES_MAX;
        while self.own.len() > 1 && is_too_much(self) {
            self.fold(self.own.len() / 2);
        }
    }

    /// Keeps the directories with the most bytes below them, and merges the rest into the nearest
    /// one above that is kept.
    fn fold(&mut self, keep: usize) {
        let mut all = self.below();
        let rest = all.split_off(keep.max(1).min(all.len()));
        // A directory merged here and met again is counted from zero, so it lacks at most the
        // largest sum that is merged now.
        let lost = rest.iter().map(|directory| directory.part.bytes).max().unwrap_or(0);
        let own = std::mem::take(&mut self.own);
        self.path_bytes = 0;
        self.folded += rest.iter().filter(|it| own.contains_key(&it.path)).count() as u64;
        self.folded_bytes_max = self.folded_bytes_max.saturating_add(lost);
        for directory in all {
            let part = own.get(&directory.path).map_or_else(Use::default, |own| own.part);
            self.insert(directory.path, Own { depth: directory.depth, part });
        }
        for directory in rest {
            let Some(Own { depth, part }) = own.get(&directory.path).copied() else { continue };
            let (mut path, mut depth) = (&directory.path[..], depth);
            while depth > 0 && !self.own.contains_key(path) {
                (path, depth) = (parent(path), depth - 1);
            }
            match self.own.get_mut(path) {
                Some(above) => above.part.add(&part),
                None => self.others.add(&part),
            }
        }
    }

    /// Returns all directories with everything below them, in decreasing order of bytes; a
    /// directory comes before those below it.
    pub fn below(&self) -> Vec<Below> {
        let mut sums: HashMap<&[u8], (u32, Use)> = HashMap::with_capacity(self.own.len());
        let current = self.current.iter().map(|(path, own)| (path, own));
        for (path, own) in self.own.iter().chain(current) {
            let (mut path, mut depth) = (&path[..], own.depth);
            loop {
                let (_, sum) = sums.entry(path).or_insert((depth, Use::default()));
                sum.add(&own.part);
                if depth == 0 {
                    break;
                }
                (path, depth) = (parent(path), depth - 1);
            }
        }
        let below =
            |(path, (depth, part)): (&[u8], (u32, Use))| Below { path: path.to_vec(), depth, part };
        let mut all: Vec<Below> = sums.into_iter().map(below).collect();
        all.sort_unstable_by(|a, b| {
            let size = |it: &Below| Reverse((it.part.bytes, it.part.items));
            (size(a), a.depth, &a.path).cmp(&(size(b), b.depth, &b.path))
        });
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: u64) -> Use {
        Use { items: 1, files: 1, bytes, allocated_bytes: bytes }
    }

    #[test]
    fn sums_go_up_to_the_root_and_no_further() {
        let mut directories = Directories::default();
        for (path, depth, bytes) in
            [("/a/r", 0, 1), ("/a/r/x/y", 2, 10), ("/a/r/x/y", 2, 20), ("/a/r/z", 1, 5)]
        {
            directories.count(path.as_bytes(), depth, &file(bytes));
        }
        let below: Vec<(String, u64)> = directories
            .below()
            .into_iter()
            .map(|it| (String::from_utf8(it.path).unwrap(), it.part.bytes))
            .collect();
        let wanted = [("/a/r", 36), ("/a/r/x", 30), ("/a/r/x/y", 30), ("/a/r/z", 5)];
        assert_eq!(below, wanted.map(|(path, bytes)| (path.to_owned(), bytes)));
    }

    #[test]
    fn more_roots_than_are_kept_apart_lose_nothing() {
        let mut directories = Directories::default();
        let count = 2 * limits::USAGE_DIRECTORIES_MAX as u64;
        for number in 0..count {
            directories.count(format!("root{number}/a").as_bytes(), 1, &file(number));
        }
        let mut merged = Directories::default();
        merged.merge(directories);
        assert!(merged.own.len() <= limits::USAGE_DIRECTORIES_MAX);
        let mut sum = merged.others;
        let roots = merged.below().into_iter().filter(|it| it.depth == 0);
        roots.for_each(|root| sum.add(&root.part));
        let bytes = (0..count).sum();
        assert_eq!(sum, Use { items: count, files: count, bytes, allocated_bytes: bytes });
    }

    #[test]
    fn memory_is_bounded_and_the_large_ones_survive() {
        let mut directories = Directories::default();
        let count = 3 * limits::USAGE_DIRECTORIES_MAX as u64;
        for number in 0..count {
            let path = format!("r/d{}/e{number}", number % 50);
            let bytes = if number % 1000 == 0 { 1_000_000 } else { 1 };
            directories.count(path.as_bytes(), 2, &file(bytes));
        }
        directories.settle();
        assert!(directories.own.len() <= limits::USAGE_DIRECTORIES_MAX + 1);
        assert!(directories.folded > 0);
        let below = directories.below();
        assert_eq!(below[0].path, b"r");
        let large = count / 1000;
        assert_eq!(
            below[0].part,
            Use {
                items: count,
                files: count,
                bytes: large * 999_999 + count,
                allocated_bytes: large * 999_999 + count
            }
        );
        assert_eq!(directories.others, Use::default());
        let kept = below.iter().filter(|it| it.depth == 2 && it.part.bytes == 1_000_000).count();
        assert_eq!(kept as u64, large);
    }
}
