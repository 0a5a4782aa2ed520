//! Directories without content, which are left out (`--prune-empty-dirs`).
//!
//! A directory has content if an entry other than a directory takes part that is in it or anywhere
//! below it. The walk finds that out after it has entered the directory, and perhaps on another
//! rank. A directory that the target lacks is therefore created when the first such entry is
//! visited, with those above it that are missing, too. Where entries are deleted that only the
//! target has, its directories without content in the source count among those.

use std::ffi::CString;
use std::sync::{Arc, Mutex, PoisonError};

use super::CopyTask;
use super::context::Context;
use super::directory::{Directories, attributes_of_new, make_here};
use super::env::Env;
use super::extraneous::Extraneous;
use super::task::CopyMessage;
use crate::walk::dir_ref::{DirRef, Trees};
use crate::walk::marked_dirs::MarkedDirs;
use crate::walk::packed::{Packed, RootedPath};
use crate::walk::{Skip, Visit};
use comm::Rank;
use store::{Made, Store};
use types::entry::{Kind, Metadata, Preserved};
use types::error::{At, Error, Side, SideError};
use types::path::{self, RelPath};

/// Directories with and without content, as this rank knows them, over all phases of a job.
#[derive(Debug, Default)]
pub struct Pruning {
    /// Directories of the source with content. Recorded where entries are deleted.
    content: MarkedDirs,
    /// Directories of the target in which filters protect an entry from deletion.
    protected: MarkedDirs,
    /// Directories that both trees have.
    in_both: Mutex<Packed<()>>,
    /// Entries of the target that are no directories where the source has one.
    in_the_way: Mutex<Extraneous>,
}

impl Pruning {
    /// Takes out what other ranks do not know yet, to be passed to [`Pruning::extend`].
    pub fn take_news(&self) -> [Vec<u64>; 2] {
        [self.content.take_news(), self.protected.take_news()]
    }

    /// Adds what another rank knows.
    pub fn extend(&self, of_other: &[Vec<u64>; 2]) {
        self.content.extend(&of_other[0]);
        self.protected.extend(&of_other[1]);
    }

    /// True if a directory of the source has no content, as soon as this rank knows what all know.
    pub(crate) fn is_empty(&self, root: u32, path: &[u8]) -> bool {
        !self.content.has(root, path)
    }

    /// True if the target no longer has a directory without content.
    pub(super) fn is_gone(&self, target: &dyn Store, root: u32, path: &[u8]) -> bool {
        let Some(path) = RelPath::checked(path).filter(|_| self.is_empty(root, path)) else {
            return false;
        };
        let may_lack = |below: &RelPath| self.is_empty(root, below.as_bytes());
        first_missing(target, &path, may_lack).is_ok_and(|missing| missing.is_some())
    }

    /// True if filters protect an entry in a directory of the target.
    pub(crate) fn protects(&self, root: u32, path: &[u8]) -> bool {
        self.protected.has(root, path)
    }

    /// Returns the directories of the target that this rank has met and that are empty in the
    /// source.
    pub(crate) fn empty_in_target(&self) -> Vec<RootedPath> {
        let in_both = self.in_both.lock().unwrap_or_else(PoisonError::into_inner);
        let all = in_both.iter().map(|(directory, ())| directory);
        all.filter(|(root, path)| self.is_empty(*root, path)).collect()
    }

    /// Takes out the entries of the target in whose place the source has an empty directory.
    pub fn take_extraneous(&self) -> Extraneous {
        let mut in_the_way = self.in_the_way.lock().unwrap_or_else(PoisonError::into_inner);
        let mut extraneous = std::mem::take(&mut *in_the_way);
        extraneous.retain_names(|dir_ref, name| {
            let below = path::join(dir_ref.path().as_bytes(), name.to_bytes());
            self.is_empty(dir_ref.root(), &below)
        });
        extraneous
    }

    /// Records an entry of the target that has the name of a directory of the source.
    pub(super) fn found_in_the_way(&self, entry: &Visit<'_>) {
        let in_the_way = self.in_the_way.lock().unwrap_or_else(PoisonError::into_inner);
        in_the_way.add(entry.dir_ref, entry.name, types::entry::Hint::Unknown);
    }

    /// Records that filters protect an entry of the target.
    pub(super) fn left_out(&self, dir_ref: &DirRef) {
        if dir_ref.trees().side() == Side::Target {
            self.protected.add(dir_ref.root(), dir_ref.path().as_bytes());
        }
    }

    /// Records a directory that both trees have.
    pub(super) fn entered(&self, env: &Env<'_>, dir_ref: &DirRef, metadata: &Metadata) {
        let source = env.root(dir_ref).source.device();
        let is_walked = !env.selection.stops_at(metadata, source);
        if env.deletes() && is_walked && !dir_ref.path().is_root() {
            let mut in_both = self.in_both.lock().unwrap_or_else(PoisonError::into_inner);
            in_both.add(dir_ref.root(), dir_ref.path().as_bytes(), &());
        }
    }
}

/// Waits with the creation of a directory that the target lacks; returns false where the target has
/// it.
pub(super) fn waits(env: &Env<'_>, dir_ref: &DirRef) -> bool {
    let target = env.target(dir_ref);
    if env.pruning.is_none() || !target.keeps_directories() || dir_ref.path().is_root() {
        return false;
    }
    // Every other failure shows when the directory is created.
    let waits = dir_ref.is_fresh() || !is_directory(target, dir_ref).unwrap_or(false);
    if waits {
        dir_ref.set_trees(Trees::SourceOnly);
    }
    waits
}

impl Directories {
    /// Notes that a directory has content, and creates it if it is missing at the target. `Err`
    /// excludes the entries of the directory, after the failure was reported.
    pub(super) fn has_content(
        &self,
        dir_ref: &Arc<DirRef>,
        cx: &mut Context<'_, '_>,
    ) -> Result<(), Skip> {
        let Some(pruning) = cx.env.pruning else { return Ok(()) };
        if cx.env.deletes() {
            pruning.content.add(dir_ref.root(), dir_ref.path().as_bytes());
        }
        if cx.env.named.is_some() {
            return self.make_reachable(dir_ref, cx);
        }
        if !dir_ref.is_fresh() || !cx.env.target(dir_ref).keeps_directories() {
            return Ok(());
        }
        self.for_each_above(dir_ref, cx, |dir_ref, cx| self.make_missing(dir_ref, cx))
    }

    /// Creates a directory below the root if the target lacks it.
    fn make_missing(
        &self,
        dir_ref: &Arc<DirRef>,
        cx: &mut Context<'_, '_>,
    ) -> Result<(), SideError> {
        let target = cx.env.target(dir_ref);
        let Some((parent, _)) = dir_ref.path().split_last() else { return Ok(()) };
        if is_directory(target, dir_ref).unwrap_or(false) {
            return Ok(());
        }
        dir_ref.set_trees(Trees::SourceOnly);
        if target.discards_writes() || target.holds_objects() {
            // Nothing shows that another rank has done it, and nothing below depends on it.
            if cx.task.rank() == Rank::ROOT {
                cx.task.push_pinned(CopyTask::Directory(Arc::clone(dir_ref)));
            } else {
                cx.task.write_to(Rank::ROOT, &CopyMessage::Directory(Arc::clone(dir_ref)));
            }
            return Ok(());
        }
        self.before_change(cx.env, &DirRef::at(dir_ref.root(), parent))?;
        let metadata = source_metadata(cx.env, dir_ref)?;
        match make_here(cx.env, dir_ref, &metadata).at(Side::Target)? {
            Made::New => self.made_late(dir_ref, &metadata, cx),
            // Another rank was quicker.
            Made::Existed => Ok(()),
        }
    }

    /// Plans a directory, or records an object that stands for one: on rank 0, once.
    pub(super) fn make_on_root(&self, dir_ref: &Arc<DirRef>, cx: &mut Context<'_, '_>) {
        let is_new = {
            let mut planned = self.planned.lock().unwrap_or_else(PoisonError::into_inner);
            planned.insert((dir_ref.root(), dir_ref.path().as_bytes().to_vec()))
        };
        if !is_new {
            return;
        }
        let made = source_metadata(cx.env, dir_ref)
            .and_then(|metadata| self.made_late(dir_ref, &metadata, cx));
        if let Err(side_error) = made {
            cx.fail(dir_ref, b"", side_error);
        }
    }

    /// Records and counts a directory that was created.
    fn made_late(
        &self,
        dir_ref: &Arc<DirRef>,
        metadata: &Metadata,
        cx: &mut Context<'_, '_>,
    ) -> Result<(), SideError> {
        let source = &cx.env.root(dir_ref).source;
        let xattrs = cx.env.xattrs_of(|| dir_ref.source_dir(&**source)?.xattrs(None))?;
        let reason = std::mem::take(&mut cx.reason);
        let made = attributes_of_new(dir_ref, metadata, xattrs, cx).map(|attributes| {
            let is_object = cx.env.target(dir_ref).holds_objects();
            let attributes = attributes.or_else(|| is_object.then(Default::default));
            self.record(cx.env, dir_ref, attributes.as_ref());
            cx.copied((&**dir_ref, c""), Kind::Directory, Preserved::ALL);
        });
        // That of the entry at hand.
        cx.reason = reason;
        made
    }
}

fn source_metadata(env: &Env<'_>, dir_ref: &DirRef) -> Result<Metadata, SideError> {
    let source = dir_ref.source_dir(&*env.root(dir_ref).source);
    source.and_then(|dir| dir.metadata()).at(Side::Source)
}

/// True if the target has a directory of that path.
fn is_directory(target: &dyn Store, dir_ref: &DirRef) -> Result<bool, Error> {
    Ok(first_missing(target, dir_ref.path(), |_| true)?.is_none())
}

/// Returns the first directory on the way to a path, it included, that the target does not have and
/// that `may_lack` admits. Each one is asked for the next, since opening a directory that is not
/// there would wait for it to become visible.
fn first_missing(
    target: &dyn Store,
    path: &RelPath,
    may_lack: impl Fn(&RelPath) -> bool,
) -> Result<Option<RelPath>, Error> {
    let mut above = RelPath::root();
    for name in path.components().map_while(|component| CString::new(component).ok()) {
        let below = above.child(&name);
        if may_lack(&below) {
            match target.open_dir(&above)?.stat(&name) {
                Ok(found) if found.kind == Kind::Directory => {}
                Err(error) if !error.cause.is_vanished() => return Err(error),
                _ => return Ok(Some(below)),
            }
        }
        above = below;
    }
    Ok(None)
}
