//! Jobs that are told to stop, as batch systems do before the walltime ends: what is under way ends, nothing
//! partial has a name, and the exit code says so. The next job does the rest.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use suite_tests::buckets::{diff, go, served, temp, text, with};
use suite_tests::job::{Ended, ranks_of, run};
use suite_tests::object_server::{Behaviour, ObjectServer};
use suite_tests::trees;

const FILES: usize = 600;

fn files_in(tree: &Path) -> Vec<String> {
    let found = run(Command::new("find").arg(tree).args(["-type", "f", "-printf", "%f\n"])).stdout;
    found.lines().map(ToOwned::to_owned).collect()
}

/// Begins a slow download, and sends a signal to one of its processes when something has arrived.
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
    let began = Instant::now();
    while !back.exists() || files_in(back).len() < 10 {
        assert!(job.try_wait().unwrap().is_none(), "it was too fast");
        assert!(began.elapsed() < Duration::from_mins(1), "nothing arrives");
    }
    let rank = *ranks_of(job.id(), "dcp").last().unwrap();
    run(Command::new("kill").arg(format!("-{signal}")).arg(rank.to_string())).expect(0);
    let told = Instant::now();
    let code = job.wait().unwrap().code();
    let stdout = fs::read_to_string(output.path()).unwrap();
    Ended { code, stdout, stderr: String::new(), elapsed: told.elapsed() }
}

#[test]
fn a_job_that_is_told_to_stop_leaves_what_is_whole_and_the_next_one_goes_on() {
    let work = temp();
    let source = work.path().join("t");
    trees::small_files(&source, 20, FILES / 20);
    let server = served(Behaviour::default());
    go(&server, 1, &["dcp", "-p", text(&source), "s3://data/"]).expect(0);
    for told in [(1, "TERM"), (1, "INT"), (4, "TERM")] {
        let back = work.path().join(format!("back-{}-{}", told.0, told.1));
        server.behave(Behaviour { latency_ms: 25, ..Behaviour::default() });
        let ended = interrupted(&server, told, &back).expect(20);
        server.behave(Behaviour::default());
        let summary = ended.summary();
        assert_eq!((&summary["interrupted"], &summary["exit"]), (&true.into(), &20.into()));
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
