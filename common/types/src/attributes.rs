//! Attributes: what a copy keeps of them, and what it is given instead.

pub mod acl;
pub mod keep;
pub mod mode_change;
