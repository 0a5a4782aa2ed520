//! Visits to the names of a directory in their order, by the thread that has read them, where a
//! file system prefetches attributes for such a thread
//! ([`store::Capabilities::prefetches_in_order`]).
//!
//! Other threads of the rank work on other directories. A rank that has nothing at all to do, and
//! that others have refused, gets consecutive names from the end of a directory: the names before
//! them stay consecutive, too, and another node has a prefetch of its own.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::batch::NameBatch;
use super::dir_ref::DirRef;
use super::{Visitor, WalkTask, queue_or_visit, visit_first, walked_store};
use sched::context::TaskContext;
use store::Dir;
use types::limits;

/// Returns whether the names of a directory are visited in order. That is the order of the tree
/// that is listed; the other tree has the same one where both are on such a file system.
pub(super) fn is_chosen<V: Visitor>(visitor: &V, dir_ref: &DirRef) -> bool {
    visitor.inspects(dir_ref)
        && walked_store(visitor, dir_ref).capabilities().prefetches_in_order.is_some()
}

/// Returns the file system for which the names of directories are visited in order, if one of these
/// roots is on such a file system.
pub fn prefetched_by<V: Visitor>(visitor: &V, mut roots: Range<u32>) -> Option<&'static str> {
    let is_in_order = |root: &u32| is_chosen(visitor, &DirRef::root_of(*root));
    visitor.source(roots.find(is_in_order)?).capabilities().prefetches_in_order
}

/// Names of a directory that this thread has read and not visited yet, in their order.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    batches: VecDeque<NameBatch>,
    names: usize,
}

impl Ahead {
    /// Adds the next names.
    pub fn add(&mut self, batch: NameBatch) {
        self.names += batch.len();
        self.batches.push_back(batch);
    }

    /// Returns whether more names may be read before these are visited.
    pub fn has_room(&self) -> bool {
        self.names < limits::NAMES_AHEAD_MAX
    }

    /// Visits the names, or lets starved ranks visit those at the end.
    pub fn visit<V: Visitor>(
        &mut self,
        visitor: &V,
        (dir_ref, dir): (&Arc<DirRef>, &Arc<dyn Dir>),
        worker: &mut V::Worker,
        context: &TaskContext<'_, V>,
    ) {
        let mut offers = Vec::new();
        while let Some(batch) = self.batches.pop_front() {
            self.names -= batch.len();
            visit_run(visitor, (dir_ref, dir), batch, worker, context);
            visitor.account().settle(worker.as_mut());
            if context.is_offer_wanted()
                && let Some(run) = self.cut()
            {
                let dir_ref = dir_ref.for_queue(visitor.source(dir_ref.root()));
                offers.push(context.offer(WalkTask::Run(dir_ref, run).into()));
            }
        }
        // The last one offered has the names that come next.
        for offer in offers.into_iter().rev() {
            context.take_back(visitor, offer, worker);
        }
    }

    /// Takes names from the end, where enough of them are left.
    fn cut(&mut self) -> Option<NameBatch> {
        if self.names < 2 * limits::RUN_NAMES_MIN {
            return None;
        }
        let length = (self.names / 2).min(limits::RUN_NAMES_MAX);
        let mut run = NameBatch::default();
        while run.len() < length
            && let Some(mut last) = self.batches.pop_back()
        {
            self.names -= last.len();
            last.append(&run);
            run = last;
        }
        Some(run)
    }
}

/// Visits consecutive names in their order.
pub(super) fn visit_run<V: Visitor>(
    visitor: &V,
    (dir_ref, dir): (&Arc<DirRef>, &Arc<dyn Dir>),
    mut names: NameBatch,
    worker: &mut V::Worker,
    context: &TaskContext<'_, V>,
) {
    let mut later = NameBatch::default();
    while !names.is_empty() {
        context.pause_if_crowded(|| visitor.flush(worker, context));
        if context.is_stopped() {
            // In an interrupted job the rest is counted as cancelled.
            context.push_behind(WalkTask::Run(Arc::clone(dir_ref), names).into());
            break;
        }
        let names_and_later = (&mut names, Some(&mut later));
        let handles = (dir, None);
        visit_first(visitor, dir_ref, handles, names_and_later, worker, context);
        if later.len() >= limits::BATCH_NAMES_MAX {
            let full = std::mem::take(&mut later);
            queue_or_visit(visitor, (dir_ref, dir), full, worker, context);
        }
    }
    if !later.is_empty() {
        queue_or_visit(visitor, (dir_ref, dir), later, worker, context);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;
    use types::entry::Hint;

    fn batch(numbers: std::ops::Range<usize>) -> NameBatch {
        let mut batch = NameBatch::default();
        for number in numbers {
            batch.push(&CString::new(number.to_string()).unwrap(), Hint::File);
        }
        batch
    }

    fn ahead(names: usize) -> Ahead {
        let mut ahead = Ahead::default();
        for begin in (0..names).step_by(100) {
            ahead.add(batch(begin..names.min(begin + 100)));
        }
        ahead
    }

    fn drain(mut batch: NameBatch) -> Vec<usize> {
        let number = |name: &types::path::Name, _, _| name.to_str().unwrap().parse().unwrap();
        std::iter::from_fn(|| batch.take_first(number)).collect()
    }

    #[test]
    fn a_run_is_cut_from_the_end_in_order_and_nothing_is_lost() {
        let names = 8 * limits::RUN_NAMES_MIN;
        let mut ahead = ahead(names);
        let (last, middle) = (drain(ahead.cut().unwrap()), drain(ahead.cut().unwrap()));
        assert!(ahead.cut().is_none(), "a small directory is not cut");
        let first = ahead.batches.drain(..).flat_map(drain);
        let all: Vec<usize> = first.chain(middle).chain(last).collect();
        assert_eq!(all, (0..names).collect::<Vec<_>>());
    }

    #[test]
    fn a_run_of_a_giant_directory_is_not_larger_than_a_message() {
        let run = ahead(8 * limits::RUN_NAMES_MAX).cut().unwrap();
        assert!((limits::RUN_NAMES_MAX..limits::RUN_NAMES_MAX + 100).contains(&run.len()));
    }
}
