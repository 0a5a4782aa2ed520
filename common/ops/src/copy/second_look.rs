//! The second look at directories of the source that have changed after they were listed: what is new in them is
//! dealt with as in a walk.

use super::env::Env;
use std::collections::{HashMap, HashSet};
use std::sync::PoisonError;

use super::CopyJob;
use super::directory::Directories;
use super::leftovers::Leftovers;
use crate::walk::packed::RootedPath;
use crate::walk::place::Place;
use crate::walk::watch::Watch;
use types::entry::{Attributes, Metadata, Times};

impl CopyJob<'_> {
    /// Watches the directories of the walk. A plan is of what was seen, and entries that are named are not listed.
    #[must_use]
    pub fn watched(mut self, watch: Watch) -> Self {
        let is_watched = !self.env.options.dry_run && self.env.named.is_none();
        self.env.watch = is_watched.then_some(watch);
        self
    }

    /// Takes out what has watched the walk, where that was done.
    pub fn take_watch(&mut self) -> Option<Watch> {
        self.env.watch.take()
    }

    /// Times of the directories that this rank has listed again, as they are to be at the target.
    pub fn take_new_times(&self) -> Vec<(RootedPath, Times)> {
        self.upkeep.directories.take_new_times()
    }
}

impl Directories {
    fn take_new_times(&self) -> Vec<(RootedPath, Times)> {
        std::mem::take(&mut self.new_times.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes over the times of a directory that is listed for the second time.
    pub(super) fn take_times_again(&self, env: &Env<'_>, place: &Place, metadata: &Metadata) {
        let times = metadata.times().filter(|_| env.options.keep.times);
        if let Some(times) = times.filter(|_| env.target(place).keeps_directories()) {
            self.records.add(place, &Attributes { times: Some(times), ..Attributes::default() });
            let directory = (place.root(), place.path().as_bytes().to_vec());
            self.new_times.lock().unwrap_or_else(PoisonError::into_inner).push((directory, times));
        }
    }
}

impl Leftovers {
    /// What only the target has in these directories is found out anew.
    pub fn forget_extras_of(&mut self, directories: &HashSet<RootedPath>) {
        let is_of =
            |place: &Place| directories.contains(&(place.root(), place.path().as_bytes().to_vec()));
        self.extras.retain(|place| !is_of(place));
        // A directory that is in the way of an entry is no name that only the target has.
        self.extras.add_in_the_way(&self.deferred, is_of);
    }

    /// Takes over what the second look has left, and the times of the directories that were listed again.
    pub fn add_second(&mut self, second: Self, times: &HashMap<RootedPath, Times>) {
        let Self { earlier: _, directories, extras, deferred, links } = second;
        self.directories.append(directories);
        self.directories.retime(times);
        self.extras.append(extras);
        self.deferred.append(deferred);
        self.links.append(&links);
    }
}
