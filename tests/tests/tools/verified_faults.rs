//! Tests of storage that lies below a verified copy: writes that are lost, torn, flipped or end up
//! elsewhere, sizes and names that are not set, syncs that do nothing, read-backs with other bytes.
//!
//! Exit 0 implies that a byte by byte comparison finds no difference. `SUITE_SEEDS` tells how many
//! runs there are.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use fastrand::Rng;
use suite_tests::job::{run, tool};
use suite_tests::preload::{Death, Faults};
use suite_tests::seeds;

/// Groups of calls that are affected together. What is verified is never copied within the kernel,
/// since it passes through the sums.
const GROUPS: [&str; 5] = ["pwrite", "pread", "ftruncate", "renameat,linkat", "all"];

/// Tools and options that verify what they write.
const JOBS: [&[&str]; 5] = [
    &["dcp", "-p"],
    &["dcp", "-p", "--fsync"],
    &["dcp", "--sparse=always"],
    &["dcp", "-p", "--inplace"],
    &["dsync", "-c"],
];

/// Creates files of 1 to 5,000,000 bytes, mostly small, some with a hole in them or at their end.
fn write_files(random: &mut Rng, source: &Path) {
    fs::create_dir(source).unwrap();
    for number in 0..random.usize(1..4) {
        let longest = *random.choice(&[10, 5_000, 200_000, 5_000_000]).unwrap();
        let bytes: Vec<u8> = (0..random.usize(1..=longest)).map(|_| random.u8(..)).collect();
        let file = File::create(source.join(number.to_string())).unwrap();
        let hole = if random.bool() { 0 } else { random.u64(1..40) * 4096 };
        let at_end = random.bool();
        file.write_all_at(&bytes, if at_end { 0 } else { hole }).unwrap();
        file.set_len(bytes.len() as u64 + hole).unwrap();
    }
}

/// Returns files of the source that differ from the target's byte by byte.
fn unlike(source: &Path, target: &Path) -> Vec<String> {
    let names = fs::read_dir(source).unwrap().map(|entry| entry.unwrap().file_name());
    let content = |dir: &Path, name: &OsStr| fs::read(dir.join(name)).ok();
    names
        .filter(|name| content(source, name.as_ref()) != content(target, name.as_ref()))
        .map(|name| format!("{} differs", name.display()))
        .collect()
}

fn verified_copy(random: &mut Rng) -> Vec<String> {
    let work = seeds::work();
    let [source, target, log] = ["s", "t", "log"].map(|name| work.path().join(name));
    write_files(random, &source);
    fs::create_dir(&target).unwrap();
    if random.u8(..3) == 0 {
        // What is replaced, or written into.
        fs::write(target.join("0"), vec![b'o'; random.usize(..300_000)]).unwrap();
    }
    let job = *random.choice(&JOBS).unwrap();
    let faults = Faults {
        roots: &[&target],
        seed: random.u64(..),
        every: *random.choice(&[1, 2, 5, 20]).unwrap(),
        calls: random.choice(GROUPS).unwrap(),
        kinds: random.choice(["lie", "lose", "spill", "lose,lie,short,spill"]).unwrap(),
        log: &log,
    };
    let mut command = tool(random.u32(1..=3), job[0]);
    command.args(&job[1..]).arg("--verify=transferred");
    if random.bool() {
        command.args(["-k", "64KiB"]);
    }
    let ended = run(faults.strike(&mut command).arg(source.join("")).arg(&target));
    let mut wrong = match ended.code {
        Some(0) => unlike(&source, &target),
        Some(3 | 23) => Vec::new(),
        _ => vec![format!("exit {:?}", ended.code)],
    };
    if faults.struck().is_empty() && ended.code != Some(0) {
        wrong.push("nothing was struck, and the copy failed".to_owned());
    }
    if !wrong.is_empty() {
        wrong.push(format!("in {}, {job:?} {ended:?}", work.path().display()));
        wrong.push(faults.struck().join("\n  "));
    }
    wrong
}

/// Checks that a late write that damages chunks that were right before is noticed: the copy must
/// not get its final name.
#[test]
fn writes_that_spill_into_earlier_chunks_are_seen() {
    let mut damaged = 0;
    for seed in 0..12 {
        let work = seeds::work();
        let [source, target, log] = ["s", "t", "log"].map(|name| work.path().join(name));
        fs::create_dir(&source).unwrap();
        fs::write(source.join("f"), suite_tests::trees::noise(1_000_000)).unwrap();
        fs::create_dir(&target).unwrap();
        let (roots, every) = ([&*target], 1 + seed % 4);
        let (calls, kinds) = ("pwrite", "spill");
        let faults = Faults { roots: &roots, seed, every, calls, kinds, log: &log };
        let mut command = tool(1 + seed as u32 % 3, "dcp");
        command.args(["-p", "-k", "64KiB", "--threads=1", "--verify=transferred"]);
        let ended = run(faults.strike(&mut command).arg(source.join("")).arg(&target));
        match ended.code {
            Some(23) => damaged += 1,
            code => assert_eq!((code, unlike(&source, &target)), (Some(0), Vec::new()), "{seed}"),
        }
    }
    assert!(damaged > 6, "{damaged} of 12 copies were damaged");
}

/// Checks that chunks of an interrupted job are read when it is resumed, and again when the others
/// are written.
#[test]
fn writes_that_spill_into_chunks_of_an_interrupted_job_are_seen() {
    let work = seeds::work();
    let [source, target, journal, log] = ["s", "t", "j", "log"].map(|name| work.path().join(name));
    fs::create_dir(&source).unwrap();
    fs::write(source.join("f"), suite_tests::trees::noise(2_000_000)).unwrap();
    fs::create_dir(&target).unwrap();
    let copy = || {
        let mut command = tool(1, "dcp");
        command.args(["-p", "--json", "-k", "64KiB", "--threads=1", "--verify=transferred"]);
        command.arg("--resume").arg("--journal").args([&journal, &source.join(""), &target]);
        command
    };
    // Most chunks are there by then.
    let (at, signal) = (150, 9);
    let killed = run(&mut Death { root: &target, at, signal }.of_rank(copy()));
    assert_ne!(killed.code, Some(0));
    let (roots, calls, kinds) = ([&*target], "pwrite", "spill");
    let faults = Faults { roots: &roots, seed: 3, every: 1, calls, kinds, log: &log };
    let ended = run(faults.strike(&mut copy())).expect(23);
    let resumed = ended.summary()["totals"]["resumed_bytes"].as_u64().unwrap();
    assert!(resumed > 1_000_000 && !faults.struck().is_empty(), "{resumed}");
    // What was damaged is not kept for the next job.
    run(&mut copy()).expect(0);
    assert_eq!(unlike(&source, &target), Vec::<String>::new());
}

#[test]
fn a_verified_copy_is_right_or_says_that_it_is_not() {
    seeds::each(60, verified_copy);
}
