//! Capabilities of a service, learned from its answers, once for each rank and service.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::config::settings::Settings;
use types::entry::Proof;

/// The checksum that protects content on its way to a service, in order of preference: an attempt
/// that fails moves to the next variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// CRC-64/NVME, of the parts and of the whole object.
    Crc64,
    /// CRC32C, of each part.
    Crc32c,
    /// Content-MD5, of each request.
    Md5,
    /// Content without a checksum, as the operator has configured.
    None,
}

impl Check {
    /// Returns a short name of the check, as tickets of uploads hold it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Crc64 => "crc64",
            Self::Crc32c => "crc32c",
            Self::Md5 => "md5",
            Self::None => "none",
        }
    }

    /// Returns the degree of verification that the check provides.
    pub fn proof(self) -> Proof {
        match self {
            Self::Crc64 => Proof::Crc64,
            Self::Crc32c => Proof::Crc32c,
            Self::Md5 => Proof::Md5,
            Self::None => Proof::None,
        }
    }

    fn rung(self) -> u8 {
        LADDER.iter().position(|known| *known == self).unwrap_or(0) as u8
    }

    /// Returns the check of that name.
    pub fn of_word(word: &str) -> Option<Self> {
        LADDER.into_iter().find(|check| check.word() == word)
    }
}

/// The value of a rung that is not set.
const NOTHING: u8 = u8::MAX;

/// All checks, from the one tried first to the one tried last.
const LADDER: [Check; 4] = [Check::Crc64, Check::Crc32c, Check::Md5, Check::None];

/// The capabilities of a service, as far as they are known.
#[derive(Debug)]
pub struct ServiceCapabilities {
    /// The index in [`LADDER`] of the check to use: untested, or known to work.
    rung: AtomicU8,
    /// The index of the check that the service is known to verify, or [`NOTHING`].
    seen: AtomicU8,
    /// The lock that the thread holds which sends the first content.
    first: Mutex<()>,
    /// True if the service does not list incomplete uploads, at least not for this account.
    hides_uploads: AtomicBool,
    /// True if the service refuses to delete many objects with one request.
    deletes_singly: AtomicBool,
    /// True if the service refuses a condition for deleting an object.
    deletes_unconditionally: AtomicBool,
    /// True if the service keeps backslashes in keys.
    pub backslashes: OnceLock<bool>,
    /// True if the service keeps the metadata of directory markers.
    pub marker_metadata: OnceLock<bool>,
}

impl ServiceCapabilities {
    /// Returns capabilities of which nothing is known yet.
    pub fn of(settings: &Settings) -> Self {
        let rung = if settings.disable_checksum { LADDER.len() - 1 } else { 0 };
        Self {
            rung: AtomicU8::new(rung as u8),
            seen: AtomicU8::new(NOTHING),
            first: Mutex::default(),
            hides_uploads: AtomicBool::new(false),
            deletes_singly: AtomicBool::new(false),
            deletes_unconditionally: AtomicBool::new(false),
            backslashes: OnceLock::new(),
            marker_metadata: OnceLock::new(),
        }
    }

    /// Waits until it is known how the service handles a check. The first thread to send content
    /// with it gets the guard and proceeds; the others wait until it drops the guard. Otherwise
    /// each thread would send a part in vain to a service that ignores the check.
    pub fn first_alone(&self, check: Check) -> Option<MutexGuard<'_, ()>> {
        let is_known = || check >= Check::Md5 || check < self.check() || self.holds(check);
        if is_known() {
            return None;
        }
        let guard = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        if is_known() { None } else { Some(guard) }
    }

    /// Records that the service verifies this check, or otherwise proves that it has the content.
    pub fn has(&self, check: Check) {
        self.seen.store(check.rung(), Ordering::Relaxed);
    }

    fn holds(&self, check: Check) -> bool {
        self.seen.load(Ordering::Relaxed) == check.rung()
    }

    /// Returns whether the service may list incomplete uploads.
    pub fn tells_uploads(&self) -> bool {
        !self.hides_uploads.load(Ordering::Relaxed)
    }

    /// Records that the service does not list incomplete uploads, at least not for this account.
    pub fn hides_uploads(&self) {
        if !self.hides_uploads.swap(true, Ordering::Relaxed) {
            tracing::info!("the S3 service does not list uploads; none is resumed");
        }
    }

    /// Returns whether the service may delete many objects with one request.
    pub fn deletes_many(&self) -> bool {
        !self.deletes_singly.load(Ordering::Relaxed)
    }

    /// Records that the service refuses to delete many objects with one request.
    pub fn deletes_singly(&self) {
        if !self.deletes_singly.swap(true, Ordering::Relaxed) {
            tracing::info!(
                "the S3 service refuses DeleteObjects; each object has a request of its own"
            );
        }
    }

    /// Returns whether the service may compare an ETag before it deletes an object.
    pub fn deletes_conditionally(&self) -> bool {
        !self.deletes_unconditionally.load(Ordering::Relaxed)
    }

    /// Records that the service refuses a condition for deleting an object.
    pub fn deletes_unconditionally(&self) {
        self.deletes_unconditionally.store(true, Ordering::Relaxed);
    }

    /// Returns the best check that is not known to fail.
    pub fn check(&self) -> Check {
        LADDER[usize::from(self.rung.load(Ordering::Relaxed))]
    }

    /// Records that the service refuses or ignores a check, so that the next one is used from now
    /// on. Returns false if there is none, because all services implement the last one.
    pub fn lacks(&self, check: Check) -> bool {
        let next = usize::from(check.rung()) + 1;
        if next >= LADDER.len() - 1 {
            return false;
        }
        // Threads may report failures in any order; the rung never goes back up.
        if self.rung.fetch_max(next as u8, Ordering::Relaxed) < next as u8 {
            let used = LADDER[next];
            tracing::warn!("the S3 service does not know {check:?}; using {used:?} instead");
        }
        true
    }
}
