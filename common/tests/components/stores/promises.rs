//! Conformance suite of all stores: promises that operations may rely on wherever a tree lives, and
//! the exceptions that a kind of store must declare.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![allow(clippy::print_stdout, reason = "a failing test shows how far it got")]

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::sync::Arc;

use store::{Dir, Made, NewFile, NewSymlink, Store, Writers};
use types::entry::{Attributes, Hint, Kind, Owner, Preserved, Time, Times, Xattrs};
use types::error::Cause;
use types::path::RelPath;

/// Function that checks a promise on a fresh store and its root.
pub type Promise = fn(&dyn Dir, &dyn Store);

/// All promises.
const PROMISES: [(&str, Promise); 20] = [
    ("an empty root lists nothing", empty_root),
    ("a directory that was made is there", made_directories),
    ("directories nest and are found by path", nested_directories),
    ("a file is no directory", files_are_no_directories),
    ("a file is invisible under its name until it is committed", staging),
    ("a staged file has a name of its own that nobody else can use or read", staged_names),
    ("an abandoned file leaves nothing", abandoning),
    ("chunks written by several writers in any order make one file", chunks),
    ("a commit replaces a file", replacing),
    ("a commit never replaces a directory", replacing_directories),
    ("attributes of files come back as they were set", attributes_of_files),
    ("attributes of directories come back as they were set", attributes_of_directories),
    ("what is there is given attributes in place", attributes_in_place),
    ("extended attributes come back, and no others", extended_attributes),
    ("files and empty directories are removed", removing),
    ("what cannot be removed says so", removing_in_vain),
    ("links are kept byte for byte", links),
    ("links are never followed", links_are_not_followed),
    ("any name works", names),
    ("what is missing says so", missing),
];

/// A promise that a store cannot keep, and what it promises instead.
#[derive(Clone, Copy)]
pub struct Exception {
    /// The promise's own words.
    pub promise: &'static str,
    /// Promise that holds instead, in words, and its check.
    pub instead: (&'static str, Promise),
}

/// Runs every promise against a fresh store each, but for the exceptions, whose replacements are
/// run instead. An exception whose promise holds fails.
pub fn keeps_all_but(exceptions: &[Exception], fresh: &dyn Fn() -> Box<dyn Store>) {
    let run = |check: Promise| {
        let store = fresh();
        let root = store.open_dir(&RelPath::root()).unwrap();
        check(&*root, &*store);
    };
    let is_promise = |words: &str| PROMISES.iter().any(|(promise, _)| *promise == words);
    assert!(exceptions.iter().all(|exception| is_promise(exception.promise)));
    for (promise, check) in PROMISES {
        println!("  {promise}");
        let Some(exception) = exceptions.iter().find(|exception| exception.promise == promise)
        else {
            run(check);
            continue;
        };
        let (words, instead) = exception.instead;
        println!("    instead: {words}");
        run(instead);
        println!("    this store must fail the promise itself:");
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(check)));
        assert!(outcome.is_err(), "\"{promise}\" is kept and needs no exception");
    }
}

/// Returns all names of a directory, each once.
pub fn listing(dir: &dyn Dir) -> BTreeMap<CString, Hint> {
    let mut names = BTreeMap::new();
    dir.list(&mut |name, hint| {
        assert_eq!(names.insert(name.to_owned(), hint), None, "a name was listed twice");
    })
    .unwrap();
    names
}

/// Returns an empty file without attributes.
pub fn new_file<'n>(staged: &'n CStr, name: &'n CStr) -> NewFile<'n> {
    NewFile::new(staged, name, Attributes::NONE)
}

/// Creates a file.
pub fn put(dir: &dyn Dir, name: &CStr, content: &[u8]) {
    let staged = dir.stage_file(&new_file(c".staged", name)).unwrap();
    staged.write_at(content, 0).unwrap();
    staged.commit(&Attributes { mode: Some(0o644), ..Attributes::default() }, Vec::new()).unwrap();
}

/// Returns the whole content of a file.
pub fn content(dir: &dyn Dir, name: &CStr) -> Vec<u8> {
    let file = dir.open_file(name).unwrap();
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 70_001]);
    loop {
        match file.read_at(&mut buffer, bytes.len() as u64).unwrap() {
            0 => return bytes,
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

/// Returns the cause of a failure.
pub fn cause<T>(result: Result<T, types::error::Error>) -> Cause {
    result.err().expect("that must fail").cause
}

fn empty_root(root: &dyn Dir, _: &dyn Store) {
    assert!(listing(root).is_empty());
    assert_eq!(root.metadata().unwrap().kind, Kind::Directory);
}

fn made_directories(root: &dyn Dir, _: &dyn Store) {
    assert_eq!(root.make_dir(c"a", 0o700), Ok(Made::New));
    assert_eq!(root.make_dir(c"a", 0o700), Ok(Made::Existed));
    assert_eq!(root.stat(c"a").unwrap().mode, 0o700);
    assert_eq!(listing(root).into_iter().collect::<Vec<_>>(), [(c"a".to_owned(), Hint::Directory)]);
}

fn nested_directories(root: &dyn Dir, store: &dyn Store) {
    root.make_dir(c"a", 0o755).unwrap();
    let a = root.open_dir(c"a").unwrap();
    a.make_dir(c"b", 0o755).unwrap();
    put(&*a.open_dir(c"b").unwrap(), c"file", b"x");
    let path = RelPath::root().child(c"a").child(c"b");
    let by_path = store.open_dir(&path).unwrap().metadata().unwrap();
    let looked_at = a.stat(c"b").unwrap();
    assert_eq!((looked_at.kind, looked_at.inode), (Kind::Directory, by_path.inode));
    assert_eq!(listing(&*a).into_iter().collect::<Vec<_>>(), [(c"b".to_owned(), Hint::Directory)]);
    let opened_later = store.open_dir(&RelPath::root()).unwrap();
    assert_eq!(opened_later.make_dir(c"a", 0o755), Ok(Made::Existed));
}

fn files_are_no_directories(root: &dyn Dir, _: &dyn Store) {
    put(root, c"file", b"x");
    assert_eq!(cause(root.make_dir(c"file", 0o755)), Cause::KindDiffers);
    assert_eq!(cause(root.open_dir(c"file")), Cause::System(libc::ENOTDIR));
}

fn staging(root: &dyn Dir, _: &dyn Store) {
    let staged = root.stage_file(&new_file(c".staged", c"file")).unwrap();
    staged.write_at(b"hello", 0).unwrap();
    assert_eq!(cause(root.stat(c"file")), Cause::System(libc::ENOENT));
    assert_eq!(staged.size_bytes(&[]), Ok(5));
    staged.commit(&Attributes::default(), Vec::new()).unwrap();
    assert_eq!(content(root, c"file"), b"hello");
    assert_eq!(listing(root).len(), 1);
}

fn staged_names(root: &dyn Dir, _: &dyn Store) {
    let staged = root.stage_file(&new_file(c".staged", c"file")).unwrap();
    assert_eq!(
        root.stat(c".staged").unwrap().mode,
        0o600,
        "a staged file is nobody else's business"
    );
    assert_eq!(
        cause(root.stage_file(&new_file(c".staged", c"x")).map(drop)),
        Cause::System(libc::EEXIST)
    );
    staged.commit(&Attributes { mode: Some(0o640), ..Attributes::default() }, Vec::new()).unwrap();
    assert_eq!(root.stat(c"file").unwrap().mode, 0o640);
}

fn abandoning(root: &dyn Dir, _: &dyn Store) {
    let staged = root.stage_file(&new_file(c".staged", c"file")).unwrap();
    staged.write_at(b"hello", 0).unwrap();
    staged.abandon().unwrap();
    assert!(listing(root).is_empty());
}

fn chunks(root: &dyn Dir, _: &dyn Store) {
    // The chunk size is the smallest that services accept.
    const CHUNK_BYTES: u64 = 5 << 20;
    let whole: Vec<u8> = (0..2 * CHUNK_BYTES as u32 + 9).map(|n| (n ^ n >> 9) as u8).collect();
    let size_bytes = whole.len() as u64;
    let writers = Writers::Several { chunk_bytes: CHUNK_BYTES };
    let new = NewFile { size_bytes, writers, ..new_file(c".staged", c"file") };
    let owner = root.stage_file(&new).unwrap();
    let mut receipts = Vec::new();
    for chunk in [2, 0, 1] {
        let begin = chunk * CHUNK_BYTES as usize;
        let end = whole.len().min(begin + CHUNK_BYTES as usize);
        let writer = root.join_staged(&owner.ticket(), c"file").unwrap();
        // In several pieces, as buffers are smaller than chunks.
        for piece in (begin..end).step_by(2 << 20) {
            let bytes = &whole[piece..end.min(piece + (2 << 20))];
            writer.write_at(bytes, piece as u64).unwrap();
        }
        receipts.extend(writer.close().unwrap());
    }
    assert_eq!(cause(root.stat(c"file")), Cause::System(libc::ENOENT));
    assert_eq!(owner.size_bytes(&receipts), Ok(size_bytes));
    owner.commit(&Attributes::default(), receipts).unwrap();
    assert!(content(root, c"file") == whole);
    assert_eq!(root.stat(c"file").unwrap().size_bytes, size_bytes);
}

fn replacing(root: &dyn Dir, _: &dyn Store) {
    put(root, c"file", b"old and longer");
    put(root, c"file", b"new");
    assert_eq!(content(root, c"file"), b"new");
    assert_eq!(listing(root).len(), 1);
}

fn replacing_directories(root: &dyn Dir, _: &dyn Store) {
    root.make_dir(c"dir", 0o755).unwrap();
    let staged = root.stage_file(&new_file(c".staged", c"dir")).unwrap();
    assert_eq!(cause(staged.commit(&Attributes::default(), Vec::new())), Cause::KindDiffers);
    assert_eq!(listing(root).len(), 1, "the staged file must be gone");
}

/// Returns attributes that no entry has by default.
pub fn odd_attributes() -> Attributes {
    let times = Times {
        atime: Time { seconds: 1_000_000_000, nanoseconds: 999_999_999 },
        mtime: Time { seconds: -86_400, nanoseconds: 1 },
    };
    Attributes {
        owner: Some(Owner { uid: 12_345, gid: 54_321 }),
        mode: Some(0o6751),
        set_ids_of: None,
        times: Some(times),
        xattrs: None,
    }
}

fn attributes_of_files(root: &dyn Dir, _: &dyn Store) {
    let wanted = odd_attributes();
    let new = NewFile { attributes: &wanted, ..new_file(c".staged", c"file") };
    root.stage_file(&new).unwrap().commit(&wanted, Vec::new()).unwrap();
    assert_eq!(Attributes::all_of(&root.stat(c"file").unwrap(), None), wanted);
    let open = root.open_file(c"file").unwrap().metadata().unwrap();
    assert_eq!(Attributes::all_of(&open, None), wanted);
}

fn attributes_of_directories(root: &dyn Dir, _: &dyn Store) {
    let wanted = odd_attributes();
    root.make_dir(c"dir", 0o700).unwrap();
    root.open_dir(c"dir").unwrap().set_attributes(&wanted).unwrap();
    assert_eq!(Attributes::all_of(&root.stat(c"dir").unwrap(), None), wanted);
}

fn attributes_in_place(root: &dyn Dir, _: &dyn Store) {
    put(root, c"file", b"content");
    link(root, c"link", b"nowhere");
    let time = Time { seconds: 7, nanoseconds: 8 };
    let wanted = Attributes {
        owner: Some(Owner { uid: 12_345, gid: 54_321 }),
        mode: Some(0o6444),
        set_ids_of: None,
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
    let preserved = staged.commit(&with(&first), Vec::new());
    let attributes = preserved.map(|it| Preserved { proof: None, is_unstored: false, ..it });
    assert_eq!(attributes, Ok(Preserved::ALL));
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
    link(root, c"link", b"file");
    assert_eq!(listing(root).len(), 3);
    root.open_dir(c"dir").unwrap().remove(c"inside", Kind::File).unwrap();
    root.remove(c"dir", Kind::Directory).unwrap();
    root.remove(c"link", Kind::Symlink).unwrap();
    assert_eq!(content(root, c"file"), b"1");
    root.remove(c"file", Kind::File).unwrap();
    assert!(listing(root).is_empty());
}

fn removing_in_vain(root: &dyn Dir, _: &dyn Store) {
    put(root, c"file", b"1");
    root.make_dir(c"dir", 0o755).unwrap();
    put(&*root.open_dir(c"dir").unwrap(), c"inside", b"2");
    assert!(root.remove(c"dir", Kind::Directory).is_err(), "a full directory was removed");
    assert!(root.remove(c"file", Kind::Directory).is_err(), "a file is no directory");
    assert!(cause(root.remove(c"missing", Kind::File)).is_vanished());
    assert_eq!(listing(root).len(), 2);
}

/// Creates a symbolic link.
pub fn link(root: &dyn Dir, name: &CStr, points_to: &[u8]) {
    let attributes = Attributes::default();
    let new = NewSymlink { mtime: None, points_to, staged: c".staged", name, attributes };
    root.make_symlink(&new).unwrap();
}

/// Targets of symbolic links.
const TARGETS: [(&CStr, &[u8]); 2] = [(c"to-dir", b"dir"), (c"odd", b"/../\xff\n")];

fn links(root: &dyn Dir, _: &dyn Store) {
    let long = [b'x'; 4000];
    for (name, points_to) in TARGETS.into_iter().chain([(c"long", &long[..])]) {
        link(root, name, points_to);
        assert_eq!(root.read_link(name).unwrap(), points_to);
        assert_eq!(root.stat(name).unwrap().kind, Kind::Symlink);
    }
    assert_eq!(listing(root).len(), 3);
}

fn links_are_not_followed(root: &dyn Dir, store: &dyn Store) {
    root.make_dir(c"dir", 0o755).unwrap();
    for (name, points_to) in TARGETS {
        link(root, name, points_to);
        assert!(root.open_dir(name).is_err(), "a link was followed");
        assert!(root.open_file(name).is_err(), "a link was followed");
        assert!(store.open_dir(&RelPath::root().child(name)).is_err(), "a link was followed");
    }
    // A file replaces a symbolic link, whose target stays.
    put(root, c"to-dir", b"now a file");
    assert_eq!(content(root, c"to-dir"), b"now a file");
    assert_eq!(root.stat(c"to-dir").unwrap().kind, Kind::File);
    assert!(root.open_dir(c"dir").is_ok());
}

/// Returns names of every byte that a name can contain, and some longer ones.
pub fn odd_names() -> Vec<CString> {
    let mut odd: Vec<CString> = (1..=255_u8)
        .filter(|byte| *byte != b'/' && *byte != b'.')
        .map(|byte| CString::new(vec![byte]).unwrap())
        .collect();
    odd.extend([c"...", c"-rf", c"a b", c".staged.x"].map(ToOwned::to_owned));
    odd.push(CString::new(vec![b'n'; 255]).unwrap());
    odd.sort();
    odd
}

/// Creates files of these names, and checks that they exist.
pub fn keep_names(root: &dyn Dir, odd: &[CString]) {
    for name in odd {
        put(root, name, name.to_bytes());
    }
    assert_eq!(listing(root).into_keys().collect::<Vec<_>>(), odd);
    for name in odd {
        assert_eq!(content(root, name), name.to_bytes());
    }
}

fn names(root: &dyn Dir, _: &dyn Store) {
    keep_names(root, &odd_names());
}

fn missing(root: &dyn Dir, store: &dyn Store) {
    let enoent = Cause::System(libc::ENOENT);
    assert_eq!(cause(root.stat(c"x")), enoent);
    assert_eq!(cause(root.open_dir(c"x")), enoent);
    assert_eq!(cause(root.open_file(c"x").map(drop)), enoent);
    assert_eq!(cause(root.read_link(c"x")), enoent);
    assert_eq!(cause(store.open_dir(&RelPath::root().child(c"x"))), enoent);
}
