//! An open directory of a POSIX file system.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RawDir, StatxAttributes, StatxFlags, chownat, linkat, mkdirat,
    mknodat, readlinkat, renameat, statx, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::answered::until_answered;
use super::calls::{DIRECTORY, UP, openat};
use super::failed::{failed, rename_failed};
use super::file::PosixFile;
use super::lustre::{self, Lustre};
use super::new_files::NewFiles;
use super::pil4dfs::{self, is_made_up};
use super::staged::PosixStaged;
use super::xattrs::Holder;
use super::{Shared, attributes, direct, resolve, special};
use store::opening::Symlinks;
use store::{Dir, Made, NewFile, NewHardLink, NewSpecial, NewSymlink, SourceFile, StagedFile};
use types::content::transfer::{Atime, Rewriting, Transfer};
use types::entry::{Attributes, Hint, Kind, Metadata, Owner, Preserved, Xattrs};
use types::error::{Cause, Op, Result};
use types::limits::LIST_BUFFER_BYTES;
use types::lustre::layout::Layout;
use types::lustre::stripe_policy::StripePolicy;
use types::path::Name;

pub(super) struct PosixDir {
    fd: Arc<OwnedFd>,
    new_files: Arc<NewFiles>,
    /// Layout that new files get here; read when it is first needed.
    default_layout: OnceLock<Option<Layout>>,
    /// True for an append-only directory; read when it is first needed.
    is_append_only: OnceLock<bool>,
    shared: Arc<Shared>,
}

impl PosixDir {
    pub fn new(fd: OwnedFd, shared: &Arc<Shared>) -> Self {
        shared.open_dirs.fetch_add(1, Ordering::Relaxed);
        Self {
            fd: Arc::new(fd),
            new_files: Arc::default(),
            default_layout: OnceLock::new(),
            is_append_only: OnceLock::new(),
            shared: Arc::clone(shared),
        }
    }

    /// Returns the flag that keeps symbolic links from being followed, unless the operator asked
    /// for that.
    fn nofollow(&self) -> OFlags {
        match self.shared.symlinks {
            Symlinks::Keep => OFlags::NOFOLLOW,
            Symlinks::Follow => OFlags::empty(),
        }
    }
}

impl Drop for PosixDir {
    fn drop(&mut self) {
        self.shared.open_dirs.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Syncs the whole file system of a directory: directories and symbolic links, too, and writes of
/// other programs on this node.
pub(super) fn sync_system(dir: &OwnedFd) -> Result<()> {
    // The library caches nothing: its own fsync does nothing.
    if is_made_up(dir) {
        return Ok(());
    }
    // A handle with search permission only does not support that.
    openat(dir, c".", DIRECTORY, Mode::empty())
        .and_then(|dir| rustix::fs::syncfs(&dir))
        .map_err(|errno| failed(Op::Sync, errno))
}

impl Dir for PosixDir {
    fn metadata(&self) -> Result<Metadata> {
        attributes::stat_fd(&self.fd)
    }

    fn list(&self, each: &mut dyn FnMut(&Name, Hint)) -> Result<()> {
        if is_made_up(&self.fd) {
            return pil4dfs::list(&self.fd, &mut |name, file_type| each(name, hint(file_type)))
                .map_err(|errno| failed(Op::List, errno));
        }
        let mut buffer = vec![MaybeUninit::uninit(); LIST_BUFFER_BYTES];
        let mut entries = RawDir::new(&self.fd, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(|errno| match errno {
                // The handle has search permission only: the permission to read the directory was
                // missing.
                Errno::BADF => failed(Op::List, Errno::ACCESS),
                other => failed(Op::List, other),
            })?;
            let name = entry.file_name();
            if !matches!(name.to_bytes(), b"." | b"..") {
                each(name, hint(entry.file_type()));
            }
        }
        Ok(())
    }

    fn open_dir(&self, name: &Name) -> Result<Arc<dyn Dir>> {
        let fd = until_answered(|| {
            resolve::open_for(self.shared.need, self.nofollow(), |flags| {
                openat(&self.fd, name, flags, Mode::empty())
            })
        });
        Ok(Arc::new(Self::new(fd.map_err(|errno| failed(Op::Open, errno))?, &self.shared)))
    }

    fn stat(&self, name: &Name) -> Result<Metadata> {
        attributes::stat(&self.fd, name, self.shared.symlinks)
    }

    fn stat_followed(&self, name: &Name) -> Result<Metadata> {
        attributes::stat(&self.fd, name, Symlinks::Follow)
    }

    fn open_file(&self, name: &Name) -> Result<Box<dyn SourceFile>> {
        // NONBLOCK: should a FIFO have taken the file's place, opening it must not hang.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let open = |extra| {
            let flags = flags | self.nofollow() | extra;
            until_answered(|| openat(&self.fd, name, flags, Mode::empty()))
        };
        let Transfer { atime, caching, stripe, .. } = self.shared.transfer;
        let opened = direct::open(caching, |extra| match atime {
            Atime::Set => open(extra),
            // Only a file's owner may use that flag (open(2)).
            Atime::Preserved => open(extra | OFlags::NOATIME).or_else(|errno| match errno {
                Errno::PERM => open(extra),
                errno => Err(errno),
            }),
        });
        let opened = opened.and_then(|(fd, direct)| match self.shared.symlinks {
            Symlinks::Keep => Ok((pil4dfs::checked_file(fd)?, direct)),
            Symlinks::Follow => Ok((fd, direct)),
        });
        let (fd, direct) = opened.map_err(|errno| failed(Op::Open, errno))?;
        let keeps_layout = stripe == Some(StripePolicy::Keep) && self.shared.lustre.is_here(&fd);
        let layout = keeps_layout.then(OnceLock::new);
        Ok(Box::new(PosixFile::new(fd, direct, self.shared.xattrs, layout)))
    }

    fn read_link(&self, name: &Name) -> Result<Vec<u8>> {
        until_answered(|| readlinkat(&self.fd, name, Vec::new()))
            .map(std::ffi::CString::into_bytes)
            .map_err(|errno| failed(Op::ReadLink, errno))
    }

    fn xattrs(&self, name: Option<&Name>) -> Result<Option<Xattrs>> {
        self.holder(name.unwrap_or(c".")).read()
    }

    fn layout(&self, name: &Name) -> Result<Option<Layout>> {
        if !self.shared.lustre.is_here(&self.fd) {
            return Ok(None);
        }
        lustre::layout_at(&*self.fd, name, self.shared.symlinks)
    }

    fn default_acl_mode(&self) -> Result<Option<u32>> {
        self.new_files.default_acl_mode(&self.fd)
    }

    fn make_dir(&self, name: &Name, mode: u32) -> Result<Made> {
        match mkdirat(&self.fd, name, Mode::from_raw_mode(mode)) {
            Ok(()) => Ok(Made::New),
            Err(Errno::EXIST) => match attributes::stat(&self.fd, name, Symlinks::Keep)?.kind {
                Kind::Directory => Ok(Made::Existed),
                _ => Err(Op::MakeDir.failed(Cause::KindDiffers)),
            },
            Err(errno) => Err(failed(Op::MakeDir, errno)),
        }
    }

    fn stage_file(&self, new: &NewFile<'_>) -> Result<Box<dyn StagedFile>> {
        self.refuse_append_only(Op::Create)?;
        let in_place = match self.shared.transfer.rewriting {
            Rewriting::Beside => None,
            Rewriting::InPlace => PosixStaged::open_old(&self.fd, &self.shared, new)?,
        };
        let staged = in_place.map_or_else(
            || {
                let layout = Lustre::wanted(&self.shared, &self.fd, &self.default_layout, new);
                PosixStaged::create(&self.fd, &self.new_files, &self.shared, new, &layout)
            },
            Ok,
        );
        staged.map(|staged| Box::new(staged) as Box<dyn StagedFile>)
    }

    fn resume_staged(
        &self,
        new: &NewFile<'_>,
        inode: Option<u64>,
    ) -> Result<Option<Box<dyn StagedFile>>> {
        let resumed = PosixStaged::resume(&self.fd, &self.new_files, &self.shared, new, inode)?;
        Ok(resumed.map(|staged| Box::new(staged) as Box<dyn StagedFile>))
    }

    fn join_staged(&self, ticket: &[u8], name: &Name) -> Result<Box<dyn StagedFile>> {
        let staged = CString::new(ticket).map_err(|_| Op::Open.errno(libc::EINVAL))?;
        PosixStaged::join(&self.fd, &self.shared, &staged, name)
            .map(|staged| Box::new(staged) as Box<dyn StagedFile>)
    }

    fn make_symlink(&self, link: &NewSymlink<'_>) -> Result<Preserved> {
        self.refuse_append_only(Op::Symlink)?;
        symlinkat(std::ffi::OsStr::from_bytes(link.points_to), &self.fd, link.staged)
            .map_err(|errno| failed(Op::Symlink, errno))?;
        let made = self.set_link_attributes(link).and_then(|preserved| {
            renameat(&self.fd, link.staged, &self.fd, link.name).map_err(rename_failed)?;
            Ok(preserved)
        });
        if made.is_err() {
            let _ = unlinkat(&self.fd, link.staged, AtFlags::empty());
        }
        made
    }

    fn make_special(&self, special: &NewSpecial<'_>) -> Result<Preserved> {
        if is_made_up(&self.fd) {
            return Err(Op::MakeSpecial.errno(libc::EOPNOTSUPP));
        }
        self.refuse_append_only(Op::MakeSpecial)?;
        let (file_type, device) = special::what(special)?;
        // No other user may open it before its owner and mode are right.
        let mode = Mode::RUSR | Mode::WUSR;
        mknodat(&self.fd, special.staged, file_type, mode, device)
            .map_err(|errno| failed(Op::MakeSpecial, errno))?;
        let (staged, attributes) = (special.staged, &special.attributes);
        let holder = self.holder(staged);
        let finished =
            attributes::set_by_name(&self.fd, staged, attributes, &holder).and_then(|preserved| {
                renameat(&self.fd, staged, &self.fd, special.name).map_err(rename_failed)?;
                Ok(preserved)
            });
        if finished.is_err() {
            let _ = unlinkat(&self.fd, staged, AtFlags::empty());
        }
        finished
    }

    fn set_attributes(&self, attributes: &Attributes) -> Result<Preserved> {
        let holder = self.holder(c".");
        if is_made_up(&self.fd) {
            return attributes::set_by_name(&self.fd, c".", attributes, &holder);
        }
        match attributes::set(&self.fd, attributes, None, &holder) {
            // The handle has search permission only: the directory is named through itself.
            Err(error) if error.cause == Cause::System(libc::EBADF) => {
                attributes::set_by_name(&self.fd, c".", attributes, &holder)
            }
            other => other,
        }
    }

    fn set_entry_attributes(
        &self,
        name: &Name,
        kind: Kind,
        attributes: &Attributes,
    ) -> Result<Preserved> {
        let of_link = Attributes { mode: None, ..attributes.clone() };
        let attributes = if kind == Kind::Symlink { &of_link } else { attributes };
        attributes::set_by_name(&self.fd, name, attributes, &self.holder(name))
    }

    fn remove(&self, name: &Name, kind: Kind) -> Result<()> {
        let is_directory = kind == Kind::Directory;
        let flags = if is_directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        unlinkat(&self.fd, name, flags).map_err(|errno| failed(Op::Remove, errno))
    }

    fn link_from(&self, other: &dyn Dir, name: &Name) -> Result<bool> {
        let Some(other) = other.as_fd() else { return Ok(false) };
        if is_made_up(other) || is_made_up(&self.fd) {
            return Ok(false);
        }
        match linkat(other, name, &self.fd, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(errno) if is_without_links(errno) => Ok(false),
            Err(errno) => Err(failed(Op::Link, errno)),
        }
    }

    fn hard_link(&self, link: &NewHardLink<'_>) -> Result<bool> {
        let Some(from) = link.dir.as_fd() else { return Ok(false) };
        if is_made_up(from) || is_made_up(&self.fd) {
            return Ok(false);
        }
        let link_as = |name| linkat(from, link.of, &self.fd, name, AtFlags::empty());
        let made = match link_as(link.name) {
            Err(Errno::EXIST) if self.refuse_append_only(Op::Link).is_ok() => link_as(link.staged)
                .and_then(|()| {
                    let renamed = renameat(&self.fd, link.staged, &self.fd, link.name);
                    // Where the name is a hard link of the same file already, both names stay
                    // (rename(2)).
                    let _ = unlinkat(&self.fd, link.staged, AtFlags::empty());
                    renamed
                }),
            other => other,
        };
        match made {
            Ok(()) => Ok(true),
            Err(errno) if is_without_links(errno) => Ok(false),
            Err(errno) => Err(failed(Op::Link, errno)),
        }
    }

    fn sync(&self) -> Result<()> {
        sync_system(&self.fd)
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(AsFd::as_fd(&*self.fd))
    }

    fn device_number(&self, name: &Name) -> Result<Option<u64>> {
        special::number(&self.fd, name, self.shared.symlinks)
    }

    fn mount(&self) -> Result<Option<u64>> {
        let statx = match statx(&self.fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID) {
            Ok(statx) => statx,
            Err(Errno::NOSYS) => return Ok(None),
            Err(_) if is_made_up(&self.fd) => return Ok(None),
            Err(errno) => return Err(Op::Stat.errno(errno.raw_os_error())),
        };
        let is_known = StatxFlags::from_bits_retain(statx.stx_mask).contains(StatxFlags::MNT_ID);
        Ok(is_known.then_some(statx.stx_mnt_id))
    }

    fn is_below(&self, above: &Metadata) -> bool {
        let here = openat(&self.fd, c".", UP, Mode::empty());
        here.is_ok_and(|here| resolve::is_below(here, above))
    }
}

impl PosixDir {
    /// Opens a file of that inode that this job has staged; see
    /// [`super::PosixStore::adopt_staged`].
    pub fn adopt_staged(
        &self,
        new: &NewFile<'_>,
        inode: u64,
    ) -> Result<Option<Box<dyn StagedFile>>> {
        let adopted = PosixStaged::adopt(&self.fd, &self.new_files, &self.shared, new, inode)?;
        Ok(adopted.map(|staged| Box::new(staged) as Box<dyn StagedFile>))
    }

    /// Refuses an append-only directory (chattr(1)), in which no entry can be renamed or removed:
    /// staged files would stay for ever.
    fn refuse_append_only(&self, op: Op) -> Result<()> {
        let is_append_only = || {
            let flags = (!is_made_up(&self.fd))
                .then(|| statx(&self.fd, c"", AtFlags::EMPTY_PATH, StatxFlags::empty()));
            let known = flags.and_then(std::result::Result::ok);
            known.is_some_and(|statx| statx.stx_attributes.contains(StatxAttributes::APPEND))
        };
        if *self.is_append_only.get_or_init(is_append_only) {
            return Err(op.failed(Cause::AppendOnly));
        }
        Ok(())
    }

    /// Returns access to an entry's extended attributes.
    fn holder<'h>(&'h self, name: &'h Name) -> Holder<'h> {
        Holder::entry(&self.fd, name, self.shared.xattrs)
    }

    /// Sets a symbolic link's attributes. It cannot be opened, so this uses its name in this
    /// directory: a random name that this process has just created.
    fn set_link_attributes(&self, link: &NewSymlink<'_>) -> Result<Preserved> {
        let mut preserved = Preserved::ALL;
        let now = || attributes::stat(&self.fd, link.staged, Symlinks::Keep);
        // A directory with the set-group-id bit, or a mount with `grpid`, has given it another
        // group.
        if let Some(owner) = link.attributes.owner
            && now().map(|now| Owner::from(&now)) != Ok(owner)
        {
            let change = |uid, gid| {
                if is_made_up(&self.fd) {
                    // No call sets a symbolic link's owner there.
                    return Err(Errno::OPNOTSUPP);
                }
                chownat(&self.fd, link.staged, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
            };
            preserved = attributes::try_owner(owner, change, now)?;
        }
        if let Some(xattrs) = &link.attributes.xattrs {
            preserved.xattrs_lost = !self.holder(link.staged).write(xattrs)?;
        }
        if let Some(times) = &link.attributes.times {
            let times = attributes::timestamps(times);
            utimensat(&self.fd, link.staged, &times, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|errno| failed(Op::SetTimes, errno))?;
        }
        Ok(preserved)
    }
}

/// Returns true for errors of link(2) that mean another file system, too many hard links, or a file
/// system that has none.
fn is_without_links(errno: Errno) -> bool {
    matches!(errno, Errno::XDEV | Errno::MLINK | Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS)
}

fn hint(file_type: FileType) -> Hint {
    match file_type {
        FileType::RegularFile => Hint::File,
        FileType::Directory => Hint::Directory,
        FileType::Symlink => Hint::Symlink,
        FileType::Unknown => Hint::Unknown,
        _ => Hint::Other,
    }
}
