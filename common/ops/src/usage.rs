//! Statistics of the entries of a walk: size, age, owner, group, depth, and the largest files and
//! directories. Each thread gathers what was requested; the results are merged within a rank, then
//! over all ranks. Memory does not grow with the number of entries.

pub mod bins;
pub mod directories;
pub mod options;
pub mod owners;
pub mod stripes;
pub mod top;

use serde::{Deserialize, Serialize};

use bins::Bins;
use directories::Directories;
use options::UsageOptions;
use owners::Owners;
use stripes::Striped;
use top::Top;
use types::entry::{Kind, Metadata};
use types::limits;
use types::listed::record::Record;

/// Counts of entries and of their content. Bytes are those of regular files, as in the totals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Use {
    /// The number of entries of any type.
    pub items: u64,
    /// The number of regular files.
    pub files: u64,
    /// The sum of their sizes in bytes.
    pub bytes: u64,
    /// The sum of their allocated storage in bytes.
    pub allocated_bytes: u64,
}

impl Use {
    /// Returns the counts of one entry.
    pub fn of(metadata: &Metadata) -> Self {
        if metadata.kind == Kind::File {
            let Metadata { size_bytes: bytes, allocated_bytes, .. } = *metadata;
            Self { items: 1, files: 1, bytes, allocated_bytes }
        } else {
            Self { items: 1, ..Self::default() }
        }
    }

    /// Adds other counts. Sums saturate instead of wrapping, since a list may claim any size.
    pub fn add(&mut self, other: &Self) {
        self.items = self.items.saturating_add(other.items);
        self.files = self.files.saturating_add(other.files);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.allocated_bytes = self.allocated_bytes.saturating_add(other.allocated_bytes);
    }
}

/// The statistics gathered by one thread, one rank, or the whole job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The statistics that were requested.
    pub options: UsageOptions,
    /// Counts by size, for each power of two.
    pub sizes: Option<Bins>,
    /// Counts by size and by age, in the ranges that the operator has set.
    pub distributions: Vec<Bins>,
    /// Counts by age, in the default ranges.
    pub ages: Option<Bins>,
    /// Counts by owner.
    pub users: Owners,
    /// Counts by group.
    pub groups: Owners,
    /// Counts by depth below the root.
    pub depths: Vec<Use>,
    /// The largest files.
    pub files: Top,
    /// Counts by directory.
    pub directories: Directories,
    /// Counts by Lustre layout.
    pub striped: Striped,
}

impl Usage {
    /// Returns empty statistics.
    pub fn new(options: &UsageOptions) -> Self {
        let of = |distribution: &options::Distribution| {
            Bins::new(distribution.field, &distribution.separators)
        };
        Self {
            sizes: options.sizes.then(Bins::of_powers),
            distributions: options.distributions.iter().map(of).collect(),
            ages: options.ages.then(Bins::of_ages),
            users: Owners::default(),
            groups: Owners::default(),
            depths: Vec::new(),
            files: Top::new(options.top),
            directories: Directories::default(),
            striped: Striped::default(),
            options: options.clone(),
        }
    }

    /// Counts an entry.
    pub fn meet(&mut self, record: &Record<'_>) {
        let metadata = record.metadata;
        let part = Use::of(metadata);
        let now = self.options.now_seconds;
        for bins in self.sizes.iter_mut().chain(&mut self.ages).chain(&mut self.distributions) {
            bins.count(metadata, now, &part);
        }
        if self.options.owners {
            self.users.count(metadata.uid, record.user, &part);
            self.groups.count(metadata.gid, record.group, &part);
            let depth = (record.depth as usize).min(limits::USAGE_DEPTHS_MAX - 1);
            if self.depths.len() <= depth {
                self.depths.resize(depth + 1, Use::default());
            }
            self.depths[depth].add(&part);
        }
        if metadata.kind == Kind::File {
            self.files.offer(part.bytes, record.path);
        }
        if self.options.directories {
            let (path, depth) = record.directory();
            self.directories.count(path, depth, &part);
        }
    }

    /// Adds the statistics that another thread or rank has gathered with the same options.
    pub fn merge(&mut self, other: Self) {
        let pairs = self.sizes.iter_mut().zip(&other.sizes);
        let pairs = pairs.chain(self.ages.iter_mut().zip(&other.ages));
        let pairs = pairs.chain(self.distributions.iter_mut().zip(&other.distributions));
        pairs.for_each(|(bins, more)| bins.add(more));
        self.users.merge(other.users);
        self.groups.merge(other.groups);
        if self.depths.len() < other.depths.len() {
            self.depths.resize(other.depths.len(), Use::default());
        }
        self.depths.iter_mut().zip(&other.depths).for_each(|(sum, more)| sum.add(more));
        self.files.merge(other.files);
        self.directories.merge(other.directories);
        self.striped.merge(other.striped);
    }
}
