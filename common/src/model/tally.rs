//! What was found and done, as numbers that add up over threads and ranks.

use serde::{Deserialize, Serialize};

use super::entry::{Kind, Metadata};

/// Counts of one thread, one rank or a whole job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Entries met, by kind.
    pub found: Kinds,
    /// Bytes in the files met.
    pub found_bytes: u64,
    /// Storage the files met use.
    pub found_allocated_bytes: u64,
    /// Entries whose attributes were read: of a directory by its lister, of others by name.
    pub examined: u64,
    /// Entries made or replaced at the target, by kind.
    pub copied: Kinds,
    /// Bytes written to the target.
    pub copied_bytes: u64,
    /// Chunks of large files copied.
    pub chunks: u64,
    /// Entries left out on purpose: FIFOs, sockets, devices.
    pub skipped: u64,
    /// Entries whose owner could not be kept.
    pub owner_not_kept: u64,
    /// Entries that failed.
    pub failed: u64,
    /// Source entries that went away.
    pub vanished: u64,
    /// Directories that could not be read to their end: the walk does not know all there is.
    pub unread_directories: u64,
    /// Pieces of work given up because the job was stopped.
    pub given_up: u64,
}

/// A count for each kind of entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Kinds {
    pub files: u64,
    pub directories: u64,
    pub symlinks: u64,
    pub others: u64,
}

impl Kinds {
    /// One more of that kind.
    pub fn count(&mut self, kind: Kind) {
        *match kind {
            Kind::File => &mut self.files,
            Kind::Directory => &mut self.directories,
            Kind::Symlink => &mut self.symlinks,
            Kind::Fifo | Kind::Socket | Kind::Device => &mut self.others,
        } += 1;
    }

    /// All kinds together.
    pub fn total(&self) -> u64 {
        self.files + self.directories + self.symlinks + self.others
    }

    fn add(&mut self, other: &Self) {
        self.files += other.files;
        self.directories += other.directories;
        self.symlinks += other.symlinks;
        self.others += other.others;
    }
}

impl Tally {
    /// Counts an entry that the walk met.
    pub fn meet(&mut self, metadata: &Metadata) {
        self.examined += 1;
        self.found.count(metadata.kind);
        if metadata.kind == Kind::File {
            self.find_bytes(metadata.size_bytes, metadata.allocated_bytes);
        }
    }

    /// A list may claim any size: sums stay at the largest number rather than wrap.
    fn find_bytes(&mut self, bytes: u64, allocated_bytes: u64) {
        self.found_bytes = self.found_bytes.saturating_add(bytes);
        self.found_allocated_bytes = self.found_allocated_bytes.saturating_add(allocated_bytes);
    }

    /// Adds another thread's or rank's counts.
    pub fn add(&mut self, other: &Self) {
        self.found.add(&other.found);
        self.find_bytes(other.found_bytes, other.found_allocated_bytes);
        self.examined += other.examined;
        self.copied.add(&other.copied);
        self.copied_bytes += other.copied_bytes;
        self.chunks += other.chunks;
        self.skipped += other.skipped;
        self.owner_not_kept += other.owner_not_kept;
        self.failed += other.failed;
        self.vanished += other.vanished;
        self.unread_directories += other.unread_directories;
        self.given_up += other.given_up;
    }

    /// Whether every directory below the roots was read to its end.
    pub fn is_walk_complete(&self) -> bool {
        self.unread_directories == 0 && self.given_up == 0
    }
}
