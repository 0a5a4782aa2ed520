//! A move: the source of what is complete at the target is removed.
//!
//! An entry is complete when its copy has its final name and its attributes and was verified as
//! requested. Its source is removed only when the copy is on the storage. Complete entries are
//! therefore collected on the rank that has written them, and a full batch is removed after the
//! target was synced, by one syncfs(2) for thousands of files; of large files, every rank syncs
//! what it has written. Hard-linked files that stay linked are removed at the end, since the names
//! of a file are compared until then.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::CopyTask;
use super::context::Context;
use super::linked::component;
use super::options;
use super::root::CopyRoot;
use crate::remove::copied::Copied;
use crate::remove::{RemoveJob, RemoveTask};
use crate::walk::account;
use crate::walk::dir_ref::DirRef;
use crate::walk::packed::{Block, Packed};
use store::Dir;
use types::entry::{Metadata, Preserved};
use types::error::{At, Cause, Error, Failure, Op, Side, SideError};
use types::limits::{MOVED_BYTES_MAX, MOVED_ENTRIES_MAX};
use types::path::{self, Name};

/// The move of a job on one rank, over all phases of the copy.
pub struct Moving<'c> {
    roots: &'c [CopyRoot],
    /// Removal of what was copied.
    pub removal: &'c RemoveJob<'c>,
    batch: Mutex<Batch>,
    /// Hard-linked files that stay linked, which are removed at the end.
    linked: Mutex<Batch>,
    /// Files of which some name was not copied.
    torn: Mutex<TornFiles>,
}

/// Hard-linked files, as root and inode number, of which some name was not copied. All names of
/// such a file stay, so that another job can link them again.
pub type TornFiles = BTreeSet<(u32, u64)>;

/// Complete entries whose copies may not be on the storage yet.
#[derive(Default)]
struct Batch {
    entries: Packed<Copied>,
    count: usize,
    bytes: u64,
    roots: BTreeSet<u32>,
    /// Target directories on other file systems than their root, one for each device.
    mounted: BTreeMap<u64, Arc<dyn Dir>>,
}

/// A target directory, and the device that it is on.
type Mounted = (u64, Arc<dyn Dir>);

/// An entry of the source that is complete at the target.
#[derive(Debug, Serialize, Deserialize)]
pub struct Complete {
    dir_ref: Arc<DirRef>,
    #[serde(deserialize_with = "component")]
    name: CString,
    copied: Copied,
    size_bytes: u64,
    is_linked: bool,
}

impl<'c> Moving<'c> {
    /// Creates the move of these roots, of which `removal` removes the sources.
    pub fn new(roots: &'c [CopyRoot], removal: &'c RemoveJob<'c>) -> Self {
        let (batch, linked, torn) = Default::default();
        Self { roots, removal, batch, linked, torn }
    }

    /// Returns the files of which this rank has not copied some name.
    pub fn torn_files(&self) -> TornFiles {
        self.torn.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes out the entries that are not removed yet, as tasks, but for the files that some rank
    /// has torn.
    ///
    /// # Errors
    /// Returns the failure to sync their copies; their sources then stay.
    pub fn take_rest(&self, torn: &TornFiles) -> Result<Vec<RemoveTask>, Failure> {
        let (mut rest, mut linked) = (take(&self.batch), take(&self.linked));
        if !torn.is_empty() {
            let is_torn = |root: u32, copied: &Copied| torn.contains(&(root, copied.inode()));
            let all = std::mem::take(&mut linked.entries);
            let mut stay = Packed::default();
            for ((root, below), copied) in all.iter() {
                let part = if is_torn(root, &copied) { &mut stay } else { &mut linked.entries };
                part.add(root, &below, &copied);
            }
            self.removal.entries_stay(&stay);
        }
        rest.add(linked);
        // Directories were created, too.
        rest.roots.extend(0..self.roots.len() as u32);
        self.sync(&rest).inspect_err(|_| self.removal.entries_stay(&rest.entries))?;
        let task = |block| RemoveTask::Copied(vec![block]);
        Ok(rest.entries.into_blocks().into_iter().map(task).collect())
    }

    /// Syncs the file systems that the copies of a batch are on.
    fn sync(&self, batch: &Batch) -> Result<(), Failure> {
        let mut devices = BTreeSet::new();
        for root in batch.roots.iter().map(|root| &self.roots[*root as usize]) {
            let device = root.target_metadata.map(|target| target.device);
            if device.is_none_or(|device| devices.insert(device)) {
                root.target.sync().map_err(|error| not_synced(root, error))?;
            }
        }
        let Some(first) = batch.roots.first() else { return Ok(()) };
        let root = &self.roots[*first as usize];
        let mut mounted = batch.mounted.values();
        mounted.try_for_each(|dir| dir.sync()).map_err(|error| not_synced(root, error))
    }

    /// Adds an entry; returns true if that makes a batch full.
    fn add(&self, entry: &Complete) -> Result<bool, SideError> {
        let dir_ref = &entry.dir_ref;
        let root = &self.roots[dir_ref.root() as usize];
        let elsewhere = mounted_dir(dir_ref, root).at(Side::Target)?;
        let batch = if entry.is_linked { &self.linked } else { &self.batch };
        let mut batch = lock(batch);
        let was_full = batch.is_full();
        let below = path::join(dir_ref.path().as_bytes(), entry.name.to_bytes());
        batch.entries.add(dir_ref.root(), &below, &entry.copied);
        batch.count += 1;
        batch.bytes += entry.size_bytes;
        batch.roots.insert(dir_ref.root());
        batch.mounted.extend(elsewhere);
        Ok(!was_full && batch.is_full() && !entry.is_linked)
    }
}

impl Batch {
    fn is_full(&self) -> bool {
        self.count >= MOVED_ENTRIES_MAX || self.bytes >= MOVED_BYTES_MAX
    }

    fn add(&mut self, other: Self) {
        self.entries.append(other.entries);
        self.roots.extend(other.roots);
        self.mounted.extend(other.mounted);
    }
}

fn lock(batch: &Mutex<Batch>) -> MutexGuard<'_, Batch> {
    batch.lock().unwrap_or_else(PoisonError::into_inner)
}

fn take(batch: &Mutex<Batch>) -> Batch {
    std::mem::take(&mut *lock(batch))
}

fn not_synced(root: &CopyRoot, error: Error) -> Failure {
    account::failure(Side::Target, &root.shown_target, b"", error)
}

/// Returns the target directory with its device, where that is another one than its root's.
fn mounted_dir(dir_ref: &DirRef, root: &CopyRoot) -> Result<Option<Mounted>, Error> {
    let Some(of_root) = root.target_metadata else { return Ok(None) };
    if root.target.holds_objects() || root.target.discards_writes() {
        return Ok(None);
    }
    let dir = dir_ref.target_dir(&*root.target)?;
    let device = dir_ref.target_device(&*dir)?;
    Ok((device != of_root.device).then_some((device, dir)))
}

impl Context<'_, '_> {
    /// Returns the state of an entry that was read, where its source is to be removed when its copy
    /// is complete. A copy that lacks attributes that were requested never is.
    pub(super) fn movable(
        &mut self,
        (dir_ref, name): (&DirRef, &Name),
        read: &Metadata,
        preserved: Preserved,
    ) -> Option<Copied> {
        self.env.moving?;
        if self.env.options.keep.refusal(preserved).is_some() {
            return None;
        }
        if preserved.xattrs_lost || preserved.attributes_lost || preserved.properties_lost {
            let error = Op::Remove.failed(Cause::AttributesLost);
            self.fail(dir_ref, name.to_bytes(), SideError { side: Side::Source, error });
            return None;
        }
        Some(Copied::of(read))
    }

    /// Describes an entry that is complete at the target.
    pub(super) fn complete(
        &self,
        (dir_ref, name): (&Arc<DirRef>, &Name),
        (read, copied): (&Metadata, Copied),
    ) -> Complete {
        let keeps_links = self.env.options.hard_links == options::HardLinks::Keep;
        let dir_ref = Arc::clone(dir_ref);
        let (is_linked, size_bytes) = (keeps_links && read.links > 1, read.size_bytes);
        Complete { dir_ref, name: name.to_owned(), copied, size_bytes, is_linked }
    }

    /// Has the source of an entry removed, which is complete at the target, soon.
    pub(super) fn remove_later(&mut self, entry: &Complete) {
        let Some(moving) = self.env.moving else { return };
        match moving.add(entry) {
            Ok(true) => self.task.push_pinned(CopyTask::RemoveBatch),
            Ok(false) => {}
            Err(side_error) => self.fail(&entry.dir_ref, entry.name.to_bytes(), side_error),
        }
    }

    /// Has the source of an entry removed that the target has as it should be, with these
    /// attributes.
    pub(super) fn is_there(
        &mut self,
        (dir_ref, name): (&Arc<DirRef>, &Name),
        read: &Metadata,
        preserved: Preserved,
    ) {
        if let Some(copied) = self.movable((dir_ref, name), read, preserved) {
            self.remove_later(&self.complete((dir_ref, name), (read, copied)));
        }
    }

    /// Records that a name was not copied: if the file has others that are linked, those stay, too.
    pub(super) fn name_stays(&self, dir_ref: &DirRef, name: &[u8]) {
        let Some(moving) = self.env.moving else { return };
        let Ok(name) = CString::new(name) else { return };
        let dir = dir_ref.source_dir(&*self.env.root(dir_ref).source);
        let Ok(found) = dir.and_then(|dir| dir.stat(&name)) else { return };
        if found.links > 1 {
            let mut torn = moving.torn.lock().unwrap_or_else(PoisonError::into_inner);
            torn.insert((dir_ref.root(), found.inode));
        }
    }

    /// Records that an entry of a directory stays in the source.
    pub(super) fn stays(&self, dir_ref: &DirRef) {
        if let Some(moving) = self.env.moving {
            moving.removal.entry_stays(dir_ref);
        }
    }

    /// Records a directory that was copied, to be removed when nothing is left in it.
    pub(super) fn directory_copied(&self, dir_ref: &DirRef, metadata: &Metadata) {
        let Some(moving) = self.env.moving else { return };
        let source = &self.env.root(dir_ref).source;
        if self.env.selection.stops_at(metadata, source.device()) {
            moving.removal.entry_stays(dir_ref);
        } else if !dir_ref.path().is_root() || moving.removal.removes_itself(dir_ref.root()) {
            moving.removal.directory_copied(dir_ref);
        }
    }

    /// Removes the sources of the entries that were collected, after their copies were synced.
    pub(super) fn remove_batch(&mut self) {
        let Some(moving) = self.env.moving else { return };
        let batch = take(&moving.batch);
        if let Err(failure) = moving.sync(&batch) {
            moving.removal.entries_stay(&batch.entries);
            return self.env.account.fail(failure, &mut self.worker.gathered, self.task);
        }
        if batch.roots.iter().any(|root| self.env.roots[*root as usize].source.holds_objects()) {
            return self.remove_sources(&batch.entries.into_blocks());
        }
        for block in batch.entries.into_blocks() {
            self.task.push(CopyTask::RemoveSources(vec![block]));
        }
    }

    /// Removes the sources of entries whose copies were synced.
    pub(super) fn remove_sources(&mut self, blocks: &[Block<Copied>]) {
        if let Some(moving) = self.env.moving {
            moving.removal.remove_copied(blocks, &mut self.worker.gathered, self.task);
        }
    }
}
