//! Copying a FIFO, socket or device: another one is made, neither is opened.

use super::policy::Plain;
use super::{CopyHand, CopyJob, policy};
use crate::walk::{Visit, Visited};
use sched::crew::Crew;
use store::NewSpecial;
use types::entry::Kind;
use types::error::{At, Side, Trouble};

impl CopyJob<'_> {
    /// Whether the operator wants entries of that kind at the target, and it can have them.
    pub(super) fn is_made(&self, entry: &Visit<'_>, kind: Kind) -> bool {
        self.options.keep.makes(kind) && !self.target(entry.place).holds_objects()
    }

    pub(super) fn copy_special(
        &self,
        entry: &Visit<'_>,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) -> Result<Visited, Trouble> {
        let metadata = entry.dir.stat(entry.name).at(Side::Source)?;
        if !metadata.kind.is_special() {
            return self.visit_kind(entry, metadata.kind, hand, crew);
        }
        // Who makes a target equal has asked before.
        if self.options.sync.is_none() && self.leaves_for_links(entry, &metadata, None, hand) {
            return Ok(Visited::NOTHING_MOVED);
        }
        let device = entry.dir.device_number(entry.name).at(Side::Source)?;
        let xattrs = self.xattrs_of(|| entry.dir.xattrs(Some(entry.name)))?;
        hand.gathered.meet(&metadata);
        let target = entry.place.target_dir(self.target(entry.place)).at(Side::Target)?;
        let replaced = self.replaced(entry, &*target, &metadata)?;
        self.plan_line("create special file", entry.place, entry.name.to_bytes(), hand, crew);
        let plain = Plain::of_entry(self.options, &metadata, &*target).at(Side::Target)?;
        let special = NewSpecial {
            kind: metadata.kind,
            device,
            staged: &self.staged_name(),
            name: self.target_name(entry.place, entry.name),
            attributes: policy::of_file(self.options, &metadata, xattrs, replaced.as_ref(), plain),
        };
        let kept = match target.make_special(&special) {
            Err(error) if error.cause.is_unsupported() => {
                hand.gathered.tally.special_files_skipped += 1;
                return Ok(Visited::NOTHING_MOVED);
            }
            made => made.at(Side::Target)?,
        };
        self.copied((entry.place, entry.name), metadata.kind, kept, hand, crew);
        Ok(Visited::NOTHING_MOVED)
    }
}
