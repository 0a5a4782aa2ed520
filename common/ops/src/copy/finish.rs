//! Directories' own attributes, set when everything below them is done: filling a directory changes
//! its times, and a read-only one could not be filled.
//!
//! Each rank remembers the directories it made, packed at well under 100 bytes each; a second run of
//! the engine sets them, spread over all ranks again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::hopeless::Hopeless;
use super::root::CopyRoot;
use crate::walk::account::{self, Account, Gathered};
use crate::walk::packed::{Block, Packed, RootedPath};
use crate::walk::place::Place;
use comm::Rank;
use sched::crew::Crew;
use sched::job::Job;
use types::attributes::keep::Keep;
use types::entry::{Attributes, Kept, Times};
use types::error::{Error, Op, Side};
use types::outcome::notice::Notice;
use types::outcome::tally::Tally;
use types::path::RelPath;

/// What a rank remembers of the directories it made.
#[derive(Debug, Default)]
pub struct DirectoryRecords {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    packed: Packed<Attributes>,
    restricted: Vec<Record>,
}

/// A directory and what it is to get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    root: u32,
    path: Vec<u8>,
    attributes: Attributes,
}

impl DirectoryRecords {
    /// Remembers a directory.
    pub(crate) fn add(&self, place: &Place, attributes: &Attributes) {
        let path = place.path().as_bytes();
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        // Without the right to search it, nothing below it could be reached any more.
        if attributes.mode.is_some_and(|mode| mode & 0o100 == 0) {
            let record =
                Record { root: place.root(), path: path.to_vec(), attributes: attributes.clone() };
            inner.restricted.push(record);
        } else {
            inner.packed.add(place.root(), path, attributes);
        }
    }

    /// Takes over what another phase has changed.
    pub fn append(&mut self, other: Self) {
        let other = other.inner.into_inner().unwrap_or_else(PoisonError::into_inner);
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        inner.packed.append(other.packed);
        inner.restricted.extend(other.restricted);
    }

    /// Gives directories that have changed since they were remembered the times that they have now.
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

    /// The records as tasks, and apart from them the directories that must come last.
    pub fn into_parts(self) -> (Vec<Block<Attributes>>, Vec<Record>) {
        let inner = self.inner.into_inner().unwrap_or_else(PoisonError::into_inner);
        (inner.packed.into_blocks(), inner.restricted)
    }
}

/// One rank's part in setting directories' attributes.
pub struct FinishJob<'c> {
    roots: &'c [CopyRoot],
    /// What they are to have.
    keep: &'c Keep,
    hopeless: Hopeless,
    account: Account,
}

impl<'c> FinishJob<'c> {
    /// For the same roots as the copy, which may have given up for that `errno`.
    pub fn new(roots: &'c [CopyRoot], keep: &'c Keep, fatal_errno: u64) -> Self {
        let hopeless = Hopeless::after(fatal_errno);
        Self { roots, keep, hopeless, account: Account::default() }
    }

    /// What was done.
    pub fn tally(&self) -> Tally {
        self.account.tally()
    }

    fn set(&self, record: &Record) -> Result<Kept, Error> {
        let path = RelPath::checked(&record.path).ok_or(Op::Open.errno(libc::EINVAL))?;
        let target = &self.roots[record.root as usize].target;
        target.open_dir(&path)?.set_attributes(&record.attributes)
    }

    fn finish(&self, record: &Record, hand: &mut Gathered, crew: &Crew<'_, Self>) {
        let set = self.set(record).inspect(|kept| hand.tally.count_lost(*kept));
        let refused = set.as_ref().ok().and_then(|kept| self.keep.refusal(*kept));
        let CopyRoot { target, shown_target: shown, .. } = &self.roots[record.root as usize];
        if let Some(error) = set.err().or(refused)
            && self.hopeless.stop_if_past_help(&**target, &error, &mut hand.tally, crew)
        {
            let failure = account::failure(Side::Target, shown, &record.path, error);
            self.account.fail(failure, hand, crew);
        }
    }
}

/// Some directories to finish.
#[derive(Debug, Serialize, Deserialize)]
pub enum FinishTask {
    /// In any order.
    Block(Block<Attributes>),
    /// One after the other, deepest first.
    InOrder(Vec<Record>),
}

impl FinishTask {
    /// Directories that nobody can search afterwards, the deepest first.
    pub fn restricted(mut records: Vec<Record>) -> Self {
        let depth = |record: &Record| record.path.split(|byte| *byte == b'/').count();
        records.sort_by_cached_key(|record| {
            std::cmp::Reverse((depth(record), record.path.clone(), record.root))
        });
        // One may have been remembered twice, and could not be reached any more after the first time.
        records.dedup();
        Self::InOrder(records)
    }
}

impl Job for FinishJob<'_> {
    type Task = FinishTask;
    type Letter = ();
    type Notice = Notice;
    type Snapshot = Tally;
    type Hand = Gathered;

    fn hand(&self) -> Gathered {
        Gathered::default()
    }

    fn run(&self, task: FinishTask, hand: &mut Gathered, crew: &Crew<'_, Self>) {
        match task {
            FinishTask::Block(block) => {
                for ((root, path), attributes) in block.iter() {
                    self.finish(&Record { root, path, attributes }, hand, crew);
                }
            }
            FinishTask::InOrder(records) => {
                for record in &records {
                    self.finish(record, hand, crew);
                }
            }
        }
        self.account.settle(hand);
    }

    fn discard(&self, task: FinishTask, hand: &mut Gathered, crew: &Crew<'_, Self>) {
        // What is there deserves its attributes even when the job ends early.
        self.run(task, hand, crew);
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
