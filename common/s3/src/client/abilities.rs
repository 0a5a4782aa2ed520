//! What a service can do, found out by trying: once for each rank and service.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::config::settings::Settings;
use types::entry::Proof;

/// The check of content on its way to a service, the better first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// CRC-64/NVME, of parts and of the whole.
    Crc64,
    /// CRC32C, of each part.
    Crc32c,
    /// Content-MD5, of each request.
    Md5,
    /// The operator wants none.
    None,
}

impl Check {
    /// A short word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Crc64 => "crc64",
            Self::Crc32c => "crc32c",
            Self::Md5 => "md5",
            Self::None => "none",
        }
    }

    /// What is shown by it.
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

    /// The check of that word.
    pub fn of_word(word: &str) -> Option<Self> {
        LADDER.into_iter().find(|check| check.word() == word)
    }
}

/// No rung.
const NOTHING: u8 = u8::MAX;

const LADDER: [Check; 4] = [Check::Crc64, Check::Crc32c, Check::Md5, Check::None];

/// What a service is known to be able to do.
#[derive(Debug)]
pub struct Abilities {
    /// The rung of the ladder that is tried next, or is known to hold.
    rung: AtomicU8,
    /// The rung that the service is known to look at.
    seen: AtomicU8,
    /// Held by whoever sends the first content.
    first: Mutex<()>,
    /// It does not tell which uploads were begun.
    hides_uploads: AtomicBool,
}

impl Abilities {
    /// Nothing is known yet.
    pub fn of(settings: &Settings) -> Self {
        let rung = if settings.disable_checksum { LADDER.len() - 1 } else { 0 };
        Self {
            rung: AtomicU8::new(rung as u8),
            seen: AtomicU8::new(NOTHING),
            first: Mutex::default(),
            hides_uploads: AtomicBool::new(false),
        }
    }

    /// Waits until it is known what the service does with a check; whoever is the first to send content by it
    /// goes ahead, and the others wait while it holds the guard. Else each thread would send a part for nothing.
    pub fn first_alone(&self, check: Check) -> Option<MutexGuard<'_, ()>> {
        let is_known = || check >= Check::Md5 || check < self.check() || self.holds(check);
        if is_known() {
            return None;
        }
        let guard = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        if is_known() { None } else { Some(guard) }
    }

    /// The service looks at that check, or shows in another way what it has.
    pub fn has(&self, check: Check) {
        self.seen.store(check.rung(), Ordering::Relaxed);
    }

    fn holds(&self, check: Check) -> bool {
        self.seen.load(Ordering::Relaxed) == check.rung()
    }

    /// Whether it may tell which uploads were begun.
    pub fn tells_uploads(&self) -> bool {
        !self.hides_uploads.load(Ordering::Relaxed)
    }

    /// It does not tell which uploads were begun, or not to this account.
    pub fn hides_uploads(&self) {
        if !self.hides_uploads.swap(true, Ordering::Relaxed) {
            tracing::info!("the S3 service does not list uploads; none is resumed");
        }
    }

    /// The best check that is not known to fail.
    pub fn check(&self) -> Check {
        LADDER[usize::from(self.rung.load(Ordering::Relaxed))]
    }

    /// That check was refused, or ignored: the next one is used from now on. False where there is none.
    pub fn lacks(&self, check: Check) -> bool {
        let next = usize::from(check.rung()) + 1;
        if next >= LADDER.len() - 1 {
            return false;
        }
        if self.rung.fetch_max(next as u8, Ordering::Relaxed) < next as u8 {
            let used = LADDER[next];
            tracing::warn!("the S3 service does not know {check:?}; using {used:?} instead");
        }
        true
    }
}
