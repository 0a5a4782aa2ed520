//! Deletion of extraneous files, which only the target has.
//!
//! Files are deleted as the walk meets them. Directories are recorded and removed afterwards, the
//! deepest first, level by level over all ranks. An entry that a filter protects stays, and with it
//! the directories above it.

pub mod guard;
mod visit;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::copy::finish::DirectoryRecords;
use crate::copy::options::CopyOptions;
use crate::copy::prune::Pruning;
use crate::copy::root::CopyRoot;
use crate::copy::{OWNER_ALL, Plain, mode_alone, of_old_directory, widen};
use crate::walk::account::{self, Account, Gathered};
use crate::walk::dir_ref::{DirRef, Trees};
use crate::walk::hopeless::Hopeless;
use crate::walk::packed::RootedPath;
use crate::walk::selection::Selection;
use crate::walk::{self, Visit, Visited, Visitor, WalkTask};
use sched::context::TaskContext;
use sched::job::Job;
use store::{Dir, Store};
use types::entry::{Hint, Kind, Metadata};
use types::error::{At, Cause, Error, Op, Side, SideError};
use types::limits::FINISH_BATCH_DIRS;
use types::listed::change::{Action, Change, Reason};
use types::listed::line::{LineFormat, write_plan};
use types::outcome::event::Event;
use types::outcome::tally::Tally;
use types::path::{self, Name, RelPath};

/// The effect of the job on extraneous entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Entries are deleted.
    Delete,
    /// Entries are counted.
    Count,
    /// Entries are counted and listed, in a dry run.
    Plan(LineFormat),
}

/// The error by which rmdir(2) reports that a directory is not empty.
const STILL_FULL: i32 = libc::ENOTEMPTY;

fn identity_of_source(root: &CopyRoot) -> Option<(u64, u64)> {
    let metadata = root.source.open_dir(&RelPath::root()).and_then(|dir| dir.metadata()).ok()?;
    Some((metadata.device, metadata.inode))
}

/// A directory that the walk has met.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Met {
    directory: RootedPath,
    /// The mode of the directory before this job changed it.
    mode: u32,
    /// True if the source has the directory, too, but without content.
    is_pruned: bool,
}

/// A task of the deletion.
#[derive(Debug, Serialize, Deserialize)]
pub enum DeleteTask {
    /// A task of the walk.
    Walk(WalkTask),
    /// Directories to be removed if they are empty.
    Directories(Vec<Met>),
}

impl From<WalkTask> for DeleteTask {
    fn from(task: WalkTask) -> Self {
        Self::Walk(task)
    }
}

/// The part of one rank in the deletion.
pub struct DeleteJob<'c> {
    roots: &'c [CopyRoot],
    selection: &'c Selection,
    mode: Mode,
    options: &'c CopyOptions,
    account: Account,
    hopeless: Hopeless,
    /// The directories met, by depth.
    met: Mutex<BTreeMap<u32, Vec<Met>>>,
    /// The original modes of directories whose mode was widened to list them, until the walk meets
    /// them.
    widened_from: Mutex<HashMap<RootedPath, u32>>,
    /// The directories in which something stays; once all ranks have exchanged theirs, also all
    /// those above.
    kept: Mutex<HashSet<RootedPath>>,
    /// The device and inode numbers of the sources, which are never deleted, whichever way the walk
    /// reaches them.
    sources: HashSet<(u64, u64)>,
    /// Directories without content, where those count as extraneous.
    pruning: Option<&'c Pruning>,
    /// The directories that stay and whose attributes the deletion has changed.
    changed: DirectoryRecords,
}

impl<'c> DeleteJob<'c> {
    /// Creates the job for the targets of these roots.
    pub fn new(
        roots: &'c [CopyRoot],
        selection: &'c Selection,
        mode: Mode,
        options: &'c CopyOptions,
    ) -> Self {
        Self {
            roots,
            selection,
            mode,
            options,
            account: Account::recording(options.record.filter(|_| mode != Mode::Count)),
            hopeless: Hopeless::default(),
            met: Mutex::default(),
            widened_from: Mutex::default(),
            kept: Mutex::default(),
            sources: roots.iter().filter_map(identity_of_source).collect(),
            pruning: None,
            changed: DirectoryRecords::default(),
        }
    }

    /// Adds the directories of the target that have no content in the source, to be removed if they
    /// are empty then. Every rank must know all directories with content.
    #[must_use]
    pub fn pruned_by(mut self, pruning: Option<&'c Pruning>) -> Self {
        let met = self.met.get_mut().unwrap_or_else(PoisonError::into_inner);
        for directory in pruning.iter().flat_map(|pruning| pruning.empty_in_target()) {
            let depth = directory.1.split(|byte| *byte == b'/').count() as u32;
            // The attributes of one that stays were recorded when it was met.
            let pruned = Met { directory, mode: OWNER_ALL, is_pruned: true };
            met.entry(depth).or_default().push(pruned);
        }
        self.pruning = pruning;
        self
    }

    /// Returns the counts of what was deleted, or would be.
    pub fn tally(&self) -> Tally {
        self.account.tally()
    }

    /// Returns the depths of the directories that this rank has to remove.
    pub fn depths(&self) -> Vec<u32> {
        let met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        met.keys().copied().collect()
    }

    /// Returns the directories in which something stays, as far as this rank knows.
    pub fn kept(&self) -> Vec<RootedPath> {
        self.lock_kept().iter().cloned().collect()
    }

    /// Adds the directories in which something stays on any rank, and all directories above them.
    pub fn keep(&self, of_all_ranks: Vec<RootedPath>) {
        let mut kept = self.lock_kept();
        for (root, path) in of_all_ranks {
            let borders = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
            kept.extend(borders.map(|(end, _)| (root, path[..end].to_vec())));
            kept.insert((root, path));
        }
    }

    fn lock_kept(&self) -> MutexGuard<'_, HashSet<RootedPath>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the directories of one depth, as tasks.
    pub fn take_level(&self, depth: u32) -> Vec<DeleteTask> {
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        let level = met.remove(&depth).unwrap_or_default();
        level.chunks(FINISH_BATCH_DIRS).map(|some| DeleteTask::Directories(some.to_vec())).collect()
    }

    /// Returns the directories whose attributes must be restored.
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
        side_error: SideError,
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) {
        let CopyRoot { target, shown_target: shown, .. } = &self.roots[root as usize];
        let failure = account::failure(side_error.side, shown, below, side_error.error);
        match failure.side {
            Side::Source => self.account.fail(failure, worker, context),
            Side::Target => {
                self.hopeless.report(&**target, failure, &self.account, worker, context);
            }
        }
    }

    /// Counts an entry. Returns whether it is also to be deleted.
    fn count(
        &self,
        root: u32,
        below: &[u8],
        kind: Kind,
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) -> bool {
        if let Mode::Plan(format) = self.mode {
            let shown = path::join(&self.roots[root as usize].shown_target, below);
            write_plan(format, "delete", &shown, &mut worker.lines);
            worker.send_lines(context, false);
        }
        worker.tally.synced.deleted.count(kind);
        if matches!(self.mode, Mode::Plan(_)) {
            self.record((root, below), kind, worker, context);
        }
        self.mode == Mode::Delete
    }

    /// Records an entry that was deleted, or would be.
    fn record(
        &self,
        (root, below): (u32, &[u8]),
        kind: Kind,
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) {
        let root = &self.roots[root as usize].shown_target;
        let (action, reason) = (Action::Delete, Reason::default());
        self.account.record(&Change { action, kind, reason, root, below }, worker, context);
    }

    /// Prepares a directory before its first entry is deleted: gains write permission, and records
    /// the attributes to restore if the directory stays.
    fn before_change(&self, dir_ref: &DirRef) -> Result<(), SideError> {
        if self.mode != Mode::Delete {
            return Ok(());
        }
        dir_ref.prepare(|| {
            let dir = dir_ref.target_dir(self.target_store(dir_ref.root())).at(Side::Target)?;
            let widen = || widen(&*dir, self.options.user.is_superuser).at(Side::Target);
            if dir_ref.trees() == Trees::TargetBelow {
                let source = &self.roots[dir_ref.root() as usize].source;
                let kept = match source.open_dir(dir_ref.path()) {
                    // The source directory has vanished meanwhile, so there are no attributes to
                    // restore.
                    Err(error) if error.cause.is_vanished() => return widen().map(drop),
                    opened => opened.at(Side::Source)?,
                };
                let metadata = kept.metadata().at(Side::Source)?;
                let xattrs = kept.xattrs(None).at(Side::Source)?;
                let (from, plain) = (widen()?, Plain::of_directory(self.options, &metadata, &*dir));
                let plain = plain.at(Side::Target)?;
                let end = of_old_directory(self.options, &metadata, xattrs, from, plain);
                if let Some(attributes) = end {
                    self.changed.add(dir_ref, &attributes);
                }
            } else {
                widen()?;
            }
            Ok(())
        })
    }

    /// Deletes one extraneous entry, unless the filters protect it or the source has it by now.
    fn delete_entry(
        &self,
        entry: &Visit<'_>,
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) -> Result<Visited, SideError> {
        let kind = match entry.hint {
            Hint::Directory => Kind::Directory,
            Hint::File | Hint::Object(_) if !self.selection.needs_metadata() => Kind::File,
            Hint::Symlink => Kind::Symlink,
            _ => {
                let metadata = entry.dir.stat(entry.name).at(Side::Target)?;
                if metadata.kind != Kind::Directory && !self.selection.admits(&metadata) {
                    self.left_out(entry.dir_ref);
                    return Ok(Visited::NOTHING_MOVED);
                }
                metadata.kind
            }
        };
        // The source is asked once more directly before the deletion, since its listing may be
        // minutes old and the entry may have been moved there meanwhile.
        if self.mode != Mode::Count && self.source_has(entry.dir_ref, entry.name, kind)? {
            // The source has the entry by now, so it stays.
            worker.tally.synced.reappeared += 1;
            self.left_out(entry.dir_ref);
            return Ok(Visited::NOTHING_MOVED);
        }
        if kind == Kind::Directory {
            return Ok(Visited::Directory);
        }
        let below = path::join(entry.dir_ref.path().as_bytes(), entry.name.to_bytes());
        if self.count(entry.dir_ref.root(), &below, kind, worker, context) {
            self.before_change(entry.dir_ref)?;
            if let Err(side_error) = entry.dir.remove(entry.name, kind).at(Side::Target) {
                worker.tally.synced.deleted.uncount(kind);
                return if is_gone(&side_error) {
                    Ok(Visited::NOTHING_MOVED)
                } else {
                    Err(side_error)
                };
            }
            self.record((entry.dir_ref.root(), &below), kind, worker, context);
        }
        Ok(Visited::NOTHING_MOVED)
    }

    /// Returns whether the source has the name by now, and no filter leaves it out, which may be
    /// one for directories alone. An extraneous directory stays only for a directory of the source:
    /// any other type by that name finds the target's directory still in its way.
    fn source_has(&self, dir_ref: &DirRef, name: &Name, kind: Kind) -> Result<bool, SideError> {
        let source = &*self.roots[dir_ref.root() as usize].source;
        let found = dir_ref.source_dir(source).and_then(|dir| dir.stat(name));
        let below = path::join(dir_ref.path().as_bytes(), name.to_bytes());
        match found {
            Ok(found) if !self.selection.admits_below(&below, found.kind == Kind::Directory) => {
                Ok(false)
            }
            // An empty directory that is left out does not keep its name.
            Ok(found) if found.kind == Kind::Directory && kind != Kind::Directory => {
                Ok(!self.pruning.is_some_and(|it| it.is_empty(dir_ref.root(), &below)))
            }
            Ok(found) => Ok(kind != Kind::Directory || found.kind == Kind::Directory),
            Err(error) if matches!(error.cause, Cause::System(libc::ENOTDIR | libc::ELOOP)) => {
                Ok(false)
            }
            Err(error) => {
                let side_error = SideError { side: Side::Source, error };
                let missing = account::missing(side_error, false, source, self.selection);
                if missing.error.cause.is_vanished() { Ok(false) } else { Err(missing) }
            }
        }
    }

    /// Removes a directory when everything below it was handled, or restores its mode if it stays.
    fn remove_directory(&self, met: &Met, worker: &mut Gathered, context: &TaskContext<'_, Self>) {
        let (root, path) = &met.directory;
        if met.is_pruned && self.is_missing(*root, path) {
            return;
        }
        if self.lock_kept().contains(&met.directory) || self.is_protected(met) {
            worker.tally.synced.non_empty_directories += 1;
        } else if self.mode != Mode::Delete {
            self.count(*root, path, Kind::Directory, worker, context);
        } else {
            match self.remove_empty(*root, path, met.is_pruned) {
                Err(side_error) if is_gone(&side_error) => return,
                Ok(()) => {
                    worker.tally.synced.deleted.count(Kind::Directory);
                    return self.record((*root, path), Kind::Directory, worker, context);
                }
                // The entries in it were reported already.
                Err(SideError {
                    error: Error { cause: Cause::System(STILL_FULL), .. }, ..
                }) => {
                    worker.tally.synced.non_empty_directories += 1;
                }
                Err(side_error) => self.fail(*root, path, side_error, worker, context),
            }
        }
        self.give_back_mode(met, worker, context);
    }

    /// True if the target has no such directory. The removal of objects does not tell that.
    fn is_missing(&self, root: u32, path: &[u8]) -> bool {
        let Some((parent, name)) = RelPath::checked(path).and_then(|path| path.split_last()) else {
            return false;
        };
        let found = self.target_store(root).open_dir(&parent).and_then(|dir| dir.stat(&name));
        match found {
            Ok(found) => found.kind != Kind::Directory,
            Err(error) => error.cause.is_vanished(),
        }
    }

    /// True if filters protect an entry in a directory that is left out, or it must stay itself.
    fn is_protected(&self, met: &Met) -> bool {
        let Some(pruning) = self.pruning.filter(|_| met.is_pruned) else { return false };
        let (root, path) = &met.directory;
        let must_stay = || {
            let path = RelPath::checked(path)?;
            let dir = self.target_store(*root).open_dir(&path).ok()?;
            self.must_stay(*root, &*dir, &dir.metadata().ok()?).ok()
        };
        pruning.protects(*root, path) || must_stay() == Some(true)
    }

    /// Restores the mode of a directory that stays, after everything below it was handled.
    fn give_back_mode(&self, met: &Met, worker: &mut Gathered, context: &TaskContext<'_, Self>) {
        let (root, path) = &met.directory;
        let was_wide = met.mode & OWNER_ALL == OWNER_ALL;
        if was_wide || self.options.user.is_superuser || matches!(self.mode, Mode::Plan(_)) {
            return;
        }
        let path = RelPath::checked(path).ok_or(Op::Open.errno(libc::EINVAL));
        let given_back = path.and_then(|path| {
            let dir = self.target_store(*root).open_dir(&path)?;
            if dir.metadata()?.mode != met.mode {
                dir.set_attributes(&mode_alone(met.mode))?;
            }
            Ok(())
        });
        if let Err(side_error) = given_back.at(Side::Target)
            && !is_gone(&side_error)
        {
            self.fail(*root, &met.directory.1, side_error, worker, context);
        }
    }

    /// Removes a directory by rmdir(2), which fails if something has appeared in it meanwhile.
    fn remove_empty(&self, root: u32, path: &[u8], is_pruned: bool) -> Result<(), SideError> {
        let torn = || Op::Remove.errno(libc::EINVAL);
        let path = RelPath::checked(path).ok_or_else(torn).at(Side::Target)?;
        let (parent, name) = path.split_last().ok_or_else(torn).at(Side::Target)?;
        let dir_ref = DirRef::at(root, parent);
        // A directory that the source has too by now stays, and so does one of which the source
        // cannot be asked.
        if !is_pruned && self.source_has(&dir_ref, &name, Kind::Directory)? {
            return Err(Op::Remove.errno(STILL_FULL)).at(Side::Target);
        }
        let in_source = dir_ref.source_dir(&*self.roots[root as usize].source);
        dir_ref.set_trees(if in_source.is_ok() { Trees::TargetBelow } else { Trees::TargetOnly });
        self.before_change(&dir_ref)?;
        let dir = dir_ref.target_dir(self.target_store(root)).at(Side::Target)?;
        dir.remove(&name, Kind::Directory).at(Side::Target)
    }

    /// Returns whether a directory must stay: mount points do, and so does the source, however it
    /// is reached from here.
    fn must_stay(&self, root: u32, dir: &dyn Dir, metadata: &Metadata) -> Result<bool, Error> {
        let of_root = self.target_store(root).open_dir(&RelPath::root())?.mount()?;
        if dir.mount()? != of_root {
            return Ok(true);
        }
        if self.sources.contains(&(metadata.device, metadata.inode)) {
            return Err(Op::Remove.failed(Cause::SourceInside));
        }
        Ok(false)
    }

    fn lock_widened(&self) -> MutexGuard<'_, HashMap<RootedPath, u32>> {
        self.widened_from.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job for DeleteJob<'_> {
    type Task = DeleteTask;
    type Message = ();
    type Event = Event;
    type Snapshot = Tally;
    type Worker = Gathered;

    fn worker(&self) -> Gathered {
        Gathered::default()
    }

    fn run(&self, task: DeleteTask, worker: &mut Gathered, context: &TaskContext<'_, Self>) {
        match task {
            DeleteTask::Walk(task) => walk::run(self, task, worker, context),
            DeleteTask::Directories(some) => {
                for directory in &some {
                    self.remove_directory(directory, worker, context);
                }
            }
        }
        self.account.settle(worker);
    }

    fn discard(&self, task: DeleteTask, worker: &mut Gathered, context: &TaskContext<'_, Self>) {
        if let DeleteTask::Directories(some) = task {
            // Modes are restored in an interrupted job too.
            for met in &some {
                self.give_back_mode(met, worker, context);
            }
        }
        self.account.cancel(worker);
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

    fn finds(task: &DeleteTask) -> bool {
        matches!(task, DeleteTask::Walk(_))
    }
}

/// Returns whether an entry to be deleted no longer exists: it was deleted with a directory above
/// it, or by someone else.
fn is_gone(side_error: &SideError) -> bool {
    side_error.side == Side::Target && side_error.error.cause.is_vanished()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::copy::options::{HardLinks, JobFacts, Verify};
    use host::user::User;
    use posix::PosixStore;
    use store::faulty::{Faults, FaultyStore};
    use store::memory::MemoryStore;
    use store::opening::{OpenAs, Symlinks};

    fn options() -> CopyOptions {
        CopyOptions {
            symlinks: Symlinks::Keep,
            hard_links: HardLinks::Separate,
            keep: types::attributes::keep::Keep::default(),
            chunk_bytes: 1 << 20,
            buffer_bytes: 1 << 10,
            transfer: types::content::transfer::Transfer::default(),
            mkpath: false,
            dry_run: false,
            plan_as: None,
            sync: None,
            going_on: None,
            record: None,
            verify: Verify::Nothing,
            remove_source: false,
            prune_empty_dirs: false,
            job: JobFacts::here(),
            user: User::own(),
        }
    }

    /// The source may have created it since, although it cannot say so.
    #[test]
    fn a_directory_of_which_the_source_cannot_be_asked_stays() {
        let target = tempfile::tempdir().expect("a directory");
        let there = target.path().join("d/x");
        let root = target.path().to_str().expect("is text").as_bytes();
        for is_answered in [false, true] {
            std::fs::create_dir_all(&there).expect("can be made");
            let none = Faults::new(1);
            let faults = if is_answered { none } else { none.fail(Op::Open, libc::EIO, 1) };
            let source = FaultyStore::new(MemoryStore::new(), Arc::new(faults));
            let store = PosixStore::open(root, OpenAs::default()).expect("is there");
            let roots = [CopyRoot::of(Box::new(source), Box::new(store))];
            let (all, options) = (Selection::all(), options());
            let job = DeleteJob::new(&roots, &all, Mode::Delete, &options);
            let failed =
                job.remove_empty(0, b"d/x", false).err().map(|it| (it.side, it.error.cause));
            let expected = (Side::Source, Cause::System(libc::EIO));
            assert_eq!(failed, (!is_answered).then_some(expected));
            assert_eq!(there.exists(), !is_answered);
        }
    }
}
