//! Entries as the columns of a Parquet list.
//!
//! Times are timestamps in nanoseconds, which reach from 1677 to 2262. A time outside that range is
//! null there, and complete in the column `far_times`: `{"mtime":[seconds,nanoseconds]}`.

use std::collections::BTreeMap;
use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::schema::types::{Type, TypePtr};

use types::content::crc64::Crc64;
use types::entry::{Kind, Metadata, Time};
use types::limits;
use types::listed::record::{OwnedRecord, Record};
use types::outcome::difference::Fields;

/// Type of a column's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// Any bytes.
    Bytes,
    /// UTF-8 text.
    Text,
    /// Whole numbers from 0, 32 bits.
    Unsigned32,
    /// Whole numbers from 0, 64 bits.
    Unsigned64,
    /// A point in time.
    Timestamp,
}

/// A column of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Column {
    pub name: &'static str,
    pub holds: Holds,
    pub optional: bool,
    /// True where values repeat: each is stored once (dictionary encoding).
    pub repeats: bool,
}

const fn column(name: &'static str, holds: Holds, optional: bool, repeats: bool) -> Column {
    Column { name, holds, optional, repeats }
}

/// All columns, in order.
pub(super) const COLUMNS: [Column; 19] = [
    column("path", Holds::Bytes, false, false),
    column("depth", Holds::Unsigned32, false, true),
    column("kind", Holds::Text, false, true),
    column("size", Holds::Unsigned64, false, false),
    column("allocated", Holds::Unsigned64, false, false),
    column("mode", Holds::Unsigned32, false, true),
    column("uid", Holds::Unsigned32, false, true),
    column("gid", Holds::Unsigned32, false, true),
    column("user", Holds::Text, true, true),
    column("group", Holds::Text, true, true),
    column("atime", Holds::Timestamp, true, false),
    column("mtime", Holds::Timestamp, true, false),
    column("ctime", Holds::Timestamp, true, false),
    column("nlink", Holds::Unsigned64, false, true),
    column("dev", Holds::Unsigned64, false, true),
    column("inode", Holds::Unsigned64, false, false),
    column("target", Holds::Bytes, true, false),
    column("far_times", Holds::Text, true, false),
    column("crc64", Holds::Unsigned64, true, false),
];

/// Number of columns of lists that were written before there were checksums.
pub(super) const COLUMNS_AT_FIRST: usize = 18;

impl Column {
    pub fn physical(&self) -> Physical {
        match self.holds {
            Holds::Bytes | Holds::Text => Physical::BYTE_ARRAY,
            Holds::Unsigned32 => Physical::INT32,
            Holds::Unsigned64 | Holds::Timestamp => Physical::INT64,
        }
    }

    fn logical(&self) -> Option<LogicalType> {
        match self.holds {
            Holds::Bytes => None,
            Holds::Text => Some(LogicalType::String),
            Holds::Unsigned32 => Some(LogicalType::integer(32, false)),
            Holds::Unsigned64 => Some(LogicalType::integer(64, false)),
            Holds::Timestamp => Some(LogicalType::timestamp(true, TimeUnit::NANOS)),
        }
    }

    fn schema(&self) -> Result<TypePtr, ParquetError> {
        let repetition = if self.optional { Repetition::OPTIONAL } else { Repetition::REQUIRED };
        let field = Type::primitive_type_builder(self.name, self.physical())
            .with_repetition(repetition)
            .with_logical_type(self.logical())
            .build()?;
        Ok(Arc::new(field))
    }
}

/// Returns the schema of the list.
pub(super) fn schema() -> Result<TypePtr, ParquetError> {
    let fields = COLUMNS.iter().map(Column::schema).collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(Type::group_type_builder("list").with_fields(fields).build()?))
}

/// Values of one column.
#[derive(Debug)]
pub(super) enum Values {
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Bytes(Vec<ByteArray>),
}

impl Values {
    pub fn new(physical: Physical) -> Self {
        match physical {
            Physical::INT32 => Self::Int32(Vec::new()),
            Physical::INT64 => Self::Int64(Vec::new()),
            _ => Self::Bytes(Vec::new()),
        }
    }

    fn append(&mut self, other: &mut Self) {
        match (self, other) {
            (Self::Int32(all), Self::Int32(more)) => all.append(more),
            (Self::Int64(all), Self::Int64(more)) => all.append(more),
            (Self::Bytes(all), Self::Bytes(more)) => all.append(more),
            _ => unreachable!("both are the same column"),
        }
    }
}

/// Values of a column; those of an optional one with the rows that have one.
#[derive(Debug)]
pub(super) struct Cells {
    pub values: Values,
    pub levels: Vec<i16>,
}

/// Entries on their way to a row group.
#[derive(Debug)]
pub struct Rows {
    pub(super) cells: Vec<Cells>,
    count: usize,
    path_bytes: usize,
    words: Words,
}

/// Cache of texts that repeat.
#[derive(Debug, Default)]
struct Words(BTreeMap<String, ByteArray>);

impl Words {
    fn get(&mut self, text: &str) -> ByteArray {
        match self.0.get(text) {
            Some(known) => known.clone(),
            None => self.0.entry(text.to_owned()).or_insert_with(|| text.into()).clone(),
        }
    }
}

impl Default for Rows {
    fn default() -> Self {
        let cells =
            |column: &Column| Cells { values: Values::new(column.physical()), levels: Vec::new() };
        let cells = COLUMNS.iter().map(cells).collect();
        Self { cells, count: 0, path_bytes: 0, words: Words::default() }
    }
}

impl Rows {
    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Returns true where there are no rows.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns true where there are as many rows as a thread gathers before it passes them on.
    pub fn are_enough(&self) -> bool {
        self.len() >= limits::ROWS_OF_THREAD || self.path_bytes() >= limits::LINES_BLOCK_BYTES * 8
    }

    /// Returns the size of paths and targets of symbolic links in bytes.
    pub fn path_bytes(&self) -> usize {
        self.path_bytes
    }

    /// Moves the rows of another one behind these.
    pub fn append(&mut self, other: &mut Self) {
        for (all, more) in self.cells.iter_mut().zip(&mut other.cells) {
            all.values.append(&mut more.values);
            all.levels.append(&mut more.levels);
        }
        self.count += std::mem::take(&mut other.count);
        self.path_bytes += std::mem::take(&mut other.path_bytes);
    }

    /// Adds an entry.
    pub fn push(&mut self, record: &Record<'_>) {
        let metadata = record.metadata;
        let kind = self.words.get(metadata.kind.word());
        let user = record.user.map(|name| self.words.get(name));
        let group = record.group.map(|name| self.words.get(name));
        self.count += 1;
        self.path_bytes += record.path.len() + record.target.map_or(0, <[u8]>::len);
        let mut row = Row(self.cells.iter_mut());
        row.bytes(record.path.to_vec().into());
        row.small(record.depth);
        row.bytes(kind);
        row.large(metadata.size_bytes);
        row.large(metadata.allocated_bytes);
        row.small(metadata.mode);
        row.small(metadata.uid);
        row.small(metadata.gid);
        row.maybe_bytes(user);
        row.maybe_bytes(group);
        for time in [metadata.atime, metadata.mtime, metadata.ctime] {
            row.time(time);
        }
        row.large(metadata.links);
        row.large(metadata.device);
        row.large(metadata.inode);
        row.maybe_bytes(record.target.map(|target| target.to_vec().into()));
        row.maybe_bytes(far_times(metadata).map(|text| text.into_bytes().into()));
        row.maybe_large(record.crc64.map(|sum| sum.0));
    }
}

/// A row that is being written, column by column.
struct Row<'c>(std::slice::IterMut<'c, Cells>);

impl Row<'_> {
    fn next(&mut self) -> &mut Cells {
        self.0.next().expect("there is a column for each value")
    }

    fn bytes(&mut self, bytes: ByteArray) {
        if let Values::Bytes(all) = &mut self.next().values {
            all.push(bytes);
        }
    }

    fn small(&mut self, number: u32) {
        if let Values::Int32(all) = &mut self.next().values {
            all.push(number.cast_signed());
        }
    }

    fn large(&mut self, number: u64) {
        if let Values::Int64(all) = &mut self.next().values {
            all.push(number.cast_signed());
        }
    }

    fn maybe_bytes(&mut self, bytes: Option<ByteArray>) {
        let cells = self.next();
        cells.levels.push(i16::from(bytes.is_some()));
        if let (Values::Bytes(all), Some(bytes)) = (&mut cells.values, bytes) {
            all.push(bytes);
        }
    }

    fn time(&mut self, time: Time) {
        self.maybe_large(nanoseconds(time).map(i64::cast_unsigned));
    }

    fn maybe_large(&mut self, number: Option<u64>) {
        let cells = self.next();
        cells.levels.push(i16::from(number.is_some()));
        if let (Values::Int64(all), Some(number)) = (&mut cells.values, number) {
            all.push(number.cast_signed());
        }
    }
}

/// Returns nanoseconds since 1970; `None` for a time out of range.
fn nanoseconds(time: Time) -> Option<i64> {
    let all = i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanoseconds);
    i64::try_from(all).ok()
}

fn from_nanoseconds(stamp: i64) -> Time {
    let (seconds, nanoseconds) = (stamp.div_euclid(1_000_000_000), stamp.rem_euclid(1_000_000_000));
    Time { seconds, nanoseconds: nanoseconds as u32 }
}

/// Times out of range by column name: seconds and nanoseconds.
type FarTimes = BTreeMap<String, (i64, u32)>;

fn far_times(metadata: &Metadata) -> Option<String> {
    let times = [("atime", metadata.atime), ("mtime", metadata.mtime), ("ctime", metadata.ctime)];
    let far: FarTimes = times
        .into_iter()
        .filter(|(_, time)| nanoseconds(*time).is_none())
        .map(|(name, time)| (name.to_owned(), (time.seconds, time.nanoseconds)))
        .collect();
    if far.is_empty() { None } else { serde_json::to_string(&far).ok() }
}

/// Rows that were read, to be taken one by one.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub cells: Vec<Cells>,
    pub at: usize,
    /// Number of values already taken from each column.
    used: [usize; COLUMNS.len()],
}

impl Taken {
    pub fn new(cells: Vec<Cells>) -> Self {
        Self { cells, at: 0, used: [0; COLUMNS.len()] }
    }

    /// Returns the next entry; `None` where a value makes no sense.
    pub fn take(&mut self) -> Option<OwnedRecord> {
        let mut at = 0..COLUMNS.len();
        let mut next = || at.next().unwrap_or(0);
        let path = self.bytes(next())?;
        let depth = self.small(next())?;
        let kind = Kind::from_word(std::str::from_utf8(&self.bytes(next())?).ok()?)?;
        let size_bytes = self.large(next())?;
        let allocated_bytes = self.large(next())?;
        let (mode, uid, gid) = (self.small(next())?, self.small(next())?, self.small(next())?);
        let (user, group) = (self.text(next()).ok()?, self.text(next()).ok()?);
        let times = [self.stamp(next()).ok()?, self.stamp(next()).ok()?, self.stamp(next()).ok()?];
        let (links, device, inode) =
            (self.large(next())?, self.large(next())?, self.large(next())?);
        let target = self.maybe_bytes(next()).ok()?;
        let far: FarTimes = match self.text(next()).ok()? {
            Some(text) => serde_json::from_str(&text).ok()?,
            None => FarTimes::new(),
        };
        let has_sums = self.cells.len() == COLUMNS.len();
        let crc64 = if has_sums { self.stamp(next()).ok()? } else { None };
        let crc64 = crc64.map(|sum| Crc64(sum.cast_unsigned()));
        let time = |stamp: Option<i64>, name: &str| match stamp {
            Some(stamp) => Some(from_nanoseconds(stamp)),
            None => far.get(name).map(|(seconds, nanoseconds)| Time {
                seconds: *seconds,
                nanoseconds: *nanoseconds,
            }),
        };
        let [atime, mtime, ctime] = times;
        let (atime, mtime, ctime) =
            (time(atime, "atime")?, time(mtime, "mtime")?, time(ctime, "ctime")?);
        self.at += 1;
        let metadata = Metadata {
            kind,
            mode,
            uid,
            gid,
            size_bytes,
            allocated_bytes,
            atime,
            mtime,
            ctime,
            links,
            device,
            inode,
            known: Fields::ALL,
        };
        let record =
            OwnedRecord { path, depth, metadata, target, user, group, crc64, digest: None };
        record.is_sound().then_some(record)
    }

    fn use_one(&mut self, column: usize) -> usize {
        self.used[column] += 1;
        self.used[column] - 1
    }

    fn has(&self, column: usize) -> Result<bool, Torn> {
        let level = self.cells[column].levels.get(self.at).ok_or(Torn)?;
        Ok(*level == 1)
    }

    fn bytes(&mut self, column: usize) -> Option<Vec<u8>> {
        let at = self.use_one(column);
        match &self.cells[column].values {
            Values::Bytes(all) => all.get(at).map(|bytes| bytes.data().to_vec()),
            _ => None,
        }
    }

    fn small(&mut self, column: usize) -> Option<u32> {
        let at = self.use_one(column);
        match &self.cells[column].values {
            Values::Int32(all) => all.get(at).map(|number| number.cast_unsigned()),
            _ => None,
        }
    }

    fn signed(&mut self, column: usize) -> Option<i64> {
        let at = self.use_one(column);
        match &self.cells[column].values {
            Values::Int64(all) => all.get(at).copied(),
            _ => None,
        }
    }

    fn large(&mut self, column: usize) -> Option<u64> {
        self.signed(column).map(i64::cast_unsigned)
    }

    fn stamp(&mut self, column: usize) -> Result<Option<i64>, Torn> {
        if self.has(column)? { self.signed(column).ok_or(Torn).map(Some) } else { Ok(None) }
    }

    fn maybe_bytes(&mut self, column: usize) -> Result<Option<Vec<u8>>, Torn> {
        if self.has(column)? { self.bytes(column).ok_or(Torn).map(Some) } else { Ok(None) }
    }

    fn text(&mut self, column: usize) -> Result<Option<String>, Torn> {
        let bytes = self.maybe_bytes(column)?;
        bytes.map(|bytes| String::from_utf8(bytes).map_err(|_| Torn)).transpose()
    }
}

/// Error of a column that has fewer values than rows, or an invalid value.
#[derive(Debug, Clone, Copy)]
struct Torn;
