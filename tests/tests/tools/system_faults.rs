//! Tests with system calls that fail, are interrupted, or move fewer bytes than requested, below
//! everything that the tools and their libraries do.
//!
//! Exit 0 implies that source and target are equal, as an independent judge sees them; no
//! incomplete file has its final name; no staged file stays; and failures are reported, with path
//! and reason. `SUITE_SEEDS` tells how many runs there are.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use fastrand::Rng;
use suite_tests::job::{Ended, alone, run, tool};
use suite_tests::judge::{Picture, differences, picture, shown};
use suite_tests::need_root;
use suite_tests::preload::Faults;
use suite_tests::random_trees::RandomTree;
use suite_tests::{seeds, trees};

/// Calls that report lost writes: few of a job's, each of which counts.
const LAST_WORDS: [&str; 2] = ["close,close_unwritten", "fsync,fdatasync,syncfs"];

/// Groups of calls that are affected together; each group is one in many seeds, all of them is
/// another.
const GROUPS: [&str; 10] = [
    "all",
    "open,openat,openat2",
    "read,pread,write,pwrite,copy_file_range,ioctl",
    "lseek,ftruncate,fallocate",
    LAST_WORDS[0],
    LAST_WORDS[1],
    "fstat,fstatat,statx,getdents64,fstatfs,readlinkat",
    "fchmod,fchmodat,fchown,fchownat,futimens,utimensat",
    "flistxattr,llistxattr,listxattrat,fgetxattr,lgetxattr,fsetxattr,lsetxattr,fremovexattr,lremovexattr",
    "mkdirat,mknodat,symlinkat,linkat,renameat,unlinkat",
];

/// Tools with their options; each makes the target equal.
const JOBS: [&[&str]; 6] = [
    &["dcp", "-a"],
    &["dcp", "-a", "--fsync", "--threads=1"],
    &["dcp", "-a", "-k", "64KiB", "--sparse=always"],
    &["dcp", "-a", "-k", "64KiB", "--verify=transferred"],
    &["dsync", "-acD"],
    &["dsync", "-acD", "-k", "64KiB", "--fsync"],
];

fn seen(path: &Path) -> Picture {
    let mut seen = if path.exists() { picture(path) } else { Picture::new() };
    for entry in seen.values_mut() {
        entry.data.clear();
    }
    seen
}

/// Checks that interrupted calls are repeated, and that the rest of short ones is moved.
#[test]
fn interrupted_and_short_calls_are_no_errors() {
    need_root!();
    seeds::each(80, |random| {
        let every = random.u64(2..8);
        struck(random, "interrupt,short", every, |ended, _, _| {
            (ended.code != Some(0)).then(|| "an error".to_owned()).into_iter().collect()
        })
    });
}

#[test]
fn calls_that_fail_are_told_and_leave_nothing_half_done() {
    need_root!();
    seeds::each(220, |random| {
        let every = *random.choice(&[3, 10, 30, 100]).unwrap();
        struck(random, "fail,interrupt,short", every, told)
    });
}

/// Checks copies within the kernel: of files that are larger than those of random trees, and on a
/// disk, since they are not used in memory.
#[test]
fn copies_within_the_kernel_are_continued_or_told() {
    need_root!();
    let struck = AtomicU64::new(0);
    seeds::each(12, |random| {
        let work = seeds::work_on_disk();
        let [source, target, log] = [work.source(), work.target(), work.at("log")];
        let content = trees::noise(random.usize(1 << 20..3 << 20));
        trees::write(&source.join("file"), &content);
        let roots = [&*source, &*target];
        let (seed, every) = (random.u64(..), random.u64(1..4));
        let (calls, kinds) = ("copy_file_range", "fail,interrupt,short");
        let faults = Faults { roots: &roots, seed, every, calls, kinds, log: &log };
        let ended = run(faults.strike(&mut alone("dcp")).args([&source, &target]));
        struck.fetch_add(faults.struck().len() as u64, Ordering::Relaxed);
        let mut wrong = told(&ended, &faults, "dcp");
        let copied = std::fs::read(target.join("file")).ok();
        let is_wrong = copied.as_ref().map_or(ended.code == Some(0), |copied| *copied != content);
        wrong.extend(is_wrong.then(|| format!("the copy is another one: {ended:?}")));
        wrong
    });
    let is_struck = struck.into_inner() > 0;
    assert!(is_struck || seeds::is_alone(), "copy_file_range was not affected");
}

/// Runs a job whose calls are affected, and returns its faults.
fn struck(
    random: &mut Rng,
    kinds: &str,
    every: u64,
    law: impl Fn(&Ended, &Faults<'_>, &str) -> Vec<String>,
) -> Vec<String> {
    let work = seeds::work();
    let [source, target, log] = ["s", "t", "log"].map(|name| work.path().join(name));
    let tree = RandomTree::new(random);
    tree.write(&source);
    let groups = if random.u8(..5) == 0 { &LAST_WORDS[..] } else { &GROUPS };
    let calls = *random.choice(groups).unwrap();
    let is_last_word = LAST_WORDS.contains(&calls);
    let every = if is_last_word { every.min(10) } else { every };
    let mut jobs = JOBS.to_vec();
    jobs.retain(|job| !is_last_word || job.contains(&"--fsync"));
    let job = random.choice(jobs).unwrap();
    if job[0] == "dsync" && random.bool() {
        tree.drifted(random).write(&target);
    }
    let before = [&source, &target].map(|path| seen(path));
    let ranks = if random.u8(..12) == 0 { 3 } else { 1 };
    let roots = [&*source, &*target];
    let faults = Faults { roots: &roots, seed: random.u64(..), every, calls, kinds, log: &log };
    let go = |command: &mut Command| run(command.args(&job[1..]).args([&source, &target]));
    let ended = go(faults.strike(&mut tool(ranks, job[0])));
    let after = seen(&target);
    let mut wrong = law(&ended, &faults, job[0]);
    if ended.code == Some(0) {
        wrong.extend(differences(&before[0], &after));
    }
    wrong.extend(partial(&before, &after, &faults));
    // Whatever has happened, jobs without faults mend it: also where what was staged could not be
    // removed.
    run(alone("dcp").args(["--clean", "--min-age=0s"]).arg(&target));
    let again = run(tool(1, "dsync").arg("-acD").args([&source, &target]));
    if again.code != Some(0) {
        wrong.push(format!("afterwards: {again:?}"));
    }
    wrong.extend(differences(&before[0], &seen(&target)));
    wrong.extend(differences(&before[0], &seen(&source)));
    if !wrong.is_empty() {
        wrong.push(format!("in {}, {job:?} {ended:?}", work.path().display()));
        wrong.push(faults.struck().join("\n  "));
    }
    wrong
}

/// Returns entries of the target that are incomplete, or have no final name.
fn partial(before: &[Picture; 2], after: &Picture, faults: &Faults<'_>) -> Vec<String> {
    let is_staged = |path: &Path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".dcp."))
    };
    // What cannot be removed stays.
    let may_stay = faults.struck().iter().any(|line| line.starts_with("unlinkat fail"));
    let mut wrong = Vec::new();
    for (path, entry) in after {
        let is_as_in = |tree: &Picture| {
            tree.get(path)
                .is_some_and(|other| other.kind == entry.kind && other.content == entry.content)
        };
        if is_staged(path) {
            wrong.extend((!may_stay).then(|| format!("{} is left", shown(path))));
        } else if !before.iter().any(is_as_in) {
            wrong.push(format!("{} is neither the source's nor what was there", shown(path)));
        }
    }
    wrong
}

/// Returns the lost writes that storage has reported, and that could not be noticed otherwise.
fn unsettled(faults: &Faults<'_>) -> Vec<String> {
    let is_lost = |line: &String| {
        ["close fail", "fsync fail", "syncfs fail"].iter().any(|call| line.starts_with(call))
    };
    faults.struck().into_iter().filter(is_lost).map(|line| format!("passed over: {line}")).collect()
}

/// Checks that each failure has a line with path and reason, and that the exit code tells that
/// there are some.
fn told(ended: &Ended, faults: &Faults<'_>, tool: &str) -> Vec<String> {
    let lines = ended.stderr.lines().filter(|line| line.starts_with(&format!("{tool}: ")));
    let has_path_and_reason = |line: &str| {
        let (_, quoted) = line.split_once('"').unwrap_or_default();
        let (path, said) = quoted.split_once('"').unwrap_or_default();
        !path.is_empty() && said.contains(": ")
    };
    let is_told = lines.clone().any(has_path_and_reason);
    match ended.code {
        Some(0) => unsettled(faults),
        Some(3 | 23) if is_told => Vec::new(),
        _ => vec![format!("exit {:?}", ended.code)],
    }
}
