//! A job that reads a list instead of walking. The pieces of the list are its tasks.

use super::collector::{CollectorWorker, ListCollector};
use crate::walk::selection::Selection;
use lists::repeated::Repeated;
use lists::source::{ListSource, Piece};
use sched::context::TaskContext;
use sched::job::Job;
use types::outcome::event::Event;
use types::outcome::tally::Tally;

/// The part of one rank in reading a list.
pub struct ReadJob<'c> {
    source: &'c ListSource,
    repeated: &'c Repeated,
    selection: &'c Selection,
    collector: &'c ListCollector,
}

impl<'c> ReadJob<'c> {
    /// Creates the job for a list, in which repeated entries count once.
    pub fn new(
        source: &'c ListSource,
        repeated: &'c Repeated,
        selection: &'c Selection,
        collector: &'c ListCollector,
    ) -> Self {
        Self { source, repeated, selection, collector }
    }
}

impl Job for ReadJob<'_> {
    type Task = Piece;
    type Message = ();
    type Event = Event;
    type Snapshot = Tally;
    type Worker = CollectorWorker;

    fn worker(&self) -> CollectorWorker {
        self.collector.worker()
    }

    fn run(&self, piece: Piece, worker: &mut CollectorWorker, context: &TaskContext<'_, Self>) {
        match self.source.records(piece) {
            Err(failure) => self.collector.list_failed(failure, worker, context),
            Ok(records) => {
                for (record, number) in records.zip(0..) {
                    match record {
                        Ok(_) if self.repeated.contains((piece, number)) => {}
                        Ok(record) if !self.selection.admits_record(&record.view()) => {}
                        Ok(record) => self.collector.meet(&record.view(), worker, context),
                        Err(failure) => self.collector.list_failed(failure, worker, context),
                    }
                }
            }
        }
        self.collector.account.settle(&mut worker.gathered);
    }

    fn discard(
        &self,
        _piece: Piece,
        worker: &mut CollectorWorker,
        _context: &TaskContext<'_, Self>,
    ) {
        self.collector.account.cancel(&mut worker.gathered);
    }

    fn flush(&self, worker: &mut CollectorWorker, context: &TaskContext<'_, Self>) {
        self.collector.flush(worker, context);
    }

    fn snapshot(&self) -> Tally {
        self.collector.account.tally()
    }
}
