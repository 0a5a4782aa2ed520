//! A list that rank 0 writes line by line, complete or not there.

use std::io::{BufWriter, Write};

use lists::staged::StagedFile;
use ops::walk::list::collector::Listing;
use types::path;

/// A list of lines on its way to its file.
pub struct ListFile {
    target: Vec<u8>,
    listing: Listing,
    is_empty: bool,
    /// The file; `None` once writing has failed, so that nothing incomplete takes the name.
    writer: Option<BufWriter<StagedFile>>,
}

impl ListFile {
    /// Begins a list in a file.
    pub fn new(file: StagedFile, listing: Listing) -> Self {
        let target = file.target().to_vec();
        Self {
            target,
            listing,
            is_empty: true,
            writer: Some(BufWriter::with_capacity(1 << 20, file)),
        }
    }

    /// The path of the list.
    pub fn target(&self) -> &[u8] {
        &self.target
    }

    /// Writes lines; returns what went wrong, once.
    pub fn write(&mut self, lines: &[u8]) -> Option<String> {
        let writer = self.writer.as_mut()?;
        match writer.write_all(lines) {
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
        let Some(mut writer) = self.writer.take() else {
            let list = path::escaped(&self.target);
            return Err(format!(
                "\"{list}\" is not written; the file that was there is not changed"
            ));
        };
        let text = self.listing.end_line(self.is_empty, failed).unwrap_or_default();
        let written = writer.write_all(text.as_bytes()).and_then(|()| writer.flush());
        let (file, _) = writer.into_parts();
        written.map_err(|error| self.failed(&error))?;
        file.commit().map_err(|failure| failure.to_string())
    }

    /// Drops what was written, without trying to write what is still buffered.
    fn give_up(&mut self) {
        if let Some(writer) = self.writer.take() {
            drop(writer.into_parts());
        }
    }

    fn failed(&self, error: &std::io::Error) -> String {
        format!("write \"{}\": {error}", path::escaped(&self.target))
    }
}
