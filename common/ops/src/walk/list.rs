//! The walk as an operation of its own, which counts entries and lists them on request.

pub mod checksums;
pub mod harvest;
pub mod read;

use std::ffi::CString;
use std::sync::Arc;

use super::account;
use super::place::Place;
use super::selection::Selection;
use super::watch::Watch;
use super::{Skip, Visit, Visited, Visitor, WalkTask};
use crate::sites::Sites;
use comm::Rank;
use harvest::{Harvest, HarvestHand};
use lists::named::Named;
use sched::crew::Crew;
use sched::job::Job;
use store::Store;
use store::opening::{Need, OpenAs, Symlinks};
use types::entry::{Hint, Kind, Metadata};
use types::error::{Cause, Error, Failure, Op, Side, Trouble};
use types::listed::record::Record;
use types::outcome::difference::Fields;
use types::outcome::notice::Notice;
use types::outcome::tally::Tally;
use types::path;
use types::place::placement::Given;

/// Opens a tree that exists. A prefix without keys does not exist.
fn open_tree(sites: &Sites, path: &[u8], open_as: OpenAs) -> Result<Box<dyn Store>, Error> {
    if sites.is_object(Side::Source, path)
        && sites.look(Side::Source, path, Symlinks::Follow)?.kind != Kind::Directory
    {
        return Err(Op::List.errno(libc::ENOTDIR));
    }
    sites.open(Side::Source, path, open_as)
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
    pub fn open(sites: &Sites, path: &[u8], symlinks: Symlinks) -> Result<Self, Failure> {
        let failed = |error| account::failure(Side::Source, path, b"", error);
        let open_as = OpenAs { symlinks, ..OpenAs::default() };
        let given = Given::new(path);
        let is_directory = |metadata: &Metadata| metadata.kind == Kind::Directory;
        let is_entry = |path| {
            sites.look(Side::Source, path, Symlinks::Keep).is_ok_and(|it| !is_directory(&it))
        };
        match (open_tree(sites, path, open_as), &given.last_name) {
            // A service that did not answer is not asked again, which would take minutes.
            (Err(error), Some(name))
                if !given.means_contents
                    && !matches!(error.cause, Cause::Service(_))
                    && is_entry(path) =>
            {
                let name = CString::new(name.clone()).map_err(|_| failed(error))?;
                let symlinks = single_as(sites, path, symlinks).map_err(failed)?;
                let open_as = OpenAs { need: Need::Passage, symlinks, ..open_as };
                let parent = given.parent();
                let source = sites.open(Side::Source, &parent, open_as).map_err(failed)?;
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
        let place = Arc::new(Place::root_of(index));
        let Some(name) = &self.single else { return WalkTask::List(place) };
        WalkTask::single(place, name)
    }
}

/// Returns the treatment of an entry that was named and is no directory, in case it is a symbolic
/// link.
fn single_as(sites: &Sites, path: &[u8], symlinks: Symlinks) -> Result<Symlinks, Error> {
    let is_link = sites.look(Side::Source, path, Symlinks::Keep)?.kind == Kind::Symlink;
    if !is_link || sites.is_object(Side::Source, path) {
        return Ok(symlinks);
    }
    match (sites.look(Side::Source, path, Symlinks::Follow), symlinks) {
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
    harvest: &'c Harvest,
    watch: Option<Watch>,
}

impl<'c> ListJob<'c> {
    /// Creates the job for these trees.
    pub fn new(
        roots: &'c [WalkRoot],
        facts: ObjectFacts,
        selection: &'c Selection,
        named: Option<&'c Named>,
        harvest: &'c Harvest,
    ) -> Self {
        Self { roots, facts, selection, named, harvest, watch: None }
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
        place: &Place,
        name: &[u8],
        error: Error,
        hand: &mut HarvestHand,
        crew: &Crew<'_, Self>,
    ) {
        let below = path::join(place.path().as_bytes(), name);
        let WalkRoot { shown, source, .. } = &self.roots[place.root() as usize];
        let trouble = Trouble { side: Side::Source, error };
        let Trouble { error, .. } =
            account::missing(trouble, below.is_empty(), &**source, self.selection);
        let failure = account::failure(Side::Source, shown, &below, error);
        if let Some(watch) = self.watch(place).filter(|_| !failure.is_vanished()) {
            watch.told(place, name);
        }
        self.harvest.account.fail(failure, &mut hand.gathered, crew);
    }

    fn meet(
        &self,
        place: &Place,
        name: &[u8],
        Found { metadata, target, digest }: Found<'_>,
        hand: &mut HarvestHand,
        crew: &Crew<'_, Self>,
    ) {
        if !self.harvest.wants_records() {
            return hand.gathered.meet(metadata);
        }
        let root = &self.roots[place.root() as usize];
        let below = path::join(place.path().as_bytes(), name);
        let depth = if root.single.is_some() {
            0
        } else {
            place.path().depth() as u32 + u32::from(!name.is_empty())
        };
        let path = &path::join(&root.shown, &below);
        let (user, group, crc64) = (None, None, None);
        let record = Record { path, depth, metadata, target, user, group, crc64, digest };
        self.harvest.meet(&record, hand, crew);
    }

    fn look(
        &self,
        entry: &Visit<'_>,
        hand: &mut HarvestHand,
        crew: &Crew<'_, Self>,
    ) -> Result<Visited, Error> {
        let store = self.source(entry.place.root());
        let metadata = match (entry.hint, self.facts) {
            (Hint::Object(_), ObjectFacts::Listed) => {
                let mut listed = entry.dir.peek(entry.name, entry.hint)?;
                listed.known.insert(Fields::MTIME);
                listed
            }
            _ => super::look(entry, store, self.roots[entry.place.root() as usize].symlinks)?,
        };
        if metadata.kind == Kind::Directory {
            return Ok(Visited::Directory);
        }
        if !self.selection.admits(&metadata) {
            return Ok(Visited::NOTHING_MOVED);
        }
        let wants_target = metadata.kind == Kind::Symlink && self.harvest.options().wants_targets();
        let target = if wants_target { Some(entry.dir.read_link(entry.name)?) } else { None };
        let digest = self.digest(entry, metadata.kind, hand, crew);
        let known = digest.as_ref().map_or(None, Option::as_deref);
        let found = Found { metadata: &metadata, target: target.as_deref(), digest: known };
        self.meet(entry.place, entry.name.to_bytes(), found, hand, crew);
        digest?;
        if metadata.kind == Kind::File && self.harvest.options().usage.striping {
            let layout = entry.dir.layout(entry.name)?;
            Harvest::meet_layout(&metadata, layout.as_ref(), hand);
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
        hand: &mut HarvestHand,
        crew: &Crew<'_, Self>,
    ) -> Result<Option<String>, Error> {
        let listed = self.harvest.options().listing.checksum();
        let Some(checksum) = listed.filter(|_| kind == Kind::File) else { return Ok(None) };
        let file = entry.dir.open_listed(entry.name, entry.hint)?;
        checksum.of(&*file, &mut hand.buffer, &|| crew.is_stopped()).map(Some)
    }
}

impl Job for ListJob<'_> {
    type Task = WalkTask;
    type Letter = ();
    type Notice = Notice;
    type Snapshot = Tally;
    type Hand = HarvestHand;

    fn hand(&self) -> HarvestHand {
        self.harvest.hand()
    }

    fn run(&self, task: WalkTask, hand: &mut HarvestHand, crew: &Crew<'_, Self>) {
        super::run(self, task, hand, crew);
        self.harvest.account.settle(&mut hand.gathered);
    }

    fn discard(&self, _task: WalkTask, hand: &mut HarvestHand, _crew: &Crew<'_, Self>) {
        hand.gathered.tally.cancelled_tasks += 1;
        self.harvest.account.settle(&mut hand.gathered);
    }

    fn flush(&self, hand: &mut HarvestHand, crew: &Crew<'_, Self>) {
        self.harvest.flush(hand, crew);
    }

    fn letter(&self, _from: Rank, _letter: (), _crew: &Crew<'_, Self>) {}

    fn snapshot(&self) -> Tally {
        self.harvest.account.tally()
    }
}

impl Visitor for ListJob<'_> {
    fn selection(&self) -> &Selection {
        self.selection
    }

    fn named(&self) -> Option<&Named> {
        self.named
    }

    fn list_failed(&self, failure: Failure, hand: &mut HarvestHand, crew: &Crew<'_, Self>) {
        hand.gathered.tally.unread_directories += 1;
        self.harvest.account.fail(failure, &mut hand.gathered, crew);
    }

    fn source(&self, root: u32) -> &dyn Store {
        &*self.roots[root as usize].source
    }

    /// Returns the record of a walk of files. Objects are in no directories whose times could be
    /// compared.
    fn watch(&self, place: &Place) -> Option<&Watch> {
        self.watch.as_ref().filter(|_| !self.source(place.root()).holds_objects())
    }

    fn take_seen(&self, hand: &mut HarvestHand) -> Option<Metadata> {
        hand.gathered.seen.take()
    }

    fn enter(
        &self,
        place: &Arc<Place>,
        metadata: &Metadata,
        hand: &mut HarvestHand,
        crew: &Crew<'_, Self>,
    ) -> Result<(), Skip> {
        self.meet(place, b"", Found::of(metadata), hand, crew);
        Ok(())
    }

    fn visit(&self, entry: &Visit<'_>, hand: &mut HarvestHand, crew: &Crew<'_, Self>) -> Visited {
        // A directory is counted by the task that lists it.
        if entry.hint == Hint::Directory {
            return Visited::Directory;
        }
        self.look(entry, hand, crew).unwrap_or_else(|error| {
            if error.cause == Cause::Stopped {
                hand.gathered.tally.cancelled_tasks += 1;
            } else {
                self.fail(entry.place, entry.name.to_bytes(), error, hand, crew);
            }
            Visited::NOTHING_MOVED
        })
    }

    fn listed(&self, names: u64, hand: &mut HarvestHand) {
        hand.gathered.tally.listed += names;
    }

    fn unfit(
        &self,
        place: &Place,
        key: &[u8],
        trouble: Trouble,
        hand: &mut HarvestHand,
        crew: &Crew<'_, Self>,
    ) {
        self.fail(place, key, trouble.error, hand, crew);
    }

    fn unreadable(
        &self,
        place: &Place,
        trouble: Trouble,
        hand: &mut HarvestHand,
        crew: &Crew<'_, Self>,
    ) {
        hand.gathered.tally.unread_directories += 1;
        if let Some(metadata) = self.unopened(place) {
            self.meet(place, b"", Found::of(&metadata), hand, crew);
        }
        self.fail(place, b"", trouble.error, hand, crew);
    }
}

impl ListJob<'_> {
    /// Returns the metadata of a directory that could not be opened, according to its parent, so
    /// that it is counted all the same.
    fn unopened(&self, place: &Place) -> Option<Metadata> {
        let source = self.source(place.root());
        place.source_dir(source).err()?;
        let (parent, name) = place.path().split_last()?;
        let found = source.open_dir(&parent).and_then(|above| above.stat(&name)).ok();
        found.filter(|it| it.kind == Kind::Directory)
    }
}

/// Returns the first tasks of a walk of these roots.
pub fn seeds(roots: &[WalkRoot]) -> Vec<WalkTask> {
    roots.iter().zip(0..).map(|(root, index)| root.seed(index)).collect()
}
