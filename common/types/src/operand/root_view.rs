//! View of a root by one rank, and its comparison with another rank's: do both see the same
//! directory?
//!
//! No attribute proves on all file systems that the directories of two nodes are the same. So there
//! are several proofs, and the type of the file system decides which of them count.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::entry::Time;
use crate::file_systems;
use crate::path::escaped;

/// An entry, as one rank sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Number of the file system's type (statfs(2)).
    pub system: u64,
    /// Name of the file system's type, where the kernel tells it.
    pub kind: Vec<u8>,
    /// ID of the file system, where it is the same on all nodes.
    pub system_id: Option<u64>,
    /// Device number of the file system on this node.
    pub device: u64,
    /// Inode number in the file system.
    pub inode: u64,
    /// Birth time, where the file system has it.
    pub born: Option<Time>,
    /// Change time (ctime).
    pub changed: Time,
    /// Source of the mount, and the path below it, where both mean the same on all nodes.
    pub origin: Option<Vec<u8>>,
}

/// A root and the mounts below it, as one rank sees them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootView {
    /// Boot ID of the machine: device numbers are comparable only where it is the same.
    pub machine: Vec<u8>,
    /// Root of the tree.
    pub root: Seen,
    /// Mount points below the root, by their path from there; `None` for one that this user cannot
    /// reach.
    pub below: BTreeMap<Vec<u8>, Option<Seen>>,
}

/// Certainty that two ranks see the same directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Sureness {
    /// The directories are proven to be the same.
    Certain,
    /// All known attributes are equal, which they are for copies of one disk image, too. Where the
    /// job writes to the directory, a marker file tells.
    Likely,
}

/// Agreement of two views of a root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    /// Certainty of the agreement.
    pub sureness: Sureness,
    /// Root and mount points whose change time is later in the other view, with that time: they are
    /// the same only if the first rank, inspecting them again, finds them changed as late.
    pub changed: BTreeMap<Vec<u8>, Time>,
}

/// Difference between two views of a root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Discrepancy {
    /// File systems of different types: there, and here.
    System(Vec<u8>, Vec<u8>),
    /// Different directories on file systems of that type.
    Directory(Vec<u8>),
    /// A mount point that is not one here, with the type of the file system that is mounted there.
    NotMounted(Vec<u8>, Vec<u8>),
    /// A mount point that is not one there, with the type of the file system that is mounted here.
    OnlyHere(Vec<u8>, Vec<u8>),
    /// A difference at that mount point.
    Below(Vec<u8>, Box<Self>),
}

/// Scope in which a type of file systems numbers its directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Shared by nodes, with the same inode numbers on all of them.
    Shared,
    /// Shared by nodes perhaps; each of them may make up numbers and times.
    Vague,
    /// Local to this node, as far as is known.
    Unknown,
}

/// Types of file systems that nodes share.
const SHARED: [u64; 13] = [
    file_systems::NFS,
    file_systems::LUSTRE,
    file_systems::GPFS,
    file_systems::BEEGFS,
    file_systems::CEPH,
    file_systems::AFS,
    file_systems::OPENAFS,
    file_systems::PANFS,
    file_systems::OCFS2,
    file_systems::GFS2,
    file_systems::ORANGEFS,
    file_systems::V9FS,
    file_systems::SNFS,
];

const VAGUE: [u64; 4] =
    [file_systems::FUSE, file_systems::CIFS, file_systems::SMB2, file_systems::SMB];

impl Reach {
    fn of(system: u64) -> Self {
        match system {
            shared if SHARED.contains(&shared) => Self::Shared,
            vague if VAGUE.contains(&vague) => Self::Vague,
            _ => Self::Unknown,
        }
    }
}

/// Returns true where a file system of that type takes its time from this node's clock, as far as
/// is known.
pub fn is_of_one_node(system: u64) -> bool {
    Reach::of(system) == Reach::Unknown
}

/// Returns true where the source of a mount identifies a file system of that type better than
/// numbers and times do.
pub fn is_known_by_origin(system: u64) -> bool {
    Reach::of(system) == Reach::Vague
}

impl RootView {
    /// Compares the first rank's view with this rank's, which is a later one.
    ///
    /// # Errors
    /// The difference, where they are not the same directory with the same mounts below.
    pub fn agree(&self, here: &Self) -> Result<Agreement, Discrepancy> {
        let is_one_machine = self.machine == here.machine && !self.machine.is_empty();
        let mut agreement = Agreement { sureness: Sureness::Certain, changed: BTreeMap::new() };
        agreement.add(b"", self.root.agree(&here.root, is_one_machine)?);
        for (point, first) in &self.below {
            let kind = || first.as_ref().map(|first| first.kind.clone()).unwrap_or_default();
            let Some(seen) = here.below.get(point) else {
                return Err(Discrepancy::NotMounted(point.clone(), kind()));
            };
            // A mount point that a user cannot reach is not compared.
            if let (Some(first), Some(seen)) = (first, seen) {
                let alike = first.agree(seen, is_one_machine);
                let below = |why| Discrepancy::Below(point.clone(), Box::new(why));
                agreement.add(point, alike.map_err(below)?);
            }
        }
        match here.below.iter().find(|(point, _)| !self.below.contains_key(*point)) {
            Some((point, seen)) => {
                let kind = seen.as_ref().map(|seen| seen.kind.clone()).unwrap_or_default();
                Err(Discrepancy::OnlyHere(point.clone(), kind))
            }
            None => Ok(agreement),
        }
    }

    /// Checks that the root and mount points, inspected again, have changed as late as other ranks
    /// have found them.
    ///
    /// # Errors
    /// The difference, where they are not the directories that other ranks see.
    pub fn confirm(&self, changed: &BTreeMap<Vec<u8>, Time>) -> Result<(), Discrepancy> {
        for (point, time) in changed {
            let seen = if point.is_empty() {
                Some(&self.root)
            } else {
                self.below.get(point).and_then(Option::as_ref)
            };
            let kind = seen.map(|seen| seen.kind.clone()).unwrap_or_default();
            if seen.is_none_or(|seen| seen.changed < *time) {
                let why = Discrepancy::Directory(kind);
                let below = |why| Discrepancy::Below(point.clone(), Box::new(why));
                return Err(if point.is_empty() { why } else { below(why) });
            }
        }
        Ok(())
    }
}

impl Agreement {
    fn add(&mut self, point: &[u8], (sureness, changed): (Sureness, Option<Time>)) {
        self.sureness = self.sureness.max(sureness);
        if let Some(time) = changed {
            self.changed.insert(point.to_vec(), time);
        }
    }

    /// Joins the agreements of two ranks with the first one.
    pub fn join(&mut self, other: Self) {
        self.sureness = self.sureness.max(other.sureness);
        for (point, time) in other.changed {
            let latest = self.changed.entry(point).or_insert(time);
            *latest = time.max(*latest);
        }
    }
}

impl Seen {
    /// Returns whether two entries that were inspected at about the same time are the same one.
    /// Numbers do not tell across machines, since roots of different file systems often have equal
    /// ones; the time of the last change, equal to the nanosecond, does.
    pub fn is_same(&self, other: &Self, is_one_machine: bool) -> bool {
        if self.system != other.system {
            return false;
        }
        if is_one_machine && self.device == other.device {
            return self.inode == other.inode;
        }
        let is_alike = self.inode == other.inode
            && self.changed == other.changed
            && are_alike(self.born.as_ref(), other.born.as_ref())
            && are_alike(self.system_id.as_ref(), other.system_id.as_ref());
        match Reach::of(self.system) {
            Reach::Shared => is_alike,
            Reach::Vague => is_alike && self.origin.is_some() && self.origin == other.origin,
            Reach::Unknown => false,
        }
    }

    fn agree(
        &self,
        here: &Self,
        is_one_machine: bool,
    ) -> Result<(Sureness, Option<Time>), Discrepancy> {
        if self.system != here.system {
            return Err(Discrepancy::System(self.kind.clone(), here.kind.clone()));
        }
        let another = || Err(Discrepancy::Directory(here.kind.clone()));
        let reach = Reach::of(self.system);
        if is_one_machine {
            if self.device == here.device {
                let is_it = self.inode == here.inode;
                return if is_it { Ok((Sureness::Certain, None)) } else { another() };
            }
            // The file system may be the same one, mounted twice.
            if reach == Reach::Unknown {
                return another();
            }
        }
        let later = (here.changed > self.changed).then_some(here.changed);
        let is_alike = self.inode == here.inode
            && here.changed >= self.changed
            && are_alike(self.born.as_ref(), here.born.as_ref())
            && are_alike(self.system_id.as_ref(), here.system_id.as_ref());
        let is_of_one_origin = self.origin.is_some() && self.origin == here.origin;
        match reach {
            Reach::Shared if is_alike => Ok((Sureness::Certain, later)),
            _ if is_alike => Ok((Sureness::Likely, later)),
            Reach::Vague if is_of_one_origin => Ok((Sureness::Likely, None)),
            _ => another(),
        }
    }
}

/// Returns true where both values are equal or one of them is not known.
fn are_alike<T: PartialEq>(first: Option<&T>, here: Option<&T>) -> bool {
    first.is_none() || here.is_none() || first == here
}

/// Returns a type of file systems in words.
fn named(kind: &[u8]) -> String {
    if kind.is_empty() { "a file system".to_owned() } else { escaped(kind) }
}

impl Discrepancy {
    /// Returns true for a difference in a mount below the root.
    pub fn is_below(&self) -> bool {
        matches!(self, Self::NotMounted(..) | Self::OnlyHere(..) | Self::Below(..))
    }

    /// Describes the difference: the directory on the node named `here`, and that on the first one,
    /// named `first`.
    pub fn words(&self, here: &str, first: &str) -> String {
        match self {
            Self::System(there, own) => {
                format!("it is on {} on {here}, and on {} on {first}", named(own), named(there))
            }
            Self::Directory(kind) => {
                format!("{here} has another directory there than {first} (both on {})", named(kind))
            }
            Self::NotMounted(point, kind) => {
                let point = escaped(point);
                format!(
                    "{here} has nothing mounted at \"{point}\" in it, and {first} has {}",
                    named(kind)
                )
            }
            Self::OnlyHere(point, kind) => {
                let point = escaped(point);
                format!(
                    "{here} has {} mounted at \"{point}\" in it, and {first} has not",
                    named(kind)
                )
            }
            Self::Below(point, why) => {
                format!(
                    "at the mount point \"{}\" in it: {}",
                    escaped(point),
                    why.words(here, first)
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LUSTRE: u64 = 0x0bd0_0bd0;
    const FUSE: u64 = 0x6573_5546;
    const EXT4: u64 = 0xef53;

    fn time(seconds: i64) -> Time {
        Time { seconds, nanoseconds: 5 }
    }

    fn view(node: &str, system: u64) -> RootView {
        let root = Seen {
            system,
            kind: format!("{system:x}").into_bytes(),
            system_id: None,
            device: node.len() as u64,
            inode: 7,
            born: Some(time(1)),
            changed: time(10),
            origin: None,
        };
        RootView { machine: node.into(), root, below: BTreeMap::new() }
    }

    fn sureness(one: &RootView, other: &RootView) -> Option<Sureness> {
        one.agree(other).ok().map(|agreement| agreement.sureness)
    }

    #[test]
    fn one_machine_tells_by_device_and_inode() {
        let one = view("a", EXT4);
        let mut other = one.clone();
        // Times do not matter on one machine: another program is changing the directory.
        other.root.changed = time(3);
        assert_eq!(sureness(&one, &other), Some(Sureness::Certain));
        other.root.inode = 8;
        assert_eq!(sureness(&one, &other), None);
        let elsewhere = RootView { root: Seen { device: 9, ..one.root.clone() }, ..one.clone() };
        assert_eq!(sureness(&one, &elsewhere), None);
        // The same share, mounted by each container.
        let share = view("a", LUSTRE);
        let again = RootView { root: Seen { device: 9, ..share.root.clone() }, ..share.clone() };
        assert_eq!(sureness(&share, &again), Some(Sureness::Certain));
    }

    #[test]
    fn nodes_that_share_a_file_system_agree_and_others_do_not() {
        assert_eq!(sureness(&view("a", LUSTRE), &view("bb", LUSTRE)), Some(Sureness::Certain));
        assert_eq!(sureness(&view("a", LUSTRE), &view("bb", EXT4)), None);
        // Two disks of one image.
        assert_eq!(sureness(&view("a", EXT4), &view("bb", EXT4)), Some(Sureness::Likely));
        for spoil in [
            |root: &mut Seen| root.inode = 8,
            |root: &mut Seen| root.born = Some(time(2)),
            |root: &mut Seen| root.changed = time(9),
            |root: &mut Seen| root.system_id = Some(1),
        ] {
            let (mut first, mut here) = (view("a", LUSTRE), view("bb", LUSTRE));
            first.root.system_id = Some(2);
            spoil(&mut here.root);
            assert_eq!(sureness(&first, &here), None);
        }
    }

    #[test]
    fn what_makes_up_its_numbers_is_known_by_what_is_mounted() {
        let (mut first, mut here) = (view("a", FUSE), view("bb", FUSE));
        here.root.inode = 1;
        assert_eq!(sureness(&first, &here), None);
        first.root.origin = Some(b"remote:bucket".to_vec());
        here.root.origin = Some(b"remote:other".to_vec());
        assert_eq!(sureness(&first, &here), None);
        here.root.origin.clone_from(&first.root.origin);
        assert_eq!(sureness(&first, &here), Some(Sureness::Likely));
    }

    #[test]
    fn a_directory_at_which_somebody_is_at_work_is_looked_at_again() {
        let (first, mut here) = (view("a", LUSTRE), view("bb", LUSTRE));
        here.root.changed = time(12);
        let mut agreement = first.agree(&here).unwrap();
        here.root.changed = time(11);
        agreement.join(first.agree(&here).unwrap());
        assert_eq!(agreement.changed, BTreeMap::from([(Vec::new(), time(12))]));
        assert!(first.confirm(&agreement.changed).is_err());
        let mut again = first;
        again.root.changed = time(12);
        assert!(again.confirm(&agreement.changed).is_ok());
    }

    #[test]
    fn mounts_below_are_part_of_what_is_seen() {
        let point = || b"m".to_vec();
        let with = |below: &RootView| {
            let below = BTreeMap::from([(point(), Some(below.root.clone()))]);
            RootView { below, ..view("a", LUSTRE) }
        };
        let (empty, one) = (view("bb", LUSTRE), with(&view("a", LUSTRE)));
        let mut other = with(&view("bb", LUSTRE));
        other.machine = b"bb".to_vec();
        assert_eq!(sureness(&one, &other), Some(Sureness::Certain));
        assert!(matches!(one.agree(&empty), Err(Discrepancy::NotMounted(at, _)) if at == b"m"));
        assert!(matches!(empty.agree(&one), Err(Discrepancy::OnlyHere(at, _)) if at == b"m"));
        other.below.values_mut().flatten().for_each(|seen| seen.inode = 3);
        let why = one.agree(&other).unwrap_err();
        assert!(
            why.words("n2", "n1").starts_with("at the mount point \"m\" in it: n2 has another")
        );
        other.below.insert(point(), None);
        assert_eq!(sureness(&one, &other), Some(Sureness::Certain));
    }
}
