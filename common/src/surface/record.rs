//! Record of what a job changes, which rank 0 writes as the lines of all ranks come in.

use std::io::{BufWriter, Write};
use std::os::unix::ffi::OsStrExt;

use serde_json::json;

use super::console::Console;
use super::record_args::RecordRequest;
use lists::appended::AppendedFile;
use types::exit::Exit;
use types::limits::RECORD_BUFFER_BYTES;
use types::listed::change::{RecordFormat, write_event};
use types::path;

/// Record of a job, in a file, on standard output, or both.
pub struct Record {
    format: RecordFormat,
    is_printed: bool,
    file: Option<RecordFile>,
}

impl Record {
    /// Begins the record of a tool.
    ///
    /// # Errors
    /// Fails where the first line cannot be written.
    pub fn begin(
        request: &RecordRequest,
        file: Option<AppendedFile>,
        (tool, is_dry_run): (&str, bool),
    ) -> Result<Self, RecordError> {
        let (format, is_printed) = (request.format, request.is_printed);
        let mut record = Self { format, is_printed, file: file.map(RecordFile::new) };
        record.mark("begin", json!({ "tool": tool, "dry_run": is_dry_run }));
        record.flush().map_or(Ok(record), Err)
    }

    /// True if the lines are also printed.
    pub fn is_printed(&self) -> bool {
        self.is_printed
    }

    /// Takes lines of a rank; returns what went wrong, once.
    pub fn write(&mut self, lines: &[u8], console: &mut Console) -> Option<RecordError> {
        if self.is_printed {
            console.result(lines);
        }
        self.file.as_mut()?.attempt(|file| file.write_all(lines))
    }

    /// Writes what was taken, so that it is there if the job is killed; returns what went wrong,
    /// once.
    pub fn flush(&mut self) -> Option<RecordError> {
        self.file.as_mut()?.attempt(BufWriter::flush)
    }

    /// Writes a line about the job, which only one of the formats has.
    fn mark(&mut self, event: &str, fields: serde_json::Value) {
        let mut line = Vec::new();
        if self.format == RecordFormat::Ndjson {
            write_event(event, fields, &mut line);
        }
        self.add(&line);
    }

    /// Adds to the file alone. Whatever goes wrong, the end tells it.
    fn add(&mut self, line: &[u8]) {
        let _ = self.file.as_mut().and_then(|file| file.attempt(|file| file.write_all(line)));
    }

    /// Ends the record with a line that says how the job ended.
    ///
    /// # Errors
    /// Fails where the record lacks something.
    pub fn end(mut self, is_interrupted: bool, exit: Exit) -> Result<(), RecordError> {
        let (complete, code) = (!is_interrupted, exit.code());
        self.mark("end", json!({ "complete": complete, "exit_code": code }));
        if is_interrupted && self.format == RecordFormat::Itemize {
            self.add(format!("*interrupted before all was done (exit {code})\n").as_bytes());
        }
        self.file.map_or(Ok(()), RecordFile::end)
    }
}

/// Reason why a record is not complete.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Writing failed.
    #[error("write \"{file}\": {source}")]
    Write {
        /// File of the record, escaped.
        file: String,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// Writing failed before, which was reported.
    #[error("\"{0}\" lacks changes that the job made")]
    Incomplete(String),
}

/// Lines on their way to the file of a record.
struct RecordFile {
    shown: String,
    /// The file; `None` once writing has failed.
    writer: Option<BufWriter<AppendedFile>>,
}

impl RecordFile {
    fn new(file: AppendedFile) -> Self {
        let shown = path::escaped(file.path().as_os_str().as_bytes());
        Self { shown, writer: Some(BufWriter::with_capacity(RECORD_BUFFER_BYTES, file)) }
    }

    /// Attempts to write; returns what went wrong, after which the file is left alone.
    fn attempt(
        &mut self,
        write: impl FnOnce(&mut BufWriter<AppendedFile>) -> std::io::Result<()>,
    ) -> Option<RecordError> {
        let source = write(self.writer.as_mut()?).err()?;
        // What is still buffered would be tried again.
        drop(self.writer.take().map(BufWriter::into_parts));
        Some(RecordError::Write { file: self.shown.clone(), source })
    }

    fn end(mut self) -> Result<(), RecordError> {
        if self.writer.is_none() {
            return Err(RecordError::Incomplete(self.shown));
        }
        let synced =
            |file: &mut BufWriter<AppendedFile>| file.flush().and_then(|()| file.get_ref().sync());
        self.attempt(synced).map_or(Ok(()), Err)
    }
}
