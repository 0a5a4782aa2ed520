//! Progress and summary in the words of mpiFileUtils, for programs that read the output of its
//! tools.

use std::fmt::Write;

use clap::ValueEnum;
use jiff::Zoned;
use serde::{Deserialize, Serialize};

use super::progress::Progress;
use super::progress::pace::Share;
use super::summary::{Operation, Summary};
use types::exit::Exit;
use types::outcome::tally::Tally;

/// Words in which a tool tells of its progress and its results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
pub enum OutputStyle {
    /// The words of this suite.
    #[default]
    Suite,
    /// The words of mpiFileUtils, for programs that read them.
    Mfu,
}

/// Output of a job in the words of mpiFileUtils.
pub struct Mfu {
    verb: &'static str,
    started: Zoned,
}

impl Mfu {
    /// Creates the output of a job that starts now.
    pub fn new(verb: &'static str) -> Self {
        Self { verb, started: Zoned::now() }
    }

    /// Returns a line of progress.
    pub fn line(&self, progress: &Progress, totals: &Tally) -> String {
        let seconds = progress.elapsed().as_secs_f64();
        let is_copy = matches!(self.verb, "copy" | "sync");
        let text = match self.verb {
            _ if is_copy && totals.needed_bytes > 0 => {
                let share = Share::of(totals);
                let left = progress.left(totals).map_or(-1.0, |left| left.as_secs_f64());
                let end = format!("{left:.0} secs left ...");
                copied(share, share.percent(), (totals.copied_bytes, seconds), &end)
            }
            "remove" => {
                removed(totals, progress.percent(totals).unwrap_or(0) as f64, seconds, "...")
            }
            _ => walked(totals, seconds, "..."),
        };
        stamped(&text)
    }

    /// Returns the summary.
    pub fn summary(&self, summary: &Summary) -> String {
        let (totals, seconds) = (summary.totals(), summary.elapsed.as_secs_f64());
        let text = match summary.operation {
            Operation::Copy => self.of_copy(&totals, seconds, summary.exit),
            Operation::Sync => {
                let text = ended_copy(&totals, seconds, summary.exit);
                text + &self.of_two_trees(&totals, seconds, totals.copied_bytes)
            }
            Operation::Compare(method) => {
                let mut text = self.of_two_trees(&totals, seconds, totals.compared.bytes() * 2);
                super::summary::compare::write_text(&mut text, &totals.compared, method);
                text
            }
            Operation::Remove => {
                let percent = if summary.exit == Exit::Ok { 100.0 } else { 99.0 };
                removed(&totals, percent, seconds, "done")
            }
            Operation::Walk => of_walk(&totals, seconds),
            Operation::Clean => return summary.to_text(false),
        };
        stamped(text.trim_end())
    }

    fn of_copy(&self, totals: &Tally, seconds: f64, exit: Exit) -> String {
        let share = Share::of(totals);
        let mut text = ended_copy(totals, seconds, exit);
        let data = format!("{} ({} bytes)", scaled(share.done_bytes as f64), share.done_bytes);
        let rate = rate_of(totals.copied_bytes, seconds);
        let copied = &totals.copied;
        let files = copied.files + totals.hard_linked;
        let now = Zoned::now();
        let _ = writeln!(text, "Copy data: {data}\nCopy rate: {rate}");
        let _ = writeln!(text, "Started: {}", self.started.strftime("%b-%d-%Y,%H:%M:%S"));
        let _ = writeln!(text, "Completed: {}", now.strftime("%b-%d-%Y,%H:%M:%S"));
        let _ = writeln!(text, "Seconds: {seconds:.3}");
        let _ = writeln!(text, "Items: {}", copied.directories + files + copied.symlinks);
        let _ = writeln!(text, "  Directories: {}", copied.directories);
        let _ = writeln!(text, "  Files: {files}\n  Links: {}", copied.symlinks);
        let _ = writeln!(text, "Data: {data}\nRate: {rate}");
        text
    }

    /// Writes what dsync and dcmp tell at their ends.
    fn of_two_trees(&self, totals: &Tally, seconds: f64, bytes: u64) -> String {
        let items = totals.found.total();
        let per_second = items as f64 / seconds.max(1e-6);
        let (read, now) = (totals.compared.bytes() * 2, Zoned::now());
        let mut text = String::new();
        let _ = writeln!(text, "Started   : {}", self.started.strftime("%b-%d-%Y, %H:%M:%S"));
        let _ = writeln!(text, "Completed : {}", now.strftime("%b-%d-%Y, %H:%M:%S"));
        let _ = writeln!(text, "Seconds   : {seconds:.3}\nItems     : {items}");
        let _ = writeln!(
            text,
            "Item Rate : {items} items in {seconds:.6} seconds ({per_second:.6} items/sec)"
        );
        if self.verb == "sync" {
            let rate = rate_of(bytes, seconds);
            let _ = writeln!(text, "Bytes read   : {} ({read} bytes)", scaled(read as f64));
            let _ = writeln!(text, "Bytes written: {} ({bytes} bytes)", scaled(bytes as f64));
            let _ = writeln!(text, "Read Rate    : {}", rate_of(read, seconds));
            let _ = writeln!(text, "Write Rate   : {rate}\nCompleted sync");
        } else {
            let _ = writeln!(text, "Bytes read: {} ({read} bytes)", scaled(read as f64));
            let _ = writeln!(text, "Byte Rate : {}", rate_of(read, seconds));
        }
        text
    }
}

fn ended_copy(totals: &Tally, seconds: f64, exit: Exit) -> String {
    let share = Share::of(totals);
    let percent = if exit == Exit::Ok { 100 } else { share.percent() };
    copied(share, percent, (totals.copied_bytes, seconds), "done") + "\n"
}

fn copied(share: Share, percent: u64, (bytes, seconds): (u64, f64), end: &str) -> String {
    let (data, rate) = (scaled(share.done_bytes as f64), scaled(bytes as f64 / seconds.max(1e-6)));
    format!("Copied {data} ({percent}%) in {seconds:.3} secs ({rate}/s) {end}")
}

fn walked(totals: &Tally, seconds: f64, end: &str) -> String {
    let items = totals.found.total();
    let rate = items as f64 / seconds.max(1e-6);
    format!("Walked {items} items in {seconds:.3} secs ({rate:.3} items/sec) {end}")
}

fn removed(totals: &Tally, percent: f64, seconds: f64, end: &str) -> String {
    let items = totals.synced.deleted.total();
    let rate = items as f64 / seconds.max(1e-6);
    format!(
        "Removed {items} items ({percent:.2}%) in {seconds:.3} secs ({rate:.3} items/sec) {end}"
    )
}

fn of_walk(totals: &Tally, seconds: f64) -> String {
    let (found, bytes) = (&totals.found, totals.found_bytes as f64);
    let items = found.total();
    let rate = items as f64 / seconds.max(1e-6);
    let each = scaled(bytes / found.files.max(1) as f64);
    format!(
        "Walked {items} items in {seconds:.3} seconds ({rate:.3} items/sec)\nItems: {items}\n  \
         Directories: {}\n  Files: {}\n  Links: {}\nData: {} ({each} per file)\n",
        found.directories,
        found.files,
        found.symlinks,
        scaled(bytes),
    )
}

fn rate_of(bytes: u64, seconds: f64) -> String {
    let rate = scaled(bytes as f64 / seconds.max(1e-6));
    format!("{rate}/s ({bytes} bytes in {seconds:.3} seconds)")
}

/// Scales bytes to the largest unit of 1,024 that is smaller.
fn scaled(bytes: f64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let (mut value, mut unit) = (bytes, 0);
    while value > 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.3} {}", UNITS[unit])
}

/// Begins each line with the local time.
fn stamped(text: &str) -> String {
    let now = Zoned::now().strftime("%Y-%m-%dT%H:%M:%S").to_string();
    text.lines().fold(String::new(), |mut all, line| {
        let _ = writeln!(all, "[{now}] {line}");
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits_and_units_of_1024() {
        assert_eq!(scaled(20e9), "18.626 GiB");
        assert_eq!([scaled(0.0), scaled(1024.0)], ["0.000 B", "1024.000 B"]);
        assert_eq!(rate_of(1 << 20, 0.5), "2.000 MiB/s (1048576 bytes in 0.500 seconds)");
    }

    #[test]
    fn a_copy_is_at_a_hundred_only_when_it_has_ended_well() {
        let all = Tally { needed_bytes: 2048, copied_bytes: 2048, ..Tally::default() };
        let begins = |exit, line: &str| assert!(ended_copy(&all, 1.0, exit).starts_with(line));
        begins(Exit::Ok, "Copied 2.000 KiB (100%) in 1.000 secs (2.000 KiB/s) done");
        begins(Exit::Partial, "Copied 2.000 KiB (99%) in");
    }
}
