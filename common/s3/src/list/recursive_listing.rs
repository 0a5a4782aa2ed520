//! Recursive listings: all keys below a prefix in few requests, read beside the listing of its
//! entries, so that many small directories need no request of their own.
//!
//! Only the listing of a directory decides which names exist. The recursive listing merely saves
//! requests for the directories among them, so it may stop at any time, and reports nothing that it
//! is not sure of. A directory is known completely if keys before it and after it were seen, all in
//! an order that keeps the keys of one directory together: byte order, or component by component as
//! file systems sort. Since a service could violate that order, each rank also lists one directory
//! by itself and compares, before it relies on the service.

#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::collections::HashMap;

use crate::list::listing_order::{ListingOrder, Trust};
use crate::list::pages::{From, KeyPage, Pages, nonsense};
use store::NameReader;
use types::entry::Listed;
use types::error::Result;
use types::limits::{
    S3_SUBTREES_FAILURES_MAX, S3_SUBTREES_HUNGRY, S3_SUBTREES_KEYS_MIN, S3_SUBTREES_MIN,
    S3_SUBTREES_OF_PAGE,
};
use types::object::key_range::{KeyRange, just_before};
use types::object::keys_below::{KeysBelow, directory_of};

/// A recursive listing below the directories of one key range, as far as it was read.
pub(crate) struct RecursiveListing {
    course: Course,
    orders: Orders,
    /// The last key that was read, or the position after which keys were requested.
    last: String,
    /// The directory of the last key, while its keys are still coming.
    open: Option<Open>,
    /// True if the beginning of the next key's directory is certain to be in what was read. After a
    /// jump it is not: services differ in where a position within a name begins.
    is_begin_known: bool,
    /// The complete keys of directories, by common prefix, until the listing of entries asks for
    /// them.
    known: HashMap<String, KeysBelow>,
    /// The cost and yield for the latest page of entries.
    tries: Tries,
    failures: u32,
    /// True if some result was already used. From then on a violation of the order is an error,
    /// because wrong results cannot be taken back.
    has_told: bool,
}

/// The position of the next page of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Course {
    /// The beginning of the listing.
    Start,
    /// The directory that is looked up next.
    Jump,
    /// The end of the last page.
    Token(String),
    /// The end of the listing: all keys were read.
    End,
    /// An abandoned recursive listing, which requests nothing more.
    GivenUp,
}

/// The orders that all keys so far are consistent with.
#[derive(Debug, Clone, Copy)]
struct Orders {
    by_bytes: bool,
    by_names: bool,
}

/// A directory whose keys are being read.
struct Open {
    name: String,
    keys: KeysBelow,
    is_begin_known: bool,
}

/// The pages of keys read for one page of entries, and the directories that they have completed.
#[derive(Debug, Default)]
struct Tries {
    pages: usize,
    directories: usize,
    is_over: bool,
    /// True if other threads had nothing to do while the latest page was awaited.
    is_hungry: bool,
}

impl Orders {
    const BOTH: Self = Self { by_bytes: true, by_names: true };

    /// Returns the orders that are still possible if `one` comes before `other`.
    fn with(self, one: &str, other: &str) -> Self {
        Self {
            by_bytes: self.by_bytes && one < other,
            by_names: self.by_names && one.split('/').cmp(other.split('/')) == Ordering::Less,
        }
    }

    fn is_any(self) -> bool {
        self.by_bytes || self.by_names
    }
}

impl RecursiveListing {
    /// Begins a recursive listing for the directories in a key range.
    pub fn of(key_range: &KeyRange, reader: &dyn NameReader, listing_order: &ListingOrder) -> Self {
        let is_beginning = key_range.after.is_empty() && key_range.token.is_none();
        let course = match (reader.wants_below(), listing_order.trust()) {
            (false, _) | (_, Trust::Lost) => Course::GivenUp,
            _ if is_beginning => Course::Start,
            _ => Course::Jump,
        };
        Self {
            course,
            orders: Orders::BOTH,
            last: String::new(),
            open: None,
            is_begin_known: true,
            known: HashMap::new(),
            tries: Tries::default(),
            failures: 0,
            has_told: false,
        }
    }

    /// Returns whether the whole tree is expected to fit into one page.
    pub fn is_little_expected(&self, listing_order: &ListingOrder) -> bool {
        self.course == Course::Start && listing_order.expects_little()
    }

    /// Reads the first page. Returns the keys if the page holds all there are.
    pub fn read_all(&mut self, pages: &impl Pages) -> Option<KeysBelow> {
        let page = pages.keys("", From::Start).ok()?;
        pages.listing_order().expect_little(page.next.is_none());
        if page.next.is_none() {
            return Some(page.all());
        }
        // No result was used yet, so a violated order is no error here; it only ends the recursive
        // listing.
        self.take(page, pages).ok()?;
        None
    }

    /// Prepares for a page of entries with that many directories. Returns whether to hold their
    /// names back until the recursive listing was consulted.
    pub fn expect(&mut self, directories: usize, is_hungry: bool) -> bool {
        // While others are idle, names that are held back delay work, so it takes more directories
        // to justify the wait.
        let few = if is_hungry { S3_SUBTREES_HUNGRY } else { S3_SUBTREES_MIN };
        let goes_on = matches!(self.course, Course::Token(_)) && directories > 0;
        let is_over = self.course == Course::GivenUp || (directories < few && !goes_on);
        self.tries = Tries { is_over, is_hungry, ..Tries::default() };
        !is_over || !self.known.is_empty()
    }

    /// Ends a page of entries. A recursive listing that lags behind the listing of entries jumps
    /// forward next time.
    pub fn page_ends(&mut self) {
        let falls_behind = matches!(self.course, Course::Token(_)) && self.tries.is_over;
        if self.course == Course::Start || falls_behind {
            self.course = Course::Jump;
        }
    }

    /// Stops requesting keys. Directories already known completely can still be found.
    pub fn give_up(&mut self) {
        self.course = Course::GivenUp;
        self.open = None;
    }

    /// Returns all keys below a directory, if they are known or can be had by requests that pay
    /// off.
    ///
    /// # Errors
    /// Returns a protocol error if the service violates the order of keys after results that rely
    /// on it were used.
    pub fn find(
        &mut self,
        pages: &impl Pages,
        name: &str,
        reader: &dyn NameReader,
    ) -> Result<Option<KeysBelow>> {
        while !self.known.contains_key(name) && !self.is_past(name) {
            if !self.pays() {
                self.pause();
                break;
            }
            self.read_on(pages, name, reader)?;
        }
        let found = self.known.remove(name);
        self.has_told |= found.is_some();
        Ok(found)
    }

    /// Returns whether the keys of a directory can no longer come in this listing.
    fn is_past(&self, name: &str) -> bool {
        match &self.course {
            Course::Start => false,
            Course::End | Course::GivenUp => true,
            _ if self.tries.is_over => true,
            _ if self.last.starts_with(name) => self.open.is_none(),
            Course::Jump => false,
            // The directory is still ahead if it comes later in any of the orders that are still
            // possible.
            Course::Token(_) => !self.orders.with(&self.last, name).is_any(),
        }
    }

    /// Returns whether the pages read for this page of entries have completed enough directories to
    /// be cheaper than one request for each.
    fn pays(&self) -> bool {
        let least = if self.tries.is_hungry { S3_SUBTREES_HUNGRY } else { S3_SUBTREES_OF_PAGE };
        self.tries.directories >= self.tries.pages * least
    }

    /// Stops reading for the current page of entries. Too many pauses in vain end the recursive
    /// listing, so that trees of large directories cost at most a few wasted requests.
    fn pause(&mut self) {
        self.tries.is_over = true;
        if self.tries.directories < self.tries.pages * S3_SUBTREES_OF_PAGE {
            self.failures += 1;
        }
        self.open = None;
        if self.failures >= S3_SUBTREES_FAILURES_MAX {
            self.give_up();
        } else if self.course != Course::GivenUp {
            self.course = Course::Jump;
        }
    }

    /// Discards everything that was read, since the service does not keep the keys of directories
    /// together.
    fn distrust(&mut self, listing_order: &ListingOrder) {
        listing_order.set_trust(Trust::Lost);
        self.known = HashMap::new();
        self.give_up();
    }

    /// Reads one more page of keys in search of a directory.
    fn read_on(&mut self, pages: &impl Pages, name: &str, reader: &dyn NameReader) -> Result<()> {
        let (is_jump, completed) = (self.course == Course::Jump, self.tries.directories);
        self.tries.pages += 1;
        let page = self.next_page(pages, name);
        // The answer is asked for before names are reported as work for others, who have not seen
        // it yet.
        self.tries.is_hungry = reader.wants_to_share();
        if let Some(page) = page {
            self.take(page, pages)?;
            // A page requested by a jump must complete at least one directory, or the directory met
            // there is a large one, best listed by itself.
            if !is_jump || self.tries.directories > completed {
                return Ok(());
            }
        }
        self.pause();
        Ok(())
    }

    /// Requests the next page of keys. Returns `None` on any failure: the directory's own listing
    /// will report the error.
    fn next_page(&mut self, pages: &impl Pages, name: &str) -> Option<KeyPage> {
        match &self.course {
            Course::Start => pages.keys("", From::Start).ok(),
            Course::Token(token) => {
                let page = pages.keys("", From::Token(token)).ok()?;
                // A repeated token would lead to the same page for ever.
                (page.next.as_ref() != Some(token)).then_some(page)
            }
            _ => {
                // The position lies just before the name and ends in random letters, so that it is
                // no existing key: a service that finds one may skip all keys that begin with it.
                let after = just_before(name, fastrand::u64(..))?;
                let page = pages.keys("", From::After(&after)).ok()?;
                // Some services ignore the position and begin at the beginning; then the first key
                // comes before it in every order.
                let (first, _) = page.keys.first()?;
                self.orders.with(&after, first).is_any().then_some(())?;
                (self.last, self.open, self.is_begin_known) = (after, None, false);
                Some(page)
            }
        }
    }

    /// Evaluates a page of keys, and verifies the service's order with the first one that completes
    /// a directory.
    fn take(&mut self, page: KeyPage, pages: &impl Pages) -> Result<()> {
        if self.course == Course::Start && page.next.is_none() {
            // The answer holds all keys, so no order is needed to know that each directory is
            // complete.
            self.known = page.all().fold().directories.into_iter().collect();
            self.course = Course::End;
            pages.listing_order().expect_little(true);
        } else if pages.listing_order().trust() == Trust::Lost
            || (page.next.is_some() && page.keys.len() < S3_SUBTREES_KEYS_MIN)
        {
            // Another thread has lost the trust meanwhile, or the page is short without being the
            // last: a few keys show no order.
            self.give_up();
        } else if self.take_in_order(page) {
            self.verify(pages);
        } else {
            self.distrust(pages.listing_order());
            if self.has_told {
                return Err(nonsense("has keys in no order, after others in order"));
            }
        }
        Ok(())
    }

    /// Adds the keys of a page to the directories that they belong to. Returns false if the keys
    /// violate every order.
    fn take_in_order(&mut self, page: KeyPage) -> bool {
        let open_before =
            page.keys.first().and_then(|(key, _)| directory_of(key)).map(str::to_owned);
        for (key, listed) in &page.keys {
            if !self.last.is_empty() {
                self.orders = self.orders.with(&self.last, key);
            }
            if !self.orders.is_any() {
                return false;
            }
            self.last.clone_from(key);
            match &mut self.open {
                Some(open) if key.starts_with(&open.name) => {
                    open.keys.push(&key[open.name.len()..], *listed);
                }
                _ => self.open(key, *listed),
            }
        }
        let is_filled = |open: &Open| Some(&open.name) == open_before.as_ref();
        self.course = match page.next {
            None => {
                self.close();
                Course::End
            }
            // A directory that fills a whole page needs many requests in any case, which its own
            // listing can share with others; the recursive listing skips it.
            Some(_) if self.open.as_ref().is_some_and(is_filled) => {
                self.open = None;
                Course::Jump
            }
            Some(token) => Course::Token(token),
        };
        true
    }

    /// Completes the directory before the next key, which is in another directory or in none.
    fn open(&mut self, key: &str, listed: Listed) {
        self.close();
        let is_begin_known = std::mem::replace(&mut self.is_begin_known, true);
        self.open = directory_of(key).map(|name| {
            let mut keys = KeysBelow::default();
            keys.push(&key[name.len()..], listed);
            Open { name: name.to_owned(), keys, is_begin_known }
        });
    }

    /// Ends the directory that is being read, and records it if its beginning was seen too.
    fn close(&mut self) {
        if let Some(open) = self.open.take().filter(|open| open.is_begin_known) {
            self.tries.directories += 1;
            self.known.insert(open.name, open.keys);
        }
    }

    /// Compares the directory with the most keys with a listing of its own, once on each rank,
    /// before any result is used.
    fn verify(&mut self, pages: &impl Pages) {
        if pages.listing_order().trust() != Trust::Untried {
            return;
        }
        let Some((name, keys)) = self.known.iter().max_by_key(|(_, keys)| keys.len()) else {
            return;
        };
        let is_true = pages.keys(name, From::Start).is_ok_and(|page| {
            let mut alone: Vec<&str> = page.keys.iter().map(|(key, _)| &**key).collect();
            let mut together: Vec<&str> = keys.iter().map(|(key, _)| key).collect();
            // A page of keys lists the marker of its own prefix separately.
            together.retain(|key| !key.is_empty());
            alone.sort_unstable();
            together.sort_unstable();
            page.next.is_none() && alone == together
        });
        if is_true {
            pages.listing_order().set_trust(Trust::Earned);
        } else {
            self.distrust(pages.listing_order());
        }
    }
}
