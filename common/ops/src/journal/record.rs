//! The format of a journal's files: records in frames, each with its length and checksums.
//!
//! A file begins with a line that identifies it and its version. Then come frames: the length of a
//! record in bytes, its CRC-64/NVME, a checksum of these two, and the record in postcard's
//! encoding. A file that is written as a whole ends with a seal, an empty frame, so that no byte of
//! it can be wrong or missing unnoticed. A log may be torn at its end, because its writer was
//! killed or its node crashed before the data reached storage; a torn record does not count. Any
//! other fault is damage, and an error.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::doubt::Doubt;
use super::{TargetFile, Unfinished};
use types::content::chunk::Extent;
use types::content::crc64::Crc64;
use types::entry::Time;
use types::limits::JOURNAL_RECORD_BYTES_MAX;

/// The beginning of the first line in all versions of the format.
pub(super) const ANY_FIRST: &[u8] = b"dcp journal ";

/// The first line of a file in the present version of the format.
const FIRST_LINE: &[u8] = b"dcp journal 3\n";

/// The size of a frame's head in bytes: the length and checksum of the record, and the checksum of
/// these.
const FRAME_HEAD_BYTES: usize = 4 + 8 + 4;

/// An event of a copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Record {
    /// A large file was staged.
    Begun { file: TargetFile, begun: Unfinished },
    /// A chunk of a staged file was written.
    Chunk { staged: Vec<u8>, extent: Extent, crc64: Crc64 },
    /// The staged file of that name was renamed or removed.
    Ended { staged: Vec<u8> },
    /// A large file was staged in the file with that inode number.
    BegunAs { file: TargetFile, begun: Unfinished, inode: u64 },
    /// A job with that number works on the copy.
    Job { id: u64 },
    /// A job has begun.
    Started { at: Time },
    /// A rank, one of that number of ranks, begins to sync what it has copied.
    Syncing { ranks: u32 },
    /// The rank has synced what it had copied until that time.
    Synced { until: Time },
    /// A node may have lost the content of files that were changed in a period.
    Doubtful(Doubt),
    /// A directory that did not exist was created.
    Made { directory: TargetFile },
    /// A multipart upload for that file is about to be initiated.
    Intended { file: TargetFile, at: Time },
    /// The rank, at the end of its job, has changed nothing later than at that time.
    Left { at: Time },
}

impl Record {
    /// Returns the staging name that the record is about, if any.
    pub fn staged(&self) -> Option<&Vec<u8>> {
        match self {
            Self::Begun { begun, .. } | Self::BegunAs { begun, .. } => Some(&begun.staged),
            Self::Chunk { staged, .. } | Self::Ended { staged } => Some(staged),
            Self::Job { .. }
            | Self::Started { .. }
            | Self::Syncing { .. }
            | Self::Synced { .. }
            | Self::Doubtful(_)
            | Self::Made { .. }
            | Self::Intended { .. }
            | Self::Left { .. } => None,
        }
    }

    /// Encodes the record as in a log.
    pub fn framed(&self) -> Vec<u8> {
        frame(self)
    }
}

/// Encodes a value with its length and checksums.
pub(super) fn frame(value: &impl Serialize) -> Vec<u8> {
    framed(&postcard::to_stdvec(value).expect("plain values always serialise"))
}

/// Returns the end of a file that is written as a whole.
pub(super) fn seal() -> Vec<u8> {
    framed(&[])
}

fn framed(bytes: &[u8]) -> Vec<u8> {
    let mut framed = (bytes.len() as u32).to_le_bytes().to_vec();
    framed.extend(Crc64::of(bytes).0.to_le_bytes());
    framed.extend(sum_of_head(&framed));
    framed.extend(bytes);
    framed
}

fn sum_of_head(head: &[u8]) -> [u8; 4] {
    (Crc64::of(head).0 as u32).to_le_bytes()
}

/// Creates a log without records.
///
/// # Errors
/// Returns the error of the system.
pub(super) fn create(path: &Path) -> io::Result<File> {
    let mut file = File::options().append(true).create_new(true).open(path)?;
    file.write_all(FIRST_LINE)?;
    Ok(file)
}

/// An iterator over the records of a file.
pub(super) struct Records {
    frames: Frames,
}

impl Records {
    /// Opens a file of records.
    ///
    /// # Errors
    /// Returns the error of the system, or says what is wrong with the file.
    pub fn open(path: &Path, ends: Ends) -> io::Result<Self> {
        Frames::open(path, ends).map(|frames| Self { frames })
    }
}

impl Iterator for Records {
    type Item = io::Result<Record>;

    fn next(&mut self) -> Option<io::Result<Record>> {
        self.frames.next_value().transpose()
    }
}

/// The possible end of a file of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// The file ends with a seal, since it was written as a whole.
    Sealed,
    /// The file may end anywhere, since its writer may have been killed.
    Torn,
}

/// An iterator over the values in a file of frames.
pub(super) struct Frames {
    path: PathBuf,
    reader: BufReader<File>,
    ends: Ends,
    /// True if there are no more values.
    is_over: bool,
    /// The offset at which the next frame begins.
    offset: u64,
}

/// The next item of a file.
enum Next {
    Value(Vec<u8>),
    /// The file ends within the frame, or before it.
    Short,
    /// A frame with a wrong checksum, after which there are only zero bytes.
    WrongAtEnd,
    /// A frame with a wrong checksum.
    Wrong,
}

impl Frames {
    /// Opens a file of frames.
    ///
    /// # Errors
    /// Returns the error of the system, and an error if the file has another version or is no such
    /// file.
    pub fn open(path: &Path, ends: Ends) -> io::Result<Self> {
        let reader = BufReader::with_capacity(1 << 16, File::open(path)?);
        let mut frames = Self { path: path.to_owned(), reader, ends, is_over: false, offset: 0 };
        let first = frames.read_up_to(FIRST_LINE.len())?;
        let written = first.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        // A crash may leave a log whose first line was not yet written in full, followed by nothing
        // or zeros; it holds no record then.
        let is_cut = FIRST_LINE.starts_with(&first[..written]);
        if first == FIRST_LINE {
            frames.offset = first.len() as u64;
        } else if ends == Ends::Torn && is_cut && frames.is_rest_zero()? {
            frames.is_over = true;
        } else if first.starts_with(ANY_FIRST) && first.len() == FIRST_LINE.len() {
            return Err(frames.wrong("was written by another version of this tool"));
        } else {
            return Err(frames.damaged());
        }
        Ok(frames)
    }

    /// Returns the next value; `None` at the end.
    ///
    /// # Errors
    /// Returns the error of the system, and an error if the file is damaged.
    pub fn next_value<T: for<'d> Deserialize<'d>>(&mut self) -> io::Result<Option<T>> {
        if self.is_over {
            return Ok(None);
        }
        let bytes = match (self.next_frame()?, self.ends) {
            (Next::Value(bytes), _) if !bytes.is_empty() => Some(bytes),
            (Next::Short | Next::WrongAtEnd, Ends::Torn) => None,
            (Next::Value(_), Ends::Sealed) if self.read_up_to(1)?.is_empty() => None,
            _ => return Err(self.damaged()),
        };
        let Some(bytes) = bytes else {
            self.is_over = true;
            return Ok(None);
        };
        let value = postcard::from_bytes(&bytes).map_err(|_| self.damaged())?;
        self.offset += (FRAME_HEAD_BYTES + bytes.len()) as u64;
        Ok(Some(value))
    }

    /// Reads the next frame and verifies its checksums. The checksum of the head comes first, so
    /// that a damaged length is never used to read or to allocate.
    fn next_frame(&mut self) -> io::Result<Next> {
        let head = self.read_up_to(FRAME_HEAD_BYTES)?;
        if head.len() < FRAME_HEAD_BYTES {
            return Ok(Next::Short);
        }
        let (length, rest) = head.split_at(4);
        let (sum, of_head) = rest.split_at(8);
        let length = length.iter().rev().fold(0, |all, byte| all << 8 | usize::from(*byte));
        if of_head != sum_of_head(&head[..12]) || length > JOURNAL_RECORD_BYTES_MAX {
            return self.wrong_frame();
        }
        let bytes = self.read_up_to(length)?;
        if bytes.len() < length {
            return Ok(Next::Short);
        }
        if Crc64::of(&bytes).0.to_le_bytes() == sum {
            return Ok(Next::Value(bytes));
        }
        self.wrong_frame()
    }

    fn wrong_frame(&mut self) -> io::Result<Next> {
        Ok(if self.is_rest_zero()? { Next::WrongAtEnd } else { Next::Wrong })
    }

    /// Reads that number of bytes, or fewer at the end of the file.
    fn read_up_to(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(length);
        self.reader.by_ref().take(length as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Returns whether the rest of the file consists of zeros. A node that crashes may leave that
    /// where the length of a file was already recorded and its data was not.
    fn is_rest_zero(&mut self) -> io::Result<bool> {
        loop {
            let bytes = self.read_up_to(1 << 16)?;
            if bytes.is_empty() || !is_zero(&bytes) {
                return Ok(bytes.is_empty());
            }
        }
    }

    fn damaged(&self) -> io::Error {
        self.wrong(&format!("is corrupt at byte {}", self.offset))
    }

    fn wrong(&self, what: &str) -> io::Error {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        io::Error::new(io::ErrorKind::InvalidData, format!("{name} {what}"))
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}
