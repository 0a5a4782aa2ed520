//! Removal of empty directories, and restoration of those that stay.

use std::ffi::CString;
use std::sync::Arc;

use super::waiting::QueuedObject;
use super::{RemoveJob, Stamp, is_gone, unless_replaced};
use crate::walk::account::Gathered;
use crate::walk::packed::Block;
use sched::context::TaskContext;
use store::Dir;
use types::entry::{Attributes, Kind, Times};
use types::error::{Cause, Error, Op, Result};
use types::path::RelPath;

/// The directory that was opened last, whose other entries are likely to follow.
pub(super) type Opened = Option<(u32, RelPath, Arc<dyn Dir>)>;

impl RemoveJob<'_> {
    /// Removes directories in the given order, and restores the timestamps of those that stay.
    pub(super) fn remove_directories(
        &self,
        blocks: &[Block<Stamp>],
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) {
        let mut opened = None;
        for ((root, below), stamp) in blocks.iter().flat_map(Block::iter) {
            if self.remove_directory((root, &below), &mut opened, worker, context) {
                continue;
            }
            let left = if self.options.moves {
                &mut worker.tally.source_directories_left
            } else {
                &mut worker.tally.synced.non_empty_directories
            };
            *left += 1;
            if let Some((atime, mtime)) = stamp
                && let Err(error) = self.restore(root, &below, Times { atime, mtime })
            {
                self.fail((root, &below), error, worker, context);
            }
        }
    }

    /// Removes a directory; returns false if it stays.
    fn remove_directory(
        &self,
        at: (u32, &[u8]),
        opened: &mut Opened,
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) -> bool {
        // In a move more may have been recorded to stay than does in the end.
        if self.retained.has(at.0, at.1) && !self.tries_all(at.0) {
            return false;
        }
        match self.remove_empty(at, opened, worker, context) {
            Ok(true) => self.removed(at, Kind::Directory, worker, context),
            Ok(false) => {}
            Err(error) if self.is_expected(at, &error) => {
                self.retained.add(at.0, at.1);
                return false;
            }
            Err(error) => {
                let is_gone = is_gone(&error);
                self.fail(at, error, worker, context);
                return is_gone;
            }
        }
        true
    }

    /// True if an attempt shows best whether a directory is empty.
    fn tries_all(&self, root: u32) -> bool {
        let store = &*self.root(root).store;
        self.options.moves && !store.discards_writes() && !store.holds_objects()
    }

    /// True if it is no failure that a directory stays.
    fn is_expected(&self, (root, below): (u32, &[u8]), error: &Error) -> bool {
        if self.options.moves {
            let is_known = || self.named.is_some() || self.retained.has(root, below);
            return error.cause == Cause::MountPoint || is_full(error) && is_known();
        }
        // A named directory may have entries that are not named.
        self.named.is_some() && is_full(error)
    }

    /// Returns the directory of an entry, and its name there.
    pub(super) fn parent(
        &self,
        root: u32,
        path: &RelPath,
        opened: &mut Opened,
    ) -> Result<(Arc<dyn Dir>, CString)> {
        let (parent, name) = path.split_last().ok_or(Op::Remove.errno(libc::EINVAL))?;
        let dir = match opened {
            Some((of, above, dir)) if *of == root && *above == parent => Arc::clone(dir),
            _ => self.root(root).store.open_dir(&parent).map_err(unless_replaced)?,
        };
        *opened = Some((root, parent, Arc::clone(&dir)));
        Ok((dir, name))
    }

    /// Removes an empty directory; returns false if its objects wait for a full request.
    fn remove_empty(
        &self,
        (root, below): (u32, &[u8]),
        opened: &mut Opened,
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) -> Result<bool> {
        let torn = || Op::Remove.errno(libc::EINVAL);
        let path = RelPath::checked(below).ok_or_else(torn)?;
        let store = &*self.root(root).store;
        if store.holds_objects() {
            let dir = store.open_dir(&path)?;
            if self.may_be_full() && !store.discards_writes() && !is_empty(&*dir)? {
                return Err(Op::Remove.errno(libc::ENOTEMPTY));
            }
            if let Some(keys) = dir.keys_of(None)? {
                self.remove_marker((root, below), keys, worker, context);
                return Ok(false);
            }
        }
        if path.is_root() {
            return self.root(root).remove().map(|()| true).map_err(unless_replaced);
        }
        let (dir, name) = self.parent(root, &path, opened)?;
        dir.remove(&name, Kind::Directory).map(|()| true).map_err(unless_replaced)
    }

    /// True if a directory of objects may have entries that this job does not remove. No error
    /// tells that, unlike that of rmdir(2), so each is listed before its own object is removed.
    fn may_be_full(&self) -> bool {
        self.options.moves || self.named.is_some()
    }

    /// Removes the object of a directory; at once, where the directory above is listed next and
    /// must not have this one any more.
    fn remove_marker(
        &self,
        (root, below): (u32, &[u8]),
        keys: Vec<String>,
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) {
        if self.may_be_full() {
            let object: Vec<_> = QueuedObject::all_of(below, Kind::Directory, keys).collect();
            self.remove_objects(root, &object, worker, context);
        } else {
            self.queue_objects((root, below), Kind::Directory, keys, worker, context);
        }
    }

    /// Restores the timestamps of a directory that stays.
    fn restore(&self, root: u32, below: &[u8], times: Times) -> Result<()> {
        let path = RelPath::checked(below).ok_or(Op::SetTimes.errno(libc::EINVAL))?;
        let dir = self.root(root).store.open_dir(&path)?;
        let attributes = Attributes { times: Some(times), ..Attributes::NONE.clone() };
        dir.set_attributes(&attributes).map(drop)
    }
}

/// True if a directory of objects has no entries besides its own object.
fn is_empty(dir: &dyn Dir) -> Result<bool> {
    let mut is_empty = true;
    dir.list(&mut |_, _| is_empty = false)?;
    Ok(is_empty)
}

fn is_full(error: &Error) -> bool {
    matches!(error.cause, Cause::System(libc::ENOTEMPTY | libc::EEXIST))
}
