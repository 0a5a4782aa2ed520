//! Directories' own attributes, set when everything below them is done: filling a directory changes
//! its times, and a read-only one could not be filled.
//!
//! Each rank remembers the directories it made, packed at well under 100 bytes each; a second run of
//! the engine sets them, spread over all ranks again.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::root::CopyRoot;
use crate::base::error::{Error, Op, Side};
use crate::base::limits::{FINISH_BATCH_DIRS, STEAL_BYTES_MAX};
use crate::base::path::RelPath;
use crate::comm::Rank;
use crate::model::entry::{Attributes, Kept};
use crate::model::keep::Chown;
use crate::model::notice::Notice;
use crate::model::tally::Tally;
use crate::sched::crew::Crew;
use crate::sched::job::Job;
use crate::walk::account::{self, Account, Gathered};
use crate::walk::place::Place;

/// What a rank remembers of the directories it made.
#[derive(Debug, Default)]
pub struct DirectoryRecords {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    blocks: Vec<RecordBlock>,
    /// The path of the last record in the last block.
    last_path: Vec<u8>,
    restricted: Vec<Record>,
}

/// A directory and what it is to get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    root: u32,
    path: Vec<u8>,
    attributes: Attributes,
}

/// Some records, each path without what it shares with the one before. Serialised as it is.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct RecordBlock {
    count: u32,
    bytes: Vec<u8>,
}

/// A record in a block: root, bytes shared with the path before, the rest of the path, attributes.
type Packed<'p> = (u32, u32, std::borrow::Cow<'p, [u8]>, Attributes);

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
            inner.pack(place.root(), path, attributes);
        }
    }

    /// Takes over what another phase has changed.
    pub fn append(&mut self, other: Self) {
        let other = other.inner.into_inner().unwrap_or_else(PoisonError::into_inner);
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        // The last block goes on where its last path ended; blocks of others are complete.
        inner.blocks.splice(0..0, other.blocks);
        inner.restricted.extend(other.restricted);
    }

    /// The records as tasks, and apart from them the directories that must come last.
    pub fn into_parts(self) -> (Vec<RecordBlock>, Vec<Record>) {
        let inner = self.inner.into_inner().unwrap_or_else(PoisonError::into_inner);
        (inner.blocks, inner.restricted)
    }
}

impl Inner {
    fn pack(&mut self, root: u32, path: &[u8], attributes: &Attributes) {
        if self.blocks.last().is_none_or(RecordBlock::is_full) {
            if let Some(full) = self.blocks.last_mut() {
                full.bytes.shrink_to_fit();
            }
            self.blocks.push(RecordBlock::default());
            self.last_path.clear();
        }
        let shared = self.last_path.iter().zip(path).take_while(|(a, b)| a == b).count();
        let packed: Packed<'_> = (root, shared as u32, path[shared..].into(), attributes.clone());
        let block = self.blocks.last_mut().expect("a block was just made sure of");
        block.bytes.extend(postcard::to_stdvec(&packed).expect("plain values always serialise"));
        block.count += 1;
        self.last_path.truncate(shared);
        self.last_path.extend_from_slice(&path[shared..]);
    }
}

impl RecordBlock {
    fn is_full(&self) -> bool {
        self.count as usize >= FINISH_BATCH_DIRS || self.bytes.len() >= STEAL_BYTES_MAX
    }

    /// The records in it; stops where the bytes are torn.
    fn records(&self) -> impl Iterator<Item = Record> + '_ {
        let (mut rest, mut path) = (&self.bytes[..], Vec::new());
        std::iter::from_fn(move || {
            let ((root, shared, tail, attributes), behind) =
                postcard::take_from_bytes::<Packed<'_>>(rest).ok()?;
            rest = behind;
            path.truncate(shared as usize);
            path.extend_from_slice(&tail);
            Some(Record { root, path: path.clone(), attributes })
        })
    }
}

/// One rank's part in setting directories' attributes.
pub struct FinishJob<'c> {
    roots: &'c [CopyRoot],
    /// Owners that the operator gives.
    chown: Chown,
    account: Account,
}

impl<'c> FinishJob<'c> {
    /// For the same roots as the copy, which gives these owners.
    pub fn new(roots: &'c [CopyRoot], chown: Chown) -> Self {
        Self { roots, chown, account: Account::default() }
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
        let refused = set.as_ref().is_ok_and(|kept| self.chown.is_refused(*kept));
        let refused = refused.then(|| Op::SetOwner.errno(libc::EPERM));
        if let Some(error) = set.err().or(refused) {
            let shown = &self.roots[record.root as usize].shown_target;
            let failure = account::failure(Side::Target, shown, &record.path, error);
            self.account.fail(failure, hand, crew);
        }
    }
}

/// Some directories to finish.
#[derive(Debug, Serialize, Deserialize)]
pub enum FinishTask {
    /// In any order.
    Block(RecordBlock),
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
                block.records().for_each(|record| self.finish(&record, hand, crew));
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

    fn packed(paths: &[&str]) -> Vec<RecordBlock> {
        let mut inner = Inner::default();
        for (number, path) in paths.iter().enumerate() {
            let attributes = Attributes { mode: Some(number as u32), ..Attributes::default() };
            inner.pack(3, path.as_bytes(), &attributes);
        }
        inner.blocks
    }

    #[test]
    fn packed_records_come_back_in_order() {
        let paths: Vec<String> = (0..300).map(|n| format!("a/{}/b{}", n / 7, n)).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let blocks = packed(&paths);
        let back: Vec<Record> = blocks.iter().flat_map(RecordBlock::records).collect();
        assert_eq!(back.len(), paths.len());
        for (number, (record, path)) in back.iter().zip(&paths).enumerate() {
            assert_eq!(record.path, path.as_bytes());
            assert_eq!(record.attributes.mode, Some(number as u32));
            assert_eq!(record.root, 3);
        }
    }

    #[test]
    fn a_record_takes_less_than_100_bytes() {
        let metadata_like = Attributes {
            owner: Some(crate::model::entry::Owner { uid: 123_456, gid: 123_456 }),
            mode: Some(0o755),
            set_ids_of: None,
            times: Some(crate::model::entry::Times {
                atime: crate::model::entry::Time {
                    seconds: 1_700_000_000,
                    nanoseconds: 999_999_999,
                },
                mtime: crate::model::entry::Time {
                    seconds: 1_700_000_000,
                    nanoseconds: 999_999_999,
                },
            }),
            xattrs: Some(std::sync::Arc::default()),
        };
        let mut inner = Inner::default();
        for number in 0..10_000 {
            let path =
                format!("project/some/long/way/down/the/tree/run-{:05}/out-{number}", number / 10);
            inner.pack(0, path.as_bytes(), &metadata_like);
        }
        let bytes: usize = inner.blocks.iter().map(|block| block.bytes.capacity() + 32).sum();
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
