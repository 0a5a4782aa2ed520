//! Reasons why the services and hosts of a job are not reached.

use std::fmt;

use remote::deploy::DeployError;
use remote::no_connection::NoHost;
use remote::shell::ShellError;
use s3::config::error::SettingsError;
use s3::config::rclone_conf::RemoteError;
use types::exit::Exit;
use types::operand::malformed::Malformed;
use types::path::escaped;

/// Reason why the service or the host of a path is not reached.
#[derive(Debug, thiserror::Error)]
pub enum Unreached {
    /// The path is malformed.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The path could not be joined with a name.
    #[error("a path in the home directory of a host is written \"{head}:./{}\"", escaped(below))]
    Spelling {
        /// Text before the colon.
        head: String,
        /// Path there.
        below: Vec<u8>,
    },
    /// The path names a remote or host that does not exist.
    #[error(transparent)]
    Unknown(#[from] UnknownName),
    /// The remote shell of the operator cannot be used.
    #[error(transparent)]
    Shell(#[from] ShellError),
    /// The settings of the service cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The remote of rclone cannot be used.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The agent cannot be copied to the host.
    #[error(transparent)]
    Deploy(#[from] DeployError),
    /// The host cannot be reached.
    #[error(transparent)]
    Host(#[from] NoHost),
    /// The host of this path cannot be reached.
    #[error("\"{}\": {source}", escaped(path))]
    At {
        /// Path on the command line.
        path: Vec<u8>,
        /// Fault.
        source: Box<Self>,
    },
    /// The path names no host that can be reached, and no remote.
    #[error("\"{}\": ssh to \"{}\": {source}; and {}", escaped(&unknown.path), escaped(&unknown.name), unknown.no_remote())]
    AsHost {
        /// Name, as that of a remote.
        unknown: UnknownName,
        /// Fault of the host.
        source: Box<Self>,
    },
}

impl Unreached {
    /// Adds the path.
    pub(super) fn at(self, path: &[u8]) -> Self {
        Self::At { path: path.to_vec(), source: Box::new(self) }
    }

    /// Returns the exit code: whether the command line has to be changed.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Malformed(_) | Self::Spelling { .. } | Self::Unknown(_) | Self::Shell(_) => {
                Exit::Usage
            }
            Self::Settings(_) | Self::Remote(_) | Self::Deploy(_) | Self::Host(_) => Exit::Unusable,
            Self::At { source, .. } | Self::AsHost { source, .. } => source.exit(),
        }
    }
}

/// Path that names a host or remote that does not exist. It is not taken for a local file, as rsync
/// and rclone would not either: a copy to this node's disk would look like a success.
#[derive(Debug)]
pub struct UnknownName {
    pub(super) path: Vec<u8>,
    pub(super) name: Vec<u8>,
    /// Remotes that exist, escaped.
    pub(super) remotes: Vec<String>,
}

impl UnknownName {
    fn no_remote(&self) -> String {
        let remotes = match &self.remotes[..] {
            [] => "has no remotes".to_owned(),
            names => format!("has only {}", names.join(", ")),
        };
        let (path, name) = (escaped(&self.path), escaped(&self.name));
        format!(
            "there is no remote \"{name}\": rclone's configuration {remotes}; for a file of that name \
             write \"./{path}\""
        )
    }
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\": {}", escaped(&self.path), self.no_remote())
    }
}

impl std::error::Error for UnknownName {}
