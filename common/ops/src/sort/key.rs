//! Sort keys as bytes that compare in the same order as the entries do.

use serde::{Deserialize, Serialize};

use types::entry::Time;
use types::listed::record::Record;

/// A field of an entry, with the names of mpiFileUtils.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Field {
    Name,
    User,
    Group,
    Uid,
    Gid,
    Atime,
    Mtime,
    Ctime,
    Size,
}

const FIELDS: [(&str, Field); 9] = [
    ("name", Field::Name),
    ("user", Field::User),
    ("group", Field::Group),
    ("uid", Field::Uid),
    ("gid", Field::Gid),
    ("atime", Field::Atime),
    ("mtime", Field::Mtime),
    ("ctime", Field::Ctime),
    ("size", Field::Size),
];

/// A list of fields in order of significance, such as `size,-mtime`. A `-` reverses the order of a
/// field. Entries that are equal in all fields are sorted by path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SortKeys {
    /// The list as it was given.
    pub text: String,
    keys: Vec<(Field, bool)>,
}

/// Field that no list can be sorted by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid field \"{0}\"; expected one of {names}", names = FIELDS.map(|(known, _)| known).join(","))]
pub struct UnknownField(String);

impl std::str::FromStr for SortKeys {
    type Err = UnknownField;

    fn from_str(text: &str) -> Result<Self, UnknownField> {
        let parse = |word: &str| {
            let (name, descending) = match word.strip_prefix('-') {
                Some(name) => (name, true),
                None => (word, false),
            };
            let field = FIELDS.iter().find(|(known, _)| *known == name);
            let unknown = || UnknownField(name.to_owned());
            field.map(|(_, field)| (*field, descending)).ok_or_else(unknown)
        };
        let keys = text.split(',').map(|word| parse(word.trim())).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), keys })
    }
}

impl SortKeys {
    /// Appends the key of an entry to `key`.
    pub fn write(&self, record: &Record<'_>, key: &mut Vec<u8>) {
        for (field, descending) in &self.keys {
            let begin = key.len();
            write_field(*field, record, key);
            if *descending {
                key[begin..].iter_mut().for_each(|byte| *byte = !*byte);
            }
        }
        if !self.keys.iter().any(|(field, _)| *field == Field::Name) {
            write_text(record.path, key);
        }
    }
}

fn write_field(field: Field, record: &Record<'_>, key: &mut Vec<u8>) {
    let metadata = record.metadata;
    let named = |name: Option<&str>, id: u32| name.map_or_else(|| id.to_string(), str::to_owned);
    match field {
        Field::Name => write_text(record.path, key),
        Field::User => write_text(named(record.user, metadata.uid).as_bytes(), key),
        Field::Group => write_text(named(record.group, metadata.gid).as_bytes(), key),
        Field::Uid => key.extend(metadata.uid.to_be_bytes()),
        Field::Gid => key.extend(metadata.gid.to_be_bytes()),
        Field::Atime => write_time(metadata.atime, key),
        Field::Mtime => write_time(metadata.mtime, key),
        Field::Ctime => write_time(metadata.ctime, key),
        Field::Size => key.extend(metadata.size_bytes.to_be_bytes()),
    }
}

/// Writes a text with a NUL at its end. No path or name contains a NUL, so a text sorts before all
/// those that it is a prefix of.
fn write_text(text: &[u8], key: &mut Vec<u8>) {
    key.extend_from_slice(text);
    key.push(0);
}

/// Writes a time with an inverted sign bit, so that times before 1970 sort first.
fn write_time(time: Time, key: &mut Vec<u8>) {
    key.extend((time.seconds.cast_unsigned() ^ (1 << 63)).to_be_bytes());
    key.extend(time.nanoseconds.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::entry::{Kind, Metadata};

    fn sorted(by: &str, entries: &[(&str, u64, i64)]) -> Vec<String> {
        let keys: SortKeys = by.parse().unwrap();
        let key_of = |(path, size_bytes, mtime): &(&str, u64, i64)| {
            let time = Time { seconds: *mtime, nanoseconds: 0 };
            let metadata = Metadata {
                size_bytes: *size_bytes,
                known: types::outcome::difference::Fields::ALL,
                ..Metadata::of_kind(Kind::File).with_times(time)
            };
            let record = Record { user: Some("u"), ..Record::new(path.as_bytes(), 0, &metadata) };
            let mut key = Vec::new();
            keys.write(&record, &mut key);
            key
        };
        let mut all: Vec<_> = entries.iter().map(|it| (key_of(it), it.0.to_owned())).collect();
        all.sort();
        all.into_iter().map(|(_, path)| path).collect()
    }

    #[test]
    fn bytes_compare_as_entries_do() {
        let entries = [("b", 300, -5), ("a", 300, 7), ("ab", 2, 0), ("a/x", 70_000, 7)];
        assert_eq!(sorted("name", &entries), ["a", "a/x", "ab", "b"]);
        assert_eq!(sorted("-name", &entries), ["b", "ab", "a/x", "a"]);
        assert_eq!(sorted("size", &entries), ["ab", "a", "b", "a/x"]);
        assert_eq!(sorted("-size,-name", &entries), ["a/x", "b", "a", "ab"]);
        assert_eq!(sorted("mtime,size", &entries), ["b", "ab", "a", "a/x"]);
        assert_eq!(sorted("user,group", &entries), ["a", "a/x", "ab", "b"]);
    }

    #[test]
    fn unknown_fields_are_refused_with_the_known_ones() {
        for bad in ["", "age", "size,", "--size"] {
            assert!(
                bad.parse::<SortKeys>().is_err_and(|why| why.to_string().contains("mtime")),
                "{bad}"
            );
        }
    }
}
