//! Looking at the two sides of an entry, and no closer than the question at hand takes: where a listing has
//! told enough, nobody is asked again.

use super::env::Env;
use super::options::{Judge, SyncOptions};
use super::sync::Sides;
use crate::walk::{Visit, whole};
use store::Dir;
use types::entry::{Hint, Kind, Metadata};
use types::error::{At, Cause, Error, Op, Side, Trouble};
use types::outcome::difference::Fields;

/// What has the name at the target now, if it may be replaced by this entry; in a directory that
/// this job made there is nothing.
pub(super) fn replaced(
    env: &Env<'_>,
    entry: &Visit<'_>,
    target: &dyn Dir,
    source: &Metadata,
) -> Result<Option<Metadata>, Trouble> {
    if entry.place.is_fresh() {
        return Ok(None);
    }
    let refuse = |cause| Err(Op::Copy.failed(cause)).at(Side::Target);
    let name = env.target_name(entry.place, entry.name);
    let mut old = match target.peek(name, Hint::Unknown) {
        Err(error) if error.cause.is_vanished() => return Ok(None),
        // An account may write where it may not look; an object becomes the new one or stays what it is.
        Err(Error { cause: Cause::System(libc::EACCES), .. })
            if env.options.sync.is_none() && env.target(entry.place).service().is_some() =>
        {
            return Ok(None);
        }
        looked => looked.at(Side::Target)?,
    };
    if old.device == source.device {
        // It may be the source itself.
        old = whole(target, name, old).at(Side::Target)?;
    }
    match (old.kind, &env.options.sync) {
        // A dry run has only said that it would be deleted.
        (Kind::Directory, Some(_)) if env.options.dry_run => Ok(None),
        (Kind::Directory, Some(rules)) if rules.delete => refuse(Cause::UndeletedDirectory),
        (Kind::Directory, Some(_)) => refuse(Cause::FullDirectory),
        (Kind::Directory, None) => refuse(Cause::KindDiffers),
        (kind, None) if kind.is_special() && !source.kind.is_special() => {
            refuse(Cause::NotReplaceable)
        }
        _ if old.is_same_file(source) => refuse(Cause::SameFile),
        _ => Ok(Some(old)),
    }
}

/// An entry of the source, as far as it is needed to know whether it takes part.
pub(super) fn source_of(
    env: &Env<'_>,
    rules: &SyncOptions,
    entry: &Visit<'_>,
) -> Result<Metadata, Trouble> {
    let seen = entry.dir.peek(entry.name, entry.hint).at(Side::Source)?;
    let needs_all =
        rules.link_dest.is_some() || (env.selection.needs_times() && !rules.use_server_modtime);
    if needs_all {
        return whole(&**entry.dir, entry.name, seen).at(Side::Source);
    }
    Ok(with_time(rules, seen))
}

/// The entry of that name at the target, as far as it is cheap to know.
pub(super) fn at_target(
    env: &Env<'_>,
    rules: &SyncOptions,
    entry: &Visit<'_>,
) -> Result<Option<Metadata>, Trouble> {
    if entry.place.is_fresh() {
        return Ok(None);
    }
    let dir = entry.place.target_dir(env.target(entry.place)).at(Side::Target)?;
    match dir.peek(env.target_name(entry.place, entry.name), Hint::Unknown) {
        Ok(target) => Ok(Some(with_time(rules, target))),
        Err(error) if error.cause.is_vanished() => Ok(None),
        Err(error) => Err(error).at(Side::Target),
    }
}

/// Both sides as closely as it takes to know what the entry needs: not at all where no more can come of
/// it.
pub(super) fn look_closer(
    env: &Env<'_>,
    rules: &SyncOptions,
    entry: &Visit<'_>,
    sides: Sides,
) -> Result<Sides, Trouble> {
    let Sides { source, target } = sides;
    let are_files = source.kind == Kind::File && target.kind == Kind::File;
    let has_times = !rules.update || rules.use_server_modtime;
    let other_size = source.size_bytes != target.size_bytes;
    let is_enough = match rules.judge {
        Judge::SizeOnly => true,
        Judge::SizeAndTime => other_size || rules.use_server_modtime,
        Judge::Content => other_size,
    };
    if are_files && has_times && is_enough {
        return Ok(sides);
    }
    let dir = entry.place.target_dir(env.target(entry.place)).at(Side::Target)?;
    let name = env.target_name(entry.place, entry.name);
    Ok(Sides {
        source: whole(&**entry.dir, entry.name, source).at(Side::Source)?,
        target: whole(&*dir, name, target).at(Side::Target)?,
    })
}

/// With the time when the service stored it as that of its last change, where the operator wants that.
fn with_time(rules: &SyncOptions, mut seen: Metadata) -> Metadata {
    if rules.use_server_modtime && seen.kind == Kind::File {
        seen.known.insert(Fields::MTIME);
    }
    seen
}
