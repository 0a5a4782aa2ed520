//! What every layer may use: errors, exit codes, names and paths as bytes, sizes, limits.

pub mod aligned;
pub mod crc64;
pub mod dfuse;
pub mod error;
pub mod exit;
pub mod interrupt;
pub mod limits;
pub mod mounts;
pub mod path;
pub mod process;
pub mod service;
pub mod size;
pub mod transfers;
