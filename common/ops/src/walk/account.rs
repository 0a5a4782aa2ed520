//! Accounting of a walk: counts, lines and failures on their way from a thread to rank 0.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::walk::selection::Selection;
use crate::walk::sort_room::SortRooms;
use lists::named::{Named, Origin};
use sched::context::TaskContext;
use sched::job::Job;
use store::Store;
use types::entry::Metadata;
use types::error::{Cause, Error, Failure, Side, SideError};
use types::listed::change::{Change, ChangeWriter, RecordFormat};
use types::outcome::event::Event;
use types::outcome::tally::Tally;
use types::{limits, path};

/// The counts of a rank, shared by its threads.
#[derive(Debug, Default)]
pub struct Account {
    tally: Mutex<Tally>,
    failures: AtomicU64,
    /// Room for names that are sorted.
    pub sort_rooms: SortRooms,
    /// Record of what is changed, where one is kept.
    record: Option<Record>,
}

/// Lines of the record that rank 0 does not have yet, of all threads of a rank.
#[derive(Debug)]
struct Record {
    format: RecordFormat,
    lines: Mutex<Vec<u8>>,
}

/// The results that one thread has gathered since it last handed them over.
#[derive(Debug, Default)]
pub struct Gathered {
    /// The counts.
    pub tally: Tally,
    /// Complete lines of a list.
    pub lines: Vec<u8>,
    /// The metadata of the entry visited last, if it was inspected.
    pub seen: Option<Metadata>,
    /// Lines of the record that only this thread has, all of the same tick of its clock.
    changes: Vec<u8>,
    writer: ChangeWriter,
    /// Millisecond of the tick in which the lines before them were handed over.
    handed_over_at: i64,
}

impl AsMut<Gathered> for Gathered {
    fn as_mut(&mut self) -> &mut Gathered {
        self
    }
}

impl Account {
    /// Creates an account that also records each change, where a format for it is given.
    pub fn recording(format: Option<RecordFormat>) -> Self {
        let record = format.map(|format| Record { format, lines: Mutex::default() });
        Self { record, ..Self::default() }
    }

    /// Records a change that was made.
    pub fn record<J: Job<Event = Event> + ?Sized>(
        &self,
        change: &Change<'_>,
        gathered: &mut Gathered,
        context: &TaskContext<'_, J>,
    ) {
        let Some(record) = &self.record else { return };
        let Gathered { writer, changes, .. } = gathered;
        writer.write_change(record.format, change, context.rank().0, changes);
        record.take_some(gathered, context);
    }

    /// Sends rank 0 all lines of the record that it does not have.
    pub fn deliver<J: Job<Event = Event> + ?Sized>(&self, context: &TaskContext<'_, J>) {
        if let Some(record) = &self.record {
            Record::send(std::mem::take(&mut *record.lock()), context);
        }
    }

    /// Returns this rank's counts so far.
    pub fn tally(&self) -> Tally {
        *self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns this rank's counts and resets them.
    pub fn take_tally(&self) -> Tally {
        std::mem::take(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds what a thread has to what the rank has: its counts, and lines of the record.
    pub fn settle(&self, gathered: &mut Gathered) {
        let counts = std::mem::take(&mut gathered.tally);
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).add(&counts);
        if let Some(record) = self.record.as_ref().filter(|_| !gathered.changes.is_empty()) {
            record.lock().append(&mut gathered.changes);
        }
    }

    /// Counts a task that was cancelled.
    pub fn cancel(&self, gathered: &mut Gathered) {
        gathered.tally.cancelled_tasks += 1;
        self.settle(gathered);
    }

    /// Hands over everything that a thread has gathered.
    pub fn flush<J: Job<Event = Event> + ?Sized>(
        &self,
        gathered: &mut Gathered,
        context: &TaskContext<'_, J>,
    ) {
        self.settle(gathered);
        gathered.send_lines(context, true);
        self.deliver(context);
    }

    /// Counts a failure, and reports it to rank 0 up to a number of lines. A failure of a silent
    /// service also stops the job.
    pub fn fail<J: Job<Event = Event> + ?Sized>(
        &self,
        failure: Failure,
        gathered: &mut Gathered,
        context: &TaskContext<'_, J>,
    ) {
        if failure.error.cause.is_given_up() {
            gathered.tally.cancelled_tasks += 1;
            gathered.tally.unresponsive_services += 1;
            context.stop_job();
        }
        if let Some(record) = &self.record {
            let Gathered { writer, changes, .. } = gathered;
            writer.write_failure(record.format, &failure, context.rank().0, changes);
            record.take_some(gathered, context);
        }
        if failure.is_vanished() {
            gathered.tally.vanished += 1;
            // An entry that has vanished was not visited: if one of its name comes back, the second
            // listing visits it.
            gathered.seen = None;
        } else if failure.error.cause == Cause::Moving {
            gathered.tally.unstable_directories += 1;
        } else {
            gathered.tally.failed += 1;
        }
        self.tell(&Event::Failure(failure), context);
    }

    /// Reports a skipped entry to rank 0, up to a number of lines.
    pub fn leave_out<J: Job<Event = Event> + ?Sized>(
        &self,
        entry: Failure,
        context: &TaskContext<'_, J>,
    ) {
        self.tell(&Event::LeftOut(entry), context);
    }

    fn tell<J: Job<Event = Event> + ?Sized>(&self, event: &Event, context: &TaskContext<'_, J>) {
        if self.failures.fetch_add(1, Ordering::Relaxed) < limits::FAILURE_LINES_MAX {
            context.report(event);
        }
    }
}

impl Gathered {
    /// Counts an entry.
    pub fn meet(&mut self, metadata: &Metadata) {
        self.tally.meet(metadata);
        self.seen = Some(*metadata);
    }

    /// Sends the gathered lines to rank 0 when there are enough of them, or in any case if `all` is
    /// set.
    pub fn send_lines<J: Job<Event = Event> + ?Sized>(
        &mut self,
        context: &TaskContext<'_, J>,
        all: bool,
    ) {
        let enough = if all { 1 } else { limits::LINES_BLOCK_BYTES };
        if self.lines.len() >= enough {
            context.report(&Event::Lines(std::mem::take(&mut self.lines)));
        }
    }
}

impl Record {
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the lines of a thread, once in a tick of its clock or when they are many: the lock
    /// must cost less than the lines. Sends all lines when there are enough of them.
    fn take_some<J: Job<Event = Event> + ?Sized>(
        &self,
        gathered: &mut Gathered,
        context: &TaskContext<'_, J>,
    ) {
        let now = gathered.writer.millisecond();
        let is_early = now == gathered.handed_over_at;
        if is_early && gathered.changes.len() < limits::RECORD_PIECE_BYTES {
            return;
        }
        gathered.handed_over_at = now;
        let mut lines = self.lock();
        lines.append(&mut gathered.changes);
        if lines.len() >= limits::RECORD_BLOCK_BYTES {
            let next = Vec::with_capacity(lines.capacity());
            let enough = std::mem::replace(&mut *lines, next);
            drop(lines);
            Self::send(enough, context);
        }
    }

    fn send<J: Job<Event = Event> + ?Sized>(lines: Vec<u8>, context: &TaskContext<'_, J>) {
        if !lines.is_empty() {
            context.report(&Event::Record(lines));
        }
    }
}

/// Returns the proper failure for an entry that does not exist. An entry of the source that was
/// listed has vanished. But a root that is gone, or a mount point below it whose file system is
/// gone on this node, must not be taken for that, since a mirror would delete its copy.
pub fn missing(
    side_error: SideError,
    at_root: bool,
    source: &dyn Store,
    selection: &Selection,
) -> SideError {
    if side_error.side != Side::Source || !side_error.error.cause.is_vanished() {
        return side_error;
    }
    let is_there = source.check_mounts(&|point| selection.admits_below(point, true));
    let error = match is_there {
        Err(error) => error,
        Ok(()) if at_root => side_error.error.op.failed(Cause::RootGone),
        Ok(()) => side_error.error,
    };
    SideError { error, ..side_error }
}

/// Returns the proper failure for an entry that does not exist and that the operator has named. It
/// was never met, so nothing shows that it has vanished.
pub fn named_in_vain(side_error: SideError, named: Option<&Named>) -> SideError {
    let is_named = named.is_some_and(|named| matches!(named.origin(), Origin::Paths(_)));
    if side_error.side != Side::Source || !side_error.error.cause.is_vanished() || !is_named {
        return side_error;
    }
    let error = side_error.error.op.failed(Cause::NamedInVain);
    SideError { error, ..side_error }
}

/// Builds the failure of an entry, with the path as the user would write it.
pub fn failure(side: Side, root: &[u8], below: &[u8], error: Error) -> Failure {
    Failure { path: path::join(root, below), side, error }
}
