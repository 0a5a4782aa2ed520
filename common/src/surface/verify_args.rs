//! Command-line options about being sure of what was written.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use ops::copy::options::Verify;
use types::attributes::keep::Keep;
use types::content::transfer::{Sums, Transfer};

/// Options of the tools that copy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Args, Serialize, Deserialize)]
#[command(next_help_heading = "Verification")]
pub struct VerifyArgs {
    /// Read again what was written, or compare everything at the end
    ///
    /// transferred: by another rank than the one that wrote it, from the storage, against the CRC-64/NVME of what
    /// was read from SOURCE; what is not as it was written is removed, and counts as failed. all: as dcmp does, in
    /// what was to be kept; the exit code is dcmp's where nothing else was wrong.
    #[arg(long, value_name = "WHAT", value_enum)]
    verify: Option<What>,

    /// Write path, size, time of change and CRC-64/NVME of each file that is in TARGET now into FILE, a Parquet list:
    /// dcmp --manifest checks TARGET against it later, without SOURCE
    ///
    /// Times of change are kept then. What was in TARGET before, in the directories that are walked, is read for it,
    /// whether SOURCE has it or not; what a filter leaves out has no row.
    #[arg(long, value_name = "FILE")]
    manifest: Option<OsString>,
}

/// What is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
enum What {
    Transferred,
    All,
}

impl VerifyArgs {
    /// What these arguments say.
    pub fn verify(&self) -> Verify {
        match self.verify {
            None => Verify::Nothing,
            Some(What::Transferred) => Verify::Transferred,
            Some(What::All) => Verify::All,
        }
    }

    /// Where the manifest goes.
    pub fn manifest(&self) -> Option<Vec<u8>> {
        self.manifest.clone().map(OsStringExt::into_vec)
    }

    /// What is kept so that a manifest holds.
    #[must_use]
    pub fn keep(&self, keep: Keep) -> Keep {
        Keep { times: keep.times || self.manifest.is_some(), ..keep }
    }

    /// How content is moved so that this can be done.
    #[must_use]
    pub fn transfer(&self, transfer: Transfer) -> Transfer {
        let needs_sums = self.verify() == Verify::Transferred || self.manifest.is_some();
        let sums = if needs_sums { Sums::All } else { transfer.sums };
        Transfer { sums, ..transfer }
    }
}
