//! Reasons why there is no connection to a host.

use std::fmt;
use std::io;
use std::sync::Arc;

use types::error::Error;
use types::operand::root_view::Discrepancy;
use types::path::escaped;

use crate::exchange::is_end;
use crate::machines::MachineFault;
use crate::shell::ShellError;

/// Reason why there is no connection to a host.
#[derive(Debug, thiserror::Error)]
pub enum NoConnection {
    /// The command that connects to the host cannot be started.
    #[error(transparent)]
    Shell(#[from] ShellError),
    /// The other side did not greet.
    #[error(transparent)]
    Greeting(#[from] Ungreeted),
    /// The other side answers nothing, although its connection is open.
    #[error("the agent answers nothing; it may have been stopped, or its storage does not respond")]
    AnswersNothing,
    /// The remote shell ended with these words.
    #[error("{0}")]
    Words(String),
    /// The session could not be prepared.
    #[error(transparent)]
    Session(#[from] Unprepared),
}

/// Reason why a session did not begin.
#[derive(Debug, thiserror::Error)]
pub enum Ungreeted {
    /// The other side ended without an answer.
    #[error("{0}")]
    Silence(&'static str),
    /// The other side speaks another protocol, or another version of it.
    #[error("{0}")]
    Foreign(#[source] io::Error),
    /// The link failed.
    #[error("{0}")]
    Link(#[source] io::Error),
}

impl Ungreeted {
    /// Classifies an error of a link; `silence` describes one that ended without an answer.
    pub fn of(error: io::Error, silence: &'static str) -> Self {
        match error.kind() {
            _ if is_end(&error) => Self::Silence(silence),
            io::ErrorKind::InvalidData | io::ErrorKind::Unsupported => Self::Foreign(error),
            _ => Self::Link(error),
        }
    }
}

/// Reason why a new connection does not show what the others do.
#[derive(Debug, thiserror::Error)]
pub enum Unprepared {
    /// The connection ended.
    #[error("the connection ended")]
    Ended,
    /// The other side refused.
    #[error(transparent)]
    Refused(#[from] Error),
    /// Machine that may not serve the host.
    #[error(transparent)]
    Machine(#[from] MachineFault),
    /// A root is another directory there.
    #[error("it is another directory there")]
    OtherDirectory,
    /// A root may be on another file system.
    #[error("nothing proves that it is the same file system there")]
    Unproven,
    /// A root is on another file system, or has other mounts below.
    #[error("{}", .0.words("this host", "the first one"))]
    Different(Discrepancy),
    /// A root cannot be used.
    #[error("\"{}\": {source}", escaped(path))]
    Root {
        /// Path of the root.
        path: Vec<u8>,
        /// Fault of the root.
        source: Box<Self>,
    },
}

/// Names of hosts that cannot be reached, with the reason of each.
#[derive(Debug)]
pub struct NoHost(pub(crate) Vec<(String, Arc<NoConnection>)>);

impl fmt::Display for NoHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("the connection broke, and no other one could be made");
        }
        let lines = self.0.iter().map(|(name, why)| format!("{name}: {why}"));
        f.write_str(&lines.collect::<Vec<_>>().join("; "))
    }
}

impl std::error::Error for NoHost {}
