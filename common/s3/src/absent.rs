//! What stands for the client in a build without it: a service that cannot be reached, so that nothing of one is ever
//! made.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use store::{Dir, Store};
use types::entry::Metadata;
use types::error::{Result, Side};
use types::path::RelPath;
use types::place::location::ObjectLocation;

use crate::config::settings::{S3Options, Settings};

/// A type without values.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Never {}

/// A service.
pub struct Service {
    /// The settings with which it is reached.
    pub settings: Settings,
    never: Never,
}

impl Service {
    /// Never gets there: without [`resolve`] there are no settings.
    ///
    /// # Panics
    /// Always.
    pub fn new(_: Settings) -> Self {
        unreachable!("settings come from resolve, which refuses")
    }

    /// Whom requests go to.
    pub fn shown(&self) -> String {
        match self.never {}
    }

    /// Requests that were turned away.
    pub fn refused_requests(&self) -> u64 {
        match self.never {}
    }

    /// Some rank has got an answer.
    pub fn is_reached(&self) {
        match self.never {}
    }
}

/// Objects below a prefix.
pub struct ObjectStore(Never);

impl ObjectStore {
    /// The objects of a bucket.
    pub fn new(service: &Arc<Service>, _: &str, _: &str) -> Self {
        match service.never {}
    }

    /// The kind of entry that the prefix is.
    pub fn look(&self) -> Result<Metadata> {
        match self.0 {}
    }

    /// The endpoint that requests go to, for people.
    pub fn shown_endpoint(&self) -> String {
        match self.0 {}
    }

    /// A page of uploads that were not completed.
    pub fn open_uploads(&self, _: Option<&UploadMarker>) -> Result<UploadPage> {
        match self.0 {}
    }

    /// Aborts an upload.
    pub fn give_up_upload(&self, _: &OpenUpload) -> Result<()> {
        match self.0 {}
    }

    /// Attributes of the root as a directory.
    pub fn root_metadata(&self) -> Result<Metadata> {
        match self.0 {}
    }

    /// Whether the root is `above`, or somewhere below it.
    pub fn is_below(&self, _: &Metadata) -> bool {
        match self.0 {}
    }
}

impl Store for ObjectStore {
    fn open_dir(&self, _: &RelPath) -> Result<Arc<dyn Dir>> {
        match self.0 {}
    }

    fn device(&self) -> Result<u64> {
        match self.0 {}
    }
}

/// An upload that was not completed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OpenUpload {
    /// The key of the object.
    pub key: String,
    /// The time at which it was begun, in seconds since 1970.
    pub begun_seconds: i64,
    never: Never,
}

/// Where the next page of uploads begins.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UploadMarker(Never);

/// Uploads, and where the next page begins.
pub type UploadPage = (Vec<OpenUpload>, Option<UploadMarker>);

/// Refuses every place.
///
/// # Errors
/// Always one line.
pub fn resolve(
    location: &ObjectLocation,
    _: Side,
    _: &S3Options,
) -> std::result::Result<Settings, String> {
    Err(format!("\"{location}\": this build has no S3: build it with the feature \"s3\""))
}
