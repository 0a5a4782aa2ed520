//! A file open for reading.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{pread, retry_on_intr};

use super::attributes::stat_fd;
use super::failed::failed;
use crate::base::error::{Op, Result};
use crate::model::entry::Metadata;
use crate::store::SourceFile;

pub(super) struct PosixFile {
    fd: OwnedFd,
}

impl PosixFile {
    pub fn new(fd: OwnedFd) -> Self {
        Self { fd }
    }
}

impl SourceFile for PosixFile {
    fn metadata(&self) -> Result<Metadata> {
        stat_fd(&self.fd)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        retry_on_intr(|| pread(&self.fd, &mut *buffer, offset))
            .map_err(|errno| failed(Op::Read, errno))
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.fd.as_fd())
    }
}
