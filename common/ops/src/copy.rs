//! The copy: a walk whose visitor makes at the target what it meets at the source.
//!
//! Small files are copied where the walk meets them; large ones become chunk tasks that any rank may
//! run ([`large`]). Every file is staged under a temporary name and appears complete. What can only be
//! set when everything below a directory is done is kept for the end ([`finish`]).

mod arrival;
mod attributes;
mod chunks;
mod content;
mod directory;
pub mod extras;
pub mod finish;
mod hard_links;
mod hopeless;
mod in_the_way;
mod large;
pub mod leftovers;
mod link;
pub mod linked;
mod look;
mod manifest;
pub mod options;
mod overlap;
pub mod plan;
mod policy;
pub mod resume;
pub mod root;
mod second_look;
mod small;
mod special;
pub mod sweep;
mod sync;
pub mod sync_plan;
mod task;
mod verify;
mod visit;

use std::collections::HashSet;
use std::ffi::CString;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::chunked::Chunked;
use crate::compare::content::{Buffers, Way};
use crate::journal::Journal;
use crate::walk;
use crate::walk::account::{self, Account, Gathered};
use crate::walk::packed::RootedPath;
use crate::walk::place::Place;
use crate::walk::selection::Selection;
use crate::walk::watch::Watch;
use comm::Rank;
use extras::Extras;
use finish::DirectoryRecords;
use hopeless::Streak;
use host::aligned::AlignedBuffer;
use large::LargeCopy;
use leftovers::Leftovers;
use linked::{Devices, LinkRecords, LinkedFile};
use lists::named::Named;
use lists::rows::Rows;
use lists::shared_part::SharedPart;
use options::{CopyOptions, Verify};
use root::CopyRoot;
use sched::crew::Crew;
use sched::job::Job;
use store::{Receipt, Store};
use sync::Sides;
use types::entry::{Kept, Kind, Times, Xattrs};
use types::error::{At, Error, Side, Trouble};
use types::listed::line::write_plan;
use types::outcome::notice::Notice;
use types::outcome::tally::{Compared, Tally};
use types::path::{self, Name};
use types::place::staged_name::staged_name;

pub use task::{CopyLetter, CopyTask};

pub(crate) use hopeless::Hopeless;
pub(crate) use policy::{
    OWNER_ALL, OWNER_LOOK, Plain, mode_alone, of_old_directory, widen, widen_to_look,
};

/// A phase stages fewer files than that many bits count.
const STAGED_NAMES_BITS: u32 = 40;

/// One rank's part of the copy.
pub struct CopyJob<'c> {
    roots: &'c [CopyRoot],
    /// Device and inode of the directories that are copied to: a walk that comes there copies itself.
    target_roots: HashSet<(u64, u64)>,
    options: &'c CopyOptions,
    selection: &'c Selection,
    named: Option<&'c Named>,
    /// Directories that were made although nobody walked to them: hashes of their paths.
    reached: Mutex<HashSet<u64>>,
    rank: Rank,
    staged_names: AtomicU64,
    account: Account,
    large: Chunked<Large>,
    /// Where is recorded what is at the target.
    manifest: Option<&'c SharedPart>,
    /// Who reads again what this rank has written, where that is wished.
    verifier: Option<Rank>,
    /// What waits for that.
    unverified: AtomicU64,
    /// Where it is written down what another job could go on with.
    journal: Option<&'c Journal>,
    directories: DirectoryRecords,
    /// What only the target has.
    extras: Extras,
    /// Files and links whose names directories of the target have, until those are deleted.
    deferred: Extras,
    /// Names of files with several.
    links: LinkRecords,
    /// What watches the directories of the source while they are walked.
    watch: Option<Watch>,
    /// The times of directories that were listed again.
    new_times: Mutex<Vec<(RootedPath, Times)>>,
    /// Of the roots, for files with several names.
    devices: Devices,
    /// All names of files with several are known.
    is_after_walk: bool,
    /// What could be deleted was deleted.
    is_after_deletion: bool,
    /// Groups of this user.
    own_groups: Vec<u32>,
    /// It was told why nothing else will fare better at a target.
    hopeless: Hopeless,
}

/// A large file that many ranks work on.
enum Large {
    /// It is being copied.
    Copy(LargeCopy),
    /// It is written, and read again. With what its writers have left.
    Written(LargeCopy, Vec<Receipt>),
    /// It is being compared with the target's, to know whether it must be copied.
    Comparison {
        place: Arc<Place>,
        name: CString,
        sides: Sides,
        way: Way,
        /// The file with several names that it is, where it is one.
        linked: Option<LinkedFile>,
    },
}

/// What one thread keeps.
pub struct CopyHand {
    gathered: Gathered,
    buffer: AlignedBuffer,
    buffers: Option<Buffers>,
    /// For the manifest.
    rows: Rows,
    /// The file with several names whose first one is being copied.
    linked: Option<LinkedFile>,
    /// Since this was last set to false, the target has got a file that it should have, or has it.
    is_complete: bool,
    /// Since this was last set to false, an entry was left for when a directory in its way is deleted.
    is_deferred: bool,
    /// What has failed at the target since anything was copied.
    streak: Streak,
}

impl CopyHand {
    /// Room for comparing, made when it is first needed.
    fn buffers(&mut self, bytes: u64) -> &mut Buffers {
        self.buffers.get_or_insert_with(|| Buffers::new(bytes))
    }

    /// The same, and where it is counted what was compared.
    fn buffers_and_count(&mut self, bytes: u64) -> (&mut Buffers, &mut Compared) {
        let buffers = self.buffers.get_or_insert_with(|| Buffers::new(bytes));
        (buffers, &mut self.gathered.tally.compared)
    }
}

impl<'c> CopyJob<'c> {
    /// The part of rank `rank` in copying `roots`.
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
            reached: Mutex::default(),
            rank,
            staged_names: AtomicU64::new(0),
            account: Account::default(),
            large: Chunked::default(),
            manifest: None,
            verifier: None,
            unverified: AtomicU64::new(0),
            journal: None,
            directories: DirectoryRecords::default(),
            extras: Extras::default(),
            deferred: Extras::default(),
            links: LinkRecords::default(),
            watch: None,
            new_times: Mutex::default(),
            devices: Devices::of(roots),
            is_after_walk: false,
            is_after_deletion: false,
            own_groups: own_groups(),
            hopeless: Hopeless::default(),
        }
    }

    /// What this rank has found and done.
    pub fn tally(&self) -> Tally {
        self.account.tally()
    }

    /// What could be gone on with is written down.
    #[must_use]
    pub fn with_journal(mut self, journal: Option<&'c Journal>) -> Self {
        self.journal = journal;
        self
    }

    /// That rank, another one if there is one, reads again what this one has written, if that is wished.
    #[must_use]
    pub fn verified_by(mut self, rank: Rank) -> Self {
        let is_wanted = self.options.verify == Verify::Transferred && !self.options.dry_run;
        self.verifier = is_wanted.then_some(rank);
        self
    }

    /// For entries that may have had to wait until directories in their way were deleted.
    #[must_use]
    pub fn after_deletion(mut self, is_after_deletion: bool) -> Self {
        self.is_after_deletion = is_after_deletion;
        self
    }

    /// Gives staged files names that no other phase gives them.
    #[must_use]
    pub fn in_phase(self, number: usize) -> Self {
        let first = (number as u64) << STAGED_NAMES_BITS;
        Self { staged_names: AtomicU64::new(first), ..self }
    }

    /// For files whose names are all known.
    #[must_use]
    pub fn after_walk(mut self) -> Self {
        self.is_after_walk = true;
        self
    }

    /// What is left to be done at the end.
    pub fn into_leftovers(self) -> Leftovers {
        let Self { directories, extras, deferred, links, .. } = self;
        Leftovers { earlier: Vec::new(), directories, extras, deferred, links }
    }

    fn root(&self, place: &Place) -> &CopyRoot {
        &self.roots[place.root() as usize]
    }

    fn target(&self, place: &Place) -> &dyn Store {
        &*self.root(place).target
    }

    /// Size of the chunks of a file of that size.
    fn chunk_bytes(&self, place: &Place, size_bytes: u64) -> u64 {
        let wish = self.options.chunk_bytes;
        let of_source = self.root(place).source.chunk_bytes(size_bytes, wish);
        self.target(place).chunk_bytes(size_bytes, of_source)
    }

    /// The name of an entry at the target: another one only where the operator named a single file's
    /// copy.
    fn target_name<'n>(&'n self, place: &Place, name: &'n Name) -> &'n Name {
        match &self.root(place).renamed {
            Some(renamed) if place.path().is_root() => renamed,
            _ => name,
        }
    }

    /// The same for messages, in which a directory itself has no name.
    fn target_name_bytes<'n>(&'n self, place: &Place, name: &'n [u8]) -> &'n [u8] {
        match &self.root(place).renamed {
            Some(renamed) if place.path().is_root() && !name.is_empty() => renamed.to_bytes(),
            _ => name,
        }
    }

    /// A name that no other file has: the job's random number, the rank, a count.
    fn staged_name(&self) -> CString {
        let count = self.staged_names.fetch_add(1, Ordering::Relaxed);
        staged_name(self.options.job.id, self.rank.0, count)
    }

    fn fail(
        &self,
        place: &Place,
        name: &[u8],
        trouble: Trouble,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) {
        let root = self.root(place);
        let at_root = place.path().is_root() && name.is_empty();
        let trouble = account::missing(trouble, at_root, &*root.source, self.selection);
        if trouble.side == Side::Target
            && !self.stop_if_hopeless(&*root.target, &trouble.error, hand, crew)
        {
            return;
        }
        let shown = match trouble.side {
            Side::Source => &root.shown_source,
            Side::Target => &root.shown_target,
        };
        let source_name = name;
        let name = match trouble.side {
            Side::Source => name,
            Side::Target => self.target_name_bytes(place, name),
        };
        let below = path::join(place.path().as_bytes(), name);
        let failure = account::failure(trouble.side, shown, &below, trouble.error);
        if let Some(watch) = self.watch_over(place).filter(|_| !failure.is_vanished()) {
            watch.told(place, source_name);
        }
        self.account.fail(failure, &mut hand.gathered, crew);
    }

    /// Before anything changes in a directory that was there: it is made writable, and its attributes
    /// are to be set again at the end.
    fn before_change(&self, place: &Place) -> Result<(), Trouble> {
        if self.options.sync.is_none()
            || self.options.dry_run
            || place.is_fresh()
            || self.target(place).holds_objects()
        {
            return Ok(());
        }
        place.prepare(|| {
            let target = place.target_dir(self.target(place)).at(Side::Target)?;
            let is_superuser = self.options.job.is_superuser;
            let widened_from = policy::widen(&*target, is_superuser).at(Side::Target)?;
            let end = if place.path().is_root() && self.root(place).names.is_some() {
                widened_from.map(policy::mode_alone)
            } else {
                let source = place.source_dir(&*self.root(place).source).at(Side::Source)?;
                let metadata = source.metadata().at(Side::Source)?;
                let xattrs = self.xattrs_of(|| source.xattrs(None))?;
                let plain = Plain::of_directory(self.options, &metadata, &*target);
                let plain = plain.at(Side::Target)?;
                policy::of_old_directory(self.options, &metadata, xattrs, widened_from, plain)
            };
            if let Some(attributes) = end {
                self.directories.add(place, &attributes);
            }
            Ok(())
        })
    }

    /// Extended attributes of a source entry, where the copy is to have them.
    fn xattrs_of(
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

    /// An entry is complete at the target.
    fn copied(
        &self,
        (place, name): (&Place, &Name),
        kind: Kind,
        kept: Kept,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) {
        hand.is_complete = true;
        hand.streak = Streak::default();
        hand.gathered.tally.copied.count(kind);
        hand.gathered.tally.count_lost(kept);
        self.check_given(place, name, kept, hand, crew);
    }

    /// An entry that has not got what the operator gives it has failed.
    fn check_given(
        &self,
        place: &Place,
        name: &Name,
        kept: Kept,
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) {
        if let Some(error) = self.options.keep.refusal(kept) {
            self.fail(place, name.to_bytes(), Trouble { side: Side::Target, error }, hand, crew);
        }
    }

    /// A line of the plan, in a dry run.
    fn plan_line(
        &self,
        what: &str,
        place: &Place,
        name: &[u8],
        hand: &mut CopyHand,
        crew: &Crew<'_, Self>,
    ) {
        if self.options.dry_run {
            let name = self.target_name_bytes(place, name);
            let below = path::join(place.path().as_bytes(), name);
            let shown = path::join(&self.root(place).shown_target, &below);
            write_plan(self.options.plan_as, what, &shown, &mut hand.gathered.lines);
            hand.gathered.send_lines(crew, false);
        }
    }
}

impl Job for CopyJob<'_> {
    type Task = CopyTask;
    type Letter = CopyLetter;
    type Notice = Notice;
    type Snapshot = Tally;
    type Hand = CopyHand;

    fn hand(&self) -> CopyHand {
        CopyHand {
            gathered: Gathered::default(),
            buffer: AlignedBuffer::new(self.options.buffer_bytes),
            buffers: None,
            rows: Rows::default(),
            linked: None,
            is_complete: false,
            is_deferred: false,
            streak: Streak::default(),
        }
    }

    fn run(&self, task: CopyTask, hand: &mut CopyHand, crew: &Crew<'_, Self>) {
        match task {
            CopyTask::Walk(task) => walk::run(self, task, hand, crew),
            CopyTask::Chunks(task) => self.run_chunks(task, hand, crew),
            CopyTask::Commit(file) => self.end_large(file, hand, crew),
            CopyTask::Verify(task) => self.verify(task, hand, crew),
            CopyTask::Linked(file) => self.copy_linked(file, hand, crew),
            CopyTask::Links(links) => self.make_links(links, hand, crew),
        }
        self.account.settle(&mut hand.gathered);
    }

    fn discard(&self, task: CopyTask, hand: &mut CopyHand, crew: &Crew<'_, Self>) {
        match task {
            CopyTask::Walk(_) => hand.gathered.tally.cancelled_tasks += 1,
            CopyTask::Chunks(task) => self.give_up_chunks(&task, crew),
            CopyTask::Commit(file) => self.end_large(file, hand, crew),
            CopyTask::Verify(task) => self.give_up_verifying(&task, hand, crew),
            CopyTask::Linked(file) => {
                hand.gathered.tally.cancelled_tasks += file.names.len() as u64;
            }
            CopyTask::Links(links) => {
                hand.gathered.tally.cancelled_tasks += links.others.len() as u64;
            }
        }
        self.account.settle(&mut hand.gathered);
    }

    fn flush(&self, hand: &mut CopyHand, crew: &Crew<'_, Self>) {
        self.account.settle(&mut hand.gathered);
        hand.gathered.send_lines(crew, true);
        if let Some(manifest) = self.manifest {
            manifest.append(&mut hand.rows);
        }
    }

    fn letter(&self, _from: Rank, letter: CopyLetter, crew: &Crew<'_, Self>) {
        match letter {
            CopyLetter::Chunks(done) => self.chunks_done(done, crew),
            CopyLetter::Verify(task) => crew.push_pinned(CopyTask::Verify(task)),
            CopyLetter::Verified => {
                self.unverified.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    fn snapshot(&self) -> Tally {
        self.tally()
    }
}

/// Groups that this user may give files to.
fn own_groups() -> Vec<u32> {
    let mut groups: Vec<u32> =
        rustix::process::getgroups().unwrap_or_default().iter().map(|gid| gid.as_raw()).collect();
    groups.push(rustix::process::getegid().as_raw());
    groups
}
