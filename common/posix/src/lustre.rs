//! Layouts of files on Lustre, through the extended attribute that shows them: no library of
//! Lustre's is needed.
//!
//! A file with objects keeps its layout: setting another one succeeds, and does nothing. So a file
//! is opened in a way that creates no objects, and gets its layout before anything is written.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::OnceLock;

use rustix::fs::{Mode, OFlags, XattrFlags, fgetxattr, fsetxattr, getxattr, lgetxattr};
use rustix::io::Errno;

use super::calls::{UP, fstatfs, openat};
use super::failed::failed;
use super::{Shared, attributes};
use store::NewFile;
use store::opening::Symlinks;
use types::error::{Op, Result};
use types::file_systems::LUSTRE;
use types::lustre::layout::Layout;
use types::lustre::stripe_policy::StripePolicy;
use types::path::{self, Name};

/// Extended attribute with a file's layout, or a directory's default for new files.
const LAYOUT_XATTR: &str = "lustre.lov";

/// Largest value in bytes (xattr(7)). Some versions fail where the buffer is smaller than they
/// need.
const LAYOUT_BYTES_MAX: usize = 64 << 10;

/// Flags that create a file without objects (`O_LOV_DELAY_CREATE` in `lustre_user.h`). They have no
/// effect on other file systems.
pub(super) const WITHOUT_OBJECTS: OFlags = OFlags::NOCTTY.union(OFlags::ASYNC);

/// Largest number of parent directories on the way to the root of a file system.
const DEPTH_MAX: usize = 4096;

/// Returns whether a kind of file system is Lustre.
pub(super) fn is_lustre(system: u64) -> bool {
    system == LUSTRE
}

/// Layout that a new file is to get.
pub(super) enum Wanted {
    /// The directory's default layout.
    Default,
    /// A layout other than the default.
    Layout(Layout),
    /// The source's layout, which is of a kind that a new file cannot be given.
    Unknown,
}

/// State of one store that concerns Lustre.
#[derive(Default)]
pub(super) struct Lustre {
    is_here: OnceLock<bool>,
    /// Default layout of the file system, for directories without one of their own.
    default: OnceLock<Option<Layout>>,
}

impl Lustre {
    /// Returns true where the store is on Lustre, which is determined once, and only where it
    /// matters.
    pub fn is_here(&self, fd: impl AsFd) -> bool {
        let ask = || fstatfs(fd).is_ok_and(|found| is_lustre(found.f_type as u64));
        *self.is_here.get_or_init(ask)
    }

    /// Returns the layout that a new file is to get.
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

/// Returns the layout of an open file or directory; `None` where it has none that is known.
pub(super) fn layout_of(fd: impl AsFd) -> Option<Layout> {
    let mut blob = vec![0; LAYOUT_BYTES_MAX];
    let length = fgetxattr(fd, LAYOUT_XATTR, &mut blob[..]).ok()?;
    Layout::decode(&blob[..length])
}

/// Returns the layout of an entry of a directory without opening it.
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

/// Sets the layout of an open file, which must not have objects yet.
pub(super) fn set_layout(fd: impl AsFd, layout: &Layout) -> rustix::io::Result<()> {
    fsetxattr(fd, LAYOUT_XATTR, &layout.encode(), XattrFlags::empty())
}

/// Returns the default layout of the file system, which its root directory has for all directories
/// without one of their own.
fn default_of_file_system(dir: &OwnedFd) -> Option<Layout> {
    let mut top = openat(dir, c".", UP, Mode::empty()).ok()?;
    let mut here = attributes::stat_fd(&top).ok()?;
    for _ in 0..DEPTH_MAX {
        let Ok(up) = openat(&top, c"..", UP, Mode::empty()) else { break };
        let above = attributes::stat_fd(&up).ok()?;
        if above.device != here.device || above.inode == here.inode {
            break;
        }
        (top, here) = (up, above);
    }
    layout_at(&top, c".", Symlinks::Keep).ok()?
}
