//! Environment of the part of a rank in a copy: everything that all executors read, and nothing
//! that one of them changes alone.

use std::collections::HashSet;
use std::ffi::CString;
use std::sync::atomic::{AtomicU64, Ordering};

use super::moving::Moving;
use super::options::{CopyOptions, SyncOptions, Verify};
use super::prune::Pruning;
use super::root::{CopyRoot, RealPaths};
use crate::compare::options::Evidence;
use crate::journal::{Journal, TargetFile};
use crate::walk::Visit;
use crate::walk::account::Account;
use crate::walk::dir_ref::DirRef;
use crate::walk::hopeless::Hopeless;
use crate::walk::selection::Selection;
use crate::walk::watch::Watch;
use comm::Rank;
use lists::named::Named;
use store::{StagedFile, Store};
use types::entry::{Kind, Metadata, Xattrs};
use types::error::{At, Error, Side, SideError};
use types::operand::staged_name::staged_name;
use types::outcome::compare::TimeRange;
use types::path::{self, Name};

/// Number of bits that count the staged files of a phase.
const STAGED_NAMES_BITS: u32 = 40;

/// Stage of a job that a phase belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The sources are walked, or their hard-linked files copied.
    Walk,
    /// Entries are copied that had to wait until directories in their way were deleted.
    AfterDeletion,
}

/// Roots, options and services that all executors of a rank share.
pub(super) struct Env<'c> {
    pub roots: &'c [CopyRoot],
    /// Device and inode of the target directories: a walk that reaches one would copy the copy.
    pub target_roots: HashSet<(u64, u64)>,
    pub options: &'c CopyOptions,
    pub selection: &'c Selection,
    pub named: Option<&'c Named>,
    pub rank: Rank,
    /// Rank that reads again what this one has written, where that is requested.
    pub verifier: Option<Rank>,
    pub stage: Stage,
    /// True if the files of the target are recorded in a manifest.
    pub has_manifest: bool,
    /// Record of what another job could resume.
    pub journal: Option<&'c Journal>,
    /// Move that removes the source of what is complete, if one is requested.
    pub moving: Option<&'c Moving<'c>>,
    /// Directories with and without content, where the latter are left out.
    pub pruning: Option<&'c Pruning>,
    /// Watch over the directories of the source during the walk.
    pub watch: Option<Watch>,
    pub account: Account,
    /// Record of whether this rank has reported why nothing else can succeed at a target.
    pub hopeless: Hopeless,
    staged_names: AtomicU64,
}

impl<'c> Env<'c> {
    /// Creates the environment of rank `rank` in the copy of `roots`.
    pub fn new(
        roots: &'c [CopyRoot],
        options: &'c CopyOptions,
        selection: &'c Selection,
        named: Option<&'c Named>,
        rank: Rank,
    ) -> Self {
        let targets = roots.iter().filter_map(|root| root.target_metadata);
        Self {
            roots,
            target_roots: targets.map(|target| (target.device, target.inode)).collect(),
            options,
            selection,
            named,
            rank,
            verifier: None,
            stage: Stage::Walk,
            has_manifest: false,
            journal: None,
            moving: None,
            pruning: None,
            watch: None,
            account: Account::recording(options.record),
            hopeless: Hopeless::default(),
            staged_names: AtomicU64::new(0),
        }
    }

    /// Sets the rank that verifies what is written, where that is requested and anything is
    /// written.
    pub fn verify_by(&mut self, rank: Rank) {
        let is_wanted = self.options.verify == Verify::Transferred && self.writes();
        self.verifier = is_wanted.then_some(rank);
    }

    /// Returns whether any target keeps what is written to it, which that of a dry run does not.
    pub fn writes(&self) -> bool {
        self.roots.iter().any(|root| !root.target.discards_writes())
    }

    /// Selects a range of names for staged files that no other phase uses.
    pub fn begin_phase(&mut self, number: usize) {
        self.staged_names = AtomicU64::new((number as u64) << STAGED_NAMES_BITS);
    }

    /// Returns the source and target that a directory is below.
    pub fn root(&self, dir_ref: &DirRef) -> &'c CopyRoot {
        &self.roots[dir_ref.root() as usize]
    }

    /// Returns the store that a directory is copied to.
    pub fn target(&self, dir_ref: &DirRef) -> &'c dyn Store {
        &*self.root(dir_ref).target
    }

    /// Returns the range of times in which two entries can be compared.
    pub fn time_range(&self, dir_ref: &DirRef, sides: [&Metadata; 2]) -> TimeRange {
        let CopyRoot { source, target, .. } = self.root(dir_ref);
        target.time_range(sides[1]).and_source(source.time_range(sides[0]))
    }

    /// Returns the size of the chunks of a file of that size.
    pub fn chunk_bytes(&self, dir_ref: &DirRef, size_bytes: u64) -> u64 {
        let requested = self.options.chunk_bytes;
        let of_source = self.root(dir_ref).source.chunk_bytes(size_bytes, requested);
        self.target(dir_ref).chunk_bytes(size_bytes, of_source)
    }

    /// Returns what counts as evidence that two files are equal.
    pub fn evidence(&self) -> Evidence {
        self.options.sync.as_ref().map_or(Evidence::Checksums, |sync| sync.evidence)
    }

    /// Returns the name of an entry at the target, which differs only where the operator named the
    /// copy of a single file.
    pub fn target_name<'n>(&'n self, dir_ref: &DirRef, name: &'n Name) -> &'n Name {
        match &self.root(dir_ref).renamed {
            Some(renamed) if dir_ref.path().is_root() => renamed,
            _ => name,
        }
    }

    /// Returns the name of an entry at the target for messages, in which a directory itself has no
    /// name.
    pub fn target_name_bytes<'n>(&'n self, dir_ref: &DirRef, name: &'n [u8]) -> &'n [u8] {
        match &self.root(dir_ref).renamed {
            Some(renamed) if dir_ref.path().is_root() && !name.is_empty() => renamed.to_bytes(),
            _ => name,
        }
    }

    /// Makes a name that no other file has, from the random number of the job, the rank and a
    /// count.
    pub fn staged_name(&self) -> CString {
        let count = self.staged_names.fetch_add(1, Ordering::Relaxed);
        staged_name(self.options.job.id, self.rank.0, count)
    }

    /// Returns the extended attributes of a source entry that the copy is to have.
    pub fn xattrs_of(
        &self,
        read: impl FnOnce() -> Result<Option<Xattrs>, Error>,
    ) -> Result<Option<Xattrs>, SideError> {
        let keep = &self.options.keep;
        if keep.xattr_filter().is_empty() {
            return Ok(None);
        }
        let xattrs = read().at(Side::Source)?;
        Ok(xattrs.map(|xattrs| keep.xattrs_of(xattrs)))
    }

    /// True if extraneous entries of the target are deleted.
    pub fn deletes(&self) -> bool {
        self.options.sync.as_ref().is_some_and(|sync| sync.delete)
    }

    /// True if the walk visits extraneous entries of the target, to delete or to record them.
    pub fn meets_extraneous(&self) -> bool {
        self.deletes() || self.has_manifest
    }

    /// True if entries that are missing at the target are left out, except for those that were
    /// deleted for their replacement.
    pub fn leaves_missing(&self, criteria: &SyncOptions) -> bool {
        criteria.existing && self.stage == Stage::Walk
    }

    /// True if the operator requests entries of that kind at the target, and the target can hold
    /// them.
    pub fn is_made(&self, entry: &Visit<'_>, kind: Kind) -> bool {
        self.options.keep.makes(kind) && !self.target(entry.dir_ref).holds_objects()
    }

    /// Returns the watch over a directory; objects are in no directories that could be watched.
    pub fn watch_over(&self, dir_ref: &DirRef) -> Option<&Watch> {
        self.watch.as_ref().filter(|_| !self.root(dir_ref).source.holds_objects())
    }

    /// Returns the journal, if another job can resume a file that is staged like this.
    pub fn journal_of(&self, staged: &dyn StagedFile) -> Option<&'c Journal> {
        self.journal.filter(|_| staged.is_resumable())
    }

    /// Returns the journal's reference to a file of the target.
    pub fn target_file(&self, dir_ref: &DirRef, name: &Name) -> TargetFile {
        let name = self.target_name(dir_ref, name).to_bytes();
        self.target_place(dir_ref, path::join(dir_ref.path().as_bytes(), name))
    }

    /// Returns the journal's reference to a path at the target.
    pub fn target_place(&self, dir_ref: &DirRef, path: Vec<u8>) -> TargetFile {
        let RealPaths { source, target } = self.root(dir_ref).real_paths.clone();
        TargetFile { from: source, root: target, path }
    }
}
