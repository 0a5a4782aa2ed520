//! Objects that wait to be removed, until there are enough for a request.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use types::entry::Kind;
use types::limits::S3_DELETE_KEYS_MAX;

/// An object that is to be removed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QueuedObject {
    /// Path of its entry below the root.
    pub below: Vec<u8>,
    /// Kind of its entry.
    pub kind: Kind,
    /// Key of the object.
    pub key: String,
    /// True if the entry is gone with this object.
    pub is_last: bool,
}

impl QueuedObject {
    /// Returns the objects of an entry, which is gone with the last of them.
    pub fn all_of(
        below: &[u8],
        kind: Kind,
        keys: Vec<String>,
    ) -> impl Iterator<Item = Self> + use<'_> {
        let last = keys.len().saturating_sub(1);
        keys.into_iter().enumerate().map(move |(number, key)| Self {
            below: below.to_vec(),
            kind,
            key,
            is_last: number == last,
        })
    }
}

/// Objects that wait on this rank, by root.
#[derive(Debug)]
pub struct Waiting(Vec<Mutex<Vec<QueuedObject>>>);

impl Waiting {
    /// Creates an empty set for that number of roots.
    pub fn new(roots: usize) -> Self {
        Self((0..roots).map(|_| Mutex::default()).collect())
    }

    /// Adds the objects of an entry; returns the objects of a full request as soon as there are
    /// enough.
    pub fn add(
        &self,
        root: u32,
        objects: impl Iterator<Item = QueuedObject>,
    ) -> Option<Vec<QueuedObject>> {
        let slot = self.0.get(root as usize)?;
        let mut waiting = slot.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.extend(objects);
        (waiting.len() >= S3_DELETE_KEYS_MAX).then(|| waiting.drain(..S3_DELETE_KEYS_MAX).collect())
    }

    /// Takes out the remaining objects, by root.
    pub fn take(&self) -> Vec<(u32, Vec<QueuedObject>)> {
        let take = |slot: &Mutex<Vec<QueuedObject>>| {
            std::mem::take(&mut *slot.lock().unwrap_or_else(PoisonError::into_inner))
        };
        let all = (0..).zip(self.0.iter().map(take));
        all.filter(|(_, waiting)| !waiting.is_empty()).collect()
    }
}
