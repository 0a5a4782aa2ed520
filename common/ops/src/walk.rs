//! The walk: visits every entry below the roots, as a stream of tasks that any thread of any rank
//! may run.
//!
//! No list of the tree exists anywhere. A directory is a [`WalkTask::List`]; its names are cut into
//! [`WalkTask::Batch`]es as the file system returns them, so that one giant directory becomes many
//! tasks. A [`Visitor`] decides what is done with each entry.

pub mod account;
mod ahead;
pub mod batch;
pub mod dir_ref;
pub mod hopeless;
pub mod in_order;
mod inspect;
pub mod list;
pub mod listed;
mod listing;
pub mod marked_dirs;
mod name_set;
mod named;
pub mod packed;
mod ranges;
pub mod selection;
pub mod sort_room;
pub mod watch;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use account::{Account, Gathered};
use ahead::Ahead;
use batch::NameBatch;
use dir_ref::{DirRef, Rights, Trees};
pub use inspect::{is_whole, look, whole};
use listing::{Listing, Part, Sharing, VisitOrder};
use lists::named::Named;
use lists::source::Piece;
use name_set::{NameSet, are_names_folded};
use sched::context::TaskContext;
use sched::job::Job;
use selection::Selection;
use store::{Dir, Store, Upcoming};
use types::entry::{Hint, Metadata};
use types::error::{At, Cause, Error, Failure, Op, Side, SideError};
use types::limits;
use types::object::key_range::KeyRange;
use types::object::keys_below::KeysBelow;
use types::outcome::event::Event;
use types::path::Name;
use watch::Watch;

/// A task of the walk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum WalkTask {
    /// Read a directory, and visit its entries.
    List(Arc<DirRef>),
    /// Read a directory again that has changed since it was listed, and visit the new entries.
    Again(Arc<DirRef>),
    /// Visit the entries of a directory of objects all of whose keys are known.
    Known(Arc<DirRef>, KeysBelow),
    /// Read a key range of a directory that was entered before, and visit the entries in it.
    KeyRange(Arc<DirRef>, KeyRange),
    /// Read a range of entries of a directory of the other tree, and visit those that only that
    /// tree has.
    Extraneous(Arc<DirRef>, KeyRange),
    /// Visit entries of a directory by these names.
    Batch(Arc<DirRef>, NameBatch),
    /// Visit entries of a directory by these consecutive names, in their order and by one thread.
    Run(Arc<DirRef>, NameBatch),
    /// Visit the entries that a piece of a list names.
    Named(Piece),
}

/// An operation on the entries of a walk.
pub trait Visitor: Job<Task: From<WalkTask>, Event = Event, Worker: AsMut<Gathered>> {
    /// Returns the counts of this rank.
    fn account(&self) -> &Account;

    /// Returns the tree that a root index stands for.
    fn source(&self, root: u32) -> &dyn Store;

    /// Returns the rules by which entries are selected.
    fn selection(&self) -> &Selection;

    /// Returns the other tree, for operations on two.
    fn target(&self, _root: u32) -> Option<&dyn Store> {
        None
    }

    /// Returns whether to also visit extraneous entries: those that only the other tree has, in
    /// directories that both have.
    fn wants_extraneous(&self) -> bool {
        false
    }

    /// Returns whether the other tree is case-insensitive. Of names that differ only in case, only
    /// the first is visited then.
    fn is_case_insensitive(&self, _root: u32) -> bool {
        false
    }

    /// Returns whether a name in the other tree is a staging name of this job, and thus no entry.
    fn is_staged(&self, _name: &Name) -> bool {
        false
    }

    /// Notes that a directory is listed again.
    fn enter_again(
        &self,
        _dir_ref: &Arc<DirRef>,
        _metadata: &Metadata,
        _worker: &mut Self::Worker,
    ) {
    }

    /// Returns the record of what was listed and visited, where the walk is watched.
    fn watch(&self, _dir_ref: &DirRef) -> Option<&Watch> {
        None
    }

    /// Returns whether to visit an entry of a directory that is listed again.
    fn is_news(&self, dir_ref: &DirRef, dir: &dyn Dir, name: &Name, hint: Hint) -> bool {
        self.watch(dir_ref).is_none_or(|watch| {
            watch.is_news(dir_ref, dir, (name, hint), walked_store(self, dir_ref))
        })
    }

    /// Gains access to a directory of the other tree, which is open and about to be read for the
    /// first time on this rank. A visitor may widen the directory's mode here.
    fn let_in(&self, _dir_ref: &DirRef, _dir: &dyn Dir) -> Result<Rights, Error> {
        Ok(Rights::AsBefore)
    }

    /// Notes that a name of a directory was filtered out.
    fn left_out(&self, _dir_ref: &DirRef) {}

    /// Returns the list of entries to visit instead of walking, where the operator has named them.
    fn named(&self) -> Option<&Named> {
        None
    }

    /// Makes sure that the counterpart of a directory exists, whose parents were not walked.
    fn reach(
        &self,
        _dir_ref: &Arc<DirRef>,
        _worker: &mut Self::Worker,
        _context: &TaskContext<'_, Self>,
    ) -> Result<(), Skip> {
        Ok(())
    }

    /// Reports a list, or a part of it, that cannot be read.
    fn list_failed(
        &self,
        failure: Failure,
        worker: &mut Self::Worker,
        context: &TaskContext<'_, Self>,
    ) {
        let gathered = worker.as_mut();
        gathered.tally.unread_directories += 1;
        self.account().fail(failure, gathered, context);
    }

    /// Enters a directory, before any of its entries is visited. `Err` excludes its entries; the
    /// visitor has reported why.
    fn enter(
        &self,
        dir_ref: &Arc<DirRef>,
        metadata: &Metadata,
        worker: &mut Self::Worker,
        context: &TaskContext<'_, Self>,
    ) -> Result<(), Skip>;

    /// Visits one entry.
    fn visit(
        &self,
        entry: &Visit<'_>,
        worker: &mut Self::Worker,
        context: &TaskContext<'_, Self>,
    ) -> Visited;

    /// Reports a key below a directory that no entry can have.
    fn invalid_key(
        &self,
        dir_ref: &DirRef,
        key: &[u8],
        side_error: SideError,
        worker: &mut Self::Worker,
        context: &TaskContext<'_, Self>,
    );

    /// Returns whether a root may be a prefix of no key. A bucket has no keys for a tree without
    /// files.
    fn root_may_be_empty(&self) -> bool {
        false
    }

    /// Returns whether a visit inspects an entry and rarely does more, so that a file system that
    /// prefetches attributes makes it fast.
    fn inspects(&self, _dir_ref: &DirRef) -> bool {
        false
    }

    /// Returns what visits of the entries of a directory use of most files, in the tree that is
    /// walked and in the other one.
    fn upcoming(&self, _dir_ref: &DirRef) -> [Option<Upcoming>; 2] {
        [None, None]
    }

    /// Counts names of a directory that this thread has read.
    fn listed(&self, _names: u64, _worker: &mut Self::Worker) {}

    /// Reports a directory that cannot be opened or read to its end, so that what is below it
    /// remains unknown.
    fn unreadable(
        &self,
        dir_ref: &DirRef,
        side_error: SideError,
        worker: &mut Self::Worker,
        context: &TaskContext<'_, Self>,
    );
}

/// An entry to be visited.
pub struct Visit<'v> {
    /// The directory of the entry.
    pub dir_ref: &'v Arc<DirRef>,
    /// The open handle of that directory.
    pub dir: &'v Arc<dyn Dir>,
    /// A handle of its counterpart that has what was requested of the entry ahead, if any was.
    pub counterpart: Option<&'v Arc<dyn Dir>>,
    /// The name of the entry in the directory.
    pub name: &'v Name,
    /// The type of the entry according to the listing.
    pub hint: Hint,
    /// True if this thread visits the names of the directory in order, and must not be kept from
    /// inspecting the next: an entry that takes longer is left for [`Visited::Later`].
    pub in_order: bool,
}

impl<'v> Visit<'v> {
    /// Creates the visit of an entry that was visited before, or is known without a listing.
    pub fn again(
        dir_ref: &'v Arc<DirRef>,
        dir: &'v Arc<dyn Dir>,
        name: &'v Name,
        hint: Hint,
    ) -> Self {
        Self { dir_ref, dir, counterpart: None, name, hint, in_order: false }
    }

    /// Opens the directory in the other tree.
    pub fn target_dir(&self, store: &dyn Store) -> Result<Arc<dyn Dir>, Error> {
        self.counterpart.map_or_else(|| self.dir_ref.target_dir(store), |dir| Ok(Arc::clone(dir)))
    }
}

/// A sign that the entries of a directory are excluded, after the visitor has reported why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skip;

/// The result of visiting an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visited {
    /// The entry was handled, and this many bytes of content were moved.
    Done {
        /// The number of bytes moved. After many of them, the rest of a batch is offered to others.
        moved_bytes: u64,
    },
    /// The entry takes longer than an inspection. It was not handled, and any thread is to visit it
    /// again, but not in order.
    Later,
    /// The entry is a directory, to be walked.
    Directory,
    /// The entry is a directory without a counterpart, to be walked.
    NewDirectory,
}

impl WalkTask {
    fn list(dir_ref: DirRef, below: Option<KeysBelow>) -> Self {
        let dir_ref = Arc::new(dir_ref);
        match below {
            Some(keys) => Self::Known(dir_ref, keys),
            None => Self::List(dir_ref),
        }
    }

    /// Builds a task that visits one name of a directory.
    pub fn single(dir_ref: Arc<DirRef>, name: &Name) -> Self {
        let mut batch = NameBatch::default();
        batch.push(name, Hint::Unknown);
        Self::Batch(dir_ref, batch)
    }
}

impl Visited {
    /// The result of an entry that was handled without moving content.
    pub const NOTHING_MOVED: Self = Self::Done { moved_bytes: 0 };
}

/// Runs one task of the walk.
pub fn run<V: Visitor>(
    visitor: &V,
    task: WalkTask,
    worker: &mut V::Worker,
    context: &TaskContext<'_, V>,
) {
    match task {
        WalkTask::List(dir_ref) => list(visitor, &dir_ref, Part::All, worker, context),
        WalkTask::Again(dir_ref) => list(visitor, &dir_ref, Part::News, worker, context),
        WalkTask::Known(dir_ref, keys) => {
            list(visitor, &dir_ref, Part::Known(keys), worker, context);
        }
        WalkTask::KeyRange(dir_ref, key_range) => {
            let read = ranges::read(visitor, &dir_ref, key_range, worker, context);
            read.unwrap_or_else(|error| shut(visitor, &dir_ref, error, worker, context));
        }
        WalkTask::Extraneous(dir_ref, key_range) => {
            let read = ranges::read_extraneous(visitor, &dir_ref, key_range, worker, context);
            read.unwrap_or_else(|error| shut(visitor, &dir_ref, error, worker, context));
        }
        WalkTask::Batch(dir_ref, batch) => match walked_dir(visitor, &dir_ref) {
            Ok(dir) => visit_batch(visitor, &dir_ref, &dir, batch, worker, context),
            Err(side_error) => shut(visitor, &dir_ref, side_error, worker, context),
        },
        WalkTask::Run(dir_ref, names) => match walked_dir(visitor, &dir_ref) {
            Ok(dir) => in_order::visit_run(visitor, (&dir_ref, &dir), names, worker, context),
            Err(side_error) => shut(visitor, &dir_ref, side_error, worker, context),
        },
        WalkTask::Named(piece) => named::run(visitor, piece, worker, context),
    }
}

/// Opens the directory in the tree in which it is walked, which is the other tree for extraneous
/// directories.
fn walked_dir<V: Visitor>(visitor: &V, dir_ref: &DirRef) -> Result<Arc<dyn Dir>, SideError> {
    match dir_ref.trees().side() {
        Side::Source => dir_ref.source_dir(visitor.source(dir_ref.root())).at(Side::Source),
        Side::Target => target_dir(visitor, dir_ref),
    }
}

fn target_dir<V: Visitor>(visitor: &V, dir_ref: &DirRef) -> Result<Arc<dyn Dir>, SideError> {
    let target = visitor.target(dir_ref.root()).ok_or(Op::Open.errno(libc::ENOENT));
    let let_in = |dir: &dyn Dir| visitor.let_in(dir_ref, dir);
    target.and_then(|target| dir_ref.target_dir_let_in(target, let_in)).at(Side::Target)
}

fn list<V: Visitor>(
    visitor: &V,
    dir_ref: &Arc<DirRef>,
    part: Part,
    worker: &mut V::Worker,
    context: &TaskContext<'_, V>,
) {
    let (dir, metadata) = match open(visitor, dir_ref) {
        Ok(opened) => opened,
        Err(side_error) => return shut(visitor, dir_ref, side_error, worker, context),
    };
    let is_again = matches!(part, Part::News);
    // The record is made before the names are read: a change during reading then shows as a later
    // change.
    if let Some(watch) = visitor.watch(dir_ref) {
        watch.add(dir_ref.trees().side(), dir_ref, &metadata);
    }
    if is_again {
        visitor.enter_again(dir_ref, &metadata, worker);
    } else if visitor.enter(dir_ref, &metadata, worker, context) == Err(Skip) {
        // The second listing must not enter an excluded directory either.
        visitor.watch(dir_ref).inspect(|watch| watch.shut(dir_ref));
        return;
    }
    if is_other_system(visitor, dir_ref, &metadata) {
        return;
    }
    let with_extraneous = visitor.wants_extraneous() && dir_ref.trees() == Trees::Both;
    let folds = are_names_folded(visitor, dir_ref);
    let set = || if folds { NameSet::folding() } else { NameSet::default() };
    let (mut names, mut taken, mut folded) = (set(), set(), Vec::new());
    let is_news = |name: &Name, hint| !is_again || visitor.is_news(dir_ref, &*dir, name, hint);
    // A name that is filtered out does not occupy its name in a case-insensitive target.
    let has_place =
        |name: &Name, hint| folds && visitor.selection().admits_name(dir_ref, &*dir, name, hint);
    // The first visit has copied entries under some of the folded names already. They keep them;
    // otherwise a new entry could overwrite one that was copied.
    if is_again && folds {
        let known = &mut |name: &Name, hint| {
            if has_place(name, hint) && !is_news(name, hint) {
                taken.insert(name);
            }
        };
        // A failure is not lost: reading the directory again below fails in the same way, and is
        // reported.
        let _ = dir.list(known);
    }
    let all = |name: &Name, hint| {
        // A name may be filtered out here by its type, and be selected in the other tree, where it
        // has another type. Where the target is case-insensitive, patterns may not match the name
        // there, so the name is protected from deletion in any case.
        let is_chosen = || visitor.selection().is_chosen(dir_ref, &*dir, name, hint);
        if with_extraneous && (folds || is_chosen()) {
            names.insert(name);
        }
        if !is_news(name, hint) {
            return false;
        }
        let is_free = !has_place(name, hint) || taken.insert(name);
        if !is_free {
            folded.push(name.to_owned());
        }
        is_free
    };
    let sharing = match with_extraneous {
        _ if folds => Sharing::InOrder,
        // A comparison of names needs the same names of both directories in one place.
        true => Sharing::InPairs,
        false => Sharing::Allowed,
    };
    let order = VisitOrder::of(visitor, dir_ref);
    let listing = Listing { visitor, dir_ref, dir: &dir, sharing, order };
    let listed = listing.read(part, all, worker, context);
    for name in folded {
        let side_error = SideError { side: Side::Source, error: Op::Copy.failed(Cause::Folds) };
        visitor.invalid_key(dir_ref, name.to_bytes(), side_error, worker, context);
    }
    let listed = listed.and_then(|end| {
        let (extraneous, names) = (Arc::new(dir_ref.extraneous()), (&names, is_again));
        let part = Part::Extraneous(KeyRange::of_entries(String::new(), end));
        if with_extraneous {
            list_extraneous(visitor, &extraneous, part, names, worker, context)
        } else {
            Ok(())
        }
    });
    if let Err(side_error) = listed {
        shut(visitor, dir_ref, side_error, worker, context);
    }
}

/// Reports a directory that cannot be read, and records that, so that it is reported once.
fn shut<V: Visitor>(
    visitor: &V,
    dir_ref: &DirRef,
    side_error: SideError,
    worker: &mut V::Worker,
    context: &TaskContext<'_, V>,
) {
    // A directory that has vanished may come back, for example by being moved, and is not excluded.
    let has_vanished = side_error.side == Side::Source && side_error.error.cause.is_vanished();
    visitor.unreadable(dir_ref, side_error, worker, context);
    visitor.watch(dir_ref).filter(|_| !has_vanished).inspect(|watch| watch.shut(dir_ref));
}

fn walked_store<'v, V: Visitor + ?Sized>(visitor: &'v V, dir_ref: &DirRef) -> &'v dyn Store {
    let source = visitor.source(dir_ref.root());
    match dir_ref.trees().side() {
        Side::Source => source,
        Side::Target => visitor.target(dir_ref.root()).unwrap_or(source),
    }
}

fn is_other_system<V: Visitor>(visitor: &V, dir_ref: &DirRef, metadata: &Metadata) -> bool {
    let root_device = match dir_ref.trees().side() {
        Side::Source => visitor.source(dir_ref.root()).device(),
        Side::Target => visitor.target(dir_ref.root()).map_or(Ok(metadata.device), Store::device),
    };
    visitor.selection().stops_at(metadata, root_device)
}

/// Visits the extraneous entries in a part of a directory: those that the other tree has in
/// addition to the source's names. `extraneous` refers to it as one of extraneous names.
fn list_extraneous<V: Visitor>(
    visitor: &V,
    extraneous: &Arc<DirRef>,
    part: Part,
    (names, is_again): (&NameSet, bool),
    worker: &mut V::Worker,
    context: &TaskContext<'_, V>,
) -> Result<(), SideError> {
    let dir = target_dir(visitor, extraneous)?;
    // A mount point in the target is another file system, from which `-x` also excludes deletion.
    if visitor.selection().is_one_file_system() {
        let metadata = dir.metadata().at(Side::Target)?;
        let device = visitor.target(extraneous.root()).map_or(Ok(metadata.device), Store::device);
        if visitor.selection().stops_at(&metadata, device) {
            return Ok(());
        }
    }
    let is_extra = |name: &Name, hint| {
        let is_new = || !is_again || visitor.is_news(extraneous, &*dir, name, hint);
        !names.contains(name) && !visitor.is_staged(name) && is_new()
    };
    let order = VisitOrder::of(visitor, extraneous);
    let sharing = ranges::sharing_of_extraneous(names);
    let listing = Listing { visitor, dir_ref: extraneous, dir: &dir, sharing, order };
    listing.read(part, is_extra, worker, context).map(|_| ())
}

fn open<V: Visitor>(visitor: &V, dir_ref: &DirRef) -> Result<(Arc<dyn Dir>, Metadata), SideError> {
    let dir = walked_dir(visitor, dir_ref)?;
    let metadata = dir.metadata().at(dir_ref.trees().side())?;
    Ok((dir, metadata))
}

/// Visits the names of a batch, and shares the rest with other threads when they are idle, when
/// much was moved, or when the job is interrupted.
fn visit_batch<V: Visitor>(
    visitor: &V,
    dir_ref: &Arc<DirRef>,
    dir: &Arc<dyn Dir>,
    mut batch: NameBatch,
    worker: &mut V::Worker,
    context: &TaskContext<'_, V>,
) {
    let mut moved_in_batch = 0;
    let mut ahead = Ahead::new(visitor, dir_ref);
    while !batch.is_empty() {
        // What was requested ahead is to be used soon.
        if ahead.requested() == 0 {
            context.pause_if_crowded(|| visitor.flush(worker, context));
        }
        // Work is offered to others only when somebody is idle, so batches need no tuned size.
        if batch.len() > 1 && batch.len() / 2 >= ahead.requested() && context.is_hungry() {
            let half = batch.split_off_half();
            context.push(WalkTask::Batch(Arc::clone(dir_ref), half).into());
        }
        if context.is_stopped() || moved_in_batch >= limits::BATCH_BYTES_MAX {
            // Other threads can take the rest; in an interrupted job it is counted as cancelled.
            return context.push_behind(WalkTask::Batch(Arc::clone(dir_ref), batch).into());
        }
        ahead.request(visitor, dir, &batch);
        let handles = ahead.handles(dir);
        let visited = visit_first(visitor, dir_ref, handles, (&mut batch, None), worker, context);
        ahead.visited();
        if let Some(Visited::Done { moved_bytes }) = visited {
            moved_in_batch += moved_bytes;
        }
    }
}

/// Visits the first name of a batch. If the names are visited in order, a name that takes longer
/// than an inspection is added to `later`.
fn visit_first<V: Visitor>(
    visitor: &V,
    dir_ref: &Arc<DirRef>,
    (dir, counterpart): (&Arc<dyn Dir>, Option<&Arc<dyn Dir>>),
    (batch, later): (&mut NameBatch, Option<&mut NameBatch>),
    worker: &mut V::Worker,
    context: &TaskContext<'_, V>,
) -> Option<Visited> {
    batch.take_first(|name, hint, below| {
        let in_order = later.is_some();
        let entry = Visit { dir_ref, dir, counterpart, name, hint, in_order };
        let visited = visitor.visit(&entry, worker, context);
        if visited == Visited::Later {
            let later = later.expect("only an entry that is visited in order is left for later");
            later.push(name, hint);
            return visited;
        }
        if let Some(watch) = visitor.watch(dir_ref) {
            let seen = worker.as_mut().seen.take();
            watch.dealt_with(&entry, visited, seen, walked_store(visitor, dir_ref));
        }
        if matches!(visited, Visited::Directory | Visited::NewDirectory) {
            let child = dir_ref.child(name, visitor.source(dir_ref.root()));
            if visited == Visited::NewDirectory {
                child.set_trees(Trees::SourceOnly);
            }
            if visitor.named().is_some() && dir_ref.trees().side() == Side::Source {
                named::enter(visitor, &Arc::new(child), worker, context);
            } else {
                context.push(WalkTask::list(child, below).into());
            }
        }
        visited
    })
}

/// Queues a batch, or visits it where the queue is full: that slows the caller down, so that memory
/// stays bounded.
fn queue_or_visit<V: Visitor>(
    visitor: &V,
    (dir_ref, dir): (&Arc<DirRef>, &Arc<dyn Dir>),
    batch: NameBatch,
    worker: &mut V::Worker,
    context: &TaskContext<'_, V>,
) {
    if context.is_full() {
        visit_batch(visitor, dir_ref, dir, batch, worker, context);
    } else {
        let dir_ref = dir_ref.for_queue(visitor.source(dir_ref.root()));
        context.push(WalkTask::Batch(dir_ref, batch).into());
    }
}
