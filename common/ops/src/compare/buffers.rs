//! Buffers for the content of two files, and reads that fill them.

use host::aligned::AlignedBuffer;
use store::SourceFile;
use types::error::{Cause, Op, Result, Side};

/// The buffers for reading both files.
pub(crate) struct Buffers {
    pub(super) source: AlignedBuffer,
    pub(super) target: AlignedBuffer,
}

impl Buffers {
    /// Allocates that many bytes for each file.
    pub fn new(bytes: u64) -> Self {
        Self { source: AlignedBuffer::new(bytes), target: AlignedBuffer::new(bytes) }
    }

    /// Returns the buffer of one side.
    pub fn of(&mut self, side: Side) -> &mut [u8] {
        match side {
            Side::Source => &mut self.source,
            Side::Target => &mut self.target,
        }
    }
}

/// Fills the buffer completely, repeating short reads.
pub(super) fn read_all(file: &dyn SourceFile, buffer: &mut [u8], offset: u64) -> Result<()> {
    if read_most(file, buffer, offset)? == buffer.len() {
        Ok(())
    } else {
        Err(Op::Compare.failed(Cause::Changed))
    }
}

/// Fills the buffer as far as the file goes. Returns the number of bytes.
pub(super) fn read_most(file: &dyn SourceFile, buffer: &mut [u8], offset: u64) -> Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}
