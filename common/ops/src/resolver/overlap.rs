//! Overlap of a source and a target that are reached in different ways: a tree that is mounted here
//! and named on another host, too, or on two hosts; or objects behind two names of a service.

use super::StoreResolver;
use super::spot::Spot;
use store::opening::Symlinks;
use types::entry::Kind;
use types::error::{Cause, Side};
use types::operand::placement::Given;
use types::path::without_end_slashes;

impl StoreResolver {
    /// Returns the path of a source below a target that exists; `None` where it is not there, or
    /// reached in another way.
    pub fn path_below(&self, source: &[u8], target: &[u8]) -> Option<Vec<u8>> {
        let target_is = self.look(Side::Target, target, Symlinks::Follow).ok()?;
        if !self.is_below(Side::Source, source, &target_is) {
            return None;
        }
        if let (Some((_, from)), Some((_, to))) =
            (self.objects(Side::Source, source), self.objects(Side::Target, target))
        {
            let below = from.prefix.strip_prefix(without_end_slashes(&to.prefix))?;
            let below = without_end_slashes(below);
            return Some(below.strip_prefix(b"/").unwrap_or(below).to_vec());
        }
        let path = self.real_path(Side::Source, source)?;
        let is_target = |slash: &usize| {
            let above = self.look(Side::Source, &path[..(*slash).max(1)], Symlinks::Follow);
            above.is_ok_and(|above| above.is_same_file(&target_is))
        };
        let slashes = (0..path.len()).rev().filter(|at| path[*at] == b'/');
        slashes.into_iter().find(is_target).map(|slash| path[slash + 1..].to_vec())
    }

    /// Returns why a source of that type and a target are not to be used together, if they are the
    /// same or one is inside the other although their paths are on different hosts or in different
    /// services. Paths of one host or service are compared by device and inode instead.
    pub fn overlap_elsewhere(&self, source: &[u8], kind: Kind, target: &[u8]) -> Option<Cause> {
        match (self.objects(Side::Source, source), self.objects(Side::Target, target)) {
            (Some((source, _)), Some((target, _))) => {
                return target.overlap_with(&source, kind, self.makes_no_probes);
            }
            (None, None) => {}
            _ => return None,
        }
        let (from, to) = (self.spot(source), self.spot(target));
        if from.is_on_host_of(&to) {
            None
        } else if from.is_on_sftp() || to.is_on_sftp() {
            self.overlap_by_probe(&from, kind, &to)
        } else if kind == Kind::Directory {
            overlap_of_directory(&from, &to)
        } else {
            is_same_name(&from, &to).then_some(Cause::SameFile)
        }
    }
}

/// Returns how a directory and a target are inside each other, from the directories above both.
fn overlap_of_directory(source: &Spot<'_>, target: &Spot<'_>) -> Option<Cause> {
    let from = source.lineage(&source.path)?;
    let (to, below) = target.nearest(|at| target.lineage(at))?;
    if below.is_empty() && to.is_of_same(&from) {
        Some(Cause::SameFile)
    } else if to.is_below(&from) {
        Some(Cause::TargetInside)
    } else {
        (below.is_empty() && from.is_below(&to)).then_some(Cause::SourceInside)
    }
}

/// Returns whether two paths have one name in the same directory.
fn is_same_name(source: &Spot<'_>, target: &Spot<'_>) -> bool {
    let (from, to) = (Given::local(&source.path), Given::local(&target.path));
    let above = |spot: &Spot<'_>, given: &Given| spot.lineage(&given.parent());
    from.last_name.is_some()
        && from.last_name == to.last_name
        && above(source, &from)
            .zip(above(target, &to))
            .is_some_and(|(one, other)| one.is_of_same(&other))
}
