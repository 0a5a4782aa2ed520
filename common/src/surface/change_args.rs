//! Command-line options that choose the files to copy by what TARGET has: for all tools that copy,
//! as rsync(1) and rclone name them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};

use ops::compare::options::Evidence;
use ops::copy::options::{ChangeTest, OldCopy, SyncOptions, Unchanged};

/// Options that choose files by what the target has.
#[derive(Debug, Clone, PartialEq, Eq, Default, Args, Serialize, Deserialize)]
#[command(next_help_heading = "Changes")]
pub struct ChangeArgs {
    /// Compare files by content, not by size and modification time
    ///
    /// Byte by byte; objects in S3 by the checksum that the service stores.
    #[arg(short, long, visible_alias = "checksum", conflicts_with = "size_only")]
    contents: bool,

    /// Download objects and compare them byte by byte, too (with -c)
    #[arg(long, requires = "contents")]
    download: bool,

    /// Compare files by size only
    #[arg(long)]
    size_only: bool,

    /// Skip files that are newer in TARGET
    #[arg(short, long)]
    update: bool,

    /// Use the upload time of an object as its modification time, instead of reading its metadata:
    /// of use only with --update, where it saves a request per object
    #[arg(long, requires = "update")]
    use_server_modtime: bool,

    /// Skip entries that exist in TARGET; copy only missing ones
    #[arg(long)]
    ignore_existing: bool,

    /// Skip entries that do not exist in TARGET: with --ignore-existing nothing is copied, and
    /// dsync -D only deletes
    #[arg(long, alias = "ignore-non-existing")]
    existing: bool,

    /// Take modification times for equal that are up to TIME apart: seconds, or 100ms, 2s
    #[arg(long, value_name = "TIME", value_parser = parse_window, allow_negative_numbers = true)]
    modify_window: Option<Duration>,

    /// Skip files that are missing in TARGET and unchanged in DIR, an older copy
    ///
    /// As with rsync, a relative DIR is relative to TARGET. If it does not exist there, but in the
    /// current directory, that one is used, with a warning.
    #[arg(long, value_name = "DIR")]
    compare_dest: Option<OsString>,
}

impl ChangeArgs {
    /// Criteria of a tool that copies only what has changed.
    pub fn criteria(&self) -> SyncOptions {
        let change_test = match (self.contents, self.size_only) {
            (true, _) => ChangeTest::Content,
            (false, true) => ChangeTest::SizeOnly,
            (false, false) => ChangeTest::SizeAndTime,
        };
        let left_out =
            |dir| OldCopy { path: OsString::into_vec(dir), unchanged: Unchanged::LeftOut };
        SyncOptions {
            change_test,
            evidence: if self.download { Evidence::Bytes } else { Evidence::Checksums },
            update: self.update,
            use_server_modtime: self.use_server_modtime,
            ignore_existing: self.ignore_existing,
            existing: self.existing,
            delete: false,
            modify_window: self.modify_window.unwrap_or_default(),
            old_copy: self.compare_dest.clone().map(left_out),
            mirrors: false,
        }
    }

    /// Criteria of a tool that copies everything, unless one of these options is given.
    pub fn criteria_if_any(&self) -> Option<SyncOptions> {
        (*self != Self::default()).then(|| self.criteria())
    }
}

/// Units of rclone's durations, in nanoseconds.
const UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("", 1_000_000_000),
];

/// Reads seconds, as of rsync, whose -1 requests a comparison to the nanosecond; or a number with a
/// unit, as of rclone.
fn parse_window(text: &str) -> Result<Duration, String> {
    if text == "-1" {
        return Ok(Duration::ZERO);
    }
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (count, unit) = text.split_at(digits);
    let length = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, length)| *length);
    let count = count.parse::<u64>().ok();
    let nanoseconds = count.zip(length).and_then(|(count, length)| count.checked_mul(length));
    nanoseconds
        .map(Duration::from_nanos)
        .ok_or_else(|| format!("invalid time \"{text}\"; expected one such as 1, 2s or 100ms"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_seconds_or_has_a_unit() {
        for (text, expected) in [
            ("0", Duration::ZERO),
            ("-1", Duration::ZERO),
            ("2", Duration::from_secs(2)),
            ("1ns", Duration::from_nanos(1)),
            ("100ms", Duration::from_millis(100)),
            ("1h", Duration::from_hours(1)),
        ] {
            assert_eq!(parse_window(text), Ok(expected), "{text}");
        }
        for wrong in ["", "-2", "s", "1d", "1.5s", "99999999999h"] {
            assert!(parse_window(wrong).unwrap_err().contains("100ms"), "{wrong}");
        }
    }

    #[test]
    fn without_an_option_there_are_no_rules() {
        assert_eq!(ChangeArgs::default().criteria_if_any(), None);
        let update = ChangeArgs { update: true, ..ChangeArgs::default() };
        assert!(
            update.criteria_if_any().is_some_and(|criteria| criteria.update && !criteria.mirrors)
        );
    }
}
