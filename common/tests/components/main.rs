//! Tests of the library without its tools: over ranks that are threads of this process, over the
//! simulator, over stores in memory and on this machine.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod comparisons;
mod copies;
#[path = "shared/copy_jobs.rs"]
mod copy_jobs;
mod engine;
mod hard_links;
mod lists;
mod pairs;
mod places;
#[path = "stores/promises.rs"]
mod promises;
mod rates;
mod remote_connections;
mod remote_hosts;
#[path = "shared/runs.rs"]
mod runs;
mod sftp_hosts;
mod simulator;
mod stores;
mod transfers;
#[path = "shared/trees.rs"]
mod trees;
