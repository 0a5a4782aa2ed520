//! Progress of listing a range: page by page, each name once, and an object and a directory of one
//! name never both.
//!
//! In byte order there are names between `d` and `d/` (`d-1`), all of which begin with `d`. So an
//! object is held until a name follows that does not begin with its own.

use super::{Held, KeyRange, Order};
use crate::entry::Hint;
use crate::object::metadata::RCLONE_LINK_SUFFIX;
use crate::service::InvalidKey;

/// One page of a listing: keys without the common prefix; those of directories end in a slash.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct NamePage {
    /// Listed keys with their properties, in byte order.
    names: Vec<(String, Hint)>,
    order: Option<Order>,
}

/// Report of one listed name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told<'a> {
    /// A name that an entry may have.
    Entry(&'a str, Hint),
    /// A name that no entry can have.
    InvalidKey(&'a str, InvalidKey),
}

impl NamePage {
    /// Merges objects and directories, each in the order of the answer.
    pub fn new(objects: Vec<(String, Hint)>, directories: Vec<(String, Hint)>) -> Self {
        let sorted = |by: fn(&str) -> &str| {
            let is_sorted = |list: &[(String, Hint)]| list.is_sorted_by_key(|(name, _)| by(name));
            is_sorted(&objects) && is_sorted(&directories)
        };
        let order = if sorted(|name| name) {
            Order::Bytes
        } else if sorted(bare) {
            Order::Names
        } else {
            Order::Other
        };
        let mut names = objects;
        names.extend(directories);
        names.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Self { names, order: Some(order) }
    }

    /// Returns true where the names are in an order in which a listing can begin after a name.
    pub fn is_ordered(&self) -> bool {
        self.order != Some(Order::Other)
    }

    /// Returns all names in byte order.
    pub fn names(&self) -> Vec<&str> {
        self.names.iter().map(|(name, _)| &**name).collect()
    }

    /// Returns all names with their properties from the listing, in byte order.
    pub fn entries(&self) -> impl Iterator<Item = (&str, Hint)> {
        self.names.iter().map(|(name, hint)| (&**name, *hint))
    }

    /// Returns the name up to which a listing has come with this page, in whichever order it is.
    pub fn reach(&self) -> Option<&str> {
        self.last_by(bare)
    }

    fn first_by(&self, by: fn(&str) -> &str) -> Option<&str> {
        self.names.iter().map(|(name, _)| by(name)).min()
    }

    /// Returns the greatest name of an entry, without the suffix of a directory or a link.
    fn last_entry(&self) -> Option<&str> {
        self.entries().map(|(key, hint)| &key[..name_bytes(key, hint)]).max()
    }

    fn last_by(&self, by: fn(&str) -> &str) -> Option<&str> {
        self.names.iter().map(|(name, _)| by(name)).max()
    }
}

/// Removes a directory's trailing slash.
fn bare(name: &str) -> &str {
    name.strip_suffix('/').unwrap_or(name)
}

fn identical(name: &str) -> &str {
    name
}

impl KeyRange {
    /// Reports those names of a page that are in this range.
    pub fn take(&mut self, page: &NamePage, tell: &mut dyn FnMut(Told<'_>)) {
        self.watch_order(page);
        for (name, hint) in &page.names {
            if self.contains(name, name_bytes(name, *hint)) {
                self.meet(name, *hint, tell);
            }
        }
        if let Some(last) = page.last_by(identical) {
            let last = self.last.take().filter(|known| **known > *last).unwrap_or(last.to_owned());
            self.last = Some(last);
        }
    }

    /// Adds the credit for a full page.
    pub fn earn(&mut self) {
        self.credit = self.credit.saturating_add(1);
    }

    /// Returns true where a page has a name in this range.
    pub fn meets(&self, page: &NamePage) -> bool {
        page.names.iter().any(|(name, hint)| self.contains(name, name_bytes(name, *hint)))
    }

    /// Returns true where everything after a page is behind the end of this range.
    pub fn ends_with(&self, page: &NamePage) -> bool {
        let last = match self.order {
            Order::Other => None,
            // A key may be behind the end and its entry before it (`d-9`, `d.rclonelink`, `d/`), so
            // that further such entries follow. The order may still turn out to be that of names,
            // and the last directory of the page to be listed early.
            _ if self.is_of_entries => page.last_entry(),
            Order::Bytes => page.last_by(identical),
            Order::Names => page.last_by(bare),
        };
        // A probe that has found nothing may have been a lost answer. Where the names of two sides
        // are compared, the listing itself must come to its end, so that none is hidden.
        let end = if self.is_of_entries { &self.end } else { &self.upto };
        last.zip(end.as_deref()).is_some_and(|(last, end)| last > end)
    }

    /// Ends the listing of this range, and reports the objects that were held: no directory of
    /// their names can follow.
    pub fn finish(mut self, tell: &mut dyn FnMut(Told<'_>)) {
        for held in std::mem::take(&mut self.held) {
            tell(Told::Entry(&held.text, held.hint));
        }
    }

    fn watch_order(&mut self, page: &NamePage) {
        let follows = |by: fn(&str) -> &str| match (&self.last, page.first_by(by)) {
            (Some(last), Some(first)) => by(last) <= first,
            _ => true,
        };
        let by_bytes = self.order == Order::Bytes && page.order != Some(Order::Other);
        self.order = if by_bytes && page.order == Some(Order::Bytes) && follows(identical) {
            Order::Bytes
        } else if self.order != Order::Other && page.order != Some(Order::Other) && follows(bare) {
            Order::Names
        } else {
            Order::Other
        };
    }

    fn meet(&mut self, text: &str, hint: Hint, tell: &mut dyn FnMut(Told<'_>)) {
        while let Some(last) = self.held.last().filter(|held| !text.starts_with(held.name())) {
            tell(Told::Entry(&last.text, last.hint));
            self.held.pop();
        }
        let name_bytes = name_bytes(text, hint);
        let name = &text[..name_bytes];
        let has_name = |held: &Held| held.name() == name;
        if hint == Hint::Directory {
            while let Some(other) = self.held.pop_if(|held| has_name(held)) {
                tell(Told::InvalidKey(&other.text, InvalidKey::AlsoDirectory));
            }
            tell(Told::Entry(text, hint));
        } else if self.held.last().is_some_and(has_name) {
            tell(Told::InvalidKey(text, InvalidKey::AlsoObject));
        } else {
            self.held.push(Held { text: text.to_owned(), name_bytes, hint });
        }
    }
}

/// Returns the number of bytes of a key below a prefix that make up the name of its entry.
fn name_bytes(text: &str, hint: Hint) -> usize {
    let stem = match hint {
        Hint::Directory => text.strip_suffix('/'),
        _ => text.strip_suffix(RCLONE_LINK_SUFFIX).filter(|link| !link.is_empty()),
    };
    stem.map_or(text.len(), str::len)
}
