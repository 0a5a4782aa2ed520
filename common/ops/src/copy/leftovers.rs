//! Work that the part of a rank in the copy leaves for the end of the job.

use super::extraneous::Extraneous;
use super::finish::DirectoryRecords;
use super::linked::LinkRecords;

/// Work that remains when the walk is over.
#[derive(Default)]
pub struct Leftovers {
    /// Directories of earlier sources, in that order: their attributes are set first.
    pub earlier: Vec<DirectoryRecords>,
    /// Directories whose attributes are to be set.
    pub directories: DirectoryRecords,
    /// Extraneous entries of the target.
    pub extraneous: Extraneous,
    /// Files and links that can be copied only when directories of their names are deleted.
    pub deferred: Extraneous,
    /// Names of hard-linked files, to be copied when all of them are known.
    pub links: LinkRecords,
}

impl Leftovers {
    /// Prepends the work that earlier sources have left.
    #[must_use]
    pub fn after(self, before: Self) -> Self {
        let Self { mut earlier, directories, mut extraneous, mut deferred, links } = before;
        earlier.push(directories);
        extraneous.append(self.extraneous);
        deferred.append(self.deferred);
        links.append(&self.links);
        Self { earlier, directories: self.directories, extraneous, deferred, links }
    }

    /// Appends the work that another phase has left, except names of hard-linked files, of which it
    /// must leave none.
    pub fn add(&mut self, other: Self) {
        self.directories.append(other.directories);
        self.extraneous.append(other.extraneous);
        self.deferred.append(other.deferred);
    }
}
