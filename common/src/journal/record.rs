//! What is in a log: records in frames, each with its length and its checksum.
//!
//! A file begins with a line that says what it is. Then come frames: the length of a record in bytes, its
//! CRC-64/NVME, and the record, as postcard writes it. Reading ends at the first frame that is not whole:
//! what comes after it was being written when the job died, or is not ours.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::doubt::Doubt;
use super::{TargetFile, Unfinished};
use crate::base::crc64::Crc64;
use crate::base::limits::JOURNAL_RECORD_BYTES_MAX;
use crate::model::chunk::Extent;
use crate::model::entry::Time;

const FIRST_LINE: &[u8] = b"dcp journal 1\n";

/// Length and checksum.
const FRAME_HEAD_BYTES: usize = 4 + 8;

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
            | Self::Doubtful(_) => None,
        }
    }

    /// As it is in a log.
    pub fn framed(&self) -> Vec<u8> {
        frame(self)
    }
}

/// A value with its length and checksum.
pub(super) fn frame(value: &impl Serialize) -> Vec<u8> {
    let bytes = postcard::to_stdvec(value).expect("plain values always serialise");
    let mut framed = (bytes.len() as u32).to_le_bytes().to_vec();
    framed.extend(Crc64::of(&bytes).0.to_le_bytes());
    framed.extend(bytes);
    framed
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

/// The records of a log, up to the first that is not whole.
pub(super) struct Records {
    frames: Frames,
}

impl Records {
    /// Opens a log; what is not one has no records.
    ///
    /// # Errors
    /// Those of the system.
    pub fn open(path: &Path) -> io::Result<Self> {
        Frames::open(path).map(|frames| Self { frames })
    }
}

impl Iterator for Records {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        self.frames.next_value()
    }
}

/// The values in a file of frames.
pub(super) struct Frames {
    /// `None` at the end of what is whole.
    rest: Option<BufReader<File>>,
}

impl Frames {
    /// Opens a file of frames; what is not one has none.
    ///
    /// # Errors
    /// Those of the system.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut reader = BufReader::with_capacity(1 << 16, File::open(path)?);
        let mut first = vec![0; FIRST_LINE.len()];
        let is_ours = reader.read_exact(&mut first).is_ok() && first == FIRST_LINE;
        Ok(Self { rest: is_ours.then_some(reader) })
    }

    /// The next value, if it is whole.
    pub fn next_value<T: for<'d> Deserialize<'d>>(&mut self) -> Option<T> {
        let value = self.rest.as_mut().and_then(read_frame);
        if value.is_none() {
            self.rest = None;
        }
        value
    }
}

fn read_frame<T: for<'d> Deserialize<'d>>(reader: &mut BufReader<File>) -> Option<T> {
    let mut head = [0; FRAME_HEAD_BYTES];
    reader.read_exact(&mut head).ok()?;
    let (length, sum) = head.split_at(4);
    let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
    if length > JOURNAL_RECORD_BYTES_MAX {
        return None;
    }
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes).ok()?;
    let is_whole = Crc64::of(&bytes).0 == u64::from_le_bytes(sum.try_into().ok()?);
    if is_whole { postcard::from_bytes(&bytes).ok() } else { None }
}
