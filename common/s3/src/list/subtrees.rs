//! Many small directories out of few requests: all keys below a prefix, read beside the listing of what is
//! directly below it.
//!
//! That listing alone says which names there are; what is read here only spares requests for the directories
//! among them. So it may give up at any time, and says nothing where it is not sure. A directory is known
//! whole if the keys before it and behind it were seen, and all of them in an order that keeps those of one
//! directory together: by bytes, or name by name, as file systems do. Once on each rank, one directory
//! is listed alone to see whether that is the truth.

#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering as Atomic};

use crate::list::pages::{From, KeyPage};
use crate::list::spans::Pages;
use store::NameReader;
use types::entry::Listed;
use types::error::{Cause, Op, Result};
use types::limits::{
    S3_SUBTREES_FAILURES_MAX, S3_SUBTREES_HUNGRY, S3_SUBTREES_KEYS_MIN, S3_SUBTREES_MIN,
    S3_SUBTREES_OF_PAGE,
};
use types::object::keys_below::{KeysBelow, directory_of};
use types::object::span::{Span, just_before};
use types::service::ServiceFault;

/// How a service lists, as far as this rank has seen.
#[derive(Debug, Default)]
pub(crate) struct Habits {
    trust: AtomicU8,
    /// The last tree that was read whole took one page: the next one may, too.
    expects_little: AtomicBool,
}

/// Whether a service lists the keys of one directory together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    Untried,
    Earned,
    Lost,
}

impl Habits {
    fn expect_little(&self, is_little: bool) {
        self.expects_little.store(is_little, Atomic::Relaxed);
    }

    fn trust(&self) -> Trust {
        [Trust::Untried, Trust::Earned, Trust::Lost][usize::from(self.trust.load(Atomic::Relaxed))]
    }

    fn set_trust(&self, trust: Trust) {
        self.trust.fetch_max(trust as u8, Atomic::Relaxed);
        if trust == Trust::Lost {
            tracing::info!("the S3 service lists keys in no order; each directory is listed alone");
        }
    }
}

/// All keys below the directories of one listing, as far as they were read.
pub(crate) struct Subtrees {
    course: Course,
    orders: Orders,
    /// The last key that was read, or what the keys to come are behind of.
    last: String,
    /// The directory of the last key.
    open: Option<Open>,
    /// No key of the directory that the next key is in has come before.
    is_begin_known: bool,
    /// By their common prefixes.
    known: HashMap<String, KeysBelow>,
    /// What came of the latest page of names.
    tries: Tries,
    failures: u32,
    /// Somebody relies on the order by now.
    has_told: bool,
}

/// Where the next page of keys begins.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Course {
    /// At the beginning.
    Start,
    /// At the directory that is asked for.
    Jump,
    /// Where the last page has ended.
    Token(String),
    /// There is none.
    End,
    /// None is asked for.
    GivenUp,
}

/// Orders in which all keys have come so far.
#[derive(Debug, Clone, Copy)]
struct Orders {
    by_bytes: bool,
    by_names: bool,
}

struct Open {
    name: String,
    keys: KeysBelow,
    is_begin_known: bool,
}

#[derive(Debug, Default)]
struct Tries {
    pages: usize,
    directories: usize,
    is_over: bool,
    /// While the latest page was waited for, others had nothing to do.
    is_hungry: bool,
}

impl Orders {
    const BOTH: Self = Self { by_bytes: true, by_names: true };

    /// Those in which one key comes before the other.
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

impl Subtrees {
    /// Those of the directories in a range that is read now.
    pub fn of(span: &Span, reader: &dyn NameReader, habits: &Habits) -> Self {
        let is_beginning = span.after.is_empty() && span.token.is_none();
        let course = match (reader.wants_below(), habits.trust()) {
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

    /// Whether all of it may be in one page.
    pub fn is_little_expected(&self, habits: &Habits) -> bool {
        self.course == Course::Start && habits.expects_little.load(Atomic::Relaxed)
    }

    /// Reads the first page. `Some` if that was all there is.
    pub fn read_all(&mut self, pages: &impl Pages) -> Option<KeysBelow> {
        let page = pages.keys("", From::Start).ok()?;
        pages.habits().expect_little(page.next.is_none());
        if page.next.is_none() {
            return Some(page.all());
        }
        // Nobody relies on the order yet: that it is broken is no error.
        self.take(page, pages).ok()?;
        None
    }

    /// A page of names has so many directories. Whether some of what is below them may be known soon.
    pub fn expect(&mut self, directories: usize, is_hungry: bool) -> bool {
        // Whoever has few names alone must tell them.
        let few = if is_hungry { S3_SUBTREES_HUNGRY } else { S3_SUBTREES_MIN };
        let goes_on = matches!(self.course, Course::Token(_)) && directories > 0;
        let is_over = self.course == Course::GivenUp || (directories < few && !goes_on);
        self.tries = Tries { is_over, is_hungry, ..Tries::default() };
        !is_over || !self.known.is_empty()
    }

    /// No more names of this page come.
    pub fn page_ends(&mut self) {
        let falls_behind = matches!(self.course, Course::Token(_)) && self.tries.is_over;
        if self.course == Course::Start || falls_behind {
            self.course = Course::Jump;
        }
    }

    /// Only what is known already is told.
    pub fn give_up(&mut self) {
        self.course = Course::GivenUp;
        self.open = None;
    }

    /// All keys below a directory, if they are known, or can be with requests that pay.
    ///
    /// # Errors
    /// The service has broken its order after others have relied on it.
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

    /// Such a directory does not come any more.
    fn is_past(&self, name: &str) -> bool {
        match &self.course {
            Course::Start => false,
            Course::End | Course::GivenUp => true,
            _ if self.tries.is_over => true,
            _ if self.last.starts_with(name) => self.open.is_none(),
            Course::Jump => false,
            // In every order that it may be.
            Course::Token(_) => !self.orders.with(&self.last, name).is_any(),
        }
    }

    fn pays(&self) -> bool {
        let least = if self.tries.is_hungry { S3_SUBTREES_HUNGRY } else { S3_SUBTREES_OF_PAGE };
        self.tries.directories >= self.tries.pages * least
    }

    /// No more for this page of names.
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

    /// Nothing that was read counts.
    fn distrust(&mut self, habits: &Habits) {
        habits.set_trust(Trust::Lost);
        self.known = HashMap::new();
        self.give_up();
    }

    fn read_on(&mut self, pages: &impl Pages, name: &str, reader: &dyn NameReader) -> Result<()> {
        let (is_jump, completed) = (self.course == Course::Jump, self.tries.directories);
        self.tries.pages += 1;
        let page = self.next_page(pages, name);
        // Before what is told of it is work for others, which they have not seen yet.
        self.tries.is_hungry = reader.wants_to_share();
        if let Some(page) = page {
            self.take(page, pages)?;
            if !is_jump || self.tries.directories > completed {
                return Ok(());
            }
        }
        self.pause();
        Ok(())
    }

    /// None where the service does not say what comes next.
    fn next_page(&mut self, pages: &impl Pages, name: &str) -> Option<KeyPage> {
        match &self.course {
            Course::Start => pages.keys("", From::Start).ok(),
            Course::Token(token) => {
                let page = pages.keys("", From::Token(token)).ok()?;
                (page.next.as_ref() != Some(token)).then_some(page)
            }
            _ => {
                let after = just_before(name, fastrand::u64(..))?;
                let page = pages.keys("", From::After(&after)).ok()?;
                // There are services that begin nowhere but at the beginning.
                let (first, _) = page.keys.first()?;
                self.orders.with(&after, first).is_any().then_some(())?;
                (self.last, self.open, self.is_begin_known) = (after, None, false);
                Some(page)
            }
        }
    }

    fn take(&mut self, page: KeyPage, pages: &impl Pages) -> Result<()> {
        if self.course == Course::Start && page.next.is_none() {
            // That is all there is, in whatever order.
            self.known = page.all().fold().directories.into_iter().collect();
            self.course = Course::End;
            pages.habits().expect_little(true);
        } else if pages.habits().trust() == Trust::Lost
            || (page.next.is_some() && page.keys.len() < S3_SUBTREES_KEYS_MIN)
        {
            self.give_up();
        } else if self.take_in_order(page) {
            self.verify(pages);
        } else {
            self.distrust(pages.habits());
            if self.has_told {
                return Err(Op::List.failed(Cause::Service(ServiceFault::Protocol)));
            }
        }
        Ok(())
    }

    /// False if the keys are in no order.
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
            // A directory that fills a page is left to itself.
            Some(_) if self.open.as_ref().is_some_and(is_filled) => {
                self.open = None;
                Course::Jump
            }
            Some(token) => Course::Token(token),
        };
        true
    }

    /// The next key is in another directory, or in none.
    fn open(&mut self, key: &str, listed: Listed) {
        self.close();
        let is_begin_known = std::mem::replace(&mut self.is_begin_known, true);
        self.open = directory_of(key).map(|name| {
            let mut keys = KeysBelow::default();
            keys.push(&key[name.len()..], listed);
            Open { name: name.to_owned(), keys, is_begin_known }
        });
    }

    fn close(&mut self) {
        if let Some(open) = self.open.take().filter(|open| open.is_begin_known) {
            self.tries.directories += 1;
            self.known.insert(open.name, open.keys);
        }
    }

    /// Once on each rank: is that what the directory with the most keys has?
    fn verify(&mut self, pages: &impl Pages) {
        if pages.habits().trust() != Trust::Untried {
            return;
        }
        let Some((name, keys)) = self.known.iter().max_by_key(|(_, keys)| keys.len()) else {
            return;
        };
        let is_true = pages.keys(name, From::Start).is_ok_and(|page| {
            let mut alone: Vec<&str> = page.keys.iter().map(|(key, _)| &**key).collect();
            let mut together: Vec<&str> = keys.iter().map(|(key, _)| key).collect();
            // The page does not tell of the marker of what it lists.
            together.retain(|key| !key.is_empty());
            alone.sort_unstable();
            together.sort_unstable();
            page.next.is_none() && alone == together
        });
        if is_true {
            pages.habits().set_trust(Trust::Earned);
        } else {
            self.distrust(pages.habits());
        }
    }
}
