//! Caches of one bucket on a rank, which save requests: the names listed in directories, and the
//! heads of large objects.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::ffi::CString;
use std::ops::Bound;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::list::at_once::Threads;
use crate::list::key::key_of_name;
use crate::list::listing_order::ListingOrder;
use crate::list::pages::{Circle, From, Page};
use crate::list::windows::{Found, Windows, names_of, position_before};
use crate::read::head::Head;
use types::entry::Hint;
use types::error::{Cause, Result};
use types::limits::{S3_HEADS_MAX, S3_INDEX_MISSES, S3_INDEX_PAGES_MAX, S3_INDEXES_MAX};
use types::path::Name;

/// The caches of one bucket.
#[derive(Default)]
pub(crate) struct ListingCache {
    /// Listings of directories, by prefix, the most recently used last.
    indexes: Mutex<VecDeque<(String, Arc<Index>)>>,
    /// Heads of large objects, by key, the most recently used last.
    heads: Mutex<VecDeque<(String, Head)>>,
    /// Observations of how the service orders its listings.
    pub listing_order: ListingOrder,
    /// The threads of listings that nobody else can take part in.
    pub threads: Threads,
}

/// The names of one directory, as far as its listing was read to look up some of them.
#[derive(Default)]
pub(crate) struct Index {
    names: Mutex<Names>,
    /// Signals that an awaited page has come.
    arrived: Condvar,
}

#[derive(Default)]
struct Names {
    listed: HashMap<CString, Hint>,
    /// Pages from elsewhere than the beginning.
    windows: Windows,
    /// Positions of such pages that were requested and have not come.
    awaited: BTreeSet<String>,
    /// Names that this job has changed since the listing was read.
    doubtful: HashSet<CString>,
    pages: u32,
    next: Option<String>,
    circle: Circle,
    /// True if the account lacks the right to list, so that each name must be requested by itself.
    is_denied: bool,
    /// The number of names looked up so far that were not in the pages read at that time.
    misses: u32,
    /// The number of names looked up for which no page was requested, up to [`CREDIT_MAX`].
    credit: u32,
}

/// The greatest number of names that count for the pages to come.
const CREDIT_MAX: u32 = 64 * S3_INDEX_MISSES;

/// The error to which an answer with status 403 is mapped: the account may not list.
const DENIED: Cause = Cause::System(libc::EACCES);

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ListingCache {
    /// Returns the listing cache of a prefix, creating it or evicting the least recently used one
    /// where necessary.
    pub fn index(&self, prefix: &str) -> Arc<Index> {
        let mut indexes = lock(&self.indexes);
        let known = indexes.iter().position(|(own, _)| own == prefix);
        let entry = known.and_then(|at| indexes.remove(at));
        let entry = entry.unwrap_or_else(|| (prefix.to_owned(), Arc::default()));
        let index = Arc::clone(&entry.1);
        indexes.push_back(entry);
        if indexes.len() > S3_INDEXES_MAX {
            indexes.pop_front();
        }
        index
    }

    /// Remembers the head of an object, evicting the oldest one beyond the limit.
    pub fn keep(&self, key: &str, head: &Head) {
        let mut heads = lock(&self.heads);
        heads.retain(|(own, _)| own != key);
        heads.push_back((key.to_owned(), head.clone()));
        if heads.len() > S3_HEADS_MAX {
            heads.pop_front();
        }
    }

    /// Returns the remembered head of an object, if the object still had this content. `inode` is a
    /// hash of key and ETag.
    pub fn recall(&self, key: &str, inode: u64) -> Option<Head> {
        let heads = lock(&self.heads);
        let fits = |(own, head): &&(String, Head)| own == key && head.metadata.inode == inode;
        heads.iter().find(fits).map(|(_, head)| head.clone())
    }
}

impl Index {
    /// Looks up a name. The first call reads the first page of the listing; further pages are read
    /// after every few names that were not found ([`S3_INDEX_MISSES`]). So a few lookups cost a few
    /// requests, and many lookups cost one request for hundreds of names. Names that come in order
    /// are looked up in pages that begin there, several of which are requested at the same time;
    /// for others, page after page is read. `page` requests the page that begins at a position.
    ///
    /// # Errors
    /// Returns the error of a listing from its beginning on, except for a denied one: then every
    /// name is [`Found::Unknown`].
    pub fn find(&self, page: &dyn Fn(From<'_>) -> Result<Page>, name: &Name) -> Result<Found> {
        let key = key_of_name(name.to_bytes());
        let mut names = lock(&self.names);
        names.note(&key);
        let mut has_waited = false;
        loop {
            if let Some(found) = names.find(&key, name) {
                return Ok(found);
            }
            if names.pages == 0 || !names.windows.are_useful() {
                // The lock is held during the request: other threads that look up names here need
                // that page too.
                if !names.is_page_due() {
                    return Ok(Found::Unknown);
                }
                let from = names.next.as_deref().map_or(From::Start, From::Token);
                match page(from) {
                    Err(error) if error.cause == DENIED => names.is_denied = true,
                    read => names.take(&read?)?,
                }
                continue;
            }
            // A page that another thread awaits may have the name.
            let before = (Bound::Unbounded, Bound::Excluded(&*key));
            let awaited = names.awaited.range::<str, _>(before).next_back().cloned();
            if let Some(awaited) = awaited.filter(|_| !has_waited) {
                has_waited = true;
                let is_coming = |names: &mut Names| names.awaited.contains(&awaited);
                let waited = self.arrived.wait_while(names, is_coming);
                names = waited.unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            if !names.pays_for_page() {
                return Ok(Found::Unknown);
            }
            let after = position_before(&key);
            names.awaited.insert(after.clone());
            drop(names);
            let read = page(From::After(&after));
            names = lock(&self.names);
            names.awaited.remove(&after);
            self.arrived.notify_all();
            match read {
                Ok(read) if read.shows_order() => names.windows.add(after, &read),
                // Some services list from the beginning only. The name is asked for alone, which
                // shows any other error.
                _ => names.windows.give_up(),
            }
            return Ok(names.find(&key, name).unwrap_or(Found::Unknown));
        }
    }

    /// Marks a name whose listed facts may no longer hold, because this job writes or removes it.
    pub fn doubt(&self, name: &Name) {
        lock(&self.names).doubtful.insert(name.to_owned());
    }

    /// Records that a name is a directory now.
    pub fn note_directory(&self, name: &Name) {
        lock(&self.names).listed.insert(name.to_owned(), Hint::Directory);
    }
}

impl Names {
    fn note(&mut self, key: &str) {
        self.windows.note(key);
        self.credit = (self.credit + 1).min(CREDIT_MAX);
    }

    /// Looks up a name in what was read; `None` where that does not answer.
    fn find(&self, key: &str, name: &Name) -> Option<Found> {
        if self.doubtful.contains(name) {
            return Some(Found::Unknown);
        }
        if let Some(hint) = self.listed.get(name) {
            return Some(Found::There(*hint));
        }
        if self.is_whole() {
            return Some(Found::Missing);
        }
        if self.is_denied {
            return Some(Found::Unknown);
        }
        self.windows.find(key, name)
    }

    fn is_whole(&self) -> bool {
        self.pages > 0 && self.next.is_none()
    }

    /// Returns whether a page is to be read for a name that is not in those read so far.
    fn is_page_due(&mut self) -> bool {
        // The first page is free of charge: without it no name could be found at all.
        if self.pages > 0 {
            self.misses += 1;
        }
        self.misses.is_multiple_of(S3_INDEX_MISSES) && self.pages < S3_INDEX_PAGES_MAX
    }

    /// Takes the price of a page that begins at a name: as many names as one page is worth. Where
    /// such pages answer for many names, there is always enough for the next.
    fn pays_for_page(&mut self) -> bool {
        let is_enough = self.credit >= S3_INDEX_MISSES;
        if is_enough {
            self.credit -= S3_INDEX_MISSES;
        }
        is_enough
    }

    /// Adds the names of a page.
    fn take(&mut self, page: &Page) -> Result<()> {
        self.pages += 1;
        if self.pages == 1 && page.shows_order() {
            self.windows.add(String::new(), page);
        } else if self.pages == 1 {
            self.windows.give_up();
        }
        self.next = self.circle.pass(page.next.clone())?;
        for (name, hint) in names_of(page) {
            self.listed
                .entry(name)
                .and_modify(|known| {
                    if hint == Hint::Directory {
                        *known = hint;
                    }
                })
                .or_insert(hint);
        }
        Ok(())
    }
}
