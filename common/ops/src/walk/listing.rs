//! Reading the names of a directory, and cutting them into batches as the store returns them.

use std::sync::Arc;

use super::batch::NameBatch;
use super::dir_ref::{DirRef, Trees};
use super::in_order::{self, Ahead};
use super::sort_room::SortRoom;
use super::{Visitor, WalkTask, queue_or_visit, target_dir, visit_batch};
use host::process::descriptors_max;
use sched::context::TaskContext;
use store::{Dir, NameReader, Store};
use types::entry::Hint;
use types::error::{At, Cause, Op, SideError};
use types::limits;
use types::object::key_range::KeyRange;
use types::object::keys_below::KeysBelow;
use types::path::{self, Name};
use types::service::InvalidKey;

/// A directory being read.
pub(super) struct Listing<'l, V: Visitor> {
    pub visitor: &'l V,
    pub dir_ref: &'l Arc<DirRef>,
    pub dir: &'l Arc<dyn Dir>,
    pub sharing: Sharing,
    pub order: VisitOrder,
}

/// The order in which the names of a directory are visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VisitOrder {
    /// Any order, by any threads.
    Any,
    /// The order of the listing, by the thread that reads it ([`super::in_order`]).
    AsListed,
    /// Byte order, by any threads: the counterparts are looked up in sorted listings, each page of
    /// which answers for consecutive names.
    Sorted,
}

impl VisitOrder {
    /// Returns the order for a directory.
    pub fn of<V: Visitor>(visitor: &V, dir_ref: &DirRef) -> Self {
        let holds_objects = |store: &dyn Store| store.capabilities().holds_objects();
        let target = || visitor.target(dir_ref.root()).filter(|_| dir_ref.trees() == Trees::Both);
        if in_order::is_chosen(visitor, dir_ref) {
            Self::AsListed
        } else if target().is_some_and(holds_objects)
            && !holds_objects(visitor.source(dir_ref.root()))
        {
            Self::Sorted
        } else {
            Self::Any
        }
    }
}

/// The permission to hand over parts of a directory's listing to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sharing {
    Allowed,
    /// Parts of a directory that is compared by names with its counterpart: whoever takes a part
    /// reads it on both sides.
    InPairs,
    /// Parts of the counterpart, of which only the extraneous names are visited: whoever takes a
    /// part reads the names of the source in it again.
    OfExtraneous,
    /// No parts. Names may come in any order.
    None,
    /// No parts, and the order of the listing decides which of several names is taken.
    InOrder,
}

/// The part of a directory that is read.
pub(super) enum Part {
    /// All names. The store may also report all keys below directories, where that saves requests.
    All,
    /// The names in a key range, with keys below directories as in `All`.
    Range(KeyRange),
    /// All names, of which only the new ones are visited.
    News,
    /// The names of the counterpart in a range of entries, without keys below directories.
    Extraneous(KeyRange),
    /// All names by the keys below the directory, which are known, without a listing.
    Known(KeysBelow),
}

impl<V: Visitor> Listing<'_, V> {
    /// Reads names, and visits those that `takes_part` and the filters select. Returns the upper
    /// bound of the names that were read, where parts were handed over.
    ///
    /// # Errors
    /// Returns the error of the listing; names read before it were visited.
    pub fn read(
        &self,
        part: Part,
        takes_part: impl FnMut(&Name, Hint) -> bool,
        worker: &mut V::Worker,
        context: &TaskContext<'_, V>,
    ) -> Result<Option<String>, SideError> {
        // The other tree may lack the directory's counterpart. Only in the tree that is walked has
        // a listing named the directory, so that it must have keys.
        let is_walked = !matches!(part, Part::Extraneous(_));
        let is_again = matches!(part, Part::News);
        let batch = NameBatch::default();
        let mut names = Names {
            listing: self,
            takes_part,
            is_walked,
            worker,
            context,
            batch,
            ahead: Ahead::default(),
            sort_room: self.visitor.account().sort_rooms.room(),
            weight: 0,
            count: 0,
            end: None,
        };
        let read = match part {
            Part::All | Part::News if self.sharing == Sharing::InPairs => {
                self.dir.read(KeyRange::of_entries(String::new(), None), &mut names)
            }
            Part::All | Part::News => self.dir.read(KeyRange::default(), &mut names),
            Part::Range(key_range) | Part::Extraneous(key_range) => {
                names.end.clone_from(&key_range.end);
                self.dir.read(key_range, &mut names)
            }
            Part::Known(keys) => self.dir.read_known(&keys, &mut names),
        };
        let Names { batch, count, mut ahead, end, sort_room, .. } = names;
        // The names left over make a last batch, which this thread visits itself.
        match self.order {
            VisitOrder::Any => {
                visit_batch(self.visitor, self.dir_ref, self.dir, batch, worker, context);
            }
            VisitOrder::AsListed => {
                ahead.add(batch);
                ahead.visit(self.visitor, (self.dir_ref, self.dir), worker, context);
            }
            VisitOrder::Sorted => self.visit_sorted(batch, worker, context),
        }
        drop(sort_room);
        // The first listing has counted these names already.
        self.visitor.listed(if is_again { 0 } else { count }, worker);
        read.map(|()| end).at(self.dir_ref.trees().side())
    }

    /// Queues names in byte order, or visits them where the queue is full. A batch has as many
    /// names as a page that answers for them.
    fn visit_sorted(&self, names: NameBatch, worker: &mut V::Worker, context: &TaskContext<'_, V>) {
        names.in_order(limits::S3_PAGE_KEYS as usize, |batch| {
            queue_or_visit(self.visitor, (self.dir_ref, self.dir), batch, worker, context);
        });
    }
}

/// The state of cutting names into batches.
struct Names<'n, 'c, 'v, V: Visitor, T> {
    listing: &'n Listing<'v, V>,
    takes_part: T,
    is_walked: bool,
    worker: &'n mut V::Worker,
    context: &'n TaskContext<'c, V>,
    batch: NameBatch,
    /// Names before those in the batch, if this thread visits them in order.
    ahead: Ahead,
    /// The room for names that are sorted.
    sort_room: SortRoom<'v>,
    /// The number of names in the batch, and of keys below them.
    weight: usize,
    count: u64,
    /// Upper bound of the names that are read here.
    end: Option<String>,
}

impl<V: Visitor, T: FnMut(&Name, Hint) -> bool> Names<'_, '_, '_, V, T> {
    /// Counts a name, and returns whether it is visited.
    fn admits(&mut self, name: &Name, hint: Hint) -> bool {
        self.count += 1;
        let Listing { visitor, dir_ref, dir, .. } = *self.listing;
        if !(self.takes_part)(name, hint) {
            return false;
        }
        let is_admitted = visitor.selection().admits_name(dir_ref, &**dir, name, hint);
        if !is_admitted {
            visitor.left_out(dir_ref);
        }
        is_admitted
    }

    /// Adds to the weight of the batch, and queues or visits the batch when it is full.
    fn added(&mut self, weight: usize) {
        self.weight += weight;
        let Listing { visitor, dir_ref, dir, order, .. } = *self.listing;
        let is_full = match order {
            VisitOrder::Any | VisitOrder::AsListed => self.weight >= limits::BATCH_NAMES_MAX,
            VisitOrder::Sorted => !self.sort_room.holds(self.weight),
        };
        if !is_full {
            return;
        }
        let full = std::mem::take(&mut self.batch);
        self.weight = 0;
        match order {
            VisitOrder::Any => {
                queue_or_visit(visitor, (dir_ref, dir), full, self.worker, self.context);
            }
            VisitOrder::AsListed => {
                self.ahead.add(full);
                // Names that other ranks wait for are read first, so that they can get those at the
                // end.
                if !(self.context.is_offer_wanted() && self.ahead.has_room()) {
                    self.ahead.visit(visitor, (dir_ref, dir), self.worker, self.context);
                }
            }
            VisitOrder::Sorted => {
                self.listing.visit_sorted(full, self.worker, self.context);
                self.sort_room = visitor.account().sort_rooms.room();
            }
        }
    }
}

impl<V: Visitor, T: FnMut(&Name, Hint) -> bool> NameReader for Names<'_, '_, '_, V, T> {
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
        let Listing { visitor, dir_ref, .. } = *self.listing;
        !self.is_walked || (dir_ref.path().is_root() && visitor.root_may_be_empty())
    }

    fn invalid_key(&mut self, key: &[u8], why: InvalidKey) {
        let Listing { visitor, dir_ref, .. } = *self.listing;
        let below = path::join(dir_ref.path().as_bytes(), key);
        // A filter that excludes such a key shows that the operator knows of it.
        if !visitor.selection().admits_below(&below, key.ends_with(b"/")) {
            return visitor.left_out(dir_ref);
        }
        let side_error =
            SideError { side: dir_ref.trees().side(), error: Op::List.failed(Cause::Key(why)) };
        visitor.invalid_key(dir_ref, key, side_error, self.worker, self.context);
    }

    fn wants_to_share(&self) -> bool {
        self.listing.sharing != Sharing::InOrder && self.context.is_hungry()
    }

    fn may_share(&self) -> bool {
        let Listing { visitor, dir_ref, sharing, .. } = *self.listing;
        match sharing {
            Sharing::Allowed => true,
            Sharing::InPairs => {
                target_dir(visitor, dir_ref).is_ok_and(|target| target.is_divisible())
            }
            Sharing::OfExtraneous => {
                let source = dir_ref.source_dir(visitor.source(dir_ref.root()));
                source.is_ok_and(|source| source.is_divisible())
            }
            Sharing::None | Sharing::InOrder => false,
        }
    }

    fn listing_threads(&self) -> usize {
        limits::listing_threads(self.context.threads_max(), descriptors_max())
    }

    fn share(&mut self, rest: KeyRange) {
        let Listing { visitor, dir_ref, sharing, .. } = *self.listing;
        debug_assert!(!matches!(sharing, Sharing::None | Sharing::InOrder), "parts are not shared");
        self.end = Some(rest.after.clone());
        let dir_ref = dir_ref.for_queue(visitor.source(dir_ref.root()));
        let task = match sharing {
            Sharing::OfExtraneous => WalkTask::Extraneous(dir_ref, rest),
            _ => WalkTask::KeyRange(dir_ref, rest),
        };
        // The range goes to the queue that all threads share, where an idle one takes it at once:
        // this thread's names are soon visited, whereas a listing yields more work.
        self.context.push_behind(task.into());
    }
}
