//! Removing directories that nothing is in any more, and what is done with those that stay.

use std::sync::Arc;

use super::{RemoveJob, Stamp, is_gone, unless_replaced};
use crate::walk::account::Gathered;
use crate::walk::packed::Block;
use sched::crew::Crew;
use store::Dir;
use types::entry::{Attributes, Kind, Times};
use types::error::{Cause, Error, Op, Result};
use types::path::RelPath;

/// The directory that was opened last: others in it are likely to follow.
type Opened = Option<(u32, RelPath, Arc<dyn Dir>)>;

impl RemoveJob<'_> {
    /// Removes directories in the order in which they come, and restores those that stay.
    pub(super) fn remove_directories(
        &self,
        blocks: &[Block<Stamp>],
        hand: &mut Gathered,
        crew: &Crew<'_, Self>,
    ) {
        let mut opened = None;
        for ((root, below), stamp) in blocks.iter().flat_map(Block::iter) {
            if self.remove_directory((root, &below), &mut opened, hand, crew) {
                continue;
            }
            hand.tally.synced.non_empty_directories += 1;
            if let Some((atime, mtime)) = stamp.filter(|_| !self.options.dry_run)
                && let Err(error) = self.restore(root, &below, Times { atime, mtime })
            {
                self.fail((root, &below), error, hand, crew);
            }
        }
    }

    /// False where it stays.
    fn remove_directory(
        &self,
        at: (u32, &[u8]),
        opened: &mut Opened,
        hand: &mut Gathered,
        crew: &Crew<'_, Self>,
    ) -> bool {
        if self.kept.has(at.0, at.1) {
            return false;
        }
        if self.options.dry_run {
            self.removed(at, Kind::Directory, hand, crew);
            return true;
        }
        match self.remove_empty(at, opened, hand, crew) {
            Ok(true) => self.removed(at, Kind::Directory, hand, crew),
            Ok(false) => {}
            // What is in a directory that is named need not be.
            Err(error) if self.named.is_some() && is_full(&error) => {
                self.kept.add(at.0, at.1);
                return false;
            }
            Err(error) => {
                let is_gone = is_gone(&error);
                self.fail(at, error, hand, crew);
                return is_gone;
            }
        }
        true
    }

    /// False where it waits for other objects.
    fn remove_empty(
        &self,
        (root, below): (u32, &[u8]),
        opened: &mut Opened,
        hand: &mut Gathered,
        crew: &Crew<'_, Self>,
    ) -> Result<bool> {
        let torn = || Op::Remove.errno(libc::EINVAL);
        let path = RelPath::checked(below).ok_or_else(torn)?;
        let store = &*self.root(root).store;
        if store.holds_objects() {
            let keys = store.open_dir(&path)?.keys_of(None)?.unwrap_or_default();
            self.doom((root, below), Kind::Directory, keys, hand, crew);
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

    /// Gives a directory that stays the times that it had.
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
