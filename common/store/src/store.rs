//! A tree below a root.

use std::sync::Arc;
use std::time::Duration;

use types::entry::{Attributes, Metadata, Preserved};
use types::error::{Error, Op, Result};
use types::operand::root_view::RootView;
use types::outcome::compare::TimeRange;
use types::path::{Name, RelPath};

use crate::seam_trait::seam_trait;
use crate::{Dir, Made};

/// Capabilities of a store, which do not change while it is open.
///
/// The default is that of a file system without special features.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Service of which the files are objects, if they are; directories are then common prefixes of
    /// keys.
    pub service: Option<u64>,
    /// True if directories are entries of their own, with attributes, and can be empty.
    pub keeps_directories: bool,
    /// True if new files can be striped as the operator requests.
    pub has_layouts: bool,
    /// True if writes are discarded and nothing changes, as in a dry run.
    pub discards_writes: bool,
    /// Name of the file system, if its client prefetches attributes for a thread that inspects the
    /// names of a directory in the order in which it reads them.
    pub prefetches_in_order: Option<&'static str>,
    /// True if entries have the time of their last change of any kind.
    pub tells_change_times: bool,
    /// True if an open directory stays the same one, whatever its path leads to later.
    pub holds_directories: bool,
    /// Largest lag of the clock that stamps changes here behind the clock of this node.
    pub clock_behind: Duration,
    /// Warning about an attribute that was requested and that the store cannot return for any
    /// entry.
    pub shortcoming: Option<&'static str>,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            service: None,
            keeps_directories: true,
            has_layouts: false,
            discards_writes: false,
            prefetches_in_order: None,
            tells_change_times: true,
            holds_directories: true,
            clock_behind: Duration::ZERO,
            shortcoming: None,
        }
    }
}

impl Capabilities {
    /// Returns whether the store holds objects under keys.
    pub fn holds_objects(&self) -> bool {
        self.service.is_some()
    }
}

seam_trait! {
    /// A tree below a root.
    ///
    /// Provided methods are in groups: capabilities of the store; the way in which content is
    /// transferred; directories by their paths; removal; clocks and timestamps; and, for file
    /// systems that nodes mount, a proof that all nodes see one tree.
    pub trait Store, decorated by StoreDecorator, in tests SpyStore;

    required {
        /// Opens a directory by its path below the root.
        fn open_dir(&self, path: &RelPath) -> Result<Arc<dyn Dir>>;

        /// Returns the device of the file system that the root is on, as this node numbers it.
        fn device(&self) -> Result<u64>;
    }

    provided {
        // Capabilities of the store.

        /// Returns the capabilities of the store, which do not change while it is open.
        fn capabilities(&self) -> Capabilities {
            Capabilities::default()
        }

        /// Returns whether another directory may be kept open for queued work without running out
        /// of file descriptors.
        fn has_spare_handles(&self) -> bool {
            true
        }

        /// Returns whether names that differ only in case collide here, as far as can be determined
        /// without writing.
        fn is_case_insensitive(&self) -> bool {
            false
        }

        // Ways in which content is transferred.

        /// Returns the chunk size for a file of that size in this store, where the operator
        /// requests chunks of `requested_bytes`. Files that are not larger are transferred as a
        /// whole.
        fn chunk_bytes(&self, size_bytes: u64, requested_bytes: u64) -> u64 {
            requested_bytes
        }

        /// Syncs the changes of this node to storage.
        fn sync(&self) -> Result<()> {
            Ok(())
        }

        /// Returns whether a failure with that `errno` shows that nothing else can be written here
        /// either.
        fn is_past_help(&self, errno: i32) -> bool {
            matches!(errno, libc::ENOSPC | libc::EROFS)
        }

        // Directories by their paths: a store far away needs fewer requests than with handles.

        /// Creates a directory in one that exists; `mode` is subject to the umask of the process.
        fn make_dir(&self, path: &RelPath, mode: u32) -> Result<Made> {
            match path.split_last() {
                Some((parent, name)) => self.open_dir(&parent)?.make_dir(&name, mode),
                None => Err(Op::MakeDir.errno(libc::EEXIST)),
            }
        }

        /// Sets attributes of several directories.
        fn set_each(&self, directories: &[(RelPath, Attributes)]) -> Vec<Result<Preserved>> {
            let set = |(path, attributes): &(RelPath, Attributes)| {
                self.open_dir(path)?.set_attributes(attributes)
            };
            directories.iter().map(set).collect()
        }

        // Removal.

        /// Removes objects by their keys ([`Dir::keys_of`]), as many as fit in one request. Keys
        /// without an object are removed already. Returns the failures, each with the index of its
        /// key.
        fn remove_keys(&self, keys: &[String]) -> Result<Vec<(usize, Error)>> {
            Err(Op::Remove.errno(libc::EOPNOTSUPP))
        }

        // Clocks and timestamps.

        /// Returns how far the clock that stamps stored objects is ahead of that of this node at
        /// most; `None` where that is unknown.
        fn clock_ahead(&self) -> Option<Duration> {
            Some(Duration::ZERO)
        }

        /// Returns the range of timestamps that the file system of an entry supports, as far as the
        /// entry shows it.
        fn time_range(&self, entry: &Metadata) -> TimeRange {
            TimeRange::All
        }

        // One tree on all nodes.

        /// Returns the current metadata of a directory, bypassing caches of this node.
        fn look(&self, path: &RelPath) -> Result<Metadata> {
            self.open_dir(path)?.metadata()
        }

        /// Returns the same of several directories.
        fn look_each(&self, paths: &[RelPath]) -> Vec<Result<Metadata>> {
            paths.iter().map(|path| self.look(path)).collect()
        }

        /// Returns the root, or one entry of it, as this node sees it, with the mount points below
        /// that take part; `None` where all nodes see one tree by the nature of the store.
        fn view(
            &self,
            entry: Option<&Name>,
            takes_part: &dyn Fn(&[u8]) -> bool,
        ) -> Result<Option<RootView>> {
            Ok(None)
        }

        /// Records the mounts below the root, or below an entry of it.
        fn watch(&self, entry: Option<&Name>) {}

        /// Fails where the mounts below the root have changed, at points that take part: an entry
        /// that is missing after that has not vanished.
        fn check_mounts(&self, takes_part: &dyn Fn(&[u8]) -> bool) -> Result<()> {
            Ok(())
        }
    }
}

/// Shortcuts to [`Capabilities`].
impl dyn Store + '_ {
    /// Returns the service of which the files are objects, if they are.
    pub fn service(&self) -> Option<u64> {
        self.capabilities().service
    }

    /// Returns whether the store holds objects under keys.
    pub fn holds_objects(&self) -> bool {
        self.capabilities().holds_objects()
    }

    /// Returns whether new files here can be striped as the operator requests.
    pub fn has_layouts(&self) -> bool {
        self.capabilities().has_layouts
    }

    /// Returns whether writes are discarded and nothing changes, as in a dry run.
    pub fn discards_writes(&self) -> bool {
        self.capabilities().discards_writes
    }

    /// Returns whether directories are entries of their own.
    pub fn keeps_directories(&self) -> bool {
        self.capabilities().keeps_directories
    }
}

/// Forwarding from a shared store to the store itself.
impl StoreDecorator for Arc<dyn Store> {
    fn inner(&self) -> &dyn Store {
        &**self
    }
}

/// Forwarding from a box to the store in it.
impl StoreDecorator for Box<dyn Store> {
    fn inner(&self) -> &dyn Store {
        &**self
    }
}
