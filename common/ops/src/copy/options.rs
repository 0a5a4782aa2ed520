//! Options of a copy and of a synchronisation.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::compare::options::Evidence;
use crate::journal::folder::Start;
use host::process::current_umask;
use host::user::User;
use store::opening::Symlinks;
use types::attributes::keep::Keep;
use types::content::transfer::{Reflink, ReflinkWithoutHoles, Transfer};
use types::entry::{Kind, Metadata, Time};
use types::listed::change::RecordFormat;
use types::listed::line::LineFormat;

/// Options of a copy; those of rank 0 apply to all ranks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyOptions {
    /// Treatment of symbolic links in the source.
    pub symlinks: Symlinks,
    /// Treatment of hard-linked files.
    pub hard_links: HardLinks,
    /// Attributes that are preserved or given, and special files that are created.
    pub keep: Keep,
    /// Size of chunks, into which larger files are divided.
    pub chunk_bytes: u64,
    /// Size of the I/O buffer of each thread.
    pub buffer_bytes: u64,
    /// Mode in which content is transferred.
    pub transfer: Transfer,
    /// True if missing directories above the target are created.
    pub mkpath: bool,
    /// True if nothing is changed and the plan is printed.
    pub dry_run: bool,
    /// Format of the plan, which is printed in a dry run.
    pub plan_as: Option<LineFormat>,
    /// Options of a synchronisation, which does only what is needed; `None` where everything is
    /// copied.
    pub sync: Option<SyncOptions>,
    /// The interrupted job that this one resumes.
    pub going_on: Option<GoingOn>,
    /// Verification of what was written.
    pub verify: Verify,
    /// True if directories are left out that no entry other than a directory takes part below.
    pub prune_empty_dirs: bool,
    /// True if the source of what is complete at the target is removed: a move.
    pub remove_source: bool,
    /// Format of the record of what is changed, where one is kept.
    pub record: Option<RecordFormat>,
    /// Facts of the job that are not options.
    pub job: JobFacts,
    /// User with whose rights the target is changed.
    pub user: User,
}

impl CopyOptions {
    /// Returns what is preserved in words, for people.
    pub fn words(&self) -> String {
        let links = if self.hard_links == HardLinks::Keep { ", hard links kept" } else { "" };
        format!("{}{links}", self.keep.words())
    }

    /// True if the target becomes a mirror of the source.
    pub fn mirrors(&self) -> bool {
        self.sync.as_ref().is_some_and(|sync| sync.mirrors)
    }

    /// Returns the older copy in which missing files are looked up.
    pub fn old_copy(&self) -> Option<&OldCopy> {
        self.sync.as_ref().and_then(|sync| sync.old_copy.as_ref())
    }

    /// Checks that the options are compatible.
    ///
    /// # Errors
    /// Returns the conflict.
    pub fn check(&self) -> Result<(), OptionConflict> {
        self.transfer.check()?;
        self.check_move()?;
        if self.prune_empty_dirs && self.verify == Verify::All {
            return Err(OptionConflict::VerifyAllPruned);
        }
        let leaves_out = self.old_copy().is_some_and(|old| old.unchanged == Unchanged::LeftOut);
        if self.verify == Verify::All && leaves_out {
            return Err(OptionConflict::VerifyAllPart);
        }
        if self.verify == Verify::Transferred && self.transfer.reflink == Reflink::Always {
            return Err(OptionConflict::VerifyClones);
        }
        Ok(())
    }
}

impl CopyOptions {
    /// Checks that the options are compatible with a move.
    fn check_move(&self) -> Result<(), OptionConflict> {
        match (self.symlinks, self.verify) {
            _ if !self.remove_source => Ok(()),
            (Symlinks::Follow, _) => Err(OptionConflict::MoveLinks),
            _ if self.prune_empty_dirs => Err(OptionConflict::MovePruned),
            (_, Verify::All) => Err(OptionConflict::MoveVerifyAll),
            _ => Ok(()),
        }
    }
}

/// Options of a copy that contradict each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OptionConflict {
    /// Clones without the holes of their sources.
    #[error(transparent)]
    Reflink(#[from] ReflinkWithoutHoles),
    /// Comparison of all directories where some are left out.
    #[error(
        "--verify all compares every directory, and --prune-empty-dirs leaves some out; use \
         --verify transferred, or dcmp --prune-empty-dirs"
    )]
    VerifyAllPruned,
    /// Verification of everything in a target that is only a part.
    #[error(
        "--verify all compares the whole target, from which --compare-dest leaves files out; use \
         --verify transferred"
    )]
    VerifyAllPart,
    /// Verification of what was written where nothing is.
    #[error(
        "--verify transferred reads what was written, and --reflink always writes nothing; use \
         --verify all"
    )]
    VerifyClones,
    /// Removal of what links point to.
    #[error(
        "--remove-source removes what it copies, and -L copies what links point to; leave out one \
         of them"
    )]
    MoveLinks,
    /// Removal of what is copied where directories are left out.
    #[error(
        "--remove-source removes what it copies, and --prune-empty-dirs leaves directories out; \
         leave out one of them"
    )]
    MovePruned,
    /// Comparison with sources that are removed.
    #[error(
        "--verify all compares with the source at the end, and --remove-source removes it; use \
         --verify transferred"
    )]
    MoveVerifyAll,
}

/// An interrupted job, whose finished entries are not copied again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoingOn {
    /// Time at which the job began.
    pub since: Time,
    /// True if everything at the target was created by the job.
    pub is_new: bool,
}

impl GoingOn {
    /// True if that ctime may be of a change by the interrupted job, where clocks differ by `apart`
    /// at most.
    pub fn may_be_since(&self, ctime: Time, apart: Duration) -> bool {
        let seconds = self.since.seconds.saturating_sub_unsigned(apart.as_secs());
        ctime >= Time { seconds, ..self.since }
    }

    /// True if that ctime is of a change by the interrupted job, or later.
    pub fn is_since(&self, ctime: Time, apart: Duration) -> bool {
        let seconds = self.since.seconds.saturating_add_unsigned(apart.as_secs());
        self.is_new || ctime >= Time { seconds, ..self.since }
    }
}

/// Verification of what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Verify {
    /// Copies are not verified beyond the checks during the copy.
    #[default]
    Nothing,
    /// Written content is read again.
    Transferred,
    /// Source and target are compared as a whole at the end.
    All,
}

/// Treatment of hard-linked files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HardLinks {
    /// Each name becomes a file of its own.
    Separate,
    /// The names become hard links of one file.
    Keep,
}

/// Options of a synchronisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncOptions {
    /// Test that shows whether a file has changed.
    pub change_test: ChangeTest,
    /// Evidence that shows that content is the same, where content is compared.
    pub evidence: Evidence,
    /// True if files that are newer at the target stay as they are.
    pub update: bool,
    /// True if the time at which a service stored an object counts as its modification time.
    pub use_server_modtime: bool,
    /// True if existing entries of the target stay as they are, and only missing ones are copied.
    pub ignore_existing: bool,
    /// True if entries that are missing at the target are left out.
    pub existing: bool,
    /// True if extraneous entries of the target are deleted.
    pub delete: bool,
    /// Largest difference of two modification times that count as equal.
    pub modify_window: Duration,
    /// Directory with an older copy, in which missing files are looked up.
    pub old_copy: Option<OldCopy>,
    /// True if the target becomes a mirror of the source, in which entries of another kind are
    /// replaced; false if they are refused, as in any copy.
    pub mirrors: bool,
}

/// Older copy of the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OldCopy {
    /// Directory of the copy.
    pub path: Vec<u8>,
    /// Treatment of files that are unchanged since.
    pub unchanged: Unchanged,
}

/// Treatment of files that are the same in an older copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unchanged {
    /// The files become hard links to those of the copy.
    Linked,
    /// The files are left out of the target.
    LeftOut,
}

impl OldCopy {
    /// Returns whether unchanged files become hard links to those of the copy.
    pub fn is_linked(&self) -> bool {
        self.unchanged == Unchanged::Linked
    }
}

impl Unchanged {
    /// Returns the option that requests the treatment.
    pub fn option(self) -> &'static str {
        match self {
            Self::Linked => "--link-dest",
            Self::LeftOut => "--compare-dest",
        }
    }
}

impl SyncOptions {
    /// True if the file of the target stays as it is because it is newer.
    pub fn keeps_newer(&self, source: &Metadata, target: &Metadata) -> bool {
        let are_files = source.kind == Kind::File && target.kind == Kind::File;
        let is_newer = || target.mtime > source.mtime && !self.is_within_window(source, target);
        self.update && are_files && is_newer()
    }

    /// True if the modification times differ by no more than the operator tolerates.
    pub fn is_within_window(&self, source: &Metadata, target: &Metadata) -> bool {
        let nanoseconds =
            |time: Time| i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanoseconds);
        let apart = nanoseconds(source.mtime).abs_diff(nanoseconds(target.mtime));
        apart <= self.modify_window.as_nanos()
    }
}

/// Request of the operator for an interrupted job.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResumeRequest {
    /// Directory of the journal; `None` for one next to the target.
    pub dir: Option<Vec<u8>>,
    /// True if a journal is requested, also where none exists yet.
    pub is_wanted: bool,
    /// Treatment of an existing journal.
    pub start: Start,
}

/// Test that shows whether a file has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangeTest {
    /// Comparison of size and modification time.
    SizeAndTime,
    /// Comparison of size.
    SizeOnly,
    /// Comparison of content.
    Content,
}

impl ChangeTest {
    /// Returns true where the test reads the content of files of equal size.
    pub fn reads_content(self) -> bool {
        match self {
            Self::Content => true,
            Self::SizeAndTime | Self::SizeOnly => false,
        }
    }

    /// Returns true where later runs conclude from the modification time that a file is unchanged,
    /// or may do so.
    pub fn goes_by_time(self) -> bool {
        match self {
            Self::SizeAndTime | Self::Content => true,
            Self::SizeOnly => false,
        }
    }
}

/// Facts of a job, the same on all ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFacts {
    /// Random number, part of every temporary name.
    pub id: u64,
    /// File mode creation mask (umask(2)).
    pub umask: u32,
}

impl JobFacts {
    /// Returns the facts as this process sees them.
    pub fn here() -> Self {
        Self { id: fastrand::u64(..), umask: current_umask() }
    }
}
