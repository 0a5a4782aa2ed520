//! One rank's part of a Parquet list, which its threads write together.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::part::PartWriter;
use super::rows::Rows;
use super::staged;
use types::entry::Metadata;
use types::error::Failure;

/// The part, if one is to be written.
pub struct SharedPart {
    state: Mutex<State>,
    /// Directories of the list itself (device and inode), which are not listed.
    own: Vec<(u64, u64)>,
}

enum State {
    None,
    Open(Box<PartWriter>),
    Failed(Failure),
}

impl SharedPart {
    /// Shares a part among threads; with `None`, nothing is written.
    pub fn new(part: Option<PartWriter>) -> Self {
        let state = part.map_or(State::None, |part| State::Open(Box::new(part)));
        Self { state: Mutex::new(state), own: Vec::new() }
    }

    /// Excludes the directories of the list with that final path, now and while it is written.
    #[must_use]
    pub fn of_list(self, target: &[u8]) -> Self {
        Self { own: staged::own_directories(target), ..self }
    }

    /// Returns true for a directory of the list itself.
    pub fn is_itself(&self, entry: &Metadata) -> bool {
        self.own.contains(&(entry.device, entry.inode))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns true where a part is to be written.
    pub fn is_wanted(&self) -> bool {
        !matches!(*self.lock(), State::None)
    }

    /// Takes over the rows that a thread has gathered; after a failure they are dropped.
    pub fn append(&self, rows: &mut Rows) {
        let mut state = self.lock();
        match &mut *state {
            State::Open(part) => {
                if let Err(failure) = part.append(rows) {
                    *state = State::Failed(failure);
                }
            }
            State::None | State::Failed(_) => *rows = Rows::default(),
        }
    }

    /// Ends the part of a rank that could not read `failed` entries.
    ///
    /// # Errors
    /// Fails where a part of it was not written.
    pub fn finish(&self, failed: u64) -> Result<(), Failure> {
        match std::mem::replace(&mut *self.lock(), State::None) {
            State::None => Ok(()),
            State::Open(part) => part.finish(failed),
            State::Failed(failure) => Err(failure),
        }
    }
}
