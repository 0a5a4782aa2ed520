//! Compression of messages (zstd), which is given up for a while where it does not pay.

use std::cell::RefCell;
use std::io::{Error, ErrorKind, Result};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use types::limits::{REMOTE_PACK_BYTES_MIN, REMOTE_PACK_PASSED_OVER_MAX};
use zstd::bulk::{Compressor, Decompressor};

/// Level of zstd: the fastest regular one, since it competes with the network.
const LEVEL: i32 = 1;

/// Decision of one side of a connection whether to compress what it sends.
#[derive(Debug, Default)]
pub struct Packer {
    is_on: AtomicBool,
    /// Messages to be sent as they are before compression is tried again.
    left: AtomicU32,
    /// Messages that were passed over last; doubled by each attempt in vain.
    passed_over: AtomicU32,
}

thread_local! {
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

impl Packer {
    /// Switches compression on or off.
    pub fn set(&self, is_on: bool) {
        self.is_on.store(is_on, Ordering::Relaxed);
    }

    /// Returns a message of two parts compressed; `None` where it is to be sent as it is.
    pub fn pack(&self, parts: [&[u8]; 2]) -> Option<Vec<u8>> {
        if !self.is_due(parts.iter().map(|part| part.len()).sum()) {
            return None;
        }
        let message = &parts.concat()[..];
        let compressed = compress(message).ok();
        // Less than an eighth is not worth the time of the other side.
        let compressed = compressed.filter(|it| it.len() < message.len() / 8 * 7);
        let last = self.passed_over.load(Ordering::Relaxed);
        let next = match compressed {
            Some(_) => 0,
            None => (last * 2).clamp(1, REMOTE_PACK_PASSED_OVER_MAX),
        };
        self.passed_over.store(next, Ordering::Relaxed);
        self.left.store(next, Ordering::Relaxed);
        compressed
    }

    /// Returns whether to compress the next message, of that length in bytes.
    fn is_due(&self, bytes: usize) -> bool {
        let one_less = |left: u32| left.checked_sub(1);
        self.is_on.load(Ordering::Relaxed)
            && bytes >= REMOTE_PACK_BYTES_MIN
            && self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_err()
    }
}

fn compress(message: &[u8]) -> Result<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|kept| {
        let compressor = match kept {
            Some(compressor) => compressor,
            None => kept.insert(Compressor::new(LEVEL)?),
        };
        compressor.compress(message)
    })
}

/// Decompresses a message of that length in bytes, which the caller has bounded.
///
/// # Errors
/// `InvalidData` for anything but a compressed message of that length.
pub fn unpack(packed: &[u8], bytes: usize) -> Result<Vec<u8>> {
    let message = DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            None => kept.insert(Decompressor::new()?),
        };
        decompressor.decompress(packed, bytes)
    });
    match message {
        Ok(message) if message.len() == bytes => Ok(message),
        _ => Err(Error::new(ErrorKind::InvalidData, "a message cannot be decompressed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(bytes: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(7);
        std::iter::repeat_with(|| random.u8(..)).take(bytes).collect()
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let packer = Packer::default();
        let text = b"a line of text\n".repeat(1000);
        assert!(packer.pack([&text, b""]).is_none());
        packer.set(true);
        let compressed = packer.pack([&text[..7], &text[7..]]).unwrap();
        assert!(compressed.len() < text.len() / 20);
        assert_eq!(unpack(&compressed, text.len()).unwrap(), text);
        assert!(packer.pack([b"sh", b"ort"]).is_none());
        for wrong in [text.len() - 1, text.len() + 1, 0] {
            assert!(unpack(&compressed, wrong).is_err(), "{wrong}");
        }
        assert!(unpack(&compressed[1..], text.len()).is_err());
    }

    /// Checks that hardly any attempt is made with what does not compress, and that it is resumed.
    #[test]
    fn compression_is_given_up_for_a_while() {
        let packer = Packer::default();
        packer.set(true);
        let (noise, text) = (noise(10_000), vec![b'x'; 10_000]);
        for _ in 0..1000 {
            assert!(packer.pack([b"", &noise]).is_none());
        }
        let pause = (0..1000).take_while(|_| packer.pack([b"", &text]).is_none()).count();
        assert!(pause <= REMOTE_PACK_PASSED_OVER_MAX as usize, "{pause}");
        assert!((0..100).all(|_| packer.pack([b"", &text]).is_some()));
    }
}
