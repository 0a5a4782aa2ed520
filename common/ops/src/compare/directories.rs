//! Comparison of directories themselves: those on both sides, and those of a side whose store holds
//! no directories.

use std::sync::Arc;

use super::{CompareHand, CompareJob};
use crate::walk::place::{Place, Trees};
use sched::crew::Crew;
use store::Dir;
use types::entry::{Hint, Kind, Metadata};
use types::error::{At, Cause, Error, Op, Side, Trouble};
use types::outcome::difference::{Findings, Presence};

impl CompareJob<'_> {
    /// Compares a directory of the source with its counterpart. If that is missing or is no
    /// directory, everything below is in the source only.
    pub(super) fn enter_source(
        &self,
        place: &Place,
        source: &Metadata,
        hand: &mut CompareHand,
        crew: &Crew<'_, Self>,
    ) -> Result<(), Trouble> {
        let opened = match place.trees() {
            Trees::SourceOnly => Err(Op::Open.errno(libc::ENOENT)),
            _ => self.open_counterpart(place),
        };
        let findings = match opened {
            Ok(target_dir) => {
                return self.compare_directories(place, source, &*target_dir, hand, crew);
            }
            Err(error) if error.cause.is_vanished() && self.keeps_none(Side::Target) => {
                hand.gathered.tally.compared.directories_not_compared += 1;
                place.set_trees(Trees::SourceOnly);
                return Ok(());
            }
            Err(error) if error.cause.is_vanished() => Findings::only(Presence::OnlySource),
            Err(Error { cause: Cause::System(libc::ENOTDIR | libc::ELOOP), .. }) => {
                return self.compare_with_other(place, source, hand, crew);
            }
            Err(error) => return Err(error).at(Side::Target),
        };
        place.set_trees(Trees::SourceOnly);
        self.judge(place, c"", (Some(source), None), findings, hand, crew);
        Ok(())
    }

    /// Compares a directory with the target's entry of another type.
    fn compare_with_other(
        &self,
        place: &Place,
        source: &Metadata,
        hand: &mut CompareHand,
        crew: &Crew<'_, Self>,
    ) -> Result<(), Trouble> {
        place.set_trees(Trees::SourceOnly);
        let Some((parent, name)) = place.path().split_last() else {
            return Err(Op::Open.errno(libc::ENOTDIR)).at(Side::Target);
        };
        let above = place.target_parent(&*self.root.target, &parent).at(Side::Target)?;
        let target = above.peek(&name, Hint::Unknown).at(Side::Target)?;
        let mut pair = self.pair(*source, target);
        if self.xattrs.concerns(target.kind) {
            let source_dir = place.source_dir(&*self.root.source).at(Side::Source)?;
            self.compare_xattrs(&mut pair, (&*source_dir, None), (&*above, Some(&name)))?;
        }
        let both = (Some(source), Some(&target));
        self.judge(place, c"", both, pair.findings(), hand, crew);
        Ok(())
    }

    /// Opens the target's directory. In a store of objects every directory can be opened, even one
    /// that does not exist, so it is looked up in its parent first.
    pub(super) fn open_counterpart(&self, place: &Place) -> Result<Arc<dyn Dir>, Error> {
        let target = &*self.root.target;
        if let Some((parent, name)) = place.path().split_last()
            && target.holds_objects()
        {
            let above = place.target_parent(target, &parent)?;
            if above.peek(&name, Hint::Unknown)?.kind != Kind::Directory {
                return Err(Op::Open.errno(libc::ENOTDIR));
            }
        }
        place.target_dir(target)
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
        place: &Place,
        source: &Metadata,
        target_dir: &dyn Dir,
        hand: &mut CompareHand,
        crew: &Crew<'_, Self>,
    ) -> Result<(), Trouble> {
        let target = target_dir.metadata().at(Side::Target)?;
        self.watch_over(Side::Target).inspect(|watch| watch.add(Side::Target, place, &target));
        let mut pair = self.pair(*source, target);
        let source_dir = place.source_dir(&*self.root.source).at(Side::Source)?;
        self.compare_xattrs(&mut pair, (&*source_dir, None), (target_dir, None))?;
        let both = (Some(source), Some(&target));
        self.judge(place, c"", both, pair.findings(), hand, crew);
        Ok(())
    }
}
