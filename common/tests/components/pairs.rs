//! Tests of dsync and dcmp on random trees and random changes of them, over ranks that are threads
//! of this process, against a model that is a few lines of maps.

use crate::trees;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::runs::{self, compare_options, filters, in_session, options, quiet, requested};
use crate::trees::{Entry, Picture};
use common::run::compare::CompareRequest;
use common::surface::named_args::NamedArgs;
use ops::compare::options::{CompareOptions, Evidence};
use ops::copy::options::{ChangeTest, HardLinks, JobFacts, SyncOptions};
use posix::PosixStore;
use store::opening::OpenAs;
use store::opening::Symlinks;
use suite_tests::sandbox::Sandbox;
use types::entry::{Kind, Time, Times};
use types::exit::Exit;
use types::listed::line::LineFormat;
use types::path::escaped;

fn store(path: &Path) -> PosixStore {
    PosixStore::open(path.as_os_str().as_bytes(), OpenAs::default()).unwrap()
}

fn build(picture: &Picture, path: &Path) {
    std::fs::create_dir(path).unwrap();
    trees::build(picture, &store(path));
}

fn sync(
    ranks: u32,
    source: &Path,
    target: &Path,
    criteria: &SyncOptions,
    exclude: Option<&str>,
) -> Exit {
    let options = options(HardLinks::Separate, Some(criteria.clone()), JobFacts::here());
    runs::sync(ranks, source, target, &requested(options, exclude))
}

/// Compares; returns the exit code and the lines of the combined list.
fn compare(ranks: u32, source: &Path, target: &Path, list: &Path) -> (Exit, BTreeSet<String>) {
    let request = CompareRequest {
        source: source.as_os_str().as_bytes().to_vec(),
        target: target.as_os_str().as_bytes().to_vec(),
        own: None,
        symlinks: Symlinks::Follow,
        options: CompareOptions { combined: Some(LineFormat::Text), ..compare_options() },
        filters: filters(None),
        named: NamedArgs::default(),
        combined: Some(list.as_os_str().as_bytes().to_vec()),
        outputs: Vec::new(),
    };
    let exit =
        in_session(ranks, "dcmp", |session| common::run::compare::run(session, &request, &quiet()));
    let text = std::fs::read_to_string(list).unwrap();
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let unique: BTreeSet<String> = lines.iter().cloned().collect();
    assert_eq!(lines.len(), unique.len(), "an entry has two lines");
    (exit, unique)
}

/// Changes a tree at random, as a user does between two synchronisations.
fn mutate(random: &mut fastrand::Rng, picture: &mut Picture) {
    let paths: Vec<Vec<u8>> = picture.keys().filter(|path| !path.is_empty()).cloned().collect();
    for path in paths {
        let Some(entry) = picture.get_mut(&path) else { continue };
        match random.u8(0..30) {
            0 => remove_tree(picture, &path),
            1 => {
                remove_tree(picture, &path);
                picture.insert(path, trees::random_entry(random));
            }
            2 => entry.attributes = trees::random_attributes(random, entry.kind),
            3 if entry.kind != Kind::Directory && !entry.content.is_empty() => {
                // Same size, same times: only its bytes tell.
                let at = random.usize(0..entry.content.len());
                entry.content[at] ^=
                    if entry.kind == Kind::File { 1 << random.u8(0..8) } else { 1 };
            }
            4 => {
                let time = Time { seconds: random.i64(0..99), nanoseconds: 7 };
                entry.attributes.times = Some(Times { atime: time, mtime: time });
            }
            5 | 6 => drift(random, entry),
            _ => {}
        }
    }
    for _ in 0..random.usize(0..20) {
        trees::plant(random, picture);
    }
}

/// Changes one attribute alone.
fn drift(random: &mut fastrand::Rng, entry: &mut Entry) {
    let other = trees::random_attributes(random, entry.kind);
    match random.u8(0..3) {
        0 => entry.attributes.owner = other.owner,
        1 => entry.attributes.mode = other.mode,
        _ => entry.attributes.xattrs = other.xattrs,
    }
}

fn below(path: &[u8], above: &[u8]) -> bool {
    path.strip_prefix(above)
        .is_some_and(|rest| rest.is_empty() || above.is_empty() || rest[0] == b'/')
}

fn remove_tree(picture: &mut Picture, path: &[u8]) {
    picture.retain(|other, _| !below(other, path));
}

/// Models dsync: returns the target afterwards, and whether anything must fail.
fn model(source: &Picture, target: &Picture, criteria: &SyncOptions) -> (Picture, bool) {
    let mut result = target.clone();
    if criteria.delete {
        result.retain(|path, _| source.contains_key(path));
    }
    let (mut failed, mut refused) = (false, Vec::<Vec<u8>>::new());
    for (path, wanted) in source {
        if refused.iter().any(|above| below(path, above)) {
            continue;
        }
        let is_full = target.keys().any(|other| other != path && below(other, path));
        match target.get(path) {
            Some(old) if old.kind == Kind::Directory && wanted.kind != Kind::Directory => {
                if is_full && !criteria.delete {
                    failed = true;
                    refused.push(path.clone());
                    continue;
                }
                remove_tree(&mut result, path);
            }
            Some(old)
                if old.kind == wanted.kind && is_unchanged(old, wanted, criteria.change_test) =>
            {
                let kept = Entry { content: old.content.clone(), ..wanted.clone() };
                result.insert(path.clone(), kept);
                continue;
            }
            _ => {}
        }
        result.insert(path.clone(), wanted.clone());
    }
    (result, failed)
}

fn is_unchanged(old: &Entry, wanted: &Entry, change_test: ChangeTest) -> bool {
    let same_size = old.kind == Kind::File && old.content.len() == wanted.content.len();
    match change_test {
        ChangeTest::SizeOnly => same_size,
        ChangeTest::SizeAndTime => same_size && old.attributes.times == wanted.attributes.times,
        ChangeTest::Content => false,
    }
}

/// Models dcmp: returns a line for each path.
fn comparison(source: &Picture, target: &Picture) -> BTreeSet<String> {
    let paths: BTreeSet<&Vec<u8>> = source.keys().chain(target.keys()).collect();
    let line = |path: &&Vec<u8>| {
        let shown = if path.is_empty() { ".".to_owned() } else { escaped(path) };
        match (source.get(*path), target.get(*path)) {
            (Some(_), None) => format!("+ {shown}"),
            (None, _) => format!("- {shown}"),
            (Some(a), Some(b)) => match differing(a, b) {
                fields if fields.is_empty() => format!("= {shown}"),
                fields => format!("* {shown}\t{}", fields.join(",")),
            },
        }
    };
    paths.iter().map(line).collect()
}

fn differing(a: &Entry, b: &Entry) -> Vec<&'static str> {
    let is_same_kind = a.kind == b.kind;
    let is_either = |kind: Kind| a.kind == kind || b.kind == kind;
    let owner = |entry: &Entry| entry.attributes.owner.unwrap();
    let is_file = is_same_kind && a.kind == Kind::File;
    let same_size = a.content.len() == b.content.len();
    let other_size =
        if is_same_kind { is_file && !same_size } else { is_either(Kind::Directory) || !same_size };
    let checks = BTreeMap::from([
        ((-1, "TYPE"), !is_same_kind),
        ((0, "SIZE"), other_size),
        ((1, "UID"), owner(a).uid != owner(b).uid),
        ((2, "GID"), owner(a).gid != owner(b).gid),
        ((3, "MTIME"), a.attributes.times != b.attributes.times),
        ((4, "PERM"), !is_either(Kind::Symlink) && a.attributes.mode != b.attributes.mode),
        ((5, "CONTENT"), is_file && same_size && a.content != b.content),
        ((6, "XATTR"), !is_either(Kind::Symlink) && a.attributes.xattrs != b.attributes.xattrs),
        ((7, "LINK"), is_either(Kind::Symlink) && (!is_same_kind || a.content != b.content)),
    ]);
    checks.into_iter().filter(|(_, differs)| *differs).map(|((_, name), _)| name).collect()
}

fn random_criteria(random: &mut fastrand::Rng) -> SyncOptions {
    SyncOptions {
        use_server_modtime: false,
        change_test: [ChangeTest::SizeAndTime, ChangeTest::SizeOnly, ChangeTest::Content]
            [random.usize(0..3)],
        evidence: Evidence::Checksums,
        update: false,
        ignore_existing: false,
        existing: false,
        delete: random.bool(),
        modify_window: std::time::Duration::ZERO,
        old_copy: None,
        mirrors: true,
    }
}

#[test]
fn a_synchronised_target_is_what_the_model_says_and_a_second_run_changes_nothing() {
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let work = Sandbox::new();
        let (source, target) = (work.source(), work.target());
        let wanted = trees::random_tree(&mut random);
        let mut old = wanted.clone();
        mutate(&mut random, &mut old);
        build(&wanted, &source);
        build(&old, &target);
        let criteria = random_criteria(&mut random);
        let (expected, must_fail) = model(&wanted, &old, &criteria);
        let exit = sync(random.u32(1..9), &source, &target, &criteria, None);
        assert_eq!(exit == Exit::Partial, must_fail, "seed {seed}: {exit:?}");
        assert_same(&trees::picture(&store(&target)), &expected, seed);
        let again = sync(random.u32(1..9), &source, &target, &criteria, None);
        assert_eq!(exit, again, "seed {seed}");
        assert_same(&trees::picture(&store(&target)), &expected, seed);
        assert_same(&trees::picture(&store(&source)), &wanted, seed);
    }
}

#[track_caller]
fn assert_same(got: &Picture, expected: &Picture, seed: u64) {
    let unlike: Vec<_> = got
        .keys()
        .chain(expected.keys())
        .filter(|path| got.get(*path) != expected.get(*path))
        .map(|path| format!("{}: {:?} / {:?}", escaped(path), got.get(path), expected.get(path)))
        .collect();
    assert!(unlike.is_empty(), "seed {seed}: got / expected\n{}", unlike.join("\n"));
}

#[test]
fn what_a_filter_protects_is_neither_copied_nor_deleted() {
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let work = Sandbox::new();
        let (source, target) = (work.source(), work.target());
        let wanted = trees::random_tree(&mut random);
        let mut old = wanted.clone();
        mutate(&mut random, &mut old);
        build(&wanted, &source);
        build(&old, &target);
        let glob = "n1*";
        let is_out =
            |path: &Vec<u8>| path.split(|byte| *byte == b'/').any(|name| name.starts_with(b"n1"));
        let criteria = SyncOptions {
            delete: true,
            change_test: ChangeTest::Content,
            ..random_criteria(&mut random)
        };
        sync(random.u32(1..5), &source, &target, &criteria, Some(glob));
        let got = trees::picture(&store(&target));
        for (path, entry) in old.iter().filter(|(path, _)| is_out(path)) {
            // What is in a directory that a file has replaced went with it.
            let is_replaced = wanted.iter().any(|(above, entry)| {
                entry.kind != Kind::Directory
                    && !is_out(above)
                    && path != above
                    && below(path, above)
            });
            assert!(is_replaced || got.get(path) == Some(entry), "seed {seed}: {}", escaped(path));
        }
        for path in got.keys().filter(|path| is_out(path)) {
            assert!(old.contains_key(path), "seed {seed}: {} was copied", escaped(path));
        }
        for (path, entry) in
            wanted.iter().filter(|(path, entry)| !is_out(path) && entry.kind != Kind::Directory)
        {
            assert_eq!(got.get(path), Some(entry), "seed {seed}: {}", escaped(path));
        }
    }
}

#[test]
fn a_comparison_says_of_every_path_what_the_model_says() {
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let work = Sandbox::new();
        let (source, target) = (work.source(), work.target());
        let one = trees::random_tree(&mut random);
        let mut other = one.clone();
        if seed % 10 > 0 {
            mutate(&mut random, &mut other);
        }
        build(&one, &source);
        build(&other, &target);
        let (exit, lines) = compare(random.u32(1..9), &source, &target, &work.at("list"));
        let expected = comparison(&one, &other);
        assert_eq!(lines, expected, "seed {seed}");
        let differs = expected.iter().any(|line| !line.starts_with('='));
        assert_eq!(exit, if differs { Exit::Different } else { Exit::Ok }, "seed {seed}");
    }
}

#[test]
fn a_flipped_bit_is_found_wherever_it_is_and_in_no_other_file() {
    let work = Sandbox::new();
    let (source, target) = (work.source(), work.target());
    let mut random = fastrand::Rng::with_seed(1);
    let tree = trees::random_tree(&mut random);
    build(&tree, &source);
    build(&tree, &target);
    let files: Vec<(&Vec<u8>, &Entry)> = tree
        .iter()
        .filter(|(_, entry)| entry.kind == Kind::File && !entry.content.is_empty())
        .collect();
    for round in 0..150 {
        let (path, entry) = files[random.usize(0..files.len())];
        let length = entry.content.len();
        let edges = [0, length - 1, length.min(100) - 1, length.min(101) - 1, length.min(64) - 1];
        let at = if round < 75 { edges[round % 5] } else { random.usize(0..length) };
        let file_path = target.join(std::ffi::OsStr::from_bytes(path));
        flip(&file_path, at, 1 << random.u8(0..8), entry);
        let (exit, lines) = compare(random.u32(1..9), &source, &target, &work.at("list"));
        let different: Vec<&String> = lines.iter().filter(|line| !line.starts_with('=')).collect();
        assert_eq!(different, [&format!("* {}\tCONTENT", escaped(path))], "byte {at} of {length}");
        assert_eq!(exit, Exit::Different);
        // Back to what it was.
        std::fs::write(&file_path, &entry.content).unwrap();
        flip(&file_path, 0, 0, entry);
    }
}

/// Changes bits of one byte; size and times stay.
fn flip(path: &Path, at: usize, bits: u8, entry: &Entry) {
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&[entry.content[at] ^ bits], at as u64).unwrap();
    let Times { mtime, .. } = entry.attributes.times.unwrap();
    let stamp = rustix::fs::Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanoseconds.into() };
    let stamps = rustix::fs::Timestamps { last_access: stamp, last_modification: stamp };
    rustix::fs::futimens(&file, &stamps).unwrap();
}
