//! Tests of jobs over two nodes, each with a network and a host name of its own, and of jobs that
//! lose one of them: the work is shared, a file that a lost node leaves is complete or has no final
//! name, and the next job does only the rest.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use suite_tests::job::{Ended, assert_identical, run};
use suite_tests::mounts::SlowDisk;
use suite_tests::nodes::{Cable, Nodes};
use suite_tests::sandbox::Sandbox;
use suite_tests::trees::{noise, small_files, write};
use suite_tests::unfinished::{
    assert_nothing_left, assert_same_tree, files_in, is_staged, totals, written,
};
use suite_tests::waiting::wait_within;
use suite_tests::{need_hydra, need_root};

const RANKS_EACH: usize = 2;

/// Runs a tool on both nodes and returns how much of a count each of them has done.
fn shares(nodes: &Nodes, words: &[&str], what: &str) -> (Ended, [u64; 2]) {
    let mut command = nodes.tool(&[1, 2], RANKS_EACH, words[0]);
    let ended = run(command.arg("--json").args(&words[1..])).expect(0);
    let summary = ended.summary();
    assert_eq!((&summary["exit_code"], &summary["nodes"]), (&0.into(), &2.into()), "{ended:?}");
    let mut shares = BTreeMap::new();
    for rank in summary["ranks"].as_array().unwrap() {
        let (ranks, done) = shares.entry(rank["host"].as_str().unwrap()).or_insert((0, 0));
        *ranks += 1;
        *done += rank["totals"][what].as_u64().unwrap();
    }
    let shares = [1, 2].map(|number| shares[&*nodes.name(number)]);
    assert!(shares.iter().all(|(ranks, _)| *ranks == RANKS_EACH));
    (ended, shares.map(|(_, done)| done))
}

#[test]
fn two_nodes_share_the_work() {
    need_root!();
    need_hydra!();
    let (work, nodes) = (Sandbox::new(), Nodes::start(2));
    let [source, target] = [work.source(), work.target()];
    write(&source.join("large"), &noise(24 << 20));
    small_files(&source, 40, 10);
    // Where storage is fast, all may be done before the other node has asked.
    let slow = SlowDisk::mount(work.path(), Duration::from_millis(2));
    let (from, to) = (slow.path().join("s"), slow.path().join("t"));
    let [from, to] = [&from, &to].map(|path| path.to_str().unwrap());
    let both_did = |words: &[&str], what: &str| {
        let (ended, shares) = shares(&nodes, words, what);
        assert!(shares.iter().all(|share| *share > 0), "{words:?}: {shares:?} {what}");
        ended
    };
    both_did(&["dwalk", from], "examined");
    let chunked = ["dcp", "-a", "--chunksize=256KiB", from, to];
    both_did(&chunked, "chunks");
    assert_identical(&source, &target);
    both_did(&["dcmp", from, to], "examined");
    let mirror = slow.path().join("t");
    fs::remove_dir_all(mirror.join("d0003")).unwrap();
    fs::remove_file(mirror.join("large")).unwrap();
    write(&mirror.join("extra"), b"only here");
    let ended = both_did(&["dsync", "-D", "--chunksize=256KiB", from, to], "chunks");
    assert_eq!(ended.summary()["totals"]["copied"]["files"], 11);
    assert_identical(&source, &target);
}

/// Checks that jobs leave MPI as soon as their work is done: without a pause, MPICH 4.0 over TCP
/// did not let every third one go (docs/resuming.md).
#[test]
fn jobs_of_two_nodes_end_when_their_work_is_done() {
    need_root!();
    need_hydra!();
    let (work, nodes) = (Sandbox::new(), Nodes::start(2));
    small_files(&work.source(), 40, 10);
    for _ in 0..8 {
        let mut command = nodes.tool(&[1, 2], RANKS_EACH, "dwalk");
        let ended = run(command.arg("-q").arg(work.source())).expect(0);
        assert_eq!(ended.stderr, "");
    }
}

const CHUNK_BYTES: u64 = 256 << 10;
const THREADS: u64 = 2;

/// Returns a copy with a journal, on some of the nodes, with buffers so small that it takes a
/// while.
fn copy(nodes: &Nodes, numbers: &[usize], ranks_each: usize, work: &Path) -> Command {
    let mut command = nodes.tool(numbers, ranks_each, "dcp");
    command.args(["-p", "--json", "--chunksize=256KiB", "--bufsize=256"]);
    command.arg(format!("--threads={THREADS}")).arg("--journal").arg(work.join("journal"));
    command.args([work.join("s"), work.join("t")]);
    command
}

/// Returns true where a large file is half written and both ranks of a node have recorded chunks of
/// it.
fn is_under_way(work: &Path, number: usize) -> bool {
    let size_of = |path: &Path| fs::metadata(path).map_or(0, |found| found.blocks() * 512);
    let is_half = |path: &Path| is_staged(path) && size_of(path) > 4 << 20;
    let ranks = (number - 1) * RANKS_EACH..number * RANKS_EACH;
    let logs = files_in(&work.join("journal"));
    let has_log = |rank: usize| {
        let is_log = |path: &Path| path.to_string_lossy().ends_with(&format!(".{rank}.log"));
        logs.iter().any(|path| is_log(path) && size_of(path) > 0)
    };
    files_in(&work.join("t")).iter().any(|path| is_half(path)) && ranks.into_iter().all(has_log)
}

/// Starts a copy over both nodes and takes one away; the job's output goes to a file.
fn begin_and_lose(nodes: &mut Nodes, lost: usize, cable: Cable, work: &Path) -> Child {
    write(&work.join("s/large"), &noise(64 << 20));
    small_files(&work.join("s/small"), 20, 20);
    let mut command = copy(nodes, &[1, 2], RANKS_EACH, work);
    let said = fs::File::create(work.join("said")).unwrap();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
    let mut job = command.spawn().unwrap();
    wait_within(&mut job, "a node has copied chunks", || is_under_way(work, lost));
    nodes.lose(lost, cable);
    job
}

fn said_by(work: &Path) -> String {
    fs::read_to_string(work.join("said")).unwrap()
}

/// Returns how a job ended that must not hang.
fn end_of(job: &mut Child, work: &Path) -> ExitStatus {
    let began = Instant::now();
    loop {
        if let Some(status) = job.try_wait().unwrap() {
            return status;
        }
        if began.elapsed() > Duration::from_mins(1) {
            job.kill().unwrap();
            panic!("what is left of the job hangs; it said:\n{}", said_by(work));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs the same command on the other node: it completes the copy, and copies hardly anything
/// twice.
fn go_on(nodes: &Nodes, lost: usize, work: &Path) {
    let (source, target, left) = (work.join("s"), work.join("t"), 3 - lost);
    assert!(!target.join("large").exists());
    let before = written(&source, &target);
    let ended = run(&mut copy(nodes, &[left], 3, work)).expect(0);
    assert!(!work.join("journal").exists());
    assert!(totals(&ended, "resumed_bytes") > 0);
    let twice = (before + totals(&ended, "copied_bytes")).saturating_sub(written(&source, &source));
    let allowed = 2 * CHUNK_BYTES * THREADS * 2 * RANKS_EACH as u64;
    assert!(twice <= allowed, "{twice} bytes were copied twice");
    assert_nothing_left(&target);
    assert_same_tree(&source, &target);
}

#[test]
fn a_node_is_lost_in_silence_and_the_next_job_does_only_the_rest() {
    need_root!();
    need_hydra!();
    // The node of rank 0, too.
    for lost in [2, 1] {
        let (work, mut nodes) = (Sandbox::new(), Nodes::start(2));
        let mut job = begin_and_lose(&mut nodes, lost, Cable::Pulled, work.path());
        // As a batch system does it. Nobody knows of the loss, so what is left would wait.
        run(Command::new("kill").args(["-TERM", &job.id().to_string()])).expect(0);
        let status = end_of(&mut job, work.path());
        assert!(!status.success());
        go_on(&nodes, lost, work.path());
    }
}

#[test]
fn a_job_whose_node_tells_of_its_end_ends_by_itself() {
    need_root!();
    need_hydra!();
    let (work, mut nodes) = (Sandbox::new(), Nodes::start(2));
    let mut job = begin_and_lose(&mut nodes, 2, Cable::Intact, work.path());
    let status = end_of(&mut job, work.path());
    assert!(!status.success());
    go_on(&nodes, 2, work.path());
}
