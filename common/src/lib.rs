//! The face that the tools use: options by group, runs of a tool, reports. See
//! `docs/architecture.md` for the map.
//!
//! Uses: `comm`, `host`, `lists`, `ops`, `posix`, `remote`, `s3`, `sched`, `store`, `types`.

pub mod run;
pub mod surface;
