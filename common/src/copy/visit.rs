//! Meeting an entry of the source: which way it takes, by what the listing or a look says it is.

use super::{CopyHand, CopyJob};
use crate::base::error::{At, Cause, Op, Side, Trouble};
use crate::model::entry::{Hint, Kind};
use crate::sched::crew::Crew;
use crate::store::posix::Symlinks;
use crate::walk::{self, Visit, Visited};

impl CopyJob<'_> {
    pub(super) fn visit_kind(
        &self,
        entry: &Visit<'_>,
        kind: Kind,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) -> Result<Visited, Trouble> {
        match kind {
            Kind::File => self.copy_file(entry, hand, crew),
            Kind::Symlink => self.copy_link(entry, hand, crew),
            Kind::Directory => Ok(Visited::Directory),
            special if self.is_made(entry, special) => self.copy_special(entry, hand, crew),
            special => Ok(Self::leave_out(special, hand)),
        }
    }

    pub(super) fn leave_out(kind: Kind, hand: &mut CopyHand) -> Visited {
        hand.gathered.tally.found.count(kind);
        hand.gathered.tally.examined += 1;
        hand.gathered.tally.skipped += 1;
        Visited::NOTHING_MOVED
    }

    /// An entry of the source, by what the listing says it is.
    pub(super) fn visit_source(
        &self,
        entry: &Visit<'_>,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) -> Result<Visited, Trouble> {
        if let Some(rules) = &self.options.sync {
            return self.sync_entry(rules, entry, hand, crew);
        }
        match (entry.hint, self.options.symlinks) {
            (Hint::File | Hint::Object(_) | Hint::Recorded(_), _) => {
                self.visit_kind(entry, Kind::File, hand, crew)
            }
            (Hint::Directory, _) => Ok(Visited::Directory),
            (Hint::Symlink, Symlinks::Keep) => self.visit_kind(entry, Kind::Symlink, hand, crew),
            (Hint::Symlink | Hint::Other | Hint::Unknown, _) => {
                self.visit_after_look(entry, hand, crew)
            }
        }
    }

    /// Looks at what the listing did not tell, or what a followed link points to.
    pub(super) fn visit_after_look(
        &self,
        entry: &Visit<'_>,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) -> Result<Visited, Trouble> {
        let metadata = walk::look(entry, &*self.root(entry.place).source, self.options.symlinks)
            .at(Side::Source)?;
        if metadata.kind == Kind::Directory && entry.hint == Hint::Symlink {
            self.refuse_target(entry)?;
        }
        self.visit_kind(entry, metadata.kind, hand, crew)
    }

    /// A followed link may lead to where this job writes: what it makes there would be copied again,
    /// and so on.
    pub(super) fn refuse_target(&self, entry: &Visit<'_>) -> Result<(), Trouble> {
        let reached = entry.dir.open_dir(entry.name).at(Side::Source)?;
        let targets = self.roots.iter().filter_map(|root| root.target_metadata);
        if targets.into_iter().any(|target| reached.is_below(&target)) {
            return Err(Op::Follow.failed(Cause::LeadsToTarget)).at(Side::Source);
        }
        Ok(())
    }
}
