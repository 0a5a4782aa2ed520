//! Reading a directory's names, and cutting them into batches as the store tells them.

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

/// A directory that is read.
pub(super) struct Listing<'l, V: Visitor> {
    pub visitor: &'l V,
    pub place: &'l Arc<Place>,
    pub dir: &'l Arc<dyn Dir>,
    pub sharing: Sharing,
}

/// Whether others may list part of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sharing {
    Allowed,
    None,
}

/// What is read of a directory.
pub(super) enum Part {
    /// All names. What is below the directories among them is welcome, too, where that saves requests.
    All,
    /// The same of a range.
    Range(Span),
    /// All names, of which those that are new are dealt with.
    News,
    /// All names and nothing else.
    Names,
    /// Nothing: all keys below it are known.
    Known(KeysBelow),
}

impl<V: Visitor> Listing<'_, V> {
    /// Reads names, and deals with those that take part.
    pub fn read(
        &self,
        part: Part,
        takes_part: impl FnMut(&Name, Hint) -> bool,
        hand: &mut V::Hand,
        crew: &Crew<'_, V>,
    ) -> Result<(), Trouble> {
        // What the other tree has may be nothing; the tree that is walked has told of the directory.
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
        visit_batch(self.visitor, self.place, self.dir, batch, hand, crew);
        self.visitor.listed(if is_again { 0 } else { count }, hand);
        read.at(self.place.trees().side())
    }
}

/// Names on their way into batches.
struct Names<'n, 'c, V: Visitor, T> {
    listing: &'n Listing<'n, V>,
    takes_part: T,
    is_walked: bool,
    hand: &'n mut V::Hand,
    crew: &'n Crew<'c, V>,
    batch: NameBatch,
    /// Names in the batch, and keys below them.
    weight: usize,
    count: u64,
}

impl<V: Visitor, T: FnMut(&Name, Hint) -> bool> Names<'_, '_, V, T> {
    /// One more name was read; whether it takes part.
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

    /// So much was added to the batch.
    fn added(&mut self, weight: usize) {
        self.weight += weight;
        if self.weight < limits::BATCH_NAMES_MAX {
            return;
        }
        let Listing { visitor, place, dir, .. } = *self.listing;
        let full = std::mem::take(&mut self.batch);
        self.weight = 0;
        // A full queue slows the listing down instead of filling memory.
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
        // Whoever excludes such keys knows of them.
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
        // Ahead of the names, which are soon dealt with.
        self.crew.push_behind(WalkTask::Span(place, rest).into());
    }
}
