//! Names, paths, errors, exit codes, entries, attributes, filters and tallies: the types that all
//! layers share.
//!
//! This crate does no I/O.
//!
//! Uses: no other crate of the ladder.

pub mod attributes;
pub mod content;
pub mod entry;
pub mod error;
pub mod exit;
pub mod file_systems;
pub mod limits;
pub mod listed;
pub mod lustre;
pub mod object;
pub mod operand;
pub mod outcome;
pub mod path;
pub mod rate;
pub mod select;
pub mod service;
pub mod size;
