//! A new file under a temporary name, until it is complete.

#![allow(unsafe_code, reason = "close(2) with its result; the standard library throws it away")]

use std::ffi::CString;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use rustix::fs::{AtFlags, Mode, OFlags, copy_file_range, openat, renameat, unlinkat};
use rustix::io::{Errno, pwrite, retry_on_intr};

use super::attributes;
use super::failed::{failed, rename_failed};
use super::xattrs::Holder;
use super::{Shared, visible};
use crate::base::error::{Op, Result};
use crate::base::path::Name;
use crate::model::entry::{ACL_XATTRS, Attributes, Kept, Owner};
use crate::store::{Receipt, SourceFile, StagedFile};

/// Bit in [`Shared::refused`]: copy_file_range(2) does not work from here to there.
const COPY_FILE_RANGE: u32 = 1;

pub(super) struct PosixStaged {
    dir: Arc<OwnedFd>,
    gives_acls: Arc<OnceLock<bool>>,
    fd: OwnedFd,
    staged: CString,
    /// Its own name; only its owner knows it.
    name: Option<CString>,
    shared: Arc<Shared>,
}

impl PosixStaged {
    /// A new file that only this user can open: its content may be secret, and its mode not yet set.
    pub fn create(
        dir: &Arc<OwnedFd>,
        gives_acls: &Arc<OnceLock<bool>>,
        shared: &Arc<Shared>,
        staged: &Name,
        name: &Name,
    ) -> Result<Self> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let fd = openat(dir, staged, flags | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| failed(Op::Create, errno))?;
        Ok(Self {
            dir: Arc::clone(dir),
            gives_acls: Arc::clone(gives_acls),
            fd,
            staged: staged.to_owned(),
            name: Some(name.to_owned()),
            shared: Arc::clone(shared),
        })
    }

    /// A file that another rank has made, which this node may see a little later.
    pub fn join(dir: &Arc<OwnedFd>, shared: &Arc<Shared>, staged: &Name) -> Result<Self> {
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = visible::until_visible(|| openat(dir, staged, flags, Mode::empty()))
            .map_err(|errno| failed(Op::Open, errno))?;
        Ok(Self {
            dir: Arc::clone(dir),
            gives_acls: Arc::default(),
            fd,
            staged: staged.to_owned(),
            name: None,
            shared: Arc::clone(shared),
        })
    }

    fn remove(dir: &OwnedFd, staged: &Name) -> Result<()> {
        unlinkat(dir, staged, AtFlags::empty()).map_err(|errno| failed(Op::Remove, errno))
    }

    /// A new file has no extended attributes but those that its directory's default list gives it: where
    /// there is none, none need be looked for, which is a call less for each file.
    fn has_xattrs_already(&self) -> bool {
        let default_acl = ACL_XATTRS[1];
        let look = || match Holder::entry(&*self.dir, c".", self.shared.xattrs).read() {
            Ok(Some(xattrs)) => xattrs.contains_key(default_acl),
            Ok(None) => false,
            Err(_) => true,
        };
        *self.gives_acls.get_or_init(look)
    }

    /// Attributes, then close, then the name: a file is never visible before all of it is right.
    fn finish(self, attributes: &Attributes) -> Result<Kept> {
        let name = self.name.as_deref().ok_or(Op::Rename.errno(libc::EINVAL))?;
        // Who owns it is asked only where that matters: it may cost a round trip.
        let owner = match attributes.owner {
            Some(_) => {
                Some(attributes::stat_fd(&self.fd)?).map(|now| Owner { uid: now.uid, gid: now.gid })
            }
            None => None,
        };
        let wants_none = attributes.xattrs.as_ref().is_some_and(|wanted| wanted.is_empty());
        let as_they_are;
        let attributes = if wants_none && !self.has_xattrs_already() {
            as_they_are = Attributes { xattrs: None, ..attributes.clone() };
            &as_they_are
        } else {
            attributes
        };
        let holder = Holder::file(&self.fd, self.shared.xattrs);
        let kept = attributes::set(&self.fd, attributes, owner, &holder)?;
        close(self.fd)?;
        renameat(&self.dir, &*self.staged, &self.dir, name).map_err(rename_failed)?;
        Ok(kept)
    }
}

impl StagedFile for PosixStaged {
    fn ticket(&self) -> Vec<u8> {
        self.staged.to_bytes().to_vec()
    }

    fn write_at(&self, mut data: &[u8], mut offset: u64) -> Result<()> {
        while !data.is_empty() {
            match retry_on_intr(|| pwrite(&self.fd, data, offset)) {
                Ok(0) => return Err(Op::Write.errno(libc::EIO)),
                Ok(written) => {
                    data = &data[written..];
                    offset += written as u64;
                }
                Err(errno) => return Err(failed(Op::Write, errno)),
            }
        }
        Ok(())
    }

    fn copy_from(&self, source: &dyn SourceFile, offset: u64, length: u64) -> Result<Option<u64>> {
        let refused = &self.shared.refused;
        let Some(from) = source.as_fd() else { return Ok(None) };
        if refused.load(Ordering::Relaxed) & COPY_FILE_RANGE != 0 {
            return Ok(None);
        }
        let (mut read_at, mut write_at) = (offset, offset);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        match retry_on_intr(|| {
            copy_file_range(from, Some(&mut read_at), &self.fd, Some(&mut write_at), length)
        }) {
            // Nothing although more was asked for: files without a size in /proc, and some old kernels.
            Ok(0) => Ok(None),
            Ok(copied) => Ok(Some(copied as u64)),
            Err(Errno::NOSPC) => Err(failed(Op::Write, Errno::NOSPC)),
            Err(Errno::DQUOT) => Err(failed(Op::Write, Errno::DQUOT)),
            Err(errno) => {
                // Reading and writing tells apart which side an error is on.
                if matches!(
                    errno,
                    Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL | Errno::PERM
                ) {
                    refused.fetch_or(COPY_FILE_RANGE, Ordering::Relaxed);
                }
                Ok(None)
            }
        }
    }

    fn close(self: Box<Self>) -> Result<Option<Receipt>> {
        close(self.fd).map(|()| None)
    }

    fn size_bytes(&self, _receipts: &[Receipt]) -> Result<u64> {
        attributes::stat_fd(&self.fd).map(|metadata| metadata.size_bytes)
    }

    fn commit(self: Box<Self>, attributes: &Attributes, _: Vec<Receipt>) -> Result<Kept> {
        let (dir, staged) = (Arc::clone(&self.dir), self.staged.clone());
        let finished = self.finish(attributes);
        if finished.is_err() {
            let _ = Self::remove(&dir, &staged);
        }
        finished
    }

    fn abandon(self: Box<Self>) -> Result<()> {
        Self::remove(&self.dir, &self.staged)
    }
}

/// Closes a file that was written to: quotas and network file systems may only now say that it failed.
fn close(fd: OwnedFd) -> Result<()> {
    // SAFETY: the descriptor was owned by `fd`, which gave it up: nobody else closes or uses it.
    let closed = unsafe { libc::close(fd.into_raw_fd()) };
    // After EINTR the descriptor is closed all the same (close(2)).
    match std::io::Error::last_os_error().raw_os_error() {
        Some(errno) if closed != 0 && errno != libc::EINTR => Err(Op::Close.errno(errno)),
        _ => Ok(()),
    }
}
