//! Support for all tests: running the tools under `mpiexec`, trees to copy, file systems and
//! servers to copy to. A test begins with a [`sandbox`].
//!
//! `SUITE_MPIEXEC` names the launcher with its flags; `make test` sets it.
//!
//! | for | module |
//! | --- | --- |
//! | the place of a test, and tools that run there | [`sandbox`], [`job`] |
//! | trees to copy | [`trees`]; random ones, and their drift: [`random_trees`] |
//! | whether a copy is right, by code that the tools do not share | [`judge`] |
//! | random cases by number, bounded in each run | [`seeds`] |
//! | what a machine must have, and how a test says that it is skipped | [`skips`] |
//! | a job in mid-flight | [`waiting`], gates in [`preload`]; what it leaves: [`unfinished`] |
//! | system calls that fail, or are answered by somebody else | [`preload`] |
//! | commands that are killed and repeated | [`journey`] |
//! | file systems | [`mounts`]; those that look like Lustre and DAOS: [`fake_lustre`], [`dfuse`] |
//! | operations of a file system, with their threads and order | [`operations`] |
//! | several nodes on one machine | [`nodes`] |
//! | S3: the embedded server, and jobs with it | [`object_server`], [`buckets`] |
//! | S3: another server, clients of others, replies word by word | [`seaweed`], [`cloud`], [`scripted`] |
//! | servers that end with their test | [`lifetime`] |

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
pub mod operations;
pub mod preload;
pub mod random_trees;
pub mod sandbox;
pub mod scripted;
pub mod seaweed;
pub mod seeds;
pub mod skips;
pub mod sshd;
pub mod trees;
pub mod unfinished;
pub mod waiting;
