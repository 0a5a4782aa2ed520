//! Selection: which entries of a tree take part in a job.

pub mod age;
pub mod expression;
pub mod filter;
pub mod glob;
