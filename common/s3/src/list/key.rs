//! Conversions between names below a root and keys of objects, in both directions.
//!
//! Keys are UTF-8, and names are bytes. Names are encoded as rclone does (the encoding
//! `Slash,InvalidUtf8,Dot` of its S3 backend, applied to names read from a disk), so that both
//! programs find each other's objects. A name in UTF-8 is its own key, and a byte that is not UTF-8
//! becomes `‛` (U+201B) and two upper-case hexadecimal digits. A `‛` in a name stays itself where
//! that cannot be misread, and is written as its three bytes in that form elsewhere. (rclone has no
//! key for such a name, and fails to copy it.)
//!
//! Keys come from the source or from other tools, so each is validated before it becomes a path.

use std::borrow::Cow;
use std::fmt::Write;

use types::object::metadata::RCLONE_LINK_SUFFIX;
use types::path::RelPath;
pub use types::service::InvalidKey;

/// The length of the longest key, in bytes of UTF-8 (Amazon S3 User Guide, "Naming Amazon S3
/// objects").
pub const KEY_BYTES_MAX: usize = 1024;

/// The length of the longest file name, in bytes (`NAME_MAX` of all common file systems,
/// limits.h(0p)).
pub const NAME_BYTES_MAX: usize = 255;

/// The character that begins an escape: SINGLE HIGH-REVERSED-9 QUOTATION MARK.
const QUOTE: char = '‛';

/// The characters that rclone quotes: replacements of characters that some store cannot hold, and
/// the quote itself. After a quote each forms one unit with it, both in names on disk and in keys.
const QUOTED: [char; 3] = [QUOTE, '␀', '／'];

/// Returns the key of the object for an entry.
///
/// # Errors
/// Returns [`InvalidKey::LongKey`] if the key exceeds [`KEY_BYTES_MAX`].
pub fn key_of_path(prefix: &str, path: &RelPath) -> Result<String, InvalidKey> {
    let names: Vec<_> = path.components().map(key_of_name).collect();
    let key = format!("{prefix}{}", names.join("/"));
    if key.len() > KEY_BYTES_MAX { Err(InvalidKey::LongKey) } else { Ok(key) }
}

/// Returns the key of a directory's marker, which is also the prefix of all keys in it. For the
/// root it is the store's prefix.
///
/// # Errors
/// Returns [`InvalidKey::LongKey`] if the key exceeds [`KEY_BYTES_MAX`].
pub fn marker_of_path(prefix: &str, path: &RelPath) -> Result<String, InvalidKey> {
    if path.is_root() {
        return Ok(prefix.to_owned());
    }
    let key = key_of_path(prefix, path)? + "/";
    if key.len() > KEY_BYTES_MAX { Err(InvalidKey::LongKey) } else { Ok(key) }
}

/// Decodes one component of a key to a name, and verifies that a file can have that name and that
/// encoding the name gives the same component. Otherwise two keys could name the same file.
///
/// # Errors
/// Returns the reason why the component is no valid name.
pub fn checked_name(component: &str) -> Result<Cow<'_, [u8]>, InvalidKey> {
    let name = name_of_key(component);
    match &*name {
        b"" => return Err(InvalidKey::EmptyComponent),
        b"." | b".." => return Err(InvalidKey::DotComponent),
        long if long.len() > NAME_BYTES_MAX => return Err(InvalidKey::LongName),
        nul if nul.contains(&0) => return Err(InvalidKey::Nul),
        slash if slash.contains(&b'/') => return Err(InvalidKey::EmptyComponent),
        _ => {}
    }
    // Only a component with an escape can differ from the encoding of its name, so all others skip
    // the check.
    let is_own_key = matches!(name, Cow::Borrowed(_)) || key_of_name(&name) == component;
    if is_own_key { Ok(name) } else { Err(InvalidKey::Escape) }
}

/// Encodes a name as one component of a key.
pub fn key_of_name(name: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(name) {
        Ok(text) if !text.contains(QUOTE) => Cow::Borrowed(text),
        _ => Cow::Owned(escaped(name)),
    }
}

/// Encodes a name that has bytes which are not UTF-8, or a quote.
fn escaped(name: &[u8]) -> String {
    let mut key = String::with_capacity(name.len() * 2);
    for chunk in name.utf8_chunks() {
        let mut text = chunk.valid();
        while let Some(start) = text.find(QUOTE) {
            key.push_str(&text[..start]);
            let (unit, rest) = text[start..].split_at(unit_bytes(&text[start..]));
            // A quote that stands alone, followed by text that would be read as the rest of an
            // escape, is escaped itself.
            if unit.len() == QUOTE.len_utf8() && is_misread(rest, !chunk.invalid().is_empty()) {
                push_bytes(&mut key, unit.as_bytes());
            } else {
                key.push_str(unit);
            }
            text = rest;
        }
        key.push_str(text);
        push_bytes(&mut key, chunk.invalid());
    }
    key
}

/// Returns the length in bytes of the quote at the beginning of the text, together with the
/// character that it quotes, if any.
fn unit_bytes(text: &str) -> usize {
    let quoted = text[QUOTE.len_utf8()..].chars().next().filter(|next| QUOTED.contains(next));
    QUOTE.len_utf8() + quoted.map_or(0, char::len_utf8)
}

/// Returns whether a quote left as it is before `rest` would begin an escape: before two digits, or
/// directly before the escape of an invalid byte.
fn is_misread(rest: &str, is_before_invalid: bool) -> bool {
    if rest.is_empty() { is_before_invalid } else { escaped_byte(rest).is_some() }
}

fn push_bytes(key: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(key, "{QUOTE}{byte:02X}");
    }
}

/// Returns the prefix of keys that a path in a bucket stands for: it is spelled as keys are, but
/// for components that are not UTF-8, which are names.
pub fn prefix_of_path(path: &[u8]) -> String {
    let component = |bytes| match std::str::from_utf8(bytes) {
        Ok(key) => Cow::Borrowed(key),
        Err(_) => key_of_name(bytes),
    };
    path.split(|byte| *byte == b'/').map(component).collect::<Vec<_>>().join("/")
}

/// Returns whether the last component of a path in a bucket is the name of an entry, and not the
/// key of one that has another name: the key made from that spelling would be yet another one.
pub fn ends_in_name(path: &[u8]) -> bool {
    let component = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let Ok(component) = std::str::from_utf8(component) else { return true };
    let name = name_of_key(component);
    let is_escaped = *name != *component.as_bytes() && key_of_name(&name) == component;
    let link = component.strip_suffix(RCLONE_LINK_SUFFIX);
    !is_escaped && link.is_none_or(str::is_empty)
}

/// Decodes a component of a key to bytes, without validating them: the result may be empty, `..`,
/// or contain a slash. See [`checked_name`].
pub fn name_of_key(component: &str) -> Cow<'_, [u8]> {
    if !component.contains(QUOTE) {
        return Cow::Borrowed(component.as_bytes());
    }
    let mut name = Vec::with_capacity(component.len());
    let mut text = component;
    while let Some(start) = text.find(QUOTE) {
        name.extend_from_slice(&text.as_bytes()[..start]);
        let (unit, rest) = text[start..].split_at(unit_bytes(&text[start..]));
        let byte = escaped_byte(rest).filter(|_| unit.len() == QUOTE.len_utf8());
        match byte {
            Some(byte) => name.push(byte),
            None => name.extend_from_slice(unit.as_bytes()),
        }
        text = if byte.is_some() { &rest[2..] } else { rest };
    }
    name.extend_from_slice(text.as_bytes());
    Cow::Owned(name)
}

/// Returns the byte that two digits after a quote encode. rclone also reads lower-case digits and
/// ASCII bytes but never writes them, so here they are plain text.
fn escaped_byte(digits: &str) -> Option<u8> {
    let &[high @ (b'8'..=b'9' | b'A'..=b'F'), low @ (b'0'..=b'9' | b'A'..=b'F'), ..] =
        digits.as_bytes()
    else {
        return None;
    };
    let value = |digit: u8| if digit <= b'9' { digit - b'0' } else { digit - b'A' + 10 };
    Some(value(high) << 4 | value(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The location of an object below a prefix, as its key tells it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    enum Located {
        /// An entry with that path.
        Entry(RelPath),
        /// The marker of the directory with that path, or its common prefix in a listing: the key
        /// ends in a slash. The marker of the root is the prefix itself.
        Directory(RelPath),
    }

    /// Decodes a key to the path below a prefix, which is empty or ends in a slash.
    ///
    /// # Errors
    /// Returns the reason why no file can have that path.
    fn path_of_key(prefix: &str, key: &str) -> Result<Located, InvalidKey> {
        let below = key.strip_prefix(prefix).ok_or(InvalidKey::Outside)?;
        if below.is_empty() {
            return Ok(Located::Directory(RelPath::root()));
        }
        if below.starts_with('/') {
            return Err(InvalidKey::LeadingSlash);
        }
        let (names, is_marker) = match below.strip_suffix('/') {
            Some(names) => (names, true),
            None => (below, false),
        };
        let names: Vec<_> = names.split('/').map(checked_name).collect::<Result<_, _>>()?;
        let path = RelPath::checked(&names.join(&b'/')).expect("each component was checked");
        Ok(if is_marker { Located::Directory(path) } else { Located::Entry(path) })
    }

    fn path(bytes: &[u8]) -> RelPath {
        RelPath::checked(bytes).unwrap()
    }

    #[test]
    fn names_get_the_keys_that_rclone_gives_them() {
        // Values of rclone 1.75.2, from a disk to a remote with the encoding of its S3 backend. The
        // first ones are also in the tests of its lib/encoder.
        let table: [(&[u8], &str); 25] = [
            (b"\xbf", "‛BF"),
            (b"\xbf\xfe", "‛BF‛FE"),
            (b"a\xbf\xfeb", "a‛BF‛FEb"),
            (b"a\xbf\xce\xbe\xfeb", "a‛BFξ‛FEb"),
            (b"...", "..."),
            (b". .", ". ."),
            (b"plain", "plain"),
            ("／".as_bytes(), "／"),
            ("Ａ／Ｂ".as_bytes(), "Ａ／Ｂ"),
            ("␀".as_bytes(), "␀"),
            ("．".as_bytes(), "．"),
            ("．．".as_bytes(), "．．"),
            ("‛．".as_bytes(), "‛．"),
            ("‛．‛．".as_bytes(), "‛．‛．"),
            ("‛‛".as_bytes(), "‛‛"),
            ("‛␀".as_bytes(), "‛␀"),
            ("‛／".as_bytes(), "‛／"),
            (b"\xe2\x80\x9b\xe2\x80\x9b\xbf", "‛‛‛BF"),
            (" a\tb\n\u{1}\u{7f}\\ ".as_bytes(), " a\tb\n\u{1}\u{7f}\\ "),
            ("\u{fffd}".as_bytes(), "\u{fffd}"),
            (b"\xed\xa0\x80", "‛ED‛A0‛80"),
            (b"\xe2\x80", "‛E2‛80"),
            (b"\xf0\x9f\x98", "‛F0‛9F‛98"),
            (b"\xc0\xaf", "‛C0‛AF"),
            ("U\u{308}ber ␉␡%2F+&".as_bytes(), "U\u{308}ber ␉␡%2F+&"),
        ];
        for (name, key) in table {
            assert_eq!(key_of_name(name), key);
            assert_eq!(&*checked_name(key).unwrap(), name, "{key}");
        }
    }

    #[test]
    fn names_that_rclone_cannot_copy_have_keys_too() {
        let table: [(&[u8], &str); 8] = [
            ("don‛t".as_bytes(), "don‛t"),
            ("‛".as_bytes(), "‛"),
            ("‛‛‛".as_bytes(), "‛‛‛"),
            ("‛BF".as_bytes(), "‛E2‛80‛9BBF"),
            ("‛‛BF".as_bytes(), "‛‛BF"),
            ("‛bf ‛41 ‛8".as_bytes(), "‛bf ‛41 ‛8"),
            (b"\xe2\x80\x9b\xbf", "‛E2‛80‛9B‛BF"),
            ("‛‛‛E2".as_bytes(), "‛‛‛E2‛80‛9BE2"),
        ];
        for (name, key) in table {
            assert_eq!(key_of_name(name), key);
            assert_eq!(&*checked_name(key).unwrap(), name, "{key}");
        }
    }

    /// Fragments that meet at every boundary of the grammar.
    const PIECES: [&[u8]; 16] = [
        "‛".as_bytes(),
        "‛".as_bytes(),
        b"\xe2",
        b"\x80",
        b"\x9b",
        b"\xbf",
        b"BF",
        b"9B",
        b"E2",
        b"8",
        b"bf",
        "␀".as_bytes(),
        "／".as_bytes(),
        "．".as_bytes(),
        b"x",
        "ä".as_bytes(),
    ];

    #[test]
    fn every_name_comes_back_from_its_key() {
        let mut random = fastrand::Rng::with_seed(4);
        for round in 0..200_000 {
            let length = random.usize(1..7);
            let name: Vec<u8> = if round % 2 == 0 {
                std::iter::repeat_with(|| random.choice(PIECES).unwrap())
                    .take(length)
                    .flatten()
                    .copied()
                    .collect()
            } else {
                std::iter::repeat_with(|| random.u8(1..)).take(length * 4).collect()
            };
            if name.contains(&b'/') || name == b"." || name == b".." {
                continue;
            }
            let key = key_of_name(&name);
            let back = checked_name(&key);
            assert_eq!(back.as_deref(), Ok(&name[..]), "{} {key}", name.escape_ascii());
        }
    }

    #[test]
    fn a_key_that_is_a_name_is_the_key_of_that_name() {
        let mut random = fastrand::Rng::with_seed(5);
        let letters: Vec<char> = "‛‛‛␀／．89ABEF2bx./".chars().collect();
        let (mut fit, mut invalid_key) = (0, 0);
        for _ in 0..200_000 {
            let length = random.usize(1..9);
            let key: String =
                std::iter::repeat_with(|| *random.choice(&letters).unwrap()).take(length).collect();
            match path_of_key("", &key) {
                Ok(Located::Entry(path)) => assert_eq!(key_of_path("", &path).unwrap(), key),
                Ok(Located::Directory(path)) => assert_eq!(marker_of_path("", &path).unwrap(), key),
                Err(_) => invalid_key += 1,
            }
            fit += 1;
        }
        assert!(invalid_key > 1000 && fit - invalid_key > 100_000, "{invalid_key} of {fit}");
    }

    #[test]
    fn keys_are_paths_below_the_prefix() {
        let entry = |bytes| Ok(Located::Entry(path(bytes)));
        let directory = |bytes| Ok(Located::Directory(path(bytes)));
        let long = "n".repeat(255);
        for (prefix, key, expected) in [
            ("", "a", entry(b"a")),
            ("", "a/b", entry(b"a/b")),
            ("p/", "p/a/b", entry(b"a/b")),
            ("p/q/", "p/q/a‛FF", entry(b"a\xff")),
            ("p/", "p/a/", directory(b"a")),
            ("p/", "p/", directory(b"")),
            ("", "a/b/", directory(b"a/b")),
            ("", "...", entry(b"...")),
            ("", "a\n\u{202e}", entry("a\n\u{202e}".as_bytes())),
            ("p/", "p", Err(InvalidKey::Outside)),
            ("p/", "q/a", Err(InvalidKey::Outside)),
            ("p/", "p//a", Err(InvalidKey::LeadingSlash)),
            ("", "/", Err(InvalidKey::LeadingSlash)),
            ("", "/etc/passwd", Err(InvalidKey::LeadingSlash)),
            ("", "a//b", Err(InvalidKey::EmptyComponent)),
            ("", "a//", Err(InvalidKey::EmptyComponent)),
            ("", ".", Err(InvalidKey::DotComponent)),
            ("", "./", Err(InvalidKey::DotComponent)),
            ("p/", "p/../x", Err(InvalidKey::DotComponent)),
            ("", "a/..", Err(InvalidKey::DotComponent)),
            ("", "a\0b", Err(InvalidKey::Nul)),
            ("", &format!("{long}n/a"), Err(InvalidKey::LongName)),
            ("", &long, entry(long.as_bytes())),
            ("", "‛C3‛A4", Err(InvalidKey::Escape)),
            ("", "a/‛E2‛80‛9Bt", Err(InvalidKey::Escape)),
        ] {
            assert_eq!(path_of_key(prefix, key), expected, "{prefix} {key:?}");
        }
    }

    #[test]
    fn paths_are_keys_up_to_their_greatest_length() {
        assert_eq!(key_of_path("p/", &path(b"a/b\xff")), Ok("p/a/b‛FF".into()));
        assert_eq!(marker_of_path("p/", &path(b"a")), Ok("p/a/".into()));
        assert_eq!(marker_of_path("p/", &RelPath::root()), Ok("p/".into()));
        assert_eq!(marker_of_path("", &RelPath::root()), Ok(String::new()));

        let fits = path(vec!["n".repeat(255); 4].join("/").as_bytes());
        assert_eq!(key_of_path("p", &fits).unwrap().len(), KEY_BYTES_MAX);
        assert_eq!(marker_of_path("p", &fits), Err(InvalidKey::LongKey));
        assert_eq!(key_of_path("p/", &fits), Err(InvalidKey::LongKey));
        // Each byte that is not UTF-8 takes five bytes in the key.
        assert_eq!(key_of_path("", &path(&[0xff; 205])), Err(InvalidKey::LongKey));
    }

    #[test]
    fn each_reason_has_its_words() {
        use InvalidKey::{
            Blank, DotComponent, EmptyComponent, Escape, LeadingSlash, LinkName, LongKey, LongName,
            Nul, Outside,
        };
        let all = [
            Outside,
            LeadingSlash,
            EmptyComponent,
            DotComponent,
            Nul,
            LongName,
            LongKey,
            Escape,
            LinkName,
            Blank,
        ];
        let words: std::collections::BTreeSet<_> = all.iter().map(ToString::to_string).collect();
        let codes: std::collections::BTreeSet<_> = all.iter().map(|why| why.code()).collect();
        assert_eq!((words.len(), codes.len()), (all.len(), all.len()));
        assert!(words.iter().all(|line| !line.contains('\n')));
    }
}
