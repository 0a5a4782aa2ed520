//! The other hosts of a job, which are reached through ssh.

use std::sync::Arc;

use remote::host::{Host, HostSettings};
use remote::shell::ShellOptions;
use types::exit::Exit;
use types::limits::REMOTE_CONNECTIONS;
use types::operand::remote_path::RemotePath;
use types::path::escaped;

/// Options of the operator for other hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostOptions {
    /// Options for ssh.
    pub shell: ShellOptions,
    /// Connections of each rank, at most.
    pub connections_max: u32,
    /// True if messages are compressed, where that pays.
    pub compress: bool,
}

impl Default for HostOptions {
    fn default() -> Self {
        let shell = ShellOptions::default();
        Self { shell, connections_max: REMOTE_CONNECTIONS, compress: false }
    }
}

/// The settings of the hosts of a job, each with the text that names it.
pub type HostReach = Vec<(String, HostSettings)>;

/// Adds the host of a path, if it is not known yet, after reaching it once.
///
/// # Errors
/// One line that says which host cannot be reached, or how the path is to be written (a usage
/// error).
pub(super) fn add(
    reach: &mut HostReach,
    path: &RemotePath<'_>,
    options: &HostOptions,
) -> Result<(), (Exit, String)> {
    let RemotePath { head, path: below } = path;
    if !head.contains('@') && !below.contains(&b'/') {
        let shown = escaped(below);
        let why = format!("a path in the home directory of a host is written \"{head}:./{shown}\"");
        return Err((Exit::Usage, why));
    }
    if reach.iter().any(|(known, _)| known == head) {
        return Ok(());
    }
    let HostOptions { shell, connections_max, compress } = options.clone();
    let doors = path.doors();
    let settings = HostSettings { doors, shell, connections_max, compress, machine: None };
    let machine = Host::new(settings.clone()).reach().map_err(|why| (Exit::Unusable, why))?;
    reach.push(((*head).to_owned(), HostSettings { machine, ..settings }));
    Ok(())
}

/// Other hosts, as this rank reaches them.
#[derive(Default)]
pub(super) struct Hosts(Vec<(String, Arc<Host>)>);

impl Hosts {
    pub fn new(reach: HostReach) -> Self {
        let host = |(head, settings)| (head, Arc::new(Host::new(settings)));
        Self(reach.into_iter().map(host).collect())
    }

    /// Returns whether there is any.
    pub fn is_any(&self) -> bool {
        !self.0.is_empty()
    }

    /// Returns the host that a path is on, and the path there.
    pub fn of<'p>(&self, path: &'p [u8]) -> Option<(&Arc<Host>, &'p [u8])> {
        let remote = RemotePath::parse(path)?;
        let (_, host) = self.0.iter().find(|(head, _)| head == remote.head)?;
        Some((host, remote.path))
    }
}
