//! Tests of DAOS's requirements, as far as that is possible without it: descriptors that the kernel
//! does not know, as its `libpil4dfs` returns them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use suite_tests::job::{alone, assert_identical, run, tool};
use suite_tests::need_root;
use suite_tests::preload::FakeDfs;
use suite_tests::sandbox::Sandbox;
use suite_tests::trees;

#[track_caller]
fn assert_only_answered(dfs: &FakeDfs, used: &[&str]) {
    let (answered, past) = dfs.take_log();
    assert_eq!(past, [""; 0], "went past the library");
    for function in used {
        assert!(answered.iter().any(|name| name == function), "{function} is not in {answered:?}");
    }
}

/// Creates a file of four chunks, one with a hole, and one of each awkward kind.
fn source(work: &Path) -> std::path::PathBuf {
    let source = work.join("source");
    trees::awkward_tree(&source);
    trees::write(&source.join("large"), &trees::noise(3_700_000));
    let sparse = fs::File::create(source.join("sparse")).unwrap();
    sparse.set_len(3 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"end", (3 << 20) + 5).unwrap();
    source
}

#[test]
fn past_the_kernel_only_functions_of_libc_are_used() {
    need_root!();
    let work = Sandbox::on_disk();
    let source = source(work.path());
    for count in [1, 4] {
        let dfs = FakeDfs::new(work.path());
        let (inside, again) = (dfs.path().join("copy"), dfs.path().join("again"));
        let with = |name: &str, args: &[&str], paths: [&Path; 2]| {
            let mut command = tool(count, name);
            run(dfs.preload(command.args(args).args(paths))).expect(0)
        };
        with("dcp", &["-p", "-k", "1MiB"], [&source, &inside]);
        assert_identical(&source, &inside);
        assert_only_answered(
            &dfs,
            &["openat", "pwrite", "mkdirat", "symlinkat", "renameat", "fchmod"],
        );

        let outside = work.path().join(format!("out-{count}"));
        with("dcp", &["-p", "-k", "1MiB"], [&inside, &outside]);
        assert_identical(&source, &outside);
        assert_only_answered(&dfs, &["fdopendir", "fstat", "fstatat", "pread", "readlinkat"]);

        with("dcmp", &[], [&source, &inside]);
        fs::write(inside.join("large"), b"changed").unwrap();
        fs::remove_dir_all(inside.join("names")).unwrap();
        trees::write(&inside.join("extra/file"), b"x");
        fs::remove_file(inside.join("links/relative")).unwrap();
        symlink("elsewhere", inside.join("links/relative")).unwrap();
        let mut dcmp = tool(count, "dcmp");
        run(dfs.preload(dcmp.args([&source, &inside]))).expect(1);
        with("dsync", &["-D"], [&source, &inside]);
        assert_identical(&source, &inside);
        with("dcp", &["-p", "--inplace", "-k", "1MiB"], [&source.join(""), &inside]);
        assert_identical(&source, &inside);
        with("dsync", &["-D", "--direct", "--fsync"], [&inside, &again]);
        assert_identical(&source, &again);
        assert_only_answered(&dfs, &["unlinkat", "fdopendir", "pread", "pwrite"]);
    }
}

#[test]
fn a_walk_past_the_kernel_finds_the_same() {
    let work = Sandbox::on_disk();
    let dfs = FakeDfs::new(work.path());
    trees::awkward_tree(&dfs.path().join("tree"));
    let walk = |dwalk: &mut Command| {
        let found = run(dwalk.arg("--json").arg(dfs.path())).expect(0).summary();
        found["totals"]["found"].clone()
    };
    let plain = walk(&mut alone("dwalk"));
    for count in [1, 4] {
        assert_eq!(walk(dfs.preload(&mut tool(count, "dwalk"))), plain);
        assert_only_answered(&dfs, &["fdopendir", "fstatat"]);
    }
}

#[test]
fn links_and_attributes_that_it_cannot_have_are_counted() {
    let work = Sandbox::on_disk();
    let dfs = FakeDfs::new(work.path());
    let source = work.at("source");
    trees::write(&source.join("one"), b"1");
    fs::hard_link(source.join("one"), source.join("two")).unwrap();
    rustix::fs::setxattr(
        source.join("one"),
        "user.kept",
        b"value",
        rustix::fs::XattrFlags::empty(),
    )
    .unwrap();
    run(Command::new("mkfifo").arg(source.join("fifo"))).expect(0);
    let copy = dfs.path().join("copy");
    let mut dcp = alone("dcp");
    let ended = run(dfs.preload(dcp.args(["-a", "--json"]).args([&source, &copy]))).expect(0);
    let totals = &ended.summary()["totals"];
    assert_eq!(
        (&totals["hard_links_not_preserved"], &totals["special_files_skipped"]),
        (&1.into(), &1.into())
    );
    assert_eq!(fs::read(copy.join("two")).unwrap(), b"1");
    let mut value = [0; 16];
    let length = rustix::fs::getxattr(copy.join("one"), "user.kept", &mut value).unwrap();
    assert_eq!(&value[..length], b"value");
    // On the way back nobody can tell that there are any: that is said, once.
    let mut dcp = tool(4, "dcp");
    let back = work.at("back");
    let ended = run(dfs.preload(dcp.args(["-p", "--json"]).args([&copy, &back]))).expect(0);
    let warnings = ended.events("warning");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0]["message"].as_str().unwrap().contains("extended attributes"));
    assert_only_answered(&dfs, &["fsetxattr"]);
}

/// Checks that the checks above can fail: a program that asks the kernel is noticed, and gets no
/// answer.
#[test]
fn who_asks_the_kernel_itself_is_seen() {
    let work = Sandbox::on_disk();
    let dfs = FakeDfs::new(work.path());
    trees::write(&dfs.path().join("from"), &trees::noise(100_000));
    let mut python = Command::new("python3");
    python.arg("-c").arg(
        "import os, sys\n\
         fd = os.open(sys.argv[1], os.O_RDONLY)\n\
         assert fd >= 0x20000000, fd\n\
         out = os.open('/dev/null', os.O_WRONLY)\n\
         try:\n    os.copy_file_range(fd, out, 10)\n\
         except OSError as error:\n    sys.exit(error.errno)\n",
    );
    run(dfs.preload(python.arg(dfs.path().join("from")))).expect(libc::EBADF);
    assert_eq!(dfs.take_log().1, ["copy_file_range"]);
}
