//! Wall-clock time of events as text, which is formatted once per tick of the kernel's clock: a
//! record may have many lines in that time.

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// Clock of the events that one thread writes.
#[derive(Debug, Default)]
pub struct EventClock {
    millisecond: i64,
    text: String,
}

impl EventClock {
    /// Returns the time in UTC, such as `2026-03-01T12:00:00.000Z`, as of the last tick: a tick of
    /// some milliseconds is exact enough, and the clock that counts them takes a tenth of the time
    /// to read.
    pub fn now(&mut self) -> &str {
        let now = clock_gettime(ClockId::RealtimeCoarse);
        self.at(now.tv_sec * 1000 + now.tv_nsec / 1_000_000)
    }

    /// Returns the time that was returned last.
    pub fn last(&self) -> &str {
        &self.text
    }

    /// Returns the milliseconds since 1970 at which the time was asked for last.
    pub fn millisecond(&self) -> i64 {
        self.millisecond
    }

    fn at(&mut self, millisecond: i64) -> &str {
        if self.text.is_empty() || millisecond != self.millisecond {
            let time = Timestamp::from_millisecond(millisecond).unwrap_or_default();
            (self.millisecond, self.text) = (millisecond, format!("{time:.3}"));
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_that_of_the_time() {
        let mut clock = EventClock::default();
        for (millisecond, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1, "1970-01-01T00:00:00.001Z"),
            (1, "1970-01-01T00:00:00.001Z"),
            (1_772_366_400_000, "2026-03-01T12:00:00.000Z"),
            (0, "1970-01-01T00:00:00.000Z"),
            (i64::MAX, "1970-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(clock.at(millisecond), expected);
        }
    }
}
