//! Pages of lists, as ListObjectsV2 cuts them: prefix, delimiter, and start of the next page.
//!
//! "Go on after" is one string, a key or a common prefix, for start-after and continuation alike. A
//! common prefix that is just that string is not listed again; one whose keys lie on both sides of
//! it is.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Bound;

use super::behaviour::Order;

/// Largest number of keys on a page, as S3 limits it.
pub const MAX_KEYS: usize = 1000;

/// Keys that can be read in byte order from any position.
pub trait Keys {
    /// Returns the keys from that bound on.
    fn from(&self, bound: Bound<&str>) -> impl Iterator<Item = Cow<'_, str>>;
}

/// Parameters of a list.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ask<'a> {
    /// Prefix of the listed keys.
    pub prefix: &'a str,
    /// Delimiter that ends common prefixes; empty for none.
    pub delimiter: &'a str,
    /// Key after which the list begins; empty for the beginning.
    pub after: &'a str,
    /// Largest number of keys and common prefixes.
    pub limit: usize,
}

impl Ask<'_> {
    /// Returns the common prefix that this key is listed as, if any.
    fn group<'k>(&self, key: &'k str) -> Option<&'k str> {
        let rest = key.strip_prefix(self.prefix)?;
        if self.delimiter.is_empty() {
            return None;
        }
        let end = rest.find(self.delimiter)? + self.delimiter.len();
        Some(&key[..self.prefix.len() + end])
    }
}

/// Entry of a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entry {
    /// An object.
    Key(String),
    /// Common prefix of objects.
    Prefix(String),
}

impl Entry {
    /// Returns the key or the common prefix.
    pub fn text(&self) -> &str {
        match self {
            Self::Key(text) | Self::Prefix(text) => text,
        }
    }
}

/// Page of a list.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Entries in the order of the list.
    pub entries: Vec<Entry>,
    /// True where the list goes on; the next page comes after the last entry.
    pub is_truncated: bool,
}

/// Returns a page in byte order. Common prefixes are stepped over, not read through.
pub fn page(keys: &impl Keys, ask: Ask<'_>) -> Page {
    let mut page = Page::default();
    let first = if ask.after >= ask.prefix && !ask.after.is_empty() {
        Bound::Excluded(ask.after.to_owned())
    } else {
        Bound::Included(ask.prefix.to_owned())
    };
    let mut from = Some(first);
    while let Some(bound) = from.take() {
        let bound = bound.as_ref().map(String::as_str);
        for key in keys.from(bound).take_while(|key| key.starts_with(ask.prefix)) {
            let group = ask.group(&key);
            let is_old = group == Some(ask.after);
            if !is_old && page.entries.len() >= ask.limit {
                page.is_truncated = ask.limit > 0;
                return page;
            }
            let Some(group) = group else {
                page.entries.push(Entry::Key(key.into_owned()));
                continue;
            };
            from = past(group).map(Bound::Included);
            if !is_old {
                page.entries.push(Entry::Prefix(group.to_owned()));
            }
            break;
        }
    }
    page
}

/// Returns the smallest string that comes after all that begin with this one.
fn past(group: &str) -> Option<String> {
    let mut text = group.to_owned();
    while let Some(last) = text.pop() {
        // The next character is also the next in UTF-8's byte order; after the last of them, the
        // one before.
        if let Some(next) = (last..=char::MAX).nth(1) {
            text.push(next);
            return Some(text);
        }
    }
    None
}

/// Returns a page of a list that is not in byte order. All keys are read for it, which is fine for
/// tests.
pub fn page_in_order(keys: &impl Keys, ask: Ask<'_>, order: Order, seed: u64) -> Page {
    if order == Order::Bytes {
        return page(keys, ask);
    }
    let below =
        keys.from(Bound::Included(ask.prefix)).take_while(|key| key.starts_with(ask.prefix));
    let entries: BTreeSet<Entry> = below
        .map(|key| match ask.group(&key) {
            Some(group) => Entry::Prefix(group.to_owned()),
            None => Entry::Key(key.into_owned()),
        })
        .collect();
    let compare = |one: &str, other: &str| match order {
        Order::Unordered => rank(one, seed).cmp(&rank(other, seed)),
        _ => one.split('/').cmp(other.split('/')),
    };
    let mut entries: Vec<Entry> = entries
        .into_iter()
        .filter(|entry| {
            ask.after.is_empty() || compare(entry.text(), ask.after) == Ordering::Greater
        })
        .collect();
    entries.sort_by(|one, other| compare(one.text(), other.text()));
    let is_truncated = entries.len() > ask.limit && ask.limit > 0;
    entries.truncate(ask.limit);
    Page { entries, is_truncated }
}

fn rank(text: &str, seed: u64) -> (u64, String) {
    let mut hasher = DefaultHasher::new();
    (seed, text).hash(&mut hasher);
    (hasher.finish(), text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Keys for BTreeSet<String> {
        fn from(&self, bound: Bound<&str>) -> impl Iterator<Item = Cow<'_, str>> {
            self.range::<str, _>((bound, Bound::Unbounded)).map(|key| Cow::Borrowed(key.as_str()))
        }
    }

    fn keys(keys: &[&str]) -> BTreeSet<String> {
        keys.iter().map(|&key| key.to_owned()).collect()
    }

    /// Returns all pages of at most `limit` entries, one after the other.
    fn list(keys: &BTreeSet<String>, ask: Ask<'_>, order: Order) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        let mut after = ask.after.to_owned();
        loop {
            let page = page_in_order(keys, Ask { after: &after, ..ask }, order, 7);
            assert!(page.entries.len() <= ask.limit);
            all.extend(page.entries.iter().map(|entry| entry.text().to_owned()));
            if !page.is_truncated {
                return all;
            }
            after = page.entries.last().unwrap().text().to_owned();
        }
    }

    #[test]
    fn every_page_size_gives_the_same_list() {
        let keys =
            keys(&["a", "a-b", "a/", "a/b", "a//c", "a0", "b/c/d", "b/c/e", "ä/x", "\u{10ffff}/y"]);
        for limit in 1..=keys.len() {
            let ask = Ask { limit, ..Ask::default() };
            assert_eq!(list(&keys, ask, Order::Bytes), keys.iter().cloned().collect::<Vec<_>>());
            let ask = Ask { delimiter: "/", ..ask };
            let top = ["a", "a-b", "a/", "a0", "b/", "ä/", "\u{10ffff}/"];
            assert_eq!(list(&keys, ask, Order::Bytes), top);
            assert_eq!(
                list(&keys, Ask { prefix: "a/", ..ask }, Order::Bytes),
                ["a/", "a//", "a/b"]
            );
        }
    }

    #[test]
    fn a_list_begins_after_a_key_that_need_not_exist() {
        let keys = keys(&["a/b", "a/c", "b", "c"]);
        let ask = Ask { limit: 9, ..Ask::default() };
        assert_eq!(list(&keys, Ask { after: "a/bb", ..ask }, Order::Bytes), ["a/c", "b", "c"]);
        let top = Ask { delimiter: "/", ..ask };
        assert_eq!(list(&keys, Ask { after: "a/b", ..top }, Order::Bytes), ["a/", "b", "c"]);
        assert_eq!(list(&keys, Ask { after: "a/", ..top }, Order::Bytes), ["b", "c"]);
    }

    #[test]
    fn other_orders_list_the_same_entries() {
        let keys = keys(&["a-b", "a/b", "a/c", "a0", "b"]);
        let ask = Ask { limit: 2, ..Ask::default() };
        assert_eq!(list(&keys, ask, Order::Directories), ["a/b", "a/c", "a-b", "a0", "b"]);
        let top = Ask { delimiter: "/", ..ask };
        assert_eq!(list(&keys, top, Order::Directories), ["a/", "a-b", "a0", "b"]);
        let mut unordered = list(&keys, ask, Order::Unordered);
        assert_ne!(unordered, keys.iter().cloned().collect::<Vec<_>>());
        unordered.sort();
        assert_eq!(unordered, keys.iter().cloned().collect::<Vec<_>>());
    }
}
