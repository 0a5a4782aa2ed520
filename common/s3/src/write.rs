//! Writes of objects: in one request, or as parts that any rank sends; and incomplete multipart
//! uploads, which a later job finds and resumes or aborts.

pub(crate) mod assembled;
pub(crate) mod backslash;
pub(crate) mod blocks;
pub(crate) mod carried;
pub mod content_type;
pub(crate) mod fields;
pub(crate) mod put;
pub(crate) mod removal;
pub(crate) mod tags_and_grants;
pub(crate) mod upload;
pub(crate) mod uploads;
