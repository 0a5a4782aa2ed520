//! Copies within the kernel, by copy_file_range(2), where they are possible and worth it.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::copy_file_range;
use rustix::io::{Errno, retry_on_intr};

use super::failed::failed;
use types::error::{Op, Result};
use types::file_systems::TMPFS;

/// Copies into the files of a store, until one turns out to be impossible.
pub(super) struct CopyRange {
    is_refused: AtomicBool,
}

impl CopyRange {
    /// Begins for a store on a file system of that type.
    ///
    /// tmpfs cannot share pages: the kernel copies them while it holds the lock of the target's
    /// inode, and so reads the source from memory under that lock. Threads that read into their
    /// buffers before hold it for less time, and one reads while another one writes.
    pub fn on(system: Option<u64>) -> Self {
        Self { is_refused: AtomicBool::new(system == Some(TMPFS)) }
    }

    /// Copies bytes to the same offset; `None` where they must be read and written.
    pub fn copy(
        &self,
        [from, to]: [BorrowedFd<'_>; 2],
        offset: u64,
        length: u64,
    ) -> Result<Option<u64>> {
        if self.is_refused.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let (mut read_at, mut write_at) = (offset, offset);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        match retry_on_intr(|| {
            copy_file_range(from, Some(&mut read_at), to, Some(&mut write_at), length)
        }) {
            // Nothing was copied although more was requested: files without a size in /proc, and
            // some old kernels.
            Ok(0) => Ok(None),
            Ok(copied) => Ok(Some(copied as u64)),
            Err(Errno::NOSPC) => Err(failed(Op::Write, Errno::NOSPC)),
            Err(Errno::DQUOT) => Err(failed(Op::Write, Errno::DQUOT)),
            Err(errno) => {
                // Reading and writing distinguishes on which side an error is.
                if matches!(
                    errno,
                    Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL | Errno::PERM
                ) {
                    self.is_refused.store(true, Ordering::Relaxed);
                }
                Ok(None)
            }
        }
    }
}
