//! Tests of moving content, under real `mpiexec`: holes, reflinks, and the options for them.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use suite_tests::buckets::{go, served, text};
use suite_tests::job::{alone, copy_program, for_everybody, nobody, program, run, tool};
use suite_tests::mounts::{Image, SmallDisk};
use suite_tests::object_server::Behaviour;
use suite_tests::sandbox::Sandbox;
use suite_tests::{need_root, skips, trees};

fn allocated_bytes(path: &Path) -> u64 {
    fs::metadata(path).unwrap().blocks() * 512
}

/// Creates a file of 256 MiB with some data here and there; the end is a hole.
fn archipelago(path: &Path) {
    let file = File::create(path).unwrap();
    for megabyte in [0, 31, 32, 33, 120, 225] {
        file.write_all_at(&trees::noise(100_000), megabyte << 20).unwrap();
    }
    file.write_all_at(&vec![0; 1 << 20], 175 << 20).unwrap();
    file.set_len((256 << 20) + 1).unwrap();
}

#[test]
fn holes_stay_holes_when_many_ranks_copy_chunks() {
    let work = Sandbox::on_disk();
    let source = work.source();
    archipelago(&source);
    let taken = allocated_bytes(&source);
    for count in [1, 4] {
        // The file system allocates blocks for its own table of extents when it writes them back.
        let taken = taken + (8 << 10);
        for (sparse, most) in [("auto", taken), ("always", taken - (1 << 20))] {
            let target = work.path().join(format!("{sparse}-{count}"));
            let mut dcp = tool(count, "dcp");
            dcp.args(["-k", "32MiB", "--sparse", sparse]).args([&source, &target]);
            run(&mut dcp).expect(0);
            run(Command::new("cmp").args([&source, &target])).expect(0);
            assert!(allocated_bytes(&target) <= most, "{sparse}: {}", allocated_bytes(&target));
        }
    }
    // What was written as zeros is the same content: neither tool looks at room.
    let (from, to) = (work.at("from"), work.at("to"));
    fs::create_dir(&from).unwrap();
    fs::create_dir(&to).unwrap();
    for (dir, name) in [(&from, "auto-4"), (&to, "always-1")] {
        fs::rename(work.path().join(name), dir.join("f")).unwrap();
    }
    let mut dcp = alone("dcmp");
    run(dcp.args(["--ignore", "mtime"]).args([&from, &to])).expect(0);
    let ended = run(alone("dsync").args(["-c", "--json"]).args([&from, &to])).expect(0);
    assert_eq!(ended.summary()["totals"]["copied_bytes"], 0);
}

#[test]
fn without_holes_every_byte_is_written() {
    let work = Sandbox::on_disk();
    let (source, target) = (work.source(), work.target());
    let file = File::create(&source).unwrap();
    file.write_all_at(b"x", 5 << 20).unwrap();
    for count in [1, 4] {
        let mut dcp = tool(count, "dcp");
        dcp.args(["-k", "1MiB", "--sparse", "never"]).args([&source, &target]);
        run(&mut dcp).expect(0);
        run(Command::new("cmp").args([&source, &target])).expect(0);
        assert!(allocated_bytes(&target) > 5 << 20);
    }
}

/// Checks that dsync preserves holes, too, and that a file without any costs no call to search for
/// them.
#[test]
fn holes_are_looked_for_only_where_there_may_be_some() {
    let work = Sandbox::on_disk();
    let (source, target) = (work.source(), work.target());
    fs::create_dir(&source).unwrap();
    fs::create_dir(&target).unwrap();
    fs::write(source.join("whole"), trees::noise(1 << 20)).unwrap();
    File::open(source.join("whole")).unwrap().sync_all().unwrap();
    let calls = || {
        let log = work.at("log");
        let mut strace = Command::new("strace");
        strace.args(["-f", "-e", "trace=lseek", "-o"]).arg(&log);
        run(strace.arg(alone("dsync").get_program()).args([&source, &target])).expect(0);
        let log = fs::read_to_string(log).unwrap();
        log.lines().filter(|line| line.contains("SEEK_DATA")).count()
    };
    assert_eq!(calls(), 0);
    let file = File::create(source.join("sparse")).unwrap();
    file.write_all_at(b"x", 1 << 20).unwrap();
    assert_eq!(calls(), 1);
    assert!(allocated_bytes(&target.join("sparse")) <= 8 << 10);
}

/// Checks that a comparison reads as much of a hole as proves that it is one, a block every 8 MiB,
/// not all of it.
#[test]
fn holes_that_both_files_have_are_passed_over() {
    let work = Sandbox::on_disk();
    let log = work.at("log");
    for name in ["s", "t"] {
        fs::create_dir(work.path().join(name)).unwrap();
        let file = File::create(work.path().join(name).join("sparse")).unwrap();
        file.write_all_at(b"x", 2 << 30).unwrap();
        file.set_len(4 << 30).unwrap();
    }
    for words in [&["dcmp", "--ignore", "mtime"][..], &["dsync", "-c", "--preserve=mode"]] {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-e", "trace=pread64", "-o"]).arg(&log).arg(program(words[0]));
        run(strace.args(&words[1..]).args(["s", "t"]).current_dir(work.path())).expect(0);
        let reads = fs::read_to_string(&log).unwrap().lines().count();
        // All of them would be 16,384 reads, and more with smaller buffers.
        assert!((2..4000).contains(&reads), "{words:?}: {reads} reads");
    }
}

/// Returns file systems that support reflinks.
fn sharing_disks() -> Vec<Image> {
    let disks = || [Image::btrfs(), Image::xfs()].into_iter().flatten().collect();
    if skips::has_root() { disks() } else { Vec::new() }
}

fn shares_content(path: &Path) -> bool {
    let extents = run(Command::new("filefrag").args(["-s", "-v"]).arg(path)).expect(0).stdout;
    let mut extents = extents.lines().filter(|line| line.contains(".. ")).peekable();
    assert!(extents.peek().is_some(), "filefrag shows no extents");
    extents.all(|line| line.contains("shared"))
}

/// Creates small and large files, with and without holes, with tails of all kinds.
fn mixed_files(dir: &Path) -> [&'static str; 4] {
    trees::write(&dir.join("small"), &trees::noise(100_001));
    trees::write(&dir.join("large"), &trees::noise(20_000_003));
    for (name, end) in [("small-holes", 2 << 20), ("large-holes", (40 << 20) + 1)] {
        let file = File::create(dir.join(name)).unwrap();
        file.write_all_at(&trees::noise(70_000), 1 << 20).unwrap();
        file.set_len(end).unwrap();
    }
    trees::write(&dir.join("empty"), b"");
    ["small", "large", "small-holes", "large-holes"]
}

fn assert_same_content(source: &Path, target: &Path) {
    run(Command::new("diff").arg("-r").args([source, target])).expect(0);
}

#[test]
fn files_share_content_where_they_can_and_only_where_they_may() {
    for disk in sharing_disks() {
        let source = disk.path().join("s");
        let names = mixed_files(&source);
        for (count, how, shares) in
            [(1, "auto", true), (4, "auto", true), (4, "always", true), (4, "never", false)]
        {
            let target = disk.path().join(format!("{how}-{count}"));
            let mut dcp = tool(count, "dcp");
            run(dcp.args(["-k", "3MiB", "--reflink", how]).args([&source, &target])).expect(0);
            assert_same_content(&source, &target);
            for name in names {
                assert_eq!(shares_content(&target.join(name)), shares, "{count} {how} {name}");
            }
            assert!(allocated_bytes(&target.join("large-holes")) < 10 << 20, "{how}");
            fs::remove_dir_all(&target).unwrap();
        }
        let target = disk.path().join("sync");
        fs::create_dir(&target).unwrap();
        run(alone("dsync").args([&source, &target])).expect(0);
        assert_same_content(&source, &target);
        assert!(shares_content(&target.join("large")));
    }
}

/// Checks that neither an option for holes nor another file system prevents a copy.
#[test]
fn what_cannot_share_content_is_copied_or_an_error() {
    let work = Sandbox::on_disk();
    let source = work.source();
    let names = mixed_files(&source);
    for disk in sharing_disks() {
        let target = disk.path().join("t");
        for count in [1, 4] {
            let mut dcp = tool(count, "dcp");
            run(dcp.args(["-k", "3MiB"]).args([&source, &target])).expect(0);
            assert_same_content(&source, &target);
            fs::remove_dir_all(&target).unwrap();
            let mut dcp = tool(count, "dcp");
            dcp.args(["-k", "3MiB", "--reflink", "always"]).args([&source, &target]);
            let ended = run(&mut dcp).expect(23);
            let lines = ended.stderr.lines().filter(|line| line.contains("clone "));
            assert_eq!(lines.count(), names.len(), "{}", ended.stderr);
            // What has no content has none to share.
            let left: Vec<_> = fs::read_dir(&target).unwrap().map(Result::unwrap).collect();
            assert!(left.len() == 1 && left[0].file_name() == "empty", "{left:?}");
            fs::remove_dir_all(&target).unwrap();
        }
    }
    let target = work.target();
    let mut dcp = alone("dcp");
    dcp.args(["--reflink", "always", "--sparse", "never"]).args([&source, &target]);
    let ended = run(&mut dcp).expect(2);
    assert!(ended.stderr.contains("--sparse auto"), "{}", ended.stderr);
    assert!(!target.exists());
}

#[test]
fn filled_holes_are_not_shared() {
    for disk in sharing_disks() {
        let (source, target) = (disk.path().join("s"), disk.path().join("t"));
        mixed_files(&source);
        run(alone("dcp").args(["--sparse", "never"]).args([&source, &target])).expect(0);
        assert_same_content(&source, &target);
        assert!(!shares_content(&target.join("large")));
        assert!(allocated_bytes(&target.join("large-holes")) > 40 << 20);
    }
}

#[test]
fn reading_leaves_times_of_access_alone_where_that_is_requested() {
    need_root!();
    let Some(disk) = Image::ext4(&[]) else { return };
    let (source, old) = (disk.path().join("s"), SystemTime::UNIX_EPOCH + Duration::from_hours(9));
    let set = || File::open(&source).unwrap().set_times(fs::FileTimes::new().set_accessed(old));
    trees::write(&source, &trees::noise(1000));
    for (options, stays) in [(&["--open-noatime"][..], true), (&[], false)] {
        set().unwrap();
        run(alone("dcp").args(options).arg(&source).arg(disk.path().join("t"))).expect(0);
        assert_eq!(fs::metadata(&source).unwrap().accessed().unwrap() == old, stays);
    }
}

/// Checks that files of others are read although only a file's owner may use O_NOATIME.
#[test]
fn files_of_others_are_read_with_their_times_of_access() {
    need_root!();
    let work = Sandbox::new();
    run(Command::new("chmod").arg("777").arg(work.path())).expect(0);
    let (_programs, dcp) = for_everybody("dcp");
    let (source, target) = (work.source(), work.target());
    trees::write(&source, b"of root");
    let mut user = nobody();
    user.arg(dcp);
    user.arg("--open-noatime").args([&source, &target]).env("HOME", "/");
    run(&mut user).expect(0);
    assert_eq!(fs::read(target).unwrap(), b"of root");
}

#[test]
fn a_file_is_on_storage_before_it_gets_its_name() {
    let work = Sandbox::on_disk();
    let (source, log) = (work.source(), work.at("log"));
    trees::write(&source.join("small"), b"x");
    trees::write(&source.join("large"), &trees::noise(5 << 20));
    let calls = |options: &[&str], target: &str| {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-e", "trace=fsync,syncfs,renameat,renameat2,rename", "-o"]).arg(&log);
        strace.arg(program("dcp")).args(["-k", "2MiB"]).args(options);
        run(strace.arg(&source).arg(work.path().join(target))).expect(0);
        let log = fs::read_to_string(&log).unwrap();
        // A call that another one interrupts has a second line.
        let begun = log.lines().filter_map(|line| line.split_once('('));
        let call = |(begin, _): (&str, &str)| begin.split(' ').next_back().unwrap().to_owned();
        begun.filter(|(begin, _)| !begin.contains("resumed")).map(call).collect::<Vec<_>>()
    };
    assert!(!calls(&[], "t1").iter().any(|call| call.contains("sync")));
    let calls = calls(&["--fsync"], "t2");
    // Three chunks, each by its own handle, and each file by its owner's.
    assert_eq!(calls.iter().filter(|call| *call == "fsync").count(), 5, "{calls:?}");
    assert_eq!(calls.last().unwrap(), "syncfs", "{calls:?}");
    let first_name = calls.iter().position(|call| call.contains("rename")).unwrap();
    assert_eq!(calls[first_name - 1], "fsync", "{calls:?}");
    run(tool(4, "dcp").args(["--fsync", "-k", "1MiB"]).arg(&source).arg(work.at("t3"))).expect(0);
    assert_same_content(&source, &work.at("t3"));
}

#[test]
fn content_goes_past_the_cache_whatever_its_length() {
    let work = Sandbox::on_disk();
    let (source, log) = (work.source(), work.at("log"));
    for size in [0, 1, 511, 4095, 4096, 4097, 1 << 20, (1 << 20) + 5, 5_000_003] {
        trees::write(&source.join(size.to_string()), &trees::noise(size));
    }
    let disk = skips::has_root().then(|| SmallDisk::mount("size=64m"));
    let places = [Some(work.path()), disk.as_ref().map(SmallDisk::path)];
    for (number, place) in places.into_iter().flatten().enumerate() {
        for (count, chunk, buffer) in
            [(1, "1MiB", "512KiB"), (4, "1MiB", "64KiB"), (4, "300000", "5000"), (1, "4MiB", "100")]
        {
            let target = place.join(format!("{number}-{count}-{chunk}"));
            let mut dcp = tool(count, "dcp");
            dcp.args(["--direct", "-k", chunk, "-b", buffer]).args([&source, &target]);
            run(&mut dcp).expect(0);
            assert_same_content(&source, &target);
            fs::remove_dir_all(&target).unwrap();
        }
    }
    let mut strace = Command::new("strace");
    strace.args(["-f", "-e", "trace=openat,pread64,pwrite64,fcntl,copy_file_range", "-o"]);
    strace.arg(&log).arg(program("dcp")).arg("--direct");
    run(strace.arg(source.join("1048576")).arg(work.target())).expect(0);
    let log = fs::read_to_string(&log).unwrap();
    let is_direct = |line: &&str| line.split(['|', ',', ')']).any(|flag| flag == "O_DIRECT");
    let opened = log.lines().filter(is_direct).filter(|line| line.contains("openat"));
    assert_eq!(opened.count(), 2);
    // All of it could go that way.
    assert!(!log.contains("F_SETFL") && !log.contains("copy_file_range"), "{log}");
}

#[test]
fn the_kernel_copies_content_except_in_memory() {
    for work in [Sandbox::new(), Sandbox::on_disk()] {
        let [source, target, log] = [work.source(), work.target(), work.at("log")];
        trees::write(&source, &trees::noise(1 << 20));
        let mut strace = Command::new("strace");
        strace.args(["-f", "-e", "trace=pwrite64,copy_file_range", "-o"]).arg(&log);
        run(strace.arg(program("dcp")).arg("--reflink=auto").args([&source, &target])).expect(0);
        assert_same_content(&source, &target);
        let is_memory = rustix::fs::statfs(work.path()).unwrap().f_type == 0x0102_1994;
        let log = fs::read_to_string(&log).unwrap();
        assert_eq!(log.contains("copy_file_range"), !is_memory, "{log}");
        assert_eq!(log.contains("pwrite64"), is_memory, "{log}");
    }
}

#[test]
fn a_file_that_is_there_is_rewritten_in_place() {
    let work = Sandbox::on_disk();
    let source = work.source();
    let names = mixed_files(&source);
    for (count, sparse) in [(1, "auto"), (4, "auto"), (4, "always"), (4, "never")] {
        for old_size in [0, 1000, 50 << 20] {
            let target = work.target();
            let inode = |name: &str| fs::metadata(target.join(name)).unwrap().ino();
            for name in names {
                trees::write(&target.join(name), &vec![0xff; old_size]);
            }
            let old = names.map(inode);
            std::os::unix::fs::symlink("nowhere", target.join("empty")).unwrap();
            let mut dcp = tool(count, "dcp");
            dcp.args(["-p", "-k", "3MiB", "--inplace", "--sparse", sparse]);
            run(dcp.arg(source.join("")).arg(&target)).expect(0);
            assert_same_content(&source, &target);
            assert!(fs::symlink_metadata(target.join("empty")).unwrap().is_file());
            assert_eq!(names.map(inode), old);
            if sparse != "never" {
                let taken = allocated_bytes(&target.join("large-holes"));
                assert!(taken < 1 << 20, "{sparse} {old_size}: {taken}");
            }
            fs::remove_dir_all(&target).unwrap();
        }
    }
}

/// Checks that names of one file at the target get the content of their own sources, with and
/// without hard links, and that a name outside, or of the source, keeps its content.
#[test]
fn files_with_several_names_are_not_rewritten_in_place() {
    let work = Sandbox::on_disk();
    let (source, target) = (work.source(), work.target());
    for (name, content) in [("a", "AAAA"), ("b", "BBBB"), ("c", "CC"), ("d", "source")] {
        trees::write(&source.join(name), content.as_bytes());
    }
    fs::create_dir(&target).unwrap();
    for count in [1, 3] {
        for (tool_name, options) in
            [("dcp", "-p"), ("dcp", "-a"), ("dsync", "-a"), ("dsync", "--no-preserve=links")]
        {
            fs::remove_dir_all(&target).unwrap();
            trees::write(&target.join("a"), b"old");
            for name in [target.join("b"), target.join("c"), work.path().join("outside")] {
                let _ = fs::remove_file(&name);
                fs::hard_link(target.join("a"), name).unwrap();
            }
            fs::hard_link(source.join("a"), target.join("d")).unwrap();
            let mut job = tool(count, tool_name);
            run(job.args(["--inplace", options]).arg(source.join("")).arg(&target)).expect(0);
            let of = |root: &Path| {
                ["a", "b", "c", "d"].map(|name| fs::read_to_string(root.join(name)).unwrap())
            };
            assert_eq!(of(&source), ["AAAA", "BBBB", "CC", "source"], "{tool_name} {options}");
            assert_eq!(of(&target), of(&source), "{tool_name} {options}");
            assert_eq!(fs::read(work.path().join("outside")).unwrap(), b"old");
        }
    }
}

/// Checks that an entry that cannot be written into is an error; the file and its hard links stay.
#[test]
fn what_cannot_be_rewritten_is_an_error() {
    let work = Sandbox::on_disk();
    let (source, target) = (work.source(), work.target());
    copy_program("dcp", &target);
    trees::write(&source, b"new");
    // A program that runs cannot be written to.
    let ended = run(Command::new(&target).arg("--inplace").args([&source, &target])).expect(23);
    assert!(ended.stderr.contains("Text file busy"), "{}", ended.stderr);
    assert_eq!(fs::read(&target).unwrap(), fs::read(program("dcp")).unwrap());
}

/// Checks that content from objects, which have no holes, may get some again.
#[test]
fn holes_survive_a_way_through_a_bucket_where_that_is_requested() {
    let work = Sandbox::on_disk();
    let source = work.source();
    mixed_files(&source);
    let server = served(Behaviour::default());
    go(&server, 4, &["dcp", "-k", "8MiB", text(&source), "s3://data/up"]).expect(0);
    for (count, sparse, most) in
        [(1, "always", 1 << 20), (4, "always", 1 << 20), (4, "auto", 41 << 20)]
    {
        let back = work.path().join(format!("{sparse}-{count}"));
        let words = ["dcp", "-k", "8MiB", "--sparse", sparse, "s3://data/up", text(&back)];
        go(&server, count, &words).expect(0);
        assert_same_content(&source, &back);
        let taken = allocated_bytes(&back.join("large-holes"));
        assert!(taken <= most, "{sparse} {count}: {taken}");
        let words = ["dcmp", "--ignore", "mtime,perm,uid,gid", text(&back), "s3://data/up"];
        go(&server, count, &words).expect(0);
    }
}
