//! Tests of dcp under real `mpiexec`, verified by other tools.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use suite_tests::job::{alone, assert_identical, ranks, run, tool};
use suite_tests::need_root;
use suite_tests::sandbox::Sandbox;
use suite_tests::{mounts, trees};

#[test]
fn a_real_tree_is_identical_at_any_rank_count() {
    let source = trees::real_tree();
    for count in [1, 32] {
        let work = Sandbox::on_disk();
        let target = work.at("copy");
        let ended =
            run(tool(count, "dcp").args(["-p", "--json"]).args([&source, &target])).expect(0);
        assert_identical(&source, &target);
        let summary = ended.summary();
        assert!(summary["totals"]["copied"]["files"].as_u64().unwrap() > 5_000);
        assert_eq!(summary["ranks"].as_array().unwrap().len() as u32, count);
    }
}

#[test]
fn one_of_each_awkward_thing_is_identical() {
    let work = Sandbox::on_disk();
    let source = work.at("source");
    trees::awkward_tree(&source);
    for (count, name) in [(1, "one"), (4, "four")] {
        let target = work.path().join(name);
        let mut dcp = tool(count, "dcp");
        run(dcp.args(["-p", "-k", "64KiB", "-b", "4096"]).args([&source, &target])).expect(0);
        assert_identical(&source, &target);
        assert_same_modes_and_times(&source, &target);
        // The second run finds everything copied.
        let mut dcp = tool(count, "dcp");
        run(dcp.args(["-p"]).arg(source.join("")).arg(&target)).expect(0);
        assert_identical(&source, &target);
    }
}

/// Compares nanoseconds and set-id bits, which rsync does not compare.
fn assert_same_modes_and_times(source: &Path, target: &Path) {
    let list = |root: &Path| {
        let format = "%P %y %#m %U %G %T@ %l\\n";
        let mut find = Command::new("find");
        let listed = run(find.arg(root).args(["-printf", format])).expect(0).stdout;
        let mut lines: Vec<String> = listed.lines().map(ToOwned::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(list(source), list(target));
}

#[test]
fn chunks_of_a_large_file_are_written_by_all_ranks() {
    let shm = Path::new("/dev/shm");
    let free = rustix::fs::statvfs(shm).map_or(0, |stat| stat.f_bavail * stat.f_frsize);
    // 2 GiB twice, where there is room; otherwise less, in smaller chunks.
    let (dir, size, chunk) = if free > 5 << 30 {
        (Sandbox::new(), 2_u64 << 30, "16MiB")
    } else {
        (Sandbox::on_disk(), 256 << 20, "2MiB")
    };
    let (source, target) = (dir.path().join("big"), dir.path().join("copy"));
    let block = trees::noise(1 << 20);
    let mut file = fs::File::create(&source).unwrap();
    for _ in 0..size >> 20 {
        std::io::Write::write_all(&mut file, &block).unwrap();
    }
    let mut dcp = ranks(4, "dcp");
    let ended = run(dcp.args(["--json", "-k", chunk]).args([&source, &target])).expect(0);
    run(Command::new("cmp").args([&source, &target])).expect(0);
    let summary = ended.summary();
    assert_eq!(summary["totals"]["copied_bytes"], size);
    for rank in summary["ranks"].as_array().unwrap() {
        assert!(rank["totals"]["copied_bytes"].as_u64().unwrap() > 0, "{rank}");
    }
}

#[test]
fn without_preserve_the_umask_holds_and_no_set_id_bit_is_gained() {
    let work = Sandbox::on_disk();
    let source = work.source();
    trees::write(&source.join("f"), b"x");
    fs::set_permissions(source.join("f"), Permissions::from_mode(0o6777)).unwrap();
    fs::set_permissions(&source, Permissions::from_mode(0o2777)).unwrap();
    for count in [1, 2] {
        let target = work.path().join(format!("t{count}"));
        let dcp = tool(count, "dcp");
        let words: Vec<_> = std::iter::once(dcp.get_program()).chain(dcp.get_args()).collect();
        let mut shell = Command::new("sh");
        shell.args(["-c", "umask 027; exec \"$@\"", "sh"]).args(words);
        run(shell.args([&source, &target])).expect(0);
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!(mode(&target.join("f")), 0o750);
        assert_eq!(mode(&target), 0o750);
    }
}

#[test]
fn a_replaced_file_keeps_its_mode_and_its_other_names_their_content() {
    let work = Sandbox::on_disk();
    let (source, target) = (work.source(), work.target());
    trees::write(&source, b"new");
    trees::write(&target, b"old");
    fs::set_permissions(&target, Permissions::from_mode(0o640)).unwrap();
    fs::hard_link(&target, work.at("other-name")).unwrap();
    work.run(1, "dcp", &[]).expect(0);
    assert_eq!(fs::read(&target).unwrap(), b"new");
    assert_eq!(fs::metadata(&target).unwrap().mode() & 0o7777, 0o640);
    assert_eq!(fs::read(work.at("other-name")).unwrap(), b"old");
}

#[test]
fn existing_directories_and_trailing_slashes_mean_what_cp_means() {
    let work = Sandbox::on_disk();
    let at = |path: &str| work.at(path);
    trees::write(&at("s/f"), b"x");
    trees::write(&at("g"), b"y");
    fs::create_dir(at("into")).unwrap();
    let dcp = |args: &[&str]| run(alone("dcp").current_dir(work.path()).args(args));
    for (args, made) in [
        (&["s", "new"][..], "new/f"),
        (&["s", "into"], "into/s/f"),
        (&["s/", "into"], "into/f"),
        (&["s/.", "into/"], "into/f"),
        (&["s", "g", "into"], "into/g"),
        (&["g", "renamed"], "renamed"),
        (&["g", "into/"], "into/g"),
    ] {
        dcp(args).expect(0);
        assert!(at(made).exists(), "{args:?} did not make {made}");
    }
}

#[test]
fn links_in_the_target_tree_are_replaced_and_never_written_through() {
    let work = Sandbox::on_disk();
    let at = |path: &str| work.at(path);
    trees::write(&at("s/f"), b"new");
    trees::write(&at("s/d/inner"), b"new");
    trees::write(&at("victim/f"), b"untouched");
    fs::create_dir_all(at("t/s")).unwrap();
    std::os::unix::fs::symlink(at("victim/f"), at("t/s/f")).unwrap();
    std::os::unix::fs::symlink(at("victim"), at("t/s/d")).unwrap();
    let ended = run(ranks(2, "dcp").args([at("s"), at("t")])).expect(23);
    assert_eq!(fs::read(at("victim/f")).unwrap(), b"untouched");
    assert!(!at("victim/inner").exists(), "written through a link");
    assert_eq!(fs::read(at("t/s/f")).unwrap(), b"new");
    assert!(ended.stderr.contains("t/s/d\": type mismatch: one is"), "{}", ended.stderr);
}

#[test]
fn a_link_planted_where_the_copy_goes_is_not_followed() {
    let work = Sandbox::on_disk();
    let at = |path: &str| work.at(path);
    trees::write(&at("s/f"), b"new");
    fs::create_dir(at("outside")).unwrap();
    fs::create_dir(at("t")).unwrap();
    std::os::unix::fs::symlink("../outside", at("t/s")).unwrap();
    run(alone("dcp").args([at("s"), at("t")])).expect(23);
    assert!(!at("outside/f").exists(), "written through a link");
    // A link that the operator spelled is meant.
    std::os::unix::fs::symlink("outside", at("spelled")).unwrap();
    run(alone("dcp").args([at("s/"), at("spelled")])).expect(0);
    assert!(at("outside/f").exists());
}

#[test]
fn a_link_never_takes_the_place_of_the_file_it_leads_to() {
    let work = Sandbox::on_disk();
    let at = |path: &str| work.at(path);
    trees::write(&at("b/x"), b"data");
    fs::create_dir(at("a")).unwrap();
    std::os::unix::fs::symlink("../b/x", at("a/x")).unwrap();
    run(alone("dcp").args([at("a/"), at("b")])).expect(23);
    run(alone("dcp").args([at("a/x"), at("b/x")])).expect(23);
    assert_eq!(fs::read(at("b/x")).unwrap(), b"data");
    assert!(!fs::symlink_metadata(at("b/x")).unwrap().is_symlink());
}

#[test]
fn devices_at_the_target_are_left_alone() {
    need_root!();
    let work = Sandbox::on_disk();
    let at = |path: &str| work.at(path);
    trees::write(&at("f"), b"x");
    run(Command::new("mknod").arg(at("null")).args(["c", "1", "3"])).expect(0);
    let ended = run(alone("dcp").args([at("f"), at("null")])).expect(23);
    assert!(ended.stderr.contains("it is not replaced"), "{}", ended.stderr);
    assert!(!fs::metadata(at("null")).unwrap().is_file());
}

#[test]
fn no_link_and_no_mount_makes_a_tree_copy_itself_for_ever() {
    need_root!();
    let work = Sandbox::on_disk();
    let at = |path: &str| work.at(path);
    // The target is in the source by another name: a followed link, or a bind mount.
    trees::write(&at("p/src/f"), b"x");
    std::os::unix::fs::symlink("..", at("p/src/link")).unwrap();
    run(ranks(2, "dcp").arg("-L").args([at("p/src"), at("p/t")])).expect(23);
    // Two sources that lead to each other's targets.
    fs::create_dir(at("into")).unwrap();
    for (one, other) in [("a", "b"), ("b", "a")] {
        for number in 0..30 {
            fs::create_dir_all(at(&format!("{one}/{number}"))).unwrap();
            let link = at(&format!("{one}/{number}/link"));
            std::os::unix::fs::symlink(at("into").join(other), link).unwrap();
        }
    }
    let ended = run(ranks(2, "dcp").args(["-L", "--json"]).args([at("a"), at("b"), at("into")]));
    assert!(ended.summary()["totals"]["copied"]["directories"].as_u64() < Some(10_000));
    trees::write(&at("bm/src/m/f"), b"x");
    run(Command::new("mount").arg("--bind").args([at("bm"), at("bm/src/m")])).expect(0);
    let ended = run(ranks(2, "dcp").args([at("bm/src"), at("bm/t")]));
    run(Command::new("umount").arg(at("bm/src/m"))).expect(0);
    let ended = ended.expect(23);
    assert!(ended.stderr.contains("the target is inside the source"), "{}", ended.stderr);
}

/// Checks that a part of the source that is mounted below the target is not written to, and that
/// nothing is deleted from it.
#[test]
fn a_part_of_the_source_that_is_mounted_below_the_target_is_not_changed() {
    need_root!();
    let work = Sandbox::on_disk();
    let at = |path: &str| work.at(path);
    for file in ["s/d/kept", "s/e/new"] {
        trees::write(&at(file), b"x");
    }
    fs::create_dir_all(at("t/e")).unwrap();
    run(Command::new("mount").arg("--bind").args([at("s/d"), at("t/e")])).expect(0);
    let go = |tool_name: &str, options: &[&str]| {
        run(ranks(2, tool_name).args(options).args([at("s/"), at("t")]))
    };
    let refused = [
        go("dsync", &["-aD"]),
        go("dsync", &["-aDx"]),
        go("dsync", &["-aD", "--exclude", "/d"]),
        go("dcp", &["-a"]),
    ];
    let without = go("dsync", &["-aD", "--exclude", "/e"]);
    run(Command::new("umount").arg(at("t/e"))).expect(0);
    for ended in refused {
        let ended = ended.expect(3);
        assert!(
            ended.stderr.contains("a mount shows a directory of the source"),
            "{}",
            ended.stderr
        );
    }
    without.expect(0);
    let names = |path: &str| {
        let all = fs::read_dir(at(path)).unwrap().map(|entry| entry.unwrap().file_name());
        all.collect::<Vec<_>>()
    };
    assert_eq!((names("s/d"), names("t/d")), (vec!["kept".into()], vec!["kept".into()]));
}

/// Checks that a mirror does not delete from its source by a directory that a mount shows in both.
#[test]
fn a_mirror_deletes_nothing_that_a_mount_shows_in_its_source() {
    need_root!();
    let work = Sandbox::on_disk();
    let at = |path: &str| work.at(path);
    for file in ["p/s/keep", "p/s/a/s/new", "p/s/n/new", "p/s/m/.x", "p/s/old/.x", "third/e"] {
        trees::write(&at(file), b"x");
    }
    trees::write(&at("t/2020/k"), b"x");
    for mount in ["t/a", "t/n"] {
        fs::create_dir_all(at(mount)).unwrap();
    }
    for mounts in
        [&[("t/2020", "p/s/old")][..], &[("third", "p/s/m"), ("third", "t/n")], &[("p", "t/a")]]
    {
        for (shown, point) in mounts {
            run(Command::new("mount").arg("--bind").args([at(shown), at(point)])).expect(0);
        }
        let ended = run(ranks(2, "dsync").arg("-aD").args([at("p/s/"), at("t")]));
        for (_, point) in mounts {
            run(Command::new("umount").arg(at(point))).expect(0);
        }
        let ended = ended.expect(3);
        assert!(ended.stderr.contains("a mount shows a directory"), "{}", ended.stderr);
    }
    // At the same path in both it is one and the same.
    fs::create_dir_all(at("t/m")).unwrap();
    for point in ["p/s/m", "t/m"] {
        run(Command::new("mount").arg("--bind").args([at("third"), at(point)])).expect(0);
    }
    let ended = run(ranks(2, "dsync").arg("-aD").args([at("p/s/"), at("t")]));
    for point in ["p/s/m", "t/m"] {
        run(Command::new("umount").arg(at(point))).expect(0);
    }
    ended.expect(0);
    assert!(at("third/e").exists() && at("p/s/keep").exists());
}

#[test]
fn followed_links_are_copied_as_what_they_point_to_and_loops_end() {
    let work = Sandbox::on_disk();
    let at = |path: &str| work.at(path);
    trees::write(&at("outside/f"), b"far");
    fs::create_dir_all(at("s/d")).unwrap();
    std::os::unix::fs::symlink(at("outside"), at("s/d/to-dir")).unwrap();
    std::os::unix::fs::symlink(at("outside/f"), at("s/to-file")).unwrap();
    run(alone("dcp").arg("-L").args([at("s"), at("t")])).expect(0);
    assert_eq!(fs::read(at("t/d/to-dir/f")).unwrap(), b"far");
    assert!(fs::symlink_metadata(at("t/to-file")).unwrap().is_file());
    std::os::unix::fs::symlink("..", at("s/d/up")).unwrap();
    std::os::unix::fs::symlink("nowhere", at("s/dangling")).unwrap();
    let ended = run(ranks(2, "dcp").arg("-L").args([at("s"), at("t2")])).expect(23);
    assert!(ended.stderr.contains("leads back to a directory above"), "{}", ended.stderr);
    assert!(ended.stderr.contains("dangling\": dangling symbolic link"), "{}", ended.stderr);
    assert_eq!(fs::read(at("t2/to-file")).unwrap(), b"far");
}

#[test]
fn a_path_far_beyond_path_max_is_copied() {
    let work = Sandbox::on_disk();
    let (source, target) = (work.source(), work.target());
    fs::create_dir(&source).unwrap();
    // 1000 levels of 100 bytes: made by a shell, which goes down step by step.
    let make = "n=$(printf %0100d 0); i=0; while [ $i -lt 1000 ]; do mkdir $n; cd -P $n; i=$((i+1)); done; echo x > f";
    run(Command::new("bash").current_dir(&source).args(["-c", make])).expect(0);
    let ended = work.run(2, "dcp", &["-p", "--json"]).expect(0);
    assert_eq!(ended.summary()["totals"]["copied"]["directories"], 1001);
    let count = |root: &Path| run(Command::new("find").arg(root)).stdout.lines().count();
    assert_eq!(count(&source), 1002);
    assert_eq!(count(&target), 1002);
}

#[test]
fn a_dry_run_prints_the_plan_and_changes_nothing() {
    let work = Sandbox::on_disk();
    let at = |path: &str| work.at(path);
    trees::write(&at("s/d/f"), b"x");
    let ended = run(alone("dcp").current_dir(work.path()).args(["-n", "s", "t"])).expect(0);
    assert!(!at("t").exists());
    for line in ["create directory t\n", "create directory t/d\n", "copy t/d/f\n"] {
        assert!(ended.stdout.contains(line), "{}", ended.stdout);
    }
    let ended =
        run(alone("dcp").current_dir(work.path()).args(["-n", "--json", "s", "t"])).expect(0);
    assert_eq!(ended.events("plan").len(), 3);
    // Directories that would be made are not waited for.
    fs::create_dir(at("t")).unwrap();
    trees::small_files(&at("s"), 100, 1);
    run(ranks(2, "dcp").arg("-n").args([at("s/"), at("t")])).expect(0);
    assert_eq!(fs::read_dir(at("t")).unwrap().count(), 0);
}

#[test]
fn small_files_arrive_whole_when_every_operation_takes_its_time() {
    need_root!();
    let work = Sandbox::on_disk();
    trees::small_files(&work.source(), 40, 25);
    let slow = mounts::SlowDisk::mount(work.path(), std::time::Duration::from_micros(300));
    let (source, target) = (slow.path().join("s"), slow.path().join("t"));
    let ended = run(ranks(2, "dcp").args(["-p", "--json"]).args([&source, &target])).expect(0);
    drop(slow);
    assert_identical(&work.source(), &work.target());
    // Waiting for storage brings out threads.
    let ranks = ended.summary()["ranks"].clone();
    assert!(
        ranks.as_array().unwrap().iter().any(|rank| rank["threads_most"].as_u64() > Some(4)),
        "{ranks}"
    );
}

/// Checks files of /proc, whose size is 0, and of /sys, whose size is larger than their content.
#[test]
fn files_whose_size_is_not_that_of_their_content_arrive_whole() {
    let work = Sandbox::on_disk();
    for (count, path) in [
        (1, "/proc/version"),
        (1, "/sys/kernel/mm/transparent_hugepage/enabled"),
        (2, "/sys/class/net/lo/address"),
    ] {
        let Ok(content) = fs::read(path) else { continue };
        for options in [&[][..], &["-p", "--verify=transferred"], &["--sparse=never"]] {
            let target = work.target();
            run(tool(count, "dcp").args(options).arg(path).arg(&target)).expect(0);
            assert_eq!(fs::read(&target).unwrap(), content, "{path} {options:?}");
            fs::remove_file(target).unwrap();
        }
    }
}
