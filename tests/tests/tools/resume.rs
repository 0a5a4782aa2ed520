//! Tests of jobs that are interrupted or killed, and of the same command again: finished entries
//! stay as they are, large files are resumed at the chunks that were written, and no partial file
//! ever has its final name.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::fs::{self, File, FileTimes};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use suite_tests::job::{Ended, assert_identical, ranks_of, run, tool};
use suite_tests::need_root;
use suite_tests::sandbox::Sandbox;
use suite_tests::trees::{noise, write};
use suite_tests::unfinished::{
    assert_nothing_left, assert_same_tree, begin, files_in, is_staged, journals, totals, written,
};
use suite_tests::waiting::{wait_until, wait_within};

const CHUNK_BYTES: u64 = 256 << 10;
const THREADS: u64 = 2;

/// Creates some large files, and small ones around them.
fn make_source(root: &Path) {
    let bytes = noise(20 << 20);
    for number in 0..4 {
        write(&root.join(format!("large/{number}")), &bytes[number..(16 + number) << 20]);
    }
    for number in 0..60 {
        write(&root.join(format!("small/{}/{number}", number % 5)), &bytes[number..1000 * number]);
    }
}

/// Returns the command of the copy, with buffers so small that it takes a while.
pub(crate) fn copy(ranks: u32, source: &Path, target: &Path) -> Command {
    let mut command = tool(ranks, "dcp");
    command.args(["-p", "--json", "--resume", "--chunksize=256KiB", "--bufsize=256"]);
    command.arg(format!("--threads={THREADS}")).args([source, target]);
    command
}

/// Kills a rank of a job at some time; then runs the same command with another number of ranks.
fn kill_and_go_on(random: &mut Random, round: u32, work: &Path) -> u64 {
    let (source, target) = (work.join("s"), work.join(format!("t{round}")));
    let ranks = 2 + random.below(3) as u32;
    let mut job = begin(&mut copy(ranks, &source, &target));
    wait_until("the job begins", || target.exists() || job.try_wait().unwrap().is_some());
    let pids = ranks_of(job.id(), "dcp");
    std::thread::sleep(Duration::from_micros(random.below(200_000)));
    if let Some(pid) = pids.get(random.below(pids.len().max(1) as u64) as usize) {
        run(Command::new("kill").args(["-KILL", &pid.to_string()]));
    }
    job.wait().unwrap();
    if journals(&target).is_empty() {
        // It was done before.
        fs::remove_dir_all(target).unwrap();
        return 0;
    }
    let before = written(&source, &target);
    let others = [1, 2, 3, 4].map(|count| (count, count != ranks));
    let others: Vec<u32> = others.iter().filter(|(_, is)| *is).map(|(count, _)| *count).collect();
    let again = others[random.below(3) as usize];
    let ended = run(&mut copy(again, &source, &target)).expect(0);
    assert_eq!(journals(&target), Vec::<PathBuf>::new());
    let twice = (before + totals(&ended, "copied_bytes")).saturating_sub(written(&source, &source));
    let allowed = 2 * CHUNK_BYTES * THREADS * u64::from(ranks);
    assert!(twice <= allowed, "{twice} bytes were copied twice, {ranks} ranks, then {again}");
    assert_nothing_left(&target);
    assert_identical(&source, &target);
    fs::remove_dir_all(target).unwrap();
    totals(&ended, "resumed_bytes")
}

/// Random numbers that differ from round to round and are the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

#[test]
fn a_rank_is_killed_at_any_time_and_the_next_job_does_only_the_rest() {
    let work = Sandbox::new();
    make_source(&work.source());
    let mut random = Random(5);
    let resumed = (0..14).filter(|round| kill_and_go_on(&mut random, *round, work.path()) > 0);
    let resumed = resumed.count();
    assert!(resumed >= 2, "chunks were taken over in {resumed} of 14 rounds only");
}

/// Interrupts a job when a large file is half written; returns source and target.
pub(crate) fn stopped(work: &Path, options: &[&str]) -> (PathBuf, PathBuf) {
    let stopped = stopped_after(work, options, "");
    assert!(files_in(&stopped.1).iter().all(|path| is_staged(path)));
    stopped
}

/// Interrupts a job when a large file is half written, and that file is complete; returns source
/// and target.
fn stopped_after(work: &Path, options: &[&str], complete: &str) -> (PathBuf, PathBuf) {
    let (source, target) = (work.join("s"), work.join("t"));
    write(&source.join("large"), &noise(24 << 20));
    let mut job = begin(copy(1, &source, &target).args(options));
    let is_under_way = || {
        target.join(complete).exists()
            && files_in(&target).iter().any(|path| {
                fs::metadata(path).is_ok_and(|metadata| metadata.blocks() * 512 > 2 << 20)
            })
    };
    wait_within(&mut job, "a large file is half written", is_under_way);
    run(Command::new("kill").args(["-TERM", &job.id().to_string()]));
    assert_eq!(job.wait().unwrap().code(), Some(20), "it was too fast");
    (source, target)
}

#[test]
fn without_being_asked_a_job_goes_on_where_the_same_command_was_stopped() {
    let work = Sandbox::new();
    let (source, target) = stopped(work.path(), &[]);
    assert_eq!(journals(&target).len(), 1);
    // Without --resume, and although the target is there now.
    let ended = run(tool(2, "dcp").args(["-p", "--json"]).args([&source, &target])).expect(0);
    assert!(totals(&ended, "resumed_bytes") >= 1 << 20, "{ended:?}");
    let all = totals(&ended, "resumed_bytes") + totals(&ended, "copied_bytes");
    assert_eq!(all, 24 << 20);
    assert_identical(&source, &target);
    assert_eq!((journals(&target).len(), files_in(&target).len()), (0, 1));
}

/// Checks that files which were there before the job, with the size and time of their sources, are
/// not taken for copies that an interrupted job has completed.
#[test]
fn what_was_there_before_the_job_is_no_copy_of_it() {
    for is_move in [false, true] {
        let work = Sandbox::new();
        let (source, target) = (work.source(), work.target());
        let time = SystemTime::UNIX_EPOCH + Duration::from_hours(400_000);
        for (root, content) in [(&source, b"right"), (&target, b"wrong")] {
            for number in 0..100 {
                let path = root.join(format!("d/{number}"));
                write(&path, content);
                let times = FileTimes::new().set_modified(time);
                File::options().write(true).open(path).unwrap().set_times(times).unwrap();
            }
        }
        let mut copy = tool(2, "dcp");
        copy.args(["-p", "--resume"]).args(is_move.then_some("--remove-source"));
        copy.arg(source.join("")).arg(&target);
        let is_right = |path: &PathBuf| fs::read(path).is_ok_and(|content| content == b"right");
        let right = || files_in(&target).iter().filter(|path| is_right(path)).count();
        let mut job = begin(copy.arg("--iops-limit=200"));
        wait_within(&mut job, "some are copied", || right() > 5);
        for rank in ranks_of(job.id(), "dcp") {
            run(Command::new("kill").args(["-TERM", &rank.to_string()])).expect(0);
        }
        assert_eq!(job.wait().unwrap().code(), Some(20), "it was too fast");
        let mut again = tool(2, "dcp");
        again.args(["-p", "--resume"]).args(is_move.then_some("--remove-source"));
        run(again.arg(source.join("")).arg(&target)).expect(0);
        assert_eq!(right(), 100, "is_move: {is_move}");
    }
}

/// Checks that what another job has copied over a complete file since, with the same size and time,
/// is not taken for its copy, after a job that ended in order.
#[test]
fn what_was_changed_after_the_job_is_compared() {
    for is_move in [false, true] {
        let work = Sandbox::new();
        for name in ["a", "b"] {
            write(&work.path().join("s/small").join(name), b"right");
        }
        let options: &[&str] = if is_move { &["--remove-source"] } else { &[] };
        let (source, target) = stopped_after(work.path(), options, "small/b");
        let complete = target.join("small/a");
        let time = fs::metadata(&complete).unwrap().modified().unwrap();
        fs::remove_file(&complete).unwrap();
        fs::write(&complete, "wrong").unwrap();
        File::options().write(true).open(&complete).unwrap().set_modified(time).unwrap();
        run(copy(2, &source, &target).args(options)).expect(0);
        let content = fs::read_to_string(&complete).unwrap();
        let is_lost = content == "wrong" && !source.join("small/a").exists();
        assert!(content == "right" || is_move && !is_lost, "{content}, moved: {is_move}");
    }
}

#[test]
fn what_is_not_as_the_journal_says_is_copied_again() {
    let work = Sandbox::new();
    let (source, target) = stopped(work.path(), &[]);
    let staged = files_in(&target).pop().unwrap();
    let mut bytes = fs::read(&staged).unwrap();
    for byte in bytes.iter_mut().step_by(CHUNK_BYTES as usize * 2) {
        *byte ^= 1;
    }
    fs::write(&staged, bytes).unwrap();
    let ended = run(&mut copy(3, &source, &target)).expect(0);
    assert!(totals(&ended, "resumed_bytes") > 0);
    assert_identical(&source, &target);
}

#[test]
fn a_source_that_has_changed_is_begun_anew() {
    let work = Sandbox::new();
    let (source, target) = stopped(work.path(), &[]);
    let large = source.join("large");
    fs::write(&large, noise(25 << 20)).unwrap();
    let ended = run(&mut copy(2, &source, &target)).expect(0);
    assert_eq!((totals(&ended, "resumed_bytes"), totals(&ended, "copied_bytes")), (0, 25 << 20));
    assert_identical(&source, &target);
    assert_eq!(files_in(&target).len(), 1);
}

#[test]
fn a_source_that_is_gone_leaves_nothing_staged() {
    let work = Sandbox::new();
    let (source, target) = stopped(work.path(), &[]);
    fs::remove_file(source.join("large")).unwrap();
    run(&mut copy(2, &source, &target)).expect(0);
    assert_eq!((journals(&target).len(), files_in(&target).len()), (0, 0));
}

#[test]
fn a_copy_with_a_name_of_its_own_is_gone_on_with_beside_its_source() {
    let work = Sandbox::new();
    let (source, target) = (work.at("big.h5"), work.at("big.copy.h5"));
    write(&source, &noise(24 << 20));
    let mut job = begin(&mut copy(1, &source, &target));
    let is_under_way = || {
        files_in(work.path())
            .iter()
            .filter(|path| is_staged(path))
            .any(|path| fs::metadata(path).is_ok_and(|metadata| metadata.blocks() * 512 > 2 << 20))
    };
    while !is_under_way() {
        assert!(job.try_wait().unwrap().is_none(), "it was too fast");
    }
    run(Command::new("kill").args(["-TERM", &job.id().to_string()]));
    assert_eq!(job.wait().unwrap().code(), Some(20));
    let ended = run(&mut copy(2, &source, &target)).expect(0);
    assert!(totals(&ended, "resumed_bytes") >= 1 << 20, "{ended:?}");
    assert!(fs::read(&source).unwrap() == fs::read(&target).unwrap());
    assert_eq!(files_in(work.path()).len(), 2);
}

/// Checks a file of a job that was killed between setting its owner and renaming it to its final
/// name.
#[test]
fn a_file_that_was_given_to_its_owner_already_is_gone_on_with() {
    need_root!();
    for (owner, is_it) in [(1234, true), (4321, false)] {
        let work = Sandbox::new();
        let (source, target) = stopped(work.path(), &[]);
        let large = source.join("large");
        let times = fs::metadata(&large).unwrap().modified().unwrap();
        std::os::unix::fs::chown(&large, Some(1234), Some(5678)).unwrap();
        let staged = files_in(&target).into_iter().find(|path| is_staged(path)).unwrap();
        std::os::unix::fs::chown(&staged, Some(owner), Some(5678)).unwrap();
        fs::set_permissions(&staged, fs::Permissions::from_mode(0o4477)).unwrap();
        let ended = run(&mut copy(3, &source, &target)).expect(0);
        let resumed = totals(&ended, "resumed_bytes");
        assert_eq!(resumed >= 1 << 20, is_it, "{resumed} bytes, owner {owner}");
        let copied = fs::metadata(target.join("large")).unwrap();
        assert_eq!((copied.uid(), copied.gid()), (1234, 5678));
        assert_eq!(copied.mode(), fs::metadata(&large).unwrap().mode());
        assert_eq!(copied.modified().unwrap(), times);
        assert!(fs::read(&large).unwrap() == fs::read(target.join("large")).unwrap());
    }
}

/// Checks that a file that another user has put under the staged name, with that owner, is not
/// used.
#[test]
fn another_file_of_that_owner_is_begun_anew() {
    need_root!();
    let work = Sandbox::new();
    let (source, target) = stopped(work.path(), &[]);
    std::os::unix::fs::chown(source.join("large"), Some(1234), Some(5678)).unwrap();
    let staged = files_in(&target).into_iter().find(|path| is_staged(path)).unwrap();
    let planted = work.at("planted");
    fs::copy(&staged, &planted).unwrap();
    fs::rename(&planted, &staged).unwrap();
    std::os::unix::fs::chown(&staged, Some(1234), Some(5678)).unwrap();
    let ended = run(&mut copy(2, &source, &target)).expect(0);
    assert_eq!(totals(&ended, "resumed_bytes"), 0);
    assert!(fs::read(source.join("large")).unwrap() == fs::read(target.join("large")).unwrap());
}

/// Checks that a copy that is repeated is still a copy: entries that it would not replace before
/// stay.
#[test]
fn what_the_first_run_refused_to_replace_the_next_one_refuses_too() {
    let work = Sandbox::new();
    let (source, target) = (work.source(), work.target());
    write(&source.join("sub/file"), b"x");
    write(&source.join("other"), b"y");
    write(&target.join("sub"), b"precious");
    fs::create_dir(target.join("other")).unwrap();
    let contents = work.at("s/.");
    for ranks in [2, 1, 3] {
        run(&mut copy(ranks, &contents, &target)).expect(23);
        assert_eq!(fs::read(target.join("sub")).unwrap(), b"precious");
        assert!(target.join("other").is_dir());
    }
    fs::remove_file(target.join("sub")).unwrap();
    fs::remove_dir(target.join("other")).unwrap();
    run(&mut copy(2, &contents, &target)).expect(0);
    assert_same_tree(&source, &target);
    assert_eq!(journals(&target).len(), 0);
}

#[test]
fn a_job_that_cannot_begin_leaves_no_journal() {
    let work = Sandbox::new();
    let target = work.target();
    run(&mut copy(2, &work.at("missing"), &target)).expect(3);
    assert_eq!(journals(&target).len(), 0);
    let typo = work.at("typo/t");
    write(&work.at("s/file"), b"x");
    assert_ne!(run(&mut copy(2, &work.source(), &typo)).code, Some(0));
    assert!(!work.at("typo").exists());
}

/// Checks that names that an interrupted job has linked are linked once more without harm.
#[test]
fn links_are_gone_on_with() {
    let work = Sandbox::new();
    let (source, target) = stopped(work.path(), &["-H"]);
    for name in ["1", "2", "3"] {
        write(&source.join("a").join(name), name.as_bytes());
        fs::hard_link(source.join("a").join(name), source.join(name)).unwrap();
    }
    for expected in [20, 0] {
        // The first time only what is small: the large one is stopped again.
        if expected == 20 {
            let mut job = begin(copy(1, &source, &target).arg("-H"));
            while !target.join("a").exists() {
                assert!(job.try_wait().unwrap().is_none(), "it was too fast");
            }
            run(Command::new("kill").args(["-TERM", &job.id().to_string()]));
            job.wait().unwrap();
        } else {
            run(copy(3, &source, &target).arg("-H")).expect(0);
        }
    }
    assert_identical(&source, &target);
    run(tool(2, "dcmp").arg("-qH").args([&source, &target])).expect(0);
    assert_eq!(files_in(&target).len(), 7);
}

#[test]
fn a_job_starts_over_where_that_is_asked_for() {
    let work = Sandbox::new();
    let (source, target) = stopped(work.path(), &[]);
    let start_over = |ranks| {
        let mut command = copy(ranks, &source, &target);
        command.arg("--no-resume");
        run(&mut command)
    };
    // At the same place, although the target is there now.
    let ended = start_over(2).expect(0);
    assert_eq!((totals(&ended, "resumed_bytes"), totals(&ended, "copied_bytes")), (0, 24 << 20));
    assert_identical(&source, &target);
    assert_eq!((journals(&target).len(), files_in(&target).len()), (0, 1));
}

#[test]
fn files_that_were_there_before_are_not_taken_for_finished_ones() {
    let work = Sandbox::new();
    let (source, target) = (work.source(), work.target());
    write(&source.join("same"), b"new content");
    write(&target.join("s/same"), b"old content");
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    for path in [source.join("same"), target.join("s/same")] {
        let file = File::options().append(true).open(path).unwrap();
        file.set_times(FileTimes::new().set_modified(time)).unwrap();
    }
    // A journal of this command, of a time to come as far as the old file is concerned.
    let journal = work.at("journal");
    let command = |ranks| {
        let mut command = copy(ranks, &source, &target);
        command.arg("--journal").arg(&journal);
        command
    };
    write(&source.join("large"), &noise(24 << 20));
    let mut job = begin(&mut command(1));
    while files_in(&target).iter().all(|path| !is_staged(path)) {}
    run(Command::new("kill").args(["-TERM", &job.id().to_string()]));
    job.wait().unwrap();
    fs::write(target.join("s/same"), b"old content").unwrap();
    let file = File::options().append(true).open(target.join("s/same")).unwrap();
    file.set_times(FileTimes::new().set_modified(time)).unwrap();
    let hour = Duration::from_hours(1).as_secs();
    move_clock(&journal, hour);
    run(&mut command(2)).expect(0);
    // The journal made anew knows nothing of it.
    files_in(&target).iter().filter(|path| is_staged(path)).for_each(|path| {
        fs::remove_file(path).unwrap();
    });
    run(Command::new("touch").arg("-r").arg(&source).arg(target.join("s"))).expect(0);
    assert_eq!(fs::read(target.join("s/same")).unwrap(), b"new content");
    assert_same_tree(&source, &target.join("s"));
}

/// Makes a journal's job begin that many seconds later.
fn move_clock(journal: &Path, seconds: u64) {
    use ops::journal::folder;
    let mut job = folder::read(journal).unwrap().unwrap();
    job.began.seconds += seconds as i64;
    folder::end(journal).unwrap();
    folder::begin(journal, &job, folder::Start::Resume).unwrap();
}

#[test]
fn a_journal_of_another_command_is_refused_and_two_jobs_do_not_share_one() {
    let work = Sandbox::new();
    let journal = work.at("j");
    let journaled = ["--journal", journal.to_str().unwrap()];
    let (source, target) = stopped(work.path(), &journaled);
    let other = work.at("other");
    let ended = run(tool(2, "dcp").args(journaled).args([&source, &other])).expect(2);
    assert!(ended.stderr.contains("belongs to another job"), "{}", ended.stderr);
    assert!(!other.exists());
    // As a job does that is at work.
    let lock = File::open(journal.join("job")).unwrap();
    lock.try_lock().unwrap();
    let ended = run(copy(2, &source, &target).args(journaled)).expect(2);
    assert!(ended.stderr.contains("its job is still at work"), "{}", ended.stderr);
    drop(lock);
    run(copy(2, &source, &target).args(journaled)).expect(0);
    assert_identical(&source, &target);
    run(tool(1, "dcp").args(["--resume"]).args([source.as_path(), Path::new("/")])).expect(2);
}

#[test]
fn dsync_goes_on_too_and_does_not_delete_what_it_goes_on_with() {
    let work = Sandbox::new();
    let (source, target) = (work.source(), work.target());
    write(&source.join("large"), &noise(24 << 20));
    write(&target.join("extra"), b"only here");
    let sync = |ranks| {
        let mut command = tool(ranks, "dsync");
        command.args(["-D", "--json", "--resume", "--chunksize=256KiB", "--bufsize=512"]);
        command.arg("--threads=2").args([&source, &target]);
        command
    };
    let mut job = begin(&mut sync(1));
    let is_under_way = || {
        files_in(&target).iter().any(|path| {
            is_staged(path)
                && fs::metadata(path).is_ok_and(|metadata| metadata.blocks() * 512 > 2 << 20)
        })
    };
    while !is_under_way() {
        assert!(job.try_wait().unwrap().is_none(), "it was too fast");
    }
    run(Command::new("kill").args(["-TERM", &job.id().to_string()]));
    assert_eq!(job.wait().unwrap().code(), Some(20));
    let ended = run(&mut sync(3)).expect(0);
    assert!(totals(&ended, "resumed_bytes") >= 1 << 20);
    assert_identical(&source, &target);
    assert_eq!(files_in(&target).len(), 1);
}

#[test]
fn clean_removes_only_what_is_old_and_what_jobs_have_staged() {
    let work = Sandbox::new();
    let staged = work.at("a/.dcp.0123456789abcdef.0.7");
    write(&staged, b"x");
    for other in ["a/.dcp.notes", "a/b/dcp.0123456789abcdef.0.7", "a/b/data"] {
        write(&work.path().join(other), b"x");
    }
    let clean = |options: &[&str]| {
        run(tool(2, "dcp").args(["--json", "--clean"]).arg(work.path()).args(options)).expect(0)
    };
    let leftovers = |ended: &Ended| ended.summary()["totals"]["leftovers"].clone();
    let counts = |removed: u64, too_recent: u64| serde_json::json!({"found": 1, "removed": removed, "too_recent": too_recent});
    assert_eq!(leftovers(&clean(&[])), counts(0, 1));
    assert_eq!(leftovers(&clean(&["--min-age=0s", "-n"])), counts(1, 0));
    // In any order.
    let command = ["--clean", "--min-age", "0s", "-n"];
    let named = run(tool(1, "dcp").args(command).arg(work.path())).expect(0).stdout;
    assert!(named.contains(staged.to_str().unwrap()), "{named}");
    assert!(staged.exists());
    assert_eq!(leftovers(&clean(&["--min-age=0s"])), counts(1, 0));
    assert!(!staged.exists());
    assert_eq!(files_in(work.path()).len(), 3);
    run(tool(1, "dcp").arg("--clean").arg(work.at("missing"))).expect(3);
}
