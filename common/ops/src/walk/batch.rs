//! Batches of names of one directory, in a compact form for queues and messages.

use std::ffi::CStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use types::content::crc64::Crc64;
use types::entry::{Hint, Listed, Recorded, Time};
use types::object::keys_below::KeysBelow;
use types::path::Name;

/// Names with the facts of the listing. Each is packed as one byte for the hint, further facts of
/// objects or all keys below a directory, the name, and a NUL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameBatch {
    count: u32,
    /// The offset at which the first remaining name begins.
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

    /// Adds a directory of objects all of whose keys are known.
    pub fn push_known(&mut self, name: &Name, below: &KeysBelow) {
        self.count += 1;
        self.bytes.push(KNOWN);
        self.bytes.extend_from_slice(&(below.as_bytes().len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(below.as_bytes());
        self.bytes.extend_from_slice(name.to_bytes_with_nul());
    }

    /// Returns the number of remaining names.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Returns whether no name remains.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns the first names that remain, up to that many.
    pub fn first(&self, count: usize) -> Vec<(&Name, Hint)> {
        let mut rest = &self.bytes[self.begin..];
        let next = || {
            let item = Item::first(rest)?;
            rest = &rest[item.length_bytes..];
            Some((item.name, item.hint))
        };
        std::iter::from_fn(next).take(count).collect()
    }

    /// Removes the first name and passes it to `visit`, with all keys below it where they are
    /// known. Returns `None` if no name remains.
    pub fn take_first<T>(
        &mut self,
        visit: impl FnOnce(&Name, Hint, Option<KeysBelow>) -> T,
    ) -> Option<T> {
        let first = Item::first(&self.bytes[self.begin..])?;
        let next = self.begin + first.length_bytes;
        let visited = visit(first.name, first.hint, first.below.and_then(KeysBelow::checked));
        self.begin = next;
        self.count -= 1;
        Some(visited)
    }

    /// Adds the names of another batch behind these.
    pub fn append(&mut self, behind: &Self) {
        self.count += behind.count;
        self.bytes.extend_from_slice(&behind.bytes[behind.begin..]);
    }

    /// Passes on the remaining names in byte order, in batches of at most that many.
    pub fn in_order(self, names_max: usize, mut take: impl FnMut(Self)) {
        let mut rest = &self.bytes[self.begin..];
        let mut items = Vec::with_capacity(self.len());
        while let Some(item) = Item::first(rest) {
            let (packed, behind) = rest.split_at(item.length_bytes);
            items.push((item.name.to_bytes(), packed));
            rest = behind;
        }
        items.sort_unstable();
        for items in items.chunks(names_max) {
            let bytes = items.iter().flat_map(|(_, packed)| *packed).copied().collect();
            take(Self { count: items.len() as u32, begin: 0, bytes });
        }
    }

    /// Keeps the first half of the remaining names, and returns the second.
    #[must_use]
    pub fn split_off_half(&mut self) -> Self {
        let kept = self.count.div_ceil(2);
        let mut at = self.begin;
        for _ in 0..kept {
            at += Item::first(&self.bytes[at..]).map_or(0, |item| item.length_bytes);
        }
        let bytes = self.bytes.split_off(at);
        let half = Self { count: self.count - kept, begin: 0, bytes };
        self.count = kept;
        half
    }
}

/// One packed name.
struct Item<'b> {
    name: &'b Name,
    hint: Hint,
    below: Option<&'b [u8]>,
    length_bytes: usize,
}

impl<'b> Item<'b> {
    fn first(bytes: &'b [u8]) -> Option<Self> {
        let (hint, below, rest) = match bytes.split_first()? {
            (&KNOWN, rest) => {
                let (length, rest) = rest.split_first_chunk()?;
                let (below, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
                (Hint::Directory, Some(below), rest)
            }
            _ => take_hint(bytes).map(|(hint, rest)| (hint, None, rest))?,
        };
        let name = CStr::from_bytes_until_nul(rest).ok()?;
        let left = rest.len() - name.to_bytes_with_nul().len();
        Some(Self { name, hint, below, length_bytes: bytes.len() - left })
    }

    /// Returns whether the name is a single component, so that it cannot lead out of its directory,
    /// and all keys below it are well-formed.
    fn is_sound(&self) -> bool {
        !matches!(self.name.to_bytes(), b"" | b"." | b"..")
            && !self.name.to_bytes().contains(&b'/')
            && self.below.is_none_or(|below| KeysBelow::checked(below).is_some())
    }
}

/// Hints that are packed as their index alone.
const PLAIN: [Hint; 5] = [Hint::File, Hint::Directory, Hint::Symlink, Hint::Other, Hint::Unknown];
/// The code of an object with the facts of its listing.
const OBJECT: u8 = PLAIN.len() as u8;
/// The code of a directory of objects with all keys below it.
const KNOWN: u8 = OBJECT + 1;
/// The code of a file with the facts of a manifest.
const RECORDED: u8 = KNOWN + 1;

fn push_hint(bytes: &mut Vec<u8>, hint: Hint) {
    match hint {
        Hint::Object(listed) => {
            bytes.push(OBJECT);
            bytes.extend_from_slice(&listed.size_bytes.to_le_bytes());
            bytes.extend_from_slice(&listed.stored_seconds.to_le_bytes());
        }
        Hint::Recorded(recorded) => {
            bytes.push(RECORDED);
            bytes.extend_from_slice(&recorded.size_bytes.to_le_bytes());
            bytes.extend_from_slice(&recorded.mtime.seconds.to_le_bytes());
            bytes.extend_from_slice(&recorded.mtime.nanoseconds.to_le_bytes());
            bytes.extend_from_slice(&recorded.crc64.0.to_le_bytes());
        }
        plain => {
            let dir_ref = PLAIN.iter().position(|hint| *hint == plain);
            bytes.push(dir_ref.expect("all others are in the table") as u8);
        }
    }
}

fn take_hint(bytes: &[u8]) -> Option<(Hint, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    match *first {
        OBJECT => take_listed(rest),
        RECORDED => take_recorded(rest),
        plain => Some((*PLAIN.get(usize::from(plain))?, rest)),
    }
}

fn take_recorded(rest: &[u8]) -> Option<(Hint, &[u8])> {
    let (size, rest) = rest.split_first_chunk()?;
    let (seconds, rest) = rest.split_first_chunk()?;
    let (nanoseconds, rest) = rest.split_first_chunk()?;
    let (sum, rest) = rest.split_first_chunk()?;
    let recorded = Recorded {
        size_bytes: u64::from_le_bytes(*size),
        mtime: Time {
            seconds: i64::from_le_bytes(*seconds),
            nanoseconds: u32::from_le_bytes(*nanoseconds),
        },
        crc64: Crc64(u64::from_le_bytes(*sum)),
    };
    Some((Hint::Recorded(recorded), rest))
}

fn take_listed(rest: &[u8]) -> Option<(Hint, &[u8])> {
    let (size, rest) = rest.split_first_chunk()?;
    let (stored, rest) = rest.split_first_chunk()?;
    let size_bytes = u64::from_le_bytes(*size);
    let stored_seconds = i64::from_le_bytes(*stored);
    Some((Hint::Object(Listed { size_bytes, stored_seconds }), rest))
}

/// Decodes a batch from another rank. Every name is validated to be a single component, so that
/// none can lead out of its directory.
impl<'de> Deserialize<'de> for NameBatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (count, bytes) = <(u32, Vec<u8>)>::deserialize(deserializer)?;
        let foreign = || serde::de::Error::custom("names of a directory are truncated");
        let (mut rest, mut names) = (&bytes[..], 0);
        while !rest.is_empty() {
            let item = Item::first(rest).filter(Item::is_sound).ok_or_else(foreign)?;
            rest = &rest[item.length_bytes..];
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

    fn keys() -> KeysBelow {
        let mut keys = KeysBelow::default();
        keys.push("a/b", Listed { size_bytes: 1, stored_seconds: 2 });
        keys
    }

    fn batch_of(count: usize) -> NameBatch {
        let mut batch = NameBatch::default();
        for number in 0..count {
            let name = CString::new(format!("name-{number}\u{1}\n")).unwrap();
            if number % 3 == 1 {
                batch.push_known(&name, &keys());
            } else {
                batch.push(&name, Hint::File);
            }
        }
        batch
    }

    fn drain(mut batch: NameBatch) -> Vec<(CString, Option<KeysBelow>)> {
        let owned = |name: &Name, _, below| (name.to_owned(), below);
        std::iter::from_fn(|| batch.take_first(owned)).collect()
    }

    #[test]
    fn splitting_loses_and_repeats_nothing() {
        for count in [1, 2, 3, 255] {
            let mut first = batch_of(count);
            let head = first.take_first(|name, _, below| (name.to_owned(), below));
            let second = first.split_off_half();
            let names: Vec<_> = head.into_iter().chain(drain(first)).chain(drain(second)).collect();
            assert_eq!(names, drain(batch_of(count)));
        }
    }

    #[test]
    fn sorted_batches_have_every_name_once_and_in_order() {
        let mut batch = batch_of(300);
        let first = batch.take_first(|name, _, below| (name.to_owned(), below)).unwrap();
        let mut sorted = Vec::new();
        batch.in_order(64, |batch| sorted.push(batch));
        assert!(
            sorted.iter().all(|batch| batch.len() <= 64) && sorted.len() == 299_usize.div_ceil(64)
        );
        let mut names: Vec<_> = sorted.into_iter().flat_map(drain).collect();
        assert!(names.is_sorted_by_key(|(name, _)| name.clone()));
        names.push(first);
        names.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        let mut expected = drain(batch_of(300));
        expected.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(names, expected);
    }

    #[test]
    fn a_batch_survives_the_wire_and_a_torn_one_is_refused() {
        let bytes = postcard::to_stdvec(&batch_of(20)).unwrap();
        assert_eq!(postcard::from_bytes::<NameBatch>(&bytes).unwrap(), batch_of(20));
        for end in 0..bytes.len() {
            assert!(postcard::from_bytes::<NameBatch>(&bytes[..end]).is_err());
        }
        for bad in [&b"\0..\0"[..], b"\0a/b\0", b"\0\0", b"\x09a\0", b"\0a", b"\x06\x01\0\0\0xa\0"]
        {
            let wire = postcard::to_stdvec(&(1_u32, bad.to_vec())).unwrap();
            assert!(postcard::from_bytes::<NameBatch>(&wire).is_err(), "{}", bad.escape_ascii());
        }
    }
}
