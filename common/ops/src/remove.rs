//! Removal of whole trees.
//!
//! Files are removed as the walk visits them, through the handle of the directory that was listed;
//! directories are recorded and removed afterwards, the deepest first, level by level over all
//! ranks. Objects wait until there are enough for a full request. Entries that filters leave out,
//! mount points and failed entries stay, and with them the directories above.
//!
//! No entry is inspected unless a filter needs it, because the listing reports its kind. An entry
//! that was replaced after it was listed therefore stays only if its kind has changed: unlink(2)
//! removes no directory, and rmdir(2) nothing else.

pub(crate) mod copied;
mod directories;
pub mod root;
mod waiting;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::walk::account::{self, Account, Gathered};
use crate::walk::dir_ref::DirRef;
use crate::walk::hopeless::Hopeless;
use crate::walk::marked_dirs::MarkedDirs;
use crate::walk::packed::{Block, Packed};
use crate::walk::selection::Selection;
use crate::walk::{self, Skip, Visit, Visited, Visitor, WalkTask};
use copied::Copied;
use lists::named::Named;
use root::RemoveRoot;
use sched::context::TaskContext;
use sched::job::Job;
use store::{Dir, Store};
use types::entry::{Hint, Kind, Metadata, Time};
use types::error::{At, Cause, Error, Op, Result, Side, SideError};
use types::listed::change::{Action, Change, Reason, RecordFormat};
use types::listed::line::{LineFormat, write_plan};
use types::outcome::event::Event;
use types::outcome::tally::Tally;
use types::path::{self, Name};
use types::select::regex::Matcher;
use types::service::ServiceFault;
use waiting::{QueuedObject, Waiting};

/// Options of a removal; those of rank 0 apply to all ranks.
#[derive(Debug, Clone, Copy)]
pub struct RemoveOptions {
    /// Format of the lines that list the entries that are removed, or would be.
    pub told_as: Option<LineFormat>,
    /// Format of the record of what is removed, where one is kept.
    pub record: Option<RecordFormat>,
    /// True if directories that stay get back their timestamps.
    pub traceless: bool,
    /// True for a move: entries are removed one by one as they are copied, and directories only if
    /// nothing is left in them.
    pub moves: bool,
}

/// Timestamps of a directory, where they are to be restored.
pub type Stamp = Option<(Time, Time)>;

/// A task of the removal.
#[derive(Debug, Serialize, Deserialize)]
pub enum RemoveTask {
    /// A task of the walk.
    Walk(WalkTask),
    /// Directories to be removed, in this order.
    Directories(Vec<Block<Stamp>>),
    /// Objects of a root.
    Objects(u32, Vec<QueuedObject>),
    /// Entries that were copied.
    Copied(Vec<Block<Copied>>),
}

impl From<WalkTask> for RemoveTask {
    fn from(task: WalkTask) -> Self {
        Self::Walk(task)
    }
}

/// Directories of one depth that wait to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Level {
    /// Number of directories.
    pub directories: u64,
    /// Total length of their paths.
    pub path_bytes: u64,
}

/// Part of one rank in the removal.
pub struct RemoveJob<'c> {
    roots: &'c [RemoveRoot],
    selection: &'c Selection,
    matcher: &'c Matcher,
    named: Option<&'c Named>,
    options: RemoveOptions,
    account: Account,
    hopeless: Hopeless,
    met: Mutex<BTreeMap<u32, (Level, Packed<Stamp>)>>,
    retained: MarkedDirs,
    waiting: Waiting,
}

impl<'c> RemoveJob<'c> {
    /// Creates the job that removes these roots, or the named entries in them.
    pub fn new(
        roots: &'c [RemoveRoot],
        (selection, matcher): (&'c Selection, &'c Matcher),
        named: Option<&'c Named>,
        options: RemoveOptions,
    ) -> Self {
        Self {
            roots,
            selection,
            matcher,
            named,
            options,
            account: Account::recording(options.record),
            hopeless: Hopeless::default(),
            met: Mutex::default(),
            retained: MarkedDirs::default(),
            waiting: Waiting::new(roots.len()),
        }
    }

    /// Returns the counts of what was removed.
    pub fn tally(&self) -> Tally {
        self.account.tally()
    }

    /// Returns the directories that wait on this rank, by depth.
    pub fn levels(&self) -> Vec<(u32, Level)> {
        self.lock_met().iter().map(|(depth, (level, _))| (*depth, *level)).collect()
    }

    /// Takes out the directories of a depth.
    pub fn take_level(&self, depth: u32) -> Vec<Block<Stamp>> {
        self.lock_met().remove(&depth).map(|(_, met)| met.into_blocks()).unwrap_or_default()
    }

    /// Takes out the directories in which something stays, as hashes that other ranks do not have
    /// yet.
    pub fn take_kept(&self) -> Vec<u64> {
        self.retained.take_news()
    }

    /// Adds the directories in which something stays on other ranks.
    pub fn keep(&self, of_others: &[u64]) {
        self.retained.extend(of_others);
    }

    /// True if a root is to be removed with all its contents, as far as all ranks know.
    pub fn removes_all_of(&self, root: u32) -> bool {
        self.named.is_none() && !self.retained.has(root, b"")
    }

    /// Takes out the objects that did not fill a request.
    pub fn take_waiting(&self) -> Vec<RemoveTask> {
        let left = self.waiting.take().into_iter();
        left.map(|(root, objects)| RemoveTask::Objects(root, objects)).collect()
    }

    fn lock_met(&self) -> MutexGuard<'_, BTreeMap<u32, (Level, Packed<Stamp>)>> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a directory that is to be removed when its contents are.
    fn add_directory(&self, dir_ref: &DirRef, stamp: Stamp) {
        let below = dir_ref.path().as_bytes();
        let mut met = self.lock_met();
        let (level, packed) = met.entry(dir_ref.path().depth() as u32).or_default();
        level.directories += 1;
        level.path_bytes += below.len() as u64;
        packed.add(dir_ref.root(), below, &stamp);
    }

    fn root(&self, root: u32) -> &RemoveRoot {
        &self.roots[root as usize]
    }

    /// True if an entry is selected by its path and by its known metadata.
    fn means(&self, root: u32, below: &[u8], kind: Kind, known: Option<&Metadata>) -> bool {
        let is_matched = || {
            self.matcher.is_trivial()
                || self.matcher.means(&path::join(&self.root(root).whole, below))
        };
        self.selection.means(below, kind == Kind::Directory)
            && known.is_none_or(|metadata| self.selection.may_delete(metadata))
            && is_matched()
    }

    /// Checks that a directory is on the same mount as its root; otherwise nothing is removed from
    /// it.
    fn check_mount(&self, dir_ref: &DirRef, dir: &dyn Dir) -> std::result::Result<(), SideError> {
        dir_ref.prepare(|| {
            let is_same = dir.mount().at(Side::Source)? == self.root(dir_ref.root()).mount;
            let error = Op::Remove.failed(Cause::MountPoint);
            if is_same { Ok(()) } else { Err(SideError { side: Side::Source, error }) }
        })
    }

    /// Reports a failure, after which the entry stays. An entry that is gone already has not
    /// failed.
    fn fail<J: Job<Event = Event>>(
        &self,
        (root, below): (u32, &[u8]),
        error: Error,
        worker: &mut Gathered,
        context: &TaskContext<'_, J>,
    ) {
        if is_gone(&error) {
            return;
        }
        self.retained.add(root, path::parent(below).unwrap_or_default());
        if error.cause == Cause::Stopped {
            worker.tally.cancelled_tasks += 1;
            return;
        }
        let RemoveRoot { store, shown, .. } = self.root(root);
        let failure = account::failure(Side::Source, shown, below, error);
        self.hopeless.report(&**store, failure, &self.account, worker, context);
    }

    /// Counts an entry that was removed, or would be.
    fn removed<J: Job<Event = Event>>(
        &self,
        (root, below): (u32, &[u8]),
        kind: Kind,
        worker: &mut Gathered,
        context: &TaskContext<'_, J>,
    ) {
        let (counts, action) = if self.options.moves {
            (&mut worker.tally.sources_removed, Action::RemoveSource)
        } else {
            (&mut worker.tally.synced.deleted, Action::Remove)
        };
        counts.count(kind);
        if let Some(format) = self.options.told_as {
            let shown = path::join(&self.root(root).shown, below);
            write_plan(format, "delete", &shown, &mut worker.lines);
            worker.send_lines(context, false);
        }
        let (reason, root) = (Reason::default(), &self.root(root).shown);
        self.account.record(&Change { action, kind, reason, root, below }, worker, context);
    }

    /// Returns the kind and metadata that the listing reports, and inspects the entry only if a
    /// filter needs more.
    fn look(&self, entry: &Visit<'_>) -> Result<(Kind, Option<Metadata>)> {
        let known = match entry.hint {
            // The time of a listing is that of the upload, not the one that is stored with it.
            Hint::Object(_) if !self.selection.needs_times() => {
                entry.dir.peek(entry.name, entry.hint)?
            }
            Hint::File | Hint::Recorded(_) if !self.selection.needs_metadata() => {
                return Ok((Kind::File, None));
            }
            Hint::Symlink if !self.selection.needs_metadata() => return Ok((Kind::Symlink, None)),
            // The exact kind of a special file does not matter.
            Hint::Other if !self.selection.needs_metadata() => return Ok((Kind::Fifo, None)),
            Hint::Directory => return Ok((Kind::Directory, None)),
            _ => entry.dir.stat(entry.name)?,
        };
        Ok((known.kind, Some(known)))
    }

    fn remove_entry(
        &self,
        entry: &Visit<'_>,
        below: &[u8],
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) -> Result<Visited> {
        let (dir_ref, root) = (entry.dir_ref, entry.dir_ref.root());
        let (kind, known) = self.look(entry)?;
        if kind == Kind::Directory {
            // A single entry was not a directory when the job was planned.
            let is_single = self.root(root).single.is_some();
            return if is_single {
                Err(Op::Remove.failed(Cause::Changed))
            } else {
                Ok(Visited::Directory)
            };
        }
        match &known {
            Some(metadata) => worker.tally.meet(metadata),
            None => worker.tally.found.count(kind),
        }
        if !self.means(root, below, kind, known.as_ref()) {
            self.left_out(dir_ref);
        } else if let Some(keys) = entry.dir.keys_of(Some((entry.name, kind)))? {
            self.queue_objects((root, below), kind, keys, worker, context);
        } else {
            self.check_mount(dir_ref, &**entry.dir).map_err(|side_error| side_error.error)?;
            self.unlink((&**entry.dir, entry.name), (root, below), kind, worker, context)?;
        }
        Ok(Visited::NOTHING_MOVED)
    }

    /// Removes an entry of a directory that is open.
    fn unlink(
        &self,
        (dir, name): (&dyn Dir, &Name),
        at: (u32, &[u8]),
        kind: Kind,
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) -> Result<()> {
        dir.remove(name, kind).map_err(unless_replaced)?;
        self.removed(at, kind, worker, context);
        Ok(())
    }

    /// Adds the objects of an entry to those that wait for a full request.
    fn queue_objects(
        &self,
        (root, below): (u32, &[u8]),
        kind: Kind,
        keys: Vec<String>,
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) {
        let objects = QueuedObject::all_of(below, kind, keys);
        if let Some(full) = self.waiting.add(root, objects) {
            self.remove_objects(root, &full, worker, context);
        }
    }

    fn remove_objects(
        &self,
        root: u32,
        objects: &[QueuedObject],
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) {
        let keys: Vec<String> = objects.iter().map(|object| object.key.clone()).collect();
        let mut failures: BTreeMap<usize, Error> = match self.source(root).remove_keys(&keys) {
            Ok(failures) => failures.into_iter().collect(),
            Err(error) => (0..keys.len()).map(|number| (number, error.clone())).collect(),
        };
        for (number, object) in objects.iter().enumerate() {
            let at = (root, &object.below[..]);
            match failures.remove(&number) {
                Some(error) => self.fail(at, error, worker, context),
                None if object.is_last => self.removed(at, object.kind, worker, context),
                None => {}
            }
        }
    }
}

/// Converts errors that show that an entry is not of the kind that was listed, or that it is a
/// mount point.
fn unless_replaced(error: Error) -> Error {
    match (error.op, error.cause) {
        (_, Cause::System(libc::ENOTDIR | libc::EISDIR | libc::ELOOP)) => {
            Error { cause: Cause::Changed, ..error }
        }
        // The error is from rmdir(2) of a mount point, or from unlink(2) of a file that is one.
        (Op::Remove, Cause::System(libc::EBUSY)) => Error { cause: Cause::MountPoint, ..error },
        _ => error,
    }
}

/// True if another process has removed the entry. A directory of objects that was listed but has no
/// keys counts as well; if it has keys with names that lead elsewhere, the final check of the root
/// reports them ([`RemoveRoot::check_gone`]).
fn is_gone(error: &Error) -> bool {
    error.cause.is_vanished() || error.cause == Cause::Service(ServiceFault::NoKeys)
}

impl Job for RemoveJob<'_> {
    type Task = RemoveTask;
    type Message = ();
    type Event = Event;
    type Snapshot = Tally;
    type Worker = Gathered;

    fn worker(&self) -> Gathered {
        Gathered::default()
    }

    fn run(&self, task: RemoveTask, worker: &mut Gathered, context: &TaskContext<'_, Self>) {
        match task {
            RemoveTask::Walk(task) => walk::run(self, task, worker, context),
            RemoveTask::Directories(blocks) => self.remove_directories(&blocks, worker, context),
            RemoveTask::Objects(root, objects) => {
                self.remove_objects(root, &objects, worker, context);
            }
            RemoveTask::Copied(blocks) => self.remove_copied(&blocks, worker, context),
        }
        self.account.settle(worker);
    }

    fn discard(&self, _task: RemoveTask, worker: &mut Gathered, _context: &TaskContext<'_, Self>) {
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

    fn finds(task: &RemoveTask) -> bool {
        matches!(task, RemoveTask::Walk(_))
    }
}

impl Visitor for RemoveJob<'_> {
    fn account(&self) -> &Account {
        &self.account
    }

    fn source(&self, root: u32) -> &dyn Store {
        &*self.root(root).store
    }

    fn selection(&self) -> &Selection {
        self.selection
    }

    fn named(&self) -> Option<&Named> {
        self.named
    }

    fn enter(
        &self,
        dir_ref: &Arc<DirRef>,
        metadata: &Metadata,
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) -> std::result::Result<(), Skip> {
        let (root, below) = (dir_ref.root(), dir_ref.path().as_bytes());
        let store = self.source(root);
        let dir = dir_ref.source_dir(store).at(Side::Source);
        let checked = dir.and_then(|dir| self.check_mount(dir_ref, &*dir));
        let is_left_out = self.selection.is_one_file_system()
            && (checked.is_err() || self.selection.stops_at(metadata, store.device()));
        if is_left_out || checked.is_err() {
            self.retained.add(root, below);
            if let Err(side_error) = checked
                && !is_left_out
            {
                self.fail((root, below), side_error.error, worker, context);
            }
            return Err(Skip);
        }
        worker.tally.meet(metadata);
        if !self.means(root, below, Kind::Directory, Some(metadata)) {
            self.retained.add(root, below);
        }
        let times = metadata.times().filter(|_| self.options.traceless);
        self.add_directory(dir_ref, times.map(|times| (times.atime, times.mtime)));
        Ok(())
    }

    fn left_out(&self, dir_ref: &DirRef) {
        self.retained.add(dir_ref.root(), dir_ref.path().as_bytes());
    }

    fn visit(
        &self,
        entry: &Visit<'_>,
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) -> Visited {
        let below = path::join(entry.dir_ref.path().as_bytes(), entry.name.to_bytes());
        self.remove_entry(entry, &below, worker, context).unwrap_or_else(|error| {
            self.fail((entry.dir_ref.root(), &below), error, worker, context);
            Visited::NOTHING_MOVED
        })
    }

    /// Reports a key that cannot be named and so cannot be removed; its directory stays, too.
    fn invalid_key(
        &self,
        dir_ref: &DirRef,
        key: &[u8],
        side_error: SideError,
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) {
        // The object of a directory itself is removed with the directory.
        if key.is_empty() {
            return;
        }
        let below = path::join(dir_ref.path().as_bytes(), key);
        self.left_out(dir_ref);
        worker.tally.meet_invalid_key(key);
        self.fail((dir_ref.root(), &below), side_error.error, worker, context);
    }

    fn root_may_be_empty(&self) -> bool {
        true
    }

    fn unreadable(
        &self,
        dir_ref: &DirRef,
        side_error: SideError,
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) {
        if is_gone(&side_error.error) {
            return;
        }
        self.left_out(dir_ref);
        worker.tally.unread_directories += 1;
        let error = unless_replaced(side_error.error);
        self.fail((dir_ref.root(), dir_ref.path().as_bytes()), error, worker, context);
    }
}
