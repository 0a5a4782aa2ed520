//! Entries that the operator names, to be dealt with instead of walking a tree: those of a list, or of a
//! file of paths.

use serde::{Deserialize, Serialize};

use super::paths::PathsFile;
use super::source::{ListSource, Piece, Share};
use crate::base::error::Failure;
use crate::base::limits::NDJSON_PIECE_BYTES;
use crate::base::path::RelPath;
use crate::model::entry::{Hint, Metadata, Recorded};
use crate::model::record::OwnedRecord;

/// Where the names come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Named {
    /// A list that dwalk or dcmp has written.
    List(ListSource),
    /// A file of paths below the source.
    Paths(PathsFile),
    /// A list with checksums of files, which are what should be.
    Manifest(ListSource),
}

/// Paths below the source, with what is known of each.
pub type Names = Box<dyn Iterator<Item = Result<(RelPath, Hint), Failure>>>;

impl Named {
    /// What that rank of so many begins with.
    ///
    /// # Errors
    /// What is wrong with a part it has looked into.
    pub fn share(&self, rank: u32, ranks: u32) -> Result<Share, Failure> {
        match self {
            Self::List(list) | Self::Manifest(list) => list.share(rank, ranks),
            Self::Paths(file) => {
                let pieces = 0..file.bytes.div_ceil(NDJSON_PIECE_BYTES);
                let own = pieces.skip(rank as usize).step_by(ranks as usize);
                let piece = |piece: u64| {
                    let begin = piece * NDJSON_PIECE_BYTES;
                    Piece::Lines { begin, end: (begin + NDJSON_PIECE_BYTES).min(file.bytes) }
                };
                Ok(Share { pieces: own.map(piece).collect(), id: None })
            }
        }
    }

    /// The names in a piece.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn names(&self, piece: Piece) -> Result<Names, Failure> {
        Ok(match (self, piece) {
            (Self::List(list), piece) => {
                Box::new(list.records(piece)?.map(|record| record.map(|it| below_root(&it))))
            }
            (Self::Manifest(list), piece) => {
                let files = list.records(piece)?.filter_map(|record| match record {
                    Ok(record) => recorded(&record).map(Ok),
                    Err(failure) => Some(Err(failure)),
                });
                Box::new(files)
            }
            (Self::Paths(file), Piece::Lines { begin, end }) => {
                let paths = file.paths(begin, end)?;
                Box::new(paths.map(|path| path.map(|path| (path, Hint::Unknown))))
            }
            (Self::Paths(_), Piece::Group { .. }) => Box::new(std::iter::empty()),
        })
    }
}

/// A file with its checksum; other entries have none.
fn recorded(record: &OwnedRecord) -> Option<(RelPath, Hint)> {
    let Metadata { size_bytes, mtime, .. } = record.metadata;
    let crc64 = record.crc64?;
    Some((below_root(record).0, Hint::Recorded(Recorded { size_bytes, mtime, crc64 })))
}

/// Where an entry is below the root it was found from; a list that lies about it names the root itself.
fn below_root(record: &OwnedRecord) -> (RelPath, Hint) {
    let hint = Hint::from(record.metadata.kind);
    (RelPath::checked(record.view().below_root()).unwrap_or_else(RelPath::root), hint)
}
