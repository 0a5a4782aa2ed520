//! Objects and their buckets: headers and metadata that a service stores with them, and ranges of
//! keys.

pub mod bucket;
pub mod header_text;
pub mod headers;
pub mod key_range;
pub mod keys_below;
pub mod metadata;
