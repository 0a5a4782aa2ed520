//! Comparison of the attributes of an entry with those of the source, limited to the attributes
//! that are preserved and that this user can set. A user who cannot set an owner is told so once,
//! and the tool does not try again in every run.

use std::sync::Arc;
use std::time::Duration;

use super::attribute_policy;
use super::attribute_policy::Plain;
use super::context::Context;
use super::decide::{Need, Sides};
use super::env::Env;
use crate::walk::Visit;
use crate::walk::dir_ref::DirRef;
use store::Dir;
use types::entry::{Kind, Metadata, SET_ID_BITS, Xattrs};
use types::error::{At, Side, SideError};
use types::outcome::compare;
use types::outcome::compare::{Clue, TimeRange};
use types::outcome::difference::Fields;

fn is_of_system(name: &[u8]) -> bool {
    name.starts_with(b"security.")
}

/// Returns what an entry with the right content needs for its attributes.
pub(super) fn attributes_needed(
    entry: &Visit<'_>,
    target_dir: &dyn Dir,
    sides: &Sides,
    cx: &mut Context<'_, '_>,
) -> Result<Need, SideError> {
    let plain = Plain::of_entry(cx.env.options, &sides.source, target_dir).at(Side::Target)?;
    let range = cx.env.time_range(entry.dir_ref, [&sides.source, &sides.target]);
    let mut differing = differing_attributes(sides, plain, range, cx);
    let mut lost_xattrs = false;
    let of_source = own_xattrs(cx.env, entry, sides.source.kind)?;
    let of_source =
        attribute_policy::of_any(cx.env.options, &sides.source, of_source, plain).xattrs;
    if of_source.is_some() {
        match target_dir.xattrs(Some(cx.env.target_name(entry.dir_ref, entry.name))) {
            Ok(of_target) => {
                lost_xattrs =
                    of_target.is_none() && of_source.as_ref().is_some_and(|all| !all.is_empty());
                differing.insert(differing_xattrs(cx.env, of_source, of_target));
            }
            // Extended attributes that cannot be read count as different.
            Err(_) => differing.insert(Fields::XATTR),
        }
    }
    if is_time_missing(cx.env, entry.dir_ref, sides) && cx.env.options.keep.times {
        differing.insert(Fields::MTIME);
    }
    Ok(match differing.is_empty() {
        true => {
            cx.worker.gathered.tally.xattrs_not_preserved += u64::from(lost_xattrs);
            cx.preserved.xattrs_lost |= lost_xattrs;
            Need::Nothing
        }
        // Other hard links of the file, perhaps of an older copy, keep their attributes.
        false if has_other_names(target_dir, entry, sides, cx)? => Need::Content,
        false => Need::Attributes,
    })
}

fn has_other_names(
    target_dir: &dyn Dir,
    entry: &Visit<'_>,
    sides: &Sides,
    cx: &Context<'_, '_>,
) -> Result<bool, SideError> {
    let name = cx.env.target_name(entry.dir_ref, entry.name);
    target_dir.has_other_names(name, &sides.target).at(Side::Target)
}

/// True if the target gets the modification time of the source, so that later runs need not compare
/// the content again.
fn is_time_missing(env: &Env<'_>, dir_ref: &DirRef, sides: &Sides) -> bool {
    let goes_by_time =
        env.options.sync.as_ref().is_some_and(|criteria| criteria.change_test.goes_by_time());
    let are_files = [sides.source.kind, sides.target.kind] == [Kind::File; 2];
    goes_by_time && are_files && clue(env, dir_ref, sides) == Clue::Unclear
}

/// Returns the conclusion that the modification times of two files of equal size allow.
pub(super) fn clue(env: &Env<'_>, dir_ref: &DirRef, sides: &Sides) -> Clue {
    if is_within_window(env, sides) {
        return Clue::Same;
    }
    let (source, target) = (&*env.root(dir_ref).source, env.target(dir_ref));
    let ahead = match (source.service(), target.service()) {
        // Both times are from one clock, or from two clocks whose offset is unknown.
        (Some(of_source), Some(of_target)) => (of_source == of_target).then_some(Duration::ZERO),
        _ => target.clock_ahead(),
    };
    compare::clue(
        &sides.source,
        &sides.target,
        ahead,
        env.time_range(dir_ref, [&sides.source, &sides.target]),
    )
}

/// Returns whether the operator tolerates the difference of two known modification times.
fn is_within_window(env: &Env<'_>, Sides { source, target }: &Sides) -> bool {
    let knows_both = [source, target].iter().all(|side| side.known.contains(Fields::MTIME));
    let criteria = env.options.sync.as_ref().filter(|criteria| !criteria.modify_window.is_zero());
    knows_both && criteria.is_some_and(|criteria| criteria.is_within_window(source, target))
}

/// Returns the extended attributes of a source entry that the copy is to have.
pub(super) fn own_xattrs(
    env: &Env<'_>,
    entry: &Visit<'_>,
    kind: Kind,
) -> Result<Option<Xattrs>, SideError> {
    if !env.options.keep.xattr_filter().concerns(kind) {
        return Ok(None);
    }
    env.xattrs_of(|| entry.dir.xattrs(Some(entry.name)))
}

/// Compares extended attributes. File capabilities (capabilities(7)) count only for the superuser,
/// who alone can set them.
pub(super) fn differing_xattrs(
    env: &Env<'_>,
    of_source: Option<Arc<Xattrs>>,
    of_target: Option<Xattrs>,
) -> Fields {
    let settable = |xattrs: Option<Xattrs>| {
        xattrs.map(|xattrs| {
            let mut xattrs = xattrs;
            xattrs.retain(|name, _| env.options.user.changes_owners || !is_of_system(name));
            xattrs
        })
    };
    let of_source = settable(of_source.map(Arc::unwrap_or_clone));
    let filter = env.options.keep.xattr_filter();
    compare::xattrs(of_source.as_ref(), settable(of_target).as_ref(), filter)
}

/// Attributes that an object need not have.
const STORED_WITH_OBJECTS: [Fields; 4] = [Fields::PERM, Fields::UID, Fields::GID, Fields::MTIME];

/// Returns the attributes that differ and that this user can set. A user who may not change owners
/// is told so, and the tool does not try again in every run.
pub(super) fn differing_attributes(
    sides: &Sides,
    plain: Plain,
    range: TimeRange,
    cx: &mut Context<'_, '_>,
) -> Fields {
    let (source, target) = (
        &attribute_policy::wanted(cx.env.options, &sides.source, &sides.target, plain),
        &sides.target,
    );
    let tolerated = if is_within_window(cx.env, sides) { Fields::MTIME } else { Fields::NONE };
    let wanted = cx.env.options.keep.fields().difference(tolerated);
    // The kernel drops the set-group-id bit where the user is not of the group (chmod(2)).
    let may_keep_group_bit =
        cx.env.options.user.changes_owners || may_set_group(cx.env, target.gid);
    let lost_bit = if may_keep_group_bit { 0 } else { 0o2000 };
    let kept = |metadata: &Metadata| Metadata { mode: metadata.mode & !lost_bit, ..*metadata };
    let (source, target) = (&kept(source), &kept(target));
    // The owner of an object may be unknown; one that the operator gives is set nonetheless, and so
    // is everything that a move would lose with the source.
    let mut asked = cx.env.options.keep.given();
    if cx.env.moving.is_some() {
        let stored: Fields = STORED_WITH_OBJECTS.into_iter().collect();
        asked.insert(wanted.intersection(stored).intersection(source.known));
    }
    let unknown = compare::unknown(source, target, asked);
    let unknown = if target.kind == Kind::Directory { Fields::NONE } else { unknown };
    let differing = compare::attributes(source, target, wanted, range).union(unknown);
    let differs_in_owner = differing.intersects(Fields::UID.union(Fields::GID));
    if cx.env.options.user.changes_owners || !differs_in_owner || !unknown.is_empty() {
        return differing;
    }
    // An owner that the operator gives is tried, and fails, each time.
    let chown = cx.env.options.keep.chown;
    if chown.uid.is_some() && differing.contains(Fields::UID)
        || chown.gid.is_some() && differing.contains(Fields::GID)
    {
        return differing;
    }
    let owner_kept = !differing.contains(Fields::UID);
    let group_kept = !differing.contains(Fields::GID) || may_set_group(cx.env, source.gid);
    if owner_kept && group_kept {
        return differing;
    }
    cx.worker.gathered.tally.owner_not_preserved += 1;
    // The set-ID bits were dropped with the owner.
    let plain = |metadata: &Metadata| Metadata {
        mode: metadata.mode & !SET_ID_BITS,
        uid: 0,
        gid: if group_kept { metadata.gid } else { 0 },
        ..*metadata
    };
    compare::attributes(&plain(source), &plain(target), wanted, range)
}

fn may_set_group(env: &Env<'_>, gid: u32) -> bool {
    env.options.user.groups.contains(&gid)
}
