//! A list that rank 0 writes line by line, complete or not there.

use std::io::{self, BufWriter, Write};

use lists::mfu::write::MfuWriter;
use lists::staged::StagedFile;
use ops::walk::list::collector::Listing;
use types::error::Failure;
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

/// File that is not regular, as a list of mpiFileUtils has to be.
#[derive(Debug, thiserror::Error)]
#[error("\"{}\" is no regular file, as a list of mpiFileUtils has to be", path::escaped(.0))]
pub struct NotRegular(Vec<u8>);

/// Reason why a list is not there.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// Writing failed before, which was reported.
    #[error("\"{}\" is not written; the file that was there is not changed", path::escaped(.0))]
    Unwritten(Vec<u8>),
    /// Writing failed.
    #[error("write \"{}\": {source}", path::escaped(list))]
    Write {
        /// Path of the list.
        list: Vec<u8>,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The file cannot get its name.
    #[error(transparent)]
    Name(#[from] Failure),
}

impl ListFile {
    /// Begins a list in a file.
    ///
    /// # Errors
    /// Fails for a file that cannot be a list of that format.
    pub fn new(file: StagedFile, listing: Listing) -> Result<Self, NotRegular> {
        let target = file.target().to_vec();
        let writer = match listing {
            Listing::Mfu if !file.is_readable() => return Err(NotRegular(target)),
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
    pub fn write(&mut self, lines: &[u8]) -> Option<ListError> {
        let writer = self.writer.as_mut()?;
        match writer.write(lines) {
            Ok(()) => {
                self.is_empty &= lines.is_empty();
                None
            }
            Err(error) => {
                self.give_up();
                Some(self.failed(error))
            }
        }
    }

    /// Gives the list its name, marked where `failed` entries are missing.
    ///
    /// # Errors
    /// Returns why the list is not there.
    pub fn commit(mut self, failed: u64) -> Result<(), ListError> {
        let Some(writer) = self.writer.take() else {
            return Err(ListError::Unwritten(self.target));
        };
        let mut writer = match writer {
            Writer::Lines(writer) => writer,
            Writer::Entries(writer) => {
                return Ok(writer.commit(failed)?);
            }
        };
        let text = self.listing.end_line(self.is_empty, failed).unwrap_or_default();
        let written = writer.write_all(text.as_bytes()).and_then(|()| writer.flush());
        let (file, _) = writer.into_parts();
        written.map_err(|error| self.failed(error))?;
        Ok(file.commit()?)
    }

    /// Drops what was written, without trying to write what is still buffered.
    fn give_up(&mut self) {
        match self.writer.take() {
            Some(Writer::Lines(writer)) => drop(writer.into_parts()),
            Some(Writer::Entries(writer)) => writer.give_up(),
            None => {}
        }
    }

    fn failed(&self, source: io::Error) -> ListError {
        ListError::Write { list: self.target.clone(), source }
    }
}
