//! The walk of a deletion: each directory and entry that it meets is deleted, recorded or left.

use super::{DeleteJob, Met, Mode, is_gone};
use std::sync::{Arc, PoisonError};

use crate::copy::{OWNER_LOOK, widen_to_look};
use crate::walk::account::{Account, Gathered};
use crate::walk::dir_ref::{DirRef, Rights, Trees};
use crate::walk::selection::Selection;
use crate::walk::{Skip, Visit, Visited, Visitor};
use sched::context::TaskContext;
use store::{Dir, Store};
use types::entry::Metadata;
use types::error::{At, Error, Side, SideError};
use types::path::{self};

impl Visitor for DeleteJob<'_> {
    fn account(&self) -> &Account {
        &self.account
    }

    fn source(&self, root: u32) -> &dyn Store {
        &*self.roots[root as usize].source
    }

    fn target(&self, root: u32) -> Option<&dyn Store> {
        Some(self.target_store(root))
    }

    fn selection(&self) -> &Selection {
        self.selection
    }

    fn enter(
        &self,
        dir_ref: &Arc<DirRef>,
        metadata: &Metadata,
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) -> Result<(), Skip> {
        let entry = (dir_ref.root(), dir_ref.path().as_bytes().to_vec());
        let dir = dir_ref.target_dir(self.target_store(dir_ref.root()));
        let stays = dir.and_then(|dir| self.must_stay(dir_ref.root(), &*dir, metadata));
        match stays.at(Side::Target) {
            Ok(false) => {}
            stays => {
                if let Err(side_error) = stays {
                    self.fail(
                        dir_ref.root(),
                        dir_ref.path().as_bytes(),
                        side_error,
                        worker,
                        context,
                    );
                }
                self.lock_kept().insert(entry.clone());
            }
        }
        let is_kept = self.lock_kept().contains(&entry);
        let depth = dir_ref.path().depth() as u32;
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        // The mode to restore is the one from before this job widened it.
        let mode = self.lock_widened().remove(&entry).unwrap_or(metadata.mode);
        met.entry(depth).or_default().push(Met { directory: entry, mode, is_pruned: false });
        if is_kept { Err(Skip) } else { Ok(()) }
    }

    /// Gains permission to list a directory that this user owns; the mode is restored if the
    /// directory stays.
    fn let_in(&self, dir_ref: &DirRef, dir: &dyn Dir) -> Result<Rights, Error> {
        let is_plan = matches!(self.mode, Mode::Plan(_));
        if self.options.user.is_superuser || is_plan || dir_ref.trees() != Trees::TargetOnly {
            return Ok(Rights::AsBefore);
        }
        let metadata = dir.metadata()?;
        if metadata.mode & OWNER_LOOK == OWNER_LOOK
            || self.must_stay(dir_ref.root(), dir, &metadata) != Ok(false)
        {
            return Ok(Rights::AsBefore);
        }
        let Some(mode) = widen_to_look(dir, self.options.user.is_superuser)? else {
            return Ok(Rights::AsBefore);
        };
        self.lock_widened().insert((dir_ref.root(), dir_ref.path().as_bytes().to_vec()), mode);
        Ok(Rights::Gained)
    }

    fn left_out(&self, dir_ref: &DirRef) {
        if dir_ref.trees() == Trees::TargetOnly {
            self.lock_kept().insert((dir_ref.root(), dir_ref.path().as_bytes().to_vec()));
        }
    }

    fn visit(
        &self,
        entry: &Visit<'_>,
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) -> Visited {
        self.delete_entry(entry, worker, context).unwrap_or_else(|side_error| {
            let below = path::join(entry.dir_ref.path().as_bytes(), entry.name.to_bytes());
            self.fail(entry.dir_ref.root(), &below, side_error, worker, context);
            Visited::NOTHING_MOVED
        })
    }

    /// Reports a key that cannot be deleted by name, so that its directory stays too.
    fn invalid_key(
        &self,
        dir_ref: &DirRef,
        key: &[u8],
        side_error: SideError,
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) {
        self.left_out(dir_ref);
        if self.mode == Mode::Count {
            return;
        }
        self.fail(
            dir_ref.root(),
            &path::join(dir_ref.path().as_bytes(), key),
            side_error,
            worker,
            context,
        );
    }

    fn unreadable(
        &self,
        dir_ref: &DirRef,
        side_error: SideError,
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) {
        if !is_gone(&side_error) {
            self.fail(dir_ref.root(), dir_ref.path().as_bytes(), side_error, worker, context);
        }
    }
}
