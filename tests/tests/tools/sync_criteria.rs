//! Tests of dsync's criteria where they meet: entries that are in the way, older copies, hard
//! links. A loss here would be one with exit code 0.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;

use suite_tests::job::{alone, assert_identical, for_everybody, nobody, run, sync, tool};
use suite_tests::need_root;
use suite_tests::sandbox::Sandbox;
use suite_tests::{mounts, trees};

fn shell(dir: &Path, script: &str) -> String {
    run(Command::new("sh").args(["-ec", script]).current_dir(dir)).expect(0).stdout
}

/// Lists type, mode, owner, time, size and link target of all entries.
fn facts(dir: &Path) -> String {
    shell(dir, r"find . -mindepth 1 -printf '%P %y %m %U:%G %T@ %s %l\n' | sort")
}

#[test]
fn other_content_of_that_size_is_not_linked_to_whatever_is_kept() {
    let work = Sandbox::new();
    let (source, old) = (work.source(), work.at("old"));
    trees::write(&source.join("f"), b"new!");
    trees::write(&source.join("same"), b"same");
    trees::write(&old.join("f"), b"old!");
    trees::write(&old.join("same"), b"same");
    shell(work.path(), "touch -d 2020-01-01 old/f; touch -d 2021-06-01 s/f s/same old/same");
    let link_dest = format!("--link-dest={}", old.display());
    for (number, options) in [
        &["--no-preserve=timestamps"][..],
        &["--preserve=mode"],
        &["--no-preserve=all"],
        &["--preserve=mode,ownership", "-c"],
        &["--no-preserve=all", "-H"],
        &[],
    ]
    .into_iter()
    .enumerate()
    {
        let target = work.path().join(format!("t{number}"));
        sync(2, &[options, &[&link_dest]].concat(), &source, &target).expect(0);
        assert_eq!(fs::read(target.join("f")).unwrap(), b"new!", "{options:?}");
        let inode = |dir: &Path| fs::metadata(dir.join("same")).unwrap().ino();
        assert_eq!(inode(&target), inode(&old), "{options:?}");
    }
    let by_size = work.at("by size");
    sync(1, &[&link_dest, "--size-only", "--preserve=mode"], &source, &by_size).expect(0);
    assert_eq!(fs::read(by_size.join("f")).unwrap(), b"old!", "as asked");
}

/// Checks that the path is relative to the target, as with rsync, also where the target is made
/// only now, is a symbolic link, or is reached from elsewhere.
#[test]
fn a_relative_directory_of_link_dest_is_taken_from_the_target_on() {
    let work = Sandbox::new();
    shell(
        work.path(),
        "mkdir -p s backup/monday elsewhere/backup here; echo x > s/f; echo g > s/gone
        cp -a s/f backup/monday; cp -a s/f elsewhere/f; ln -s elsewhere/backup far",
    );
    let inode = |path: &str| fs::metadata(work.path().join(path)).unwrap().ino();
    for (from, option, words, copy, old) in [
        (".", "../monday", ["s", "backup/tuesday"], "backup/tuesday/f", "backup/monday/f"),
        (".", "../monday", ["s", "backup/tuesday/"], "backup/tuesday/f", "backup/monday/f"),
        ("here", "../monday/", ["../s", "../backup/friday"], "backup/friday/f", "backup/monday/f"),
        ("backup", "../monday", ["../s", "sunday"], "backup/sunday/f", "backup/monday/f"),
        (".", "..", ["s", "far"], "elsewhere/backup/f", "elsewhere/f"),
    ] {
        let option = format!("--link-dest={option}");
        let mut dsync = tool(2, "dsync");
        dsync.current_dir(work.path().join(from)).arg(&option).args(words);
        let ended = run(&mut dsync).expect(0);
        assert_eq!(inode(copy), inode(old), "{option} {words:?}: {}", ended.stderr);
        assert!(!ended.stderr.contains("current directory"), "{}", ended.stderr);
    }
}

#[test]
fn a_link_dest_that_is_not_there_from_the_target_on_is_told() {
    let work = Sandbox::new();
    shell(work.path(), "mkdir -p s deep/t old; echo x > s/f; cp -a s/f old");
    let dsync = |words: &[&str]| run(tool(1, "dsync").current_dir(work.path()).args(words));
    // The directory exists only in the current directory.
    let ended = dsync(&["--link-dest=old", "s", "deep/t"]).expect(0);
    for said in ["\"deep/t/old\": No such file", "\"old\" of the current directory is used instead"]
    {
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
    }
    let inode = |path: &str| fs::metadata(work.path().join(path)).unwrap().ino();
    assert_eq!(inode("deep/t/f"), inode("old/f"));
    // The directory exists in both places: the target's counts, as with rsync.
    shell(work.path(), "mkdir two; cp -a old deep/old; cd two; mkdir ../deep/two");
    let mut both = tool(1, "dsync");
    both.current_dir(work.at("two")).args(["--link-dest=../old", "../s", "../deep/two"]);
    assert!(!run(&mut both).expect(0).stderr.contains("current directory"));
    assert_eq!(inode("deep/two/f"), inode("deep/old/f"));
    // The directory exists nowhere.
    let ended = dsync(&["--link-dest=gone", "s", "deep/u"]).expect(3);
    assert!(ended.stderr.contains("\"deep/u/gone\": No such file"), "{}", ended.stderr);
    assert!(!work.at("deep/u").exists());
}

/// Script that creates a file, a symbolic link and a FIFO in the source, and non-empty directories
/// in their way at the target.
const IN_THE_WAY: &str = "mkdir -p s t/x/deep t/y t/p t/several; echo file > s/x; ln -s f s/y
    mkfifo s/p; echo 1 > s/several; ln s/several s/twin
    for d in x/deep y p several; do echo in > t/$d/f; done; cp -a t t0";

#[test]
fn a_directory_in_the_way_goes_where_something_takes_its_place() {
    let work = Sandbox::new();
    shell(work.path(), IN_THE_WAY);
    let target = work.target();
    for count in [1, 3] {
        for options in [
            &["-D", "--existing"][..],
            &["-D", "--existing", "-H", "--specials"],
            &["-D", "-u", "--specials"],
            &["-D", "--size-only"],
            &["-D", "-c", "-H"],
            &["-D", "--inplace"],
        ] {
            shell(work.path(), "rm -rf t; cp -a t0 t");
            work.run(count, "dsync", options).expect(0);
            let kinds = shell(&target, "stat -c %F x y several p | tr '\\n' ,");
            let fifo = if options.contains(&"--specials") { "fifo" } else { "directory" };
            let expected = format!("regular file,symbolic link,regular file,{fifo},");
            assert_eq!(kinds, expected, "{options:?}");
            assert_eq!(target.join("p/f").exists(), fifo == "directory", "{options:?}");
            assert_eq!(target.join("twin").exists(), !options.contains(&"--existing"));
        }
        shell(work.path(), "rm -rf t; cp -a t0 t; rm s/twin");
        let before = facts(&target);
        work.run(count, "dsync", &["-D", "--ignore-existing"]).expect(0);
        assert_eq!(facts(&target), before);
        shell(work.path(), "ln s/several s/twin");
    }
}

/// Checks that an entry that cannot be read, or not be created at the target, is noticed while the
/// directory is still there.
#[test]
fn a_directory_in_the_way_stays_where_nothing_can_take_its_place() {
    need_root!();
    let work = Sandbox::new();
    shell(work.path(), IN_THE_WAY);
    shell(work.path(), "rm s/several s/twin; chmod 000 s/x; chown -R 65534:65534 s t; chmod 755 .");
    shell(work.path(), "mknod s/device c 1 3; mkdir t/device; echo in > t/device/f");
    shell(work.path(), "mkdir t/empty; echo 1 > s/empty; chmod 000 s/empty; chown -R 65534 t");
    for options in [&["-D"][..], &["-D", "--existing", "-H"], &["-D", "-c", "--devices"]] {
        let (_programs, dsync) = for_everybody("dsync");
        let mut user = nobody();
        user.arg("--inh-caps=-all");
        user.arg(dsync).args(options).args(["s", "t"]).current_dir(work.path());
        run(&mut user).expect(23);
        for name in ["x/deep/f", "device/f", "empty"] {
            assert!(work.target().join(name).exists(), "{options:?} {name}");
        }
        assert_eq!(shell(work.path(), "find t -name '.dcp*' | wc -l").trim(), "0");
    }
    assert_eq!(fs::read(work.at("t/x/deep/f")).unwrap(), b"in\n");
}

/// Checks that snapshots made with `cp -al`, which share inodes with the target, do not change.
#[test]
fn older_snapshots_do_not_change() {
    need_root!();
    for (count, options) in
        [(1, &["-a", "-D"][..]), (3, &["-a", "-D"]), (2, &["-a", "--chmod=go="])]
    {
        let work = Sandbox::new();
        let data = work.at("data");
        trees::write(&data.join("f"), b"1");
        trees::write(&data.join("d/h"), b"3");
        symlink("x", data.join("l")).unwrap();
        symlink("y", data.join("late")).unwrap();
        shell(&data, "mkfifo p; mknod c c 1 3");
        let [monday, tuesday] = ["monday", "tuesday"].map(|name| work.at(name));
        sync(count, &["-a"], &data, &monday).expect(0);
        shell(work.path(), "cp -al monday tuesday");
        let before = facts(&monday);
        for name in ["l", "p", "c", "f"] {
            std::os::unix::fs::lchown(data.join(name), Some(1001), Some(1001)).unwrap();
        }
        shell(&data, "touch -h -d 2001-01-01 late c; setfattr -n user.a -v 1 d/h; chmod 600 p");
        sync(count, options, &data, &tuesday).expect(0);
        assert_eq!(facts(&monday), before, "{options:?}");
        if options.contains(&"-D") {
            assert_eq!(facts(&tuesday), facts(&data));
        }
    }
}

#[test]
fn a_new_name_joins_those_that_stay() {
    for count in [1, 3] {
        let work = Sandbox::new();
        let (source, target) = (work.source(), work.target());
        let script =
            "mkdir -p s/snap1; echo 1 > s/f; ln s/f s/snap1/f; ln -s f s/l; ln s/l s/snap1/l";
        shell(work.path(), script);
        work.run(count, "dsync", &["-H"]).expect(0);
        // A name that comes before, and one that comes after those that are there.
        shell(&source, "mkdir snap2; ln f a; ln f snap2/f; ln l snap2/l");
        work.run(count, "dsync", &["-H", "--ignore-existing"]).expect(0);
        let inodes = |names: &str| shell(&target, &format!("stat -c %i {names} | sort -u | wc -l"));
        assert_eq!(inodes("a f snap1/f snap2/f").trim(), "1");
        assert_eq!(inodes("l snap1/l snap2/l").trim(), "1");
        // What stays and is something else is no copy of the source.
        shell(&target, "rm -r a snap2; echo 'something else' > f");
        work.run(count, "dsync", &["-H", "--ignore-existing"]).expect(0);
        assert_eq!(shell(&target, "cat f a snap2/f"), "something else\n1\n1\n");
        assert_eq!(inodes("a snap2/f").trim(), "1");
    }
}

#[test]
fn an_owner_that_cannot_be_given_is_a_failure() {
    need_root!();
    let work = Sandbox::new();
    shell(work.path(), "chmod 755 .; mkdir -p s/d open; echo 1 > s/d/f; ln -s f s/d/l; mkfifo s/p");
    shell(work.path(), "chown -R 65534:65534 s open");
    let user = |tool: &str, options: &[&str], target: &str| {
        let (_programs, program) = for_everybody(tool);
        let mut user = nobody();
        user.arg(program);
        let ended = run(user.args(options).args(["s/", target]).current_dir(work.path()));
        (ended.code, ended.stderr.matches("set owner ").count())
    };
    for chown in ["1234", "1234:4321", ":4321"] {
        let given = format!("--chown={chown}");
        assert_eq!(user("dcp", &["--specials", &given], "open/t"), (Some(23), 5), "{chown}");
        assert_eq!(user("dcp", &["--specials", "-p", &given], "open/t"), (Some(23), 5), "{chown}");
        // Each run says so, although what was there has all else.
        for _ in 0..2 {
            assert_eq!(user("dsync", &["--specials", &given], "open/t").0, Some(23), "{chown}");
        }
        assert_eq!(fs::read(work.at("open/t/d/f")).unwrap(), b"1\n");
        shell(work.path(), "rm -r open/t");
    }
    // Who may give it has given it, though the owner that is kept besides is lost.
    chown(work.at("s/d/f"), Some(0), Some(0)).unwrap();
    assert_eq!(user("dcp", &["-p", "--chown=:65534"], "open/t"), (Some(0), 0));
    fs::set_permissions(work.at("open"), fs::Permissions::from_mode(0o755)).unwrap();
    run(alone("dcp").args(["--chown=1:2"]).arg(work.at("s/d/f")).arg(work.path())).expect(0);
    assert_eq!(fs::metadata(work.at("f")).unwrap().gid(), 2);
}

/// Checks that a dry run promises no file in place of a directory that a filter keeps.
#[test]
fn a_dry_run_fails_where_a_directory_in_the_way_stays() {
    let work = Sandbox::new();
    trees::write(&work.at("s/x"), b"file");
    for file in ["t/x/kept.tmp", "t/x/d/other", "t/y"] {
        trees::write(&work.at(file), b"1");
    }
    for (options, count) in [("-nD", 1), ("-nD", 3), ("-D", 2)] {
        let mut dsync = tool(count, "dsync");
        dsync.args([options, "--exclude=*.tmp"]).args([work.at("s/"), work.at("t")]);
        let ended = run(&mut dsync).expect(23);
        assert!(ended.stderr.contains("--delete could not remove it"), "{}", ended.stderr);
        assert!(!ended.stdout.contains("copy "), "{}", ended.stdout);
    }
    assert!(work.at("t/x/kept.tmp").exists() && !work.at("t/x/d").exists());
}

/// Checks the way out of a target that is full of what is to be deleted, as with rsync.
#[test]
fn a_full_target_is_emptied_first_where_nothing_is_to_be_copied() {
    need_root!();
    let disk = mounts::SmallDisk::mount("size=8m");
    let work = Sandbox::new();
    let (source, target) = (work.source(), disk.path().join("t"));
    trees::write(&source.join("new/large"), &trees::noise(6 << 20));
    trees::write(&source.join("both"), b"newer content");
    trees::write(&target.join("old/large"), &trees::noise(6 << 20));
    trees::write(&target.join("both"), b"content");
    let full = sync(2, &["-D"], &source, &target).expect(23);
    assert!(full.stderr.contains("with --existing --ignore-existing deletes"), "{full:?}");
    assert!(target.join("old/large").exists());

    sync(2, &["-D", "--existing", "--ignore-existing"], &source, &target).expect(0);
    assert!(!target.join("old").exists() && !target.join("new/large").exists());
    sync(2, &["-D"], &source, &target).expect(0);
    assert_identical(&source, &target);
}
