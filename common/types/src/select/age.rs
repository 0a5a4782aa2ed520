//! Ages as people write them: `7d`, `1h30m`, or a point in time.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::entry::Time;
use crate::size::parse_duration;

/// A duration before now, or a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Age {
    /// A number of seconds before now.
    Seconds(u64),
    /// A point in time.
    Since(Time),
}

/// Text that is no age.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid age \"{0}\"; expected one such as 90s, 15m, 12h, 7d, 2w, 3M, 1y, 1d12h, 2026-11-01 or \
     2026-11-01T06:00:00Z"
)]
pub struct InvalidAge(String);

impl Age {
    /// Parses `90s`, `15m`, `12h`, `7d`, `2w`, `3M` (30 days each), `1y` (365 days), these joined
    /// as in `1d12h`, or a date or RFC 3339 timestamp. A time without a zone is UTC, so that it is
    /// the same on every rank.
    ///
    /// # Errors
    /// Fails for text that is none of these.
    pub fn parse(text: &str) -> Result<Self, InvalidAge> {
        let text = text.trim();
        let age = parse_duration(text).ok().map(Self::Seconds);
        let age = age.or_else(|| parse_moment(text).map(Self::Since));
        age.ok_or_else(|| InvalidAge(text.to_owned()))
    }

    /// Returns the point in time that has this age at `now`; the earliest representable time where
    /// the calendar does not reach as far.
    pub fn moment(self, now: Time) -> Time {
        match self {
            Self::Seconds(seconds) => {
                Time { seconds: now.seconds.saturating_sub_unsigned(seconds), ..now }
            }
            Self::Since(moment) => moment,
        }
    }
}

fn parse_moment(text: &str) -> Option<Time> {
    let stamp = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        let zoned = text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok()?;
        Some(zoned.timestamp())
    })?;
    // Before 1970 the library's fraction is negative; POSIX counts it up from the second below.
    let nanoseconds = stamp.as_nanosecond().rem_euclid(1_000_000_000) as u32;
    let seconds = stamp.as_nanosecond().div_euclid(1_000_000_000) as i64;
    Some(Time { seconds, nanoseconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn since(seconds: i64, nanoseconds: u32) -> Age {
        Age::Since(Time { seconds, nanoseconds })
    }

    #[test]
    fn durations_are_rclones() {
        let table = [
            ("0s", 0),
            ("90s", 90),
            ("15m", 900),
            ("12h", 43_200),
            ("7d", 604_800),
            ("2w", 1_209_600),
            ("3M", 7_776_000),
            ("1y", 31_536_000),
            ("1h30m", 5400),
            ("1d12h5m1s", 129_901),
            (" 7d ", 604_800),
        ];
        for (text, seconds) in table {
            assert_eq!(Age::parse(text), Ok(Age::Seconds(seconds)), "{text}");
        }
    }

    #[test]
    fn moments_are_utc_unless_they_say_otherwise() {
        assert_eq!(Age::parse("2026-11-01"), Ok(since(1_793_491_200, 0)));
        assert_eq!(Age::parse("2026-11-01T00:00:00Z"), Ok(since(1_793_491_200, 0)));
        assert_eq!(Age::parse("2026-11-01 00:00:00"), Ok(since(1_793_491_200, 0)));
        assert_eq!(Age::parse("2026-11-01T00:00:00+01:00"), Ok(since(1_793_487_600, 0)));
        assert_eq!(Age::parse("1970-01-01T00:00:00.25Z"), Ok(since(0, 250_000_000)));
        assert_eq!(Age::parse("1969-12-31T23:59:59.75Z"), Ok(since(-1, 750_000_000)));
    }

    #[test]
    fn nonsense_is_refused_with_examples() {
        let huge = "99999999999999999999y";
        for bad in ["", "d", "7", "2026", "7 d", "7x", "-7d", "1.5h", "7d2", "yesterday", huge] {
            let why = Age::parse(bad).unwrap_err().to_string();
            assert!(why.contains("7d") && why.contains("2026-11-01"), "{bad}: {why}");
        }
        assert!(Age::parse("20000000000000y").is_err(), "overflows");
        assert!(Age::parse("2026-02-30").is_err());
    }

    #[test]
    fn an_age_is_counted_back_from_now() {
        let now = Time { seconds: 1000, nanoseconds: 7 };
        assert_eq!(Age::Seconds(10).moment(now), Time { seconds: 990, nanoseconds: 7 });
        assert_eq!(Age::Seconds(u64::MAX).moment(now).seconds, i64::MIN);
        let then = Time { seconds: 3, nanoseconds: 0 };
        assert_eq!(Age::Since(then).moment(now), then);
    }
}
