//! Files with several names under real `mpiexec`, judged by rsync and by their inodes.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use suite_tests::job::{Ended, run, tool};

fn temp() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Small and large files with names in several directories, one with a name outside the tree.
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
        let work = temp();
        let (source, target) = (work.path().join("source"), work.path().join("target"));
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
        let work = temp();
        let (source, target) = (work.path().join("source"), work.path().join("target"));
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

#[test]
fn forty_thousand_names_of_twenty_thousand_files_arrive_in_pairs() {
    let work = temp();
    let (source, target) = (work.path().join("source"), work.path().join("target"));
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
