//! Support for all tests: running the tools under `mpiexec`, trees to copy, file systems and
//! servers to copy to.
//!
//! `SUITE_MPIEXEC` names the launcher with its flags; `make test` sets it.

pub mod buckets;
pub mod cloud;
pub mod dfuse;
pub mod fake_lustre;
pub mod job;
pub mod journey;
pub mod judge;
pub mod lifetime;
pub mod mounts;
pub mod nodes;
pub mod object_server;
pub mod preload;
pub mod random_trees;
pub mod sandbox;
pub mod scripted;
pub mod seaweed;
pub mod seeds;
pub mod skips;
pub mod trees;
pub mod unfinished;
pub mod waiting;
