//! Operations on trees: walk, copy, compare, delete, clean, sort, and the records that they leave.
//!
//! An operation is a job of the engine in `sched` over the traits of `store`. Only [`sites`] knows which stores there are.

pub mod chunked;
pub mod clean;
pub mod compare;
pub mod copy;
pub mod delete;
pub mod journal;
pub mod sites;
pub mod sort;
pub mod usage;
pub mod walk;
