//! The face that the tools use: options by group, runs of a tool, reports. See
//! `docs/architecture.md` for the map.

pub mod run;
pub mod surface;
