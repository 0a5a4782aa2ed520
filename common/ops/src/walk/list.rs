//! The walk as an operation of its own, which counts entries and lists them on request.

pub mod checksums;
pub mod collector;
pub mod read;

use std::ffi::CString;
use std::sync::Arc;

use super::account::{self, Account};
use super::dir_ref::DirRef;
use super::selection::Selection;
use super::watch::Watch;
use super::{Skip, Visit, Visited, Visitor, WalkTask};
use crate::resolver::StoreResolver;
use collector::{CollectorOptions, CollectorWorker, ListCollector};
use lists::named::Named;
use sched::context::TaskContext;
use sched::job::Job;
use store::Store;
use store::opening::{Need, OpenAs, Symlinks};
use types::entry::{Hint, Kind, Metadata};
use types::error::{Cause, Error, Failure, Op, Side, SideError};
use types::listed::record::Record;
use types::operand::placement::Given;
use types::outcome::difference::Fields;
use types::outcome::event::Event;
use types::outcome::tally::Tally;
use types::path;

/// Opens a tree that exists. A prefix without keys does not exist.
fn open_tree(
    resolver: &StoreResolver,
    path: &[u8],
    open_as: OpenAs,
) -> Result<Box<dyn Store>, Error> {
    if resolver.is_object(Side::Source, path)
        && resolver.look(Side::Source, path, Symlinks::Follow)?.kind != Kind::Directory
    {
        return Err(Op::List.errno(libc::ENOTDIR));
    }
    resolver.open(Side::Source, path, open_as)
}

/// A tree to walk, opened on this rank.
pub struct WalkRoot {
    /// The tree itself.
    pub source: Box<dyn Store>,
    /// The path of the tree, for messages.
    pub shown: Vec<u8>,
    /// The path as the user wrote it.
    pub given: Vec<u8>,
    /// The name of the only entry to visit, where the user named an entry that is no directory.
    pub single: Option<CString>,
    /// The treatment of symbolic links. A link that was named stands for its destination.
    symlinks: Symlinks,
}

impl WalkRoot {
    /// Opens what the operator has named, following a link: a directory, or the directory of
    /// another entry. A dangling link is an entry itself, unless links are to be followed.
    ///
    /// # Errors
    /// Returns the reason why the path cannot be opened.
    pub fn open(
        resolver: &StoreResolver,
        path: &[u8],
        symlinks: Symlinks,
    ) -> Result<Self, Failure> {
        let failed = |error| account::failure(Side::Source, path, b"", error);
        let open_as = OpenAs { symlinks, ..OpenAs::default() };
        let given = Given::new(path);
        let is_directory = |metadata: &Metadata| metadata.kind == Kind::Directory;
        let is_entry = |path| {
            resolver.look(Side::Source, path, Symlinks::Keep).is_ok_and(|it| !is_directory(&it))
        };
        match (open_tree(resolver, path, open_as), &given.last_name) {
            // A service that did not answer is not asked again, which would take minutes.
            (Err(error), Some(name))
                if !given.means_contents
                    && !matches!(error.cause, Cause::Service(_))
                    && is_entry(path) =>
            {
                let name = CString::new(name.clone()).map_err(|_| failed(error))?;
                let symlinks = single_as(resolver, path, symlinks).map_err(failed)?;
                let open_as = OpenAs { need: Need::Passage, symlinks, ..open_as };
                let parent = given.parent();
                let source = resolver.open(Side::Source, &parent, open_as).map_err(failed)?;
                let shown = if parent == b"." { Vec::new() } else { parent };
                Ok(Self { source, shown, given: given.path, single: Some(name), symlinks })
            }
            (opened, _) => Ok(Self {
                source: opened.map_err(failed)?,
                shown: path.to_vec(),
                given: given.path,
                single: None,
                symlinks,
            }),
        }
    }

    fn seed(&self, index: u32) -> WalkTask {
        let dir_ref = Arc::new(DirRef::root_of(index));
        let Some(name) = &self.single else { return WalkTask::List(dir_ref) };
        WalkTask::single(dir_ref, name)
    }
}

/// Returns the treatment of an entry that was named and is no directory, in case it is a symbolic
/// link.
fn single_as(resolver: &StoreResolver, path: &[u8], symlinks: Symlinks) -> Result<Symlinks, Error> {
    let is_link = resolver.look(Side::Source, path, Symlinks::Keep)?.kind == Kind::Symlink;
    if !is_link || resolver.is_object(Side::Source, path) {
        return Ok(symlinks);
    }
    match (resolver.look(Side::Source, path, Symlinks::Follow), symlinks) {
        (Ok(_), _) => Ok(Symlinks::Follow),
        (Err(_), Symlinks::Keep) => Ok(Symlinks::Keep),
        (Err(_), Symlinks::Follow) => Err(Op::Follow.failed(Cause::Dangling)),
    }
}

/// The extent to which objects are inspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectFacts {
    /// The facts of listings only: the size, and the time when the object was stored.
    Listed,
    /// The attributes stored with each object as well: mode, owner and times. This takes one
    /// request for each object.
    Stored,
}

/// The known facts of an entry.
struct Found<'f> {
    metadata: &'f Metadata,
    /// The destination of a symbolic link.
    target: Option<&'f [u8]>,
    /// The checksum of a file, in hexadecimal digits.
    digest: Option<&'f str>,
}

impl<'f> Found<'f> {
    fn of(metadata: &'f Metadata) -> Self {
        Self { metadata, target: None, digest: None }
    }
}

/// The part of one rank in a walk.
pub struct ListJob<'c> {
    roots: &'c [WalkRoot],
    facts: ObjectFacts,
    selection: &'c Selection,
    named: Option<&'c Named>,
    collector: &'c ListCollector,
    watch: Option<Watch>,
}

impl<'c> ListJob<'c> {
    /// Creates the job for these trees.
    pub fn new(
        roots: &'c [WalkRoot],
        facts: ObjectFacts,
        selection: &'c Selection,
        named: Option<&'c Named>,
        collector: &'c ListCollector,
    ) -> Self {
        Self { roots, facts, selection, named, collector, watch: None }
    }

    /// Makes the job record what it lists and visits, for a second listing. A walk of named entries
    /// lists nothing, so there is nothing to record.
    #[must_use]
    pub fn watched(mut self, watch: Watch) -> Self {
        self.watch = Some(watch).filter(|_| self.named.is_none());
        self
    }

    /// Returns the record of what was listed and visited, if there is one.
    pub fn take_watch(&mut self) -> Option<Watch> {
        self.watch.take()
    }

    fn fail(
        &self,
        dir_ref: &DirRef,
        name: &[u8],
        error: Error,
        worker: &mut CollectorWorker,
        context: &TaskContext<'_, Self>,
    ) {
        let below = path::join(dir_ref.path().as_bytes(), name);
        let WalkRoot { shown, source, .. } = &self.roots[dir_ref.root() as usize];
        let side_error = SideError { side: Side::Source, error };
        let side_error = account::missing(side_error, below.is_empty(), &**source, self.selection);
        let SideError { error, .. } = account::named_in_vain(side_error, self.named());
        let failure = account::failure(Side::Source, shown, &below, error);
        if let Some(watch) = self.watch(dir_ref).filter(|_| !failure.is_vanished()) {
            watch.told(dir_ref, name);
        }
        self.collector.account.fail(failure, &mut worker.gathered, context);
    }

    fn meet(
        &self,
        dir_ref: &DirRef,
        name: &[u8],
        Found { metadata, target, digest }: Found<'_>,
        worker: &mut CollectorWorker,
        context: &TaskContext<'_, Self>,
    ) {
        if !self.collector.wants_records() {
            return worker.gathered.meet(metadata);
        }
        let root = &self.roots[dir_ref.root() as usize];
        let below = path::join(dir_ref.path().as_bytes(), name);
        let depth = if root.single.is_some() {
            0
        } else {
            dir_ref.path().depth() as u32 + u32::from(!name.is_empty())
        };
        let path = &path::join(&root.shown, &below);
        let record = Record { target, digest, ..Record::new(path, depth, metadata) };
        self.collector.meet(&record, worker, context);
    }

    fn look(
        &self,
        entry: &Visit<'_>,
        worker: &mut CollectorWorker,
        context: &TaskContext<'_, Self>,
    ) -> Result<Visited, Error> {
        let store = self.source(entry.dir_ref.root());
        let metadata = match (entry.hint, self.facts) {
            (Hint::Object(_), ObjectFacts::Listed) => {
                let mut listed = entry.dir.peek(entry.name, entry.hint)?;
                listed.known.insert(Fields::MTIME);
                listed
            }
            _ => super::look(entry, store, self.roots[entry.dir_ref.root() as usize].symlinks)?,
        };
        if metadata.kind == Kind::Directory {
            return Ok(Visited::Directory);
        }
        if !self.selection.admits(&metadata) {
            return Ok(Visited::NOTHING_MOVED);
        }
        let wants_target =
            metadata.kind == Kind::Symlink && self.collector.options().wants_targets();
        let target = if wants_target { Some(entry.dir.read_link(entry.name)?) } else { None };
        let digest = self.digest(entry, metadata.kind, worker, context);
        let known = digest.as_ref().map_or(None, Option::as_deref);
        let found = Found { metadata: &metadata, target: target.as_deref(), digest: known };
        self.meet(entry.dir_ref, entry.name.to_bytes(), found, worker, context);
        digest?;
        if metadata.kind == Kind::File && self.collector.options().usage.striping {
            let layout = entry.dir.layout(entry.name)?;
            ListCollector::meet_layout(&metadata, layout.as_ref(), worker);
        }
        Ok(Visited::NOTHING_MOVED)
    }
}

impl ListJob<'_> {
    /// Returns the checksum of a file, if the list contains checksums.
    fn digest(
        &self,
        entry: &Visit<'_>,
        kind: Kind,
        worker: &mut CollectorWorker,
        context: &TaskContext<'_, Self>,
    ) -> Result<Option<String>, Error> {
        let listed = self.collector.options().listing.checksum();
        let Some(checksum) = listed.filter(|_| kind == Kind::File) else { return Ok(None) };
        let file = entry.dir.open_listed(entry.name, entry.hint)?;
        checksum.of(&*file, &mut worker.buffer, &|| context.is_stopped()).map(Some)
    }
}

impl Job for ListJob<'_> {
    type Task = WalkTask;
    type Message = ();
    type Event = Event;
    type Snapshot = Tally;
    type Worker = CollectorWorker;

    fn worker(&self) -> CollectorWorker {
        self.collector.worker()
    }

    fn run(&self, task: WalkTask, worker: &mut CollectorWorker, context: &TaskContext<'_, Self>) {
        super::run(self, task, worker, context);
        self.collector.account.settle(&mut worker.gathered);
    }

    fn discard(
        &self,
        _task: WalkTask,
        worker: &mut CollectorWorker,
        _context: &TaskContext<'_, Self>,
    ) {
        self.collector.account.cancel(&mut worker.gathered);
    }

    fn flush(&self, worker: &mut CollectorWorker, context: &TaskContext<'_, Self>) {
        self.collector.flush(worker, context);
    }

    fn snapshot(&self) -> Tally {
        self.collector.account.tally()
    }

    fn finds(_task: &WalkTask) -> bool {
        true
    }
}

impl Visitor for ListJob<'_> {
    fn account(&self) -> &Account {
        &self.collector.account
    }

    fn selection(&self) -> &Selection {
        self.selection
    }

    fn named(&self) -> Option<&Named> {
        self.named
    }

    fn list_failed(
        &self,
        failure: Failure,
        worker: &mut CollectorWorker,
        context: &TaskContext<'_, Self>,
    ) {
        self.collector.list_failed(failure, worker, context);
    }

    fn source(&self, root: u32) -> &dyn Store {
        &*self.roots[root as usize].source
    }

    /// Returns the record of a walk of files. Objects are in no directories whose times could be
    /// compared.
    fn watch(&self, dir_ref: &DirRef) -> Option<&Watch> {
        self.watch.as_ref().filter(|_| !self.source(dir_ref.root()).holds_objects())
    }

    /// Returns whether entries are only inspected: a checksum or a layout takes requests of its
    /// own, in which many threads help.
    fn inspects(&self, _dir_ref: &DirRef) -> bool {
        let CollectorOptions { listing, usage, .. } = self.collector.options();
        listing.checksum().is_none() && !usage.striping
    }

    fn enter(
        &self,
        dir_ref: &Arc<DirRef>,
        metadata: &Metadata,
        worker: &mut CollectorWorker,
        context: &TaskContext<'_, Self>,
    ) -> Result<(), Skip> {
        self.meet(dir_ref, b"", Found::of(metadata), worker, context);
        Ok(())
    }

    fn visit(
        &self,
        entry: &Visit<'_>,
        worker: &mut CollectorWorker,
        context: &TaskContext<'_, Self>,
    ) -> Visited {
        // A directory is counted by the task that lists it.
        if entry.hint == Hint::Directory {
            return Visited::Directory;
        }
        self.look(entry, worker, context).unwrap_or_else(|error| {
            if error.cause == Cause::Stopped {
                worker.gathered.tally.cancelled_tasks += 1;
            } else {
                self.fail(entry.dir_ref, entry.name.to_bytes(), error, worker, context);
            }
            Visited::NOTHING_MOVED
        })
    }

    fn listed(&self, names: u64, worker: &mut CollectorWorker) {
        worker.gathered.tally.listed += names;
    }

    fn invalid_key(
        &self,
        dir_ref: &DirRef,
        key: &[u8],
        side_error: SideError,
        worker: &mut CollectorWorker,
        context: &TaskContext<'_, Self>,
    ) {
        worker.gathered.tally.meet_invalid_key(key);
        self.fail(dir_ref, key, side_error.error, worker, context);
    }

    fn unreadable(
        &self,
        dir_ref: &DirRef,
        side_error: SideError,
        worker: &mut CollectorWorker,
        context: &TaskContext<'_, Self>,
    ) {
        worker.gathered.tally.unread_directories += 1;
        if let Some(metadata) = self.unopened(dir_ref) {
            self.meet(dir_ref, b"", Found::of(&metadata), worker, context);
        }
        self.fail(dir_ref, b"", side_error.error, worker, context);
    }
}

impl ListJob<'_> {
    /// Returns the metadata of a directory that could not be opened, according to its parent, so
    /// that it is counted all the same.
    fn unopened(&self, dir_ref: &DirRef) -> Option<Metadata> {
        let source = self.source(dir_ref.root());
        dir_ref.source_dir(source).err()?;
        let (parent, name) = dir_ref.path().split_last()?;
        let found = source.open_dir(&parent).and_then(|above| above.stat(&name)).ok();
        found.filter(|it| it.kind == Kind::Directory)
    }
}

/// Returns the first tasks of a walk of these roots.
pub fn seeds(roots: &[WalkRoot]) -> Vec<WalkTask> {
    roots.iter().zip(0..).map(|(root, index)| root.seed(index)).collect()
}
