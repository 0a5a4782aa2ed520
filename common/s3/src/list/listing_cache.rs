//! Caches of one bucket on a rank, which save requests: the names listed in directories, and the
//! heads of large objects.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::CString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::list::pages::{Circle, From, Page, entry_of};
use crate::list::recursive_listing::ListingOrder;
use crate::read::object::{Bucket, Head};
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
}

/// The names of one directory, as far as its listing was read to look up some of them.
#[derive(Default)]
pub(crate) struct Index(Mutex<Names>);

#[derive(Default)]
struct Names {
    listed: HashMap<CString, Hint>,
    /// Names that this job has changed since the listing was read.
    doubtful: HashSet<CString>,
    pages: u32,
    next: Option<String>,
    circle: Circle,
    /// True if the account lacks the right to list, so that each name must be requested by itself.
    is_denied: bool,
    /// The number of names looked up so far that were not in the pages read at that time.
    misses: u32,
}

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
    /// requests, and many lookups cost one request for hundreds of names. Pages may come in any
    /// order.
    ///
    /// # Errors
    /// Returns the error of a listing, except for a denied one: then every name is
    /// [`Found::Unknown`].
    pub fn find(&self, bucket: &Bucket, prefix: &str, name: &Name) -> Result<Found> {
        // The lock is held during the request: other threads that look up names here need that page
        // too.
        let mut names = lock(&self.0);
        loop {
            if names.doubtful.contains(name) {
                return Ok(Found::Unknown);
            }
            if let Some(hint) = names.listed.get(name) {
                return Ok(Found::There(*hint));
            }
            if names.is_whole() {
                return Ok(Found::Missing);
            }
            if names.is_denied || !names.is_page_due() {
                return Ok(Found::Unknown);
            }
            let from = names.next.as_deref().map_or(From::Start, From::Token);
            match bucket.page(prefix, from, Page::KEYS_MAX) {
                Err(error) if error.cause == Cause::System(libc::EACCES) => names.is_denied = true,
                page => names.take(page?)?,
            }
        }
    }

    /// Marks a name whose listed facts may no longer hold, because this job writes or removes it.
    pub fn doubt(&self, name: &Name) {
        lock(&self.0).doubtful.insert(name.to_owned());
    }

    /// Records that a name is a directory now.
    pub fn note_directory(&self, name: &Name) {
        lock(&self.0).listed.insert(name.to_owned(), Hint::Directory);
    }
}

impl Names {
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

    /// Adds the names of a page.
    fn take(&mut self, page: Page) -> Result<()> {
        self.pages += 1;
        self.next = self.circle.pass(page.next)?;
        for (text, hint) in page.names.entries() {
            let Ok((name, hint)) = entry_of(text, hint) else { continue };
            // A key may be both an object and a common prefix. The walk presents such a name as the
            // directory, so the lookup must agree.
            if hint == Hint::Directory || !self.listed.contains_key(&name) {
                self.listed.insert(name, hint);
            }
        }
        Ok(())
    }
}
