//! A reference to a directory of the walk: its path, and its handles where this rank has opened
//! them.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use store::{Dir, Made, Store};
use types::error::{Error, Side, SideError};
use types::path::{Name, RelPath};

/// A directory below one of the job's roots, in the tree that is walked and in its counterpart.
/// Every tool has at most two trees, and a directory has the same path in both.
///
/// In messages it is the root and the path; handles stay on the rank that has opened them.
pub struct DirRef {
    root: u32,
    path: RelPath,
    trees: AtomicU8,
    /// The result of preparing the counterpart for changes, on this rank.
    prepared: OnceLock<Result<(), SideError>>,
    source: Handle,
    target: Handle,
    /// Device of the directory in the other tree, once it is known.
    target_device: OnceLock<Result<u64, Error>>,
}

/// The presence of a directory in the two trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trees {
    /// The directory is in both trees, or this is not known yet.
    Both,
    /// The directory has no counterpart, or one that this job has created, which holds nothing but
    /// what this job puts there.
    SourceOnly,
    /// The directory is only in the other tree.
    TargetOnly,
    /// The entries *below* the directory are only in the other tree; the directory itself has been
    /// handled.
    TargetBelow,
}

impl Trees {
    const ALL: [Self; 4] = [Self::Both, Self::SourceOnly, Self::TargetOnly, Self::TargetBelow];

    /// Returns the tree that is read where only one is.
    pub fn side(self) -> Side {
        match self {
            Self::Both | Self::SourceOnly => Side::Source,
            Self::TargetOnly | Self::TargetBelow => Side::Target,
        }
    }
}

/// A directory handle that is opened when it is first needed.
#[derive(Default)]
struct Handle {
    /// The result of opening. A failure is stored too, since many tasks would otherwise wait for it
    /// again.
    opened: OnceLock<Result<Arc<dyn Dir>, Error>>,
    /// The parent directory and the name in it, if the parent was open anyway: opening then takes a
    /// single component instead of a path.
    near: Option<(Arc<dyn Dir>, std::ffi::CString)>,
}

/// The effect that preparing a directory's mode had on the job's access to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// Access is unchanged.
    AsBefore,
    /// Access is wider, for handles opened from now on.
    Gained,
}

impl std::fmt::Debug for DirRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DirRef")
            .field("root", &self.root)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Handle {
    fn get(&self, store: &dyn Store, path: &RelPath) -> Result<Arc<dyn Dir>, Error> {
        self.opened.get_or_init(|| self.open(store, path)).clone()
    }

    fn open(&self, store: &dyn Store, path: &RelPath) -> Result<Arc<dyn Dir>, Error> {
        match self.near.as_ref().map(|(parent, name)| parent.open_dir(name)) {
            // The handle of the parent may be stale, for example after a server's restart; the path
            // from the root may still work.
            Some(Err(error)) if error.cause.is_unanswered() => store.open_dir(path),
            Some(opened) => opened,
            None => store.open_dir(path),
        }
    }

    fn of_child(&self, name: &Name, store: &dyn Store) -> Self {
        let parent = self.opened.get().filter(|_| store.has_spare_handles());
        let parent = parent.and_then(|opened| opened.as_ref().ok());
        let near = parent.map(|parent| (Arc::clone(parent), name.to_owned()));
        Self { opened: OnceLock::new(), near }
    }
}

impl DirRef {
    /// Refers to a root itself.
    pub fn root_of(root: u32) -> Self {
        Self::new(root, RelPath::root())
    }

    /// Refers to the directory with that path below a root.
    pub fn at(root: u32, path: RelPath) -> Self {
        Self::new(root, path)
    }

    /// Refers to the directory with that path in bytes, which must be a valid one; otherwise to the
    /// root.
    pub fn of_bytes(root: u32, path: &[u8]) -> Arc<Self> {
        Arc::new(Self::new(root, RelPath::checked(path).unwrap_or_default()))
    }

    fn new(root: u32, path: RelPath) -> Self {
        Self {
            root,
            path,
            trees: AtomicU8::new(Trees::Both as u8),
            prepared: OnceLock::new(),
            source: Handle::default(),
            target: Handle::default(),
            target_device: OnceLock::new(),
        }
    }

    /// Returns the index of the root.
    pub fn root(&self) -> u32 {
        self.root
    }

    /// Returns the path below the root.
    pub fn path(&self) -> &RelPath {
        &self.path
    }

    /// Refers to a directory in this one.
    #[must_use]
    pub fn child(&self, name: &Name, source: &dyn Store) -> Self {
        let child = Self {
            source: self.source.of_child(name, source),
            target: self.target.of_child(name, source),
            ..Self::new(self.root, self.path.child(name))
        };
        child.set_trees(match self.trees() {
            Trees::TargetBelow => Trees::TargetOnly,
            other => other,
        });
        child
    }

    /// Refers to this directory as one of extraneous names, which are only in the other tree.
    #[must_use]
    pub fn extraneous(&self) -> Self {
        let dir_ref = Self::new(self.root, self.path.clone());
        if let Some(opened) = self.target.opened.get() {
            let _ = dir_ref.target.opened.set(opened.clone());
        }
        dir_ref.set_trees(Trees::TargetOnly);
        dir_ref
    }

    /// Refers to this directory for a task that waits in a queue: with its handles, or without them
    /// where the process runs short of handles.
    #[must_use]
    pub fn for_queue(self: &Arc<Self>, source: &dyn Store) -> Arc<Self> {
        if source.has_spare_handles() {
            return Arc::clone(self);
        }
        Arc::new(self.path_only())
    }

    /// Refers to this directory without handles.
    #[must_use]
    pub fn path_only(&self) -> Self {
        let dir_ref = Self::new(self.root, self.path.clone());
        dir_ref.set_trees(self.trees());
        dir_ref
    }

    /// Prepares the counterpart for changes, once on this rank; other threads wait until that is
    /// done.
    pub fn prepare(
        &self,
        prepare: impl FnOnce() -> Result<(), SideError>,
    ) -> Result<(), SideError> {
        self.prepared.get_or_init(prepare).clone()
    }

    /// Opens the directory in the tree that is walked.
    pub fn source_dir(&self, store: &dyn Store) -> Result<Arc<dyn Dir>, Error> {
        self.source.get(store, &self.path)
    }

    /// Opens the directory in the other tree.
    pub fn target_dir(&self, store: &dyn Store) -> Result<Arc<dyn Dir>, Error> {
        self.target.get(store, &self.path)
    }

    /// Returns the device of the directory in the other tree, which is open as `dir`.
    pub fn target_device(&self, dir: &dyn Dir) -> Result<u64, Error> {
        let device = || dir.metadata().map(|metadata| metadata.device);
        self.target_device.get_or_init(device).clone()
    }

    /// Opens the directory in the other tree. If it was not open yet, `let_in` inspects it before
    /// any other thread uses it, and may widen its mode.
    pub fn target_dir_let_in(
        &self,
        store: &dyn Store,
        let_in: impl FnOnce(&dyn Dir) -> Result<Rights, Error>,
    ) -> Result<Arc<dyn Dir>, Error> {
        let open = || self.target.open(store, &self.path);
        let opened = self.target.opened.get_or_init(|| {
            let dir = open()?;
            match let_in(&*dir)? {
                Rights::AsBefore => Ok(dir),
                Rights::Gained => open(),
            }
        });
        opened.clone()
    }

    /// Returns the parent of this directory in the other tree, whose path is `parent`.
    pub fn target_parent(
        &self,
        store: &dyn Store,
        parent: &RelPath,
    ) -> Result<Arc<dyn Dir>, Error> {
        match &self.target.near {
            Some((dir, _)) => Ok(Arc::clone(dir)),
            None => store.open_dir(parent),
        }
    }

    /// Creates the directory in the other tree, in one that exists.
    pub fn make_target(&self, store: &dyn Store, mode: u32) -> Result<Made, Error> {
        match &self.target.near {
            Some((parent, name)) => parent.make_dir(name, mode),
            None => store.make_dir(&self.path, mode),
        }
    }

    /// Records in which trees the directory is.
    pub fn set_trees(&self, trees: Trees) {
        self.trees.store(trees as u8, Ordering::Relaxed);
    }

    /// Returns in which trees the directory is.
    pub fn trees(&self) -> Trees {
        Trees::ALL[usize::from(self.trees.load(Ordering::Relaxed))]
    }

    /// Returns whether the counterpart is missing, or was created empty by this job.
    pub fn is_fresh(&self) -> bool {
        self.trees() == Trees::SourceOnly
    }
}

impl Serialize for DirRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.root, self.path.as_bytes(), self.trees() as u8).serialize(serializer)
    }
}

/// Decodes a reference from another rank, and validates that the path stays below its root.
impl<'de> Deserialize<'de> for DirRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (root, path, trees) = <(u32, Vec<u8>, u8)>::deserialize(deserializer)?;
        let torn = || serde::de::Error::custom("path of a directory is truncated");
        let path = RelPath::checked(&path).ok_or_else(torn)?;
        let trees = *Trees::ALL.get(usize::from(trees)).ok_or_else(torn)?;
        let dir_ref = Self::new(root, path);
        dir_ref.set_trees(trees);
        Ok(dir_ref)
    }
}
