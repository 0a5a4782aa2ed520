//! Names and paths as bytes: any byte but `/` and NUL in a name, no limit on a path's length.

use std::ffi::{CStr, CString};
use std::fmt::Write;

use serde::{Deserialize, Serialize};

/// One component of a path: never empty, never `.` or `..`, no `/`.
///
/// A C string, because that is what the kernel gives and takes: no copy, no conversion.
pub type Name = CStr;

/// Path of an entry below a root: components joined by `/`; empty for the root itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct RelPath(Box<[u8]>);

impl RelPath {
    /// Returns the path of the root itself.
    pub fn root() -> Self {
        Self::default()
    }

    /// Returns the path of the entry of that name in this directory.
    #[must_use]
    pub fn child(&self, name: &Name) -> Self {
        Self(join(&self.0, name.to_bytes()).into())
    }

    /// Returns the bytes, for display and for messages.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns true for the root itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the number of components.
    pub fn depth(&self) -> usize {
        self.components().count()
    }

    /// Returns the path of the parent and the last component; `None` for a root.
    pub fn split_last(&self) -> Option<(Self, CString)> {
        let last = self.components().last()?;
        let name = CString::new(last).ok()?;
        let head = &self.as_bytes()[..self.as_bytes().len() - last.len()];
        let parent = Self::checked(head.strip_suffix(b"/").unwrap_or(head))?;
        Some((parent, name))
    }

    /// Returns the components from the root down.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/').filter(|component| !component.is_empty())
    }

    /// Accepts only what [`RelPath::child`] could have made.
    ///
    /// # Errors
    /// `None` for bytes that would leave the root or are not a path: from a truncated or foreign
    /// message.
    pub fn checked(bytes: &[u8]) -> Option<Self> {
        let sound = |part: &[u8]| !part.is_empty() && part != b"." && part != b"..";
        let clean = bytes.is_empty() || bytes.split(|byte| *byte == b'/').all(sound);
        (clean && !bytes.contains(&0)).then(|| Self(bytes.into()))
    }
}

/// Joins two paths as `head/tail`; returns one of them where the other is empty.
pub fn join(head: &[u8], tail: &[u8]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(head.len() + 1 + tail.len());
    append(head, tail, &mut joined);
    joined
}

/// Appends two paths, joined in that way.
pub fn append(head: &[u8], tail: &[u8], joined: &mut Vec<u8>) {
    joined.extend_from_slice(head);
    if !head.is_empty() && !tail.is_empty() && head.last() != Some(&b'/') {
        joined.push(b'/');
    }
    joined.extend_from_slice(tail);
}

/// Returns a path with a slash at its end, which stands for what is in the directory. A second
/// slash would be part of a key in S3.
pub fn contents_of(path: &[u8]) -> Vec<u8> {
    let slash: &[u8] = if path.ends_with(b"/") { b"" } else { b"/" };
    [path, slash].concat()
}

/// Returns a path without slashes at its end; empty for `/`.
pub fn without_end_slashes(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    &path[..end]
}

/// Returns the path of the parent of an entry below a root, both in the form of [`RelPath`]; `None`
/// for the root.
pub fn parent(below: &[u8]) -> Option<&[u8]> {
    let slash = below.iter().rposition(|byte| *byte == b'/');
    (!below.is_empty()).then(|| &below[..slash.unwrap_or(0)])
}

/// Formats a path as one line of text that names no other path: UTF-8 as it is; `\`, `"`, hidden
/// characters ([`is_hidden`]) and bytes that are not UTF-8 escaped as in Rust or C.
///
/// The escapes can be undone: `\\`, `\"`, `\n`, `\t`, `\r`, `\xNN` for a byte, `\u{…}` for a
/// character.
pub fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|character| push_escaped(&mut text, character));
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

fn push_escaped(text: &mut String, character: char) {
    match character {
        '\\' | '"' | '\n' | '\t' | '\r' => text.extend(character.escape_default()),
        control if control.is_control() && control.is_ascii() => {
            let _ = write!(text, "\\x{:02x}", control as u32);
        }
        hidden if is_hidden(hidden) => text.extend(hidden.escape_unicode()),
        plain => text.push(plain),
    }
}

/// Returns true for a character that could disguise a name or control a terminal: control
/// characters (C0, DEL, C1), those that reorder the text around them, separators of lines and
/// paragraphs, and invisible ones (Unicode Standard, `Default_Ignorable_Code_Point` and invisible
/// ones of category Cf).
pub fn is_hidden(character: char) -> bool {
    character.is_control()
        || !character.is_ascii()
            && matches!(
                character,
                '\u{ad}'
                    | '\u{34f}'
                    | '\u{61c}'
                    | '\u{115f}'..='\u{1160}'
                    | '\u{17b4}'..='\u{17b5}'
                    | '\u{180b}'..='\u{180f}'
                    | '\u{200b}'..='\u{200f}'
                    | '\u{2028}'..='\u{202e}'
                    | '\u{2060}'..='\u{206f}'
                    | '\u{3164}'
                    | '\u{fe00}'..='\u{fe0f}'
                    | '\u{feff}'
                    | '\u{ffa0}'
                    | '\u{fff0}'..='\u{fffb}'
                    | '\u{1bca0}'..='\u{1bca3}'
                    | '\u{1d173}'..='\u{1d17a}'
                    | '\u{e0000}'..='\u{e0fff}'
            )
}

/// Returns the name in lower case: of all scripts where it is UTF-8, otherwise of ASCII.
pub fn in_small_letters(bytes: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_lowercase().into_bytes(),
        Err(_) => bytes.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_and_trailing_slashes_of_paths_below_a_root() {
        for (below, above) in [("a/b/c", Some("a/b")), ("a", Some("")), ("", None)] {
            assert_eq!(parent(below.as_bytes()), above.map(str::as_bytes), "{below}");
        }
        for (path, bare) in [("a/b", "a/b"), ("a//", "a"), ("/", ""), ("", ""), ("/a/", "/a")] {
            assert_eq!(without_end_slashes(path.as_bytes()), bare.as_bytes(), "{path}");
        }
    }

    #[test]
    fn children_join_with_one_slash() {
        let path = RelPath::root().child(c"a").child(c"b");
        assert_eq!(path.as_bytes(), b"a/b");
        assert_eq!(path.depth(), 2);
        assert_eq!(RelPath::root().depth(), 0);
    }

    #[test]
    fn foreign_bytes_that_would_leave_the_root_are_refused() {
        for bad in [&b"../x"[..], b"/x", b"a//b", b"a/./b", b"a/..", b"a\0b"] {
            assert_eq!(RelPath::checked(bad), None, "{}", escaped(bad));
        }
        assert!(RelPath::checked(b"").is_some());
        assert!(RelPath::checked(b"a/..b").is_some());
    }

    #[test]
    fn hostile_names_are_one_harmless_line() {
        assert_eq!(escaped(b"a\nb\x1b[2J\xff\\\""), r#"a\nb\x1b[2J\xff\\\""#);
        assert_eq!(escaped("ä\u{202e}x\u{85}".as_bytes()), "ä\\u{202e}x\\u{85}");
        assert_eq!(escaped("a\u{200b}\u{feff}\u{7f}".as_bytes()), "a\\u{200b}\\u{feff}\\x7f");
        // Letters with marks of their own, as macOS writes them, stay as they are.
        assert_eq!(escaped("a\u{308} 猫\u{a0}".as_bytes()), "a\u{308} 猫\u{a0}");
    }
}
