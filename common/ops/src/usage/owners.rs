//! Usage by user or by group.

use std::cmp::Reverse;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::Use;
use types::limits::USAGE_OWNERS_MAX;

/// The usage of users or groups, by numeric identifier.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Owners {
    known: HashMap<u32, Owner>,
    /// The usage of those beyond [`USAGE_OWNERS_MAX`].
    pub others: Use,
}

/// The usage of one user or group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Owner {
    /// The name, where it is known.
    pub name: Option<String>,
    /// The usage of its entries.
    pub part: Use,
}

impl Owners {
    /// Counts an entry.
    pub fn count(&mut self, id: u32, name: Option<&str>, part: &Use) {
        if let Some(owner) = self.known.get_mut(&id) {
            owner.part.add(part);
        } else if self.known.len() < USAGE_OWNERS_MAX {
            let owner = Owner { name: name.map(str::to_owned), part: *part };
            self.known.insert(id, owner);
        } else {
            self.others.add(part);
        }
    }

    /// Adds the usage gathered by another thread or rank.
    pub fn merge(&mut self, other: Self) {
        for (id, owner) in other.known {
            self.count(id, owner.name.as_deref(), &owner.part);
        }
        self.others.add(&other.others);
    }

    /// Returns the owners in decreasing order of bytes.
    pub fn sorted(&self) -> Vec<(u32, &Owner)> {
        let mut all: Vec<_> = self.known.iter().map(|(id, owner)| (*id, owner)).collect();
        all.sort_unstable_by_key(|(id, owner)| {
            (Reverse((owner.part.bytes, owner.part.items)), *id)
        });
        all
    }
}

impl Owner {
    /// Returns the name, or the number where there is no name.
    pub fn shown(&self, id: u32) -> String {
        self.name.clone().unwrap_or_else(|| id.to_string())
    }
}
