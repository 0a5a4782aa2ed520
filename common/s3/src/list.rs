//! Listings: keys below a prefix presented as directories, in pages that many ranks share.

pub(crate) mod at_once;
pub(crate) mod buckets;
pub mod key;
pub(crate) mod key_ranges;
pub(crate) mod listing_cache;
pub(crate) mod listing_order;
pub(crate) mod pages;
pub(crate) mod recursive_listing;
mod requests;
pub(crate) mod windows;
