//! Names that several sources have, whose contents go into one directory: the last source has them.
//!
//! Such sources are walked one after the other. Whatever is done with a name later than that asks whether another
//! source has it, too.

use std::ops::Range;

use super::env::Env;
use super::root::CopyRoot;
use crate::walk::place::Place;
use types::entry::Kind;
use types::path::{Name, RelPath};

impl Env<'_> {
    /// A later source has an entry of that name, which replaces this one's copy.
    pub(super) fn is_replaced_later(&self, place: &Place, name: &Name) -> bool {
        self.is_in_another(place, name, place.root() as usize + 1..self.roots.len())
    }

    /// A source before this one has an entry of that name, whose copy may still be there.
    pub(super) fn replaces_earlier(&self, place: &Place, name: &Name) -> bool {
        self.is_in_another(place, name, 0..place.root() as usize)
    }

    fn is_in_another(&self, place: &Place, name: &Name, others: Range<usize>) -> bool {
        let root = self.root(place);
        let path = place.path();
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

    /// Directories merge.
    fn takes_part_in(&self, other: &CopyRoot, path: &RelPath, name: &Name) -> bool {
        let found = other.source.open_dir(path).and_then(|dir| dir.stat(name));
        found.is_ok_and(|found| {
            let is_made = found.kind != Kind::Directory && self.options.keep.makes(found.kind);
            is_made && self.selection.admits(&found)
        })
    }
}
