//! User text in HTTP headers, which are ASCII: as encoded words (RFC 2047), the form in which
//! Amazon S3 takes user metadata and returns it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// Largest size of an encoded word in bytes (RFC 2047, 2).
const WORD_BYTES_MAX: usize = 75;

const BEGIN: &str = "=?UTF-8?B?";
const END: &str = "?=";

/// Encodes text to a value that every service takes: plain ASCII as it is, any other text in
/// encoded words.
pub fn encode(text: &str) -> String {
    let is_visible = |byte: u8| matches!(byte, b' '..=b'~');
    let is_plain = text.bytes().all(is_visible) && text.trim() == text && !text.contains("=?");
    if is_plain {
        return text.to_owned();
    }
    // Base64 makes four of three.
    let room = (WORD_BYTES_MAX - BEGIN.len() - END.len()) / 4 * 3;
    let (mut words, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        // No character is divided between two words.
        let (word, after) = rest.split_at(rest.floor_char_boundary(room));
        words.push(format!("{BEGIN}{}{END}", BASE64_STANDARD.encode(word)));
        rest = after;
    }
    words.join(" ")
}

/// Decodes the encoded words in a value. Other text, and words in an unknown charset, stay as they
/// are.
pub fn decode(value: &str) -> String {
    let (mut text, mut rest) = (String::with_capacity(value.len()), value);
    let mut follows_word = false;
    while let Some(begin) = rest.find("=?") {
        let (before, at_word) = rest.split_at(begin);
        let word = word_at(at_word);
        // Blanks between two words only divide them.
        if !(follows_word && word.is_some() && before.trim().is_empty()) {
            text.push_str(before);
        }
        follows_word = word.is_some();
        let (decoded, length) = word.unwrap_or_else(|| ("=?".to_owned(), 2));
        text.push_str(&decoded);
        rest = &at_word[length..];
    }
    text + rest
}

/// Decodes the encoded word at the beginning of a value; returns its text, and its length in bytes.
fn word_at(value: &str) -> Option<(String, usize)> {
    let mut parts = value.strip_prefix("=?")?.splitn(3, '?');
    let (charset, encoding, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let (content, _) = rest.split_once(END)?;
    let bytes = match encoding {
        "B" | "b" => BASE64_STANDARD.decode(content).ok()?,
        "Q" | "q" => from_quoted(content)?,
        _ => return None,
    };
    // A language may follow (RFC 2231, 5).
    let charset = charset.split('*').next()?.to_ascii_lowercase();
    let text = match &*charset {
        "utf-8" | "us-ascii" => String::from_utf8(bytes).ok()?,
        "iso-8859-1" => from_latin1(&bytes),
        _ => return None,
    };
    let length = value.len() - rest.len() + content.len() + END.len();
    Some((text, length))
}

/// Decodes the `Q` encoding: `_` is a space, `=XX` a byte.
fn from_quoted(content: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(content.len());
    let mut rest = content.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'_' => b' ',
            b'=' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                (digit(rest.next())? * 16 + digit(rest.next())?) as u8
            }
            other => other,
        });
    }
    Some(bytes)
}

/// Converts a header's bytes to text: valid UTF-8 as such, anything else from Latin-1, HTTP's old
/// default.
pub fn of_bytes(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| from_latin1(bytes), str::to_owned)
}

/// Converts Latin-1, whose characters are the first 256 of Unicode.
fn from_latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_comes_back_from_what_every_service_takes() {
        let long = "猫ä".repeat(200);
        for text in
            ["", "plain a=b?", "Jörg 猫", " a", "a\n\tb", "=?UTF-8?B?eA==?=", "\u{7f}", &long]
        {
            let value = encode(text);
            assert!(value.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{value}");
            assert!(value.split(' ').all(|word| word.len() <= WORD_BYTES_MAX), "{value}");
            assert_eq!(decode(&value), text);
        }
        assert_eq!(encode("plain a=b?"), "plain a=b?");
        assert_eq!(encode("Jörg"), "=?UTF-8?B?SsO2cmc=?=");
    }

    #[test]
    fn what_others_write_is_read() {
        for (value, text) in [
            ("=?UTF-8?B?SsO2cmc=?=", "Jörg"),
            ("=?utf-8?q?J=C3=B6rg_x?=", "Jörg x"),
            ("=?ISO-8859-1*de?Q?J=F6rg?= =?UTF-8?Q?=E7=8C=AB?= b", "Jörg猫 b"),
            ("a =?UTF-8?Q?b?= c =?UTF-8?Q?d?=", "a b c d"),
            ("=?KOI8-R?Q?=C1?=", "=?KOI8-R?Q?=C1?="),
            ("=?UTF-8?B?***?=", "=?UTF-8?B?***?="),
            ("=?UTF-8?X?a?=", "=?UTF-8?X?a?="),
            ("=?UTF-8?Q?=ZZ?=", "=?UTF-8?Q?=ZZ?="),
            ("=?", "=?"),
            ("=?a?b", "=?a?b"),
            ("a=?=?UTF-8?Q?b?=", "a=?b"),
        ] {
            assert_eq!(decode(value), text, "{value}");
        }
        assert_eq!(of_bytes(b"J\xf6rg"), "Jörg");
        assert_eq!(of_bytes("Jörg".as_bytes()), "Jörg");
    }
}
