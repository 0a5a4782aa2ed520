//! From the paths on the command line to roots: what rank 0 finds out, once, before anything is
//! written.

use std::collections::HashSet;
use std::ffi::CString;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::options::CopyOptions;
use super::root::{Places, RootPlan, RootTarget, Singles};
use crate::sites::Sites;
use crate::walk::account;
use crate::walk::selection::Selection;
use store::opening::{Need, OpenAs, Symlinks};
use types::entry::{Kind, Metadata};
use types::error::{Cause, Error, Failure, Op, Side};
use types::path::{in_small_letters, join};
use types::place::placement::{Given, TargetIs, place};

/// What is to be copied where.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CopyPlan {
    /// The sources that can be copied.
    pub roots: Vec<RootPlan>,
    /// Those that cannot; the others go on.
    pub failures: Vec<Failure>,
    /// Why nothing at all can be done, one line each.
    pub refusals: Vec<String>,
}

/// Works out where each source goes, and makes the directories that trees are copied to.
///
/// A job that goes on with another one takes the target for what that has found there.
pub fn make(
    sites: &Sites,
    sources: &[Vec<u8>],
    target: &[u8],
    target_was: Option<TargetIs>,
    rules: (&CopyOptions, &Selection),
) -> CopyPlan {
    let (options, _) = rules;
    let mut plan = CopyPlan::default();
    if let Err(refusal) = options.check() {
        plan.refusals.push(refusal);
        return plan;
    }
    let target = Given::new(target);
    let target_is = match (look_at_target(sites, &target), target_was) {
        (Ok(_), Some(target_was)) => target_was,
        (Ok(target_is), None) => target_is,
        (Err(failure), _) => {
            plan.failures.push(failure);
            return plan;
        }
    };
    let folds = sources.len() > 1 && target_is == TargetIs::Directory && folds_case(sites, &target);
    let key = |path: &[u8]| if folds { in_small_letters(path) } else { path.to_vec() };
    let (mut seen, mut taken) = (HashSet::new(), HashSet::new());
    for source in sources.iter().filter(|source| seen.insert(*source)) {
        match Placing::of(sites, source, (&target, target_is), sources.len(), rules) {
            Ok(placing) if placing.merges() || taken.insert(key(&placing.target_path)) => {
                plan.add(placing);
            }
            Ok(_) => plan.failures.push(not_copied(source, Cause::Collides)),
            Err(Unplaced::Failure(failure)) => plan.failures.push(failure),
            Err(Unplaced::Refusal(refusal)) => plan.refusals.push(refusal),
        }
    }
    if plan.refusals.is_empty() {
        plan.make_directories(sites, options);
    }
    plan
}

/// Names that differ only in case are one in that directory, as far as that is known.
fn folds_case(sites: &Sites, target: &Given) -> bool {
    let open_as = OpenAs { need: Need::Passage, ..OpenAs::default() };
    sites.open(Side::Target, &target.path, open_as).is_ok_and(|store| store.folds_case())
}

fn not_copied(source: &[u8], cause: Cause) -> Failure {
    account::failure(Side::Source, source, b"", Op::Copy.failed(cause))
}

/// What is at the target, as far as that can be known.
pub fn target_is(sites: &Sites, target: &[u8]) -> TargetIs {
    look_at_target(sites, &Given::new(target)).unwrap_or(TargetIs::Missing)
}

fn look_at_target(sites: &Sites, target: &Given) -> Result<TargetIs, Failure> {
    match sites.look(Side::Target, &target.path, Symlinks::Follow) {
        Ok(metadata) if metadata.kind == Kind::Directory => Ok(TargetIs::Directory),
        Ok(_) => Ok(TargetIs::NotDirectory),
        Err(error) if error.cause.is_vanished() => Ok(TargetIs::Missing),
        Err(error) if may_be_written(sites, &target.path, &error) => {
            let is_directory = target.means_contents;
            Ok(if is_directory { TargetIs::Directory } else { TargetIs::Missing })
        }
        Err(error) => Err(account::failure(Side::Target, &target.path, b"", error)),
    }
}

/// An account may write into a bucket that it may not list.
fn may_be_written(sites: &Sites, target: &[u8], error: &Error) -> bool {
    error.cause == Cause::System(libc::EACCES) && sites.is_object(Side::Target, target)
}

enum Unplaced {
    /// This source cannot be copied.
    Failure(Failure),
    /// The command makes no sense.
    Refusal(String),
}

/// A source that has found its place.
struct Placing {
    source: Given,
    is_directory: bool,
    /// It goes into a directory, under its own name.
    keeps_name: bool,
    target_path: Vec<u8>,
}

impl Placing {
    fn of(
        sites: &Sites,
        source: &[u8],
        (target, target_is): (&Given, TargetIs),
        sources: usize,
        (options, selection): (&CopyOptions, &Selection),
    ) -> Result<Self, Unplaced> {
        let given = Given::new(source);
        // A trailing slash follows a link, as the kernel does.
        let follow = if given.means_contents { Symlinks::Follow } else { options.symlinks };
        let metadata = sites.look(Side::Source, source, follow).map_err(|error| {
            Unplaced::Failure(account::failure(Side::Source, source, b"", error))
        })?;
        let is_directory = metadata.kind == Kind::Directory;
        let target_path =
            place(&given, is_directory, target, target_is, sources).map_err(Unplaced::Refusal)?;
        let keeps_name = target_path != target.path;
        let placing = Self { source: given, is_directory, keeps_name, target_path };
        match placing.overlap(sites, &metadata, selection) {
            Some(cause) => Err(Unplaced::Failure(not_copied(source, cause))),
            None => Ok(placing),
        }
    }

    /// The contents of several sources may go into one directory.
    fn merges(&self) -> bool {
        self.is_directory && self.source.means_contents
    }

    /// Source and target must not be one, nor the target inside the source: by device and inode, so
    /// that links and bind mounts cannot hide it.
    fn overlap(&self, sites: &Sites, source: &Metadata, selection: &Selection) -> Option<Cause> {
        if let Ok(target) = sites.look(Side::Target, &self.target_path, Symlinks::Follow)
            && target.is_same_file(source)
        {
            return Some(Cause::SameFile);
        }
        // Paths in filters count from the directory that is walked.
        let walked = if self.merges_or_becomes() { &b""[..] } else { self.own_name() };
        let inside = Inside { source: &self.source.path, metadata: source, walked };
        let is_inside = self.is_directory && inside.holds(sites, &self.target_path, selection);
        is_inside.then_some(Cause::TargetInside)
    }

    /// Its contents go into the target, not the directory itself under its own name.
    fn merges_or_becomes(&self) -> bool {
        self.is_directory && !self.keeps_name
    }

    fn own_name(&self) -> &[u8] {
        self.source.last_name.as_deref().unwrap_or_default()
    }
}

/// A directory that is to be copied, and in which the target may be.
pub(super) struct Inside<'p> {
    /// Its path.
    pub source: &'p [u8],
    /// What it is.
    pub metadata: &'p Metadata,
    /// Its path below the directory that is walked: empty for that itself.
    pub walked: &'p [u8],
}

impl Inside<'_> {
    /// Whether the target, or where it will be made, is in it where the copy would come to it.
    pub fn holds(&self, sites: &Sites, target: &[u8], selection: &Selection) -> bool {
        let parent = Given::new(target).parent();
        let is_below = |path: &[u8]| sites.is_below(Side::Target, path, self.metadata);
        if is_below(target) {
            let path = sites.real_path(Side::Target, target);
            return !self.is_passed_over(sites, (target, path), selection);
        }
        let name = Given::new(target).last_name.unwrap_or_default();
        let path = || sites.real_path(Side::Target, &parent).map(|path| join(&path, &name));
        is_below(&parent) && !self.is_passed_over(sites, (&parent, path()), selection)
    }

    /// Whether the operator's options keep the copy away from there.
    fn is_passed_over(
        &self,
        sites: &Sites,
        (place, path): (&[u8], Option<Vec<u8>>),
        selection: &Selection,
    ) -> bool {
        let there = sites.look(Side::Target, place, Symlinks::Follow);
        let is_behind_mount =
            || there.is_ok_and(|there| selection.stops_at(&there, Ok(self.metadata.device)));
        let is_left_out = || {
            let (path, root) = (path?, sites.real_path(Side::Source, self.source)?);
            let below = path.strip_prefix(&root[..])?.strip_prefix(b"/")?;
            Some(!selection.admits_below(&join(self.walked, below), true))
        };
        is_behind_mount() || is_left_out().unwrap_or(false)
    }
}

impl CopyPlan {
    fn add(&mut self, placing: Placing) {
        let Placing { source, is_directory, keeps_name, target_path } = placing;
        if is_directory && !keeps_name {
            let (source, target) = (source.path, target_path);
            self.roots.push(RootPlan::new(source, target, None));
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
        // Entries of one directory share its handles: there may be thousands of them (dcp * target). What is
        // copied after the contents of a directory may replace some of those.
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

    /// Finds out where all of it is, however it was spelled.
    pub fn locate(&mut self, sites: &Sites) {
        let real = |side, path: &[u8]| sites.real_path(side, path).unwrap_or_else(|| path.to_vec());
        for root in &mut self.roots {
            let source = real(Side::Source, &root.source);
            root.places = Places { source, target: real(Side::Target, &root.target) };
        }
    }

    /// The job does not begin after all: what was made for it goes, if nothing is in it.
    pub fn take_back(&self, sites: &Sites) {
        for root in self.roots.iter().filter(|root| root.target_is == RootTarget::New) {
            // It may be in use by now; then it stays.
            let _ = sites.remove_dir(Side::Target, &root.target);
        }
    }

    /// The roots in parts that are copied one after the other: names of a directory's contents may be names of
    /// other sources, too, and then the last source has them, as with cp(1).
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

    /// Trees need their target directory before the ranks open it. Its mode is widened for the time of
    /// the copy like that of any directory.
    fn make_directories(&mut self, sites: &Sites, options: &CopyOptions) {
        let failures = &mut self.failures;
        self.roots.retain_mut(|root| {
            match make_root_target(sites, root, options) {
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

fn last_name(given: &Given) -> CString {
    let name = given.last_name.clone().unwrap_or_default();
    CString::new(name).expect("arguments of a process contain no NUL")
}

pub(super) fn make_root_target(
    sites: &Sites,
    root: &RootPlan,
    options: &CopyOptions,
) -> Result<RootTarget, Failure> {
    let at_target = |error| account::failure(Side::Target, &root.target, b"", error);
    match sites.look(Side::Target, &root.target, Symlinks::Follow) {
        Ok(metadata) if metadata.kind == Kind::Directory => return Ok(RootTarget::Existing),
        Ok(_) => return Err(at_target(Op::MakeDir.failed(Cause::KindDiffers))),
        // Whoever compares with what is there must see it.
        Err(error) if options.sync.is_none() && may_be_written(sites, &root.target, &error) => {
            return Ok(RootTarget::New);
        }
        Err(error) if !error.cause.is_vanished() => return Err(at_target(error)),
        Err(error) if root.singles.is_some() && !sites.is_object(Side::Target, &root.target) => {
            return Err(at_target(error));
        }
        // Keys need nothing above them.
        Err(_) if sites.is_object(Side::Target, &root.target) => return Ok(RootTarget::New),
        Err(_) => {}
    }
    // The directory's own parent must exist, as for cp(1) and mkdir(1).
    let parent = Given::new(&root.target).parent();
    sites
        .look(Side::Target, &parent, Symlinks::Follow)
        .map_err(|error| account::failure(Side::Target, &parent, b"", error))?;
    if options.dry_run {
        return Ok(RootTarget::Absent);
    }
    let source = sites
        .look(Side::Source, &root.source, Symlinks::Follow)
        .map_err(|error| account::failure(Side::Source, &root.source, b"", error))?;
    let mode = super::policy::making_mode(options, &source);
    sites.make_dir(Side::Target, &root.target, mode).map_err(at_target)?;
    Ok(RootTarget::New)
}
