//! Sources that change under a mirror, or go away: what is gone is told from what only cannot be seen, and nothing is
//! deleted for the latter. Jobs are held where a large file is half done, not where a clock says so.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use suite_tests::buckets::temp;
use suite_tests::job::{Ended, alone, ranks_of, run};
use suite_tests::mounts::{SlowDisk, may_mount};
use suite_tests::nodes::{Nodes, may_start};
use suite_tests::trees::{noise, small_files, write};
use suite_tests::unfinished::{files_in, is_staged};

/// A mirror that is made, and can be held.
struct Mirror {
    work: tempfile::TempDir,
    job: Option<Child>,
}

impl Mirror {
    /// A source with a large file, and a target that has only something more.
    fn new() -> Self {
        let work = temp();
        write(&work.path().join("s/large"), &noise(48 << 20));
        small_files(&work.path().join("s/small"), 3, 4);
        write(&work.path().join("t/extra"), b"only here");
        Self { work, job: None }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.work.path().join(path)
    }

    /// Starts the job, and stops its processes when the large file is half there: by then all names of the root
    /// were read.
    fn hold(&mut self, mut dsync: Command) {
        dsync.args(["-D", "--json", "--threads=1", "--chunksize=256KiB", "--bufsize=64"]);
        dsync.args([self.at("s"), self.at("t")]).stdin(Stdio::null());
        dsync.stdout(fs::File::create(self.at("said")).unwrap());
        dsync.stderr(fs::File::create(self.at("told")).unwrap());
        let mut job = dsync.spawn().unwrap();
        let began = Instant::now();
        let is_half = |path: &PathBuf| {
            is_staged(path) && fs::metadata(path).is_ok_and(|found| found.len() > 1 << 20)
        };
        while !files_in(&self.at("t")).iter().any(is_half) {
            assert!(job.try_wait().unwrap().is_none(), "it was too fast");
            assert!(began.elapsed() < Duration::from_mins(1), "it does not begin");
        }
        self.job = Some(job);
        self.signal("-STOP");
        assert!(files_in(&self.at("t")).iter().any(is_half), "it was too fast");
    }

    fn signal(&self, signal: &str) {
        let job = self.job.as_ref().unwrap().id();
        let pids = ranks_of(job, "dsync");
        let pids = pids.iter().map(ToString::to_string);
        run(Command::new("kill").arg(signal).args(pids)).expect(0);
    }

    /// Lets it go on to its end.
    fn end(&mut self) -> Ended {
        self.signal("-CONT");
        let status = self.job.take().unwrap().wait().unwrap();
        let text = |name: &str| fs::read_to_string(self.at(name)).unwrap();
        Ended {
            code: status.code(),
            stdout: text("said"),
            stderr: text("told"),
            elapsed: Duration::ZERO,
        }
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        if let Some(job) = &mut self.job {
            let _ = job.kill();
            let _ = job.wait();
        }
    }
}

#[test]
fn what_vanishes_does_not_keep_extras_from_being_deleted() {
    let mut mirror = Mirror::new();
    mirror.hold(alone("dsync"));
    fs::remove_file(mirror.at("s/large")).unwrap();
    let ended = mirror.end().expect(24);
    let totals = &ended.summary()["totals"];
    assert_eq!((&totals["vanished"], &totals["failed"]), (&1.into(), &0.into()), "{totals}");
    assert!(!mirror.at("t/extra").exists() && !mirror.at("t/large").exists());
}

#[test]
fn a_source_that_is_removed_altogether_has_not_vanished() {
    let mut mirror = Mirror::new();
    mirror.hold(alone("dsync"));
    fs::remove_dir_all(mirror.at("s")).unwrap();
    let ended = mirror.end().expect(23);
    assert!(ended.stderr.contains("it is not there any more"), "{}", ended.stderr);
    assert!(mirror.at("t/extra").exists());
}

#[test]
fn what_was_mounted_in_the_source_and_is_not_any_more_has_not_vanished() {
    if !may_start() {
        return;
    }
    let mut mirror = Mirror::new();
    small_files(&mirror.at("share"), 5, 20);
    small_files(&mirror.at("t/in"), 5, 20);
    fs::create_dir(mirror.at("s/in")).unwrap();
    let nodes = Nodes::start_apart(1);
    let (share, point) = (mirror.at("share"), mirror.at("s/in"));
    nodes.on(1, &format!("mount --bind '{}' '{}'", share.display(), point.display()));
    let before = files_in(&mirror.at("t")).len();
    mirror.hold(nodes.tool_beside(&[1], "dsync"));
    nodes.on(1, &format!("umount -l '{}'", point.display()));
    let ended = mirror.end().expect(23);
    let says = "file systems were mounted or unmounted in it meanwhile";
    let line = ended.stderr.lines().find(|line| line.contains(says));
    assert!(line.is_some_and(|line| line.contains(&nodes.name(1))), "{}", ended.stderr);
    assert_eq!(ended.summary()["totals"]["vanished"], 0);
    let left = files_in(&mirror.at("t"));
    assert!(mirror.at("t/extra").exists() && left.len() >= before, "{left:?}");
}

/// Each of the errors that say that nobody has answered: ESTALE, ENOTCONN, ESHUTDOWN.
#[test]
fn what_is_not_answered_is_asked_again_and_then_has_failed() {
    if !may_mount() {
        return;
    }
    let work = temp();
    let [source, target] = ["s", "t"].map(|name| work.path().join(name));
    small_files(&source, 1, 4);
    for errno in [libc::ESTALE, libc::ENOTCONN, libc::ESHUTDOWN] {
        write(&target.join("extra"), b"only here");
        let dead = SlowDisk::unanswering(&source, errno, 1 << 30);
        let mut dsync = alone("dsync");
        let ended = run(dsync.args(["-D", "--json"]).args([dead.path(), &target])).expect(23);
        let totals = &ended.summary()["totals"];
        assert_eq!((&totals["failed"], &totals["vanished"]), (&4.into(), &0.into()), "{totals}");
        assert!(target.join("extra").exists());
        let busy = SlowDisk::unanswering(&source, errno, 3);
        run(alone("dsync").arg("-D").args([busy.path(), &target])).expect(0);
        assert_eq!(names(&target.join("d0000")), names(&source.join("d0000")));
        assert!(!target.join("extra").exists());
        fs::remove_dir_all(&target).unwrap();
    }
}

fn names(dir: &Path) -> Vec<String> {
    let of_entry = |entry: std::io::Result<fs::DirEntry>| {
        entry.unwrap().file_name().to_string_lossy().into_owned()
    };
    let mut names: Vec<String> = fs::read_dir(dir).unwrap().map(of_entry).collect();
    names.sort();
    names
}
