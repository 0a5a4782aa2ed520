//! A job that reads a list instead of walking. The pieces of the list are its tasks.

use super::harvest::{Harvest, HarvestHand};
use crate::walk::selection::Selection;
use comm::Rank;
use lists::repeated::Repeated;
use lists::source::{ListSource, Piece};
use sched::crew::Crew;
use sched::job::Job;
use types::error::Failure;
use types::outcome::notice::Notice;
use types::outcome::tally::Tally;

/// The part of one rank in reading a list.
pub struct ReadJob<'c> {
    source: &'c ListSource,
    repeated: &'c Repeated,
    selection: &'c Selection,
    harvest: &'c Harvest,
}

impl<'c> ReadJob<'c> {
    /// Creates the job for a list, in which repeated entries count once.
    pub fn new(
        source: &'c ListSource,
        repeated: &'c Repeated,
        selection: &'c Selection,
        harvest: &'c Harvest,
    ) -> Self {
        Self { source, repeated, selection, harvest }
    }

    fn fail(&self, failure: Failure, hand: &mut HarvestHand, crew: &Crew<'_, Self>) {
        hand.gathered.tally.unread_directories += 1;
        self.harvest.account.fail(failure, &mut hand.gathered, crew);
    }
}

impl Job for ReadJob<'_> {
    type Task = Piece;
    type Letter = ();
    type Notice = Notice;
    type Snapshot = Tally;
    type Hand = HarvestHand;

    fn hand(&self) -> HarvestHand {
        self.harvest.hand()
    }

    fn run(&self, piece: Piece, hand: &mut HarvestHand, crew: &Crew<'_, Self>) {
        match self.source.records(piece) {
            Err(failure) => self.fail(failure, hand, crew),
            Ok(records) => {
                for (record, number) in records.zip(0..) {
                    match record {
                        Ok(_) if self.repeated.contains((piece, number)) => {}
                        Ok(record) if !self.selection.admits_record(&record.view()) => {}
                        Ok(record) => self.harvest.meet(&record.view(), hand, crew),
                        Err(failure) => self.fail(failure, hand, crew),
                    }
                }
            }
        }
        self.harvest.account.settle(&mut hand.gathered);
    }

    fn discard(&self, _piece: Piece, hand: &mut HarvestHand, _crew: &Crew<'_, Self>) {
        hand.gathered.tally.cancelled_tasks += 1;
        self.harvest.account.settle(&mut hand.gathered);
    }

    fn flush(&self, hand: &mut HarvestHand, crew: &Crew<'_, Self>) {
        self.harvest.flush(hand, crew);
    }

    fn letter(&self, _from: Rank, _letter: (), _crew: &Crew<'_, Self>) {}

    fn snapshot(&self) -> Tally {
        self.harvest.account.tally()
    }
}
