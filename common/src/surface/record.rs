//! Record of what a job changes, which rank 0 writes as the lines of all ranks come in.

use serde_json::json;

use super::console::Console;
use super::list_file::ListFile;
use super::record_args::RecordRequest;
use lists::staged::StagedFile;
use ops::walk::list::collector::Listing;
use types::exit::Exit;
use types::listed::change::{RecordFormat, write_event};

/// Record of a job, in a file, on standard output, or both.
pub struct Record {
    format: RecordFormat,
    is_printed: bool,
    file: Option<ListFile>,
}

impl Record {
    /// Begins the record of a tool.
    ///
    /// # Errors
    /// One line that says why it cannot be written.
    pub fn begin(
        request: &RecordRequest,
        file: Option<StagedFile>,
        (tool, is_dry_run): (&str, bool),
    ) -> Result<Self, String> {
        let file = file.map(|file| ListFile::new(file, Listing::None)).transpose()?;
        let mut record = Self { format: request.format, is_printed: request.is_printed, file };
        let failed = record.mark("begin", json!({ "tool": tool, "dry_run": is_dry_run }));
        failed.map_or(Ok(record), Err)
    }

    /// True if the lines are also printed.
    pub fn is_printed(&self) -> bool {
        self.is_printed
    }

    /// Takes lines of a rank; returns what went wrong, once.
    pub fn write(&mut self, lines: &[u8], console: &mut Console) -> Option<String> {
        if self.is_printed {
            console.result(lines);
        }
        self.file.as_mut()?.write(lines)
    }

    /// Writes a line about the job, which only one of the formats has.
    fn mark(&mut self, event: &str, fields: serde_json::Value) -> Option<String> {
        let mut line = Vec::new();
        if self.format == RecordFormat::Ndjson {
            write_event(event, fields, &mut line);
        }
        self.file.as_mut()?.write(&line)
    }

    /// Gives the record its name, with a last line that says how the job ended.
    ///
    /// # Errors
    /// One line that says why the record is not there.
    pub fn end(mut self, is_stopped: bool, exit: Exit) -> Result<(), String> {
        let (complete, code) = (!is_stopped, exit.code());
        self.mark("end", json!({ "complete": complete, "exit_code": code }));
        let Some(mut file) = self.file else { return Ok(()) };
        if is_stopped && self.format == RecordFormat::Itemize {
            file.write(format!("*stopped    before all was done (exit {code})\n").as_bytes());
        }
        file.commit(0)
    }
}
