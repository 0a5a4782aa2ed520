//! What the tools talk about, without any I/O: entries, chunks, where a copy goes.

pub mod chunk;
pub mod entry;
pub mod json_record;
pub mod line;
pub mod names;
pub mod notice;
pub mod placement;
pub mod record;
pub mod tally;
