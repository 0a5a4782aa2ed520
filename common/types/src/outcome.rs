//! Outcomes: in what two entries differ, what was done, and what ranks report of it.

pub mod compare;
pub mod difference;
pub mod notice;
pub mod tally;
