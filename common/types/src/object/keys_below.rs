//! All keys below a directory of objects, packed, so that no request for each directory below it is
//! needed.
//!
//! Tasks carry them from rank to rank, so they are small, and checked when they come.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::entry::{Hint, Listed};

/// Keys without their common prefix, with their properties from the listing. Each is packed as
/// size, time, length of the key, and key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeysBelow {
    count: usize,
    bytes: Vec<u8>,
}

/// Entries directly below a prefix, as a listing with a delimiter would tell them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// Objects directly below.
    pub objects: Vec<(String, Hint)>,
    /// Keys of each subdirectory, by its common prefix, which ends in a slash.
    pub directories: BTreeMap<String, KeysBelow>,
}

impl KeysBelow {
    /// Adds a key.
    pub fn push(&mut self, key: &str, listed: Listed) {
        self.count += 1;
        self.bytes.extend_from_slice(&listed.size_bytes.to_le_bytes());
        self.bytes.extend_from_slice(&listed.stored_seconds.to_le_bytes());
        self.bytes.extend_from_slice(&(key.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(key.as_bytes());
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Returns true where there are no keys.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns all keys in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Listed)> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || {
            let (key, listed, behind) = first_key(rest)?;
            rest = behind;
            Some((key, listed))
        })
    }

    /// Returns the entries directly below, whatever the order of the keys. An empty key is the
    /// directory's own marker, and not an entry.
    pub fn fold(&self) -> Folded {
        let mut folded = Folded::default();
        for (key, listed) in self.iter() {
            match directory_of(key) {
                Some(directory) => {
                    let below = &key[directory.len()..];
                    if let Some(keys) = folded.directories.get_mut(directory) {
                        keys.push(below, listed);
                    } else {
                        let keys = folded.directories.entry(directory.to_owned()).or_default();
                        keys.push(below, listed);
                    }
                }
                None if key.is_empty() => {}
                None => folded.objects.push((key.to_owned(), Hint::Object(listed))),
            }
        }
        folded
    }

    /// Returns the packed keys.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Checks packed keys that come from another rank; `None` where they are malformed.
    pub fn checked(bytes: &[u8]) -> Option<Self> {
        let (mut rest, mut count) = (bytes, 0);
        while !rest.is_empty() {
            rest = first_key(rest)?.2;
            count += 1;
        }
        Some(Self { count, bytes: bytes.to_owned() })
    }
}

/// Returns the common prefix by which a listing with a delimiter would replace the key.
pub fn directory_of(key: &str) -> Option<&str> {
    key.find('/').map(|slash| &key[..=slash])
}

/// Returns the first key, its properties, and the rest of the bytes.
fn first_key(bytes: &[u8]) -> Option<(&str, Listed, &[u8])> {
    let (size, rest) = bytes.split_first_chunk()?;
    let (stored, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (key, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let size_bytes = u64::from_le_bytes(*size);
    let stored_seconds = i64::from_le_bytes(*stored);
    Some((std::str::from_utf8(key).ok()?, Listed { size_bytes, stored_seconds }, rest))
}

impl Serialize for KeysBelow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.bytes.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for KeysBelow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        let torn = || serde::de::Error::custom("keys of a directory are truncated");
        Self::checked(&bytes).ok_or_else(torn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: Listed = Listed { size_bytes: 7, stored_seconds: -1 };

    fn keys(keys: &[&str]) -> KeysBelow {
        let mut below = KeysBelow::default();
        for key in keys {
            below.push(key, LISTED);
        }
        below
    }

    #[test]
    fn what_is_directly_below_is_what_a_delimiter_would_tell() {
        let folded =
            keys(&["", "a", "a/", "a/b/c", "a//d", "/e", "f.rclonelink", "g/h", "a/i"]).fold();
        let objects: Vec<&str> = folded.objects.iter().map(|(key, _)| &**key).collect();
        assert_eq!(objects, ["a", "f.rclonelink"]);
        let expected = [
            ("/".to_owned(), keys(&["e"])),
            ("a/".to_owned(), keys(&["", "b/c", "/d", "i"])),
            ("g/".to_owned(), keys(&["h"])),
        ];
        assert!(folded.directories.into_iter().eq(expected));
    }

    #[test]
    fn keys_survive_the_wire_and_torn_ones_are_refused() {
        let all = keys(&["a", "b/ä\0\n", ""]);
        assert_eq!((all.len(), all.is_empty(), keys(&[]).is_empty()), (3, false, true));
        let wire = postcard::to_stdvec(&all).unwrap();
        assert_eq!(postcard::from_bytes::<KeysBelow>(&wire).unwrap(), all);
        let bytes = all.as_bytes();
        let whole = (0..=bytes.len()).filter(|end| KeysBelow::checked(&bytes[..*end]).is_some());
        assert_eq!(whole.count(), 4, "behind each key, and where there is none");
    }
}
