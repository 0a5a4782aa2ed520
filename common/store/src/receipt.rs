//! Receipts, which each writer of a file passes to the rank that completes it.

use serde::{Deserialize, Serialize};

use types::content::chunk::Extent;
use types::content::crc64::Crc64;

/// A record of what a writer has written, for the rank that completes the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Range of bytes that was written.
    pub extent: Extent,
    /// Checksum of these bytes, where it was computed.
    pub crc64: Option<Crc64>,
    /// Identifier that the store has given to the piece.
    pub tag: String,
    /// Writer of the piece.
    pub by: Sender,
    /// MD5s of the parts of the source in it, where they were requested.
    pub part_md5s: Vec<u128>,
}

/// Writer of a piece of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sender {
    /// A rank of this job.
    Here,
    /// An earlier job, which was interrupted.
    Before,
    /// The service, which copied the piece itself.
    Service,
}

impl Receipt {
    /// Creates a receipt for bytes of which only the checksum is known.
    pub fn of_bytes(extent: Extent, crc64: Crc64) -> Self {
        Self::sent(extent, Some(crc64), String::new(), Sender::Here)
    }

    /// Creates a receipt for bytes for which a store has an identifier.
    pub fn sent(extent: Extent, crc64: Option<Crc64>, tag: String, by: Sender) -> Self {
        Self { extent, crc64, tag, by, part_md5s: Vec::new() }
    }

    /// Combines the checksums to that of the whole file, if the receipts cover it and each has one.
    pub fn crc64_of(receipts: &[Self], size_bytes: u64) -> Option<Crc64> {
        let mut pieces = in_order(receipts, size_bytes)?.into_iter();
        let first = pieces.next()?.crc64?;
        pieces.try_fold(first, |sum, piece| Some(sum.combine(piece.crc64?, piece.extent.length)))
    }

    /// Collects the MD5s of all parts of a whole source, if the receipts cover it and have any.
    pub fn part_md5s_of(receipts: &[Self], size_bytes: u64) -> Option<Vec<u128>> {
        let pieces = in_order(receipts, size_bytes)?;
        let md5s: Vec<u128> = pieces.iter().flat_map(|piece| piece.part_md5s.clone()).collect();
        (!md5s.is_empty()).then_some(md5s)
    }
}

/// Sorts the receipts from the beginning of a file to its end; `None` where they have a gap.
fn in_order(receipts: &[Receipt], size_bytes: u64) -> Option<Vec<&Receipt>> {
    let mut pieces: Vec<&Receipt> = receipts.iter().collect();
    pieces.sort_by_key(|receipt| receipt.extent.offset);
    let follow = |end: u64, piece: &&Receipt| {
        (piece.extent.offset == end).then(|| end + piece.extent.length)
    };
    let end = pieces.iter().try_fold(0, follow)?;
    (end == size_bytes && !pieces.is_empty()).then_some(pieces)
}
