//! Comparing bytes of two open files.

use crate::base::error::{At, Cause, Op, Result, Side, Trouble};
use crate::model::chunk::Extent;
use crate::store::SourceFile;

/// Room for what is read of both files.
pub(crate) struct Buffers {
    source: Vec<u8>,
    target: Vec<u8>,
}

impl Buffers {
    /// So many bytes for each file.
    pub fn new(bytes: u64) -> Self {
        Self { source: vec![0; bytes as usize], target: vec![0; bytes as usize] }
    }
}

/// Whether an extent is the same in both files; the first difference ends it.
///
/// A file that ends before the extent does has changed since it was looked at.
pub(crate) fn is_same_extent(
    source: &dyn SourceFile,
    target: &dyn SourceFile,
    extent: Extent,
    buffers: &mut Buffers,
) -> std::result::Result<bool, Trouble> {
    let end = extent.offset + extent.length;
    let mut at = extent.offset;
    while at < end {
        let want = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffers.source.len());
        let (from_source, from_target) = (&mut buffers.source[..want], &mut buffers.target[..want]);
        read_all(source, from_source, at).at(Side::Source)?;
        read_all(target, from_target, at).at(Side::Target)?;
        if from_source != from_target {
            return Ok(false);
        }
        at += want as u64;
    }
    Ok(true)
}

/// Whether two files hold the same up to where they end, whatever size they claim.
pub(crate) fn is_same_to_end(
    source: &dyn SourceFile,
    target: &dyn SourceFile,
    buffers: &mut Buffers,
) -> std::result::Result<bool, Trouble> {
    let mut at = 0;
    loop {
        let from_source = read_most(source, &mut buffers.source, at).at(Side::Source)?;
        let from_target = read_most(target, &mut buffers.target, at).at(Side::Target)?;
        if buffers.source[..from_source] != buffers.target[..from_target] {
            return Ok(false);
        }
        if from_source == 0 {
            return Ok(true);
        }
        at += from_source as u64;
    }
}

/// Fills the buffer: a read may return less than was asked for.
fn read_all(file: &dyn SourceFile, buffer: &mut [u8], offset: u64) -> Result<()> {
    if read_most(file, buffer, offset)? == buffer.len() {
        Ok(())
    } else {
        Err(Op::Compare.failed(Cause::Changed))
    }
}

/// Fills the buffer as far as the file goes; returns how far.
fn read_most(file: &dyn SourceFile, buffer: &mut [u8], offset: u64) -> Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}
