//! What is in a log: records in frames, each with its length and its checksums.
//!
//! A file begins with a line that says what it is. Then come frames: the length of a record in bytes, its CRC-64/NVME,
//! a checksum of these two, and the record, as postcard writes it. A file that is written as a whole ends in a seal, a
//! frame of nothing, so that no byte of it can be wrong or missing unnoticed. A log may be torn at its end, where its
//! writer was killed, or a node has lost what it had not yet brought to storage: what is not whole there does not count.
//! Anything else that is wrong is damage, and an error.

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

/// All versions begin like this.
pub(super) const ANY_FIRST: &[u8] = b"dcp journal ";

const FIRST_LINE: &[u8] = b"dcp journal 3\n";

/// Length and checksum of a record, and the checksum of these.
const FRAME_HEAD_BYTES: usize = 4 + 8 + 4;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Record {
    /// A large file is staged.
    Begun { file: TargetFile, begun: Unfinished },
    /// A chunk of what is staged there is written.
    Chunk { staged: Vec<u8>, extent: Extent, crc64: Crc64 },
    /// Nothing is staged there any more.
    Ended { staged: Vec<u8> },
    /// A large file is staged in that inode.
    BegunAs { file: TargetFile, begun: Unfinished, inode: u64 },
    /// A job of that number is at work.
    Job { id: u64 },
    /// A job has begun.
    Started { at: Time },
    /// A rank begins to bring to storage what it has copied: it is one of so many.
    Syncing { ranks: u32 },
    /// What that rank had copied before is there.
    Synced { until: Time },
    /// Of files that were changed then a node may have lost the content.
    Doubtful(Doubt),
    /// A directory was not there, and is made.
    Made { directory: TargetFile },
}

impl Record {
    /// The name of what is staged, if it is about that.
    pub fn staged(&self) -> Option<&Vec<u8>> {
        match self {
            Self::Begun { begun, .. } | Self::BegunAs { begun, .. } => Some(&begun.staged),
            Self::Chunk { staged, .. } | Self::Ended { staged } => Some(staged),
            Self::Job { .. }
            | Self::Started { .. }
            | Self::Syncing { .. }
            | Self::Synced { .. }
            | Self::Doubtful(_)
            | Self::Made { .. } => None,
        }
    }

    /// As it is in a log.
    pub fn framed(&self) -> Vec<u8> {
        frame(self)
    }
}

/// A value with its length and checksums.
pub(super) fn frame(value: &impl Serialize) -> Vec<u8> {
    framed(&postcard::to_stdvec(value).expect("plain values always serialise"))
}

/// The end of a file that is written as a whole.
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

/// Makes a log with nothing in it yet.
///
/// # Errors
/// Those of the system.
pub(super) fn create(path: &Path) -> io::Result<File> {
    let mut file = File::options().append(true).create_new(true).open(path)?;
    file.write_all(FIRST_LINE)?;
    Ok(file)
}

/// The records of a file.
pub(super) struct Records {
    frames: Frames,
}

impl Records {
    /// Opens a file of records.
    ///
    /// # Errors
    /// Those of the system, and what is wrong with it.
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

/// How a file of frames ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// In a seal: it was written as a whole.
    Sealed,
    /// Anywhere: its writer may have been killed.
    Torn,
}

/// The values in a file of frames.
pub(super) struct Frames {
    path: PathBuf,
    reader: BufReader<File>,
    ends: Ends,
    /// There is no more.
    is_over: bool,
    /// Where the next frame begins.
    offset: u64,
}

/// What comes next in a file.
enum Next {
    Value(Vec<u8>),
    /// The file ends in its midst, or before it.
    Short,
    /// Its checksum is wrong; nothing but zeros comes after it.
    WrongAtEnd,
    /// Its checksum is wrong.
    Wrong,
}

impl Frames {
    /// Opens a file of frames.
    ///
    /// # Errors
    /// Those of the system; that it is another version's, or no such file.
    pub fn open(path: &Path, ends: Ends) -> io::Result<Self> {
        let reader = BufReader::with_capacity(1 << 16, File::open(path)?);
        let mut frames = Self { path: path.to_owned(), reader, ends, is_over: false, offset: 0 };
        let first = frames.read_up_to(FIRST_LINE.len())?;
        let written = first.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
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

    /// The next value; `None` at the end.
    ///
    /// # Errors
    /// Those of the system, and that it is damaged.
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

    /// So many bytes, or fewer where the file ends.
    fn read_up_to(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(length);
        self.reader.by_ref().take(length as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// A node that lost its memory leaves such behind, where a file had got its length and not yet its content.
    fn is_rest_zero(&mut self) -> io::Result<bool> {
        loop {
            let bytes = self.read_up_to(1 << 16)?;
            if bytes.is_empty() || !is_zero(&bytes) {
                return Ok(bytes.is_empty());
            }
        }
    }

    fn damaged(&self) -> io::Error {
        self.wrong(&format!("is damaged at byte {}", self.offset))
    }

    fn wrong(&self, what: &str) -> io::Error {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        io::Error::new(io::ErrorKind::InvalidData, format!("{name} {what}"))
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}
