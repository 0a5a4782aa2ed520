//! The store that a path given by the operator is in. Rank 0 finds out what it takes to reach the services
//! among them, once for all ranks.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use host::dfuse::Dfuse;
use host::mounts;
use posix::{self, PosixStore};
use s3::config::environment;
use s3::config::rclone_conf;
use s3::config::settings::{S3Options, Settings};
use s3::{ObjectStore, Service, resolve};
use store::Store;
use store::opening::{OpenAs, Symlinks};
use types::entry::{Kind, Metadata};
use types::error::{Cause, Op, Result, Side};
use types::path;
use types::path::RelPath;
use types::place::container::{Container, ContainerPath};
use types::place::location;
use types::place::location::{Location, ObjectLocation};

/// Services by the side they are named on, and by their remote's name.
pub type Reach = Vec<(Side, Option<String>, Settings)>;

/// All places of a job.
#[derive(Default)]
pub struct Sites {
    services: Vec<(Side, Option<String>, Arc<Service>)>,
    /// Containers of DAOS, and where they are mounted on this node.
    containers: Vec<(Container, Vec<u8>)>,
    /// Directories that this rank has looked at by path, by device and inode. What is opened later is the same, or
    /// somebody has led the path elsewhere meanwhile.
    looked_at: Mutex<BTreeMap<Vec<u8>, (u64, u64)>>,
    /// Those that are mounted for this job only, where this rank has mounted them.
    #[expect(dead_code, reason = "dropping them unmounts")]
    mounted: Vec<Dfuse>,
}

/// Containers of DAOS that these paths name; all ranks know them alike.
pub fn containers(paths: &[(Side, &[u8])]) -> Vec<Container> {
    let named = |(_, path): &(Side, &[u8])| ContainerPath::parse(path).ok().flatten();
    let mut found: Vec<_> = paths.iter().filter_map(named).map(|place| place.container).collect();
    found.sort();
    found.dedup();
    found
}

/// A container on this node.
#[derive(Debug)]
pub enum Mounted {
    /// Somebody has mounted it there.
    Already(Vec<u8>),
    /// It was mounted for this job.
    Now(Dfuse),
}

impl Mounted {
    /// Finds the container, or mounts it.
    ///
    /// # Errors
    /// One line that says why it is not there.
    pub fn find(container: &Container) -> std::result::Result<Self, String> {
        let shows = |mount: &mounts::Mount| {
            // A mount that nobody asked for may be one that does not answer.
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
            .map_err(|why| format!("{container}: {why}"))
    }

    /// Where it is.
    pub fn point(&self) -> Vec<u8> {
        match self {
            Self::Already(point) => point.clone(),
            Self::Now(dfuse) => dfuse.point().into_os_string().into_encoded_bytes(),
        }
    }
}

/// Finds out how the services are reached that these paths name.
///
/// # Errors
/// One line: which place makes no sense, or what is missing for it.
pub fn find(paths: &[(Side, &[u8])], options: &S3Options) -> std::result::Result<Reach, String> {
    let is_remote = |name: &str| rclone_conf::is_configured(name, &environment);
    let mut reach = Reach::new();
    for (side, path) in paths {
        let objects = match Location::parse(path, &is_remote)? {
            Location::Object(objects) => objects,
            Location::Posix(_) => {
                location::named_host(path).map_or(Ok(()), |name| Err(unknown(path, name)))?;
                continue;
            }
            Location::Container(_) => continue,
        };
        if !reach.iter().any(|(known, remote, _)| known == side && *remote == objects.remote) {
            let settings = resolve(&objects, *side, options)?;
            reach.push((*side, objects.remote, settings));
        }
    }
    Ok(reach)
}

/// Why a path that is written as a place on a host or remote is none. It is not taken for a file: rsync and rclone
/// would not do so either, and a copy onto this node's disk would look like a success.
fn unknown(path: &[u8], name: &str) -> String {
    let (path, name) = (path::escaped(path), path::escaped(name.as_bytes()));
    let remotes = match &rclone_conf::names(&environment)[..] {
        [] => "has no remotes".to_owned(),
        names => format!("has only {}", names.join(", ")),
    };
    format!(
        "\"{path}\": there is no remote \"{name}\": rclone's configuration {remotes}, and other hosts \
         cannot be reached; for a file of that name write \"./{path}\""
    )
}

/// A service, as failures name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Which tree's.
    pub side: Side,
    /// What paths there begin with.
    pub begins: String,
    /// Its URL.
    pub shown: String,
}

impl Sites {
    /// Ready to be reached from this rank.
    pub fn new(reach: Reach) -> Self {
        let service = |(side, remote, settings)| (side, remote, Arc::new(Service::new(settings)));
        Self { services: reach.into_iter().map(service).collect(), ..Self::default() }
    }

    /// With these containers, which are there on this node. What was mounted for this job stays as long as
    /// the sites.
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

    /// The path of this node's that is meant.
    fn local<'p>(&self, given: &'p [u8]) -> Cow<'p, [u8]> {
        let Ok(Some(place)) = ContainerPath::parse(given) else { return given.into() };
        let is_it = |(container, _): &&(Container, Vec<u8>)| *container == place.container;
        match self.containers.iter().find(is_it) {
            Some((_, point)) => path::join(point, &place.path).into(),
            None => given.into(),
        }
    }

    /// A rank has looked at all places: where nobody answers, the job does not get that far.
    pub fn are_reached(&self) {
        self.services.iter().for_each(|(.., service)| service.is_reached());
    }

    /// Which service each beginning of a path stands for.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        let endpoint = |(side, remote, service): &(Side, Option<String>, Arc<Service>)| Endpoint {
            side: *side,
            begins: remote.as_ref().map_or_else(|| "s3://".to_owned(), |name| format!("{name}:")),
            shown: service.shown(),
        };
        self.services.iter().map(endpoint).collect()
    }

    /// Whether any place is a service's.
    pub fn has_objects(&self) -> bool {
        !self.services.is_empty()
    }

    /// Requests that a rank may have under way, where the operator says so.
    pub fn requests_max(&self) -> Option<u32> {
        self.services.iter().filter_map(|(.., service)| service.settings.concurrency).max()
    }

    /// Requests of this rank that services have turned away so far, because they got too many.
    pub fn refused_requests(&self) -> u64 {
        self.services.iter().map(|(.., service)| service.refused_requests()).sum()
    }

    /// Opens the directory at a path.
    pub fn open(&self, side: Side, path: &[u8], open_as: OpenAs) -> Result<Box<dyn Store>> {
        if let Some((store, _)) = self.objects(side, path) {
            return Ok(Box::new(store));
        }
        let store = PosixStore::open(&self.local(path), open_as)?;
        if self.has_looked_at(path) {
            self.check_same(path, &store.root_metadata()?, Op::Open)?;
        }
        Ok(Box::new(store))
    }

    fn lock_looked_at(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, (u64, u64)>> {
        self.looked_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_looked_at(&self, path: &[u8]) -> bool {
        self.lock_looked_at().contains_key(path)
    }

    /// A path leads to one directory all the time.
    fn check_same(&self, path: &[u8], found: &Metadata, op: Op) -> Result<()> {
        let id = (found.device, found.inode);
        if *self.lock_looked_at().entry(path.to_vec()).or_insert(id) == id {
            Ok(())
        } else {
            Err(op.failed(Cause::Changed))
        }
    }

    /// Attributes of what is at a path.
    pub fn look(&self, side: Side, path: &[u8], symlinks: Symlinks) -> Result<Metadata> {
        let Some((store, location)) = self.objects(side, path) else {
            let found = posix::stat_path(&self.local(path), symlinks)?;
            if symlinks == Symlinks::Follow && found.kind == Kind::Directory {
                self.check_same(path, &found, Op::Stat)?;
            }
            return Ok(found);
        };
        match store.look() {
            // Whoever writes a slash at the end of a target means a directory, and there need be none.
            Err(error)
                if error.cause.is_vanished() && side == Side::Target && location.means_contents =>
            {
                store.root_metadata()
            }
            Ok(metadata) if location.means_contents && metadata.kind != Kind::Directory => {
                Err(Op::List.errno(libc::ENOTDIR))
            }
            looked => looked,
        }
    }

    /// Attributes of the root of a store that was opened there.
    pub fn root_metadata(&self, side: Side, path: &[u8], opened: &dyn Store) -> Result<Metadata> {
        match self.objects(side, path) {
            Some((store, _)) => store.root_metadata(),
            None => opened.open_dir(&RelPath::root())?.metadata(),
        }
    }

    /// Makes the directory at a path; there is nothing to be made where keys are all there is.
    pub fn make_dir(&self, side: Side, path: &[u8], mode: u32) -> Result<()> {
        match self.objects(side, path) {
            Some(_) => Ok(()),
            None => posix::make_dir_path(&self.local(path), mode),
        }
    }

    /// Removes the directory at a path, if nothing is in it.
    pub fn remove_dir(&self, side: Side, path: &[u8]) -> Result<()> {
        match self.objects(side, path) {
            Some(_) => Ok(()),
            None => posix::remove_dir_path(&self.local(path)),
        }
    }

    /// Whether a path leads to objects.
    pub fn is_object(&self, side: Side, path: &[u8]) -> bool {
        self.objects(side, path).is_some()
    }

    /// Whether the directory at a path is `above`, or somewhere below it.
    pub fn is_below(&self, side: Side, path: &[u8], above: &Metadata) -> bool {
        match self.objects(side, path) {
            Some((store, _)) => store.is_below(above),
            None => posix::is_below(&self.local(path), above),
        }
    }

    /// The path of a directory from the root directory on, without any link in it; `None` where there is no such thing.
    pub fn real_path(&self, side: Side, path: &[u8]) -> Option<Vec<u8>> {
        if self.is_object(side, path) { None } else { posix::real_path(&self.local(path)) }
    }

    /// The objects that a path leads to, if it does.
    pub fn objects(&self, side: Side, path: &[u8]) -> Option<(ObjectStore, ObjectLocation)> {
        let is_remote =
            |name: &str| self.services.iter().any(|(_, remote, _)| remote.as_deref() == Some(name));
        let Ok(Location::Object(objects)) = Location::parse(path, &is_remote) else { return None };
        let fits = |(known, remote, _): &&(Side, Option<String>, _)| {
            *known == side && *remote == objects.remote
        };
        let (.., service) = self.services.iter().find(fits)?;
        let prefix = String::from_utf8_lossy(&objects.prefix).into_owned();
        Some((ObjectStore::new(service, &objects.bucket, &prefix), objects))
    }
}
