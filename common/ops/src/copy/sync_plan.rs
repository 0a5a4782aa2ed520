//! From the two paths of a synchronisation to its root: what rank 0 finds out, once, before anything
//! is written.

use super::options::CopyOptions;
use super::plan::{self, CopyPlan, Inside, make_root_target};
use super::root::RootPlan;
use crate::sites::Sites;
use crate::walk::account;
use crate::walk::selection::Selection;
use store::opening::Symlinks;
use types::entry::{Kind, Metadata};
use types::error::{Cause, Failure, Op, Result, Side};

/// Contents to contents: trailing slashes do not matter. A source that is no directory goes where cp(1) and
/// mpiFileUtils' dsync would put it: into a directory that exists, or to the name that is given.
pub fn make(
    sites: &Sites,
    source: &[u8],
    target: &[u8],
    (options, selection): (&CopyOptions, &Selection),
) -> CopyPlan {
    let mut plan = CopyPlan::default();
    if let Err(refusal) = options.check() {
        plan.refusals.push(refusal);
        return plan;
    }
    let looked = sites.look(Side::Source, source, Symlinks::Follow);
    if is_single(sites, source, &looked) {
        return plan::make(sites, &[source.to_vec()], target, None, (options, selection));
    }
    let mut root = RootPlan::new(source.to_vec(), target.to_vec(), None);
    let checked = looked
        .map_err(|error| account::failure(Side::Source, source, b"", error))
        .and_then(|metadata| refuse_overlap(sites, source, target, (&metadata, selection)))
        .and_then(|()| refuse_old_inside(sites, target, options));
    match checked {
        Ok(()) => match make_root_target(sites, &root, options) {
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

/// Whether that is a link to something else than a directory: it stands for that, as a link to a directory does.
pub fn is_link_to_single(sites: &Sites, source: &[u8]) -> bool {
    let kind = |symlinks| sites.look(Side::Source, source, symlinks).ok().map(|found| found.kind);
    !sites.is_object(Side::Source, source)
        && kind(Symlinks::Keep) == Some(Kind::Symlink)
        && kind(Symlinks::Follow).is_some_and(|kind| kind != Kind::Directory)
}

/// Whether there is something else than a directory; also a link that leads nowhere.
fn is_single(sites: &Sites, source: &[u8], looked: &Result<Metadata>) -> bool {
    let is_other = |metadata: &Metadata| metadata.kind != Kind::Directory;
    match looked {
        Ok(metadata) => is_other(metadata),
        // Objects are no such links, and a service that does not answer is not asked again.
        Err(_) if sites.is_object(Side::Source, source) => false,
        Err(_) => sites.look(Side::Source, source, Symlinks::Keep).as_ref().is_ok_and(is_other),
    }
}

/// What is linked to must not be deleted as something the source does not have.
fn refuse_old_inside(
    sites: &Sites,
    target: &[u8],
    options: &CopyOptions,
) -> std::result::Result<(), Failure> {
    let Some(old) = options.sync.as_ref().and_then(|sync| sync.link_dest.as_ref()) else {
        return Ok(());
    };
    match sites.look(Side::Target, target, Symlinks::Follow) {
        Ok(at_target) if sites.is_below(Side::Target, old, &at_target) => {
            let error = Op::Link.failed(Cause::SourceInside);
            Err(account::failure(Side::Target, old, b"", error))
        }
        _ => Ok(()),
    }
}

/// Neither may be inside the other: the target would be made equal to itself, or the source deleted as
/// something the source does not have.
fn refuse_overlap(
    sites: &Sites,
    source: &[u8],
    target: &[u8],
    (metadata, selection): (&Metadata, &Selection),
) -> std::result::Result<(), Failure> {
    let refuse = |cause| Err(account::failure(Side::Source, source, b"", Op::Copy.failed(cause)));
    let at_target = match sites.look(Side::Target, target, Symlinks::Follow) {
        // A service that is not there is not asked again.
        Err(error) if matches!(error.cause, Cause::Service(_)) => {
            return Err(account::failure(Side::Target, target, b"", error));
        }
        looked => looked,
    };
    if at_target.as_ref().is_ok_and(|at_target| at_target.is_same_file(metadata)) {
        return refuse(Cause::SameFile);
    }
    if (Inside { source, metadata, walked: b"" }).holds(sites, target, selection) {
        return refuse(Cause::TargetInside);
    }
    if at_target.is_ok_and(|at_target| sites.is_below(Side::Source, source, &at_target)) {
        return refuse(Cause::SourceInside);
    }
    Ok(())
}
