//! Copy of a symbolic link: verbatim.

use super::arrival;
use super::arrival::check_arrived;
use super::attribute_policy;
use super::attributes;
use super::content::{Piece, copy_piece};
use super::context::{Context, Handled, Met};
use super::hard_links::HardLinks;
use super::look;
use super::verify;
use crate::walk::Visit;
use store::{NewFile, NewSymlink, Receipt, Sender, SourceFile};
use types::content::chunk::Extent;
use types::content::etag::PartHasher;
use types::content::transfer::TransferMode;
use types::entry::{Kind, Preserved};
use types::error::{At, Cause, Op, Side, SideError};
use types::listed::change::Reason;
use types::object::metadata::LinkForm;

/// Copies a symbolic link.
pub(super) fn copy_link(
    entry: &Visit<'_>,
    links: &HardLinks,
    cx: &mut Context<'_, '_>,
) -> Result<Met, SideError> {
    let metadata = entry.dir.stat(entry.name).at(Side::Source)?;
    if metadata.kind != Kind::Symlink {
        return Ok(Met::Other(metadata.kind));
    }
    // A synchronisation has asked before.
    if cx.env.options.sync.is_none() && links.leaves_for_links(entry, &metadata, None, cx) {
        return Ok(Met::Done(Handled::SKIPPED));
    }
    cx.worker.gathered.meet(&metadata);
    let points_to = entry.dir.read_link(entry.name).at(Side::Source)?;
    let target = entry.dir_ref.target_dir(cx.env.target(entry.dir_ref)).at(Side::Target)?;
    let replaced = look::replaced(cx.env, entry, &*target, &metadata)?;
    cx.reason = Reason::of(&metadata, replaced.as_ref());
    // A link must not replace the very file that it points to: its content would be lost.
    if let (Some(old), Ok(led_to)) = (&replaced, entry.dir.stat_followed(entry.name))
        && old.is_same_file(&led_to)
    {
        return Err(Op::Copy.failed(Cause::SameFile)).at(Side::Target);
    }
    cx.plan_line("create symbolic link", entry.dir_ref, entry.name.to_bytes());
    if cx.env.target(entry.dir_ref).holds_objects()
        && let Some((object, form)) = entry.dir.open_link(entry.name).at(Side::Source)?
    {
        let preserved = copy_link_object(entry, &*object, form, cx)?;
        if form == LinkForm::Suffix && replaced.is_some_and(|old| old.kind == Kind::File) {
            // The link has a key of its own, and exists before the object of its name goes.
            let name = cx.env.target_name(entry.dir_ref, entry.name);
            target.remove(name, Kind::File).at(Side::Target)?;
        }
        cx.copied((entry.dir_ref, entry.name), Kind::Symlink, preserved);
        cx.is_there((entry.dir_ref, entry.name), &metadata, preserved);
        return Ok(Met::Done(Handled::COMPLETE));
    }
    let xattrs = attributes::own_xattrs(cx.env, entry, Kind::Symlink)?;
    let link = NewSymlink {
        points_to: &points_to,
        staged: &cx.env.staged_name(),
        name: cx.env.target_name(entry.dir_ref, entry.name),
        mtime: metadata.last_change(),
        attributes: attribute_policy::of_link(cx.env.options, &metadata, xattrs),
    };
    let preserved = target.make_symlink(&link).at(Side::Target)?;
    let at = (&**entry.dir_ref, entry.name);
    verify::verify_link(cx.env, at, &*target, &points_to).at(Side::Target)?;
    cx.copied((entry.dir_ref, entry.name), Kind::Symlink, preserved);
    cx.is_there((entry.dir_ref, entry.name), &metadata, preserved);
    Ok(Met::Done(Handled::COMPLETE))
}
/// Copies a link from objects to objects as the object that represents it, in the same form.
fn copy_link_object(
    entry: &Visit<'_>,
    object: &dyn SourceFile,
    form: LinkForm,
    cx: &mut Context<'_, '_>,
) -> Result<Preserved, SideError> {
    let metadata = object.metadata().at(Side::Source)?;
    let name = form.name_of(cx.env.target_name(entry.dir_ref, entry.name));
    let attributes = attribute_policy::of_link(cx.env.options, &metadata, None);
    let target = entry.dir_ref.target_dir(cx.env.target(entry.dir_ref)).at(Side::Target)?;
    let staged_name = cx.env.staged_name();
    let new = NewFile::new(&staged_name, &name, &attributes).copy_of(object, &metadata);
    let staged = target.stage_file(&new).at(Side::Target)?;
    let size_bytes = metadata.size_bytes;
    let extent = Extent { offset: 0, length: size_bytes };
    let piece = Piece { extent, size_bytes, transfer_mode: TransferMode::PLAIN };
    let etag = arrival::etag_of(cx.env, entry.dir_ref, object)?;
    let mut hasher = etag.map(|etag| PartHasher::new(etag.part_bytes));
    let crc64 = copy_piece(object, &*staged, piece, &mut hasher, &mut cx.worker.buffer)?;
    let part_md5s = hasher.map(PartHasher::finish).unwrap_or_default();
    let receipt = Receipt::sent(extent, crc64, String::new(), Sender::Here);
    let receipts = [Receipt { part_md5s, ..receipt }];
    check_arrived(object, etag.as_ref(), (size_bytes, &receipts), true)?;
    staged.commit(&attributes, Vec::new()).at(Side::Target)
}
