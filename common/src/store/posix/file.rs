//! A file open for reading.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Advice, fadvise, fdatasync};
use rustix::io::{pread, retry_on_intr};

use super::attributes::stat_fd;
use super::failed::failed;
use super::xattrs::Holder;
use crate::base::error::{Op, Result};
use crate::model::entry::{Metadata, Xattrs};
use crate::model::keep::XattrFilter;
use crate::store::SourceFile;

pub(super) struct PosixFile {
    fd: OwnedFd,
    xattrs: XattrFilter,
}

impl PosixFile {
    pub fn new(fd: OwnedFd, xattrs: XattrFilter) -> Self {
        Self { fd, xattrs }
    }
}

impl SourceFile for PosixFile {
    fn metadata(&self) -> Result<Metadata> {
        stat_fd(&self.fd)
    }

    fn xattrs(&self) -> Result<Option<Xattrs>> {
        Holder::file(&self.fd, self.xattrs).read()
    }

    /// What is cached and not written yet must reach the storage before it can be dropped
    /// (posix_fadvise(2)).
    fn bypass_cache(&self) -> bool {
        let _ = fdatasync(&self.fd);
        fadvise(&self.fd, 0, None, Advice::DontNeed).is_ok()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        retry_on_intr(|| pread(&self.fd, &mut *buffer, offset))
            .map_err(|errno| failed(Op::Read, errno))
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.fd.as_fd())
    }
}
