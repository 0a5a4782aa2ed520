//! Selection: filters for the entries that a job processes, and expressions for compared entries.

pub mod age;
pub mod expression;
pub mod filter;
pub mod glob;
pub mod regex;
