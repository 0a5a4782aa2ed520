//! Lustre: layouts of files, and which layout a new file gets.

pub mod layout;
pub mod stripe_policy;
