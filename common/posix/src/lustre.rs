//! Layouts of files on Lustre, through the extended attribute that shows them: no library of Lustre's is needed.
//!
//! A file that has objects keeps its layout: setting another one says that all is well, and does nothing. So a layout is
//! given to a file that was opened in a way that makes no objects, before anything is written.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::OnceLock;

use rustix::fs::{Mode, OFlags, XattrFlags, fgetxattr, fsetxattr, getxattr, lgetxattr};
use rustix::io::Errno;

use super::calls::{fstatfs, openat};
use super::failed::failed;
use super::{Shared, attributes, resolve};
use store::NewFile;
use store::opening::Symlinks;
use types::error::{Op, Result};
use types::lustre::layout::Layout;
use types::lustre::stripe_policy::StripePolicy;
use types::path::{self, Name};

/// What statfs(2) says of the kind of file system (`LL_SUPER_MAGIC` in `lustre_user.h`).
const SUPER_MAGIC: u64 = 0x0BD0_0BD0;

/// Where a file's layout is, and a directory's default for new ones.
const LAYOUT_XATTR: &str = "lustre.lov";

/// Longest value (xattr(7)). Some versions take it ill to be asked with less room than they need.
const LAYOUT_BYTES_MAX: usize = 64 << 10;

/// Makes a file without objects (`O_LOV_DELAY_CREATE` in `lustre_user.h`). Other file systems see nothing in it.
pub(super) const WITHOUT_OBJECTS: OFlags = OFlags::NOCTTY.union(OFlags::ASYNC);

/// Directories above each other that are looked at for the root of a file system.
const DEPTH_MAX: usize = 4096;

/// How a new file is to be striped.
pub(super) enum Wanted {
    /// As its directory says.
    Default,
    /// Like this.
    Layout(Layout),
    /// As its source, whose layout is of a kind that no new file can be given.
    Unknown,
}

/// What is known of one store.
#[derive(Default)]
pub(super) struct Lustre {
    is_here: OnceLock<bool>,
    /// What files get where their directory has no rule of its own.
    default: OnceLock<Option<Layout>>,
}

impl Lustre {
    /// Whether the store is on Lustre. Asked once, and only where that matters.
    pub fn is_here(&self, fd: impl AsFd) -> bool {
        let ask = || fstatfs(fd).is_ok_and(|found| found.f_type as u64 == SUPER_MAGIC);
        *self.is_here.get_or_init(ask)
    }

    /// The layout to be given to a new file.
    pub fn wanted(
        shared: &Shared,
        dir: &OwnedFd,
        of_dir: &OnceLock<Option<Layout>>,
        new: &NewFile<'_>,
    ) -> Wanted {
        let policy = shared.transfer.stripe.unwrap_or_default();
        let has_something_to_keep = policy != StripePolicy::Keep || new.layout.is_some();
        if !policy.concerns(new.size_bytes) || !has_something_to_keep || !shared.lustre.is_here(dir)
        {
            return Wanted::Default;
        }
        let here = || of_dir.get_or_init(|| layout_at(dir, c".", Symlinks::Keep).ok().flatten());
        let above = || shared.lustre.default.get_or_init(|| default_of_file_system(dir)).clone();
        match policy.layout(new.size_bytes, new.layout, || here().clone().or_else(above)) {
            Some(layout) => Wanted::Layout(layout),
            None if policy == StripePolicy::Keep => Wanted::Unknown,
            None => Wanted::Default,
        }
    }
}

/// What an open file or directory has; `None` where it has none that is known.
pub(super) fn layout_of(fd: impl AsFd) -> Option<Layout> {
    let mut blob = vec![0; LAYOUT_BYTES_MAX];
    let length = fgetxattr(fd, LAYOUT_XATTR, &mut blob[..]).ok()?;
    Layout::decode(&blob[..length])
}

/// What an entry of a directory has, without opening it.
pub(super) fn layout_at(
    dir: &impl AsRawFd,
    name: &Name,
    symlinks: Symlinks,
) -> Result<Option<Layout>> {
    let mut blob = vec![0; LAYOUT_BYTES_MAX];
    let through = format!("/proc/self/fd/{}", dir.as_raw_fd()).into_bytes();
    let path = path::join(&through, name.to_bytes());
    let got = match symlinks {
        Symlinks::Keep => lgetxattr(&path[..], LAYOUT_XATTR, &mut blob[..]),
        Symlinks::Follow => getxattr(&path[..], LAYOUT_XATTR, &mut blob[..]),
    };
    match got {
        Ok(length) => Ok(Layout::decode(&blob[..length])),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(failed(Op::GetXattrs, errno)),
    }
}

/// Gives an open file its layout, which must have no objects yet.
pub(super) fn set_layout(fd: impl AsFd, layout: &Layout) -> rustix::io::Result<()> {
    fsetxattr(fd, LAYOUT_XATTR, &layout.encode(), XattrFlags::empty())
}

/// A file system's root has the default for all directories without their own.
fn default_of_file_system(dir: &OwnedFd) -> Option<Layout> {
    let mut top = openat(dir, c".", resolve::UP, Mode::empty()).ok()?;
    let mut here = attributes::stat_fd(&top).ok()?;
    for _ in 0..DEPTH_MAX {
        let Ok(up) = openat(&top, c"..", resolve::UP, Mode::empty()) else { break };
        let above = attributes::stat_fd(&up).ok()?;
        if above.device != here.device || above.inode == here.inode {
            break;
        }
        (top, here) = (up, above);
    }
    layout_at(&top, c".", Symlinks::Keep).ok()?
}
