//! The record of listed directories: how each looked before it was listed. Comparing that again at
//! the end of a walk shows in which directories entries may have appeared that no thread has met.
//!
//! An entry that is moved from a directory not yet listed into one that was already listed is met
//! in neither. Both directories get new times by the move, as does each directory whose names
//! change.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::account::{self, Account, Gathered};
use super::packed::{Block, Packed, RootedPath};
use super::selection::Selection;
use sched::context::TaskContext;
use sched::job::Job;
use store::Store;
use types::entry::{Metadata, Time};
use types::error::{Cause, Error, Op, Side, SideError};
use types::limits::{CLOCK_TICK, CLOCK_TICK_COARSE, CLOCKS_APART_MAX};
use types::outcome::event::Event;
use types::outcome::tally::Tally;
use types::path::{self, RelPath};

/// The evidence by which an unchanged directory is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    inode: u64,
    /// A hash of the directory's mtime and ctime.
    stamp: u64,
    /// True if the last change was so recent that another one could have left the same times.
    is_recent: bool,
}

impl Look {
    fn of(metadata: &Metadata, now: Time) -> Self {
        let mut hasher = DefaultHasher::new();
        (metadata.mtime, metadata.ctime).hash(&mut hasher);
        // A time far in the future is from no clock; a change would replace it.
        let is_recent = metadata.ctime.plus(tick_of(metadata.ctime)) >= now
            && metadata.ctime <= now.plus(CLOCKS_APART_MAX);
        Self { inode: metadata.inode, stamp: hasher.finish(), is_recent }
    }
}

/// Returns the longest interval between two changes to which a file system can give the same time,
/// judged by whether the time has a fraction of a second.
fn tick_of(changed: Time) -> Duration {
    if changed.nanoseconds == 0 { CLOCK_TICK_COARSE } else { CLOCK_TICK }
}

/// Returns whether an entry last changed at `changed` may have been changed at `since` or later,
/// given the resolution of its file system's times.
pub fn is_changed_since(changed: Time, since: Time) -> bool {
    match changed.nanoseconds {
        0 => changed.plus(CLOCK_TICK_COARSE) >= since,
        _ => changed >= since,
    }
}

/// The directories that a rank has listed, packed to some 40 bytes each.
#[derive(Debug, Default)]
pub struct Listed {
    packed: Mutex<Packed<Look>>,
}

impl Listed {
    /// Records a directory with the metadata that it had before it was listed.
    pub fn add(&self, (tree, path): (u32, &RelPath), metadata: &Metadata) {
        self.put(tree, path.as_bytes(), &Look::of(metadata, Time::now()));
    }

    fn put(&self, tree: u32, path: &[u8], look: &Look) {
        self.packed.lock().unwrap_or_else(PoisonError::into_inner).add(tree, path, look);
    }

    /// Returns whether no directory was listed.
    pub fn is_empty(&self) -> bool {
        self.packed.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Adds the directories that another walk has listed.
    pub fn append(&mut self, other: Self) {
        let other = other.packed.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.packed.get_mut().unwrap_or_else(PoisonError::into_inner).append(other);
    }

    /// Removes these directories from the record.
    pub fn forget(&mut self, directories: &HashSet<RootedPath>) {
        let packed = self.packed.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut kept = Packed::default();
        for (directory, look) in packed.iter().filter(|(it, _)| !directories.contains(it)) {
            kept.add(directory.0, &directory.1, &look);
        }
        *packed = kept;
    }

    /// Converts the records to tasks of a [`CheckJob`].
    pub fn into_tasks(self) -> Vec<CheckTask> {
        let packed = self.packed.into_inner().unwrap_or_else(PoisonError::into_inner);
        packed.into_blocks().into_iter().map(CheckTask).collect()
    }

    /// Returns those of the given directories that are in the record.
    pub fn among(&self, directories: &HashSet<RootedPath>) -> Vec<RootedPath> {
        let packed = self.packed.lock().unwrap_or_else(PoisonError::into_inner);
        let found = packed.iter().map(|(directory, _)| directory);
        found.filter(|directory| directories.contains(directory)).collect()
    }

    /// Returns the directories that are directly in one of `parents`, with their inode numbers.
    pub fn in_any_of(&self, parents: &HashSet<RootedPath>) -> Vec<(RootedPath, u64)> {
        let packed = self.packed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_in = |(root, path): &RootedPath| {
            path::parent(path).is_some_and(|parent| parents.contains(&(*root, parent.to_vec())))
        };
        let found = packed.iter().filter(|(directory, _)| is_in(directory));
        found.map(|(directory, look)| (directory, look.inode)).collect()
    }
}

/// A directory in which there may be new entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The tree and path of the directory.
    pub directory: RootedPath,
    /// True if another directory, of which nothing is known, has the path now.
    pub is_another: bool,
}

/// A task that compares some directories with their records.
#[derive(Debug, Serialize, Deserialize)]
pub struct CheckTask(Block<Look>);

/// A tree whose directories are compared with their records.
#[derive(Clone, Copy)]
pub struct CheckedTree<'c> {
    /// The tree itself.
    pub store: &'c dyn Store,
    /// The path of the tree, as the user wrote it.
    pub shown: &'c [u8],
    /// The side of the tree in the operation.
    pub side: Side,
}

/// The consequence of a change in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The directory is recorded, to be listed again.
    Again,
    /// The directory is reported as still changing. The second comparison ends so: a walk lists a
    /// directory at most twice, and thus terminates however busy the tree is.
    Moving,
}

/// The part of one rank in comparing directories with their records.
pub struct CheckJob<'c> {
    trees: Vec<CheckedTree<'c>>,
    selection: &'c Selection,
    verdict: Verdict,
    account: Account,
    found: Mutex<Found>,
}

/// The findings of one rank.
#[derive(Debug, Default)]
pub struct Found {
    /// All directories, with the evidence they have now.
    pub listed: Listed,
    /// The directories to be listed again.
    pub changed: Vec<Changed>,
    /// The time to wait until a later change in one of these directories gets a time of its own.
    pub pause: Duration,
}

impl<'c> CheckJob<'c> {
    /// Creates the job for the directories of these trees.
    pub fn new(trees: Vec<CheckedTree<'c>>, selection: &'c Selection, verdict: Verdict) -> Self {
        Self { trees, selection, verdict, account: Account::default(), found: Mutex::default() }
    }

    /// Returns the counts of the job.
    pub fn tally(&self) -> Tally {
        self.account.tally()
    }

    /// Returns the findings of this rank.
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
        looked: Result<Metadata, Error>,
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) {
        match self.seen(&directory, looked) {
            Ok(Some(now)) => self.change_test(directory, (before, now), worker, context),
            // The directory has vanished, by which its parent has changed; that is compared itself.
            Ok(None) => {}
            Err(side_error) => {
                worker.tally.unread_directories += 1;
                self.fail(&directory, side_error, worker, context);
            }
        }
    }

    /// Compares directories of one tree with their records.
    fn check_each(
        &self,
        directories: Vec<(RootedPath, Look)>,
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) {
        let Some(((tree, _), _)) = directories.first() else { return };
        let path = |((_, path), _): &(RootedPath, Look)| RelPath::checked(path);
        let looked = match directories.iter().map(path).collect::<Option<Vec<_>>>() {
            Some(paths) => self.trees[*tree as usize].store.look_each(&paths),
            None => vec![Err(Op::Open.errno(libc::EINVAL)); directories.len()],
        };
        for ((directory, before), looked) in directories.into_iter().zip(looked) {
            self.check(directory, before, looked, worker, context);
        }
    }

    /// Returns the present metadata of a directory, or `None` if there is none.
    ///
    /// # Errors
    /// Returns the failure, also if the file system that was mounted there is gone.
    fn seen(
        &self,
        (tree, path): &RootedPath,
        looked: Result<Metadata, Error>,
    ) -> Result<Option<Metadata>, SideError> {
        let CheckedTree { store, side, .. } = self.trees[*tree as usize];
        match looked {
            Ok(found) => Ok(Some(found)),
            Err(error) if matches!(error.cause, Cause::System(libc::ENOTDIR | libc::ELOOP)) => {
                Ok(None)
            }
            Err(error) => {
                let side_error = SideError { side, error };
                let side_error =
                    account::missing(side_error, path.is_empty(), store, self.selection);
                if side_error.error.cause.is_vanished() { Ok(None) } else { Err(side_error) }
            }
        }
    }

    /// Compares a directory with its record, and records or reports a change.
    fn change_test(
        &self,
        directory: RootedPath,
        (before, now): (Look, Metadata),
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) {
        let look = Look::of(&now, Time::now());
        let is_another = look.inode != before.inode;
        // The times are equal but recent: a change within the same tick of the clock would not
        // show, so the directory is listed again as if it had changed.
        if (look.inode, look.stamp) == (before.inode, before.stamp) && !before.is_recent {
            return self.lock().listed.put(directory.0, &directory.1, &before);
        }
        let side = self.trees[directory.0 as usize].side;
        let failed = |cause| SideError { side, error: Op::List.failed(cause) };
        match self.verdict {
            Verdict::Again => {
                let mut found = self.lock();
                found.pause = found.pause.max(tick_of(now.ctime));
                found.listed.put(directory.0, &directory.1, &look);
                found.changed.push(Changed { directory, is_another });
            }
            Verdict::Moving => self.fail(&directory, failed(Cause::Moving), worker, context),
        }
    }

    fn fail(
        &self,
        (tree, path): &RootedPath,
        side_error: SideError,
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) {
        let shown = self.trees[*tree as usize].shown;
        let failure = account::failure(side_error.side, shown, path, side_error.error);
        self.account.fail(failure, worker, context);
    }
}

impl Job for CheckJob<'_> {
    type Task = CheckTask;
    type Message = ();
    type Event = Event;
    type Snapshot = Tally;
    type Worker = Gathered;

    fn worker(&self) -> Gathered {
        Gathered::default()
    }

    fn run(
        &self,
        CheckTask(block): CheckTask,
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) {
        let directories = block.iter().collect::<Vec<_>>();
        for of_tree in directories.chunk_by(|one, next| one.0.0 == next.0.0) {
            self.check_each(of_tree.to_vec(), worker, context);
        }
        self.account.settle(worker);
    }

    fn discard(&self, _task: CheckTask, worker: &mut Gathered, _context: &TaskContext<'_, Self>) {
        self.account.cancel(worker);
    }

    fn flush(&self, worker: &mut Gathered, context: &TaskContext<'_, Self>) {
        self.account.flush(worker, context);
    }

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
                links: 2,
                device: 1,
                inode: 1,
                known,
                ..Metadata::of_kind(types::entry::Kind::Directory).with_times(changed)
            };
            Look::of(&metadata, now).is_recent
        };
        assert!(is_recent(at(5, 1), at(5, 1)) && is_recent(at(5, 1), at(5, 10_000_000)));
        assert!(!is_recent(at(5, 1), at(5, 100_000_000)));
        // Times in whole seconds, or in steps of two.
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
