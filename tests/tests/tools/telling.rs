//! Tests of what a job tells: the words of mpiFileUtils on request, and the record of its changes.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use suite_tests::job::{Ended, alone, nobody, ranks, run};
use suite_tests::need_root;
use suite_tests::sandbox::Sandbox;
use suite_tests::trees;

/// Reads a number behind a word, as a program does that reads the output of mpiFileUtils.
fn after<'o>(output: &'o str, word: &str) -> Vec<&'o str> {
    let behind = output.lines().filter_map(|line| Some(line.split_once(word)?.1.trim()));
    behind.collect()
}

/// Returns the percentages of `Copied.+\(([[:digit:]]{1,3})%\)`.
fn percentages(output: &str) -> Vec<u32> {
    let of_line = |line: &str| {
        let (before, _) = line.split_once("Copied ")?.1.split_once("%)")?;
        before.rsplit_once('(')?.1.parse().ok()
    };
    output.lines().filter_map(of_line).collect()
}

#[test]
fn the_words_of_mpifileutils_are_read_by_programs_that_know_them() {
    let work = Sandbox::new();
    let (source, target) = (work.path().join("source"), work.path().join("target"));
    trees::small_files(&source, 2, 3);
    trees::write(&source.join("large"), &trees::noise(5 << 20));
    symlink("large", source.join("link")).unwrap();
    let mut dcp = ranks(2, "dcp");
    dcp.env("DCP_OUTPUT_STYLE", "mfu").args(["--progress", "1", "-k", "1MiB"]);
    let ended = run(dcp.args([&source, &target])).expect(0);
    let output = ended.stdout + &ended.stderr;
    let (_, end) = output.split_once("(100%)").expect(&output);
    assert_eq!(percentages(&output).last(), Some(&100), "{output}");
    let seconds = after(end, "Seconds: ");
    assert!(seconds[0].parse::<f64>().is_ok(), "{output}");
    for (word, expected) in
        [("Items: ", "11"), ("Directories: ", "3"), ("Files: ", "7"), ("Links: ", "1")]
    {
        assert_eq!(after(end, word), [expected], "{word} {output}");
    }
    let bytes: u64 = 5 << 20;
    let [data, rate] = ["Data: ", "Rate: "].map(|word| after(end, word)[0]);
    assert!(data.contains(" MiB (") && rate.contains("MiB/s ("), "{output}");
    let counted: u64 = data.split(['(', ' ']).rev().nth(1).unwrap().parse().unwrap();
    assert!(counted > bytes, "{output}");
}

#[test]
fn a_copy_that_fails_never_tells_of_a_hundred_percent() {
    let work = Sandbox::new();
    let (source, target) = (work.path().join("source"), work.path().join("target"));
    trees::small_files(&source, 1, 2);
    fs::hard_link(source.join("d0000/f00000"), source.join("other")).unwrap();
    fs::write(source.join("names"), "other\nnowhere\n").unwrap();
    let mut dcp = alone("dcp");
    dcp.args(["--output-style=mfu", "--files-from"]).arg(source.join("names"));
    let ended = run(dcp.args([&source, &target])).expect(23);
    assert!(percentages(&ended.stdout).iter().all(|percent| *percent < 100), "{}", ended.stdout);
}

#[test]
fn other_tools_tell_in_the_words_of_mpifileutils_too() {
    let work = Sandbox::new();
    let (source, target) = (work.path().join("source"), work.path().join("target"));
    trees::small_files(&source, 2, 3);
    let output = |tool: &str, trees: &[&Path]| {
        run(alone(tool).arg("--output-style=mfu").args(trees)).expect(0).stdout
    };
    let both: [&Path; 2] = [&source, &target];
    for (tool, trees, words) in [
        ("dsync", &both[..], &["Copied ", "(100%)", "Items     : 9", "Completed sync"][..]),
        ("dcmp", &both, &["Items     : 9", "Byte Rate : "]),
        ("dwalk", &both[..1], &["Walked 9 items in ", "Items: 9", "  Directories: 3", "Data: "]),
        ("drm", &both[1..], &["Removed 9 items (100.00%) in "]),
    ] {
        let output = output(tool, trees);
        for word in words {
            assert!(output.contains(word), "{tool} {word}: {output}");
        }
        let is_stamped = |line: &str| line.starts_with("[20") && line[20..].starts_with("] ");
        assert!(output.lines().all(is_stamped), "{output}");
    }
}

/// Returns the lines of a record: what happened to which path, below the work directory.
fn changes(log: &Path, work: &Path) -> BTreeSet<(String, String)> {
    let lines = fs::read_to_string(log).unwrap();
    let events = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let all: Vec<Value> = events.collect();
    assert_eq!(all[0]["event"], "begin");
    assert_eq!(all.last().unwrap()["event"], "end");
    let change = |event: &Value| {
        let path = event["path"]["text"].as_str().unwrap();
        let path = path.strip_prefix(work.to_str().unwrap()).unwrap();
        assert!(event["time"].as_str().unwrap().ends_with('Z'), "{event}");
        assert!(event["rank"].as_u64().unwrap() < 2, "{event}");
        (event["action"].as_str().unwrap().to_owned(), path.to_owned())
    };
    all.iter().filter(|event| event["event"] == "change").map(change).collect()
}

/// Runs a job with a record of its own.
fn record(tool: &mut Command, log: &Path, trees: &[&Path]) -> Ended {
    let _ = fs::remove_file(log);
    run(tool.arg("--log-file").arg(log).args(trees))
}

fn set<'s>(all: &[(&'s str, &'s str)]) -> BTreeSet<(String, String)> {
    all.iter().map(|(action, path)| ((*action).to_owned(), (*path).to_owned())).collect()
}

/// Creates trees in which a mirror copies, changes, links and deletes something.
fn two_trees(work: &Path) -> [std::path::PathBuf; 2] {
    let (source, target) = (work.join("source"), work.join("target"));
    for tree in [&source, &target] {
        trees::write(&tree.join("same"), b"same");
        trees::write(&tree.join("mode"), b"mode");
        run(Command::new("touch")
            .arg("-d@1000000000")
            .args(["same", "mode"].map(|it| tree.join(it))));
    }
    fs::set_permissions(source.join("mode"), fs::Permissions::from_mode(0o600)).unwrap();
    trees::write(&source.join("new/file"), b"new");
    trees::write(&source.join("larger"), b"larger");
    trees::write(&target.join("larger"), b"l");
    run(Command::new("touch").arg("-d@1000000000").arg(target.join("larger")));
    trees::write(&source.join("chunks"), &trees::noise(3 << 20));
    symlink("same", source.join("symlink")).unwrap();
    trees::write(&target.join("extra/file"), b"x");
    run(Command::new("touch").args(["-d@2000000000"]).args([&source, &target]));
    [source, target]
}

#[test]
fn a_mirror_records_each_change_and_nothing_else() {
    let work = Sandbox::new();
    let [source, target] = two_trees(work.path());
    let log = work.path().join("log");
    let trees: [&Path; 2] = [&source, &target];
    let expected = set(&[
        ("set attributes", "/target/mode"),
        ("create directory", "/target/new"),
        ("copy", "/target/new/file"),
        ("update", "/target/larger"),
        ("copy", "/target/chunks"),
        ("create symbolic link", "/target/symlink"),
        ("delete", "/target/extra"),
        ("delete", "/target/extra/file"),
    ]);
    for dry_run in [true, false] {
        let mut dsync = ranks(2, "dsync");
        dsync.args(["-D", "-k", "1MiB"]).args(dry_run.then_some("-n"));
        record(&mut dsync, &log, &trees).expect(0);
        assert_eq!(changes(&log, work.path()), expected, "dry run: {dry_run}");
    }
    let text = fs::read_to_string(&log).unwrap();
    let of = |name: &str| text.lines().find(|line| line.contains(name)).unwrap();
    assert!(of("larger").contains("\"reason\":[\"SIZE\",\"MTIME\"]"), "{}", of("larger"));
    assert!(of("chunks").contains("\"bytes\":3145728"), "{}", of("chunks"));
    assert!(of("\"end\"").contains("\"complete\":true"), "{text}");
    record(ranks(2, "dsync").arg("-D"), &log, &trees).expect(0);
    assert_eq!(changes(&log, work.path()), BTreeSet::new());
}

#[test]
fn itemized_changes_are_those_of_rsync() {
    let work = Sandbox::new();
    let [source, target] = two_trees(work.path());
    let mut rsync = Command::new("rsync");
    rsync.args(["-rlptgoni", "--delete"]).arg(source.join("")).arg(target.join(""));
    let theirs = run(&mut rsync).expect(0).stdout;
    let mut dsync = alone("dsync");
    dsync.args(["-D", "-q", "--itemize-changes"]).args([&source, &target]);
    let ours = run(&mut dsync).expect(0).stdout;
    // rsync names the destination of a link.
    let lines = |text: &str| -> BTreeSet<String> {
        text.lines().map(|line| line.split(" -> ").next().unwrap().to_owned()).collect()
    };
    assert_eq!(lines(&ours), lines(&theirs), "{ours}\n{theirs}");
}

#[test]
fn a_failure_is_recorded_and_a_removal() {
    need_root!();
    let work = Sandbox::new();
    let tree = work.path().join("tree");
    trees::write(&tree.join("file"), b"x");
    trees::write(&tree.join("closed"), b"x");
    fs::set_permissions(tree.join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(work.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let log = work.path().join("log");
    let (copies, program) = suite_tests::job::for_everybody("dcp");
    let mut dcp = nobody();
    dcp.arg(&program);
    record(&mut dcp, &log, &[&tree, &work.path().join("copy")]).expect(23);
    let recorded = changes(&log, work.path());
    assert!(recorded.contains(&("fail".to_owned(), "/tree/closed".to_owned())), "{recorded:?}");
    assert!(recorded.contains(&("copy".to_owned(), "/copy/file".to_owned())), "{recorded:?}");
    drop(copies);
    record(&mut alone("drm"), &log, &[&tree]).expect(0);
    let deleted = ["/tree", "/tree/closed", "/tree/file"].map(|path| ("delete", path));
    assert_eq!(changes(&log, work.path()), set(&deleted));
}

#[test]
fn a_record_is_no_part_of_what_it_records() {
    let work = Sandbox::new();
    let [source, target] = two_trees(work.path());
    for (tool, trees, log) in [
        ("dcp", vec![&source, &target], source.join("log")),
        ("dsync", vec![&source, &target], source.join("new/log")),
        ("drm", vec![&source], source.join("log")),
    ] {
        let ended = run(alone(tool).arg("--log-file").arg(&log).args(trees)).expect(3);
        assert!(ended.stderr.contains("name another --log-file"), "{}", ended.stderr);
        assert!(!log.exists());
    }
    let mut mirror = alone("dsync");
    mirror.arg("-D").arg("--log-file").arg(target.join("log")).args([&source, &target]);
    run(&mut mirror).expect(3);
    assert!(target.join("extra/file").exists());
}

#[test]
fn the_last_line_names_a_command_that_completes_the_job() {
    need_root!();
    let work = Sandbox::new();
    let tree = work.path().join("tree");
    trees::small_files(&tree, 1, 2);
    trees::write(&tree.join("closed"), b"x");
    trees::write(&tree.join("closed dir/file"), b"x");
    for closed in ["closed", "closed dir"] {
        fs::set_permissions(tree.join(closed), fs::Permissions::from_mode(0o000)).unwrap();
    }
    fs::set_permissions(work.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let (_programs, program) = suite_tests::job::for_everybody("dcp");
    let path = program.parent().unwrap().to_str().unwrap();
    let mut dcp = nobody();
    dcp.current_dir(work.path()).arg(&program).args([
        "-p",
        "--no-preserve=ownership",
        "tree",
        "copy",
    ]);
    let ended = run(&mut dcp).expect(23);
    // What could not be read was found.
    let last = ended.stdout.lines().last().unwrap();
    assert!(last.starts_with("dcp: 2 of 6 failed (exit 23); to complete it, run: "), "{last}");
    let (_, command) = last.split_once("run: ").unwrap();
    for closed in ["closed", "closed dir"] {
        fs::set_permissions(tree.join(closed), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut shell = nobody();
    shell.current_dir(work.path()).env("PATH", format!("{path}:/usr/bin:/bin"));
    run(shell.args(["sh", "-c", command])).expect(0);
    let diff = run(Command::new("diff").arg("-r").args([&tree, &work.path().join("copy")]));
    assert_eq!(diff.stdout, "");
}

#[test]
fn what_a_file_of_paths_names_in_vain_has_failed_and_not_vanished() {
    let work = Sandbox::new();
    let (source, names) = (work.path().join("source"), work.path().join("names"));
    trees::small_files(&source, 1, 1);
    fs::write(&names, "nowhere\nd0000/nowhere\n").unwrap();
    let target = work.path().join("target");
    for (tool, trees) in
        [("dcp", &[&source, &target][..]), ("dsync", &[&source, &target]), ("dwalk", &[&source])]
    {
        let mut job = alone(tool);
        job.args(["--json", "--files-from"]).arg(&names).args(trees);
        let ended = run(&mut job).expect(23);
        assert_eq!(ended.summary()["totals"]["failed"], 2, "{tool}");
        assert_eq!(ended.summary()["totals"]["vanished"], 0, "{tool}");
        assert_eq!(ended.events("failure")[0]["error_code"], "no-such-entry", "{tool}");
    }
}

/// Runs a command on a terminal of 50 columns, and returns what it writes there.
fn on_terminal(work: &Path, command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let mut script = Command::new("script");
    let line = format!("stty rows 24 cols 50; exec {}", words.join(" "));
    script.args(["-qec", &line]).arg(work.join("typescript"));
    script.env("DCP_BWLIMIT", "4M").env("DCP_CHUNKSIZE", "1M").env("DCP_PROGRESS", "1");
    run(&mut script).expect(0).stdout
}

#[test]
fn a_bar_fits_the_terminal_and_leaves_no_piece_behind() {
    let work = Sandbox::new();
    let (source, target) = (work.path().join("source"), work.path().join("target"));
    trees::write(&source.join("file"), &trees::noise(9 << 20));
    trees::write(&source.join("other"), b"x");
    let mut dcp = alone("dcp");
    dcp.args([&source, &target]);
    let written = on_terminal(work.path(), &dcp);
    // Each one is on a line of its own, which the next one or the summary clears.
    let (bars, rest) = written.rsplit_once("\r\x1b[2K").expect(&written);
    let (_, bars) = bars.split_once("\r\ndcp  ").expect(&written);
    let bars: Vec<_> = bars.split("\r\x1b[2K").collect();
    assert!(bars.len() > 3, "{written}");
    assert!(bars.iter().skip(1).all(|bar| bar.starts_with("dcp ")), "{written}");
    assert!(bars.iter().all(|bar| bar.chars().count() <= 50 && !bar.contains('\n')), "{written}");
    assert!(bars.iter().any(|bar| bar.contains(" copy  ")), "{written}");
    assert!(rest.trim_start().starts_with("found "), "{written}");
    // A launcher passes on lines, and may do so in pieces: nothing moves in them.
    fs::remove_dir_all(&target).unwrap();
    let mut dcp = ranks(2, "dcp");
    let lines = on_terminal(work.path(), dcp.args([&source, &target]));
    assert!(!lines.contains('\x1b') && !lines.replace("\r\n", "\n").contains('\r'), "{lines}");
    let progress = lines.lines().filter(|line| line.starts_with("dcp 00:"));
    let progress: Vec<_> = progress.collect();
    assert!(progress.len() > 1, "{lines}");
    assert!(progress.iter().all(|line| line.trim_end().ends_with("limit 4.0 MiB/s")), "{lines}");
}
