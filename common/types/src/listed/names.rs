//! Names of users and groups, each looked up once.

use std::collections::HashMap;
use std::sync::Arc;

/// Cache of the names that one thread has looked up.
#[derive(Debug, Default)]
pub struct Names {
    users: HashMap<u32, Option<Arc<str>>>,
    groups: HashMap<u32, Option<Arc<str>>>,
}

impl Names {
    /// Returns the user's name, where the system knows one.
    pub fn user(&mut self, uid: u32) -> Option<Arc<str>> {
        let ask = || Some(uzers::get_user_by_uid(uid)?.name().to_string_lossy().into());
        self.users.entry(uid).or_insert_with(ask).clone()
    }

    /// Returns the group's name, where the system knows one.
    pub fn group(&mut self, gid: u32) -> Option<Arc<str>> {
        let ask = || Some(uzers::get_group_by_gid(gid)?.name().to_string_lossy().into());
        self.groups.entry(gid).or_insert_with(ask).clone()
    }
}
