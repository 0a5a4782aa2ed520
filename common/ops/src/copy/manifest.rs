//! What is recorded of the files that are at the target: size, time of change and checksum, so that they can be
//! checked later without the source.

use super::{CopyHand, CopyJob};
use crate::compare::content::sum_extent;
use crate::walk::place::Place;
use crate::walk::{Visit, Visited};
use lists::shared_part::SharedPart;
use sched::crew::Crew;
use types::content::chunk::Extent;
use types::content::crc64::Crc64;
use types::entry::{Hint, Kind, Metadata};
use types::error::{At, Cause, Op, Side, Trouble};
use types::listed::record::Record;
use types::path::{self, Name};

impl<'c> CopyJob<'c> {
    /// What is at the target is recorded there.
    #[must_use]
    pub fn with_manifest(mut self, manifest: &'c SharedPart) -> Self {
        let is_wanted = manifest.is_wanted() && !self.options.dry_run;
        self.manifest = is_wanted.then_some(manifest);
        self
    }

    /// A file is at the target as the source has it. Where its checksum is not known, because it was not copied,
    /// it is read.
    pub(super) fn record(
        &self,
        (place, name): (&Place, &Name),
        metadata: &Metadata,
        crc64: Option<Crc64>,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) {
        let Some(manifest) = self.manifest else { return };
        let summed = match crc64 {
            Some(crc64) => Ok(crc64),
            None => self.sum_at_target(place, name, metadata.size_bytes, hand),
        };
        match summed {
            Ok(crc64) => {
                self.push_row(place, name, metadata, crc64, hand);
                if hand.rows.are_enough() {
                    manifest.append(&mut hand.rows);
                }
            }
            Err(trouble) => self.fail(place, name.to_bytes(), trouble, hand, crew),
        }
    }

    /// Records a file that stays at the target as it is, be it one of the source's or not.
    pub(super) fn record_as_it_is(
        &self,
        (place, name): (&Place, &Name),
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) {
        if self.manifest.is_none() {
            return;
        }
        let dir = place.target_dir(self.target(place));
        match dir.and_then(|dir| dir.stat(self.target_name(place, name))).at(Side::Target) {
            Ok(found) if found.kind == Kind::File => {
                self.record((place, name), &found, None, hand, crew);
            }
            Err(trouble) if !trouble.error.cause.is_vanished() => {
                self.fail(place, name.to_bytes(), trouble, hand, crew);
            }
            _ => {}
        }
    }

    /// Deals with an entry that only the target has: it is to be deleted, or to be recorded.
    pub(super) fn meet_extra(
        &self,
        entry: &Visit<'_>,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) -> Result<Visited, Trouble> {
        if self.deletes() {
            self.extras.add(entry.place, entry.name, entry.hint);
            return Ok(Visited::NOTHING_MOVED);
        }
        let found = match entry.hint {
            Hint::Directory => return Ok(Visited::Directory),
            // Looked through for what was left alone.
            _ if self.manifest.is_none() => return Ok(Visited::NOTHING_MOVED),
            _ => entry.dir.stat(entry.name).at(Side::Target)?,
        };
        if found.kind == Kind::Directory {
            return Ok(Visited::Directory);
        }
        let at = (&**entry.place, entry.name);
        // What another source has of that name is recorded where that is met.
        let is_others = self.is_replaced_later(at.0, at.1) || self.replaces_earlier(at.0, at.1);
        let is_chosen = found.kind == Kind::File && self.selection.admits(&found);
        if is_chosen && !is_others && self.manifest.is_some_and(|it| !it.is_itself(&found)) {
            self.record(at, &found, None, hand, crew);
        }
        Ok(Visited::NOTHING_MOVED)
    }

    /// The same for a file that was at the target before.
    pub(super) fn record_unchanged(
        &self,
        entry: &Visit<'_>,
        source: &Metadata,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) {
        if source.kind == Kind::File {
            self.record((entry.place, entry.name), source, None, hand, crew);
        }
    }

    fn push_row(
        &self,
        place: &Place,
        name: &Name,
        metadata: &Metadata,
        crc64: Crc64,
        hand: &mut CopyHand,
    ) {
        let name = self.target_name(place, name).to_bytes();
        let below = path::join(place.path().as_bytes(), name);
        let root = &self.root(place).shown_target;
        // The current directory is not written, and a list has a root in each path.
        let root = if root.is_empty() { &b"."[..] } else { root };
        hand.rows.push(&Record {
            path: &path::join(root, &below),
            depth: place.path().depth() as u32 + 1,
            metadata,
            target: None,
            user: None,
            group: None,
            crc64: Some(crc64),
            digest: None,
        });
    }

    fn sum_at_target(
        &self,
        place: &Place,
        name: &Name,
        size_bytes: u64,
        hand: &mut CopyHand,
    ) -> Result<Crc64, Trouble> {
        let dir = place.target_dir(self.target(place)).at(Side::Target)?;
        let file = dir.open_file(self.target_name(place, name)).at(Side::Target)?;
        if file.metadata().at(Side::Target)?.size_bytes != size_bytes {
            return Err(Op::Verify.failed(Cause::Changed)).at(Side::Target);
        }
        if let Some(kept) = file.crc64() {
            return Ok(kept);
        }
        let whole = Extent { offset: 0, length: size_bytes };
        sum_extent(&*file, whole, hand.buffers(self.options.buffer_bytes)).at(Side::Target)
    }
}
