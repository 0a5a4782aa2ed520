//! drm on file systems: entries that are deleted, that stay, and that are never touched.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use suite_tests::job::{Ended, alone, nobody, program, run, tool};
use suite_tests::mounts::SlowDisk;
use suite_tests::sandbox::Sandbox;
use suite_tests::waiting::wait_within;
use suite_tests::{need_root, trees};

/// Runs drm in a directory, with that number of ranks.
fn drm(count: u32, work: &Path, words: &[&str]) -> Ended {
    run(tool(count, "drm").current_dir(work).args(words))
}

/// Returns the paths of all entries below a directory.
fn below(root: &Path) -> BTreeSet<String> {
    let found = run(Command::new("find").arg(root).args(["-mindepth", "1", "-printf", "%P\\0"]));
    found.expect(0).stdout.split_terminator('\0').map(str::to_owned).collect()
}

fn names(all: &[&str]) -> BTreeSet<String> {
    all.iter().map(|name| (*name).to_owned()).collect()
}

/// Creates files, links, a FIFO and directories, some of them empty.
fn mixed(root: &Path) {
    trees::small_files(root, 5, 30);
    for file in ["d0000/keep.me", "d0001/sub/x.core", "d0001/sub/y.c", "d0002/a/b/c/deep.core"] {
        trees::write(&root.join(file), b"content");
    }
    fs::create_dir_all(root.join("empty/inner")).unwrap();
    symlink("/etc", root.join("d0000/out")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    run(Command::new("mkfifo").arg(root.join("fifo"))).expect(0);
}

fn deleted(ended: &Ended) -> u64 {
    let kinds = &ended.summary()["totals"]["synced"]["deleted"];
    kinds.as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum()
}

#[test]
fn a_directory_that_is_named_is_excluded_by_its_name() {
    for pattern in ["keep", "keep/", "/keep"] {
        let work = Sandbox::new();
        for file in ["keep/inner", "keep.o", "gone/keep/inner", "gone/file", "file"] {
            trees::write(&work.at(file), b"content");
        }
        let all = ["keep", "keep.o", "gone", "file"].map(|name| work.at(name));
        run(tool(2, "drm").args(["--exclude", pattern]).args(all)).expect(0);
        let stays = ["gone", "gone/keep", "gone/keep/inner", "keep", "keep/inner"];
        assert_eq!(below(work.path()), names(&stays), "{pattern}");
        run(tool(1, "drm").args(["--exclude", pattern]).arg(work.at("keep"))).expect(0);
        assert!(work.at("keep/inner").exists(), "{pattern}");
        // What a list names is below the path, which is not to be deleted itself.
        trees::write(&work.at("list"), b"keep.x\n");
        trees::write(&work.at("keep/keep.x"), b"content");
        let mut named = tool(2, "drm");
        named.args(["--exclude", pattern, "--files-from"]).args([work.at("list"), work.at("keep")]);
        run(&mut named).expect(0);
        assert!(!work.at("keep/keep.x").exists() && work.at("keep").exists(), "{pattern}");
        // A pattern that matches all names is about what is in the directory.
        let inner = ["--include=inner", "--exclude=*"];
        run(tool(1, "drm").args(inner).arg(work.at("keep"))).expect(0);
        assert!(!work.at("keep/inner").exists(), "{pattern}");
    }
}

#[test]
fn a_tree_goes_with_all_that_is_in_it_and_nothing_else() {
    need_root!();
    for count in [1, 4] {
        let work = Sandbox::new();
        let outside = work.at("outside");
        trees::write(&outside.join("file"), b"stays");
        let tree = work.at("tree");
        mixed(&tree);
        trees::awkward_tree(&tree.join("awkward"));
        symlink(&outside, tree.join("to-outside")).unwrap();
        fs::hard_link(outside.join("file"), tree.join("hard")).unwrap();
        let found = run(Command::new("find").arg(&tree).arg("-print0")).expect(0);
        let entries = found.stdout.matches('\0').count() as u64;
        let ended = drm(count, work.path(), &["--json", "tree"]).expect(0);
        assert_eq!(deleted(&ended), entries);
        assert_eq!(below(work.path()), names(&["outside", "outside/file"]));
        assert!(Path::new("/etc/passwd").exists());
        // A second run finds nothing.
        drm(count, work.path(), &["tree"]).expect(3);
    }
}

#[test]
fn single_entries_go_and_links_that_are_named_go_themselves() {
    let work = Sandbox::new();
    trees::write(&work.at("dir/file"), b"content");
    symlink("dir", work.at("link")).unwrap();
    symlink("nowhere", work.at("dangling")).unwrap();
    trees::write(&work.at("file"), b"content");
    let refused = drm(1, work.path(), &["link/"]).expect(3);
    assert!(refused.stderr.contains("without the slash"), "{}", refused.stderr);
    drm(1, work.path(), &["file/"]).expect(3);
    assert_eq!(below(work.path()).len(), 5);
    drm(4, work.path(), &["link", "dangling", "file"]).expect(0);
    assert_eq!(below(work.path()), names(&["dir", "dir/file"]));
    // A missing path is one failure, and the rest is deleted.
    let ended = drm(1, work.path(), &["missing", "dir/"]).expect(23);
    assert!(ended.stderr.contains("\"missing\": No such file"), "{}", ended.stderr);
    assert_eq!(below(work.path()), names(&[]));
}

#[test]
fn a_dry_run_names_what_would_go_and_removes_nothing() {
    let work = Sandbox::new();
    let tree = work.at("tree");
    mixed(&tree);
    let before = below(&tree);
    for (count, options) in [(1, &["--exclude=keep.*"][..]), (4, &["--exclude=keep.*", "--json"])] {
        let words = [&["-n", "tree", "-o", "list", "-t"], options].concat();
        let ended = drm(count, work.path(), &words).expect(0);
        assert_eq!(below(&tree), before);
        let list = fs::read_to_string(work.at("list")).unwrap();
        let named: BTreeSet<String> = list
            .lines()
            .map(|line| line.strip_prefix("delete tree/").unwrap().to_owned())
            .collect();
        let stays = names(&["d0000", "d0000/keep.me"]);
        assert_eq!(named, before.difference(&stays).cloned().collect(), "{}", ended.stdout);
    }
    // The job then deletes all of that, and nothing else.
    let ended = drm(4, work.path(), &["tree", "--exclude=keep.*", "--json", "-o", "-"]).expect(0);
    assert_eq!(ended.events("plan").len() as u64, deleted(&ended));
    assert_eq!(below(&tree), names(&["d0000", "d0000/keep.me"]));
    assert_eq!(ended.summary()["totals"]["synced"]["non_empty_directories"], 2);
}

#[test]
fn filters_protect_what_they_leave_out_and_the_directories_it_is_in() {
    for count in [1, 4] {
        let work = Sandbox::new();
        let tree = work.at("tree");
        mixed(&tree);
        let before = below(&tree);
        let without = |gone: &[&str]| before.difference(&names(gone)).cloned().collect();
        // Only included entries are selected, and no directory is.
        let ended = drm(count, work.path(), &["--include=*.core", "tree"]).expect(0);
        let cores = ["d0001/sub/x.core", "d0002/a/b/c/deep.core"];
        assert_eq!(below(&tree), without(&cores), "{}", ended.stdout);
        // Names are matched as in mpiFileUtils.
        let words = ["--name", "--match", "^\\(inner\\|y\\.c\\)$", "tree"];
        drm(count, work.path(), &words).expect(0);
        let gone = [&cores[..], &["empty/inner", "d0001/sub/y.c"]].concat();
        assert_eq!(below(&tree), without(&gone));
        // Whole paths are matched.
        let whole = format!("^{}/d000[1-9]", tree.display());
        drm(count, work.path(), &["--match", &whole, "--exclude-regex", "f0000[0-3]$", "tree"])
            .expect(0);
        let left = below(&tree);
        let is_left = |path: &&String| path.starts_with("d0003/");
        let expected = (0..4).map(|number| format!("d0003/f0000{number}"));
        assert_eq!(
            left.iter().filter(is_left).cloned().collect::<Vec<_>>(),
            expected.collect::<Vec<_>>()
        );
        assert!(left.contains("d0000/f00020") && left.contains("empty"));
    }
}

#[test]
fn ages_hold_for_directories_and_links_and_sizes_mean_files() {
    let work = Sandbox::new();
    let tree = work.at("tree");
    for file in ["old/old", "old/new", "olddir/old"] {
        trees::write(&tree.join(file), b"content");
    }
    fs::create_dir_all(tree.join("newdir")).unwrap();
    symlink("x", tree.join("newlink")).unwrap();
    trees::write(&tree.join("large"), &[0; 10_000]);
    let long_ago = SystemTime::now() - Duration::from_hours(24 * 100);
    for old in ["old/old", "olddir/old", "olddir", "old"] {
        fs::File::open(tree.join(old)).unwrap().set_modified(long_ago).unwrap();
    }
    drm(1, work.path(), &["--min-size=5000", "tree"]).expect(0);
    assert!(!tree.join("large").exists() && tree.join("newlink").is_symlink());
    assert!(tree.join("newdir").exists());
    drm(4, work.path(), &["--min-age=30d", "tree"]).expect(0);
    assert_eq!(below(&tree), names(&["old", "old/new", "newdir", "newlink"]));
}

#[test]
fn what_must_not_be_deleted_is_refused_with_one_line() {
    let work = Sandbox::new();
    trees::write(&work.at("a/b/file"), b"content");
    let before = below(work.path());
    for (path, says) in [
        ("/", "the root directory"),
        ("//", "the root directory"),
        (".", "ends in \".\""),
        ("..", "ends in \"..\""),
        ("a/.", "ends in \".\""),
        ("a/b/..", "ends in \"..\""),
        ("a/../", "ends in \"..\""),
        ("", "an empty path"),
    ] {
        // A launcher may lose an empty argument.
        for count in [1, if path.is_empty() { 1 } else { 2 }] {
            let ended = drm(count, work.path(), &["a", path]).expect(2);
            assert!(ended.stderr.contains(says), "{path}: {}", ended.stderr);
            assert_eq!(ended.stderr.lines().filter(|line| line.starts_with("drm: ")).count(), 1);
        }
    }
    let ended = drm(1, work.path(), &["a", "a/b"]).expect(3);
    assert!(ended.stderr.contains("\"a/b\" is in \"a\""), "{}", ended.stderr);
    // A regular expression for protection is not taken for a glob that matches nothing.
    for expression in [".*\\.c$", "^/data", "x\\.y"] {
        let ended = drm(1, work.path(), &["--exclude", expression, "a"]).expect(2);
        assert!(ended.stderr.contains("--exclude-regex"), "{}", ended.stderr);
    }
    drm(1, work.path(), &["--match", "[a", "a"]).expect(2);
    drm(1, work.path(), &["--name", "a"]).expect(2);
    drm(1, work.path(), &[]).expect(2);
    assert_eq!(below(work.path()), before);
}

/// Mount points stay: a file system below the root, and a bind mount of a directory of the same
/// file system.
#[test]
fn the_home_directory_and_those_above_it_are_refused_however_they_are_named() {
    let work = Sandbox::new();
    trees::write(&work.at("all/home/thesis"), b"precious");
    symlink("home", work.at("all/link")).unwrap();
    for path in ["all/home", "all/home/", "all/link/../home", "all"] {
        let mut drm = tool(1, "drm");
        drm.current_dir(work.path()).env("HOME", work.at("all/home")).arg(path);
        let says = run(&mut drm).expect(2).stderr;
        assert!(says.contains("home directory or contains it"), "{path}: {says}");
        assert!(work.at("all/home/thesis").exists(), "{path}");
    }
    // What is selected in it may be removed.
    trees::write(&work.at("all/home/core"), b"");
    let mut filtered = tool(4, "drm");
    filtered.current_dir(work.path()).env("HOME", work.at("all/home"));
    run(filtered.args(["--include", "core", "all/home"])).expect(0);
    assert_eq!(below(&work.at("all")), names(&["home", "home/thesis", "link"]));
    drm(1, work.path(), &["all/home"]).expect(0);
    assert_eq!(below(&work.at("all")), names(&["link"]));
}

#[test]
fn mounts_stay_with_all_in_them() {
    need_root!();
    for count in [1, 4] {
        let work = Sandbox::new();
        let tree = work.at("tree");
        mixed(&tree);
        let outside = work.at("outside");
        trees::write(&outside.join("file"), b"stays");
        let (disk, bound) = (tree.join("d0001/disk"), tree.join("bound"));
        for dir in [&disk, &bound] {
            fs::create_dir(dir).unwrap();
        }
        let mount = |words: &[&str], at: &Path| {
            run(Command::new("mount").args(words).arg(at)).expect(0);
        };
        mount(&["-t", "tmpfs", "tmpfs"], &disk);
        mount(&["--bind", outside.to_str().unwrap()], &bound);
        trees::write(&disk.join("on/disk"), b"stays");
        let refused = drm(count, work.path(), &["tree/bound"]);
        let told = drm(count, work.path(), &["tree"]);
        let left = below(&tree);
        let left_out = drm(count, work.path(), &["-x", "tree"]);
        for dir in [&disk, &bound] {
            run(Command::new("umount").arg(dir)).expect(0);
        }
        let says = refused.expect(3).stderr;
        assert!(says.contains("is a mount point, which is not removed"), "{says}");
        let says = told.expect(23).stderr;
        assert_eq!(says.matches("a file system is mounted on this directory").count(), 2, "{says}");
        left_out.expect(0);
        let kept = ["bound", "bound/file", "d0001", "d0001/disk"];
        assert_eq!(left, names(&[&kept[..], &["d0001/disk/on", "d0001/disk/on/disk"]].concat()));
        assert_eq!(below(&outside), names(&["file"]));
        drm(1, work.path(), &["tree"]).expect(0);
    }
}

/// Directories of another user, or without read permission, are failures.
#[test]
fn what_may_not_be_deleted_is_a_failure_and_the_rest_goes() {
    need_root!();
    let work = Sandbox::new();
    fs::set_permissions(work.path(), Permissions::from_mode(0o777)).unwrap();
    let tree = work.at("tree");
    trees::small_files(&tree, 3, 5);
    for (dir, mode) in [("of-others", 0o755), ("shut", 0o000), ("full", 0o555)] {
        trees::write(&tree.join(dir).join("file"), b"content");
        fs::set_permissions(tree.join(dir), Permissions::from_mode(mode)).unwrap();
    }
    run(Command::new("chown").args(["-R", "65534:65534"]).arg(&tree)).expect(0);
    run(Command::new("chown").args(["0:0"]).arg(tree.join("of-others"))).expect(0);
    let mut user = nobody();
    user.arg(program("drm"));
    let ended = run(user.current_dir(work.path()).args(["--json", "tree"])).expect(23);
    let left = ["full", "full/file", "of-others", "of-others/file", "shut", "shut/file"];
    assert_eq!(below(&tree), names(&left));
    // One line is printed for each failure, and none for directories that are not empty because of
    // it.
    let failures: BTreeSet<String> = ended
        .events("failure")
        .iter()
        .map(|event| event["path"]["text"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(failures, names(&["tree/full/file", "tree/of-others/file", "tree/shut"]));
    assert_eq!(ended.summary()["totals"]["synced"]["non_empty_directories"], 3);
}

#[test]
fn what_is_named_goes_and_what_is_beside_it_stays() {
    for count in [1, 4] {
        let work = Sandbox::new();
        let tree = work.at("tree");
        mixed(&tree);
        run(alone("dwalk").current_dir(work.path()).args(["-o", "list.ndjson", "tree"])).expect(0);
        trees::write(&tree.join("d0003/later"), b"stays");
        let ended = drm(count, work.path(), &["-i", "list.ndjson", "--json", "tree"]).expect(0);
        assert_eq!(below(&tree), names(&["d0003", "d0003/later"]), "{}", ended.stdout);
        assert_eq!(ended.summary()["totals"]["synced"]["non_empty_directories"], 2);
        // An entry that is gone already is no failure.
        fs::write(work.at("paths"), "d0003/later\nd0003/never\nd0001/f00001\nd0003\n").unwrap();
        drm(count, work.path(), &["--files-from", "paths", "tree"]).expect(0);
        assert_eq!(below(&tree), names(&[]));
        drm(1, work.path(), &["-i", "list.ndjson", "tree", "other"]).expect(2);
    }
}

#[test]
fn a_list_alone_names_the_directory_that_it_was_made_of() {
    for (count, list) in [(1, "list.ndjson"), (4, "list.parquet"), (3, "list.mfu")] {
        let work = tempfile::tempdir().unwrap();
        let tree = work.path().join("tree");
        mixed(&tree);
        run(tool(2, "dwalk").current_dir(work.path()).args(["-o", list, "tree"])).expect(0);
        trees::write(&tree.join("d0003/later"), b"stays");
        drm(count, work.path(), &["-n", "-i", list]).expect(0);
        drm(count, work.path(), &["-i", list]).expect(0);
        assert_eq!(below(&tree), names(&["d0003", "d0003/later"]));
        // Several directories, and what is refused as PATH is refused from a list, too.
        run(alone("dwalk").current_dir(work.path()).args(["-o", "two.ndjson", "tree", "list.mfu"]));
        run(alone("dwalk").current_dir(work.path()).args(["-o", "dot.ndjson", "."])).expect(0);
        drm(count, work.path(), &["-i", "dot.ndjson"]).expect(2);
        drm(count, work.path(), &["-i", "missing.mfu"]).expect(3);
        assert!(tree.join("d0003/later").exists());
    }
    let work = tempfile::tempdir().unwrap();
    for file in ["a/x", "b/x"] {
        trees::write(&work.path().join(file), b"stays");
    }
    run(alone("dwalk").current_dir(work.path()).args(["-o", "two.ndjson", "a", "b"])).expect(0);
    let ended = drm(2, work.path(), &["-i", "two.ndjson"]).expect(3);
    assert!(ended.stderr.contains("several directories"), "{}", ended.stderr);
    assert!(work.path().join("a/x").exists());
}

#[test]
fn an_entry_of_another_kind_than_was_listed_stays() {
    let work = Sandbox::new();
    let tree = work.at("tree");
    for file in ["file", "dir/inside", "gone/inside"] {
        trees::write(&tree.join(file), b"content");
    }
    run(alone("dwalk").current_dir(work.path()).args(["-o", "list.ndjson", "tree"])).expect(0);
    fs::remove_file(tree.join("file")).unwrap();
    trees::write(&tree.join("file/new"), b"stays");
    fs::rename(tree.join("dir"), work.at("moved")).unwrap();
    symlink(work.at("moved"), tree.join("dir")).unwrap();
    fs::remove_dir_all(tree.join("gone")).unwrap();
    let ended = drm(1, work.path(), &["-i", "list.ndjson", "tree"]).expect(23);
    assert_eq!(below(&tree), names(&["dir", "file", "file/new"]));
    assert!(work.at("moved/inside").exists());
    assert!(ended.stderr.contains("\"tree/file\": changed during the job"), "{}", ended.stderr);
}

#[test]
fn deep_and_wide_directories_go_in_bounded_steps() {
    for count in [1, 4] {
        let work = Sandbox::new();
        let tree = work.at("tree");
        trees::wide_directory(&tree.join("wide"), 20_000);
        // The path becomes longer than PATH_MAX.
        let script = "import os, sys\nos.mkdir(sys.argv[1]); os.chdir(sys.argv[1])\n\
                      for _ in range(300): os.mkdir('n' * 100); os.chdir('n' * 100); open('f', 'w').close()";
        run(Command::new("python3").args(["-c", script]).arg(tree.join("deep"))).expect(0);
        let ended = drm(count, work.path(), &["--json", "tree"]).expect(0);
        assert_eq!(deleted(&ended), 20_000 + 600 + 3);
        assert!(!tree.exists());
    }
}

/// Returns the system calls of one rank, by name.
fn calls(work: &Path, words: &[&str]) -> Vec<String> {
    let log = work.join("calls");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", "trace=file,desc", "-o"]).arg(&log).arg(program("drm"));
    run(strace.current_dir(work).args(words)).expect(0);
    let text = fs::read_to_string(&log).unwrap();
    let name = |line: &str| {
        let call = line.split_once(' ')?.1.trim_start();
        Some(call.split_once('(')?.0.trim_start_matches("<... ").to_owned())
    };
    text.lines().filter_map(name).collect()
}

#[test]
fn files_are_not_looked_at_unless_a_filter_asks() {
    let work = Sandbox::new();
    let count = |calls: &[String], names: &[&str]| {
        calls.iter().filter(|call| names.contains(&&call[..])).count()
    };
    let looks =
        ["statx", "newfstatat", "fstatat64", "lstat", "stat", "fstat", "faccessat", "access"];
    trees::small_files(&work.at("tree"), 4, 500);
    let all = calls(work.path(), &["--threads=1", "tree"]);
    assert_eq!(count(&all, &["unlink", "unlinkat"]), 4 * 500 + 4 + 1);
    // A program that starts or waits inspects some files, but not 2,000.
    assert!(count(&all, &looks) < 500, "{} looks", count(&all, &looks));
    assert!(count(&all, &["openat", "openat2", "open"]) < 500);
    trees::small_files(&work.at("tree"), 4, 500);
    let all = calls(work.path(), &["--threads=1", "--min-age=0s", "--min-size=1", "tree"]);
    assert!(count(&all, &looks) >= 2000);
}

#[test]
fn traceless_leaves_times_of_directories_that_stay() {
    for count in [1, 4] {
        let work = Sandbox::new();
        let tree = work.at("tree");
        mixed(&tree);
        let long_ago = SystemTime::now() - Duration::from_hours(1000);
        let dirs = ["tree/d0000", "tree/d0002/a", "tree/d0002/a/b", "tree", "."];
        for dir in dirs {
            fs::File::open(work.path().join(dir)).unwrap().set_modified(long_ago).unwrap();
        }
        let words = ["-T", "--exclude=keep.me", "--exclude=d*.core", "tree"];
        drm(count, work.path(), &words).expect(0);
        let mtime = |dir: &str| fs::metadata(work.path().join(dir)).unwrap().mtime();
        let expected = mtime("tree/d0000");
        for dir in ["tree/d0002/a", "tree/d0002/a/b", "tree", "."] {
            assert_eq!(mtime(dir), expected, "{dir}");
        }
        assert!(below(&tree).contains("d0002/a/b/c/deep.core"));
        drm(count, work.path(), &["-T", "tree"]).expect(0);
        assert_eq!(mtime("."), expected);
        assert!(!tree.exists());
    }
}

#[test]
fn a_list_in_the_tree_that_goes_stays_with_its_directories() {
    let work = Sandbox::new();
    let tree = work.at("tree");
    mixed(&tree);
    drm(4, work.path(), &["-o", "tree/d0001/list.ndjson", "tree"]).expect(0);
    assert_eq!(below(&tree), names(&["d0001", "d0001/list.ndjson"]));
    let list = fs::read_to_string(tree.join("d0001/list.ndjson")).unwrap();
    assert!(list.lines().any(|line| line.contains("tree/d0002/a/b/c/deep.core")));
}

/// Checks that an interrupted job deletes no more, and that the same command deletes the rest.
#[test]
fn a_stopped_job_goes_on_when_it_is_run_again() {
    need_root!();
    let backing = Sandbox::new();
    trees::small_files(&backing.path().join("tree"), 10, 60);
    let disk = SlowDisk::mount(backing.path(), Duration::from_millis(5));
    let output = tempfile::NamedTempFile::new().unwrap();
    let mut job = Command::new(program("drm"))
        .args(["--json", "--threads=1"])
        .arg(disk.path().join("tree"))
        .stdin(Stdio::null())
        .stdout(output.reopen().unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_within(&mut job, "files are deleted", || below(backing.path()).len() <= 590);
    run(Command::new("kill").arg("-TERM").arg(job.id().to_string())).expect(0);
    let code = job.wait().unwrap().code();
    let stdout = fs::read_to_string(output.path()).unwrap();
    let ended = Ended { code, stdout, stderr: String::new() }.expect(20);
    assert_eq!(ended.summary()["interrupted"], true);
    let left = below(backing.path()).len() as u64;
    assert!(left > 100, "{left}");
    assert_eq!(deleted(&ended), 611 - left);
    drop(disk);
    drm(4, backing.path(), &["tree"]).expect(0);
    assert_eq!(below(backing.path()), names(&[]));
}
