//! Reading a key range of a directory, which another thread or rank has handed over.
//!
//! Where a directory is compared by names with its counterpart, a range is read on both sides. What
//! the counterpart alone has in it is known once the source's names of the range are known, so each
//! range is complete by itself, and a failure of one leaves the others as they are.

use std::sync::Arc;

use super::dir_ref::{DirRef, Trees};
use super::listing::{Listing, Part, Sharing, VisitOrder};
use super::name_set::NameSet;
use super::{Visitor, list_extraneous, walked_dir};
use sched::context::TaskContext;
use store::NameReader;
use types::entry::Hint;
use types::error::{At, Side, SideError};
use types::limits::{LISTING_CUT_PAGES, S3_PAGE_KEYS};
use types::object::key_range::KeyRange;
use types::path::Name;
use types::service::InvalidKey;

/// Number of the source's names in a range up to which parts of the counterpart are handed over:
/// to read the names again then takes no more requests than a cut has to earn.
const NAMES_AGAIN_MAX: usize = LISTING_CUT_PAGES as usize * S3_PAGE_KEYS as usize;

/// Reads a range of a directory in the tree that is walked, and visits its entries, with those that
/// only the counterpart has.
pub(super) fn read<V: Visitor>(
    visitor: &V,
    dir_ref: &Arc<DirRef>,
    key_range: KeyRange,
    worker: &mut V::Worker,
    context: &TaskContext<'_, V>,
) -> Result<(), SideError> {
    let dir = walked_dir(visitor, dir_ref)?;
    let with_extraneous = key_range.is_of_entries && dir_ref.trees() == Trees::Both;
    let sharing = if with_extraneous { Sharing::InPairs } else { Sharing::Allowed };
    let (mut names, after) = (NameSet::default(), key_range.after.clone());
    let all = |name: &Name, hint| {
        if with_extraneous && visitor.selection().is_chosen(dir_ref, &*dir, name, hint) {
            names.insert(name);
        }
        true
    };
    let source = Listing { visitor, dir_ref, dir: &dir, sharing, order: VisitOrder::Any };
    let end = source.read(Part::Range(key_range), all, worker, context)?;
    if !with_extraneous {
        return Ok(());
    }
    let extraneous = Arc::new(dir_ref.extraneous());
    // It earns its cuts, because the source's part was cut already where that was worth it.
    let part = Part::Extraneous(KeyRange { credit: 0, ..KeyRange::of_entries(after, end) });
    list_extraneous(visitor, &extraneous, part, (&names, false), worker, context)
}

/// Reads a range of a counterpart, and visits what the source does not have in it.
pub(super) fn read_extraneous<V: Visitor>(
    visitor: &V,
    extraneous: &Arc<DirRef>,
    key_range: KeyRange,
    worker: &mut V::Worker,
    context: &TaskContext<'_, V>,
) -> Result<(), SideError> {
    let source = extraneous.source_dir(visitor.source(extraneous.root())).at(Side::Source)?;
    let mut chosen = Chosen {
        names: NameSet::default(),
        is_chosen: |name: &Name, hint| {
            visitor.selection().is_chosen(extraneous, &*source, name, hint)
        },
    };
    let same = KeyRange::of_entries(key_range.after.clone(), key_range.end.clone());
    source.read(same, &mut chosen).at(Side::Source)?;
    list_extraneous(
        visitor,
        extraneous,
        Part::Extraneous(key_range),
        (&chosen.names, false),
        worker,
        context,
    )
}

/// Returns whether parts of a counterpart may be handed over, given the source's names of the
/// range.
pub(super) fn sharing_of_extraneous(names: &NameSet) -> Sharing {
    if names.len() <= NAMES_AGAIN_MAX { Sharing::OfExtraneous } else { Sharing::None }
}

/// A reader of the names that the source has, each of which was or will be visited elsewhere.
struct Chosen<F> {
    names: NameSet,
    is_chosen: F,
}

impl<F: Fn(&Name, Hint) -> bool> NameReader for Chosen<F> {
    fn name(&mut self, name: &Name, hint: Hint) {
        if (self.is_chosen)(name, hint) {
            self.names.insert(name);
        }
    }

    /// Ignores the key: whoever visits the source's names reports it.
    fn invalid_key(&mut self, _key: &[u8], _why: InvalidKey) {}

    fn wants_to_share(&self) -> bool {
        false
    }

    fn may_share(&self) -> bool {
        false
    }

    fn share(&mut self, _rest: KeyRange) {}
}
