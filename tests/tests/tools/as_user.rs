//! Tests of jobs that root has started for a user (`--uid`, `--gid`): whose files they write, what
//! they may read, and what is left of them.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use suite_tests::job::{Ended, alone, mpiexec, nobody, program, ranks, run, tool};
use suite_tests::waiting::wait_until;
use suite_tests::{need_root, trees};

const UID: u32 = 65_534;
const GID: u32 = 12_345;

struct Pair {
    _work: tempfile::TempDir,
    source: PathBuf,
    target: PathBuf,
}

/// Returns a source that the user may read but for a file and a directory, and a directory that it
/// may write to.
fn pair() -> Pair {
    let work = tempfile::tempdir().unwrap();
    fs::set_permissions(work.path(), Permissions::from_mode(0o711)).unwrap();
    let (source, target) = (work.path().join("s"), work.path().join("t"));
    trees::small_files(&source, 3, 40);
    trees::write(&source.join("large"), &trees::noise(900_000));
    trees::write(&source.join("closed/file"), b"root's alone");
    trees::write(&source.join("root's"), b"root's alone");
    for closed in ["closed", "root's"] {
        fs::set_permissions(source.join(closed), Permissions::from_mode(0o700)).unwrap();
    }
    fs::create_dir(&target).unwrap();
    chown(&target, Some(UID), Some(GID)).unwrap();
    Pair { _work: work, source, target }
}

/// Returns the segments of memory that MPI has left in `/dev/shm` for this program's jobs.
fn segments() -> BTreeSet<String> {
    let all = fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    let names = all.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.contains("segment") || name.contains("mpich")).collect()
}

fn as_user(count: u32, name: &str) -> Command {
    let mut job = tool(count, name);
    job.args(["--uid", "65534", "--gid", "12345"]);
    job
}

fn assert_owned(root: &Path) {
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        let found = fs::symlink_metadata(&path).unwrap();
        assert_eq!((found.uid(), found.gid()), (UID, GID), "{}", path.display());
        if found.is_dir() {
            assert_owned(&path);
        }
    }
}

#[test]
fn files_are_the_users_and_what_it_may_not_read_is_not_read() {
    need_root!();
    for count in [1, 3] {
        let Pair { source, target, .. } = &pair();
        let mut job = as_user(count, "dcp");
        let ended = run(job.args(["-k", "64KiB"]).arg(source).arg(target)).expect(23);
        let denied = ended.stderr.lines().filter(|line| line.contains("Permission denied"));
        assert_eq!(denied.count(), 2, "{}", ended.stderr);
        let copy = target.join("s");
        assert_eq!(fs::read(copy.join("large")).unwrap(), trees::noise(900_000));
        assert!(!copy.join("root's").exists());
        assert_owned(&copy);
        let lines = ended.stderr.lines().filter(|line| line.contains("system call failed"));
        assert_eq!(lines.count(), 0, "{}", ended.stderr);
    }
}

#[test]
fn a_target_that_is_not_the_users_is_not_written_to() {
    need_root!();
    let Pair { source, target, .. } = &pair();
    chown(target, Some(0), Some(0)).unwrap();
    fs::set_permissions(target, Permissions::from_mode(0o755)).unwrap();
    let before = segments();
    for words in [&["dcp", "--json"][..], &["dsync", "-D"], &["dsync"]] {
        let mut job = as_user(2, words[0]);
        let ended = run(job.args(&words[1..]).arg(source).arg(target));
        assert!(matches!(ended.code, Some(3 | 23)), "{ended:?}");
        assert_eq!(fs::read_dir(target).unwrap().count(), 0);
    }
    let mut job = as_user(2, "drm");
    run(job.arg(source.join("large"))).expect(23);
    assert!(source.join("large").exists());
    assert_no_segments(&before);
}

/// Checks that no segment is left that no process uses.
#[track_caller]
fn assert_no_segments(before: &BTreeSet<String>) {
    let left: Vec<_> = segments().difference(before).cloned().collect();
    // Other tests run jobs of their own meanwhile, whose segments are there for as long.
    let is_gone = |name: &String| !Path::new("/dev/shm").join(name).exists();
    wait_until("no segment is left that no process uses", || {
        left.iter().all(|name| is_gone(name) || is_in_use(name))
    });
}

/// Returns true where a process has mapped that segment.
fn is_in_use(name: &str) -> bool {
    let maps = |pid: PathBuf| fs::read_to_string(pid.join("maps")).unwrap_or_default();
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    processes.map(maps).any(|maps| maps.contains(name))
}

#[test]
fn all_attributes_that_a_user_may_set_are_preserved() {
    need_root!();
    let Pair { source, target, .. } = &pair();
    fs::remove_dir_all(source.join("closed")).unwrap();
    fs::remove_file(source.join("root's")).unwrap();
    trees::write(&source.join("acl"), b"x");
    run(Command::new("setfattr").args(["-n", "user.note", "-v", "1"]).arg(source.join("acl")));
    for path in ["", "acl", "large"] {
        chown(source.join(path), Some(UID), Some(GID)).unwrap();
    }
    let mut job = as_user(3, "dsync");
    run(job.arg(source).arg(target)).expect(0);
    let mut check = as_user(2, "dcmp");
    run(check.args(["--ignore", "uid,gid"]).arg(source).arg(target)).expect(0);
    let one = |name: &str| fs::metadata(target.join(name)).unwrap().mtime_nsec();
    assert_eq!(one("acl"), fs::metadata(source.join("acl")).unwrap().mtime_nsec());
}

#[test]
fn names_and_wrong_users_are_answered_in_one_line() {
    need_root!();
    let Pair { source, target, .. } = &pair();
    let words = [source.to_str().unwrap(), target.to_str().unwrap()];
    for (identity, expected) in [
        (&["--uid", "no-such-user"][..], "no user \"no-such-user\""),
        (&["--uid", "123456"], "--gid"),
        (&["--uid", "0", "--gid", "no-such-group"], "no group \"no-such-group\""),
    ] {
        let ended = run(alone("dcp").args(identity).args(words)).expect(2);
        assert!(ended.stderr.contains(expected), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
    let (_programs, dcp) = suite_tests::job::for_everybody("dcp");
    let ended = run(nobody().arg(dcp).args(["--uid", "0"]).args(words)).expect(2);
    assert!(ended.stderr.contains("root has started"), "{}", ended.stderr);
    let mut named = alone("dwalk");
    run(named.args(["-U", "nobody", "-G", "daemon"]).arg(source)).expect(23);
    // As root: nothing changes.
    run(alone("dwalk").args(["--uid", "root"]).arg(source)).expect(0);
}

#[test]
fn large_messages_pass_between_ranks_that_are_the_user() {
    need_root!();
    let work = tempfile::tempdir().unwrap();
    let file = work.path().join("root's");
    trees::write(&file, b"root's alone");
    fs::set_permissions(work.path(), Permissions::from_mode(0o711)).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let (uid, gid) = (UID.to_string(), GID.to_string());
    let words = ["--uid", &uid, &gid, file.to_str().unwrap()].map(str::to_owned);
    assert_arrived(&run(ranks(3, "big_messages").args(&words)));
    // As in a container, where root may not trace processes.
    let launcher = mpiexec();
    let mut contained = Command::new("setpriv");
    contained.args(["--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace"]);
    contained.args(launcher).args(["-n", "3"]).arg(program("big_messages")).args(&words);
    assert_arrived(&run(&mut contained));
}

/// Checks that all ranks have done their work and left MPI.
#[track_caller]
fn assert_arrived(ended: &Ended) {
    assert_eq!(ended.stdout.matches("arrived\n").count(), 3, "{ended:?}");
    assert!(ended.code == Some(0) && ended.stderr.is_empty(), "{ended:?}");
}

/// Returns what a regular expression matches in the output of a job, as programs look for it that
/// read the output of mpiFileUtils.
fn matches(expression: &str, output: &Path) -> Vec<String> {
    let found = run(Command::new("grep").args(["-oE", "--", expression]).arg(output)).stdout;
    found.lines().map(str::to_owned).collect()
}

/// Runs the command of systems that stage data for node-local flash: dcp with a hostfile, as a
/// user, in an environment that asks for the words of mpiFileUtils. Both outputs go to one file.
fn stage_in(work: &Path, paths: [&Path; 2]) -> Ended {
    let is_hydra = suite_tests::skips::has_hydra();
    let host = if is_hydra { "localhost:8\n" } else { "localhost slots=8\n" };
    fs::write(work.join("hosts"), host).unwrap();
    let script = "out=$1; shift; ulimit -n 2048 && \"$@\" > \"$out\" 2>&1";
    let mut shell = Command::new("bash");
    shell.args(["-c", script, "bash"]).arg(work.join("output")).arg(&mpiexec()[0]);
    shell.args((!is_hydra).then_some("--allow-run-as-root"));
    shell.arg("--hostfile").arg(work.join("hosts")).arg(program("dcp")).args(["--progress", "1"]);
    shell.args(["--uid", "65534", "--gid", "12345"]).args(paths);
    run(shell.env("DCP_OUTPUT_STYLE", "mfu").env("DCP_BWLIMIT", "2M"))
}

/// Returns the percentages in the output.
fn percentages(output: &Path) -> Vec<u32> {
    let copied = matches(r"Copied.+\(([[:digit:]]{1,3})%\)", output);
    let percent = |line: &String| line.rsplit_once('(')?.1.strip_suffix("%)")?.parse().ok();
    copied.iter().map(|line| percent(line).unwrap()).collect()
}

#[test]
fn the_command_of_node_local_flash_is_understood_and_what_it_reports_too() {
    need_root!();
    let Pair { _work: work, source, target } = &pair();
    let output = &work.path().join("output");
    let before = segments();
    // What the user may not read is no success, and is not at the target.
    stage_in(work.path(), [source, target]);
    assert_eq!(matches("Permission denied", output).len(), 2, "{}", text(output));
    assert!(percentages(output).iter().all(|percent| *percent < 100), "{}", text(output));
    assert!(!target.join("s/root's").exists() && source.join("root's").exists());
    // Without that, and again.
    fs::remove_dir_all(source.join("closed")).unwrap();
    fs::remove_file(source.join("root's")).unwrap();
    trees::write(&source.join("larger"), &trees::noise(4_000_000));
    for _ in 0..2 {
        stage_in(work.path(), [source, target]).expect(0);
        let all = percentages(output);
        assert!(all.len() > 1 && all.is_sorted(), "{}", text(output));
        assert_eq!(all.iter().filter(|percent| **percent == 100).count(), 1, "{all:?}");
        let bytes = 900_000 + 4_000_000 + files_of_pair_bytes(source);
        for (expression, expected) in [
            ("Seconds: ([[:digit:].]+)", None),
            ("Items: ([[:digit:]]+)", Some("Items: 126".to_owned())),
            ("Directories: ([[:digit:]]+)", Some("Directories: 4".to_owned())),
            ("Files: ([[:digit:]]+)", Some("Files: 122".to_owned())),
            ("Links: ([[:digit:]]+)", Some("Links: 0".to_owned())),
            ("Data: (.*)", None),
            ("Rate: (.*)", None),
        ] {
            let found = matches(expression, output);
            assert_eq!(found.len(), 1, "{expression}: {}", text(output));
            assert!(expected.is_none_or(|expected| found[0] == expected), "{found:?}");
        }
        let data = matches(r"Data: .* \([0-9]+ bytes\)", output);
        assert!(data[0].ends_with(&format!("({bytes} bytes)")), "{data:?} {bytes}");
        // Neither the tool nor MPI has anything else to say.
        assert!(text(output).lines().all(|line| line.starts_with("[20")), "{}", text(output));
        assert_owned(target);
    }
    assert_eq!(fs::read(target.join("s/larger")).unwrap(), trees::noise(4_000_000));
    assert_no_segments(&before);
}

fn text(output: &Path) -> String {
    fs::read_to_string(output).unwrap()
}

/// Returns the bytes of the small files.
fn files_of_pair_bytes(source: &Path) -> u64 {
    let dirs = fs::read_dir(source).unwrap().map(|entry| entry.unwrap().path());
    let files = dirs.filter(|path| path.is_dir()).flat_map(|dir| fs::read_dir(dir).unwrap());
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}
