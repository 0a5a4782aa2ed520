//! Ending a copy early: what has failed at the target shows that nothing else will fare better there.

use std::sync::atomic::Ordering;

use super::{CopyHand, CopyJob};
use crate::base::error::{Cause, Error, Op};
use crate::base::limits::HOPELESS_FAILURES;
use crate::sched::crew::Crew;
use crate::store::Store;

/// Failures at the target of one kind, in a row.
#[derive(Debug, Default)]
pub(super) struct Streak {
    errno: i32,
    failures: u32,
}

impl Streak {
    /// Counts a failure; returns how many of its kind there were in a row.
    fn count(&mut self, errno: i32) -> u32 {
        let before = if self.errno == errno { self.failures } else { 0 };
        *self = Self { errno, failures: before + 1 };
        self.failures
    }
}

impl CopyJob<'_> {
    /// Stops the job where nothing else would fare better than what has just failed in that target. False where the
    /// reason was told before by this rank: then it is no failure of its own.
    pub(super) fn stop_if_hopeless(
        &self,
        target: &dyn Store,
        error: &Error,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) -> bool {
        let Some(errno) = self.hopeless(target, error, hand) else { return true };
        let tally = &mut hand.gathered.tally;
        tally.given_up += 1;
        tally.gave_up_for = tally.gave_up_for.max(errno as u64);
        crew.stop_job();
        !self.is_hopeless.swap(true, Ordering::Relaxed)
    }

    /// The `errno` that shows that.
    fn hopeless(&self, target: &dyn Store, error: &Error, hand: &mut CopyHand) -> Option<i32> {
        // Room for extended attributes is an inode's own.
        let Cause::System(errno) = error.cause else { return None };
        if error.op == Op::SetXattrs {
            return None;
        }
        let is_it = target.is_past_help(errno)
            || self.may_go_for_all(errno) && hand.streak.count(errno) >= HOPELESS_FAILURES;
        is_it.then_some(errno)
    }

    /// Whether such a failure says something about more than its file. The superuser copies for many users, each with
    /// a quota.
    fn may_go_for_all(&self, errno: i32) -> bool {
        match errno {
            libc::EDQUOT => !self.options.job.is_superuser,
            libc::ENOSPC | libc::EROFS | libc::EIO | libc::ENODEV | libc::ENXIO => true,
            _ => false,
        }
    }
}
