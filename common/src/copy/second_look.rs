//! The second look at directories of the source that have changed after they were listed: what is new in them is
//! dealt with as in a walk.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use super::leftovers::Leftovers;
use super::{CopyHand, CopyJob};
use crate::base::path::Name;
use crate::model::entry::{Attributes, Hint, Kind, Metadata, Time, Times};
use crate::store::posix::Symlinks;
use crate::store::{Dir, Store};
use crate::walk::listed::{is_changed_since, is_known};
use crate::walk::packed::RootedPath;
use crate::walk::place::Place;

/// What tells news from what was met before.
#[derive(Debug, Default)]
pub struct SecondLook {
    /// When the first look began, by this node's clock.
    pub began: Option<Time>,
    /// Directories that were met in those that have changed.
    pub known: HashSet<u64>,
    /// The times of directories that were listed again.
    times: Mutex<Vec<(RootedPath, Times)>>,
}

impl SecondLook {
    /// For what has come since then, but for directories that are known.
    pub fn new(began: Time, known: HashSet<u64>) -> Self {
        Self { began: Some(began), known, times: Mutex::default() }
    }

    fn is_news(
        &self,
        (place, dir, source): (&Place, &dyn Dir, &dyn Store),
        (name, hint): (&Name, Hint),
        symlinks: Symlinks,
    ) -> bool {
        // What cannot be looked at is to be said where it is dealt with.
        let (Some(began), Ok(found)) = (self.began, dir.stat(name)) else { return true };
        if found.kind == Kind::Directory {
            let path = place.path().child(name);
            return !is_known(&self.known, (place.root(), &path), found.inode);
        }
        // What a link leads to says nothing of when the link came.
        let is_followed = hint == Hint::Symlink && symlinks == Symlinks::Follow;
        is_followed || is_changed_since(found.ctime.plus(source.clock_behind()), began)
    }
}

impl CopyJob<'_> {
    /// For directories that are listed for the second time.
    #[must_use]
    pub fn looking_again(mut self, second_look: SecondLook) -> Self {
        self.second_look = second_look;
        self
    }

    /// Times of the directories that this rank has listed again, as they are to be at the target.
    pub fn take_new_times(&self) -> Vec<(RootedPath, Times)> {
        std::mem::take(&mut self.second_look.times.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn is_news_to(&self, place: &Place, dir: &dyn Dir, name: &Name, hint: Hint) -> bool {
        let source = &*self.root(place).source;
        self.second_look.is_news((place, dir, source), (name, hint), self.options.symlinks)
    }

    /// Remembers a directory that is about to be listed.
    pub(super) fn remember_listed(&self, place: &Place, metadata: &Metadata) {
        if self.looks_again(place) {
            self.listed.add(place, metadata);
        }
    }

    /// Remembers one that could not be read, unless it is not there any more.
    pub(super) fn remember_unread(&self, place: &Place, has_vanished: bool) {
        if self.looks_again(place) && !has_vanished {
            self.listed.add_unread(place);
        }
    }

    /// A plan is of what was seen; what is named is not listed; and objects are in no directories.
    fn looks_again(&self, place: &Place) -> bool {
        !self.options.dry_run && self.named.is_none() && !self.root(place).source.holds_objects()
    }

    /// A directory is listed for the second time: it has other times now.
    pub(super) fn list_again(&self, place: &Place, metadata: &Metadata, hand: &mut CopyHand) {
        self.remember_listed(place, metadata);
        hand.gathered.tally.examined += 1;
        let times = metadata.times().filter(|_| self.options.keep.times);
        if let Some(times) = times.filter(|_| self.target(place).keeps_directories()) {
            self.directories
                .add(place, &Attributes { times: Some(times), ..Attributes::default() });
            let directory = (place.root(), place.path().as_bytes().to_vec());
            let mut all = self.second_look.times.lock().unwrap_or_else(PoisonError::into_inner);
            all.push((directory, times));
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
        let Self { earlier: _, directories, extras, deferred, links, listed } = second;
        self.directories.append(directories);
        self.directories.retime(times);
        self.extras.append(extras);
        self.deferred.append(deferred);
        self.links.append(&links);
        self.listed.append(listed);
    }
}
