//! Repeating calls where a file system does not answer: a server that restarts, a client that was
//! cut off.

use std::sync::atomic::{AtomicU32, Ordering};

use rustix::io::Errno;

use types::error::Cause;
use types::limits::{UNANSWERED_IN_VAIN_MAX, UNANSWERED_PAUSES};

/// Number of vain repetitions: after some the next one is assumed to be vain, too.
static IN_VAIN: AtomicU32 = AtomicU32::new(0);

/// Repeats `ask` for a bounded time while the file system does not answer.
pub(super) fn until_answered<T>(mut ask: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    let is_unanswered = |answer: &Result<T, Errno>| {
        answer.as_ref().is_err_and(|errno| Cause::System(errno.raw_os_error()).is_unanswered())
    };
    let mut answer = ask();
    if !is_unanswered(&answer) || IN_VAIN.load(Ordering::Relaxed) >= UNANSWERED_IN_VAIN_MAX {
        return answer;
    }
    for pause in UNANSWERED_PAUSES {
        std::thread::sleep(pause);
        answer = ask();
        if !is_unanswered(&answer) {
            IN_VAIN.store(0, Ordering::Relaxed);
            return answer;
        }
    }
    IN_VAIN.fetch_add(1, Ordering::Relaxed);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_answered_is_asked_again_and_other_answers_are_taken() {
        let mut asked = 0;
        let mut answers = [Err(Errno::STALE), Err(Errno::NOTCONN), Ok(7)].into_iter();
        let answer = until_answered(|| {
            asked += 1;
            answers.next().unwrap()
        });
        assert_eq!((answer, asked), (Ok(7), 3));
        let mut asked = 0;
        let answer: Result<(), Errno> = until_answered(|| {
            asked += 1;
            Err(Errno::NOENT)
        });
        assert_eq!((answer, asked), (Err(Errno::NOENT), 1));
        let answer: Result<(), Errno> = until_answered(|| Err(Errno::SHUTDOWN));
        assert_eq!(answer, Err(Errno::SHUTDOWN));
    }
}
