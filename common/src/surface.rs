//! User interface: command line, session, progress, summary, exit code.

pub mod cli;
pub mod console;
pub mod copy_args;
mod environment;
pub mod filter_args;
pub mod foreign;
pub mod generate;
pub mod identity_args;
pub mod json;
pub mod keep_args;
mod list_file;
pub mod local_path;
pub mod named_args;
pub mod progress;
pub mod report;
pub mod reporter;
pub mod resume_args;
pub mod s3_args;
pub mod session;
pub mod summary;
pub mod topology;
pub mod transfer_args;
pub mod usage;
pub mod verify_args;
