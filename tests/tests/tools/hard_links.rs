//! Tests of hard links under real `mpiexec`, judged by rsync and by their inodes.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use suite_tests::job::{Ended, run, tool};
use suite_tests::sandbox::Sandbox;

/// Creates small and large files with hard links in several directories, one with a hard link
/// outside the tree.
fn grow(tree: &Path) {
    for dir in ["a/deep/er", "b", "c"] {
        fs::create_dir_all(tree.join(dir)).unwrap();
    }
    fs::write(tree.join("a/small"), "small").unwrap();
    fs::write(tree.join("a/large"), vec![7; 1 << 20]).unwrap();
    fs::write(tree.join("b/lone"), "lone").unwrap();
    for (file, name) in [
        ("a/small", "c/small"),
        ("a/small", "a/deep/er/small"),
        ("a/large", "b/large"),
        ("b/lone", "../lone outside"),
    ] {
        fs::hard_link(tree.join(file), tree.join(name)).unwrap();
    }
}

#[track_caller]
fn assert_grouped_alike(source: &Path, target: &Path) {
    let mut rsync = Command::new("rsync");
    rsync.args(["-aHAX", "--checksum", "--delete", "--itemize-changes", "-n"]);
    let ended = run(rsync.arg(source.join("")).arg(target.join(""))).expect(0);
    assert_eq!(ended.stdout, "");
    assert_eq!(count_of(target, "a/small"), 3);
    assert_eq!(count_of(target, "b/large"), 2);
    assert_eq!(count_of(target, "b/lone"), 1);
}

fn count_of(tree: &Path, name: &str) -> u64 {
    fs::metadata(tree.join(name)).unwrap().nlink()
}

fn linked(ended: &Ended) -> u64 {
    ended.summary()["totals"]["hard_linked"].as_u64().unwrap()
}

#[test]
fn dcp_keeps_names_of_one_file_together_at_any_rank_count() {
    for count in [1, 4] {
        let work = Sandbox::on_disk();
        let (source, target) = (work.at("source"), work.at("target"));
        grow(&source);
        let mut dcp = tool(count, "dcp");
        let ended =
            run(dcp.args(["-pH", "--json", "-k", "64KiB"]).args([&source, &target])).expect(0);
        assert_eq!(linked(&ended), 3);
        let copied_bytes = &ended.summary()["totals"]["copied_bytes"];
        assert_eq!(copied_bytes.as_u64(), Some((1 << 20) + 9));
        assert_grouped_alike(&source, &target);
        // Again, over what is there.
        let mut dcp = tool(count, "dcp");
        run(dcp.args(["-pH"]).args([&source.join(""), &target])).expect(0);
        assert_grouped_alike(&source, &target);
    }
}

#[test]
fn dsync_makes_links_of_copies_and_is_idle_after_that() {
    for count in [1, 4] {
        let work = Sandbox::on_disk();
        let (source, target) = (work.at("source"), work.at("target"));
        grow(&source);
        // Every name a file of its own.
        run(Command::new("cp").args(["-a", "--no-preserve=links"]).args([&source, &target]))
            .expect(0);
        assert_eq!(count_of(&target, "a/small"), 1);
        let plan = run(tool(count, "dsync").args(["-nDH"]).args([&source, &target])).expect(0);
        assert_eq!(plan.stdout.matches("hard link ").count(), 3, "{}", plan.stdout);
        let sync = |count| {
            run(tool(count, "dsync").args(["-DH", "--json"]).args([&source, &target])).expect(0)
        };
        assert_eq!(linked(&sync(count)), 3);
        assert_grouped_alike(&source, &target);
        let ended = sync(count);
        let totals = &ended.summary()["totals"];
        assert_eq!(linked(&ended), 0);
        assert_eq!(totals["copied"]["files"].as_u64(), Some(0));
        // A new content reaches all names, however the old ones were linked.
        fs::write(source.join("c/small"), "other").unwrap();
        sync(count);
        assert_grouped_alike(&source, &target);
    }
}

/// Checks two files and a hard link of the source, all of one content and time; at the target all
/// are hard links of one file, as are two of other content.
fn joined_twins(work: &Path) -> (PathBuf, PathBuf) {
    let (source, target) = (work.join("source"), work.join("target"));
    for dir in ["a", "b"] {
        fs::create_dir_all(source.join(dir)).unwrap();
    }
    for name in ["a/1", "b/2", "a/large 1", "b/large 2"] {
        let size = if name.contains("large") { 1 << 20 } else { 5 };
        fs::write(source.join(name), vec![1; size]).unwrap();
    }
    fs::hard_link(source.join("a/1"), source.join("b/1")).unwrap();
    fs::write(source.join("a/own"), "one").unwrap();
    fs::write(source.join("b/own"), "another").unwrap();
    std::os::unix::fs::symlink("1", source.join("a/link")).unwrap();
    std::os::unix::fs::symlink("1", source.join("b/link")).unwrap();
    let touch = ["-h", "-d", "2020-02-02"];
    for dir in ["a", "b"] {
        for entry in fs::read_dir(source.join(dir)).unwrap() {
            run(Command::new("touch").args(touch).arg(entry.unwrap().path())).expect(0);
        }
    }
    run(Command::new("cp").arg("-a").args([&source, &target])).expect(0);
    let join = |one: &str, other: &str| {
        fs::remove_file(target.join(other)).unwrap();
        fs::hard_link(target.join(one), target.join(other)).unwrap();
    };
    for (one, other) in
        [("a/1", "b/2"), ("a/large 1", "b/large 2"), ("a/own", "b/own"), ("a/link", "b/link")]
    {
        join(one, other);
    }
    fs::hard_link(target.join("a/1"), work.join("outside")).unwrap();
    (source, target)
}

#[test]
fn names_that_only_the_target_has_together_are_parted() {
    for count in [1, 3] {
        for inplace in [None, Some("--inplace")] {
            let work = Sandbox::on_disk();
            let (source, target) = joined_twins(work.path());
            let compare = |code| {
                run(tool(count, "dcmp").arg("-H").args([&source, &target])).expect(code).stdout
            };
            let told = compare(1);
            assert!(told.contains("4 are hard links only in target"), "{told}");
            let sync = || {
                let mut dsync = tool(count, "dsync");
                dsync.args(["-H", "-k", "64KiB", "--json"]).args(inplace);
                run(dsync.args([&source, &target])).expect(0).summary()["totals"].clone()
            };
            sync();
            compare(0);
            assert_eq!(fs::read(target.join("a/own")).unwrap(), b"one");
            assert_eq!(fs::read(target.join("b/own")).unwrap(), b"another");
            assert_eq!(count_of(&target, "b/own"), 1);
            let mut rsync = Command::new("rsync");
            rsync.args(["-aHAX", "--checksum", "--delete", "--itemize-changes", "-n"]);
            let ended = run(rsync.arg(source.join("")).arg(target.join(""))).expect(0);
            assert_eq!(ended.stdout, "");
            let again = sync();
            assert_eq!(again["copied"]["files"], 0, "{again}");
            assert_eq!(again["hard_linked"], 0, "{again}");
        }
    }
}

/// Checks that a file whose other hard links are elsewhere is not copied for that reason.
#[test]
fn names_outside_the_target_part_nothing() {
    let work = Sandbox::on_disk();
    let (source, target) = (work.at("source"), work.at("target"));
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "content").unwrap();
    run(Command::new("cp").arg("-a").args([&source, &target])).expect(0);
    fs::hard_link(target.join("file"), work.at("older copy")).unwrap();
    let ended = run(tool(2, "dsync").args(["-DH"]).args([&source, &target])).expect(0);
    assert!(ended.stdout.contains("nothing to do"), "{}", ended.stdout);
    assert_eq!(count_of(&target, "file"), 2);
}

#[test]
fn links_with_several_names_stay_together() {
    let work = Sandbox::on_disk();
    let (source, target) = (work.at("source"), work.at("target"));
    fs::create_dir(&source).unwrap();
    std::os::unix::fs::symlink("nowhere", source.join("one")).unwrap();
    fs::hard_link(source.join("one"), source.join("two")).unwrap();
    for (name, options) in [("dcp", ["-a", "-H"]), ("dsync", ["-a", "-H"])] {
        let mut copy = tool(2, name);
        copy.args(options).args([&source.join(""), &target.join(name).join("")]);
        fs::create_dir_all(target.join(name)).unwrap();
        run(&mut copy).expect(0);
        let inode = |link: &str| fs::symlink_metadata(target.join(name).join(link)).unwrap().ino();
        assert_eq!(inode("one"), inode("two"), "{name}");
    }
}

#[test]
fn forty_thousand_names_of_twenty_thousand_files_arrive_in_pairs() {
    let work = Sandbox::on_disk();
    let (source, target) = (work.at("source"), work.at("target"));
    for dir in ["one", "two"] {
        fs::create_dir_all(source.join(dir)).unwrap();
    }
    for number in 0..20_000 {
        let name = source.join(format!("one/{number}"));
        fs::write(&name, []).unwrap();
        fs::hard_link(&name, source.join(format!("two/{number}"))).unwrap();
    }
    let ended = run(tool(4, "dcp").args(["-pH", "--json"]).args([&source, &target])).expect(0);
    assert_eq!(linked(&ended), 20_000);
    for number in 0..20_000 {
        let inode = |dir: &str| {
            let metadata = fs::metadata(target.join(format!("{dir}/{number}"))).unwrap();
            (metadata.ino(), metadata.nlink())
        };
        assert_eq!(inode("one"), inode("two"));
        assert_eq!(inode("one").1, 2);
    }
}

/// Checks a directory that is in the way of any of the hard links.
#[test]
fn a_directory_in_the_way_of_a_name_parts_it_from_no_other() {
    for (count, way) in [(1, "a/small"), (3, "a/small"), (1, "c/small"), (3, "a/deep/er/small")] {
        let work = Sandbox::on_disk();
        let (source, target) = (work.at("source"), work.at("target"));
        grow(&source);
        fs::create_dir_all(target.join(way).join("full/of")).unwrap();
        fs::write(target.join(way).join("full/of/it"), "it").unwrap();
        run(tool(count, "dsync").args(["-H", "-D"]).args([&source, &target])).expect(0);
        assert_grouped_alike(&source, &target);
        // Where nothing may be deleted, the others are there.
        let other = work.at("other");
        fs::create_dir_all(other.join(way).join("full")).unwrap();
        let mut dsync = tool(count, "dsync");
        dsync.args(["-H", "-D", "--max-delete=0"]).args([&source, &other]);
        run(&mut dsync).expect(25);
        assert_eq!(count_of(&other, "b/large"), 2);
        let small = ["a/small", "c/small", "a/deep/er/small"].into_iter().find(|name| *name != way);
        assert_eq!(count_of(&other, small.unwrap()), 2);
    }
}
