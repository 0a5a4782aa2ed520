//! Hard-linked files: their names, recorded by the rank that visits them and brought together when
//! the walk is over, however far apart they are and whichever ranks have visited them.
//!
//! Only names of files with more than one hard link, on either side, take memory. They are sorted
//! by file over all ranks, so that afterwards all names of a file are on one rank. Names that are
//! hard links of one file at the target, but not in the source, are sorted by the file of the
//! target before, to separate them.

use std::cmp::Ordering;
use std::ffi::CString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Deserializer, Serialize};

use super::root::CopyRoot;
use crate::sort::exchange;
use crate::sort::sort_buffer::SortBuffer;
use crate::walk::dir_ref::DirRef;
use comm::mailbox::Mailbox;
use types::entry::Metadata;
use types::exit::Exit;
use types::limits::{BATCH_NAMES_MAX, LINKED_FILE_BYTES_MAX};
use types::path::Name;

/// One of the names of a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LinkName {
    /// The directory of the name.
    pub(super) dir_ref: Arc<DirRef>,
    /// The name in its directory.
    #[serde(deserialize_with = "component")]
    pub(super) name: CString,
    /// True if the entry that has the name at the target belongs to the names of another file, so
    /// that this name gets a separate file.
    pub(super) is_apart: bool,
}

/// A file and those of its names that take part; the first one is copied, and the others become
/// links to that copy.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct LinkedFile {
    /// The names of the file, in order.
    pub(super) names: Vec<LinkName>,
}

/// Names of a file that are to become links to the copy that the first one has got.
#[derive(Debug, Serialize, Deserialize)]
pub struct Links {
    pub(super) first: LinkName,
    pub(super) others: Vec<LinkName>,
}

/// Records of the names of hard-linked files that a rank has visited.
#[derive(Debug, Default)]
pub struct LinkRecords {
    sort_buffer: Mutex<SortBuffer>,
    /// Names that belong to a hard-linked file at the target, by that file.
    shared: Mutex<SortBuffer>,
}

/// Device and inode, as bytes to sort by.
type Key = Vec<u8>;

/// Deserialises a name from another rank, and checks that it is one component, so that it cannot
/// lead outside.
pub(super) fn component<'de, D: Deserializer<'de>>(deserializer: D) -> Result<CString, D::Error> {
    let name = CString::deserialize(deserializer)?;
    let bytes = name.to_bytes();
    if matches!(bytes, b"" | b"." | b"..") || bytes.contains(&b'/') {
        return Err(serde::de::Error::custom("name of a file is truncated"));
    }
    Ok(name)
}

/// Returns the key that identifies a file on all ranks. Network file systems number their devices
/// differently on each node, so the number of the root replaces the device of the root. Other
/// devices below it keep their numbers, so a file that seems to be the same is checked again before
/// it is linked.
pub(super) fn key_of(device_of_roots: &[Option<u64>], metadata: &Metadata) -> Key {
    let of_root = device_of_roots.iter().position(|device| *device == Some(metadata.device));
    let (is_other, device) = match of_root {
        Some(root) => (0, root as u64),
        None => (1, metadata.device),
    };
    // The inode comes first, because keys with a common prefix are compared more slowly.
    let mut key = metadata.inode.to_be_bytes().to_vec();
    key.push(is_other);
    key.extend(device.to_be_bytes());
    key
}

/// The devices of the roots, as this node numbers them.
#[derive(Debug)]
pub(super) struct Devices {
    pub(super) sources: Vec<Option<u64>>,
    pub(super) targets: Vec<Option<u64>>,
}

impl Devices {
    pub(super) fn of(roots: &[CopyRoot]) -> Self {
        let target = |root: &CopyRoot| root.target_metadata.map(|target| target.device);
        Self {
            sources: roots.iter().map(|root| root.source.device().ok()).collect(),
            targets: roots.iter().map(target).collect(),
        }
    }
}

impl LinkName {
    pub(super) fn new(dir_ref: &DirRef, name: &Name) -> Self {
        Self { dir_ref: Arc::new(dir_ref.path_only()), name: name.to_owned(), is_apart: false }
    }

    fn order(&self, other: &Self) -> Ordering {
        let key = |link: &Self| (link.dir_ref.root(), link.dir_ref.path().as_bytes().to_vec());
        key(self).cmp(&key(other)).then_with(|| self.name.cmp(&other.name))
    }
}

impl Links {
    /// Converts all names but the first to tasks of a bounded size.
    pub(super) fn of(file: LinkedFile) -> Vec<Self> {
        let mut names = file.names.into_iter();
        let Some(first) = names.next() else { return Vec::new() };
        let others: Vec<LinkName> = names.collect();
        let part = |some: &[LinkName]| Self { first: first.clone(), others: some.to_vec() };
        others.chunks(BATCH_NAMES_MAX).map(part).collect()
    }
}

impl LinkRecords {
    /// Records a name of a file with that key.
    pub(super) fn add(&self, key: &[u8], name: &LinkName) {
        let value = postcard::to_stdvec(name).expect("plain values always serialise");
        lock(&self.sort_buffer).push(key, &value);
    }

    /// Records a name of a file with that key whose target has several hard links.
    pub(super) fn add_shared(&self, of_target: &[u8], key: &[u8], name: &LinkName) {
        let value = postcard::to_stdvec(&(key, name)).expect("plain values always serialise");
        lock(&self.shared).push(of_target, &value);
    }

    /// Appends the names that another phase has recorded.
    pub(super) fn append(&self, other: &Self) {
        lock(&self.sort_buffer).append(std::mem::take(&mut *lock(&other.sort_buffer)));
        lock(&self.shared).append(std::mem::take(&mut *lock(&other.shared)));
    }

    /// True if no name of a hard-linked file was recorded here.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of names that were recorded here.
    pub fn len(&self) -> usize {
        lock(&self.sort_buffer).len() + lock(&self.shared).len()
    }

    /// Brings the names of each file together. All ranks call it; each gets some of the files.
    /// Where a file has more names than fit into a message, each part of them becomes a file of its
    /// own, which is counted.
    pub fn by_file(self, mail: &mut Mailbox<'_>) -> (Vec<LinkedFile>, u64) {
        part_shared(&self, mail);
        let own = self.sort_buffer.into_inner().unwrap_or_else(PoisonError::into_inner);
        // The names of a file have the same key, so no cut separates them.
        let in_order = exchange::sort(own, mail);
        let mut gathering = Gathering::default();
        for (file, link) in in_order.entries() {
            gathering.add(file, read(link, mail), link.len());
        }
        gathering.end();
        (gathering.files, gathering.parted)
    }
}

fn lock(sort_buffer: &Mutex<SortBuffer>) -> MutexGuard<'_, SortBuffer> {
    sort_buffer.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Deserialises a value that a rank has pushed.
fn read<'v, T: Deserialize<'v>>(value: &'v [u8], mail: &mut Mailbox<'_>) -> T {
    postcard::from_bytes(value).unwrap_or_else(|_| {
        tracing::error!("message from a different build; use one build on all nodes");
        mail.comm().abort(Exit::Bug)
    })
}

/// Separates names that are hard links of one file at the target but not in the source: the names
/// of the file that the first of them belongs to keep the file, and the others get files of their
/// own.
fn part_shared(records: &LinkRecords, mail: &mut Mailbox<'_>) {
    let shared = std::mem::take(&mut *lock(&records.shared));
    let in_order = exchange::sort(shared, mail);
    let mut group: (Key, Vec<(Key, LinkName)>) = Default::default();
    for (of_target, value) in in_order.entries() {
        if group.0 != of_target {
            part(std::mem::take(&mut group.1), records);
            group.0 = of_target.to_vec();
        }
        group.1.push(read(value, mail));
    }
    part(group.1, records);
}

fn part(mut names: Vec<(Key, LinkName)>, records: &LinkRecords) {
    names.sort_by(|(_, one), (_, next)| one.order(next));
    let keeper = names.first().map(|(key, _)| key.clone());
    for (key, name) in names {
        let is_apart = keeper.as_ref() != Some(&key);
        records.add(&key, &LinkName { is_apart, ..name });
    }
}

/// Files that are being collected from the sorted names.
#[derive(Default)]
struct Gathering {
    files: Vec<LinkedFile>,
    key: Key,
    names: Vec<LinkName>,
    bytes: usize,
    parted: u64,
}

impl Gathering {
    fn add(&mut self, key: &[u8], name: LinkName, bytes: usize) {
        let is_same = key == self.key;
        let is_full = self.bytes + bytes > LINKED_FILE_BYTES_MAX;
        if !is_same || is_full {
            self.parted += u64::from(is_same);
            self.end();
            self.key = key.to_vec();
        }
        self.bytes += bytes;
        self.names.push(name);
    }

    fn end(&mut self) {
        let mut names = std::mem::take(&mut self.names);
        self.bytes = 0;
        if !names.is_empty() {
            names.sort_by(LinkName::order);
            // A name may have been visited twice.
            names.dedup_by(|one, next| one.order(next).is_eq());
            self.files.push(LinkedFile { names });
        }
    }
}
