//! Directories that were listed, and how they looked before that: looked at once more at the end of a walk, they
//! tell where entries may have come meanwhile that nobody has met.
//!
//! Something that is moved from a directory not yet listed into one that was is met in neither. Both directories
//! change by it, and so does each directory whose names change.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::account::{self, Account, Gathered};
use super::packed::{Block, Packed, RootedPath};
use super::selection::Selection;
use comm::Rank;
use sched::crew::Crew;
use sched::job::Job;
use store::Store;
use types::entry::{Metadata, Time};
use types::error::{At, Cause, Op, Side, Trouble};
use types::limits::{CLOCK_TICK, CLOCK_TICK_COARSE};
use types::outcome::notice::Notice;
use types::outcome::tally::Tally;
use types::path::RelPath;

/// What tells whether a directory is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    inode: u64,
    /// Made of the times of its last change.
    stamp: u64,
    /// It was changed so shortly before that another change may have left it with the same times.
    is_recent: bool,
}

impl Look {
    fn of(metadata: &Metadata, now: Time) -> Self {
        let mut hasher = DefaultHasher::new();
        (metadata.mtime, metadata.ctime).hash(&mut hasher);
        let is_recent = metadata.ctime.plus(tick_of(metadata.ctime)) >= now;
        Self { inode: metadata.inode, stamp: hasher.finish(), is_recent }
    }
}

/// How far two changes may be apart that a file system gives the same time, as far as that time shows it.
fn tick_of(changed: Time) -> Duration {
    if changed.nanoseconds == 0 { CLOCK_TICK_COARSE } else { CLOCK_TICK }
}

/// Whether an entry that was last changed at `changed` may have been changed at `since` or later.
pub fn is_changed_since(changed: Time, since: Time) -> bool {
    match changed.nanoseconds {
        0 => changed.plus(CLOCK_TICK_COARSE) >= since,
        _ => changed >= since,
    }
}

/// Directories that a rank has listed.
#[derive(Debug, Default)]
pub struct Listed {
    packed: Mutex<Packed<Look>>,
}

impl Listed {
    /// Remembers a directory of that tree that looks like that before it is listed.
    pub fn add(&self, (tree, path): (u32, &RelPath), metadata: &Metadata) {
        self.put(tree, path.as_bytes(), &Look::of(metadata, Time::now()));
    }

    fn put(&self, tree: u32, path: &[u8], look: &Look) {
        self.packed.lock().unwrap_or_else(PoisonError::into_inner).add(tree, path, look);
    }

    /// None was listed.
    pub fn is_empty(&self) -> bool {
        self.packed.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Takes over what another walk has listed.
    pub fn append(&mut self, other: Self) {
        let other = other.packed.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.packed.get_mut().unwrap_or_else(PoisonError::into_inner).append(other);
    }

    /// Forgets these directories.
    pub fn forget(&mut self, directories: &HashSet<RootedPath>) {
        let packed = self.packed.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut kept = Packed::default();
        for (directory, look) in packed.iter().filter(|(it, _)| !directories.contains(it)) {
            kept.add(directory.0, &directory.1, &look);
        }
        *packed = kept;
    }

    /// The records, as tasks of a [`CheckJob`].
    pub fn into_tasks(self) -> Vec<CheckTask> {
        let packed = self.packed.into_inner().unwrap_or_else(PoisonError::into_inner);
        packed.into_blocks().into_iter().map(CheckTask).collect()
    }

    /// Those directories that are among these.
    pub fn among(&self, directories: &HashSet<RootedPath>) -> Vec<RootedPath> {
        let packed = self.packed.lock().unwrap_or_else(PoisonError::into_inner);
        let found = packed.iter().map(|(directory, _)| directory);
        found.filter(|directory| directories.contains(directory)).collect()
    }

    /// Directories directly in one of those, with their inodes.
    pub fn in_any_of(&self, parents: &HashSet<RootedPath>) -> Vec<(RootedPath, u64)> {
        let packed = self.packed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_in = |(root, path): &RootedPath| {
            let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            !path.is_empty() && parents.contains(&(*root, path[..end].to_vec()))
        };
        let found = packed.iter().filter(|(directory, _)| is_in(directory));
        found.map(|(directory, look)| (directory, look.inode)).collect()
    }
}

/// A directory in which there may be news.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// Which it is.
    pub directory: RootedPath,
    /// Another directory has its path now, of which nothing is known.
    pub is_another: bool,
}

/// Some directories to be looked at.
#[derive(Debug, Serialize, Deserialize)]
pub struct CheckTask(Block<Look>);

/// A tree whose directories are looked at.
#[derive(Clone, Copy)]
pub struct CheckedTree<'c> {
    /// The tree.
    pub store: &'c dyn Store,
    /// As the user wrote it.
    pub shown: &'c [u8],
    /// Which of the two it is.
    pub side: Side,
}

/// What becomes of a directory that has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is remembered, to be listed again.
    Again,
    /// It counts as one that does not come to rest.
    Moving,
}

/// One rank's part of looking at directories once more.
pub struct CheckJob<'c> {
    trees: Vec<CheckedTree<'c>>,
    selection: &'c Selection,
    verdict: Verdict,
    account: Account,
    found: Mutex<Found>,
}

/// What a rank has found.
#[derive(Debug, Default)]
pub struct Found {
    /// All directories, as they are now.
    pub listed: Listed,
    /// Those to be listed again.
    pub changed: Vec<Changed>,
    /// How long it takes until a change in one of those is no more like one before.
    pub pause: Duration,
}

impl<'c> CheckJob<'c> {
    /// Looks at directories of these trees.
    pub fn new(trees: Vec<CheckedTree<'c>>, selection: &'c Selection, verdict: Verdict) -> Self {
        Self { trees, selection, verdict, account: Account::default(), found: Mutex::default() }
    }

    /// What was counted.
    pub fn tally(&self) -> Tally {
        self.account.tally()
    }

    /// What was found.
    pub fn into_found(self) -> Found {
        self.found.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(
        &self,
        directory: RootedPath,
        before: Look,
        hand: &mut Gathered,
        crew: &Crew<'_, Self>,
    ) {
        match self.look(&directory) {
            Ok(Some(now)) => self.judge(directory, (before, now), hand, crew),
            // The directory it was in has changed by that.
            Ok(None) => {}
            Err(trouble) => {
                hand.tally.unread_directories += 1;
                self.fail(&directory, trouble, hand, crew);
            }
        }
    }

    /// The directory as it is now; `None` where there is none.
    fn look(&self, (tree, path): &RootedPath) -> Result<Option<Metadata>, Trouble> {
        let CheckedTree { store, side, .. } = self.trees[*tree as usize];
        let torn = || Op::Open.errno(libc::EINVAL);
        let below = RelPath::checked(path).ok_or_else(torn).at(side)?;
        match store.look(&below) {
            Ok(found) => Ok(Some(found)),
            Err(error) if matches!(error.cause, Cause::System(libc::ENOTDIR | libc::ELOOP)) => {
                Ok(None)
            }
            Err(error) => {
                let trouble = Trouble { side, error };
                let trouble = account::missing(trouble, path.is_empty(), store, self.selection);
                if trouble.error.cause.is_vanished() { Ok(None) } else { Err(trouble) }
            }
        }
    }

    fn judge(
        &self,
        directory: RootedPath,
        (before, now): (Look, Metadata),
        hand: &mut Gathered,
        crew: &Crew<'_, Self>,
    ) {
        let look = Look::of(&now, Time::now());
        let is_another = look.inode != before.inode;
        if (look.inode, look.stamp) == (before.inode, before.stamp) && !before.is_recent {
            return self.lock().listed.put(directory.0, &directory.1, &before);
        }
        let side = self.trees[directory.0 as usize].side;
        let failed = |cause| Trouble { side, error: Op::List.failed(cause) };
        match self.verdict {
            Verdict::Again => {
                let mut found = self.lock();
                found.pause = found.pause.max(tick_of(now.ctime));
                found.listed.put(directory.0, &directory.1, &look);
                found.changed.push(Changed { directory, is_another });
            }
            Verdict::Moving => self.fail(&directory, failed(Cause::Moving), hand, crew),
        }
    }

    fn fail(
        &self,
        (tree, path): &RootedPath,
        trouble: Trouble,
        hand: &mut Gathered,
        crew: &Crew<'_, Self>,
    ) {
        let shown = self.trees[*tree as usize].shown;
        let failure = account::failure(trouble.side, shown, path, trouble.error);
        self.account.fail(failure, hand, crew);
    }
}

impl Job for CheckJob<'_> {
    type Task = CheckTask;
    type Letter = ();
    type Notice = Notice;
    type Snapshot = Tally;
    type Hand = Gathered;

    fn hand(&self) -> Gathered {
        Gathered::default()
    }

    fn run(&self, CheckTask(block): CheckTask, hand: &mut Gathered, crew: &Crew<'_, Self>) {
        for (directory, look) in block.iter() {
            self.check(directory, look, hand, crew);
        }
        self.account.settle(hand);
    }

    fn discard(&self, _task: CheckTask, hand: &mut Gathered, _crew: &Crew<'_, Self>) {
        hand.tally.given_up += 1;
        self.account.settle(hand);
    }

    fn flush(&self, hand: &mut Gathered, _crew: &Crew<'_, Self>) {
        self.account.settle(hand);
    }

    fn letter(&self, _from: Rank, _letter: (), _crew: &Crew<'_, Self>) {}

    fn snapshot(&self) -> Tally {
        self.tally()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64, nanoseconds: u32) -> Time {
        Time { seconds, nanoseconds }
    }

    #[test]
    fn a_change_may_hide_behind_one_in_the_same_tick() {
        let is_recent = |changed, now| {
            let known = types::outcome::difference::Fields::ALL;
            let metadata = Metadata {
                kind: types::entry::Kind::Directory,
                mode: 0,
                uid: 0,
                gid: 0,
                size_bytes: 0,
                allocated_bytes: 0,
                atime: changed,
                mtime: changed,
                ctime: changed,
                links: 2,
                device: 1,
                inode: 1,
                known,
            };
            Look::of(&metadata, now).is_recent
        };
        assert!(is_recent(at(5, 1), at(5, 1)) && is_recent(at(5, 1), at(5, 10_000_000)));
        assert!(!is_recent(at(5, 1), at(5, 100_000_000)));
        // Whole seconds, or two of them.
        assert!(is_recent(at(4, 0), at(5, 999_999_999)) && !is_recent(at(4, 0), at(6, 1)));
        assert!(is_changed_since(at(4, 0), at(5, 7)) && !is_changed_since(at(5, 6), at(5, 7)));
    }

    #[test]
    fn a_listed_directory_takes_less_than_60_bytes() {
        let mut packed = Packed::default();
        let look = Look { inode: 0x0200_0007_0000_1234, stamp: u64::MAX, is_recent: false };
        for number in 0..10_000 {
            let path =
                format!("project/some/long/way/down/the/tree/run-{:05}/out-{number}", number / 10);
            packed.add(0, path.as_bytes(), &look);
        }
        let bytes = packed.capacity_bytes();
        assert!(bytes < 60 * 10_000, "{bytes} bytes for 10,000 directories");
    }

    #[test]
    fn only_directories_in_those_that_changed_are_asked_for() {
        let listed = Listed::default();
        for path in ["", "a", "a/b", "a/b/c", "ab", "d/a"] {
            listed.put(0, path.as_bytes(), &Look { inode: 9, stamp: 1, is_recent: false });
        }
        let found = |parent: &str| {
            let parents = HashSet::from([(0, parent.as_bytes().to_vec())]);
            let found = listed.in_any_of(&parents).into_iter();
            found.map(|((_, path), inode)| (String::from_utf8(path).unwrap(), inode)).collect()
        };
        let expected = |paths: &[&str]| -> Vec<_> {
            paths.iter().map(|path| ((*path).to_owned(), 9)).collect()
        };
        assert_eq!(found(""), expected(&["a", "ab"]));
        assert_eq!((found("a"), found("ab")), (expected(&["a/b"]), expected(&[])));
    }
}
