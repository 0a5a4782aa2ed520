//! What a rank remembers of a bucket, so that it asks less: which names directories have, and which content
//! large objects have.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::CString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::list::pages::{Circle, From, Page, entry_of};
use crate::list::subtrees::Habits;
use crate::read::object::{Bucket, Head};
use types::entry::Hint;
use types::error::{Cause, Result};
use types::limits::{S3_HEADS_MAX, S3_INDEX_MISSES, S3_INDEX_PAGES_MAX, S3_INDEXES_MAX};
use types::path::Name;

/// All that is remembered of a bucket.
#[derive(Default)]
pub(crate) struct Memory {
    /// By prefix, the latest last.
    indexes: Mutex<VecDeque<(String, Arc<Index>)>>,
    /// By key, the latest last.
    heads: Mutex<VecDeque<(String, Head)>>,
    /// How it lists.
    pub habits: Habits,
}

/// The names of a directory, as far as its listing was read for them.
#[derive(Default)]
pub(crate) struct Index(Mutex<Names>);

#[derive(Default)]
struct Names {
    listed: HashMap<CString, Hint>,
    /// They may have changed since.
    doubtful: HashSet<CString>,
    pages: u32,
    next: Option<String>,
    circle: Circle,
    /// This account may not list: each name is asked for.
    is_denied: bool,
    /// Names that were asked for and not listed so far.
    misses: u32,
}

/// What an index says of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// It is there.
    There(Hint),
    /// It is not there.
    Missing,
    /// The service must be asked for it.
    Unknown,
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Memory {
    /// The index of a prefix.
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

    /// Remembers an object.
    pub fn keep(&self, key: &str, head: &Head) {
        let mut heads = lock(&self.heads);
        heads.retain(|(own, _)| own != key);
        heads.push_back((key.to_owned(), head.clone()));
        if heads.len() > S3_HEADS_MAX {
            heads.pop_front();
        }
    }

    /// The object of that key and that content.
    pub fn recall(&self, key: &str, inode: u64) -> Option<Head> {
        let heads = lock(&self.heads);
        let fits = |(own, head): &&(String, Head)| own == key && head.metadata.inode == inode;
        heads.iter().find(fits).map(|(_, head)| head.clone())
    }
}

impl Index {
    /// What is known of a name. The first page of the listing is read for it, and another one after every
    /// few names that were not listed so far: so it costs little where few are asked for, and one request
    /// for hundreds where all are. It does not depend on the order of the listing.
    pub fn find(&self, bucket: &Bucket, prefix: &str, name: &Name) -> Result<Found> {
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

    /// What was listed of a name may not be so any more.
    pub fn doubt(&self, name: &Name) {
        lock(&self.0).doubtful.insert(name.to_owned());
    }

    /// It is a directory now.
    pub fn note_directory(&self, name: &Name) {
        lock(&self.0).listed.insert(name.to_owned(), Hint::Directory);
    }
}

impl Names {
    fn is_whole(&self) -> bool {
        self.pages > 0 && self.next.is_none()
    }

    fn is_page_due(&mut self) -> bool {
        if self.pages > 0 {
            self.misses += 1;
        }
        self.misses.is_multiple_of(S3_INDEX_MISSES) && self.pages < S3_INDEX_PAGES_MAX
    }

    fn take(&mut self, page: Page) -> Result<()> {
        self.pages += 1;
        self.next = self.circle.pass(page.next)?;
        for (text, hint) in page.names.entries() {
            let Ok((name, hint)) = entry_of(text, hint) else { continue };
            // Where a name stands for two, the directory is what others see of it.
            if hint == Hint::Directory || !self.listed.contains_key(&name) {
                self.listed.insert(name, hint);
            }
        }
        Ok(())
    }
}
