//! Usage by layout of files on Lustre: by number of stripes, and by pool.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Use;
use types::limits::USAGE_OWNERS_MAX;
use types::lustre::layout::Layout;

/// The usage of files by their layouts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Striped {
    by_count: BTreeMap<(Form, u16), Use>,
    pools: BTreeMap<Vec<u8>, Use>,
    /// The usage of files without a layout, or with one of an unknown type.
    pub without: Use,
}

/// The type of a layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Form {
    /// A layout for the whole file.
    Plain,
    /// A composite layout, with components for ranges of the file. The component that the file's
    /// size has reached counts.
    Composite,
    /// A file whose content is still with its inode, on a metadata target (Data on MDT).
    OnMdt,
}

impl Striped {
    /// Counts a file.
    pub fn count(&mut self, layout: Option<&Layout>, part: &Use) {
        let Some(layout) = layout else { return self.without.add(part) };
        let reached = layout.reached();
        let form = match layout {
            _ if reached.is_on_mdt() => (Form::OnMdt, 0),
            Layout::Plain(_) => (Form::Plain, reached.stripe_count),
            Layout::Composite(_) => (Form::Composite, reached.stripe_count),
        };
        self.by_count.entry(form).or_default().add(part);
        if let Some(pool) = &reached.pool {
            self.add_pool(pool, part);
        }
    }

    /// Adds to the usage of a pool. File systems have few pools, so more than [`USAGE_OWNERS_MAX`]
    /// are ignored as false.
    fn add_pool(&mut self, pool: &[u8], part: &Use) {
        if let Some(known) = self.pools.get_mut(pool) {
            known.add(part);
        } else if self.pools.len() < USAGE_OWNERS_MAX {
            self.pools.insert(pool.to_vec(), *part);
        }
    }

    /// Adds the usage gathered by another thread or rank.
    pub fn merge(&mut self, other: Self) {
        for (form, part) in other.by_count {
            self.by_count.entry(form).or_default().add(&part);
        }
        for (pool, part) in other.pools {
            self.add_pool(&pool, &part);
        }
        self.without.add(&other.without);
    }

    /// Iterates over the usage by type of layout and number of stripes, in increasing order.
    pub fn by_count(&self) -> impl Iterator<Item = (Form, u16, &Use)> {
        self.by_count.iter().map(|((form, count), part)| (*form, *count, part))
    }

    /// Iterates over the usage by pool, of files that are in one.
    pub fn pools(&self) -> impl Iterator<Item = (&[u8], &Use)> {
        self.pools.iter().map(|(pool, part)| (&pool[..], part))
    }
}

impl Form {
    /// Returns the identifier of the type in machine-readable output.
    pub fn word(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Composite => "composite",
            Self::OnMdt => "mdt",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_by_count_and_pool() {
        let part = Use { items: 1, files: 1, bytes: 10, allocated_bytes: 0 };
        let pool = |name: &str| Some(name.as_bytes().to_vec());
        let mut all = Striped::default();
        for layout in [
            Some(Layout::plain(1, 1 << 20, None)),
            Some(Layout::plain(4, 1 << 20, pool("flash"))),
            None,
            Some(Layout::plain(4, 2 << 20, pool("disk"))),
        ] {
            let mut one = Striped::default();
            one.count(layout.as_ref(), &part);
            all.merge(one);
        }
        let counts: Vec<_> =
            all.by_count().map(|(form, count, of)| (form, count, of.files)).collect();
        assert_eq!(counts, [(Form::Plain, 1, 1), (Form::Plain, 4, 2)]);
        let pools: Vec<_> = all.pools().map(|(pool, of)| (pool, of.bytes)).collect();
        assert_eq!(pools, [(&b"disk"[..], 10), (b"flash", 10)]);
        assert_eq!(all.without, part);
    }
}
