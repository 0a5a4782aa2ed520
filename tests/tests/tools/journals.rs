//! Tests of journals: which job they belong to, where they can be, and that nothing is left of
//! earlier jobs.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::resume::{copy, stopped};
use suite_tests::job::{assert_identical, run, tool};
use suite_tests::preload::{Death, Faults};
use suite_tests::sandbox::Sandbox;
use suite_tests::trees::{noise, write};
use suite_tests::unfinished::{assert_nothing_left, begin, files_in, is_staged, journals};

/// Returns the number of a job that has a journal, by the files that it has staged.
fn job_number(target: &Path) -> u64 {
    let staged = files_in(target).into_iter().find(|path| is_staged(path)).unwrap();
    let name = staged.file_name().unwrap().to_str().unwrap();
    u64::from_str_radix(name.split('.').nth(2).unwrap(), 16).unwrap()
}

/// Checks small files that a killed job had staged, in a directory and beside single entries;
/// another job's stay.
#[test]
fn a_job_that_goes_on_removes_what_the_killed_one_has_left() {
    for (name, options) in [("dcp", &["-p"][..]), ("dsync", &[]), ("dsync", &["--existing"])] {
        let work = Sandbox::new();
        let (source, target) = (work.source(), work.target());
        write(&source.join("large"), &noise(24 << 20));
        for dir in ["a/b", "closed", "c", "gone/deep"] {
            write(&source.join(dir).join("file"), b"x");
            write(&target.join(dir).join("file"), b"x");
        }
        write(&target.join("large"), b"old");
        fs::set_permissions(source.join("closed"), fs::Permissions::from_mode(0o555)).unwrap();
        let command = |ranks| {
            let mut command = tool(ranks, name);
            command.args(["--resume", "-k256KiB", "--bufsize=512", "--threads=2"]).args(options);
            command.arg(source.join("")).arg(&target);
            command
        };
        let mut job = begin(&mut command(1));
        while !files_in(&target).iter().any(|path| is_staged(path)) {
            assert!(job.try_wait().unwrap().is_none(), "it was too fast");
        }
        run(Command::new("kill").args(["-KILL", &job.id().to_string()]));
        job.wait().unwrap();
        let number = job_number(&target);
        let staged = |number: u64, count: u32| format!(".dcp.{number:016x}.3.{count}");
        fs::remove_dir_all(source.join("gone")).unwrap();
        let dirs = [("", 1), ("a", 2), ("a/b", 3), ("closed", 4), ("gone", 5), ("gone/deep", 6)];
        for (dir, count) in dirs {
            write(&target.join(dir).join(staged(number.wrapping_add(count % 4), 9)), b"left");
        }
        std::os::unix::fs::symlink("left", target.join("c").join(staged(number, 8))).unwrap();
        let of_another = target.join("c").join(staged(number ^ (1 << 40), 7));
        write(&of_another, b"at work");
        run(&mut command(3)).expect(0);
        let left: Vec<_> = files_in(&target).into_iter().filter(|path| is_staged(path)).collect();
        assert_eq!(left, std::slice::from_ref(&of_another), "{name} {options:?}");
        fs::remove_file(&of_another).unwrap();
        assert_eq!(journals(&target), Vec::<PathBuf>::new());
        assert!(fs::read(source.join("large")).unwrap() == fs::read(target.join("large")).unwrap());
    }
}

/// Checks that a directory's time is restored after the removal of a staged file has changed it.
#[test]
fn a_directory_has_its_time_although_something_staged_for_nothing_was_in_it() {
    let work = Sandbox::new();
    let (source, target) = stopped(work.path(), &[]);
    fs::remove_file(source.join("large")).unwrap();
    write(&source.join("other"), b"x");
    run(Command::new("touch").args(["-d", "2020-01-01"]).arg(&source)).expect(0);
    run(&mut copy(2, &source, &target)).expect(0);
    assert_identical(&source, &target);
}

/// All that was staged there is removed before it gets its time back, once: of two ranks who each
/// did so, one may have found the time that the other's removal had made of it.
#[test]
fn a_directory_that_only_the_target_has_keeps_its_time_where_something_staged_was_in_it() {
    let work = Sandbox::new();
    let (source, target) = stopped(work.path(), &[]);
    let (number, gone) = (job_number(&target), target.join("gone"));
    let leave = || {
        for count in 0..600 {
            write(&gone.join(format!(".dcp.{number:016x}.3.{count}")), b"");
        }
        run(Command::new("touch").args(["-d", "2020-01-01"]).arg(&gone)).expect(0);
        fs::metadata(&gone).unwrap().modified().unwrap()
    };
    leave();
    let log = work.at("log");
    let (calls, kinds) = ("futimens,utimensat", "fail");
    let faults = Faults { roots: &[&gone], seed: 1, every: 1, calls, kinds, log: &log };
    run(faults.strike(&mut copy(3, &source, &target))).expect(23);
    assert_eq!((faults.struck().len(), files_in(&gone).len()), (1, 0), "{:?}", faults.struck());
    let before = leave();
    run(&mut copy(4, &source, &target)).expect(0);
    assert_eq!(fs::metadata(&gone).unwrap().modified().unwrap(), before);
    assert_eq!(files_in(&gone), Vec::<PathBuf>::new());
}

/// Kills a mirror of one file at some call, and has the file rewritten in place before the next
/// run. Returns how many parts of the journal were left, or none where nothing was killed.
fn killed_at(at: u64) -> Option<usize> {
    let work = Sandbox::new();
    let (source, target) = (work.source(), work.target());
    let [file, copy] = [&source, &target].map(|dir| dir.join("f"));
    write(&file, b"old");
    let command = || {
        let mut command = tool(1, "dsync");
        command.args(["--resume", "--threads=1"]).args([&source, &target]);
        command
    };
    let death = Death { root: work.path(), at, signal: libc::SIGKILL };
    let is_killed = run(&mut death.of_rank(command())).code.is_none();
    let journal = journals(&target).into_iter().find(|journal| journal.join("job").exists());
    let left = journal.map_or(0, |journal| fs::read_dir(journal).unwrap().count());
    if left == 0 {
        assert!(!copy.exists() || fs::read(&copy).unwrap() == b"old", "killed at call {at}");
    } else {
        let modified = fs::metadata(&file).unwrap().modified().unwrap();
        fs::write(&file, b"new").unwrap();
        fs::File::open(&file).unwrap().set_modified(modified).unwrap();
        run(&mut command()).expect(0);
        assert_eq!(fs::read(&copy).unwrap(), b"new", "killed at call {at}");
        assert_nothing_left(&target);
        assert_eq!(journals(&target), Vec::<PathBuf>::new());
    }
    is_killed.then_some(left)
}

/// Also while it removes its journal: what is left of that tells that nothing is to be taken for
/// finished by its looks.
#[test]
fn a_job_that_is_killed_at_any_call_misses_no_change_before_the_next_run() {
    let left: Vec<usize> = (1..).map_while(killed_at).collect();
    // Threads make some calls at times and not at others, so each run ends at another call: kills
    // hit the job at work, and with luck the removal of its journal as well.
    assert!(left.contains(&4), "{left:?}");
}

#[test]
fn a_journal_that_cannot_be_beside_the_target_is_told_of_with_the_way_out() {
    let work = Sandbox::new();
    write(&work.at("s/f"), b"x");
    // No user can create an entry in it, not even the superuser.
    let ended = run(tool(2, "dcp").arg("--resume").arg(work.source()).arg("/proc/t"));
    let ended = ended.expect(3);
    assert!(ended.stderr.contains("name another location with --journal"), "{}", ended.stderr);
}

/// Checks two jobs that begin in the same moment: one does the work, the other one reports why it
/// does not.
#[test]
fn of_two_jobs_that_begin_at_once_one_wins() {
    let work = Sandbox::new();
    let source = work.source();
    write(&source.join("f"), &noise(8 << 20));
    for round in 0..8 {
        let target = work.path().join(format!("t{round}"));
        let start = || {
            let mut command = copy(1, &source, &target);
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
            command.spawn().unwrap()
        };
        let jobs = [start(), start()].map(|job| job.wait_with_output().unwrap());
        assert!(jobs.iter().any(|job| job.status.success()), "{jobs:?}");
        for job in jobs.iter().filter(|job| !job.status.success()) {
            let said = String::from_utf8_lossy(&job.stderr);
            assert!(said.contains("its job is still at work"), "{said}");
        }
        // The later one may have found the other's work done.
        assert!(!target.join("s").exists());
        assert!(fs::read(target.join("f")).unwrap() == noise(8 << 20));
        assert_nothing_left(&target);
    }
}
