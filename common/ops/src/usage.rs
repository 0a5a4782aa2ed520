//! Statistics of the entries a walk meets: size, age, owner, group, depth, the largest files and
//! directories. Gathered by each thread, merged by rank, then over ranks; only what was asked for, in
//! memory that does not grow with the number of entries.

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

/// Entries and what they hold. Bytes are those of regular files, as in the totals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Use {
    /// Entries of any kind.
    pub items: u64,
    /// Regular files.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Storage in use by them.
    pub allocated_bytes: u64,
}

impl Use {
    /// Of one entry.
    pub fn of(metadata: &Metadata) -> Self {
        if metadata.kind == Kind::File {
            let Metadata { size_bytes: bytes, allocated_bytes, .. } = *metadata;
            Self { items: 1, files: 1, bytes, allocated_bytes }
        } else {
            Self { items: 1, ..Self::default() }
        }
    }

    /// Adds another part. Sums stay at the largest number rather than wrap: a list may claim any size.
    pub fn add(&mut self, other: &Self) {
        self.items = self.items.saturating_add(other.items);
        self.files = self.files.saturating_add(other.files);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.allocated_bytes = self.allocated_bytes.saturating_add(other.allocated_bytes);
    }
}

/// What one thread, one rank or the whole job has gathered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// What was asked for.
    pub options: UsageOptions,
    /// By size, for each power of two.
    pub sizes: Option<Bins>,
    /// By size and by age, as the operator divided them.
    pub distributions: Vec<Bins>,
    /// By age, in the usual steps.
    pub ages: Option<Bins>,
    /// By owner.
    pub users: Owners,
    /// By group.
    pub groups: Owners,
    /// By how deep entries are.
    pub depths: Vec<Use>,
    /// The largest files.
    pub files: Top,
    /// By directory.
    pub directories: Directories,
    /// By layout, on Lustre.
    pub striped: Striped,
}

impl Usage {
    /// Nothing yet.
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

    /// Adds what another thread or rank has gathered for the same question.
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
