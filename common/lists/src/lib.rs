//! Lists of entries as files: a Parquet directory with one file per rank, NDJSON, or the binary
//! format of mpiFileUtils. A walk writes them, and any rank reads them back in pieces:
//! [`source::ListSource`] returns paths, attributes and targets of symbolic links to all tools.
//!
//! Uses: `host`, `types`.

pub mod appended;
pub mod base;
pub mod labels;
pub mod mfu;
pub mod named;
pub mod ndjson;
#[cfg(feature = "parquet")]
pub mod part;
pub mod paths;
#[cfg(feature = "parquet")]
pub mod read_part;
pub mod repeated;
#[cfg(feature = "parquet")]
pub mod rows;
pub mod shared_part;
pub mod source;
pub mod staged;

#[cfg(not(feature = "parquet"))]
mod absent;
#[cfg(not(feature = "parquet"))]
pub use absent::{part, read_part, rows};

use std::path::{Path, PathBuf};

use types::error::{Cause, Error, Failure, ListFault, Op, Side};

/// Returns the path of the file of a Parquet list that one rank writes.
pub fn part_path(list: &[u8], part: u32) -> PathBuf {
    as_path(list).join(format!("part-{part:05}.parquet"))
}

/// Returns the number in the name of such a file; `None` for other names.
pub fn part_number(name: &[u8]) -> Option<u32> {
    let digits = name.strip_prefix(b"part-")?.strip_suffix(b".parquet")?;
    let is_number = digits.len() >= 5 && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

/// Converts a path given as bytes.
pub fn as_path(path: &[u8]) -> &Path {
    Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(path))
}

/// Returns the failure of an operation on a list.
pub fn failure(path: &Path, error: Error) -> Failure {
    Failure { path: path.as_os_str().as_encoded_bytes().to_vec(), side: Side::Source, error }
}

fn fault(path: &Path, fault: ListFault) -> Failure {
    failure(path, Op::Read.failed(Cause::List(fault)))
}

/// Returns the failure of a system call on a list.
pub fn io_failure(path: &Path, op: Op, error: &std::io::Error) -> Failure {
    failure(path, op.errno(error.raw_os_error().unwrap_or(libc::EIO)))
}

/// Returns the failure of a system call on a list that could be opened when the job began: a list
/// that has been removed since is not an entry that has vanished.
fn read_failure(path: &Path, op: Op, error: &std::io::Error) -> Failure {
    let failed = io_failure(path, op, error);
    if failed.is_vanished() { fault(path, ListFault::Changed) } else { failed }
}
