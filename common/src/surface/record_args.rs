//! Command-line options of the record of what a job changes.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use types::listed::change::RecordFormat;

/// Options of the tools that change something.
#[derive(Debug, Clone, PartialEq, Eq, Default, Args, Serialize, Deserialize)]
#[command(next_help_heading = "Output")]
pub struct RecordArgs {
    /// Write a line to FILE for each entry that is copied, changed, linked or deleted, or that
    /// fails
    ///
    /// Lines are appended to FILE, at the latest a second after the change; the last one tells
    /// whether the job was interrupted. FILE must not be in what is copied or deleted.
    #[arg(long, value_name = "FILE")]
    log_file: Option<OsString>,

    /// Format of --log-file: ndjson, or itemize for the lines of rsync
    #[arg(
        long,
        value_name = "FORMAT",
        value_enum,
        hide_possible_values = true,
        requires = "log_file",
        conflicts_with = "itemize_changes"
    )]
    log_format: Option<Format>,

    /// Print the lines that rsync --itemize-changes prints; a --log-file has them, too
    #[arg(long, conflicts_with = "json")]
    itemize_changes: bool,
}

/// Values of `--log-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
enum Format {
    Ndjson,
    Itemize,
}

/// Request for a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordRequest {
    /// File of the record.
    pub file: Option<Vec<u8>>,
    /// Format of its lines.
    pub format: RecordFormat,
    /// True if its lines are printed.
    pub is_printed: bool,
}

impl RecordArgs {
    /// Returns the record that these arguments request.
    pub fn request(&self) -> Option<RecordRequest> {
        let file = self.log_file.clone().map(OsStringExt::into_vec);
        let is_item = self.itemize_changes || self.log_format == Some(Format::Itemize);
        let format = if is_item { RecordFormat::Itemize } else { RecordFormat::Ndjson };
        let is_wanted = self.itemize_changes || file.is_some();
        is_wanted.then_some(RecordRequest { file, format, is_printed: self.itemize_changes })
    }
}
