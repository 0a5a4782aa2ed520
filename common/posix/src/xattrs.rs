//! Extended attributes, access control lists among them (xattr(7), acl(5)).
//!
//! Those of an open file are read by its descriptor. An entry of an open directory is reached by
//! that directory and one component, through listxattrat(2) or a path in `/proc/self/fd`: the calls
//! by descriptor require that the entry is open for reading, which may not be allowed, or may act.
//! The `l…xattr` calls do not follow a symbolic link in the last component.

mod listed_at;

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{
    XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr, lgetxattr, llistxattr,
    lremovexattr, lsetxattr,
};
use rustix::io::Errno;

use super::failed::failed;
use super::pil4dfs::is_made_up;
use types::attributes::acl;
use types::attributes::keep::{XattrChoice, XattrFilter};
use types::entry::{ACL_XATTRS, Xattrs};
use types::error::{Op, Result};
use types::path::Name;

/// Largest list of names, and largest value, in bytes (xattr(7)).
const BYTES_MAX: usize = 64 << 10;

/// Holder of extended attributes, with a filter for those that matter.
pub(super) struct Holder<'h> {
    at: At<'h>,
    filter: XattrFilter,
}

enum At<'h> {
    /// An open file.
    File(BorrowedFd<'h>),
    /// An entry of an open directory.
    Entry(BorrowedFd<'h>, &'h Name),
    /// A descriptor that the kernel does not know, where there is one: attributes can be set, but
    /// not listed.
    Pil4dfs(Option<BorrowedFd<'h>>),
}

impl<'h> Holder<'h> {
    /// Returns the holder for an open file.
    pub fn file(fd: &'h impl AsFd, filter: XattrFilter) -> Self {
        let fd = fd.as_fd();
        let at = if is_made_up(fd) { At::Pil4dfs(Some(fd)) } else { At::File(fd) };
        Self { at, filter }
    }

    /// Returns the holder for another file, with the same filter.
    pub fn of<'f>(&self, fd: &'f impl AsFd) -> Holder<'f> {
        Holder::file(fd, self.filter)
    }

    /// Returns the holder for an entry of a directory, even for a symbolic link itself; `.` is the
    /// directory.
    pub fn entry(dir: &'h impl AsFd, name: &'h Name, filter: XattrFilter) -> Self {
        let dir = dir.as_fd();
        if is_made_up(dir) {
            return Self { at: At::Pil4dfs((name == c".").then_some(dir)), filter };
        }
        Self { at: At::Entry(dir, name), filter }
    }

    fn list(&self, names: &mut [u8]) -> rustix::io::Result<usize> {
        match &self.at {
            At::File(fd) => flistxattr(fd, names),
            At::Entry(dir, name) => listed_at::list(*dir, name, names)
                .unwrap_or_else(|| llistxattr(&*path_of(*dir, name), names)),
            At::Pil4dfs(_) => Err(Errno::OPNOTSUPP),
        }
    }

    fn get(&self, name: &[u8], value: &mut [u8]) -> rustix::io::Result<usize> {
        match &self.at {
            At::File(fd) => fgetxattr(fd, name, value),
            At::Entry(dir, entry) => lgetxattr(&*path_of(*dir, entry), name, value),
            At::Pil4dfs(_) => Err(Errno::OPNOTSUPP),
        }
    }

    fn set(&self, name: &[u8], value: &[u8]) -> rustix::io::Result<()> {
        match &self.at {
            At::File(fd) => fsetxattr(fd, name, value, XattrFlags::empty()),
            At::Entry(dir, entry) => {
                lsetxattr(&*path_of(*dir, entry), name, value, XattrFlags::empty())
            }
            // An access control list would be stored like any other attribute, and have no effect.
            At::Pil4dfs(Some(fd)) if !ACL_XATTRS.contains(&name) => {
                fsetxattr(fd, name, value, XattrFlags::empty())
            }
            At::Pil4dfs(_) => Err(Errno::OPNOTSUPP),
        }
    }

    fn remove(&self, name: &[u8]) -> rustix::io::Result<()> {
        match &self.at {
            At::File(fd) => fremovexattr(fd, name),
            At::Entry(dir, entry) => lremovexattr(&*path_of(*dir, entry), name),
            At::Pil4dfs(_) => Err(Errno::OPNOTSUPP),
        }
    }

    /// Reads the attributes that pass the filter; `None` where the file system does not support
    /// any.
    pub fn read(&self) -> Result<Option<Xattrs>> {
        self.read_all().map_err(|errno| failed(Op::GetXattrs, errno))
    }

    fn read_all(&self) -> rustix::io::Result<Option<Xattrs>> {
        // Most entries have none, or a few short ones.
        let mut names = Vec::new();
        let listed = with_room(&mut names, 256, |room| self.list(room));
        match listed {
            Ok(length) => names.truncate(length),
            Err(Errno::OPNOTSUPP) => return Ok(None),
            Err(errno) => return Err(errno),
        }
        let mut xattrs = Xattrs::new();
        let kept = |name: &&[u8]| !name.is_empty() && self.filter.passes(name);
        for name in names.split(|byte| *byte == 0).filter(kept) {
            let mut value = Vec::new();
            match with_room(&mut value, 1024, |room| self.get(name, room)) {
                Ok(length) => value.truncate(length),
                // Removed since it was listed.
                Err(Errno::NODATA) => continue,
                Err(errno) => return Err(errno),
            }
            xattrs.insert(name.to_vec(), value);
        }
        Ok(Some(xattrs))
    }

    /// Returns the permission bits that a default access control list leaves to new entries; `None`
    /// where there is none.
    pub fn default_acl_mode(&self) -> Result<Option<u32>> {
        let mut acl = Vec::new();
        match with_room(&mut acl, 256, |room| self.get(ACL_XATTRS[1], room)) {
            Ok(length) => Ok(Some(acl::mode_of(&acl[..length]))),
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(None),
            Err(errno) => Err(failed(Op::GetXattrs, errno)),
        }
    }

    /// Sets exactly the wanted attributes among those that pass the filter. Returns false where the
    /// system refuses one of them: others are set all the same.
    pub fn write(&self, wanted: &Xattrs) -> Result<bool> {
        let now = match (self.read()?, &self.at) {
            (Some(now), _) => now,
            (None, At::Pil4dfs(_)) => Xattrs::new(),
            (None, _) => return Ok(wanted.is_empty()),
        };
        let is_stale = |name: &&Vec<u8>| !wanted.contains_key(*name) && self.filter.removes(name);
        let stale = now.keys().filter(is_stale);
        let removed = stale.map(|name| self.remove(name));
        let fresh = wanted.iter().filter(|(name, value)| now.get(*name) != Some(value));
        let set = fresh.map(|(name, value)| self.set(name, value));
        let mut all_taken = true;
        for changed in removed.chain(set) {
            match changed {
                Ok(()) | Err(Errno::NODATA) => {}
                // Attributes must fit in the inode on some file systems, and may not be that long
                // on others.
                Err(
                    Errno::OPNOTSUPP | Errno::PERM | Errno::NOSPC | Errno::RANGE | Errno::TOOBIG,
                ) => all_taken = false,
                // Labels have rules of their own, and some names exist only on one file system.
                Err(Errno::ACCESS | Errno::INVAL) if self.filter.others > XattrChoice::Own => {
                    all_taken = false;
                }
                Err(errno) => return Err(failed(Op::SetXattrs, errno)),
            }
        }
        Ok(all_taken)
    }
}

/// Returns a path to an entry of an open directory.
fn path_of(dir: BorrowedFd<'_>, name: &Name) -> CString {
    let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.to_bytes());
    CString::new(path).expect("neither digits nor a name contain NUL")
}

/// Calls with a buffer of `first` bytes, and where that is too small again with the largest that
/// may be needed.
fn with_room(
    buffer: &mut Vec<u8>,
    first: usize,
    mut call: impl FnMut(&mut [u8]) -> rustix::io::Result<usize>,
) -> rustix::io::Result<usize> {
    buffer.resize(first, 0);
    match call(buffer) {
        Err(Errno::RANGE) => {
            buffer.resize(BYTES_MAX, 0);
            call(buffer)
        }
        done => done,
    }
}
