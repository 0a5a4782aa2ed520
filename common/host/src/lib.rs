//! The node that a rank runs on: mounts, signals, process limits, memory for I/O that bypasses the
//! page cache.
//!
//! Uses: `types`.

pub mod aligned;
pub mod bug;
pub mod dfuse;
pub mod identity;
pub mod interrupt;
pub mod mounts;
pub mod process;
pub mod throttle;
pub mod transfers;
pub mod user;
