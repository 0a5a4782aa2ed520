//! Events that ranks report to rank 0 while they work.

use serde::{Deserialize, Serialize};

use crate::error::Failure;

/// Event for the user to see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// Failure of an entry.
    Failure(Failure),
    /// An entry that was skipped, where the target has another entry of its name; not a failure.
    LeftOut(Failure),
    /// Lines of a list or of a plan, each ending in a newline.
    Lines(#[serde(with = "serde_bytes")] Vec<u8>),
    /// Lines for one of several lists, which the number selects.
    Output(u16, #[serde(with = "serde_bytes")] Vec<u8>),
    /// Lines of the record of what the job has changed.
    Record(#[serde(with = "serde_bytes")] Vec<u8>),
    /// Lines that describe entries that differ.
    Differences(#[serde(with = "serde_bytes")] Vec<u8>),
}
