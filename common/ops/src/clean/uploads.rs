//! Abort of incomplete multipart uploads. No listing of objects shows them, but the service stores
//! their parts, and charges for them, until they are aborted.

use super::{CleanJob, CleanRoot, CleanTask};
use crate::resolver::StoreResolver;
use crate::walk::account::Gathered;
use s3::{ObjectStore, OpenUpload, UploadMarker, UploadPage};
use sched::context::TaskContext;
use store::Store;
use store::dry_run::DryRunStore;
use types::error::{Result, Side};
use types::operand::location::ObjectLocation;
use types::path;

/// The number of uploads in one task. Each takes one request.
const BATCH_UPLOADS: usize = 16;

/// A location of a service, with the multipart uploads in it.
pub trait Uploads: Store {
    /// Returns one page of the incomplete uploads.
    fn open_uploads(&self, from: Option<&UploadMarker>) -> Result<UploadPage>;

    /// Aborts an upload; one that no longer exists is reported as vanished.
    fn abort(&self, upload: &OpenUpload) -> Result<()>;
}

impl Uploads for ObjectStore {
    fn open_uploads(&self, from: Option<&UploadMarker>) -> Result<UploadPage> {
        Self::open_uploads(self, from)
    }

    fn abort(&self, upload: &OpenUpload) -> Result<()> {
        self.give_up_upload(upload)
    }
}

impl Uploads for DryRunStore<ObjectStore> {
    fn open_uploads(&self, from: Option<&UploadMarker>) -> Result<UploadPage> {
        self.real().map_or_else(|| Ok(Default::default()), |store| store.open_uploads(from))
    }

    fn abort(&self, _: &OpenUpload) -> Result<()> {
        Ok(())
    }
}

impl CleanRoot {
    /// Returns the location of a path in a service; `None` for a path of a file system.
    pub fn bucket(resolver: &StoreResolver, path: &[u8]) -> Option<Self> {
        let (store, location) = resolver.objects(Side::Target, path)?;
        let store: Box<dyn Uploads> = if resolver.discards_changes() {
            Box::new(DryRunStore::of_existing(store))
        } else {
            Box::new(store)
        };
        Some(Self::Bucket { store, location })
    }
}

impl CleanJob {
    /// Lists one page of uploads, and queues the old ones to be aborted and the next page.
    pub(super) fn list(
        &self,
        index: u32,
        from: Option<&UploadMarker>,
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) {
        let Some((store, location)) = self.bucket(index) else { return };
        let (uploads, next) = match store.open_uploads(from) {
            Ok(page) => page,
            Err(error) => {
                worker.tally.unread_directories += 1;
                return self.fail(&shown(location, b""), error, worker, context);
            }
        };
        if next.is_some() {
            context.push(CleanTask::List(index, next));
        }
        let is_old = |upload: &OpenUpload| upload.begun_seconds <= self.options.old_by_seconds;
        let (old, young): (Vec<_>, Vec<_>) = uploads.into_iter().partition(is_old);
        worker.tally.leftovers.found += (old.len() + young.len()) as u64;
        worker.tally.leftovers.too_recent += young.len() as u64;
        for some in old.chunks(BATCH_UPLOADS) {
            context.push(CleanTask::GiveUp(index, some.to_vec()));
        }
    }

    /// Aborts one upload.
    pub(super) fn give_up(
        &self,
        index: u32,
        upload: &OpenUpload,
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) {
        let Some((store, location)) = self.bucket(index) else { return };
        let shown = shown(location, upload.key.as_bytes());
        self.remove(&shown, "abort upload", || store.abort(upload), worker, context);
    }

    /// Returns the store of a bucket. Tasks for uploads exist for buckets only.
    fn bucket(&self, index: u32) -> Option<(&dyn Uploads, &ObjectLocation)> {
        match &self.roots[index as usize] {
            CleanRoot::Bucket { store, location } => Some((&**store, location)),
            CleanRoot::Tree { .. } => None,
        }
    }
}

/// Returns a key as the operator would write it, or the location itself for an empty key.
fn shown(location: &ObjectLocation, key: &[u8]) -> Vec<u8> {
    if key.is_empty() {
        return location.to_string().into_bytes();
    }
    let bucket = ObjectLocation { prefix: Vec::new(), ..location.clone() };
    path::join(bucket.to_string().as_bytes(), key)
}
