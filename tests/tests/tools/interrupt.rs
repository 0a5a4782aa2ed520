//! Tests of interrupted jobs, as batch systems interrupt them before the walltime ends: operations
//! in progress end, no partial file has its final name, and the exit code tells. The next job does
//! the rest.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use suite_tests::buckets::{BUCKET, diff, go, served, text, with};
use suite_tests::job::{Ended, program, ranks_of, run};
use suite_tests::object_server::{Behaviour, ObjectServer, Operation};
use suite_tests::sandbox::Sandbox;
use suite_tests::trees;
use suite_tests::unfinished::{begin, files_in as all_in, is_staged};
use suite_tests::waiting::{wait_until, wait_within};

const FILES: usize = 600;

fn files_in(tree: &Path) -> Vec<String> {
    let found = run(Command::new("find").arg(tree).args(["-type", "f", "-printf", "%f\n"])).stdout;
    found.lines().map(ToOwned::to_owned).collect()
}

/// Starts a download, and sends a signal to one of its processes where some content has arrived
/// and the rest is held.
fn interrupted(server: &ObjectServer, (count, signal): (u32, &str), back: &Path) -> Ended {
    let mut command = with(server, count, "dcp");
    command.args(["-p", "--json", "--s3-concurrency=1", "--threads=1", "s3://data/t", text(back)]);
    let output = tempfile::NamedTempFile::new().unwrap();
    let mut job = command
        .stdin(Stdio::null())
        .stdout(output.reopen().unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_within(&mut job, "some files have arrived", || files_in(back).len() >= 5);
    let rank = *ranks_of(job.id(), "dcp").last().unwrap();
    run(Command::new("kill").arg(format!("-{signal}")).arg(rank.to_string())).expect(0);
    // What is held is answered, and what other ranks ask for until they are told, slowly.
    server.behave(Behaviour { latency_ms: 25, ..Behaviour::default() });
    let code = job.wait().unwrap().code();
    let stdout = fs::read_to_string(output.path()).unwrap();
    Ended { code, stdout, stderr: String::new() }
}

#[test]
fn a_job_that_is_told_to_stop_leaves_what_is_whole_and_the_next_one_goes_on() {
    let work = Sandbox::new();
    let source = work.target();
    trees::small_files(&source, 20, FILES / 20);
    let server = served(Behaviour::default());
    go(&server, 1, &["dcp", "-p", text(&source), "s3://data/"]).expect(0);
    for told in [(1, "TERM"), (1, "INT"), (4, "TERM")] {
        let back = work.path().join(format!("back-{}-{}", told.0, told.1));
        server.reset_counts();
        server.behave(Behaviour { hold_gets_after: 20, ..Behaviour::default() });
        let ended = interrupted(&server, told, &back).expect(20);
        server.behave(Behaviour::default());
        let summary = ended.summary();
        assert_eq!((&summary["interrupted"], &summary["exit_code"]), (&true.into(), &20.into()));
        let arrived = files_in(&back);
        assert!(arrived.len() < FILES, "it went on to the end");
        assert!(arrived.iter().all(|name| !name.starts_with(".dcp.")), "{arrived:?}");
        assert_eq!(summary["totals"]["copied"]["files"], arrived.len());
        let torn = diff(&source, &back);
        assert!(torn.lines().all(|line| line.starts_with("Only in")), "{torn}");
        go(&server, told.0, &["dsync", "s3://data/t", text(&back)]).expect(0);
        assert_eq!(diff(&source, &back), "");
    }
}

/// Checks that a listing of many pages ends, too, although each of its answers comes soon.
#[test]
fn a_job_that_is_told_to_stop_asks_for_no_further_page_of_a_listing() {
    let server = served(Behaviour { page_keys: 3, latency_ms: 10, ..Behaviour::default() });
    for number in 0..6_000 {
        server.put(BUCKET, &format!("flat/{number}"), "");
    }
    let lists = || server.counts().of(Operation::ListObjectsV2);
    for command in [&["dwalk", "s3://data/flat"][..], &["drm", "s3://data/flat"]] {
        server.reset_counts();
        let mut job = with(&server, 1, command[0]);
        let mut job = begin(job.args(&command[1..]).arg("--threads=1"));
        wait_within(&mut job, "some pages have arrived", || lists() >= 5);
        let rank = *ranks_of(job.id(), command[0]).last().unwrap();
        let before = lists();
        run(Command::new("kill").args(["-TERM", &rank.to_string()])).expect(0);
        assert_eq!(job.wait().unwrap().code(), Some(20), "{command:?}");
        let more = lists() - before;
        assert!(more < 40, "{command:?}: {more} pages");
    }
}

/// Returns true for a running process, which a zombie is not.
fn is_running(process: u32) -> bool {
    fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Checks the second Ctrl-C of a user who does not want to wait for operations in progress, which
/// are held here: the first alone ends in good order, with a summary.
#[test]
fn a_second_ctrl_c_ends_a_job_at_once() {
    let work = Sandbox::new();
    let source = work.at("large");
    trees::write(&source, &trees::noise(24 << 20));
    for count in [1, 3] {
        let server = served(Behaviour { hold_parts_after: 1, ..Behaviour::default() });
        let output = tempfile::NamedTempFile::new().unwrap();
        let mut dcp = with(&server, count, "dcp");
        // As a terminal does it, which sends SIGINT to all of them.
        dcp.process_group(0).args([
            "--json",
            "-k5MiB",
            "--s3-part-size=5MiB",
            text(&source),
            "s3://data/",
        ]);
        dcp.stdin(Stdio::null()).stdout(output.reopen().unwrap()).stderr(Stdio::null());
        let mut job = dcp.spawn().unwrap();
        let sent = || server.counts().of(Operation::UploadPart);
        wait_within(&mut job, "parts are held", || sent() >= 2);
        let ranks = ranks_of(job.id(), "dcp");
        assert_eq!(ranks.len(), count as usize);
        let ended = loop {
            run(Command::new("kill").args(["-INT", "--"]).arg(format!("-{}", job.id())));
            std::thread::sleep(Duration::from_millis(700));
            if let Some(ended) = job.try_wait().unwrap() {
                break ended;
            }
        };
        if count == 1 {
            assert_eq!(ended.code(), Some(20));
        }
        wait_until("all ranks end", || !ranks.iter().any(|rank| is_running(*rank)));
        let said = fs::read_to_string(output.path()).unwrap();
        assert!(!said.contains("\"summary\""), "it came to its end: {said}");
        assert!(server.get(BUCKET, "large").is_none());
    }
}

/// Runs dcp alone, with the signals of a new terminal, whatever has started the tests, or with one
/// ignored.
fn dcp_with_signals(option: &str) -> Command {
    let mut command = Command::new("env");
    command.arg(option).arg(program("dcp"));
    command
}

fn send(signal: &str, job: u32) {
    run(Command::new("kill").arg(format!("-{signal}")).arg(job.to_string())).expect(0);
}

/// Checks the signals that LSF, SGE and Slurm send some time before they kill, and SIGHUP of a
/// closed terminal.
#[test]
fn other_warnings_end_a_job_as_sigterm_does_and_nothing_staged_is_left() {
    let work = Sandbox::new();
    let source = work.source();
    for name in ["1", "2", "3"] {
        trees::write(&source.join(name), b"");
        fs::File::options().write(true).open(source.join(name)).unwrap().set_len(8 << 30).unwrap();
    }
    for signal in ["HUP", "USR1", "USR2", "XCPU"] {
        let target = work.path().join(signal);
        let mut dcp = dcp_with_signals("--default-signal");
        dcp.args(["--sparse=never", "--bufsize=4096", "-k1MiB"]);
        let mut job = begin(dcp.args([&source, &target]));
        while !all_in(&target).iter().any(|path| is_staged(path)) {
            assert!(job.try_wait().unwrap().is_none(), "it was too fast");
        }
        send(signal, job.id());
        assert_eq!(job.wait().unwrap().code(), Some(20), "{signal}");
        assert_eq!(all_in(&target), Vec::<std::path::PathBuf>::new(), "{signal}");
    }
}

/// Starts a job that waits for a FIFO without writers; the opened writing end shows that it has
/// begun.
fn waiting(work: &Path, option: &str) -> (std::process::Child, fs::File) {
    let (journal, fifo) = (work.join("journal"), work.join("journal/job"));
    let _ = fs::remove_dir_all(&journal);
    fs::create_dir(&journal).unwrap();
    run(Command::new("mkfifo").arg(&fifo)).expect(0);
    let mut dcp = dcp_with_signals(option);
    let job = begin(dcp.arg("--journal").args([&journal, &work.join("s"), &work.join("t")]));
    (job, fs::File::options().write(true).open(fifo).unwrap())
}

#[test]
fn a_signal_before_the_work_begins_is_obeyed_at_once_unless_nohup_keeps_it_away() {
    let work = Sandbox::new();
    trees::write(&work.at("s/f"), b"x");
    for signal in ["TERM", "INT", "HUP", "USR1"] {
        let (mut job, writer) = waiting(work.path(), "--default-signal");
        send(signal, job.id());
        assert_eq!(job.wait().unwrap().code(), Some(20), "{signal}");
        drop(writer);
    }
    let (mut job, writer) = waiting(work.path(), "--ignore-signal=HUP");
    send("HUP", job.id());
    // It goes on, and finds a journal in which nothing is.
    drop(writer);
    assert_eq!(job.wait().unwrap().code(), Some(3));
    assert!(!work.target().exists());
}

#[test]
fn a_file_beyond_the_limit_is_an_error_of_that_file() {
    let work = Sandbox::new();
    let source = work.source();
    trees::write(&source.join("large"), &trees::noise(3 << 20));
    trees::write(&source.join("small"), b"x");
    for options in ["-k64MiB", "-k1MiB", "-k64MiB --sparse=always"] {
        let target = work.path().join(options);
        let script = format!("ulimit -f 1024; exec \"$0\" {options} \"$1\" \"$2\"");
        let mut shell = Command::new("bash");
        let ended = run(shell.args(["-c", &script]).arg(program("dcp")).args([&source, &target]));
        let ended = ended.expect(23);
        assert!(ended.stderr.contains("File too large"), "{ended:?}");
        assert_eq!(all_in(&target), [target.join("small")], "{options}");
    }
}
