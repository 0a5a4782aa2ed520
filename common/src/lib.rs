//! The suite's library: see `docs/architecture.md` for the map.

pub mod base;
pub mod comm;
pub mod model;
pub mod sched;
