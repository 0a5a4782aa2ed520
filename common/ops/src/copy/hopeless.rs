//! Early end of a job: a failure at the target shows that nothing else can succeed there.

use std::sync::atomic::{AtomicBool, Ordering};

use super::context::Context;
use crate::walk::account::{Account, Gathered};
use sched::context::TaskContext;
use sched::job::Job;
use store::Store;
use types::error::{Cause, Error, Failure, Op};
use types::limits::HOPELESS_FAILURES;
use types::outcome::event::Event;
use types::outcome::tally::Tally;

/// Record of whether this rank has reported why nothing else can succeed at a target.
#[derive(Debug, Default)]
pub(crate) struct Hopeless {
    is_reported: AtomicBool,
}

impl Hopeless {
    /// Creates the record for a phase after one that has stopped for that `errno` and has reported
    /// it; 0 stands for none.
    pub fn after(fatal_errno: u64) -> Self {
        Self { is_reported: AtomicBool::new(fatal_errno != 0) }
    }

    /// Cancels the rest of the job where a failure shows that nothing else can succeed at the
    /// target. Returns false where this was reported before, so that the failure does not count
    /// separately.
    fn stop_if_past_help<J: Job + ?Sized>(
        &self,
        target: &dyn Store,
        error: &Error,
        tally: &mut Tally,
        context: &TaskContext<'_, J>,
    ) -> bool {
        match error.cause {
            Cause::System(errno) if error.op != Op::SetXattrs && target.is_past_help(errno) => {
                self.stop(errno, tally, context)
            }
            _ => true,
        }
    }

    /// Reports a failure at a target, unless the job stops because of it and has reported the reason
    /// before.
    pub fn report<J: Job<Event = Event> + ?Sized>(
        &self,
        target: &dyn Store,
        failure: Failure,
        account: &Account,
        worker: &mut Gathered,
        context: &TaskContext<'_, J>,
    ) {
        if self.stop_if_past_help(target, &failure.error, &mut worker.tally, context) {
            account.fail(failure, worker, context);
        }
    }

    fn stop<J: Job + ?Sized>(
        &self,
        errno: i32,
        tally: &mut Tally,
        context: &TaskContext<'_, J>,
    ) -> bool {
        tally.cancelled_tasks += 1;
        tally.fatal_errno = tally.fatal_errno.max(errno as u64);
        context.stop_job();
        !self.is_reported.swap(true, Ordering::Relaxed)
    }
}

/// Consecutive failures at the target with one `errno`.
#[derive(Debug, Default)]
pub(super) struct Streak {
    errno: i32,
    failures: u32,
}

impl Streak {
    /// Counts a failure; returns the number of consecutive failures with its `errno`.
    fn count(&mut self, errno: i32) -> u32 {
        let before = if self.errno == errno { self.failures } else { 0 };
        *self = Self { errno, failures: before + 1 };
        self.failures
    }
}

impl Context<'_, '_> {
    /// Stops the job where the failure shows that nothing else can succeed at that target. Returns
    /// false where this rank has reported the reason before, so that the failure does not count
    /// separately.
    pub(super) fn stop_if_hopeless(&mut self, target: &dyn Store, error: &Error) -> bool {
        let Some(errno) = self.hopeless_errno(target, error) else { return true };
        self.env.hopeless.stop(errno, &mut self.worker.gathered.tally, self.task)
    }

    /// Returns the `errno`, if it shows that nothing else can succeed at the target.
    fn hopeless_errno(&mut self, target: &dyn Store, error: &Error) -> Option<i32> {
        // Space for extended attributes is a matter of each inode.
        let Cause::System(errno) = error.cause else { return None };
        if error.op == Op::SetXattrs {
            return None;
        }
        let is_it = target.is_past_help(errno)
            || self.may_go_for_all(errno) && self.worker.streak.count(errno) >= HOPELESS_FAILURES;
        is_it.then_some(errno)
    }

    /// True if such a failure may concern more than its file. The superuser copies for many users,
    /// each with a quota of their own.
    fn may_go_for_all(&self, errno: i32) -> bool {
        match errno {
            libc::EDQUOT => !self.env.options.job.is_superuser,
            libc::ENOSPC | libc::EROFS | libc::EIO | libc::ENODEV | libc::ENXIO => true,
            _ => false,
        }
    }
}
