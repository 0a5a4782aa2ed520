//! How far the job is: a line now and then that reads well in a batch log, or a bar on a terminal.

pub mod pace;
pub mod walking;

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use comm::Rank;
use host::throttle;
use pace::{Pace, Share};
use sched::job::Finding;
use types::outcome::tally::Tally;
use types::size::{human_bytes, human_count};
use walking::Walking;

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
    pace: Pace,
    walking: Walking,
}

impl Progress {
    /// Shows progress of so many ranks every `interval`; never for zero.
    pub fn new(tool: &'static str, verb: &'static str, interval: Duration, ranks: u32) -> Self {
        Self {
            tool,
            verb,
            began: Instant::now(),
            interval,
            next_at: FIRST_AFTER.min(interval),
            pace: Pace::new(interval),
            walking: Walking::new(ranks),
        }
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

    /// Takes the counts of all ranks now.
    pub fn note(&mut self, tally: &Tally) {
        self.pace.note(self.began.elapsed(), tally);
    }

    /// Takes a rank's report of the walk.
    pub fn found(&mut self, from: Rank, finding: Finding) {
        self.walking.take(from, finding);
    }

    /// Ends a phase of the job.
    pub fn phase_ended(&mut self) {
        self.walking.phase_ended();
    }

    fn is_copy(&self) -> bool {
        matches!(self.verb, "copy" | "sync")
    }

    /// Percentage of what was found, once all is found; nothing for jobs that end with their walk.
    pub fn percent(&self, tally: &Tally) -> Option<u64> {
        match self.verb {
            _ if !self.walking.is_over() => None,
            "copy" | "sync" => Some(Share::of(tally).percent()),
            "remove" => {
                let done = tally.synced.deleted.total() * 100;
                Some((done / tally.found.total().max(1)).min(99))
            }
            _ => None,
        }
    }

    /// Time left at the recent rate, once all is found.
    pub fn left(&self, tally: &Tally) -> Option<Duration> {
        let is_known = self.is_copy() && self.walking.is_over();
        self.pace.time_for(Share::of(tally).left_bytes()).filter(|_| is_known)
    }

    /// Bytes per second of the last interval.
    pub fn recent_bytes_per_second(&self) -> f64 {
        self.pace.recent_bytes_per_second()
    }

    fn mean_bytes_per_second(&self, tally: &Tally) -> f64 {
        tally.copied_bytes as f64 / self.began.elapsed().as_secs_f64().max(0.001)
    }

    /// The line: fixed keys, no control characters.
    pub fn line(&self, tally: &Tally, errors: u64) -> String {
        format!("{} {}", self.tool, self.body(tally, errors))
    }

    /// The line without the tool's name, for a bar.
    pub fn body(&self, tally: &Tally, errors: u64) -> String {
        let elapsed = self.began.elapsed();
        let what = if self.verb == "remove" { "delete" } else { self.verb };
        let (state, done) = (self.state(tally), self.done(tally));
        let still = self.pace.stalled_for(elapsed);
        let still = still.map_or_else(String::new, |still| {
            let what = if self.is_copy() { "bytes" } else { "progress" };
            format!("  no {what} for {} s", still.as_secs())
        });
        let limit = throttle::own().and_then(|own| own.rates().words());
        let limit = limit.map_or_else(String::new, |limit| format!("  {limit}"));
        format!("{} {what}  {state}{done}  errors {errors}{limit}{still}", clock(elapsed))
    }

    /// Words for the walk, or for how much is done and how long the rest takes.
    fn state(&self, tally: &Tally) -> String {
        let left = self.left(tally).map(|left| format!("  {} left", clock(left)));
        match self.percent(tally) {
            Some(percent) => format!("{percent} %{}  ", left.unwrap_or_default()),
            None if self.walking.is_over() => String::new(),
            None => "walking  ".to_owned(),
        }
    }

    fn done(&self, tally: &Tally) -> String {
        let found = human_count(tally.found.total());
        if self.is_copy() {
            let synced = &tally.synced;
            let done = tally.copied.total() + synced.unchanged + synced.attributes_set;
            let share = Share::of(tally);
            format!(
                "items {}/{found}  data {}/{}  {}/s (mean {}/s)",
                human_count(done),
                human_bytes(share.done_bytes),
                human_bytes(share.known_bytes),
                human_bytes(self.recent_bytes_per_second() as u64),
                human_bytes(self.mean_bytes_per_second(tally) as u64),
            )
        } else if self.verb == "remove" {
            format!("items {}/{found}", human_count(tally.synced.deleted.total()))
        } else {
            let per_second =
                tally.found.total() as f64 / self.began.elapsed().as_secs_f64().max(0.001);
            format!(
                "items {found}  data {}  {} items/s",
                human_bytes(tally.found_bytes),
                human_count(per_second as u64),
            )
        }
    }

    /// Progress for programs.
    pub fn to_json(&self, tally: &Tally) -> Value {
        let elapsed = self.began.elapsed();
        json!({
            "elapsed_seconds": elapsed.as_secs_f64(),
            "walk_ended": self.walking.is_over(),
            "percent": self.percent(tally),
            "left_seconds": self.left(tally).map(|left| left.as_secs_f64()),
            "recent_bytes_per_second": self.recent_bytes_per_second(),
            "mean_bytes_per_second": self.mean_bytes_per_second(tally),
            "stalled_seconds": self.pace.stalled_for(elapsed).map(|still| still.as_secs_f64()),
        })
    }
}

/// `hh:mm:ss`.
pub fn clock(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// A bar for a terminal: a part of the line that is cut to its width.
pub fn bar(tool: &str) -> ProgressBar {
    let bar = ProgressBar::new(100).with_prefix(tool.to_owned());
    let style = ProgressStyle::with_template("{prefix} {bar:12} {wide_msg}")
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

    fn half_done() -> Tally {
        Tally {
            found_bytes: 9 << 30,
            needed_bytes: 2 << 30,
            copied_bytes: 1 << 30,
            ..Tally::default()
        }
    }

    #[test]
    fn a_line_has_fixed_keys() {
        let progress = Progress::new("dcp", "copy", Duration::from_secs(10), 1);
        let line = progress.line(&half_done(), 3);
        for key in ["dcp 00:00:00 copy", "items 0/0", "data 1.0 GiB/2.0 GiB", "errors 3"] {
            assert!(line.contains(key), "{line}");
        }
    }

    #[test]
    fn a_percentage_and_a_time_are_told_when_the_walk_is_over() {
        let mut progress = Progress::new("dsync", "sync", Duration::from_secs(10), 1);
        let walking = progress.line(&half_done(), 0);
        assert!(walking.contains("walking") && !walking.contains('%'), "{walking}");
        progress.phase_ended();
        progress.pace.note(Duration::from_secs(8), &half_done());
        let line = progress.line(&half_done(), 0);
        for key in ["50 %", "00:00:08 left", "128.0 MiB/s (mean"] {
            assert!(line.contains(key), "{line}");
        }
    }
}
