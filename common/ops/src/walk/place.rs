//! A directory of the walk: where it is, and its handles where this rank has opened them.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use store::{Dir, Store};
use types::error::{Error, Side, Trouble};
use types::path::{Name, RelPath};

/// A directory below one of the job's roots, in the tree being walked and in its counterpart: every
/// tool has at most two trees, and a directory has one path in both.
///
/// On the wire it is root and path; handles stay on the rank that opened them.
pub struct Place {
    root: u32,
    path: RelPath,
    trees: AtomicU8,
    /// What had to be done before the counterpart could be changed, on this rank.
    prepared: OnceLock<Result<(), Trouble>>,
    source: Handle,
    target: Handle,
}

/// In which of the two trees a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trees {
    /// In both, or not known yet.
    Both,
    /// Its counterpart is missing, or was made by this job, so it is empty but for what this job puts
    /// there.
    SourceOnly,
    /// Only in the other tree.
    TargetOnly,
    /// What is *below* it is only in the other tree; it itself was dealt with already.
    TargetBelow,
}

impl Trees {
    const ALL: [Self; 4] = [Self::Both, Self::SourceOnly, Self::TargetOnly, Self::TargetBelow];

    /// The tree that is read where only one is.
    pub fn side(self) -> Side {
        match self {
            Self::Both | Self::SourceOnly => Side::Source,
            Self::TargetOnly | Self::TargetBelow => Side::Target,
        }
    }
}

/// A directory handle, opened when it is first needed.
#[derive(Default)]
struct Handle {
    /// A failure is kept too: many tasks would each wait for it again.
    opened: OnceLock<Result<Arc<dyn Dir>, Error>>,
    /// The parent and the name in it, while the parent was open anyway: one call instead of a path.
    near: Option<(Arc<dyn Dir>, std::ffi::CString)>,
}

/// What the job may do in a directory, after somebody has seen to its mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// As much as before.
    AsBefore,
    /// More; a new handle has them.
    Gained,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place")
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
            // The handle is no good any more; the way from the root may be.
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

impl Place {
    /// A root itself.
    pub fn root_of(root: u32) -> Self {
        Self::new(root, RelPath::root())
    }

    /// The directory of that path below a root.
    pub fn at(root: u32, path: RelPath) -> Self {
        Self::new(root, path)
    }

    /// The same of a path as bytes, which was one before; the root where it was not.
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
        }
    }

    /// Index of the root it is below.
    pub fn root(&self) -> u32 {
        self.root
    }

    /// Its path below that root.
    pub fn path(&self) -> &RelPath {
        &self.path
    }

    /// A directory in this one.
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

    /// The same directory, as the place of names that only the other tree has.
    #[must_use]
    pub fn extras(&self) -> Self {
        let place = Self::new(self.root, self.path.clone());
        if let Some(opened) = self.target.opened.get() {
            let _ = place.target.opened.set(opened.clone());
        }
        place.set_trees(Trees::TargetOnly);
        place
    }

    /// The same directory for a task that waits: with its handles, or without them where handles run
    /// short.
    #[must_use]
    pub fn for_queue(self: &Arc<Self>, source: &dyn Store) -> Arc<Self> {
        if source.has_spare_handles() {
            return Arc::clone(self);
        }
        Arc::new(self.path_only())
    }

    /// The same directory, without handles.
    #[must_use]
    pub fn path_only(&self) -> Self {
        let place = Self::new(self.root, self.path.clone());
        place.set_trees(self.trees());
        place
    }

    /// Prepares the counterpart for changes, once on this rank: others wait until that is done.
    pub fn prepare(&self, prepare: impl FnOnce() -> Result<(), Trouble>) -> Result<(), Trouble> {
        self.prepared.get_or_init(prepare).clone()
    }

    /// The directory in the tree being walked.
    pub fn source_dir(&self, store: &dyn Store) -> Result<Arc<dyn Dir>, Error> {
        self.source.get(store, &self.path)
    }

    /// The directory in the other tree.
    pub fn target_dir(&self, store: &dyn Store) -> Result<Arc<dyn Dir>, Error> {
        self.target.get(store, &self.path)
    }

    /// The same. Where it was not open yet, `let_in` has a look at it before anybody else, and may widen
    /// its mode.
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

    /// The directory above this one in the other tree, whose path is `parent`.
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

    /// Remembers in which trees it is.
    pub fn set_trees(&self, trees: Trees) {
        self.trees.store(trees as u8, Ordering::Relaxed);
    }

    /// In which trees it is.
    pub fn trees(&self) -> Trees {
        Trees::ALL[usize::from(self.trees.load(Ordering::Relaxed))]
    }

    /// The counterpart is missing or empty.
    pub fn is_fresh(&self) -> bool {
        self.trees() == Trees::SourceOnly
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.root, self.path.as_bytes(), self.trees() as u8).serialize(serializer)
    }
}

/// From another rank: the path is checked to stay below its root.
impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (root, path, trees) = <(u32, Vec<u8>, u8)>::deserialize(deserializer)?;
        let torn = || serde::de::Error::custom("path of a directory is torn");
        let path = RelPath::checked(&path).ok_or_else(torn)?;
        let trees = *Trees::ALL.get(usize::from(trees)).ok_or_else(torn)?;
        let place = Self::new(root, path);
        place.set_trees(trees);
        Ok(place)
    }
}
