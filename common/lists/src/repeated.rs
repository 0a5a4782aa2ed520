//! Entries that stand more than once in a list or a file of paths: all but the first are passed over.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::source::Piece;

/// The place of an entry in a list: its piece, and its number in that.
pub type Place = (Piece, u64);

/// The places of entries that an earlier one has named.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Repeated(HashMap<Piece, HashSet<u64>>);

impl Repeated {
    /// Whether an earlier entry has named the one at that place.
    pub fn contains(&self, (piece, number): Place) -> bool {
        self.0.get(&piece).is_some_and(|numbers| numbers.contains(&number))
    }

    /// Whether a piece has any.
    pub fn is_in(&self, piece: Piece) -> bool {
        self.0.contains_key(&piece)
    }
}

impl Extend<Place> for Repeated {
    fn extend<I: IntoIterator<Item = Place>>(&mut self, places: I) {
        for (piece, number) in places {
            self.0.entry(piece).or_default().insert(number);
        }
    }
}

impl FromIterator<Place> for Repeated {
    fn from_iter<I: IntoIterator<Item = Place>>(places: I) -> Self {
        let mut repeated = Self::default();
        repeated.extend(places);
        repeated
    }
}
