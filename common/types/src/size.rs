//! Sizes, durations and counts, parsed from and formatted for people.

use bytesize::ByteSize;

/// Size in bytes of the largest file that system calls can address (`off_t`).
const FILE_BYTES_MAX: u64 = i64::MAX as u64;

/// Text that is no size, duration or rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unmeasured {
    /// Text that is no size.
    #[error("invalid size \"{0}\"; expected one such as 64MiB, 64MB or 64M (=MiB)")]
    Size(String),
    /// More bytes than a file can have.
    #[error("size \"{0}\" is too large; it must be less than 8EiB")]
    LargeSize(String),
    /// Zero bytes, where that has no meaning.
    #[error("the size must be at least 1 byte")]
    NoBytes,
    /// Text that is no duration.
    #[error(
        "invalid duration \"{0}\"; expected one such as 90s, 15m, 12h, 30d, 2w, 3M, 1y or 1d12h"
    )]
    Duration(String),
}

/// Parses a size, such as `64MiB`, `64MB` or `64M`, to bytes; a bare letter means the binary unit,
/// as in cp, dd and rclone.
///
/// # Errors
/// Fails for text that is no size, and for more bytes than a file can have.
pub fn parse_bytes(text: &str) -> Result<u64, Unmeasured> {
    let text = text.trim();
    let bare_letter = text.len() > 1 && text.ends_with(|c: char| "kKmMgGtTpPeE".contains(c));
    let spelled = if bare_letter { format!("{text}iB") } else { text.to_owned() };
    let size = spelled.parse::<ByteSize>().map_err(|_| Unmeasured::Size(text.to_owned()))?;
    match size.as_u64() {
        bytes if bytes > FILE_BYTES_MAX => Err(Unmeasured::LargeSize(text.to_owned())),
        bytes => Ok(bytes),
    }
}

/// Parses a size of at least one byte as [`parse_bytes`] does.
///
/// # Errors
/// The errors of [`parse_bytes`], and one for zero.
pub fn parse_positive_bytes(text: &str) -> Result<u64, Unmeasured> {
    match parse_bytes(text)? {
        0 => Err(Unmeasured::NoBytes),
        bytes => Ok(bytes),
    }
}

/// Units of time and their seconds: months have 30 days and years 365, as in rclone.
const TIME_UNITS: [(char, u64); 7] = [
    ('s', 1),
    ('m', 60),
    ('h', 3600),
    ('d', 86_400),
    ('w', 604_800),
    ('M', 2_592_000),
    ('y', 31_536_000),
];

/// Parses a duration to seconds: `90s`, `15m`, `12h`, `7d`, `2w`, `3M` (30 days each), `1y` (365
/// days), or these joined as in `1d12h`.
///
/// # Errors
/// Fails for text that is no duration.
pub fn parse_duration(text: &str) -> Result<u64, Unmeasured> {
    seconds_of(text.trim()).ok_or_else(|| Unmeasured::Duration(text.to_owned()))
}

fn seconds_of(text: &str) -> Option<u64> {
    let (mut rest, mut total) = (text, 0_u64);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: u64 = rest[..digits].parse().ok()?;
        let letter = rest[digits..].chars().next()?;
        let (_, seconds) = TIME_UNITS.iter().find(|(unit, _)| *unit == letter)?;
        total = total.checked_add(count.checked_mul(*seconds)?)?;
        rest = &rest[digits + letter.len_utf8()..];
    }
    (!text.is_empty()).then_some(total)
}

/// Formats seconds for people, such as `30 days`, with the largest unit that divides them.
pub fn human_duration(seconds: u64) -> String {
    let units = [("year", 31_536_000), ("day", 86_400), ("hour", 3600), ("minute", 60)];
    let divides = |(_, length): &(&str, u64)| seconds > 0 && seconds.is_multiple_of(*length);
    let (unit, length) = units.into_iter().find(divides).unwrap_or(("second", 1));
    let count = seconds / length;
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// Formats a size for people, such as `3.1 GiB`. Sums end at the largest number, which stands for
/// itself and all above.
pub fn human_bytes(bytes: u64) -> String {
    if bytes == u64::MAX {
        return "16 EiB or more".to_owned();
    }
    ByteSize(bytes).display().iec().to_string()
}

/// Formats a size that was chosen: with its bytes, where the short form is not exact.
pub fn exact_bytes(bytes: u64) -> String {
    let short = human_bytes(bytes);
    if parse_bytes(&short) == Ok(bytes) {
        return short;
    }
    format!("{short} ({} bytes)", human_count(bytes))
}

/// Formats a count for people, such as `1,234,567`.
pub fn human_count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_letter_is_binary_and_mb_is_decimal() {
        assert_eq!(parse_bytes("64M"), Ok(64 << 20));
        assert_eq!(parse_bytes("64MiB"), Ok(64 << 20));
        assert_eq!(parse_bytes("64MB"), Ok(64_000_000));
        assert_eq!(parse_bytes("4096"), Ok(4096));
        assert_eq!(parse_bytes("1k"), Ok(1024));
    }

    #[test]
    fn nonsense_is_refused_with_an_example() {
        for bad in ["", "x", "M", "-1", "1Q", "64 apples"] {
            assert!(parse_bytes(bad).is_err_and(|why| why.to_string().contains("64MiB")), "{bad}");
        }
        for much in ["16E", "16EiB", "8E", "9223372036854775808", "99999999P"] {
            let why = parse_bytes(much).unwrap_err().to_string();
            assert!(why.contains("is too large"), "{much}: {why}");
        }
        assert_eq!(parse_bytes("7e"), Ok(7 << 60));
        assert!(parse_positive_bytes("0").is_err());
    }

    #[test]
    fn times_have_units() {
        assert_eq!(parse_duration("30d"), Ok(2_592_000));
        assert_eq!(parse_duration("1d12h"), Ok(129_600));
        assert_eq!(parse_duration("3M"), Ok(7_776_000));
        for bad in ["", "2", "d", "-1d", "99999999999999999999", "999999999999999999y", "5 apples"]
        {
            assert!(parse_duration(bad).is_err_and(|why| why.to_string().contains("30d")), "{bad}");
        }
        for (seconds, words) in
            [(1, "1 second"), (86_400, "1 day"), (7200, "2 hours"), (31_536_000, "1 year")]
        {
            assert_eq!(human_duration(seconds), words);
        }
    }

    #[test]
    fn chosen_sizes_are_exact() {
        assert_eq!(exact_bytes(64 << 20), "64.0 MiB");
        assert_eq!(exact_bytes(3 << 19), "1.5 MiB");
        assert_eq!(exact_bytes(64_000_000), "61.0 MiB (64,000,000 bytes)");
        assert_eq!(exact_bytes(100), "100 B");
    }

    #[test]
    fn counts_are_grouped_by_thousands() {
        assert_eq!(human_count(0), "0");
        assert_eq!(human_count(999), "999");
        assert_eq!(human_count(1_234_567), "1,234,567");
    }
}
