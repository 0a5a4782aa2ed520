//! Lists of checksums, in the format that sha256sum(1), b3sum, md5sum(1) and rclone write and
//! check.

use md5::Digest;
use serde::{Deserialize, Serialize};

use store::SourceFile;
use types::content::crc64::Crc64Nvme;
use types::content::hex::hex;
use types::error::{Cause, Error, Op};
use types::limits::BUFFER_BYTES;
use types::listed::record::{Record, parent};

/// The algorithm of a checksum list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Checksum {
    Sha256,
    Blake3,
    Md5,
}

impl Checksum {
    /// Computes the checksum of a file in hexadecimal digits, or returns the one that its store
    /// holds. An ETag is not taken for an MD5, because services may put anything there.
    ///
    /// # Errors
    /// Returns the error of reading, `Changed` if the file was modified meanwhile, and `Stopped` if
    /// the job was interrupted.
    pub fn of(
        self,
        file: &dyn SourceFile,
        buffer: &mut Vec<u8>,
        is_stopped: &dyn Fn() -> bool,
    ) -> Result<String, Error> {
        if let (Self::Sha256, Some(stored)) = (self, file.sha256()) {
            return Ok(hex(&stored));
        }
        buffer.resize(BUFFER_BYTES as usize, 0);
        let before = file.metadata()?.version();
        let sum = match self {
            Self::Sha256 => of_digest::<sha2::Sha256>(file, buffer, is_stopped)?,
            Self::Md5 => of_digest::<md5::Md5>(file, buffer, is_stopped)?,
            Self::Blake3 => {
                let mut hasher = blake3::Hasher::new();
                read_to_end(file, buffer, is_stopped, |data| {
                    hasher.update(data);
                })?;
                hasher.finalize().to_hex().to_string()
            }
        };
        let is_same = file.metadata()?.version() == before;
        is_same.then_some(sum).ok_or(Op::Read.failed(Cause::Changed))
    }

    /// Returns the last line of a list that lacks `failed` entries. It names a file that does not
    /// exist, so that every check of the list fails.
    pub fn end_line(self, failed: u64) -> Option<String> {
        let digits = if self == Self::Md5 { 32 } else { 64 };
        let text = format!("(incomplete: {failed} entries could not be read)");
        (failed > 0).then(|| format!("{:0digits$}  {text}\n", 0))
    }
}

fn of_digest<D: Digest>(
    file: &dyn SourceFile,
    buffer: &mut [u8],
    is_stopped: &dyn Fn() -> bool,
) -> Result<String, Error> {
    let mut digest = D::new();
    read_to_end(file, buffer, is_stopped, |data| digest.update(data))?;
    Ok(hex(&digest.finalize()))
}

/// Reads a file. Its content must have the CRC-64/NVME that its store has recorded, if any.
fn read_to_end(
    file: &dyn SourceFile,
    buffer: &mut [u8],
    is_stopped: &dyn Fn() -> bool,
    mut each: impl FnMut(&[u8]),
) -> Result<(), Error> {
    let mut stored = file.crc64().map(|expected| (expected, Crc64Nvme::new()));
    let mut at = 0;
    while !is_stopped() {
        let read = file.read_at(buffer, at)?;
        if read == 0 {
            let is_other = stored.is_some_and(|(expected, sum)| sum.finish() != expected);
            return if is_other { Err(Op::Read.failed(Cause::Corrupt)) } else { Ok(()) };
        }
        if let Some((_, sum)) = &mut stored {
            sum.update(&buffer[..read]);
        }
        each(&buffer[..read]);
        at += read as u64;
    }
    Err(Op::Read.failed(Cause::Stopped))
}

/// Appends a line for a file whose checksum is known. Its path is relative to the directory that
/// was walked, or to the directory of a file that was named itself.
pub fn write_record(record: &Record<'_>, lines: &mut Vec<u8>) {
    let Some(digest) = record.digest else { return };
    let below = match record.below_root() {
        b"" => &record.path[parent(record.path).len()..],
        below => below,
    };
    write_line(digest, below.strip_prefix(b"/").unwrap_or(below), lines);
}

/// Appends a line. A path with a backslash or a line break is escaped, and marked by a backslash at
/// the beginning of the line, as GNU coreutils do.
fn write_line(digest: &str, path: &[u8], lines: &mut Vec<u8>) {
    let mut escaped = Vec::with_capacity(path.len());
    for byte in path {
        match byte {
            b'\\' => escaped.extend(b"\\\\"),
            b'\n' => escaped.extend(b"\\n"),
            b'\r' => escaped.extend(b"\\r"),
            plain => escaped.push(*plain),
        }
    }
    if escaped.len() > path.len() {
        lines.push(b'\\');
    }
    lines.extend(digest.as_bytes());
    lines.extend(b"  ");
    lines.extend(escaped);
    lines.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_would_break_a_line_are_escaped() {
        let mut lines = Vec::new();
        write_line("00", b"a b", &mut lines);
        write_line("ff", b"a\\b\nc\r", &mut lines);
        assert_eq!(lines, b"00  a b\n\\ff  a\\\\b\\nc\\r\n");
    }

    #[test]
    fn a_list_that_lacks_files_has_a_line_that_no_check_passes() {
        assert_eq!(Checksum::Sha256.end_line(0), None);
        let line = Checksum::Md5.end_line(2).unwrap();
        assert_eq!(line.split_once("  ").unwrap().0, "0".repeat(32));
        assert_eq!(Checksum::Blake3.end_line(1).unwrap().find(' '), Some(64));
    }
}
