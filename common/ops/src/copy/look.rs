//! Metadata of the two sides of an entry, no more than the question at hand requires: where a
//! listing has returned enough, no store is asked again.

use super::decide::Sides;
use super::env::Env;
use super::options::{ChangeTest, SyncOptions};
use crate::walk::{self, Visit, whole};
use store::Dir;
use store::opening::Symlinks;
use types::entry::{Hint, Kind, Metadata};
use types::error::{At, Cause, Error, Op, Side, SideError};
use types::outcome::difference::Fields;

/// Refuses a followed link that leads to a target of this job: what the job creates there would be
/// copied again, and so on.
pub(super) fn refuse_target(env: &Env<'_>, entry: &Visit<'_>) -> Result<(), SideError> {
    let reached = entry.dir.open_dir(entry.name).at(Side::Source)?;
    let targets = env.roots.iter().filter_map(|root| root.target_metadata);
    if targets.into_iter().any(|target| reached.is_below(&target)) {
        return Err(Op::Follow.failed(Cause::LeadsToTarget)).at(Side::Source);
    }
    Ok(())
}

/// Returns the entry that has the name at the target now, if this entry may replace it; in a
/// directory that this job created there is none.
pub(super) fn replaced(
    env: &Env<'_>,
    entry: &Visit<'_>,
    target: &dyn Dir,
    source: &Metadata,
) -> Result<Option<Metadata>, SideError> {
    if entry.dir_ref.is_fresh() {
        return Ok(None);
    }
    let refuse = |cause| Err(Op::Copy.failed(cause)).at(Side::Target);
    let name = env.target_name(entry.dir_ref, entry.name);
    let mut old = match target.peek(name, Hint::Unknown) {
        Err(error) if error.cause.is_vanished() => return Ok(None),
        // An account may have permission to write but not to read; an object is replaced or stays
        // as it is.
        Err(Error { cause: Cause::System(libc::EACCES), .. })
            if env.options.sync.is_none() && env.target(entry.dir_ref).service().is_some() =>
        {
            return Ok(None);
        }
        looked => looked.at(Side::Target)?,
    };
    if old.device == source.device {
        // The existing entry may be the source itself.
        old = whole(target, name, old).at(Side::Target)?;
    }
    let is_kept =
        |kind: Kind| !env.options.mirrors() && kind.is_special() && !source.kind.is_special();
    match (old.kind, &env.options.sync) {
        (Kind::Directory, Some(criteria)) if !criteria.mirrors => refuse(Cause::KindDiffers),
        // The dry run has only planned the deletion.
        (Kind::Directory, Some(_)) if env.target(entry.dir_ref).discards_writes() => Ok(None),
        (Kind::Directory, Some(criteria)) if criteria.delete => refuse(Cause::UndeletedDirectory),
        (Kind::Directory, Some(_)) => refuse(Cause::FullDirectory),
        (Kind::Directory, None) => refuse(Cause::KindDiffers),
        (kind, _) if is_kept(kind) => refuse(Cause::NotReplaceable),
        _ if old.is_same_file(source) => refuse(Cause::SameFile),
        _ => Ok(Some(old)),
    }
}

/// Returns an entry of the source, with the metadata that shows whether it takes part.
pub(super) fn source_of(
    env: &Env<'_>,
    criteria: &SyncOptions,
    entry: &Visit<'_>,
) -> Result<Metadata, SideError> {
    let seen = peek(env, entry)?;
    let needs_all = criteria.old_copy.is_some()
        || (env.selection.needs_times() && !criteria.use_server_modtime);
    if needs_all {
        return whole(&**entry.dir, entry.name, seen).at(Side::Source);
    }
    Ok(with_time(criteria, seen))
}

/// Returns an entry of the source, or what a link there leads to where links are followed, with the
/// metadata that is cheap to get.
fn peek(env: &Env<'_>, entry: &Visit<'_>) -> Result<Metadata, SideError> {
    let may_be_link = matches!(entry.hint, Hint::Symlink | Hint::Unknown);
    if env.options.symlinks == Symlinks::Keep || !may_be_link {
        return entry.dir.peek(entry.name, entry.hint).at(Side::Source);
    }
    let source = &*env.root(entry.dir_ref).source;
    let seen = walk::look(entry, source, Symlinks::Follow).at(Side::Source)?;
    if seen.kind == Kind::Directory && entry.hint == Hint::Symlink {
        refuse_target(env, entry)?;
    }
    Ok(seen)
}

/// Returns the entry of that name at the target, with the metadata that is cheap to get.
pub(super) fn at_target(
    env: &Env<'_>,
    criteria: &SyncOptions,
    entry: &Visit<'_>,
) -> Result<Option<Metadata>, SideError> {
    if entry.dir_ref.is_fresh() {
        return Ok(None);
    }
    let dir = entry.dir_ref.target_dir(env.target(entry.dir_ref)).at(Side::Target)?;
    match dir.peek(env.target_name(entry.dir_ref, entry.name), Hint::Unknown) {
        Ok(target) => Ok(Some(with_time(criteria, target))),
        Err(error) if error.cause.is_vanished() => Ok(None),
        Err(error) => Err(error).at(Side::Target),
    }
}

/// Returns both sides with the metadata that shows what the entry needs; no store is asked where
/// more metadata would not change the decision.
pub(super) fn look_closer(
    env: &Env<'_>,
    criteria: &SyncOptions,
    entry: &Visit<'_>,
    sides: Sides,
) -> Result<Sides, SideError> {
    let Sides { source, target } = sides;
    let are_files = source.kind == Kind::File && target.kind == Kind::File;
    let has_times = !criteria.update || criteria.use_server_modtime;
    let other_size = source.size_bytes != target.size_bytes;
    let is_enough = match criteria.change_test {
        ChangeTest::SizeOnly => true,
        ChangeTest::SizeAndTime => other_size || criteria.use_server_modtime,
        ChangeTest::Content => other_size,
    };
    if are_files && has_times && is_enough {
        return Ok(sides);
    }
    let dir = entry.dir_ref.target_dir(env.target(entry.dir_ref)).at(Side::Target)?;
    let name = env.target_name(entry.dir_ref, entry.name);
    Ok(Sides {
        source: whole(&**entry.dir, entry.name, source).at(Side::Source)?,
        target: whole(&*dir, name, target).at(Side::Target)?,
    })
}

/// Uses the time at which the service stored an object as its modification time, where the operator
/// requests that.
fn with_time(criteria: &SyncOptions, mut seen: Metadata) -> Metadata {
    if criteria.use_server_modtime && seen.kind == Kind::File {
        seen.known.insert(Fields::MTIME);
    }
    seen
}
