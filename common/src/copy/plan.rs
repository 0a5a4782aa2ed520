//! From the paths on the command line to roots: what rank 0 finds out, once, before anything is
//! written.

use std::ffi::CString;

use serde::{Deserialize, Serialize};

use super::options::CopyOptions;
use super::root::{RootPlan, RootTarget};
use crate::base::error::{Failure, Op, Side};
use crate::base::path;
use crate::model::entry::{Kind, Metadata};
use crate::model::placement::{Given, TargetIs, place};
use crate::store::posix::{self, Symlinks};
use crate::walk::account;

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
pub fn make(sources: &[Vec<u8>], target: &[u8], options: &CopyOptions) -> CopyPlan {
    let mut plan = CopyPlan::default();
    let target = Given::new(target);
    let target_is = match look_at_target(&target) {
        Ok(target_is) => target_is,
        Err(failure) => {
            plan.refusals.push(failure.to_string());
            return plan;
        }
    };
    for source in sources {
        match Placing::of(source, &target, target_is, sources.len(), options) {
            Ok(placing) => plan.add(placing),
            Err(Unplaced::Failure(failure)) => plan.failures.push(failure),
            Err(Unplaced::Refusal(refusal)) => plan.refusals.push(refusal),
        }
    }
    if plan.refusals.is_empty() {
        plan.make_directories(options);
    }
    plan
}

fn look_at_target(target: &Given) -> Result<TargetIs, Failure> {
    match posix::stat_path(&target.path, Symlinks::Follow) {
        Ok(metadata) if metadata.kind == Kind::Directory => Ok(TargetIs::Directory),
        Ok(_) => Ok(TargetIs::NotDirectory),
        Err(error) if error.cause.is_vanished() => Ok(TargetIs::Missing),
        Err(error) => Err(account::failure(Side::Target, &target.path, b"", error)),
    }
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
    target_path: Vec<u8>,
}

impl Placing {
    fn of(
        source: &[u8],
        target: &Given,
        target_is: TargetIs,
        sources: usize,
        options: &CopyOptions,
    ) -> Result<Self, Unplaced> {
        let given = Given::new(source);
        // A trailing slash follows a link, as the kernel does.
        let follow = if given.means_contents { Symlinks::Follow } else { options.symlinks };
        let metadata = posix::stat_path(source, follow).map_err(|error| {
            Unplaced::Failure(account::failure(Side::Source, source, b"", error))
        })?;
        let is_directory = metadata.kind == Kind::Directory;
        let target_path =
            place(&given, is_directory, target, target_is, sources).map_err(Unplaced::Refusal)?;
        let placing = Self { source: given, is_directory, target_path };
        placing.refuse_overlap(&metadata).map_err(Unplaced::Refusal)?;
        Ok(placing)
    }

    /// Source and target must not be one, nor the target inside the source: by device and inode, so
    /// that links and bind mounts cannot hide it.
    fn refuse_overlap(&self, source: &Metadata) -> Result<(), String> {
        let shown = |bytes: &[u8]| path::escaped(bytes);
        let (from, to) = (shown(&self.source.path), shown(&self.target_path));
        if let Ok(target) = posix::stat_path(&self.target_path, Symlinks::Follow)
            && target.is_same_file(source)
        {
            return Err(format!("source \"{from}\" and target \"{to}\" are the same"));
        }
        if self.is_directory && is_inside(&self.target_path, source) {
            return Err(format!(
                "target \"{to}\" is inside source \"{from}\"; the copy would copy itself"
            ));
        }
        Ok(())
    }
}

/// Whether a path, or where it would be made, is below that directory.
fn is_inside(path: &[u8], directory: &Metadata) -> bool {
    let mut at = Given::new(path).parent();
    // Each step goes one level up; the root is its own parent.
    for _ in 0..10_000 {
        let Ok(here) = posix::stat_path(&at, Symlinks::Follow) else { return false };
        if here.is_same_file(directory) {
            return true;
        }
        at = path::join(&at, b"..");
        match posix::stat_path(&at, Symlinks::Follow) {
            Ok(above) if !above.is_same_file(&here) => {}
            _ => return false,
        }
    }
    false
}

impl CopyPlan {
    fn add(&mut self, placing: Placing) {
        let Placing { source, is_directory, target_path } = placing;
        let root = if is_directory {
            RootPlan {
                source: source.path,
                target: target_path.clone(),
                target_is: RootTarget::Existing,
                single: None,
            }
        } else {
            let target = Given::new(&target_path);
            RootPlan {
                source: source.parent(),
                target: target.parent(),
                target_is: RootTarget::Existing,
                single: Some((last_name(&source), last_name(&target))),
            }
        };
        let collides = |other: &RootPlan| {
            other.target == root.target
                && match (&other.single, &root.single) {
                    (Some((_, one)), Some((_, two))) => one == two,
                    (None, None) => !source.means_contents,
                    _ => false,
                }
        };
        if self.roots.iter().any(collides) {
            let shown = path::escaped(&target_path);
            self.refusals.push(format!("two sources would both become \"{shown}\""));
        }
        self.roots.push(root);
    }

    /// Trees need their target directory before the ranks open it. Its mode is widened for the time of
    /// the copy like that of any directory.
    fn make_directories(&mut self, options: &CopyOptions) {
        let failures = &mut self.failures;
        self.roots.retain_mut(|root| {
            match make_root_target(root, options) {
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

fn make_root_target(root: &RootPlan, options: &CopyOptions) -> Result<RootTarget, Failure> {
    let at_target = |error| account::failure(Side::Target, &root.target, b"", error);
    match posix::stat_path(&root.target, Symlinks::Follow) {
        Ok(metadata) if metadata.kind == Kind::Directory => return Ok(RootTarget::Existing),
        Ok(_) => return Err(at_target(Op::Open.errno(libc::ENOTDIR))),
        Err(error) if !error.cause.is_vanished() => return Err(at_target(error)),
        Err(error) if root.single.is_some() => return Err(at_target(error)),
        Err(_) => {}
    }
    // The directory's own parent must exist, as for cp(1) and mkdir(1).
    let parent = Given::new(&root.target).parent();
    posix::stat_path(&parent, Symlinks::Follow)
        .map_err(|error| account::failure(Side::Target, &parent, b"", error))?;
    if options.dry_run {
        return Ok(RootTarget::Absent);
    }
    let source = posix::stat_path(&root.source, Symlinks::Follow)
        .map_err(|error| account::failure(Side::Source, &root.source, b"", error))?;
    posix::make_dir_path(&root.target, super::policy::making_mode(options, &source))
        .map_err(at_target)?;
    Ok(RootTarget::New)
}
