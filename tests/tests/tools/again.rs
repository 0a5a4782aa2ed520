//! Tests of the same command again: in any spelling, with other options, with a source that was
//! changed meanwhile. In the end the target is the one that an undisturbed run makes, nothing of
//! any run is left, and nothing is copied twice.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::resume::{copy, stopped};
use suite_tests::job::{Ended, assert_identical, run, tool};
use suite_tests::preload::Gates;
use suite_tests::sandbox::Sandbox;
use suite_tests::skips;
use suite_tests::trees::{noise, write};
use suite_tests::unfinished::{files_in, is_staged, journals, totals};
use suite_tests::waiting::wait_within;

/// Writes other content of the same length into a file, and restores its modification time.
fn rewrite(path: &Path) {
    let before = fs::metadata(path).unwrap();
    let bytes: Vec<u8> = fs::read(path).unwrap().into_iter().map(|byte| !byte).collect();
    let file = File::options().write(true).open(path).unwrap();
    std::io::Write::write_all(&mut &file, &bytes).unwrap();
    file.set_times(FileTimes::new().set_modified(before.modified().unwrap())).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Checks that nothing of any run is left.
#[track_caller]
fn assert_clean(target: &Path) {
    let staged: Vec<_> = files_in(target).into_iter().filter(|path| is_staged(path)).collect();
    assert_eq!((staged, journals(target)), (Vec::new(), Vec::new()));
}

/// Runs a copy of some files that ends with 23, because an entry is in the way of one of them, and
/// removes that entry.
fn failed(work: &Path, options: &[&str]) -> (PathBuf, PathBuf) {
    let (source, target) = (work.join("s"), work.join("t"));
    for name in ["a", "b", "sub/c"] {
        write(&source.join(name), name.as_bytes());
    }
    fs::create_dir_all(target.join("b")).unwrap();
    run(&mut again(2, options, &source, &target)).expect(23);
    fs::remove_dir(target.join("b")).unwrap();
    (source, target)
}

fn again(ranks: u32, options: &[&str], source: &Path, target: &Path) -> Command {
    let mut command = tool(ranks, "dcp");
    command.args(["--json", "--resume"]).args(options).arg(source.join("")).arg(target);
    command
}

#[test]
fn no_file_is_made_of_two_versions_of_its_source() {
    let work = Sandbox::new();
    let (source, target) = stopped(work.path(), &[]);
    rewrite(&source.join("large"));
    let ended = run(copy(2, &source, &target).args(["--verify", "transferred"])).expect(0);
    assert_eq!(totals(&ended, "resumed_bytes"), 0);
    assert_identical(&source, &target);
    assert_clean(&target);
}

#[test]
fn what_was_finished_is_copied_again_where_its_source_has_other_content() {
    for name in ["dcp", "dsync"] {
        let work = Sandbox::new();
        let (source, target) = (work.source(), work.target());
        for name in ["a", "b", "c"] {
            write(&source.join(name), name.as_bytes());
        }
        // In the way of the file.
        write(&target.join("b/in the way"), b"x");
        let command = |ranks| {
            let mut command = tool(ranks, name);
            command.args(["--json", "--resume", "-p"]).arg(source.join("")).arg(&target);
            command
        };
        run(&mut command(2)).expect(23);
        fs::remove_dir_all(target.join("b")).unwrap();
        rewrite(&source.join("a"));
        let ended = run(&mut command(3)).expect(0);
        assert_eq!(totals(&ended, "copied_bytes"), 2, "a and b, not c");
        assert_identical(&source, &target);
        assert_clean(&target);
    }
}

#[test]
fn a_source_that_was_only_touched_is_read_again_and_not_sent_again() {
    let work = Sandbox::new();
    let (source, target) = stopped(work.path(), &[]);
    fs::set_permissions(source.join("large"), Permissions::from_mode(0o4750)).unwrap();
    let ended = run(&mut copy(3, &source, &target)).expect(0);
    assert!(totals(&ended, "resumed_bytes") >= 1 << 20);
    assert_eq!(mode(&target.join("large")), 0o4750);
    assert_identical(&source, &target);
}

/// Checks that a job is resumed whatever the spelling of its paths.
#[test]
fn a_job_goes_on_however_its_places_are_spelled() {
    let spellings: [(&str, &[&str]); 5] = [
        (".", &["s", "t/"]),
        (".", &["s/", "t"]),
        ("cwd", &["../s", "../t"]),
        ("cwd", &["../cwd/../s", ".././t/"]),
        (".", &["link/s", "link/t"]),
    ];
    for (directory, places) in spellings {
        for start in ["--resume", "--no-resume"] {
            let work = Sandbox::new();
            let (source, target) = stopped(work.path(), &[]);
            fs::create_dir(work.at("cwd")).unwrap();
            symlink(".", work.at("link")).unwrap();
            let mut command = tool(2, "dcp");
            command.current_dir(work.path().join(directory));
            let ended = run(command.args(["-p", "--json", start]).args(places)).expect(0);
            let resumed = totals(&ended, "resumed_bytes");
            assert_eq!(resumed >= 1 << 20, start == "--resume", "{places:?}: {resumed}");
            assert_eq!(files_in(&target), [target.join("large")], "{places:?}");
            assert_identical(&source, &target);
            assert_clean(&target);
        }
    }
}

#[test]
fn a_job_that_is_queued_again_after_a_good_end_copies_nothing() {
    let work = Sandbox::new();
    let (source, target) = (work.source(), work.target());
    write(&source.join("sub/file"), b"content");
    write(&source.join("other"), b"other content");
    for (round, expected) in [(0, 20), (1, 0), (2, 0)] {
        let ended = run(&mut copy(2, &source, &target)).expect(0);
        assert_eq!(totals(&ended, "copied_bytes"), expected, "round {round}");
        assert_identical(&source, &target);
        assert_clean(&target);
    }
    // A directory that is not a copy of it receives it, as with cp.
    fs::write(target.join("other"), b"OTHER CONTENT").unwrap();
    fs::remove_file(target.join("sub/file")).unwrap();
    fs::create_dir(target.join("more")).unwrap();
    let ended = run(&mut copy(2, &source, &target)).expect(2);
    let way_out = format!("write {}/ {} to resume it", source.display(), target.display());
    assert!(ended.stderr.contains(&way_out), "{}", ended.stderr);
    assert!(!target.join("s").exists() && journals(&target).is_empty());
    run(&mut copy(2, &source.join(""), &target)).expect(0);
    assert_eq!(fs::read(target.join("other")).unwrap(), b"other content");
    // A directory with few of its names is not a copy of it, and receives it, as with cp.
    for name in ["x", "y", "z"] {
        write(&source.join(name), b"x");
    }
    run(&mut copy(2, &source, &target)).expect(0);
    assert_identical(&source, &target.join("s"));
}

#[test]
fn a_damaged_journal_is_an_error_that_names_it() {
    let work = Sandbox::new();
    let (source, target) = stopped(work.path(), &[]);
    let journal = journals(&target).pop().unwrap();
    for name in ["job", "unfinished", "target"] {
        let path = journal.join(name);
        let whole = fs::read(&path).unwrap();
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 0x20;
        fs::write(&path, damaged).unwrap();
        for options in [&["-p"][..], &["-p", "--resume"], &["-p", "--no-resume"]] {
            let ended = run(tool(2, "dcp").args(options).args([&source, &target])).expect(3);
            let told = format!("{}: {name} is corrupt", journal.display());
            assert!(ended.stderr.contains(&told), "{}", ended.stderr);
            assert!(ended.stderr.contains("dcp --clean"), "{}", ended.stderr);
        }
        fs::write(&path, whole).unwrap();
    }
    assert!(!target.join("s").exists());
    run(&mut copy(2, &source, &target)).expect(0);
    assert_identical(&source, &target);
}

/// Checks that a journal of another tool or other names gets a message of one line, and is not
/// touched.
#[test]
fn a_journal_belongs_to_one_tool_and_one_set_of_names() {
    let work = Sandbox::new();
    let (source, target) = stopped(work.path(), &[]);
    write(&source.join("small"), b"x");
    let lists = ["one", "two"].map(|name| work.at(name));
    for list in &lists {
        fs::write(list, "small\n").unwrap();
    }
    let theirs = (journals(&target), files_in(&target));
    let told = |ended: &Ended, tool: &str| {
        let journal = theirs.0[0].display().to_string();
        let line = ended.stderr.lines().find(|line| line.contains(&journal)).unwrap();
        assert!(line.contains(&format!("belongs to another job, {tool} ")), "{line}");
        assert!(line.contains("it is not changed"), "{line}");
    };
    for resume in [&[][..], &["--resume"]] {
        let ended =
            run(tool(2, "dsync").args(resume).args([&source, &target]).arg("--exclude=large"));
        told(&ended.expect(0), "dcp");
        for list in &lists {
            let mut command = tool(2, "dcp");
            command.args(resume).arg("--files-from").arg(list).args([&source, &target]);
            told(&run(&mut command).expect(0), "dcp");
        }
        fs::remove_file(target.join("small")).unwrap();
        assert_eq!((journals(&target), files_in(&target)), theirs);
    }
    let ended = run(&mut copy(2, &source, &target)).expect(0);
    assert!(totals(&ended, "resumed_bytes") >= 1 << 20);
    assert_clean(&target);
}

#[test]
fn a_journal_of_a_target_that_is_gone_leads_nobody_astray() {
    for start in [&["--json"][..], &["--json", "--resume"]] {
        let work = Sandbox::new();
        let (source, target) = stopped(work.path(), &[]);
        // The inode may be used again.
        fs::remove_dir_all(&target).unwrap();
        fs::create_dir(&target).unwrap();
        let ended = run(tool(2, "dcp").args(start).args([&source, &target])).expect(0);
        assert!(ended.stderr.contains("its target was removed or replaced"), "{}", ended.stderr);
        assert!(
            fs::read(target.join("s/large")).unwrap() == fs::read(source.join("large")).unwrap()
        );
        assert_eq!(files_in(&target).len(), 1);
        assert_clean(&target);
    }
}

#[test]
fn what_is_finished_gets_what_has_changed_of_its_source() {
    let work = Sandbox::new();
    let (source, target) = failed(work.path(), &["-p"]);
    fs::set_permissions(source.join("a"), Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(source.join("sub"), Permissions::from_mode(0o2751)).unwrap();
    let set = Command::new("setfattr")
        .args(["-n", "user.new", "-v", "1"])
        .arg(source.join("sub/c"))
        .status();
    assert!(set.unwrap().success());
    if skips::has_root() {
        std::os::unix::fs::chown(source.join("sub/c"), Some(1234), Some(5678)).unwrap();
    }
    let ended = run(&mut again(3, &["-p"], &source, &target)).expect(0);
    assert_eq!(totals(&ended, "copied_bytes"), 1, "b alone");
    run(tool(2, "dcmp").args(["-q", "--xattrs=all"]).args([&source, &target])).expect(0);
    assert_clean(&target);
}

/// Checks that new files have the source's mode under the umask.
#[test]
fn a_mode_that_was_changed_arrives_without_preserve_too() {
    let work = Sandbox::new();
    let (source, target) = (work.source(), work.target());
    write(&source.join("a"), b"a");
    write(&source.join("large"), &noise(24 << 20));
    let stop = |source: &Path| {
        let mut job = suite_tests::unfinished::begin(
            tool(1, "dcp")
                .args(["--resume", "-k256KiB", "--bufsize=256", "--threads=2"])
                .args([source, &target]),
        );
        while !target.join("a").exists() || files_in(&target).iter().all(|path| !is_staged(path)) {
            assert!(job.try_wait().unwrap().is_none(), "it was too fast");
        }
        run(Command::new("kill").args(["-KILL", &job.id().to_string()]));
        job.wait().unwrap();
    };
    stop(&source);
    fs::set_permissions(source.join("a"), Permissions::from_mode(0o700)).unwrap();
    run(tool(2, "dcp").arg("--resume").args([&source, &target])).expect(0);
    assert_eq!(mode(&target.join("a")), 0o700);
    assert_clean(&target);
}

#[test]
fn options_that_decide_what_is_written_are_applied_or_refused_by_name() {
    let work = Sandbox::new();
    let (source, target) = failed(work.path(), &[]);
    fs::set_permissions(source.join("a"), Permissions::from_mode(0o4777)).unwrap();
    let list = work.path().join("list").into_os_string().into_string().unwrap();
    fs::write(&list, "x\n".repeat(10_000)).unwrap();
    for (options, name) in [
        (&["--exclude=x"][..], "--include, --exclude"),
        (&["--exclude-from", &list], "--include, --exclude"),
        (&["--update"], "--update"),
        (&["--compare-dest=/"], "--link-dest, --compare-dest"),
        (&["-L"], "--dereference"),
        (&["-H"], "--hard-links"),
        (&["--sparse=always"], "--sparse"),
        (&["--min-size=1"], "--min-size"),
        (&["--max-depth=1"], "--max-depth"),
    ] {
        let ended = run(&mut again(2, options, &source, &target)).expect(2);
        assert!(ended.stderr.contains(&format!("other options ({name})")), "{}", ended.stderr);
        assert!(ended.stderr.contains("--no-resume"), "{}", ended.stderr);
    }
    // Free ones.
    let ended = run(&mut again(1, &["-p", "-k1MiB", "--threads=3", "--direct"], &source, &target));
    assert_eq!(totals(&ended.expect(0), "copied_bytes"), 1, "b alone");
    assert_identical(&source, &target);
    assert_clean(&target);
    let work = Sandbox::new();
    let (source, target) = failed(work.path(), &["-p"]);
    let ended = run(&mut again(2, &[], &source, &target)).expect(2);
    assert!(ended.stderr.contains("--preserve=mode"), "{}", ended.stderr);
    run(&mut again(2, &["--no-resume"], &source, &target)).expect(0);
    assert_clean(&target);
}

/// Checks a directory without write permission, which is created with more permissions for as long
/// as it is filled.
#[test]
fn a_directory_of_a_killed_job_has_the_mode_of_a_single_run_without_preserve_too() {
    for (is_into, name) in [(true, "t/s"), (true, "t/s/d"), (false, "t/d")] {
        let work = Sandbox::new();
        let (source, target) = (work.source(), work.target());
        write(&source.join("d/large"), &noise(24 << 20));
        write(&target.join("others"), b"x");
        for dir in [source.join("d"), source.clone()] {
            fs::set_permissions(dir, Permissions::from_mode(0o555)).unwrap();
        }
        let command = || {
            let mut command = tool(1, "dcp");
            command.args(["--resume", "-k256KiB", "--bufsize=256", "--threads=2"]);
            command.arg(if is_into { source.clone() } else { source.join("") }).arg(&target);
            command
        };
        let mut job = suite_tests::unfinished::begin(&mut command());
        while files_in(&target).iter().all(|path| !is_staged(path)) {
            assert!(job.try_wait().unwrap().is_none(), "it was too fast");
        }
        run(Command::new("kill").args(["-KILL", &job.id().to_string()]));
        job.wait().unwrap();
        assert_eq!(mode(&work.path().join(name)) & 0o200, 0o200);
        run(&mut command()).expect(0);
        assert_eq!(mode(&work.path().join(name)), 0o555, "{name}");
        assert_clean(&target);
    }
}

/// Checks that another umask is applied to finished entries where all of them are new; elsewhere
/// their earlier modes are unknown, and it is refused.
#[test]
fn another_umask_is_applied_or_refused() {
    for is_new in [true, false] {
        let work = Sandbox::new();
        let (source, target) = (work.source(), work.target());
        write(&source.join("a"), b"a");
        write(&source.join("b/file"), b"b");
        fs::set_permissions(source.join("a"), Permissions::from_mode(0o666)).unwrap();
        if !is_new {
            fs::create_dir(&target).unwrap();
        }
        let command = |mask: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", &format!("umask {mask}; exec \"$@\""), "sh"]);
            command.arg(suite_tests::job::program("dcp")).args(["--resume", "-L"]);
            command.arg(source.join("")).arg(&target);
            command
        };
        symlink("nowhere", source.join("link")).unwrap();
        run(&mut command("022")).expect(23);
        fs::remove_file(source.join("link")).unwrap();
        assert_eq!(mode(&target.join("a")), 0o644);
        let mask = if is_new {
            "027"
        } else {
            let ended = run(&mut command("027")).expect(2);
            assert!(ended.stderr.contains("other options (umask)"), "{}", ended.stderr);
            "022"
        };
        run(&mut command(mask)).expect(0);
        let expected = if is_new { [0o640, 0o750] } else { [0o644, 0o755] };
        assert_eq!(["a", "b"].map(|name| mode(&target.join(name))), expected);
        assert_clean(&target);
    }
}

/// Checks a source directory that was renamed, and whose old copy no run visits any more.
#[test]
fn a_directory_that_got_another_name_has_the_rights_of_its_own() {
    let work = Sandbox::new();
    let (source, target) = (work.source(), work.target());
    write(&source.join("d/large"), &noise(24 << 20));
    fs::set_permissions(source.join("d"), Permissions::from_mode(0o2755)).unwrap();
    let mut job = suite_tests::unfinished::begin(&mut copy(1, &source, &target));
    let has_staged = || files_in(&target).iter().any(|path| is_staged(path));
    wait_within(&mut job, "a file is staged", has_staged);
    run(Command::new("kill").args(["-KILL", &job.id().to_string()]));
    job.wait().unwrap();
    fs::rename(target.join("d"), target.join("e")).unwrap();
    run(&mut copy(2, &source, &target)).expect(0);
    assert_eq!(mode(&target.join("e")), 0o2755);
}

/// Checks that the message tells where the job is running, and since when.
#[test]
fn a_job_that_is_at_work_is_told_of() {
    let work = Sandbox::new();
    let (source, target) = stopped(work.path(), &[]);
    let mut holder = copy(1, &source, &target);
    holder.env("SLURM_JOB_ID", "4711").env("SLURM_STEP_ID", "0");
    let gates = Gates::closed(work.path(), &["large"]);
    let mut job = suite_tests::unfinished::begin(gates.hold(&mut holder));
    wait_within(&mut job, "it is held", || gates.is_reached("large"));
    let ended = run(&mut copy(1, &source, &target));
    gates.open("large");
    job.wait().unwrap();
    let ended = ended.expect(2);
    assert!(ended.stderr.contains("its job is still at work since 20"), "{}", ended.stderr);
    let process = format!("process {}", job.id());
    assert!(ended.stderr.contains(&process), "{}", ended.stderr);
    assert!(ended.stderr.contains("Slurm job 4711"), "{}", ended.stderr);
}
