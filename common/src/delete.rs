//! Deleting what only the target has.
//!
//! Files go as the walk meets them; directories are remembered and removed afterwards, the deepest first,
//! level by level over all ranks. What a filter protects stays, and with it the directories it is in.

pub mod permit;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::base::error::{At, Cause, Failure, Op, Side, Trouble};
use crate::base::limits::FINISH_BATCH_DIRS;
use crate::base::path::{self, RelPath};
use crate::comm::Rank;
use crate::copy::finish::DirectoryRecords;
use crate::copy::root::CopyRoot;
use crate::model::entry::{Attributes, Hint, Kind, Metadata};
use crate::model::line::{LineFormat, write_plan};
use crate::model::notice::Notice;
use crate::model::tally::Tally;
use crate::sched::crew::Crew;
use crate::sched::job::Job;
use crate::store::{Dir, Store};
use crate::walk::account::{self, Account, Gathered};
use crate::walk::place::{Place, Trees};
use crate::walk::selection::Selection;
use crate::walk::{self, Skip, Visit, Visited, Visitor, WalkTask};

/// Whether entries are deleted, or only counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// They are deleted.
    Delete,
    /// They are counted.
    Count,
    /// They are counted and named: a dry run.
    Plan(LineFormat),
}

/// Index of a root, and a path below it.
type RootedPath = (u32, Vec<u8>);

/// A piece of the deletion.
#[derive(Debug, Serialize, Deserialize)]
pub enum DeleteTask {
    /// A piece of the walk.
    Walk(WalkTask),
    /// Empty directories to be removed: root and path.
    Directories(Vec<RootedPath>),
}

impl From<WalkTask> for DeleteTask {
    fn from(task: WalkTask) -> Self {
        Self::Walk(task)
    }
}

/// One rank's part of the deletion.
pub struct DeleteJob<'c> {
    roots: &'c [CopyRoot],
    selection: &'c Selection,
    mode: Mode,
    is_superuser: bool,
    account: Account,
    /// Directories met, by depth: root and path.
    met: Mutex<BTreeMap<u32, Vec<RootedPath>>>,
    /// Directories that stay, and whose attributes the deletion has changed.
    changed: DirectoryRecords,
}

impl<'c> DeleteJob<'c> {
    /// Deletes below the targets of these roots.
    pub fn new(
        roots: &'c [CopyRoot],
        selection: &'c Selection,
        mode: Mode,
        is_superuser: bool,
    ) -> Self {
        Self {
            roots,
            selection,
            mode,
            is_superuser,
            account: Account::default(),
            met: Mutex::default(),
            changed: DirectoryRecords::default(),
        }
    }

    /// What was deleted, or counted.
    pub fn tally(&self) -> Tally {
        self.account.tally()
    }

    /// The depths of the directories that wait to be removed here.
    pub fn depths(&self) -> Vec<u32> {
        let met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        met.keys().copied().collect()
    }

    /// The directories of that depth, as tasks.
    pub fn take_level(&self, depth: u32) -> Vec<DeleteTask> {
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        let level = met.remove(&depth).unwrap_or_default();
        level.chunks(FINISH_BATCH_DIRS).map(|some| DeleteTask::Directories(some.to_vec())).collect()
    }

    /// The directories whose attributes are to be set again.
    pub fn into_changed(self) -> DirectoryRecords {
        self.changed
    }

    fn target_store(&self, root: u32) -> &dyn Store {
        &*self.roots[root as usize].target
    }

    fn fail(
        &self,
        root: u32,
        below: &[u8],
        trouble: Trouble,
        hand: &mut Gathered,
        crew: &Crew<'_, Self>,
    ) {
        let shown = &self.roots[root as usize].shown_target;
        let failure = account::failure(trouble.side, shown, below, trouble.error);
        self.account.fail(failure, hand, crew);
    }

    /// Counts an entry; true where it is to be deleted, too.
    fn count(
        &self,
        root: u32,
        below: &[u8],
        kind: Kind,
        hand: &mut Gathered,
        crew: &Crew<'_, Self>,
    ) -> bool {
        if let Mode::Plan(format) = self.mode {
            let shown = path::join(&self.roots[root as usize].shown_target, below);
            write_plan(format, "delete", &shown, &mut hand.lines);
            hand.send_lines(crew, false);
        }
        hand.tally.synced.deleted.count(kind);
        self.mode == Mode::Delete
    }

    /// Before the first entry of a directory goes: the right to write there, and, where it stays, what
    /// its attributes are to be afterwards.
    fn before_change(&self, place: &Place) -> Result<(), Trouble> {
        if self.mode != Mode::Delete {
            return Ok(());
        }
        place.prepare(|| {
            let dir = place.target_dir(self.target_store(place.root())).at(Side::Target)?;
            if place.trees() == Trees::TargetBelow {
                let source = &self.roots[place.root() as usize].source;
                let kept = source.open_dir(place.path()).at(Side::Source)?;
                let metadata = kept.metadata().at(Side::Source)?;
                let xattrs = kept.xattrs(None).at(Side::Source)?;
                self.changed.add(place, &Attributes::all_of(&metadata, xattrs));
            }
            crate::copy::widen(&*dir, self.is_superuser).at(Side::Target)?;
            Ok(())
        })
    }

    fn delete_entry(
        &self,
        entry: &Visit<'_>,
        hand: &mut Gathered,
        crew: &Crew<'_, Self>,
    ) -> Result<Visited, Trouble> {
        let kind = match entry.hint {
            Hint::Directory => Kind::Directory,
            Hint::File if !self.selection.needs_metadata() => Kind::File,
            Hint::Symlink => Kind::Symlink,
            _ => {
                let metadata = entry.dir.stat(entry.name).at(Side::Target)?;
                if !self.selection.admits(&metadata) {
                    return Ok(Visited::NOTHING_MOVED);
                }
                metadata.kind
            }
        };
        if kind == Kind::Directory {
            self.before_change(entry.place)?;
            return Ok(Visited::Directory);
        }
        let below = path::join(entry.place.path().as_bytes(), entry.name.to_bytes());
        if self.count(entry.place.root(), &below, kind, hand, crew) {
            self.before_change(entry.place)?;
            if let Err(trouble) = entry.dir.remove(entry.name, kind).at(Side::Target) {
                hand.tally.synced.deleted.uncount(kind);
                return Err(trouble);
            }
        }
        Ok(Visited::NOTHING_MOVED)
    }

    fn remove_directory(
        &self,
        (root, path): &RootedPath,
        hand: &mut Gathered,
        crew: &Crew<'_, Self>,
    ) {
        let removed = self
            .parent_of(*root, path)
            .and_then(|(parent, name)| parent.remove(&name, Kind::Directory).at(Side::Target));
        match removed {
            Ok(()) => {
                self.count(*root, path, Kind::Directory, hand, crew);
            }
            // Something in it is protected, or was reported already.
            Err(trouble)
                if matches!(
                    trouble.error.cause,
                    Cause::System(libc::ENOTEMPTY | libc::EEXIST | libc::EBUSY)
                ) =>
            {
                hand.tally.synced.protected += 1;
            }
            Err(trouble) => self.fail(*root, path, trouble, hand, crew),
        }
    }

    fn parent_of(&self, root: u32, path: &[u8]) -> Result<(Arc<dyn Dir>, CString), Trouble> {
        let torn = || Op::Remove.errno(libc::EINVAL);
        let path = RelPath::checked(path).ok_or_else(torn).at(Side::Target)?;
        let (parent, name) = path.split_last().ok_or_else(torn).at(Side::Target)?;
        Ok((self.target_store(root).open_dir(&parent).at(Side::Target)?, name))
    }
}

impl Job for DeleteJob<'_> {
    type Task = DeleteTask;
    type Letter = ();
    type Notice = Notice;
    type Snapshot = Tally;
    type Hand = Gathered;

    fn hand(&self) -> Gathered {
        Gathered::default()
    }

    fn run(&self, task: DeleteTask, hand: &mut Gathered, crew: &Crew<'_, Self>) {
        match task {
            DeleteTask::Walk(task) => walk::run(self, task, hand, crew),
            DeleteTask::Directories(some) => {
                for directory in &some {
                    self.remove_directory(directory, hand, crew);
                }
            }
        }
        self.account.settle(hand);
    }

    fn discard(&self, _task: DeleteTask, hand: &mut Gathered, _crew: &Crew<'_, Self>) {
        hand.tally.given_up += 1;
        self.account.settle(hand);
    }

    fn flush(&self, hand: &mut Gathered, crew: &Crew<'_, Self>) {
        self.account.settle(hand);
        hand.send_lines(crew, true);
    }

    fn letter(&self, _from: Rank, _letter: (), _crew: &Crew<'_, Self>) {}

    fn snapshot(&self) -> Tally {
        self.tally()
    }
}

impl Visitor for DeleteJob<'_> {
    fn source(&self, root: u32) -> &dyn Store {
        &*self.roots[root as usize].source
    }

    fn target(&self, root: u32) -> Option<&dyn Store> {
        Some(self.target_store(root))
    }

    fn selection(&self) -> &Selection {
        self.selection
    }

    fn list_failed(&self, failure: Failure, hand: &mut Gathered, crew: &Crew<'_, Self>) {
        self.account.fail(failure, hand, crew);
    }

    fn enter(
        &self,
        place: &Arc<Place>,
        _metadata: &Metadata,
        hand: &mut Gathered,
        crew: &Crew<'_, Self>,
    ) -> Result<(), Skip> {
        let path = place.path().as_bytes();
        if self.mode == Mode::Delete {
            let depth = place.path().components().count() as u32;
            let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
            met.entry(depth).or_default().push((place.root(), path.to_vec()));
        } else {
            self.count(place.root(), path, Kind::Directory, hand, crew);
        }
        Ok(())
    }

    fn visit(&self, entry: &Visit<'_>, hand: &mut Gathered, crew: &Crew<'_, Self>) -> Visited {
        self.delete_entry(entry, hand, crew).unwrap_or_else(|trouble| {
            let below = path::join(entry.place.path().as_bytes(), entry.name.to_bytes());
            self.fail(entry.place.root(), &below, trouble, hand, crew);
            Visited::NOTHING_MOVED
        })
    }

    fn unreadable(
        &self,
        place: &Place,
        trouble: Trouble,
        hand: &mut Gathered,
        crew: &Crew<'_, Self>,
    ) {
        self.fail(place.root(), place.path().as_bytes(), trouble, hand, crew);
    }
}
