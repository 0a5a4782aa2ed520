//! Waiting for what another process does: a test holds a job where it needs it (`Gates`, the object
//! server's `hold_…`, a FIFO, SIGSTOP), and waits until it is there.

use std::process::Child;
use std::time::{Duration, Instant};

/// Time limit of a wait; it says that something hangs, and proves nothing about speed.
const LIMIT: Duration = Duration::from_mins(2);

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// Waits until a condition holds.
///
/// # Panics
/// When it never does; `what` says in the message what was waited for.
#[track_caller]
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < LIMIT, "it never comes true that {what}");
        std::thread::sleep(PAUSE);
    }
}

/// Waits until a condition holds while a job runs.
///
/// # Panics
/// When the job ends before that.
#[track_caller]
pub fn wait_within(job: &mut Child, what: &str, mut holds: impl FnMut() -> bool) {
    wait_until(what, || {
        let is_there = holds();
        let ended = job.try_wait().unwrap();
        assert!(is_there || ended.is_none(), "the job ended ({ended:?}) before {what}");
        is_there
    });
}
