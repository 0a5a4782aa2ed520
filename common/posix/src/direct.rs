//! Direct I/O, which bypasses the page cache (`O_DIRECT`), as far as alignment allows.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use super::pil4dfs::is_made_up;
use types::content::transfer::Caching;
use types::limits::DIRECT_ALIGN_BYTES;

/// Opens a file for direct I/O where that is requested and the file system supports it (open(2):
/// `EINVAL`).
pub(super) fn open(
    caching: Caching,
    open: impl Fn(OFlags) -> Result<OwnedFd, Errno>,
) -> Result<(OwnedFd, Direct), Errno> {
    if caching == Caching::Past {
        match open(OFlags::DIRECT) {
            Err(Errno::INVAL) => {}
            Ok(fd) if is_made_up(&fd) => return Ok((fd, Direct(AtomicBool::new(false)))),
            opened => return Ok((opened?, Direct(AtomicBool::new(true)))),
        }
    }
    Ok((open(OFlags::empty())?, Direct(AtomicBool::new(false))))
}

/// Flag that tells whether a handle still uses direct I/O.
pub(super) struct Direct(AtomicBool);

impl Direct {
    /// Begins direct I/O where the file system supports it (fcntl(2): `EINVAL`).
    pub fn begin(&self, fd: &OwnedFd) {
        let set = || fcntl_setfl(fd, fcntl_getfl(fd)?.union(OFlags::DIRECT));
        if !is_made_up(fd) && set().is_ok() {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Reads or writes at most `length` bytes; returns how many. An access that is not aligned, as
    /// at the end of most files, goes through the page cache, and so do all that follow; this is
    /// also so where the file system requires larger blocks.
    pub fn access(
        &self,
        fd: &OwnedFd,
        memory: *const u8,
        length: usize,
        offset: u64,
        mut access: impl FnMut(usize) -> Result<usize, Errno>,
    ) -> Result<usize, Errno> {
        if !self.0.load(Ordering::Relaxed) {
            return access(length);
        }
        let align = DIRECT_ALIGN_BYTES as usize;
        let begins_aligned =
            memory.addr().is_multiple_of(align) && offset.is_multiple_of(DIRECT_ALIGN_BYTES);
        let whole_blocks = length - length % align;
        if begins_aligned && whole_blocks > 0 {
            match access(whole_blocks) {
                Err(Errno::INVAL) => {}
                done => return done,
            }
        }
        fcntl_setfl(fd, fcntl_getfl(fd)?.difference(OFlags::DIRECT))?;
        self.0.store(false, Ordering::Relaxed);
        access(length)
    }
}
