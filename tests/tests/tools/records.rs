//! Tests of records (`--log-file`) of jobs that are killed or stopped: all that they did is there.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use suite_tests::job::{program, ranks_of, run, tool};
use suite_tests::sandbox::Sandbox;
use suite_tests::trees;
use suite_tests::unfinished::{files_in, is_staged};
use suite_tests::waiting::wait_within;

/// A job that is slow enough to be stopped in the middle.
struct Slow {
    work: Sandbox,
    name: &'static str,
}

impl Slow {
    fn new(name: &'static str) -> Self {
        let work = Sandbox::new();
        trees::small_files(&work.source(), 20, 60);
        fs::write(work.at("control"), "iops-limit=400\n").unwrap();
        Self { work, name }
    }

    fn command(&self) -> Command {
        let mut job = tool(3, self.name);
        job.arg("--log-file").args([self.work.at("log"), self.work.source()]);
        job.args((self.name != "drm").then(|| self.work.target()));
        job
    }

    fn begin(&self) -> Child {
        let mut job = self.command();
        job.args(["--progress", "1", "--control-file"]).arg(self.work.at("control"));
        job.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Returns the files that were deleted, or copied.
    fn done(&self) -> BTreeSet<PathBuf> {
        let is_copy = self.name != "drm";
        let root = if is_copy { self.work.target() } else { self.work.source() };
        let there = files_in(&root).into_iter().filter(|path| !is_staged(path));
        let there = there.map(|path| path.strip_prefix(&root).unwrap().to_owned()).collect();
        let all = (0..20).flat_map(|dir| (0..60).map(move |file| (dir, file)));
        let all: BTreeSet<_> =
            all.map(|(dir, file)| format!("d{dir:04}/f{file:05}").into()).collect();
        if is_copy { there } else { all.difference(&there).cloned().collect() }
    }

    /// Returns the lines of the record that are whole.
    fn events(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.work.at("log")).unwrap_or_default();
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole.map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Returns the files that the record names.
    fn recorded(&self) -> Vec<PathBuf> {
        let root = if self.name == "drm" { self.work.source() } else { self.work.target() };
        let events = self.events().into_iter().filter(|event| event["type"] == "file");
        let path = |event: Value| PathBuf::from(event["path"]["text"].as_str().unwrap());
        events.map(|event| path(event).strip_prefix(&root).unwrap().to_owned()).collect()
    }

    /// Waits until a job has done something, and everything is at rest and recorded.
    fn pause(&self, job: &mut Child) {
        wait_within(job, "something is done", || self.done().len() > 100);
        fs::write(self.work.at("control"), "pause\n").unwrap();
        let mut lines = BufReader::new(job.stderr.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("  paused")), "the job has ended");
        std::thread::spawn(move || lines.for_each(drop));
        wait_within(job, "all that was done is recorded", || {
            let before = self.done();
            std::thread::sleep(Duration::from_millis(300));
            self.recorded().into_iter().collect::<BTreeSet<_>>() == before && self.done() == before
        });
    }
}

fn send(signal: &str, process: u32) {
    run(Command::new("kill").arg(signal).arg(process.to_string())).expect(0);
}

/// Returns the values of `complete` in the last lines of all jobs in a record.
fn ends(events: &[Value]) -> Vec<bool> {
    let ends = events.iter().filter(|event| event["event"] == "end");
    ends.map(|event| event["complete"].as_bool().unwrap()).collect()
}

#[test]
fn what_a_job_did_before_it_was_killed_is_recorded() {
    for (name, victim) in [("drm", 2), ("drm", 0), ("dsync", 2)] {
        let slow = Slow::new(name);
        let mut job = slow.begin();
        slow.pause(&mut job);
        let before = slow.done();
        send("-KILL", ranks_of(job.id(), name)[victim]);
        assert!(!job.wait().unwrap().success());
        // Until the launcher ends the others, they may do a little more, which may not be recorded.
        let (done, recorded) = (slow.done(), slow.recorded());
        let recorded: BTreeSet<_> = recorded.into_iter().collect();
        assert!(before.is_subset(&recorded) && recorded.is_subset(&done), "{name} {victim}");
        assert!(!ends(&slow.events()).contains(&true));
        // The next job goes on in the record, too.
        run(&mut slow.command()).expect(0);
        let expected = 1200 - done.difference(&recorded).count();
        assert_eq!(slow.recorded().len(), expected, "{name} {victim}");
        assert_eq!(slow.recorded().into_iter().collect::<BTreeSet<_>>().len(), expected);
        let begun = slow.events().iter().filter(|event| event["event"] == "begin").count();
        assert_eq!((begun, ends(&slow.events()).last()), (2, Some(&true)));
    }
}

#[test]
fn what_a_job_did_before_it_was_told_to_stop_is_recorded() {
    for (name, signal, victim) in [("drm", "-TERM", 2), ("dcp", "-INT", 0)] {
        let slow = Slow::new(name);
        let mut job = slow.begin();
        let stderr = job.stderr.take().unwrap();
        std::thread::spawn(move || BufReader::new(stderr).lines().for_each(drop));
        wait_within(&mut job, "something is done", || slow.done().len() > 100);
        send(signal, ranks_of(job.id(), name)[victim]);
        assert_eq!(job.wait().unwrap().code(), Some(20), "{name}");
        let done = slow.done();
        assert!(done.len() < 1200, "{name} has ended before");
        assert_eq!(slow.recorded().into_iter().collect::<BTreeSet<_>>(), done, "{name}");
        assert_eq!(ends(&slow.events()), [false]);
    }
}

/// Checks that a disk that is full makes the record incomplete, and not the job.
#[test]
fn a_record_that_cannot_be_written_is_reported() {
    let work = Sandbox::new();
    trees::small_files(&work.source(), 10, 20);
    let (source, target, log) = (work.source(), work.target(), work.at("log"));
    let mut job = tool(2, "dcp");
    job.args(["--log-file", "/dev/full"]).args([&source, &target]);
    let ended = run(&mut job).expect(3);
    assert!(ended.stderr.contains("write \"/dev/full\": No space left"), "{}", ended.stderr);
    assert!(files_in(&target).is_empty());
    let mut shell = Command::new("bash");
    shell.args(["-c", "ulimit -f 16; exec \"$0\" --log-file \"$1\" \"$2\" \"$3\""]);
    let ended = run(shell.arg(program("dcp")).args([&log, &source, &target])).expect(74);
    assert_eq!(ended.stderr.matches("File too large").count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("lacks changes that the job made"), "{}", ended.stderr);
    assert_eq!(files_in(&target).len(), 200);
    // The next job begins a line of its own.
    run(tool(1, "dcp").arg("--log-file").args([&log, &source, &target])).expect(0);
    let text = fs::read_to_string(&log).unwrap();
    let (_, last) = text.rsplit_once("\"event\":\"begin\"").unwrap();
    assert!(last.lines().skip(1).all(|line| serde_json::from_str::<Value>(line).is_ok()));
    assert!(text.lines().filter(|line| serde_json::from_str::<Value>(line).is_err()).count() <= 1);
}
