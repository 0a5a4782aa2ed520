//! Early end of a job: a failure shows that nothing else can succeed in a store.

use std::sync::atomic::{AtomicBool, Ordering};

use super::account::{Account, Gathered};
use sched::context::TaskContext;
use sched::job::Job;
use store::Store;
use types::error::{Cause, Error, Failure, Op};
use types::outcome::event::Event;
use types::outcome::tally::Tally;

/// Record of whether this rank has reported why nothing else can succeed at a target.
#[derive(Debug, Default)]
pub struct Hopeless {
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

    /// Reports a failure at a target, unless the job stops because of it and has reported the
    /// reason before.
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

    /// Cancels the rest of the job because of that `errno`. Returns false where this rank has
    /// reported the reason before.
    pub fn stop<J: Job + ?Sized>(
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
