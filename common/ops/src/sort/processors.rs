//! The processors that a rank sorts on.

use std::cmp::Ordering;
use std::sync::atomic::{self, AtomicUsize};

use rayon::slice::ParallelSliceMut;
use rayon::{ThreadPool, ThreadPoolBuilder};

use types::limits::SORT_PARALLEL_ENTRIES_MIN;

/// The number of processors of this process; a fact of the process, which no sort changes.
static PROCESSORS: AtomicUsize = AtomicUsize::new(1);

/// Lets all later sorts of this process use so many processors. Ranks share those of their node, so a rank's share may
/// be less than one; then it sorts on one.
pub fn use_processors(share: f64) {
    PROCESSORS.store(share.max(1.0) as usize, atomic::Ordering::Relaxed);
}

/// Sorts on all processors of this rank where there are many elements. Equal elements keep their order.
pub(super) fn sort_by<T: Send>(all: &mut [T], order: impl Fn(&T, &T) -> Ordering + Send + Sync) {
    match pool(all.len()) {
        Some(pool) => pool.install(|| all.par_sort_by(order)),
        None => all.sort_by(order),
    }
}

/// Threads for a sort of so many elements. They end with the sort: a job sorts twice at most, and between sorts its
/// processors belong to the threads that read and write. Where none can be started, one thread sorts.
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
