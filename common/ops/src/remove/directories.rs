//! Removal of empty directories, and restoration of those that stay.

use std::sync::Arc;

use super::{RemoveJob, Stamp, is_gone, unless_replaced};
use crate::walk::account::Gathered;
use crate::walk::packed::Block;
use sched::context::TaskContext;
use store::Dir;
use types::entry::{Attributes, Kind, Times};
use types::error::{Cause, Error, Op, Result};
use types::path::RelPath;

/// The directory that was opened last, whose other entries are likely to follow.
type Opened = Option<(u32, RelPath, Arc<dyn Dir>)>;

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
            worker.tally.synced.non_empty_directories += 1;
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
        if self.retained.has(at.0, at.1) {
            return false;
        }
        match self.remove_empty(at, opened, worker, context) {
            Ok(true) => self.removed(at, Kind::Directory, worker, context),
            Ok(false) => {}
            // A named directory may have entries that are not named.
            Err(error) if self.named.is_some() && is_full(&error) => {
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
        if store.holds_objects()
            && let Some(keys) = store.open_dir(&path)?.keys_of(None)?
        {
            self.queue_objects((root, below), Kind::Directory, keys, worker, context);
            return Ok(false);
        }
        let Some((parent, name)) = path.split_last() else {
            return self.root(root).remove().map(|()| true).map_err(unless_replaced);
        };
        let dir = match opened {
            Some((of, above, dir)) if *of == root && *above == parent => Arc::clone(dir),
            _ => store.open_dir(&parent).map_err(unless_replaced)?,
        };
        *opened = Some((root, parent, Arc::clone(&dir)));
        dir.remove(&name, Kind::Directory).map(|()| true).map_err(unless_replaced)
    }

    /// Restores the timestamps of a directory that stays.
    fn restore(&self, root: u32, below: &[u8], times: Times) -> Result<()> {
        let path = RelPath::checked(below).ok_or(Op::SetTimes.errno(libc::EINVAL))?;
        let dir = self.root(root).store.open_dir(&path)?;
        let attributes = Attributes { times: Some(times), ..Attributes::NONE.clone() };
        dir.set_attributes(&attributes).map(drop)
    }
}

fn is_full(error: &Error) -> bool {
    matches!(error.cause, Cause::System(libc::ENOTEMPTY | libc::EEXIST))
}
