//! Plan of a synchronisation, from its two paths to its root: determined by rank 0, once, before
//! anything is written.

use super::options::{CopyOptions, OldCopy};
use super::plan::{self, CopyPlan, Inside, make_root_target};
use super::root::RootPlan;
use crate::resolver::StoreResolver;
use crate::walk::account;
use crate::walk::selection::Selection;
use store::opening::Symlinks;
use types::entry::{Kind, Metadata};
use types::error::{Cause, Failure, Op, Result, Side};
use types::operand::placement::Given;
use types::path;

/// Plans the synchronisation of contents to contents: trailing slashes do not matter. A source that
/// is not a directory goes where cp(1) and the dsync of mpiFileUtils would put it: into an existing
/// directory, or to the given name.
pub fn make(
    resolver: &StoreResolver,
    source: &[u8],
    target: &[u8],
    (options, selection): (&CopyOptions, &Selection),
) -> CopyPlan {
    let mut plan = CopyPlan::default();
    if let Err(conflict) = options.check() {
        plan.refusals.push(conflict.to_string());
        return plan;
    }
    if let Some(refusal) = plan::refuse_to_follow(resolver, &[source.to_vec()], options) {
        plan.refusals.push(refusal);
        return plan;
    }
    let looked = resolver.look(Side::Source, source, Symlinks::Follow);
    if is_single(resolver, source, &looked) {
        return plan::make(resolver, &[source.to_vec()], target, None, (options, selection));
    }
    if let Some(refusal) = refuse_other_level(resolver, (source, target), options) {
        plan.refusals.push(refusal);
        return plan;
    }
    let mut root = RootPlan::new(source.to_vec(), target.to_vec(), None);
    let checked = looked
        .map_err(|error| account::failure(Side::Source, source, b"", error))
        .and_then(|metadata| {
            let deletes = options.sync.as_ref().is_some_and(|sync| sync.delete);
            refuse_overlap(resolver, source, target, (&metadata, selection), deletes)
        })
        .and_then(|()| refuse_old_inside(resolver, target, options));
    match checked {
        Ok(()) => match make_root_target(resolver, &root, options) {
            Ok(target_is) => {
                root.target_is = target_is;
                plan.roots.push(root);
            }
            Err(failure) => plan.failures.push(failure),
        },
        Err(failure) => plan.failures.push(failure),
    }
    plan
}

/// Returns whether a source is a link to something other than a directory; it stands for its
/// target, as a link to a directory does.
pub fn is_link_to_single(resolver: &StoreResolver, source: &[u8]) -> bool {
    let kind =
        |symlinks| resolver.look(Side::Source, source, symlinks).ok().map(|found| found.kind);
    !resolver.is_object(Side::Source, source)
        && kind(Symlinks::Keep) == Some(Kind::Symlink)
        && kind(Symlinks::Follow).is_some_and(|kind| kind != Kind::Directory)
}

/// Returns whether the source is something other than a directory, including a dangling link.
fn is_single(resolver: &StoreResolver, source: &[u8], looked: &Result<Metadata>) -> bool {
    let is_other = |metadata: &Metadata| metadata.kind != Kind::Directory;
    match looked {
        Ok(metadata) => is_other(metadata),
        // An object cannot be a dangling link, and a service that does not answer is not asked
        // again.
        Err(_) if resolver.is_object(Side::Source, source) => false,
        Err(_) => resolver.look(Side::Source, source, Symlinks::Keep).as_ref().is_ok_and(is_other),
    }
}

/// Refuses to delete everything in a target that has a directory of the name of the source, which a
/// copy of that directory may be: rsync would have updated that one. A trailing slash at the source
/// says that its contents are meant, as does a directory of that name in the source.
fn refuse_other_level(
    resolver: &StoreResolver,
    (source, target): (&[u8], &[u8]),
    options: &CopyOptions,
) -> Option<String> {
    let given = Given::new(source);
    let deletes = options.sync.as_ref().is_some_and(|sync| sync.delete);
    let name = given.last_name.as_ref().filter(|_| deletes && !given.means_contents)?;
    let at = |side, dir: &[u8]| resolver.look(side, &path::join(dir, name), Symlinks::Follow);
    let is_copy = at(Side::Target, target).is_ok_and(|found| found.kind == Kind::Directory)
        && at(Side::Source, source).is_err_and(|error| error.cause.is_vanished());
    let shown = |path: &[u8]| path::escaped(path);
    let (source, inner, target) = (shown(source), shown(&path::join(target, name)), shown(target));
    is_copy.then(|| {
        format!(
            "--delete would delete \"{inner}\" and all else in \"{target}\" that is not in \"{source}\"; \
             write \"{source}/\" \"{inner}\" to make that directory equal, or \"{source}/\" \"{target}\" to \
             make \"{target}\" itself equal"
        )
    })
}

/// Refuses an older copy inside the target, where it would be deleted as extraneous.
fn refuse_old_inside(
    resolver: &StoreResolver,
    target: &[u8],
    options: &CopyOptions,
) -> std::result::Result<(), Failure> {
    let Some(OldCopy { path: old, .. }) = options.old_copy() else { return Ok(()) };
    match resolver.look(Side::Target, target, Symlinks::Follow) {
        Ok(at_target) if resolver.is_below(Side::Target, old, &at_target) => {
            let error = Op::Link.failed(Cause::SourceInside);
            Err(account::failure(Side::Target, old, b"", error))
        }
        _ => Ok(()),
    }
}

/// Refuses a source and target of which one is inside the other: the target would be synchronised
/// with itself, or the source deleted as extraneous.
fn refuse_overlap(
    resolver: &StoreResolver,
    source: &[u8],
    target: &[u8],
    (metadata, selection): (&Metadata, &Selection),
    deletes: bool,
) -> std::result::Result<(), Failure> {
    let refuse = |cause| Err(account::failure(Side::Source, source, b"", Op::Copy.failed(cause)));
    let at_target = match resolver.look(Side::Target, target, Symlinks::Follow) {
        // A service that does not answer is not asked again.
        Err(error) if matches!(error.cause, Cause::Service(_)) => {
            return Err(account::failure(Side::Target, target, b"", error));
        }
        looked => looked,
    };
    if at_target.as_ref().is_ok_and(|at_target| at_target.is_same_file(metadata)) {
        return refuse(Cause::SameFile);
    }
    if (Inside { source, metadata, walked: b"" }).holds(resolver, target, selection) {
        return refuse(Cause::TargetInside);
    }
    if at_target.is_ok_and(|at_target| resolver.is_below(Side::Source, source, &at_target)) {
        return refuse(Cause::SourceInside);
    }
    let takes_part = |below: &[u8]| selection.admits_below(below, true);
    let shares = || resolver.share_mounts([source, target], deletes, takes_part);
    if metadata.kind == Kind::Directory && shares() {
        return refuse(Cause::MountedInside);
    }
    let across = resolver.overlap_elsewhere(source, metadata.kind, target);
    across.filter(|cause| deletes || *cause != Cause::MaybeSame).map_or(Ok(()), refuse)
}
