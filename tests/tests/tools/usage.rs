//! Tests of dwalk's statistics under real `mpiexec`, against the output of find(1).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use suite_tests::job::{alone, ranks, run, tool};
use suite_tests::preload::Gates;
use suite_tests::sandbox::Sandbox;
use suite_tests::trees;
use suite_tests::waiting::wait_within;

/// An entry in the output of find(1).
struct Entry {
    is_file: bool,
    is_dir: bool,
    size: u64,
    uid: u64,
    depth: usize,
    age_days: u64,
    path: PathBuf,
}

fn find(tree: &Path) -> Vec<Entry> {
    let format = "%y %s %U %d %T@ %p\\0";
    let found = Command::new("find").arg(tree).args(["-printf", format]).output().unwrap().stdout;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let entry = |line: &[u8]| {
        let text = String::from_utf8(line.to_vec()).unwrap();
        let mut words = text.splitn(6, ' ');
        let mut word = || words.next().unwrap().to_owned();
        let kind = word();
        let (size, uid, depth) = (word(), word(), word());
        let mtime: u64 = word().split_once('.').unwrap().0.parse().unwrap();
        Entry {
            is_file: kind == "f",
            is_dir: kind == "d",
            size: size.parse().unwrap(),
            uid: uid.parse().unwrap(),
            depth: depth.parse().unwrap(),
            age_days: now.saturating_sub(mtime) / 86_400,
            path: word().into(),
        }
    };
    found.split(|byte| *byte == 0).filter(|line| !line.is_empty()).map(entry).collect()
}

/// Returns the numbers of items, files and bytes.
fn sum<'e>(entries: impl Iterator<Item = &'e Entry>) -> Value {
    let (mut items, mut files, mut bytes) = (0, 0, 0);
    for entry in entries {
        items += 1;
        files += u64::from(entry.is_file);
        bytes += if entry.is_file { entry.size } else { 0 };
    }
    json!([items, files, bytes])
}

fn part(value: &Value) -> Value {
    json!([value["items"], value["files"], value["bytes"]])
}

fn parts(values: &Value) -> Vec<Value> {
    values.as_array().unwrap().iter().map(part).collect()
}

#[test]
fn histograms_owners_and_depths_agree_with_find() {
    let tree = trees::real_tree();
    let entries = find(&tree);
    let of = |wanted: &dyn Fn(&Entry) -> bool| sum(entries.iter().filter(|entry| wanted(entry)));
    for count in [1, 4] {
        let mut dwalk = tool(count, "dwalk");
        dwalk.args(["--json", "-f", "--usage", "-d", "size:0,80,4096", "-d", "age:1d,30d,10y"]);
        let usage = run(dwalk.arg(&tree)).expect(0).summary()["usage"].clone();
        let distributions = &usage["distributions"];
        assert_eq!(
            parts(&distributions[0]["bins"]),
            [
                of(&|it| it.size == 0),
                of(&|it| it.size > 0 && it.size <= 80),
                of(&|it| it.size > 80 && it.size <= 4096),
                of(&|it| it.size > 4096),
            ]
        );
        // The trees of a toolchain are not at the edge of a bin.
        assert_eq!(
            parts(&distributions[1]["bins"]),
            [
                of(&|it| it.age_days < 1),
                of(&|it| it.age_days >= 1 && it.age_days < 30),
                of(&|it| it.age_days >= 30 && it.age_days < 3650),
                of(&|it| it.age_days >= 3650),
            ]
        );
        let sizes = parts(&usage["sizes"]["bins"]);
        assert_eq!(sizes[0], of(&|it| it.size == 0));
        assert_eq!(sizes[1], of(&|it| it.size > 0 && it.size <= 1 << 10));
        assert_eq!(sizes[2], of(&|it| it.size > 1 << 10 && it.size <= 1 << 20));
        let users: BTreeSet<u64> = entries.iter().map(|entry| entry.uid).collect();
        assert_eq!(usage["users"].as_array().unwrap().len(), users.len());
        for user in usage["users"].as_array().unwrap() {
            let uid = user["uid"].as_u64().unwrap();
            assert_eq!(part(user), of(&|it| it.uid == uid));
        }
        let deepest = entries.iter().map(|entry| entry.depth).max().unwrap();
        let depths: Vec<Value> = (0..=deepest).map(|depth| of(&|it| it.depth == depth)).collect();
        assert_eq!(parts(&usage["depths"]), depths);
    }
}

#[test]
fn the_largest_are_the_largest() {
    let tree = trees::real_tree();
    let entries = find(&tree);
    let mut files: Vec<_> = entries.iter().filter(|entry| entry.is_file).collect();
    files.sort_by_key(|entry| (Reverse(entry.size), entry.path.as_os_str().as_bytes()));
    let mut below: BTreeMap<&Path, (u64, u64)> = BTreeMap::new();
    for entry in &entries {
        let mut dirs = entry.path.ancestors().skip(usize::from(!entry.is_dir));
        while let Some(dir) = dirs.next().filter(|dir| dir.starts_with(&tree)) {
            let (bytes, items) = below.entry(dir).or_default();
            *bytes += if entry.is_file { entry.size } else { 0 };
            *items += 1;
        }
    }
    let mut directories: Vec<_> = below.into_iter().collect();
    directories.sort_by_key(|(dir, (bytes, items))| {
        (Reverse(*bytes), Reverse(*items), dir.components().count(), dir.as_os_str().as_bytes())
    });
    for count in [1, 4] {
        let mut dwalk = tool(count, "dwalk");
        dwalk.args(["--json", "--top", "12"]).arg(&tree);
        let usage = run(&mut dwalk).expect(0).summary()["usage"].clone();
        for (at, file) in files.iter().take(12).enumerate() {
            let found = &usage["largest_files"][at];
            assert_eq!(found["bytes"], file.size);
            assert_eq!(found["path"]["text"], file.path.to_str().unwrap());
        }
        for (at, (dir, (bytes, items))) in directories.iter().take(12).enumerate() {
            let found = &usage["largest_directories"][at];
            assert_eq!(found["path"]["text"], dir.to_str().unwrap());
            assert_eq!((&found["bytes"], &found["items"]), (&json!(bytes), &json!(items)));
        }
    }
}

#[test]
fn more_directories_than_are_kept_apart_still_add_up() {
    let work = Sandbox::new();
    let tree = work.at("tree");
    let count = 45_000;
    for number in 0..count {
        std::fs::create_dir_all(tree.join(format!("d{}/e{number}", number % 100))).unwrap();
    }
    trees::write(&tree.join("d7/large/file"), &trees::noise(100_000));
    let mut dwalk = ranks(2, "dwalk");
    dwalk.args(["--json", "--usage"]).arg(&tree);
    let summary = run(&mut dwalk).expect(0).summary();
    let usage = &summary["usage"];
    assert!(usage["directories_merged"].as_u64().unwrap() > 0);
    let largest = usage["largest_directories"].as_array().unwrap();
    assert_eq!(part(&largest[0]), json!([count + 103, 1, 100_000]));
    assert_eq!(largest[1]["path"]["text"], tree.join("d7").to_str().unwrap());
    assert_eq!(part(&largest[2]), json!([2, 1, 100_000]));
    let text = run(alone("dwalk").args(["-q", "--usage"]).arg(&tree)).expect(0);
    assert_eq!(text.stdout, "");
}

#[test]
fn memory_does_not_grow_with_the_number_of_entries() {
    let work = Sandbox::new();
    let peak = |entries: usize| {
        let tree = work.path().join(entries.to_string());
        trees::wide_directory(&tree.join("wide"), entries / 2);
        trees::small_files(&tree.join("deep"), entries / 20, 10);
        let mut dwalk = ranks(2, "dwalk");
        dwalk.args(["--json", "--usage", "-f", "--top", "100", "--report"]);
        let page = work.at("usage.html");
        let summary = run(dwalk.args([&page, &tree])).expect(0).summary();
        std::fs::remove_dir_all(&tree).unwrap();
        let peaks = summary["ranks"].as_array().unwrap().iter();
        peaks.map(|rank| rank["peak_memory_bytes"].as_u64().unwrap()).max().unwrap()
    };
    // At 500,000 there are more directories than are kept apart.
    let (small, large) = (peak(20_000), peak(500_000));
    assert!(large < small + (32 << 20), "{small} bytes at 20,000 entries, {large} at 500,000");
}

#[test]
fn a_report_is_one_page_that_no_name_can_break() {
    let work = Sandbox::new();
    let tree = work.at("<script>alert(1)</script>");
    trees::small_files(&tree, 5, 20);
    let odd = tree.join(OsStr::from_bytes(b"a&b\"'\xff\n<img src=x>"));
    trees::write(&odd.join("large"), &trees::noise(50_000));
    let page = work.at("usage.html");
    for count in [1, 3] {
        run(tool(count, "dwalk").arg("--report").args([&page, &tree])).expect(0);
        let html = std::fs::read_to_string(&page).unwrap();
        for wanted in ["<!DOCTYPE html>", "By size", "By age", "By user", "By directory", "<svg"] {
            assert!(html.contains(wanted), "{wanted} is missing");
        }
        assert!(html.contains("a&amp;b\\&quot;'\\xff\\n&lt;img src=x&gt;"), "{html}");
        for unwanted in ["<script", "<img", "http://", "https://", "@import"] {
            assert!(!html.contains(unwanted), "{unwanted} is in the page");
        }
    }
    run(alone("dwalk").args(["--report", "/nowhere/usage.html"]).arg(&tree)).expect(3);
}

/// Checks that a sum out of a counter's range is not shown as the largest number in it.
#[test]
fn sums_beyond_64_bits_are_said_to_be() {
    let work = Sandbox::new();
    let [tree, list, page] = ["s", "l.ndjson", "page.html"].map(|name| work.at(name));
    trees::write(&tree.join("a"), b"1");
    trees::write(&tree.join("b"), b"2");
    run(tool(1, "dwalk").arg("-o").args([&list, &tree])).expect(0);
    let huge = format!("\"size\":{}", u64::MAX);
    let lines = std::fs::read_to_string(&list).unwrap().replace("\"size\":1,", &format!("{huge},"));
    std::fs::write(&list, lines).unwrap();
    for ranks in [1, 3] {
        let mut dwalk = tool(ranks, "dwalk");
        dwalk.args(["--usage", "--top=2", "--report"]).arg(&page).arg("-i").arg(&list);
        let told = run(&mut dwalk).expect(0).stdout;
        // The total, an owner, a group, a depth and a directory, and the largest file.
        assert!(told.matches("16 EiB or more").count() >= 6, "{told}");
        assert!(std::fs::read_to_string(&page).unwrap().contains("16 EiB or more"));
    }
}

/// Checks a job that is interrupted while it reads a directory: there is nothing that another run
/// would continue.
#[test]
fn the_page_of_an_interrupted_job_says_so() {
    let work = Sandbox::new();
    trees::small_files(&work.at("tree/held"), 2, 3);
    let gates = Gates::closed(work.path(), &["held"]);
    let page = work.at("usage.html");
    let mut dwalk = alone("dwalk");
    gates.hold(&mut dwalk).args(["--threads=1", "--report"]).args([&page, &work.at("tree")]);
    let mut job = dwalk.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    wait_within(&mut job, "it is held", || gates.is_reached("held"));
    run(Command::new("kill").arg(job.id().to_string())).expect(0);
    gates.open("held");
    let ended = job.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(20));
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(said.contains("interrupted by a signal before all was done (exit 20)"), "{said}");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("The job ended before everything was read"), "{page}");
}
