//! Tests of the command lines with which the tests of DAOS (`src/tests/ftest`) drive dcp and dsync
//! of mpiFileUtils, on POSIX: each of their parameters, their kinds of paths, their errors.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use suite_tests::job::{Ended, alone, run, tool};
use suite_tests::sandbox::Sandbox;
use suite_tests::trees;

/// Parameters of dcp, one by one, and then as the tests combine them.
const DCP: [&str; 17] = [
    "--blocksize 64MB",
    "--bufsize 64MB",
    "--chunksize 64MB",
    "--daos-api DFS",
    "--daos-api DAOS",
    "--input l.mfu",
    "--dereference",
    "--no-dereference",
    "--preserve",
    "--direct",
    "--sparse",
    "--progress 1",
    "--verbose",
    "--quiet",
    "--bufsize 8MB --chunksize 4MB",
    "--bufsize 4M --chunksize 128M",
    "--preserve --direct --sparse --daos-api DFS --progress 1 --verbose",
];

/// Parameters of dsync.
const DSYNC: [&str; 16] = [
    "--dryrun",
    "--batch-files 100",
    "--blocksize 4MB",
    "--chunksize 4MB",
    "--daos-api DFS",
    "--daos-api DAOS",
    "--contents",
    "--delete",
    "--dereference",
    "--no-dereference",
    "--direct",
    "--link-dest s",
    "--sparse",
    "--progress 1",
    "--verbose",
    "--quiet",
];

fn diff(work: &Path, options: &[&str], trees: [&str; 2]) -> String {
    run(Command::new("diff").current_dir(work).arg("-r").args(options).args(trees)).stdout
}

#[test]
fn each_parameter_is_accepted_and_the_copy_is_right() {
    let work = Sandbox::new();
    trees::small_files(&work.source(), 3, 5);
    run(alone("dwalk").current_dir(work.path()).args(["-o", "l.mfu", "s"])).expect(0);
    let of = |name: &'static str, options: &[&'static str]| {
        options.iter().map(|options| (name, *options)).collect::<Vec<_>>()
    };
    let all = [of("dcp", &DCP), of("dsync", &DSYNC)].concat();
    for (number, (name, options)) in all.into_iter().enumerate() {
        let (count, target) = (1 + (number as u32) % 3, format!("t{number}"));
        let mut job = tool(count, name);
        job.current_dir(work.path()).args(options.split(' ')).args(["s", &target]);
        run(&mut job).expect(0);
        if options.contains("--dryrun") {
            assert!(!work.at(&target).exists());
        } else {
            assert_eq!(diff(work.path(), &[], ["s", &target]), "", "{name} {options}");
        }
    }
    for name in ["dcp", "dsync"] {
        assert!(run(alone(name).arg("--help")).expect(0).stdout.contains("Usage"));
    }
}

/// Checks the numbers of processes of `copy_procs`, which are more than the files.
#[test]
fn copies_are_right_with_any_number_of_processes() {
    let work = Sandbox::new();
    trees::write(&work.at("s/testFile"), &trees::noise(20 << 20));
    for count in [3, 7, 16] {
        let target = format!("t{count}");
        let mut dcp = tool(count, "dcp");
        dcp.current_dir(work.path()).args(["--bufsize", "8MB", "--chunksize", "4MB"]);
        run(dcp.args(["s", &target])).expect(0);
        assert_eq!(diff(work.path(), &[], ["s", &target]), "");
    }
}

/// Checks `posix_types`: the kinds of source and target.
#[test]
fn directories_and_files_arrive_where_they_are_looked_for() {
    let work = Sandbox::new();
    trees::write(&work.at("posix1/testFile"), b"content");
    let job = |name: &str, paths: [&str; 2]| {
        run(alone(name).current_dir(work.path()).args(paths)).expect(0);
    };
    for (name, source, at) in [
        ("dcp", "posix1", "t/posix1"),
        // The root of a container, or a path that ends in a slash.
        ("dcp", "posix1/", "t"),
        ("dsync", "posix1", "t"),
        ("dsync", "posix1/", "t"),
    ] {
        fs::create_dir(work.at("t")).unwrap();
        job(name, [source, "t"]);
        assert_eq!(diff(work.path(), &[], ["posix1", at]), "", "{name} {source}");
        // From file to file, which may be there.
        trees::write(&work.at("t/testFile"), b"old content");
        job(name, ["posix1/testFile", "t/testFile"]);
        assert_eq!(fs::read(work.at("t/testFile")).unwrap(), b"content", "{name} {source}");
        if name == "dcp" {
            fs::remove_file(work.at("t/testFile")).unwrap();
            job(name, ["posix1/testFile", "t"]);
            assert_eq!(fs::read(work.at("t/testFile")).unwrap(), b"content");
        }
        fs::remove_dir_all(work.at("t")).unwrap();
    }
}

/// Checks `posix_symlinks`: links that lead forward, backward and to links.
#[test]
fn links_are_copied_or_followed_as_by_cp() {
    let work = Sandbox::new();
    trees::write(&work.at("s/dir1/dir2/file"), b"content");
    for (target, link) in [
        ("dir1/dir2/file", "s/to_file"),
        ("dir1/dir2", "s/to_dir"),
        ("to_dir/file", "s/through_a_link"),
        ("../dir1/dir2/file", "s/dir1/back"),
        ("../../to_file", "s/dir1/dir2/to_link"),
    ] {
        symlink(target, work.at(link)).unwrap();
    }
    for (option, target) in [("--dereference", "followed"), ("--no-dereference", "copied")] {
        let mut cp = Command::new("cp");
        cp.current_dir(work.path()).args(["-r", option, "s", "baseline"]);
        run(&mut cp).expect(0);
        let mut dcp = tool(2, "dcp");
        run(dcp.current_dir(work.path()).args([option, "s", target])).expect(0);
        let differences = diff(work.path(), &["--no-dereference"], ["baseline", target]);
        assert_eq!(differences, "", "{option}");
        fs::remove_dir_all(work.at("baseline")).unwrap();
    }
}

/// Checks `negative` and `negative_space`: what cannot be is no success, and the reason is told.
#[test]
fn wrong_paths_and_a_full_target_are_told_of() {
    let work = Sandbox::new();
    trees::small_files(&work.source(), 1, 1);
    let long = format!("t/{}", "d".repeat(300));
    fs::create_dir(work.at("t")).unwrap();
    let job =
        |paths: [&str; 2]| -> Ended { run(tool(3, "dcp").current_dir(work.path()).args(paths)) };
    for (paths, says) in [
        (["/fake/fake", "t"], "No such file or directory"),
        (["s/fake/fake", "t"], "No such file or directory"),
        (["s", "/fake/fake"], "does not exist"),
        (["s", &long], "File name too long"),
    ] {
        let ended = job(paths);
        assert!(ended.code != Some(0) && ended.stderr.contains(says), "{paths:?}: {ended:?}");
    }
    assert_eq!(fs::read_dir(work.at("t")).unwrap().count(), 0);
}
