//! Room for names that listings hold to sort them: bounded for all threads of a rank together.

use std::sync::atomic::{AtomicUsize, Ordering};

use types::limits::{NAMES_SORTED_MAX, NAMES_SORTED_STEP};

/// The rooms of all listings of a rank.
#[derive(Debug, Default)]
pub struct SortRooms {
    /// The number of names for which there is room, without the first step of each listing.
    names: AtomicUsize,
}

/// The room of one listing.
pub(super) struct SortRoom<'r> {
    rooms: &'r SortRooms,
    /// The number of names beyond the first step.
    more: usize,
}

impl SortRooms {
    /// Returns a room of one step, which each listing may have.
    pub(super) fn room(&self) -> SortRoom<'_> {
        SortRoom { rooms: self, more: 0 }
    }

    fn take_step(&self) -> bool {
        let with_step =
            |names| Some(names + NAMES_SORTED_STEP).filter(|it| *it <= NAMES_SORTED_MAX);
        self.names.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with_step).is_ok()
    }
}

impl SortRoom<'_> {
    /// Returns whether there is room for one more name than that many, after taking another step
    /// where that is necessary and possible.
    pub fn holds(&mut self, names: usize) -> bool {
        if names < NAMES_SORTED_STEP + self.more {
            return true;
        }
        let has_more = self.rooms.take_step();
        self.more += if has_more { NAMES_SORTED_STEP } else { 0 };
        has_more
    }
}

impl Drop for SortRoom<'_> {
    fn drop(&mut self) {
        self.rooms.names.fetch_sub(self.more, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the number of names that a room holds.
    fn fill(room: &mut SortRoom<'_>) -> usize {
        (1..=2 * NAMES_SORTED_MAX).find(|names| !room.holds(*names)).unwrap()
    }

    #[test]
    fn rooms_together_hold_no_more_than_allowed_and_each_has_a_step() {
        let rooms = SortRooms::default();
        let (mut one, mut other) = (rooms.room(), rooms.room());
        assert_eq!(fill(&mut one), NAMES_SORTED_MAX + NAMES_SORTED_STEP);
        assert_eq!(fill(&mut other), NAMES_SORTED_STEP);
        drop(one);
        assert_eq!(fill(&mut other), NAMES_SORTED_MAX + NAMES_SORTED_STEP);
    }
}
