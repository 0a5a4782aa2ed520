//! Command-line options for places on other hosts.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};

use ops::resolver::HostOptions;
use remote::shell::{ShellError, ShellOptions, split};
use types::limits;

/// Options of places on other hosts (`USER@HOST:PATH`, `sftp://USER@HOST/PATH`).
#[derive(Debug, Clone, PartialEq, Eq, Args, Serialize, Deserialize)]
#[command(next_help_heading = "Other hosts")]
pub struct SshArgs {
    /// Remote shell with its options, as in rsync; words with blanks in quotation marks
    #[arg(short = 'e', long, value_name = "COMMAND", default_value = "ssh", value_parser = checked_shell)]
    pub rsh: String,

    /// Path of dcp on the other host, which is started there with --agent
    #[arg(long, value_name = "PATH", default_value = "dcp")]
    pub agent_path: String,

    /// Copy this dcp to the other host first, into ~/.cache/dcp, and start it there
    #[arg(long, conflicts_with = "agent_path")]
    pub deploy: bool,

    /// Private key for ssh (its -i)
    #[arg(long, value_name = "FILE")]
    pub ssh_identity: Option<String>,

    /// Compress what travels to and from other hosts (zstd), as long as that pays
    #[arg(short = 'z', long)]
    pub compress: bool,

    /// Maximum number of connections of each rank to another host
    #[arg(
        long,
        value_name = "N",
        default_value_t = limits::REMOTE_CONNECTIONS,
        value_parser = clap::value_parser!(u32).range(1..=64)
    )]
    pub ssh_connections: u32,
}

impl Default for SshArgs {
    fn default() -> Self {
        let ShellOptions { shell, agent, identity } = ShellOptions::default();
        let ssh_connections = limits::REMOTE_CONNECTIONS;
        Self {
            rsh: shell,
            agent_path: agent,
            deploy: false,
            ssh_identity: identity,
            compress: false,
            ssh_connections,
        }
    }
}

impl SshArgs {
    /// Options that these arguments give.
    pub fn options(&self) -> HostOptions {
        let shell = ShellOptions {
            shell: self.rsh.clone(),
            agent: self.agent_path.clone(),
            identity: self.ssh_identity.clone(),
        };
        HostOptions {
            shell,
            connections_max: self.ssh_connections,
            compress: self.compress,
            deploy: self.deploy.then(own_dcp),
        }
    }
}

/// Returns the dcp that is installed beside this tool.
fn own_dcp() -> PathBuf {
    std::env::current_exe().unwrap_or_default().with_file_name("dcp")
}

fn checked_shell(text: &str) -> Result<String, ShellError> {
    if split(text)?.is_empty() { Err(ShellError::Empty) } else { Ok(text.to_owned()) }
}
