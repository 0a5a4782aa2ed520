//! Large transfers of this rank that are in progress with a service. They need bandwidth, and each
//! takes megabytes of memory: more threads than a few of them need would make nothing faster.

use std::sync::atomic::{AtomicU32, Ordering};

use types::limits::LARGE_TRANSFER_BYTES_MIN;

static UNDER_WAY: AtomicU32 = AtomicU32::new(0);

/// A large transfer, from before it begins until it has ended.
#[derive(Debug)]
pub struct LargeTransfer(());

impl LargeTransfer {
    /// Counts a transfer of that size, if it is large.
    pub fn begin(size_bytes: u64) -> Option<Self> {
        (size_bytes >= LARGE_TRANSFER_BYTES_MIN).then(|| {
            UNDER_WAY.fetch_add(1, Ordering::Relaxed);
            Self(())
        })
    }

    /// Returns the number of large transfers in progress.
    pub fn count() -> u32 {
        UNDER_WAY.load(Ordering::Relaxed)
    }
}

impl Drop for LargeTransfer {
    fn drop(&mut self) {
        UNDER_WAY.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_large_transfers_count_and_only_while_they_last() {
        let before = LargeTransfer::count();
        let small = LargeTransfer::begin(LARGE_TRANSFER_BYTES_MIN - 1);
        assert!(small.is_none());
        let large = LargeTransfer::begin(LARGE_TRANSFER_BYTES_MIN);
        assert_eq!(LargeTransfer::count(), before + 1);
        drop(large);
        assert_eq!(LargeTransfer::count(), before);
    }
}
