//! Attributes of directories, set when everything below is complete: filling a directory changes
//! its timestamps, and a read-only directory could not be filled.
//!
//! Each rank records the directories that it created, packed into fewer than 100 bytes each; a
//! second run of the engine sets the attributes, distributed over all ranks again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::options::CopyOptions;
use super::prune::Pruning;
use super::root::CopyRoot;
use crate::walk::account::{self, Account, Gathered};
use crate::walk::dir_ref::DirRef;
use crate::walk::hopeless::Hopeless;
use crate::walk::packed::{Block, Packed, RootedPath};
use sched::context::TaskContext;
use sched::job::Job;
use types::attributes::keep::Keep;
use types::entry::{Attributes, Preserved, Times};
use types::error::{Error, Op, Side};
use types::outcome::event::Event;
use types::outcome::tally::Tally;
use types::path::RelPath;

/// Records of the directories that a rank has created, with their final attributes.
#[derive(Debug, Default)]
pub struct DirectoryRecords {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    packed: Packed<Attributes>,
    restricted: Vec<Record>,
}

/// A directory and the attributes that it is to get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    root: u32,
    path: Vec<u8>,
    attributes: Attributes,
}

impl DirectoryRecords {
    /// Records a directory.
    pub(crate) fn add(&self, dir_ref: &DirRef, attributes: &Attributes) {
        let path = dir_ref.path().as_bytes();
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        // Nothing below a directory without search permission could be reached any more.
        if attributes.mode.is_some_and(|mode| mode & 0o100 == 0) {
            let record = Record {
                root: dir_ref.root(),
                path: path.to_vec(),
                attributes: attributes.clone(),
            };
            inner.restricted.push(record);
        } else {
            inner.packed.add(dir_ref.root(), path, attributes);
        }
    }

    /// Appends the directories that another phase has changed.
    pub fn append(&mut self, other: Self) {
        let other = other.inner.into_inner().unwrap_or_else(PoisonError::into_inner);
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        inner.packed.append(other.packed);
        inner.restricted.extend(other.restricted);
    }

    /// Replaces the recorded timestamps of directories that have changed since.
    pub(crate) fn retime(&mut self, times: &HashMap<RootedPath, Times>) {
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        let new = |directory: &RootedPath, old: Attributes| Attributes {
            times: old.times.map(|old| times.get(directory).copied().unwrap_or(old)),
            ..old
        };
        let mut packed = Packed::default();
        for (directory, attributes) in inner.packed.iter() {
            packed.add(directory.0, &directory.1, &new(&directory, attributes));
        }
        inner.packed = packed;
        for record in &mut inner.restricted {
            let directory = (record.root, record.path.clone());
            record.attributes = new(&directory, std::mem::take(&mut record.attributes));
        }
    }

    /// Returns the records as tasks, and separately the directories that must come last.
    pub fn into_parts(self) -> (Vec<Block<Attributes>>, Vec<Record>) {
        let inner = self.inner.into_inner().unwrap_or_else(PoisonError::into_inner);
        (inner.packed.into_blocks(), inner.restricted)
    }
}

/// Part of one rank in setting the attributes of directories.
pub struct FinishJob<'c> {
    roots: &'c [CopyRoot],
    /// Attributes that are preserved.
    keep: &'c Keep,
    /// Directories without content, which may have been deleted.
    pruning: Option<&'c Pruning>,
    hopeless: Hopeless,
    account: Account,
}

impl<'c> FinishJob<'c> {
    /// Creates the job for the same roots as the copy, which may have stopped because of that
    /// `errno`.
    pub fn new(roots: &'c [CopyRoot], options: &'c CopyOptions, fatal_errno: u64) -> Self {
        let (hopeless, account) =
            (Hopeless::after(fatal_errno), Account::recording(options.record));
        Self { roots, keep: &options.keep, pruning: None, hopeless, account }
    }

    /// Leaves out directories that were deleted because they have no content.
    #[must_use]
    pub fn pruned_by(mut self, pruning: Option<&'c Pruning>) -> Self {
        self.pruning = pruning;
        self
    }

    /// True if a directory was deleted because it has no content.
    fn is_pruned(&self, record: &Record) -> bool {
        let target = &*self.roots[record.root as usize].target;
        let is_gone = |pruning: &Pruning| pruning.is_gone(target, record.root, &record.path);
        self.pruning.is_some_and(is_gone)
    }

    /// Returns the counts of what was done.
    pub fn tally(&self) -> Tally {
        self.account.tally()
    }

    /// Sets the attributes of directories of one root.
    fn finish_each(
        &self,
        records: &[Record],
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) {
        let records = records.iter().filter(|it| !self.is_pruned(it)).collect::<Vec<_>>();
        let Some(Record { root, .. }) = records.first() else { return };
        let directory = |it: &&Record| Some((RelPath::checked(&it.path)?, it.attributes.clone()));
        let invalid = Op::Open.errno(libc::EINVAL);
        let set = match records.iter().map(directory).collect::<Option<Vec<_>>>() {
            Some(directories) => self.roots[*root as usize].target.set_each(&directories),
            None => vec![Err(invalid); records.len()],
        };
        for (record, set) in records.into_iter().zip(set) {
            self.finish(record, set, worker, context);
        }
    }

    fn finish(
        &self,
        record: &Record,
        set: Result<Preserved, Error>,
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) {
        let set = set.inspect(|preserved| worker.tally.count_lost(*preserved));
        let refused = set.as_ref().ok().and_then(|preserved| self.keep.refusal(*preserved));
        let CopyRoot { target, shown_target: shown, .. } = &self.roots[record.root as usize];
        if let Some(error) = set.err().or(refused) {
            let failure = account::failure(Side::Target, shown, &record.path, error);
            self.hopeless.report(&**target, failure, &self.account, worker, context);
        }
    }
}

/// Task that sets the attributes of some directories.
#[derive(Debug, Serialize, Deserialize)]
pub enum FinishTask {
    /// Directories in any order.
    Block(Block<Attributes>),
    /// Directories one after the other, the deepest first.
    InOrder(Vec<Record>),
}

impl FinishTask {
    /// Creates the task for directories that cannot be searched afterwards, the deepest first.
    pub fn restricted(mut records: Vec<Record>) -> Self {
        let depth = |record: &Record| record.path.split(|byte| *byte == b'/').count();
        records.sort_by_cached_key(|record| {
            std::cmp::Reverse((depth(record), record.path.clone(), record.root))
        });
        // A directory that was recorded twice could not be reached any more after the first time.
        records.dedup();
        Self::InOrder(records)
    }
}

impl Job for FinishJob<'_> {
    type Task = FinishTask;
    type Message = ();
    type Event = Event;
    type Snapshot = Tally;
    type Worker = Gathered;

    fn worker(&self) -> Gathered {
        Gathered::default()
    }

    fn run(&self, task: FinishTask, worker: &mut Gathered, context: &TaskContext<'_, Self>) {
        match task {
            FinishTask::Block(block) => {
                let record = |((root, path), attributes)| Record { root, path, attributes };
                let records = block.iter().map(record).collect::<Vec<_>>();
                for of_root in records.chunk_by(|one, next| one.root == next.root) {
                    self.finish_each(of_root, worker, context);
                }
            }
            FinishTask::InOrder(records) => {
                for record in &records {
                    self.finish_each(std::slice::from_ref(record), worker, context);
                }
            }
        }
        self.account.settle(worker);
    }

    fn discard(&self, task: FinishTask, worker: &mut Gathered, context: &TaskContext<'_, Self>) {
        // Existing directories get their attributes even when the job ends early.
        self.run(task, worker, context);
    }

    fn flush(&self, worker: &mut Gathered, context: &TaskContext<'_, Self>) {
        self.account.flush(worker, context);
    }

    fn deliver(&self, context: &TaskContext<'_, Self>) {
        self.account.deliver(context);
    }

    fn snapshot(&self) -> Tally {
        self.tally()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_takes_less_than_100_bytes() {
        let metadata_like = Attributes {
            owner: Some(types::entry::Owner { uid: 123_456, gid: 123_456 }),
            mode: Some(0o755),
            set_ids_of: None,
            times: Some(types::entry::Times {
                atime: types::entry::Time { seconds: 1_700_000_000, nanoseconds: 999_999_999 },
                mtime: types::entry::Time { seconds: 1_700_000_000, nanoseconds: 999_999_999 },
            }),
            xattrs: Some(std::sync::Arc::default()),
        };
        let mut packed = Packed::default();
        for number in 0..10_000 {
            let path =
                format!("project/some/long/way/down/the/tree/run-{:05}/out-{number}", number / 10);
            packed.add(0, path.as_bytes(), &metadata_like);
        }
        let bytes = packed.capacity_bytes();
        assert!(bytes < 100 * 10_000, "{bytes} bytes for 10,000 directories");
    }

    #[test]
    fn what_nobody_can_search_comes_last_and_deepest_first() {
        let record =
            |path: &str| Record { root: 0, path: path.into(), attributes: Attributes::default() };
        let records = ["a", "a/b/c", "", "a/b"].map(record).to_vec();
        let FinishTask::InOrder(sorted) = FinishTask::restricted(records) else {
            unreachable!("that is what it makes")
        };
        let paths: Vec<&[u8]> = sorted.iter().map(|record| &record.path[..]).collect();
        assert_eq!(paths, [&b"a/b/c"[..], b"a/b", b"a", b""]);
    }
}
