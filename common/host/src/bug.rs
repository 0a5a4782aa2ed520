//! Panics of threads other than the main one, which alone should end the job on all ranks.
//!
//! Such a thread stays in the panic hook. An installed build does not unwind (profile `dist`): the
//! process would end behind the hook, by a signal and before the other ranks know.

use std::sync::atomic::{AtomicBool, Ordering};

use types::limits;

static HAS_PANICKED: AtomicBool = AtomicBool::new(false);

/// Returns true after a thread has panicked.
pub fn has_panicked() -> bool {
    HAS_PANICKED.load(Ordering::SeqCst)
}

/// Waits, in a thread that has panicked, until the main thread ends the job. Returns only where
/// that one waits for this thread.
pub fn wait_for_end() {
    HAS_PANICKED.store(true, Ordering::SeqCst);
    std::thread::sleep(limits::BUG_FAREWELL_MAX);
}
