//! Watching directories while they are walked: which were listed, and which of their entries were dealt with that may
//! look new when one of them is listed again. So each entry is dealt with, told of and counted once.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use super::listed::{Changed, Listed, is_changed_since};
use super::packed::RootedPath;
use super::place::Place;
use super::{Visit, Visited};
use store::opening::Symlinks;
use store::{Dir, Store};
use types::entry::{Hint, Kind, Metadata, Time};
use types::error::Side;
use types::path::{self, Name};

/// In place of an inode: whatever has that name.
const ANY: u64 = 0;
/// In place of an inode: the directory's entries take no part, so it is not listed again.
const SHUT: u64 = u64::MAX;

/// A rank's part of watching a walk.
#[derive(Debug)]
pub struct Watch {
    began: Time,
    symlinks: Symlinks,
    listed: Listed,
    dealt: Dealt,
    before: Option<Known>,
}

/// Entries that a rank has dealt with and that may look new later: of each the hash of its directory and its own.
///
/// These are entries that were changed since the walk began, or shortly before, and those that were told of: others
/// are older than the walk, so nobody takes them for new.
#[derive(Debug, Default)]
pub struct Dealt(Mutex<HashSet<(u64, u64)>>);

/// Entries of changed directories that some rank has dealt with, by hashes.
#[derive(Debug, Default)]
pub struct Known(HashSet<u64>);

impl Watch {
    /// Watches a walk that began then, by this node's clock.
    pub fn new(began: Time, symlinks: Symlinks) -> Self {
        Self { began, symlinks, listed: Listed::default(), dealt: Dealt::default(), before: None }
    }

    /// Watches directories that are listed again, of whose entries these are known.
    #[must_use]
    pub fn again(&self, known: Known) -> Self {
        Self { before: Some(known), ..Self::new(self.began, self.symlinks) }
    }

    /// Takes out the directories that were listed.
    pub fn take_listed(&mut self) -> Listed {
        std::mem::take(&mut self.listed)
    }

    /// Entries of directories that have changed which this rank has dealt with, where it has listed those directories.
    pub fn known_in(&self, changed: &HashSet<RootedPath>, listed: &Listed) -> Vec<u64> {
        let directories = listed.in_any_of(changed).into_iter();
        let keys = directories.map(|((tree, path), inode)| key_of((tree, &path), inode));
        keys.chain(self.dealt.of(changed)).collect()
    }

    /// Remembers a directory of that side that looks like that before it is listed.
    pub fn add(&self, side: Side, place: &Place, metadata: &Metadata) {
        self.listed.add((tree_of(place.root(), side), place.path()), metadata);
    }

    /// Remembers that a directory, or an entry of it, was told of: that is not done twice.
    pub fn told(&self, place: &Place, name: &[u8]) {
        self.dealt.add(place, name, ANY);
    }

    /// Remembers that a directory's entries take no part.
    pub(super) fn shut(&self, place: &Place) {
        self.dealt.add(place, b"", SHUT);
    }

    /// Remembers an entry that was dealt with, and of which that was seen, if it may look new later.
    pub(super) fn dealt_with(
        &self,
        entry: &Visit<'_>,
        visited: Visited,
        seen: Option<Metadata>,
        store: &dyn Store,
    ) {
        // A directory that is to be walked is remembered by whoever lists it.
        if matches!(visited, Visited::Directory | Visited::NewDirectory) {
            return;
        }
        let inode = match seen {
            _ if entry.hint == Hint::Directory => ANY,
            Some(_) if self.is_followed(entry.hint) => ANY,
            Some(found) if found.kind == Kind::Directory => found.inode,
            Some(found) if self.may_look_new(&found, store) => found.inode,
            _ => return,
        };
        self.dealt.add(entry.place, entry.name.to_bytes(), inode);
    }

    /// Whether an entry has come into a directory since that was first listed, or was changed since, and was not dealt
    /// with.
    pub fn is_news(
        &self,
        place: &Place,
        dir: &dyn Dir,
        (name, hint): (&Name, Hint),
        store: &dyn Store,
    ) -> bool {
        let Some(before) = &self.before else { return true };
        let path = path::join(place.path().as_bytes(), name.to_bytes());
        let is_known = |inode| before.0.contains(&key_of((walked(place), &path), inode));
        if is_known(ANY) {
            return false;
        }
        // What cannot be inspected is told where it is dealt with.
        let Ok(found) = dir.stat(name) else { return true };
        let may_be_new = found.kind == Kind::Directory
            // What a link leads to says nothing of when the link came.
            || self.is_followed(hint)
            || self.may_look_new(&found, store);
        may_be_new && !is_known(found.inode)
    }

    fn is_followed(&self, hint: Hint) -> bool {
        hint == Hint::Symlink && self.symlinks == Symlinks::Follow
    }

    fn may_look_new(&self, found: &Metadata, store: &dyn Store) -> bool {
        is_changed_since(found.ctime.plus(store.clock_behind()), self.began)
    }
}

impl Dealt {
    fn add(&self, place: &Place, name: &[u8], inode: u64) {
        let (tree, path) = (walked(place), path::join(place.path().as_bytes(), name));
        let parent = key_of((tree, parent_of(&path)), ANY);
        let mut dealt = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        dealt.insert((parent, key_of((tree, &path), inode)));
    }

    /// The entries in directories that have changed, and those of these directories that are shut.
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
    /// Those that ranks have found, by [`Watch::known_in`], and the changed directories, which are seen to by
    /// themselves.
    pub fn new(hashes: Vec<u64>, changed: &[Changed]) -> Self {
        let of = |it: &Changed| key_of((it.directory.0, &it.directory.1), ANY);
        Self(hashes.into_iter().chain(changed.iter().map(of)).collect())
    }

    /// Whether a directory's entries take no part.
    pub fn is_shut(&self, (tree, path): &RootedPath) -> bool {
        self.0.contains(&key_of((*tree, path), SHUT))
    }
}

/// Index of a tree of a root: each root has two, of which a walk may know one only.
pub fn tree_of(root: u32, side: Side) -> u32 {
    2 * root + side as u32
}

/// The root and side of a tree.
pub fn of_tree(tree: u32) -> (u32, Side) {
    (tree / 2, if tree.is_multiple_of(2) { Side::Source } else { Side::Target })
}

/// The tree in which a directory is walked.
fn walked(place: &Place) -> u32 {
    tree_of(place.root(), place.trees().side())
}

fn parent_of(path: &[u8]) -> &[u8] {
    &path[..path.iter().rposition(|byte| *byte == b'/').unwrap_or(0)]
}

/// A hash of an entry, by its tree, path below that, and inode.
fn key_of((tree, path): (u32, &[u8]), inode: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (tree, path, inode).hash(&mut hasher);
    hasher.finish()
}
