//! The record of a walk: which directories were listed, and which of their entries were visited and
//! may look new when a directory is listed again. With it, each entry is visited, reported and
//! counted once.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use super::dir_ref::DirRef;
use super::listed::{Changed, Listed, is_changed_since};
use super::packed::RootedPath;
use super::{Visit, Visited};
use store::opening::Symlinks;
use store::{Dir, Store};
use types::entry::{Hint, Kind, Metadata, Time};
use types::error::Side;
use types::path::{self, Name};

/// A value in place of an inode number that stands for any inode of that name.
const ANY: u64 = 0;
/// A value in place of an inode number that marks a directory whose entries are excluded, so that
/// it is not listed again.
const SHUT: u64 = u64::MAX;

/// The record of a rank's part in a walk.
#[derive(Debug)]
pub struct Watch {
    began: Time,
    symlinks: Symlinks,
    listed: Listed,
    dealt: Dealt,
    before: Option<Known>,
}

/// Entries that a rank has visited and that may look new later, each as the hash of its directory
/// and its own hash.
///
/// Only entries that were changed since shortly before the walk began are recorded, and those that
/// were reported: all others are older than the walk and thus never taken for new. So memory grows
/// with the changes during the walk, not with the tree, unless the store does not tell when entries
/// changed.
#[derive(Debug, Default)]
pub struct Dealt(Mutex<HashSet<(u64, u64)>>);

/// Hashes of the entries in changed directories that some rank has visited.
#[derive(Debug, Default)]
pub struct Known(HashSet<u64>);

impl Watch {
    /// Creates the record of a walk that began at that time, by this node's clock.
    pub fn new(began: Time, symlinks: Symlinks) -> Self {
        Self { began, symlinks, listed: Listed::default(), dealt: Dealt::default(), before: None }
    }

    /// Creates the record for listing directories again, whose visited entries are `known`.
    #[must_use]
    pub fn again(&self, known: Known) -> Self {
        Self { before: Some(known), ..Self::new(self.began, self.symlinks) }
    }

    /// Returns the directories that were listed, and forgets them.
    pub fn take_listed(&mut self) -> Listed {
        std::mem::take(&mut self.listed)
    }

    /// Returns the hashes of entries that this rank has visited in changed directories, and of
    /// subdirectories that it has listed there.
    pub fn known_in(&self, changed: &HashSet<RootedPath>, listed: &Listed) -> Vec<u64> {
        let directories = listed.in_any_of(changed).into_iter();
        let keys = directories.map(|((tree, path), inode)| key_of((tree, &path), inode));
        keys.chain(self.dealt.of(changed)).collect()
    }

    /// Records a directory on one side, with the metadata that it had before it was listed.
    pub fn add(&self, side: Side, dir_ref: &DirRef, metadata: &Metadata) {
        self.listed.add((tree_of(dir_ref.root(), side), dir_ref.path()), metadata);
    }

    /// Records that a directory or an entry of it was reported, so that it is not reported again.
    pub fn told(&self, dir_ref: &DirRef, name: &[u8]) {
        self.dealt.add(dir_ref, name, ANY);
    }

    /// Records that a directory's entries are excluded.
    pub(super) fn shut(&self, dir_ref: &DirRef) {
        self.dealt.add(dir_ref, b"", SHUT);
    }

    /// Records an entry that was visited, if it may look new later. `seen` is its metadata, where
    /// the visitor has inspected it.
    pub(super) fn dealt_with(
        &self,
        entry: &Visit<'_>,
        visited: Visited,
        seen: Option<Metadata>,
        store: &dyn Store,
    ) {
        // A directory to be walked is recorded by the task that lists it.
        if matches!(visited, Visited::Directory | Visited::NewDirectory) {
            return;
        }
        let inode = match seen {
            _ if entry.hint == Hint::Directory => ANY,
            // It may look new, and has no inode number.
            _ if !store.capabilities().tells_change_times => ANY,
            Some(_) if self.is_followed(entry.hint) => ANY,
            Some(found) if found.kind == Kind::Directory => found.inode,
            Some(found) if self.may_look_new(&found, store) => found.inode,
            _ => return,
        };
        self.dealt.add(entry.dir_ref, entry.name.to_bytes(), inode);
    }

    /// Returns whether an entry may have appeared in a directory since that was first listed, or
    /// was changed since then, and was not visited. An entry is new only by evidence of its ctime,
    /// which POSIX updates on creation, rename and link, and which no user can set back.
    pub fn is_news(
        &self,
        dir_ref: &DirRef,
        dir: &dyn Dir,
        (name, hint): (&Name, Hint),
        store: &dyn Store,
    ) -> bool {
        let Some(before) = &self.before else { return true };
        let path = path::join(dir_ref.path().as_bytes(), name.to_bytes());
        let is_known = |inode| before.0.contains(&key_of((walked(dir_ref), &path), inode));
        if is_known(ANY) {
            return false;
        }
        // An entry that cannot be inspected is visited, so that the failure is reported there.
        let Ok(found) = dir.stat(name) else { return true };
        let may_be_new = found.kind == Kind::Directory
            // The ctime of a link's destination does not tell when the link appeared.
            || self.is_followed(hint)
            || self.may_look_new(&found, store);
        may_be_new && !is_known(found.inode)
    }

    fn is_followed(&self, hint: Hint) -> bool {
        hint == Hint::Symlink && self.symlinks == Symlinks::Follow
    }

    /// Returns whether the entry's ctime is since the walk began, allowing for a file system whose
    /// clock is behind. Where a store does not tell it, any entry may look new.
    fn may_look_new(&self, found: &Metadata, store: &dyn Store) -> bool {
        !store.capabilities().tells_change_times
            || is_changed_since(found.ctime.plus(store.capabilities().clock_behind), self.began)
    }
}

impl Dealt {
    fn add(&self, dir_ref: &DirRef, name: &[u8], inode: u64) {
        let (tree, path) = (walked(dir_ref), path::join(dir_ref.path().as_bytes(), name));
        let parent = key_of((tree, path::parent(&path).unwrap_or_default()), ANY);
        let mut dealt = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        dealt.insert((parent, key_of((tree, &path), inode)));
    }

    /// Returns the hashes of entries in changed directories, and of those directories that are
    /// excluded.
    fn of(&self, changed: &HashSet<RootedPath>) -> Vec<u64> {
        let keys = |inode| -> HashSet<u64> {
            changed.iter().map(|(tree, path)| key_of((*tree, path), inode)).collect()
        };
        let (parents, shut) = (keys(ANY), keys(SHUT));
        let dealt = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_of = |(parent, key): &&(u64, u64)| parents.contains(parent) || shut.contains(key);
        dealt.iter().filter(is_of).map(|(_, key)| *key).collect()
    }
}

impl Known {
    /// Combines the hashes that ranks have found by [`Watch::known_in`], and adds the changed
    /// directories, which are listed again by tasks of their own.
    pub fn new(hashes: Vec<u64>, changed: &[Changed]) -> Self {
        let of = |it: &Changed| key_of((it.directory.0, &it.directory.1), ANY);
        Self(hashes.into_iter().chain(changed.iter().map(of)).collect())
    }

    /// Returns whether a directory's entries are excluded.
    pub fn is_shut(&self, (tree, path): &RootedPath) -> bool {
        self.0.contains(&key_of((*tree, path), SHUT))
    }
}

/// Returns the index of a tree by its root and side. Each root has two, although a walk may know
/// only one.
pub fn tree_of(root: u32, side: Side) -> u32 {
    2 * root + side as u32
}

/// Returns the root and side of a tree by its index.
pub fn of_tree(tree: u32) -> (u32, Side) {
    (tree / 2, if tree.is_multiple_of(2) { Side::Source } else { Side::Target })
}

/// Returns the index of the tree in which a directory is walked.
fn walked(dir_ref: &DirRef) -> u32 {
    tree_of(dir_ref.root(), dir_ref.trees().side())
}

/// Returns the hash of an entry, by its tree, its path below that, and its inode number.
fn key_of((tree, path): (u32, &[u8]), inode: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (tree, path, inode).hash(&mut hasher);
    hasher.finish()
}
