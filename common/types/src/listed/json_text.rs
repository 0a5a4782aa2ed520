//! JSON that shows its content: characters that change or hide what a terminal displays are
//! escaped, which every JSON parser undoes.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

use crate::path::is_hidden;

/// Version of the events of `--json`: it changes when a key is renamed or removed.
pub const EVENTS_VERSION: u32 = 1;

/// Appends a value as one line of JSON.
pub fn write_line(value: &impl Serialize, lines: &mut Vec<u8>) {
    let mut serializer = Serializer::with_formatter(&mut *lines, Visible);
    value.serialize(&mut serializer).expect("plain values always serialise");
    lines.push(b'\n');
}

/// Formatter for compact JSON, with all hidden characters of strings as `\uXXXX`.
struct Visible;

impl Formatter for Visible {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        // Most strings, and all keys.
        if fragment.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut rest = fragment;
        while let Some((at, hidden)) = rest.char_indices().find(|(_, it)| is_hidden(*it)) {
            writer.write_all(&rest.as_bytes()[..at])?;
            for unit in hidden.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = &rest[at + hidden.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_escaped_and_come_back() {
        let text = "a\u{7f}\u{9b}31m\u{202e}gpj\u{200b}.\u{e0041}\u{2028}exe ä 猫\n\"";
        let mut lines = Vec::new();
        write_line(&text, &mut lines);
        let shown = String::from_utf8(lines).unwrap();
        assert_eq!(
            shown,
            "\"a\\u007f\\u009b31m\\u202egpj\\u200b.\\udb40\\udc41\\u2028exe ä 猫\\n\\\"\"\n"
        );
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
    }
}
