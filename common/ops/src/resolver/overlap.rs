//! Overlap of a source and a target that are reached in different ways: a tree that is mounted here
//! and named on another host, too, or on two hosts.

use super::StoreResolver;
use types::entry::Kind;
use types::error::{Cause, Side};
use types::operand::lineage::Lineage;
use types::operand::placement::Given;

/// The nearest directory that exists at or above a path.
struct Nearest {
    lineage: Lineage,
    /// True if it is at the path itself.
    is_it: bool,
}

impl StoreResolver {
    /// Returns why a source of that type and a target are not to be used together, if they are the
    /// same or one is inside the other although their paths are on different hosts. Paths of one
    /// host are compared by device and inode instead.
    pub fn overlap_across_hosts(&self, source: &[u8], kind: Kind, target: &[u8]) -> Option<Cause> {
        if !self.are_on_different_hosts(source, target) {
            return None;
        }
        if self.are_told_by_probe(source, target) {
            return self.overlap_by_probe(source, kind, target);
        }
        if kind != Kind::Directory {
            return self.is_same_name(source, target).then_some(Cause::SameFile);
        }
        let from = self.lineage(source)?;
        let to = self.nearest(target)?;
        if to.is_it && to.lineage.is_of_same(&from) {
            Some(Cause::SameFile)
        } else if to.lineage.is_below(&from) {
            Some(Cause::TargetInside)
        } else {
            (to.is_it && from.is_below(&to.lineage)).then_some(Cause::SourceInside)
        }
    }

    /// Returns whether two paths have one name in the same directory.
    fn is_same_name(&self, source: &[u8], target: &[u8]) -> bool {
        let (source, target) = (Given::new(source), Given::new(target));
        let above = |given: &Given| self.lineage(&given.parent());
        source.last_name.is_some()
            && source.last_name == target.last_name
            && above(&source).zip(above(&target)).is_some_and(|(one, other)| one.is_of_same(&other))
    }

    fn are_on_different_hosts(&self, source: &[u8], target: &[u8]) -> bool {
        if self.is_object(Side::Source, source) || self.is_object(Side::Target, target) {
            return false;
        }
        match [source, target].map(|path| self.hosts.of(path)) {
            [None, None] => false,
            [Some(source), Some(target)] => !std::ptr::eq(source.host, target.host),
            _ => true,
        }
    }

    fn lineage(&self, path: &[u8]) -> Option<Lineage> {
        match self.hosts.of(path) {
            Some(place) => place.host.lineage(place.below),
            None => posix::lineage(&self.local(path)),
        }
    }

    /// Goes up from a path that does not exist yet.
    fn nearest(&self, path: &[u8]) -> Option<Nearest> {
        let place = self.hosts.of(path);
        let below = place.as_ref().map_or(path, |place| place.below);
        let lineage = |at: &[u8]| match &place {
            Some(place) => place.host.lineage(at),
            None => posix::lineage(&self.local(at)),
        };
        let mut at = below.to_vec();
        loop {
            if let Some(lineage) = lineage(&at) {
                return Some(Nearest { lineage, is_it: at == below });
            }
            let parent = Given::local(&at).parent();
            if parent == at {
                return None;
            }
            at = parent;
        }
    }
}
