//! What was found and done, as numbers that add up over threads and ranks.

use serde::{Deserialize, Serialize};

use crate::entry::{Kept, Kind, Metadata, Proof};
use crate::outcome::difference::{Fields, Findings, Presence};

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
    /// Names of directories that were read from them, where that is counted.
    pub listed: u64,
    /// Entries made or replaced at the target, by kind.
    pub copied: Kinds,
    /// Bytes written to the target.
    pub copied_bytes: u64,
    /// Bytes that were there already, from a job that was stopped.
    pub resumed_bytes: u64,
    /// Chunks of large files copied.
    pub chunks: u64,
    /// Names that became links to a copy of this job's, or of one before.
    pub hard_linked: u64,
    /// Names of files with several that could not become names of one file at the target.
    pub links_not_kept: u64,
    /// Entries left out on purpose: FIFOs, sockets, devices.
    pub skipped: u64,
    /// Names of what jobs have staged, and of their journals, that were passed over.
    pub passed_over: u64,
    /// Entries whose owner could not be kept.
    pub owner_not_kept: u64,
    /// Entries of which some extended attribute could not be kept.
    pub xattrs_not_kept: u64,
    /// Entries whose owner, mode or times have no place at the target.
    pub attributes_not_kept: u64,
    /// Objects whose tags or access control list could not be read, so that they may lack them now.
    pub properties_not_kept: u64,
    /// Files whose time of change is kept in coarser steps than the source has it.
    pub times_cut: u64,
    /// Files that could not be striped as they should be.
    pub layouts_not_set: u64,
    /// Directories that are kept only by what is in them.
    pub directories_not_kept: u64,
    /// Files that went through a network service, by what shows that they arrived, in the order of
    /// [`Proof::ALL`].
    pub proven: [u64; Proof::ALL.len()],
    /// Entries that failed.
    pub failed: u64,
    /// Source entries that went away.
    pub vanished: u64,
    /// Source directories in which entries came or went, and again while they were read for the second time.
    pub moving: u64,
    /// Directories that could not be read to their end: the walk does not know all there is.
    pub unread_directories: u64,
    /// Requests that a service has turned away because it got too many; most were tried again.
    pub refused_requests: u64,
    /// Files that were read again and are as they were written.
    pub verified_files: u64,
    /// Bytes that were read again, or checked by a service.
    pub verified_bytes: u64,
    /// Files that were to be read again, and were not.
    pub not_verified: u64,
    /// Records of large files that could not be written into the journal.
    pub unjournaled: u64,
    /// Pieces of work given up because the job was stopped.
    pub given_up: u64,
    /// Failures after which a service was not asked any more, because it was silent for too long.
    pub silent_services: u64,
    /// The `errno` that showed that nothing else would fare better at the target; 0 where none did.
    pub gave_up_for: u64,
    /// Ranks that were told to stop by a signal.
    pub interrupted: u64,
    /// What a comparison has found.
    pub compared: Compared,
    /// What making a target equal has found and done, besides copying.
    pub synced: Synced,
    /// What became of what stopped jobs have left.
    pub leftovers: Leftovers,
}

/// Counts of uploads that were begun and not completed, and of files that were staged and got no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Leftovers {
    /// All that were found.
    pub found: u64,
    /// Those that were given up or removed.
    pub removed: u64,
    /// Those that are too young for that.
    pub left_alone: u64,
}

/// Counts of making a target equal its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Synced {
    /// Entries that were equal.
    pub unchanged: u64,
    /// Entries that were given attributes in place.
    pub repaired: u64,
    /// Files that became links to those of an older copy.
    pub linked: u64,
    /// Entries that a rule of the operator leaves as they are.
    pub kept_back: u64,
    /// Entries of the target that were deleted.
    pub deleted: Kinds,
    /// Directories of the target that stay because something in them does.
    pub protected: u64,
    /// Entries that were to be deleted, and that the source has by now.
    pub come_back: u64,
    /// Entries that were left out, and of whose names the target has something else.
    pub unlike: u64,
    /// Of those that were equal, objects without the time of their file's last change, that were stored
    /// after it.
    pub stored_later: u64,
}

impl Synced {
    fn add(&mut self, other: &Self) {
        self.unchanged += other.unchanged;
        self.repaired += other.repaired;
        self.linked += other.linked;
        self.kept_back += other.kept_back;
        self.deleted.add(&other.deleted);
        self.protected += other.protected;
        self.come_back += other.come_back;
        self.unlike += other.unlike;
        self.stored_later += other.stored_later;
    }
}

/// Counts of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Compared {
    /// Entries that are the same on both sides.
    pub same: u64,
    /// Entries that are on both sides and differ.
    pub different: u64,
    /// Entries that only the source has.
    pub only_source: u64,
    /// Entries that only the target has.
    pub only_target: u64,
    /// Of those on both sides, how many differ in which field, in the order of [`Fields::iter`].
    pub differing: [u64; 12],
    /// Files whose content was compared, by what was read for it.
    pub read: Volume,
    /// The same: objects that had to be downloaded.
    pub downloaded: Volume,
    /// The same: a checksum that the service keeps stood for an object.
    pub summed: Volume,
    /// The same: the service's name for an object's content is the MD5 of the file.
    pub named: Volume,
    /// Of the entries on both sides, how many were not compared in which field, because one of the two
    /// places does not keep it; in the order of [`Fields::iter`].
    pub unknown: [u64; 12],
    /// Names that are one file with others in the source, and not in the target.
    pub parted_names: u64,
    /// Names that are one file with others in the target, and not in the source.
    pub joined_names: u64,
    /// Directories that have no counterpart because the other place keeps none.
    pub unkept_directories: u64,
}

/// So many files, and bytes in them: once for both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Volume {
    pub files: u64,
    pub bytes: u64,
}

/// What was read to compare the content of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Check {
    /// Both files, byte by byte.
    Read,
    /// An object's content.
    Downloaded,
    /// No object's content: the service keeps a checksum of it.
    Summed,
    /// No object's content: the service's name for it is the other file's MD5.
    Named,
}

impl Volume {
    fn add(&mut self, other: Self) {
        self.files += other.files;
        self.bytes += other.bytes;
    }
}

impl Compared {
    /// Counts an entry; only differences in `counted` fields make it a different one.
    pub fn count(&mut self, findings: Findings, counted: Fields) {
        *match findings.presence {
            Presence::OnlySource => &mut self.only_source,
            Presence::OnlyTarget => &mut self.only_target,
            Presence::Both if !findings.counted(counted).is_empty() => &mut self.different,
            Presence::Both => &mut self.same,
        } += 1;
        if findings.presence == Presence::Both {
            for (count, field) in self.differing.iter_mut().zip(Fields::ALL.iter()) {
                *count += u64::from(findings.differs(field));
            }
            let unknown = findings.unknown.intersection(counted);
            for (count, field) in self.unknown.iter_mut().zip(Fields::ALL.iter()) {
                *count += u64::from(unknown.contains(field));
            }
        }
    }

    /// What was compared in that way.
    pub fn by(&mut self, check: Check) -> &mut Volume {
        match check {
            Check::Read => &mut self.read,
            Check::Downloaded => &mut self.downloaded,
            Check::Summed => &mut self.summed,
            Check::Named => &mut self.named,
        }
    }

    /// Bytes of content compared in any way, once for both sides.
    pub fn bytes(&self) -> u64 {
        self.read.bytes + self.downloaded.bytes + self.summed.bytes + self.named.bytes
    }

    /// Of the entries on both sides, how many differ in that one field.
    pub fn differing_in(&self, field: Fields) -> u64 {
        let at = Fields::ALL.iter().position(|own| own == field);
        at.map_or(0, |at| self.differing[at])
    }

    /// How many entries on both sides were not compared in which field, of those that were not.
    pub fn not_compared(&self) -> impl Iterator<Item = (Fields, u64)> {
        Fields::ALL.iter().zip(self.unknown).filter(|(_, count)| *count > 0)
    }

    /// Something could not be compared because one of the two places does not keep it.
    pub fn is_limited(&self) -> bool {
        self.unkept_directories > 0 || self.not_compared().next().is_some()
    }

    /// Entries on both sides.
    pub fn both(&self) -> u64 {
        self.same + self.different
    }

    /// Anything is unlike.
    pub fn is_different(&self) -> bool {
        let regrouped = self.parted_names + self.joined_names;
        self.different + self.only_source + self.only_target + regrouped > 0
    }

    /// Adds another one's counts.
    pub fn add(&mut self, other: &Self) {
        self.same += other.same;
        self.different += other.different;
        self.only_source += other.only_source;
        self.only_target += other.only_target;
        self.parted_names += other.parted_names;
        self.joined_names += other.joined_names;
        self.read.add(other.read);
        self.downloaded.add(other.downloaded);
        self.summed.add(other.summed);
        self.named.add(other.named);
        for (count, more) in self.differing.iter_mut().zip(other.differing) {
            *count += more;
        }
        for (count, more) in self.unknown.iter_mut().zip(other.unknown) {
            *count += more;
        }
        self.unkept_directories += other.unkept_directories;
    }
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
        *self.of(kind) += 1;
    }

    /// One less: it was counted too early.
    pub fn uncount(&mut self, kind: Kind) {
        *self.of(kind) -= 1;
    }

    fn of(&mut self, kind: Kind) -> &mut u64 {
        match kind {
            Kind::File => &mut self.files,
            Kind::Directory => &mut self.directories,
            Kind::Symlink => &mut self.symlinks,
            Kind::Fifo | Kind::Socket | Kind::BlockDevice | Kind::CharDevice => &mut self.others,
        }
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

    /// Counts one more name of a file that was met: its bytes are there once.
    pub fn meet_link(&mut self, metadata: &Metadata) {
        self.examined += 1;
        self.found.count(metadata.kind);
    }

    /// Counts what could not be set.
    pub fn count_lost(&mut self, kept: Kept) {
        self.owner_not_kept += u64::from(kept.is_owner_lost());
        self.xattrs_not_kept += u64::from(kept.xattrs_lost);
        self.attributes_not_kept += u64::from(kept.attributes_lost);
        self.properties_not_kept += u64::from(kept.properties_lost);
        self.layouts_not_set += u64::from(kept.layout_lost);
        self.times_cut += u64::from(kept.times_cut);
        let at = |proof| Proof::ALL.iter().position(|(own, ..)| *own == proof);
        if let Some(at) = kept.proof.and_then(at) {
            self.proven[at] += 1;
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
        self.listed += other.listed;
        self.copied.add(&other.copied);
        self.copied_bytes += other.copied_bytes;
        self.resumed_bytes += other.resumed_bytes;
        self.chunks += other.chunks;
        self.hard_linked += other.hard_linked;
        self.links_not_kept += other.links_not_kept;
        self.skipped += other.skipped;
        self.passed_over += other.passed_over;
        self.owner_not_kept += other.owner_not_kept;
        self.xattrs_not_kept += other.xattrs_not_kept;
        self.attributes_not_kept += other.attributes_not_kept;
        self.properties_not_kept += other.properties_not_kept;
        self.layouts_not_set += other.layouts_not_set;
        self.times_cut += other.times_cut;
        self.directories_not_kept += other.directories_not_kept;
        for (count, more) in self.proven.iter_mut().zip(other.proven) {
            *count += more;
        }
        self.failed += other.failed;
        self.vanished += other.vanished;
        self.moving += other.moving;
        self.unread_directories += other.unread_directories;
        self.refused_requests += other.refused_requests;
        self.unjournaled += other.unjournaled;
        self.verified_files += other.verified_files;
        self.verified_bytes += other.verified_bytes;
        self.not_verified += other.not_verified;
        self.given_up += other.given_up;
        self.silent_services += other.silent_services;
        self.gave_up_for = self.gave_up_for.max(other.gave_up_for);
        self.interrupted += other.interrupted;
        self.compared.add(&other.compared);
        self.synced.add(&other.synced);
        self.leftovers.found += other.leftovers.found;
        self.leftovers.removed += other.leftovers.removed;
        self.leftovers.left_alone += other.leftovers.left_alone;
    }

    /// The target has no place for something that was to be kept.
    pub fn is_limited(&self) -> bool {
        self.xattrs_not_kept
            + self.attributes_not_kept
            + self.directories_not_kept
            + self.links_not_kept
            > 0
    }

    /// Whether the job ended before its time because it was told to.
    pub fn is_cut_short(&self) -> bool {
        self.interrupted > 0 && self.given_up > 0
    }

    /// Whether every directory below the roots was read to its end.
    pub fn is_walk_complete(&self) -> bool {
        self.unread_directories == 0 && self.given_up == 0
    }
}
