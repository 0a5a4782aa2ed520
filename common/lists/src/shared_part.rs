//! One rank's part of a Parquet list, which its threads write together.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::part::PartWriter;
use super::rows::Rows;
use super::staged;
use types::entry::Metadata;
use types::error::Failure;

/// The part, if there is one to be written.
pub struct SharedPart {
    state: Mutex<State>,
    /// The list's own directories, which are in no list.
    own: Vec<(u64, u64)>,
}

enum State {
    None,
    Open(Box<PartWriter>),
    Failed(Failure),
}

impl SharedPart {
    /// Nothing is written where `part` is `None`.
    pub fn new(part: Option<PartWriter>) -> Self {
        let state = part.map_or(State::None, |part| State::Open(Box::new(part)));
        Self { state: Mutex::new(state), own: Vec::new() }
    }

    /// A part of a list whose directories are those at these paths, now and while it is written.
    #[must_use]
    pub fn of_list(self, target: &[u8]) -> Self {
        Self { own: staged::own_directories(target), ..self }
    }

    /// Whether an entry is the list itself.
    pub fn is_itself(&self, entry: &Metadata) -> bool {
        self.own.contains(&(entry.device, entry.inode))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is to be written.
    pub fn is_wanted(&self) -> bool {
        !matches!(*self.lock(), State::None)
    }

    /// Takes over what a thread has gathered; after a failure it is dropped.
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

    /// Ends the part of a rank that could not read so many entries.
    ///
    /// # Errors
    /// Why not all of it was written.
    pub fn finish(&self, failed: u64) -> Result<(), Failure> {
        match std::mem::replace(&mut *self.lock(), State::None) {
            State::None => Ok(()),
            State::Open(part) => part.finish(failed),
            State::Failed(failure) => Err(failure),
        }
    }
}
