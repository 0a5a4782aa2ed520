//! The names of a directory whose files have further hard links.

use std::collections::HashSet;
use std::ffi::{CStr, CString};

use crate::packet::Listed;
use types::entry::Kind;

/// Names that are hard links of files with several ones, as the listings of a directory tell them.
#[derive(Default)]
pub(super) struct LinkedNames {
    names: HashSet<CString>,
    is_complete: bool,
}

impl LinkedNames {
    /// Adds the names of a page of a listing; the last one makes it complete.
    pub fn add(&mut self, page: &[Listed], is_last: bool) {
        let is_directory =
            |listed: &Listed| listed.attrs.mode.map(Kind::from_mode) == Some(Kind::Directory);
        let linked = page
            .iter()
            .filter(|listed| listed.links.is_some_and(|links| links > 1) && !is_directory(listed));
        self.names.extend(linked.filter_map(|listed| CString::new(&listed.name[..]).ok()));
        self.is_complete |= is_last;
    }

    /// Returns whether that is one of the names; `None` where it was not listed yet.
    pub fn has(&self, name: &CStr) -> Option<bool> {
        let is_one = self.names.contains(name);
        (is_one || self.is_complete).then_some(is_one)
    }
}
