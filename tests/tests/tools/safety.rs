//! Tests of what dsync must never do, and dcmp never report: each is a mistake that was made once.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use suite_tests::job::{Ended, assert_identical, for_everybody, mpiexec, nobody, run, tool};
use suite_tests::need_root;
use suite_tests::sandbox::Sandbox;
use suite_tests::{mounts, trees};

struct Pair {
    work: Sandbox,
    source: PathBuf,
    target: PathBuf,
}

fn pair() -> Pair {
    let work = Sandbox::new();
    let (source, target) = (work.source(), work.target());
    fs::create_dir(&source).unwrap();
    fs::create_dir(&target).unwrap();
    Pair { work, source, target }
}

impl Pair {
    fn sync(&self, count: u32, options: &[&str]) -> Ended {
        run(tool(count, "dsync").args(options).args([&self.source, &self.target]))
    }

    fn compare(&self, options: &[&str]) -> Ended {
        run(tool(1, "dcmp").args(options).args([&self.source, &self.target]))
    }
}

/// Sets the same modification time for both.
fn same_time(paths: [&Path; 2]) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for path in paths {
        fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }
}

#[test]
fn a_directory_in_the_way_is_deleted_only_like_any_other() {
    let full = || {
        let pair = pair();
        fs::write(pair.source.join("x"), "a file").unwrap();
        for name in ["1.o", "2.o", "3.c"] {
            trees::write(&pair.target.join("x").join(name), name.as_bytes());
        }
        pair
    };
    let limited = full();
    limited.sync(2, &["-D", "--max-delete", "3"]).expect(25);
    assert!(limited.target.join("x/1.o").exists());
    let filtered = full();
    filtered.sync(2, &["-D", "--exclude", "*.o"]).expect(23);
    assert!(filtered.target.join("x/1.o").exists() && !filtered.target.join("x/3.c").exists());
    let allowed = full();
    let plan = allowed.sync(2, &["-nD"]).expect(0).stdout;
    let planned = |line: &str| plan.lines().filter(|own| own.contains(line)).count();
    assert_eq!((planned("delete "), planned("copy ")), (4, 1), "{plan}");
    allowed.sync(3, &["-D", "--max-delete", "4"]).expect(0);
    assert_identical(&allowed.source, &allowed.target);
}

#[test]
fn the_source_is_not_deleted_through_a_bind_mount() {
    need_root!();
    let mount = |from: &Path, to: &Path| {
        fs::create_dir_all(to).unwrap();
        run(Command::new("mount").arg("--bind").args([from, to])).expect(0);
    };
    let unmount = |point: &Path| {
        run(Command::new("umount").arg(point)).expect(0);
    };
    let inside = pair();
    trees::write(&inside.target.join("data/file"), b"precious");
    let view = inside.work.at("view");
    mount(&inside.target.join("data"), &view);
    let ended = run(tool(2, "dsync").arg("-D").args([&view, &inside.target]));
    unmount(&view);
    ended.expect(23);
    assert_eq!(fs::read(inside.target.join("data/file")).unwrap(), b"precious");
    let snapshot = pair();
    trees::write(&snapshot.source.join("file"), b"precious");
    let point = snapshot.target.join("extra/snapshot");
    mount(&snapshot.source, &point);
    let ended = snapshot.sync(2, &["-D"]);
    unmount(&point);
    ended.expect(0);
    assert!(snapshot.source.join("file").exists() && point.is_dir());
}

#[test]
fn only_files_with_the_same_content_are_linked_to() {
    let pair = pair();
    let old = pair.work.at("old");
    fs::create_dir(&old).unwrap();
    fs::write(pair.source.join("empty"), "").unwrap();
    run(Command::new("mkfifo").args(["-m", "644"]).arg(old.join("empty"))).expect(0);
    fs::write(pair.source.join("file"), "new").unwrap();
    fs::write(old.join("file"), "old").unwrap();
    same_time([&pair.source.join("file"), &old.join("file")]);
    run(Command::new("touch").arg("-r").args([pair.source.join("empty"), old.join("empty")]))
        .expect(0);
    let link_dest = format!("--link-dest={}", old.display());
    pair.sync(2, &["-c", &link_dest]).expect(0);
    assert!(!fs::metadata(pair.target.join("empty")).unwrap().file_type().is_fifo());
    assert_eq!(fs::read(pair.target.join("file")).unwrap(), b"new");
    // What is inside the target would be deleted.
    let inside = format!("--link-dest={}", pair.target.display());
    pair.sync(1, &["-D", &inside]).expect(3);
}

#[test]
fn an_older_copy_keeps_its_attributes() {
    let pair = pair();
    let old = pair.work.at("old");
    fs::write(pair.source.join("file"), "same").unwrap();
    run(Command::new("cp").arg("-a").args([&pair.source, &old])).expect(0);
    let link_dest = format!("--link-dest={}", old.display());
    pair.sync(1, &[&link_dest]).expect(0);
    assert_eq!(fs::metadata(old.join("file")).unwrap().nlink(), 2);
    let before = fs::metadata(old.join("file")).unwrap().permissions().mode();
    fs::set_permissions(pair.source.join("file"), fs::Permissions::from_mode(0o600)).unwrap();
    pair.sync(1, &[]).expect(0);
    assert_identical(&pair.source, &pair.target);
    assert_eq!(fs::metadata(old.join("file")).unwrap().permissions().mode(), before);
}

#[test]
fn what_is_there_is_not_removed_for_what_cannot_be_copied() {
    let kept = pair();
    trees::write(&kept.source.join("d/x"), b"1");
    fs::write(kept.target.join("d"), "precious").unwrap();
    kept.sync(2, &["--ignore-existing"]).expect(0);
    assert_eq!(fs::read(kept.target.join("d")).unwrap(), b"precious");
    need_root!();
    let locked = pair();
    fs::create_dir(locked.source.join("d")).unwrap();
    fs::write(locked.target.join("d"), "precious").unwrap();
    run(Command::new("chown").args(["-R", "65534:65534"]).args([&locked.source, &locked.target]))
        .expect(0);
    fs::set_permissions(locked.source.join("d"), fs::Permissions::from_mode(0o000)).unwrap();
    run(Command::new("chmod").arg("755").arg(locked.work.path())).expect(0);
    let (_programs, dsync) = for_everybody("dsync");
    let mut user = nobody();
    user.arg(dsync);
    run(user.args([&locked.source, &locked.target])).expect(23);
    assert_eq!(fs::read(locked.target.join("d")).unwrap(), b"precious");
}

/// Runs dsync as a user that is not root, and owns all of both trees.
fn sync_as_owner(pair: &Pair, count: u32, options: &[&str]) -> Ended {
    let (_programs, dsync) = for_everybody("dsync");
    let mut user = nobody();
    user.args((count > 1).then(mpiexec).unwrap_or_default());
    if count > 1 {
        user.args(["-n", &count.to_string()]);
    }
    user.arg(dsync).args(options).args([&pair.source, &pair.target]);
    run(user.env("HOME", "/").current_dir("/"))
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn give_away(pair: &Pair) {
    set_mode(pair.work.path(), 0o755);
    run(Command::new("chown").args(["-R", "65534:65534"]).args([&pair.source, &pair.target]))
        .expect(0);
}

/// Creates two trees with the same directories, some of which are closed at the target.
fn locked_pair() -> Pair {
    let pair = pair();
    for (name, mode) in [("a", 0o755), ("b", 0o500), ("c", 0o750), ("d", 0o755)] {
        for dir in [&pair.source, &pair.target] {
            trees::write(&dir.join(name).join("deep/file"), b"same");
        }
        set_mode(&pair.source.join(name), mode);
    }
    trees::write(&pair.source.join("a/new"), b"new");
    give_away(&pair);
    pair.sync(1, &["-D", "--exclude", "new"]).expect(0);
    set_mode(&pair.target.join("b/deep"), 0o000);
    for (name, mode) in [("a", 0o000), ("b", 0o200), ("c", 0o300), ("d", 0o400)] {
        set_mode(&pair.target.join(name), mode);
    }
    pair
}

#[test]
fn directories_their_owner_may_not_look_into_are_widened_for_the_run() {
    need_root!();
    for count in [1, 3] {
        let pair = locked_pair();
        set_mode(&pair.target, 0o000);
        let plan = sync_as_owner(&pair, count, &["-nD"]).expect(23);
        assert!(plan.stderr.contains("Permission denied"), "{}", plan.stderr);
        let modes = ["", "a", "b", "b/deep", "c", "d"].map(|name| mode_of(&pair.target.join(name)));
        assert_eq!(modes, [0o000, 0o000, 0o200, 0o000, 0o300, 0o400], "a dry run changed a mode");
        sync_as_owner(&pair, count, &["-D"]).expect(0);
        assert_identical(&pair.source, &pair.target);
        let again = sync_as_owner(&pair, count, &["-D"]).expect(0);
        assert!(again.stdout.contains("nothing to do"), "{}", again.stdout);
    }
}

/// Creates extraneous directories at the target whose owner may not list, search or change them.
fn locked_extraneous() -> Pair {
    let pair = pair();
    for name in ["gone/a/file", "gone/b/c/file", "kept/a/gone.c", "kept/a/b/kept.o", "kept/c"] {
        trees::write(&pair.target.join(name), b"");
    }
    give_away(&pair);
    for (name, mode) in [
        ("gone/a", 0o000),
        ("gone/b/c", 0o300),
        ("gone/b", 0o600),
        ("gone", 0o000),
        ("kept/a/b", 0o555),
        ("kept/a", 0o2300),
        ("kept", 0o100),
    ] {
        set_mode(&pair.target.join(name), mode);
    }
    pair
}

#[test]
fn extra_directories_are_deleted_whatever_their_mode_and_keep_it_where_they_stay() {
    need_root!();
    let kept = [("kept/a/b", 0o555), ("kept/a", 0o2300), ("kept", 0o100)];
    for count in [1, 3] {
        let pair = locked_extraneous();
        let has_modes = |names: &[(&str, u32)]| {
            for (name, mode) in names {
                assert_eq!(mode_of(&pair.target.join(name)), *mode, "{name} with {count} ranks");
            }
        };
        let filtered = |more: &[&str]| {
            let options = [&["-D", "--exclude", "*.o"], more].concat();
            sync_as_owner(&pair, count, &options)
        };
        filtered(&["-n"]).expect(23);
        has_modes(&kept);
        has_modes(&[("gone", 0o000), ("gone/b", 0o600), ("gone/b/c", 0o300)]);
        // The number would be eight: "gone" with five entries, two files of "kept".
        filtered(&["--max-delete", "7"]).expect(25);
        has_modes(&kept);
        has_modes(&[("gone", 0o000), ("gone/a", 0o000), ("gone/b", 0o600), ("gone/b/c", 0o300)]);
        assert!(pair.target.join("gone/a/file").exists());
        filtered(&["--max-delete", "8"]).expect(0);
        has_modes(&kept);
        assert!(!pair.target.join("gone").exists());
        assert!(pair.target.join("kept/a/b/kept.o").exists());
        assert!(!pair.target.join("kept/a/gone.c").exists());
        let again = filtered(&[]).expect(0);
        assert!(again.stdout.contains("nothing to do"), "{}", again.stdout);
        sync_as_owner(&pair, count, &["-D"]).expect(0);
        assert_identical(&pair.source, &pair.target);
    }
}

#[test]
fn a_file_takes_the_name_of_a_directory_nobody_may_look_into() {
    need_root!();
    let pair = pair();
    fs::write(pair.source.join("x"), "a file").unwrap();
    trees::write(&pair.target.join("x/deep/file"), b"");
    give_away(&pair);
    set_mode(&pair.target.join("x"), 0o000);
    let refused = sync_as_owner(&pair, 1, &[]).expect(23);
    assert!(refused.stderr.contains("--delete replaces it"), "{}", refused.stderr);
    assert_eq!(mode_of(&pair.target.join("x")), 0o000);
    sync_as_owner(&pair, 1, &["-D"]).expect(0);
    assert_identical(&pair.source, &pair.target);
}

#[test]
fn other_file_systems_of_the_target_are_left_alone() {
    need_root!();
    let pair = pair();
    for dir in [&pair.source, &pair.target] {
        fs::create_dir(dir.join("d")).unwrap();
    }
    let disk = mounts::SmallDisk::mount("size=1m");
    fs::write(disk.path().join("kept"), "").unwrap();
    let point = pair.target.join("d");
    run(Command::new("mount").arg("--bind").args([disk.path(), &point])).expect(0);
    let ended = pair.sync(2, &["-x", "-D"]);
    let still_there = point.join("kept").exists();
    run(Command::new("umount").arg(&point)).expect(0);
    ended.expect(0);
    assert!(still_there);
}

#[test]
fn directories_in_which_something_stays_are_neither_planned_nor_touched() {
    let pair = pair();
    trees::write(&pair.target.join("e/deep/kept.o"), b"");
    trees::write(&pair.target.join("e/gone.c"), b"");
    let options = ["-D", "--exclude", "*.o"];
    let plan = pair.sync(3, &["-n", "-D", "--exclude", "*.o"]).expect(0).stdout;
    let deleted: Vec<&str> = plan.lines().filter(|line| line.starts_with("delete ")).collect();
    assert_eq!(deleted, [format!("delete {}", pair.target.join("e/gone.c").display())]);
    pair.sync(3, &["--max-delete", "1", "-D", "--exclude", "*.o"]).expect(0);
    assert!(pair.target.join("e/deep/kept.o").exists() && !pair.target.join("e/gone.c").exists());
    let before = fs::metadata(&pair.target).unwrap();
    let again = pair.sync(3, &options).expect(0);
    assert!(again.stdout.contains("nothing to do"), "{}", again.stdout);
    let after = fs::metadata(&pair.target).unwrap();
    assert_eq!((before.ctime(), before.ctime_nsec()), (after.ctime(), after.ctime_nsec()));
}

#[test]
fn a_link_that_leads_away_makes_way_for_a_directory_in_a_plan_too() {
    let pair = pair();
    trees::write(&pair.source.join("d/e/f"), b"1");
    symlink("/nowhere", pair.target.join("d")).unwrap();
    let plan = pair.sync(2, &["-n"]).expect(0).stdout;
    assert!(plan.contains("t/d/e/f"), "{plan}");
    pair.sync(2, &[]).expect(0);
    assert_identical(&pair.source, &pair.target);
}

#[test]
fn a_name_of_the_source_file_itself_is_equal_to_it() {
    let pair = pair();
    fs::write(pair.source.join("a"), "1").unwrap();
    fs::hard_link(pair.source.join("a"), pair.target.join("a")).unwrap();
    fs::write(pair.target.join("extra"), "").unwrap();
    pair.sync(2, &["-D"]).expect(0);
    assert_identical(&pair.source, &pair.target);
}

#[test]
fn what_holds_for_the_whole_job_is_said_once() {
    let pair = pair();
    fs::write(pair.target.join("extra"), "").unwrap();
    let ended = pair.sync(4, &["-D", "--max-delete", "0"]).expect(25);
    assert_eq!(ended.stderr.matches("nothing was deleted").count(), 1, "{}", ended.stderr);
}

#[test]
fn other_content_counts_whichever_field_tells_it() {
    let sizes = pair();
    fs::write(sizes.source.join("f"), "a").unwrap();
    fs::write(sizes.target.join("f"), "different").unwrap();
    same_time([&sizes.source.join("f"), &sizes.target.join("f")]);
    let ended = sizes.compare(&["--ignore", "size,mtime", "--combined", "-"]).expect(1);
    assert!(ended.stdout.lines().any(|line| line == "* f\tCONTENT"), "{}", ended.stdout);
    let times = pair();
    fs::write(times.source.join("f"), "aaaa").unwrap();
    fs::write(times.target.join("f"), "bbbb").unwrap();
    let old = SystemTime::UNIX_EPOCH;
    fs::File::options()
        .write(true)
        .open(times.target.join("f"))
        .unwrap()
        .set_modified(old)
        .unwrap();
    times.compare(&["--lite", "--ignore", "mtime"]).expect(1);
    // Files that claim to be empty, and are not.
    run(tool(1, "dcmp").args(["--ignore", "mtime", "/proc/version", "/proc/uptime"])).expect(1);
}

#[test]
fn devices_are_compared_by_what_they_stand_for() {
    need_root!();
    let pair = pair();
    let make = |dir: &Path, name: &str, words: [&str; 3]| {
        run(Command::new("mknod").arg(dir.join(name)).args(words)).expect(0);
    };
    for (name, source, target) in [
        ("same", ["c", "1", "3"], ["c", "1", "3"]),
        ("minor", ["c", "1", "3"], ["c", "1", "5"]),
        ("kind", ["b", "1", "3"], ["c", "1", "3"]),
    ] {
        make(&pair.source, name, source);
        make(&pair.target, name, target);
    }
    let ended = pair.compare(&["--ignore", "mtime", "--combined", "-"]).expect(1);
    for line in ["= same", "* minor\tCONTENT", "* kind\tTYPE"] {
        assert!(ended.stdout.lines().any(|own| own == line), "{}", ended.stdout);
    }
}

#[test]
fn two_lists_do_not_share_a_file() {
    let pair = pair();
    let list = pair.work.at("list");
    let output = |expression: &str| format!("{expression}:{}", list.display());
    pair.compare(&["-o", &output("EXIST=ONLY_SRC"), "-o", &output("EXIST=ONLY_DEST")]).expect(3);
}

/// Checks a target inside its source, also where it does not exist; unless options keep the copy
/// away from it.
#[test]
fn a_target_inside_its_source_is_refused_where_the_copy_would_come_to_it() {
    let pair = pair();
    trees::write(&pair.source.join("etc/f"), b"x");
    let point = pair.source.join("mnt/disk");
    fs::create_dir_all(&point).unwrap();
    let with_slash = pair.source.join("");
    let copy = |tool_name: &str, options: &[&str], name: &str| {
        let target = point.join(name);
        let source = if tool_name == "dcp" { &with_slash } else { &pair.source };
        let ended = run(tool(2, tool_name).args(options).args([source, &target]));
        let is_there = target.join("etc/f").exists();
        assert_eq!(is_there, ended.code == Some(0), "{ended:?}");
        assert!(!target.join("mnt/disk").join(name).exists());
        let _ = fs::remove_dir_all(target);
        ended.code
    };
    for tool_name in ["dsync", "dcp"] {
        assert_eq!(copy(tool_name, &[], "t"), Some(3));
        assert_eq!(copy(tool_name, &["-x"], "t"), Some(3));
        assert_eq!(copy(tool_name, &["--exclude", "*.o"], "t"), Some(3));
        assert_eq!(copy(tool_name, &["--exclude", "/mnt/disk"], "t"), Some(0));
        assert_eq!(copy(tool_name, &["--exclude", "t"], "t"), Some(0));
    }
    need_root!();
    run(Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&point)).expect(0);
    let codes = ["dsync", "dcp"].map(|name| [copy(name, &["-x"], "t"), copy(name, &[], "t")]);
    run(Command::new("umount").arg(&point)).expect(0);
    assert_eq!(codes, [[Some(0), Some(3)], [Some(0), Some(3)]]);
}
