//! How far the job is: a line now and then that reads well in a batch log, or a bar on a terminal.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use types::outcome::tally::Tally;
use types::size::{human_bytes, human_count};

/// The first line comes soon, so that one sees that something happens.
const FIRST_AFTER: Duration = Duration::from_secs(2);

/// When and how progress is shown.
#[derive(Debug)]
pub struct Progress {
    tool: &'static str,
    verb: &'static str,
    began: Instant,
    interval: Duration,
    next_at: Duration,
}

impl Progress {
    /// Shows progress every `interval`; never for zero.
    pub fn new(tool: &'static str, verb: &'static str, interval: Duration) -> Self {
        Self { tool, verb, began: Instant::now(), interval, next_at: FIRST_AFTER.min(interval) }
    }

    /// Time since the job began.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Tells whether a line is due now; it counts as shown.
    pub fn is_due(&mut self) -> bool {
        let now = self.began.elapsed();
        let due = !self.interval.is_zero() && now >= self.next_at;
        if due {
            self.next_at = now.saturating_add(self.interval);
        }
        due
    }

    /// The line: fixed keys, no control characters.
    pub fn line(&self, tally: &Tally, errors: u64) -> String {
        format!("{} {}", self.tool, self.body(tally, errors))
    }

    /// The line without the tool's name, for a bar.
    pub fn body(&self, tally: &Tally, errors: u64) -> String {
        let elapsed = self.began.elapsed();
        let rate = tally.copied_bytes as f64 / elapsed.as_secs_f64().max(0.001);
        let found = human_count(tally.found.total());
        let clock = clock(elapsed);
        if self.verb == "copy" {
            format!(
                "{clock} copy  items {}/{found}  data {}/{}  {}/s  errors {errors}",
                human_count(tally.copied.total()),
                human_bytes(tally.copied_bytes),
                human_bytes(tally.found_bytes),
                human_bytes(rate as u64),
            )
        } else if self.verb == "remove" {
            let deleted = human_count(tally.synced.deleted.total());
            format!("{clock} delete  items {deleted}/{found}  errors {errors}")
        } else {
            let per_second = tally.found.total() as f64 / elapsed.as_secs_f64().max(0.001);
            format!(
                "{clock} {}  items {found}  data {}  {} items/s  errors {errors}",
                self.verb,
                human_bytes(tally.found_bytes),
                human_count(per_second as u64),
            )
        }
    }
}

/// `hh:mm:ss`.
pub fn clock(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// A bar for a terminal: its length is what was found so far, which still grows.
pub fn bar(tool: &str) -> ProgressBar {
    let bar = ProgressBar::new(0).with_prefix(tool.to_owned());
    let style = ProgressStyle::with_template("{prefix} {bar:24} {msg}")
        .expect("the template is fixed and right")
        .progress_chars("█▉▊▋▌▍▎▏ ");
    bar.set_style(style);
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_minutes_seconds() {
        assert_eq!(clock(Duration::from_secs(0)), "00:00:00");
        assert_eq!(clock(Duration::from_secs(360_000 + 61)), "100:01:01");
    }

    #[test]
    fn a_line_has_fixed_keys() {
        let progress = Progress::new("dcp", "copy", Duration::from_secs(10));
        let tally = Tally { found_bytes: 2 << 30, copied_bytes: 1 << 30, ..Tally::default() };
        let line = progress.line(&tally, 3);
        for key in ["dcp 00:00:00 copy", "items 0/0", "data 1.0 GiB/2.0 GiB", "errors 3"] {
            assert!(line.contains(key), "{line}");
        }
    }
}
