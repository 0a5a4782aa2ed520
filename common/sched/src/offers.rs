//! Tasks that are offered to other ranks only. Until a rank takes one, the thread that has offered
//! it can take it back.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Reference to an offered task, by which it is taken back.
#[derive(Debug)]
#[must_use = "a task that no rank takes is lost unless it is taken back"]
pub struct Offer(u64);

/// Open offers of a rank.
#[derive(Debug)]
pub(super) struct Offers<T> {
    open: Mutex<Vec<(u64, T)>>,
    made: AtomicU64,
    /// True where a rank without any work has asked, and nothing was offered.
    wanted: AtomicBool,
}

impl<T> Offers<T> {
    pub fn new() -> Self {
        Self {
            open: Mutex::new(Vec::new()),
            made: AtomicU64::new(0),
            wanted: AtomicBool::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(u64, T)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Offers a task, which answers one request.
    pub fn put(&self, task: T) -> Offer {
        self.wanted.store(false, Ordering::Relaxed);
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        self.lock().push((number, task));
        Offer(number)
    }

    /// Takes a task for another rank; where there is none, threads are asked to offer one.
    pub fn take(&self) -> Option<T> {
        let mut open = self.lock();
        if open.is_empty() {
            self.wanted.store(true, Ordering::Relaxed);
            return None;
        }
        Some(open.remove(0).1)
    }

    /// Takes a task back; `None` where a rank has taken it.
    pub fn take_back(&self, Offer(number): Offer) -> Option<T> {
        let mut open = self.lock();
        let at = open.iter().position(|(other, _)| *other == number)?;
        Some(open.remove(at).1)
    }

    /// Returns true where a task should be offered.
    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_taken_once_by_a_rank_or_by_the_thread_that_offered_it() {
        let offers = Offers::new();
        assert!(!offers.is_wanted());
        assert_eq!(offers.take(), None);
        assert!(offers.is_wanted());
        let [first, second, third] = ["first", "second", "third"].map(|task| offers.put(task));
        assert!(!offers.is_wanted());
        assert_eq!(offers.take(), Some("first"));
        assert_eq!(offers.take_back(first), None);
        assert_eq!(offers.take_back(third), Some("third"));
        assert_eq!(offers.take_back(second), Some("second"));
        assert_eq!(offers.take(), None);
    }
}
