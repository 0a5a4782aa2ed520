//! Which attributes of an entry differ from what the source has, as far as they are kept and this user can set
//! them: who may not do so is told once, and does not try again in every run.

use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use super::env::Env;
use super::options::Judge;
use super::policy;
use super::policy::Plain;
use super::sync::{Need, Sides};
use crate::walk::Visit;
use crate::walk::place::Place;
use store::Dir;
use types::entry::{Kind, Metadata, SET_ID_BITS, Xattrs};
use types::error::{At, Side, Trouble};
use types::outcome::compare;
use types::outcome::compare::{Clue, TimeRange};
use types::outcome::difference::Fields;

fn is_of_system(name: &[u8]) -> bool {
    name.starts_with(b"security.")
}

/// Whether an entry with the right content needs other attributes.
pub(super) fn attributes_needed(
    entry: &Visit<'_>,
    target_dir: &dyn Dir,
    sides: &Sides,
    cx: &mut Context<'_, '_>,
) -> Result<Need, Trouble> {
    let plain = Plain::of_entry(cx.env.options, &sides.source, target_dir).at(Side::Target)?;
    let range = cx.env.target(entry.place).time_range(&sides.target);
    let mut differing = differing_attributes(sides, plain, range, cx);
    let mut lost_xattrs = false;
    let of_source = own_xattrs(cx.env, entry, sides.source.kind)?;
    let of_source = policy::of_any(cx.env.options, &sides.source, of_source, plain).xattrs;
    if of_source.is_some() {
        match target_dir.xattrs(Some(cx.env.target_name(entry.place, entry.name))) {
            Ok(of_target) => {
                lost_xattrs =
                    of_target.is_none() && of_source.as_ref().is_some_and(|all| !all.is_empty());
                differing.insert(differing_xattrs(cx.env, of_source, of_target));
            }
            // What cannot be inspected counts as different.
            Err(_) => differing.insert(Fields::XATTR),
        }
    }
    if is_time_missing(cx.env, entry.place, sides) && cx.env.options.keep.times {
        differing.insert(Fields::MTIME);
    }
    Ok(match differing.is_empty() {
        true => {
            cx.hand.gathered.tally.xattrs_not_preserved += u64::from(lost_xattrs);
            Need::Nothing
        }
        // Other names of the file, an older copy's perhaps, keep what they have.
        false if sides.target.links > 1 => Need::Content,
        false => Need::Attributes,
    })
}

/// The target gets the source's time of change, so that later runs need not look at the content again.
fn is_time_missing(env: &Env<'_>, place: &Place, sides: &Sides) -> bool {
    let goes_by_time =
        env.options.sync.as_ref().is_some_and(|rules| rules.judge != Judge::SizeOnly);
    let are_files = [sides.source.kind, sides.target.kind] == [Kind::File; 2];
    goes_by_time && are_files && clue(env, place, sides) == Clue::Unclear
}

/// What the times of two files of one size say.
pub(super) fn clue(env: &Env<'_>, place: &Place, sides: &Sides) -> Clue {
    let (source, target) = (&*env.root(place).source, env.target(place));
    let ahead = match (source.service(), target.service()) {
        // Both times are of one clock, or of two of which nothing is known.
        (Some(of_source), Some(of_target)) => (of_source == of_target).then_some(Duration::ZERO),
        _ => target.clock_ahead(),
    };
    compare::clue(&sides.source, &sides.target, ahead, target.time_range(&sides.target))
}

/// Extended attributes of a source entry, where the copy is to have them.
pub(super) fn own_xattrs(
    env: &Env<'_>,
    entry: &Visit<'_>,
    kind: Kind,
) -> Result<Option<Xattrs>, Trouble> {
    if !env.options.keep.xattr_filter().concerns(kind) {
        return Ok(None);
    }
    env.xattrs_of(|| entry.dir.xattrs(Some(entry.name)))
}

/// Only the superuser sets file capabilities (capabilities(7)).
pub(super) fn differing_xattrs(
    env: &Env<'_>,
    of_source: Option<Arc<Xattrs>>,
    of_target: Option<Xattrs>,
) -> Fields {
    let settable = |xattrs: Option<Xattrs>| {
        xattrs.map(|xattrs| {
            let mut xattrs = xattrs;
            xattrs.retain(|name, _| env.options.job.is_superuser || !is_of_system(name));
            xattrs
        })
    };
    let of_source = settable(of_source.map(Arc::unwrap_or_clone));
    let filter = env.options.keep.xattr_filter();
    compare::xattrs(of_source.as_ref(), settable(of_target).as_ref(), filter)
}

/// Attributes that differ and that this user can set: who may not give files away is told so, and
/// does not try again in every run.
pub(super) fn differing_attributes(
    sides: &Sides,
    plain: Plain,
    range: TimeRange,
    cx: &mut Context<'_, '_>,
) -> Fields {
    let (source, target) =
        (&policy::wanted(cx.env.options, &sides.source, &sides.target, plain), &sides.target);
    let wanted = cx.env.options.keep.fields();
    // The kernel drops the set-group-id bit where the user is not of the group (chmod(2)).
    let may_keep_group_bit =
        cx.env.options.job.is_superuser || cx.env.own_groups.contains(&target.gid);
    let lost_bit = if may_keep_group_bit { 0 } else { 0o2000 };
    let kept = |metadata: &Metadata| Metadata { mode: metadata.mode & !lost_bit, ..*metadata };
    let (source, target) = (&kept(source), &kept(target));
    // An object may know nothing of an owner: one that the operator gives is set nonetheless.
    let unknown = compare::unknown(source, target, cx.env.options.keep.given());
    let unknown = if target.kind == Kind::Directory { Fields::NONE } else { unknown };
    let differing = compare::attributes(source, target, wanted, range).union(unknown);
    if cx.env.options.job.is_superuser || !differing.intersects(Fields::UID.union(Fields::GID)) {
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
    cx.hand.gathered.tally.owner_not_preserved += 1;
    // What comes with an owner was dropped with it.
    let plain = |metadata: &Metadata| Metadata {
        mode: metadata.mode & !SET_ID_BITS,
        uid: 0,
        gid: if group_kept { metadata.gid } else { 0 },
        ..*metadata
    };
    compare::attributes(&plain(source), &plain(target), wanted, range)
}

fn may_set_group(env: &Env<'_>, gid: u32) -> bool {
    env.own_groups.contains(&gid)
}
