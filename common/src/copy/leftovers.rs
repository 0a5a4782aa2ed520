//! What a rank's part of the copy leaves for the time after it.

use super::extras::Extras;
use super::finish::DirectoryRecords;
use super::linked::LinkRecords;

/// What is to be done when the walk is over.
pub struct Leftovers {
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
    /// Takes over what another phase has left, but for names of files, which it must not leave.
    pub fn add(&mut self, other: Self) {
        self.directories.append(other.directories);
        self.extras.append(other.extras);
        self.deferred.append(other.deferred);
    }
}
