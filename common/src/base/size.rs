//! Sizes in bytes as people write and read them.

use bytesize::ByteSize;

/// Reads `64MiB`, `64MB` or `64M`; a bare letter means the binary unit, as in cp, dd and rclone.
///
/// # Errors
/// One line that says what was wrong and shows a right one.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let bare_letter = text.len() > 1 && text.ends_with(|c: char| "kKmMgGtTpP".contains(c));
    let spelled = if bare_letter { format!("{text}iB") } else { text.to_owned() };
    spelled
        .parse::<ByteSize>()
        .map(|size| size.as_u64())
        .map_err(|_| format!("\"{text}\" is not a size; write it as 64MiB, 64MB or 64M (=MiB)"))
}

/// Like [`parse_bytes`], and at least one byte.
///
/// # Errors
/// As there; and for zero.
pub fn parse_positive_bytes(text: &str) -> Result<u64, String> {
    match parse_bytes(text)? {
        0 => Err("the size must be at least 1 byte".to_owned()),
        bytes => Ok(bytes),
    }
}

/// `3.1 GiB`, for people.
pub fn human_bytes(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

/// `1,234,567`, for people.
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
            assert!(parse_bytes(bad).is_err_and(|why| why.contains("64MiB")), "{bad}");
        }
        assert!(parse_positive_bytes("0").is_err());
    }

    #[test]
    fn counts_are_grouped_by_thousands() {
        assert_eq!(human_count(0), "0");
        assert_eq!(human_count(999), "999");
        assert_eq!(human_count(1_234_567), "1,234,567");
    }
}
