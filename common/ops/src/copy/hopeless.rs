//! Early end of a copy: a failure, or a number of them, shows that nothing else can succeed at the
//! target.

use super::context::Context;
use store::Store;
use types::error::{Cause, Error, Op};
use types::limits::HOPELESS_FAILURES;

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
            libc::EDQUOT => !self.env.options.user.is_superuser,
            libc::ENOSPC | libc::EROFS | libc::EIO | libc::ENODEV | libc::ENXIO => true,
            _ => false,
        }
    }
}
