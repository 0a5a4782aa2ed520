//! The set of names of one directory, by which the extraneous names of its counterpart are
//! recognised.
//!
//! A name takes 16 bytes, whatever its length: it is stored as a keyed 128-bit hash. Only a
//! collision within one directory could hide an extraneous name; it becomes likely at 2^64 names,
//! and cannot be provoked without the key.

use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use super::Visitor;
use super::dir_ref::DirRef;
use types::error::Side;
use types::path::{Name, in_small_letters};

/// The hashes of the names, and the random keys of the hash function.
#[derive(Debug, Default)]
pub(super) struct NameSet {
    keys: [RandomState; 2],
    hashes: HashSet<u128>,
    /// True if names that differ only in case are equal.
    folds: bool,
}

impl NameSet {
    /// Creates a case-insensitive set.
    pub fn folding() -> Self {
        Self { folds: true, ..Self::default() }
    }

    /// Adds a name. Returns false if the set contains it already.
    pub fn insert(&mut self, name: &Name) -> bool {
        let hash = self.hash(name);
        self.hashes.insert(hash)
    }

    pub fn contains(&self, name: &Name) -> bool {
        self.hashes.contains(&self.hash(name))
    }

    /// Returns the number of names.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    fn hash(&self, name: &Name) -> u128 {
        let bytes = name.to_bytes();
        let name = if self.folds { in_small_letters(bytes).into() } else { Cow::Borrowed(bytes) };
        let [high, low] = [0, 1].map(|half| self.keys[half].hash_one(&*name));
        u128::from(high) << 64 | u128::from(low)
    }
}

/// Returns whether entries whose names differ in case alone are one entry in the target.
pub(super) fn are_names_folded<V: Visitor>(visitor: &V, dir_ref: &DirRef) -> bool {
    dir_ref.trees().side() == Side::Source && visitor.is_case_insensitive(dir_ref.root())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;

    #[test]
    fn names_are_told_apart() {
        let name = |number: usize| CString::new(format!("name-{number}")).unwrap();
        let mut names = NameSet::default();
        assert!((0..10_000).all(|number| names.insert(&name(number))));
        assert!(!names.insert(&name(77)));
        assert!((0..10_000).all(|number| names.contains(&name(number))));
        assert!((10_000..20_000).all(|number| !names.contains(&name(number))));
    }

    #[test]
    fn letters_of_any_size_are_one_where_that_is_requested() {
        let mut names = NameSet::folding();
        assert!(names.insert(c"Stra\u{df}e \u{c4}"));
        assert!(names.contains(c"STRA\u{df}E \u{e4}") && !names.insert(c"stra\u{df}e \u{e4}"));
        assert!(names.insert(c"\xffA") && names.contains(c"\xffa") && !names.contains(c"b"));
    }

    #[test]
    fn the_two_halves_have_keys_of_their_own() {
        let names = NameSet::default();
        let hash = names.hash(c"name");
        assert_ne!((hash >> 64) as u64, hash as u64);
    }
}
