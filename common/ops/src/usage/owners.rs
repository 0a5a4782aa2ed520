//! Usage by user or by group.

use std::cmp::Reverse;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::Use;
use types::limits::USAGE_OWNERS_MAX;

/// Users or groups, by number.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Owners {
    known: HashMap<u32, Owner>,
    /// What belongs to those for whom there was no more room.
    pub others: Use,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Owner {
    /// The name, where there is one.
    pub name: Option<String>,
    /// What belongs to it.
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

    /// Adds others.
    pub fn merge(&mut self, other: Self) {
        for (id, owner) in other.known {
            self.count(id, owner.name.as_deref(), &owner.part);
        }
        self.others.add(&other.others);
    }

    /// The one with the most bytes first.
    pub fn sorted(&self) -> Vec<(u32, &Owner)> {
        let mut all: Vec<_> = self.known.iter().map(|(id, owner)| (*id, owner)).collect();
        all.sort_unstable_by_key(|(id, owner)| {
            (Reverse((owner.part.bytes, owner.part.items)), *id)
        });
        all
    }
}

impl Owner {
    /// Its name, or its number.
    pub fn shown(&self, id: u32) -> String {
        self.name.clone().unwrap_or_else(|| id.to_string())
    }
}
