//! Tests of the stores of this machine against the conformance suite; those of objects are tested
//! with the servers.

#![allow(clippy::print_stdout, reason = "a failing test shows how far it got")]

use std::ffi::CString;
use std::sync::Arc;

use crate::promises::{cause, keeps_all_but, put};
use posix::PosixStore;
use store::dry_run::DryRunStore;
use store::faulty::{Faults, FaultyStore};
use store::memory::MemoryStore;
use store::opening::OpenAs;
use store::{Made, NewSymlink, Store};
use suite_tests::sandbox::Sandbox;
use types::entry::Attributes;
use types::error::{Cause, Op};
use types::path::RelPath;

fn posix() -> (Sandbox, PosixStore) {
    let dir = Sandbox::new();
    let path = dir.path().as_os_str().as_encoded_bytes().to_vec();
    let store = PosixStore::open(&path, OpenAs::default()).unwrap();
    (dir, store)
}

/// Keeps a temporary directory as long as the store in it.
struct WithSandbox<S>(S, #[allow(dead_code, reason = "held for its drop")] Sandbox);

impl<S: Store> store::StoreDecorator for WithSandbox<S> {
    fn inner(&self) -> &dyn Store {
        &self.0
    }
}

#[test]
fn a_posix_tree() {
    keeps_all_but(&[], &|| {
        let (dir, store) = posix();
        Box::new(WithSandbox(store, dir))
    });
}

#[test]
fn a_tree_in_memory() {
    keeps_all_but(&[], &|| Box::new(MemoryStore::new()));
}

#[test]
fn a_faulty_store_without_faults() {
    let none = || Arc::new(Faults::new(1));
    keeps_all_but(&[], &|| Box::new(FaultyStore::new(MemoryStore::new(), none())));
    keeps_all_but(&[], &|| {
        let (dir, store) = posix();
        Box::new(WithSandbox(FaultyStore::new(store, none()), dir))
    });
}

#[test]
fn a_store_with_short_reads() {
    let short = || Arc::new(Faults::new(1).with_short_reads());
    keeps_all_but(&[], &|| Box::new(FaultyStore::new(MemoryStore::new(), short())));
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
