//! Uploads that were begun and not completed. Nobody sees them, and the service keeps them, and charges for
//! them, until they are given up.

use super::{CleanJob, CleanTask, Place};
use crate::walk::account::Gathered;
use s3::{ObjectStore, OpenUpload, UploadMarker};
use sched::crew::Crew;
use types::path;
use types::place::location::ObjectLocation;

/// Uploads in one task: each is a request.
const BATCH_UPLOADS: usize = 16;

impl CleanJob {
    pub(super) fn list(
        &self,
        index: u32,
        from: Option<&UploadMarker>,
        hand: &mut Gathered,
        crew: &Crew<'_, Self>,
    ) {
        let Some((store, location)) = self.bucket(index) else { return };
        let (uploads, next) = match store.open_uploads(from) {
            Ok(page) => page,
            Err(error) => {
                hand.tally.unread_directories += 1;
                return self.fail(&shown(location, b""), error, hand, crew);
            }
        };
        if next.is_some() {
            crew.push(CleanTask::List(index, next));
        }
        let is_old = |upload: &OpenUpload| upload.begun_seconds <= self.options.old_by_seconds;
        let (old, young): (Vec<_>, Vec<_>) = uploads.into_iter().partition(is_old);
        hand.tally.leftovers.found += (old.len() + young.len()) as u64;
        hand.tally.leftovers.left_alone += young.len() as u64;
        for some in old.chunks(BATCH_UPLOADS) {
            crew.push(CleanTask::GiveUp(index, some.to_vec()));
        }
    }

    pub(super) fn give_up(
        &self,
        index: u32,
        upload: &OpenUpload,
        hand: &mut Gathered,
        crew: &Crew<'_, Self>,
    ) {
        let Some((store, location)) = self.bucket(index) else { return };
        let shown = shown(location, upload.key.as_bytes());
        self.remove(&shown, "give-up-upload", || store.give_up_upload(upload), hand, crew);
    }

    /// Only buckets have such tasks.
    fn bucket(&self, index: u32) -> Option<(&ObjectStore, &ObjectLocation)> {
        match &self.places[index as usize] {
            Place::Bucket { store, location } => Some((store, location)),
            Place::Tree { .. } => None,
        }
    }
}

/// A key as the operator would write it; the place itself where there is none.
fn shown(location: &ObjectLocation, key: &[u8]) -> Vec<u8> {
    if key.is_empty() {
        return location.to_string().into_bytes();
    }
    let bucket = ObjectLocation { prefix: Vec::new(), ..location.clone() };
    path::join(bucket.to_string().as_bytes(), key)
}
