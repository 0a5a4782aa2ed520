//! Content: its division into chunks, its transfer and its verification.

pub mod chunk;
pub mod crc64;
pub mod cut;
pub mod etag;
pub mod hex;
pub mod parts;
pub mod stripe_chunks;
pub mod transfer;
