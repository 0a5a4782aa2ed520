//! Reading an NDJSON list, in pieces that any rank may take.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{fault, io_failure, read_failure};
use types::error::{Failure, ListFault, Op};
use types::exit::Exit;
use types::limits::NDJSON_LINE_BYTES_MAX;
use types::listed::json_record::{JsonRecord, VERSION};
use types::listed::json_text::EVENTS_VERSION;
use types::listed::record::OwnedRecord;

/// Entries in the lines that begin in a piece of the file; none follow after an error.
pub struct LineRecords {
    path: PathBuf,
    reader: BufReader<File>,
    at: u64,
    end: u64,
    line: Vec<u8>,
}

/// Event in the last line of a list that is empty or lacks entries. Other lists have no such line,
/// so that each of their lines is an entry.
pub const END_EVENT: &str = "end";

/// Returns the last line of a list, where it needs one; `failed` is the number of entries that the
/// job could not read.
pub fn end_line(is_empty: bool, failed: u64) -> Option<String> {
    (is_empty || failed > 0).then(|| {
        format!("{}\n", serde_json::json!({ "v": VERSION, "event": END_EVENT, "failed": failed }))
    })
}

/// Fields that every line has.
#[derive(Deserialize)]
struct Head {
    /// Version of a line of a list.
    v: Option<u32>,
    /// Version of another event, where standard output of a job became the list.
    json_version: Option<u32>,
    event: String,
    /// Number of entries that the job which wrote the list could not read, in an [`END_EVENT`].
    #[serde(default)]
    failed: u64,
    /// Exit code in the summary of a job whose standard output became the list.
    #[serde(default)]
    exit_code: u8,
}

impl Head {
    fn lacks_entries(&self) -> bool {
        let exits = [Exit::Ok, Exit::Different, Exit::Vanished].map(|exit| exit as u8);
        self.failed > 0 || !exits.contains(&self.exit_code)
    }
}

impl LineRecords {
    /// Opens the lines that begin at `begin` or behind it, and before `end`.
    ///
    /// # Errors
    /// Fails where the file cannot be read.
    pub fn open(path: &Path, begin: u64, end: u64) -> Result<Self, Failure> {
        let file = File::open(path).map_err(|error| read_failure(path, Op::Open, &error))?;
        let mut reader = BufReader::with_capacity(1 << 17, file);
        // A line that begins before `begin` belongs to the previous piece.
        let from = begin.saturating_sub(1);
        reader.seek(SeekFrom::Start(from)).map_err(|error| io_failure(path, Op::Read, &error))?;
        let mut records = Self { path: path.to_owned(), reader, at: from, end, line: Vec::new() };
        if begin > 0 {
            records.read_line()?;
        }
        Ok(records)
    }

    /// Reads a line; returns false at the end of the file.
    fn read_line(&mut self) -> Result<bool, Failure> {
        self.line.clear();
        let mut limited = (&mut self.reader).take(NDJSON_LINE_BYTES_MAX);
        let read = limited
            .read_until(b'\n', &mut self.line)
            .map_err(|error| io_failure(&self.path, Op::Read, &error))?;
        if read > 0 && self.line.last() != Some(&b'\n') {
            // The file is truncated, or the line is longer than any path.
            return Err(fault(&self.path, ListFault::Damaged(self.at)));
        }
        self.at += read as u64;
        Ok(read > 0)
    }

    /// Returns the next entry; other events of the program's output are skipped.
    fn next_record(&mut self) -> Result<Option<OwnedRecord>, Failure> {
        while self.at < self.end {
            let begin = self.at;
            if !self.read_line()? {
                // The file was longer when the job began.
                return Err(fault(&self.path, ListFault::Changed));
            }
            if let Some(record) = self.parse(begin)? {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    fn parse(&self, begin: u64) -> Result<Option<OwnedRecord>, Failure> {
        // A file of another kind is foreign from its first byte; later on, it is damaged.
        let wrong = if begin == 0 { ListFault::Foreign } else { ListFault::Damaged(begin) };
        let read = serde_json::from_slice::<JsonRecord<'_>>(&self.line);
        // Parsers differ in which of two values counts, and this one reports them only by this
        // text.
        let repeats = |error: &serde_json::Error| error.to_string().starts_with("duplicate field");
        let is_repeated = read.as_ref().is_err_and(repeats);
        let wrong =
            || fault(&self.path, if is_repeated { ListFault::Repeated(begin) } else { wrong });
        if let Ok(line) = read
            && line.is_entry()
        {
            return line.into_record().map(Some).ok_or_else(wrong);
        }
        let head: Head = serde_json::from_slice(&self.line).map_err(|_| wrong())?;
        match (head.v, head.json_version) {
            (Some(VERSION), _) | (None, Some(EVENTS_VERSION)) => {}
            (None, None) => return Err(wrong()),
            _ => return Err(fault(&self.path, ListFault::Version)),
        }
        match head.event.as_str() {
            "entry" => Err(wrong()),
            END_EVENT | "summary" if head.lacks_entries() => {
                Err(fault(&self.path, ListFault::Unfinished))
            }
            _ => Ok(None),
        }
    }
}

impl Iterator for LineRecords {
    type Item = Result<OwnedRecord, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_record();
        if next.is_err() {
            self.end = 0;
        }
        next.transpose()
    }
}
