//! Objects that wait to be removed, until there are enough for a request.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use types::entry::Kind;
use types::limits::S3_DELETE_KEYS_MAX;

/// An object that is to be removed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Doomed {
    /// The path of its entry below the root.
    pub below: Vec<u8>,
    /// What that is.
    pub kind: Kind,
    /// Its key.
    pub key: String,
    /// With it the entry is gone.
    pub is_last: bool,
}

/// Those of each root, on this rank.
#[derive(Debug)]
pub struct Waiting(Vec<Mutex<Vec<Doomed>>>);

impl Waiting {
    /// Nothing waits in any of so many roots.
    pub fn new(roots: usize) -> Self {
        Self((0..roots).map(|_| Mutex::default()).collect())
    }

    /// Adds the objects of an entry; returns as many as go in one request when there are so many.
    pub fn add(&self, root: u32, objects: impl Iterator<Item = Doomed>) -> Option<Vec<Doomed>> {
        let slot = self.0.get(root as usize)?;
        let mut waiting = slot.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.extend(objects);
        (waiting.len() >= S3_DELETE_KEYS_MAX).then(|| waiting.drain(..S3_DELETE_KEYS_MAX).collect())
    }

    /// Takes out what is left, by root.
    pub fn take(&self) -> Vec<(u32, Vec<Doomed>)> {
        let take = |slot: &Mutex<Vec<Doomed>>| {
            std::mem::take(&mut *slot.lock().unwrap_or_else(PoisonError::into_inner))
        };
        let all = (0..).zip(self.0.iter().map(take));
        all.filter(|(_, waiting)| !waiting.is_empty()).collect()
    }
}
