//! Tests of the order in which names are inspected, on a file system that records operations with
//! their threads, and that a library shows as Lustre. Lustre prefetches attributes for a thread
//! that inspects names in the order in which it has read them: there, such a run of names is some
//! requests to the metadata server instead of one for each name.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use suite_tests::fake_lustre::FakeLustre;
use suite_tests::job::{Ended, assert_identical, run, tool};
use suite_tests::mounts::SlowDisk;
use suite_tests::need_root;
use suite_tests::operations::{Operation, Operations};
use suite_tests::sandbox::Sandbox;
use suite_tests::trees;

/// File system that the tools see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Lustre,
    /// Lustre in the subdirectory `t`.
    LustreAsTarget,
    Fuse,
}

/// Runs a tool on paths below a new mount of `backing`, which takes that long for each operation.
fn on_mount(
    (backing, seen, delay_us): (&Path, Seen, u64),
    count: u32,
    words: &[&str],
    paths: &[&str],
) -> (Ended, Operations) {
    let work = Sandbox::new();
    let record = work.at("record");
    let disk = SlowDisk::recording(backing, Duration::from_micros(delay_us), &record);
    let root =
        if seen == Seen::LustreAsTarget { disk.path().join("t") } else { disk.path().into() };
    let lustre = FakeLustre::all_of(&root);
    let mut command = tool(count, words[0]);
    command.args(&words[1..]).args(paths.iter().map(|path| disk.path().join(path)));
    let ended = match seen {
        Seen::Lustre | Seen::LustreAsTarget => run(lustre.show_to(&mut command)),
        Seen::Fuse => run(&mut command),
    };
    (ended, Operations::read(&record))
}

/// Returns the names of a directory as it lists them.
fn listed(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Returns the lookups of names of a directory, in their order.
fn lookups<'o>(operations: &'o Operations, dir: &Path, names: &[String]) -> Vec<&'o Operation> {
    let (inode, names) = (fs::metadata(dir).unwrap().ino(), names.iter().collect::<HashSet<_>>());
    operations
        .of_kind("lookup")
        .filter(|it| it.inode == inode && names.contains(&it.name))
        .collect()
}

fn cp(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-a").args([from, to])).expect(0);
}

fn directories(tree: &Path) -> Vec<PathBuf> {
    listed(tree).iter().map(|name| tree.join(name)).collect()
}

#[test]
fn the_thread_that_lists_inspects_in_order_where_that_is_prefetched() {
    need_root!();
    let work = Sandbox::on_disk();
    trees::small_files(&work.at("s"), 12, 300);
    cp(&work.at("s"), &work.at("t"));
    for (words, paths) in [
        (&["dwalk"][..], &["s"][..]),
        (&["dcmp", "--lite"], &["s", "t"]),
        (&["dsync", "--xattrs=none"], &["s", "t"]),
        (&["dsync", "-D", "--xattrs=none"], &["s", "t"]),
    ] {
        for count in [1, 4] {
            let (ended, operations) =
                on_mount((work.path(), Seen::Lustre, 100), count, words, paths);
            ended.expect(0);
            let mut threads = HashSet::new();
            for dir in directories(&work.at("s")) {
                let names = listed(&dir);
                let of_dir = |tree: &&str| work.at(tree).join(dir.file_name().unwrap());
                for dir in paths.iter().map(of_dir) {
                    let looked = lookups(&operations, &dir, &names);
                    let order: Vec<&String> = looked.iter().map(|it| &it.name).collect();
                    assert_eq!(
                        order,
                        names.iter().collect::<Vec<_>>(),
                        "{words:?} {count} {dir:?}"
                    );
                    threads.insert(looked[0].thread);
                    let of_one = looked.iter().all(|it| it.thread == looked[0].thread);
                    assert!(of_one, "{words:?} {count} {dir:?}");
                }
            }
            assert!(count == 1 || threads.len() > 1, "{words:?}: one thread does it all");
        }
    }
}

#[test]
fn elsewhere_threads_share_the_names_of_a_directory() {
    need_root!();
    let work = Sandbox::on_disk();
    trees::small_files(&work.at("s"), 1, 1000);
    cp(&work.at("s"), &work.at("t"));
    let dir = directories(&work.at("s")).remove(0);
    for (seen, words, paths) in [
        (Seen::Fuse, &["dwalk", "-v"][..], &["s"][..]),
        // A checksum is a request for each file, for which nothing is prefetched.
        (Seen::Lustre, &["dwalk", "-v", "--checksum=blake3", "--print"], &["s"]),
        // The order of the source is none that Lustre knows.
        (Seen::LustreAsTarget, &["dcmp", "-v", "--lite"], &["s", "t"]),
    ] {
        let (ended, operations) = on_mount((work.path(), seen, 1000), 1, words, paths);
        assert!(!ended.expect(0).stderr.contains("prefetches"), "{words:?}");
        let looked = lookups(&operations, &dir, &listed(&dir));
        let threads: HashSet<u32> = looked.iter().map(|it| it.thread).collect();
        assert_eq!(looked.len(), 1000, "{words:?}");
        assert!(threads.len() > 1, "{words:?}: {threads:?}");
    }
}

#[test]
fn many_directories_are_inspected_at_once() {
    need_root!();
    let work = Sandbox::on_disk();
    trees::small_files(&work.at("s"), 24, 25);
    let mount = (work.path(), Seen::Lustre, 5000);
    let (ended, operations) = on_mount(mount, 1, &["dwalk", "-v", "--threads=16"], &["s"]);
    let ended = ended.expect(0);
    assert!(ended.stderr.contains("Lustre prefetches attributes"), "{}", ended.stderr);
    let at_once = operations.inodes_at_once("lookup");
    assert!(at_once > 4, "{at_once} directories at once");
}

#[test]
fn a_huge_directory_is_cut_into_runs_for_ranks_without_work() {
    need_root!();
    let work = Sandbox::on_disk();
    trees::small_files(&work.at("s"), 1, 8000);
    let dir = directories(&work.at("s")).remove(0);
    let names = listed(&dir);
    let number: BTreeMap<&String, usize> = names.iter().zip(0..).collect();
    let mount = (work.path(), Seen::Lustre, 500);
    let (ended, operations) = on_mount(mount, 4, &["dwalk"], &["s"]);
    ended.expect(0);
    let looked = lookups(&operations, &dir, &names);
    assert_eq!(looked.len(), names.len(), "each name is inspected once");
    // Runs of each rank, which come one after the other and keep their order.
    let mut ranks: BTreeMap<u32, Vec<(u32, usize)>> = BTreeMap::new();
    for it in &looked {
        ranks.entry(it.process).or_default().push((it.thread, number[&it.name]));
    }
    let is_cut = |pair: &&[(u32, usize)]| pair[1] != (pair[0].0, pair[0].1 + 1);
    let runs = |of_rank: &Vec<(u32, usize)>| 1 + of_rank.windows(2).filter(is_cut).count();
    let runs: usize = ranks.values().map(runs).sum();
    assert!(ranks.len() > 1, "other ranks had no part");
    assert!(runs <= 2 * 8000 / 1024, "{runs} runs");
}

/// Checks that what an inspection in order leaves for later is done and counted as elsewhere.
#[test]
fn what_takes_longer_is_done_by_others_and_counted_once() {
    need_root!();
    for count in [1, 4] {
        let mut counts = Vec::new();
        for seen in [Seen::Fuse, Seen::Lustre] {
            let work = Sandbox::on_disk();
            trees::small_files(&work.at("s"), 6, 50);
            cp(&work.at("s"), &work.at("t"));
            for (number, dir) in directories(&work.at("s")).iter().enumerate() {
                let names = listed(dir);
                let at = |index: usize| dir.join(&names[index]);
                fs::write(at(0), "longer than before, and thus another size").unwrap();
                fs::rename(at(1), dir.join("renamed")).unwrap();
                fs::remove_file(at(2)).unwrap();
                fs::create_dir(at(2)).unwrap();
                fs::write(at(2).join("below"), "x").unwrap();
                fs::hard_link(at(3), dir.join("linked")).unwrap();
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o640);
                fs::set_permissions(at(4), mode).unwrap();
                std::os::unix::fs::symlink("x", dir.join(format!("link{number}"))).unwrap();
            }
            for words in
                [&["dsync", "-D", "--json"][..], &["dsync", "-H", "--json", "--xattrs=none"]]
            {
                let mount = (work.path(), seen, 0);
                let (ended, _) = on_mount(mount, count, words, &["s", "t"]);
                let mut totals = ended.expect(0).summary()["totals"].clone();
                totals.as_object_mut().unwrap().retain(|name, _| !name.contains("seconds"));
                counts.push((seen, totals));
            }
            assert_identical(&work.at("s"), &work.at("t"));
        }
        let [first, second, in_order, in_order_second] = &counts[..] else { unreachable!() };
        assert_eq!((&first.1, &second.1), (&in_order.1, &in_order_second.1), "{count} ranks");
    }
}

#[test]
fn a_server_that_is_full_is_not_asked_by_all_threads() {
    need_root!();
    let work = Sandbox::on_disk();
    trees::small_files(&work.at("s"), 30, 200);
    let record = work.at("record");
    let disk = SlowDisk::queueing(&work.at("s"), Duration::from_millis(2), 4, &record);
    run(tool(1, "dwalk").arg(disk.path())).expect(0);
    let in_progress = Operations::read(&record).in_progress();
    let late = &in_progress[in_progress.len() / 2..];
    let mean = late.iter().sum::<usize>() / late.len();
    println!("{} operations, in progress: {mean} on average", in_progress.len());
    assert!((2..16).contains(&mean), "{mean} in progress");
}
