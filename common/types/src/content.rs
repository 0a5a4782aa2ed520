//! Content: how it is cut into chunks, moved and checked.

pub mod chunk;
pub mod crc64;
pub mod etag;
pub mod lanes;
pub mod parts;
pub mod transfer;
