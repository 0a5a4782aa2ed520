//! Root of a copy: one source, or the single entries of one directory, and their target.

use std::collections::HashSet;
use std::ffi::CString;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::CopyTask;
use super::options::{CopyOptions, OldCopy, Verify};
use crate::resolver::StoreResolver;
use crate::walk::WalkTask;
use crate::walk::account;
use crate::walk::batch::NameBatch;
use crate::walk::dir_ref::{DirRef, Trees};
use posix::PosixStore;
use store::Store;
use store::dry_run::DryRunStore;
use store::opening::{Need, OpenAs};
use types::content::transfer::{Atime, Transfer};
use types::entry::{Hint, Metadata};
use types::error::{Failure, Side};
use types::limits::BATCH_NAMES_MAX;

/// A directory to copy from and one to copy to, as rank 0 has determined them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootPlan {
    /// The directory to walk, or the one that contains the single entries.
    pub source: Vec<u8>,
    /// The directory that receives its contents, or the single entries.
    pub target: Vec<u8>,
    /// State of the target directory now.
    pub target_is: RootTarget,
    /// The single entries to copy; `None` for the contents of a whole directory.
    pub singles: Option<Singles>,
    /// Real paths of source and target for a journal, however they were spelled.
    pub real_paths: RealPaths,
    /// True if the source directory itself is copied, and not only its contents.
    pub is_itself: bool,
}

/// Source and target directory of a root, as absolute paths without symbolic links.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct RealPaths {
    pub source: Vec<u8>,
    pub target: Vec<u8>,
}

/// Single entries of a directory; a tree that goes into a directory under its own name is one of
/// them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Singles {
    /// Names of the entries.
    pub names: Vec<CString>,
    /// Name of the copy, where it differs: then there is only one entry.
    pub renamed: Option<CString>,
}

/// State of the target directory of a root before the copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RootTarget {
    /// The directory exists.
    Existing,
    /// The directory was created for this job.
    New,
    /// The directory does not exist, and a dry run does not create it.
    Absent,
}

/// A root whose source and target are open on this rank.
pub struct CopyRoot {
    /// Store of the tree to copy.
    pub source: Arc<dyn Store>,
    /// Store that receives the copy.
    pub target: Box<dyn Store>,
    /// Metadata of the root of the target, which a walk must never reach.
    pub target_metadata: Option<Metadata>,
    /// The source as the user wrote it, for messages.
    pub shown_source: Vec<u8>,
    /// The target as the user wrote it, for messages.
    pub shown_target: Vec<u8>,
    /// Real paths of source and target for a journal, however they were spelled.
    pub real_paths: RealPaths,
    /// Name of the copy of a single entry, where it differs.
    pub renamed: Option<CString>,
    /// The single entries to copy, whose directory does not determine the attributes of the target;
    /// `None` for all its contents.
    pub names: Option<HashSet<CString>>,
    /// An older copy, in which missing files are looked up.
    pub old_copy: Option<Box<dyn Store>>,
}

impl CopyRoot {
    /// Creates a root of two open trees with the names `s` and `t`, for tests: a job has the names
    /// that its user gave.
    pub fn of(source: Box<dyn Store>, target: Box<dyn Store>) -> Self {
        Self {
            source: source.into(),
            target,
            target_metadata: None,
            shown_source: b"s".to_vec(),
            shown_target: b"t".to_vec(),
            real_paths: RealPaths { source: b"/s".to_vec(), target: b"/t".to_vec() },
            renamed: None,
            names: None,
            old_copy: None,
        }
    }
}

impl RootPlan {
    /// Creates a root from one directory to another, which is taken to exist until it is inspected.
    pub fn new(source: Vec<u8>, target: Vec<u8>, singles: Option<Singles>) -> Self {
        let target_is = RootTarget::Existing;
        let (real_paths, is_itself) = (RealPaths::default(), false);
        Self { source, target, target_is, singles, real_paths, is_itself }
    }

    /// Opens both sides on this rank.
    ///
    /// # Errors
    /// Returns the side that cannot be opened here, and why.
    pub fn open(
        &self,
        resolver: &StoreResolver,
        options: &CopyOptions,
    ) -> Result<CopyRoot, Failure> {
        let need = if self.singles.is_some() { Need::Passage } else { Need::Listing };
        let open_as = OpenAs {
            symlinks: options.symlinks,
            need,
            transfer: options.transfer,
            xattrs: options.keep.xattr_filter(),
            ..OpenAs::default()
        };
        let source = resolver
            .open(Side::Source, &self.source, open_as)
            .map_err(|error| account::failure(Side::Source, &self.source, b"", error))?;
        let (target, target_metadata) = self.open_target(resolver, options)?;
        Ok(CopyRoot {
            source: source.into(),
            target,
            target_metadata,
            shown_source: shown(&self.source),
            shown_target: shown(&self.target),
            real_paths: self.real_paths.clone(),
            renamed: self.singles.as_ref().and_then(|singles| singles.renamed.clone()),
            names: self.singles.as_ref().map(|singles| singles.names.iter().cloned().collect()),
            old_copy: open_old_copy(resolver, options)?,
        })
    }

    fn open_target(
        &self,
        resolver: &StoreResolver,
        options: &CopyOptions,
    ) -> Result<(Box<dyn Store>, Option<Metadata>), Failure> {
        if self.target_is == RootTarget::Absent {
            return Ok((Box::new(DryRunStore::<PosixStore>::new(None)), None));
        }
        // Reading for verification must not change atimes.
        let atime = match options.verify {
            Verify::Nothing | Verify::All => options.transfer.atime,
            Verify::Transferred => Atime::Preserved,
        };
        let open_as = OpenAs {
            need: Need::Passage,
            below: Need::Passage,
            // The store of a dry run is made from this one, and waits for no entry of another rank.
            is_growing: !options.dry_run,
            transfer: Transfer { atime, ..options.transfer },
            xattrs: options.keep.xattr_filter(),
            ..OpenAs::default()
        };
        let failed = |error| account::failure(Side::Target, &self.target, b"", error);
        let target = resolver.open(Side::Target, &self.target, open_as).map_err(failed)?;
        let metadata =
            resolver.root_metadata(Side::Target, &self.target, &*target).map_err(failed)?;
        Ok(if options.dry_run {
            (Box::new(DryRunStore::new(Some(target))), Some(metadata))
        } else {
            (target, Some(metadata))
        })
    }

    /// Returns the first tasks of this root.
    pub fn seeds(&self, index: u32) -> Vec<CopyTask> {
        let dir_ref = DirRef::root_of(index);
        if self.target_is != RootTarget::Existing {
            dir_ref.set_trees(Trees::SourceOnly);
        }
        let dir_ref = Arc::new(dir_ref);
        let Some(singles) = &self.singles else { return vec![WalkTask::List(dir_ref).into()] };
        let batch_of = |names: &[CString]| {
            let mut batch = NameBatch::default();
            for name in names {
                batch.push(name, Hint::Unknown);
            }
            WalkTask::Batch(Arc::clone(&dir_ref), batch).into()
        };
        singles.names.chunks(BATCH_NAMES_MAX).map(batch_of).collect()
    }
}

fn open_old_copy(
    resolver: &StoreResolver,
    options: &CopyOptions,
) -> Result<Option<Box<dyn Store>>, Failure> {
    let Some(OldCopy { path, .. }) = options.old_copy() else { return Ok(None) };
    let xattrs = options.keep.xattr_filter();
    let open_as = OpenAs { need: Need::Passage, xattrs, ..OpenAs::default() };
    match resolver.open(Side::Target, path, open_as) {
        Ok(store) => Ok(Some(store)),
        Err(error) => Err(account::failure(Side::Target, path, b"", error)),
    }
}

/// Returns a path for messages, in which the current directory is not named.
fn shown(path: &[u8]) -> Vec<u8> {
    if path == b"." { Vec::new() } else { path.to_vec() }
}
