//! Context of a task: the environment that all tasks share, the state of the thread that runs it,
//! and the task context of the scheduler, which takes new tasks and messages.

use super::CopyJob;
use super::env::Env;
use super::hopeless::Streak;
use super::linked::LinkedFile;
use super::on_their_way::OnTheirWay;
use crate::compare::buffers::Buffers;
use crate::walk::Visited;
use crate::walk::account::{self, Gathered};
use crate::walk::dir_ref::DirRef;
use host::aligned::AlignedBuffer;
use lists::rows::Rows;
use sched::context::TaskContext;
use types::entry::{Kind, Preserved};
use types::error::{Side, SideError};
use types::listed::change::{Action, Change, Reason};
use types::listed::line::write_plan;
use types::outcome::tally::Compared;
use types::path::{self, Name};

/// State of one thread: buffers, and the counts and rows that it has not yet handed over.
pub struct CopyWorker {
    pub(super) gathered: Gathered,
    pub(super) buffer: AlignedBuffer,
    buffers: Option<Buffers>,
    /// Rows of the manifest.
    pub(super) rows: Rows,
    /// Failures at the target since the last successful copy.
    pub(super) streak: Streak,
    /// Files that are on their way to the target.
    pub(super) on_their_way: OnTheirWay,
}

impl AsMut<Gathered> for CopyWorker {
    fn as_mut(&mut self) -> &mut Gathered {
        &mut self.gathered
    }
}

impl CopyWorker {
    /// Creates the state of a thread, with an I/O buffer of that size.
    pub(super) fn new(buffer_bytes: u64) -> Self {
        Self {
            gathered: Gathered::default(),
            buffer: AlignedBuffer::new(buffer_bytes),
            buffers: None,
            rows: Rows::default(),
            streak: Streak::default(),
            on_their_way: OnTheirWay::default(),
        }
    }

    /// Returns the buffers for comparisons, allocated at first use.
    pub(super) fn buffers(&mut self, bytes: u64) -> &mut Buffers {
        self.buffers.get_or_insert_with(|| Buffers::new(bytes))
    }

    /// Returns the buffers for comparisons, and the counts of what was compared.
    pub(super) fn buffers_and_count(&mut self, bytes: u64) -> (&mut Buffers, &mut Compared) {
        let buffers = self.buffers.get_or_insert_with(|| Buffers::new(bytes));
        (buffers, &mut self.gathered.tally.compared)
    }
}

/// State of an entry at the target after its visit, on which its other hard links depend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// The target has the entry as it should be.
    Complete,
    /// The entry is deferred until a directory in its way is deleted.
    Deferred,
    /// The target does not have the entry: it was skipped or has failed, or many ranks work on it.
    Open,
}

/// Result of the visit of an entry of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Handled {
    /// The result for the walk.
    pub visited: Visited,
    /// The state of the entry at the target.
    pub progress: Progress,
}

impl Handled {
    /// An entry that the target has as it should be, without content having been moved.
    pub const COMPLETE: Self =
        Self { visited: Visited::NOTHING_MOVED, progress: Progress::Complete };
    /// An entry that was deferred.
    pub const DEFERRED: Self =
        Self { visited: Visited::NOTHING_MOVED, progress: Progress::Deferred };
    /// An entry that was skipped.
    pub const SKIPPED: Self = Self { visited: Visited::NOTHING_MOVED, progress: Progress::Open };
    /// A file that many ranks work on. Nothing was transferred yet, but the file is work enough:
    /// other threads may take the rest of the batch.
    pub const BEGUN: Self =
        Self { visited: Visited::Done { moved_bytes: u64::MAX / 2 }, progress: Progress::Open };
    /// An entry that is to be visited again, since it takes longer than the order of visits
    /// permits.
    pub const LATER: Self = Self { visited: Visited::Later, progress: Progress::Open };

    /// A directory, to be walked.
    pub fn directory(visited: Visited) -> Self {
        Self { visited, progress: Progress::Open }
    }

    /// True if nothing is done for the entry any more, so that its source stays.
    pub fn leaves_entry(self) -> bool {
        self == Self::SKIPPED
    }

    /// A file whose content was copied, and which is complete unless its verification has failed.
    pub fn copied(moved_bytes: u64, progress: Progress) -> Self {
        Self { visited: Visited::Done { moved_bytes }, progress }
    }
}

/// Result of an executor for an entry that was passed as one of its kind.
pub(super) enum Met {
    /// The entry is done.
    Done(Handled),
    /// The entry is of that other kind by now.
    Other(Kind),
}

/// Task context of a copy.
pub(super) type CopyTaskContext<'t, 'c> = TaskContext<'t, CopyJob<'c>>;

/// Everything besides the executors that running a task needs.
pub(super) struct Context<'t, 'c> {
    pub env: &'t Env<'c>,
    pub worker: &'t mut CopyWorker,
    pub task: &'t CopyTaskContext<'t, 'c>,
    /// Hard-linked file whose first name is being copied; taken by a large file, which has it until
    /// its chunks are accounted for.
    pub linked: Option<LinkedFile>,
    /// Reason for which the entry at hand is changed.
    pub reason: Reason,
    /// Attributes that the target was found to preserve of an entry that it has.
    pub preserved: Preserved,
    /// True if a file may be on its way to the target when its visit ends.
    pub may_wait: bool,
}

impl Context<'_, '_> {
    /// Reports and counts a failure at an entry; cancels the rest of the job where the failure
    /// shows that nothing else can succeed.
    pub fn fail(&mut self, dir_ref: &DirRef, name: &[u8], side_error: SideError) {
        let env = self.env;
        let root = env.root(dir_ref);
        let at_root = dir_ref.path().is_root() && name.is_empty();
        let side_error = account::missing(side_error, at_root, &*root.source, env.selection);
        let side_error = account::named_in_vain(side_error, env.named);
        if side_error.side == Side::Target
            && !self.stop_if_hopeless(&*root.target, &side_error.error)
        {
            return;
        }
        let shown = match side_error.side {
            Side::Source => &root.shown_source,
            Side::Target => &root.shown_target,
        };
        let source_name = name;
        self.stays(dir_ref);
        self.name_stays(dir_ref, name);
        let name = match side_error.side {
            Side::Source => name,
            Side::Target => env.target_name_bytes(dir_ref, name),
        };
        let below = path::join(dir_ref.path().as_bytes(), name);
        let failure = account::failure(side_error.side, shown, &below, side_error.error);
        if let Some(watch) = env.watch_over(dir_ref).filter(|_| !failure.is_vanished()) {
            watch.told(dir_ref, source_name);
        }
        env.account.fail(failure, &mut self.worker.gathered, self.task);
    }

    /// Counts an entry that is complete at the target.
    pub fn copied(&mut self, (dir_ref, name): (&DirRef, &Name), kind: Kind, preserved: Preserved) {
        self.worker.streak = Streak::default();
        self.worker.gathered.tally.copied.count(kind);
        self.worker.gathered.tally.count_lost(preserved);
        if kind != Kind::Directory || self.reason.is_new {
            self.record(Action::Copy, (dir_ref, name.to_bytes()), kind);
        }
        self.check_given(dir_ref, name, preserved);
    }

    /// Records a change of an entry, for the reason that was found last.
    pub fn record(&mut self, action: Action, (dir_ref, name): (&DirRef, &[u8]), kind: Kind) {
        let env = self.env;
        if env.options.record.is_some() {
            let below = env.target_name_bytes(dir_ref, name);
            let below = &path::join(dir_ref.path().as_bytes(), below);
            let (root, reason) = (&env.root(dir_ref).shown_target, self.reason);
            let change = Change { action, kind, reason, root, below };
            env.account.record(&change, &mut self.worker.gathered, self.task);
        }
    }

    /// Reports an entry as failed that has not got an attribute that the operator gives it.
    pub fn check_given(&mut self, dir_ref: &DirRef, name: &Name, preserved: Preserved) {
        if let Some(error) = self.env.options.keep.refusal(preserved) {
            self.fail(dir_ref, name.to_bytes(), SideError { side: Side::Target, error });
        }
    }

    /// Writes a line of the plan, where there is one: no store knows what is printed.
    pub fn plan_line(&mut self, what: &str, dir_ref: &DirRef, name: &[u8]) {
        let env = self.env;
        if let Some(format) = env.options.plan_as {
            let name = env.target_name_bytes(dir_ref, name);
            let below = path::join(dir_ref.path().as_bytes(), name);
            let shown = path::join(&env.root(dir_ref).shown_target, &below);
            write_plan(format, what, &shown, &mut self.worker.gathered.lines);
            self.worker.gathered.send_lines(self.task, false);
        }
    }
}
