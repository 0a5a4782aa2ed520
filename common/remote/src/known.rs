//! The entries of a remote directory as its listing has returned them, while they are of use.

use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, CString};

use types::entry::{Hint, Metadata};
use types::error::{Op, Result};
use types::limits::REMOTE_KNOWN_ENTRIES_MAX;

use crate::protocol::ListedXattrs;

/// Entries that a listing has returned.
#[derive(Default)]
pub struct Known {
    entries: HashMap<CString, Seen>,
    /// Names that were changed through this handle.
    changed: HashSet<CString>,
    /// True where the listing was complete, so that any other name is missing.
    is_complete: bool,
    /// True once a name was met that is not remembered: from then on no name is missing for
    /// certain.
    is_partial: bool,
}

/// An entry as it was listed.
struct Seen {
    metadata: Metadata,
    xattrs: Option<ListedXattrs>,
}

/// An entry of a listing, with a validated name.
pub struct Entry {
    /// Name of it.
    pub name: CString,
    /// Type from the listing.
    pub hint: Hint,
    /// Metadata, if the listing has returned it.
    pub metadata: Option<Metadata>,
    /// Extended attributes, if the listing has returned them.
    pub xattrs: Option<ListedXattrs>,
}

impl Known {
    /// Adds entries of a listing; `is_last` for its last ones.
    pub fn add(&mut self, entries: &[Entry], is_last: bool) {
        for Entry { name, metadata, xattrs, .. } in entries {
            match *metadata {
                Some(metadata) if self.entries.len() < REMOTE_KNOWN_ENTRIES_MAX => {
                    let xattrs = xattrs.clone();
                    self.entries.insert(name.clone(), Seen { metadata, xattrs });
                }
                _ => self.is_partial = true,
            }
        }
        self.is_complete = is_last;
    }

    /// Records that an entry of that name has changed.
    pub fn change(&mut self, name: &CStr) {
        self.entries.remove(name);
        if self.changed.len() < REMOTE_KNOWN_ENTRIES_MAX {
            self.changed.insert(name.to_owned());
        } else {
            self.is_partial = true;
        }
    }

    /// Returns the metadata of an entry as far as the listing tells, which may be that there is no
    /// such entry; `None` where the host is to be asked.
    pub fn peek(&self, name: &CStr) -> Option<Result<Metadata>> {
        match self.entries.get(name) {
            Some(seen) => Some(Ok(seen.metadata)),
            None if self.has_all() && !self.changed.contains(name) => {
                Some(Err(Op::Stat.errno(libc::ENOENT)))
            }
            None => None,
        }
    }

    /// Returns the extended attributes of an entry, if the listing has returned them.
    pub fn xattrs(&self, name: &CStr) -> Option<ListedXattrs> {
        self.entries.get(name)?.xattrs.clone()
    }

    fn has_all(&self) -> bool {
        self.is_complete && !self.is_partial
    }
}
