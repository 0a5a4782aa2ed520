//! One suite of promises, run against every store: what operations may rely on wherever a tree lives.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![allow(clippy::print_stdout, reason = "a failing test shows how far it got")]

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::sync::Arc;

use common::base::error::{Cause, Op};
use common::base::path::RelPath;
use common::model::entry::{Attributes, Hint, Kind, Owner, Time, Times, Xattrs};
use common::store::dry_run::DryRunStore;
use common::store::faulty::{Faults, FaultyStore};
use common::store::memory::MemoryStore;
use common::store::posix::{OpenAs, PosixStore};
use common::store::{Dir, Made, NewFile, NewSymlink, Store};

/// Checks a promise on a fresh store and its root.
type Promise = fn(&dyn Dir, &dyn Store);

/// Runs every promise against a fresh store each.
fn keeps_its_promises(fresh: &dyn Fn() -> Box<dyn Store>) {
    let promises: [(&str, Promise); 13] = [
        ("an empty root lists nothing", empty_root),
        ("directories nest and are found by path", directories),
        ("a staged file is invisible under its name until it is committed", staging),
        ("an abandoned file leaves nothing", abandoning),
        ("chunks written by several writers in any order make one file", chunks),
        ("a commit replaces a file but never a directory", replacing),
        ("attributes come back as they were set", attributes),
        ("what is there is given attributes in place", attributes_in_place),
        ("extended attributes come back, and no others", extended_attributes),
        ("entries are removed, full directories are not", removing),
        ("links are kept byte for byte and never followed", links),
        ("any name works", names),
        ("what is missing says so", missing),
    ];
    for (promise, check) in promises {
        println!("  {promise}");
        let store = fresh();
        let root = store.open_dir(&RelPath::root()).unwrap();
        check(&*root, &*store);
    }
}

fn listing(dir: &dyn Dir) -> BTreeMap<CString, Hint> {
    let mut names = BTreeMap::new();
    dir.list(&mut |name, hint| {
        assert_eq!(names.insert(name.to_owned(), hint), None, "a name was listed twice");
    })
    .unwrap();
    names
}

fn new_file<'n>(staged: &'n CStr, name: &'n CStr) -> NewFile<'n> {
    NewFile {
        staged,
        name,
        size_bytes: 0,
        mtime: None,
        chunk_bytes: None,
        attributes: Attributes::NONE,
        headers: None,
    }
}

fn put(dir: &dyn Dir, name: &CStr, content: &[u8]) {
    let staged = dir.stage_file(&new_file(c".staged", name)).unwrap();
    staged.write_at(content, 0).unwrap();
    staged.commit(&Attributes { mode: Some(0o644), ..Attributes::default() }, Vec::new()).unwrap();
}

fn content(dir: &dyn Dir, name: &CStr) -> Vec<u8> {
    let file = dir.open_file(name).unwrap();
    let (mut bytes, mut buffer) = (Vec::new(), [0; 7]);
    loop {
        match file.read_at(&mut buffer, bytes.len() as u64).unwrap() {
            0 => return bytes,
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

fn cause<T>(result: Result<T, common::base::error::Error>) -> Cause {
    result.err().expect("that must fail").cause
}

fn empty_root(root: &dyn Dir, _: &dyn Store) {
    assert!(listing(root).is_empty());
    assert_eq!(root.metadata().unwrap().kind, Kind::Directory);
}

fn directories(root: &dyn Dir, store: &dyn Store) {
    assert_eq!(root.make_dir(c"a", 0o755), Ok(Made::New));
    assert_eq!(root.make_dir(c"a", 0o755), Ok(Made::Existed));
    let a = root.open_dir(c"a").unwrap();
    assert_eq!(a.make_dir(c"b", 0o700), Ok(Made::New));
    let path = RelPath::root().child(c"a").child(c"b");
    let by_path = store.open_dir(&path).unwrap().metadata().unwrap();
    assert_eq!(by_path.inode, a.stat(c"b").unwrap().inode);
    assert_eq!(by_path.mode, 0o700);
    assert_eq!(listing(&*a).into_iter().collect::<Vec<_>>(), [(c"b".to_owned(), Hint::Directory)]);
    put(root, c"file", b"x");
    assert_eq!(cause(root.make_dir(c"file", 0o755)), Cause::KindDiffers);
    assert_eq!(cause(root.open_dir(c"file")), Cause::System(libc::ENOTDIR));
}

fn staging(root: &dyn Dir, _: &dyn Store) {
    let staged = root.stage_file(&new_file(c".staged", c"file")).unwrap();
    staged.write_at(b"hello", 0).unwrap();
    assert_eq!(cause(root.stat(c"file")), Cause::System(libc::ENOENT));
    assert_eq!(
        root.stat(c".staged").unwrap().mode,
        0o600,
        "a staged file is nobody else's business"
    );
    assert_eq!(
        cause(root.stage_file(&new_file(c".staged", c"x")).map(drop)),
        Cause::System(libc::EEXIST)
    );
    assert_eq!(staged.size_bytes(&[]), Ok(5));
    staged.commit(&Attributes { mode: Some(0o640), ..Attributes::default() }, Vec::new()).unwrap();
    assert_eq!(content(root, c"file"), b"hello");
    assert_eq!(root.stat(c"file").unwrap().mode, 0o640);
    assert_eq!(listing(root).len(), 1);
}

fn abandoning(root: &dyn Dir, _: &dyn Store) {
    let staged = root.stage_file(&new_file(c".staged", c"file")).unwrap();
    staged.write_at(b"hello", 0).unwrap();
    staged.abandon().unwrap();
    assert!(listing(root).is_empty());
}

fn chunks(root: &dyn Dir, _: &dyn Store) {
    let owner = root.stage_file(&new_file(c".staged", c"file")).unwrap();
    let other = root.join_staged(b".staged", c"file").unwrap();
    other.write_at(b"defghi", 3).unwrap();
    other.close().unwrap();
    owner.write_at(b"abc", 0).unwrap();
    owner.commit(&Attributes::default(), Vec::new()).unwrap();
    assert_eq!(content(root, c"file"), b"abcdefghi");
    assert_eq!(root.stat(c"file").unwrap().size_bytes, 9);
}

fn replacing(root: &dyn Dir, _: &dyn Store) {
    put(root, c"file", b"old and longer");
    put(root, c"file", b"new");
    assert_eq!(content(root, c"file"), b"new");
    root.make_dir(c"dir", 0o755).unwrap();
    let staged = root.stage_file(&new_file(c".staged", c"dir")).unwrap();
    assert_eq!(cause(staged.commit(&Attributes::default(), Vec::new())), Cause::KindDiffers);
    assert_eq!(listing(root).len(), 2, "the staged file must be gone");
}

fn attributes(root: &dyn Dir, _: &dyn Store) {
    let times = Times {
        atime: Time { seconds: 1_000_000_000, nanoseconds: 999_999_999 },
        mtime: Time { seconds: -86_400, nanoseconds: 1 },
    };
    let wanted = Attributes {
        owner: Some(Owner { uid: 12_345, gid: 54_321 }),
        mode: Some(0o6751),
        times: Some(times),
        xattrs: None,
    };
    let staged = root.stage_file(&new_file(c".staged", c"file")).unwrap();
    staged.commit(&wanted, Vec::new()).unwrap();
    root.make_dir(c"dir", 0o700).unwrap();
    root.open_dir(c"dir").unwrap().set_attributes(&wanted).unwrap();
    for name in [c"file", c"dir"] {
        let got = root.stat(name).unwrap();
        assert_eq!(Attributes::all_of(&got, None), wanted, "{name:?}");
    }
}

fn attributes_in_place(root: &dyn Dir, _: &dyn Store) {
    put(root, c"file", b"content");
    let points_to = b"nowhere";
    let attributes = Attributes::default();
    root.make_symlink(&NewSymlink {
        mtime: None,
        points_to,
        staged: c".staged",
        name: c"link",
        attributes,
    })
    .unwrap();
    let time = Time { seconds: 7, nanoseconds: 8 };
    let wanted = Attributes {
        owner: Some(Owner { uid: 12_345, gid: 54_321 }),
        mode: Some(0o6444),
        times: Some(Times { atime: time, mtime: time }),
        xattrs: None,
    };
    root.set_entry_attributes(c"file", Kind::File, &wanted).unwrap();
    root.set_entry_attributes(c"link", Kind::Symlink, &wanted).unwrap();
    assert_eq!(Attributes::all_of(&root.stat(c"file").unwrap(), None), wanted);
    let link = root.stat(c"link").unwrap();
    assert_eq!((link.kind, link.uid, link.mtime), (Kind::Symlink, 12_345, time));
    assert_eq!(content(root, c"file"), b"content");
    let missing = root.set_entry_attributes(c"missing", Kind::File, &wanted);
    assert!(cause(missing).is_vanished());
}

fn extended_attributes(root: &dyn Dir, _: &dyn Store) {
    let of = |pairs: &[(&str, &[u8])]| -> Xattrs {
        pairs.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec())).collect()
    };
    let with = |xattrs: &Xattrs| Attributes {
        mode: Some(0o444),
        xattrs: Some(Arc::new(xattrs.clone())),
        ..Attributes::default()
    };
    let long = vec![0xff; 3000];
    let first = of(&[("user.one", b"1\0\n"), ("user.long", &long)]);
    let staged = root.stage_file(&new_file(c".staged", c"file")).unwrap();
    assert_eq!(staged.commit(&with(&first), Vec::new()), Ok(common::model::entry::Kept::ALL));
    assert_eq!(root.xattrs(Some(c"file")).unwrap(), Some(first.clone()));
    assert_eq!(root.open_file(c"file").unwrap().xattrs().unwrap(), Some(first));
    let second = of(&[("user.one", b"2"), ("user.empty", b"")]);
    root.set_entry_attributes(c"file", Kind::File, &with(&second)).unwrap();
    assert_eq!(root.xattrs(Some(c"file")).unwrap(), Some(second.clone()));
    root.make_dir(c"dir", 0o755).unwrap();
    let dir = root.open_dir(c"dir").unwrap();
    dir.set_attributes(&with(&second)).unwrap();
    assert_eq!(dir.xattrs(None).unwrap(), Some(second.clone()));
    assert_eq!(root.xattrs(Some(c"dir")).unwrap(), Some(second));
    assert!(cause(root.xattrs(Some(c"missing"))).is_vanished());
}

fn removing(root: &dyn Dir, _: &dyn Store) {
    put(root, c"file", b"1");
    root.make_dir(c"dir", 0o755).unwrap();
    put(&*root.open_dir(c"dir").unwrap(), c"inside", b"2");
    assert!(root.remove(c"dir", Kind::Directory).is_err(), "a full directory was removed");
    root.open_dir(c"dir").unwrap().remove(c"inside", Kind::File).unwrap();
    root.remove(c"dir", Kind::Directory).unwrap();
    assert!(root.remove(c"file", Kind::Directory).is_err(), "a file is no directory");
    root.remove(c"file", Kind::File).unwrap();
    assert!(listing(root).is_empty());
    assert!(cause(root.remove(c"file", Kind::File)).is_vanished());
}

fn links(root: &dyn Dir, store: &dyn Store) {
    root.make_dir(c"dir", 0o755).unwrap();
    let long = vec![b'x'; 4000];
    for (name, points_to) in [(c"to-dir", &b"dir"[..]), (c"odd", b"/../\xff\n"), (c"long", &long)] {
        let attributes = Attributes::default();
        root.make_symlink(&NewSymlink {
            mtime: None,
            points_to,
            staged: c".staged",
            name,
            attributes,
        })
        .unwrap();
        assert_eq!(root.read_link(name).unwrap(), points_to);
        assert_eq!(root.stat(name).unwrap().kind, Kind::Symlink);
        assert!(root.open_dir(name).is_err(), "a link was followed");
        assert!(root.open_file(name).is_err(), "a link was followed");
        assert!(store.open_dir(&RelPath::root().child(name)).is_err(), "a link was followed");
    }
    // A link gives way to a file, and what it pointed to stays.
    put(root, c"to-dir", b"now a file");
    assert_eq!(content(root, c"to-dir"), b"now a file");
    assert!(root.open_dir(c"dir").is_ok());
}

fn names(root: &dyn Dir, _: &dyn Store) {
    let mut odd: Vec<CString> = (1..=255_u8)
        .filter(|byte| *byte != b'/' && *byte != b'.')
        .map(|byte| CString::new(vec![byte]).unwrap())
        .collect();
    odd.extend([c"...", c"-rf", c"a b", c".staged.x"].map(ToOwned::to_owned));
    odd.push(CString::new(vec![b'n'; 255]).unwrap());
    for name in &odd {
        put(root, name, name.to_bytes());
    }
    odd.sort();
    assert_eq!(listing(root).into_keys().collect::<Vec<_>>(), odd);
    for name in &odd {
        assert_eq!(content(root, name), name.to_bytes());
    }
}

fn missing(root: &dyn Dir, store: &dyn Store) {
    let enoent = Cause::System(libc::ENOENT);
    assert_eq!(cause(root.stat(c"x")), enoent);
    assert_eq!(cause(root.open_dir(c"x")), enoent);
    assert_eq!(cause(root.open_file(c"x").map(drop)), enoent);
    assert_eq!(cause(root.read_link(c"x")), enoent);
    assert_eq!(cause(store.open_dir(&RelPath::root().child(c"x"))), enoent);
}

fn posix() -> (tempfile::TempDir, PosixStore) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().as_os_str().as_encoded_bytes().to_vec();
    let store = PosixStore::open(&path, OpenAs::default()).unwrap();
    (dir, store)
}

/// Keeps a temporary directory as long as the store in it.
struct Kept<S>(S, #[allow(dead_code, reason = "held for its drop")] tempfile::TempDir);

impl<S: Store> Store for Kept<S> {
    fn device(&self) -> Result<u64, common::base::error::Error> {
        self.0.device()
    }

    fn open_dir(&self, path: &RelPath) -> common::base::error::Result<Arc<dyn Dir>> {
        self.0.open_dir(path)
    }
}

#[test]
fn a_posix_tree() {
    keeps_its_promises(&|| {
        let (dir, store) = posix();
        Box::new(Kept(store, dir))
    });
}

#[test]
fn a_tree_in_memory() {
    keeps_its_promises(&|| Box::new(MemoryStore::new()));
}

#[test]
fn a_faulty_store_without_faults() {
    let none = || Arc::new(Faults::new(1));
    keeps_its_promises(&|| Box::new(FaultyStore::new(MemoryStore::new(), none())));
    keeps_its_promises(&|| {
        let (dir, store) = posix();
        Box::new(Kept(FaultyStore::new(store, none()), dir))
    });
}

#[test]
fn a_store_with_short_reads() {
    let short = || Arc::new(Faults::new(1).with_short_reads());
    keeps_its_promises(&|| Box::new(FaultyStore::new(MemoryStore::new(), short())));
}

#[test]
fn faults_strike_as_often_as_asked_and_the_same_way_each_time() {
    let struck = |seed| {
        let faults = Arc::new(Faults::new(seed).fail(Op::Stat, libc::EIO, 4));
        let store = FaultyStore::new(MemoryStore::new(), Arc::clone(&faults));
        let root = store.open_dir(&RelPath::root()).unwrap();
        let hit: Vec<bool> = (0..1000)
            .map(|n| {
                let name = CString::new(format!("f{n}")).unwrap();
                cause(root.stat(&name)) == Cause::System(libc::EIO)
            })
            .collect();
        assert_eq!(faults.injected(), hit.iter().filter(|hit| **hit).count() as u64);
        hit
    };
    assert_eq!(struck(7), struck(7));
    assert_ne!(struck(7), struck(8));
    let hits = struck(7).iter().filter(|hit| **hit).count();
    assert!((150..350).contains(&hits), "{hits} of 1000");
}

#[test]
fn a_dry_run_changes_nothing_and_checks_everything() {
    let (dir, store) = posix();
    let root = store.open_dir(&RelPath::root()).unwrap();
    root.make_dir(c"old", 0o755).unwrap();
    put(&*root, c"file", b"as it was");

    let dry = DryRunStore::new(Some(store));
    let root = dry.open_dir(&RelPath::root()).unwrap();
    assert_eq!(root.make_dir(c"old", 0o755), Ok(Made::Existed));
    assert_eq!(root.make_dir(c"new", 0o755), Ok(Made::New));
    assert_eq!(cause(root.make_dir(c"file", 0o755)), Cause::KindDiffers);
    let new = root.open_dir(c"new").unwrap();
    put(&*new, c"inner", b"x");
    put(&*root, c"file", b"other");
    let link = NewSymlink {
        mtime: None,
        points_to: b"x",
        staged: c".staged",
        name: c"link",
        attributes: Attributes::default(),
    };
    root.make_symlink(&link).unwrap();

    let mut names: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["file", "old"]);
    assert_eq!(std::fs::read(dir.path().join("file")).unwrap(), b"as it was");
}
