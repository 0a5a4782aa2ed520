//! Files with several names: their names, remembered by whoever meets them, and brought together when
//! the walk is over, however far apart they are and whichever ranks have met them.
//!
//! Only names of files with more than one, on either side, take memory. They are sorted by their files over
//! all ranks, so that afterwards all names of a file are on one of them. Names that are one file at the
//! target, and not in the source, are sorted by that one before, to part them.

use std::cmp::Ordering;
use std::ffi::CString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Deserializer, Serialize};

use super::root::CopyRoot;
use crate::sort::exchange;
use crate::sort::shelf::Shelf;
use crate::walk::place::Place;
use comm::mailbox::Mailbox;
use types::entry::Metadata;
use types::exit::Exit;
use types::limits::{BATCH_NAMES_MAX, LINKED_FILE_BYTES_MAX};
use types::path::Name;

/// One of a file's names.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LinkName {
    /// The directory it is in.
    pub(super) place: Arc<Place>,
    /// Its name there.
    #[serde(deserialize_with = "component")]
    pub(super) name: CString,
    /// What the target has of that name belongs to another file's names: this one gets a file of its own.
    pub(super) is_apart: bool,
}

/// A file and its names, as far as they take part; the first one is copied, the others become links to
/// that copy.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct LinkedFile {
    /// Its names, in order.
    pub(super) names: Vec<LinkName>,
}

/// Some of a file's names that are to become links to the copy that the first one has got.
#[derive(Debug, Serialize, Deserialize)]
pub struct Links {
    pub(super) first: LinkName,
    pub(super) others: Vec<LinkName>,
}

/// What a rank remembers of the files with several names that it has met.
#[derive(Debug, Default)]
pub struct LinkRecords {
    shelf: Mutex<Shelf>,
    /// Those of which the target has a file with several names, by that one.
    shared: Mutex<Shelf>,
}

/// Device and inode, as bytes to sort by.
type Key = Vec<u8>;

/// From another rank: one component, so that it cannot lead outside.
fn component<'de, D: Deserializer<'de>>(deserializer: D) -> Result<CString, D::Error> {
    let name = CString::deserialize(deserializer)?;
    let bytes = name.to_bytes();
    if matches!(bytes, b"" | b"." | b"..") || bytes.contains(&b'/') {
        return Err(serde::de::Error::custom("name of a file is truncated"));
    }
    Ok(name)
}

/// Tells files apart on all ranks: network file systems number their device differently on each node, so
/// that of a root goes by the root. Others below it keep their numbers, so what seems to be one file is
/// looked at again before it is linked.
pub(super) fn key_of(device_of_roots: &[Option<u64>], metadata: &Metadata) -> Key {
    let of_root = device_of_roots.iter().position(|device| *device == Some(metadata.device));
    let (is_other, device) = match of_root {
        Some(root) => (0, root as u64),
        None => (1, metadata.device),
    };
    // The inode first: what begins alike is compared more slowly.
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
    pub(super) fn new(place: &Place, name: &Name) -> Self {
        Self { place: Arc::new(place.path_only()), name: name.to_owned(), is_apart: false }
    }

    fn order(&self, other: &Self) -> Ordering {
        let key = |link: &Self| (link.place.root(), link.place.path().as_bytes().to_vec());
        key(self).cmp(&key(other)).then_with(|| self.name.cmp(&other.name))
    }
}

impl Links {
    /// All but the first name, as tasks of a bounded size.
    pub(super) fn of(file: LinkedFile) -> Vec<Self> {
        let mut names = file.names.into_iter();
        let Some(first) = names.next() else { return Vec::new() };
        let others: Vec<LinkName> = names.collect();
        let part = |some: &[LinkName]| Self { first: first.clone(), others: some.to_vec() };
        others.chunks(BATCH_NAMES_MAX).map(part).collect()
    }
}

impl LinkRecords {
    /// Remembers a name of a file with that key.
    pub(super) fn add(&self, key: &[u8], name: &LinkName) {
        let value = postcard::to_stdvec(name).expect("plain values always serialise");
        lock(&self.shelf).push(key, &value);
    }

    /// The same for a name that is one of several of a file at the target.
    pub(super) fn add_shared(&self, of_target: &[u8], key: &[u8], name: &LinkName) {
        let value = postcard::to_stdvec(&(key, name)).expect("plain values always serialise");
        lock(&self.shared).push(of_target, &value);
    }

    /// Takes over what another phase has met.
    pub(super) fn append(&self, other: &Self) {
        lock(&self.shelf).append(std::mem::take(&mut *lock(&other.shelf)));
        lock(&self.shared).append(std::mem::take(&mut *lock(&other.shared)));
    }

    /// No file with several names was met here.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many names were met here.
    pub fn len(&self) -> usize {
        lock(&self.shelf).len() + lock(&self.shared).len()
    }

    /// Brings each file's names together. All ranks call it; each gets some of the files. Where a file
    /// has more names than fit into a message, each part of them is a file of its own: that is counted.
    pub fn by_file(self, mail: &mut Mailbox<'_>) -> (Vec<LinkedFile>, u64) {
        part_shared(&self, mail);
        let own = self.shelf.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Names of one file have one key, so they are on one side of every cut.
        let in_order = exchange::sort(own, mail);
        let mut gathering = Gathering::default();
        for (file, link) in in_order.entries() {
            gathering.add(file, read(link, mail), link.len());
        }
        gathering.end();
        (gathering.files, gathering.parted)
    }
}

fn lock(shelf: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a rank has pushed.
fn read<'v, T: Deserialize<'v>>(value: &'v [u8], mail: &mut Mailbox<'_>) -> T {
    postcard::from_bytes(value).unwrap_or_else(|_| {
        tracing::error!("message from a different build; use one build on all nodes");
        mail.comm().abort(Exit::Bug)
    })
}

/// Names that are one file at the target: those of the file that the first of them is of keep it, others are
/// parted from them.
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

/// Files on their way out of the order.
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
            // One may have been met twice.
            names.dedup_by(|one, next| one.order(next).is_eq());
            self.files.push(LinkedFile { names });
        }
    }
}
