//! Times in user metadata: seconds with a decimal fraction (rclone, s3fs-fuse, geesefs), RFC 3339
//! (rclone's times of access), nanoseconds or milliseconds (AWS).

use jiff::Timestamp;

use crate::entry::Time;

/// The years 1 to 9999, which RFC 3339 can say, but for the last 26 hours: those are not 9999
/// everywhere on Earth, and the library knows no later time.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_207_200;

const NANOSECONDS: i128 = 1_000_000_000;

/// Longest text that is parsed, in bytes; written times have at most 31.
const TEXT_BYTES_MAX: usize = 64;

fn to_nanoseconds(time: Time) -> Option<i128> {
    let nanoseconds = i128::from(time.seconds) * NANOSECONDS + i128::from(time.nanoseconds);
    SECONDS.contains(&time.seconds).then_some(nanoseconds)
}

fn from_nanoseconds(nanoseconds: i128) -> Option<Time> {
    let seconds = i64::try_from(nanoseconds.div_euclid(NANOSECONDS)).ok()?;
    let nanoseconds = nanoseconds.rem_euclid(NANOSECONDS) as u32;
    SECONDS.contains(&seconds).then_some(Time { seconds, nanoseconds })
}

/// Formats `1700000000.123456789`, `-315619199.5`: the number of nanoseconds as a decimal fraction
/// of seconds, which is how rclone writes `mtime` (its swift library's `TimeToFloatString`).
pub(super) fn decimal_seconds(time: Time) -> Option<String> {
    let nanoseconds = to_nanoseconds(time)?;
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let (whole, fraction) = (nanoseconds.abs() / NANOSECONDS, nanoseconds.abs() % NANOSECONDS);
    if fraction == 0 {
        return Some(format!("{sign}{whole}"));
    }
    let fraction = format!("{fraction:09}");
    Some(format!("{sign}{whole}.{}", fraction.trim_end_matches('0')))
}

/// Formats `1700000000123456789ns`, as in `file-mtime` (FSx for Lustre User Guide, "POSIX metadata
/// support for data repositories").
pub(super) fn nanoseconds(time: Time) -> Option<String> {
    to_nanoseconds(time).map(|nanoseconds| format!("{nanoseconds}ns"))
}

/// Formats `2023-11-14T22:13:20.123456789Z`, as rclone writes `atime`.
pub(super) fn rfc3339(time: Time) -> Option<String> {
    Timestamp::from_nanosecond(to_nanoseconds(time)?).ok().map(|stamp| stamp.to_string())
}

/// Reads `file-mtime` and `file-atime`: nanoseconds with `ns` at the end, else milliseconds.
pub(super) fn from_aws(text: &str) -> Option<Time> {
    let (digits, unit) = match text.strip_suffix("ns") {
        Some(digits) => (digits, 1),
        None => (text, 1_000_000),
    };
    let (sign, digits) = signed(digits);
    from_nanoseconds(sign * integer(digits)? * unit)
}

/// Reads `mtime` and `atime` of all others. A number is in seconds; rclone takes no exponent, and
/// cuts off what is beyond nanoseconds, so here too.
pub(super) fn from_plain(text: &str) -> Option<Time> {
    if is_rfc3339(text) {
        return from_nanoseconds(text.parse::<Timestamp>().ok()?.as_nanosecond());
    }
    let (sign, digits) = signed(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    integer(fraction)?;
    let nanoseconds = integer(&format!("{fraction:0<9.9}"))?;
    from_nanoseconds(sign * (integer(whole)? * NANOSECONDS + nanoseconds))
}

/// Returns true for a time in RFC 3339, as opposed to a number.
pub(super) fn is_rfc3339(text: &str) -> bool {
    text.len() <= TEXT_BYTES_MAX && text.contains('T') && text.parse::<Timestamp>().is_ok()
}

fn signed(text: &str) -> (i128, &str) {
    text.strip_prefix('-').map_or((1, text), |digits| (-1, digits))
}

/// Parses digits alone, so few that no unit makes the product overflow.
fn integer(digits: &str) -> Option<i128> {
    let is_short = (1..=27).contains(&digits.len());
    let is_digits = is_short && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_digits.then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(seconds: i64, nanoseconds: u32) -> Time {
        Time { seconds, nanoseconds }
    }

    #[test]
    fn each_form_is_as_its_owner_writes_it() {
        for (time, decimal, aws, stamp) in [
            (
                time(1_700_000_000, 123_456_789),
                "1700000000.123456789",
                "1700000000123456789ns",
                "2023-11-14T22:13:20.123456789Z",
            ),
            (
                time(1_700_000_000, 100_000_000),
                "1700000000.1",
                "1700000000100000000ns",
                "2023-11-14T22:13:20.1Z",
            ),
            (time(1_700_000_000, 0), "1700000000", "1700000000000000000ns", "2023-11-14T22:13:20Z"),
            (time(0, 0), "0", "0ns", "1970-01-01T00:00:00Z"),
            (time(0, 1), "0.000000001", "1ns", "1970-01-01T00:00:00.000000001Z"),
            (time(-1, 500_000_000), "-0.5", "-500000000ns", "1969-12-31T23:59:59.5Z"),
            (
                time(-315_619_200, 500_000_000),
                "-315619199.5",
                "-315619199500000000ns",
                "1960-01-01T00:00:00.5Z",
            ),
        ] {
            assert_eq!(decimal_seconds(time).as_deref(), Some(decimal));
            assert_eq!(nanoseconds(time).as_deref(), Some(aws));
            assert_eq!(rfc3339(time).as_deref(), Some(stamp));
        }
    }

    #[test]
    fn every_time_comes_back() {
        let mut random = fastrand::Rng::with_seed(6);
        let check = |time: Time| {
            assert_eq!(from_plain(&decimal_seconds(time).unwrap()), Some(time));
            assert_eq!(from_aws(&nanoseconds(time).unwrap()), Some(time));
            let stamp = rfc3339(time).unwrap();
            assert!(is_rfc3339(&stamp));
            assert_eq!(from_plain(&stamp), Some(time), "{stamp}");
        };
        let borders = [*SECONDS.start(), -2, -1, 0, 1, *SECONDS.end()];
        for seconds in borders {
            for nanoseconds in [0, 1, 10, 100_000_000, 999_999_999] {
                check(time(seconds, nanoseconds));
            }
        }
        for _ in 0..50_000 {
            let trailing_zeros = 10_u32.pow(random.u32(0..9));
            let fraction = random.u32(0..1_000_000_000) / trailing_zeros * trailing_zeros;
            check(time(random.i64(SECONDS), fraction));
        }
        for beyond in [*SECONDS.start() - 1, *SECONDS.end() + 1, i64::MIN, i64::MAX] {
            let beyond = time(beyond, 0);
            assert_eq!(
                (decimal_seconds(beyond), nanoseconds(beyond), rfc3339(beyond)),
                (None, None, None)
            );
        }
    }

    #[test]
    fn what_others_write_is_read() {
        let at = |nanoseconds| Some(time(1_700_000_000, nanoseconds));
        assert_eq!(from_aws("1700000000123"), at(123_000_000), "milliseconds");
        assert_eq!(from_plain("1700000000.1234567891"), at(123_456_789));
        assert_eq!(from_plain("1700000000.000000000"), at(0));
        assert_eq!(from_plain("2023-11-14T23:13:20.5+01:00"), at(500_000_000));
    }

    #[test]
    fn nonsense_is_nothing() {
        let long = "1".repeat(100_000);
        let fraction = format!("1.{long}");
        let words =
            ["", "-", ".", "1.", ".5", "ns", "-ns", "1e9", "1E400", "NaN", "inf", "+1", " 1"];
        let signs =
            ["1 ", "--1", "1.-5", "1..5", "0x10", "1_000", "\u{fffd}", "٣", &long, &fraction];
        let stamps = ["2023-11-14", "T", "2023-13-14T22:13:20Z", "10000-01-01T00:00:00Z"];
        for bad in words.into_iter().chain(signs).chain(stamps) {
            assert_eq!((from_plain(bad), from_aws(bad)), (None, None), "{bad}");
        }
        for beyond in ["-000001-01-01T00:00:00Z", "99999999999999999999", "-62135596801"] {
            assert_eq!(from_plain(beyond), None, "{beyond}");
        }
        assert_eq!(from_aws("9999999999999999999999999"), None);
        assert_eq!(from_aws("999999999999999999999999999ns"), None);
    }
}
