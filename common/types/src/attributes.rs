//! Attributes: those that a copy preserves, and those that the operator sets.

pub mod acl;
pub mod keep;
pub mod mode_change;
