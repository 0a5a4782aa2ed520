//! Staged results, which have a temporary name until they are complete: an earlier list is replaced
//! by a complete one, or stays.
//!
//! `LIST` is written as `.LIST.partial` beside it and renamed at the end, as rename(2) replaces
//! atomically. A later job with the same output removes the file that a killed one has left.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{as_path, failure, io_failure, part_number};
use types::error::{Cause, Failure, ListFault, Op};

/// A file that is renamed to its final name by [`StagedFile::commit`]; without that it is removed.
///
/// A FIFO, a device or a socket of that name is written to directly: there is nothing to replace.
#[derive(Debug)]
pub struct StagedFile {
    target: PathBuf,
    /// Temporary name; `None` where the file is written to directly, or has its final name.
    staged: Option<PathBuf>,
    file: File,
}

impl StagedFile {
    /// Creates the file beside its final name, which may be a symbolic link to an existing file.
    ///
    /// # Errors
    /// Fails where no file can be created there.
    pub fn create(path: &[u8]) -> Result<Self, Failure> {
        let target = resolved(path);
        let failed = |error: std::io::Error| io_failure(as_path(path), Op::Create, &error);
        let is_regular = fs::metadata(&target).map_or(true, |it| it.is_file() || it.is_dir());
        if !is_regular {
            let file = OpenOptions::new().write(true).open(&target).map_err(failed)?;
            return Ok(Self { target, staged: None, file });
        }
        if target.is_dir() {
            return Err(failed(std::io::Error::from_raw_os_error(libc::EISDIR)));
        }
        let staged = temporary_name(&target);
        remove_file(&staged).map_err(failed)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        let file = options.open(&staged).map_err(failed)?;
        Ok(Self { target, staged: Some(staged), file })
    }

    /// Returns the final name.
    pub fn target(&self) -> &[u8] {
        self.target.as_os_str().as_bytes()
    }

    /// Returns the entry that the file is until it has its final name: temporary name and inode.
    pub fn own_entry(&self) -> Option<(Vec<u8>, u64)> {
        let staged = self.staged.as_ref()?;
        Some(own_entry(staged, self.file.metadata().ok()?.ino()))
    }

    /// Returns the entry that the file replaces when it gets its final name: name and inode.
    pub fn replaced_entry(&self) -> Option<(Vec<u8>, u64)> {
        let inode = fs::symlink_metadata(&self.target).ok()?.ino();
        self.staged.as_ref().map(|_| own_entry(&self.target, inode))
    }

    /// Returns true for a file that can be read again: FIFOs and devices are written directly.
    pub fn is_readable(&self) -> bool {
        self.staged.is_some()
    }

    /// Opens the content for reading, from its beginning. Nothing can be written after that.
    ///
    /// # Errors
    /// Fails where the file cannot be read.
    pub fn reader(&self) -> std::io::Result<File> {
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        Ok(file)
    }

    /// Synchronises the content to storage and renames the file to its final name.
    ///
    /// # Errors
    /// Fails where the final name does not stand for this content.
    pub fn commit(mut self) -> Result<(), Failure> {
        let Some(staged) = self.staged.take() else { return Ok(()) };
        let named = sync(&self.file)
            .and_then(|()| is_at(&staged, &self.file))
            .and_then(|()| fs::rename(&staged, &self.target));
        named.map_err(|error| {
            self.staged = Some(staged);
            io_failure(&self.target, Op::Write, &error)
        })
    }
}

impl Write for StagedFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

impl Drop for StagedFile {
    /// Removes a file that has not got its final name, unless another job has created it again.
    fn drop(&mut self) {
        if let Some(staged) = &self.staged
            && is_at(staged, &self.file).is_ok()
        {
            // A file that cannot be removed has a name that no reader takes for a list.
            let _ = fs::remove_file(staged);
        }
    }
}

/// Returns a name in its directory, and its inode: a walk that meets it skips it.
fn own_entry(path: &Path, inode: u64) -> (Vec<u8>, u64) {
    (path.file_name().unwrap_or_default().as_bytes().to_vec(), inode)
}

/// The directory of a Parquet list, which is renamed to its final name when all parts are complete.
#[derive(Debug)]
pub struct StagedDirectory {
    target: PathBuf,
    staged: PathBuf,
    /// Device and inode, by which the directory is recognised.
    identity: (u64, u64),
    is_named: bool,
}

impl StagedDirectory {
    /// Creates the directory beside its final name.
    ///
    /// # Errors
    /// Fails where it cannot be created, or the final name is that of anything but a Parquet list.
    pub fn create(list: &[u8]) -> Result<Self, Failure> {
        let target = resolved(list);
        parts_of(&target)?;
        let staged = temporary_name(&target);
        remove_list(&staged)?;
        let failed = |error: std::io::Error| io_failure(as_path(list), Op::MakeDir, &error);
        fs::create_dir(&staged).map_err(failed)?;
        let identity = identity(&staged).map_err(failed)?;
        Ok(Self { target, staged, identity, is_named: false })
    }

    /// Returns the final name.
    pub fn target(&self) -> &[u8] {
        self.target.as_os_str().as_bytes()
    }

    /// Returns the entry that the directory is until it has its final name: temporary name and
    /// inode.
    pub fn own_entry(&self) -> (Vec<u8>, u64) {
        own_entry(&self.staged, self.identity.1)
    }

    /// Returns the path that parts are written below.
    pub fn path(&self) -> &[u8] {
        self.staged.as_os_str().as_bytes()
    }

    /// Renames the directory to its final name, in the place of an earlier list.
    ///
    /// # Errors
    /// Fails where the final name does not stand for this list.
    pub fn commit(mut self) -> Result<(), Failure> {
        let failed = |error: std::io::Error| io_failure(&self.target, Op::Write, &error);
        if identity(&self.staged).map_err(failed)? != self.identity {
            return Err(failed(std::io::Error::from_raw_os_error(libc::ESTALE)));
        }
        if parts_of(&self.target)?.is_none() {
            fs::rename(&self.staged, &self.target).map_err(failed)?;
        } else {
            self.replace()?;
        }
        self.is_named = true;
        Ok(())
    }

    /// Exchanges both directories in one step; where the file system does not support that, the
    /// earlier one is removed first.
    fn replace(&self) -> Result<(), Failure> {
        let failed = |error: std::io::Error| io_failure(&self.target, Op::Write, &error);
        let exchange = RenameFlags::EXCHANGE;
        if renameat_with(CWD, &self.staged, CWD, &self.target, exchange).is_ok() {
            return remove_list(&self.staged);
        }
        remove_list(&self.target)?;
        fs::rename(&self.staged, &self.target).map_err(failed)
    }
}

impl Drop for StagedDirectory {
    fn drop(&mut self) {
        if !self.is_named && identity(&self.staged).is_ok_and(|it| it == self.identity) {
            // A directory that cannot be removed has a name that no reader takes for a list.
            let _ = remove_list(&self.staged);
        }
    }
}

/// Resolves a symbolic link in the last component of a path.
fn resolved(path: &[u8]) -> PathBuf {
    let path = as_path(path);
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn temporary_name(target: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or(OsStr::new("list")));
    name.push(".partial");
    target.with_file_name(name)
}

/// Returns device and inode of a Parquet list's directory, and of the one that it is staged as.
pub(super) fn own_directories(target: &[u8]) -> Vec<(u64, u64)> {
    let target = resolved(target);
    [temporary_name(&target), target].iter().filter_map(|path| identity(path).ok()).collect()
}

fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|it| (it.dev(), it.ino()))
}

/// Checks that a name still stands for an open file: another job may have begun the same list.
fn is_at(name: &Path, file: &File) -> std::io::Result<()> {
    let open = file.metadata()?;
    if identity(name)? == (open.dev(), open.ino()) {
        return Ok(());
    }
    Err(std::io::Error::from_raw_os_error(libc::ESTALE))
}

/// Synchronises a file to storage, where its file system supports fsync(2).
pub(super) fn sync(file: &File) -> std::io::Result<()> {
    file.sync_data().or_else(|error| match error.raw_os_error() {
        Some(libc::EINVAL | libc::ENOTSUP) => Ok(()),
        _ => Err(error),
    })
}

fn remove_file(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Returns the parts of a Parquet list; `None` where the name does not exist.
fn parts_of(list: &Path) -> Result<Option<Vec<PathBuf>>, Failure> {
    let failed = |error: std::io::Error| io_failure(list, Op::List, &error);
    let occupied = || failure(list, Op::Create.failed(Cause::List(ListFault::Occupied)));
    let entries = match fs::read_dir(list) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == ErrorKind::NotADirectory => return Err(occupied()),
        entries => entries.map_err(failed)?,
    };
    let mut parts = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let is_file = entry.file_type().is_ok_and(|it| it.is_file());
        if !is_file || part_number(entry.file_name().as_encoded_bytes()).is_none() {
            return Err(occupied());
        }
        parts.push(entry.path());
    }
    Ok(Some(parts))
}

/// Removes a Parquet list, and nothing else.
fn remove_list(list: &Path) -> Result<(), Failure> {
    let Some(parts) = parts_of(list)? else { return Ok(()) };
    for part in parts {
        fs::remove_file(&part).map_err(|error| io_failure(&part, Op::Remove, &error))?;
    }
    fs::remove_dir(list).map_err(|error| io_failure(list, Op::Remove, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(path: &Path) -> Vec<u8> {
        path.as_os_str().as_bytes().to_vec()
    }

    fn names(dir: &Path) -> Vec<OsString> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_replaces_another_one_only_when_it_is_whole() {
        let work = tempfile::tempdir().unwrap();
        let list = work.path().join("l");
        fs::write(&list, "old").unwrap();
        let mut file = StagedFile::create(&bytes(&list)).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert_eq!(
            (fs::read(&list).unwrap(), names(work.path())),
            (b"old".to_vec(), vec!["l".into()])
        );
        let mut file = StagedFile::create(&bytes(&list)).unwrap();
        file.write_all(b"whole").unwrap();
        file.commit().unwrap();
        assert_eq!(
            (fs::read(&list).unwrap(), names(work.path())),
            (b"whole".to_vec(), vec!["l".into()])
        );
    }

    #[test]
    fn of_two_jobs_with_one_list_the_first_fails_and_leaves_the_second_alone() {
        let work = tempfile::tempdir().unwrap();
        let list = work.path().join("l");
        let first = StagedFile::create(&bytes(&list)).unwrap();
        let mut second = StagedFile::create(&bytes(&list)).unwrap();
        second.write_all(b"second").unwrap();
        first.commit().unwrap_err();
        second.commit().unwrap();
        assert_eq!(fs::read(&list).unwrap(), b"second");
    }

    #[test]
    fn a_directory_replaces_another_list_and_nothing_else() {
        let work = tempfile::tempdir().unwrap();
        let list = work.path().join("l.parquet");
        for content in ["old", "new"] {
            let staged = StagedDirectory::create(&bytes(&list)).unwrap();
            fs::write(as_path(staged.path()).join("part-00000.parquet"), content).unwrap();
            staged.commit().unwrap();
        }
        drop(StagedDirectory::create(&bytes(&list)).unwrap());
        assert_eq!(fs::read(list.join("part-00000.parquet")).unwrap(), b"new");
        assert_eq!(names(work.path()), ["l.parquet"]);
        fs::write(list.join("note"), "mine").unwrap();
        StagedDirectory::create(&bytes(&list)).unwrap_err();
        assert!(list.join("note").exists());
    }

    #[test]
    fn a_link_stays_and_what_it_leads_to_is_replaced() {
        let work = tempfile::tempdir().unwrap();
        let (list, link) = (work.path().join("l"), work.path().join("link"));
        fs::write(&list, "old").unwrap();
        std::os::unix::fs::symlink("l", &link).unwrap();
        let mut file = StagedFile::create(&bytes(&link)).unwrap();
        file.write_all(b"new").unwrap();
        file.commit().unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&list).unwrap(), b"new");
    }
}
