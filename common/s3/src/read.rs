//! Reading objects, within bounds of memory, with proof of what was read.

pub(crate) mod body;
pub(crate) mod headers;
pub(crate) mod object;
