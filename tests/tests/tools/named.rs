//! Entries that are named by a list or a file of paths, under real `mpiexec`.

use std::fs;
use std::path::Path;
use std::process::Command;

use suite_tests::job::{alone, assert_identical, run, tool};
use suite_tests::trees;

fn temp() -> tempfile::TempDir {
    let shm = Path::new("/dev/shm");
    tempfile::tempdir_in(if shm.is_dir() { shm } else { Path::new("/tmp") }).unwrap()
}

#[test]
fn a_list_of_the_whole_tree_stands_for_walking_it() {
    let work = temp();
    let source = work.path().join("s");
    trees::awkward_tree(&source);
    trees::small_files(&source.join("many"), 10, 20);
    for name in ["list.parquet", "list.ndjson"] {
        let list = work.path().join(name);
        run(tool(3, "dwalk").arg("-o").args([&list, &source])).expect(0);
        for count in [1, 4] {
            let copy = work.path().join(format!("{name}-copy-{count}"));
            run(tool(count, "dcp").arg("-p").arg("-i").args([&list, &source, &copy])).expect(0);
            assert_identical(&source, &copy);
            let equal = work.path().join(format!("{name}-equal-{count}"));
            run(tool(count, "dsync").arg("-i").args([&list, &source, &equal])).expect(0);
            assert_identical(&source, &equal);
            let same = run(tool(count, "dcmp").arg("-i").args([&list, &source, &equal])).expect(0);
            assert!(same.stdout.contains("dcmp: identical"), "{}", same.stdout);
        }
    }
}

#[test]
fn a_file_of_paths_names_what_is_copied_and_no_more() {
    let work = temp();
    let source = work.path().join("s");
    trees::small_files(&source, 4, 5);
    fs::write(source.join("odd\nname"), "x").unwrap();
    let names = work.path().join("names");
    fs::write(&names, "d0001/f00002\0/d0003//\0odd\nname\0../outside\0missing\0").unwrap();
    for count in [1, 3] {
        let target = work.path().join(format!("t{count}"));
        let mut job = tool(count, "dcp");
        job.args(["-p", "--from0", "--files-from"]).args([&names, &source, &target]);
        let ended = run(&mut job).expect(23);
        assert!(ended.stderr.contains("outside the source"), "{}", ended.stderr);
        assert!(ended.stderr.contains("missing\": No such file"), "{}", ended.stderr);
        let listed = run(Command::new("find").arg(&target).args(["-printf", "%P|"])).expect(0);
        let mut copied: Vec<&str> =
            listed.stdout.split('|').filter(|path| !path.is_empty()).collect();
        copied.sort_unstable();
        assert_eq!(copied, ["d0001", "d0001/f00002", "d0003", "odd\nname"]);
        let counted = run(tool(count, "dwalk")
            .args(["--json", "--from0", "--files-from"])
            .args([&names, &source]));
        assert_eq!(counted.summary()["totals"]["found"]["files"], 2);
    }
}

/// Everything is named four times, far apart, with a directory and as others would write it.
#[test]
fn what_is_named_again_is_copied_once() {
    let work = temp();
    let source = work.path().join("s");
    trees::small_files(&source, 10, 30);
    trees::write(&source.join("d0000/large"), &trees::noise(4 << 20));
    let listed = run(Command::new("find").arg(&source).args(["-mindepth", "1", "-printf", "%P\n"]));
    let listed = listed.expect(0).stdout;
    let paths: Vec<&str> = listed.lines().collect();
    let files = paths.iter().filter(|path| path.contains('/')).count();
    let mut text = paths.join("\n");
    // The next piece of it.
    text.push_str(&"\n".repeat(2 << 20));
    text.extend(paths.iter().map(|path| format!("./{path}\n")));
    text.extend(paths.iter().rev().map(|path| format!("{}/\n", path.replace('/', "//"))));
    text.push_str(&listed);
    let names = work.path().join("names");
    fs::write(&names, text).unwrap();
    for count in [1, 4] {
        let target = work.path().join(format!("t{count}"));
        let mut job = tool(count, "dcp");
        job.args(["-p", "--json", "--resume", "--chunksize=64KiB", "--files-from"]);
        let ended = run(job.args([&names, &source, &target])).expect(0);
        assert_eq!(ended.summary()["totals"]["copied"]["files"], files);
        assert_eq!(ended.summary()["totals"]["found"]["files"], files);
        let mut dcmp = tool(count, "dcmp");
        dcmp.args(["--json", "--files-from"]).args([&names, &source, &target]);
        let compared = run(&mut dcmp).expect(0).summary()["totals"]["compared"].clone();
        assert_eq!(compared["same"], paths.len());
        assert_identical(&source, &target);
    }
}

#[test]
fn what_makes_no_sense_with_names_is_refused() {
    let work = temp();
    let (source, target) = (work.path().join("s"), work.path().join("t"));
    trees::small_files(&source, 1, 1);
    let names = work.path().join("names");
    fs::write(&names, "d0000/f00000\n").unwrap();
    let with = |tool: &str, options: &[&str]| {
        let mut job = alone(tool);
        job.args(options).arg("--files-from").args([&names, &source, &target]);
        run(&mut job)
    };
    with("dsync", &["-D"]).expect(2);
    with("dcp", &["-i", "list"]).expect(2);
    with("dcp", &["--files-from"]).expect(2);
    run(alone("dcp").arg("-i").args([&work.path().join("missing"), &source, &target])).expect(3);
    run(alone("dcp").arg("-i").args([&names, &source, &target])).expect(3);
    let plan = with("dsync", &["-n"]).expect(0);
    assert!(plan.stdout.contains("copy "), "{}", plan.stdout);
    assert!(!target.exists());
}
