//! Pace of a job: rates of the last seconds and of the whole job, the time left, and standstills.

use std::collections::VecDeque;
use std::time::Duration;

use types::limits::{RATE_SAMPLES_MAX, RATE_WINDOW_MIN, STALL_MIN};
use types::outcome::tally::Tally;

/// Work done up to a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sample {
    at: Duration,
    bytes: u64,
    items: u64,
}

/// Samples of the work done, taken now and then.
#[derive(Debug)]
pub struct Pace {
    window: Duration,
    /// Samples at which bytes had been moved since the sample before. The first one is as old as
    /// the window or older: a chunk may take longer than the window, and all its bytes count at its
    /// end.
    samples: VecDeque<Sample>,
    /// The latest sample.
    latest: Sample,
    /// Time at which something was last done.
    moved_at: Duration,
}

/// Bytes and entries of content that are done, by this job or an earlier one, and that are known to
/// be needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Bytes that are at the target.
    pub done_bytes: u64,
    /// Bytes that are needed there, as far as they are known.
    pub known_bytes: u64,
}

impl Share {
    /// Returns the share of a copy that these counts describe.
    pub fn of(tally: &Tally) -> Self {
        let done_bytes = tally.copied_bytes + tally.resumed_bytes + tally.completed_before_bytes;
        Self { done_bytes, known_bytes: tally.needed_bytes.max(done_bytes) }
    }

    /// Returns the percentage, at most 99: 100 is for a job that has ended.
    pub fn percent(self) -> u64 {
        let share = self.done_bytes as f64 / self.known_bytes.max(1) as f64;
        ((share * 100.0) as u64).min(99)
    }

    /// Returns the bytes that are known to be missing at the target.
    pub fn left_bytes(self) -> u64 {
        self.known_bytes - self.done_bytes
    }
}

impl Pace {
    /// Creates the pace of a job whose progress is shown in such intervals.
    pub fn new(interval: Duration) -> Self {
        let window = interval.max(RATE_WINDOW_MIN);
        let samples = VecDeque::from([Sample::default()]);
        Self { window, samples, latest: Sample::default(), moved_at: Duration::ZERO }
    }

    /// Takes a sample, at most so many in a window.
    pub fn note(&mut self, at: Duration, tally: &Tally) {
        let latest = self.latest;
        if at < latest.at + self.window / RATE_SAMPLES_MAX {
            return;
        }
        let items = tally.found.total() + tally.copied.total() + tally.synced.deleted.total();
        let bytes = tally.copied_bytes + tally.compared.bytes() + tally.verified_bytes;
        let sample = Sample { at, bytes, items };
        if (sample.bytes, sample.items) != (latest.bytes, latest.items) {
            self.moved_at = at;
        }
        self.latest = sample;
        if sample.bytes != latest.bytes {
            self.samples.push_back(sample);
        }
        let last_at = self.samples.back().map_or(at, |last| last.at);
        while self.samples.get(1).is_some_and(|next| next.at + self.window <= last_at) {
            self.samples.pop_front();
        }
    }

    /// Returns the bytes per second of the last interval in which bytes were moved. As long as none
    /// follow, they may be those of the next chunk; after twice the interval they are missing.
    pub fn recent_bytes_per_second(&self) -> f64 {
        let (Some(first), Some(last)) = (self.samples.front(), self.samples.back()) else {
            return 0.0;
        };
        let interval = last.at.saturating_sub(first.at);
        let silence = self.latest.at.saturating_sub(last.at);
        if silence > interval.max(self.window) * 2 {
            return 0.0;
        }
        let seconds = interval.max(silence).as_secs_f64();
        last.bytes.saturating_sub(first.bytes) as f64 / seconds.max(0.001)
    }

    /// Returns the time that so many bytes take at the recent rate; nothing where none were moved.
    pub fn time_for(&self, bytes: u64) -> Option<Duration> {
        let rate = self.recent_bytes_per_second();
        (rate >= 1.0).then(|| Duration::from_secs_f64((bytes as f64 / rate).min(1e9)))
    }

    /// Returns for how long nothing was done, where that is long.
    pub fn stalled_for(&self, now: Duration) -> Option<Duration> {
        let still = now.saturating_sub(self.moved_at);
        (still >= STALL_MIN).then_some(still)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn copied(bytes: u64) -> Tally {
        Tally { copied_bytes: bytes, needed_bytes: 1000, ..Tally::default() }
    }

    #[test]
    fn the_time_left_is_that_of_the_recent_rate_and_not_of_the_mean() {
        let mut pace = Pace::new(seconds(10));
        for at in 0..=100 {
            pace.note(seconds(at), &copied(at * 1000));
        }
        for at in 101..=120 {
            pace.note(seconds(at), &copied(100_000 + (at - 100) * 10));
        }
        assert!((pace.recent_bytes_per_second() - 10.0).abs() < 0.1, "{pace:?}");
        assert_eq!(pace.time_for(1000).map(|left| left.as_secs()), Some(100));
    }

    #[test]
    fn chunks_that_take_longer_than_the_window_have_one_rate() {
        let mut pace = Pace::new(seconds(1));
        // One rank copies at 4 bytes per second, in chunks of 8 s.
        for at in 1..=80 {
            pace.note(seconds(at), &copied(at / 8 * 32));
            let rate = pace.recent_bytes_per_second();
            let known = if at < 8 { 0.0 } else { 4.0 };
            assert!((rate - known).abs() < 0.01, "{rate} after {at} s");
        }
        // Slower chunks are noticed while they are awaited.
        for at in 81..=95 {
            pace.note(seconds(at), &copied(320));
        }
        let rate = pace.recent_bytes_per_second();
        assert!(rate < 2.5 && rate > 0.0, "{rate}");
        pace.note(seconds(97), &copied(320));
        assert_eq!(pace.time_for(1000), None);
    }

    #[test]
    fn a_standstill_is_seen_and_its_end() {
        let mut pace = Pace::new(seconds(1));
        pace.note(seconds(1), &copied(10));
        pace.note(seconds(41), &copied(10));
        assert_eq!(pace.stalled_for(seconds(41)), Some(seconds(40)));
        assert_eq!(pace.time_for(1000), None);
        pace.note(seconds(42), &copied(11));
        assert_eq!(pace.stalled_for(seconds(43)), None);
    }

    #[test]
    fn what_an_earlier_job_has_done_counts_and_a_hundred_is_for_the_end() {
        let tally = Tally {
            copied_bytes: 100,
            resumed_bytes: 300,
            completed_before_bytes: 200,
            needed_bytes: 1000,
            ..Tally::default()
        };
        let share = Share::of(&tally);
        assert_eq!((share.percent(), share.left_bytes()), (60, 400));
        assert_eq!(Share::of(&Tally { copied_bytes: 500, ..tally }).percent(), 99);
        assert_eq!(Share::of(&Tally::default()).percent(), 0);
    }
}
