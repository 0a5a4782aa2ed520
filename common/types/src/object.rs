//! Objects: what a service keeps with one, and ranges of keys.

pub mod header_text;
pub mod headers;
pub mod keys_below;
pub mod metadata;
pub mod span;
