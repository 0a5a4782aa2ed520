//! Writing one file (a part) of a Parquet list.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use parquet::basic::{Compression, Encoding};
use parquet::data_type::{ByteArrayType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, RowGroupMetaData};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::ColumnPath;
use twox_hash::XxHash64;

use super::labels::{PartOf, VERSION, key};
use super::rows::{COLUMNS, Cells, Holds, Rows, Values, schema};
use super::staged::sync;
use super::{io_failure, part_path};
use types::error::{Failure, Op};
use types::limits;

/// A part that is being written.
pub struct PartWriter {
    path: PathBuf,
    writer: SerializedFileWriter<Hashed>,
    group: Rows,
    checksums: Vec<String>,
}

/// A file, with a checksum of the bytes that were written to it since the checksum was last read.
struct Hashed {
    file: File,
    hash: XxHash64,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        std::hash::Hasher::write(&mut self.hash, &bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

impl Hashed {
    fn take(&mut self) -> u64 {
        let hash = std::mem::replace(&mut self.hash, XxHash64::with_seed(0));
        std::hash::Hasher::finish(&hash)
    }
}

impl PartWriter {
    /// Creates a part. Another node may have created the directory a moment ago.
    ///
    /// # Errors
    /// Fails where the file cannot be created.
    pub fn create(of: &PartOf) -> Result<Self, Failure> {
        let path = part_path(&of.list, of.part);
        let file = create_soon(&path).map_err(|error| io_failure(&path, Op::Create, &error))?;
        let key_values = [
            (key::VERSION, Some(VERSION.to_owned())),
            (key::LIST, Some(of.id.clone())),
            (key::PART, Some(of.part.to_string())),
            (key::PARTS, Some(of.parts.to_string())),
            (key::SORTED, of.sorted.clone()),
            (key::ROOTS, of.roots.map(|roots| roots.to_string())),
        ];
        let key_values = key_values
            .into_iter()
            .filter_map(|(key, value)| Some(KeyValue::new(key.to_owned(), value?)))
            .collect();
        let hashed = Hashed { file, hash: XxHash64::with_seed(0) };
        let writer = schema()
            .and_then(|schema| {
                SerializedFileWriter::new(hashed, schema, Arc::new(properties(key_values)))
            })
            .and_then(|mut writer| {
                writer.flush()?;
                writer.inner_mut().take();
                Ok(writer)
            })
            .map_err(|error| write_failure(&path, &error))?;
        Ok(Self { path, writer, group: Rows::default(), checksums: Vec::new() })
    }

    /// Takes over rows, and writes them when there are enough.
    ///
    /// # Errors
    /// Fails where they cannot be written.
    pub fn append(&mut self, rows: &mut Rows) -> Result<(), Failure> {
        self.group.append(rows);
        let is_full = self.group.len() >= limits::ROW_GROUP_ROWS
            || self.group.path_bytes() >= limits::ROW_GROUP_PATH_BYTES;
        if is_full { self.write_group() } else { Ok(()) }
    }

    fn write_group(&mut self) -> Result<(), Failure> {
        let rows = std::mem::take(&mut self.group);
        let written = write_rows(&mut self.writer, &rows);
        let hash = written.map_err(|error| write_failure(&self.path, &error))?;
        self.checksums.push(format!("{hash:016x}"));
        Ok(())
    }

    /// Writes the remaining rows and the footer, without which no reader takes the file for a list.
    /// The footer tells how many entries this rank could not read.
    ///
    /// # Errors
    /// Fails where they cannot be written.
    pub fn finish(mut self, failed: u64) -> Result<(), Failure> {
        if !self.group.is_empty() {
            self.write_group()?;
        }
        let checksums = KeyValue::new(key::CHECKSUMS.to_owned(), self.checksums.join(","));
        self.writer.append_key_value_metadata(checksums);
        if failed > 0 {
            let failed = KeyValue::new(key::FAILED.to_owned(), failed.to_string());
            self.writer.append_key_value_metadata(failed);
        }
        let hashed = self.writer.into_inner().map_err(|error| write_failure(&self.path, &error))?;
        sync(&hashed.file).map_err(|error| io_failure(&self.path, Op::Write, &error))
    }
}

fn create_soon(path: &Path) -> std::io::Result<File> {
    let began = Instant::now();
    loop {
        match File::create(path) {
            Err(error)
                if error.kind() == std::io::ErrorKind::NotFound
                    && began.elapsed() < limits::VISIBLE_WAIT_MAX =>
            {
                std::thread::sleep(limits::GROWTH_WINDOW_MAX);
            }
            other => return other,
        }
    }
}

fn write_failure(path: &Path, error: &ParquetError) -> Failure {
    let io = match error {
        ParquetError::External(inner) => inner.downcast_ref::<std::io::Error>(),
        _ => None,
    };
    let other = std::io::Error::from_raw_os_error(libc::EIO);
    io_failure(path, Op::Write, io.unwrap_or(&other))
}

fn properties(key_values: Vec<KeyValue>) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_created_by(format!("dwalk {}", env!("CARGO_PKG_VERSION")))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_max_row_group_row_count(None)
        .set_key_value_metadata(Some(key_values));
    for column in &COLUMNS {
        let path = ColumnPath::from(column.name);
        let encoding = match column.holds {
            Holds::Bytes | Holds::Text => Encoding::DELTA_BYTE_ARRAY,
            _ => Encoding::DELTA_BINARY_PACKED,
        };
        properties = properties
            .set_column_dictionary_enabled(path.clone(), column.repeats)
            .set_column_encoding(path, encoding);
    }
    properties.build()
}

fn write_rows(writer: &mut SerializedFileWriter<Hashed>, rows: &Rows) -> Result<u64, ParquetError> {
    let mut group = writer.next_row_group()?;
    for cells in &rows.cells {
        let Some(mut column) = group.next_column()? else { break };
        write_column(&mut column, cells)?;
        column.close()?;
    }
    let metadata = group.close()?;
    writer.flush()?;
    let hashed = writer.inner_mut();
    add_shape(&mut hashed.hash, &metadata);
    Ok(hashed.take())
}

/// Adds those properties of a row group in the footer that its decoding depends on: a changed
/// footer must be noticed, too.
pub(super) fn add_shape(hash: &mut XxHash64, group: &RowGroupMetaData) {
    let mut add = |number: i64| std::hash::Hasher::write(hash, &number.to_le_bytes());
    add(group.num_rows());
    for column in group.columns() {
        column.encodings().for_each(|encoding| add(encoding as i64));
        add(i64::from(column.compression() == Compression::UNCOMPRESSED));
        add(column.data_page_offset());
        add(column.dictionary_page_offset().unwrap_or(-1));
        add(column.compressed_size());
        add(column.uncompressed_size());
        add(column.num_values());
    }
}

fn write_column(
    column: &mut SerializedColumnWriter<'_>,
    cells: &Cells,
) -> Result<usize, ParquetError> {
    let levels = Some(&cells.levels[..]).filter(|levels| !levels.is_empty());
    match &cells.values {
        Values::Int32(values) => column.typed::<Int32Type>().write_batch(values, levels, None),
        Values::Int64(values) => column.typed::<Int64Type>().write_batch(values, levels, None),
        Values::Bytes(values) => column.typed::<ByteArrayType>().write_batch(values, levels, None),
    }
}
