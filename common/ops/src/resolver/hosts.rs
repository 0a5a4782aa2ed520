//! The other hosts of a job, which are reached through ssh: those with an agent, and those with an
//! SFTP server.

use std::sync::Arc;

use host::user::User;
use remote::host::{Host, HostSettings};
use remote::store::RemoteStore;
use s3::config::environment;
use s3::config::rclone_conf::OtherRemote;
use serde::{Deserialize, Serialize};
use sftp::host::{Host as SftpHost, SftpSettings};
use sftp::store::SftpStore;
use store::Store;
use store::opening::{OpenAs, Symlinks};
use types::entry::Metadata;
use types::error::{Result, Side};
use types::operand::lineage::Lineage;
use types::operand::location::named_host;
use types::operand::remote_path::RemotePath;
use types::operand::sftp_path::SftpPath;

use super::host_options::HostOptions;
use super::sftp_remote;
use super::unreached::Unreached;

/// Settings of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Settings {
    /// Host with an agent.
    Agent(HostSettings),
    /// Host with an SFTP server.
    Sftp(SftpSettings),
}

/// The settings of the hosts of a job, each with the text that names it.
pub type HostReach = Vec<(String, Settings)>;

/// Hosts that rank 0 has reached to see whether they can be: their connections are of further use.
#[derive(Default)]
pub struct Kept(Vec<(String, Reached)>);

impl Kept {
    /// Begins to connect to the hosts that these paths name for certain, whatever other remotes
    /// there are, and that have their agent.
    pub fn begin(paths: &[(Side, &[u8])], options: &HostOptions) -> Self {
        let mut begun = Self::default();
        let remotes = paths.iter().filter_map(|(_, path)| RemotePath::parse(path));
        for path in remotes.filter(|path| path.head.contains('@') && options.deploy.is_none()) {
            if begun.0.iter().all(|(known, _)| known != path.head) {
                let host = Reached::new(Settings::Agent(options.settings(path.doors())));
                host.reach_meanwhile();
                begun.0.push((path.head.to_owned(), host));
            }
        }
        begun
    }

    /// Returns the host with an agent that was begun to be reached by that name, or begins with it.
    fn agent(&mut self, head: &str, settings: &HostSettings) -> Arc<Host> {
        let begun = self.0.iter().find_map(|(known, reached)| match reached {
            Reached::Agent(host) if known == head => Some(Arc::clone(host)),
            _ => None,
        });
        begun.unwrap_or_else(|| {
            let host = Arc::new(Host::new(settings.clone()));
            self.0.push((head.to_owned(), Reached::Agent(Arc::clone(&host))));
            host
        })
    }
}

/// Adds the SFTP server of a path, if the path is on one and it is not known yet, after reaching it
/// once. Returns whether the path is on one.
///
/// # Errors
/// Returns why the server cannot be reached, or how the path is to be written.
pub(super) fn add_sftp(
    (reach, kept): (&mut HostReach, &mut Kept),
    path: &[u8],
    options: &HostOptions,
) -> std::result::Result<bool, Unreached> {
    let settings = if let Some(url) = SftpPath::parse(path)? {
        sftp_remote::of_url(&url, options)?
    } else {
        let Some(name) = named_host(path) else { return Ok(false) };
        let Some(remote) = OtherRemote::find(name, "sftp", &environment::of_process) else {
            return Ok(false);
        };
        check_spelling(name, &path[name.len() + 1..]).map_err(|why| why.at(path))?;
        sftp_remote::of_remote(name, &remote, options)?
    };
    let head = settings.name.trim_end_matches(':').to_owned();
    if !reach.iter().any(|(known, _)| *known == head) {
        let host = SftpHost::new(settings.clone());
        host.reach().map_err(|why| Unreached::from(why).at(path))?;
        kept.0.push((head.clone(), Reached::Sftp(Arc::new(host))));
        reach.push((head, Settings::Sftp(settings)));
    }
    Ok(true)
}

/// Refuses a path without a slash: it could not be joined with a name.
fn check_spelling(head: &str, below: &[u8]) -> std::result::Result<(), Unreached> {
    if below.contains(&b'/') || below == b"~" {
        return Ok(());
    }
    Err(Unreached::Spelling { head: head.to_owned(), below: below.to_vec() })
}

/// Adds the host of a path, if it is not known yet, after reaching it once.
///
/// # Errors
/// Returns which host cannot be reached, or how the path is to be written.
pub(super) fn add(
    (reach, kept): (&mut HostReach, &mut Kept),
    path: &RemotePath<'_>,
    options: &HostOptions,
) -> std::result::Result<(), Unreached> {
    let RemotePath { head, path: below, .. } = path;
    if !path.is_certain() {
        check_spelling(head, below)?;
    }
    if reach.iter().any(|(known, _)| known == head) {
        return Ok(());
    }
    let mut settings = options.settings(path.doors());
    if let Some(program) = &options.deploy {
        for door in &settings.doors {
            settings.shell.agent = remote::deploy::deploy(program, &options.shell, door)?;
        }
    }
    let machine = kept.agent(head, &settings).reach()?;
    reach.push(((*head).to_owned(), Settings::Agent(HostSettings { machine, ..settings })));
    Ok(())
}

/// A host, as this rank reaches it.
pub(super) enum Reached {
    Agent(Arc<Host>),
    Sftp(Arc<SftpHost>),
}

impl Reached {
    fn new(settings: Settings) -> Self {
        match settings {
            Settings::Agent(settings) => Self::Agent(Arc::new(Host::new(settings))),
            Settings::Sftp(settings) => Self::Sftp(Arc::new(SftpHost::new(settings))),
        }
    }

    /// Makes the first connection while this rank waits for others. A failure shows again, and is
    /// reported, when the host is used.
    fn reach_meanwhile(&self) {
        match self {
            Self::Agent(host) => {
                let host = Arc::clone(host);
                std::thread::spawn(move || drop(host.reach()));
            }
            Self::Sftp(host) => {
                let host = Arc::clone(host);
                std::thread::spawn(move || drop(host.reach()));
            }
        }
    }

    /// Opens the directory at a path there, and returns its metadata.
    pub fn open(&self, path: &[u8], open_as: OpenAs) -> Result<(Box<dyn Store>, Metadata)> {
        match self {
            Self::Agent(host) => {
                let store = RemoteStore::open(host, path, open_as)?;
                let metadata = *store.root_metadata();
                Ok((Box::new(store), metadata))
            }
            Self::Sftp(host) => {
                let store = SftpStore::open(host, path, open_as)?;
                let metadata = *store.root_metadata();
                Ok((Box::new(store), metadata))
            }
        }
    }

    pub fn stat(&self, path: &[u8], symlinks: Symlinks) -> Result<Metadata> {
        match self {
            Self::Agent(host) => remote::paths::stat(host, path, symlinks),
            Self::Sftp(host) => sftp::store::stat_path(host, path, symlinks),
        }
    }

    pub fn make_dir(&self, path: &[u8], mode: u32) -> Result<()> {
        match self {
            Self::Agent(host) => remote::paths::make_dir(host, path, mode),
            Self::Sftp(host) => sftp::store::make_dir_path(host, path, mode),
        }
    }

    pub fn remove_dir(&self, path: &[u8]) -> Result<()> {
        match self {
            Self::Agent(host) => remote::paths::remove_dir(host, path),
            Self::Sftp(host) => sftp::store::remove_dir_path(host, path),
        }
    }

    pub fn is_below(&self, path: &[u8], above: &Metadata) -> bool {
        match self {
            Self::Agent(host) => remote::paths::is_below(host, path, above),
            Self::Sftp(host) => sftp::store::is_below(host, path, above),
        }
    }

    /// Returns the user that works there.
    pub fn user(&self) -> User {
        match self {
            Self::Agent(host) => host.user().unwrap_or_else(User::unknown),
            Self::Sftp(host) => sftp::store::user(host),
        }
    }

    /// Returns the directory at a path there with those above it, where its host tells them.
    pub fn lineage(&self, path: &[u8]) -> Option<Lineage> {
        match self {
            Self::Agent(host) => remote::paths::lineage(host, path),
            // The protocol has nothing by which a directory is recognised.
            Self::Sftp(_) => None,
        }
    }

    pub fn real_path(&self, path: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Agent(host) => remote::paths::real_path(host, path),
            Self::Sftp(host) => sftp::store::real_path(host, path),
        }
    }
}

/// A path on another host.
pub(super) struct Place<'p> {
    /// The host.
    pub host: &'p Reached,
    /// Text that names it, and to which an absolute path can be added.
    pub head: Vec<u8>,
    /// Path there.
    pub below: &'p [u8],
}

/// Other hosts, as this rank reaches them.
#[derive(Default)]
pub(super) struct Hosts(Vec<(String, Reached)>);

impl Hosts {
    /// Prepares the access to these hosts, of which some are reached already.
    pub fn new(reach: HostReach, mut kept: Kept) -> Self {
        let mut host = |(head, settings): (String, Settings)| {
            let known = kept.0.iter().position(|(known, _)| *known == head);
            if let Some(index) = known {
                let kept = kept.0.swap_remove(index);
                if let (Reached::Agent(host), Settings::Agent(settings)) = (&kept.1, settings) {
                    host.is_on(settings.machine);
                }
                return kept;
            }
            let reached = Reached::new(settings);
            reached.reach_meanwhile();
            (head, reached)
        };
        Self(reach.into_iter().map(&mut host).collect())
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether any of them has an agent.
    pub fn has_agents(&self) -> bool {
        self.0.iter().any(|(_, host)| matches!(host, Reached::Agent(_)))
    }

    /// Returns the host that a path is on, and the path there.
    pub fn of<'p>(&'p self, path: &'p [u8]) -> Option<Place<'p>> {
        let host =
            |head: &str| self.0.iter().find(|(known, _)| known == head).map(|(_, host)| host);
        if let Ok(Some(url)) = SftpPath::parse(path) {
            let (head, below) = (url.head.as_bytes().to_vec(), url.path);
            return Some(Place { host: host(url.head)?, head, below });
        }
        let (name, below) = if let Some(remote) = RemotePath::parse(path) {
            (remote.head, remote.path)
        } else {
            let name = named_host(path)?;
            (name, &path[name.len() + 1..])
        };
        Some(Place { host: host(name)?, head: [name.as_bytes(), b":"].concat(), below })
    }
}
