//! Memory for I/O that bypasses the page cache, which must begin at aligned addresses.

use std::ops::{Deref, DerefMut};

use types::limits::DIRECT_ALIGN_BYTES;

/// A buffer that begins at a multiple of [`DIRECT_ALIGN_BYTES`] and has a multiple of it as its
/// length, unless it is smaller.
pub struct AlignedBuffer {
    memory: Vec<u8>,
    begin: usize,
    length: usize,
}

impl AlignedBuffer {
    /// Allocates at least that many zero bytes.
    pub fn new(bytes: u64) -> Self {
        let align = DIRECT_ALIGN_BYTES as usize;
        let length = match bytes as usize {
            small if small < align => small.max(1),
            length => length.next_multiple_of(align),
        };
        let memory = vec![0; length + align];
        let begin = memory.as_ptr().addr().next_multiple_of(align) - memory.as_ptr().addr();
        Self { memory, begin, length }
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[self.begin..self.begin + self.length]
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.begin..self.begin + self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_aligned_and_long_enough() {
        for bytes in [0, 1, 64, 4095, 4096, 4097, 512 << 10] {
            let buffer = AlignedBuffer::new(bytes);
            assert!(buffer.as_ptr().addr().is_multiple_of(4096));
            assert!(
                buffer.len() as u64 >= bytes.max(1)
                    && (bytes < 4096 || buffer.len().is_multiple_of(4096))
            );
        }
    }
}
