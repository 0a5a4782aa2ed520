//! Repeated entries of a list or a file of paths, of which all but the first are skipped.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::source::Piece;

/// Position of an entry in a list: its piece, and its number in that.
pub type Position = (Piece, u64);

/// Positions of entries whose path an earlier entry has.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Repeated(HashMap<Piece, HashSet<u64>>);

impl Repeated {
    /// Returns true where the path of the entry at that position has occurred before.
    pub fn contains(&self, (piece, number): Position) -> bool {
        self.0.get(&piece).is_some_and(|numbers| numbers.contains(&number))
    }

    /// Returns true where a piece has repeated entries.
    pub fn is_in(&self, piece: Piece) -> bool {
        self.0.contains_key(&piece)
    }
}

impl Extend<Position> for Repeated {
    fn extend<I: IntoIterator<Item = Position>>(&mut self, positions: I) {
        for (piece, number) in positions {
            self.0.entry(piece).or_default().insert(number);
        }
    }
}

impl FromIterator<Position> for Repeated {
    fn from_iter<I: IntoIterator<Item = Position>>(positions: I) -> Self {
        let mut repeated = Self::default();
        repeated.extend(positions);
        repeated
    }
}
