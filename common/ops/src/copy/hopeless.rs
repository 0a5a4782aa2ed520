//! Ending a job early: what has failed at the target shows that nothing else will fare better there.

use std::sync::atomic::{AtomicBool, Ordering};

use super::context::Context;
use sched::crew::Crew;
use sched::job::Job;
use store::Store;
use types::error::{Cause, Error, Op};
use types::limits::HOPELESS_FAILURES;
use types::outcome::tally::Tally;

/// Whether this rank has told why nothing else will fare better at a target.
#[derive(Debug, Default)]
pub(crate) struct Hopeless {
    is_told: AtomicBool,
}

impl Hopeless {
    /// For a phase after one that has given up for that `errno`, and has told so; 0 where none has.
    pub fn after(fatal_errno: u64) -> Self {
        Self { is_told: AtomicBool::new(fatal_errno != 0) }
    }

    /// Gives all else up where what has failed shows that the target is past help. False where that was told before:
    /// then it is no failure of its own.
    pub fn stop_if_past_help<J: Job + ?Sized>(
        &self,
        target: &dyn Store,
        error: &Error,
        tally: &mut Tally,
        crew: &Crew<'_, J>,
    ) -> bool {
        match error.cause {
            Cause::System(errno) if error.op != Op::SetXattrs && target.is_past_help(errno) => {
                self.stop(errno, tally, crew)
            }
            _ => true,
        }
    }

    fn stop<J: Job + ?Sized>(&self, errno: i32, tally: &mut Tally, crew: &Crew<'_, J>) -> bool {
        tally.cancelled_tasks += 1;
        tally.fatal_errno = tally.fatal_errno.max(errno as u64);
        crew.stop_job();
        !self.is_told.swap(true, Ordering::Relaxed)
    }
}

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

impl Context<'_, '_> {
    /// Stops the job where nothing else would fare better than what has just failed in that target. False where the
    /// reason was told before by this rank: then it is no failure of its own.
    pub(super) fn stop_if_hopeless(&mut self, target: &dyn Store, error: &Error) -> bool {
        let Some(errno) = self.hopeless_errno(target, error) else { return true };
        self.env.hopeless.stop(errno, &mut self.hand.gathered.tally, self.crew)
    }

    /// The `errno` that shows that.
    fn hopeless_errno(&mut self, target: &dyn Store, error: &Error) -> Option<i32> {
        // Room for extended attributes is an inode's own.
        let Cause::System(errno) = error.cause else { return None };
        if error.op == Op::SetXattrs {
            return None;
        }
        let is_it = target.is_past_help(errno)
            || self.may_go_for_all(errno) && self.hand.streak.count(errno) >= HOPELESS_FAILURES;
        is_it.then_some(errno)
    }

    /// Whether such a failure says something about more than its file. The superuser copies for many users, each with
    /// a quota.
    fn may_go_for_all(&self, errno: i32) -> bool {
        match errno {
            libc::EDQUOT => !self.env.options.job.is_superuser,
            libc::ENOSPC | libc::EROFS | libc::EIO | libc::ENODEV | libc::ENXIO => true,
            _ => false,
        }
    }
}
