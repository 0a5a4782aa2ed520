//! Writing a binary list of mpiFileUtils.
//!
//! All records have the length of the longest path, which is known at the end. Until then, records
//! are written one after the other, each as long as it is; then the list is made of them.

use std::collections::BTreeMap;
use std::io::{BufReader, BufWriter, Error, ErrorKind, Read, Result, Write};
use std::os::unix::ffi::OsStringExt;

use super::{FIELDS, NUMBER, UNFINISHED};
use crate::staged::StagedFile;
use types::error::Failure;
use types::limits::NDJSON_LINE_BYTES_MAX;
use types::listed::record::Record;

/// Version of the lists that are written.
const VERSION: u64 = 4;

/// Appends an entry as [`MfuWriter::append`] reads it.
pub fn encode(record: &Record<'_>, bytes: &mut Vec<u8>) {
    let metadata = record.metadata;
    for field in [
        record.path,
        record.user.unwrap_or_default().as_bytes(),
        record.group.unwrap_or_default().as_bytes(),
    ] {
        bytes.extend((field.len() as u32).to_be_bytes());
        bytes.extend(field);
    }
    let times = [metadata.atime, metadata.mtime, metadata.ctime];
    let times = times.map(|time| [time.seconds.cast_unsigned(), u64::from(time.nanoseconds)]);
    let mode = u64::from(metadata.kind.to_mode() | metadata.mode);
    let first = [mode, u64::from(metadata.uid), u64::from(metadata.gid)];
    let numbers = first.into_iter().chain(times.into_iter().flatten());
    bytes.extend(numbers.chain([metadata.size_bytes]).flat_map(u64::to_be_bytes));
}

/// A list that is being written.
pub struct MfuWriter {
    records: BufWriter<StagedFile>,
    here: Vec<u8>,
    entries: u64,
    path_bytes: usize,
    users: BTreeMap<u64, String>,
    groups: BTreeMap<u64, String>,
}

impl MfuWriter {
    /// Begins a list in a regular file.
    pub fn new(file: StagedFile) -> Self {
        let here = std::env::current_dir().unwrap_or_default().into_os_string().into_vec();
        Self {
            records: BufWriter::with_capacity(1 << 20, file),
            here,
            entries: 0,
            path_bytes: 0,
            users: BTreeMap::new(),
            groups: BTreeMap::new(),
        }
    }

    /// Appends encoded entries.
    ///
    /// # Errors
    /// Fails where they cannot be written.
    pub fn append(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let [path, user, group] = [field(&mut bytes)?, field(&mut bytes)?, field(&mut bytes)?];
            let numbers = bytes.split_off(..FIELDS * NUMBER).ok_or(ErrorKind::InvalidData)?;
            add(&mut self.users, super::number(numbers, 1), user);
            add(&mut self.groups, super::number(numbers, 2), group);
            let path = absolute_path(&self.here, path);
            self.path_bytes = self.path_bytes.max(path.len());
            self.entries += 1;
            self.records.write_all(&(path.len() as u32).to_be_bytes())?;
            self.records.write_all(&path)?;
            self.records.write_all(numbers)?;
        }
        Ok(())
    }

    /// Drops what was written, without trying to write what is still buffered.
    pub fn give_up(self) {
        drop(self.records.into_parts());
    }

    /// Gives the complete list its name, marked where `failed` entries are missing.
    ///
    /// # Errors
    /// Fails where it cannot be written.
    pub fn commit(self, failed: u64) -> std::result::Result<(), Failure> {
        let target = self.records.get_ref().target().to_vec();
        let written = |error: Error| {
            crate::io_failure(crate::as_path(&target), types::error::Op::Write, &error)
        };
        let Self { mut records, entries, path_bytes, users, groups, .. } = self;
        records.flush().map_err(written)?;
        let (records, _) = records.into_parts();
        let mut records_again =
            BufReader::with_capacity(1 << 20, records.reader().map_err(written)?);
        // It takes the temporary name from the other one, which is still open.
        let mut list = BufWriter::with_capacity(1 << 20, StagedFile::create(&target)?);
        let path_bytes = padded(path_bytes);
        let (users, user_bytes) = table(&users);
        let (groups, group_bytes) = table(&groups);
        let (user_rows, group_rows) = (rows(&users, user_bytes), rows(&groups, group_bytes));
        let header = [VERSION, user_rows, user_bytes, group_rows, group_bytes, entries, path_bytes];
        let mut put = || {
            list.write_all(&header.map(u64::to_be_bytes).concat())?;
            list.write_all(&users)?;
            list.write_all(&groups)?;
            let mut entry = vec![0; path_bytes as usize + FIELDS * NUMBER];
            for _ in 0..entries {
                read_entry(&mut records_again, &mut entry)?;
                list.write_all(&entry)?;
            }
            list.write_all(if failed > 0 { UNFINISHED } else { b"" })?;
            list.flush()
        };
        put().map_err(written)?;
        list.into_parts().0.commit()
    }
}

/// Reads a record, and fills its path up with NUL.
fn read_entry(records: &mut impl Read, entry: &mut [u8]) -> Result<()> {
    let mut length = [0; 4];
    records.read_exact(&mut length)?;
    let (path, numbers) = entry.split_at_mut(entry.len() - FIELDS * NUMBER);
    let (path, padding) = path.split_at_mut(u32::from_be_bytes(length) as usize);
    padding.fill(0);
    records.read_exact(path)?;
    records.read_exact(numbers)
}

fn field<'b>(bytes: &mut &'b [u8]) -> Result<&'b [u8]> {
    let length = bytes.split_off(..4).ok_or(ErrorKind::InvalidData)?;
    let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    if length as u64 >= NDJSON_LINE_BYTES_MAX {
        return Err(ErrorKind::InvalidData.into());
    }
    bytes.split_off(..length).ok_or_else(|| ErrorKind::InvalidData.into())
}

/// Adds a name, if there is one that stays one line of a table.
fn add(names: &mut BTreeMap<u64, String>, id: u64, name: &[u8]) {
    if !name.is_empty()
        && !names.contains_key(&id)
        && let Ok(name) = std::str::from_utf8(name)
    {
        names.insert(id, name.to_owned());
    }
}

/// Returns a table of names, each filled up with NUL to the same length, and that length.
fn table(names: &BTreeMap<u64, String>) -> (Vec<u8>, u64) {
    let longest = names.values().map(String::len).max();
    let Some(name_bytes) = longest.map(padded) else { return (Vec::new(), 0) };
    let row = |(id, name): (&u64, &String)| {
        let mut row = name.clone().into_bytes();
        row.resize(name_bytes as usize, 0);
        row.extend(id.to_be_bytes());
        row
    };
    (names.iter().flat_map(row).collect(), name_bytes)
}

fn rows(table: &[u8], name_bytes: u64) -> u64 {
    table.len() as u64 / (name_bytes + NUMBER as u64)
}

/// Returns the length of a field for a string: a multiple of 8, with a NUL at the end.
fn padded(length: usize) -> u64 {
    (length as u64 + 1).next_multiple_of(NUMBER as u64)
}

/// Returns a path as mpiFileUtils writes it: from the root, without `.` and `..`, which are taken
/// away from the text.
pub fn absolute_path(here: &[u8], path: &[u8]) -> Vec<u8> {
    let from = if path.starts_with(b"/") { b"" } else { here };
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in from.split(|byte| *byte == b'/').chain(path.split(|byte| *byte == b'/')) {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    [b"/", parts.join(&b'/').as_slice()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_absolute() {
        for (path, wanted) in
            [("a//b/", "/h/i/a/b"), ("/", "/"), (".", "/h/i"), ("../x", "/h/x"), ("/a/./b", "/a/b")]
        {
            let made = absolute_path(b"/h/i", path.as_bytes());
            assert_eq!(String::from_utf8(made).unwrap(), wanted, "{path}");
        }
    }

    #[test]
    fn strings_end_with_nul() {
        assert_eq!([0, 7, 8, 15, 16].map(padded), [8, 8, 16, 16, 24]);
    }
}
