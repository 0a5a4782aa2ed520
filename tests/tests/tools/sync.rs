//! Tests of dsync under real `mpiexec`: the target equals the source, with no more done than that
//! takes.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use suite_tests::job::{
    Ended, alone, assert_identical, for_everybody, nobody, program, ranks, run, sync,
};
use suite_tests::need_root;
use suite_tests::sandbox::Sandbox;
use suite_tests::{mounts, trees};

fn source_in(work: &Path) -> (PathBuf, PathBuf) {
    let (source, target) = (work.join("s"), work.join("t"));
    trees::awkward_tree(&source);
    trees::small_files(&source.join("many"), 10, 20);
    (source, target)
}

#[track_caller]
fn assert_idle(ended: &Ended) {
    let totals = ended.summary()["totals"].clone();
    let done = ["copied/files", "copied/directories", "copied/symlinks", "synced/attributes_set"];
    for what in done {
        let (group, name) = what.split_once('/').unwrap();
        assert_eq!(totals[group][name], 0, "{what}: {totals}");
    }
}

#[test]
fn a_target_becomes_equal_and_stays_untouched_by_a_second_run() {
    for count in [1, 4] {
        let work = Sandbox::new();
        let (source, target) = source_in(work.path());
        work.run(count, "dsync", &[]).expect(0);
        assert_identical(&source, &target);
        let again = work.run(count, "dsync", &["-D"]).expect(0);
        assert!(again.stdout.contains("nothing to do, no differences"), "{}", again.stdout);
        assert_idle(&work.run(count, "dsync", &["-D", "--json"]).expect(0));
        work.run(1, "dcmp", &[]).expect(0);
        // One of each kind of drift.
        fs::write(target.join("many/extra"), "").unwrap();
        fs::set_permissions(target.join("many"), fs::Permissions::from_mode(0o700)).unwrap();
        run(Command::new("setfattr").args(["-n", "user.x", "-v", "1"]).arg(target.join("many")))
            .expect(0);
        let file = trees_file(&target.join("many"));
        run(Command::new("setfacl").args(["-m", "u:12345:rw"]).arg(&file)).expect(0);
        fs::remove_dir_all(target.join("many/d0001")).unwrap();
        symlink("away", target.join("new link")).unwrap();
        let json = work.run(count, "dsync", &["-D", "--json"]).expect(0).summary();
        assert_eq!(json["totals"]["synced"]["deleted"]["files"], 1);
        assert_eq!(json["totals"]["synced"]["deleted"]["symlinks"], 1);
        assert_identical(&source, &target);
        work.run(1, "dcmp", &[]).expect(0);
    }
}

/// Returns a file below a directory.
fn trees_file(dir: &Path) -> PathBuf {
    let listed = run(Command::new("find").arg(dir).args(["-type", "f", "-name", "*0"])).expect(0);
    PathBuf::from(listed.stdout.lines().next().unwrap())
}

/// System calls that change something, as strace filters them.
const WRITES: &str = "trace=creat,rename,renameat,renameat2,mkdir,mkdirat,unlink,unlinkat,rmdir,\
    symlink,symlinkat,link,linkat,chmod,fchmod,fchmodat,chown,fchown,lchown,fchownat,utimensat,\
    setxattr,lsetxattr,fsetxattr,removexattr,lremovexattr,fremovexattr,truncate,ftruncate,\
    pwrite64,pwritev,copy_file_range,sendfile,mknod,mknodat";

#[test]
fn a_run_with_nothing_to_do_makes_no_system_call_that_writes() {
    let work = Sandbox::new();
    let (source, target) = source_in(work.path());
    work.run(2, "dsync", &[]).expect(0);
    let trace = work.at("trace");
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq", "-e", "signal=none", "-e", WRITES, "-o"]).arg(&trace);
    traced.arg(program("dsync")).args(["-D", "--quiet"]).args([&source, &target]);
    run(&mut traced).expect(0);
    let calls = fs::read_to_string(&trace).unwrap();
    // strace shows calls that it does not know in any case: listxattrat(2) is one, and only reads.
    let others = ["/dev/shm/mpi", "syscall_0x1d1"];
    let is_of_trees = |line: &&str| !others.iter().any(|other| line.contains(other));
    let of_trees: Vec<&str> = calls.lines().filter(is_of_trees).collect();
    assert!(of_trees.is_empty(), "{}", of_trees.join("\n"));
    // The same options see writes where there are some.
    fs::write(target.join("extra"), "").unwrap();
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq", "-e", "signal=none", "-e", WRITES, "-o"]).arg(&trace);
    traced.arg(program("dsync")).args(["-D", "--quiet"]).args([&source, &target]);
    run(&mut traced).expect(0);
    assert!(fs::read_to_string(&trace).unwrap().contains("unlinkat"));
}

/// Checks that an entry costs nothing but a look where options ask for no more.
#[test]
fn without_extended_attributes_nothing_asks_for_them() {
    let work = Sandbox::new();
    let (source, target) = source_in(work.path());
    sync(1, &[], &source, &target).expect(0);
    let trace = work.at("trace");
    let asked = |options: &[&str]| {
        let mut traced = Command::new("strace");
        let calls = "trace=listxattr,llistxattr,flistxattr,getxattr,lgetxattr,fgetxattr";
        traced.args(["-f", "-qq", "-e", "signal=none", "-e", calls, "-o"]).arg(&trace);
        traced.arg(program("dsync")).args(options).args([&source, &target]);
        run(&mut traced).expect(0);
        fs::read_to_string(&trace).unwrap().lines().count()
    };
    assert!(asked(&[]) > 0);
    assert_eq!(asked(&["--xattrs", "none"]), 0);
}

/// Checks that only a directory that is to be created is searched for the files of a journal.
#[test]
fn no_journal_is_searched_for_in_a_directory_that_the_target_has() {
    let work = Sandbox::new();
    let (source, target) = source_in(work.path());
    let trace = work.at("trace");
    let searches = || {
        let mut traced = Command::new("strace");
        traced.args(["-f", "-qq", "-e", "signal=none", "-e", "trace=openat", "-o"]).arg(&trace);
        traced.arg(program("dsync")).args([&source, &target]);
        run(&mut traced).expect(0);
        let calls = fs::read_to_string(&trace).unwrap();
        calls.lines().filter(|call| call.contains("\"job\"")).count()
    };
    assert!(searches() > 0);
    assert_eq!(searches(), 0);
}

/// Checks that each line of a dry run is an action, and that a real run changes exactly that.
#[test]
fn a_dry_run_prints_the_plan_that_is_carried_out() {
    let work = Sandbox::new();
    let (source, target) = source_in(work.path());
    work.run(1, "dsync", &[]).expect(0);
    fs::write(source.join("many/new"), "1").unwrap();
    fs::create_dir(source.join("many/dir")).unwrap();
    symlink("x", source.join("many/dir/link")).unwrap();
    fs::create_dir_all(target.join("gone/deep")).unwrap();
    fs::write(target.join("gone/deep/file"), "").unwrap();
    let file = trees_file(&target.join("many"));
    fs::write(&file, "changed and longer than before").unwrap();
    let before = listing(&target);
    let plan = work.run(3, "dsync", &["-nD"]).expect(0);
    assert_eq!(listing(&target), before, "a dry run changed something");
    let shown = |below: &str| format!("{}/{below}", target.display());
    let mut expected = vec![
        format!("copy {}", shown("many/new")),
        format!("create directory {}", shown("many/dir")),
        format!("create symbolic link {}", shown("many/dir/link")),
        format!("delete {}", shown("gone")),
        format!("delete {}", shown("gone/deep")),
        format!("delete {}", shown("gone/deep/file")),
        format!("update {}", file.display()),
        format!("set attributes {}", target.display()),
        format!("set attributes {}", target.join("many").display()),
    ];
    let is_action = |line: &&str| line.contains(&*target.display().to_string());
    let mut got: Vec<String> =
        plan.stdout.lines().filter(is_action).map(ToOwned::to_owned).collect();
    expected.sort();
    got.sort();
    assert_eq!(got, expected);
    let real = work.run(3, "dsync", &["-D", "--json"]).expect(0).summary();
    assert_identical(&source, &target);
    assert_eq!(sync_totals(&real), [2, 1, 1, 1, 2]);
}

fn sync_totals(summary: &serde_json::Value) -> Vec<u64> {
    let totals = &summary["totals"];
    let copied = ["files", "directories", "symlinks"].map(|kind| &totals["copied"][kind]);
    let deleted = ["files", "directories"].map(|kind| &totals["synced"]["deleted"][kind]);
    copied.into_iter().chain(deleted).map(|count| count.as_u64().unwrap()).collect()
}

/// Lists all attributes of a tree that a change would change.
fn listing(tree: &Path) -> String {
    let mut find = Command::new("find");
    find.arg(tree).args(["-printf", "%p %y %s %m %U %G %T@ %C@ %l\\n"]);
    let mut lines: Vec<String> =
        run(&mut find).expect(0).stdout.lines().map(ToOwned::to_owned).collect();
    lines.sort();
    lines.join("\n")
}

#[test]
fn nothing_is_deleted_unless_all_of_the_source_was_read() {
    need_root!();
    let work = Sandbox::new();
    let open = work.at("open");
    fs::create_dir_all(open.join("s/locked")).unwrap();
    fs::create_dir_all(open.join("t/old")).unwrap();
    fs::write(open.join("t/old/file"), "").unwrap();
    run(Command::new("chown").args(["-R", "65534:65534"]).arg(&open)).expect(0);
    run(Command::new("chmod").arg("755").arg(work.path())).expect(0);
    run(Command::new("chmod").arg("000").arg(open.join("s/locked"))).expect(0);
    let (_programs, dsync) = for_everybody("dsync");
    let user = || {
        let mut user = nobody();
        user.arg(&dsync);
        user.arg("-D").args([open.join("s"), open.join("t")]);
        user
    };
    let ended = run(&mut user()).expect(23);
    assert!(open.join("t/old/file").exists(), "{}", ended.stderr);
    assert!(ended.stderr.contains("nothing was deleted, because parts of the trees"));
    run(Command::new("chmod").arg("755").arg(open.join("s/locked"))).expect(0);
    run(&mut user()).expect(0);
    assert!(!open.join("t/old").exists());
}

#[test]
fn the_delete_limit_is_all_or_nothing() {
    let work = Sandbox::new();
    let (source, target) = source_in(work.path());
    work.run(1, "dsync", &[]).expect(0);
    trees::small_files(&target.join("extra"), 2, 3);
    let all = 1 + 2 + 6;
    let limit = (all - 1).to_string();
    let ended = work.run(3, "dsync", &["-D", "--max-delete", &limit]).expect(25);
    assert!(ended.stderr.contains("it would be 9 entries"), "{}", ended.stderr);
    assert!(target.join("extra").exists());
    work.run(3, "dsync", &["-D", "--max-delete", &all.to_string()]).expect(0);
    assert_identical(&source, &target);
    work.run(1, "dsync", &["--max-delete", "1"]).expect(2);
}

#[test]
fn types_change_both_ways_and_full_directories_need_delete() {
    let work = Sandbox::new();
    let (source, target) = (work.source(), work.target());
    fs::create_dir_all(source.join("dir/below")).unwrap();
    fs::write(source.join("file"), "now a file").unwrap();
    symlink("file", source.join("link")).unwrap();
    fs::create_dir_all(target.join("file/full")).unwrap();
    fs::write(target.join("file/full/of"), "things").unwrap();
    fs::write(target.join("dir"), "was a file").unwrap();
    fs::create_dir(target.join("link")).unwrap();
    let refused = work.run(2, "dsync", &[]).expect(23);
    assert!(refused.stderr.contains("--delete replaces it"), "{}", refused.stderr);
    assert_eq!(fs::read(target.join("file/full/of")).unwrap(), b"things");
    work.run(2, "dsync", &["-D"]).expect(0);
    assert_identical(&source, &target);
}

#[test]
fn rules_keep_what_they_are_asked_to_keep() {
    let work = Sandbox::new();
    let (source, target) = (work.source(), work.target());
    for dir in [&source, &target] {
        fs::create_dir(dir).unwrap();
    }
    let put = |dir: &Path, name: &str, content: &str, time: u64| {
        fs::write(dir.join(name), content).unwrap();
        let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(time);
        fs::File::options().write(true).open(dir.join(name)).unwrap().set_modified(time).unwrap();
    };
    put(&source, "older", "source", 1000);
    put(&target, "older", "target", 2000);
    put(&source, "newer", "source", 3000);
    put(&target, "newer", "target", 2000);
    put(&source, "missing", "source", 1000);
    let read = |name: &str| fs::read_to_string(target.join(name)).ok();
    work.run(2, "dsync", &["--existing", "--update"]).expect(0);
    assert_eq!((read("older"), read("missing")), (Some("target".into()), None));
    assert_eq!(read("newer"), Some("source".into()));
    work.run(2, "dsync", &["--ignore-existing"]).expect(0);
    assert_eq!(read("older"), Some("target".into()));
    assert_eq!(read("missing"), Some("source".into()));
    // The same size is the same content to it; the time is set.
    work.run(2, "dsync", &["--size-only"]).expect(0);
    assert_eq!(read("older"), Some("target".into()));
    // Now size and time are the same, and only the bytes tell.
    work.run(2, "dsync", &[]).expect(0);
    assert_eq!(read("older"), Some("target".into()));
    work.run(2, "dsync", &["--contents"]).expect(0);
    assert_identical(&source, &target);
}

#[test]
fn a_file_in_place_of_a_directory_that_filters_leave_out_is_extraneous() {
    let work = Sandbox::new();
    for dir in ["s/d", "s/e", "t"] {
        fs::create_dir_all(work.at(dir)).unwrap();
    }
    for file in ["t/d", "t/e"] {
        trees::write(&work.at(file), b"content");
    }
    let plan = work.run(1, "dsync", &["-nD", "--exclude=d/"]).expect(0).stdout;
    assert!(plan.contains("delete "), "{plan}");
    work.run(2, "dsync", &["-D", "--exclude=d/"]).expect(0);
    assert!(!work.at("t/d").exists() && work.at("t/e").is_dir());
}

#[test]
fn unchanged_files_become_links_to_the_older_copy() {
    let work = Sandbox::new();
    let (source, old) = source_in(work.path());
    sync(2, &[], &source, &old).expect(0);
    fs::write(source.join("many/new"), "new").unwrap();
    let target = work.at("tuesday");
    let link_dest = format!("--link-dest={}", old.display());
    let json = sync(3, &[&link_dest, "--json"], &source, &target).expect(0).summary();
    assert_identical(&source, &target);
    let linked = json["totals"]["synced"]["hard_linked_to_link_dest"].as_u64().unwrap();
    assert!(linked >= 200, "{linked} files are links");
    assert_eq!(json["totals"]["copied"]["files"], 1);
    let file = trees_file(&target.join("many"));
    let twin = old.join(file.strip_prefix(&target).unwrap());
    assert_eq!(fs::metadata(&file).unwrap().ino(), fs::metadata(twin).unwrap().ino());
}

/// Checks that a user who cannot give files away gets a warning, the same exit code as at first,
/// and no work done again.
#[test]
fn a_second_run_of_somebody_who_may_not_give_files_away_is_idle() {
    need_root!();
    let work = Sandbox::new();
    let (source, target) = (work.source(), work.at("open/t"));
    fs::create_dir_all(target.parent().unwrap()).unwrap();
    trees::small_files(&source, 3, 5);
    let set_id = trees_file(&source);
    run(Command::new("chmod").arg("4755").arg(set_id)).expect(0);
    run(Command::new("chmod").arg("755").arg(work.path())).expect(0);
    run(Command::new("chmod").arg("777").arg(target.parent().unwrap())).expect(0);
    let (_programs, dsync) = for_everybody("dsync");
    let user = |json: bool| {
        let mut user = nobody();
        user.arg(&dsync);
        user.args(json.then_some("--json")).arg("-D").args([&source, &target]);
        run(&mut user).expect(0)
    };
    user(false);
    let before = listing(&target);
    let again = user(true);
    assert_idle(&again);
    assert!(again.summary()["totals"]["owner_not_preserved"].as_u64() > Some(0));
    assert_eq!(listing(&target), before);
    assert!(user(false).stdout.contains("may not change them"));
}

#[test]
fn a_target_that_keeps_whole_seconds_is_not_synchronised_for_ever() {
    need_root!();
    let Some(disk) = mounts::Image::ext4(&["-I", "128"]) else { return };
    let work = Sandbox::new();
    let source = work.source();
    trees::small_files(&source, 3, 4);
    // No file system of that kind keeps times after 2038.
    let far = source.join("far");
    fs::write(&far, "").unwrap();
    let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(4_000_000_000);
    fs::File::options().write(true).open(&far).unwrap().set_modified(time).unwrap();
    let target = disk.path().join("t");
    let first = sync(2, &["--json"], &source, &target).expect(0).summary();
    assert_eq!(first["totals"]["copied"]["files"], 13);
    assert_ne!(fs::metadata(trees_file(&source)).unwrap().mtime_nsec(), 0);
    assert_eq!(fs::metadata(trees_file(&target)).unwrap().mtime_nsec(), 0);
    let before = listing(&target);
    assert_idle(&sync(2, &["--json", "-D"], &source, &target).expect(0));
    assert_eq!(listing(&target), before);
    run(alone("dcmp").args([&source, &target])).expect(0);
    // A real change of the same size, a second later, is seen.
    let file = trees_file(&source);
    let content = fs::read(&file).unwrap();
    let time = fs::metadata(&file).unwrap().modified().unwrap() + std::time::Duration::from_secs(1);
    fs::write(&file, content.iter().map(|byte| byte ^ 1).collect::<Vec<u8>>()).unwrap();
    fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
    sync(2, &["-D"], &source, &target).expect(0);
    run(alone("dcmp").args([&source, &target])).expect(0);
}

#[test]
fn neither_tree_may_be_inside_the_other() {
    let work = Sandbox::new();
    let tree = work.at("a");
    fs::create_dir_all(tree.join("b/c")).unwrap();
    fs::write(tree.join("precious"), "").unwrap();
    for (source, target) in [("a", "a/b"), ("a/b", "a"), ("a", "a"), ("a/b/c", "a")] {
        let (source, target) = (work.path().join(source), work.path().join(target));
        // The slash says that the contents are meant, where TARGET has a directory of that name.
        let ended = sync(2, &["-D"], &source.join(""), &target).expect(3);
        // The launcher may add words of its own.
        let own = ended.stderr.lines().filter(|line| line.starts_with("dsync: "));
        assert_eq!(own.count(), 1, "{}", ended.stderr);
        assert!(tree.join("precious").exists());
    }
    sync(1, &[], &tree, &work.at("missing/parent")).expect(3);
    sync(1, &[], &work.at("missing"), &tree).expect(3);
}

/// Checks that a chunk that fails does not leave a file that looks right by size and time.
#[test]
fn a_full_target_keeps_the_old_content() {
    need_root!();
    let disk = mounts::SmallDisk::mount("size=8m");
    let work = Sandbox::new();
    let (source, target) = (work.source(), disk.path().join("t"));
    fs::create_dir(&source).unwrap();
    fs::create_dir(&target).unwrap();
    fs::write(target.join("large"), "old").unwrap();
    trees::write(&source.join("large"), &trees::noise(32 << 20));
    sync(3, &["--chunksize", "1MiB"], &source, &target).expect(23);
    assert_eq!(fs::read(target.join("large")).unwrap(), b"old");
    let left = fs::read_dir(&target).unwrap().count();
    assert_eq!(left, 1, "something half-done was left");
}

#[test]
fn filters_mean_the_same_to_all_tools() {
    let work = Sandbox::new();
    let (source, target) = source_in(work.path());
    fs::create_dir_all(source.join("build/obj")).unwrap();
    fs::write(source.join("build/obj/a.o"), "").unwrap();
    fs::write(source.join("b.o"), "").unwrap();
    fs::write(source.join(std::ffi::OsStr::from_bytes(b"odd\xff.o")), "").unwrap();
    let filter = ["--exclude", "*.o", "--exclude", "/build/", "--exclude", "many"];
    sync(3, &filter, &source, &target).expect(0);
    assert!(!target.join("build").exists() && !target.join("b.o").exists());
    let count = |tool: &str, tree: &Path| {
        let ended = run(ranks(2, tool).arg("--json").args(filter).arg(tree)).expect(0);
        ended.summary()["totals"]["found"]["files"].as_u64().unwrap()
    };
    assert_eq!(count("dwalk", &source), count("dwalk", &target));
    let both = |tool: &str| {
        let mut job = ranks(2, tool);
        job.args(["--json"]).args(filter).args([&source, &target]);
        run(&mut job)
    };
    both("dcmp").expect(0);
    fs::write(target.join("b.o"), "protected").unwrap();
    run(ranks(2, "dsync").arg("-D").args(filter).args([&source, &target])).expect(0);
    assert!(target.join("b.o").exists(), "an excluded entry was deleted");
    let third = work.at("third");
    let slash = format!("{}/", source.display());
    run(ranks(2, "dcp").arg("-p").args(filter).arg(slash).arg(&third)).expect(0);
    run(ranks(2, "dcmp").args(filter).args([&source, &third])).expect(0);
    assert!(!third.join("build").exists());
}

#[test]
fn other_file_systems_are_entered_only_when_that_is_meant() {
    need_root!();
    let work = Sandbox::new();
    let (source, target) = source_in(work.path());
    let disk = mounts::SmallDisk::mount("size=1m");
    fs::write(disk.path().join("inside"), "").unwrap();
    let point = source.join("mnt");
    fs::create_dir(&point).unwrap();
    run(Command::new("mount").arg("--bind").args([disk.path(), &point])).expect(0);
    let ended = work.run(2, "dsync", &["-x"]);
    let whole = sync(2, &[], &source, &work.at("whole"));
    run(Command::new("umount").arg(&point)).expect(0);
    ended.expect(0);
    whole.expect(0);
    assert!(target.join("mnt").is_dir() && !target.join("mnt/inside").exists());
    assert!(work.at("whole/mnt/inside").exists());
}

/// Checks skipped special files: messages and counts must not claim that they were copied, nor may
/// entries of their names be deleted.
#[test]
fn special_files_are_left_out_and_never_called_equal() {
    need_root!();
    for count in [1, 3] {
        let work = Sandbox::new();
        let (source, target) = (work.source(), work.target());
        fs::create_dir(&source).unwrap();
        for (name, words) in [
            ("missing", &["p"][..]),
            ("same", &["p"]),
            ("file", &["p"]),
            ("tree", &["c", "1", "3"]),
            ("device", &["b", "7", "99"]),
        ] {
            run(Command::new("mknod").arg(source.join(name)).args(words)).expect(0);
        }
        trees::write(&target.join("tree/below"), b"kept");
        fs::write(target.join("file"), "kept").unwrap();
        run(Command::new("mknod").arg(target.join("same")).arg("p")).expect(0);
        run(Command::new("mknod").arg(target.join("device")).args(["c", "7", "99"])).expect(0);
        work.run(count, "dsync", &["-D"]).expect(0);
        let before = listing(&target);
        let again = work.run(count, "dsync", &["-D"]).expect(0);
        assert_eq!(listing(&target), before);
        assert_eq!(fs::read(target.join("tree/below")).unwrap(), b"kept");
        assert!(
            again.stdout.contains("nothing to do, except for what was skipped"),
            "{}",
            again.stdout
        );
        let told = |name: &str| {
            let path = format!("\"{}\": a special file", source.join(name).display());
            again.stderr.contains(&path)
        };
        let all = ["missing", "same", "file", "tree", "device"].map(told);
        assert_eq!(all, [false, false, true, true, true], "{}", again.stderr);
        let json = work.run(count, "dsync", &["-D", "--json"]).expect(0);
        let totals = json.summary()["totals"].clone();
        assert_eq!(
            (&totals["special_files_skipped"], &totals["synced"]["type_mismatches"]),
            (&5.into(), &3.into())
        );
        assert_eq!(json.events("skipped").len(), 3);
        assert_eq!(totals["failed"], 0);
    }
}
