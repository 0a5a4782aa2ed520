//! Tests of dcmp under real `mpiexec`: its output for two trees, and its exit code.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use suite_tests::job::{alone, compare, for_everybody, nobody, ranks, run, tool};
use suite_tests::sandbox::Sandbox;
use suite_tests::{mounts, need_root, trees};

/// Creates two trees with one entry of each awkward kind.
fn twins(work: &Path) -> (PathBuf, PathBuf) {
    let (source, target) = (work.join("s"), work.join("t"));
    trees::awkward_tree(&source);
    trees::small_files(&source.join("many"), 10, 20);
    copy(&source, &target);
    (source, target)
}

/// Copies with cp(1).
fn copy(source: &Path, target: &Path) {
    run(Command::new("cp").arg("-a").args([source, target])).expect(0);
}

#[test]
fn twins_are_identical_and_each_kind_of_drift_is_named() {
    let work = Sandbox::new();
    let (source, target) = twins(work.path());
    for count in [1, 4] {
        let same = compare(count, &[], &source, &target).expect(0);
        assert!(same.stdout.contains("dcmp: identical"), "{}", same.stdout);
    }
    fs::write(target.join("many/d0001/f00001"), "another size").unwrap();
    fs::create_dir(target.join("extra")).unwrap();
    fs::write(target.join("extra/file\n|"), "").unwrap();
    fs::write(source.join("missing"), "").unwrap();
    run(Command::new("setfattr").args(["-n", "user.a", "-v", "1"]).arg(target.join("many")))
        .expect(0);
    fs::File::open(&target).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    for count in [1, 4] {
        let differ = compare(count, &["--combined", "-"], &source, &target).expect(1);
        let has = |line: &str| differ.stdout.lines().any(|own| own == line);
        assert!(has("+ missing"), "{}", differ.stdout);
        assert!(has("- extra"), "{}", differ.stdout);
        assert!(has("- extra/file\\n|"), "{}", differ.stdout);
        assert!(has("* many\tXATTR"), "{}", differ.stdout);
        assert!(has("* .\tMTIME"), "{}", differ.stdout);
        let changed = differ.stdout.lines().filter(|line| line.contains("SIZE")).count();
        assert_eq!(changed, 1, "{}", differ.stdout);
        let json = compare(count, &["--json"], &source, &target).expect(1);
        let compared = json.summary()["totals"]["compared"].clone();
        assert_eq!(compared["only_in_source"], 1);
        assert_eq!(compared["only_in_target"], 2);
        assert_eq!(compared["different_by_field"]["XATTR"], 1);
        assert_eq!(
            json.events("difference").len() as u64,
            3 + compared["different"].as_u64().unwrap()
        );
    }
}

#[test]
fn access_control_lists_are_compared() {
    let work = Sandbox::new();
    let (source, target) = twins(work.path());
    let entry = target.join("many");
    run(Command::new("setfacl").args(["-m", "u:12345:rx"]).arg(&entry)).expect(0);
    let differ = compare(2, &["--combined", "-"], &source, &target).expect(1);
    let line = differ.stdout.lines().find(|line| line.starts_with("* many\t")).unwrap();
    assert!(line.contains("ACL"), "{line}");
    compare(2, &["--ignore", "acl,perm"], &source, &target).expect(0);
}

/// Sets an extended attribute, of a link itself where it is one.
fn set_xattr(name: &str, value: &str, path: &Path) {
    run(Command::new("setfattr").args(["-h", "-n", name, "-v", value]).arg(path)).expect(0);
}

#[test]
fn extended_attributes_are_compared_as_far_as_is_asked_for() {
    need_root!();
    let work = Sandbox::new();
    let (source, target) = twins(work.path());
    // A capability to bind ports, as linux/capability.h has it.
    let capability = "0sAQAAAgAEAAAAAAAAAAAAAAAAAAA=";
    let differs = |options: &[&str], expected: &[&str]| {
        for count in [1, 3] {
            let code = i32::from(!expected.is_empty());
            let ended = compare(count, &[options, &["--json"]].concat(), &source, &target);
            let ended = ended.expect(code);
            let totals = ended.summary()["totals"]["compared"].clone();
            assert_eq!(totals["different_by_field"]["XATTR"], expected.len(), "{options:?}");
            let events = ended.events("difference");
            let mut paths: Vec<_> =
                events.iter().map(|event| event["path"]["text"].as_str().unwrap()).collect();
            paths.sort_unstable();
            assert_eq!(paths, expected, "{options:?}");
        }
    };
    fs::write(source.join("user"), "").unwrap();
    fs::write(source.join("capable"), "").unwrap();
    fs::write(source.join("trusted"), "").unwrap();
    std::os::unix::fs::symlink("nowhere", source.join("trusted link")).unwrap();
    run(Command::new("cp").arg("-a").arg(source.join(".")).arg(&target)).expect(0);
    set_xattr("security.capability", capability, &source.join("capable"));
    set_xattr("trusted.b", "1", &source.join("trusted"));
    set_xattr("trusted.b", "1", &source.join("trusted link"));
    differs(&[], &["capable"]);
    differs(&["--xattrs", "user"], &[]);
    set_xattr("user.a", "1", &source.join("user"));
    differs(&["--xattrs", "user"], &["user"]);
    differs(&["--xattrs", "none"], &[]);
    differs(&["--ignore", "xattr", "--xattrs", "all"], &[]);
    for which in ["non-lustre", "all"] {
        differs(&["--xattrs", which], &["capable", "trusted", "trusted link", "user"]);
    }
    // Preserved attributes are the compared ones, those of symbolic links too.
    for which in ["user", "all"] {
        let copy = work.path().join(which);
        let kept = ["-a", "--xattrs", which, "--verify", "all"];
        run(tool(2, "dcp").args(kept).args([&source.join(""), &copy])).expect(0);
        compare(2, &["--xattrs", which], &source, &copy).expect(0);
    }
    compare(2, &["--xattrs", "all"], &source, &work.at("user")).expect(1);
    let dsync = |options: &[&str]| {
        run(tool(2, "dsync").args(["-a"]).args(options).args([&source, &target])).expect(0).stdout
    };
    dsync(&["--xattrs", "all"]);
    differs(&["--xattrs", "all"], &[]);
    assert!(dsync(&["--xattrs", "all"]).contains("nothing to do"));
}

#[test]
fn lists_of_rights_of_special_files_are_compared_too() {
    let work = Sandbox::new();
    let (source, target) = (work.source(), work.target());
    fs::create_dir(&source).unwrap();
    run(Command::new("mkfifo").arg(source.join("fifo"))).expect(0);
    copy(&source, &target);
    work.run(2, "dcmp", &[]).expect(0);
    let grant = |path: &Path| {
        run(Command::new("setfacl").args(["-m", "u:12345:r,m::rw"]).arg(path)).expect(0);
    };
    grant(&source.join("fifo"));
    let ended = work.run(2, "dcmp", &["--ignore", "perm"]).expect(1);
    assert!(ended.stdout.contains("* fifo\tACL\n"), "{}", ended.stdout);
}

/// Checks files of the same size and time with different content: --lite does not see that, and
/// tells so.
#[test]
fn lite_believes_size_and_time_and_says_so() {
    let work = Sandbox::new();
    let (source, target) = twins(work.path());
    let file = target.join("many/d0000/blind");
    let twin = source.join("many/d0000/blind");
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::create_dir_all(twin.parent().unwrap()).unwrap();
    for (path, content) in [(&twin, "aaaa"), (&file, "aaab")] {
        fs::write(path, content).unwrap();
        fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }
    let dirs = ["--ignore", "mtime"];
    let lite = compare(2, &["--lite", "--combined", "-"], &source, &target);
    assert!(lite.stdout.lines().any(|line| line == "= many/d0000/blind"), "{}", lite.stdout);
    assert!(lite.stdout.contains("size and modification time stand for the content"));
    let whole = compare(2, &["--combined", "-", dirs[0], dirs[1]], &source, &target).expect(1);
    assert!(
        whole.stdout.lines().any(|line| line == "* many/d0000/blind\tCONTENT"),
        "{}",
        whole.stdout
    );
    // Another time is another content to it.
    fs::File::options().write(true).open(&file).unwrap().set_modified(SystemTime::now()).unwrap();
    let lite = compare(2, &["--lite", "--combined", "-"], &source, &target).expect(1);
    let told = lite.stdout.lines().find(|line| line.contains("many/d0000/blind")).unwrap();
    assert_eq!(told, "* many/d0000/blind\tMTIME,CONTENT");
}

#[test]
fn chunks_of_a_large_file_are_compared_by_all_ranks() {
    let work = Sandbox::new();
    let (source, target) = (work.source(), work.target());
    fs::create_dir(&source).unwrap();
    trees::write(&source.join("large"), &trees::noise(256 << 20));
    copy(&source, &target);
    let options = ["--json", "--chunksize", "1MiB"];
    let same = compare(4, &options, &source, &target).expect(0).summary();
    assert_eq!(same["totals"]["compared"]["bytes"], 256 << 20);
    let ranks = same["ranks"].as_array().unwrap();
    assert!(ranks.iter().all(|rank| rank["totals"]["chunks"].as_u64() > Some(0)), "{ranks:?}");
    // One bit near the end, at the same time of change.
    let path = target.join("large");
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    let file = fs::File::options().read(true).write(true).open(&path).unwrap();
    let (mut byte, at) = ([0], (256 << 20) - 3);
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut byte, at).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[byte[0] ^ 4], at).unwrap();
    file.set_modified(time).unwrap();
    let differ = compare(4, &options, &source, &target).expect(1);
    let events = differ.events("difference");
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["fields"], serde_json::json!(["CONTENT"]));
}

#[test]
fn trouble_is_never_the_same() {
    let work = Sandbox::new();
    let (source, target) = twins(work.path());
    compare(2, &[], &source, &work.at("missing")).expect(3);
    compare(1, &[], &work.at("missing"), &target).expect(3);
    compare(1, &["-o", "SIZE=WRONG:x"], &source, &target).expect(2);
    compare(1, &["-o", "EXIST=ONLY_SRC:/nowhere/x"], &source, &target).expect(3);
    need_root!();
    // Without root, an unreadable file on one side is an error, not "the same".
    let open = work.at("open");
    fs::create_dir(&open).unwrap();
    for side in ["s", "t"] {
        fs::create_dir(open.join(side)).unwrap();
        fs::write(open.join(side).join("file"), "same").unwrap();
    }
    let lock = |path: &Path| {
        run(Command::new("chmod").args(["000"]).arg(path)).expect(0);
    };
    run(Command::new("chmod").arg("755").arg(work.path())).expect(0);
    lock(&open.join("t/file"));
    let (_programs, dcmp) = for_everybody("dcmp");
    let mut user = nobody();
    user.arg(dcmp);
    user.args(["--ignore", "perm,mtime", "--combined", "-"]).args([open.join("s"), open.join("t")]);
    let ended = run(&mut user).expect(23);
    assert!(ended.stdout.lines().any(|line| line == "! file"), "{}", ended.stdout);
    assert!(ended.stderr.contains("Permission denied"), "{}", ended.stderr);
}

#[test]
fn expressions_pick_what_mpifileutils_would() {
    let work = Sandbox::new();
    let (source, target) = twins(work.path());
    fs::write(source.join("only here"), "").unwrap();
    fs::write(target.join("only there"), "").unwrap();
    fs::remove_dir_all(target.join("many")).unwrap();
    fs::write(target.join("many"), "a file now").unwrap();
    let list = |name: &str| work.at(name);
    let mut job = ranks(3, "dcmp");
    for (expression, file) in [
        ("EXIST=ONLY_SRC", "src.txt"),
        ("EXIST=ONLY_DEST", "dest.ndjson"),
        ("EXIST=COMMON@TYPE=DIFFER", "type.txt"),
        ("EXIST=ONLY_SRC", "src.parquet"),
    ] {
        job.arg("-o").arg(format!("{expression}:{}", list(file).display()));
    }
    let ended = run(job.args([&source, &target])).expect(1);
    let read = |name: &str| fs::read_to_string(list(name)).unwrap();
    assert!(read("src.txt").contains("only here"), "{}", read("src.txt"));
    assert_eq!(read("src.txt").lines().count(), 1 + 10 + 200);
    let listed = run(tool(2, "dwalk").arg("--json").arg("-i").arg(list("src.parquet"))).expect(0);
    assert_eq!(listed.summary()["totals"]["found"]["files"], 1 + 200);
    let there: serde_json::Value = serde_json::from_str(read("dest.ndjson").trim()).unwrap();
    assert!(there["path"]["text"].as_str().unwrap().ends_with("/only there"));
    assert_eq!(read("type.txt").lines().count(), 1);
    let caption = "Number of items that exist only in one directory: N/A (Src: 211 Dest: 1)";
    assert!(ended.stdout.contains(caption), "{}", ended.stdout);
}

#[test]
fn reading_past_the_cache_is_said() {
    let work = Sandbox::new();
    let (source, target) = twins(work.path());
    let ended = compare(2, &["--direct"], &source, &target).expect(0);
    assert!(ended.stdout.contains("cached pages dropped before reading"), "{}", ended.stdout);
}

/// Returns the bytes read so far from the device that a path is on
/// (Documentation/admin-guide/iostats.rst of Linux).
fn read_from_device(path: &Path) -> u64 {
    let device = fs::metadata(path).unwrap().dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let stat = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).unwrap();
    stat.split_whitespace().nth(2).unwrap().parse::<u64>().unwrap() * 512
}

#[test]
fn direct_reads_the_storage_and_without_it_memory_will_do() {
    need_root!();
    let Some(disk) = mounts::Image::ext4(&[]) else { return };
    let (source, target) = (disk.path().join("s"), disk.path().join("t"));
    let sizes = [100 << 10, 3 << 20, 8 << 20];
    for (number, size) in sizes.into_iter().enumerate() {
        trees::write(&source.join(number.to_string()), &trees::noise(size));
    }
    copy(&source, &target);
    let both_bytes = 2 * sizes.into_iter().sum::<usize>() as u64;
    let read_by = |options: &[&str]| {
        let before = read_from_device(&disk.path());
        let chunks = [&["--chunksize", "1MiB"], options].concat();
        compare(2, &chunks, &source, &target).expect(0);
        read_from_device(&disk.path()) - before
    };
    // What was just written is in memory.
    let cached = read_by(&[]);
    assert!(cached < 1 << 20, "{cached} bytes read without --direct");
    let direct = read_by(&["--direct"]);
    assert!(direct >= both_bytes, "{direct} of {both_bytes} bytes read with --direct");
    // Reading it once the ordinary way brings it back there.
    read_by(&[]);
    let again = read_by(&[]);
    assert!(again < 1 << 20, "{again} bytes read without --direct");
}

#[test]
fn two_files_are_compared_as_they_are() {
    let work = Sandbox::new();
    let (a, b) = (work.at("a"), work.at("b"));
    fs::write(&a, "1").unwrap();
    run(Command::new("cp").arg("-p").args([&a, &b])).expect(0);
    run(alone("dcmp").args([&a, &b])).expect(0);
    fs::write(&b, "2").unwrap();
    let ended = run(alone("dcmp").args([&a, &b])).expect(1);
    assert!(ended.stdout.contains("CONTENT"), "{}", ended.stdout);
    run(alone("dcmp").arg(&a).arg(work.path())).expect(3);
}

#[test]
fn which_names_are_links_of_one_file_is_compared_where_that_is_asked_for() {
    let work = Sandbox::new();
    let (source, target) = (work.source(), work.target());
    for tree in [&source, &target] {
        for name in ["a/1", "a/2", "b/3", "b/4", "c/5", "alone"] {
            trees::write(&tree.join(name), b"the same");
        }
    }
    let link = |tree: &Path, of: &str, name: &str| {
        std::fs::remove_file(tree.join(name)).unwrap();
        std::fs::hard_link(tree.join(of), tree.join(name)).unwrap();
    };
    let compared = |ranks: u32, code: i32| {
        let mut dcmp = tool(ranks, "dcmp");
        dcmp.args(["-H", "--json", "--ignore=mtime"]).args([&source, &target]);
        let summary = run(&mut dcmp).expect(code).summary()["totals"]["compared"].clone();
        (
            summary["hard_links_only_in_source"].as_u64().unwrap(),
            summary["hard_links_only_in_target"].as_u64().unwrap(),
        )
    };
    link(&source, "a/1", "b/3");
    link(&source, "a/1", "c/5");
    for ranks in [1, 4] {
        assert_eq!(compared(ranks, 1), (2, 0));
    }
    link(&target, "a/1", "b/3");
    link(&target, "a/1", "c/5");
    assert_eq!(compared(4, 0), (0, 0));
    link(&target, "a/2", "b/4");
    assert_eq!(compared(3, 1), (0, 1));
    // The same number of links, but of other names.
    link(&source, "a/2", "alone");
    assert_eq!(compared(3, 1), (1, 1));
    let mut dcmp = tool(2, "dcmp");
    dcmp.arg("-H").args([&source, &target]).arg("--ignore=mtime");
    let ended = run(&mut dcmp).expect(1);
    assert!(ended.stdout.contains("* alone\tHARDLINK\n"), "{ended:?}");
    run(tool(2, "dcmp").arg("--ignore=mtime").args([&source, &target])).expect(0);
}

/// Checks that filters by size or time are applied on both sides: a file that has grown on one side
/// is not excluded any more.
#[test]
fn a_filter_by_size_chooses_what_takes_part_on_either_side() {
    let work = Sandbox::new();
    let (a, b) = (work.at("a"), work.at("b"));
    trees::write(&a.join("grown"), b"");
    trees::write(&b.join("grown"), b"data");
    trees::write(&a.join("small"), b"");
    trees::write(&b.join("small"), b"");
    let ignored = ["--min-size", "1", "--ignore", "mtime", "--combined", "-"];
    for (source, target) in [(&a, &b), (&b, &a)] {
        let ended = compare(2, &ignored, source, target).expect(1);
        assert!(ended.stdout.contains("* grown\tSIZE"), "{}", ended.stdout);
        assert!(!ended.stdout.contains("small"), "{}", ended.stdout);
    }
    // The file is excluded from a copy, which is complete nevertheless.
    let mut dcp = tool(2, "dcp");
    dcp.args(["--min-size=1", "--verify=all"]).args([a.join(""), b.clone()]);
    run(&mut dcp).expect(0);
}

/// Checks a file that no include matches, and that is a directory on the other side, which is
/// compared with all its entries.
#[test]
fn what_takes_part_on_one_side_only_is_compared() {
    let work = Sandbox::new();
    let (a, b) = (work.at("a"), work.at("b"));
    trees::write(&a.join("d"), b"no data");
    trees::write(&b.join("d/of.dat"), b"data");
    for (rules, alone) in [(["--include=*.dat"], "d/of.dat"), (["--exclude=d/"], "")] {
        for (source, target, sign) in [(&a, &b, '-'), (&b, &a, '+')] {
            let options = [rules[0], "--combined", "-"];
            let ended = compare(2, &options, source, target).expect(1);
            assert!(ended.stdout.contains("* d\tTYPE"), "{}", ended.stdout);
            let line = format!("{sign} {alone}\n");
            assert!(alone.is_empty() || ended.stdout.contains(&line), "{}", ended.stdout);
        }
    }
    run(tool(2, "dsync").args(["-D", "--include=*.dat"]).args([&a, &b])).expect(0);
    compare(2, &["--include=*.dat", "--ignore=mtime"], &a, &b).expect(0);
}

/// Returns the name of the entry that a line of a list is about.
fn name_in(line: &str) -> Option<&str> {
    line.split(" -> ").next().and_then(|path| path.rsplit('/').next())
}

/// Checks that differing fields are DIFFER whatever the type, as in mpiFileUtils.
#[test]
fn fields_that_differ_are_no_less_different_where_the_type_differs() {
    let work = Sandbox::new();
    let (a, b) = (work.at("a"), work.at("b"));
    trees::write(&a.join("fifo"), b"data");
    trees::write(&a.join("link"), b"data");
    trees::write(&b.join("dir"), b"data");
    fs::create_dir(a.join("dir")).unwrap();
    run(Command::new("mkfifo").args(["-m", "600"]).arg(b.join("fifo"))).expect(0);
    std::os::unix::fs::symlink("nowhere", b.join("link")).unwrap();
    for (tree, time) in [(&a, "@1000000000"), (&b, "@1000000001")] {
        let paths = ["fifo", "link", "dir"].map(|name| tree.join(name));
        run(Command::new("touch").args(["-h", "-d", time]).args(paths)).expect(0);
    }
    for (source, target) in [(&a, &b), (&b, &a)] {
        for (expression, expected) in [
            ("TYPE=DIFFER@SIZE=DIFFER@MTIME=DIFFER", &["dir", "fifo", "link"][..]),
            ("TYPE=DIFFER@PERM=DIFFER", &["dir", "fifo"]),
            ("TYPE=DIFFER@LINK=DIFFER", &["link"]),
            ("TYPE=DIFFER@SIZE=COMMON", &[]),
            ("TYPE=DIFFER@MTIME=COMMON", &[]),
        ] {
            let output = format!("{expression}:-");
            let ended = compare(1, &["-q", "-o", &output], source, target).expect(1);
            let mut told: Vec<_> = ended.stdout.lines().map(name_in).collect();
            told.sort_unstable();
            let expected: Vec<_> = expected.iter().map(|name| Some(*name)).collect();
            assert_eq!(told, expected, "{expression}: {}", ended.stdout);
        }
    }
}

/// Checks that a symbolic link on the command line stands for its target, a file or a directory, as
/// for diff(1).
#[test]
fn a_link_that_is_named_is_what_it_leads_to() {
    let work = Sandbox::new();
    let (a, b) = (work.at("a"), work.at("b"));
    trees::write(&a.join("file"), b"data");
    copy(&a, &b);
    let link = |name: &str, to: &Path| {
        let path = work.path().join(name);
        std::os::unix::fs::symlink(to, &path).unwrap();
        path
    };
    let (to_file, to_dir) = (link("to_file", &a.join("file")), link("to_dir", &a));
    compare(2, &[], &to_file, &b.join("file")).expect(0);
    compare(2, &[], &b.join("file"), &to_file).expect(0);
    compare(2, &[], &to_dir, &b).expect(0);
    fs::write(b.join("file"), b"else").unwrap();
    compare(1, &["--ignore", "mtime"], &to_file, &b.join("file")).expect(1);
    let nowhere = link("nowhere", Path::new("gone"));
    compare(1, &["--ignore", "mtime"], &nowhere, &link("nowhere too", Path::new("gone"))).expect(0);
}
