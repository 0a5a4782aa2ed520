//! Listings: names are read at once, so that a listing is of one moment, and their metadata when
//! they are sent.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::CString;
use std::sync::Arc;
use std::sync::Mutex;

use ::store::Dir;
use types::entry::{Hint, Kind, Metadata};
use types::error::{Op, Result};
use types::limits::{REMOTE_LISTS_MAX, REMOTE_PAGE_ENTRIES, REMOTE_WHOLE_BYTES_MAX};
use types::path::Name;

use super::{bytes_of, lock};
use crate::protocol::{At, ListedEntry, ListedXattrs, Page};

/// Listings whose rest the client has not requested yet.
#[derive(Default)]
pub(super) struct Lists(Mutex<Held>);

struct Held {
    next: u64,
    lists: BTreeMap<u64, Rest>,
}

/// Numbers begin anywhere, so that one of another agent means nothing here.
impl Default for Held {
    fn default() -> Self {
        Self { next: fastrand::u64(..1 << 63), lists: BTreeMap::new() }
    }
}

/// The rest of a listing.
struct Rest {
    at: At,
    dir: Arc<dyn Dir>,
    names: VecDeque<(CString, Hint)>,
    shown: Shown,
}

/// Details of entries that a listing shows.
#[derive(Clone, Copy)]
pub(super) struct Shown {
    /// Device number that counts as 0 for the client.
    pub device_base: u64,
    /// True if the extended attributes of files are listed, too.
    pub xattrs: bool,
}

impl Lists {
    /// Lists a directory, and returns its first entries.
    pub fn begin(&self, at: At, dir: &Arc<dyn Dir>, shown: Shown) -> Result<Page> {
        let mut names = VecDeque::new();
        dir.list(&mut |name, hint| names.push_back((name.to_owned(), hint)))?;
        Ok(self.page(Rest { at, dir: Arc::clone(dir), names, shown }))
    }

    /// Lists a directory whose entries fit one page; `None` for a larger one, of which nothing is
    /// held: a directory is often entered without being listed.
    pub fn whole(&self, at: &At, dir: &Arc<dyn Dir>, shown: Shown) -> Result<Option<Page>> {
        let mut names = VecDeque::new();
        dir.list(&mut |name, hint| {
            if names.len() <= REMOTE_PAGE_ENTRIES {
                names.push_back((name.to_owned(), hint));
            }
        })?;
        let is_whole = names.len() <= REMOTE_PAGE_ENTRIES;
        let rest = Rest { at: at.clone(), dir: Arc::clone(dir), names, shown };
        Ok(is_whole.then(|| self.page(rest)))
    }

    /// Returns the next entries of a listing of that directory.
    pub fn more(&self, at: &At, list: u64) -> Result<Page> {
        let rest = lock(&self.0).lists.remove(&list).filter(|rest| rest.at == *at);
        rest.map(|rest| self.page(rest)).ok_or_else(|| Op::List.errno(libc::EBADMSG))
    }

    fn page(&self, mut rest: Rest) -> Page {
        let Rest { dir, names, shown, .. } = &mut rest;
        let mut room_bytes = if shown.xattrs { REMOTE_WHOLE_BYTES_MAX } else { 0 };
        let count = names.len().min(REMOTE_PAGE_ENTRIES);
        let entries = names.drain(..count).map(|(name, hint)| {
            let seen = dir.stat(&name).ok();
            let is_file = seen.is_some_and(|seen| seen.kind == Kind::File);
            let xattrs = if is_file { few_xattrs(&**dir, &name, &mut room_bytes) } else { None };
            let metadata =
                seen.map(|seen| Metadata { device: seen.device ^ shown.device_base, ..seen });
            ListedEntry { name: name.into_bytes(), hint, metadata, xattrs }
        });
        let entries = entries.collect();
        let more = if rest.names.is_empty() { None } else { Some(self.hold(rest)) };
        Page { entries, more }
    }

    fn hold(&self, rest: Rest) -> u64 {
        let mut held = lock(&self.0);
        if held.lists.len() >= REMOTE_LISTS_MAX {
            // The oldest belongs to a client that has given it up.
            held.lists.pop_first();
        }
        held.next += 1;
        let number = held.next;
        held.lists.insert(number, rest);
        number
    }
}

/// Returns the extended attributes of a file for which there is room left; an error shows again
/// where they are requested alone.
fn few_xattrs(dir: &dyn Dir, name: &Name, room_bytes: &mut u64) -> Option<ListedXattrs> {
    if *room_bytes == 0 {
        return None;
    }
    let xattrs = dir.xattrs(Some(name));
    *room_bytes = room_bytes.checked_sub(bytes_of(&xattrs))?;
    xattrs.ok().map(ListedXattrs)
}
