//! What the operator wants of a copy.

use serde::{Deserialize, Serialize};

use crate::compare::options::Evidence;
use crate::journal::folder::Start;
use host::process::current_umask;
use store::opening::Symlinks;
use types::attributes::keep::Keep;
use types::content::transfer::{Reflink, Transfer};
use types::entry::{Kind, Metadata, Time};
use types::limits::CLOCKS_APART_MAX;
use types::listed::line::LineFormat;

/// Options of a copy; rank 0's hold for all ranks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyOptions {
    /// What to do with symbolic links in the source.
    pub symlinks: Symlinks,
    /// What becomes of files with several names.
    pub hard_links: HardLinks,
    /// Which attributes are kept, which are given, and which special files are made.
    pub keep: Keep,
    /// Files larger than this are cut into chunks of this size.
    pub chunk_bytes: u64,
    /// I/O buffer of each thread.
    pub buffer_bytes: u64,
    /// How content is moved.
    pub transfer: Transfer,
    /// Change nothing; say what would be done.
    pub dry_run: bool,
    /// How the plan of a dry run is written.
    pub plan_as: LineFormat,
    /// The target is made equal, with no more than that takes; `None` where all is copied.
    pub sync: Option<SyncOptions>,
    /// The stopped job that this one goes on with.
    pub going_on: Option<GoingOn>,
    /// What is done to be sure of what was written.
    pub verify: Verify,
    /// What is not a matter of choice.
    pub job: JobFacts,
}

impl CopyOptions {
    /// Why these wishes cannot be met together.
    ///
    /// # Errors
    /// One line.
    pub fn check(&self) -> Result<(), String> {
        self.transfer.check()?;
        if self.verify == Verify::Transferred && self.transfer.reflink == Reflink::Always {
            return Err("--verify transferred reads what was written, and --reflink always writes nothing; use \
                        --verify all"
                .to_owned());
        }
        Ok(())
    }
}

/// A stopped job: what that has finished is not copied again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoingOn {
    /// When it began.
    pub since: Time,
    /// All that is at the target was made by it.
    pub is_new: bool,
}

impl GoingOn {
    /// Whether what was changed then (`ctime`) may have been changed by that job, by the clock of any node or server.
    pub fn is_since(&self, ctime: Time) -> bool {
        let seconds = self.since.seconds.saturating_sub_unsigned(CLOCKS_APART_MAX.as_secs());
        ctime >= Time { seconds, ..self.since }
    }
}

/// What is done to be sure of what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Verify {
    /// Nothing more.
    #[default]
    Nothing,
    /// What was written is read again.
    Transferred,
    /// The whole of source and target is compared at the end.
    All,
}

/// What becomes of files with several names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HardLinks {
    /// Each name becomes a file of its own.
    Separate,
    /// The names become names of one file.
    Keep,
}

/// What the operator wants of making a target equal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncOptions {
    /// How a file is recognised that has not changed.
    pub judge: Judge,
    /// What shows that content is the same, where content is compared.
    pub evidence: Evidence,
    /// Files that are newer at the target stay as they are.
    pub update: bool,
    /// When a service stored an object counts as its last change.
    pub use_server_modtime: bool,
    /// What is at the target stays as it is; only what is missing is copied.
    pub ignore_existing: bool,
    /// What is missing at the target is left out.
    pub existing: bool,
    /// What only the target has is deleted.
    pub delete: bool,
    /// Files that are the same in this directory become links to those.
    pub link_dest: Option<Vec<u8>>,
}

impl SyncOptions {
    /// The target's file stays as it is because it is newer.
    pub fn keeps_newer(&self, source: &Metadata, target: &Metadata) -> bool {
        let are_files = source.kind == Kind::File && target.kind == Kind::File;
        self.update && are_files && target.mtime > source.mtime
    }
}

/// What the operator wants of a job that was stopped.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResumeRequest {
    /// Where the journal is; `None` for a place beside the target.
    pub dir: Option<Vec<u8>>,
    /// A journal is wanted, also where there is none yet.
    pub is_wanted: bool,
    /// What becomes of one that is there.
    pub start: Start,
}

/// How a file is recognised that has not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Judge {
    /// By size and time of last change.
    SizeAndTime,
    /// By size.
    SizeOnly,
    /// By content.
    Content,
}

/// What holds for a job, the same on all ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFacts {
    /// Random: part of every temporary name.
    pub id: u64,
    /// File mode creation mask (umask(2)).
    pub umask: u32,
    /// The job runs as the superuser, whom modes do not stop.
    pub is_superuser: bool,
}

impl JobFacts {
    /// As this process sees it.
    pub fn here() -> Self {
        Self {
            id: fastrand::u64(..),
            umask: current_umask(),
            is_superuser: rustix::process::geteuid().is_root(),
        }
    }
}
