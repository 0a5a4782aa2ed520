//! One source and where it goes, open on this rank.

use std::ffi::CString;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::CopyTask;
use super::options::CopyOptions;
use crate::base::error::{Failure, Side};
use crate::model::entry::Hint;
use crate::store::Store;
use crate::store::dry_run::DryRunStore;
use crate::store::posix::{PosixStore, Symlinks};
use crate::walk::WalkTask;
use crate::walk::account;
use crate::walk::batch::NameBatch;
use crate::walk::place::Place;

/// One source and its target, as rank 0 has worked them out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootPlan {
    /// The directory to walk, or the one that holds the single entry.
    pub source: Vec<u8>,
    /// The directory that receives its contents, or the single entry.
    pub target: Vec<u8>,
    /// The target directory does not exist (a dry run) or was made for this job.
    pub target_is: RootTarget,
    /// The one entry that is meant, and its name at the target; `None` for a whole directory.
    pub single: Option<(CString, CString)>,
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

/// One source and its target, open on this rank.
pub struct CopyRoot {
    /// The tree to copy.
    pub source: Box<dyn Store>,
    /// Where to.
    pub target: Box<dyn Store>,
    /// The source as the user wrote it, for messages.
    pub shown_source: Vec<u8>,
    /// The target as the user wrote it, for messages.
    pub shown_target: Vec<u8>,
    /// The name of a single entry's copy.
    pub renamed: Option<CString>,
}

impl RootPlan {
    /// Opens both sides on this rank.
    ///
    /// # Errors
    /// Which side cannot be opened here, and why.
    pub fn open(&self, options: &CopyOptions) -> Result<CopyRoot, Failure> {
        let source = PosixStore::open(&self.source, options.symlinks)
            .map_err(|error| account::failure(Side::Source, &self.source, b"", error))?;
        Ok(CopyRoot {
            source: Box::new(source),
            target: self.open_target(options)?,
            shown_source: self.source.clone(),
            shown_target: self.target.clone(),
            renamed: self.single.as_ref().map(|(_, renamed)| renamed.clone()),
        })
    }

    fn open_target(&self, options: &CopyOptions) -> Result<Box<dyn Store>, Failure> {
        if self.target_is == RootTarget::Absent {
            return Ok(Box::new(DryRunStore::<PosixStore>::new(None)));
        }
        let target = PosixStore::open_growing(&self.target, Symlinks::Keep)
            .map_err(|error| account::failure(Side::Target, &self.target, b"", error))?;
        Ok(if options.dry_run {
            Box::new(DryRunStore::new(Some(target)))
        } else {
            Box::new(target)
        })
    }

    /// The first task of this root.
    pub fn seed(&self, index: u16) -> CopyTask {
        let place = Place::root_of(index);
        if self.target_is != RootTarget::Existing {
            place.set_fresh();
        }
        let place = Arc::new(place);
        match &self.single {
            None => WalkTask::List(place).into(),
            Some((name, _)) => {
                let mut batch = NameBatch::default();
                batch.push(name, Hint::Unknown);
                WalkTask::Batch(place, batch).into()
            }
        }
    }
}
