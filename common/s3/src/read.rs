//! Reads of objects, with bounded memory, whose content is verified against the service's
//! checksums.

pub(crate) mod body;
pub(crate) mod head;
pub(crate) mod headers;
pub(crate) mod object;
