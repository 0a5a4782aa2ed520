//! Plan of a copy, from the paths on the command line to the roots: determined by rank 0, once,
//! before anything is written.

use std::collections::HashSet;
use std::ffi::CString;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::options::CopyOptions;
use super::root::{RealPaths, RootPlan, RootTarget, Singles};
use crate::resolver::StoreResolver;
use crate::walk::account;
use crate::walk::selection::Selection;
use store::opening::{Need, OpenAs, Symlinks};
use types::entry::{Kind, Metadata};
use types::error::{Cause, Error, Failure, Op, Side};
use types::operand::placement::{Given, PlacementError, TargetIs, place_sources};
use types::path::{escaped, in_small_letters, join};
use types::service::InvalidKey;

/// The sources that are copied, each with its target.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CopyPlan {
    /// The sources that can be copied.
    pub roots: Vec<RootPlan>,
    /// Number of the sources that the filters leave out.
    pub excluded: usize,
    /// Failures of the sources that cannot be copied; the others are copied nonetheless.
    pub failures: Vec<Failure>,
    /// Reasons why nothing at all can be done, one line each.
    pub refusals: Vec<String>,
}

/// Determines the target of each source, and creates the target directories of trees.
///
/// A job that resumes another one takes the target as that one found it.
pub fn make(
    resolver: &StoreResolver,
    sources: &[Vec<u8>],
    target: &[u8],
    target_was: Option<TargetIs>,
    job: (&CopyOptions, &Selection),
) -> CopyPlan {
    let (options, _) = job;
    let mut plan = CopyPlan::default();
    if let Err(conflict) = options.check() {
        plan.refusals.push(conflict.to_string());
        return plan;
    }
    if let Some(refusal) = refuse_to_follow(resolver, sources, options) {
        plan.refusals.push(refusal);
        return plan;
    }
    let target = Given::new(target);
    let target_is = match (look_at_target(resolver, &target), target_was) {
        (Ok(_), Some(target_was)) => target_was,
        (Ok(TargetIs::Missing), None) if options.mkpath && is_directory(&target, sources) => {
            TargetIs::Directory
        }
        (Ok(target_is), None) => target_is,
        (Err(failure), _) => {
            plan.failures.push(failure);
            return plan;
        }
    };
    let folds = sources.len() > 1
        && target_is == TargetIs::Directory
        && is_case_insensitive(resolver, &target);
    let key = |path: &[u8]| if folds { in_small_letters(path) } else { path.to_vec() };
    let (mut seen, mut taken) = (HashSet::new(), HashSet::new());
    for source in sources.iter().filter(|source| seen.insert(*source)) {
        match Placing::of(resolver, source, (&target, target_is), sources.len(), job) {
            Ok(placing) if placing.merges() || taken.insert(key(&placing.target_path)) => {
                plan.add(placing);
            }
            Ok(_) => plan.failures.push(not_copied(source, Cause::Collides)),
            Err(Unplaced::Excluded) => plan.excluded += 1,
            Err(Unplaced::Failure(failure)) => plan.failures.push(failure),
            Err(Unplaced::Refusal(why)) => plan.refuse(why.to_string()),
        }
    }
    if options.remove_source {
        plan.refusals.extend(plan.no_move(resolver));
    }
    if plan.refusals.is_empty() {
        plan.make_directories(resolver, options);
    }
    plan
}

/// Refuses to follow symbolic links that are objects: what they lead to is not looked up.
pub(super) fn refuse_to_follow(
    resolver: &StoreResolver,
    sources: &[Vec<u8>],
    options: &CopyOptions,
) -> Option<String> {
    let is_object = |source: &&Vec<u8>| resolver.is_object(Side::Source, source);
    let source = sources.iter().find(is_object)?;
    (options.symlinks == Symlinks::Follow).then(|| {
        let shown = escaped(source);
        format!("\"{shown}\": links in S3 are copied as links and not followed; leave out -L")
    })
}

/// True if the target can only be a directory, even if it does not exist yet.
fn is_directory(target: &Given, sources: &[Vec<u8>]) -> bool {
    target.means_contents || sources.len() > 1
}

/// True if names that differ only in case collide in the target directory, as far as that is known.
fn is_case_insensitive(resolver: &StoreResolver, target: &Given) -> bool {
    let open_as = OpenAs { need: Need::Passage, ..OpenAs::default() };
    resolver
        .open(Side::Target, &target.path, open_as)
        .is_ok_and(|store| store.is_case_insensitive())
}

fn not_copied(source: &[u8], cause: Cause) -> Failure {
    account::failure(Side::Source, source, b"", Op::Copy.failed(cause))
}

/// Returns the state of the target, as far as it can be known.
pub fn target_is(resolver: &StoreResolver, target: &[u8]) -> TargetIs {
    look_at_target(resolver, &Given::new(target)).unwrap_or(TargetIs::Missing)
}

fn look_at_target(resolver: &StoreResolver, target: &Given) -> Result<TargetIs, Failure> {
    match resolver.look(Side::Target, &target.path, Symlinks::Follow) {
        Ok(metadata) if metadata.kind == Kind::Directory => Ok(TargetIs::Directory),
        Ok(_) => Ok(TargetIs::NotDirectory),
        Err(error) if error.cause.is_vanished() => Ok(TargetIs::Missing),
        Err(error) if may_be_written(resolver, &target.path, &error) => {
            let is_directory = target.means_contents;
            Ok(if is_directory { TargetIs::Directory } else { TargetIs::Missing })
        }
        Err(error) => Err(account::failure(Side::Target, &target.path, b"", error)),
    }
}

/// True if the target may be written although it cannot be inspected: an account may write into a
/// bucket that it may not list.
fn may_be_written(resolver: &StoreResolver, target: &[u8], error: &Error) -> bool {
    error.cause == Cause::System(libc::EACCES) && resolver.is_object(Side::Target, target)
}

enum Unplaced {
    /// The filters leave out the source, which goes into a directory under its own name.
    Excluded,
    /// The source cannot be copied.
    Failure(Failure),
    /// The command is contradictory.
    Refusal(PlacementError),
}

/// A source with its target path.
struct Placing {
    source: Given,
    is_directory: bool,
    /// True if the source goes into a directory, under its own name.
    keeps_name: bool,
    target_path: Vec<u8>,
}

impl Placing {
    fn of(
        resolver: &StoreResolver,
        source: &[u8],
        (target, target_is): (&Given, TargetIs),
        sources: usize,
        (options, selection): (&CopyOptions, &Selection),
    ) -> Result<Self, Unplaced> {
        let given = Given::new(source);
        // A trailing slash follows a link, as in the kernel.
        let follow = if given.means_contents { Symlinks::Follow } else { options.symlinks };
        let metadata = resolver.look(Side::Source, source, follow).map_err(|error| {
            Unplaced::Failure(account::failure(Side::Source, source, b"", error))
        })?;
        let is_directory = metadata.kind == Kind::Directory;
        let target_path = place_sources(&given, is_directory, target, target_is, sources)
            .map_err(Unplaced::Refusal)?;
        // A whole bucket is in no directory from which it could be taken by its name.
        let keeps_name = target_path != target.path && !resolver.is_bucket(Side::Source, source);
        let placing = Self { source: given, is_directory, keeps_name, target_path };
        if keeps_name && !selection.admits_operand(placing.own_name(), is_directory) {
            return Err(Unplaced::Excluded);
        }
        if keeps_name && !resolver.ends_in_name(Side::Source, source) {
            let cause = Cause::Key(InvalidKey::NotTheName);
            return Err(Unplaced::Failure(not_copied(source, cause)));
        }
        match placing.overlap(resolver, &metadata, (selection, options)) {
            Some(cause) => Err(Unplaced::Failure(not_copied(source, cause))),
            None => Ok(placing),
        }
    }

    /// True if the source is the contents of a directory, which may share a target directory with
    /// other sources.
    fn merges(&self) -> bool {
        self.is_directory && self.source.means_contents
    }

    /// Checks that source and target are not the same file, and that the target is not inside the
    /// source: by device and inode, so that links and bind mounts cannot hide it.
    fn overlap(
        &self,
        resolver: &StoreResolver,
        source: &Metadata,
        (selection, options): (&Selection, &CopyOptions),
    ) -> Option<Cause> {
        if let Ok(target) = resolver.look(Side::Target, &self.target_path, Symlinks::Follow)
            && target.is_same_file(source)
        {
            return Some(Cause::SameFile);
        }
        // Paths in filters are relative to the directory that is walked.
        let walked = if self.merges_or_becomes() { &b""[..] } else { self.own_name() };
        let inside = Inside { source: &self.source.path, metadata: source, walked };
        let is_inside = self.is_directory && inside.holds(resolver, &self.target_path, selection);
        if is_inside {
            return Some(Cause::TargetInside);
        }
        let takes_part = |below: &[u8]| selection.admits_below(&join(walked, below), true);
        if self.is_directory && self.writes_into_source(resolver, options.symlinks, &takes_part) {
            return Some(Cause::SourceInside);
        }
        let trees = [&self.source.path[..], &self.target_path];
        if self.is_directory && resolver.share_mounts(trees, false, takes_part) {
            return Some(Cause::MountedInside);
        }
        let across = resolver.overlap_elsewhere(&self.source.path, source.kind, &self.target_path);
        // A directory may be copied into one above it. A copy onto itself loses nothing unless it
        // is a move.
        across.filter(|cause| match cause {
            Cause::SourceInside => false,
            Cause::MaybeSame => options.remove_source,
            _ => true,
        })
    }

    /// True if the source is in the target, and has a directory whose copy would be the source
    /// itself: of `t/x` with a directory `x`, copied to `t`, entries would be replaced before they
    /// are copied.
    fn writes_into_source(
        &self,
        resolver: &StoreResolver,
        symlinks: Symlinks,
        takes_part: &dyn Fn(&[u8]) -> bool,
    ) -> bool {
        let Some(below) = resolver.path_below(&self.source.path, &self.target_path) else {
            return false;
        };
        let copied_onto_source = join(&self.source.path, &below);
        let found = resolver.look(Side::Source, &copied_onto_source, symlinks);
        found.is_ok_and(|found| found.kind == Kind::Directory) && takes_part(&below)
    }

    /// True if the contents of the directory go into the target, instead of the directory itself
    /// under its own name.
    fn merges_or_becomes(&self) -> bool {
        self.is_directory && !self.keeps_name
    }

    fn own_name(&self) -> &[u8] {
        self.source.last_name.as_deref().unwrap_or_default()
    }
}

/// A directory that is to be copied, and in which the target may be.
pub(super) struct Inside<'p> {
    /// Path of the directory.
    pub source: &'p [u8],
    /// Metadata of the directory.
    pub metadata: &'p Metadata,
    /// Path below the directory that is walked; empty for that directory itself.
    pub walked: &'p [u8],
}

impl Inside<'_> {
    /// True if the target, existing or to be created, is in the directory at a place that the copy
    /// would reach.
    pub fn holds(&self, resolver: &StoreResolver, target: &[u8], selection: &Selection) -> bool {
        let parent = Given::new(target).parent();
        let is_below = |path: &[u8]| resolver.is_below(Side::Target, path, self.metadata);
        if is_below(target) {
            let path = resolver.real_path(Side::Target, target);
            return !self.is_passed_over(resolver, (target, path), selection);
        }
        let name = Given::new(target).last_name.unwrap_or_default();
        let path = || resolver.real_path(Side::Target, &parent).map(|path| join(&path, &name));
        is_below(&parent) && !self.is_passed_over(resolver, (&parent, path()), selection)
    }

    /// True if the options of the operator keep the copy away from the target.
    fn is_passed_over(
        &self,
        resolver: &StoreResolver,
        (directory, path): (&[u8], Option<Vec<u8>>),
        selection: &Selection,
    ) -> bool {
        let there = resolver.look(Side::Target, directory, Symlinks::Follow);
        let is_behind_mount =
            || there.is_ok_and(|there| selection.stops_at(&there, Ok(self.metadata.device)));
        let is_left_out = || {
            let (path, root) = (path?, resolver.real_path(Side::Source, self.source)?);
            let below = path.strip_prefix(&root[..])?.strip_prefix(b"/")?;
            Some(!selection.admits_below(&join(self.walked, below), true))
        };
        is_behind_mount() || is_left_out().unwrap_or(false)
    }
}

impl CopyPlan {
    /// Adds a reason to refuse the command, which may be the same for several sources.
    fn refuse(&mut self, why: String) {
        if !self.refusals.contains(&why) {
            self.refusals.push(why);
        }
    }

    fn add(&mut self, placing: Placing) {
        let Placing { source, is_directory, keeps_name, target_path } = placing;
        if is_directory && !keeps_name {
            let is_itself = !source.means_contents;
            let root = RootPlan::new(source.path, target_path, None);
            self.roots.push(RootPlan { is_itself, ..root });
            return;
        }
        let target = Given::new(&target_path);
        let (name, target_name) = (last_name(&source), last_name(&target));
        let (source, target) = (source.parent(), target.parent());
        if name != target_name {
            let singles = Some(Singles { names: vec![name], renamed: Some(target_name) });
            self.roots.push(RootPlan::new(source, target, singles));
            return;
        }
        // Entries of one directory share its handles: there may be thousands of them (dcp *
        // target). An entry that is copied after the contents of a directory may replace some of
        // those.
        let shares = |root: &&mut RootPlan| root.source == source && root.target == target;
        let mut before = self.roots.iter_mut().rev().take_while(|root| root.singles.is_some());
        let neighbour = before.find(shares);
        match neighbour.and_then(|root| root.singles.as_mut()) {
            Some(singles) if singles.renamed.is_none() => singles.names.push(name),
            _ => {
                let singles = Some(Singles { names: vec![name], renamed: None });
                self.roots.push(RootPlan::new(source, target, singles));
            }
        }
    }

    /// Returns why the sources cannot be moved, if they cannot.
    fn no_move(&self, resolver: &StoreResolver) -> Option<String> {
        if self.phases().len() > 1 {
            return Some(
                "--remove-source cannot move the contents of several sources into one directory: \
                 their entries may replace each other; leave out the \"/\" at the end of each \
                 SOURCE, or name one"
                    .to_owned(),
            );
        }
        let is_read_only = |root: &&RootPlan| {
            let open_as = OpenAs { need: Need::Passage, ..OpenAs::default() };
            let is_here = !resolver.is_remote(&root.source)
                && !resolver.is_object(Side::Source, &root.source);
            let store = || resolver.open(Side::Source, &root.source, open_as);
            is_here && store().is_ok_and(|store| store.is_past_help(libc::EROFS))
        };
        let root = self.roots.iter().find(is_read_only)?;
        let shown = escaped(&root.source);
        Some(format!("\"{shown}\" is on a read-only file system: --remove-source cannot remove it"))
    }

    /// Determines the real paths of all sources and targets, however they were spelled.
    pub fn locate(&mut self, resolver: &StoreResolver) {
        let real =
            |side, path: &[u8]| resolver.real_path(side, path).unwrap_or_else(|| path.to_vec());
        for root in &mut self.roots {
            let source = real(Side::Source, &root.source);
            root.real_paths = RealPaths { source, target: real(Side::Target, &root.target) };
        }
    }

    /// Removes the directories that were created for the job, if they are empty, because the job
    /// does not begin after all.
    pub fn take_back(&self, resolver: &StoreResolver) {
        for root in self.roots.iter().filter(|root| root.target_is == RootTarget::New) {
            // A directory that is in use by now stays.
            let _ = resolver.remove_dir(Side::Target, &root.target);
        }
    }

    /// Returns the roots in parts that are copied one after the other: names in the contents of a
    /// directory may be names of other sources, too, and then the last source prevails, as with
    /// cp(1).
    pub fn phases(&self) -> Vec<Range<usize>> {
        let is_apart = |root: &RootPlan| root.singles.is_none();
        let mut phases: Vec<Range<usize>> = Vec::new();
        for (index, root) in self.roots.iter().enumerate() {
            match phases.last_mut() {
                Some(last) if !is_apart(root) && !is_apart(&self.roots[last.start]) => {
                    last.end = index + 1;
                }
                _ => phases.push(index..index + 1),
            }
        }
        phases
    }

    /// Creates the target directories of trees, before the ranks open them. Their modes are widened
    /// for the duration of the copy, like those of any directory.
    fn make_directories(&mut self, resolver: &StoreResolver, options: &CopyOptions) {
        let failures = &mut self.failures;
        self.roots.retain_mut(|root| {
            match make_root_target(resolver, root, options) {
                Ok(target_is) => root.target_is = target_is,
                Err(failure) => {
                    failures.push(failure);
                    return false;
                }
            }
            true
        });
    }
}

/// Mode of a directory that only leads to the target, before the umask.
const ALL_BITS: u32 = 0o777;

fn last_name(given: &Given) -> CString {
    let name = given.last_name.clone().unwrap_or_default();
    CString::new(name).expect("arguments of a process contain no NUL")
}

/// Checks that the directory exists that is to contain a target in a file system.
fn has_parent(resolver: &StoreResolver, target: &[u8]) -> Result<(), Failure> {
    let parent = Given::new(target).parent();
    match resolver.look(Side::Target, &parent, Symlinks::Follow) {
        Ok(_) => Ok(()),
        Err(error) if error.cause.is_vanished() => {
            let error = Op::Create.failed(Cause::NoParent);
            Err(account::failure(Side::Target, target, b"", error))
        }
        Err(error) => Err(account::failure(Side::Target, &parent, b"", error)),
    }
}

pub(super) fn make_root_target(
    resolver: &StoreResolver,
    root: &RootPlan,
    options: &CopyOptions,
) -> Result<RootTarget, Failure> {
    let at_target = |error| account::failure(Side::Target, &root.target, b"", error);
    match resolver.look(Side::Target, &root.target, Symlinks::Follow) {
        Ok(metadata) if metadata.kind == Kind::Directory => return Ok(RootTarget::Existing),
        Ok(_) => return Err(at_target(Op::MakeDir.failed(Cause::KindDiffers))),
        // A synchronisation, which compares with existing entries, must be able to read the target.
        Err(error) if options.sync.is_none() && may_be_written(resolver, &root.target, &error) => {
            return Ok(RootTarget::New);
        }
        Err(error) if !error.cause.is_vanished() => return Err(at_target(error)),
        Err(_) if options.mkpath && !resolver.is_object(Side::Target, &root.target) => {
            return make_path(resolver, root, options);
        }
        Err(_) if root.singles.is_some() && !resolver.is_object(Side::Target, &root.target) => {
            return Err(at_target(Op::Create.failed(Cause::NoParent)));
        }
        // Keys need no parent directory.
        Err(_) if resolver.is_object(Side::Target, &root.target) => return Ok(RootTarget::New),
        Err(_) => {}
    }
    // The parent of the directory must exist, as for cp(1) and mkdir(1).
    has_parent(resolver, &root.target)?;
    // The target has no store yet: that of a dry run begins with the directory being absent.
    if options.dry_run {
        return Ok(RootTarget::Absent);
    }
    make_whole(resolver, root, options)
}

/// Creates the target of a whole directory.
fn make_whole(
    resolver: &StoreResolver,
    root: &RootPlan,
    options: &CopyOptions,
) -> Result<RootTarget, Failure> {
    let source = resolver
        .look(Side::Source, &root.source, Symlinks::Follow)
        .map_err(|error| account::failure(Side::Source, &root.source, b"", error))?;
    let mode = super::attribute_policy::making_mode(options, &source);
    make_directory(resolver, &root.target, mode)?;
    Ok(RootTarget::New)
}

fn make_directory(resolver: &StoreResolver, path: &[u8], mode: u32) -> Result<(), Failure> {
    let outcome = resolver.make_dir(Side::Target, path, mode);
    outcome.map_err(|error| account::failure(Side::Target, path, b"", error))
}

/// Creates the target with all missing directories above it, as `mkdir -p` does.
fn make_path(
    resolver: &StoreResolver,
    root: &RootPlan,
    options: &CopyOptions,
) -> Result<RootTarget, Failure> {
    let is_missing = |path: &[u8]| {
        let looked = resolver.look(Side::Target, path, Symlinks::Follow);
        looked.is_err_and(|error| error.cause.is_vanished())
    };
    let mut missing = Vec::new();
    let mut path = Given::new(&root.target).parent();
    while is_missing(&path) {
        missing.push(path.clone());
        let parent = Given::new(&path).parent();
        // Nothing is above the root and the home directory of a host.
        if parent == path {
            break;
        }
        path = parent;
    }
    // As in `make_root_target`.
    if options.dry_run {
        return Ok(RootTarget::Absent);
    }
    for path in missing.iter().rev() {
        make_directory(resolver, path, ALL_BITS)?;
    }
    match root.singles {
        Some(_) => make_directory(resolver, &root.target, ALL_BITS).map(|()| RootTarget::New),
        None => make_whole(resolver, root, options),
    }
}
