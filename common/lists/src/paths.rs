//! A file of paths, one per line or separated by NUL, in pieces that any rank may take.
//!
//! A pipe or another file that is not regular can only be read by rank 0, and only once: all ranks
//! get a copy of it.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read, Seek, SeekFrom, stdin};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{as_path, failure, fault, io_failure, read_failure};
use host::interrupt;
use types::error::{Cause, Failure, ListFault, Op, Side};
use types::limits::{NDJSON_LINE_BYTES_MAX, PIPED_PATHS_BYTES_MAX, SIGNAL_WAIT_MAX};
use types::path::RelPath;

/// Name that stands for standard input.
const STANDARD_INPUT: &[u8] = b"-";

/// A file of paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathsFile {
    path: Vec<u8>,
    separator: u8,
    /// Length of the file in bytes.
    pub bytes: u64,
    /// Whole content, where it came through a pipe.
    held: Option<Arc<[u8]>>,
    /// Modification time when the job began: seconds and nanoseconds.
    mtime: (i64, i64),
}

impl PathsFile {
    /// Opens the file; reads all of it where it is a pipe or, for `-`, standard input.
    ///
    /// # Errors
    /// Fails where it cannot be read, or the job is interrupted meanwhile.
    pub fn open(path: &[u8], separator: u8) -> Result<Self, Failure> {
        let name = as_path(path);
        let failed = |op| move |error: std::io::Error| io_failure(name, op, &error);
        let is_input = path == STANDARD_INPUT;
        let file = if is_input {
            stdin().as_fd().try_clone_to_owned().map(File::from)
        } else {
            open(path)
        };
        let file = file.map_err(failed(Op::Open))?;
        let metadata = file.metadata().map_err(failed(Op::Stat))?;
        let kind = metadata.file_type();
        if kind.is_dir() || kind.is_block_device() {
            return Err(fault(name, ListFault::NoPaths));
        }
        let (path, mtime) = (path.to_vec(), (metadata.mtime(), metadata.mtime_nsec()));
        if kind.is_file() && !is_input {
            return Ok(Self { path, separator, bytes: metadata.len(), held: None, mtime });
        }
        let held = read_piped(&file).map_err(|cause| failure(name, Op::Read.failed(cause)))?;
        Ok(Self { path, separator, bytes: held.len() as u64, held: Some(held.into()), mtime })
    }

    /// Returns the paths that begin at `begin` or behind it, and before `end`. An invalid path does
    /// not end them.
    ///
    /// # Errors
    /// Fails where the file cannot be read.
    pub fn paths(&self, begin: u64, end: u64) -> Result<Paths, Failure> {
        let name = as_path(&self.path);
        let failed = |error: std::io::Error| read_failure(name, Op::Read, &error);
        self.check_unchanged()?;
        // A path that begins before `begin` belongs to the previous piece.
        let from = begin.saturating_sub(1);
        let reader: Box<dyn BufRead> = if let Some(held) = &self.held {
            let mut held = Cursor::new(Arc::clone(held));
            held.set_position(from);
            Box::new(held)
        } else {
            let mut file = open(&self.path).map_err(failed)?;
            file.seek(SeekFrom::Start(from)).map_err(failed)?;
            Box::new(BufReader::with_capacity(1 << 17, file))
        };
        let mut paths = Paths { file: self.clone(), reader, at: from, end, text: Vec::new() };
        if begin > 0 {
            paths.read()?;
        }
        Ok(paths)
    }

    /// Checks that the file is still the one that the job began with: otherwise the pieces that
    /// several ranks read, and the positions in them, would not fit together.
    fn check_unchanged(&self) -> Result<(), Failure> {
        if self.held.is_some() {
            return Ok(());
        }
        let name = as_path(&self.path);
        let metadata = std::fs::metadata(name);
        let metadata = metadata.map_err(|error| read_failure(name, Op::Read, &error))?;
        let now = (metadata.len(), (metadata.mtime(), metadata.mtime_nsec()));
        if now == (self.bytes, self.mtime) { Ok(()) } else { Err(fault(name, ListFault::Changed)) }
    }
}

/// Opens a file without waiting for a writer, where it is a FIFO.
fn open(path: &[u8]) -> std::io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

/// Reads until all writers have closed the pipe, or the job is interrupted.
fn read_piped(mut file: &File) -> Result<Vec<u8>, Cause> {
    let system = |error: std::io::Error| Cause::System(error.raw_os_error().unwrap_or(libc::EIO));
    let (mut text, mut block) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        wait_readable(file)?;
        match file.read(&mut block) {
            Ok(0) => return Ok(text),
            Ok(count) => text.extend_from_slice(&block[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            // Another process has read it.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(system(error)),
        }
        if text.len() as u64 > PIPED_PATHS_BYTES_MAX {
            return Err(Cause::List(ListFault::TooLong));
        }
    }
}

fn wait_readable(file: &File) -> Result<(), Cause> {
    let patience = Timespec::try_from(SIGNAL_WAIT_MAX).ok();
    loop {
        if interrupt::is_wanted() {
            return Err(Cause::Stopped);
        }
        match poll(&mut [PollFd::new(file, PollFlags::IN)], patience.as_ref()) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(errno) => return Err(Cause::System(errno.raw_os_error())),
        }
    }
}

/// Iterator over the paths of a piece.
pub struct Paths {
    file: PathsFile,
    reader: Box<dyn BufRead>,
    at: u64,
    end: u64,
    text: Vec<u8>,
}

impl Paths {
    /// Reads one path; an error ends the iterator.
    fn read(&mut self) -> Result<(), Failure> {
        let read = self.read_text();
        if read.is_err() {
            self.end = 0;
        }
        read
    }

    fn read_text(&mut self) -> Result<(), Failure> {
        self.text.clear();
        let name = as_path(&self.file.path);
        let mut limited = (&mut self.reader).take(NDJSON_LINE_BYTES_MAX);
        let read = limited
            .read_until(self.file.separator, &mut self.text)
            .map_err(|error| read_failure(name, Op::Read, &error))?;
        if read == 0 {
            return Err(fault(name, ListFault::Changed));
        }
        if self.text.last() == Some(&self.file.separator) {
            self.text.pop();
        } else if read as u64 == NDJSON_LINE_BYTES_MAX {
            return Err(fault(name, ListFault::Damaged(self.at)));
        }
        self.at += read as u64;
        // Lines of text from Windows, as rsync reads them.
        if self.file.separator == b'\n' && self.text.last() == Some(&b'\r') {
            self.text.pop();
        }
        if self.at >= self.end { self.file.check_unchanged() } else { Ok(()) }
    }
}

impl Iterator for Paths {
    type Item = Result<RelPath, Failure>;

    /// Returns the next path. Leading and doubled slashes and `.` have no meaning, as in rsync;
    /// `..` is refused.
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
                error: Op::Open.failed(Cause::List(fault_of(&self.text, &parts))),
            };
            return Some(RelPath::checked(&parts.join(&b'/')).ok_or_else(wrong));
        }
        None
    }
}

/// Returns what is wrong with a path that is not one below the source.
fn fault_of(text: &[u8], parts: &[&[u8]]) -> ListFault {
    let step = |depth: usize, part: &&[u8]| match *part {
        b".." => depth.checked_sub(1),
        _ => Some(depth + 1),
    };
    if text.contains(&0) {
        ListFault::WithNul
    } else if parts.iter().try_fold(0, step).is_none() {
        ListFault::Outside
    } else {
        ListFault::WithParent
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
        std::fs::write(&name, b"a\r\n/b//c/\n\n./d\xff\n../up\na/../b\na/../../b\na\0b\nlast")
            .unwrap();
        let file = PathsFile::open(name.as_os_str().as_encoded_bytes(), b'\n').unwrap();
        let whole = read(&file, 1000);
        assert_eq!(whole[..3], ["a", "b/c", "d\\xff"]);
        for (at, why) in ["outside", "a path with", "outside", "--from0"].iter().enumerate() {
            assert!(whole[3 + at].contains(why), "{whole:?}");
        }
        assert_eq!(whole[7..], ["last"]);
        for step in 1..30 {
            assert_eq!(read(&file, step), whole, "pieces of {step} bytes");
        }
    }

    #[test]
    fn names_with_newlines_are_separated_by_nul() {
        let dir = tempfile::tempdir().unwrap();
        let name = dir.path().join("paths");
        std::fs::write(&name, b"a\nb\r\0c\0").unwrap();
        let file = PathsFile::open(name.as_os_str().as_encoded_bytes(), 0).unwrap();
        assert_eq!(read(&file, 2), ["a\\nb\\r", "c"]);
    }

    #[test]
    fn what_comes_by_a_pipe_is_read_once_and_held() {
        let dir = tempfile::tempdir().unwrap();
        let name = dir.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &name, Mode::RUSR | Mode::WUSR).unwrap();
        let writer = {
            let name = name.clone();
            std::thread::spawn(move || std::fs::write(name, "a\nb/c\n".repeat(20_000)).unwrap())
        };
        let file = PathsFile::open(name.as_os_str().as_encoded_bytes(), b'\n').unwrap();
        writer.join().unwrap();
        assert_eq!(read(&file, 1000).len(), 40_000);
        assert_eq!(read(&file, 9999)[..3], ["a", "b/c", "a"]);
    }

    #[test]
    fn a_file_that_was_cut_meanwhile_ends_with_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let name = dir.path().join("paths");
        std::fs::write(&name, b"a\nb\nc\n").unwrap();
        let file = PathsFile::open(name.as_os_str().as_encoded_bytes(), b'\n').unwrap();
        let paths = file.paths(0, file.bytes).unwrap();
        std::fs::write(&name, b"a\n").unwrap();
        let names: Vec<_> = paths.collect();
        assert_eq!(names.len(), 2, "{names:?}");
        let why = names[1].as_ref().unwrap_err();
        assert!(why.to_string().contains("changed"), "{why}");
        assert!(file.paths(0, file.bytes).is_err());
        assert!(PathsFile::open(dir.path().as_os_str().as_encoded_bytes(), b'\n').is_err());
    }
}
