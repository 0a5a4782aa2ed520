//! Outcomes: differences between entries, counts of what was done, and events that ranks report.

pub mod compare;
pub mod difference;
pub mod event;
pub mod tally;
