//! What the tests share: running the tools under `mpiexec`, trees to copy, file systems to copy to.
//!
//! `SUITE_MPIEXEC` names the launcher with its flags; `make test` sets it.

pub mod job;
pub mod mounts;
pub mod trees;
