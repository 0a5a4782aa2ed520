//! Receipts: what each writer of a file leaves to whoever completes it.

use serde::{Deserialize, Serialize};

use crate::base::crc64::Crc64;
use crate::model::chunk::Extent;

/// What a writer leaves to whoever completes the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// What was written.
    pub extent: Extent,
    /// Checksum of these bytes, where it was worked out.
    pub crc64: Option<Crc64>,
    /// The store's own name for the piece.
    pub tag: String,
    /// Who has sent it.
    pub by: Sender,
}

/// Who has sent a piece of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sender {
    /// This job.
    Here,
    /// A job that was stopped.
    Before,
    /// The service, which had it elsewhere.
    Service,
}

impl Receipt {
    /// For bytes of which nothing but their checksum is known.
    pub fn of_bytes(extent: Extent, crc64: Crc64) -> Self {
        Self { extent, crc64: Some(crc64), tag: String::new(), by: Sender::Here }
    }

    /// Checksum of a whole file, if the receipts cover it and each has one.
    pub fn crc64_of(receipts: &[Self], size_bytes: u64) -> Option<Crc64> {
        let mut in_order: Vec<&Self> = receipts.iter().collect();
        in_order.sort_by_key(|receipt| receipt.extent.offset);
        let mut pieces = in_order.into_iter();
        let first = pieces.next().filter(|first| first.extent.offset == 0)?;
        let (mut sum, mut end) = (first.crc64?, first.extent.length);
        for piece in pieces {
            if piece.extent.offset != end {
                return None;
            }
            sum = sum.combine(piece.crc64?, piece.extent.length);
            end += piece.extent.length;
        }
        (end == size_bytes).then_some(sum)
    }
}
