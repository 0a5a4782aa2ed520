//! A tree below a root.

use std::sync::Arc;
use std::time::Duration;

use types::entry::Metadata;
use types::error::{Error, Op, Result};
use types::outcome::compare::TimeRange;
use types::path::{Name, RelPath};
use types::place::root_view::RootView;

use crate::Dir;
use crate::seam_trait::seam_trait;

/// Abilities of a store, which stay as they are while it is open.
///
/// The default is a file system that has nothing special about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// The service that its files are objects of, where they are: directories are what their keys have in common.
    pub service: Option<u64>,
    /// Set where directories are entries of their own, with attributes, and there are empty ones.
    pub keeps_directories: bool,
    /// Set where new files can be striped as the operator asks.
    pub has_layouts: bool,
    /// Set where writes are thrown away and nothing changes, as in a dry run.
    pub discards_writes: bool,
    /// The most that the clock that stamps changes here may be behind this node's.
    pub clock_behind: Duration,
    /// A warning that says which attribute of all its entries cannot be told here, although it was asked for.
    pub shortcoming: Option<&'static str>,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            service: None,
            keeps_directories: true,
            has_layouts: false,
            discards_writes: false,
            clock_behind: Duration::ZERO,
            shortcoming: None,
        }
    }
}

impl Capabilities {
    /// Returns whether objects under keys are what is kept.
    pub fn holds_objects(&self) -> bool {
        self.service.is_some()
    }
}

seam_trait! {
    /// A tree below a root.
    ///
    /// Beyond the core there are: what the store is able to do; how its content moves; the clocks and times that it
    /// has; and for file systems that nodes mount, a proof that all nodes see one tree.
    pub trait Store, decorated by StoreDecorator, in tests SpyStore;

    required {
        /// Opens a directory by its path below the root.
        fn open_dir(&self, path: &RelPath) -> Result<Arc<dyn Dir>>;

        /// Returns the device of the file system that the root is on, as this node numbers it.
        fn device(&self) -> Result<u64>;
    }

    provided {
        // What the store is able to do.

        /// Returns what the store is able to do as long as it is open.
        fn capabilities(&self) -> Capabilities {
            Capabilities::default()
        }

        /// Returns whether another directory may be kept open for queued work without running out of handles.
        fn has_spare_handles(&self) -> bool {
            true
        }

        /// Returns whether names that differ only in case are one name here, as far as can be seen without writing.
        fn folds_case(&self) -> bool {
            false
        }

        // How content moves.

        /// Returns how large the pieces are in which a file of that size goes to or comes from this store, where the
        /// operator asks for such. Files that are not larger move whole.
        fn chunk_bytes(&self, size_bytes: u64, wish_bytes: u64) -> u64 {
            wish_bytes
        }

        /// Brings to storage what this node has changed.
        fn sync(&self) -> Result<()> {
            Ok(())
        }

        /// Returns whether nothing else that is written here can fare better than what has failed with that `errno`.
        fn is_past_help(&self, errno: i32) -> bool {
            matches!(errno, libc::ENOSPC | libc::EROFS)
        }

        // Removal.

        /// Removes objects by their keys ([`Dir::keys_of`]), as many as fit in one request. Keys without an object are
        /// removed already. Returns the failures, each with the index of its key.
        fn remove_keys(&self, keys: &[String]) -> Result<Vec<(usize, Error)>> {
            Err(Op::Remove.errno(libc::EOPNOTSUPP))
        }

        // Clocks and times.

        /// Returns the most that the clock that times of storing come from is ahead of this node's; `None` where that
        /// is not known.
        fn clock_ahead(&self) -> Option<Duration> {
            Some(Duration::ZERO)
        }

        /// Returns the times that the file system of an entry can keep, as far as it shows.
        fn time_range(&self, entry: &Metadata) -> TimeRange {
            TimeRange::All
        }

        // One tree on all nodes.

        /// Returns a directory's attributes as they are now, whatever this node remembers of it.
        fn look(&self, path: &RelPath) -> Result<Metadata> {
            self.open_dir(path)?.metadata()
        }

        /// Returns the root as this node sees it, or the entry of it that is meant, with the mount points below that
        /// take part; `None` where all nodes see one tree by its nature.
        fn view(
            &self,
            entry: Option<&Name>,
            takes_part: &dyn Fn(&[u8]) -> bool,
        ) -> Result<Option<RootView>> {
            Ok(None)
        }

        /// Remembers what is mounted below the root, or below an entry of it.
        fn watch(&self, entry: Option<&Name>) {}

        /// Fails where something else is mounted below the root than was, at points that take part: what is missing
        /// now has not vanished.
        fn check_mounts(&self, takes_part: &dyn Fn(&[u8]) -> bool) -> Result<()> {
            Ok(())
        }
    }
}

/// Questions that operations ask of [`Capabilities`] often.
impl dyn Store + '_ {
    /// Returns the service that its files are objects of, where they are.
    pub fn service(&self) -> Option<u64> {
        self.capabilities().service
    }

    /// Returns whether objects under keys are what is kept.
    pub fn holds_objects(&self) -> bool {
        self.capabilities().holds_objects()
    }

    /// Returns whether new files here can be striped as the operator asks.
    pub fn has_layouts(&self) -> bool {
        self.capabilities().has_layouts
    }

    /// Returns whether directories are entries of their own.
    pub fn keeps_directories(&self) -> bool {
        self.capabilities().keeps_directories
    }
}

/// A store in a box is the store that is in it.
impl StoreDecorator for Box<dyn Store> {
    fn inner(&self) -> &dyn Store {
        &**self
    }
}
