//! Giving up what jobs that did not get to their end have left: uploads that were begun and not completed.
//! Nobody sees them, and the service keeps them, and charges for them, until they are given up.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::error::{Error, Side};
use crate::base::path;
use crate::comm::Rank;
use crate::model::line::{LineFormat, write_plan};
use crate::model::location::ObjectLocation;
use crate::model::notice::Notice;
use crate::model::tally::Tally;
use crate::sched::crew::Crew;
use crate::sched::job::Job;
use crate::store::s3::{ObjectStore, OpenUpload, UploadMarker};
use crate::walk::account::{self, Account, Gathered};

/// A place to be cleaned.
pub struct Place {
    /// Where its objects are.
    pub store: ObjectStore,
    /// What the operator calls it.
    pub location: ObjectLocation,
}

/// What is given up, and what is said of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CleanOptions {
    /// Uploads that were begun later stay, in seconds since 1970: somebody may be at work on them.
    pub begun_by_seconds: i64,
    /// They are named, and stay.
    pub dry_run: bool,
    /// How they are named; not at all where nobody wants to read it.
    pub plan_as: Option<LineFormat>,
}

/// A piece of the work.
#[derive(Debug, Serialize, Deserialize)]
pub enum CleanTask {
    /// Lists the uploads of a place, from a page on.
    List(u32, Option<UploadMarker>),
    /// Gives some of them up.
    GiveUp(u32, Vec<OpenUpload>),
}

/// Uploads in one task: each is a request.
const BATCH_UPLOADS: usize = 16;

/// One rank's part in the work.
pub struct CleanJob {
    places: Arc<[Place]>,
    options: CleanOptions,
    account: Account,
}

impl CleanJob {
    /// For these places, the same on all ranks.
    pub fn new(places: Arc<[Place]>, options: CleanOptions) -> Self {
        Self { places, options, account: Account::default() }
    }

    /// What was done.
    pub fn tally(&self) -> Tally {
        self.account.tally()
    }

    fn list(
        &self,
        index: u32,
        from: Option<&UploadMarker>,
        hand: &mut Gathered,
        crew: &Crew<'_, Self>,
    ) {
        let (uploads, next) = match self.places[index as usize].store.open_uploads(from) {
            Ok(page) => page,
            Err(error) => {
                hand.tally.unread_directories += 1;
                return self.fail(index, b"", error, hand, crew);
            }
        };
        if next.is_some() {
            crew.push(CleanTask::List(index, next));
        }
        let is_old = |upload: &OpenUpload| upload.begun_seconds <= self.options.begun_by_seconds;
        let (old, young): (Vec<_>, Vec<_>) = uploads.into_iter().partition(is_old);
        hand.tally.uploads.found += (old.len() + young.len()) as u64;
        hand.tally.uploads.left_alone += young.len() as u64;
        for some in old.chunks(BATCH_UPLOADS) {
            crew.push(CleanTask::GiveUp(index, some.to_vec()));
        }
    }

    fn give_up(&self, index: u32, upload: &OpenUpload, hand: &mut Gathered, crew: &Crew<'_, Self>) {
        if let Some(format) = self.options.plan_as {
            let shown = self.shown(index, upload.key.as_bytes());
            write_plan(format, "give-up-upload", &shown, &mut hand.lines);
            hand.send_lines(crew, false);
        }
        let given_up = if self.options.dry_run {
            Ok(())
        } else {
            self.places[index as usize].store.give_up_upload(upload)
        };
        match given_up {
            // It was completed or given up meanwhile.
            Err(error) if error.cause.is_vanished() => {}
            Ok(()) => hand.tally.uploads.given_up += 1,
            Err(error) => self.fail(index, upload.key.as_bytes(), error, hand, crew),
        }
    }

    fn fail(
        &self,
        index: u32,
        key: &[u8],
        error: Error,
        hand: &mut Gathered,
        crew: &Crew<'_, Self>,
    ) {
        let failure = account::failure(Side::Target, &self.shown(index, key), b"", error);
        self.account.fail(failure, hand, crew);
    }

    /// A key as the operator would write it; the place itself where there is none.
    fn shown(&self, index: u32, key: &[u8]) -> Vec<u8> {
        let location = &self.places[index as usize].location;
        if key.is_empty() {
            return location.to_string().into_bytes();
        }
        let bucket = ObjectLocation { prefix: Vec::new(), ..location.clone() };
        path::join(bucket.to_string().as_bytes(), key)
    }
}

impl Job for CleanJob {
    type Task = CleanTask;
    type Letter = ();
    type Notice = Notice;
    type Snapshot = Tally;
    type Hand = Gathered;

    fn hand(&self) -> Gathered {
        Gathered::default()
    }

    fn run(&self, task: CleanTask, hand: &mut Gathered, crew: &Crew<'_, Self>) {
        match task {
            CleanTask::List(index, from) => self.list(index, from.as_ref(), hand, crew),
            CleanTask::GiveUp(index, uploads) => {
                for upload in &uploads {
                    self.give_up(index, upload, hand, crew);
                }
            }
        }
        self.account.settle(hand);
    }

    fn discard(&self, _task: CleanTask, hand: &mut Gathered, _crew: &Crew<'_, Self>) {
        hand.tally.given_up += 1;
        self.account.settle(hand);
    }

    fn flush(&self, hand: &mut Gathered, crew: &Crew<'_, Self>) {
        hand.send_lines(crew, true);
        self.account.settle(hand);
    }

    fn letter(&self, _from: Rank, _letter: (), _crew: &Crew<'_, Self>) {}

    fn snapshot(&self) -> Tally {
        self.tally()
    }
}
