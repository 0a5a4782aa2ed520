//! Tests of lists for mpiFileUtils, under real `mpiexec`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use suite_tests::job::{alone, assert_identical, mpiexec, run, tool};
use suite_tests::sandbox::Sandbox;
use suite_tests::trees;

/// Returns the lines of text that a list has for the entries of a tree, in order.
fn text_of(list: &Path) -> Vec<String> {
    let ended = run(alone("dwalk").args(["-q", "-p", "-i"]).arg(list)).expect(0);
    let mut lines: Vec<_> = ended.stdout.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn a_list_has_the_same_entries_in_each_format() {
    let work = Sandbox::new();
    let tree = work.path().join("s");
    trees::awkward_tree(&tree);
    run(alone("dwalk").arg("-p").arg(&tree)).expect(0);
    let list = |name: &str| work.path().join(name);
    run(tool(3, "dwalk").arg("-o").args([&list("a.mfu"), &tree])).expect(0);
    run(tool(2, "dwalk").arg("-o").args([&list("a.ndjson"), &tree])).expect(0);
    run(tool(2, "dwalk").arg("-i").arg(list("a.ndjson")).arg("-o").arg(list("b.mfu"))).expect(0);
    run(tool(2, "dwalk").arg("-i").arg(list("b.mfu")).arg("-o").arg(list("c.parquet"))).expect(0);
    // It has no targets of links.
    let without_targets = |lines: Vec<String>| -> Vec<String> {
        lines.iter().map(|line| line.split(" -> ").next().unwrap().to_owned()).collect()
    };
    let wanted = without_targets(text_of(&list("a.ndjson")));
    for name in ["a.mfu", "b.mfu", "c.parquet"] {
        assert_eq!(text_of(&list(name)), wanted, "{name}");
    }
}

#[test]
fn a_list_is_read_below_the_source_that_is_named() {
    let work = Sandbox::new();
    let tree = work.path().join("s");
    trees::small_files(&tree, 3, 4);
    symlink(&tree, work.path().join("link")).unwrap();
    run(tool(2, "dwalk").current_dir(work.path()).args(["-o", "l.mfu", "s"])).expect(0);
    for (number, source) in ["s", "./s/", "link/", tree.to_str().unwrap()].iter().enumerate() {
        let target = work.path().join(format!("t{number}"));
        let mut dcp = tool(2, "dcp");
        dcp.current_dir(work.path()).args(["-p", "-i", "l.mfu", source]).arg(&target);
        run(&mut dcp).expect(0);
        assert_identical(&tree, &target);
    }
    // Entries that are not there are not looked up elsewhere.
    fs::create_dir(work.path().join("other")).unwrap();
    let ended =
        run(tool(2, "dcp").current_dir(work.path()).args(["-i", "l.mfu", "other", "t"])).expect(23);
    assert!(ended.stderr.contains("outside the source"), "{}", ended.stderr);
    // A list that ends early is an error of all tools that read it.
    let whole = fs::read(work.path().join("l.mfu")).unwrap();
    fs::write(work.path().join("torn.mfu"), &whole[..whole.len() - 1]).unwrap();
    for words in [
        &["dcp", "s", "t9"][..],
        &["dsync", "s", "t9"],
        &["dcmp", "s", "t0"],
        &["dwalk"],
        &["drm", "s"],
    ] {
        let mut job = tool(2, words[0]);
        let ended = run(job.current_dir(work.path()).args(["-i", "torn.mfu"]).args(&words[1..]));
        assert!(ended.expect(3).stderr.contains("truncated or corrupt"), "{words:?}");
    }
    assert_identical(&tree, &work.path().join("t0"));
}

#[test]
fn names_that_end_as_no_list_does_are_refused() {
    let work = Sandbox::new();
    trees::small_files(&work.path().join("s"), 1, 1);
    let lines = [
        &["dwalk", "-o", "l.csv", "s"][..],
        &["dwalk", "-o", "l.xml", "s"],
        &["drm", "-n", "-o", "l.parquet", "s"],
        &["drm", "-n", "-o", "l.mfu", "s"],
        &["dcmp", "-o", "EXIST=COMMON:l.csv", "s", "s"],
        &["dcmp", "--combined", "l.parquet", "s", "s"],
        &["dwalk", "--format", "mfu", "-p", "s"],
    ];
    for words in lines {
        let ended = run(alone(words[0]).current_dir(work.path()).args(&words[1..])).expect(2);
        assert_eq!(ended.stderr.lines().count(), 1, "{words:?}: {}", ended.stderr);
    }
    let ended = run(alone("dwalk").current_dir(work.path()).args(["-o", "l.csv", "s"])).expect(2);
    assert!(ended.stderr.contains(".ndjson, .parquet, .mfu, .txt"), "{}", ended.stderr);
    for words in [
        &["dwalk", "-t", "-o", "l.csv", "s"][..],
        &["dcmp", "-t", "-o", "EXIST=COMMON:m.csv", "s", "s"],
        &["drm", "-n", "-t", "-o", "n.csv", "s"],
        &["dcmp", "-o", "EXIST=COMMON:l.mfu", "s", "s"],
    ] {
        run(alone(words[0]).current_dir(work.path()).args(&words[1..])).expect(0);
    }
    let list = run(alone("dwalk").current_dir(work.path()).args(["-p", "-i", "l.mfu"])).expect(0);
    assert!(list.stdout.contains("/s/d0000/f00000"), "{}", list.stdout);
}

#[test]
fn columns_are_those_of_mpifileutils_on_request() {
    let work = Sandbox::new();
    let file = work.path().join("f");
    fs::write(&file, vec![0; 1536]).unwrap();
    run(Command::new("touch").args(["-d", "2023-11-14T22:13:20Z"]).arg(&file)).expect(0);
    run(Command::new("chmod").arg("4751").arg(&file)).expect(0);
    let mut dwalk = alone("dwalk");
    dwalk.env("TZ", "UTC").args(["-q", "-p", "--format", "mfu-text"]).arg(&file);
    let line = run(&mut dwalk).expect(0).stdout;
    assert!(line.starts_with("-rwxr-x--x "), "{line}");
    let path = file.to_str().unwrap();
    assert!(line.ends_with(&format!("   1.500 KiB Nov 14 2023 22:13 {path}\n")), "{line}");
}

/// Directory of the programs of mpiFileUtils, which the person who runs the test has built.
fn mpifileutils() -> PathBuf {
    let bin = std::env::var_os("SUITE_MPIFILEUTILS");
    PathBuf::from(bin.expect("SUITE_MPIFILEUTILS names the directory of dwalk of mpiFileUtils"))
}

fn theirs(count: u32, name: &str) -> Command {
    let launcher = mpiexec();
    let mut command = Command::new(&launcher[0]);
    command.args(&launcher[1..]).args(["-n", &count.to_string()]).arg(mpifileutils().join(name));
    command
}

#[test]
#[ignore = "needs mpiFileUtils in SUITE_MPIFILEUTILS"]
fn lists_are_exchanged_with_mpifileutils() {
    let work = Sandbox::new();
    let tree = work.path().join("s");
    trees::awkward_tree(&tree);
    trees::small_files(&tree.join("many"), 20, 50);
    let list = |name: &str| work.path().join(name);
    run(theirs(3, "dwalk").arg("-o").args([&list("theirs.mfu"), &tree])).expect(0);
    run(tool(3, "dwalk").arg("-o").args([&list("ours.mfu"), &tree])).expect(0);
    assert_eq!(text_of(&list("theirs.mfu")), text_of(&list("ours.mfu")));
    for (number, name) in ["theirs.mfu", "ours.mfu"].iter().enumerate() {
        let target = work.path().join(format!("t{number}"));
        run(tool(2, "dcp").args(["-p", "-i"]).args([&list(name), &tree, &target])).expect(0);
        assert_identical(&tree, &target);
    }
    let columns = |text: String| -> Vec<String> {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.retain(|line| line.contains(" 20") && line.contains("/many"));
        lines.sort();
        lines
    };
    // What it prints has the first and the last ten entries alone.
    let mut there = theirs(2, "dwalk");
    there.args(["-t", "-o"]).arg(list("text")).arg("-i").arg(list("ours.mfu"));
    run(there.env("TZ", "UTC")).expect(0);
    let text = fs::read(list("text")).unwrap();
    let read_there = columns(String::from_utf8_lossy(&text).into_owned());
    let mut here = tool(2, "dwalk");
    here.args(["-p", "--format", "mfu-text", "-i"]).arg(list("theirs.mfu"));
    let own = columns(run(here.env("TZ", "UTC")).expect(0).stdout);
    assert_eq!(read_there.len(), 20 * 50 + 21);
    assert_eq!(own, read_there);
}
