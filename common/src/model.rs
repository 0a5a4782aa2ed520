//! What the tools talk about, without any I/O: entries, chunks, where a copy goes,
//! how two entries differ, which entries take part.

pub mod acl;
pub mod age;
pub mod chunk;
pub mod compare;
pub mod container;
pub mod content_type;
pub mod difference;
pub mod entry;
pub mod expression;
pub mod filter;
pub mod glob;
pub mod header_text;
pub mod json_record;
pub mod json_text;
pub mod keep;
pub mod keys_below;
pub mod lanes;
pub mod layout;
pub mod line;
pub mod location;
pub mod mode_change;
pub mod names;
pub mod notice;
pub mod object_headers;
pub mod object_key;
pub mod object_metadata;
pub mod parts;
pub mod placement;
pub mod record;
pub mod root_view;
pub mod span;
pub mod staged_name;
pub mod stripe_policy;
pub mod tally;
pub mod transfer;
