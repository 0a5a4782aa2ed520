//! The objects below a prefix, as a store.

use std::sync::Arc;
use std::time::Duration;

use crate::client::service::Service;
use crate::dir::ObjectDir;
use crate::list::key::marker_of_path;
use crate::read::object::Bucket;
use crate::write::uploads::{OpenUpload, UploadMarker, UploadPage};
use store::{Dir, Store};
use types::content::parts::Parts;
use types::entry::Metadata;
use types::error::{Cause, Op, Result};
use types::limits::S3_BLOCKS_BYTES_MAX;
use types::path::RelPath;

/// Objects below a prefix.
pub struct ObjectStore {
    bucket: Bucket,
    /// Empty, or with a slash at the end.
    prefix: String,
}

impl ObjectStore {
    /// The objects of a bucket whose keys begin with `prefix` (with or without a slash at its end).
    pub fn new(service: &Arc<Service>, bucket: &str, prefix: &str) -> Self {
        let name = bucket.to_owned();
        let bucket = Bucket { service: Arc::clone(service), name, memory: Arc::default() };
        let has_end = prefix.is_empty() || prefix.ends_with('/');
        let prefix = format!("{prefix}{}", if has_end { "" } else { "/" });
        Self { bucket, prefix }
    }

    /// What the prefix is: a directory, if there is any key below it; the object of that key otherwise.
    pub fn look(&self) -> Result<Metadata> {
        if self.prefix.is_empty() {
            self.bucket.page("", crate::list::pages::From::Start, 1)?;
            return self.root_metadata();
        }
        let has_below = self.bucket.has_below(&self.prefix);
        match has_below {
            Ok(true) => return self.root_metadata(),
            // Who may not list may still read an object by its name.
            Err(error) if error.cause != Cause::System(libc::EACCES) => return Err(error),
            _ => {}
        }
        let object = match self.key() {
            "" => Err(Op::Stat.errno(libc::ENOENT)),
            key => self.bucket.head(key).map(|head| head.metadata),
        };
        object.map_err(|error| has_below.err().unwrap_or(error))
    }

    /// The key of the object that has the prefix's name.
    fn key(&self) -> &str {
        self.prefix.strip_suffix('/').unwrap_or_default()
    }

    /// The endpoint that requests go to, for people.
    pub fn shown_endpoint(&self) -> String {
        self.bucket.service.settings.shown_endpoint()
    }

    /// A page of the uploads below the prefix, or of the object of that key, that were not completed.
    ///
    /// # Errors
    /// As the service says.
    pub fn open_uploads(&self, from: Option<&UploadMarker>) -> Result<UploadPage> {
        let key = self.key();
        let is_below =
            |upload: &OpenUpload| upload.key == key || upload.key.starts_with(&self.prefix);
        let (mut uploads, next) = self.bucket.open_uploads(key, from)?;
        uploads.retain(is_below);
        Ok((uploads, next))
    }

    /// Gives such an upload up, with all that was sent of it.
    ///
    /// # Errors
    /// As the service says; one that is not there any more is vanished.
    pub fn give_up_upload(&self, upload: &OpenUpload) -> Result<()> {
        self.bucket.give_up_upload(&upload.key, &upload.id)
    }

    /// Attributes of the root as a directory.
    pub fn root_metadata(&self) -> Result<Metadata> {
        Ok(self.bucket.metadata_of_directory(&self.prefix))
    }

    /// Whether the root is `above`, or somewhere below it.
    pub fn is_below(&self, above: &Metadata) -> bool {
        ObjectDir::new(self.bucket.clone(), self.prefix.clone()).is_below(above)
    }
}

impl Store for ObjectStore {
    fn open_dir(&self, path: &RelPath) -> Result<Arc<dyn Dir>> {
        let prefix = marker_of_path(&self.prefix, path)
            .map_err(|unfit| Op::Open.failed(Cause::Key(unfit)))?;
        Ok(Arc::new(ObjectDir::new(self.bucket.clone(), prefix)))
    }

    fn device(&self) -> Result<u64> {
        Ok(self.bucket.device())
    }

    fn service(&self) -> Option<u64> {
        Some(self.bucket.service.id)
    }

    fn chunk_bytes(&self, size_bytes: u64, wish_bytes: u64) -> u64 {
        let settings = &self.bucket.service.settings;
        let wish_bytes = settings.part_bytes.unwrap_or(wish_bytes);
        // What goes in one request is in memory as a whole.
        let whole_bytes_max = settings.upload_cutoff_bytes.unwrap_or(0).min(S3_BLOCKS_BYTES_MAX);
        if size_bytes <= whole_bytes_max {
            return wish_bytes.max(size_bytes);
        }
        // What is too large for any parts is refused by the service.
        Parts::of(size_bytes, wish_bytes).map_or(wish_bytes, |parts| parts.part_bytes)
    }

    fn keeps_directories(&self) -> bool {
        self.bucket.service.settings.directory_markers
    }

    fn clock_ahead(&self) -> Option<Duration> {
        self.bucket.service.clock.ahead()
    }
}
