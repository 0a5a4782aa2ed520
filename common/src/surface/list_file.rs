//! A list that rank 0 writes line by line, complete or not there.

use std::io::{BufWriter, Write};

use lists::mfu::write::MfuWriter;
use lists::staged::StagedFile;
use ops::walk::list::collector::Listing;
use types::path;

/// A list of lines on its way to its file.
pub struct ListFile {
    target: Vec<u8>,
    listing: Listing,
    is_empty: bool,
    /// The file; `None` once writing has failed, so that nothing incomplete takes the name.
    writer: Option<Writer>,
}

/// How lines get into the file.
enum Writer {
    Lines(BufWriter<StagedFile>),
    Entries(MfuWriter),
}

impl Writer {
    fn write(&mut self, lines: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Lines(writer) => writer.write_all(lines),
            Self::Entries(writer) => writer.append(lines),
        }
    }
}

impl ListFile {
    /// Begins a list in a file.
    ///
    /// # Errors
    /// One line that says why that file cannot be a list of that format.
    pub fn new(file: StagedFile, listing: Listing) -> Result<Self, String> {
        let target = file.target().to_vec();
        let writer = match listing {
            Listing::Mfu if !file.is_readable() => {
                let shown = path::escaped(&target);
                return Err(format!(
                    "\"{shown}\" is no regular file, as a list of mpiFileUtils has to be"
                ));
            }
            Listing::Mfu => Writer::Entries(MfuWriter::new(file)),
            _ => Writer::Lines(BufWriter::with_capacity(1 << 20, file)),
        };
        Ok(Self { target, listing, is_empty: true, writer: Some(writer) })
    }

    /// The path of the list.
    pub fn target(&self) -> &[u8] {
        &self.target
    }

    /// Writes lines; returns what went wrong, once.
    pub fn write(&mut self, lines: &[u8]) -> Option<String> {
        let writer = self.writer.as_mut()?;
        match writer.write(lines) {
            Ok(()) => {
                self.is_empty &= lines.is_empty();
                None
            }
            Err(error) => {
                self.give_up();
                Some(self.failed(&error))
            }
        }
    }

    /// Gives the list its name, marked where `failed` entries are missing.
    ///
    /// # Errors
    /// One line that says why the list is not there.
    pub fn commit(mut self, failed: u64) -> Result<(), String> {
        let Some(writer) = self.writer.take() else {
            let list = path::escaped(&self.target);
            return Err(format!(
                "\"{list}\" is not written; the file that was there is not changed"
            ));
        };
        let mut writer = match writer {
            Writer::Lines(writer) => writer,
            Writer::Entries(writer) => {
                return writer.commit(failed).map_err(|failure| failure.to_string());
            }
        };
        let text = self.listing.end_line(self.is_empty, failed).unwrap_or_default();
        let written = writer.write_all(text.as_bytes()).and_then(|()| writer.flush());
        let (file, _) = writer.into_parts();
        written.map_err(|error| self.failed(&error))?;
        file.commit().map_err(|failure| failure.to_string())
    }

    /// Drops what was written, without trying to write what is still buffered.
    fn give_up(&mut self) {
        match self.writer.take() {
            Some(Writer::Lines(writer)) => drop(writer.into_parts()),
            Some(Writer::Entries(writer)) => writer.give_up(),
            None => {}
        }
    }

    fn failed(&self, error: &std::io::Error) -> String {
        format!("write \"{}\": {error}", path::escaped(&self.target))
    }
}
