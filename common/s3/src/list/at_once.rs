//! Listings of a key range by several threads of their own, where no part of it may be handed to
//! the threads and ranks of the job: the other side of the directory, such as one of POSIX, cannot
//! be read in parts.
//!
//! The threads only list. Names go to the thread that asked for them, one after the other, so its
//! reader notices nothing. The threads replace those of the job that are idle meanwhile; one
//! listing of a bucket has them at a time.

use std::collections::VecDeque;
use std::ffi::CString;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;

use crate::client::runtime::can_wait;
use crate::list::key_ranges;
use crate::list::listing_order::ListingOrder;
use crate::list::pages::{From, KeyPage, Page, Pages};
use host::process::address_space_left;
use store::NameReader;
use types::entry::Hint;
use types::error::{Error, Result};
use types::limits::{ADDRESS_SPACE_OF_THREADS_BYTES_MIN, S3_PAGE_KEYS};
use types::object::key_range::{KeyRange, NamePage};
use types::object::keys_below::KeysBelow;
use types::path::Name;
use types::service::InvalidKey;

/// The threads of listings on a rank, which one listing of a bucket has at a time.
#[derive(Default)]
pub(crate) struct Threads(Mutex<()>);

/// The permission to use a number of threads.
pub(crate) struct Permit<'t> {
    threads: usize,
    _guard: MutexGuard<'t, ()>,
}

#[cfg(test)]
impl<'t> Permit<'t> {
    /// Creates the permission of a listing that cannot start a thread.
    pub fn of_none(threads: &'t Threads) -> Self {
        Self { threads: 0, _guard: threads.0.lock().unwrap() }
    }
}

impl Threads {
    /// Returns the permission to use that many threads, unless another listing has it, or one
    /// thread is enough.
    pub fn permit(&self, threads: usize) -> Option<Permit<'_>> {
        let guard = self.0.try_lock().ok().filter(|_| threads > 1)?;
        Some(Permit { threads, _guard: guard })
    }
}

/// Reports all names in a range of entries to `reader`, in no order.
///
/// # Errors
/// Returns the first error of a listing, after which no part is begun.
pub(crate) fn read(
    permit: &Permit<'_>,
    pages: &impl Pages,
    key_range: KeyRange,
    reader: &mut dyn NameReader,
) -> Result<()> {
    let parts = Parts::of(key_range);
    let (wants_below, may_be_empty) = (reader.wants_below(), reader.may_be_empty());
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(permit.threads);
        for _ in 0..permit.threads {
            let (told, sender) = (Vec::new(), sender.clone());
            let lister = Lister { parts: &parts, sender, told, wants_below, may_be_empty };
            let list = || lister.list(&Limited { pages, parts: &parts });
            // Limits of the system may forbid another thread; those there are suffice.
            if !has_room_for_a_thread() || Builder::new().spawn_scoped(scope, list).is_err() {
                break;
            }
        }
        drop(sender);
        receiver.into_iter().flatten().for_each(|told: Told| told.tell(reader));
    });
    // These are left where no thread could be started.
    while let Some(part) = parts.take() {
        parts.end(key_ranges::read(pages, part, reader));
    }
    parts.into_result()
}

fn has_room_for_a_thread() -> bool {
    address_space_left().is_none_or(|left| left >= ADDRESS_SPACE_OF_THREADS_BYTES_MIN)
}

/// The parts of a range that no thread lists yet.
struct Parts {
    state: Mutex<State>,
    /// Signals that there is another part, or that no further one can come.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<KeyRange>,
    /// The number of threads that list a part.
    busy: usize,
    /// The number of threads that wait for a part.
    idle: usize,
    failure: Option<Error>,
}

impl Parts {
    fn of(whole: KeyRange) -> Self {
        let state = State { waiting: VecDeque::from([whole]), ..State::default() };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a part, and waits for one while other threads may still hand some over. There is none
    /// after a failure.
    fn take(&self) -> Option<KeyRange> {
        let mut state = self.lock();
        state.idle += 1;
        let may_come = |state: &mut State| {
            state.waiting.is_empty() && state.busy > 0 && state.failure.is_none()
        };
        let mut state =
            self.changed.wait_while(state, may_come).unwrap_or_else(PoisonError::into_inner);
        state.idle -= 1;
        if state.failure.is_some() {
            return None;
        }
        let part = state.waiting.pop_front()?;
        state.busy += 1;
        Some(part)
    }

    /// Ends a part that was taken.
    fn end(&self, listed: Result<()>) {
        let mut state = self.lock();
        state.busy -= 1;
        if let Err(error) = listed {
            state.failure.get_or_insert(error);
        }
        self.changed.notify_all();
    }

    fn failure(&self) -> Option<Error> {
        self.lock().failure.clone()
    }

    fn into_result(self) -> Result<()> {
        self.failure().map_or(Ok(()), Err)
    }
}

/// The pages of a listing, up to the first failure of any of its threads.
struct Limited<'p> {
    pages: &'p dyn Pages,
    parts: &'p Parts,
}

impl Pages for Limited<'_> {
    fn page(&self, from: From<'_>) -> Result<Page> {
        self.parts.failure().map_or_else(|| self.pages.page(from), Err)
    }

    fn keys(&self, within: &str, from: From<'_>) -> Result<KeyPage> {
        self.parts.failure().map_or_else(|| self.pages.keys(within, from), Err)
    }

    fn entry(&self, name: &str) -> Result<NamePage> {
        self.parts.failure().map_or_else(|| self.pages.entry(name), Err)
    }

    fn listing_order(&self) -> &ListingOrder {
        self.pages.listing_order()
    }

    fn threads(&self) -> &Threads {
        self.pages.threads()
    }

    fn may_be_empty(&self) -> bool {
        self.pages.may_be_empty()
    }
}

/// A report of a listing.
enum Told {
    Name(CString, Hint),
    Directory(CString, KeysBelow),
    InvalidKey(Vec<u8>, InvalidKey),
}

impl Told {
    fn tell(self, reader: &mut dyn NameReader) {
        match self {
            Self::Name(name, hint) => reader.name(&name, hint),
            Self::Directory(name, below) => reader.directory(&name, &below),
            Self::InvalidKey(key, why) => reader.invalid_key(&key, why),
        }
    }
}

/// A thread that lists one part after the other.
struct Lister<'p> {
    parts: &'p Parts,
    sender: SyncSender<Vec<Told>>,
    /// Reports that were not sent yet.
    told: Vec<Told>,
    wants_below: bool,
    may_be_empty: bool,
}

impl Lister<'_> {
    fn list(mut self, pages: &impl Pages) {
        // Without descriptors for requests, the parts are left to other threads.
        while can_wait()
            && let Some(part) = self.parts.take()
        {
            let listed = key_ranges::read(pages, part, &mut self);
            self.send();
            self.parts.end(listed);
        }
    }

    fn tell(&mut self, told: Told) {
        self.told.push(told);
        if self.told.len() >= S3_PAGE_KEYS as usize {
            self.send();
        }
    }

    fn send(&mut self) {
        // The receiver lives as long as all threads.
        let _ = self.sender.send(std::mem::take(&mut self.told));
    }
}

impl NameReader for Lister<'_> {
    fn name(&mut self, name: &Name, hint: Hint) {
        self.tell(Told::Name(name.to_owned(), hint));
    }

    fn directory(&mut self, name: &Name, below: &KeysBelow) {
        self.tell(Told::Directory(name.to_owned(), below.clone()));
    }

    fn invalid_key(&mut self, key: &[u8], why: InvalidKey) {
        self.tell(Told::InvalidKey(key.to_vec(), why));
    }

    fn wants_to_share(&self) -> bool {
        let state = self.parts.lock();
        state.failure.is_none() && state.idle > state.waiting.len()
    }

    fn may_share(&self) -> bool {
        true
    }

    fn share(&mut self, rest: KeyRange) {
        self.parts.lock().waiting.push_back(rest);
        self.parts.changed.notify_one();
    }

    fn wants_below(&self) -> bool {
        self.wants_below
    }

    fn may_be_empty(&self) -> bool {
        self.may_be_empty
    }
}
