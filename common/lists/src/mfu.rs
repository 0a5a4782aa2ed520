//! Binary lists of mpiFileUtils, versions 3 and 4: read in pieces that any rank may take.
//!
//! All numbers have 64 bits in network byte order. After a header come a table of users, one of
//! groups, and records of one length: a path that is filled up with NUL, and ten numbers. Version 3
//! has two timestamps more in its header.

mod layout;
pub mod write;

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

pub use layout::Layout;
use layout::Table;

use super::{fault, io_failure, read_failure};
use types::entry::{Kind, Metadata, Time};
use types::error::{Failure, ListFault, Op};
use types::limits::MFU_PIECE_BYTES;
use types::listed::record::OwnedRecord;
use types::outcome::difference::Fields;

/// Numbers of a record: mode, user, group, three times as seconds and nanoseconds, size.
const FIELDS: usize = 10;

/// Bytes of a number.
const NUMBER: usize = 8;

/// Follows the last record of a list that lacks entries. mpiFileUtils, whose lists cannot say so,
/// does not read it.
const UNFINISHED: &[u8; 8] = b"unread\0\0";

/// Attributes that a record has.
const KNOWN: [Fields; 7] = [
    Fields::TYPE,
    Fields::SIZE,
    Fields::UID,
    Fields::GID,
    Fields::ATIME,
    Fields::MTIME,
    Fields::PERM,
];

/// Entries in a piece of a list; none follow after an error.
pub struct Entries {
    path: PathBuf,
    reader: BufReader<File>,
    layout: Layout,
    /// Number of entries that are still to be read.
    left: u64,
    /// Offset of the next one.
    at: u64,
    record: Vec<u8>,
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
}

impl Layout {
    /// Returns how many entries one task reads.
    pub fn step(&self) -> u64 {
        (MFU_PIECE_BYTES / self.record_bytes()).max(1)
    }
}

impl Entries {
    /// Opens so many entries of a list, from one of them on.
    ///
    /// # Errors
    /// Fails where the file cannot be read, or is not the one that the layout is of.
    pub fn open(path: &Path, layout: Layout, first: u64, count: u64) -> Result<Self, Failure> {
        let file = File::open(path).map_err(|error| read_failure(path, Op::Open, &error))?;
        let read = |error: std::io::Error| read_failure(path, Op::Read, &error);
        if file.metadata().map_err(read)?.len() != layout.file_bytes {
            return Err(fault(path, ListFault::Changed));
        }
        let (users, groups) =
            (names(path, &file, layout.users)?, names(path, &file, layout.groups)?);
        let at = layout.entries_at + first * layout.record_bytes();
        let mut reader = BufReader::with_capacity(1 << 17, file);
        reader.seek(SeekFrom::Start(at)).map_err(read)?;
        let record = vec![0; layout.record_bytes() as usize];
        Ok(Self { path: path.to_owned(), reader, layout, left: count, at, record, users, groups })
    }

    fn next_entry(&mut self) -> Result<OwnedRecord, Failure> {
        self.reader.read_exact(&mut self.record).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => fault(&self.path, ListFault::Changed),
            _ => read_failure(&self.path, Op::Read, &error),
        })?;
        let (path, numbers) = self.record.split_at(self.layout.path_bytes as usize);
        let entry = entry(path, numbers, (&self.users, &self.groups));
        let entry = entry.filter(OwnedRecord::is_sound);
        let entry = entry.ok_or_else(|| fault(&self.path, ListFault::Damaged(self.at)))?;
        self.at += self.layout.record_bytes();
        Ok(entry)
    }
}

impl Iterator for Entries {
    type Item = Result<OwnedRecord, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let next = self.next_entry();
        if next.is_err() {
            self.left = 0;
        }
        Some(next)
    }
}

/// Reads a table of names by their numbers.
fn names(path: &Path, file: &File, table: Table) -> Result<HashMap<u32, String>, Failure> {
    let mut bytes = vec![0; table.bytes() as usize];
    file.read_exact_at(&mut bytes, table.at).map_err(|error| io_failure(path, Op::Read, &error))?;
    if bytes.is_empty() {
        return Ok(HashMap::new());
    }
    let row = |row: &[u8]| {
        let (name, id) = row.split_at(table.name_bytes as usize);
        let name = String::from_utf8(until_nul(name).to_vec()).ok()?;
        Some((number(id, 0).try_into().ok()?, name))
    };
    Ok(bytes.chunks_exact(table.name_bytes as usize + NUMBER).filter_map(row).collect())
}

/// Returns an entry; `None` where it cannot be one.
fn entry(
    path: &[u8],
    numbers: &[u8],
    (users, groups): (&HashMap<u32, String>, &HashMap<u32, String>),
) -> Option<OwnedRecord> {
    let path = until_nul(path).to_vec();
    let at = |index| number(numbers, index);
    let time = |index| {
        let nanoseconds = at(index + 1).try_into().ok()?;
        Some(Time { seconds: at(index).cast_signed(), nanoseconds })
    };
    let mode: u32 = at(0).try_into().ok().filter(|mode| *mode <= libc::S_IFMT | 0o7777)?;
    let (uid, gid) = (at(1).try_into().ok()?, at(2).try_into().ok()?);
    let metadata = Metadata {
        kind: Kind::from_mode(mode),
        mode: mode & 0o7777,
        uid,
        gid,
        size_bytes: at(9),
        allocated_bytes: 0,
        atime: time(3)?,
        mtime: time(5)?,
        ctime: time(7)?,
        links: Metadata::UNKNOWN_LINKS,
        device: 0,
        inode: 0,
        known: KNOWN.into_iter().collect(),
    };
    Some(OwnedRecord {
        depth: depth(&path),
        path,
        metadata,
        target: None,
        user: users.get(&uid).cloned(),
        group: groups.get(&gid).cloned(),
        crc64: None,
        digest: None,
    })
}

/// Returns the number of directories above an entry: a list does not tell from where it was found.
fn depth(path: &[u8]) -> u32 {
    match path {
        b"/" => 0,
        path => u32::try_from(path.split(|byte| *byte == b'/').count() - 1).unwrap_or(u32::MAX),
    }
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Returns the number at that index in a row of them.
fn number(bytes: &[u8], index: usize) -> u64 {
    let field = bytes.iter().skip(index * NUMBER).take(NUMBER);
    field.fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}
