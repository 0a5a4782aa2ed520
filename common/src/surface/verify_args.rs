//! Command-line options about being sure of what was written.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::local_path::local_path;
use ops::copy::options::Verify;
use types::attributes::keep::Keep;
use types::content::transfer::{Sums, Transfer};

/// Options of the tools that copy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Args, Serialize, Deserialize)]
#[command(next_help_heading = "Verification")]
pub struct VerifyArgs {
    /// Read back what was written, or compare everything at the end
    ///
    /// transferred: each part is read from storage by another rank than its writer, and checked
    /// against the CRC-64/NVME of what was read from SOURCE; a file that does not match is removed,
    /// and counts as failed. all: compares as dcmp does, in the attributes that were to be
    /// preserved; the exit code is that of dcmp unless something else failed.
    #[arg(long, value_name = "WHAT", value_enum)]
    verify: Option<What>,

    /// Write path, size, modification time and CRC-64/NVME of every file in TARGET to FILE, a
    /// Parquet list: dcmp --manifest checks TARGET against it later, without SOURCE
    ///
    /// Modification times are preserved then. Files that were in TARGET before, in the directories
    /// that are walked, are read for it, whether SOURCE has them or not; files that a filter
    /// excludes have no row.
    #[arg(long, value_name = "FILE", value_parser = local_path())]
    manifest: Option<OsString>,
}

/// Values of `--verify`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
enum What {
    Transferred,
    All,
}

impl VerifyArgs {
    /// Verification that these arguments request.
    pub fn verify(&self) -> Verify {
        match self.verify {
            None => Verify::Nothing,
            Some(What::Transferred) => Verify::Transferred,
            Some(What::All) => Verify::All,
        }
    }

    /// File of the manifest.
    pub fn manifest(&self) -> Option<Vec<u8>> {
        self.manifest.clone().map(OsStringExt::into_vec)
    }

    /// Adds the attributes that a manifest needs.
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
