//! Reading one file (a part) of a Parquet list.
//!
//! The file is not trusted: sizes are checked before memory is allocated, and a row group is
//! decoded only when its checksum is right.

use std::collections::HashMap;
use std::fs::File;
use std::hash::Hasher;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, Bytes, buf::Reader};
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;
use twox_hash::XxHash64;

use super::labels::{VERSION, key};
use super::part::add_shape;
use super::rows::{COLUMNS, COLUMNS_AT_FIRST, Cells, Taken, Values};
use super::{fault, io_failure};
use types::error::{Failure, ListFault, Op};
use types::limits;
use types::listed::record::OwnedRecord;

const MAGIC: &[u8; 4] = b"PAR1";
/// Size in bytes of the footer's length and the magic number at the end of the file.
const TAIL_BYTES: u64 = 8;

/// An open part.
pub struct Part {
    path: PathBuf,
    file: File,
    metadata: ParquetMetaData,
    says: HashMap<String, String>,
}

impl Part {
    /// Opens a part and checks its footer.
    ///
    /// # Errors
    /// Fails where the part is invalid.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let io = |error: std::io::Error| io_failure(path, Op::Read, &error);
        let file = File::open(path).map_err(|error| io_failure(path, Op::Open, &error))?;
        let length = file.metadata().map_err(io)?.len();
        let torn = || fault(path, ListFault::Damaged(length));
        let mut tail = [0; TAIL_BYTES as usize];
        let at = length.checked_sub(TAIL_BYTES).ok_or_else(torn)?;
        file.read_exact_at(&mut tail, at).map_err(io)?;
        let (size, magic) = tail.split_at(4);
        let size = u64::from(u32::from_le_bytes([size[0], size[1], size[2], size[3]]));
        if magic != MAGIC || size > at || size > limits::FOOTER_BYTES_MAX {
            return Err(torn());
        }
        let mut footer = vec![0; size as usize];
        file.read_exact_at(&mut footer, at - size).map_err(io)?;
        let metadata = ParquetMetaDataReader::decode_metadata(&footer)
            .map_err(|_| fault(path, ListFault::Damaged(at - size)))?;
        let says = metadata.file_metadata().key_value_metadata().into_iter().flatten();
        let says = says.filter_map(|said| Some((said.key.clone(), said.value.clone()?))).collect();
        let part = Self { path: path.to_owned(), file, metadata, says };
        part.check(at - size)?;
        Ok(part)
    }

    fn check(&self, data_end: u64) -> Result<(), Failure> {
        match self.says(key::VERSION) {
            None => return Err(fault(&self.path, ListFault::Foreign)),
            Some(VERSION) => {}
            Some(_) => return Err(fault(&self.path, ListFault::Version)),
        }
        let schema = self.metadata.file_metadata().schema_descr();
        let columns = schema.num_columns();
        let same = [COLUMNS_AT_FIRST, COLUMNS.len()].contains(&columns)
            && COLUMNS.iter().zip(schema.columns()).all(|(column, there)| {
                there.name() == column.name
                    && there.physical_type() == column.physical()
                    && there.max_def_level() == i16::from(column.optional)
                    && there.max_rep_level() == 0
            });
        let groups = self.metadata.row_groups();
        let sound = self.checksums().count() == groups.len()
            && groups.iter().all(|group| extent(group).is_some_and(|(_, end)| end <= data_end));
        if same && sound { Ok(()) } else { Err(fault(&self.path, ListFault::Damaged(data_end))) }
    }

    /// Returns the value of a label.
    pub(super) fn says(&self, key: &str) -> Option<&str> {
        self.says.get(key).map(String::as_str)
    }

    fn checksums(&self) -> impl Iterator<Item = &str> {
        let all = self.says(key::CHECKSUMS).unwrap_or_default();
        all.split(',').filter(|checksum| !checksum.is_empty())
    }

    /// Returns the number of row groups.
    pub fn groups(&self) -> usize {
        self.metadata.num_row_groups()
    }

    /// Returns the entries of a row group.
    ///
    /// # Errors
    /// Fails where it is not what was written.
    pub fn records(&self, group: usize) -> Result<PartRecords, Failure> {
        let missing = || fault(&self.path, ListFault::Incomplete);
        let metadata = self.metadata.row_groups().get(group).ok_or_else(missing)?;
        let (begin, end) = extent(metadata).ok_or_else(missing)?;
        let damaged = || fault(&self.path, ListFault::Damaged(begin));
        let mut bytes = vec![0; (end - begin) as usize];
        self.file
            .read_exact_at(&mut bytes, begin)
            .map_err(|error| io_failure(&self.path, Op::Read, &error))?;
        let mut hash = XxHash64::with_seed(0);
        hash.write(&bytes);
        add_shape(&mut hash, metadata);
        let hash = format!("{:016x}", hash.finish());
        if self.checksums().nth(group) != Some(hash.as_str()) {
            return Err(damaged());
        }
        let block = Arc::new(Block { begin, bytes: bytes.into() });
        let rows = usize::try_from(metadata.num_rows()).map_err(|_| damaged())?;
        let columns = (0..metadata.num_columns())
            .map(|column| AnyReader::new(&block, metadata, column, rows))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| damaged())?;
        Ok(PartRecords {
            damage: damaged(),
            columns,
            taken: Taken::default(),
            ready: 0,
            left: rows,
        })
    }
}

/// Returns the offsets at which a row group begins and ends in its file.
fn extent(group: &RowGroupMetaData) -> Option<(u64, u64)> {
    let (mut begin, mut end) = (u64::MAX, 0_u64);
    for column in group.columns() {
        let first = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
        let first = u64::try_from(first.min(column.data_page_offset())).ok()?;
        let length = u64::try_from(column.compressed_size()).ok()?;
        begin = begin.min(first);
        end = end.max(first.checked_add(length)?);
    }
    let sound = begin >= MAGIC.len() as u64 && begin <= end;
    (sound && end - begin <= limits::ROW_GROUP_BYTES_MAX).then_some((begin, end))
}

/// A row group in memory, addressed by the offsets in its file.
struct Block {
    begin: u64,
    bytes: Bytes,
}

impl Block {
    fn from(&self, start: u64) -> Result<Bytes, ParquetError> {
        let at = start.checked_sub(self.begin).map(|at| at as usize);
        let at = at.filter(|at| *at <= self.bytes.len());
        let at = at.ok_or_else(|| ParquetError::EOF("outside of the row group".to_owned()))?;
        Ok(self.bytes.slice(at..))
    }
}

impl Length for Block {
    fn len(&self) -> u64 {
        self.begin + self.bytes.len() as u64
    }
}

impl ChunkReader for Block {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let rest = self.from(start)?;
        if rest.len() < length {
            return Err(ParquetError::EOF("outside of the row group".to_owned()));
        }
        Ok(rest.slice(..length))
    }
}

enum AnyReader {
    Int32(ColumnReaderImpl<Int32Type>),
    Int64(ColumnReaderImpl<Int64Type>),
    Bytes(ColumnReaderImpl<ByteArrayType>),
}

impl AnyReader {
    fn new(
        block: &Arc<Block>,
        group: &RowGroupMetaData,
        column: usize,
        rows: usize,
    ) -> Result<Self, ParquetError> {
        let chunk = group.column(column);
        let pages = Box::new(SerializedPageReader::new(Arc::clone(block), chunk, rows, None)?);
        let description = chunk.column_descr_ptr();
        Ok(match Values::new(COLUMNS[column].physical()) {
            Values::Int32(_) => Self::Int32(ColumnReaderImpl::new(description, pages)),
            Values::Int64(_) => Self::Int64(ColumnReaderImpl::new(description, pages)),
            Values::Bytes(_) => Self::Bytes(ColumnReaderImpl::new(description, pages)),
        })
    }

    /// Reads that many rows of the column; `None` where it has fewer.
    fn read(&mut self, rows: usize, optional: bool) -> Option<Cells> {
        let (values, levels) = match self {
            Self::Int32(reader) => {
                let (values, levels) = read::<Int32Type>(reader, rows, optional)?;
                (Values::Int32(values), levels)
            }
            Self::Int64(reader) => {
                let (values, levels) = read::<Int64Type>(reader, rows, optional)?;
                (Values::Int64(values), levels)
            }
            Self::Bytes(reader) => {
                let (values, levels) = read::<ByteArrayType>(reader, rows, optional)?;
                (Values::Bytes(values), levels)
            }
        };
        Some(Cells { values, levels })
    }
}

fn read<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    rows: usize,
    optional: bool,
) -> Option<(Vec<T::T>, Vec<i16>)> {
    let (mut values, mut levels) = (Vec::new(), Vec::new());
    let (read, _, _) =
        reader.read_records(rows, optional.then_some(&mut levels), None, &mut values).ok()?;
    (read == rows).then_some((values, levels))
}

/// Iterator over the entries of a row group; ends after an error.
pub struct PartRecords {
    damage: Failure,
    columns: Vec<AnyReader>,
    taken: Taken,
    ready: usize,
    left: usize,
}

impl PartRecords {
    fn load(&mut self) -> Option<()> {
        let rows = self.left.min(limits::READ_BATCH_ROWS);
        let columns = self.columns.iter_mut().zip(&COLUMNS);
        let cells = columns.map(|(reader, column)| reader.read(rows, column.optional));
        self.taken = Taken::new(cells.collect::<Option<Vec<_>>>()?);
        (self.ready, self.left) = (rows, self.left - rows);
        Some(())
    }
}

impl Iterator for PartRecords {
    type Item = Result<OwnedRecord, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ready == 0 && self.left == 0 {
            return None;
        }
        let loaded = if self.ready == 0 { self.load() } else { Some(()) };
        let record = loaded.and_then(|()| self.taken.take());
        if record.is_some() {
            self.ready -= 1;
        } else {
            (self.ready, self.left) = (0, 0);
        }
        Some(record.ok_or_else(|| self.damage.clone()))
    }
}
