//! Names of one directory, packed.

use std::ffi::CStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::base::path::Name;
use crate::model::entry::{Hint, Listed};

/// Names with what the listing says of each: for each a byte for the hint (and what else a listing says
/// of an object), the name, a NUL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameBatch {
    count: u32,
    /// Where the first name that is left begins.
    begin: usize,
    bytes: Vec<u8>,
}

impl Serialize for NameBatch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.count, &self.bytes[self.begin..]).serialize(serializer)
    }
}

impl NameBatch {
    /// Adds a name.
    pub fn push(&mut self, name: &Name, hint: Hint) {
        self.count += 1;
        push_hint(&mut self.bytes, hint);
        self.bytes.extend_from_slice(name.to_bytes_with_nul());
    }

    /// Names that are left.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// No name is left.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Takes the first name out and hands it to `visit`; `None` when there is none.
    pub fn take_first<T>(&mut self, visit: impl FnOnce(&Name, Hint) -> T) -> Option<T> {
        let (hint, name) = first_name(&self.bytes[self.begin..])?;
        let next = self.begin + length_of(hint) + name.to_bytes_with_nul().len();
        let visited = visit(name, hint);
        self.begin = next;
        self.count -= 1;
        Some(visited)
    }

    /// Keeps the first half of the names that are left, and returns the second.
    #[must_use]
    pub fn split_off_half(&mut self) -> Self {
        let kept = self.count.div_ceil(2);
        let mut at = self.begin;
        for _ in 0..kept {
            at += first_name(&self.bytes[at..])
                .map_or(0, |(hint, name)| length_of(hint) + name.to_bytes_with_nul().len());
        }
        let bytes = self.bytes.split_off(at);
        let half = Self { count: self.count - kept, begin: 0, bytes };
        self.count = kept;
        half
    }
}

fn first_name(bytes: &[u8]) -> Option<(Hint, &Name)> {
    let (hint, rest) = take_hint(bytes)?;
    let name = CStr::from_bytes_until_nul(rest).ok()?;
    Some((hint, name))
}

/// Hints without further words, each by its place.
const PLAIN: [Hint; 5] = [Hint::File, Hint::Directory, Hint::Symlink, Hint::Other, Hint::Unknown];
const OBJECT: u8 = PLAIN.len() as u8;

fn push_hint(bytes: &mut Vec<u8>, hint: Hint) {
    match hint {
        Hint::Object(listed) => {
            bytes.push(OBJECT);
            bytes.extend_from_slice(&listed.size_bytes.to_le_bytes());
            bytes.extend_from_slice(&listed.stored_seconds.to_le_bytes());
        }
        plain => {
            let place = PLAIN.iter().position(|hint| *hint == plain);
            bytes.push(place.expect("all others are in the table") as u8);
        }
    }
}

fn take_hint(bytes: &[u8]) -> Option<(Hint, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    if *first != OBJECT {
        return Some((*PLAIN.get(usize::from(*first))?, rest));
    }
    let (size, rest) = rest.split_first_chunk()?;
    let (stored, rest) = rest.split_first_chunk()?;
    let size_bytes = u64::from_le_bytes(*size);
    let stored_seconds = i64::from_le_bytes(*stored);
    Some((Hint::Object(Listed { size_bytes, stored_seconds }), rest))
}

/// Bytes that a hint takes.
fn length_of(hint: Hint) -> usize {
    if matches!(hint, Hint::Object(_)) { 1 + 8 + 8 } else { 1 }
}

/// From another rank: every name is checked to be one component, so that nothing can lead outside.
impl<'de> Deserialize<'de> for NameBatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (count, bytes) = <(u32, Vec<u8>)>::deserialize(deserializer)?;
        let foreign = || serde::de::Error::custom("names of a directory are torn");
        let (mut rest, mut names) = (&bytes[..], 0);
        while !rest.is_empty() {
            let (hint, name) = first_name(rest).ok_or_else(foreign)?;
            let sound = !matches!(name.to_bytes(), b"" | b"." | b"..");
            if !sound || name.to_bytes().contains(&b'/') {
                return Err(foreign());
            }
            rest = &rest[length_of(hint) + name.to_bytes_with_nul().len()..];
            names += 1;
        }
        if names != count {
            return Err(foreign());
        }
        Ok(Self { count, begin: 0, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;

    fn batch_of(count: usize) -> NameBatch {
        let mut batch = NameBatch::default();
        for number in 0..count {
            let name = CString::new(format!("name-{number}\u{1}\n")).unwrap();
            batch.push(&name, Hint::File);
        }
        batch
    }

    fn drain(mut batch: NameBatch) -> Vec<CString> {
        std::iter::from_fn(|| batch.take_first(|name, _| name.to_owned())).collect()
    }

    #[test]
    fn splitting_loses_and_repeats_nothing() {
        for count in [1, 2, 3, 255] {
            let mut first = batch_of(count);
            let head = first.take_first(|name, _| name.to_owned());
            let second = first.split_off_half();
            let names: Vec<_> = head.into_iter().chain(drain(first)).chain(drain(second)).collect();
            assert_eq!(names, drain(batch_of(count)));
        }
    }

    #[test]
    fn a_batch_survives_the_wire_and_a_torn_one_is_refused() {
        let bytes = postcard::to_stdvec(&batch_of(20)).unwrap();
        assert_eq!(postcard::from_bytes::<NameBatch>(&bytes).unwrap(), batch_of(20));
        for end in 0..bytes.len() {
            assert!(postcard::from_bytes::<NameBatch>(&bytes[..end]).is_err());
        }
        for bad in [&b"\0..\0"[..], b"\0a/b\0", b"\0\0", b"\x09a\0", b"\0a"] {
            let wire = postcard::to_stdvec(&(1_u32, bad.to_vec())).unwrap();
            assert!(postcard::from_bytes::<NameBatch>(&wire).is_err(), "{}", bad.escape_ascii());
        }
    }
}
