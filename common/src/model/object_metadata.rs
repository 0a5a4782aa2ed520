//! How an object's metadata says what a file system knows of a file.

use serde::{Deserialize, Serialize};

/// Whose words are written; all of them are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Schema {
    /// AWS DataSync's, FSx for Lustre's and S3 Files'.
    #[default]
    Aws,
    /// rclone's.
    Rclone,
    /// Both.
    Both,
    /// Nothing.
    None,
}
