//! Objects in buckets, as S3 and what speaks like it keep them.
//!
//! A prefix is a directory, a key below it an entry. What a service cannot do is found out by trying, once.
//! Only this crate knows the S3 client and its runtime; calls block, like those of every store.
//!
//! Without the feature `client` only the configuration is there, and every place in S3 is refused.

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
mod read;
#[cfg(feature = "client")]
mod write;

#[cfg(feature = "client")]
pub use client::service::Service;
#[cfg(feature = "client")]
pub use config::resolve::resolve;
#[cfg(feature = "client")]
pub use objects::ObjectStore;
#[cfg(feature = "client")]
pub use write::uploads::{OpenUpload, UploadMarker, UploadPage};

#[cfg(not(feature = "client"))]
mod absent;
#[cfg(not(feature = "client"))]
pub use absent::{ObjectStore, OpenUpload, Service, UploadMarker, UploadPage, resolve};
