//! Layout of a binary list by its header, which is checked against the size of the file.

use std::fs::File;
use std::os::unix::fs::FileExt;

use serde::{Deserialize, Serialize};

use super::{FIELDS, NUMBER, UNFINISHED, number};
use types::error::ListFault;
use types::limits::{MFU_NAMES_BYTES_MAX, NDJSON_LINE_BYTES_MAX};

/// Offsets and lengths in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    pub(super) users: Table,
    pub(super) groups: Table,
    pub(super) entries_at: u64,
    /// Number of entries.
    pub entries: u64,
    pub(super) path_bytes: u64,
    pub(super) file_bytes: u64,
    /// True where the job that wrote the list could not read some entries.
    pub is_unfinished: bool,
}

/// A table of names and numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Table {
    pub at: u64,
    pub rows: u64,
    pub name_bytes: u64,
}

impl Table {
    /// Returns the number of bytes of the table; it is within the file.
    pub fn bytes(&self) -> u64 {
        self.rows * (self.name_bytes + NUMBER as u64)
    }

    /// Returns the table at that offset, if its size is a possible one. mpiFileUtils leaves out one
    /// without rows or without names.
    fn new(at: u64, rows: u64, name_bytes: u64) -> Option<Self> {
        if rows == 0 || name_bytes == 0 {
            return Some(Self { at, rows: 0, name_bytes: 0 });
        }
        let bytes = name_bytes.checked_add(NUMBER as u64)?.checked_mul(rows)?;
        (bytes <= MFU_NAMES_BYTES_MAX).then_some(Self { at, rows, name_bytes })
    }
}

impl Layout {
    /// Reads the header of a list; `None` for a file of another kind.
    ///
    /// # Errors
    /// Returns the fault of a list that is truncated, or of an unknown version.
    pub fn read(file: &File, file_bytes: u64) -> std::io::Result<Result<Option<Self>, ListFault>> {
        let mut header = [0; 9 * NUMBER];
        let mut filled = 0;
        while let read @ 1.. = file.read_at(&mut header[filled..], filled as u64)? {
            filled += read;
        }
        Ok(Self::of(&header[..filled], file_bytes))
    }

    fn of(header: &[u8], file_bytes: u64) -> Result<Option<Self>, ListFault> {
        // Text does not begin with NUL.
        if !header.starts_with(&[0; 4]) {
            return Ok(None);
        }
        let times: usize = match number(header, 0) {
            _ if header.len() < NUMBER => return Err(ListFault::Damaged(file_bytes)),
            3 => 2,
            4 => 0,
            _ => return Err(ListFault::Version),
        };
        if header.len() < (7 + times) * NUMBER {
            return Err(ListFault::Damaged(file_bytes));
        }
        let at = |index: usize| number(header, index + 1 + times);
        let layout = || {
            let users = Table::new(((7 + times) * NUMBER) as u64, at(0), at(1))?;
            let groups = Table::new(users.at + users.bytes(), at(2), at(3))?;
            let entries_at = groups.at + groups.bytes();
            let (entries, path_bytes) = (at(4), at(5));
            let has_paths = entries == 0 || (1..=NDJSON_LINE_BYTES_MAX).contains(&path_bytes);
            has_paths.then_some(())?;
            let record = path_bytes.min(NDJSON_LINE_BYTES_MAX) + (FIELDS * NUMBER) as u64;
            let end = entries.checked_mul(record)?.checked_add(entries_at)?;
            let is_unfinished = false;
            let path_bytes = record - (FIELDS * NUMBER) as u64;
            Some(Self {
                users,
                groups,
                entries_at,
                entries,
                path_bytes,
                file_bytes: end,
                is_unfinished,
            })
        };
        let layout = layout().ok_or(ListFault::Damaged(0))?;
        match file_bytes.checked_sub(layout.file_bytes) {
            Some(0) => Ok(Some(layout)),
            Some(more) if more == UNFINISHED.len() as u64 => {
                Ok(Some(Self { file_bytes, is_unfinished: true, ..layout }))
            }
            Some(_) => Err(ListFault::Damaged(layout.file_bytes)),
            None => Err(ListFault::Damaged(file_bytes)),
        }
    }

    /// Returns the number of bytes of an entry.
    pub fn record_bytes(&self) -> u64 {
        self.path_bytes + (FIELDS * NUMBER) as u64
    }
}
