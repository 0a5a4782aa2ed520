//! Removal of entries of the source that were copied: a move.
//!
//! An entry is inspected right before it is removed, through the handle of its directory, and stays
//! unless it is what was read.

use serde::{Deserialize, Serialize};

use super::directories::Opened;
use super::{RemoveJob, Stamp, unless_replaced};
use crate::walk::account::Gathered;
use crate::walk::dir_ref::DirRef;
use crate::walk::packed::{Block, Packed};
use sched::context::TaskContext;
use sched::job::Job;
use types::entry::{Kind, Metadata, Version};
use types::error::{Cause, Op, Result};
use types::outcome::event::Event;
use types::path::{RelPath, parent};

/// An entry of the source as it was when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    kind: Kind,
    version: Version,
    links: u64,
}

impl Copied {
    /// Returns the state of an entry with that metadata.
    pub(crate) fn of(read: &Metadata) -> Self {
        Self { kind: read.kind, version: read.version(), links: read.links }
    }

    /// Returns the inode number of the entry.
    pub(crate) fn inode(&self) -> u64 {
        self.version.identity.inode
    }

    /// True if the entry is still what was read.
    fn is_unchanged(&self, now: &Metadata) -> bool {
        let Version { identity, ctime } = self.version;
        // The removal of another hard link of the file changes the ctime, too.
        let has_fewer_links = now.links < self.links;
        now.kind == self.kind
            && now.identity() == identity
            && (now.ctime == ctime || has_fewer_links)
    }
}

impl RemoveJob<'_> {
    /// Records a directory that was copied.
    pub(crate) fn directory_copied(&self, dir_ref: &DirRef) {
        self.add_directory(dir_ref, Stamp::None);
    }

    /// True if the directory of a root is removed itself, besides its contents.
    pub(crate) fn removes_itself(&self, root: u32) -> bool {
        self.root(root).goes_itself
    }

    /// Records that an entry of a directory stays.
    pub(crate) fn entry_stays(&self, dir_ref: &DirRef) {
        self.retained.add(dir_ref.root(), dir_ref.path().as_bytes());
    }

    /// Records that these entries stay.
    pub(crate) fn entries_stay(&self, entries: &Packed<Copied>) {
        for ((root, below), _) in entries.iter() {
            self.retained.add(root, parent(&below).unwrap_or_default());
        }
    }

    /// Removes entries that were copied, if they are unchanged since.
    pub(crate) fn remove_copied<J: Job<Event = Event>>(
        &self,
        blocks: &[Block<Copied>],
        worker: &mut Gathered,
        context: &TaskContext<'_, J>,
    ) {
        let mut opened = None;
        for ((root, below), copied) in blocks.iter().flat_map(Block::iter) {
            match self.remove_unchanged((root, &below), copied, &mut opened) {
                Ok(()) => self.removed((root, &below), copied.kind, worker, context),
                Err(error) => self.fail((root, &below), error, worker, context),
            }
        }
    }

    /// Removes an entry. An object is identified by its key and ETag, of which its inode number is
    /// a hash.
    fn remove_unchanged(
        &self,
        (root, below): (u32, &[u8]),
        copied: Copied,
        opened: &mut Opened,
    ) -> Result<()> {
        let path = RelPath::checked(below).ok_or(Op::Remove.errno(libc::EINVAL))?;
        let (dir, name) = self.parent(root, &path, opened)?;
        if self.root(root).store.holds_objects() {
            return dir.remove_unchanged(&name, copied.kind, copied.inode());
        }
        if !copied.is_unchanged(&dir.stat(&name)?) {
            return Err(Op::Remove.failed(Cause::Changed));
        }
        dir.remove(&name, copied.kind).map_err(unless_replaced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::entry::Time;
    use types::outcome::difference::Fields;

    #[test]
    fn an_entry_is_what_was_read_until_anything_of_it_changes() {
        let time = Time { seconds: 7, nanoseconds: 1 };
        let read = Metadata {
            kind: Kind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size_bytes: 7,
            allocated_bytes: 7,
            atime: time,
            mtime: time,
            ctime: time,
            links: 2,
            device: 1,
            inode: 9,
            known: Fields::ALL,
        };
        let later = Time { seconds: 8, ..time };
        let copied = Copied::of(&read);
        let unlinked = Metadata { links: 1, ctime: later, ..read };
        for same in [read, Metadata { atime: later, device: 2, ..read }, unlinked] {
            assert!(copied.is_unchanged(&same), "{same:?}");
        }
        for other in [
            Metadata { ctime: later, ..read },
            Metadata { mtime: later, ..read },
            Metadata { mtime: later, ..unlinked },
            Metadata { size_bytes: 8, ..unlinked },
            Metadata { inode: 8, ..read },
            Metadata { kind: Kind::Symlink, ..read },
        ] {
            assert!(!copied.is_unchanged(&other), "{other:?}");
        }
    }
}
