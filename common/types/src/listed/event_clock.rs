//! Wall-clock time of events as text, which is formatted once per millisecond: a record may have
//! many lines in that time.

use jiff::Timestamp;

/// Clock of the events that one thread writes.
#[derive(Debug, Default)]
pub struct EventClock {
    millisecond: i64,
    text: String,
}

impl EventClock {
    /// Returns the time in UTC, such as `2026-03-01T12:00:00.000Z`.
    pub fn now(&mut self) -> &str {
        self.at(Timestamp::now())
    }

    /// Returns the time that was returned last.
    pub fn last(&self) -> &str {
        &self.text
    }

    /// Returns the milliseconds since 1970 at which the time was asked for last.
    pub fn millisecond(&self) -> i64 {
        self.millisecond
    }

    fn at(&mut self, now: Timestamp) -> &str {
        let millisecond = now.as_millisecond();
        if self.text.is_empty() || millisecond != self.millisecond {
            (self.millisecond, self.text) = (millisecond, format!("{now:.3}"));
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
        let at = |nanoseconds| Timestamp::from_nanosecond(nanoseconds).unwrap();
        for (nanoseconds, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_999_999, "1970-01-01T00:00:00.001Z"),
            (2_000_000, "1970-01-01T00:00:00.002Z"),
            (2_000_001, "1970-01-01T00:00:00.002Z"),
            (1_772_366_400_000_000_000, "2026-03-01T12:00:00.000Z"),
            (999_999, "1970-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(clock.at(at(nanoseconds)), expected);
        }
    }
}
