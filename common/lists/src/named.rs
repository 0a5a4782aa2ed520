//! Entries that the operator names, to be dealt with instead of walking a tree: those of a list, or of a
//! file of paths.

use serde::{Deserialize, Serialize};

use super::paths::PathsFile;
use super::repeated::{Place, Repeated};
use super::source::{ListSource, Piece, Share};
use types::entry::{Hint, Metadata, Recorded};
use types::error::{Cause, Failure, ListFault, Op, Side};
use types::limits::NDJSON_PIECE_BYTES;
use types::listed::record::OwnedRecord;
use types::path::RelPath;

/// The entries that are named, each once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    origin: Origin,
    repeated: Repeated,
}

/// Where the names come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// A list that dwalk or dcmp has written.
    List(ListSource),
    /// A file of paths below the source.
    Paths(PathsFile),
    /// A list with checksums of files, which are what should be.
    Manifest(ListSource),
}

/// Paths below the source, with what is known of each.
pub type Names = Box<dyn Iterator<Item = Result<(RelPath, Hint), Failure>>>;

impl From<Origin> for Named {
    fn from(origin: Origin) -> Self {
        Self { origin, repeated: Repeated::default() }
    }
}

impl Named {
    /// Passes over the entries at these places, too.
    #[must_use]
    pub fn without(mut self, repeated: impl IntoIterator<Item = Place>) -> Self {
        self.repeated.extend(repeated);
        self
    }

    /// Whether an entry is passed over.
    pub fn is_repeated(&self, place: Place) -> bool {
        self.repeated.contains(place)
    }

    /// The file or list.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The names in a piece.
    ///
    /// # Errors
    /// Why it cannot be read.
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
                Ok(Share { pieces: own.map(piece).collect(), id: None, may_repeat: true })
            }
        }
    }

    /// The names in a piece, as they stand there.
    ///
    /// # Errors
    /// Why it cannot be read.
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
            (Self::Paths(_), Piece::Group { .. } | Piece::Missing { .. }) => {
                Box::new(std::iter::empty())
            }
        })
    }
}

/// A file with its checksum; other entries have none.
fn recorded(record: &OwnedRecord) -> Option<Result<(RelPath, Hint), Failure>> {
    let Metadata { size_bytes, mtime, .. } = record.metadata;
    let crc64 = record.crc64?;
    let hint = Hint::Recorded(Recorded { size_bytes, mtime, crc64 });
    Some(below_root(record).map(|(path, _)| (path, hint)))
}

/// Where an entry is below the root it was found from.
///
/// # Errors
/// The list says something that leads out of it.
fn below_root(record: &OwnedRecord) -> Result<(RelPath, Hint), Failure> {
    let outside = || Failure {
        path: record.path.clone(),
        side: Side::Source,
        error: Op::Open.failed(Cause::List(ListFault::Outside)),
    };
    let path = RelPath::checked(record.view().below_root()).ok_or_else(outside)?;
    Ok((path, Hint::from(record.metadata.kind)))
}
