//! Command-line options about going on with a job that was stopped.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::local_path::local_path;
use ops::copy::options::ResumeRequest;
use ops::journal::folder::Start;

/// Options of the tools that copy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Args, Serialize, Deserialize)]
#[command(next_help_heading = "Resuming")]
pub struct ResumeArgs {
    /// Keep a journal beside TARGET, and resume an interrupted run of the same command
    ///
    /// The earlier run may have been ended by its walltime, by a signal, or with a node; the number
    /// of ranks may differ. Finished files are recognised by size and modification time, so that
    /// time is preserved. Large files resume at the chunks that were written. The journal is
    /// removed when everything is done. Where a journal exists already, or --journal is given, this
    /// is the default. Options that decide what is written must be the same, or preserve more.
    #[arg(long, overrides_with = "no_resume")]
    resume: bool,

    /// Start an interrupted job over in the same location; its temporary files are removed
    #[arg(long)]
    no_resume: bool,

    /// Keep the journal in DIR, on a file system that all ranks share
    #[arg(long, value_name = "DIR", value_parser = local_path())]
    journal: Option<OsString>,
}

impl ResumeArgs {
    /// Request of these arguments.
    pub fn request(&self) -> ResumeRequest {
        ResumeRequest {
            dir: self.journal.clone().map(OsStringExt::into_vec),
            is_wanted: self.resume,
            start: if self.no_resume { Start::Anew } else { Start::Resume },
        }
    }
}
