//! The environment of a rank's part of a copy: what every executor reads, and nothing that one of them changes alone.

use std::collections::HashSet;
use std::ffi::CString;
use std::sync::atomic::{AtomicU64, Ordering};

use super::hopeless::Hopeless;
use super::options::{CopyOptions, SyncOptions, Verify};
use super::root::{CopyRoot, Places};
use crate::journal::{Journal, TargetFile};
use crate::walk::Visit;
use crate::walk::account::Account;
use crate::walk::place::Place;
use crate::walk::selection::Selection;
use crate::walk::watch::Watch;
use comm::Rank;
use lists::named::Named;
use store::{StagedFile, Store};
use types::entry::{Kind, Xattrs};
use types::error::{At, Error, Side, Trouble};
use types::path::{self, Name};
use types::place::staged_name::staged_name;

/// Number of bits that count the staged files of a phase.
const STAGED_NAMES_BITS: u32 = 40;

/// Part of a job that a phase belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The sources are walked, or their hard-linked files copied.
    Walk,
    /// Entries are copied that had to wait until directories in their way were deleted.
    AfterDeletion,
}

/// Roots, options and means that all executors of a rank share.
pub(super) struct Env<'c> {
    pub roots: &'c [CopyRoot],
    /// Device and inode of the directories that are copied to: a walk that comes there copies itself.
    pub target_roots: HashSet<(u64, u64)>,
    pub options: &'c CopyOptions,
    pub selection: &'c Selection,
    pub named: Option<&'c Named>,
    pub rank: Rank,
    /// Rank that reads again what this one has written, where that is requested.
    pub verifier: Option<Rank>,
    pub stage: Stage,
    /// Whether it is recorded what is at the target.
    pub has_manifest: bool,
    /// Record of what another job could resume.
    pub journal: Option<&'c Journal>,
    /// Watch over the directories of the source while they are walked.
    pub watch: Option<Watch>,
    pub account: Account,
    /// Whether it was told why nothing else will fare better at a target.
    pub hopeless: Hopeless,
    /// Groups of this user.
    pub own_groups: Vec<u32>,
    staged_names: AtomicU64,
}

impl<'c> Env<'c> {
    /// Environment of rank `rank` in copying `roots`.
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
            watch: None,
            account: Account::default(),
            hopeless: Hopeless::default(),
            own_groups: own_groups(),
            staged_names: AtomicU64::new(0),
        }
    }

    /// Sets the rank that verifies what is written, where that is requested and anything is written.
    pub fn verify_by(&mut self, rank: Rank) {
        let is_wanted = self.options.verify == Verify::Transferred && !self.options.dry_run;
        self.verifier = is_wanted.then_some(rank);
    }

    /// Gives staged files names that no other phase gives them.
    pub fn begin_phase(&mut self, number: usize) {
        self.staged_names = AtomicU64::new((number as u64) << STAGED_NAMES_BITS);
    }

    /// Source and target that a directory is below.
    pub fn root(&self, place: &Place) -> &'c CopyRoot {
        &self.roots[place.root() as usize]
    }

    /// Store that a directory is copied to.
    pub fn target(&self, place: &Place) -> &'c dyn Store {
        &*self.root(place).target
    }

    /// Size of the chunks of a file of that size.
    pub fn chunk_bytes(&self, place: &Place, size_bytes: u64) -> u64 {
        let wish = self.options.chunk_bytes;
        let of_source = self.root(place).source.chunk_bytes(size_bytes, wish);
        self.target(place).chunk_bytes(size_bytes, of_source)
    }

    /// Name of an entry at the target: another one only where the operator named a single file's copy.
    pub fn target_name<'n>(&'n self, place: &Place, name: &'n Name) -> &'n Name {
        match &self.root(place).renamed {
            Some(renamed) if place.path().is_root() => renamed,
            _ => name,
        }
    }

    /// Name of an entry at the target for messages, in which a directory itself has no name.
    pub fn target_name_bytes<'n>(&'n self, place: &Place, name: &'n [u8]) -> &'n [u8] {
        match &self.root(place).renamed {
            Some(renamed) if place.path().is_root() && !name.is_empty() => renamed.to_bytes(),
            _ => name,
        }
    }

    /// Makes a name that no other file has: the job's random number, the rank, a count.
    pub fn staged_name(&self) -> CString {
        let count = self.staged_names.fetch_add(1, Ordering::Relaxed);
        staged_name(self.options.job.id, self.rank.0, count)
    }

    /// Extended attributes of a source entry, where the copy is to have them.
    pub fn xattrs_of(
        &self,
        read: impl FnOnce() -> Result<Option<Xattrs>, Error>,
    ) -> Result<Option<Xattrs>, Trouble> {
        let keep = &self.options.keep;
        if keep.xattr_filter().is_empty() {
            return Ok(None);
        }
        let xattrs = read().at(Side::Source)?;
        Ok(xattrs.map(|xattrs| keep.xattrs_of(xattrs)))
    }

    /// Whether extraneous entries of the target are deleted.
    pub fn deletes(&self) -> bool {
        self.options.sync.as_ref().is_some_and(|sync| sync.delete)
    }

    /// Whether the walk meets extraneous entries of the target: to delete them, or to record them.
    pub fn meets_extras(&self) -> bool {
        self.deletes() || self.has_manifest
    }

    /// Whether entries that are missing at the target are left out. One that is missing only because it was deleted for
    /// that entry is not.
    pub fn leaves_missing(&self, rules: &SyncOptions) -> bool {
        rules.existing && self.stage == Stage::Walk
    }

    /// Whether the operator wants entries of that kind at the target, and it can have them.
    pub fn is_made(&self, entry: &Visit<'_>, kind: Kind) -> bool {
        self.options.keep.makes(kind) && !self.target(entry.place).holds_objects()
    }

    /// Watch over a directory; objects are in no directories that could be watched.
    pub fn watch_over(&self, place: &Place) -> Option<&Watch> {
        self.watch.as_ref().filter(|_| !self.root(place).source.holds_objects())
    }

    /// The journal, if what is staged like this can be taken over by another job.
    pub fn journal_of(&self, staged: &dyn StagedFile) -> Option<&'c Journal> {
        self.journal.filter(|_| staged.is_resumable())
    }

    /// A file of the target, as a journal names it.
    pub fn target_file(&self, place: &Place, name: &Name) -> TargetFile {
        let name = self.target_name(place, name).to_bytes();
        self.target_place(place, path::join(place.path().as_bytes(), name))
    }

    /// A path at the target, as a journal names it.
    pub fn target_place(&self, place: &Place, path: Vec<u8>) -> TargetFile {
        let Places { source, target } = self.root(place).places.clone();
        TargetFile { from: source, root: target, path }
    }
}

/// Groups that this user may give files to.
fn own_groups() -> Vec<u32> {
    let mut groups: Vec<u32> =
        rustix::process::getgroups().unwrap_or_default().iter().map(|gid| gid.as_raw()).collect();
    groups.push(rustix::process::getegid().as_raw());
    groups
}
