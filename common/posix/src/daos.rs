//! Trees on DAOS, which dfuse shows or DAOS's `libpil4dfs` gives access to past the kernel.
//!
//! dfuse mounts with `fsname=dfuse,subtype=daos` (`dfuse_core.c`), so the kernel calls the type
//! `fuse.daos`. A file is stored in chunks, each on one DAOS target, so pieces of a copy are whole
//! chunks: `st_blksize` is their size. Unsupported operations are noticed by their errors, as with
//! every file system; only those that would fail again and again, such as copying within the
//! kernel, are not tried.

use std::os::fd::OwnedFd;

use rustix::fs::fstat;

use super::pil4dfs::is_made_up;
use host::mounts;
use types::attributes::keep::{XattrChoice, XattrFilter};
use types::file_systems::FUSE;

/// Default chunk size in bytes, where the file system does not tell it (`DFS_DEFAULT_CHUNK_SIZE`).
const CHUNK_BYTES: u64 = 1 << 20;

/// Smallest chunk size in bytes: a smaller `st_blksize` is the size of pages, not of chunks.
const CHUNK_BYTES_MIN: u64 = 64 << 10;

/// Properties of a tree on DAOS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Daos {
    pub reached: Reached,
    /// Chunk size of files in bytes.
    pub chunk_bytes: u64,
}

/// Access path to a tree on DAOS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    /// Access through the kernel and dfuse.
    Dfuse,
    /// Access through a preloaded library that replaces libc's functions.
    PastKernel,
}

impl Daos {
    /// Returns the properties of the tree with that root, on a file system of that type; `None`
    /// where it is not on DAOS.
    pub fn of(root: &OwnedFd, system: Option<u64>) -> Option<Self> {
        let stat = fstat(root).ok()?;
        let reached = if is_made_up(root) {
            Reached::PastKernel
        // Only for FUSE is the table of mounts worth reading.
        } else if system == Some(FUSE) && mounts::is_dfuse(stat.st_dev) {
            Reached::Dfuse
        } else {
            return None;
        };
        Some(Self { reached, chunk_bytes: chunk_bytes(stat.st_blksize as u64) })
    }

    /// Returns a warning where attributes of its entries cannot be read.
    pub fn shortcoming(&self, filter: XattrFilter) -> Option<&'static str> {
        (self.reached == Reached::PastKernel && filter.others != XattrChoice::None).then_some(
            "libpil4dfs does not tell which extended attributes there are: none is copied from DAOS; \
             without it, through dfuse, they are",
        )
    }
}

fn chunk_bytes(block_bytes: u64) -> u64 {
    if block_bytes >= CHUNK_BYTES_MIN { block_bytes } else { CHUNK_BYTES }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_what_the_root_says_unless_that_is_a_page() {
        assert_eq!(chunk_bytes(4096), 1 << 20);
        assert_eq!(chunk_bytes(4 << 20), 4 << 20);
    }

    #[test]
    fn this_machine_s_own_file_system_is_not_on_daos() {
        let here =
            rustix::fs::open(c".", super::super::calls::DIRECTORY, rustix::fs::Mode::empty());
        let here = here.unwrap();
        assert_eq!(Daos::of(&here, super::super::kind_of_system(&here)), None);
    }
}
