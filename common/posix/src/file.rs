//! A file of a POSIX file system that is open for reading.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use rustix::fs::{Advice, SeekFrom, fadvise, fdatasync, seek};
use rustix::io::{Errno, pread, retry_on_intr};

use super::attributes::stat_fd;
use super::direct::Direct;
use super::failed::failed;
use super::lustre;
use super::xattrs::Holder;
use store::SourceFile;
use types::attributes::keep::XattrFilter;
use types::content::chunk::Extent;
use types::entry::{Metadata, Xattrs};
use types::error::{Op, Result};
use types::lustre::layout::Layout;

pub(super) struct PosixFile {
    fd: OwnedFd,
    direct: Direct,
    xattrs: XattrFilter,
    /// Layout on Lustre, read when it is first needed; `None` where it is not to be preserved.
    layout: Option<OnceLock<Option<Layout>>>,
}

impl PosixFile {
    pub fn new(
        fd: OwnedFd,
        direct: Direct,
        xattrs: XattrFilter,
        layout: Option<OnceLock<Option<Layout>>>,
    ) -> Self {
        Self { fd, direct, xattrs, layout }
    }
}

impl SourceFile for PosixFile {
    fn metadata(&self) -> Result<Metadata> {
        stat_fd(&self.fd)
    }

    fn xattrs(&self) -> Result<Option<Xattrs>> {
        Holder::file(&self.fd, self.xattrs).read()
    }

    fn layout(&self) -> Option<&Layout> {
        self.layout.as_ref()?.get_or_init(|| lustre::layout_of(&self.fd)).as_ref()
    }

    /// Makes the following reads bypass the page cache. Cached writes must reach the storage before
    /// the cache can be dropped (posix_fadvise(2)).
    fn bypass_cache(&self) -> Result<()> {
        // Other errors mean that fdatasync(2) is not supported here.
        let written = retry_on_intr(|| fdatasync(&self.fd));
        if let Err(errno @ (Errno::IO | Errno::NOSPC | Errno::DQUOT)) = written {
            return Err(failed(Op::Sync, errno));
        }
        let _ = fadvise(&self.fd, 0, None, Advice::DontNeed);
        self.direct.begin(&self.fd);
        Ok(())
    }

    fn data_in(&self, extent: Extent) -> Result<Option<Extent>> {
        let end = extent.end();
        let begin = match seek(&self.fd, SeekFrom::Data(extent.offset)) {
            // Nothing but a hole to the end of the file, wherever that is now (lseek(2)).
            Err(Errno::NXIO) => return Ok(None),
            Err(errno) if knows_no_holes(errno) => return Ok(Some(extent)),
            begin => begin.map_err(|errno| failed(Op::Read, errno))?,
        };
        if begin >= end {
            return Ok(None);
        }
        let hole = match seek(&self.fd, SeekFrom::Hole(begin)) {
            Ok(hole) if hole > begin => hole.min(end),
            // The file was truncated meanwhile: reading will show it.
            Ok(_) | Err(Errno::NXIO) => end,
            Err(errno) => return Err(failed(Op::Read, errno)),
        };
        Ok(Some(Extent::between(begin, hole)))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let (memory, length) = (buffer.as_ptr(), buffer.len());
        self.direct
            .access(&self.fd, memory, length, offset, |length| {
                retry_on_intr(|| pread(&self.fd, &mut buffer[..length], offset))
            })
            .map_err(|errno| failed(Op::Read, errno))
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.fd.as_fd())
    }
}

/// Returns true for errors that mean that the file system does not support searching for holes,
/// which may be reported in either way.
fn knows_no_holes(errno: Errno) -> bool {
    matches!(errno, Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS)
}
