//! Tests of `docs/migrating.md`: other tools' options do what it says when they are typed.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use suite_tests::job::{project, run, tool};
use suite_tests::sandbox::Sandbox;
use suite_tests::{skips, trees};

/// A row of a table: the words to type, the tools, and the effect there.
struct Row {
    words: Vec<String>,
    tools: Vec<String>,
    here: String,
}

fn page() -> String {
    std::fs::read_to_string(project().join("docs/migrating.md")).unwrap()
}

fn rows() -> Vec<Row> {
    let text = page();
    let split = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `")?.trim_end_matches(" |").splitn(3, " | ");
        let words = split(cells.next()?.trim_end_matches('`'));
        Some(Row { words, tools: split(cells.next()?), here: cells.next()?.to_owned() })
    };
    text.lines().filter_map(row).collect()
}

#[test]
fn every_row_does_what_it_says() {
    let rows = rows();
    assert!(rows.len() > 80, "{} rows", rows.len());
    let work = Sandbox::new();
    trees::write(&work.at("s/file"), b"content");
    for dir in ["t", "old"] {
        std::fs::create_dir(work.path().join(dir)).unwrap();
    }
    for Row { words, tools, here } in rows {
        for name in tools {
            let mut command = tool(1, &name);
            command.current_dir(work.path()).args(&words);
            match &name[..] {
                // The list tells where its entries are.
                "dwalk" if words.iter().any(|word| word.starts_with("-i") || word == "--input") => {
                    &mut command
                }
                "dwalk" => command.arg("s"),
                "drm" => command.args(["--dry-run", "s"]),
                "dcmp" => command.args(["s", "s"]),
                // May be repeated.
                _ => command.args(["--dry-run", "s", "t"]),
            };
            if here.starts_with("no effect") && !words.contains(&"-v".to_owned()) {
                command.arg("-v");
            }
            if words.iter().any(|word| word == "--uid" || word == "-U") && !skips::has_root() {
                continue;
            }
            let is_refused = here.starts_with("refused");
            let ended = run(&mut command).expect(if is_refused { 2 } else { 0 });
            let says = format!("{name} {words:?}: {here}: {}", ended.stderr);
            match here.split([':', ',']).next().unwrap() {
                "the same" => assert!(!ended.stderr.contains("changes nothing"), "{says}"),
                "no effect" => assert!(ended.stderr.contains(" changes nothing: "), "{says}"),
                "refused" => {
                    assert!(ended.stderr.contains("there is no option"), "{says}");
                    assert_eq!(ended.stderr.lines().count(), 1, "{says}");
                }
                other => panic!("{other}"),
            }
        }
    }
}

/// Returns the rows of the section with that heading.
fn section(heading: &str) -> String {
    let page = page();
    let (_, after) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    after.split("\n## ").next().unwrap().to_owned()
}

/// Returns the long options in the help of a program that is installed.
fn long_options(program: &str, arguments: &[&str]) -> Option<BTreeSet<String>> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
    // The options of a line are at its beginning; what follows describes them.
    let names = text.lines().flat_map(|line| {
        let head = line.trim_start().split("  ").next().unwrap_or_default().to_owned();
        let words: Vec<_> = head.split([' ', ',']).map(str::to_owned).collect();
        words.into_iter().filter(move |_| head.starts_with('-'))
    });
    let name = |word: String| {
        let name = word.strip_prefix("--")?.split(|c| !is_part(c)).next()?.to_owned();
        (!name.is_empty()).then(|| format!("--{name}"))
    };
    Some(names.filter_map(name).collect())
}

/// Options that stand for themselves everywhere, or for another one that has a row.
const NO_ROWS: [&str; 8] =
    ["--help", "--version", "--debug", "--no-OPTION", "--no-W", "--i-r", "--no-i-r", "--old-d"];

#[test]
fn every_option_of_installed_tools_has_a_row() {
    let mut judged = 0;
    for (program, arguments, heading) in [
        ("rsync", &["--help"][..], "rsync"),
        ("cp", &["--help"], "cp"),
        ("rclone", &["sync", "--help"], "rclone"),
        ("rclone", &["check", "--help"], "rclone"),
        ("s5cmd", &["cp", "--help"], "s5cmd"),
        ("s5cmd", &["sync", "--help"], "s5cmd"),
    ] {
        let Some(options) = long_options(program, arguments) else { continue };
        assert!(options.len() > 8, "{program}: {options:?}");
        let rows = section(heading);
        let has_row = |option: &&String| {
            let mut lines = rows.lines().filter_map(|line| line.strip_prefix("| `"));
            lines.any(|line| line.split([' ', '=', '`']).any(|word| word == *option))
        };
        let missing: Vec<_> = options
            .iter()
            .filter(|option| !NO_ROWS.contains(&&option[..]))
            .filter(|option| !has_row(option))
            .collect();
        assert!(missing.is_empty(), "{program} {arguments:?}: {missing:?}");
        judged += 1;
    }
    assert!(judged > 1, "rsync and cp are installed");
}

#[test]
fn access_times_stay_where_that_is_wanted() {
    let work = Sandbox::new();
    trees::write(&work.at("s/file"), b"content");
    run(Command::new("cp").args(["-a"]).args([work.at("s"), work.at("t")])).expect(0);
    // A file system that sets access times at all does so now.
    let old = ["-a", "-d", "@1000000000"];
    let atime = |name: &str| std::fs::metadata(work.at(name)).unwrap().atime();
    for words in [
        &["dcmp", "--open-noatime", "s", "t"][..],
        &["dcp", "--open-noatime", "--reflink=never", "s/file", "copy"],
        &["dcp", "--open-noatime", "--reflink=never", "--verify=all", "s/file", "copy"],
        &["dsync", "--open-noatime", "--contents", "s", "t"],
    ] {
        run(Command::new("touch").args(old).args([work.at("s/file"), work.at("t/file")])).expect(0);
        run(tool(1, words[0]).current_dir(work.path()).args(&words[1..])).expect(0);
        assert_eq!(atime("s/file"), 1_000_000_000, "{words:?}");
        if words[0] == "dcmp" {
            assert_eq!(atime("t/file"), 1_000_000_000);
        }
    }
}

/// Options of the tools of mpiFileUtils, as the tables in their sources have them (version 0.12 and
/// the main branch).
const OF_MPIFILEUTILS: [(&str, &str); 5] = [
    (
        "dcp",
        "bufsize blocksize debug grouplock daos-api daos-preserve input chunksize xattrs \
         dereference no-dereference preserve synchronous direct open-noatime sparse progress gid \
         uid verbose quiet b d g i k L P p s S U v q X G",
    ),
    (
        "dsync",
        "dryrun batch-files bufsize blocksize chunksize xattrs daos-api contents delete dereference \
         no-dereference direct open-noatime debug link-dest sparse progress verbose quiet b c D s \
         L P S v q X",
    ),
    (
        "dcmp",
        "output text base bufsize blocksize chunksize daos-api direct open-noatime progress verbose \
         quiet lite debug o t b s v q l d",
    ),
    (
        "dwalk",
        "input output text lite sort distribution file_histogram file-histogram print no-atime \
         dereference progress verbose quiet i o t l s d f p L v q n",
    ),
    (
        "drm",
        "input output text lite stat exclude match name dryrun aggressive traceless progress verbose \
         quiet i o t l T v q",
    ),
];

#[test]
fn every_option_of_mpifileutils_has_a_row() {
    let section = section("mpiFileUtils");
    for (tool, options) in OF_MPIFILEUTILS {
        let rows = section.lines().filter_map(|line| {
            let (words, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
            let (tools, _) = rest.split_once(" | ")?;
            tools.split(' ').any(|it| it == tool).then_some(words)
        });
        let words: BTreeSet<&str> = rows.flat_map(|words| words.split([' ', '='])).collect();
        let dashed =
            |option: &str| format!("{}{option}", if option.len() > 1 { "--" } else { "-" });
        let missing = options.split_whitespace().map(dashed);
        let missing: Vec<_> = missing.filter(|option| !words.contains(&option[..])).collect();
        assert!(missing.is_empty(), "{tool}: {missing:?}");
    }
}

#[test]
fn what_is_written_as_a_place_elsewhere_is_never_a_local_file() {
    let work = Sandbox::new();
    let source = work.source();
    trees::write(&source, b"content");
    for target in ["gs:x", "12:30"] {
        let ended = run(tool(1, "dcp").current_dir(work.path()).args(["s", target])).expect(2);
        let (name, _) = target.split_once(':').unwrap();
        assert!(ended.stderr.contains(&format!("no remote \"{name}\"")), "{}", ended.stderr);
        assert!(ended.stderr.contains(&format!("write \"./{target}\"")), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        let there = std::fs::read_dir(work.path()).unwrap().count();
        assert_eq!(there, 1, "{target} was made");
    }
    run(tool(1, "dcp").current_dir(work.path()).args(["s", "./12:30"])).expect(0);
    assert_eq!(std::fs::read(work.at("12:30")).unwrap(), b"content");
}

#[test]
fn options_of_other_tools_are_accepted_or_answered() {
    let work = Sandbox::new();
    let source = work.source();
    trees::write(&source, b"content");
    let habits = ["-v", "-r", "--transfers=64", "--checkers", "8", "--fast-list", "-W"];
    let mut dcp = tool(1, "dcp");
    let ended = run(dcp.current_dir(work.path()).args(habits).args(["s", "t"])).expect(0);
    for name in ["recursive", "transfers", "checkers", "fast-list", "whole-file"] {
        assert!(ended.stderr.contains(&format!("--{name} changes nothing: ")), "{}", ended.stderr);
    }
    // Of mpiFileUtils' dsync: no buffer of 100 bytes.
    std::fs::create_dir(work.at("d")).unwrap();
    let ended = run(tool(1, "dsync").current_dir(work.path()).args(["-v", "-b", "100", "d", "e"]));
    assert!(ended.expect(0).stderr.contains("--batch-files changes nothing: "));
    for (option, says) in [
        ("--delete-empty-src-dirs", "write --remove-source"),
        ("--delete", "use dsync"),
        ("--backup", "not backed up"),
    ] {
        let ended = run(tool(1, "dcp").current_dir(work.path()).args([option, "s", "u"])).expect(2);
        assert!(ended.stderr.contains(says), "{option}: {}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
}
