//! What every layer may use: errors, exit codes, names and paths as bytes, sizes, limits.

pub mod error;
pub mod exit;
pub mod limits;
pub mod path;
pub mod process;
pub mod size;
