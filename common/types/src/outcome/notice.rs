//! What ranks report to rank 0 while they work.

use serde::{Deserialize, Serialize};

use crate::error::Failure;

/// Something for the user to see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notice {
    /// An entry could not be dealt with.
    Failure(Failure),
    /// An entry was left out, and the target has something else of its name; no failure.
    LeftOut(Failure),
    /// Whole lines of a list or of a plan, each ending in a newline.
    Lines(Vec<u8>),
    /// Whole lines for one of several lists.
    Output(u16, Vec<u8>),
    /// Whole lines, each telling of an entry that differs.
    Differences(Vec<u8>),
}
