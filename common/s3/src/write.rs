//! Writing objects: in one request, or in parts that any rank sends; uploads that were begun are found again.

pub(crate) mod assembled;
pub(crate) mod blocks;
pub(crate) mod carried;
pub mod content_type;
pub(crate) mod fields;
pub(crate) mod put;
pub(crate) mod upload;
pub(crate) mod uploads;
