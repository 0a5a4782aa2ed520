//! Stand-ins for the S3 client in a build without it: types without values, since [`resolve`]
//! refuses every location before a service could be opened.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use store::{Dir, Store};
use types::entry::{Kind, Metadata};
use types::error::{Cause, Result, Side};
use types::object::bucket::ListedBucket;
use types::operand::location::ObjectLocation;
use types::path::RelPath;

use crate::config::error::SettingsError;
use crate::config::settings::{S3Options, Settings};

/// A type without values, which proves to the compiler that the methods below are never called.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Never {}

/// Stands in for the prefix of a path in a bucket, and is never called: there is no service.
///
/// # Panics
/// Always panics.
pub fn prefix_of_path(_: &[u8]) -> String {
    unreachable!("settings come from resolve, which refuses")
}

/// Stands in for a check of the last name in a path, and is never called: there is no service.
///
/// # Panics
/// Always panics.
pub fn ends_in_name(_: &[u8]) -> bool {
    unreachable!("settings come from resolve, which refuses")
}

/// A service. No value of this type exists in a build without the client.
pub struct Service {
    /// The settings with which the service is opened.
    pub settings: Settings,
    never: Never,
}

impl Service {
    /// Stands in for opening a service, and is never called: [`resolve`] returns no settings.
    ///
    /// # Panics
    /// Always panics.
    pub fn new(_: Settings) -> Self {
        unreachable!("settings come from resolve, which refuses")
    }

    /// Lists the buckets of the account.
    ///
    /// # Errors
    /// Never returns.
    pub fn buckets(&self) -> Result<Vec<ListedBucket>> {
        match self.never {}
    }

    /// Returns the endpoint that requests go to, for display.
    pub fn shown(&self) -> String {
        match self.never {}
    }

    /// Returns the number of requests that the service has throttled.
    pub fn throttled_requests(&self) -> u64 {
        match self.never {}
    }

    /// Records that some rank has received an answer from the service.
    pub fn is_reached(&self) {
        match self.never {}
    }
}

/// A store made of the objects below a prefix.
pub struct ObjectStore(Never);

impl ObjectStore {
    /// Opens the objects of a bucket below a prefix.
    pub fn new(service: &Arc<Service>, _: &str, _: &str) -> Self {
        match service.never {}
    }

    /// Returns the metadata of the root, which tells whether the prefix is a directory or an
    /// object.
    pub fn look(&self) -> Result<Metadata> {
        match self.0 {}
    }

    /// Returns whether the service stores any object below the root.
    pub fn has_objects(&self) -> Result<bool> {
        match self.0 {}
    }

    /// Returns the metadata of the symbolic link whose name is the prefix.
    pub fn look_at_link(&self) -> Result<Metadata> {
        match self.0 {}
    }

    /// Returns the endpoint that requests go to, for display.
    pub fn shown_endpoint(&self) -> String {
        match self.0 {}
    }

    /// Returns one page of the incomplete multipart uploads below the prefix.
    pub fn open_uploads(&self, _: Option<&UploadMarker>) -> Result<UploadPage> {
        match self.0 {}
    }

    /// Aborts a multipart upload.
    pub fn give_up_upload(&self, _: &OpenUpload) -> Result<()> {
        match self.0 {}
    }

    /// Returns the metadata of the root as a directory.
    pub fn root_metadata(&self) -> Result<Metadata> {
        match self.0 {}
    }

    /// Returns why objects of another store must not be copied to this one, if they are the same.
    pub fn overlap_with(&self, _: &Self, _: Kind, _: bool) -> Option<Cause> {
        match self.0 {}
    }

    /// Returns whether this root is the directory `above`, or is below it.
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

/// An incomplete multipart upload.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OpenUpload {
    /// The key of the object that the upload would create.
    pub key: String,
    /// The time at which the upload was initiated, in seconds since 1970-01-01 UTC.
    pub begun_seconds: i64,
    never: Never,
}

/// The position at which the next page of uploads begins.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UploadMarker(Never);

/// Incomplete uploads, and the position of the next page; `None` after the last page.
pub type UploadPage = (Vec<OpenUpload>, Option<UploadMarker>);

/// Refuses every location, since this build has no S3 client.
///
/// # Errors
/// Always fails, and names the feature to build with.
pub fn resolve(
    location: &ObjectLocation,
    _: Side,
    _: &S3Options,
) -> std::result::Result<Settings, SettingsError> {
    Err(SettingsError::NoClient.at(location))
}
