//! How content is moved, under real `mpiexec`: holes, shared extents, and what the options say.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;

use suite_tests::job::{alone, run, tool};
use suite_tests::trees;

fn temp() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn allocated_bytes(path: &Path) -> u64 {
    fs::metadata(path).unwrap().blocks() * 512
}

/// 1 GiB with some data here and there; the end is a hole.
fn archipelago(path: &Path) {
    let file = File::create(path).unwrap();
    for megabyte in [0, 31, 32, 33, 500, 900] {
        file.write_all_at(&trees::noise(100_000), megabyte << 20).unwrap();
    }
    file.write_all_at(&vec![0; 1 << 20], 700 << 20).unwrap();
    file.set_len((1 << 30) + 1).unwrap();
}

#[test]
fn holes_stay_holes_when_many_ranks_copy_chunks() {
    let work = temp();
    let source = work.path().join("s");
    archipelago(&source);
    let taken = allocated_bytes(&source);
    for count in [1, 4] {
        for (sparse, most) in [("auto", taken), ("always", taken - (1 << 20) + (8 << 10))] {
            let target = work.path().join(format!("{sparse}-{count}"));
            let mut dcp = tool(count, "dcp");
            dcp.args(["-k", "32MiB", "--sparse", sparse]).args([&source, &target]);
            run(&mut dcp).expect(0);
            run(Command::new("cmp").args([&source, &target])).expect(0);
            assert!(allocated_bytes(&target) <= most, "{sparse}: {}", allocated_bytes(&target));
        }
    }
    // What was written as zeros is the same content: neither tool looks at room.
    let (from, to) = (work.path().join("from"), work.path().join("to"));
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
    let work = temp();
    let (source, target) = (work.path().join("s"), work.path().join("t"));
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

/// dsync keeps holes, too, and a file without any costs no call to look for them.
#[test]
fn holes_are_looked_for_only_where_there_may_be_some() {
    let work = temp();
    let (source, target) = (work.path().join("s"), work.path().join("t"));
    fs::create_dir(&source).unwrap();
    fs::create_dir(&target).unwrap();
    fs::write(source.join("whole"), trees::noise(1 << 20)).unwrap();
    File::open(source.join("whole")).unwrap().sync_all().unwrap();
    let calls = || {
        let log = work.path().join("log");
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
