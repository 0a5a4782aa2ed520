//! Tests of the limits of a job's rate, under real `mpiexec`. A job that is slow for another reason
//! passes them: none asserts that a job is quick. How exact a limit is, is tested under a virtual
//! clock (`common/tests/components/rates.rs`).

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use suite_tests::buckets::{diff, remotes, served, stranger, with};
use suite_tests::job::{Ended, alone, assert_identical, ranks_of, run, tool};
use suite_tests::object_server::Behaviour;
use suite_tests::sandbox::Sandbox;
use suite_tests::sshd::Sshd;
use suite_tests::{need, need_root, trees};

use super::ssh::{there, through};

fn write_noise(tree: &Path, files: usize, bytes: usize) {
    for file in 0..files {
        trees::write(&tree.join(format!("f{file}")), &trees::noise(bytes));
    }
}

/// Time that 8 MiB at 4 MiB per second take at least, less the tokens that a job begins with.
const TWO_SECONDS: Duration = Duration::from_millis(1700);

#[test]
fn no_copy_is_faster_than_its_limit() {
    let work = Sandbox::new();
    let tree = work.path().join("s");
    write_noise(&tree, 6, 1 << 20);
    trees::write(&tree.join("large"), &trees::noise(2 << 20));
    for (count, name, options) in [
        (1, "dcp", ["--bwlimit", "4M"]),
        (3, "dcp", ["--bwlimit", "4096"]),
        (3, "dsync", ["--bwlimit", "4M"]),
        (2, "dcp", ["--iops-limit", "20"]),
    ] {
        let target = work.path().join(format!("{name}{count}{}", options[1]));
        let began = Instant::now();
        let mut job = tool(count, name);
        job.args(["--reflink=never", "-k", "256K"]).args(options);
        run(job.args([&tree, &target])).expect(0);
        let took = began.elapsed();
        assert!(took > TWO_SECONDS, "{name} {options:?} {count}: {took:?}");
        run(alone("dcmp").args(["--ignore", "mtime"]).args([&tree, &target])).expect(0);
    }
}

#[test]
fn what_reads_or_removes_is_not_faster_than_its_limit() {
    let work = Sandbox::new();
    let tree = work.path().join("s");
    write_noise(&tree, 40, 100 << 10);
    let same = work.path().join("t");
    run(std::process::Command::new("cp").arg("-a").args([&tree, &same])).expect(0);
    let (tree, same) = (tree.to_str().unwrap(), same.to_str().unwrap());
    for words in [
        &["dsync", "--xattrs", "none", "--iops-limit", "35", tree, same][..],
        &["dcmp", "--bwlimit", "4M", tree, tree],
        &["dwalk", "--bwlimit", "2M", "--checksum", "sha256", "-o", "/dev/null", tree],
        &["dwalk", "--iops-limit", "20", tree],
        &["drm", "--iops-limit", "20", tree],
    ] {
        let began = Instant::now();
        run(tool(2, words[0]).args(&words[1..])).expect(0);
        let took = began.elapsed();
        assert!(took > TWO_SECONDS, "{words:?}: {took:?}");
    }
}

#[test]
fn a_limit_that_means_nothing_is_refused_in_a_line() {
    let work = Sandbox::new();
    trees::write(&work.path().join("s/f"), b"content");
    for (name, wrong, says) in [
        ("dcp", ["--bwlimit", "fast"], "fast"),
        ("dcp", ["--bwlimit", "08:00,512k 12:00,10M"], "times of day"),
        ("dsync", ["--bwlimit", "10M:off"], "write --bwlimit RATE"),
        ("dcmp", ["--iops-limit", "-1"], "-1"),
        ("drm", ["--bwlimit", "1M"], "write --iops-limit N"),
    ] {
        let mut job = tool(2, name);
        job.current_dir(work.path()).args(wrong).arg("s");
        let ended = run(if name == "drm" { &mut job } else { job.arg("t") }).expect(2);
        assert!(ended.stderr.contains(says), "{name} {wrong:?}: {}", ended.stderr);
        let lines = ended.stderr.lines().filter(|line| line.starts_with(&format!("{name}: ")));
        assert_eq!(lines.count(), 1, "{name} {wrong:?}: {}", ended.stderr);
        assert!(work.path().join("s/f").exists() && !work.path().join("t").exists());
    }
}

#[test]
fn transfers_to_and_from_a_service_are_limited_and_right() {
    let server = served(Behaviour::default());
    let work = Sandbox::new();
    let (tree, back) = (work.path().join("s"), work.path().join("back"));
    write_noise(&tree, 8, 100 << 10);
    // In parts, and read by ranges.
    trees::write(&tree.join("large"), &trees::noise(7 << 20));
    let go = |rate: &str, places: [&str; 2]| {
        let began = Instant::now();
        let mut job = with(&server, 2, "dcp");
        job.args(["-p", "--s3-part-size", "5M", "--bwlimit", rate]);
        run(job.args(places)).expect(0);
        began.elapsed()
    };
    let (there, and_back) = (tree.to_str().unwrap(), back.to_str().unwrap());
    for (rate, places) in [
        ("4M", [there, "s3://data/one"]),
        ("4M:off", [there, "s3://data/two"]),
        ("off:4M", ["s3://data/one/", and_back]),
    ] {
        let took = go(rate, places);
        assert!(took > TWO_SECONDS, "{rate} {places:?}: {took:?}");
    }
    assert_eq!(diff(&tree, &back), "");
    // Limits of the other direction, and copies within the service, of which no byte is moved.
    go("off:1B", [there, "s3://data/three"]);
    go("1B", ["s3://data/one/", "s3://data/four"]);
    run(with(&server, 1, "dcmp").args([there, "s3://data/four"])).expect(0);
}

/// Starts a copy of a tree that is paused, and waits until it says so.
fn paused(count: u32, at: &dyn Fn(&str) -> std::path::PathBuf, target: &Path) -> Child {
    fs::write(at("control"), "pause\n").unwrap();
    let mut job = tool(count, "dcp");
    job.args(["-p", "--progress", "1", "--control-file"]);
    job.args([&at("control"), &at("s"), target]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut job = job.spawn().unwrap();
    let mut lines = BufReader::new(job.stderr.take().unwrap()).lines();
    let line = lines.find(|line| line.as_ref().unwrap().contains("errors 0  paused"));
    assert!(line.is_some(), "the job has ended");
    std::thread::spawn(move || lines.for_each(drop));
    job
}

#[test]
fn a_control_file_pauses_and_resumes_a_job() {
    let work = Sandbox::new();
    let at = |name: &str| work.at(name);
    write_noise(&at("s"), 20, 1000);
    for count in [1, 3] {
        let target = at(&format!("t{count}"));
        let mut job = paused(count, &at, &target);
        assert!(job.try_wait().unwrap().is_none());
        assert_eq!(fs::read_dir(&target).map_or(0, Iterator::count), 0, "{count} ranks");
        fs::write(at("control"), "bwlimit=1G\nresume\n").unwrap();
        assert!(job.wait().unwrap().success());
        assert_identical(&at("s"), &target);
    }
}

#[test]
fn a_paused_job_is_interrupted_as_any_other() {
    let work = Sandbox::new();
    let at = |name: &str| work.at(name);
    write_noise(&at("s"), 20, 1000);
    for signalled in 0..2 {
        let job = paused(2, &at, &at("t"));
        let rank = ranks_of(job.id(), "dcp")[signalled];
        run(std::process::Command::new("kill").arg(rank.to_string())).expect(0);
        let ended = job.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(20), "{signalled}");
        // The ranks end together and in order: one that waits would be left after a while.
        let said = String::from_utf8_lossy(&ended.stdout);
        assert!(said.contains("interrupted"), "{signalled}: {said}");
    }
}

/// A limit that no job reaches, so that all of its work is counted and none of it waits.
const HUGE: [&str; 4] = ["--bwlimit", "1000T", "--iops-limit", "1000000000000"];

/// Returns a count of limited work in a job's summary.
fn counted(ended: &Ended, kind: &str) -> u64 {
    ended.summary()["totals"]["limited"][kind].as_u64().unwrap()
}

#[test]
fn each_request_to_a_service_is_an_operation() {
    // Pages, parts, ranges and refused requests, too.
    let behaviour = Behaviour { page_keys: 3, refuse_every: 7, ..Behaviour::default() };
    let (one, other) = (served(behaviour.clone()), stranger(behaviour));
    for number in 0..10 {
        one.put("data", &format!("tree/d{}/f{number}", number % 3), trees::noise(1000));
    }
    one.put_parts("data", "tree/large", &[&trees::noise(6 << 20), &trees::noise(2 << 20)]);
    for ranks in [1, 3] {
        for words in [
            &["dwalk", "one:data"][..],
            &["dcp", "--s3-part-size", "5M", "one:data/tree", "other:data/copy"],
            &["dsync", "-c", "one:data/tree", "other:data/copy"],
            &["dcmp", "--download", "one:data/tree", "other:data/copy"],
            &["dcp", "one:data/tree", "one:data/same"],
            &["drm", "other:data/copy", "one:data/same"],
        ] {
            for server in [&one, &other] {
                server.reset_counts();
            }
            let job = tool(ranks, words[0]);
            let mut job = remotes(job, [("ONE", &one), ("OTHER", &other)]);
            let limits = if words[0] == "drm" { &HUGE[2..] } else { &HUGE[..] };
            let ended = run(job.args(limits).arg("--json").args(&words[1..])).expect(0);
            let requests = one.counts().total() + other.counts().total();
            assert!(requests > 0);
            assert_eq!(counted(&ended, "operations"), requests, "{words:?} on {ranks} ranks");
        }
    }
}

#[test]
fn bytes_to_and_from_another_host_are_counted_once() {
    need_root!();
    need!(Sshd::is_installed(), "sshd");
    let (sshd, work) = (Sshd::start(""), Sandbox::new());
    write_noise(&work.source(), 5, 100_000);
    trees::write(&work.at("s/large"), &trees::noise(3 << 20));
    let bytes = 5 * 100_000 + (3 << 20);
    let [here, away, back] = [work.source(), work.at("away"), work.at("back")];
    let (here, back) = (here.to_str().unwrap().to_owned(), back.to_str().unwrap().to_owned());
    let away = there(&away);
    let directions = [
        ([&here, &away], "uploaded_bytes", "read"),
        ([&away, &back], "downloaded_bytes", "written"),
    ];
    for ranks in [1, 3] {
        for (places, across, on_this_node) in &directions {
            let mut job = through(&sshd, ranks, "dcp");
            job.args(["-p", "--json", "-k", "1M"]).args(HUGE);
            let target = format!("{}{ranks}", places[1]);
            let source = if places[0] == &away { format!("{away}{ranks}") } else { here.clone() };
            let ended = run(job.args([source, target])).expect(0);
            let node = counted(&ended, &format!("{on_this_node}_bytes"));
            assert_eq!(counted(&ended, across), bytes, "{places:?} {ranks}");
            assert_eq!(node, bytes, "{places:?} {ranks}");
            assert!(counted(&ended, "operations") > 12, "{places:?} {ranks}");
        }
    }
    assert_identical(&work.source(), &work.at("back1"));
}

#[test]
fn transfers_to_another_host_are_not_faster_than_their_limit() {
    need_root!();
    need!(Sshd::is_installed(), "sshd");
    let (sshd, work) = (Sshd::start(""), Sandbox::new());
    write_noise(&work.source(), 8, 1 << 20);
    for (number, limit) in [["--bwlimit", "4M:off"], ["--iops-limit", "20"]].iter().enumerate() {
        let began = Instant::now();
        let mut job = through(&sshd, 2, "dcp");
        job.args(["-k", "256K"]).args(limit).arg(work.source());
        run(job.arg(there(&work.at(format!("t{number}"))))).expect(0);
        assert!(began.elapsed() > TWO_SECONDS, "{limit:?}: {:?}", began.elapsed());
    }
}
