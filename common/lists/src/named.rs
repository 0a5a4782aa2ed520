//! Named entries, which a job processes instead of walking a tree: those of a list, or of a file of
//! paths.

use serde::{Deserialize, Serialize};

use super::paths::PathsFile;
use super::repeated::{Position, Repeated};
use super::source::{ListSource, Piece, Share};
use types::entry::{Hint, Metadata, Recorded};
use types::error::{Cause, Failure, ListFault, Op, Side};
use types::limits::NDJSON_PIECE_BYTES;
use types::listed::record::OwnedRecord;
use types::path::RelPath;

/// Named entries, each once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    origin: Origin,
    repeated: Repeated,
}

/// Origin of the names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// A list that dwalk or dcmp has written.
    List(ListSource),
    /// A file of paths below the source.
    Paths(PathsFile),
    /// A list with the checksums that files should have.
    Manifest(ListSource),
}

/// Paths below the source, with the file type or attributes that are known of each.
pub type Names = Box<dyn Iterator<Item = Result<(RelPath, Hint), Failure>>>;

impl From<Origin> for Named {
    fn from(origin: Origin) -> Self {
        Self { origin, repeated: Repeated::default() }
    }
}

impl Named {
    /// Skips the entries at these positions, too.
    #[must_use]
    pub fn without(mut self, repeated: impl IntoIterator<Item = Position>) -> Self {
        self.repeated.extend(repeated);
        self
    }

    /// Returns true for an entry that is skipped because an earlier one has the same path.
    pub fn is_repeated(&self, position: Position) -> bool {
        self.repeated.contains(position)
    }

    /// Returns the file or list.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Returns the names in a piece.
    ///
    /// # Errors
    /// Fails where it cannot be read.
    pub fn names(&self, piece: Piece) -> Result<Names, Failure> {
        let names = self.origin.names(piece)?;
        if !self.repeated.is_in(piece) {
            return Ok(names);
        }
        let repeated = self.repeated.clone();
        let is_first = move |(number, _): &(u64, _)| !repeated.contains((piece, *number));
        Ok(Box::new((0..).zip(names).filter(is_first).map(|(_, name)| name)))
    }
}

impl Origin {
    /// Returns the pieces that a rank, of that many, begins with.
    ///
    /// # Errors
    /// Fails where a part whose footer was read is invalid.
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
                Ok(Share { pieces: own.map(piece).collect(), id: None, may_repeat: true })
            }
        }
    }

    /// Returns the names in a piece, repeated ones included.
    ///
    /// # Errors
    /// Fails where it cannot be read.
    pub fn names(&self, piece: Piece) -> Result<Names, Failure> {
        Ok(match (self, piece) {
            (Self::List(list), piece) => {
                Box::new(list.records(piece)?.map(|record| below_root(&record?)))
            }
            (Self::Manifest(list), piece) => {
                let files = list.records(piece)?.filter_map(|record| match record {
                    Ok(record) => recorded(&record),
                    Err(failure) => Some(Err(failure)),
                });
                Box::new(files)
            }
            (Self::Paths(file), Piece::Lines { begin, end }) => {
                let paths = file.paths(begin, end)?;
                Box::new(paths.map(|path| path.map(|path| (path, Hint::Unknown))))
            }
            (
                Self::Paths(_),
                Piece::Group { .. } | Piece::Missing { .. } | Piece::Entries { .. },
            ) => Box::new(std::iter::empty()),
        })
    }
}

/// Returns a file with its checksum; `None` for other entries, which have none.
fn recorded(record: &OwnedRecord) -> Option<Result<(RelPath, Hint), Failure>> {
    let Metadata { size_bytes, mtime, .. } = record.metadata;
    let crc64 = record.crc64?;
    let hint = Hint::Recorded(Recorded { size_bytes, mtime, crc64 });
    Some(below_root(record).map(|(path, _)| (path, hint)))
}

/// Returns the path of an entry below the root that it was found from, with its type.
///
/// # Errors
/// Fails where the list has a path that leads out of that root.
fn below_root(record: &OwnedRecord) -> Result<(RelPath, Hint), Failure> {
    let outside = || Failure {
        path: record.path.clone(),
        side: Side::Source,
        error: Op::Open.failed(Cause::List(ListFault::Outside)),
    };
    let path = RelPath::checked(record.view().below_root()).ok_or_else(outside)?;
    Ok((path, Hint::from(record.metadata.kind)))
}
