//! Buffers of parts on their way to a service, bounded in bytes for each rank, whatever the number
//! of threads.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use host::transfers::LargeTransfer;

/// A pool of buffers that are reused.
pub struct Blocks {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    freed: Condvar,
    bytes_max: u64,
}

/// The buffers in use and the free ones.
#[derive(Default)]
struct State {
    bytes_out: u64,
    /// The free buffers, which wait for their next use.
    spare: Vec<Vec<u8>>,
}

/// A buffer in use. Its bytes count against the limit until it is dropped.
pub struct Block {
    bytes: Vec<u8>,
    charged_bytes: u64,
    shared: Arc<Shared>,
    /// The record of a large transfer, from the request for the buffer on.
    _transfer: Option<LargeTransfer>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Blocks {
    /// Creates a pool that hands out at most `bytes_max` bytes at a time. A single buffer may be
    /// larger.
    pub fn new(bytes_max: u64) -> Self {
        let shared = Shared { state: Mutex::default(), freed: Condvar::new(), bytes_max };
        Self { shared: Arc::new(shared) }
    }

    /// Returns an empty buffer of that capacity in bytes. Blocks until the pool has room for it.
    pub fn take(&self, capacity_bytes: u64) -> Block {
        let transfer = LargeTransfer::begin(capacity_bytes);
        let mut state = self.shared.lock();
        // A buffer larger than the limit is granted when no other is in use; otherwise it would
        // wait for ever.
        while state.bytes_out > 0 && state.bytes_out + capacity_bytes > self.shared.bytes_max {
            state = self.shared.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.bytes_out += capacity_bytes;
        let fits = |block: &Vec<u8>| block.capacity() as u64 == capacity_bytes;
        let bytes = match state.spare.iter().position(fits) {
            Some(place) => state.spare.swap_remove(place),
            None => Vec::new(),
        };
        drop(state);
        let mut block = Block {
            bytes,
            charged_bytes: capacity_bytes,
            shared: Arc::clone(&self.shared),
            _transfer: transfer,
        };
        block.bytes.reserve_exact(capacity_bytes as usize);
        block
    }
}

impl Block {
    /// Returns the content of the buffer.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the buffer for filling.
    pub fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Converts the buffer to bytes for sending, without a copy.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        let mut state = self.shared.lock();
        state.bytes_out -= self.charged_bytes;
        // Only buffers of the requested capacity are reused, and only while they fit into the limit
        // together with those in use.
        let spare_bytes: u64 = state.spare.iter().map(|spare| spare.capacity() as u64).sum();
        if bytes.capacity() as u64 == self.charged_bytes
            && spare_bytes + state.bytes_out + self.charged_bytes <= self.shared.bytes_max
        {
            state.spare.push(bytes);
        }
        drop(state);
        self.shared.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_wait_for_room_and_are_used_again() {
        let blocks = Arc::new(Blocks::new(3 << 20));
        let mut first = blocks.take(2 << 20);
        first.bytes_mut().extend_from_slice(b"abc");
        let place = first.bytes().as_ptr();
        let waiter = {
            let blocks = Arc::clone(&blocks);
            std::thread::spawn(move || blocks.take(2 << 20).bytes().len())
        };
        let sent = first.freeze();
        assert_eq!((&sent[..], sent.as_ptr()), (&b"abc"[..], place));
        drop(sent);
        assert_eq!(waiter.join().unwrap(), 0, "it comes empty");
        assert_eq!(blocks.shared.lock().bytes_out, 0);
        assert_eq!(blocks.shared.lock().spare.len(), 1);
        // A buffer larger than the limit is granted alone.
        assert_eq!(blocks.take(9 << 20).charged_bytes, 9 << 20);
    }
}
