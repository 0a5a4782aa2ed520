//! One source, or the single entries of one directory, and where they go.

use std::collections::HashSet;
use std::ffi::CString;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::CopyTask;
use super::options::{CopyOptions, Verify};
use crate::sites::Sites;
use crate::walk::WalkTask;
use crate::walk::account;
use crate::walk::batch::NameBatch;
use crate::walk::place::{Place, Trees};
use posix::PosixStore;
use store::Store;
use store::dry_run::DryRunStore;
use store::opening::{Need, OpenAs};
use types::content::transfer::{Atime, Transfer};
use types::entry::{Hint, Metadata};
use types::error::{Failure, Side};
use types::limits::BATCH_NAMES_MAX;

/// A directory to copy from and one to copy to, as rank 0 has worked them out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootPlan {
    /// The directory to walk, or the one that holds the single entries.
    pub source: Vec<u8>,
    /// The directory that receives its contents, or the single entries.
    pub target: Vec<u8>,
    /// What is at the target now.
    pub target_is: RootTarget,
    /// The entries that are meant; `None` for the contents of a whole directory.
    pub singles: Option<Singles>,
    /// Source and target for a journal, however they were spelled.
    pub places: Places,
}

/// Both directories of a root, from the root directory on and without links.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Places {
    pub source: Vec<u8>,
    pub target: Vec<u8>,
}

/// Single entries of a directory; a tree that goes into a directory under its own name is one, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Singles {
    /// Their names.
    pub names: Vec<CString>,
    /// The copy's name, where it is another one: then there is only one entry.
    pub renamed: Option<CString>,
}

/// The target directory of a root, before the copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RootTarget {
    /// It was there.
    Existing,
    /// It was made for this job.
    New,
    /// It does not exist, and will not: a dry run.
    Absent,
}

/// Both sides of a root, open on this rank.
pub struct CopyRoot {
    /// The tree to copy.
    pub source: Box<dyn Store>,
    /// Where to.
    pub target: Box<dyn Store>,
    /// The target's own root, where a walk must never come.
    pub target_metadata: Option<Metadata>,
    /// The source as the user wrote it, for messages.
    pub shown_source: Vec<u8>,
    /// The target as the user wrote it, for messages.
    pub shown_target: Vec<u8>,
    /// The same for a journal, however they were spelled.
    pub places: Places,
    /// The name of a single entry's copy, where it is another one.
    pub renamed: Option<CString>,
    /// The entries that are meant, of a directory that is no model for the target's then; `None` for all its
    /// contents.
    pub names: Option<HashSet<CString>>,
    /// An older copy, whose files may be linked to.
    pub link_dest: Option<Box<dyn Store>>,
}

impl RootPlan {
    /// From a directory into one, which is there as long as nothing else is known.
    pub fn new(source: Vec<u8>, target: Vec<u8>, singles: Option<Singles>) -> Self {
        let target_is = RootTarget::Existing;
        Self { source, target, target_is, singles, places: Places::default() }
    }

    /// Opens both sides on this rank.
    ///
    /// # Errors
    /// Which side cannot be opened here, and why.
    pub fn open(&self, sites: &Sites, options: &CopyOptions) -> Result<CopyRoot, Failure> {
        let need = if self.singles.is_some() { Need::Passage } else { Need::Listing };
        let open_as = OpenAs {
            symlinks: options.symlinks,
            need,
            transfer: options.transfer,
            xattrs: options.keep.xattr_filter(),
            ..OpenAs::default()
        };
        let source = sites
            .open(Side::Source, &self.source, open_as)
            .map_err(|error| account::failure(Side::Source, &self.source, b"", error))?;
        let (target, target_metadata) = self.open_target(sites, options)?;
        Ok(CopyRoot {
            source,
            target,
            target_metadata,
            shown_source: shown(&self.source),
            shown_target: shown(&self.target),
            places: self.places.clone(),
            renamed: self.singles.as_ref().and_then(|singles| singles.renamed.clone()),
            names: self.singles.as_ref().map(|singles| singles.names.iter().cloned().collect()),
            link_dest: open_link_dest(sites, options)?,
        })
    }

    fn open_target(
        &self,
        sites: &Sites,
        options: &CopyOptions,
    ) -> Result<(Box<dyn Store>, Option<Metadata>), Failure> {
        if self.target_is == RootTarget::Absent {
            return Ok((Box::new(DryRunStore::<PosixStore>::new(None)), None));
        }
        // What is read again is to keep its times.
        let atime = match options.verify {
            Verify::Nothing | Verify::All => options.transfer.atime,
            Verify::Transferred => Atime::Kept,
        };
        let open_as = OpenAs {
            need: Need::Passage,
            below: Need::Passage,
            is_growing: !options.dry_run,
            transfer: Transfer { atime, ..options.transfer },
            xattrs: options.keep.xattr_filter(),
            ..OpenAs::default()
        };
        let failed = |error| account::failure(Side::Target, &self.target, b"", error);
        let target = sites.open(Side::Target, &self.target, open_as).map_err(failed)?;
        let metadata = sites.root_metadata(Side::Target, &self.target, &*target).map_err(failed)?;
        Ok(if options.dry_run {
            (Box::new(DryRunStore::new(Some(target))), Some(metadata))
        } else {
            (target, Some(metadata))
        })
    }

    /// The first tasks of this root.
    pub fn seeds(&self, index: u32) -> Vec<CopyTask> {
        let place = Place::root_of(index);
        if self.target_is != RootTarget::Existing {
            place.set_trees(Trees::SourceOnly);
        }
        let place = Arc::new(place);
        let Some(singles) = &self.singles else { return vec![WalkTask::List(place).into()] };
        let batch_of = |names: &[CString]| {
            let mut batch = NameBatch::default();
            for name in names {
                batch.push(name, Hint::Unknown);
            }
            WalkTask::Batch(Arc::clone(&place), batch).into()
        };
        singles.names.chunks(BATCH_NAMES_MAX).map(batch_of).collect()
    }
}

fn open_link_dest(sites: &Sites, options: &CopyOptions) -> Result<Option<Box<dyn Store>>, Failure> {
    let Some(path) = options.sync.as_ref().and_then(|sync| sync.link_dest.as_ref()) else {
        return Ok(None);
    };
    let xattrs = options.keep.xattr_filter();
    let open_as = OpenAs { need: Need::Passage, xattrs, ..OpenAs::default() };
    match sites.open(Side::Target, path, open_as) {
        Ok(store) => Ok(Some(store)),
        Err(error) => Err(account::failure(Side::Target, path, b"", error)),
    }
}

/// The current directory need not be named.
fn shown(path: &[u8]) -> Vec<u8> {
    if path == b"." { Vec::new() } else { path.to_vec() }
}
