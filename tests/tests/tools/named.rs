//! Tests of entries that are named by a list or a file of paths, under real `mpiexec`.

use std::fs;
use std::process::Command;

use suite_tests::job::{alone, assert_identical, program, run, tool};
use suite_tests::sandbox::Sandbox;
use suite_tests::trees;

#[test]
fn a_list_of_the_whole_tree_stands_for_walking_it() {
    let work = Sandbox::new();
    let source = work.source();
    trees::awkward_tree(&source);
    trees::small_files(&source.join("many"), 10, 20);
    for name in ["list.parquet", "list.ndjson", "list.mfu"] {
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
    let work = Sandbox::new();
    let source = work.source();
    trees::small_files(&source, 4, 5);
    fs::write(source.join("odd\nname"), "x").unwrap();
    let names = work.at("names");
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

/// Checks that repeated entries are copied once: all are named four times, far apart, with a
/// directory and in other spellings.
#[test]
fn what_is_named_again_is_copied_once() {
    let work = Sandbox::new();
    let source = work.source();
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
    let names = work.at("names");
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

/// Checks paths by standard input, as `-` and by its name, by a process substitution and by a FIFO;
/// they are available again for the comparison at the end.
#[test]
fn paths_may_come_by_a_pipe() {
    let work = Sandbox::new();
    let source = work.source();
    trees::small_files(&source, 4, 50);
    let listed = run(Command::new("find").arg(&source).args(["-type", "f", "-printf", "%P\\n"]));
    fs::write(work.at("names"), listed.expect(0).stdout.replace("\\n", "\n")).unwrap();
    run(Command::new("mkfifo").arg(work.at("fifo"))).expect(0);
    for (number, way) in [
        "cat names | \"$@\" --files-from -",
        "cat names | \"$@\" --files-from /dev/stdin",
        "\"$@\" --files-from - < names",
        "\"$@\" --files-from <(cat names)",
        "cat names > fifo & \"$@\" --files-from fifo",
    ]
    .iter()
    .enumerate()
    {
        let count = if way.contains('|') { 3 } else { 1 };
        let target = work.path().join(format!("t{number}"));
        let mut dcp = tool(count, "dcp");
        dcp.args(["--json", "-p", "--verify", "all"]).args([&source, &target]);
        let mut shell = Command::new("bash");
        shell.args(["-c", way, "bash"]).arg(dcp.get_program()).args(dcp.get_args());
        let ended = run(shell.current_dir(work.path())).expect(0);
        let summaries = ended.events("summary");
        assert_eq!(summaries[0]["totals"]["copied"]["files"], 200, "{way}");
        assert_eq!(summaries[1]["totals"]["compared"]["same"], 200, "{way}");
    }
}

/// Checks that a FIFO without a writer holds the job only until the job is interrupted.
#[test]
fn a_fifo_without_a_writer_is_left_when_the_job_is_told_to_stop() {
    let work = Sandbox::new();
    fs::create_dir(work.source()).unwrap();
    run(Command::new("mkfifo").arg(work.at("fifo"))).expect(0);
    let mut dcp = Command::new("timeout");
    dcp.args(["-s", "TERM", "--preserve-status", "1"]).arg(program("dcp"));
    let ended = run(dcp.args(["--files-from", "fifo", "s", "t"]).current_dir(work.path()));
    ended.expect(20);
}

/// Checks that an entry of a list outside its root is a failure, and all others are processed.
/// Checks that the entries of a list are looked up where they were found: of `w/a`, the list has
/// `w/a/f`, and no tool takes `w/f` for it.
#[test]
fn entries_of_a_list_are_where_they_were_found() {
    let work = Sandbox::new();
    let text = |path: &str| fs::read_to_string(work.path().join(path)).ok();
    let here = |tool: &str, words: &[&str]| {
        run(alone(tool).current_dir(work.path()).args(words)).expect(0);
    };
    for roots in [&["w/a", "w/b"][..], &["w/a"], &["w/a/f", "w/b/f"]] {
        for ending in ["ndjson", "parquet"] {
            let list = &format!("list.{ending}");
            for (path, content) in [("w/f", "not listed"), ("w/a/f", "a"), ("w/b/f", "b")] {
                trees::write(&work.path().join(path), content.as_bytes());
            }
            here("dwalk", &[&["-q", "-o", list], roots].concat());
            here("dcp", &["-p", "-i", list, "w", "copy"]);
            assert_eq!((text("copy/f"), text("copy/a/f")), (None, Some("a".into())));
            assert_eq!(text("copy/b/f").is_some(), roots.len() == 2, "{roots:?}");
            here("dcmp", &["-q", "-i", list, "w", "copy"]);
            here("dsync", &["-i", list, "w", "mirror"]);
            run(Command::new("diff").current_dir(work.path()).args(["-r", "copy", "mirror"]))
                .expect(0);
            here("drm", &["-q", "-i", list, "w"]);
            assert_eq!((text("w/f").is_some(), text("w/a/f")), (true, None), "{roots:?}");
            here("drm", &["-q", "w", "copy", "mirror"]);
        }
    }
}

/// Checks that a list serves for a copy of what was listed, but that nothing is deleted there.
#[test]
fn a_list_is_read_below_a_copy_and_deletes_nothing_there() {
    let work = Sandbox::new();
    for path in ["w/a/f", "copy/a/f", "copy/f", "x/w/a/f"] {
        trees::write(&work.path().join(path), b"1");
    }
    let here = |tool: &str, words: &[&str]| run(alone(tool).current_dir(work.path()).args(words));
    here("dwalk", &["-q", "-o", "list.ndjson", "w"]).expect(0);
    here("dcp", &["-i", "list.ndjson", "copy", "new"]).expect(0);
    assert!(work.path().join("new/a/f").exists() && !work.path().join("new/f").exists());
    let refused = here("drm", &["-i", "list.ndjson", "copy"]).expect(23);
    assert!(refused.stderr.contains("\"w/a/f\": the list names a path outside"), "{refused:?}");
    assert!(work.path().join("copy/a/f").exists());
    // A list that was made in another directory is not one of another tree.
    here("drm", &["-i", "list.ndjson", "x/w"]).expect(0);
    assert!(!work.path().join("x/w").exists());
    // What is listed above the directory that is named is not what is in it.
    here("drm", &["-i", "list.ndjson", "w/a"]).expect(23);
    assert!(!work.path().join("w/a/f").exists() && work.path().join("w").exists());
}

/// Checks that nothing is deleted or moved that no list names: below a link or a file, in a
/// directory in the listed one, and where a list is made of several directories.
#[test]
fn what_no_list_names_is_neither_deleted_nor_moved() {
    let work = Sandbox::new();
    let files = ["f", "w/f", "w/w/f", "w/g", "x/1", "x/2", "y/1", "y/2"];
    for file in files {
        trees::write(&work.path().join(file), b"1");
    }
    std::os::unix::fs::symlink("w", work.path().join("link")).unwrap();
    fs::write(work.path().join("names"), "f\n").unwrap();
    let here = |tool: &str, words: &[&str]| run(alone(tool).current_dir(work.path()).args(words));
    here("dwalk", &["-q", "--max-depth=1", "--exclude=w/", "-o", "w.parquet", "w"]).expect(0);
    for (list, roots) in [("x.ndjson", "x"), ("y.ndjson", "y/1")] {
        here("dwalk", &["-q", "-o", list, roots]).expect(0);
    }
    let both = ["x.ndjson", "y.ndjson"].map(|list| fs::read(work.path().join(list)).unwrap());
    fs::write(work.path().join("xy.ndjson"), both.concat()).unwrap();
    let inside = work.at("w/w").to_str().unwrap().to_owned();
    for (tool, words, code) in [
        ("drm", &["--files-from", "names", "link"][..], 2),
        ("drm", &["--files-from", "names", "w/g"], 2),
        ("drm", &["-i", "w.parquet", "link"], 2),
        ("drm", &["-i", "w.parquet", "w/w"], 23),
        ("drm", &["-i", "w.parquet", "./w/w"], 23),
        ("drm", &["-i", "w.parquet", &inside], 23),
        ("dcp", &["--remove-source", "-i", "w.parquet", "./w/w", "out"], 23),
        ("dcp", &["--remove-source", "-i", "xy.ndjson", "y", "out"], 23),
    ] {
        here(tool, words).expect(code);
        // What the last list names is moved.
        let stay = files.iter().filter(|file| **file != "y/1" || words[1] != "-i");
        let gone: Vec<_> = stay.filter(|file| !work.path().join(file).exists()).collect();
        assert_eq!(gone, [&""; 0], "{tool} {words:?}");
    }
    assert!(!work.path().join("y/1").exists() && work.path().join("out/1").exists());
    // A copy is copied from, but by no list of several directories.
    here("dcp", &["-i", "x.ndjson", "y", "other"]).expect(24);
    here("dcp", &["-i", "xy.ndjson", "y", "more"]).expect(23);
    assert!(work.path().join("other/2").exists() && !work.path().join("more/2").exists());
}

#[test]
fn entries_of_a_list_that_lead_outside_are_said() {
    let work = Sandbox::new();
    let source = work.source();
    trees::small_files(&source, 2, 2);
    let list = work.at("list.ndjson");
    run(alone("dwalk").arg("-o").args([&list, &source])).expect(0);
    let text = fs::read_to_string(&list).unwrap();
    fs::write(&list, text.replace("d0001/f00001", "../outside")).unwrap();
    for count in [1, 3] {
        let target = work.path().join(format!("t{count}"));
        let ended = run(tool(count, "dcp").arg("-i").args([&list, &source, &target])).expect(23);
        assert!(ended.stderr.contains("../outside\": the list names a path outside"), "{ended:?}");
        assert_eq!(fs::read_dir(target.join("d0001")).unwrap().count(), 1);
        assert_eq!(fs::read_dir(target.join("d0000")).unwrap().count(), 2);
    }
    fs::write(&list, text.replace(",\"kind\":", ",\"depth\":1,\"kind\":")).unwrap();
    let ended = run(alone("dcp").arg("-i").args([&list, &source, &work.at("u")]));
    assert!(ended.expect(3).stderr.contains("has a duplicate key"));
}

#[test]
fn what_makes_no_sense_with_names_is_refused() {
    let work = Sandbox::new();
    let (source, target) = (work.source(), work.target());
    trees::small_files(&source, 1, 1);
    let names = work.at("names");
    fs::write(&names, "d0000/f00000\n").unwrap();
    let with = |tool: &str, options: &[&str]| {
        let mut job = alone(tool);
        job.args(options).arg("--files-from").args([&names, &source, &target]);
        run(&mut job)
    };
    with("dsync", &["-D"]).expect(2);
    with("dcp", &["-i", "list"]).expect(2);
    with("dcp", &["--files-from"]).expect(2);
    run(alone("dcp").arg("-i").args([&work.at("missing"), &source, &target])).expect(3);
    run(alone("dcp").arg("-i").args([&names, &source, &target])).expect(3);
    let plan = with("dsync", &["-n"]).expect(0);
    assert!(plan.stdout.contains("copy "), "{}", plan.stdout);
    assert!(!target.exists());
}
