//! A store made of the objects below a prefix of a bucket.

use std::sync::Arc;
use std::time::Duration;

use crate::client::service::Service;
use crate::dir::ObjectDir;
use crate::list::key::marker_of_path;
use crate::read::object::Bucket;
use crate::write::uploads::{OpenUpload, UploadMarker, UploadPage};
use store::{Capabilities, Dir, Store};
use types::content::parts::Parts;
use types::entry::{Kind, Metadata};
use types::error::{Cause, Error, Op, Result};
use types::limits::S3_BLOCKS_BYTES_MAX;
use types::object::metadata::RCLONE_LINK_SUFFIX;
use types::path::RelPath;

/// A store made of the objects below one prefix of a bucket.
pub struct ObjectStore {
    pub(crate) bucket: Bucket,
    /// The prefix of all keys in this store: empty, or with a slash at the end.
    pub(crate) prefix: String,
}

impl ObjectStore {
    /// Opens the objects of `bucket` whose keys begin with `prefix`, with or without a slash at its
    /// end. Sends no request.
    pub fn new(service: &Arc<Service>, bucket: &str, prefix: &str) -> Self {
        let name = bucket.to_owned();
        let bucket = Bucket { service: Arc::clone(service), name, listing_cache: Arc::default() };
        let has_end = prefix.is_empty() || prefix.ends_with('/');
        let prefix = format!("{prefix}{}", if has_end { "" } else { "/" });
        Self { bucket, prefix }
    }

    /// Returns the metadata of the root: that of a directory if there is any key below the prefix,
    /// otherwise that of the object whose key is the prefix itself.
    ///
    /// # Errors
    /// `ENOENT` if there is neither; otherwise the service's answer, of the listing if the object
    /// could not be read either.
    pub fn look(&self) -> Result<Metadata> {
        if self.prefix.is_empty() {
            // An empty bucket is a directory too, so the listing only has to succeed.
            self.bucket.page("", crate::list::pages::From::Start, 1)?;
            return self.root_metadata();
        }
        let has_below = self.bucket.has_below(&self.prefix);
        match has_below {
            Ok(true) => return self.root_metadata(),
            // An account without the right to list may still have the right to read an object by
            // its key.
            Err(error) if error.cause != Cause::System(libc::EACCES) => return Err(error),
            _ => {}
        }
        let object = match self.key() {
            "" => Err(Op::Stat.errno(libc::ENOENT)),
            key => self.bucket.head(key).map(|head| head.metadata),
        };
        object.map_err(|error| has_below.err().unwrap_or(error))
    }

    /// Returns whether the service stores any object below the root.
    ///
    /// # Errors
    /// Returns the error of the listing.
    pub fn has_objects(&self) -> Result<bool> {
        self.bucket.has_objects(&self.prefix)
    }

    /// Returns the metadata of the symbolic link in rclone's form whose name is the prefix.
    ///
    /// # Errors
    /// `ENOENT` if there is none; otherwise the service's answer.
    pub fn look_at_link(&self) -> Result<Metadata> {
        let link = self.bucket.head(&format!("{}{RCLONE_LINK_SUFFIX}", self.key()))?;
        Ok(Metadata { kind: Kind::Symlink, ..link.metadata })
    }

    /// Returns the key of the object whose name is the prefix, which is empty for the whole bucket.
    pub(crate) fn key(&self) -> &str {
        self.prefix.strip_suffix('/').unwrap_or_default()
    }

    /// Returns the endpoint that requests go to, escaped for display.
    pub fn shown_endpoint(&self) -> String {
        self.bucket.service.settings.shown_endpoint()
    }

    /// Returns one page of the incomplete multipart uploads below the prefix, or of the object
    /// whose key is the prefix, and the marker of the next page.
    ///
    /// # Errors
    /// Returns the service's error.
    pub fn open_uploads(&self, from: Option<&UploadMarker>) -> Result<UploadPage> {
        let key = self.key();
        // The service was asked for every key that begins with the name, so `data` also yields
        // uploads of `data2/…`.
        let is_below =
            |upload: &OpenUpload| upload.key == key || upload.key.starts_with(&self.prefix);
        let (mut uploads, next) = self.bucket.open_uploads(key, from)?;
        uploads.retain(is_below);
        Ok((uploads, next))
    }

    /// Aborts a multipart upload, so that the service discards the parts that were sent.
    ///
    /// # Errors
    /// Returns the service's error; an upload that no longer exists is reported as vanished.
    pub fn give_up_upload(&self, upload: &OpenUpload) -> Result<()> {
        self.bucket.give_up_upload(&upload.key, &upload.id)
    }

    /// Returns the metadata of the root as a directory.
    pub fn root_metadata(&self) -> Result<Metadata> {
        Ok(self.bucket.metadata_of_directory(&self.prefix))
    }

    /// Returns whether this root is the directory `above`, or is below it.
    pub fn is_below(&self, above: &Metadata) -> bool {
        ObjectDir::new(self.bucket.clone(), self.prefix.clone()).is_below(above)
    }
}

impl Store for ObjectStore {
    fn open_dir(&self, path: &RelPath) -> Result<Arc<dyn Dir>> {
        let prefix = marker_of_path(&self.prefix, path)
            .map_err(|invalid_key| Op::Open.failed(Cause::Key(invalid_key)))?;
        Ok(Arc::new(ObjectDir::new(self.bucket.clone(), prefix)))
    }

    fn device(&self) -> Result<u64> {
        Ok(self.bucket.device())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            service: Some(self.bucket.service.id),
            keeps_directories: self.bucket.service.settings.directory_markers,
            ..Capabilities::default()
        }
    }

    fn chunk_bytes(&self, size_bytes: u64, requested_bytes: u64) -> u64 {
        let settings = &self.bucket.service.settings;
        let requested_bytes = settings.part_bytes.unwrap_or(requested_bytes);
        // The body of a single request is held in memory as a whole, so the limit of buffers caps
        // the configured cutoff.
        let whole_bytes_max = settings.upload_cutoff_bytes.unwrap_or(0).min(S3_BLOCKS_BYTES_MAX);
        if size_bytes <= whole_bytes_max {
            return requested_bytes.max(size_bytes);
        }
        // An object too large for any number of parts is left to the service, which refuses it.
        Parts::of(size_bytes, requested_bytes).map_or(requested_bytes, |parts| parts.part_bytes)
    }

    fn remove_keys(&self, keys: &[String]) -> Result<Vec<(usize, Error)>> {
        self.bucket.remove_all(keys)
    }

    fn clock_ahead(&self) -> Option<Duration> {
        self.bucket.service.clock.ahead()
    }
}
