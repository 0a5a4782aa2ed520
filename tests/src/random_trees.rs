//! Random trees with everything that a POSIX file system has, and others that have drifted away
//! from them.
//!
//! A tree is made in memory first: so it can be written any number of times, always the same, and
//! another one can be derived from it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};

use fastrand::Rng;
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat,
    lsetxattr, makedev, mknodat, utimensat,
};

/// Names of entries: few, so that trees have many in common.
const NAMES: [&str; 8] = ["a", "b.o", "c.c", "d", "e.o", "f f", "tmp", "\u{e4}\n"];

/// Approximate number of entries of a tree.
const ENTRIES: usize = 24;

/// Size of a page in bytes, of which holes are made.
const PAGE: usize = 4096;

/// Modes, some of which would deny access to all but the superuser.
const MODES: [u32; 12] =
    [0o644, 0o600, 0o755, 0o444, 0o000, 0o4755, 0o2755, 0o2775, 0o1777, 0o700, 0o555, 0o666];

/// Time from which times are counted.
const TIME: i64 = 1_500_000_000;

/// A tree that is not written yet.
#[derive(Debug, Clone)]
pub struct RandomTree {
    nodes: Vec<Node>,
    /// Node of each path; the root's path is empty. A node with several paths has hard links.
    paths: BTreeMap<PathBuf, usize>,
}

#[derive(Debug, Clone)]
struct Node {
    body: Body,
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
    xattrs: BTreeMap<&'static str, Vec<u8>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Body {
    Directory,
    File(Vec<Run>),
    Link(&'static str),
    Special(FileType, u64),
}

/// Bytes of one kind in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Run {
    Noise { length: usize, seed: u8 },
    Zeros { pages: usize },
    Hole { pages: usize },
}

impl RandomTree {
    /// Returns a random tree.
    pub fn new(random: &mut Rng) -> Self {
        let mut tree = Self { nodes: Vec::new(), paths: BTreeMap::new() };
        tree.add(PathBuf::new(), Node::random(random, Body::Directory));
        for _ in 0..random.usize(1..2 * ENTRIES) {
            tree.add_somewhere(random);
        }
        tree
    }

    /// Returns what this tree may have become later, or may have been before.
    pub fn drifted(&self, random: &mut Rng) -> Self {
        let mut tree = self.clone();
        for node in &mut tree.nodes {
            if random.u8(..5) == 0 {
                node.drift(random);
            }
        }
        let paths: Vec<PathBuf> = tree.paths.keys().skip(1).cloned().collect();
        for path in paths {
            match random.u8(..24) {
                0 | 1 => tree.remove(&path),
                2 => {
                    tree.remove(&path);
                    let body = Body::random(random);
                    tree.add(path, Node::random(random, body));
                }
                3 => tree.part(&path),
                4 => tree.link(&path, random),
                _ => {}
            }
        }
        for _ in 0..random.usize(0..6) {
            tree.add_somewhere(random);
        }
        tree
    }

    /// Removes default access control lists of directories.
    #[must_use]
    pub fn without_default_lists(mut self) -> Self {
        for node in &mut self.nodes {
            node.xattrs.remove("system.posix_acl_default");
        }
        self
    }

    /// Returns a tree of this tree's directories and files with one hard link, without those whose
    /// type differs in the other tree.
    pub fn plain_for(&self, other: &Self) -> Self {
        let mut plain = self.clone();
        for (path, node) in &self.paths {
            let of_kind = |tree: &Self, node: usize| match tree.nodes[node].body {
                Body::Directory => Some(true),
                Body::File(_) => Some(false),
                _ => None,
            };
            let kind = of_kind(self, *node);
            let is_other = other.paths.get(path).is_some_and(|node| of_kind(other, *node) != kind);
            if kind.is_none() || is_other {
                plain.remove(path);
            } else {
                plain.part(path);
            }
        }
        plain
    }

    /// Replaces hard links by files of their own.
    #[must_use]
    pub fn without_links(mut self) -> Self {
        let paths: Vec<PathBuf> = self.paths.keys().cloned().collect();
        for path in &paths {
            self.part(path);
        }
        self
    }

    /// Keeps hard links only between names that are hard links of each other in the other tree,
    /// too.
    #[must_use]
    pub fn linked_as(mut self, other: &Self) -> Self {
        let mut groups = BTreeMap::new();
        for (path, node) in self.paths.clone() {
            let in_other = other.paths.get(&path).copied().ok_or_else(|| path.clone());
            let first = groups.entry((node, in_other)).or_insert_with(|| path.clone()).clone();
            if first == path {
                self.part(&path);
            } else {
                self.paths.insert(path, self.paths[&first]);
            }
        }
        self
    }

    fn add(&mut self, path: PathBuf, node: Node) {
        let is_there = path.parent().is_none_or(|parent| self.is_directory(parent));
        if is_there && !self.paths.contains_key(&path) {
            self.paths.insert(path, self.nodes.len());
            self.nodes.push(node);
        }
    }

    fn is_directory(&self, path: &Path) -> bool {
        self.paths.get(path).is_some_and(|node| self.nodes[*node].body == Body::Directory)
    }

    fn add_somewhere(&mut self, random: &mut Rng) {
        let directories: Vec<PathBuf> =
            self.paths.keys().filter(|path| self.is_directory(path)).cloned().collect();
        let path =
            directories[random.usize(..directories.len())].join(random.choice(NAMES).unwrap());
        let body = Body::random(random);
        self.add(path.clone(), Node::random(random, body));
        if random.u8(..6) == 0 {
            self.link(&path, random);
        }
    }

    fn remove(&mut self, path: &Path) {
        if !path.as_os_str().is_empty() {
            self.paths.retain(|other, _| !other.starts_with(path));
        }
    }

    /// Replaces a hard link by a file of its own.
    fn part(&mut self, path: &Path) {
        if let Some(node) = self.paths.get(path).copied() {
            let node = self.nodes[node].clone();
            self.paths.insert(path.to_owned(), self.nodes.len());
            self.nodes.push(node);
        }
    }

    /// Replaces an entry by a hard link of another file.
    fn link(&mut self, path: &Path, random: &mut Rng) {
        let is_linkable = |node: usize| self.nodes[node].body != Body::Directory;
        let others: Vec<usize> =
            self.paths.values().copied().filter(|node| is_linkable(*node)).collect();
        if let Some(node) = self.paths.get(path).copied()
            && is_linkable(node)
        {
            self.paths.insert(path.to_owned(), others[random.usize(..others.len())]);
        }
    }

    /// Writes the tree; the root must not exist.
    pub fn write(&self, root: &Path) {
        let mut written: BTreeMap<usize, PathBuf> = BTreeMap::new();
        for (path, node) in &self.paths {
            let full = full(root, path);
            match written.get(node) {
                Some(first) => fs::hard_link(first, &full).unwrap(),
                None => self.nodes[*node].make(&full),
            }
            written.entry(*node).or_insert(full);
        }
        // The deepest first: what is done in a directory changes its times.
        for (path, node) in self.paths.iter().rev() {
            self.nodes[*node].give_attributes(&full(root, path));
        }
    }
}

fn full(root: &Path, path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { root.to_owned() } else { root.join(path) }
}

impl Node {
    fn random(random: &mut Rng, body: Body) -> Self {
        let mut node =
            Self { body, mode: 0, owner: (0, 0), mtime: (0, 0), xattrs: BTreeMap::new() };
        node.mode = *random.choice(&MODES).unwrap();
        node.owner = owner(random);
        node.mtime = mtime(random);
        node.xattrs = node.xattrs(random);
        node
    }

    fn drift(&mut self, random: &mut Rng) {
        match random.u8(..6) {
            0 => self.mode = *random.choice(&MODES).unwrap(),
            1 => self.owner = owner(random),
            2 => self.mtime = mtime(random),
            3 => self.xattrs = self.xattrs(random),
            // With or without another time, and often of the same size.
            4 => self.body = self.body.drifted(random),
            _ => {
                self.body = self.body.drifted(random);
                self.mtime = mtime(random);
            }
        }
    }

    fn xattrs(&self, random: &mut Rng) -> BTreeMap<&'static str, Vec<u8>> {
        let mut xattrs = BTreeMap::new();
        let is_directory = self.body == Body::Directory;
        let is_file = matches!(self.body, Body::File(_));
        if (is_directory || is_file) && random.u8(..4) == 0 {
            xattrs.insert("user.one", vec![random.u8(..3); random.usize(0..40)]);
        }
        if is_file && random.u8(..8) == 0 {
            xattrs.insert("user.two", b"2".to_vec());
        }
        if !matches!(self.body, Body::Link(_)) && random.u8(..5) == 0 {
            xattrs.insert("system.posix_acl_access", acl(random));
        }
        if is_directory && random.u8(..5) == 0 {
            xattrs.insert("system.posix_acl_default", acl(random));
        }
        xattrs
    }

    fn make(&self, path: &Path) {
        match &self.body {
            Body::Directory => fs::create_dir(path).unwrap(),
            Body::File(runs) => write_runs(&fs::File::create_new(path).unwrap(), runs),
            Body::Link(points_to) => symlink(points_to, path).unwrap(),
            Body::Special(kind, device) => {
                mknodat(CWD, path, *kind, Mode::from_raw_mode(0o600), *device).unwrap();
            }
        }
    }

    fn give_attributes(&self, path: &Path) {
        let (uid, gid) = (Uid::from_raw(self.owner.0), Gid::from_raw(self.owner.1));
        chownat(CWD, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).unwrap();
        if !matches!(self.body, Body::Link(_)) {
            chmodat(CWD, path, Mode::from_raw_mode(self.mode), AtFlags::empty()).unwrap();
        }
        for (name, value) in &self.xattrs {
            lsetxattr(path, *name, value, XattrFlags::empty()).unwrap();
        }
        let time = Timespec { tv_sec: self.mtime.0, tv_nsec: self.mtime.1 };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

impl Body {
    fn random(random: &mut Rng) -> Self {
        match random.u8(..20) {
            0..5 => Self::Directory,
            5..8 => Self::Link(random.choice(["a", "../d", "/nowhere", "b.o"]).unwrap()),
            8 => Self::Special(FileType::Fifo, 0),
            9 => Self::Special(FileType::Socket, 0),
            10 => Self::Special(FileType::CharacterDevice, makedev(1, random.u32(3..6))),
            _ => Self::File((0..random.usize(0..4)).map(|_| Run::random(random)).collect()),
        }
    }

    fn drifted(&self, random: &mut Rng) -> Self {
        match self {
            Self::File(runs) if random.bool() => {
                let other = |run: &Run| match *run {
                    Run::Noise { length, seed } => {
                        Run::Noise { length, seed: seed.wrapping_add(1) }
                    }
                    other => other,
                };
                Self::File(runs.iter().map(other).collect())
            }
            Self::File(_) => Self::File(vec![Run::random(random)]),
            Self::Link(_) => Self::Link(random.choice(["a", "../d", "b"]).unwrap()),
            other => other.clone(),
        }
    }
}

impl Run {
    fn random(random: &mut Rng) -> Self {
        match random.u8(..6) {
            0 => Self::Zeros { pages: random.usize(1..4) },
            1 => Self::Hole { pages: random.usize(1..40) },
            2 => Self::Noise { length: random.usize(1..100_000), seed: random.u8(..3) },
            _ => Self::Noise { length: random.usize(1..8), seed: random.u8(..3) },
        }
    }
}

fn write_runs(file: &fs::File, runs: &[Run]) {
    let mut at = 0;
    for run in runs {
        let bytes = match *run {
            Run::Noise { length, seed } => {
                let mut noise = Rng::with_seed(u64::from(seed));
                (0..length).map(|_| noise.u8(..)).collect()
            }
            Run::Zeros { pages } => vec![0; pages * PAGE],
            Run::Hole { pages } => {
                at += (pages * PAGE) as u64;
                continue;
            }
        };
        file.write_all_at(&bytes, at).unwrap();
        at += bytes.len() as u64;
    }
    file.set_len(at).unwrap();
}

fn owner(random: &mut Rng) -> (u32, u32) {
    let mut id = || *random.choice(&[0, 0, 1001, 1002]).unwrap();
    (id(), id())
}

/// Returns a time: some are the same, some differ by days, some by a nanosecond.
fn mtime(random: &mut Rng) -> (i64, i64) {
    (TIME + 86_400 * random.i64(0..3), *random.choice(&[0, 0, 1, 123_456_789]).unwrap())
}

/// Returns an access control list in the form of its extended attribute (acl(5),
/// `linux/posix_acl_xattr.h`).
fn acl(random: &mut Rng) -> Vec<u8> {
    let (owner, user, group, mask, other) = (0x01_u16, 0x02, 0x04, 0x10, 0x20);
    let nobody = u32::MAX;
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    let id = random.u32(2001..2003);
    for (tag, id) in [(owner, nobody), (user, id), (group, nobody), (mask, nobody), (other, nobody)]
    {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(random.u16(..8).to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}
