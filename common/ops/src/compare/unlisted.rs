//! Files in a tree that the manifest lacks with which it is compared.
//!
//! A manifest does not contain directories, so there is no point at which a directory's files are
//! known to be complete. Therefore the tree is walked as well, and the paths of its files are
//! sorted together with those in the manifest over all ranks. Paths that occur in the tree only are
//! the findings.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{CompareJob, CompareTask, CompareWorker};
use crate::sort::exchange;
use crate::sort::sort_buffer::SortBuffer;
use crate::walk::batch::NameBatch;
use crate::walk::dir_ref::{DirRef, Trees};
use crate::walk::{Skip, Visit, Visited, WalkTask};
use comm::collective::{broadcast, gather};
use comm::mailbox::Mailbox;
use sched::context::TaskContext;
use types::entry::{Hint, Kind, Metadata};
use types::error::{At, Error, Side, SideError};
use types::limits::BATCH_NAMES_MAX;
use types::path::{self, Name, RelPath};

/// The paths of files that this rank has met, in the manifest or the tree.
#[derive(Debug, Default)]
pub(super) struct Unlisted {
    paths: Mutex<SortBuffer>,
    /// True if part of the manifest could not be read, so that its contents are not known.
    is_torn: AtomicBool,
    /// The metadata of the manifest itself.
    manifest: Option<Metadata>,
}

/// The value that is sorted with a path from the manifest.
const IN_MANIFEST: &[u8] = &[0];
/// The value that is sorted with a path from the tree.
const IN_TREE: &[u8] = &[1];

impl Unlisted {
    /// Creates an empty collection.
    pub fn besides(manifest: Option<Metadata>) -> Self {
        Self { manifest, ..Self::default() }
    }

    /// Enters a directory of the tree, unless it is the manifest itself, which is not listed in it.
    pub fn enter(&self, metadata: &Metadata) -> Result<(), Skip> {
        let is_manifest = self.manifest.is_some_and(|manifest| manifest.is_same_file(metadata));
        if is_manifest { Err(Skip) } else { Ok(()) }
    }

    fn push(&self, dir_ref: &DirRef, name: &Name, where_met: &[u8]) {
        let path = path::join(dir_ref.path().as_bytes(), name.to_bytes());
        self.paths.lock().unwrap_or_else(PoisonError::into_inner).push(&path, where_met);
    }

    /// Records a file of the manifest.
    pub fn listed(&self, dir_ref: &DirRef, name: &Name) {
        self.push(dir_ref, name, IN_MANIFEST);
    }

    /// Records an entry of the tree if it is a file.
    fn find(&self, entry: &Visit<'_>) -> Result<Visited, Error> {
        let kind = match entry.hint {
            Hint::Unknown => entry.dir.stat(entry.name)?.kind,
            Hint::Symlink | Hint::Other => return Ok(Visited::NOTHING_MOVED),
            _ => Kind::File,
        };
        match kind {
            Kind::Directory => return Ok(Visited::Directory),
            Kind::File => self.push(entry.dir_ref, entry.name, IN_TREE),
            _ => {}
        }
        Ok(Visited::NOTHING_MOVED)
    }

    /// Records that part of the manifest cannot be read.
    pub fn tear(&self) {
        self.is_torn.store(true, Ordering::Relaxed);
    }
}

/// Returns the task that walks the tree for its files.
pub fn seed() -> WalkTask {
    let dir_ref = DirRef::root_of(0);
    dir_ref.set_trees(Trees::TargetOnly);
    WalkTask::List(Arc::new(dir_ref))
}

impl CompareJob<'_> {
    /// Returns tasks for the files that only the tree has; none if the tree was not walked for
    /// them, or the manifest is not completely known. All ranks must call it after the walk.
    pub fn unlisted(&self, mail: &mut Mailbox<'_>) -> Vec<CompareTask> {
        let Some(unlisted) = &self.unlisted else { return Vec::new() };
        let is_known =
            !unlisted.is_torn.load(Ordering::Relaxed) && self.tally().cancelled_tasks == 0;
        // One rank with a gap suffices: a file could be listed in the part that it has not read.
        let all = gather(mail, &is_known).map(|all| all.into_iter().all(|is_known| is_known));
        if !broadcast(mail, all) {
            return Vec::new();
        }
        let own =
            std::mem::take(&mut *unlisted.paths.lock().unwrap_or_else(PoisonError::into_inner));
        let in_order = exchange::sort(own, mail);
        self.is_after_walk.store(true, Ordering::Relaxed);
        let mut batches = Batches::default();
        let mut group: (&[u8], bool) = (b"", true);
        for (path, where_met) in in_order.entries() {
            if group.0 != path {
                batches.add_if_only_found(group);
                group = (path, false);
            }
            group.1 |= where_met == IN_MANIFEST;
        }
        batches.add_if_only_found(group);
        batches.into_tasks()
    }

    /// Handles an entry that only the target has. With a manifest, this is only known after the
    /// walk.
    pub(super) fn meet_extra(
        &self,
        entry: &Visit<'_>,
        worker: &mut CompareWorker,
        context: &TaskContext<'_, Self>,
    ) -> Result<Visited, SideError> {
        if entry.hint == Hint::Directory {
            return Ok(Visited::Directory);
        }
        if let Some(unlisted) = &self.unlisted
            && !self.is_after_walk.load(Ordering::Relaxed)
        {
            return unlisted.find(entry).at(Side::Target);
        }
        let target = if self.is_listing_enough(entry.hint) {
            entry.dir.peek(entry.name, entry.hint)
        } else {
            entry.dir.stat(entry.name)
        };
        let target = target.at(Side::Target)?;
        worker.gathered.seen = Some(target);
        if target.kind == Kind::Directory {
            return Ok(Visited::Directory);
        }
        // An object that a listing shows as a file may be a symbolic link.
        let is_reported = self.unlisted.is_none() || target.kind == Kind::File;
        if is_reported && self.selection.admits(&target) {
            let source_dir = || entry.dir_ref.source_dir(&*self.root.source);
            let (source, findings) = self.findings_of_extra(source_dir, entry.name, &target);
            let both = (source.as_ref(), Some(&target));
            self.give_or_hold(entry.dir_ref, entry.name, both, findings, worker, context);
        }
        Ok(Visited::NOTHING_MOVED)
    }
}

/// Files grouped by their directories.
#[derive(Default)]
struct Batches {
    tasks: Vec<CompareTask>,
    parent: RelPath,
    names: NameBatch,
}

impl Batches {
    fn add_if_only_found(&mut self, (path, is_listed): (&[u8], bool)) {
        let only_found = if is_listed { None } else { RelPath::checked(path) };
        let Some((parent, name)) = only_found.and_then(|path| path.split_last()) else { return };
        if parent != self.parent || self.names.len() == BATCH_NAMES_MAX {
            self.end();
            self.parent = parent;
        }
        self.names.push(&name, Hint::File);
    }

    fn end(&mut self) {
        let names = std::mem::take(&mut self.names);
        if !names.is_empty() {
            let dir_ref = DirRef::at(0, self.parent.clone());
            dir_ref.set_trees(Trees::TargetOnly);
            self.tasks.push(WalkTask::Batch(Arc::new(dir_ref), names).into());
        }
    }

    fn into_tasks(mut self) -> Vec<CompareTask> {
        self.end();
        self.tasks
    }
}
