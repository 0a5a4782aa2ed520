//! Copy of a FIFO, socket or device: a new one is created, and neither is opened.

use super::attribute_policy;
use super::attribute_policy::Plain;
use super::context::{Context, Handled, Met};
use super::hard_links::HardLinks;
use super::look;
use crate::walk::Visit;
use store::NewSpecial;
use types::entry::Kind;
use types::error::{At, Side, SideError};
use types::listed::change::Reason;

/// Creates a special file like that of the source.
pub(super) fn copy_special(
    entry: &Visit<'_>,
    links: &HardLinks,
    cx: &mut Context<'_, '_>,
) -> Result<Met, SideError> {
    let metadata = entry.dir.stat(entry.name).at(Side::Source)?;
    if !metadata.kind.is_special() {
        return Ok(Met::Other(metadata.kind));
    }
    // A synchronisation has asked before.
    if cx.env.options.sync.is_none() && links.leaves_for_links(entry, &metadata, None, cx) {
        return Ok(Met::Done(Handled::SKIPPED));
    }
    let device = entry.dir.device_number(entry.name).at(Side::Source)?;
    // An SFTP server tells no number; anywhere else the device is gone.
    if metadata.kind.is_device() && device.is_none() {
        let now = entry.dir.stat(entry.name).at(Side::Source)?;
        if now.kind == metadata.kind {
            return Ok(Met::Done(leave_out(metadata.kind, cx)));
        }
    }
    let xattrs = cx.env.xattrs_of(|| entry.dir.xattrs(Some(entry.name)))?;
    cx.worker.gathered.meet(&metadata);
    let target = entry.dir_ref.target_dir(cx.env.target(entry.dir_ref)).at(Side::Target)?;
    let replaced = look::replaced(cx.env, entry, &*target, &metadata)?;
    cx.reason = Reason::of(&metadata, replaced.as_ref());
    cx.plan_line("create special file", entry.dir_ref, entry.name.to_bytes());
    let plain = Plain::of_entry(cx.env.options, &metadata, &*target).at(Side::Target)?;
    let special = NewSpecial {
        kind: metadata.kind,
        device,
        staged: &cx.env.staged_name(),
        name: cx.env.target_name(entry.dir_ref, entry.name),
        attributes: attribute_policy::of_file(
            cx.env.options,
            &metadata,
            xattrs,
            replaced.as_ref(),
            plain,
        ),
    };
    let preserved = match target.make_special(&special) {
        Err(error) if error.cause.is_unsupported() => {
            cx.worker.gathered.tally.special_files_skipped += 1;
            return Ok(Met::Done(Handled::SKIPPED));
        }
        made => made.at(Side::Target)?,
    };
    cx.copied((entry.dir_ref, entry.name), metadata.kind, preserved);
    cx.is_there((entry.dir_ref, entry.name), &metadata, preserved);
    Ok(Met::Done(Handled::COMPLETE))
}

/// Counts a special file that is not copied, because no option asks for it.
pub(super) fn leave_out(kind: Kind, cx: &mut Context<'_, '_>) -> Handled {
    cx.worker.gathered.tally.found.count(kind);
    cx.worker.gathered.tally.examined += 1;
    cx.worker.gathered.tally.special_files_skipped += 1;
    Handled::SKIPPED
}
