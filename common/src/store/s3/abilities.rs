//! What a service can do, found out by trying: once for each rank and service.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use super::settings::Settings;
use crate::model::entry::Proof;

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

    /// The check of that word.
    pub fn of_word(word: &str) -> Option<Self> {
        LADDER.into_iter().find(|check| check.word() == word)
    }
}

const LADDER: [Check; 4] = [Check::Crc64, Check::Crc32c, Check::Md5, Check::None];

/// What a service is known to be able to do.
#[derive(Debug)]
pub struct Abilities {
    /// The rung of the ladder that is tried next, or is known to hold.
    rung: AtomicU8,
    /// It does not tell which uploads were begun.
    hides_uploads: AtomicBool,
}

impl Abilities {
    /// Nothing is known yet.
    pub fn of(settings: &Settings) -> Self {
        let rung = if settings.disable_checksum { LADDER.len() - 1 } else { 0 };
        Self { rung: AtomicU8::new(rung as u8), hides_uploads: AtomicBool::new(false) }
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
        let next = LADDER.iter().position(|known| *known == check).unwrap_or(0) + 1;
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
