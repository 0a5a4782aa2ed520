//! User with whose rights entries are changed, on this host or on another one.

use rustix::process::{Gid, getegid, geteuid, getgroups};
use serde::{Deserialize, Serialize};

/// User with whose rights entries are changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// True for the superuser, whom modes do not restrict.
    pub is_superuser: bool,
    /// True if entries may be given to other owners.
    pub changes_owners: bool,
    /// Groups that entries may be given to.
    pub groups: Vec<u32>,
}

impl User {
    /// Returns the user of this process.
    pub fn own() -> Self {
        let supplementary = getgroups().unwrap_or_default();
        let groups = supplementary.iter().copied().chain([getegid()]);
        Self::of(geteuid().is_root(), groups.map(Gid::as_raw).collect())
    }

    /// Returns the superuser, or a user of these groups.
    pub fn of(is_superuser: bool, groups: Vec<u32>) -> Self {
        Self { is_superuser, changes_owners: is_superuser, groups }
    }

    /// Returns a user of whom nothing is known: what only the superuser may do is tried, and
    /// nothing is left out that others need.
    pub fn unknown() -> Self {
        Self { is_superuser: false, changes_owners: true, groups: Vec::new() }
    }
}
