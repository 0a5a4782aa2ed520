//! Pages from anywhere in the listing of one directory, each of which answers for the names between
//! its beginning and its end.
//!
//! Names that are looked up in order come from a sorted listing, many of which are read at once in
//! ranges of their own. A page that begins just before one of them answers for the next ones, too,
//! and needs no page before it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ffi::CString;
use std::ops::Bound;
use std::thread::{ThreadId, current};

use crate::list::pages::{Page, entry_of};
use types::entry::Hint;
use types::limits::S3_INDEX_PAGES_MAX;
use types::object::key_range::just_before;
use types::path::Name;

/// The result of looking up a name in a cached listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// The name exists, with these facts from the listing.
    There(Hint),
    /// The name does not exist: the complete listing lacks it.
    Missing,
    /// The cache cannot tell; the service must be asked for the name.
    Unknown,
}

/// The pages of one directory that are remembered.
#[derive(Default)]
pub(crate) struct Windows {
    /// The pages, by the position after which each begins.
    pages: BTreeMap<String, Window>,
    /// Positions of the pages, the oldest first.
    ages: VecDeque<String>,
    order: LookupOrder,
    /// True if the service lists in no order, or not from where it is asked to.
    is_useless: bool,
}

/// One page.
struct Window {
    /// The name up to which the page has everything; `None` for the end of the listing.
    end: Option<String>,
    names: HashMap<CString, Hint>,
}

/// The number of neighbouring pages that are asked for a name: those of several threads overlap.
const NEIGHBOURS: usize = 4;

impl Window {
    /// Returns whether the page has all keys that an entry may have, up to the one with a slash.
    fn reaches(&self, key: &str) -> bool {
        let reaches = |end: &String| key.bytes().chain(*b"/").le(end.bytes());
        self.end.as_ref().is_none_or(reaches)
    }
}

impl Windows {
    /// Notes that a name is looked up, by its key.
    pub fn note(&mut self, key: &str) {
        self.order.note(key);
    }

    /// Returns whether a page that begins at the next name is likely to answer for others.
    pub fn are_useful(&self) -> bool {
        !self.is_useless && self.order.is_ascending()
    }

    /// Records that pages cannot begin anywhere.
    pub fn give_up(&mut self) {
        (self.pages, self.ages) = Default::default();
        self.is_useless = true;
    }

    /// Looks up a name; `None` where no page answers for it.
    pub fn find(&self, key: &str, name: &Name) -> Option<Found> {
        let before = self
            .pages
            .range::<str, _>((Bound::Unbounded, Bound::Excluded(key)))
            .rev()
            .take(NEIGHBOURS);
        let mut is_missing = false;
        for (_, window) in before {
            match window.names.get(name) {
                Some(hint) => return Some(Found::There(*hint)),
                None => is_missing |= window.reaches(key),
            }
        }
        is_missing.then_some(Found::Missing)
    }

    /// Adds a page that was requested from that position on.
    pub fn add(&mut self, after: String, page: &Page) {
        let first = page.names.names().first().copied();
        if !page.names.is_ordered() || first.is_some_and(|first| *first <= *after) {
            return self.give_up();
        }
        // The page behind an empty one may still have names that come before the key.
        let reach = || page.names.reach().unwrap_or_default().to_owned();
        let end = page.next.as_ref().map(|_| reach());
        let window = Window { end, names: names_of(page) };
        if self.pages.insert(after.clone(), window).is_none() {
            self.ages.push_back(after);
        }
        if self.ages.len() > S3_INDEX_PAGES_MAX as usize {
            self.ages.pop_front().map(|oldest| self.pages.remove(&oldest));
        }
    }
}

/// Returns the entries of a page.
pub(crate) fn names_of(page: &Page) -> HashMap<CString, Hint> {
    let mut names = HashMap::new();
    for (text, hint) in page.names.entries() {
        let Ok((name, hint)) = entry_of(text, hint) else { continue };
        // A key may be both an object and a common prefix. The walk presents such a name as the
        // directory, so the lookup must agree.
        if hint == Hint::Directory || !names.contains_key(&name) {
            names.insert(name, hint);
        }
    }
    names
}

/// Returns a position before a key, and behind most of the keys before it.
pub(crate) fn position_before(key: &str) -> String {
    let mut key = key;
    loop {
        if let Some(before) = just_before(key, fastrand::u64(..)) {
            return before;
        }
        match key.char_indices().next_back() {
            Some((end, _)) => key = &key[..end],
            None => return String::new(),
        }
    }
}

/// The order of the names that threads look up, each by itself.
#[derive(Default)]
struct LookupOrder {
    last: HashMap<ThreadId, [String; 2]>,
    /// The number of names that came in order, less [`DESCENT`] for each that did not.
    score: i32,
}

/// The number of names in order that make up for one that is not: of names in no order, every third
/// comes before the two names before it.
const DESCENT: i32 = 4;

/// The greatest score either way, so that another order shows soon.
const SCORE_MAX: i32 = 64;

impl LookupOrder {
    fn note(&mut self, key: &str) {
        let [one, other] = self.last.entry(current().id()).or_default();
        // A file is reported after another one whose name begins with its own.
        let is_in_order = *key > **one || *key > **other;
        self.score += if is_in_order { 1 } else { -DESCENT };
        self.score = self.score.clamp(-SCORE_MAX, SCORE_MAX);
        std::mem::swap(one, other);
        key.clone_into(other);
    }

    fn is_ascending(&self) -> bool {
        self.score > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::entry::Listed;
    use types::object::key_range::NamePage;

    const FILE: Hint = Hint::Object(Listed { size_bytes: 1, stored_seconds: 2 });

    fn page(names: &[&str], has_more: bool) -> Page {
        let (directories, objects): (Vec<&str>, Vec<_>) =
            names.iter().partition(|name| name.ends_with('/'));
        let with = |hint| move |name: &str| (name.to_owned(), hint);
        let names = NamePage::new(
            objects.into_iter().map(with(FILE)).collect(),
            directories.into_iter().map(with(Hint::Directory)).collect(),
        );
        Page { names, next: has_more.then(|| "more".to_owned()), ..Page::default() }
    }

    fn found(windows: &Windows, key: &str) -> Option<Found> {
        windows.find(key, &CString::new(key).unwrap())
    }

    #[test]
    fn a_page_answers_for_the_names_between_its_ends() {
        let mut windows = Windows::default();
        windows.add("b~x".into(), &page(&["c", "c-1", "d/", "e"], true));
        assert_eq!(found(&windows, "c"), Some(Found::There(FILE)));
        assert_eq!(found(&windows, "d"), Some(Found::There(Hint::Directory)));
        assert_eq!(found(&windows, "c-0"), Some(Found::Missing));
        assert_eq!(found(&windows, "b"), None, "it is before the page");
        assert_eq!(found(&windows, "ea"), None, "it is behind the page");
        windows.add("d~x".into(), &page(&["e", "e-1", "e-9"], true));
        assert_eq!(found(&windows, "e-"), Some(Found::Missing));
        assert_eq!(found(&windows, "e"), Some(Found::There(FILE)));
        windows.add("y".into(), &page(&["z"], false));
        assert_eq!(found(&windows, "zz"), Some(Found::Missing));
    }

    /// `e/` may come behind the page in byte order, and has come before it in that of names.
    #[test]
    fn a_name_whose_directory_may_be_behind_the_page_stays_unknown() {
        let mut windows = Windows::default();
        windows.add("d~x".into(), &page(&["e-1", "e-9"], true));
        assert_eq!(found(&windows, "e"), None);
        windows.add("c".into(), &page(&["d/"], true));
        assert_eq!(found(&windows, "d-1"), None);
    }

    #[test]
    fn pages_of_no_order_or_from_elsewhere_answer_nothing() {
        for wrong in [page(&["c", "b"], true), page(&["a", "d"], true)] {
            let mut windows = Windows::default();
            windows.add("b~".into(), &page(&["c", "d"], true));
            windows.add("b~x".into(), &wrong);
            assert_eq!(found(&windows, "c"), None);
            (0..9).for_each(|number| windows.note(&number.to_string()));
            assert!(!windows.are_useful());
        }
    }

    #[test]
    fn old_pages_are_forgotten() {
        let mut windows = Windows::default();
        for number in 0..=S3_INDEX_PAGES_MAX {
            let name = format!("{number:05}");
            windows.add(format!("{name}~"), &page(&[&format!("{name}~~")], true));
        }
        assert_eq!(windows.pages.len(), S3_INDEX_PAGES_MAX as usize);
        assert_eq!(found(&windows, "00000~~"), None);
    }

    #[test]
    fn names_in_order_are_told_from_others() {
        let mut order = LookupOrder::default();
        // Each is reported after the one that begins with its own name.
        (0..20).for_each(|number| {
            order.note(&format!("{number:03}.crc"));
            order.note(&format!("{number:03}"));
        });
        assert!(order.is_ascending());
        let mut random = fastrand::Rng::with_seed(5);
        (0..200).for_each(|_| order.note(&random.u64(..).to_string()));
        assert!(!order.is_ascending());
    }

    #[test]
    fn a_position_is_before_the_key() {
        for key in ["a", "part-0007", "0", "é", "日本é", "a!", "!", "a0"] {
            let position = position_before(key);
            assert!(*position < *key, "{position} {key}");
        }
    }
}
