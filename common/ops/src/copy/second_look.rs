//! Second visit to directories of the source that have changed after they were listed: new entries
//! in them are copied as in a walk.

use super::env::Env;
use std::collections::{HashMap, HashSet};
use std::sync::PoisonError;

use super::CopyJob;
use super::directory::Directories;
use super::leftovers::Leftovers;
use crate::walk::dir_ref::DirRef;
use crate::walk::packed::RootedPath;
use crate::walk::watch::Watch;
use types::entry::{Attributes, Metadata, Times};

impl CopyJob<'_> {
    /// Watches the directories of the walk. Where writes are discarded, the plan has what one walk
    /// has seen; named entries are not found by listing.
    #[must_use]
    pub fn watched(mut self, watch: Watch) -> Self {
        // A move changes all directories of the source itself; an entry that comes later stays.
        let is_moved = self.env.moving.is_some();
        let is_watched = self.env.writes() && self.env.named.is_none() && !is_moved;
        self.env.watch = is_watched.then_some(watch);
        self
    }

    /// Takes out the watch of the walk, if there was one.
    pub fn take_watch(&mut self) -> Option<Watch> {
        self.env.watch.take()
    }

    /// Returns the timestamps that the directories listed again by this rank are to have at the
    /// target.
    pub fn take_new_times(&self) -> Vec<(RootedPath, Times)> {
        self.upkeep.directories.take_new_times()
    }
}

impl Directories {
    fn take_new_times(&self) -> Vec<(RootedPath, Times)> {
        std::mem::take(&mut self.new_times.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Records the timestamps of a directory that is listed for the second time.
    pub(super) fn take_times_again(&self, env: &Env<'_>, dir_ref: &DirRef, metadata: &Metadata) {
        let times = metadata.times().filter(|_| env.options.keep.times);
        if let Some(times) = times.filter(|_| env.target(dir_ref).keeps_directories()) {
            self.records.add(dir_ref, &Attributes { times: Some(times), ..Attributes::default() });
            let directory = (dir_ref.root(), dir_ref.path().as_bytes().to_vec());
            self.new_times.lock().unwrap_or_else(PoisonError::into_inner).push((directory, times));
        }
    }
}

impl Leftovers {
    /// Drops the extraneous entries of these directories, which are determined again.
    pub fn forget_extraneous_of(&mut self, directories: &HashSet<RootedPath>) {
        let is_of = |dir_ref: &DirRef| {
            directories.contains(&(dir_ref.root(), dir_ref.path().as_bytes().to_vec()))
        };
        self.extraneous.retain(|dir_ref| !is_of(dir_ref));
        // A directory that is in the way of an entry does not count as extraneous, and is recorded
        // again.
        self.extraneous.add_in_the_way(&self.deferred, is_of);
    }

    /// Appends what the second visit has left, and the timestamps of the directories that were
    /// listed again.
    pub fn add_second(&mut self, second: Self, times: &HashMap<RootedPath, Times>) {
        let Self { earlier: _, directories, extraneous, deferred, links } = second;
        self.directories.append(directories);
        self.directories.retime(times);
        self.extraneous.append(extraneous);
        self.deferred.append(deferred);
        self.links.append(&links);
    }
}
