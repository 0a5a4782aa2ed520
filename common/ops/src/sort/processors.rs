//! Processors that a rank sorts on.

use std::cmp::Ordering;
use std::sync::atomic::{self, AtomicUsize};

use rayon::slice::ParallelSliceMut;
use rayon::{ThreadPool, ThreadPoolBuilder};

use types::limits::SORT_PARALLEL_ENTRIES_MIN;

/// Number of processors of this process. It belongs to the process, and no sort changes it.
static PROCESSORS: AtomicUsize = AtomicUsize::new(1);

/// Sets the number of processors for all later sorts of this process. Ranks share the processors of
/// their node, so the share of a rank may be less than one; the rank then sorts on one.
pub fn use_processors(share: f64) {
    PROCESSORS.store(share.max(1.0) as usize, atomic::Ordering::Relaxed);
}

/// Sorts on all processors of this rank if there are many elements. Equal elements keep their
/// order.
pub(super) fn sort_by<T: Send>(all: &mut [T], order: impl Fn(&T, &T) -> Ordering + Send + Sync) {
    match pool(all.len()) {
        Some(pool) => pool.install(|| all.par_sort_by(order)),
        None => all.sort_by(order),
    }
}

/// Creates the threads for a sort of that many elements. They end with the sort: a job sorts twice
/// at most, and between sorts its processors belong to the threads that read and write. Returns
/// `None` where one thread sorts, also if none can be started.
fn pool(elements: usize) -> Option<ThreadPool> {
    let processors = PROCESSORS.load(atomic::Ordering::Relaxed);
    if processors < 2 || elements < SORT_PARALLEL_ENTRIES_MIN {
        return None;
    }
    ThreadPoolBuilder::new().num_threads(processors).build().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_elements_are_sorted_on_several_processors_as_on_one() {
        let mut random = fastrand::Rng::with_seed(7);
        let all: Vec<(u8, u32)> = (0..2 * SORT_PARALLEL_ENTRIES_MIN as u32)
            .map(|number| (random.u8(..), number))
            .collect();
        let mut expected = all.clone();
        expected.sort_by_key(|(key, _)| *key);
        for share in [0.5, 3.0] {
            use_processors(share);
            assert_eq!(
                pool(all.len()).map(|pool| pool.current_num_threads()),
                (share > 1.0).then_some(3)
            );
            let mut sorted = all.clone();
            sort_by(&mut sorted, |(a, _), (b, _)| a.cmp(b));
            assert!(sorted == expected);
        }
        assert!(pool(10).is_none());
    }
}
