//! Files that only grow: what a job has written is in them at once, and what earlier jobs have
//! written stays.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{as_path, io_failure, staged};
use types::error::{Failure, Op};

/// A file to which whole lines are appended.
#[derive(Debug)]
pub struct AppendedFile {
    path: PathBuf,
    file: File,
}

impl AppendedFile {
    /// Opens a file, which is created where it does not exist. It may be a FIFO or a device.
    ///
    /// # Errors
    /// Fails where nothing can be appended to it.
    pub fn open(path: &[u8]) -> Result<Self, Failure> {
        let path = as_path(path).to_owned();
        let failed = |error: std::io::Error| io_failure(&path, Op::Create, &error);
        let file = open(&path).map_err(failed)?;
        Ok(Self { path, file })
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Synchronises the file to storage.
    ///
    /// # Errors
    /// Fails where its content may not be there.
    pub fn sync(&self) -> std::io::Result<()> {
        staged::sync(&self.file)
    }
}

impl Write for AppendedFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    let is_regular = std::fs::metadata(path).map_or(true, |it| it.is_file() || it.is_dir());
    if !is_regular {
        return OpenOptions::new().write(true).open(path);
    }
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
    end_last_line(&mut file)?;
    Ok(file)
}

/// Ends a line that a job could not write to its end, so that the next one is whole.
fn end_last_line(file: &mut File) -> std::io::Result<()> {
    let length = file.metadata()?.len();
    let mut last = [b'\n'];
    if length > 0 {
        file.read_exact_at(&mut last, length - 1)?;
    }
    if last == *b"\n" { Ok(()) } else { file.write_all(b"\n") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn what_was_there_stays_and_each_line_is_one() {
        let work = tempfile::tempdir().unwrap();
        let path = work.path().join("log");
        let open = || AppendedFile::open(path.as_os_str().as_bytes()).unwrap();
        open().write_all(b"one\ntw").unwrap();
        open().write_all(b"three\n").unwrap();
        drop(open());
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntw\nthree\n");
        AppendedFile::open(work.path().as_os_str().as_bytes()).unwrap_err();
    }
}
