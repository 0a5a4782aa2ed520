//! Comparison of the content of two open files: by the checksums that stores hold, or by reading.
//!
//! A checksum of a whole file in one store saves reading that side: only the other one is read, by
//! many ranks where it is large. Where both stores hold one, nothing is read.

use std::sync::Arc;

use crate::chunked::{ChunkTask, ChunkWork, Digest, Outcome};
use crate::compare::buffers::{Buffers, read_all, read_most};
use crate::compare::holes::{Data, Reading, common_hole};
use crate::compare::options::Evidence;
use crate::walk::dir_ref::DirRef;
use comm::Rank;
use store::{Dir, Receipt, Sender, SourceFile};
use types::content::chunk::Extent;
use types::content::crc64::{Crc64, Crc64Nvme};
use types::content::cut::Cut;
use types::content::etag::{Etag, PartHasher, PartedEtag};
use types::entry::Version;
use types::error::{At, Cause, Op, Result, Side, SideError};
use types::limits::S3_READ_AGAIN_BYTES_MAX;
use types::outcome::tally::{Check, Compared};
use types::path::Name;
use types::service::ServiceFault;

/// The method by which two files are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Every byte of both files is read.
    Bytes {
        /// The side whose store has an ETag that says that the files differ. Bytes that are equal
        /// contradict it, and prove nothing: those of a damaged download may be equal to a file
        /// that differs from the object.
        contested_by: Option<Side>,
    },
    /// One store holds this checksum of its file, and the other file is read.
    Sum {
        /// The side whose file is read.
        read: Side,
        /// The checksum that its bytes must have.
        expected: Crc64,
    },
    /// Checksums of both stores are compared.
    Sums {
        /// True if the checksums are equal.
        is_same: bool,
    },
    /// One store has an ETag that may be the MD5 of its file, and the other file is read. If that
    /// has another MD5, both are read, since an ETag need not be an MD5: see [`Self::after_name`].
    Name {
        /// The side whose file is read.
        read: Side,
        /// The ETag that its bytes have if it is an MD5.
        etag: PartedEtag,
    },
    /// Equal ETags of both stores, in the form of an MD5, are the evidence.
    Names,
}

impl Way {
    /// The comparison of every byte, which nothing contests.
    pub const BYTES: Self = Self::Bytes { contested_by: None };

    /// Chooses the method that reads least.
    ///
    /// # Errors
    /// Returns the error of a store that cannot tell the sizes of the parts behind an ETag.
    pub fn of(
        source: &dyn SourceFile,
        target: &dyn SourceFile,
        evidence: Evidence,
    ) -> std::result::Result<Self, SideError> {
        let sums = match evidence {
            Evidence::Checksums => (source.crc64(), target.crc64()),
            Evidence::Bytes => (None, None),
        };
        let names = match evidence {
            Evidence::Checksums => (source.etag(), target.etag()),
            Evidence::Bytes => (None, None),
        };
        let by_name = |etag: Option<PartedEtag>, read| {
            // A part is hashed by a single thread, so parts that are too large are compared byte by
            // byte, in parallel.
            let etag = etag.filter(|etag| etag.part_bytes <= S3_READ_AGAIN_BYTES_MAX);
            etag.map_or(Self::BYTES, |etag| Self::Name { read, etag })
        };
        let is_whole = |etag: Option<Etag>| etag.is_some_and(|etag| !etag.is_of_parts());
        let are_whole = is_whole(names.0) && is_whole(names.1);
        Ok(match sums {
            (Some(source), Some(target)) => Self::Sums { is_same: source == target },
            _ if are_whole && names.0 != names.1 => {
                Self::Bytes { contested_by: Some(Side::Source) }
            }
            (None, None) => match names {
                (Some(source), Some(target)) if source == target => Self::Names,
                (Some(_), None) => by_name(source.parted_etag().at(Side::Source)?, Side::Target),
                (None, Some(_)) => by_name(target.parted_etag().at(Side::Target)?, Side::Source),
                (_, _) => Self::BYTES,
            },
            (None, Some(expected)) => Self::Sum { read: Side::Source, expected },
            (Some(expected), None) => Self::Sum { read: Side::Target, expected },
        })
    }

    /// Returns the method for a file whose ETag is not the MD5 of the other file. An ETag of a
    /// single part stays an objection, as it is to a download; the size of several parts may have
    /// been guessed wrongly, so that theirs says nothing.
    pub fn after_name(self) -> Self {
        match self {
            Self::Name { read, etag } if etag.is_reported && etag.parts() == 1 => {
                Self::Bytes { contested_by: Some(read.other()) }
            }
            _ => Self::BYTES,
        }
    }

    /// Verifies that no ETag contradicts a comparison that found all bytes equal.
    ///
    /// # Errors
    /// Returns the service fault `WrongEtag` of the side whose ETag says otherwise.
    fn check_equal(self) -> std::result::Result<(), SideError> {
        let wrong = Op::Read.failed(Cause::Service(ServiceFault::WrongEtag));
        match self {
            Self::Bytes { contested_by: Some(side) } => Err(SideError { side, error: wrong }),
            _ => Ok(()),
        }
    }

    /// Builds the task that compares all chunks of a large file of rank `owner`, which has yet to
    /// give it a number. Chunks are whole parts where the MD5s of parts are compared, otherwise of
    /// `requested_bytes`.
    pub fn task(
        self,
        owner: Rank,
        (dir_ref, name): (&Arc<DirRef>, &Name),
        [source, target]: [Version; 2],
        requested_bytes: u64,
    ) -> ChunkTask {
        let (work, chunk_bytes) = self.work([source, target], requested_bytes);
        let cut = Cut::Even { chunk_bytes };
        ChunkTask {
            owner,
            file: 0,
            dir_ref: Arc::clone(dir_ref),
            name: name.to_owned(),
            identity: source.identity,
            cut,
            work,
            run: cut.whole(source.identity.size_bytes),
        }
    }

    /// Returns the operation on each chunk, and the size of chunks in bytes.
    fn work(self, [source, target]: [Version; 2], requested_bytes: u64) -> (ChunkWork, u64) {
        let version = |side| if side == Side::Source { source } else { target };
        let sum = |side, digest| ChunkWork::Sum { side, version: version(side), digest };
        match self {
            Self::Sum { read, .. } => (sum(read, Digest::Crc64), requested_bytes),
            Self::Name { read, etag } => {
                let digest = Digest::PartMd5s { part_bytes: etag.part_bytes };
                (sum(read, digest), etag.chunk_bytes(requested_bytes))
            }
            _ => (ChunkWork::Compare { source, target }, requested_bytes),
        }
    }

    /// Returns whether the ETag proved not to be an MD5 of the content, so that the chunks are to
    /// be compared byte by byte.
    pub fn is_disproved(self, receipts: &[Receipt], size_bytes: u64) -> bool {
        let md5s = || Receipt::part_md5s_of(receipts, size_bytes);
        matches!(self, Self::Name { etag, .. } if md5s().is_some_and(|md5s| !etag.is_of(&md5s)))
    }

    /// Returns whether the content is equal, if that is known without reading; otherwise `None`.
    pub fn known(self) -> Option<bool> {
        match self {
            Self::Sums { is_same } => Some(is_same),
            Self::Names => Some(true),
            Self::Bytes { .. } | Self::Sum { .. } | Self::Name { .. } => None,
        }
    }

    /// Gives the verdict on a large file by the outcome of all its chunks.
    pub fn verdict(self, of_chunks: Outcome, receipts: &[Receipt], size_bytes: u64) -> Outcome {
        if of_chunks != Outcome::Done {
            return of_chunks;
        }
        match self {
            Self::Sum { expected, .. }
                if Receipt::crc64_of(receipts, size_bytes) != Some(expected) =>
            {
                Outcome::Differs
            }
            _ => Outcome::of(self.check_equal().map(|()| Outcome::Done)),
        }
    }

    /// Returns the class of evidence under which the comparison is counted.
    pub fn check(self, source: &dyn SourceFile, target: &dyn SourceFile) -> Check {
        let is_object = |file: &dyn SourceFile| file.address().is_some();
        match self {
            Self::Sum { read, .. } if is_object(of_side(read, source, target)) => Check::Downloaded,
            Self::Sum { .. } | Self::Sums { .. } => Check::Checksum,
            Self::Name { .. } | Self::Names => Check::Etag,
            Self::Bytes { .. } if is_object(source) || is_object(target) => Check::Downloaded,
            Self::Bytes { .. } => Check::Read,
        }
    }
}

fn of_side<'f>(
    side: Side,
    source: &'f dyn SourceFile,
    target: &'f dyn SourceFile,
) -> &'f dyn SourceFile {
    match side {
        Side::Source => source,
        Side::Target => target,
    }
}

/// Compares two files of equal size. Returns whether they are equal, and the evidence for it.
///
/// # Errors
/// Returns the failure of the side on which reading failed, or which has changed.
fn is_same_whole(
    way: Way,
    source: &dyn SourceFile,
    target: &dyn SourceFile,
    size_bytes: u64,
    reading: Reading,
    buffers: &mut Buffers,
) -> std::result::Result<(bool, Check), SideError> {
    let whole = Extent { offset: 0, length: size_bytes };
    let is_same = match way {
        Way::Sums { is_same } => is_same,
        Way::Names => true,
        Way::Name { read, etag } => {
            let file = of_side(read, source, target);
            let md5s = part_md5s_to_end(file, etag.part_bytes, buffers).at(read)?;
            if !etag.is_of(&md5s) {
                let way = way.after_name();
                return is_same_whole(way, source, target, size_bytes, reading, buffers);
            }
            true
        }
        Way::Sum { read, expected } => {
            let file = of_side(read, source, target);
            // Files that claim a size of 0, as those in /proc do, may have content.
            let sum = match size_bytes {
                0 => sum_to_end(file, buffers),
                _ => sum_extent(file, whole, buffers),
            };
            sum.at(read)? == expected
        }
        Way::Bytes { .. } if size_bytes == 0 => is_same_to_end(source, target, buffers)?,
        Way::Bytes { .. } => is_same_extent(source, target, whole, reading, buffers)?,
    };
    if is_same {
        way.check_equal()?;
    }
    Ok((is_same, way.check(source, target)))
}

/// Computes the checksum of an extent.
pub(crate) fn sum_extent(
    file: &dyn SourceFile,
    extent: Extent,
    buffers: &mut Buffers,
) -> Result<Crc64> {
    if let Some(sum) = file.crc64_of(extent)? {
        return Ok(sum);
    }
    let mut sum = Crc64Nvme::new();
    let end = extent.offset + extent.length;
    let mut at = extent.offset;
    while at < end {
        let want = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffers.source.len());
        let piece = &mut buffers.source[..want];
        read_all(file, piece, at)?;
        sum.update(piece);
        at += want as u64;
    }
    Ok(sum.finish())
}

/// Computes checksums of an extent, and counts the bytes by their evidence.
pub(crate) fn summed(
    file: &dyn SourceFile,
    extent: Extent,
    digest: Digest,
    buffers: &mut Buffers,
    compared: &mut Compared,
) -> Result<Receipt> {
    let receipt = match digest {
        Digest::Crc64 => Receipt::of_bytes(extent, sum_extent(file, extent, buffers)?),
        Digest::PartMd5s { part_bytes } => {
            let part_md5s = part_md5s(file, extent, part_bytes, buffers)?;
            Receipt { part_md5s, ..Receipt::sent(extent, None, String::new(), Sender::Here) }
        }
    };
    let check = match digest {
        _ if file.address().is_some() => Check::Downloaded,
        Digest::PartMd5s { .. } => Check::Etag,
        Digest::Crc64 => Check::Checksum,
    };
    compared.by(check).bytes += extent.length;
    Ok(receipt)
}

/// Computes the MD5s of the parts in an extent, which must begin with a part.
pub(crate) fn part_md5s(
    file: &dyn SourceFile,
    extent: Extent,
    part_bytes: u64,
    buffers: &mut Buffers,
) -> Result<Vec<u128>> {
    let mut hasher = PartHasher::new(part_bytes);
    hash_extent(file, extent, &mut hasher, buffers)?;
    Ok(hasher.finish())
}

/// Feeds an extent to a hasher.
pub(crate) fn hash_extent(
    file: &dyn SourceFile,
    extent: Extent,
    hasher: &mut PartHasher,
    buffers: &mut Buffers,
) -> Result<()> {
    let mut at = extent.offset;
    while at < extent.end() {
        let want = usize::try_from(extent.end() - at).unwrap_or(usize::MAX);
        let want = want.min(buffers.source.len());
        let piece = &mut buffers.source[..want];
        read_all(file, piece, at)?;
        hasher.update(piece);
        at += want as u64;
    }
    Ok(())
}

/// Computes the MD5s of the parts of a file up to its end, whatever size it claims.
fn part_md5s_to_end(
    file: &dyn SourceFile,
    part_bytes: u64,
    buffers: &mut Buffers,
) -> Result<Vec<u128>> {
    let mut hasher = PartHasher::new(part_bytes);
    let mut at = 0;
    loop {
        let count = read_most(file, &mut buffers.source, at)?;
        if count == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&buffers.source[..count]);
        at += count as u64;
    }
}

fn sum_to_end(file: &dyn SourceFile, buffers: &mut Buffers) -> Result<Crc64> {
    let mut sum = Crc64Nvme::new();
    let mut at = 0;
    loop {
        let count = read_most(file, &mut buffers.source, at)?;
        if count == 0 {
            return Ok(sum.finish());
        }
        sum.update(&buffers.source[..count]);
        at += count as u64;
    }
}

/// Compares two files of equal size as [`is_same_whole`] does, but by checksums that are computed
/// where the files are, if one of them is on another host.
///
/// # Errors
/// Returns the failure of the side on which reading failed, or which has changed.
pub(crate) fn is_same_file(
    (way, evidence): (Way, Evidence),
    source: &dyn SourceFile,
    target: &dyn SourceFile,
    size_bytes: u64,
    reading: Reading,
    buffers: &mut Buffers,
) -> std::result::Result<(bool, Check), SideError> {
    let whole = Extent { offset: 0, length: size_bytes };
    let by_sums = match way {
        Way::BYTES => is_same_by_sums(source, target, whole, evidence, buffers)?,
        _ => None,
    };
    match by_sums {
        Some(is_same) => Ok((is_same, Check::Checksum)),
        None => is_same_whole(way, source, target, size_bytes, reading, buffers),
    }
}

/// Compares an extent by checksums that are computed where the files are, if one of them is on
/// another host; `None` where both are read here, or where bytes are to be compared.
pub(crate) fn is_same_by_sums(
    source: &dyn SourceFile,
    target: &dyn SourceFile,
    extent: Extent,
    evidence: Evidence,
    buffers: &mut Buffers,
) -> std::result::Result<Option<bool>, SideError> {
    let can_checksum = source.can_checksum() || target.can_checksum();
    if !can_checksum || evidence == Evidence::Bytes || extent.length == 0 {
        return Ok(None);
    }
    let of_source = sum_extent(source, extent, buffers).at(Side::Source)?;
    let of_target = sum_extent(target, extent, buffers).at(Side::Target)?;
    Ok(Some(of_source == of_target))
}

/// Compares an extent of both files, up to the first difference.
///
/// # Errors
/// Returns `Changed` for a file that ends before the extent does, since it has become shorter.
pub(crate) fn is_same_extent(
    source: &dyn SourceFile,
    target: &dyn SourceFile,
    extent: Extent,
    reading: Reading,
    buffers: &mut Buffers,
) -> std::result::Result<bool, SideError> {
    let end = extent.offset + extent.length;
    let mut at = extent.offset;
    let mut reading = reading.of_extent(source, target, extent);
    let mut data = [Data::of(source), Data::of(target)];
    while at < end {
        if reading == Reading::AroundHoles {
            match common_hole(&mut data, at, end, buffers) {
                Some(next) => at = next,
                None => reading = Reading::Everything,
            }
        }
        let want = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffers.source.len());
        let (from_source, from_target) = (&mut buffers.source[..want], &mut buffers.target[..want]);
        read_all(source, from_source, at).at(Side::Source)?;
        read_all(target, from_target, at).at(Side::Target)?;
        if from_source != from_target {
            return Ok(false);
        }
        at += want as u64;
    }
    Ok(true)
}

/// Compares two files up to their ends, whatever size they claim.
fn is_same_to_end(
    source: &dyn SourceFile,
    target: &dyn SourceFile,
    buffers: &mut Buffers,
) -> std::result::Result<bool, SideError> {
    let mut at = 0;
    loop {
        let from_source = read_most(source, &mut buffers.source, at).at(Side::Source)?;
        let from_target = read_most(target, &mut buffers.target, at).at(Side::Target)?;
        if buffers.source[..from_source] != buffers.target[..from_target] {
            return Ok(false);
        }
        if from_source == 0 {
            return Ok(true);
        }
        at += from_source as u64;
    }
}

/// Opens a file that must still have the same identity, size and times.
pub(crate) fn open_version(
    dir: &dyn Dir,
    name: &Name,
    version: Version,
    extent: Extent,
) -> Result<Box<dyn SourceFile>> {
    let file = dir.open_extent(name, &version.identity, extent)?;
    if file.metadata()?.version() == version {
        Ok(file)
    } else {
        Err(Op::Compare.failed(Cause::Changed))
    }
}
