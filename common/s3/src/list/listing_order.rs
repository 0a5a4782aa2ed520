//! The order in which a service lists keys, as far as its answers have shown it.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering as Atomic};

/// Observations of how a service orders its listings, shared by all threads of a rank.
#[derive(Debug, Default)]
pub(crate) struct ListingOrder {
    trust: AtomicU8,
    /// True if the last tree that was read completely took one page, so that the next one may too.
    expects_little: AtomicBool,
}

/// The degree of trust that a service lists the keys of one directory together. It only grows in
/// the order of the variants, so that one violation is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    Untried,
    Earned,
    Lost,
}

impl ListingOrder {
    /// Records whether the next tree may take one page.
    pub(super) fn expect_little(&self, is_little: bool) {
        self.expects_little.store(is_little, Atomic::Relaxed);
    }

    /// Returns whether the next tree may take one page.
    pub(super) fn expects_little(&self) -> bool {
        self.expects_little.load(Atomic::Relaxed)
    }

    /// Returns the present degree of trust.
    pub(super) fn trust(&self) -> Trust {
        [Trust::Untried, Trust::Earned, Trust::Lost][usize::from(self.trust.load(Atomic::Relaxed))]
    }

    /// Records a degree of trust, unless a later one was reached.
    pub(super) fn set_trust(&self, trust: Trust) {
        self.trust.fetch_max(trust as u8, Atomic::Relaxed);
        if trust == Trust::Lost {
            tracing::info!("the S3 service lists keys in no order; each directory is listed alone");
        }
    }
}
