//! Removing whole trees.
//!
//! Files go as the walk meets them, by the handle of the directory that was listed; directories are remembered and
//! removed afterwards, the deepest first, level by level over all ranks. Objects wait until a request is full of them.
//! What filters leave out, what is mounted and what has failed stays, and with it the directories it is in.
//!
//! Nothing is asked of an entry but what a filter needs: the listing says what it is. So an entry that was replaced after
//! it was listed stays only where its kind has changed: unlink(2) removes no directory, and rmdir(2) nothing else.

mod directories;
mod doomed;
mod kept;
pub mod root;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::copy::Hopeless;
use crate::walk::account::{self, Account, Gathered};
use crate::walk::packed::{Block, Packed};
use crate::walk::place::Place;
use crate::walk::selection::Selection;
use crate::walk::{self, Skip, Visit, Visited, Visitor, WalkTask};
use comm::Rank;
use doomed::{Doomed, Waiting};
use kept::{Kept, parent_of};
use lists::named::Named;
use root::RemoveRoot;
use sched::crew::Crew;
use sched::job::Job;
use store::{Dir, Store};
use types::entry::{Hint, Kind, Metadata, Time};
use types::error::{At, Cause, Error, Failure, Op, Result, Side, Trouble};
use types::listed::line::{LineFormat, write_plan};
use types::outcome::notice::Notice;
use types::outcome::tally::Tally;
use types::path;
use types::select::regex::Matcher;
use types::service::ServiceFault;

/// How trees are removed; rank 0's options hold for all ranks.
#[derive(Debug, Clone, Copy)]
pub struct RemoveOptions {
    /// Nothing is removed.
    pub dry_run: bool,
    /// What is removed, or would be, is told in lines of that form.
    pub told_as: Option<LineFormat>,
    /// Directories that stay get back the times that they had.
    pub traceless: bool,
}

/// A directory's times, where they are to be restored.
pub type Stamp = Option<(Time, Time)>;

/// A piece of the removal.
#[derive(Debug, Serialize, Deserialize)]
pub enum RemoveTask {
    /// A piece of the walk.
    Walk(WalkTask),
    /// Directories to be removed, in this order.
    Directories(Vec<Block<Stamp>>),
    /// Objects of a root.
    Objects(u32, Vec<Doomed>),
}

impl From<WalkTask> for RemoveTask {
    fn from(task: WalkTask) -> Self {
        Self::Walk(task)
    }
}

/// Directories of one depth that wait to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Level {
    /// How many there are.
    pub directories: u64,
    /// Bytes of their paths.
    pub path_bytes: u64,
}

/// One rank's part of the removal.
pub struct RemoveJob<'c> {
    roots: &'c [RemoveRoot],
    selection: &'c Selection,
    matcher: &'c Matcher,
    named: Option<&'c Named>,
    options: RemoveOptions,
    account: Account,
    hopeless: Hopeless,
    met: Mutex<BTreeMap<u32, (Level, Packed<Stamp>)>>,
    kept: Kept,
    waiting: Waiting,
}

impl<'c> RemoveJob<'c> {
    /// Removes these, or what is named in them.
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
            account: Account::default(),
            hopeless: Hopeless::default(),
            met: Mutex::default(),
            kept: Kept::default(),
            waiting: Waiting::new(roots.len()),
        }
    }

    /// What was removed.
    pub fn tally(&self) -> Tally {
        self.account.tally()
    }

    /// The directories that wait here, by depth.
    pub fn levels(&self) -> Vec<(u32, Level)> {
        self.lock_met().iter().map(|(depth, (level, _))| (*depth, *level)).collect()
    }

    /// Takes out those of a depth.
    pub fn take_level(&self, depth: u32) -> Vec<Block<Stamp>> {
        self.lock_met().remove(&depth).map(|(_, met)| met.into_blocks()).unwrap_or_default()
    }

    /// Directories in which something stays that other ranks do not know of, as hashes.
    pub fn take_kept(&self) -> Vec<u64> {
        self.kept.take_news()
    }

    /// Takes over those that other ranks know.
    pub fn keep(&self, of_others: &[u64]) {
        self.kept.extend(of_others);
    }

    /// Whether a root is to be gone with all that was in it, as far as all ranks know.
    pub fn removes_all_of(&self, root: u32) -> bool {
        !self.options.dry_run && self.named.is_none() && !self.kept.has(root, b"")
    }

    /// Takes out the objects for which no request was full.
    pub fn take_waiting(&self) -> Vec<RemoveTask> {
        let left = self.waiting.take().into_iter();
        left.map(|(root, objects)| RemoveTask::Objects(root, objects)).collect()
    }

    fn lock_met(&self) -> MutexGuard<'_, BTreeMap<u32, (Level, Packed<Stamp>)>> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn root(&self, root: u32) -> &RemoveRoot {
        &self.roots[root as usize]
    }

    /// Whether an entry is meant by its path, and by what is known of it.
    fn means(&self, root: u32, below: &[u8], kind: Kind, known: Option<&Metadata>) -> bool {
        let is_matched = || {
            self.matcher.is_trivial()
                || self.matcher.means(&path::join(&self.root(root).whole, below))
        };
        self.selection.means(below, kind == Kind::Directory)
            && known.is_none_or(|metadata| self.selection.dooms(metadata))
            && is_matched()
    }

    /// Nothing is removed from a directory that is on another mount than its root.
    fn check_mount(&self, place: &Place, dir: &dyn Dir) -> std::result::Result<(), Trouble> {
        place.prepare(|| {
            let is_same = dir.mount().at(Side::Source)? == self.root(place.root()).mount;
            let error = Op::Remove.failed(Cause::MountPoint);
            if is_same { Ok(()) } else { Err(Trouble { side: Side::Source, error }) }
        })
    }

    /// Tells of a failure, after which the entry stays. What is gone has not failed.
    fn fail(
        &self,
        (root, below): (u32, &[u8]),
        error: Error,
        hand: &mut Gathered,
        crew: &Crew<'_, Self>,
    ) {
        if is_gone(&error) {
            return;
        }
        self.kept.add(root, parent_of(below).unwrap_or_default());
        if error.cause == Cause::Stopped {
            hand.tally.cancelled_tasks += 1;
            return;
        }
        let RemoveRoot { store, shown, .. } = self.root(root);
        if self.hopeless.stop_if_past_help(&**store, &error, &mut hand.tally, crew) {
            let failure = account::failure(Side::Source, shown, below, error);
            self.account.fail(failure, hand, crew);
        }
    }

    /// Counts an entry that was removed, or would be.
    fn removed(
        &self,
        (root, below): (u32, &[u8]),
        kind: Kind,
        hand: &mut Gathered,
        crew: &Crew<'_, Self>,
    ) {
        hand.tally.synced.deleted.count(kind);
        if let Some(format) = self.options.told_as {
            let shown = path::join(&self.root(root).shown, below);
            write_plan(format, "delete", &shown, &mut hand.lines);
            hand.send_lines(crew, false);
        }
    }

    /// What is known of an entry without asking, unless a filter needs more.
    fn look(&self, entry: &Visit<'_>) -> Result<(Kind, Option<Metadata>)> {
        let known = match entry.hint {
            Hint::Object(_) => entry.dir.peek(entry.name, entry.hint)?,
            Hint::File | Hint::Recorded(_) if !self.selection.needs_metadata() => {
                return Ok((Kind::File, None));
            }
            Hint::Symlink if !self.selection.needs_metadata() => return Ok((Kind::Symlink, None)),
            // Which of them it is does not matter.
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
        hand: &mut Gathered,
        crew: &Crew<'_, Self>,
    ) -> Result<Visited> {
        let (place, root) = (entry.place, entry.place.root());
        let (kind, known) = self.look(entry)?;
        if kind == Kind::Directory {
            // A single entry was none.
            let is_single = self.root(root).single.is_some();
            return if is_single {
                Err(Op::Remove.failed(Cause::Changed))
            } else {
                Ok(Visited::Directory)
            };
        }
        match &known {
            Some(metadata) => hand.tally.meet(metadata),
            None => hand.tally.found.count(kind),
        }
        if !self.means(root, below, kind, known.as_ref()) {
            self.left_out(place);
        } else if self.options.dry_run {
            self.removed((root, below), kind, hand, crew);
        } else if let Some(keys) = entry.dir.keys_of(Some((entry.name, kind)))? {
            self.doom((root, below), kind, keys, hand, crew);
        } else {
            self.check_mount(place, &**entry.dir).map_err(|trouble| trouble.error)?;
            entry.dir.remove(entry.name, kind).map_err(unless_replaced)?;
            self.removed((root, below), kind, hand, crew);
        }
        Ok(Visited::NOTHING_MOVED)
    }

    /// The objects of an entry wait for others, to go with them.
    fn doom(
        &self,
        (root, below): (u32, &[u8]),
        kind: Kind,
        keys: Vec<String>,
        hand: &mut Gathered,
        crew: &Crew<'_, Self>,
    ) {
        let last = keys.len().saturating_sub(1);
        let doomed = keys.into_iter().enumerate().map(|(number, key)| Doomed {
            below: below.to_vec(),
            kind,
            key,
            is_last: number == last,
        });
        if let Some(full) = self.waiting.add(root, doomed) {
            self.remove_objects(root, &full, hand, crew);
        }
    }

    fn remove_objects(
        &self,
        root: u32,
        objects: &[Doomed],
        hand: &mut Gathered,
        crew: &Crew<'_, Self>,
    ) {
        let keys: Vec<String> = objects.iter().map(|object| object.key.clone()).collect();
        let mut failures: BTreeMap<usize, Error> = match self.source(root).remove_keys(&keys) {
            Ok(failures) => failures.into_iter().collect(),
            Err(error) => (0..keys.len()).map(|number| (number, error.clone())).collect(),
        };
        for (number, object) in objects.iter().enumerate() {
            let at = (root, &object.below[..]);
            match failures.remove(&number) {
                Some(error) => self.fail(at, error, hand, crew),
                None if object.is_last => self.removed(at, object.kind, hand, crew),
                None => {}
            }
        }
    }
}

/// What a failure to remove an entry, or to come to it, says of entries that are not of the kind that was listed.
fn unless_replaced(error: Error) -> Error {
    match (error.op, error.cause) {
        (_, Cause::System(libc::ENOTDIR | libc::EISDIR | libc::ELOOP)) => {
            Error { cause: Cause::Changed, ..error }
        }
        // rmdir(2) of what is mounted, or unlink(2) of a file that something is mounted on.
        (Op::Remove, Cause::System(libc::EBUSY)) => Error { cause: Cause::MountPoint, ..error },
        _ => error,
    }
}

/// Somebody else has removed it. So it is with a directory of objects that a list has told of, and that has no keys; should
/// they be there, and have names that lead elsewhere, what is left of the root tells ([`RemoveRoot::check_gone`]).
fn is_gone(error: &Error) -> bool {
    error.cause.is_vanished() || error.cause == Cause::Service(ServiceFault::NoKeys)
}

impl Job for RemoveJob<'_> {
    type Task = RemoveTask;
    type Letter = ();
    type Notice = Notice;
    type Snapshot = Tally;
    type Hand = Gathered;

    fn hand(&self) -> Gathered {
        Gathered::default()
    }

    fn run(&self, task: RemoveTask, hand: &mut Gathered, crew: &Crew<'_, Self>) {
        match task {
            RemoveTask::Walk(task) => walk::run(self, task, hand, crew),
            RemoveTask::Directories(blocks) => self.remove_directories(&blocks, hand, crew),
            RemoveTask::Objects(root, objects) => self.remove_objects(root, &objects, hand, crew),
        }
        self.account.settle(hand);
    }

    fn discard(&self, _task: RemoveTask, hand: &mut Gathered, _crew: &Crew<'_, Self>) {
        hand.tally.cancelled_tasks += 1;
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

impl Visitor for RemoveJob<'_> {
    fn source(&self, root: u32) -> &dyn Store {
        &*self.root(root).store
    }

    fn selection(&self) -> &Selection {
        self.selection
    }

    fn named(&self) -> Option<&Named> {
        self.named
    }

    fn list_failed(&self, failure: Failure, hand: &mut Gathered, crew: &Crew<'_, Self>) {
        hand.tally.unread_directories += 1;
        self.account.fail(failure, hand, crew);
    }

    fn enter(
        &self,
        place: &Arc<Place>,
        metadata: &Metadata,
        hand: &mut Gathered,
        crew: &Crew<'_, Self>,
    ) -> std::result::Result<(), Skip> {
        let (root, below) = (place.root(), place.path().as_bytes());
        let store = self.source(root);
        let dir = place.source_dir(store).at(Side::Source);
        let checked = dir.and_then(|dir| self.check_mount(place, &*dir));
        let is_left_out = self.selection.is_one_file_system()
            && (checked.is_err() || self.selection.stops_at(metadata, store.device()));
        if is_left_out || checked.is_err() {
            self.kept.add(root, below);
            if let Err(trouble) = checked
                && !is_left_out
            {
                self.fail((root, below), trouble.error, hand, crew);
            }
            return Err(Skip);
        }
        hand.tally.meet(metadata);
        if !self.means(root, below, Kind::Directory, Some(metadata)) {
            self.kept.add(root, below);
        }
        let times = metadata.times().filter(|_| self.options.traceless);
        let stamp: Stamp = times.map(|times| (times.atime, times.mtime));
        let mut met = self.lock_met();
        let (level, packed) = met.entry(place.path().depth() as u32).or_default();
        level.directories += 1;
        level.path_bytes += below.len() as u64;
        packed.add(root, below, &stamp);
        Ok(())
    }

    fn left_out(&self, place: &Place) {
        self.kept.add(place.root(), place.path().as_bytes());
    }

    fn visit(&self, entry: &Visit<'_>, hand: &mut Gathered, crew: &Crew<'_, Self>) -> Visited {
        let below = path::join(entry.place.path().as_bytes(), entry.name.to_bytes());
        self.remove_entry(entry, &below, hand, crew).unwrap_or_else(|error| {
            self.fail((entry.place.root(), &below), error, hand, crew);
            Visited::NOTHING_MOVED
        })
    }

    /// It cannot be named to be removed; so its directory stays, too.
    fn unfit(
        &self,
        place: &Place,
        key: &[u8],
        trouble: Trouble,
        hand: &mut Gathered,
        crew: &Crew<'_, Self>,
    ) {
        // What is kept with a directory goes with it.
        if key.is_empty() {
            return;
        }
        let below = path::join(place.path().as_bytes(), key);
        self.left_out(place);
        self.fail((place.root(), &below), trouble.error, hand, crew);
    }

    fn root_may_be_empty(&self) -> bool {
        true
    }

    fn unreadable(
        &self,
        place: &Place,
        trouble: Trouble,
        hand: &mut Gathered,
        crew: &Crew<'_, Self>,
    ) {
        if is_gone(&trouble.error) {
            return;
        }
        self.left_out(place);
        hand.tally.unread_directories += 1;
        let error = unless_replaced(trouble.error);
        self.fail((place.root(), place.path().as_bytes()), error, hand, crew);
    }
}
