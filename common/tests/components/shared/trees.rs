//! Random trees as values, and as trees in any store.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::sync::Arc;

use store::{Dir, NewFile, NewSymlink, Store};
use types::entry::{Attributes, Kind, Metadata, Owner, Time, Times, Xattrs};
use types::path::RelPath;

/// An entry as a value, without its access time, which reading changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub kind: Kind,
    /// Content of a file, or target of a symbolic link.
    pub content: Vec<u8>,
    pub attributes: Attributes,
}

/// A tree as a value: entries by path, the root with the empty path.
pub type Picture = BTreeMap<Vec<u8>, Entry>;

/// Returns attributes of a random entry; a symbolic link has neither mode nor extended attributes.
/// Only the superuser can give files away.
pub fn random_attributes(random: &mut fastrand::Rng, kind: Kind) -> Attributes {
    let mtime = Time { seconds: random.i64(-9..9_999_999), nanoseconds: random.u32(0..1000) };
    let is_superuser = rustix::process::geteuid().is_root();
    let owner = Owner {
        uid: if is_superuser { random.u32(0..3) } else { rustix::process::geteuid().as_raw() },
        gid: if is_superuser { random.u32(0..3) } else { rustix::process::getegid().as_raw() },
    };
    let mut xattrs = Xattrs::new();
    if random.u8(0..4) == 0 {
        xattrs.insert(b"user.tag".to_vec(), vec![random.u8(0..3)]);
    }
    Attributes {
        owner: Some(owner),
        mode: (kind != Kind::Symlink).then(|| random.u32(0..0o1000) | 0o700),
        set_ids_of: None,
        times: Some(Times { atime: mtime, mtime }),
        xattrs: (kind != Kind::Symlink).then(|| Arc::new(xattrs)),
    }
}

fn random_content(random: &mut fastrand::Rng, kind: Kind) -> Vec<u8> {
    match kind {
        Kind::File => {
            let length = [0, 1, 99, 100, 101, 1000, 3456][random.usize(0..7)];
            (0..length).map(|_| random.u8(..)).collect()
        }
        Kind::Symlink => format!("../{}", random.u8(0..9)).into_bytes(),
        _ => Vec::new(),
    }
}

pub fn random_entry(random: &mut fastrand::Rng) -> Entry {
    let kind =
        [Kind::Directory, Kind::Directory, Kind::Symlink, Kind::File, Kind::File, Kind::File]
            [random.usize(0..6)];
    Entry {
        kind,
        content: random_content(random, kind),
        attributes: random_attributes(random, kind),
    }
}

/// Returns the directories of a tree.
pub fn directories(picture: &Picture) -> Vec<Vec<u8>> {
    let is_directory = |(_, entry): &(&Vec<u8>, &Entry)| entry.kind == Kind::Directory;
    picture.iter().filter(is_directory).map(|(path, _)| path.clone()).collect()
}

/// Adds an entry with a new name somewhere.
pub fn plant(random: &mut fastrand::Rng, picture: &mut Picture) {
    let parents = directories(picture);
    let mut path = parents[random.usize(0..parents.len())].clone();
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(format!("n{}\u{e9}\n", random.u32(..)).as_bytes());
    picture.insert(path, random_entry(random));
}

/// Returns a random tree of some 20 to 150 entries.
pub fn random_tree(random: &mut fastrand::Rng) -> Picture {
    let attributes = random_attributes(random, Kind::Directory);
    let root = Entry { kind: Kind::Directory, content: Vec::new(), attributes };
    let mut picture = Picture::from([(Vec::new(), root)]);
    for _ in 0..random.usize(20..150) {
        plant(random, &mut picture);
    }
    picture
}

/// Creates a tree in an empty store.
pub fn build(picture: &Picture, store: &dyn Store) {
    for (path, entry) in picture.iter().filter(|(path, _)| !path.is_empty()) {
        let (parent, name) = RelPath::checked(path).unwrap().split_last().unwrap();
        put(&*store.open_dir(&parent).unwrap(), &name, entry);
    }
    // Creating entries changes a directory's times, so the deepest come first.
    for path in directories(picture).iter().rev() {
        let dir = store.open_dir(&RelPath::checked(path).unwrap()).unwrap();
        dir.set_attributes(&picture[path].attributes).unwrap();
    }
}

fn put(dir: &dyn Dir, name: &CStr, entry: &Entry) {
    match entry.kind {
        Kind::Directory => {
            dir.make_dir(name, 0o700).unwrap();
        }
        Kind::Symlink => {
            let attributes = entry.attributes.clone();
            let link = NewSymlink {
                mtime: None,
                points_to: &entry.content,
                staged: c".s",
                name,
                attributes,
            };
            dir.make_symlink(&link).unwrap();
        }
        _ => {
            let staged = dir.stage_file(&new_file(c".s", name)).unwrap();
            staged.write_at(&entry.content, 0).unwrap();
            staged.commit(&entry.attributes, Vec::new()).unwrap();
        }
    }
}

/// Returns a file that one writer creates.
pub fn new_file<'n>(staged: &'n CStr, name: &'n CStr) -> NewFile<'n> {
    NewFile::new(staged, name, Attributes::NONE)
}

/// Returns the tree in a store.
pub fn picture(store: &dyn Store) -> Picture {
    let root = store.open_dir(&RelPath::root()).unwrap();
    let metadata = root.metadata().unwrap();
    let mut picture = Picture::new();
    picture.insert(Vec::new(), look(&*root, None, &metadata));
    let mut dirs = vec![(RelPath::root(), root)];
    while let Some((path, dir)) = dirs.pop() {
        let mut names: Vec<CString> = Vec::new();
        dir.list(&mut |name, _| names.push(name.to_owned())).unwrap();
        for name in names {
            let metadata = dir.stat(&name).unwrap();
            let path = path.child(&name);
            picture.insert(path.as_bytes().to_vec(), look(&*dir, Some(&name), &metadata));
            if metadata.kind == Kind::Directory {
                dirs.push((path, dir.open_dir(&name).unwrap()));
            }
        }
    }
    picture
}

fn look(dir: &dyn Dir, name: Option<&CStr>, metadata: &Metadata) -> Entry {
    let content = match (metadata.kind, name) {
        (Kind::File, Some(name)) => read(dir, name, metadata.size_bytes),
        (Kind::Symlink, Some(name)) => dir.read_link(name).unwrap(),
        _ => Vec::new(),
    };
    let xattrs = if metadata.kind == Kind::Symlink { None } else { dir.xattrs(name).unwrap() };
    let mut attributes = Attributes::all_of(metadata, xattrs);
    if metadata.kind == Kind::Symlink {
        attributes.mode = None;
    }
    attributes.times = Some(Times { atime: metadata.mtime, mtime: metadata.mtime });
    Entry { kind: metadata.kind, content, attributes }
}

fn read(dir: &dyn Dir, name: &CStr, size: u64) -> Vec<u8> {
    let mut bytes = vec![0; size as usize];
    assert_eq!(dir.open_file(name).unwrap().read_at(&mut bytes, 0), Ok(bytes.len()));
    bytes
}
