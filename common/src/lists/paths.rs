//! A file of paths, one a line or separated by NUL, in pieces that any rank may take.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

use serde::{Deserialize, Serialize};

use super::{as_path, io_failure};
use crate::base::error::{Cause, Failure, ListFault, Op, Side};
use crate::base::limits::NDJSON_LINE_BYTES_MAX;
use crate::base::path::RelPath;

/// Such a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathsFile {
    path: Vec<u8>,
    separator: u8,
    /// How long it is.
    pub bytes: u64,
}

impl PathsFile {
    /// Looks at the file.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn open(path: &[u8], separator: u8) -> Result<Self, Failure> {
        let name = as_path(path);
        let failed = |error| io_failure(name, Op::Open, &error);
        let metadata = File::open(name).and_then(|file| file.metadata()).map_err(failed)?;
        if !metadata.is_file() {
            return Err(super::fault(name, ListFault::Foreign));
        }
        Ok(Self { path: path.to_vec(), separator, bytes: metadata.len() })
    }

    /// The paths that begin from `begin` on and before `end`. A wrong one does not end them.
    ///
    /// # Errors
    /// Why the file cannot be read.
    pub fn paths(&self, begin: u64, end: u64) -> Result<Paths, Failure> {
        let name = as_path(&self.path);
        let failed = |error: std::io::Error| io_failure(name, Op::Read, &error);
        let mut reader = BufReader::with_capacity(1 << 17, File::open(name).map_err(failed)?);
        // The path that begins before belongs to whoever has the piece before.
        let from = begin.saturating_sub(1);
        reader.seek(SeekFrom::Start(from)).map_err(failed)?;
        let mut paths = Paths { file: self.clone(), reader, at: from, end, text: Vec::new() };
        if begin > 0 {
            paths.read()?;
        }
        Ok(paths)
    }
}

/// Paths, one by one.
pub struct Paths {
    file: PathsFile,
    reader: BufReader<File>,
    at: u64,
    end: u64,
    text: Vec<u8>,
}

impl Paths {
    fn read(&mut self) -> Result<(), Failure> {
        self.text.clear();
        let mut limited = (&mut self.reader).take(NDJSON_LINE_BYTES_MAX);
        let read = limited.read_until(self.file.separator, &mut self.text);
        let read = read
            .map_err(|error| io_failure(as_path(&self.file.path), Op::Read, &error))
            .inspect_err(|_| self.end = 0)?;
        self.at += read as u64;
        if self.text.last() == Some(&self.file.separator) {
            self.text.pop();
        }
        Ok(())
    }
}

impl Iterator for Paths {
    type Item = Result<RelPath, Failure>;

    /// Leading and doubled slashes and `.` mean nothing, as in rsync; `..` leads nowhere.
    fn next(&mut self) -> Option<Self::Item> {
        while self.at < self.end {
            if let Err(failure) = self.read() {
                return Some(Err(failure));
            }
            let parts = self.text.split(|byte| *byte == b'/');
            let parts: Vec<&[u8]> = parts.filter(|part| !matches!(*part, b"" | b".")).collect();
            if self.text.is_empty() {
                continue;
            }
            let wrong = || Failure {
                path: self.text.clone(),
                side: Side::Source,
                error: Op::Open.failed(Cause::List(ListFault::Outside)),
            };
            return Some(RelPath::checked(&parts.join(&b'/')).ok_or_else(wrong));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &PathsFile, step: u64) -> Vec<String> {
        let begins = (0..file.bytes.div_ceil(step)).map(|piece| piece * step);
        let pieces = begins.map(|begin| file.paths(begin, (begin + step).min(file.bytes)).unwrap());
        let text = |path: Result<RelPath, Failure>| match path {
            Ok(path) => path.as_bytes().escape_ascii().to_string(),
            Err(failure) => failure.to_string(),
        };
        pieces.flatten().map(text).collect()
    }

    #[test]
    fn paths_are_read_once_however_the_file_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let name = dir.path().join("paths");
        std::fs::write(&name, b"a\n/b//c/\n\n./d\xff\n../up\nlast").unwrap();
        let file = PathsFile::open(name.as_os_str().as_encoded_bytes(), b'\n').unwrap();
        let whole = read(&file, 1000);
        assert_eq!(whole[..3], ["a", "b/c", "d\\xff"]);
        assert!(whole[3].contains("outside"), "{whole:?}");
        assert_eq!(whole[4..], ["last"]);
        for step in 1..30 {
            assert_eq!(read(&file, step), whole, "pieces of {step} bytes");
        }
    }

    #[test]
    fn names_with_newlines_are_separated_by_nul() {
        let dir = tempfile::tempdir().unwrap();
        let name = dir.path().join("paths");
        std::fs::write(&name, b"a\nb\0c\0").unwrap();
        let file = PathsFile::open(name.as_os_str().as_encoded_bytes(), 0).unwrap();
        assert_eq!(read(&file, 2), ["a\\nb", "c"]);
    }
}
