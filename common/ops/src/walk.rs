//! The walk: every directory below the roots, streamed as tasks that any thread of any rank may take.
//!
//! No list of the tree exists anywhere. A directory is a [`WalkTask::List`]; its names are cut into
//! [`WalkTask::Batch`]es as the file system returns them, so one giant directory is many tasks. What is
//! done with an entry is up to a [`Visitor`].

pub mod account;
pub mod batch;
pub mod list;
pub mod listed;
mod listing;
mod name_set;
mod named;
pub mod packed;
pub mod place;
pub mod selection;
pub mod watch;

use std::ffi::CString;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use batch::NameBatch;
use listing::{Listing, Part, Sharing};
use lists::named::Named;
use lists::source::Piece;
use name_set::NameSet;
use place::{Place, Rights, Trees};
use sched::crew::Crew;
use sched::job::Job;
use selection::Selection;
use store::opening::Symlinks;
use store::{Dir, Store};
use types::entry::{Hint, Kind, Metadata};
use types::error::{At, Cause, Error, Failure, Op, Side, Trouble};
use types::limits;
use types::object::keys_below::KeysBelow;
use types::object::span::Span;
use types::outcome::difference::Fields;
use types::path::{Name, RelPath};
use watch::Watch;

/// A piece of the walk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum WalkTask {
    /// Read a directory, and deal with the names in it.
    List(Arc<Place>),
    /// Read a directory once more that has changed since, and deal with what is new in it.
    Again(Arc<Place>),
    /// Read a directory, with a directory of objects all of whose keys are known.
    Known(Arc<Place>, KeysBelow),
    /// Read these names of a directory that was entered, and deal with them.
    Span(Arc<Place>, Span),
    /// Deal with these names of a directory.
    Batch(Arc<Place>, NameBatch),
    /// Deal with the entries that are named in this piece of a list.
    Named(Piece),
}

/// What an operation does with the entries of a walk.
pub trait Visitor: Job<Task: From<WalkTask>> {
    /// The tree a root index stands for.
    fn source(&self, root: u32) -> &dyn Store;

    /// Which entries take part.
    fn selection(&self) -> &Selection;

    /// The other tree, for operations on two.
    fn target(&self, _root: u32) -> Option<&dyn Store> {
        None
    }

    /// Names that only the other tree has are visited, too, in directories that are in both.
    fn wants_extras(&self) -> bool {
        false
    }

    /// Names that differ only in case are one in the other tree: only the first of them is visited.
    fn folds_case(&self, _root: u32) -> bool {
        false
    }

    /// Names in the other tree that are none of its own: what this job has staged there.
    fn is_staged(&self, _name: &Name) -> bool {
        false
    }

    /// A directory is read once more.
    fn enter_again(&self, _place: &Arc<Place>, _metadata: &Metadata, _hand: &mut Self::Hand) {}

    /// What watches a directory while it is walked, where anything does.
    fn watch(&self, _place: &Place) -> Option<&Watch> {
        None
    }

    /// Takes out what was seen of the entry that was visited last.
    fn take_seen(&self, _hand: &mut Self::Hand) -> Option<Metadata> {
        None
    }

    /// Whether an entry of a directory that is listed again is to be dealt with.
    fn is_news(&self, place: &Place, dir: &dyn Dir, name: &Name, hint: Hint) -> bool {
        self.watch(place)
            .is_none_or(|watch| watch.is_news(place, dir, (name, hint), walked_store(self, place)))
    }

    /// A directory of the other tree is open, and is about to be read for the first time on this rank:
    /// the moment to get the right to do so, where that takes something.
    fn let_in(&self, _place: &Place, _dir: &dyn Dir) -> Result<Rights, Error> {
        Ok(Rights::AsBefore)
    }

    /// A name of a directory takes no part.
    fn left_out(&self, _place: &Place) {}

    /// The entries that are dealt with instead of walking, where the operator has named them.
    fn named(&self) -> Option<&Named> {
        None
    }

    /// Makes sure that the counterpart of a directory is there, whose parents were not walked.
    fn reach(
        &self,
        _place: &Arc<Place>,
        _hand: &mut Self::Hand,
        _crew: &Crew<'_, Self>,
    ) -> Result<(), Skip> {
        Ok(())
    }

    /// A list, or a part of it, cannot be read.
    fn list_failed(&self, failure: Failure, hand: &mut Self::Hand, crew: &Crew<'_, Self>);

    /// A directory was opened; called before any of its entries is visited. `Err` leaves its entries
    /// out.
    fn enter(
        &self,
        place: &Arc<Place>,
        metadata: &Metadata,
        hand: &mut Self::Hand,
        crew: &Crew<'_, Self>,
    ) -> Result<(), Skip>;

    /// Deals with one entry.
    fn visit(&self, entry: &Visit<'_>, hand: &mut Self::Hand, crew: &Crew<'_, Self>) -> Visited;

    /// A key below a directory can be no entry.
    fn unfit(
        &self,
        place: &Place,
        key: &[u8],
        trouble: Trouble,
        hand: &mut Self::Hand,
        crew: &Crew<'_, Self>,
    );

    /// Whether a root may be a prefix of objects that no key has, as what a bucket has of a tree without files.
    fn root_may_be_empty(&self) -> bool {
        false
    }

    /// So many names of a directory were read by this thread.
    fn listed(&self, _names: u64, _hand: &mut Self::Hand) {}

    /// A directory cannot be opened or read to its end: what is below it stays unknown.
    fn unreadable(
        &self,
        place: &Place,
        trouble: Trouble,
        hand: &mut Self::Hand,
        crew: &Crew<'_, Self>,
    );
}

/// An entry as a visitor gets it.
pub struct Visit<'v> {
    /// The directory it is in.
    pub place: &'v Arc<Place>,
    /// That directory, open.
    pub dir: &'v Arc<dyn Dir>,
    /// Its name there.
    pub name: &'v Name,
    /// What the listing said it is.
    pub hint: Hint,
}

/// The visitor has reported why a directory's entries are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skip;

/// What a visitor found out about an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visited {
    /// Dealt with; so many bytes were moved for it.
    Done {
        /// Bytes moved: after many of them the rest of a batch is offered to others.
        moved_bytes: u64,
    },
    /// It is a directory: to be walked.
    Directory,
    /// It is a directory that has no counterpart yet: to be walked.
    NewDirectory,
}

impl WalkTask {
    fn list(place: Place, below: Option<KeysBelow>) -> Self {
        let place = Arc::new(place);
        match below {
            Some(keys) => Self::Known(place, keys),
            None => Self::List(place),
        }
    }

    /// Deals with one name of a directory.
    pub fn single(place: Arc<Place>, name: &Name) -> Self {
        let mut batch = NameBatch::default();
        batch.push(name, Hint::Unknown);
        Self::Batch(place, batch)
    }
}

impl Visited {
    /// Dealt with, without moving content.
    pub const NOTHING_MOVED: Self = Self::Done { moved_bytes: 0 };
}

/// Runs a piece of the walk.
pub fn run<V: Visitor>(visitor: &V, task: WalkTask, hand: &mut V::Hand, crew: &Crew<'_, V>) {
    match task {
        WalkTask::List(place) => list(visitor, &place, Part::All, hand, crew),
        WalkTask::Again(place) => list(visitor, &place, Part::News, hand, crew),
        WalkTask::Known(place, keys) => list(visitor, &place, Part::Known(keys), hand, crew),
        WalkTask::Span(place, span) => {
            let all = |_: &Name, _| true;
            let listed = walked_dir(visitor, &place).and_then(|dir| {
                let source =
                    Listing { visitor, place: &place, dir: &dir, sharing: Sharing::Allowed };
                source.read(Part::Range(span), all, hand, crew)
            });
            if let Err(trouble) = listed {
                shut(visitor, &place, trouble, hand, crew);
            }
        }
        WalkTask::Batch(place, batch) => match walked_dir(visitor, &place) {
            Ok(dir) => visit_batch(visitor, &place, &dir, batch, hand, crew),
            Err(trouble) => shut(visitor, &place, trouble, hand, crew),
        },
        WalkTask::Named(piece) => named::run(visitor, piece, hand, crew),
    }
}

/// The directory in the tree it is walked in: the other one for what only that has.
fn walked_dir<V: Visitor>(visitor: &V, place: &Place) -> Result<Arc<dyn Dir>, Trouble> {
    match place.trees().side() {
        Side::Source => place.source_dir(visitor.source(place.root())).at(Side::Source),
        Side::Target => target_dir(visitor, place),
    }
}

fn target_dir<V: Visitor>(visitor: &V, place: &Place) -> Result<Arc<dyn Dir>, Trouble> {
    let target = visitor.target(place.root()).ok_or(Op::Open.errno(libc::ENOENT));
    let let_in = |dir: &dyn Dir| visitor.let_in(place, dir);
    target.and_then(|target| place.target_dir_let_in(target, let_in)).at(Side::Target)
}

fn list<V: Visitor>(
    visitor: &V,
    place: &Arc<Place>,
    part: Part,
    hand: &mut V::Hand,
    crew: &Crew<'_, V>,
) {
    let (dir, metadata) = match open(visitor, place) {
        Ok(opened) => opened,
        Err(trouble) => return shut(visitor, place, trouble, hand, crew),
    };
    let is_again = matches!(part, Part::News);
    if let Some(watch) = visitor.watch(place) {
        watch.add(place.trees().side(), place, &metadata);
    }
    if is_again {
        visitor.enter_again(place, &metadata, hand);
    } else if visitor.enter(place, &metadata, hand, crew) == Err(Skip) {
        visitor.watch(place).inspect(|watch| watch.shut(place));
        return;
    }
    if is_other_system(visitor, place, &metadata) {
        return;
    }
    let with_extras = visitor.wants_extras() && place.trees() == Trees::Both;
    let folds = place.trees().side() == Side::Source && visitor.folds_case(place.root());
    let set = || if folds { NameSet::folding() } else { NameSet::default() };
    let (mut names, mut taken, mut folded) = (set(), set(), Vec::new());
    let is_news = |name: &Name, hint| !is_again || visitor.is_news(place, &*dir, name, hint);
    // What takes no part takes nobody's place.
    let has_place =
        |name: &Name, hint| folds && visitor.selection().admits_name(place, &*dir, name, hint);
    if is_again && folds {
        let known = &mut |name: &Name, hint| {
            if has_place(name, hint) && !is_news(name, hint) {
                taken.insert(name);
            }
        };
        // Where that fails so does reading it below, which is told of.
        let _ = dir.list(known);
    }
    let all = |name: &Name, hint| {
        // A name that is left out as the kind of entry that it is here may take part in the other tree, as what it is
        // there. Where case is ignored there, patterns may miss the name, so it is protected.
        let is_chosen = || visitor.selection().is_chosen(place, &*dir, name, hint);
        if with_extras && (folds || is_chosen()) {
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
    // Who compares names with others must have all of them.
    let sharing = if with_extras || folds { Sharing::None } else { Sharing::Allowed };
    let listing = Listing { visitor, place, dir: &dir, sharing };
    let listed = listing.read(part, all, hand, crew);
    for name in folded {
        let trouble = Trouble { side: Side::Source, error: Op::Copy.failed(Cause::Folds) };
        visitor.unfit(place, name.to_bytes(), trouble, hand, crew);
    }
    let listed = listed.and_then(|()| {
        let names = (&names, is_again);
        if with_extras { list_extras(visitor, place, names, hand, crew) } else { Ok(()) }
    });
    if let Err(trouble) = listed {
        shut(visitor, place, trouble, hand, crew);
    }
}

/// Tells of a directory that cannot be read, once.
fn shut<V: Visitor>(
    visitor: &V,
    place: &Place,
    trouble: Trouble,
    hand: &mut V::Hand,
    crew: &Crew<'_, V>,
) {
    // One that has vanished may be there again.
    let has_vanished = trouble.side == Side::Source && trouble.error.cause.is_vanished();
    visitor.unreadable(place, trouble, hand, crew);
    visitor.watch(place).filter(|_| !has_vanished).inspect(|watch| watch.shut(place));
}

fn walked_store<'v, V: Visitor + ?Sized>(visitor: &'v V, place: &Place) -> &'v dyn Store {
    let source = visitor.source(place.root());
    match place.trees().side() {
        Side::Source => source,
        Side::Target => visitor.target(place.root()).unwrap_or(source),
    }
}

fn is_other_system<V: Visitor>(visitor: &V, place: &Place, metadata: &Metadata) -> bool {
    let root_device = match place.trees().side() {
        Side::Source => visitor.source(place.root()).device(),
        Side::Target => visitor.target(place.root()).map_or(Ok(metadata.device), Store::device),
    };
    visitor.selection().stops_at(metadata, root_device)
}

/// Visits what the other tree has in a directory beyond the source's names.
fn list_extras<V: Visitor>(
    visitor: &V,
    place: &Place,
    (names, is_again): (&NameSet, bool),
    hand: &mut V::Hand,
    crew: &Crew<'_, V>,
) -> Result<(), Trouble> {
    let dir = target_dir(visitor, place)?;
    let metadata = dir.metadata().at(Side::Target)?;
    let device = visitor.target(place.root()).map_or(Ok(metadata.device), Store::device);
    if visitor.selection().stops_at(&metadata, device) {
        return Ok(());
    }
    let extras = Arc::new(place.extras());
    let is_extra = |name: &Name, hint| {
        let is_new = || !is_again || visitor.is_news(&extras, &*dir, name, hint);
        !names.contains(name) && !visitor.is_staged(name) && is_new()
    };
    let listing = Listing { visitor, place: &extras, dir: &dir, sharing: Sharing::None };
    listing.read(Part::Names, is_extra, hand, crew)
}

fn open<V: Visitor>(visitor: &V, place: &Place) -> Result<(Arc<dyn Dir>, Metadata), Trouble> {
    let dir = walked_dir(visitor, place)?;
    let metadata = dir.metadata().at(place.trees().side())?;
    Ok((dir, metadata))
}

fn visit_batch<V: Visitor>(
    visitor: &V,
    place: &Arc<Place>,
    dir: &Arc<dyn Dir>,
    mut batch: NameBatch,
    hand: &mut V::Hand,
    crew: &Crew<'_, V>,
) {
    let mut moved_in_batch = 0;
    while !batch.is_empty() {
        if batch.len() > 1 && crew.is_hungry() {
            let half = batch.split_off_half();
            crew.push(WalkTask::Batch(Arc::clone(place), half).into());
        }
        if crew.is_stopped() || moved_in_batch >= limits::BATCH_BYTES_MAX {
            // Others may take the rest; a stopped job gives it up in good order.
            return crew.push_behind(WalkTask::Batch(Arc::clone(place), batch).into());
        }
        let visited = batch.take_first(|name, hint, below| {
            let entry = Visit { place, dir, name, hint };
            let visited = visitor.visit(&entry, hand, crew);
            if let Some(watch) = visitor.watch(place) {
                let seen = visitor.take_seen(hand);
                watch.dealt_with(&entry, visited, seen, walked_store(visitor, place));
            }
            if matches!(visited, Visited::Directory | Visited::NewDirectory) {
                let child = place.child(name, visitor.source(place.root()));
                if visited == Visited::NewDirectory {
                    child.set_trees(Trees::SourceOnly);
                }
                if visitor.named().is_some() && place.trees().side() == Side::Source {
                    named::enter(visitor, &Arc::new(child), hand, crew);
                } else {
                    crew.push(WalkTask::list(child, below).into());
                }
            }
            visited
        });
        if let Some(Visited::Done { moved_bytes }) = visited {
            moved_in_batch += moved_bytes;
        }
    }
}

/// Looks at an entry of which the listing says too little, or which is a link to be followed.
pub fn look(entry: &Visit<'_>, store: &dyn Store, symlinks: Symlinks) -> Result<Metadata, Error> {
    let may_be_link = matches!(entry.hint, Hint::Symlink | Hint::Unknown);
    let is_followed = symlinks == Symlinks::Follow && may_be_link;
    let metadata = match entry.dir.stat(entry.name) {
        // A link was listed, so what is missing is what it points to.
        Err(error) if is_followed && entry.hint == Hint::Symlink && error.cause.is_vanished() => {
            return Err(Op::Follow.failed(Cause::Dangling));
        }
        looked => looked?,
    };
    if is_followed
        && metadata.kind == Kind::Directory
        && leads_back(store, entry.place.path(), &metadata)?
    {
        return Err(Op::Follow.failed(Cause::Loop));
    }
    Ok(metadata)
}

/// All that the store knows of an entry of which somebody has seen something. What a listing takes for a file
/// may be a link.
///
/// # Errors
/// Those of [`Dir::stat`].
pub fn whole(dir: &dyn Dir, name: &Name, seen: Metadata) -> Result<Metadata, Error> {
    if is_whole(&seen) { Ok(seen) } else { dir.stat(name) }
}

/// Whether that is all the store knows of an entry.
pub fn is_whole(seen: &Metadata) -> bool {
    seen.kind != Kind::File || seen.known.contains(Fields::CONTENT)
}

/// Whether a directory reached by a followed link, met in the directory at `path`, is one of those
/// above: following it would never end.
fn leads_back(store: &dyn Store, path: &RelPath, reached: &Metadata) -> Result<bool, Error> {
    let mut above = RelPath::root();
    let mut components = path.components();
    loop {
        if store.open_dir(&above)?.metadata()?.is_same_file(reached) {
            return Ok(true);
        }
        let Some(component) = components.next() else { return Ok(false) };
        let name = CString::new(component).map_err(|_| Op::Open.errno(libc::EINVAL))?;
        above = above.child(&name);
    }
}
