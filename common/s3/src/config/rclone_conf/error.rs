//! Reasons why rclone's configuration gives no usable remote. None repeats a value that may be
//! secret.

use std::borrow::Cow;

use types::path::escaped;

use crate::config::config_file::ReadError;

/// Reason why a remote of rclone's configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// The configuration cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The configuration is encrypted.
    #[error(
        "rclone's configuration \"{}\" is encrypted; name a plain one by RCLONE_CONFIG, or set \
         RCLONE_CONFIG_<REMOTE>_TYPE and the other keys of the remote",
        escaped(path.as_bytes())
    )]
    Encrypted {
        /// Path of the configuration.
        path: String,
    },
    /// A line of the configuration has no meaning.
    #[error(
        "rclone's configuration \"{}\", line {line}: neither [REMOTE] nor KEY = VALUE",
        escaped(path.as_bytes())
    )]
    Line {
        /// Path of the configuration.
        path: String,
        /// Number of the line, from 1.
        line: usize,
    },
    /// Remote that does not exist, or has no type.
    #[error("rclone's configuration has no remote \"{0}\" with a type")]
    Missing(String),
    /// The remote is of a type that is not implemented here.
    #[error(
        "rclone's remote \"{name}\" is of type {}, neither s3 nor sftp",
        escaped(kind.as_bytes())
    )]
    Type {
        /// Name of the remote.
        name: String,
        /// Type of the remote.
        kind: String,
    },
    /// The remote is an alias of something else than a remote.
    #[error(
        "rclone's remote \"{name}\" is an alias of \"{}\"; write that instead, with what is below \
         it",
        escaped(behind.as_bytes())
    )]
    Alias {
        /// Name of the remote.
        name: String,
        /// Value of the alias.
        behind: String,
    },
    /// The remote is an alias of an alias, and so on.
    #[error("rclone's remote \"{0}\" is an alias of an alias, too many times")]
    AliasChain(String),
    /// A key of the remote is missing, malformed or not implemented here.
    #[error("rclone's remote \"{remote}\", {key}: {advice}")]
    Key {
        /// Name of the remote.
        remote: String,
        /// Key of the remote.
        key: String,
        /// Fault of its value, or advice for the user.
        advice: Cow<'static, str>,
    },
}
