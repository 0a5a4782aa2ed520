//! Listings: keys below a prefix presented as directories, in pages that many ranks share.

pub mod key;
pub(crate) mod memory;
pub(crate) mod pages;
pub(crate) mod spans;
pub(crate) mod subtrees;
