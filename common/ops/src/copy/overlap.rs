//! Names that several sources have, whose contents go into one directory: the last source prevails.
//!
//! Such sources are walked one after the other. Any later step for a name checks whether another
//! source has it, too.

use std::ops::Range;

use super::env::Env;
use super::root::CopyRoot;
use crate::walk::dir_ref::DirRef;
use types::entry::Kind;
use types::path::{Name, RelPath};

impl Env<'_> {
    /// True if a later source has an entry of that name, which replaces the copy of this one.
    pub(super) fn is_replaced_later(&self, dir_ref: &DirRef, name: &Name) -> bool {
        self.is_in_another(dir_ref, name, dir_ref.root() as usize + 1..self.roots.len())
    }

    /// True if an earlier source has an entry of that name, whose copy may still be there.
    pub(super) fn replaces_earlier(&self, dir_ref: &DirRef, name: &Name) -> bool {
        self.is_in_another(dir_ref, name, 0..dir_ref.root() as usize)
    }

    fn is_in_another(&self, dir_ref: &DirRef, name: &Name, others: Range<usize>) -> bool {
        let root = self.root(dir_ref);
        let path = dir_ref.path();
        let has = |other: &CopyRoot| {
            let is_beside = other.shown_target == root.shown_target;
            let is_meant = other.names.as_ref().is_none_or(|names| {
                let first = path.components().next().unwrap_or_else(|| name.to_bytes());
                names.iter().any(|own| own.to_bytes() == first)
            });
            is_beside && is_meant && self.takes_part_in(other, path, name)
        };
        self.roots[others].iter().any(has)
    }

    /// True if a source has an entry of that name that takes part; directories do not count,
    /// because they merge.
    fn takes_part_in(&self, other: &CopyRoot, path: &RelPath, name: &Name) -> bool {
        let found = other.source.open_dir(path).and_then(|dir| dir.stat(name));
        found.is_ok_and(|found| {
            let is_made = found.kind != Kind::Directory && self.options.keep.makes(found.kind);
            is_made && self.selection.admits(&found)
        })
    }
}
