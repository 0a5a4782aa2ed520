//! Tests of nodes that do not see the same: a file system that is not mounted on one of them,
//! directories that each has for itself, symbolic links that lead elsewhere. No tool begins, and
//! each reports the node and what it lacks.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use suite_tests::job::{Ended, assert_identical, ranks, run};
use suite_tests::mounts::SmallDisk;
use suite_tests::nodes::Nodes;
use suite_tests::sandbox::Sandbox;
use suite_tests::trees::{small_files, write};
use suite_tests::{need_hydra, need_root};

const ALL: [usize; 4] = [1, 2, 3, 4];

/// The four tools with their arguments, to read `from` and, where they have two trees, also
/// `to`.
const TOOLS: [&[&str]; 4] = [&["dwalk"], &["dcp"], &["dcmp"], &["dsync", "-D"]];

/// Runs a tool with a rank on each of four nodes.
fn on_four(nodes: &Nodes, words: &[&str], paths: &[&Path]) -> Ended {
    run(nodes.tool_beside(&ALL, words[0]).args(&words[1..]).args(paths))
}

/// Checks that nothing is begun where the third node sees another directory, and that this is the
/// only message.
#[track_caller]
fn refused(nodes: &Nodes, words: &[&str], paths: &[&Path], says: &str) {
    let ended = on_four(nodes, words, paths).expect(3);
    let start = format!("{}: ", words[0]);
    let lines: Vec<&str> = ended.stderr.lines().filter(|line| line.starts_with(&start)).collect();
    let named = |line: &&str| line.contains(&nodes.name(3)) && line.contains(says);
    assert!(lines.iter().all(named) && !lines.is_empty(), "{words:?} {says}: {}", ended.stderr);
}

/// Mounts a file system on all nodes but the third.
fn mount_on_all_but_the_third(nodes: &Nodes, what: &Path, at: &Path) {
    for number in [1, 2, 4] {
        nodes.on(number, &format!("mount --bind '{}' '{}'", what.display(), at.display()));
    }
}

fn dir(path: PathBuf) -> PathBuf {
    fs::create_dir_all(&path).unwrap();
    path
}

fn entries(root: &Path) -> usize {
    run(Command::new("find").arg(root)).expect(0).stdout.lines().count()
}

#[test]
fn a_root_that_is_not_mounted_on_one_node_is_refused_by_all_tools() {
    need_root!();
    need_hydra!();
    let (work, disk) = (Sandbox::new(), SmallDisk::mount("size=16m"));
    let (share, point) = (disk.path().join("share"), dir(work.at("mnt")));
    small_files(&share.join("s"), 3, 5);
    let full = work.at("full");
    small_files(&full, 3, 5);
    let nodes = Nodes::start_apart(4);
    mount_on_all_but_the_third(&nodes, &share, &point);
    let (before, new) = (entries(&full), work.at("new"));
    for words in TOOLS {
        let paths = [&*point, if words[0] == "dcp" { &*new } else { &full }];
        let paths = if words[0] == "dwalk" { &paths[..1] } else { &paths[..] };
        refused(&nodes, words, paths, "is not the same on all nodes: node3");
        // What is in it is not there at all.
        let deeper = [&*point.join("s"), paths[paths.len() - 1]];
        let deeper = if words[0] == "dwalk" { &deeper[..1] } else { &deeper[..] };
        refused(&nodes, words, deeper, "No such file or directory");
        if words[0] != "dwalk" {
            refused(&nodes, words, &[&full, &point], "is not the same on all nodes: node3");
        }
    }
    refused(&nodes, &["dcp", "--clean"], &[&point], "is not the same on all nodes: node3");
    // The target that would be new was made by the first node only.
    refused(&nodes, &["dcp"], &[&full, &point.join("new")], "No such file or directory");
    assert_eq!((entries(&full), entries(&share), new.exists()), (before, 20, false));
    assert_eq!(entries(&point), 1, "files landed below the mount point");
}

#[test]
fn mounts_inside_the_roots_are_compared() {
    need_root!();
    need_hydra!();
    let work = Sandbox::new();
    let [source, target, shared] = ["s", "t", "shared"].map(|name| work.at(name));
    let nodes = {
        for number in 0..20 {
            small_files(&shared.join(format!("m{number}")), 1, 4);
            fs::create_dir_all(source.join(format!("in/m{number}"))).unwrap();
        }
        small_files(&target.join("in/m7"), 1, 4);
        Nodes::start_apart(4)
    };
    for number in 0..20 {
        let name = format!("m{number}");
        mount_on_all_but_the_third(&nodes, &shared.join(&name), &source.join("in").join(&name));
    }
    let before = entries(&target);
    for words in TOOLS {
        let paths = if words[0] == "dwalk" { vec![&*source] } else { vec![&*source, &*target] };
        refused(&nodes, words, &paths, "nothing mounted at \"in/m0\"");
    }
    assert_eq!(entries(&target), before);
    // Where they are left out they do not matter.
    let new = work.at("new");
    on_four(&nodes, &["dcp", "-x"], &[&source, &new]).expect(0);
    on_four(&nodes, &["dcp", "--exclude=/in"], &[&source, &work.at("without")]).expect(0);
    // Nor do they once all nodes have them.
    for number in 0..20 {
        let at = source.join(format!("in/m{number}"));
        let what = shared.join(format!("m{number}"));
        nodes.on(3, &format!("mount --bind '{}' '{}'", what.display(), at.display()));
    }
    on_four(&nodes, &["dsync", "-D"], &[&source, &target]).expect(0);
    assert_identical(&shared, &target.join("in"));
}

#[test]
fn directories_that_each_node_has_for_itself_are_refused() {
    need_root!();
    need_hydra!();
    let work = Sandbox::new();
    let (source, local) = (work.source(), dir(work.at("local")));
    small_files(&source, 3, 5);
    let nodes = Nodes::start_apart(4);
    for number in ALL {
        let at = local.display();
        nodes.on(number, &format!("mount -t tmpfs local '{at}' && mkdir '{at}/results'"));
    }
    nodes.on(1, &format!("echo 1 > '{}/results/only-here'", local.display()));
    let (results, before) = (local.join("results"), entries(&source));
    for words in TOOLS {
        let with = [&*results, &*source];
        let paths = if words[0] == "dwalk" { &with[..1] } else { &with[..] };
        let ended = on_four(&nodes, words, paths).expect(3);
        let all = [2, 3, 4].iter().all(|number| ended.stderr.contains(&nodes.name(*number)));
        assert!(all && ended.stderr.contains("has another directory there"), "{}", ended.stderr);
    }
    assert_eq!(entries(&source), before);
    let ended = on_four(&nodes, &["dcp"], &[&source, &local.join("new")]).expect(3);
    assert!(ended.stderr.contains("No such file or directory (on node"), "{}", ended.stderr);
    // What was made for it is gone again.
    nodes.on(1, &format!("test ! -e '{}/new'", local.display()));
    let single = [&*results.join("only-here"), &*source];
    let ended = on_four(&nodes, &["dcp"], &single).expect(3);
    assert!(ended.stderr.contains("only-here"), "{}", ended.stderr);
}

/// Checks nodes whose disks are copies of one image: all numbers and times are equal.
#[test]
fn a_target_on_copies_of_one_disk_is_told_by_a_mark() {
    need_root!();
    need_hydra!();
    let work = Sandbox::new();
    let (source, point) = (work.source(), dir(work.at("disk")));
    small_files(&source, 3, 5);
    let image = work.at("image");
    fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
    run(Command::new("/sbin/mkfs.ext4").args(["-q", "-F"]).arg(&image)).expect(0);
    let nodes = Nodes::start_apart(4);
    let (from, at) = (image.display(), point.display());
    nodes.on(1, &format!("mount -o loop '{from}' '{at}' && mkdir '{at}/t' && umount '{at}'"));
    for number in ALL {
        nodes.on(
            number,
            &format!("cp '{from}' '{from}{number}' && mount -o loop '{from}{number}' '{at}'"),
        );
    }
    let ended = on_four(&nodes, &["dcp"], &[&source, &point.join("t")]).expect(3);
    assert!(ended.stderr.contains("is not seen on"), "{}", ended.stderr);
    for number in ALL {
        nodes.on(number, &format!("test -z \"$(ls -A '{at}/t')\" && umount '{at}'"));
    }
}

/// Checks nodes with a directory of their own each; on some, a killed job has left a marker of the
/// same name.
#[test]
fn lists_manifests_and_journals_are_written_to_one_directory() {
    need_root!();
    need_hydra!();
    let work = Sandbox::new();
    let [source, target] = [work.source(), work.target()];
    small_files(&source, 3, 5);
    let local = dir(work.at("local"));
    let nodes = Nodes::start_apart(4);
    for number in ALL {
        nodes.on(number, &format!("mount -t tmpfs local '{}'", local.display()));
    }
    let at = |name: &str| local.join(name).display().to_string();
    let (list, manifest, journal) = (at("list.parquet"), at("manifest.parquet"), at("journal"));
    let output = format!("EXIST=ONLY_SRC:{list}");
    let jobs: [(&[&str], &[&Path], &str); 4] = [
        (&["dwalk", "-o", &list], &[&source], "list.parquet"),
        (&["dcmp", "-o", &output], &[&source, &source], "list.parquet"),
        (&["dcp", "--manifest", &manifest], &[&source, &target], "manifest.parquet"),
        (&["dcp", "--resume", "--journal", &journal], &[&source, &target], "journal"),
    ];
    for is_there in [false, true] {
        for (words, paths, name) in jobs {
            if is_there {
                let left = [at(&format!(".{name}.partial")), at(name)];
                let left = if name == "journal" { &left[1] } else { &left[0] };
                (2..=4).for_each(|number| nodes.on(number, &format!("mkdir -p '{left}'")));
            }
            let ended = on_four(&nodes, words, paths).expect(3);
            let named = [2, 3, 4].iter().all(|number| ended.stderr.contains(&nodes.name(*number)));
            assert!(named && ended.stderr.contains(name), "{words:?}: {}", ended.stderr);
            assert!(entries_if_there(&target) <= 1, "{words:?}");
        }
    }
    // In a directory that they share all goes well.
    let shared = work.at("shared.parquet");
    on_four(&nodes, &["dwalk", "-o", &shared.display().to_string()], &[&source]).expect(0);
    assert_eq!(fs::read_dir(&shared).unwrap().count(), 4);
}

fn entries_if_there(root: &Path) -> usize {
    if root.exists() { entries(root) } else { 0 }
}

#[test]
fn nodes_that_see_the_same_work_and_leave_no_mark() {
    need_root!();
    need_hydra!();
    let work = Sandbox::new();
    let [source, target] = [work.source(), work.target()];
    small_files(&source, 6, 5);
    write(&source.join("single"), b"1");
    let nodes = Nodes::start_apart(4);
    on_four(&nodes, &["dwalk"], &[&source]).expect(0);
    on_four(&nodes, &["dcp", "-p"], &[&source, &target]).expect(0);
    on_four(&nodes, &["dcmp"], &[&source, &target]).expect(0);
    // The mark has changed the target's time, which was given back.
    let ended = on_four(&nodes, &["dsync", "-D"], &[&source, &target]).expect(0);
    assert!(ended.stdout.contains("nothing to do"), "{}", ended.stdout);
    assert_identical(&source, &target);
    on_four(&nodes, &["dcp", "--clean"], &[&target]).expect(0);
    on_four(&nodes, &["dcp", "-p"], &[&source.join("single"), &target]).expect(0);
    on_four(&nodes, &["dcmp"], &[&source.join("single"), &target.join("single")]).expect(0);
    on_four(&nodes, &["dwalk"], &[&source.join("single")]).expect(0);
}

/// Checks a symbolic link in the path of a root that another program switches back and forth: all
/// entries are in one of the two directories, or nothing was begun.
#[test]
fn a_root_behind_a_link_that_changes_is_one_directory() {
    let work = Sandbox::new();
    let at = |name: &str| work.at(name);
    small_files(&at("s"), 4, 10);
    let whole = entries(&at("s"));
    for turn in 0..12 {
        let places = ["one", "two"].map(|name| dir(at(&format!("{turn}-{name}"))));
        let link = at(&format!("{turn}-link"));
        std::os::unix::fs::symlink(&places[0], &link).unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        let ended = std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in
                    (0_usize..).take_while(|_| !stop.load(std::sync::atomic::Ordering::Relaxed))
                {
                    let new = at("new-link");
                    let _ = std::os::unix::fs::symlink(&places[number % 2], &new);
                    let _ = fs::rename(&new, &link);
                    std::thread::sleep(std::time::Duration::from_micros(200));
                }
            });
            let ended = run(ranks(4, "dcp").arg("-p").arg(at("s/")).arg(link.join("t")));
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            ended
        });
        let found = places.map(|place| entries(&place) - 1);
        match ended.code {
            Some(0) => assert!(found == [whole, 0] || found == [0, whole], "{found:?}"),
            Some(3) => assert!(found.iter().sum::<usize>() <= 1, "{found:?} {}", ended.stderr),
            _ => panic!("{ended:?}"),
        }
    }
}

/// Checks mounts of a container that shares the host's name and kernel.
#[test]
fn ranks_in_containers_are_nodes_too() {
    need_root!();
    need_hydra!();
    let (work, disk) = (Sandbox::new(), SmallDisk::mount("size=16m"));
    small_files(&disk.path().join("s"), 2, 5);
    let (point, target) = (dir(work.at("mnt")), dir(work.target()));
    // Every second rank has the disk there.
    let script = work.at("rank");
    let tool = suite_tests::job::program("dsync");
    write(
        &script,
        format!(
            "#!/bin/sh\n[ $((${{PMI_RANK:-0}} % 2)) = 1 ] || exec '{tool}' \"$@\"\n\
             exec unshare --mount sh -c 'mount --bind {disk}/s {point} && exec {tool} \"$@\"' dsync \"$@\"\n",
            tool = tool.display(),
            disk = disk.path().display(),
            point = point.display()
        )
        .as_bytes(),
    );
    run(Command::new("chmod").arg("755").arg(&script)).expect(0);
    let mut job = Command::new(&suite_tests::job::mpiexec()[0]);
    let ended = run(job.args(["-n", "4"]).arg(&script).args([&point, &target])).expect(3);
    assert!(ended.stderr.contains("(rank 1)"), "{}", ended.stderr);
}

/// Checks that nothing is deleted on any node where one node has a different directory.
#[test]
fn nothing_is_deleted_where_a_node_sees_another_directory() {
    need_root!();
    need_hydra!();
    let (work, disk) = (Sandbox::new(), SmallDisk::mount("size=16m"));
    let (share, point) = (disk.path().join("share"), dir(work.at("mnt")));
    let (alike, own) = (work.at("alike"), point.join("s"));
    for root in [&share.join("s"), &own, &alike] {
        small_files(root, 3, 5);
    }
    let nodes = Nodes::start_apart(4);
    mount_on_all_but_the_third(&nodes, &share, &point);
    refused(&nodes, &["drm"], &[&alike, &own], "is not the same on all nodes: node3");
    assert_eq!([&share.join("s"), &own, &alike].map(|root| entries(root)), [19; 3]);
    on_four(&nodes, &["drm"], &[&alike]).expect(0);
    assert!(!alike.exists());
}
