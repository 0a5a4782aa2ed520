//! Tests of file systems that store less than the source: truncated timestamps, case-insensitive
//! names.

use std::fs;
use std::path::Path;
use std::process::Command;

use suite_tests::job::{Ended, run, tool};
use suite_tests::mounts::{Image, SlowDisk};
use suite_tests::need_root;
use suite_tests::sandbox::Sandbox;
use suite_tests::trees;

fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

fn folded(ended: &Ended) -> usize {
    let failures = ended.events("failure");
    failures.iter().filter(|failure| failure["error_code"] == "name-collision").count()
}

#[test]
fn names_that_the_target_takes_for_one_are_errors_and_nothing_is_merged() {
    need_root!();
    for (count, target) in [(1, "new"), (3, "new"), (2, "there")] {
        let work = Sandbox::on_disk();
        let (source, backing) = (work.source(), work.at("backing"));
        for name in ["Read me", "read Me", "other", "A/file", "a/another file", "sub/X", "sub/y"] {
            trees::write(&source.join(name), name.as_bytes());
        }
        fs::create_dir_all(backing.join("there")).unwrap();
        let disk = SlowDisk::folding(&backing);
        let target = disk.path().join(target);
        let mut dcp = tool(count, "dcp");
        let ended = run(dcp.args(["-p", "--json"]).args([&source.join(""), &target])).expect(23);
        assert_eq!(folded(&ended), 2, "{ended:?}");
        assert_eq!(names_in(&target), ["a", "other", "read me", "sub"]);
        let content = fs::read_to_string(target.join("read me")).unwrap();
        assert!(content == "Read me" || content == "read Me");
        assert_eq!(names_in(&target.join("a")).len(), 1, "one of the two directories");
        // A copy that excludes one of two colliding names has no failure.
        let mut dcp = tool(count, "dcp");
        dcp.args(["-p", "--exclude=Read me", "--exclude=/A"]);
        run(dcp.args([&source.join(""), &disk.path().join("few")])).expect(0);
        assert_eq!(fs::read_to_string(disk.path().join("few/read me")).unwrap(), "read Me");
    }
}

#[test]
fn names_that_are_given_are_not_merged_either() {
    need_root!();
    let work = Sandbox::on_disk();
    let (source, backing) = (work.source(), work.at("backing"));
    for name in ["One", "oNE", "sub/Two", "sub/two", "sub/three"] {
        trees::write(&source.join(name), name.as_bytes());
    }
    fs::create_dir_all(backing.join("t")).unwrap();
    fs::create_dir_all(backing.join("u")).unwrap();
    let disk = SlowDisk::folding(&backing);
    let target = disk.path().join("t");
    let mut dcp = tool(2, "dcp");
    dcp.args([&source.join("One"), &source.join("oNE"), &target]);
    let ended = run(&mut dcp).expect(23);
    assert!(ended.stderr.contains("oNE\": another source"), "{}", ended.stderr);
    assert_eq!(fs::read(target.join("one")).unwrap(), b"One");
    let names = work.at("names");
    fs::write(&names, "One\noNE\nsub/Two\nsub/Two\nsub/three\nsub/two\nOne\n").unwrap();
    for (name, count) in [("dcp", 1), ("dcp", 3), ("dsync", 2)] {
        let target = disk.path().join("u").join(format!("{name}{count}"));
        let mut job = tool(count, name);
        job.args(["--json", "--files-from"]).args([&names, &source, &target]);
        let ended = run(&mut job).expect(23);
        assert_eq!(folded(&ended), 2, "{ended:?}");
        let totals = &ended.summary()["totals"];
        assert_eq!((&totals["failed"], &totals["copied"]["files"]), (&2.into(), &3.into()));
        assert_eq!(names_in(&target), ["one", "sub"]);
        assert_eq!(names_in(&target.join("sub")), ["three", "two"]);
    }
}

/// Checks that entries whose names differ from the source's only in case are not taken for
/// extraneous ones.
#[test]
fn dsync_deletes_nothing_that_only_has_other_letters() {
    need_root!();
    let work = Sandbox::on_disk();
    let (source, backing) = (work.source(), work.at("backing"));
    trees::write(&source.join("Dir/File"), b"content");
    trees::write(&backing.join("t/extra"), b"only here");
    let disk = SlowDisk::folding(&backing);
    let target = disk.path().join("t");
    let sync = || run(tool(2, "dsync").args(["-D"]).args([&source, &target])).expect(0);
    sync();
    assert_eq!(names_in(&target), ["dir"]);
    assert_eq!(fs::read(target.join("dir/file")).unwrap(), b"content");
    // Nor something that takes no part, whose pattern does not know the other letters.
    trees::write(&source.join("Left out"), b"x");
    trees::write(&target.join("Left out"), b"precious");
    let mut dsync = tool(2, "dsync");
    run(dsync.args(["-D", "--exclude=Left out"]).args([&source, &target])).expect(0);
    assert_eq!(fs::read(target.join("left out")).unwrap(), b"precious");
    fs::remove_file(target.join("left out")).unwrap();
    fs::remove_file(source.join("Left out")).unwrap();
    sync();
    let again = sync();
    assert!(again.stdout.contains("nothing to do"), "{}", again.stdout);
}

#[test]
fn coarser_times_are_said_once_where_any_is_lost() {
    need_root!();
    let Some(coarse) = Image::ext4(&["-I", "128"]) else { return };
    let fine = Sandbox::on_disk();
    let source = fine.path().join("s");
    trees::small_files(&source, 2, 5);
    let copy = |options: &[&str], to: &Path| {
        run(tool(2, "dcp").args(options).args([&source, to])).expect(0)
    };
    let told = "coarser units";
    let kept = copy(&["-p"], &coarse.path().join("kept"));
    assert_eq!(kept.stdout.matches(told).count(), 1, "{}", kept.stdout);
    let counted = copy(&["-p", "--json"], &coarse.path().join("counted"));
    assert_eq!(counted.summary()["totals"]["timestamps_truncated"], 10);
    // Nothing was to be kept, or nothing is lost.
    assert!(!copy(&[], &coarse.path().join("plain")).stdout.contains(told));
    assert!(!copy(&["-p"], &fine.path().join("t")).stdout.contains(told));
    for entry in ["d0000/f00000", "d0001/f00001"] {
        run(Command::new("touch").args(["-d", "2020-02-02"]).arg(source.join(entry))).expect(0);
    }
    let counted = copy(&["-p", "--json"], &coarse.path().join("some"));
    assert_eq!(counted.summary()["totals"]["timestamps_truncated"], 8);
}

/// Checks an append-only directory, in which staged files could not be renamed or removed;
/// directories can be made, and filled.
#[test]
fn nothing_is_left_in_an_append_only_directory() {
    need_root!();
    let Some(disk) = Image::ext4(&[]) else { return };
    let work = Sandbox::on_disk();
    let source = work.source();
    trees::write(&source.join("file"), b"x");
    trees::write(&source.join("d/file"), b"x");
    std::os::unix::fs::symlink("file", source.join("link")).unwrap();
    let target = disk.path().join("t");
    fs::create_dir(&target).unwrap();
    let flag = |flag: &str| run(Command::new("chattr").arg(flag).arg(&target)).expect(0);
    flag("+a");
    for count in [1, 3] {
        let ended = run(tool(count, "dcp").arg("-a").arg(source.join("")).arg(&target)).expect(23);
        assert!(ended.stderr.contains("append-only"), "{}", ended.stderr);
        assert_eq!(names_in(&target), ["d"]);
        assert_eq!(names_in(&target.join("d")), ["file"]);
    }
    flag("-a");
    run(tool(2, "dcp").arg("-a").arg(source.join("")).arg(&target)).expect(0);
    assert_eq!(names_in(&target), ["d", "file", "link"]);
}
