//! Counts of entries and operations, which add up over threads and ranks.

use serde::{Deserialize, Serialize};

use crate::entry::{Kind, Metadata, Preserved, Proof};
use crate::outcome::difference::{Fields, Findings, Presence};
use crate::rate::KINDS;

/// Adds the `counts` of another set of counts, and takes the `rest` out of it for the caller to
/// add. The pattern names every field, so that a counter that nobody adds does not compile
/// ("pattern requires `..`").
macro_rules! add_counts {
    ($own:ident, $other:ident, counts: [$($count:ident),* $(,)?], rest: [$($rest:ident),* $(,)?]) => {
        let Self { $($count,)* $($rest,)* } = $other;
        $($own.$count += *$count;)*
    };
}

fn add_each<const N: usize>(counts: &mut [u64; N], more: &[u64; N]) {
    for (count, more) in counts.iter_mut().zip(more) {
        *count += more;
    }
}

/// Counts of one thread, one rank or a whole job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Entries that the walk met, by type.
    pub found: Kinds,
    /// Bytes in the files that the walk met.
    pub found_bytes: u64,
    /// Storage in use by these files, in bytes.
    pub found_allocated_bytes: u64,
    /// Entries whose attributes were read: of a directory by the task that lists it, of others by
    /// name.
    pub examined: u64,
    /// Names that were read from directories, where that is counted.
    pub listed: u64,
    /// Entries created or replaced at the target, by type.
    pub copied: Kinds,
    /// Bytes written to the target.
    pub copied_bytes: u64,
    /// Bytes that were there already, from an interrupted job.
    pub resumed_bytes: u64,
    /// Bytes of the files whose content was found to be needed at the target, copied or not yet.
    pub needed_bytes: u64,
    /// Bytes of files that an earlier, interrupted job has completed.
    pub completed_before_bytes: u64,
    /// Chunks of large files that were copied.
    pub chunks: u64,
    /// Names that became hard links to a copy of this job or of an earlier one.
    pub hard_linked: u64,
    /// Entries of the source that were removed after they were copied, by type.
    pub sources_removed: Kinds,
    /// Directories of the source that stay because an entry in them does.
    pub source_directories_left: u64,
    /// Hard links that could not be preserved at the target.
    pub hard_links_not_preserved: u64,
    /// Entries skipped on purpose: FIFOs, sockets, devices.
    pub special_files_skipped: u64,
    /// Staged files and journals of jobs that were skipped.
    pub temporary_files_skipped: u64,
    /// Entries whose owner could not be preserved.
    pub owner_not_preserved: u64,
    /// Entries of which some extended attribute could not be preserved.
    pub xattrs_not_preserved: u64,
    /// Entries whose owner, mode or times the target cannot store.
    pub attributes_not_preserved: u64,
    /// Objects whose tags or access control list could not be read, so that their copies may lack
    /// them.
    pub object_properties_not_preserved: u64,
    /// Files whose modification time was truncated, because the target has a coarser granularity
    /// than the source.
    pub timestamps_truncated: u64,
    /// Files that could not get the layout they should have.
    pub layouts_not_set: u64,
    /// Directories that exist at the target only by the entries in them.
    pub directories_not_preserved: u64,
    /// Files that went through a network service, by the evidence that they arrived whole, in the
    /// order of [`Proof::ALL`].
    pub sent_files_by_check: [u64; Proof::ALL.len()],
    /// Entries that failed.
    pub failed: u64,
    /// Source entries that vanished.
    pub vanished: u64,
    /// Source directories in which entries were added or removed, and again while they were read
    /// for the second time.
    pub unstable_directories: u64,
    /// Directories that could not be read to their end, so that the walk is not complete.
    pub unread_directories: u64,
    /// Requests that a service has throttled; most were repeated.
    pub throttled_requests: u64,
    /// Files that were read back and are as they were written.
    pub verified_files: u64,
    /// Bytes that were read back, or verified by a service.
    pub verified_bytes: u64,
    /// Files that should have been read back, and were not.
    pub not_verified: u64,
    /// Records of large files that could not be written into the journal.
    pub journal_records_not_written: u64,
    /// Tasks that were cancelled because the job was interrupted.
    pub cancelled_tasks: u64,
    /// Failures after which a service was not asked any more, because it had not answered for too
    /// long.
    pub unresponsive_services: u64,
    /// `errno` value that showed that the target is unusable (full or read-only, for instance); 0
    /// where there was none.
    pub fatal_errno: u64,
    /// Ranks that were interrupted by a signal.
    pub interrupted_ranks: u64,
    /// Counts of a comparison.
    pub compared: Compared,
    /// Counts of synchronising a target, besides those of copying.
    pub synced: Synced,
    /// Counts of cleaning up what interrupted jobs have left.
    pub leftovers: Leftovers,
    /// Work that counts against limits of the rate, where there may be some.
    pub limited: LimitedWork,
}

/// Work that counts against limits of the rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LimitedWork {
    /// Bytes written to any location.
    pub written_bytes: u64,
    /// Bytes read from any location.
    pub read_bytes: u64,
    /// Bytes sent to services and other hosts.
    pub uploaded_bytes: u64,
    /// Bytes received from there.
    pub downloaded_bytes: u64,
    /// Operations, and requests to services.
    pub operations: u64,
}

/// Counts of uploads that were not completed, and of files that were staged and not renamed to
/// their final names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Leftovers {
    /// Leftovers that were found.
    pub found: u64,
    /// Leftovers that were aborted or removed.
    pub removed: u64,
    /// Leftovers that are too young to be removed.
    pub too_recent: u64,
}

/// Counts of synchronising a target with its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Synced {
    /// Entries that were equal.
    pub unchanged: u64,
    /// Entries whose attributes were set in place.
    pub attributes_set: u64,
    /// Files that became hard links to those of an older copy.
    pub hard_linked_to_link_dest: u64,
    /// Entries that were skipped by `--update` and the like.
    pub skipped: u64,
    /// Entries of the target that were deleted.
    pub deleted: Kinds,
    /// Directories of the target that stay because an entry in them does.
    pub non_empty_directories: u64,
    /// Entries that were to be deleted, and that the source has by now.
    pub reappeared: u64,
    /// Entries that were skipped, and whose names belong to other entries at the target.
    pub type_mismatches: u64,
    /// Equal objects without the modification time of their file, which were stored later than
    /// that.
    pub unchanged_by_upload_time: u64,
}

impl Leftovers {
    fn add(&mut self, other: &Self) {
        add_counts!(self, other, counts: [found, removed, too_recent], rest: []);
    }
}

impl LimitedWork {
    /// Returns the work of each kind, in the order of [`Work`](crate::rate::Work).
    pub fn of(totals: [u64; KINDS]) -> Self {
        let [written_bytes, read_bytes, uploaded_bytes, downloaded_bytes, operations] = totals;
        Self { written_bytes, read_bytes, uploaded_bytes, downloaded_bytes, operations }
    }

    fn add(&mut self, other: &Self) {
        add_counts!(
            self,
            other,
            counts: [written_bytes, read_bytes, uploaded_bytes, downloaded_bytes, operations],
            rest: []
        );
    }
}

impl Synced {
    fn add(&mut self, other: &Self) {
        add_counts!(
            self,
            other,
            counts: [
                unchanged, attributes_set, hard_linked_to_link_dest, skipped,
                non_empty_directories, reappeared, type_mismatches, unchanged_by_upload_time,
            ],
            rest: [deleted]
        );
        self.deleted.add(deleted);
    }
}

/// Counts of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Compared {
    /// Entries that are the same on both sides.
    pub same: u64,
    /// Entries that are on both sides and differ.
    pub different: u64,
    /// Entries that exist only in the source.
    pub only_in_source: u64,
    /// Entries that exist only in the target.
    pub only_in_target: u64,
    /// Number of entries on both sides that differ in each field, in the order of [`Fields::iter`].
    pub different_by_field: [u64; 12],
    /// Files whose content was compared by reading both.
    pub read: Volume,
    /// Files whose content was compared by downloading an object.
    pub downloaded: Volume,
    /// Files whose content was compared by a checksum that the service stores with an object.
    pub checksum: Volume,
    /// Files whose content was compared by an object's ETag, which is the MD5 of the file.
    pub etag: Volume,
    /// Number of entries on both sides that were not compared in each field, because one of the two
    /// stores does not have it; in the order of [`Fields::iter`].
    pub unknown: [u64; 12],
    /// Hard links that are names of one file in the source, and not in the target.
    pub hard_links_only_in_source: u64,
    /// Hard links that are names of one file in the target, and not in the source.
    pub hard_links_only_in_target: u64,
    /// Entries on both sides whose hard links were not compared, although requested, because one of
    /// the two stores does not tell them.
    pub hard_links_not_compared: u64,
    /// Directories without a counterpart because the other store has no directories.
    pub directories_not_compared: u64,
}

/// Number of files, and of the bytes in them: once for both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Volume {
    pub files: u64,
    pub bytes: u64,
}

/// Method by which the content of a file was compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Check {
    /// The two files were read and compared byte by byte.
    Read,
    /// An object was downloaded.
    Downloaded,
    /// A checksum that the service stores was compared; no object was downloaded.
    Checksum,
    /// An ETag was compared with the other file's MD5; no object was downloaded.
    Etag,
}

impl Volume {
    fn add(&mut self, other: &Self) {
        add_counts!(self, other, counts: [files, bytes], rest: []);
    }
}

impl Compared {
    /// Counts an entry; it counts as different only by differences in `counted` fields.
    pub fn count(&mut self, findings: Findings, counted: Fields) {
        *match findings.presence {
            Presence::OnlySource => &mut self.only_in_source,
            Presence::OnlyTarget => &mut self.only_in_target,
            Presence::Both if !findings.counted(counted).is_empty() => &mut self.different,
            Presence::Both => &mut self.same,
        } += 1;
        if findings.presence == Presence::Both {
            for (count, field) in self.different_by_field.iter_mut().zip(Fields::ALL.iter()) {
                *count += u64::from(findings.differs(field));
            }
            let unknown = findings.unknown.intersection(counted);
            for (count, field) in self.unknown.iter_mut().zip(Fields::ALL.iter()) {
                *count += u64::from(unknown.contains(field));
            }
        }
    }

    /// Returns the counts of files that were compared by that method.
    pub fn by(&mut self, check: Check) -> &mut Volume {
        match check {
            Check::Read => &mut self.read,
            Check::Downloaded => &mut self.downloaded,
            Check::Checksum => &mut self.checksum,
            Check::Etag => &mut self.etag,
        }
    }

    /// Returns the bytes of content that were compared by any method, once for both sides.
    pub fn bytes(&self) -> u64 {
        self.read.bytes + self.downloaded.bytes + self.checksum.bytes + self.etag.bytes
    }

    /// Returns the number of entries on both sides that differ in that one field.
    pub fn differing_in(&self, field: Fields) -> u64 {
        let at = Fields::ALL.iter().position(|own| own == field);
        at.map_or(0, |at| self.different_by_field[at])
    }

    /// Returns the fields in which entries on both sides were not compared, with the number of such
    /// entries.
    pub fn not_compared(&self) -> impl Iterator<Item = (Fields, u64)> {
        Fields::ALL.iter().zip(self.unknown).filter(|(_, count)| *count > 0)
    }

    /// Returns true where a field or an entry could not be compared because one of the two stores
    /// does not have it.
    pub fn is_limited(&self) -> bool {
        self.directories_not_compared + self.hard_links_not_compared > 0
            || self.not_compared().next().is_some()
    }

    /// Returns the number of entries on both sides.
    pub fn both(&self) -> u64 {
        self.same + self.different
    }

    /// Returns true where any difference was found.
    pub fn is_different(&self) -> bool {
        let regrouped = self.hard_links_only_in_source + self.hard_links_only_in_target;
        self.different + self.only_in_source + self.only_in_target + regrouped > 0
    }

    /// Adds the counts of another thread or rank.
    pub fn add(&mut self, other: &Self) {
        add_counts!(
            self,
            other,
            counts: [
                same, different, only_in_source, only_in_target, hard_links_only_in_source,
                hard_links_only_in_target, hard_links_not_compared, directories_not_compared,
            ],
            rest: [different_by_field, read, downloaded, checksum, etag, unknown]
        );
        self.read.add(read);
        self.downloaded.add(downloaded);
        self.checksum.add(checksum);
        self.etag.add(etag);
        add_each(&mut self.different_by_field, different_by_field);
        add_each(&mut self.unknown, unknown);
    }
}

/// A count for each kind of entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Kinds {
    pub files: u64,
    pub directories: u64,
    pub symlinks: u64,
    pub special_files: u64,
}

impl Kinds {
    /// Counts an entry of that type.
    pub fn count(&mut self, kind: Kind) {
        *self.of(kind) += 1;
    }

    /// Takes back one count of that type, which was made too early.
    pub fn uncount(&mut self, kind: Kind) {
        *self.of(kind) -= 1;
    }

    fn of(&mut self, kind: Kind) -> &mut u64 {
        match kind {
            Kind::File => &mut self.files,
            Kind::Directory => &mut self.directories,
            Kind::Symlink => &mut self.symlinks,
            Kind::Fifo | Kind::Socket | Kind::BlockDevice | Kind::CharDevice => {
                &mut self.special_files
            }
        }
    }

    /// Returns the number of entries of all types.
    pub fn total(&self) -> u64 {
        self.files + self.directories + self.symlinks + self.special_files
    }

    fn add(&mut self, other: &Self) {
        add_counts!(
            self,
            other,
            counts: [files, directories, symlinks, special_files],
            rest: []
        );
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

    /// Counts an object that the walk met and that cannot be an entry, because of its key.
    pub fn meet_invalid_key(&mut self, key: &[u8]) {
        self.examined += 1;
        self.found.count(if key.ends_with(b"/") { Kind::Directory } else { Kind::File });
    }

    /// Counts another hard link of a file that was met: its bytes exist once.
    pub fn meet_link(&mut self, metadata: &Metadata) {
        self.examined += 1;
        self.found.count(metadata.kind);
    }

    /// Counts a file that an earlier, interrupted job has completed.
    pub fn complete_before(&mut self, bytes: u64) {
        self.synced.unchanged += 1;
        self.needed_bytes += bytes;
        self.completed_before_bytes += bytes;
    }

    /// Counts attributes that could not be set.
    pub fn count_lost(&mut self, preserved: Preserved) {
        self.owner_not_preserved += u64::from(preserved.is_owner_lost());
        self.xattrs_not_preserved += u64::from(preserved.xattrs_lost);
        self.attributes_not_preserved += u64::from(preserved.attributes_lost);
        self.object_properties_not_preserved += u64::from(preserved.properties_lost);
        self.layouts_not_set += u64::from(preserved.layout_lost);
        self.timestamps_truncated += u64::from(preserved.timestamps_truncated);
        let at = |proof| Proof::ALL.iter().position(|(own, ..)| *own == proof);
        if let Some(at) = preserved.proof.and_then(at) {
            self.sent_files_by_check[at] += 1;
        }
    }

    /// Adds bytes. A list may claim any size, so sums stay at the largest number instead of
    /// overflowing.
    fn find_bytes(&mut self, bytes: u64, allocated_bytes: u64) {
        self.found_bytes = self.found_bytes.saturating_add(bytes);
        self.found_allocated_bytes = self.found_allocated_bytes.saturating_add(allocated_bytes);
    }

    /// Adds the counts of another thread or rank.
    pub fn add(&mut self, other: &Self) {
        add_counts!(
            self,
            other,
            counts: [
                examined, listed, copied_bytes, resumed_bytes, completed_before_bytes, chunks,
                hard_linked, hard_links_not_preserved, special_files_skipped,
                temporary_files_skipped, owner_not_preserved, xattrs_not_preserved,
                attributes_not_preserved, object_properties_not_preserved, timestamps_truncated,
                layouts_not_set, directories_not_preserved, failed, vanished,
                unstable_directories, unread_directories, throttled_requests, verified_files,
                verified_bytes, not_verified, journal_records_not_written, cancelled_tasks,
                unresponsive_services, interrupted_ranks, source_directories_left,
            ],
            rest: [
                found, found_bytes, found_allocated_bytes, copied, sources_removed, needed_bytes,
                sent_files_by_check, fatal_errno, compared, synced, leftovers,
                limited,
            ]
        );
        self.found.add(found);
        self.find_bytes(*found_bytes, *found_allocated_bytes);
        self.copied.add(copied);
        self.sources_removed.add(sources_removed);
        self.needed_bytes = self.needed_bytes.saturating_add(*needed_bytes);
        add_each(&mut self.sent_files_by_check, sent_files_by_check);
        self.fatal_errno = self.fatal_errno.max(*fatal_errno);
        self.compared.add(compared);
        self.synced.add(synced);
        self.leftovers.add(leftovers);
        self.limited.add(limited);
    }

    /// Returns true where the target cannot store something that was to be preserved.
    pub fn is_limited(&self) -> bool {
        self.xattrs_not_preserved
            + self.attributes_not_preserved
            + self.directories_not_preserved
            + self.hard_links_not_preserved
            > 0
    }

    /// Returns true where the job ended early because it was interrupted.
    pub fn is_cut_short(&self) -> bool {
        self.interrupted_ranks > 0 && self.cancelled_tasks > 0
    }

    /// Returns true where every directory below the roots was read to its end.
    pub fn is_walk_complete(&self) -> bool {
        self.unread_directories == 0 && self.cancelled_tasks == 0
    }
}
