//! A staged file: a new file under a temporary name, until it is complete.

#![allow(unsafe_code, reason = "close(2) with its result; the standard library throws it away")]

use std::cell::Cell;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::{
    AtFlags, FallocateFlags, Mode, OFlags, fallocate, fsync, ftruncate, ioctl_ficlone, renameat,
    unlinkat,
};
use rustix::io::{Errno, pwrite, retry_on_intr};

use super::attributes;
use super::calls::openat;
use super::direct::{self, Direct};
use super::failed::{failed, rename_failed};
use super::lustre::{self, Wanted};
use super::new_files::{NewFiles, PRIVATE};
use super::pil4dfs::{is_made_up, set_mode, set_owner};
use super::xattrs::Holder;
use super::{Shared, visible};
use host::aligned::AlignedBuffer;
use store::opening::Symlinks;
use store::{NewFile, Receipt, Remains, SourceFile, StagedCapabilities, StagedFile};
use types::attributes::keep::XattrFilter;
use types::content::chunk::Extent;
use types::content::transfer::Durable;
use types::entry::{Attributes, Kind, Metadata, Owner, Preserved, Time};
use types::error::{Cause, Op, Result};
use types::limits::UNSYNCED_BYTES_MAX;
use types::lustre::layout::{Layout, Striping};
use types::outcome::compare;
use types::path::Name;

/// Smallest granularity in nanoseconds that counts: a time is a multiple of a smaller one by chance
/// too often to tell a file system's granularity.
const COARSE_STEP_NS: u32 = 1_000_000;

/// Number of zero bytes written at once where a hole cannot be made.
const ZEROS_BYTES: u64 = 256 << 10;

pub(super) struct PosixStaged {
    dir: Arc<OwnedFd>,
    new_files: Arc<NewFiles>,
    /// Mode that the file was created with, where this rank has created it.
    created_mode: Option<u32>,
    fd: OwnedFd,
    direct: Direct,
    staged: CString,
    /// Final name; `None` on ranks that do not own the file.
    name: Option<CString>,
    content: Content,
    /// True where the file has not got the layout that it should have.
    layout_lost: bool,
    /// True where the file replaces another one, which passes some attributes on.
    replaces: bool,
    /// Final size in bytes, where it is known.
    size_bytes: u64,
    shared: Arc<Shared>,
}

/// Content of a file before it is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Content {
    /// An empty file.
    None,
    /// The content of the old file, which is rewritten.
    Old,
}

impl PosixStaged {
    /// Creates a new file that nobody can open who may not open the complete one.
    pub fn create(
        dir: &Arc<OwnedFd>,
        new_files: &Arc<NewFiles>,
        shared: &Arc<Shared>,
        new: &NewFile<'_>,
        wanted: &Wanted,
    ) -> Result<Self> {
        let mode = new_files.mode_of(new, dir);
        let striped = match wanted {
            Wanted::Layout(layout) => Self::open_striped(dir, shared, (new, mode), layout)?,
            Wanted::Default | Wanted::Unknown => None,
        };
        let layout_lost = !matches!(wanted, Wanted::Default) && striped.is_none();
        let (fd, direct) = match striped {
            Some(opened) => opened,
            None => Self::open_new(dir, shared, (new, mode), OFlags::empty())?,
        };
        Ok(Self {
            dir: Arc::clone(dir),
            new_files: Arc::clone(new_files),
            created_mode: Some(mode),
            fd,
            direct,
            staged: new.staged.to_owned(),
            name: Some(new.name.to_owned()),
            content: Content::None,
            layout_lost,
            replaces: new.replaces,
            size_bytes: new.size_bytes,
            shared: Arc::clone(shared),
        })
    }

    /// Creates a new file with that layout; `None` where the file system refuses it. Then no file
    /// is left: one without objects cannot be written.
    fn open_striped(
        dir: &Arc<OwnedFd>,
        shared: &Arc<Shared>,
        (new, mode): (&NewFile<'_>, u32),
        layout: &Layout,
    ) -> Result<Option<(OwnedFd, Direct)>> {
        let opened = Self::open_new(dir, shared, (new, mode), lustre::WITHOUT_OBJECTS)?;
        if lustre::set_layout(&opened.0, layout).is_ok() {
            return Ok(Some(opened));
        }
        Self::remove(dir, new.staged)?;
        Ok(None)
    }

    fn open_new(
        dir: &Arc<OwnedFd>,
        shared: &Arc<Shared>,
        (new, mode): (&NewFile<'_>, u32),
        how: OFlags,
    ) -> Result<(OwnedFd, Direct)> {
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | how;
        let new_flags = flags | OFlags::CREATE | OFlags::EXCL;
        let was_refused = Cell::new(false);
        let open = |extra: OFlags| {
            match openat(dir, new.staged, new_flags | extra, Mode::from_raw_mode(mode)) {
                // It may have been created before it turned out that it cannot be opened in this
                // way.
                Err(Errno::EXIST) if was_refused.get() => {
                    openat(dir, new.staged, flags, Mode::empty())
                }
                opened => {
                    was_refused.set(opened.as_ref().is_err_and(|errno| *errno == Errno::INVAL));
                    opened
                }
            }
        };
        direct::open(shared.transfer.caching, open).map_err(|errno| failed(Op::Create, errno))
    }

    /// Opens the existing file of the name for rewriting; `None` where there is none, or an entry
    /// of another type. Bytes beyond the new content's end are truncated. A file with several hard
    /// links is not rewritten, but replaced: its other names may be those of other files in the
    /// source, or of the source itself. So is one whose mode forbids this user to write it.
    pub fn open_old(
        dir: &Arc<OwnedFd>,
        shared: &Arc<Shared>,
        new: &NewFile<'_>,
    ) -> Result<Option<Self>> {
        // A device would act when it is opened.
        match attributes::stat(dir, new.name, Symlinks::Keep) {
            Ok(old) if old.kind == Kind::File && old.links < 2 => {}
            Err(error) if !error.cause.is_vanished() => return Err(error),
            _ => return Ok(None),
        }
        let old = match Self::join(dir, shared, new.name, new.name) {
            Err(error) if error.cause == Cause::System(libc::EACCES) => return Ok(None),
            joined => joined?,
        };
        let metadata = attributes::stat_fd(&old.fd)?;
        if metadata.kind != Kind::File {
            return Err(Op::Open.failed(Cause::NotReplaceable));
        }
        if metadata.links > 1 {
            return Ok(None);
        }
        if metadata.size_bytes > new.size_bytes {
            old.end_at(new.size_bytes)?;
        }
        let (name, size_bytes) = (Some(new.name.to_owned()), new.size_bytes);
        Ok(Some(Self { name, size_bytes, ..old }))
    }

    /// Opens a file that another rank has created, which this node may see a little later; or the
    /// old one, where that is rewritten.
    pub fn join(
        dir: &Arc<OwnedFd>,
        shared: &Arc<Shared>,
        staged: &Name,
        name: &Name,
    ) -> Result<Self> {
        // NONBLOCK: should a FIFO have taken an old file's place, opening it must not hang.
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let open = |extra| openat(dir, staged, flags | extra, Mode::empty());
        let (fd, direct) = visible::until_visible(|| direct::open(shared.transfer.caching, open))
            .map_err(|errno| failed(Op::Open, errno))?;
        Ok(Self {
            dir: Arc::clone(dir),
            new_files: Arc::default(),
            created_mode: None,
            fd,
            direct,
            staged: staged.to_owned(),
            name: None,
            content: if staged == name { Content::Old } else { Content::None },
            layout_lost: false,
            replaces: false,
            size_bytes: 0,
            shared: Arc::clone(shared),
        })
    }

    /// Opens a file that an interrupted job of this user has staged; `None` where there is no such
    /// file, or an entry of another type. A file of a job that was interrupted after setting the
    /// owner and before renaming it is recognised by its inode: this user owns it again until it is
    /// complete.
    pub fn resume(
        dir: &Arc<OwnedFd>,
        new_files: &Arc<NewFiles>,
        shared: &Arc<Shared>,
        new: &NewFile<'_>,
        inode: Option<u64>,
    ) -> Result<Option<Self>> {
        let given_to = new.attributes.owner.map(|owner| owner.uid);
        let is_given = |found: &Metadata| {
            found.uid != shared.uid && inode == Some(found.inode) && given_to == Some(found.uid)
        };
        let is_ours = |found: &Metadata| {
            let is_owned = found.uid == shared.uid || is_given(found);
            found.kind == Kind::File && found.links == 1 && is_owned
        };
        let found = match attributes::stat(dir, new.staged, Symlinks::Keep) {
            Ok(old) if is_ours(&old) => old,
            Err(error) if !error.cause.is_vanished() => return Err(error),
            _ => return Ok(None),
        };
        // Other users may have a mode that lets them write, and it may forbid that to this user.
        if is_given(&found) || found.mode & 0o200 == 0 {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let Ok(closed) = openat(dir, new.staged, flags, Mode::empty()) else { return Ok(None) };
            let is_it = attributes::stat_fd(&closed)?.inode == found.inode;
            if !is_it || is_given(&found) && take_back(&closed, shared).is_err() {
                return Ok(None);
            }
            set_mode(&closed, 0o600).map_err(|errno| failed(Op::SetMode, errno))?;
        }
        let old = Self::join(dir, shared, new.staged, new.name)?;
        let is_ours = is_ours(&attributes::stat_fd(&old.fd)?);
        Ok(is_ours.then(|| old.completing(new, new_files)))
    }

    /// Opens a file of that inode that this job has staged, to complete it; `None` where the name
    /// is that of another entry.
    pub fn adopt(
        dir: &Arc<OwnedFd>,
        new_files: &Arc<NewFiles>,
        shared: &Arc<Shared>,
        new: &NewFile<'_>,
        inode: u64,
    ) -> Result<Option<Self>> {
        match attributes::stat(dir, new.staged, Symlinks::Keep) {
            Ok(found) if found.kind == Kind::File && found.inode == inode => {}
            Err(error) if !error.cause.is_vanished() => return Err(error),
            _ => return Ok(None),
        }
        let old = Self::join(dir, shared, new.staged, new.name)?;
        let is_it = StagedFile::inode(&old) == Some(inode);
        Ok(is_it.then(|| old.completing(new, new_files)))
    }

    /// Makes the handle of a joined file one that completes it.
    fn completing(self, new: &NewFile<'_>, new_files: &Arc<NewFiles>) -> Self {
        let (new_files, name) = (Arc::clone(new_files), Some(new.name.to_owned()));
        let NewFile { replaces, size_bytes, .. } = *new;
        Self { new_files, name, replaces, size_bytes, ..self }
    }

    /// Returns true where content may be moved between the two files without passing through this
    /// process.
    fn may_move_in_kernel(&self, from: BorrowedFd<'_>) -> bool {
        self.shared.daos.is_none() && !is_made_up(from) && !is_made_up(&self.fd)
    }

    fn write_zeros(&self, extent: Extent) -> Result<()> {
        let zeros = AlignedBuffer::new(ZEROS_BYTES.min(extent.length));
        let mut at = extent.offset;
        while at < extent.end() {
            let length = (extent.end() - at).min(ZEROS_BYTES);
            self.write_at(&zeros[..length as usize], at)?;
            at += length;
        }
        Ok(())
    }

    fn remove(dir: &OwnedFd, staged: &Name) -> Result<()> {
        unlinkat(dir, staged, AtFlags::empty()).map_err(|errno| failed(Op::Remove, errno))
    }

    /// Returns true where the file may have extended attributes already. A new one has only those
    /// that its directory's default access control list gives it: where there is none, no
    /// attributes need be read, which saves a call for each file.
    fn has_xattrs_already(&self) -> bool {
        if self.content == Content::Old {
            return true;
        }
        self.new_files.default_acl_mode(&self.dir) != Ok(None)
    }

    /// Passes on the attributes of the file that is replaced, which the new file does not get from
    /// its source: so they are as after cp(1), which writes into the old file. Returns false where
    /// they cannot be read or set.
    fn inherit(&self, name: &Name, attributes: &Attributes) -> bool {
        // A source without support for them gives none.
        let filter = match attributes.xattrs {
            Some(_) => self.shared.xattrs.handed_on(),
            None => XattrFilter::HANDED_ON,
        };
        let old = match Holder::entry(&*self.dir, name, filter).read() {
            Ok(old) => old.unwrap_or_default(),
            Err(_) => return false,
        };
        if old.is_empty() && !self.has_xattrs_already() {
            return true;
        }
        Holder::file(&self.fd, filter).write(&old).unwrap_or(false)
    }

    /// Returns true where the file system truncates this time. The change time of the file itself,
    /// which the kernel has set, shows the granularity; it is determined once, since all files of a
    /// store are alike.
    fn cuts(&self, time: Time) -> bool {
        let step_ns = self.shared.time_step_ns.get_or_init(|| {
            let step_ns = attributes::stat_fd(&self.fd).map(|new| compare::time_step_ns(&new));
            step_ns.ok().filter(|step_ns| *step_ns >= COARSE_STEP_NS).unwrap_or(1)
        });
        compare::floor(time, *step_ns) != time
    }

    /// Returns the file's owner and mode, as far as they are known or matter: reading them may cost
    /// a round trip. The mode is `None` where what is set before it may change it.
    fn owner_and_mode(&self, wanted: &Attributes) -> Result<(Option<Owner>, Option<u32>)> {
        let Some(mode) = self.created_mode else {
            let is_rewritten = self.content == Content::Old;
            if wanted.owner.is_none() && !is_rewritten {
                return Ok((None, None));
            }
            let now = attributes::stat_fd(&self.fd)?;
            return Ok((Some(Owner::from(&now)), is_rewritten.then_some(now.mode)));
        };
        let known = self.new_files.owner();
        let is_private = mode == PRIVATE;
        let is_known = if is_private { known.is_some() } else { self.new_files.gives(mode) };
        if is_known {
            return Ok((known, (!is_private).then_some(mode)));
        }
        let now = attributes::stat_fd(&self.fd)?;
        self.new_files.observe(mode, &now);
        Ok((Some(Owner::from(&now)), (!is_private).then_some(now.mode)))
    }

    /// Sets the attributes, closes the file and renames it: a file is never visible before all of
    /// it is right.
    fn finish(self, attributes: &Attributes) -> Result<Preserved> {
        let name = self.name.as_deref().ok_or(Op::Rename.errno(libc::EINVAL))?;
        let is_rewritten = self.content == Content::Old;
        let (owner, mode) = self.owner_and_mode(attributes)?;
        // As with cp(1): a user who may write to another user's file may not set its mode.
        let has_mode = mode.is_some() && mode == attributes.mode;
        let with_its_mode = Attributes { mode: None, ..attributes.clone() };
        let attributes = if has_mode { &with_its_mode } else { attributes };
        let is_inherited = is_rewritten || !self.replaces || self.inherit(name, attributes);
        let wants_none = attributes.xattrs.as_ref().is_some_and(|wanted| wanted.is_empty());
        let as_they_are;
        let attributes = if wants_none && !self.has_xattrs_already() {
            as_they_are = Attributes { xattrs: None, ..attributes.clone() };
            &as_they_are
        } else {
            attributes
        };
        let timestamps_truncated = attributes.times.is_some_and(|times| self.cuts(times.mtime));
        let holder = Holder::file(&self.fd, self.shared.xattrs);
        let mut preserved = attributes::set(&self.fd, attributes, owner, &holder)?;
        preserved.xattrs_lost |= !is_inherited;
        preserved.layout_lost = self.layout_lost;
        preserved.timestamps_truncated = timestamps_truncated;
        // Smaller files are synchronised many at a time.
        let is_left = self.size_bytes <= UNSYNCED_BYTES_MAX;
        match self.shared.transfer.durable {
            Durable::Journaled if is_left => {}
            durable => sync(&self.fd, durable)?,
        }
        close(self.fd)?;
        if self.content == Content::None {
            renameat(&self.dir, &*self.staged, &self.dir, name).map_err(rename_failed)?;
        }
        Ok(preserved)
    }
}

impl StagedFile for PosixStaged {
    fn ticket(&self) -> Vec<u8> {
        self.staged.to_bytes().to_vec()
    }

    fn striping(&self, size_bytes: u64) -> Option<Striping> {
        if !self.shared.lustre.is_here(&self.fd) {
            return None;
        }
        lustre::layout_of(&self.fd)?.striping(size_bytes)
    }

    fn capabilities(&self) -> StagedCapabilities {
        let is_new = self.content == Content::None;
        StagedCapabilities {
            remains: if is_new { Remains::File } else { Remains::Nothing },
            keeps_holes: true,
            ..StagedCapabilities::default()
        }
    }

    fn inode(&self) -> Option<u64> {
        let metadata = attributes::stat_fd(&self.fd).ok()?;
        (metadata.kind == Kind::File).then_some(metadata.inode)
    }

    fn write_at(&self, mut data: &[u8], mut offset: u64) -> Result<()> {
        while !data.is_empty() {
            let write = |length| retry_on_intr(|| pwrite(&self.fd, &data[..length], offset));
            match self.direct.access(&self.fd, data.as_ptr(), data.len(), offset, write) {
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

    /// Makes a hole. In a new file nothing need be done.
    fn leave_hole(&self, extent: Extent) -> Result<()> {
        if self.content == Content::None {
            return Ok(());
        }
        if is_made_up(&self.fd) {
            return self.write_zeros(extent);
        }
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match retry_on_intr(|| fallocate(&self.fd, flags, extent.offset, extent.length)) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => self.write_zeros(extent),
            punched => punched.map_err(|errno| failed(Op::Write, errno)),
        }
    }

    fn end_at(&self, size_bytes: u64) -> Result<()> {
        retry_on_intr(|| ftruncate(&self.fd, size_bytes)).map_err(|errno| failed(Op::Write, errno))
    }

    fn share_all(&self, source: &dyn SourceFile, metadata: &Metadata) -> Result<()> {
        let unsupported = || Op::Clone.errno(libc::EOPNOTSUPP);
        let from = source.as_fd().ok_or_else(unsupported)?;
        if !self.may_move_in_kernel(from) {
            return Err(unsupported());
        }
        let Shared { unshared, unshared_errno, .. } = &*self.shared;
        if unshared.load(Ordering::Relaxed) == metadata.device {
            return Err(Op::Clone.errno(unshared_errno.load(Ordering::Relaxed)));
        }
        retry_on_intr(|| ioctl_ficlone(&self.fd, from)).map_err(|errno| {
            // Other errors are about this one file (ioctl_ficlone(2)).
            if matches!(errno, Errno::OPNOTSUPP | Errno::NOTTY | Errno::NOSYS | Errno::XDEV) {
                unshared_errno.store(errno.raw_os_error(), Ordering::Relaxed);
                unshared.store(metadata.device, Ordering::Relaxed);
            }
            failed(Op::Clone, errno)
        })
    }

    fn copy_from(&self, source: &dyn SourceFile, offset: u64, length: u64) -> Result<Option<u64>> {
        match source.as_fd() {
            Some(from) if self.may_move_in_kernel(from) => {
                self.shared.copy_range.copy([from, self.fd.as_fd()], offset, length)
            }
            _ => Ok(None),
        }
    }

    fn close(self: Box<Self>) -> Result<Option<Receipt>> {
        sync(&self.fd, self.shared.transfer.durable)?;
        close(self.fd).map(|()| None)
    }

    fn size_bytes(&self, _receipts: &[Receipt]) -> Result<u64> {
        attributes::stat_fd(&self.fd).map(|metadata| metadata.size_bytes)
    }

    fn commit(self: Box<Self>, attributes: &Attributes, _: Vec<Receipt>) -> Result<Preserved> {
        let (dir, staged) = (Arc::clone(&self.dir), self.staged.clone());
        let is_new = self.content == Content::None;
        let finished = self.finish(attributes);
        if finished.is_err() && is_new {
            let _ = Self::remove(&dir, &staged);
        }
        finished
    }

    fn abandon(self: Box<Self>) -> Result<()> {
        match self.content {
            Content::None => Self::remove(&self.dir, &self.staged),
            // A failed copy must not remove the file that was there before.
            Content::Old => Ok(()),
        }
    }
}

/// Makes this user the owner of a file again.
fn take_back(file: &OwnedFd, shared: &Shared) -> rustix::io::Result<()> {
    set_owner(file, Some(shared.uid), Some(shared.gid))
}

/// Synchronises a file's content. On network file systems a node's writes are cached on the same
/// node.
fn sync(fd: &OwnedFd, durable: Durable) -> Result<()> {
    match durable {
        Durable::Later => Ok(()),
        Durable::Journaled | Durable::Now => {
            retry_on_intr(|| fsync(fd)).map_err(|errno| failed(Op::Sync, errno))
        }
    }
}

/// Closes a written file: quotas and network file systems may only now report that writing has
/// failed.
fn close(fd: OwnedFd) -> Result<()> {
    // SAFETY: the descriptor was owned by `fd`, which gave it up: nobody else closes or uses it.
    let closed = unsafe { libc::close(fd.into_raw_fd()) };
    // After EINTR the descriptor is closed all the same (close(2)).
    match std::io::Error::last_os_error().raw_os_error() {
        Some(errno) if closed != 0 && errno != libc::EINTR => Err(Op::Close.errno(errno)),
        _ => Ok(()),
    }
}
