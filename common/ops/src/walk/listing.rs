//! Reading the names of a directory, and cutting them into batches as the store returns them.

use std::sync::Arc;

use super::batch::NameBatch;
use super::place::Place;
use super::{Visitor, WalkTask, visit_batch};
use sched::crew::Crew;
use store::{Dir, NameReader};
use types::entry::Hint;
use types::error::{At, Cause, Op, Trouble};
use types::limits;
use types::object::keys_below::KeysBelow;
use types::object::span::Span;
use types::path::{self, Name};
use types::service::Unfit;

/// A directory being read.
pub(super) struct Listing<'l, V: Visitor> {
    pub visitor: &'l V,
    pub place: &'l Arc<Place>,
    pub dir: &'l Arc<dyn Dir>,
    pub sharing: Sharing,
}

/// The permission to hand over parts of a directory's listing to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sharing {
    Allowed,
    None,
}

/// The part of a directory that is read.
pub(super) enum Part {
    /// All names. The store may also report all keys below directories, where that saves requests.
    All,
    /// The names in a key range, with keys below directories as in `All`.
    Range(Span),
    /// All names, of which only the new ones are visited.
    News,
    /// All names, without keys below directories.
    Names,
    /// All names by the keys below the directory, which are known, without a listing.
    Known(KeysBelow),
}

impl<V: Visitor> Listing<'_, V> {
    /// Reads names, and visits those that `takes_part` and the filters select.
    ///
    /// # Errors
    /// Returns the error of the listing; names read before it were visited.
    pub fn read(
        &self,
        part: Part,
        takes_part: impl FnMut(&Name, Hint) -> bool,
        hand: &mut V::Hand,
        crew: &Crew<'_, V>,
    ) -> Result<(), Trouble> {
        // The other tree may lack the directory's counterpart. Only in the tree that is walked has
        // a listing named the directory, so that it must have keys.
        let is_walked = !matches!(part, Part::Names);
        let is_again = matches!(part, Part::News);
        let batch = NameBatch::default();
        let mut names =
            Names { listing: self, takes_part, is_walked, hand, crew, batch, weight: 0, count: 0 };
        let read = match part {
            Part::All | Part::News | Part::Names => self.dir.read(Span::default(), &mut names),
            Part::Range(span) => self.dir.read(span, &mut names),
            Part::Known(keys) => self.dir.read_known(&keys, &mut names),
        };
        let Names { batch, count, .. } = names;
        // The names left over make a last batch, which this thread visits itself.
        visit_batch(self.visitor, self.place, self.dir, batch, hand, crew);
        // The first listing has counted these names already.
        self.visitor.listed(if is_again { 0 } else { count }, hand);
        read.at(self.place.trees().side())
    }
}

/// The state of cutting names into batches.
struct Names<'n, 'c, V: Visitor, T> {
    listing: &'n Listing<'n, V>,
    takes_part: T,
    is_walked: bool,
    hand: &'n mut V::Hand,
    crew: &'n Crew<'c, V>,
    batch: NameBatch,
    /// The number of names in the batch, and of keys below them.
    weight: usize,
    count: u64,
}

impl<V: Visitor, T: FnMut(&Name, Hint) -> bool> Names<'_, '_, V, T> {
    /// Counts a name, and returns whether it is visited.
    fn admits(&mut self, name: &Name, hint: Hint) -> bool {
        self.count += 1;
        let Listing { visitor, place, dir, .. } = *self.listing;
        if !(self.takes_part)(name, hint) {
            return false;
        }
        let is_admitted = visitor.selection().admits_name(place, &**dir, name, hint);
        if !is_admitted {
            visitor.left_out(place);
        }
        is_admitted
    }

    /// Adds to the weight of the batch, and queues or visits the batch when it is full.
    fn added(&mut self, weight: usize) {
        self.weight += weight;
        if self.weight < limits::BATCH_NAMES_MAX {
            return;
        }
        let Listing { visitor, place, dir, .. } = *self.listing;
        let full = std::mem::take(&mut self.batch);
        self.weight = 0;
        // Visiting a batch here slows the listing down where the queue is full, so that memory
        // stays bounded.
        if self.crew.is_full() {
            visit_batch(visitor, place, dir, full, self.hand, self.crew);
        } else {
            let place = place.for_queue(visitor.source(place.root()));
            self.crew.push(WalkTask::Batch(place, full).into());
        }
    }
}

impl<V: Visitor, T: FnMut(&Name, Hint) -> bool> NameReader for Names<'_, '_, V, T> {
    fn name(&mut self, name: &Name, hint: Hint) {
        if self.admits(name, hint) {
            self.batch.push(name, hint);
            self.added(1);
        }
    }

    fn directory(&mut self, name: &Name, below: &KeysBelow) {
        if self.admits(name, Hint::Directory) {
            self.batch.push_known(name, below);
            self.added(1 + below.len());
        }
    }

    fn wants_below(&self) -> bool {
        self.is_walked
    }

    fn may_be_empty(&self) -> bool {
        let Listing { visitor, place, .. } = *self.listing;
        !self.is_walked || (place.path().is_root() && visitor.root_may_be_empty())
    }

    fn unfit(&mut self, key: &[u8], why: Unfit) {
        let Listing { visitor, place, .. } = *self.listing;
        let below = path::join(place.path().as_bytes(), key);
        // A filter that excludes such a key shows that the operator knows of it.
        if !visitor.selection().admits_below(&below, key.ends_with(b"/")) {
            return visitor.left_out(place);
        }
        let trouble =
            Trouble { side: place.trees().side(), error: Op::List.failed(Cause::Key(why)) };
        visitor.unfit(place, key, trouble, self.hand, self.crew);
    }

    fn wants_to_share(&self) -> bool {
        self.listing.sharing == Sharing::Allowed && self.crew.is_hungry()
    }

    fn share(&mut self, rest: Span) {
        let Listing { visitor, place, .. } = *self.listing;
        let place = place.for_queue(visitor.source(place.root()));
        // The range goes to the queue that all threads share, where an idle one takes it at once:
        // this thread's names are soon visited, whereas a listing yields more work.
        self.crew.push_behind(WalkTask::Span(place, rest).into());
    }
}
