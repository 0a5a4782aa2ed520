//! What a rank's part of the copy leaves for the time after it.

use super::extras::Extras;
use super::finish::DirectoryRecords;
use super::linked::LinkRecords;

/// What is to be done when the walk is over.
#[derive(Default)]
pub struct Leftovers {
    /// Directories of sources that come before others, in that order: their attributes are set first.
    pub earlier: Vec<DirectoryRecords>,
    /// Directories whose attributes are to be set.
    pub directories: DirectoryRecords,
    /// What only the target has.
    pub extras: Extras,
    /// Files and links that can be copied only when directories of their names are deleted.
    pub deferred: Extras,
    /// Names of files with several, to be copied when all are known.
    pub links: LinkRecords,
}

impl Leftovers {
    /// Puts what sources have left, that come before these, in front.
    #[must_use]
    pub fn after(self, before: Self) -> Self {
        let Self { mut earlier, directories, mut extras, mut deferred, links } = before;
        earlier.push(directories);
        extras.append(self.extras);
        deferred.append(self.deferred);
        links.append(&self.links);
        Self { earlier, directories: self.directories, extras, deferred, links }
    }

    /// Takes over what another phase has left, but for names of files, which it must not leave.
    pub fn add(&mut self, other: Self) {
        self.directories.append(other.directories);
        self.extras.append(other.extras);
        self.deferred.append(other.deferred);
    }
}
