//! The suite's library: see `docs/architecture.md` for the map.

pub mod base;
pub mod chunked;
pub mod clean;
pub mod comm;
pub mod compare;
pub mod copy;
pub mod delete;
pub mod journal;
pub mod lists;
pub mod model;
pub mod run;
pub mod sched;
pub mod sort;
pub mod store;
pub mod surface;
pub mod usage;
pub mod walk;
