//! Object storage: buckets of Amazon S3 and of services that implement its API, behind the traits
//! of the crate `store`.
//!
//! A prefix is a directory, and a key below it is an entry. Services differ in what they support;
//! the client learns a missing capability from the first refusal and remembers it. This is the only
//! crate that uses the S3 client and its asynchronous runtime: all its calls block, as those of
//! every store do.
//!
//! Without the feature `client` only the configuration is compiled, and every location in S3 is
//! refused.
//!
//! Uses: `host`, `store`, `types`.

pub mod config;

#[cfg(feature = "client")]
mod client;
#[cfg(feature = "client")]
mod dir;
#[cfg(feature = "client")]
mod list;
#[cfg(feature = "client")]
mod objects;
#[cfg(feature = "client")]
mod overlap;
#[cfg(feature = "client")]
mod read;
#[cfg(feature = "client")]
mod write;

#[cfg(feature = "client")]
pub use client::service::Service;
#[cfg(feature = "client")]
pub use config::resolve::resolve;
#[cfg(feature = "client")]
pub use list::key::{ends_in_name, prefix_of_path};
#[cfg(feature = "client")]
pub use objects::ObjectStore;
#[cfg(feature = "client")]
pub use write::uploads::{OpenUpload, UploadMarker, UploadPage};

#[cfg(not(feature = "client"))]
mod absent;
#[cfg(not(feature = "client"))]
pub use absent::{
    ObjectStore, OpenUpload, Service, UploadMarker, UploadPage, ends_in_name, prefix_of_path,
    resolve,
};
