//! Directories that threads have just created: the answer tells what opening them would.

use std::collections::HashMap;
use std::sync::Mutex;
use std::thread::ThreadId;

use types::path::RelPath;

use crate::exchange::lock;
use crate::host::Line;
use crate::protocol::Entered;

/// The last directory that each thread has created, until the thread opens it. Others that open it
/// later, when it may have entries, ask its host.
#[derive(Default)]
pub(super) struct JustMade(Mutex<HashMap<ThreadId, (RelPath, New)>>);

/// New directory, as the answer shows it.
type New = (Entered, Line);

impl JustMade {
    /// Remembers a directory that this thread has created.
    pub fn put(&self, path: RelPath, new: New) {
        lock(&self.0).insert(std::thread::current().id(), (path, new));
    }

    /// Returns what is known of a directory, if this thread has created it last; once.
    pub fn take(&self, path: &RelPath) -> Option<New> {
        let last = lock(&self.0).remove(&std::thread::current().id())?;
        (last.0 == *path).then_some(last.1)
    }
}
