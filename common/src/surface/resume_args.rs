//! Command-line options about going on with a job that was stopped.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::Args;
use serde::{Deserialize, Serialize};

use ops::copy::options::ResumeRequest;
use ops::journal::folder::Start;

/// Options of the tools that copy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Args, Serialize, Deserialize)]
#[command(next_help_heading = "Resuming")]
pub struct ResumeArgs {
    /// Keep a journal beside TARGET; go on where the same command was stopped
    ///
    /// Stopped at the end of the walltime, by a signal, or with a node; on any number of ranks.
    /// What is finished is recognised by size and time of change, so that time is kept. Large files go on at
    /// the chunks that were written. The journal goes when all is done. Where there is one already, or
    /// --journal is given, this is the default. Options that decide what is written must be the same, or keep more.
    #[arg(long, overrides_with = "no_resume")]
    resume: bool,

    /// Do a job that was stopped anew, at the same place; what it had staged goes
    #[arg(long)]
    no_resume: bool,

    /// Keep the journal in DIR, on a file system that all ranks share
    #[arg(long, value_name = "DIR")]
    journal: Option<OsString>,
}

impl ResumeArgs {
    /// What these arguments say.
    pub fn request(&self) -> ResumeRequest {
        ResumeRequest {
            dir: self.journal.clone().map(OsStringExt::into_vec),
            is_wanted: self.resume,
            start: if self.no_resume { Start::Anew } else { Start::Resume },
        }
    }
}
