//! What a rank sees of a root, and whether that is the directory that another rank sees.
//!
//! Nothing tells for all file systems that two directories of two nodes are one. So there are several proofs, and
//! which of them counts depends on the type of the file system.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::entry::Time;
use crate::path::escaped;

/// A directory or another entry, as one rank sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Number of the type of its file system (statfs(2)).
    pub system: u64,
    /// Name of that type, where the kernel tells it.
    pub kind: Vec<u8>,
    /// Number of the file system, where it is the same on all nodes.
    pub system_id: Option<u64>,
    /// Number of the file system on this node.
    pub device: u64,
    /// Its number in the file system.
    pub inode: u64,
    /// When it was made, where that is kept.
    pub born: Option<Time>,
    /// When it was last changed (ctime).
    pub changed: Time,
    /// What is mounted there, and the path below it, where that names the same thing on all nodes.
    pub origin: Option<Vec<u8>>,
}

/// A root and what is mounted below it, as one rank sees them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootView {
    /// The machine, as long as its kernel runs: numbers of devices are its own.
    pub machine: Vec<u8>,
    /// The root.
    pub root: Seen,
    /// Mount points below it, by path from there; `None` for one that this user cannot reach.
    pub below: BTreeMap<Vec<u8>, Option<Seen>>,
}

/// How sure it is that two ranks see one directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Sureness {
    /// It is.
    Certain,
    /// All that is known is alike, which copies of one disk image are, too. Where it is written to, a mark
    /// tells.
    Likely,
}

/// A root that looks alike, or one that does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    /// How sure that is.
    pub sureness: Sureness,
    /// The root and mount points that have changed since the other rank has looked at them, and when: they are the
    /// same only if the other rank, looking again, finds them changed as late.
    pub changed: BTreeMap<Vec<u8>, Time>,
}

/// What is not alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Discrepancy {
    /// Types of the file system: there, and here.
    System(Vec<u8>, Vec<u8>),
    /// The type is the same, the directory is not.
    Directory(Vec<u8>),
    /// The mount point is none here; the type of what is mounted there.
    NotMounted(Vec<u8>, Vec<u8>),
    /// The mount point is none there; the type of what is mounted here.
    OnlyHere(Vec<u8>, Vec<u8>),
    /// What is mounted at that point is another one here.
    Below(Vec<u8>, Box<Self>),
}

/// How far what is known of a file system tells its directories apart from those of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Nodes share it, and its inodes have the same numbers on all of them.
    Shared,
    /// Nodes share it, perhaps; numbers and times may be made up by each of them.
    Vague,
    /// Of this node alone, as far as is known.
    Unknown,
}

/// Types of which the kernel says `statfs`'s number (statfs(2), `linux/magic.h`, and the file systems' own sources).
const SHARED: [u64; 13] = [
    0x6969,      // nfs
    0x0bd0_0bd0, // lustre
    0x4750_4653, // gpfs
    0x1983_0326, // beegfs
    0x00c3_6400, // ceph
    0x6b41_4653, // afs
    0x5346_414f, // openafs
    0xaad7_aaea, // panfs
    0x7461_636f, // ocfs2
    0x0116_1970, // gfs2
    0x2003_0528, // orangefs
    0x0102_1997, // 9p
    0xbeef_dead, // snfs
];

const VAGUE: [u64; 4] = [
    0x6573_5546, // fuse
    0xff53_4d42, // cifs
    0xfe53_4d42, // smb2
    0x0000_517b, // smb
];

impl Reach {
    fn of(system: u64) -> Self {
        match system {
            shared if SHARED.contains(&shared) => Self::Shared,
            vague if VAGUE.contains(&vague) => Self::Vague,
            _ => Self::Unknown,
        }
    }
}

/// Whether a file system of that type has its clock from this node, as far as is known.
pub fn is_of_one_node(system: u64) -> bool {
    Reach::of(system) == Reach::Unknown
}

/// Whether the name of what is mounted tells which file system of that type it is, rather than numbers and times.
pub fn is_known_by_origin(system: u64) -> bool {
    Reach::of(system) == Reach::Vague
}

impl RootView {
    /// Compares what the first rank sees with what this one does, looked at later.
    ///
    /// # Errors
    /// Why they are not one directory, with the same mounts below.
    pub fn agree(&self, here: &Self) -> Result<Agreement, Discrepancy> {
        let is_one_machine = self.machine == here.machine && !self.machine.is_empty();
        let mut agreement = Agreement { sureness: Sureness::Certain, changed: BTreeMap::new() };
        agreement.add(b"", self.root.agree(&here.root, is_one_machine)?);
        for (point, first) in &self.below {
            let kind = || first.as_ref().map(|first| first.kind.clone()).unwrap_or_default();
            let Some(seen) = here.below.get(point) else {
                return Err(Discrepancy::NotMounted(point.clone(), kind()));
            };
            // Who may not come there has nothing to do with it.
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

    /// Whether the root and mount points, looked at again, have changed as late as others have found them.
    ///
    /// # Errors
    /// Why they are not the directories that the others see.
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

    /// What two ranks have found, of which each agrees with the first.
    pub fn join(&mut self, other: Self) {
        self.sureness = self.sureness.max(other.sureness);
        for (point, time) in other.changed {
            let latest = self.changed.entry(point).or_insert(time);
            *latest = time.max(*latest);
        }
    }
}

impl Seen {
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
            // Mounted twice it may be all the same.
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

/// What is not known on both sides cannot differ.
fn are_alike<T: PartialEq>(first: Option<&T>, here: Option<&T>) -> bool {
    first.is_none() || here.is_none() || first == here
}

/// A type of file systems in words.
fn named(kind: &[u8]) -> String {
    if kind.is_empty() { "a file system".to_owned() } else { escaped(kind) }
}

impl Discrepancy {
    /// It is in what is mounted below the root.
    pub fn is_below(&self) -> bool {
        matches!(self, Self::NotMounted(..) | Self::OnlyHere(..) | Self::Below(..))
    }

    /// In words: what that node has, and what the first one, both named.
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
        // Whatever the times are: somebody is at work there.
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
