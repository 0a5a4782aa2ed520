//! Options of the operator for reaching other hosts.

use std::path::PathBuf;

use remote::host::HostSettings;
use remote::shell::ShellOptions;
use types::limits::REMOTE_CONNECTIONS;

/// Options of the operator for other hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostOptions {
    /// Options for ssh.
    pub shell: ShellOptions,
    /// Connections of each rank, at most.
    pub connections_max: u32,
    /// True if messages are compressed, where that pays.
    pub compress: bool,
    /// Program that is copied to hosts, and started there as the agent.
    pub deploy: Option<PathBuf>,
}

impl HostOptions {
    /// Returns the settings of a host with these options.
    pub(super) fn settings(&self, doors: Vec<String>) -> HostSettings {
        let Self { shell, connections_max, compress, .. } = self.clone();
        HostSettings { shell, connections_max, compress, ..HostSettings::of(doors) }
    }
}

impl Default for HostOptions {
    fn default() -> Self {
        let shell = ShellOptions::default();
        Self { shell, connections_max: REMOTE_CONNECTIONS, compress: false, deploy: None }
    }
}
