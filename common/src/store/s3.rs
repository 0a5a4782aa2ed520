//! Objects in buckets, as S3 and what speaks like it keep them.
//!
//! A prefix is a directory, a key below it an entry. What a service cannot do is found out by trying, once.
//! Only this folder knows the S3 client and its runtime; calls block, like those of every store.

mod abilities;
mod answer_headers;
mod answers;
mod assembled;
mod attempts;
mod blocks;
mod carried;
mod client;
mod dir;
mod endpoint;
mod fault;
mod fields;
mod listing;
mod liveness;
mod memory;
mod object;
mod pressure;
mod put;
mod reader;
mod redirect;
mod shortcut;
mod signing;
mod spans;
mod subtrees;
mod upload;
mod uploads;

pub mod aws_chain;
pub mod aws_profile;
pub mod config_file;
pub mod http;
pub mod rclone_conf;
pub mod resolve;
pub mod settings;

use std::sync::Arc;
use std::time::Duration;

use super::{Dir, Store};
use crate::base::error::{Op, Result};
use crate::base::limits::S3_BLOCKS_BYTES_MAX;
use crate::base::path::RelPath;
use crate::model::entry::Metadata;
use crate::model::object_key::marker_of_path;
use crate::model::parts::Parts;
pub use client::Service;
use dir::ObjectDir;
use object::Bucket;
pub use uploads::{OpenUpload, UploadMarker, UploadPage};

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
        let prefix = prefix.trim_end_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Self { bucket, prefix }
    }

    /// What the prefix is: a directory, if there is any key below it; the object of that key otherwise.
    pub fn look(&self) -> Result<Metadata> {
        if self.prefix.is_empty() {
            self.bucket.page("", listing::From::Start, 1)?;
            return self.root_metadata();
        }
        if self.bucket.has_below(&self.prefix)? {
            return self.root_metadata();
        }
        self.bucket.head(self.prefix.trim_end_matches('/')).map(|head| head.metadata)
    }

    /// A page of the uploads below the prefix, or of the object of that key, that were not completed.
    ///
    /// # Errors
    /// As the service says.
    pub fn open_uploads(&self, from: Option<&UploadMarker>) -> Result<UploadPage> {
        let key = self.prefix.trim_end_matches('/');
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
            .map_err(|unfit| Op::Open.failed(crate::base::error::Cause::Key(unfit)))?;
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
