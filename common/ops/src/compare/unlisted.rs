//! Files that a tree has and the manifest it is checked against has not.
//!
//! A manifest says nothing of directories, so nothing tells name by name which of them are complete. The tree is
//! walked besides; the paths of its files and of those in the manifest are sorted together over all ranks,
//! and what stands there only once is looked at.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{CompareHand, CompareJob, CompareTask};
use crate::sort::exchange;
use crate::sort::shelf::Shelf;
use crate::walk::batch::NameBatch;
use crate::walk::place::{Place, Trees};
use crate::walk::{Skip, Visit, Visited, WalkTask};
use comm::collective::{broadcast, gather};
use comm::mailbox::Mailbox;
use sched::crew::Crew;
use types::entry::{Hint, Kind, Metadata};
use types::error::{At, Error, Side, Trouble};
use types::limits::BATCH_NAMES_MAX;
use types::path::{self, Name, RelPath};

/// Paths of files that this rank has met, in the manifest or the tree.
#[derive(Debug, Default)]
pub(super) struct Unlisted {
    paths: Mutex<Shelf>,
    /// Part of the manifest could not be read: who knows what is in it.
    is_torn: AtomicBool,
    /// The manifest itself.
    manifest: Option<Metadata>,
}

/// Where a path was met, as a value to sort.
const IN_MANIFEST: &[u8] = &[0];
const IN_TREE: &[u8] = &[1];

impl Unlisted {
    /// Nothing met yet.
    pub fn besides(manifest: Option<Metadata>) -> Self {
        Self { manifest, ..Self::default() }
    }

    /// A directory of the tree: the manifest does not tell of itself.
    pub fn enter(&self, metadata: &Metadata) -> Result<(), Skip> {
        let is_manifest = self.manifest.is_some_and(|manifest| manifest.is_same_file(metadata));
        if is_manifest { Err(Skip) } else { Ok(()) }
    }

    fn push(&self, place: &Place, name: &Name, where_met: &[u8]) {
        let path = path::join(place.path().as_bytes(), name.to_bytes());
        self.paths.lock().unwrap_or_else(PoisonError::into_inner).push(&path, where_met);
    }

    /// The manifest has a file of that name.
    pub fn listed(&self, place: &Place, name: &Name) {
        self.push(place, name, IN_MANIFEST);
    }

    /// The tree has an entry of that name: files count.
    fn find(&self, entry: &Visit<'_>) -> Result<Visited, Error> {
        let kind = match entry.hint {
            Hint::Unknown => entry.dir.stat(entry.name)?.kind,
            Hint::Symlink | Hint::Other => return Ok(Visited::NOTHING_MOVED),
            _ => Kind::File,
        };
        match kind {
            Kind::Directory => return Ok(Visited::Directory),
            Kind::File => self.push(entry.place, entry.name, IN_TREE),
            _ => {}
        }
        Ok(Visited::NOTHING_MOVED)
    }

    /// Part of the manifest cannot be read.
    pub fn tear(&self) {
        self.is_torn.store(true, Ordering::Relaxed);
    }
}

/// The task that walks the tree for its files.
pub fn seed() -> WalkTask {
    let place = Place::root_of(0);
    place.set_trees(Trees::TargetOnly);
    WalkTask::List(Arc::new(place))
}

impl CompareJob<'_> {
    /// Tasks for the files that only the tree has; none where it was not walked for them, or where not all of the
    /// manifest is known. All ranks call it, when the walk is over.
    pub fn unlisted(&self, mail: &mut Mailbox<'_>) -> Vec<CompareTask> {
        let Some(unlisted) = &self.unlisted else { return Vec::new() };
        let is_known = !unlisted.is_torn.load(Ordering::Relaxed) && self.tally().given_up == 0;
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

    /// An entry that only the target has. Where a manifest tells of files by their paths, which of them that are is
    /// known at the end only.
    pub(super) fn meet_extra(
        &self,
        entry: &Visit<'_>,
        hand: &mut CompareHand,
        crew: &Crew<'_, Self>,
    ) -> Result<Visited, Trouble> {
        if entry.hint == Hint::Directory {
            return Ok(Visited::Directory);
        }
        if let Some(unlisted) = &self.unlisted
            && !self.is_after_walk.load(Ordering::Relaxed)
        {
            return unlisted.find(entry).at(Side::Target);
        }
        let target = entry.dir.stat(entry.name).at(Side::Target)?;
        hand.gathered.seen = Some(target);
        if target.kind == Kind::Directory {
            return Ok(Visited::Directory);
        }
        // What a listing takes for a file may be a link.
        let is_told = self.unlisted.is_none() || target.kind == Kind::File;
        if is_told && self.selection.admits(&target) {
            let source_dir = || entry.place.source_dir(&*self.root.source);
            let (source, findings) = self.findings_of_extra(source_dir, entry.name, &target);
            let both = (source.as_ref(), Some(&target));
            self.judge(entry.place, entry.name, both, findings, hand, crew);
        }
        Ok(Visited::NOTHING_MOVED)
    }
}

/// Files by their directories.
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
            let place = Place::at(0, self.parent.clone());
            place.set_trees(Trees::TargetOnly);
            self.tasks.push(WalkTask::Batch(Arc::new(place), names).into());
        }
    }

    fn into_tasks(mut self) -> Vec<CompareTask> {
        self.end();
        self.tasks
    }
}
