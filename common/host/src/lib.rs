//! The node that a rank runs on: what is mounted, signals, limits of the process, memory for I/O past the page cache.
//!
//! This crate may use `types` alone.

pub mod aligned;
pub mod dfuse;
pub mod interrupt;
pub mod mounts;
pub mod process;
pub mod transfers;
