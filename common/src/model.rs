//! What the tools talk about, without any I/O: entries, chunks, where a copy goes.

pub mod chunk;
pub mod entry;
pub mod line;
pub mod notice;
pub mod placement;
pub mod tally;
