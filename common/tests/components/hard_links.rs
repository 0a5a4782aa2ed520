//! Tests of hard links, at any number of ranks: random trees of them are copied, and synchronised
//! after random changes, and the hard links at the target are those of the source.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::runs::{self, in_session, options, quiet, requested};
use common::run::copy::CopyRequest;
use ops::compare::options::Evidence;
use ops::copy::options::{ChangeTest, HardLinks, JobFacts, SyncOptions};
use suite_tests::sandbox::Sandbox;
use types::exit::Exit;

fn copy(ranks: u32, source: &Path, target: &Path) -> Exit {
    let job = JobFacts::here();
    in_session(ranks, "dcp", |session| {
        let request = CopyRequest {
            sources: vec![source.as_os_str().as_bytes().to_vec()],
            target: target.as_os_str().as_bytes().to_vec(),
            requested: requested(options(HardLinks::Keep, None, job), None),
        };
        common::run::copy::run(session, &request, &quiet())
    })
}

fn sync(ranks: u32, source: &Path, target: &Path, change_test: ChangeTest) -> Exit {
    let criteria = SyncOptions {
        use_server_modtime: false,
        change_test,
        evidence: Evidence::Checksums,
        update: false,
        ignore_existing: false,
        existing: false,
        delete: true,
        modify_window: std::time::Duration::ZERO,
        old_copy: None,
        mirrors: true,
    };
    let options = options(HardLinks::Keep, Some(criteria), JobFacts::here());
    runs::sync(ranks, source, target, &requested(options, None))
}

fn files(tree: &Path) -> Vec<PathBuf> {
    let (mut waiting, mut files) = (vec![tree.to_owned()], Vec::new());
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { waiting.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

/// Content of each file, and the sets of names that are hard links of one file.
type Picture = (BTreeMap<PathBuf, Vec<u8>>, BTreeSet<Vec<PathBuf>>);

fn picture(tree: &Path) -> Picture {
    let (mut contents, mut groups) = (BTreeMap::new(), BTreeMap::<u64, Vec<PathBuf>>::new());
    for path in files(tree) {
        let below = path.strip_prefix(tree).unwrap().to_owned();
        contents.insert(below.clone(), fs::read(&path).unwrap());
        groups.entry(fs::metadata(&path).unwrap().ino()).or_default().push(below);
    }
    (contents, groups.into_values().collect())
}

/// Adds files, and hard links of existing files, in random directories.
fn plant(random: &mut fastrand::Rng, tree: &Path, count: usize) {
    for _ in 0..count {
        let dir = tree.join(format!("d{}/e{}", random.u8(0..5), random.u8(0..3)));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join(format!("f{}", random.u32(..)));
        let others = files(tree);
        if others.is_empty() || random.bool() {
            let length = [0, 1, 99, 100, 101, 1000][random.usize(0..6)];
            fs::write(path, (0..length).map(|_| random.u8(..)).collect::<Vec<u8>>()).unwrap();
        } else {
            fs::hard_link(&others[random.usize(0..others.len())], path).unwrap();
        }
    }
}

/// Changes a copy as its users may: removes, adds and separates hard links, and writes other
/// content.
fn mutate(random: &mut fastrand::Rng, tree: &Path) {
    for path in files(tree) {
        match random.u8(0..8) {
            0 => fs::remove_file(&path).unwrap(),
            1 => {
                let content = fs::read(&path).unwrap();
                fs::remove_file(&path).unwrap();
                fs::write(&path, content).unwrap();
            }
            2 => fs::write(&path, b"else").unwrap(),
            _ => {}
        }
    }
}

#[test]
fn a_copy_has_the_names_grouped_as_the_source_has_them() {
    for seed in 0..40 {
        let mut random = fastrand::Rng::with_seed(seed);
        let work = Sandbox::new();
        let (source, target) = (work.source(), work.target());
        fs::create_dir(&source).unwrap();
        plant(&mut random, &source, 60);
        assert_eq!(copy(random.u32(1..9), &source, &target), Exit::Ok, "seed {seed}");
        assert_eq!(picture(&target), picture(&source), "seed {seed}");
    }
}

#[test]
fn a_target_gets_the_sources_groups_and_a_second_run_changes_nothing() {
    for seed in 0..40 {
        let mut random = fastrand::Rng::with_seed(seed);
        let work = Sandbox::new();
        let (source, target) = (work.source(), work.target());
        fs::create_dir(&source).unwrap();
        plant(&mut random, &source, 50);
        copy(random.u32(1..5), &source, &target);
        mutate(&mut random, &target);
        plant(&mut random, &source, 20);
        let change_test = [ChangeTest::SizeAndTime, ChangeTest::Content][random.usize(0..2)];
        assert_eq!(sync(random.u32(1..9), &source, &target, change_test), Exit::Ok, "seed {seed}");
        assert_eq!(picture(&target), picture(&source), "seed {seed}");
        let inodes = |tree: &Path| -> Vec<u64> {
            files(tree).iter().map(|path| fs::metadata(path).unwrap().ino()).collect()
        };
        let before = inodes(&target);
        assert_eq!(sync(random.u32(1..9), &source, &target, change_test), Exit::Ok, "seed {seed}");
        assert_eq!(inodes(&target), before, "seed {seed}");
    }
}
