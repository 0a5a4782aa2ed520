//! Entries in lists: as records, as lines of text and of JSON.

pub mod change;
pub mod event_clock;
pub mod json_record;
pub mod json_text;
pub mod line;
pub mod mfu_text;
pub mod names;
pub mod record;
