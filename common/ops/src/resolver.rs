//! The resolution of paths given by the operator to stores. Rank 0 finds out how the services among
//! them are reached, once for all ranks.

mod host_options;
mod hosts;
mod overlap;
mod probe;
mod sftp_remote;
mod shared_mounts;
mod spot;
mod unreached;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limited::{At, limited};
pub use host_options::HostOptions;
pub use hosts::Kept;
use hosts::{HostReach, Hosts};
pub use unreached::{UnknownName, Unreached};

use host::dfuse::{Dfuse, MountError};
use host::mounts;
use host::user::User;
use posix::{self, PosixStore};
use s3::config::environment;
use s3::config::error::SettingsError;
use s3::config::rclone_conf;
use s3::config::settings::{S3Options, Settings};
use s3::{ObjectStore, Service, resolve};
use serde::{Deserialize, Serialize};
use store::Store;
use store::dry_run::DryRunStore;
use store::opening::{OpenAs, Symlinks};
use types::entry::{Kind, Metadata};
use types::error::{Cause, Op, Result, Side};
use types::object::bucket::ListedBucket;
use types::operand::container::{Container, ContainerPath};
use types::operand::location;
use types::operand::location::{Location, ObjectLocation, ServiceName};
use types::operand::remote_path::RemotePath;
use types::path;
use types::path::RelPath;
use types::service::InvalidKey;

/// The services and the other hosts of a job.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Reach {
    /// The side on which each service is named, its name, and its settings.
    services: Vec<(Side, ServiceName, Settings)>,
    hosts: HostReach,
}

impl Reach {
    /// Returns whether all paths are on this node.
    pub fn is_local(&self) -> bool {
        self.services.is_empty() && self.hosts.is_empty()
    }

    /// Returns whether any path is on an SFTP server.
    pub fn has_sftp(&self) -> bool {
        self.hosts.iter().any(|(_, settings)| matches!(settings, hosts::Settings::Sftp(_)))
    }
}

/// The stores of all locations of a job.
#[derive(Default)]
pub struct StoreResolver {
    services: Vec<(Side, ServiceName, Arc<Service>)>,
    hosts: Hosts,
    /// DAOS containers, and the paths where they are mounted on this node.
    containers: Vec<(Container, Vec<u8>)>,
    /// The device and inode of directories that this rank has found by path. A directory opened
    /// later must be the same; otherwise the path was redirected in the meantime.
    looked_at: Mutex<BTreeMap<Vec<u8>, (u64, u64)>>,
    /// True if opened trees discard changes.
    discards_changes: bool,
    /// True if nothing is created to find out whether two paths lead to one tree.
    makes_no_probes: bool,
    /// True if all trees that were opened are in memory; `None` before one was.
    are_in_memory: Mutex<Option<bool>>,
    /// The containers that this rank has mounted for this job only.
    #[expect(dead_code, reason = "dropping them unmounts")]
    mounted: Vec<Dfuse>,
}

/// Returns the DAOS containers that the paths name, sorted and without duplicates, so that all
/// ranks agree on their order.
pub fn containers(paths: &[(Side, &[u8])]) -> Vec<Container> {
    let named = |(_, path): &(Side, &[u8])| ContainerPath::parse(path).ok().flatten();
    let mut found: Vec<_> = paths.iter().filter_map(named).map(|path| path.container).collect();
    found.sort();
    found.dedup();
    found
}

/// A DAOS container that is mounted on this node.
#[derive(Debug)]
pub enum Mounted {
    /// The container was mounted before this job, at this path.
    Already(Vec<u8>),
    /// The container was mounted for this job.
    Now(Dfuse),
}

/// A container that could not be mounted on this node.
#[derive(Debug, thiserror::Error)]
#[error("{container}: {source}")]
pub struct NotMounted {
    container: String,
    source: MountError,
}

impl Mounted {
    /// Finds the mount of a container on this node, or mounts the container.
    ///
    /// # Errors
    /// Returns why the container is not available.
    pub fn find(container: &Container) -> std::result::Result<Self, NotMounted> {
        let shows = |mount: &mounts::Mount| {
            // Reading an attribute may block on a dead mount, so it is only read where the
            // container is named by UUID.
            let link =
                || container.has_uuid().then(|| mounts::attribute(mount, "user.daos")).flatten();
            mount.is_dfuse() && container.is_at(&mount.point, link().as_deref())
        };
        let is_usable = |mount: &mounts::Mount| shows(mount) && mount.answers();
        if let Some(mount) = mounts::table().into_iter().rfind(is_usable) {
            return Ok(Self::Already(mount.point));
        }
        Dfuse::mount(&container.pool, &container.name)
            .map(Self::Now)
            .map_err(|source| NotMounted { container: container.to_string(), source })
    }

    /// Returns the path of the mount point.
    pub fn point(&self) -> Vec<u8> {
        match self {
            Self::Already(point) => point.clone(),
            Self::Now(dfuse) => dfuse.point().into_os_string().into_encoded_bytes(),
        }
    }
}

/// Resolves how the services are reached that the paths name. Also returns the hosts that were
/// reached for that, with those that this process has begun to reach.
///
/// # Errors
/// Returns which location is malformed, or what is missing to reach it.
pub fn find(
    paths: &[(Side, &[u8])],
    options: &S3Options,
    host_options: &HostOptions,
    mut kept: Kept,
) -> std::result::Result<(Reach, Kept), Unreached> {
    let is_remote = |name: &str| rclone_conf::is_configured(name, &environment::of_process);
    let mut reach = Reach::default();
    for (side, path) in paths {
        if hosts::add_sftp((&mut reach.hosts, &mut kept), path, host_options)? {
            continue;
        }
        let located = Location::parse(path, &is_remote)?;
        let objects = match (located, RemotePath::parse(path), location::address(path)) {
            (Location::Object(objects), ..) => objects,
            (Location::Posix(_), Some(remote), _) => {
                hosts::add((&mut reach.hosts, &mut kept), &remote, host_options)
                    .map_err(|why| unreachable_host(path, remote.head, why))?;
                continue;
            }
            (Location::Posix(_), None, Some(head)) => {
                return Err(unknown(path, head).into());
            }
            (Location::Posix(_) | Location::Container(_), ..) => continue,
        };
        if !reach.services.iter().any(|(known, name, _)| known == side && *name == objects.service)
        {
            let settings = resolve(&objects, *side, options)?;
            reach.services.push((*side, objects.service, settings));
        }
    }
    Ok((reach, kept))
}

/// Returns the error for a path on a host that ssh does not reach. A name without a user may be
/// meant as that of a remote.
fn unreachable_host(path: &[u8], head: &str, why: Unreached) -> Unreached {
    if head.contains('@') {
        return why.at(path);
    }
    Unreached::AsHost { unknown: unknown(path, head.as_bytes()), source: Box::new(why) }
}

fn unknown(path: &[u8], name: &[u8]) -> UnknownName {
    let remotes = rclone_conf::names(&environment::of_process);
    UnknownName { path: path.to_vec(), name: name.to_vec(), remotes }
}

/// Lists the buckets of the service that a path names without any; `None` for any other path.
///
/// # Errors
/// Returns what is missing to reach the service, or the error of the request.
pub fn buckets(
    path: &[u8],
    options: &S3Options,
) -> Option<std::result::Result<Vec<ListedBucket>, NoBuckets>> {
    let is_remote = |name: &str| rclone_conf::is_s3(name, &environment::of_process);
    let service = location::service_alone(path, &is_remote)?;
    let (bucket, prefix) = Default::default();
    let service = ObjectLocation { service, bucket, prefix, means_contents: true };
    Some(
        resolve(&service, Side::Source, options)
            .map_err(NoBuckets::Settings)
            .and_then(|settings| Ok(Service::new(settings).buckets()?)),
    )
}

/// The buckets of a service cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum NoBuckets {
    /// The settings that lead to it are wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The request failed.
    #[error(transparent)]
    Request(#[from] types::error::Error),
}

/// Returns whether a shell would have expanded a path; in a service nothing does.
fn has_wildcard(prefix: &[u8]) -> bool {
    prefix.iter().any(|byte| b"*?[".contains(byte))
}

/// A service, as messages about failures name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The side on which the service is named.
    pub side: Side,
    /// The prefix of all paths in the service.
    pub begins: String,
    /// The URL of the service, for display.
    pub shown: String,
}

impl StoreResolver {
    /// Creates this rank's access to the services, to which it sends no request, and to other
    /// hosts, to which it begins to connect, except where a connection was kept.
    pub fn new(reach: Reach, kept: Kept) -> Self {
        let service = |(side, remote, settings)| (side, remote, Arc::new(Service::new(settings)));
        let services = reach.services.into_iter().map(service).collect();
        Self { services, hosts: Hosts::new(reach.hosts, kept), ..Self::default() }
    }

    /// Adds DAOS containers, which are mounted on this node. Those mounted for this job stay
    /// mounted as long as this value lives.
    #[must_use]
    pub fn with_containers(
        self,
        containers: Vec<(Container, Vec<u8>)>,
        mounted: Vec<Mounted>,
    ) -> Self {
        let now = mounted.into_iter().filter_map(|mounted| match mounted {
            Mounted::Now(dfuse) => Some(dfuse),
            Mounted::Already(_) => None,
        });
        Self { containers, mounted: now.collect(), ..self }
    }

    /// Makes the trees that are opened from now on discard changes, for the dry run of a job that
    /// creates nothing.
    #[must_use]
    pub fn discarding_changes(self, discards_changes: bool) -> Self {
        Self { discards_changes, ..self }
    }

    /// Creates nothing, for a dry run, to find out whether two paths lead to one tree.
    #[must_use]
    pub fn without_probes(self, makes_no_probes: bool) -> Self {
        Self { makes_no_probes, ..self }
    }

    /// Returns whether opened trees discard changes.
    pub fn discards_changes(&self) -> bool {
        self.discards_changes
    }

    /// Translates the path of a container to a path on this node.
    fn local<'p>(&self, given: &'p [u8]) -> Cow<'p, [u8]> {
        let Ok(Some(parsed)) = ContainerPath::parse(given) else { return given.into() };
        let is_it = |(container, _): &&(Container, Vec<u8>)| *container == parsed.container;
        match self.containers.iter().find(is_it) {
            Some((_, point)) => path::join(point, &parsed.path).into(),
            None => given.into(),
        }
    }

    /// Records that some rank has reached all services, so that this rank's first requests get as
    /// many attempts as later ones. A job whose services do not answer ends before.
    pub fn are_reached(&self) {
        self.services.iter().for_each(|(.., service)| service.is_reached());
    }

    /// Returns the services with the prefixes of their paths.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        let endpoint = |(side, name, service): &(Side, ServiceName, Arc<Service>)| Endpoint {
            side: *side,
            begins: name.prefix(),
            shown: service.shown(),
        };
        self.services.iter().map(endpoint).collect()
    }

    /// Returns whether any location is in a service.
    pub fn has_objects(&self) -> bool {
        !self.services.is_empty()
    }

    /// Returns the greatest number of concurrent requests of each rank, if the operator has set it.
    pub fn requests_max(&self) -> Option<u32> {
        self.services.iter().filter_map(|(.., service)| service.settings.concurrency).max()
    }

    /// Returns the number of this rank's requests that services have throttled so far.
    pub fn throttled_requests(&self) -> u64 {
        self.services.iter().map(|(.., service)| service.throttled_requests()).sum()
    }

    /// Opens the directory at a path as a store.
    ///
    /// # Errors
    /// Returns `Changed` if the path leads to another directory than it did when it was first
    /// resolved.
    pub fn open(&self, side: Side, path: &[u8], open_as: OpenAs) -> Result<Box<dyn Store>> {
        let (store, is_in_memory) = self.open_changeable(side, path, open_as)?;
        let mut are = self.are_in_memory.lock().unwrap_or_else(PoisonError::into_inner);
        *are = Some(are.unwrap_or(true) && is_in_memory);
        Ok(if self.discards_changes { Box::new(DryRunStore::of_existing(store)) } else { store })
    }

    /// Returns whether all trees that were opened are in the memory of this node, where no thread
    /// waits for storage.
    pub fn is_in_memory(&self) -> bool {
        *self.are_in_memory.lock().unwrap_or_else(PoisonError::into_inner) == Some(true)
    }

    /// Opens the directory at a path; also returns whether it is in memory.
    fn open_changeable(
        &self,
        side: Side,
        path: &[u8],
        open_as: OpenAs,
    ) -> Result<(Box<dyn Store>, bool)> {
        if let Some((store, _)) = self.objects(side, path) {
            return Ok((limited(Box::new(store), At::Service), false));
        }
        if let Some(place) = self.hosts.of(path) {
            let (store, metadata) = place.host.open(place.below, open_as)?;
            if self.has_looked_at(path) {
                self.check_same(path, &metadata, Op::Open)?;
            }
            return Ok((limited(store, At::Host), false));
        }
        let store = PosixStore::open(&self.local(path), open_as)?;
        if self.has_looked_at(path) {
            self.check_same(path, &store.root_metadata()?, Op::Open)?;
        }
        let is_in_memory = store.is_in_memory();
        Ok((limited(Box::new(store), At::Node), is_in_memory))
    }

    fn lock_looked_at(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, (u64, u64)>> {
        self.looked_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_looked_at(&self, path: &[u8]) -> bool {
        self.lock_looked_at().contains_key(path)
    }

    /// Verifies that a path still leads to the directory that it led to before.
    fn check_same(&self, path: &[u8], found: &Metadata, op: Op) -> Result<()> {
        let id = (found.device, found.inode);
        if *self.lock_looked_at().entry(path.to_vec()).or_insert(id) == id {
            Ok(())
        } else {
            Err(op.failed(Cause::Changed))
        }
    }

    /// Returns the metadata of what is at a path.
    ///
    /// # Errors
    /// Returns the error of stat(2) or of the service, and `ENOTDIR` for an object that is named
    /// with a slash at the end.
    pub fn look(&self, side: Side, path: &[u8], symlinks: Symlinks) -> Result<Metadata> {
        let Some((store, location)) = self.objects(side, path) else {
            let found = match self.hosts.of(path) {
                Some(place) => place.host.stat(place.below, symlinks)?,
                None => posix::stat_path(&self.local(path), symlinks)?,
            };
            if symlinks == Symlinks::Follow && found.kind == Kind::Directory {
                self.check_same(path, &found, Op::Stat)?;
            }
            return Ok(found);
        };
        let looked = store.look();
        let is_directory = looked.as_ref().is_ok_and(|it| it.kind == Kind::Directory);
        if !is_directory && !self.ends_in_name(side, path) {
            return Err(Op::Stat.failed(Cause::Key(InvalidKey::NotTheName)));
        }
        match looked {
            // A slash at the end of a target means a directory, which need not exist yet in a
            // service.
            Err(error)
                if error.cause.is_vanished() && side == Side::Target && location.means_contents =>
            {
                store.root_metadata()
            }
            Ok(metadata) if location.means_contents && metadata.kind != Kind::Directory => {
                Err(Op::List.errno(libc::ENOTDIR))
            }
            Err(error) if error.cause.is_vanished() && side == Side::Source => {
                let link = (!location.means_contents).then(|| store.look_at_link());
                link.and_then(Result::ok).ok_or(if has_wildcard(&location.prefix) {
                    Op::Stat.failed(Cause::Wildcard)
                } else {
                    error
                })
            }
            looked => looked,
        }
    }

    /// Returns the metadata of the root of a store that was opened at that path.
    pub fn root_metadata(&self, side: Side, path: &[u8], opened: &dyn Store) -> Result<Metadata> {
        match self.objects(side, path) {
            Some((store, _)) => store.root_metadata(),
            None => opened.open_dir(&RelPath::root())?.metadata(),
        }
    }

    /// Creates the directory at a path. In a service nothing is created: a directory exists through
    /// its keys.
    pub fn make_dir(&self, side: Side, path: &[u8], mode: u32) -> Result<()> {
        match (self.objects(side, path), self.hosts.of(path)) {
            (Some(_), _) => Ok(()),
            (None, Some(place)) => place.host.make_dir(place.below, mode),
            (None, None) => posix::make_dir_path(&self.local(path), mode),
        }
    }

    /// Removes the directory at a path if it is empty.
    pub fn remove_dir(&self, side: Side, path: &[u8]) -> Result<()> {
        match (self.objects(side, path), self.hosts.of(path)) {
            (Some(_), _) => Ok(()),
            (None, Some(place)) => place.host.remove_dir(place.below),
            (None, None) => posix::remove_dir_path(&self.local(path)),
        }
    }

    /// Returns whether a path leads into a service.
    pub fn is_object(&self, side: Side, path: &[u8]) -> bool {
        self.objects(side, path).is_some()
    }

    /// Returns whether a path ends in the name of its entry: a key may be spelled in another way.
    pub fn ends_in_name(&self, side: Side, path: &[u8]) -> bool {
        self.objects(side, path).is_none_or(|(_, at)| s3::ends_in_name(&at.prefix))
    }

    /// Returns whether a path is a whole bucket.
    pub fn is_bucket(&self, side: Side, path: &[u8]) -> bool {
        let objects = self.objects(side, path);
        objects.is_some_and(|(_, at)| path::without_end_slashes(&at.prefix).is_empty())
    }

    /// Returns whether any location is on another host.
    pub fn has_hosts(&self) -> bool {
        !self.hosts.is_empty()
    }

    /// Returns whether any location is on a host with an agent.
    pub fn has_agents(&self) -> bool {
        self.hosts.has_agents()
    }

    /// Returns whether a path is on another host.
    pub fn is_remote(&self, path: &[u8]) -> bool {
        self.hosts.of(path).is_some()
    }

    /// Returns the user with whose rights a path is changed.
    pub fn user(&self, path: &[u8]) -> User {
        self.hosts.of(path).map_or_else(User::own, |place| place.host.user())
    }

    /// Returns whether the directory at a path is `above`, or is below it.
    pub fn is_below(&self, side: Side, path: &[u8], above: &Metadata) -> bool {
        match (self.objects(side, path), self.hosts.of(path)) {
            (Some((store, _)), _) => store.is_below(above),
            (None, Some(place)) => place.host.is_below(place.below, above),
            (None, None) => posix::is_below(&self.local(path), above),
        }
    }

    /// Returns the absolute path of a directory without symbolic links, on another host with the
    /// name of that; `None` for objects, or if there is no such directory.
    pub fn real_path(&self, side: Side, path: &[u8]) -> Option<Vec<u8>> {
        if let Some(place) = self.hosts.of(path) {
            return Some([place.head, place.host.real_path(place.below)?].concat());
        }
        if self.is_object(side, path) { None } else { posix::real_path(&self.local(path)) }
    }

    /// Returns the home directory of the user on the host of a path, in the form of
    /// [`StoreResolver::real_path`]; here it is that of `HOME`.
    pub fn home(&self, path: &[u8]) -> Option<Vec<u8>> {
        if let Some(place) = self.hosts.of(path) {
            return Some([place.head, place.host.real_path(b".")?].concat());
        }
        posix::real_path(std::env::var_os("HOME")?.as_bytes())
    }

    /// Returns the store of the objects that a path leads to, if it does.
    pub fn objects(&self, side: Side, path: &[u8]) -> Option<(ObjectStore, ObjectLocation)> {
        let is_remote =
            |name: &str| self.services.iter().any(|(_, service, _)| service.is_remote(name));
        let Ok(Location::Object(objects)) = Location::parse(path, &is_remote) else { return None };
        let fits =
            |(known, name, _): &&(Side, ServiceName, _)| *known == side && *name == objects.service;
        let (.., service) = self.services.iter().find(fits)?;
        let prefix = s3::prefix_of_path(&objects.prefix);
        Some((ObjectStore::new(service, &objects.bucket, &prefix), objects))
    }
}
