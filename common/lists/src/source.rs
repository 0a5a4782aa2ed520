//! A list to be read, in any format.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::base::Base;
use super::labels::key;
use super::mfu::{Entries, Layout};
use super::ndjson::LineRecords;
use super::read_part::Part;
use super::{as_path, fault, io_failure, part_number, part_path};
use types::error::{Failure, ListFault, Op};
use types::limits;
use types::listed::record::OwnedRecord;

/// A list that dwalk has written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListSource {
    list: Vec<u8>,
    form: Form,
    /// Directory below which entries are looked up; `None` where they are not.
    base: Option<Arc<Base>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Form {
    Parquet { parts: u32 },
    Ndjson { bytes: u64 },
    Mfu(Layout),
}

/// Piece of a list that one task reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Piece {
    /// A row group of a Parquet part.
    Group {
        /// Number of the part.
        part: u32,
        /// Number of the group in it.
        group: u32,
    },
    /// Entries that a part lacks, because the rank that wrote it could not read them: reading them
    /// fails.
    Missing {
        /// Number of the part.
        part: u32,
    },
    /// Lines that begin between two byte offsets.
    Lines {
        /// First offset.
        begin: u64,
        /// Offset behind the last one.
        end: u64,
    },
    /// Entries of a binary list.
    Entries {
        /// Number of the first one.
        first: u64,
        /// Number of entries.
        count: u64,
    },
}

/// Share of a list that one rank begins with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Share {
    /// Pieces that the rank reads, unless other ranks steal them.
    pub pieces: Vec<Piece>,
    /// ID of the list that the inspected parts belong to: the same on all ranks.
    pub id: Option<String>,
    /// True where the list may have an entry more than once.
    pub may_repeat: bool,
}

/// Iterator over entries; ends after an error.
pub type Records = Box<dyn Iterator<Item = Result<OwnedRecord, Failure>>>;

impl ListSource {
    /// Opens a list and determines its format.
    ///
    /// # Errors
    /// Fails where the path is not that of a list.
    pub fn open(list: &[u8]) -> Result<Self, Failure> {
        let path = as_path(list);
        let metadata =
            std::fs::metadata(path).map_err(|error| io_failure(path, Op::Open, &error))?;
        let form = if metadata.is_dir() {
            Form::Parquet { parts: count_parts(list)? }
        } else if metadata.is_file() {
            let mut magic = Vec::new();
            let file = File::open(path).map_err(|error| io_failure(path, Op::Open, &error))?;
            let read = |error: std::io::Error| io_failure(path, Op::Read, &error);
            (&file).take(4).read_to_end(&mut magic).map_err(read)?;
            let layout = Layout::read(&file, metadata.len()).map_err(read)?;
            if let Some(layout) = layout.map_err(|wrong| fault(path, wrong))? {
                return Ok(Self::new(list, Form::Mfu(layout)));
            }
            if magic == b"PAR1" {
                return Err(fault(path, ListFault::OnePart));
            }
            if metadata.len() == 0 {
                return Err(fault(path, ListFault::Damaged(0)));
            }
            // The first line tells whether the file is a list.
            if let Some(Err(failure)) = LineRecords::open(path, 0, 1)?.next() {
                return Err(failure);
            }
            Form::Ndjson { bytes: metadata.len() }
        } else {
            return Err(fault(path, ListFault::Foreign));
        };
        Ok(Self::new(list, form))
    }

    fn new(list: &[u8], form: Form) -> Self {
        Self { list: list.to_vec(), form, base: None }
    }

    /// Looks up the entries below a directory.
    #[must_use]
    pub fn below(self, base: Base) -> Self {
        // Lists of another suite do not tell from which directory entries were found.
        let listed = if self.is_foreign() { None } else { self.first_root() };
        let base = match listed {
            Some(listed) => base.of_copy(&listed),
            None => base,
        };
        Self { base: Some(Arc::new(base)), ..self }
    }

    /// Returns whether any of these pieces has an entry that was not found from the directory of
    /// which the list is taken for one of a copy.
    pub fn has_other_roots(&self, pieces: &[Piece]) -> bool {
        let Some(copied) = self.base.as_ref().and_then(|base| base.copied()) else { return false };
        let of_piece = |piece: &Piece| self.all_records(*piece).into_iter().flatten().flatten();
        pieces.iter().flat_map(of_piece).any(|entry| entry.view().root() != copied)
    }

    /// Finds entries by their paths alone, not in a copy of the listed directory.
    #[must_use]
    pub fn without_copy(self) -> Self {
        let base = self.base.map(|base| Arc::new(Base::clone(&base).without_copy()));
        Self { base, ..self }
    }

    /// Returns the directory that the first entry was found from. What cannot be read is a failure
    /// of the job that reads all.
    fn first_root(&self) -> Option<Vec<u8>> {
        let parts = if let Form::Parquet { parts } = self.form { parts } else { 1 };
        let pieces = (0..parts).flat_map(|part| self.share(part, parts).unwrap_or_default().pieces);
        let mut entries = pieces.filter_map(|piece| self.records(piece).ok()?.next()?.ok());
        entries.next().map(|entry| entry.view().root().to_vec())
    }

    /// Returns true for a list of another suite, whose entries are counted as often as it has them.
    pub fn is_foreign(&self) -> bool {
        matches!(self.form, Form::Mfu(_))
    }

    /// Returns the share that a rank, of that many, begins with; reads the footers of its parts.
    ///
    /// # Errors
    /// Fails where one of these parts is invalid.
    pub fn share(&self, rank: u32, ranks: u32) -> Result<Share, Failure> {
        let mut share = Share::default();
        match self.form {
            Form::Ndjson { bytes } => {
                // Lines may be those of several lists, one after the other.
                share.may_repeat = true;
                let step = limits::NDJSON_PIECE_BYTES;
                let begins = (0..bytes.div_ceil(step)).map(|piece| piece * step);
                let own = begins.skip(rank as usize).step_by(ranks as usize);
                share.pieces = own.map(|begin| lines(begin, bytes, step)).collect();
            }
            Form::Mfu(layout) => {
                // The roots of a walk may have been inside each other.
                share.may_repeat = true;
                let (step, entries) = (layout.step(), layout.entries);
                let firsts = (0..entries.div_ceil(step)).map(|piece| piece * step);
                let own = firsts.skip(rank as usize).step_by(ranks as usize);
                let piece = |first| Piece::Entries { first, count: step.min(entries - first) };
                share.pieces = own.map(piece).collect();
                if rank == 0 && layout.is_unfinished {
                    share.pieces.push(Piece::Missing { part: 0 });
                }
            }
            Form::Parquet { parts } => {
                for part in (rank..parts).step_by(ranks as usize) {
                    self.look_into(part, parts, &mut share)?;
                }
            }
        }
        Ok(share)
    }

    fn look_into(&self, number: u32, parts: u32, share: &mut Share) -> Result<(), Failure> {
        let path = part_path(&self.list, number);
        let part = Part::open(&path)?;
        let says = |key, wanted: u32| part.says(key) == Some(&wanted.to_string());
        let id = part.says(key::LIST).map(str::to_owned);
        let same = share.id.is_none() || share.id == id;
        if !says(key::PART, number) || !says(key::PARTS, parts) || !same || id.is_none() {
            return Err(fault(&path, ListFault::Incomplete));
        }
        share.id = id;
        share.may_repeat |= part.says(key::ROOTS) != Some("1");
        if part.says(key::FAILED).is_some() {
            share.pieces.push(Piece::Missing { part: number });
        }
        let groups = 0..part.groups() as u32;
        share.pieces.extend(groups.map(|group| Piece::Group { part: number, group }));
        Ok(())
    }

    /// Returns the failure for parts that belong to different lists.
    pub fn mixed(&self) -> Failure {
        fault(as_path(&self.list), ListFault::Incomplete)
    }

    /// Returns the entries of a piece.
    ///
    /// # Errors
    /// Fails where it cannot be read.
    pub fn records(&self, piece: Piece) -> Result<Records, Failure> {
        let records = self.all_records(piece)?;
        let Some(base) = self.base.clone() else { return Ok(records) };
        Ok(Box::new(records.map(move |entry| {
            let entry = entry?;
            match base.depth(&entry) {
                Some(depth) => Ok(OwnedRecord { depth, ..entry }),
                None => Err(fault(as_path(&entry.path), ListFault::Outside)),
            }
        })))
    }

    fn all_records(&self, piece: Piece) -> Result<Records, Failure> {
        Ok(match piece {
            Piece::Group { part, group } => {
                Box::new(Part::open(&part_path(&self.list, part))?.records(group as usize)?)
            }
            Piece::Missing { part } => {
                let path = match self.form {
                    Form::Parquet { .. } => part_path(&self.list, part),
                    Form::Ndjson { .. } | Form::Mfu(_) => as_path(&self.list).to_owned(),
                };
                Box::new(std::iter::once(Err(fault(&path, ListFault::Unfinished))))
            }
            Piece::Lines { begin, end } => {
                Box::new(LineRecords::open(as_path(&self.list), begin, end)?)
            }
            Piece::Entries { first, count } => {
                let Form::Mfu(layout) = self.form else { return Err(self.mixed()) };
                Box::new(Entries::open(as_path(&self.list), layout, first, count)?)
            }
        })
    }
}

fn lines(begin: u64, bytes: u64, step: u64) -> Piece {
    Piece::Lines { begin, end: (begin + step).min(bytes) }
}

/// Counts the parts; parts 0 to n-1 must all exist. Hidden files, which other programs leave, are
/// skipped.
fn count_parts(list: &[u8]) -> Result<u32, Failure> {
    let path = as_path(list);
    let failed = |error: std::io::Error| io_failure(path, Op::List, &error);
    let (mut count, mut highest) = (0_u32, None);
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let name = name.as_encoded_bytes();
        match part_number(name) {
            Some(number) => (count, highest) = (count + 1, highest.max(Some(number))),
            None if matches!(name.first(), Some(b'.' | b'_')) => {}
            None => return Err(fault(path, ListFault::Foreign)),
        }
    }
    match highest {
        None => Err(fault(path, ListFault::Foreign)),
        Some(highest) if highest.checked_add(1) != Some(count) || count > limits::PARTS_MAX => {
            Err(fault(path, ListFault::Incomplete))
        }
        Some(_) => Ok(count),
    }
}
