//! Comparison of directories themselves: those on both sides, and those of a side whose store holds
//! no directories.

use std::sync::Arc;

use super::{CompareJob, CompareWorker};
use crate::walk::dir_ref::{DirRef, Trees};
use sched::context::TaskContext;
use store::Dir;
use types::entry::{Hint, Kind, Metadata};
use types::error::{At, Cause, Error, Op, Side, SideError};
use types::outcome::difference::{Findings, Presence};

impl CompareJob<'_> {
    /// Compares a directory of the source with its counterpart. If that is missing or is no
    /// directory, everything below is in the source only.
    pub(super) fn enter_source(
        &self,
        dir_ref: &DirRef,
        source: &Metadata,
        worker: &mut CompareWorker,
        context: &TaskContext<'_, Self>,
    ) -> Result<(), SideError> {
        let opened = match dir_ref.trees() {
            Trees::SourceOnly => Err(Op::Open.errno(libc::ENOENT)),
            _ => self.open_counterpart(dir_ref),
        };
        let findings = match opened {
            Ok(target_dir) => {
                return self.compare_directories(dir_ref, source, &*target_dir, worker, context);
            }
            Err(error) if error.cause.is_vanished() && self.keeps_none(Side::Target) => {
                worker.gathered.tally.compared.directories_not_compared += 1;
                dir_ref.set_trees(Trees::SourceOnly);
                return Ok(());
            }
            Err(error) if error.cause.is_vanished() => Findings::only(Presence::OnlySource),
            Err(Error { cause: Cause::System(libc::ENOTDIR | libc::ELOOP), .. }) => {
                return self.compare_with_other(dir_ref, source, worker, context);
            }
            Err(error) => return Err(error).at(Side::Target),
        };
        dir_ref.set_trees(Trees::SourceOnly);
        self.give_or_hold(dir_ref, c"", (Some(source), None), findings, worker, context);
        Ok(())
    }

    /// Compares a directory with the target's entry of another type.
    fn compare_with_other(
        &self,
        dir_ref: &DirRef,
        source: &Metadata,
        worker: &mut CompareWorker,
        context: &TaskContext<'_, Self>,
    ) -> Result<(), SideError> {
        dir_ref.set_trees(Trees::SourceOnly);
        let Some((parent, name)) = dir_ref.path().split_last() else {
            return Err(Op::Open.errno(libc::ENOTDIR)).at(Side::Target);
        };
        let above = dir_ref.target_parent(&*self.root.target, &parent).at(Side::Target)?;
        let target = above.peek(&name, Hint::Unknown).at(Side::Target)?;
        let mut pair = self.pair(*source, target);
        if self.xattrs.concerns(target.kind) {
            let source_dir = dir_ref.source_dir(&*self.root.source).at(Side::Source)?;
            self.compare_xattrs(&mut pair, (&*source_dir, None), (&*above, Some(&name)))?;
        }
        let both = (Some(source), Some(&target));
        self.give_or_hold(dir_ref, c"", both, pair.findings(), worker, context);
        Ok(())
    }

    /// Opens the target's directory. In a store of objects every directory can be opened, even one
    /// that does not exist, so it is looked up in its parent first.
    pub(super) fn open_counterpart(&self, dir_ref: &DirRef) -> Result<Arc<dyn Dir>, Error> {
        let target = &*self.root.target;
        if let Some((parent, name)) = dir_ref.path().split_last()
            && target.holds_objects()
        {
            let above = dir_ref.target_parent(target, &parent)?;
            if above.peek(&name, Hint::Unknown)?.kind != Kind::Directory {
                return Err(Op::Open.errno(libc::ENOTDIR));
            }
        }
        dir_ref.target_dir(target)
    }

    /// Returns whether that side's store holds no directories while the other one does, so that a
    /// missing directory is no difference.
    pub(super) fn keeps_none(&self, side: Side) -> bool {
        let (here, there) = match side {
            Side::Source => (&self.root.source, &self.root.target),
            Side::Target => (&self.root.target, &self.root.source),
        };
        !here.keeps_directories() && there.keeps_directories()
    }

    fn compare_directories(
        &self,
        dir_ref: &DirRef,
        source: &Metadata,
        target_dir: &dyn Dir,
        worker: &mut CompareWorker,
        context: &TaskContext<'_, Self>,
    ) -> Result<(), SideError> {
        let target = target_dir.metadata().at(Side::Target)?;
        self.watch_over(Side::Target).inspect(|watch| watch.add(Side::Target, dir_ref, &target));
        let mut pair = self.pair(*source, target);
        let source_dir = dir_ref.source_dir(&*self.root.source).at(Side::Source)?;
        self.compare_xattrs(&mut pair, (&*source_dir, None), (target_dir, None))?;
        let both = (Some(source), Some(&target));
        self.give_or_hold(dir_ref, c"", both, pair.findings(), worker, context);
        Ok(())
    }
}
