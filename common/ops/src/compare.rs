//! The comparison of two trees, which are walked together, directory by directory.
//!
//! Each entry of the source is looked up in the target; then the target's directory is listed for
//! extraneous names. Small files are compared by the thread that meets them, large ones in chunks
//! by many ranks. Every entry gets one verdict: equal, different, on one side only, or an error. An
//! entry that could not be inspected completely is never equal.

pub(crate) mod buffers;
mod chunks;
pub(crate) mod content;
mod counterpart;
mod directories;
pub mod grouping;
pub(crate) mod holes;
pub mod options;
mod prune;
pub mod root;
pub mod unlisted;
mod verdict;
mod visit;
mod watched;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};

use crate::chunked::{ChunkTask, Chunked, ChunksDone};
use crate::walk::account::{self, Account};
use crate::walk::dir_ref::DirRef;
use crate::walk::selection::Selection;
use crate::walk::watch::Watch;
use crate::walk::{self, Visit, Visited, Visitor, WalkTask};
use chunks::LargePair;
use comm::Rank;
use content::{Way, is_same_file};
use grouping::Groups;
use holes::Reading;
use lists::named::Named;
use lists::part::PartWriter;
use lists::shared_part::SharedPart;
use options::CompareOptions;
use prune::{HeldVerdict, Pruning};
use root::CompareRoot;
use sched::context::TaskContext;
use sched::job::Job;
use store::recorded::{RecordedFile, metadata};
use store::{Dir, SourceFile, Store};
use types::attributes::keep::XattrFilter;
use types::entry::{Hint, Kind, Metadata};
use types::error::{At, Failure, Side, SideError};
use types::outcome::compare;
use types::outcome::difference::{Fields, Findings, Presence};
use types::outcome::event::Event;
use types::outcome::tally::Tally;
use types::path::{self};
use unlisted::Unlisted;
use verdict::CompareWorker;

/// The metadata of both sides of an entry, as far as they exist.
type Sides<'m> = (Option<&'m Metadata>, Option<&'m Metadata>);

/// A task of the comparison.
#[derive(Debug, Serialize, Deserialize)]
pub enum CompareTask {
    /// A task of the walk.
    Walk(WalkTask),
    /// Compare chunks of a large file.
    Chunks(ChunkTask),
    /// Give the verdicts on directories that were held because they could have no content.
    Directories(Vec<HeldVerdict>),
    /// Give the verdict on a large file all of whose chunks are accounted for. Runs on its owner
    /// only.
    Conclude(u64),
}

impl From<WalkTask> for CompareTask {
    fn from(task: WalkTask) -> Self {
        Self::Walk(task)
    }
}

impl From<ChunkTask> for CompareTask {
    fn from(task: ChunkTask) -> Self {
        Self::Chunks(task)
    }
}

/// The part of one rank in the comparison.
pub struct CompareJob<'c> {
    root: &'c CompareRoot,
    options: &'c CompareOptions,
    selection: &'c Selection,
    named: Option<&'c Named>,
    compared: Fields,
    xattrs: XattrFilter,
    rank: Rank,
    account: Account,
    large: Chunked<LargePair>,
    /// The names of hard-linked files.
    groups: Groups,
    /// The paths to find files that only the tree has, where it is compared with a manifest.
    unlisted: Option<Unlisted>,
    /// True once the walk is over: entries visited from then on are only in the tree.
    is_after_walk: AtomicBool,
    /// The directories with content, where others do not count.
    pruning: Option<Pruning>,
    /// The device numbers of both roots.
    root_devices: [Option<u64>; 2],
    /// The parts of Parquet lists that this rank writes, in the order of the options' expressions.
    parts: Vec<SharedPart>,
    /// The record of directories listed in both trees, by which changes during the walk are found.
    watch: Option<Watch>,
}

/// The handles of both sides of an entry, as far as they are open.
type Opened = (Option<Box<dyn SourceFile>>, Option<Box<dyn SourceFile>>);

/// An entry that both sides have, with what is known of it so far.
struct Pair {
    source: Metadata,
    target: Metadata,
    differing: Fields,
    unknown: Fields,
    opened: Opened,
}

impl Pair {
    fn findings(&self) -> Findings {
        Findings { unknown: self.unknown, ..Findings::both(self.differing) }
    }
}

impl<'c> CompareJob<'c> {
    /// Creates the part of rank `rank`.
    pub fn new(
        root: &'c CompareRoot,
        options: &'c CompareOptions,
        selection: &'c Selection,
        named: Option<&'c Named>,
        rank: Rank,
    ) -> Self {
        Self {
            root,
            options,
            selection,
            named,
            compared: options.compared(),
            xattrs: options.xattr_filter(),
            rank,
            account: Account::default(),
            large: Chunked::default(),
            groups: Groups::default(),
            unlisted: None,
            pruning: options.prune_empty_dirs.then(Pruning::default),
            is_after_walk: AtomicBool::new(false),
            root_devices: [root.source.device().ok(), root.target.device().ok()],
            parts: Vec::new(),
            watch: None,
        }
    }

    /// Sets the parts of Parquet lists that this rank writes.
    #[must_use]
    pub fn with_parts(mut self, parts: Vec<Option<PartWriter>>) -> Self {
        self.parts = parts.into_iter().map(SharedPart::new).collect();
        self
    }

    /// Returns which bytes of two files are read: all of them where the storage itself is to be
    /// verified.
    fn reading(&self) -> Reading {
        if self.options.bypass_cache { Reading::Everything } else { Reading::AroundHoles }
    }

    /// Prepares for the walk that finds files which the manifest lacks. The manifest may itself be
    /// in the tree.
    #[must_use]
    pub fn looking_for_unlisted(mut self, manifest: Option<Metadata>) -> Self {
        self.unlisted = Some(Unlisted::besides(manifest));
        self
    }

    /// Completes this rank's parts of lists, which lack `failed` entries. Returns the first failure
    /// of each.
    pub fn finish_parts(&self, failed: u64) -> Vec<Failure> {
        self.parts.iter().filter_map(|part| part.finish(failed).err()).collect()
    }

    /// Returns the counts of this rank.
    pub fn tally(&self) -> Tally {
        self.account.tally()
    }

    fn fail(
        &self,
        dir_ref: &DirRef,
        name: &[u8],
        side_error: SideError,
        worker: &mut CompareWorker,
        context: &TaskContext<'_, Self>,
    ) {
        let below = path::join(dir_ref.path().as_bytes(), name);
        let side_error =
            account::missing(side_error, below.is_empty(), &*self.root.source, self.selection);
        let side_error = account::named_in_vain(side_error, self.named());
        let failure = account::failure(
            side_error.side,
            self.root.shown(side_error.side),
            &below,
            side_error.error,
        );
        if let Some(watch) = self.watch(dir_ref).filter(|_| !failure.is_vanished()) {
            watch.told(dir_ref, name);
        }
        self.account.fail(failure, &mut worker.gathered, context);
        self.combined_line('!', dir_ref, name, Fields::NONE, worker, context);
    }

    /// Compares the metadata of both sides of an entry.
    fn pair(&self, source: Metadata, target: Metadata) -> Pair {
        let (of_source, of_target) = (&self.root.source, &self.root.target);
        let range = of_target.time_range(&target).and_source(of_source.time_range(&source));
        let mut differing = compare::attributes(&source, &target, self.compared, range);
        // Where bytes are not compared, another modification time counts as other content.
        let stands_for_content = self.options.lite && source.kind == Kind::File;
        if stands_for_content && differing.contains(Fields::MTIME) {
            differing.insert(Fields::CONTENT);
        }
        let mut unknown = compare::unknown(&source, &target, self.compared);
        if stands_for_content && unknown.contains(Fields::MTIME) {
            unknown.insert(Fields::CONTENT);
        }
        Pair { source, target, differing, unknown, opened: (None, None) }
    }

    /// Returns whether a listing tells enough of an entry that only one side has: its name, where
    /// neither filters nor lists ask for more.
    fn is_listing_enough(&self, hint: Hint) -> bool {
        matches!(hint, Hint::Object(_))
            && self.options.outputs.is_empty()
            && !self.selection.needs_times()
            && !self.selection.needs_paths()
            && self.unlisted.is_none()
    }

    /// Compares an entry in a directory of the source, whether or not the target has the directory.
    fn compare_entry(
        &self,
        entry: &Visit<'_>,
        worker: &mut CompareWorker,
        context: &TaskContext<'_, Self>,
    ) -> Result<Visited, SideError> {
        let is_enough = self.is_listing_enough(entry.hint);
        let looked_up = is_enough.then(|| self.counterpart(entry)).transpose()?;
        let (source, source_file) = match entry.hint {
            _ if matches!(looked_up, Some(None)) => {
                (entry.dir.peek(entry.name, entry.hint).at(Side::Source)?, None)
            }
            Hint::Recorded(recorded) => {
                if let Some(unlisted) = &self.unlisted {
                    unlisted.listed(entry.dir_ref, entry.name);
                }
                let file: Box<dyn SourceFile> = Box::new(RecordedFile(recorded));
                (metadata(&recorded), Some(file))
            }
            _ => entry.dir.stat_open(entry.name).at(Side::Source)?,
        };
        let is_chosen = self.selection.admits(&source);
        // Filters by metadata apply to the side that has a matching file: an entry selected on
        // either side is compared, unless the options restrict that to the source.
        if !is_chosen && self.options.chosen_by_source {
            return Ok(Visited::NOTHING_MOVED);
        }
        if source.kind == Kind::Directory {
            return Ok(Visited::Directory);
        }
        let counterpart = looked_up.map_or_else(|| self.counterpart(entry), Ok)?;
        let is_chosen_there =
            || counterpart.as_ref().is_some_and(|(_, it, _)| self.selection.admits(it));
        if !is_chosen && !is_chosen_there() {
            return Ok(Visited::NOTHING_MOVED);
        }
        let has_xattrs = |kind| self.xattrs.concerns(kind);
        if entry.in_order && counterpart.as_ref().is_some_and(|(_, it, _)| has_xattrs(it.kind)) {
            return Ok(Visited::Later);
        }
        worker.gathered.meet(&source);
        let Some((target_dir, target, target_file)) = counterpart else {
            let findings = Findings::only(Presence::OnlySource);
            self.give_or_hold(
                entry.dir_ref,
                entry.name,
                (Some(&source), None),
                findings,
                worker,
                context,
            );
            return Ok(Visited::NOTHING_MOVED);
        };
        if target.kind == Kind::Directory && self.wants_extraneous() {
            self.walk_target_below(entry, context);
        }
        let compared = &mut worker.gathered.tally.compared;
        self.remember_group(entry.dir_ref, entry.name, &source, &target, compared);
        let opened = (source_file, target_file);
        let pair = Pair { opened, ..self.pair(source, target) };
        self.compare_pair(entry, &*target_dir, pair, worker, context)
    }

    /// Compares what metadata does not show: extended attributes, device numbers, destinations of
    /// links, and content.
    fn compare_pair(
        &self,
        entry: &Visit<'_>,
        target_dir: &dyn Dir,
        mut pair: Pair,
        worker: &mut CompareWorker,
        context: &TaskContext<'_, Self>,
    ) -> Result<Visited, SideError> {
        let is_same_kind = pair.source.kind == pair.target.kind;
        let target_name = self.target_name(entry.dir_ref, entry.name);
        if self.xattrs.concerns(pair.target.kind) {
            let source = (&**entry.dir, Some(entry.name));
            self.compare_xattrs(&mut pair, source, (target_dir, Some(target_name)))?;
        }
        if is_same_kind && pair.source.kind.is_device() {
            let source = entry.dir.device_number(entry.name).at(Side::Source)?;
            if source != target_dir.device_number(target_name).at(Side::Target)? {
                pair.differing.insert(Fields::CONTENT);
            }
        }
        let is_file = is_same_kind && pair.source.kind == Kind::File;
        let mut moved_bytes = 0;
        if is_same_kind && pair.source.kind == Kind::Symlink {
            let source = entry.dir.read_link(entry.name).at(Side::Source)?;
            let target = target_dir.read_link(target_name).at(Side::Target)?;
            if source != target && self.compared.contains(Fields::LINK) {
                pair.differing.insert(Fields::LINK);
            }
        } else if is_file
            && self.options.compares_content()
            && pair.source.size_bytes == pair.target.size_bytes
        {
            moved_bytes = pair.source.size_bytes;
            if moved_bytes > self.options.chunk_bytes {
                self.begin_large(entry, target_dir, pair, worker, context)?;
                // The value exceeds what a batch may move, so that other threads can take the rest
                // of it: the chunks keep this one busy.
                return Ok(Visited::Done { moved_bytes: u64::MAX / 2 });
            }
            self.compare_whole(entry, target_dir, &mut pair, worker)?;
        }
        let both = (Some(&pair.source), Some(&pair.target));
        self.give_or_hold(entry.dir_ref, entry.name, both, pair.findings(), worker, context);
        Ok(Visited::Done { moved_bytes })
    }

    /// Compares the content of a small file.
    fn compare_whole(
        &self,
        entry: &Visit<'_>,
        target_dir: &dyn Dir,
        pair: &mut Pair,
        worker: &mut CompareWorker,
    ) -> Result<(), SideError> {
        let files = self.open_pair(entry, target_dir, std::mem::take(&mut pair.opened))?;
        let size_bytes = pair.source.size_bytes;
        let (source, target) = (&*files.source, &*files.target);
        let way = Way::of(source, target, self.options.evidence)?;
        let (reading, buffers) = (self.reading(), &mut worker.buffers);
        let how = (way, self.options.evidence);
        let (is_same, check) = is_same_file(how, source, target, size_bytes, reading, buffers)?;
        if !is_same {
            pair.differing.insert(Fields::CONTENT);
        }
        let volume = worker.gathered.tally.compared.by(check);
        volume.files += 1;
        volume.bytes += size_bytes;
        files.check(pair.source.version(), pair.target.version())
    }
}

impl Job for CompareJob<'_> {
    type Task = CompareTask;
    type Message = ChunksDone;
    type Event = Event;
    type Snapshot = Tally;
    type Worker = CompareWorker;

    fn worker(&self) -> CompareWorker {
        CompareWorker::new(self.options)
    }

    fn run(&self, task: CompareTask, worker: &mut CompareWorker, context: &TaskContext<'_, Self>) {
        match task {
            CompareTask::Walk(task) => walk::run(self, task, worker, context),
            CompareTask::Chunks(task) => self.run_chunks(task, worker, context),
            CompareTask::Conclude(file) => self.conclude(file, worker, context),
            CompareTask::Directories(verdicts) => self.give_held(&verdicts, worker, context),
        }
        self.account.settle(&mut worker.gathered);
    }

    fn discard(
        &self,
        task: CompareTask,
        worker: &mut CompareWorker,
        context: &TaskContext<'_, Self>,
    ) {
        match task {
            CompareTask::Walk(_) | CompareTask::Directories(_) => {
                worker.gathered.tally.cancelled_tasks += 1;
            }
            CompareTask::Chunks(task) => self.give_up_chunks(&task, context),
            CompareTask::Conclude(file) => self.conclude(file, worker, context),
        }
        self.account.settle(&mut worker.gathered);
    }

    fn flush(&self, worker: &mut CompareWorker, context: &TaskContext<'_, Self>) {
        self.account.settle(&mut worker.gathered);
        worker.send(context, true);
        self.settle_rows(worker, true);
    }

    fn message(&self, _from: Rank, message: ChunksDone, context: &TaskContext<'_, Self>) {
        self.chunks_done(message, context);
    }

    fn snapshot(&self) -> Tally {
        self.tally()
    }

    fn finds(task: &CompareTask) -> bool {
        matches!(task, CompareTask::Walk(_))
    }
}

/// Returns the first task of a comparison.
pub fn seed(root: &CompareRoot) -> WalkTask {
    let dir_ref = Arc::new(DirRef::root_of(0));
    match &root.single {
        None => WalkTask::List(dir_ref),
        Some((name, _)) => WalkTask::single(dir_ref, name),
    }
}
