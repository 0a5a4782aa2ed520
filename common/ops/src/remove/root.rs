//! Roots of a removal, open on this rank, and the paths that are always refused.

use std::ffi::CString;
use std::sync::Arc;

use crate::journal::folder::absolute;
use crate::resolver::StoreResolver;
use crate::walk::dir_ref::DirRef;
use crate::walk::{WalkTask, account};
use store::opening::{Need, OpenAs, Symlinks};
use store::{Dir, Store};
use types::entry::{Attributes, Kind, Metadata, Times};
use types::error::{Cause, Error, Failure, Op, Result, Side};
use types::operand::location::path_there;
use types::operand::placement::{Given, without_slashes};
use types::path::{self, RelPath, without_end_slashes};

/// A tree or an entry that is to be removed.
pub struct RemoveRoot {
    /// Store of the tree, or of the directory of a single entry.
    pub store: Arc<dyn Store>,
    /// Path of the store's root, for messages.
    pub shown: Vec<u8>,
    /// Path as the operator wrote it.
    pub given: Vec<u8>,
    /// Name of the single entry to remove, where it is not a directory.
    pub single: Option<CString>,
    /// Path that regular expressions are matched with.
    pub whole: Vec<u8>,
    /// Real path, without symbolic links, where there is one.
    pub real: Option<Vec<u8>>,
    /// Mount that all of the tree is on.
    pub mount: Option<u64>,
    /// True if a move removes the directory itself, too.
    pub goes_itself: bool,
    /// Parent directory, where the root is an entry of one.
    above: Option<Above>,
}

/// The parent directory of a root.
struct Above {
    dir: Arc<dyn Dir>,
    name: CString,
    /// Metadata of the root when it was opened.
    root: Metadata,
    /// Timestamps that the directory had before.
    times: Option<Times>,
}

/// Reason why a path is not a root of the removal.
#[derive(Debug)]
pub enum NotRemovable {
    /// Refusal of a path that must not be removed; the job then removes nothing.
    Refused(String),
    /// Failure to open the path.
    Failed(Failure),
}

/// Returns the reason why a path must not be removed, as far as its spelling shows.
pub fn refusal(given: &[u8]) -> Option<String> {
    let shown = path::escaped(given);
    let there = path_there(given);
    let bare = without_end_slashes(there);
    let last = bare.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    if given.is_empty() {
        Some("an empty path names nothing that could be removed".to_owned())
    } else if there.is_empty() {
        Some(format!("\"{shown}\" is a whole home directory or service, which is not removed"))
    } else if bare.is_empty() {
        Some(format!("\"{shown}\" is the root directory, which is not removed"))
    } else if matches!(last, b"." | b"..") {
        let name = path::escaped(last);
        Some(format!(
            "\"{shown}\" ends in \"{name}\", which is not removed; name the directory itself"
        ))
    } else {
        None
    }
}

impl RemoveRoot {
    /// Opens the root of a path, without following a symbolic link at its end.
    ///
    /// # Errors
    /// Returns why the path must not be removed, or cannot be opened.
    pub fn open(resolver: &StoreResolver, given: &[u8]) -> std::result::Result<Self, NotRemovable> {
        let refused =
            |why: &str| NotRemovable::Refused(format!("\"{}\" {why}", path::escaped(given)));
        let failed =
            |error| NotRemovable::Failed(account::failure(Side::Source, given, b"", error));
        if let Some((_, location)) = resolver.objects(Side::Source, given) {
            if without_end_slashes(&location.prefix).is_empty() {
                return Err(refused(
                    "is a whole bucket, which is not emptied; name prefixes in it",
                ));
            }
            let found = resolver.look(Side::Source, given, Symlinks::Keep).map_err(failed)?;
            let opened = match found.kind {
                Kind::Directory => Self::objects(resolver, given),
                _ => Self::entry(resolver, given),
            };
            return opened.map_err(failed);
        }
        let path = without_slashes(given);
        let found = resolver.look(Side::Source, path, Symlinks::Keep).map_err(failed)?;
        match found.kind {
            Kind::Directory => match Self::tree(resolver, path, &found) {
                Err(Error { cause: Cause::MountPoint, .. }) => {
                    Err(refused("is a mount point, which is not removed; name what is in it"))
                }
                opened => opened.map_err(failed),
            },
            Kind::Symlink if path.len() < given.len() => Err(refused(
                "is a symbolic link to a directory: without the slash the link is removed; what it leads to \
                 goes by its own name",
            )),
            _ if path.len() < given.len() => Err(failed(Op::Open.errno(libc::ENOTDIR))),
            _ => Self::entry(resolver, path).map_err(failed),
        }
    }

    /// Returns whether the home directory of the user is this directory, or below it.
    pub fn has_home(&self, resolver: &StoreResolver) -> bool {
        let (Some(real), Some(home)) = (&self.real, resolver.home(&self.given)) else {
            return false;
        };
        is_below(&home, real)
    }

    fn new(store: impl Into<Arc<dyn Store>>, (shown, given): (&[u8], &[u8])) -> Self {
        Self {
            store: store.into(),
            shown: shown.to_vec(),
            given: given.to_vec(),
            single: None,
            whole: shown.to_vec(),
            real: None,
            mount: None,
            goes_itself: false,
            above: None,
        }
    }

    fn objects(resolver: &StoreResolver, given: &[u8]) -> Result<Self> {
        let store = resolver.open(Side::Source, given, OpenAs::default())?;
        Ok(Self::new(store, (without_end_slashes(given), given)))
    }

    fn tree(resolver: &StoreResolver, path: &[u8], found: &Metadata) -> Result<Self> {
        let given = Given::new(path);
        let Some(name) = &given.last_name else { return Err(Op::Remove.failed(Cause::MountPoint)) };
        let name = CString::new(name.clone()).map_err(|_| Op::Open.errno(libc::EINVAL))?;
        let store = resolver.open(Side::Source, path, OpenAs::default())?;
        let dir = store.open_dir(&RelPath::root())?;
        let (root, mount) = (dir.metadata()?, dir.mount()?);
        if !root.is_same_file(found) {
            return Err(Op::Open.failed(Cause::Changed));
        }
        let above = resolver.open(Side::Source, &given.parent(), passage())?;
        let above = above.open_dir(&RelPath::root())?;
        let around = above.metadata()?;
        if above.mount()? != mount || around.is_same_file(&root) {
            return Err(Op::Remove.failed(Cause::MountPoint));
        }
        let above = Above { dir: above, name, root, times: around.times() };
        let real = resolver.real_path(Side::Source, path);
        let new = Self::new(store, (path, path));
        let whole = if resolver.is_remote(path) { path.to_vec() } else { absolute(path) };
        Ok(Self { mount, real, above: Some(above), whole, ..new })
    }

    /// Opens the root of what a move has copied from that store. The directory itself is removed
    /// only where `goes_itself` is set.
    ///
    /// # Errors
    /// Returns an error if the directory or its parent cannot be opened.
    pub fn of_source(
        resolver: &StoreResolver,
        (store, path): (&Arc<dyn Store>, &[u8]),
        goes_itself: bool,
    ) -> Result<Self> {
        let shown: &[u8] = if path == b"." { b"" } else { without_slashes(path) };
        let new = Self::new(Arc::clone(store), (shown, path));
        if let Some((_, location)) = resolver.objects(Side::Source, path) {
            let is_bucket = without_end_slashes(&location.prefix).is_empty();
            return Ok(Self { goes_itself: goes_itself && !is_bucket, ..new });
        }
        if !goes_itself {
            return Ok(new);
        }
        let root = store.open_dir(&RelPath::root())?.metadata()?;
        let above = match Self::tree(resolver, without_slashes(path), &root) {
            Ok(tree) => tree.above,
            Err(Error { cause: Cause::MountPoint, .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(Self { goes_itself: above.is_some(), above, ..new })
    }

    fn entry(resolver: &StoreResolver, path: &[u8]) -> Result<Self> {
        let given = Given::new(path);
        let name = given.last_name.clone().ok_or(Op::Open.errno(libc::EINVAL))?;
        let parent = given.parent();
        let store = resolver.open(Side::Source, &parent, passage())?;
        let dir = store.open_dir(&RelPath::root())?;
        let (around, mount) = (dir.metadata()?, dir.mount()?);
        let is_object = resolver.is_object(Side::Source, path);
        let is_elsewhere = is_object || resolver.is_remote(path);
        let whole = if is_elsewhere { parent.clone() } else { absolute(&parent) };
        let real = resolver.real_path(Side::Source, &parent).map(|above| path::join(&above, &name));
        let name = CString::new(name).map_err(|_| Op::Open.errno(libc::EINVAL))?;
        let above = (!is_object).then(|| Above {
            dir,
            name: name.clone(),
            root: around,
            times: around.times(),
        });
        let shown: &[u8] = if parent == b"." { b"" } else { &parent };
        let new = Self::new(store, (shown, path));
        Ok(Self { single: Some(name), whole, real, mount, above, ..new })
    }

    /// Returns the first task of its walk.
    pub fn seed(&self, index: u32) -> WalkTask {
        let dir_ref = Arc::new(DirRef::root_of(index));
        match &self.single {
            Some(name) => WalkTask::single(dir_ref, name),
            None => WalkTask::List(dir_ref),
        }
    }

    /// Removes the directory itself, which is empty by now, if its name still refers to it.
    ///
    /// # Errors
    /// Returns those of [`Dir::remove`].
    pub fn remove(&self) -> Result<()> {
        let Some(Above { dir, name, root, .. }) = &self.above else { return Ok(()) };
        // The directory above is not a part of the store.
        if self.store.discards_writes() {
            return Ok(());
        }
        if !dir.stat(name)?.is_same_file(root) {
            return Err(Op::Remove.failed(Cause::Changed));
        }
        dir.remove(name, Kind::Directory)
    }

    /// Checks that no object is left where all are removed: no error shows that, unlike that of
    /// rmdir(2).
    ///
    /// # Errors
    /// Returns an error if an object is left, or the service does not answer.
    pub fn check_gone(&self, resolver: &StoreResolver) -> Result<()> {
        let removes_objects = self.store.holds_objects() && !self.store.discards_writes();
        if !removes_objects || self.single.is_some() {
            return Ok(());
        }
        match resolver.objects(Side::Source, &path::contents_of(&self.given)) {
            Some((objects, _)) if objects.has_objects()? => Err(Op::Remove.errno(libc::ENOTEMPTY)),
            _ => Ok(()),
        }
    }

    /// Restores the timestamps of the parent directory.
    ///
    /// # Errors
    /// Returns those of [`Dir::set_attributes`].
    pub fn restore_above(&self) -> Result<()> {
        let Some(Above { dir, times: times @ Some(_), .. }) = &self.above else { return Ok(()) };
        dir.set_attributes(&Attributes { times: *times, ..Attributes::NONE.clone() }).map(drop)
    }
}

/// Returns how to open a directory through which entries are reached.
fn passage() -> OpenAs {
    OpenAs { need: Need::Passage, below: Need::Passage, ..OpenAs::default() }
}

/// Returns whether a real path is that of a directory, or below it.
fn is_below(inner: &[u8], outer: &[u8]) -> bool {
    let below = inner.strip_prefix(outer);
    below.is_some_and(|below| below.is_empty() || below.starts_with(b"/"))
}

/// Finds a root that is inside another one, or the same; returns the indices of the inner and the
/// outer one.
pub fn overlap(roots: &[RemoveRoot]) -> Option<(usize, usize)> {
    let is_in = |inner: &RemoveRoot, outer: &RemoveRoot| {
        let (Some(inner), Some(outer)) = (&inner.real, &outer.real) else {
            return without_slashes(&inner.given) == without_slashes(&outer.given);
        };
        is_below(inner, outer)
    };
    let pairs = (0..roots.len()).flat_map(|one| (0..roots.len()).map(move |other| (one, other)));
    pairs.into_iter().find(|(one, other)| one != other && is_in(&roots[*one], &roots[*other]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_never_removed_is_told_by_its_spelling() {
        for refused in [
            "",
            "/",
            "//",
            ".",
            "..",
            "a/.",
            "a/..",
            "./",
            "../..//",
            "/.",
            "a/./",
            "h:/",
            "u@h:/",
            "h://",
            "u@h:",
            "u@h:.",
            "h:./",
            "u@h:./",
            "h:/.",
            "h:..",
            "h:~",
            "u@h:~/",
            "u@[::1]:/",
            "sftp://h/",
            "sftp://h/~",
            "sftp://h/~/",
            "sftp://h/x/..",
            "remote:",
        ] {
            let why = refusal(refused.as_bytes()).unwrap_or_else(|| panic!("{refused}"));
            assert!(!why.contains('\n') && why.contains("remove"), "{why}");
        }
        for fine in [
            "a",
            "./a",
            "../a",
            "a/",
            ".a",
            "..a",
            "...",
            "s3://b/a",
            "/a/b//",
            "h:/a",
            "u@h:a",
            "u@h:~/a",
            "sftp://h/a",
            "sftp://h/~/a",
            "remote:b/a",
            "./h:/",
        ] {
            assert_eq!(refusal(fine.as_bytes()), None, "{fine}");
        }
    }
}
