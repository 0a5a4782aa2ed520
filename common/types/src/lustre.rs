//! Lustre: layouts of files, and the policy for the layouts of new files.

pub mod layout;
pub mod stripe_policy;
