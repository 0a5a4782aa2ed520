//! Copying a symbolic link: verbatim.

use super::arrival::check_arrived;
use super::content::{Piece, copy_piece};
use super::{CopyHand, CopyJob, policy};
use crate::walk::{Visit, Visited};
use sched::crew::Crew;
use store::{NewFile, NewSymlink, Receipt, Sender, SourceFile};
use types::content::chunk::Extent;
use types::content::etag::PartHasher;
use types::content::transfer::Manner;
use types::entry::{Kept, Kind};
use types::error::{At, Cause, Op, Side, Trouble};
use types::object::metadata::LinkForm;

impl CopyJob<'_> {
    pub(super) fn copy_link(
        &self,
        entry: &Visit<'_>,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) -> Result<Visited, Trouble> {
        let metadata = entry.dir.stat(entry.name).at(Side::Source)?;
        if metadata.kind != Kind::Symlink {
            return self.visit_kind(entry, metadata.kind, hand, crew);
        }
        // Who makes a target equal has asked before.
        if self.options.sync.is_none() && self.leaves_for_links(entry, &metadata, None, hand) {
            return Ok(Visited::NOTHING_MOVED);
        }
        hand.gathered.meet(&metadata);
        let points_to = entry.dir.read_link(entry.name).at(Side::Source)?;
        let target = entry.place.target_dir(self.target(entry.place)).at(Side::Target)?;
        let replaced = self.replaced(entry, &*target, &metadata)?;
        // A link must not take the place of the very file it leads to: its content would be lost.
        if let (Some(old), Ok(led_to)) = (&replaced, entry.dir.stat_followed(entry.name))
            && old.is_same_file(&led_to)
        {
            return Err(Op::Copy.failed(Cause::SameFile)).at(Side::Target);
        }
        self.plan_line("create symbolic link", entry.place, entry.name.to_bytes(), hand, crew);
        if self.target(entry.place).holds_objects()
            && let Some((object, form)) = entry.dir.open_link(entry.name).at(Side::Source)?
        {
            let kept = self.copy_link_object(entry, &*object, form, hand)?;
            self.copied((entry.place, entry.name), Kind::Symlink, kept, hand, crew);
            return Ok(Visited::NOTHING_MOVED);
        }
        let xattrs = self.own_xattrs(entry, Kind::Symlink)?;
        let link = NewSymlink {
            points_to: &points_to,
            staged: &self.staged_name(),
            name: self.target_name(entry.place, entry.name),
            mtime: metadata.last_change(),
            attributes: policy::of_link(self.options, &metadata, xattrs),
        };
        let kept = target.make_symlink(&link).at(Side::Target)?;
        let at = (&**entry.place, entry.name);
        self.verify_link(at, &*target, &points_to).at(Side::Target)?;
        self.copied((entry.place, entry.name), Kind::Symlink, kept, hand, crew);
        Ok(Visited::NOTHING_MOVED)
    }

    /// From objects to objects a link stays the object that it is, in the form in which it is one.
    fn copy_link_object(
        &self,
        entry: &Visit<'_>,
        object: &dyn SourceFile,
        form: LinkForm,
        hand: &mut CopyHand,
    ) -> Result<Kept, Trouble> {
        let metadata = object.metadata().at(Side::Source)?;
        let name = form.name_of(self.target_name(entry.place, entry.name));
        let attributes = policy::of_link(self.options, &metadata, None);
        let target = entry.place.target_dir(self.target(entry.place)).at(Side::Target)?;
        let staged_name = self.staged_name();
        let new = NewFile::new(&staged_name, &name, &attributes).copy_of(object, &metadata);
        let staged = target.stage_file(&new).at(Side::Target)?;
        let size_bytes = metadata.size_bytes;
        let extent = Extent { offset: 0, length: size_bytes };
        let piece = Piece { extent, size_bytes, manner: Manner::PLAIN };
        let etag = self.etag_of(entry.place, object)?;
        let mut hasher = etag.map(|etag| PartHasher::new(etag.part_bytes));
        let crc64 = copy_piece(object, &*staged, piece, &mut hasher, &mut hand.buffer)?;
        let part_md5s = hasher.map(PartHasher::finish).unwrap_or_default();
        let receipt = Receipt::sent(extent, crc64, String::new(), Sender::Here);
        let receipts = [Receipt { part_md5s, ..receipt }];
        check_arrived(object, etag.as_ref(), (size_bytes, &receipts), true)?;
        staged.commit(&attributes, Vec::new()).at(Side::Target)
    }
}
