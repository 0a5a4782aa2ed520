//! Tests of dwalk under real `mpiexec`: counts, lists, how work and memory spread.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use suite_tests::job::{Ended, alone, ranks, run, tool};
use suite_tests::need_root;
use suite_tests::sandbox::Sandbox;
use suite_tests::{mounts, trees};

/// Locks out other tests: how work and memory spread over ranks shows only while nothing else uses
/// the processors.
fn alone_here() -> std::sync::MutexGuard<'static, ()> {
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[test]
fn totals_agree_with_find() {
    let _turn = alone_here();
    let tree = trees::real_tree();
    let listed =
        run(Command::new("find").arg(&tree).args(["-printf", "%y %s\\n"])).expect(0).stdout;
    let of = |kind: &str| listed.lines().filter(|line| line.starts_with(kind)).count() as u64;
    let bytes = |line: &str| line.strip_prefix("f ").map_or(0, |size| size.parse::<u64>().unwrap());
    for count in [1, 4] {
        let totals =
            run(tool(count, "dwalk").arg("--json").arg(&tree)).expect(0).summary()["totals"]
                .clone();
        assert_eq!(totals["found"]["files"], of("f"));
        assert_eq!(totals["found"]["directories"], of("d"));
        assert_eq!(totals["found"]["symlinks"], of("l"));
        assert_eq!(totals["found_bytes"], listed.lines().map(bytes).sum::<u64>());
    }
}

#[test]
fn lists_name_every_entry_once_whatever_its_name() {
    let _turn = alone_here();
    let work = Sandbox::new();
    let tree = work.at("tree");
    trees::awkward_tree(&tree);
    let found = Command::new("find").arg(&tree).arg("-print0").output().unwrap().stdout;
    let wanted: BTreeSet<Vec<u8>> = found
        .split(|byte| *byte == 0)
        .filter(|path| !path.is_empty())
        .map(<[u8]>::to_vec)
        .collect();
    for count in [1, 3] {
        let file = work.path().join(format!("list{count}.ndjson"));
        run(tool(count, "dwalk").arg("-o").args([&file, &tree])).expect(0);
        let text = std::fs::read_to_string(&file).unwrap();
        let listed: Vec<Vec<u8>> = text.lines().map(path_of).collect();
        assert_eq!(listed.len(), wanted.len());
        assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), wanted);
    }
    let printed = run(alone("dwalk").arg("-p").arg(&tree)).expect(0).stdout;
    let lines = printed.lines().filter(|line| line.contains(&*tree.to_string_lossy()));
    assert_eq!(lines.count(), wanted.len());
}

fn path_of(line: &str) -> Vec<u8> {
    let entry: serde_json::Value = serde_json::from_str(line).unwrap();
    match entry["path"]["text"].as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => decode_base64(entry["path"]["bytes"].as_str().unwrap()),
    }
}

fn decode_base64(text: &str) -> Vec<u8> {
    let mut base64 = Command::new("base64");
    let mut child = base64
        .arg("-d")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
    child.wait_with_output().unwrap().stdout
}

#[test]
fn one_wide_directory_is_shared_by_all_ranks() {
    need_root!();
    let _turn = alone_here();
    let work = Sandbox::new();
    let tree = work.at("wide");
    trees::wide_directory(&tree, 20_000);
    // Each stat takes 2 ms, so that a rank that the kernel leaves without a processor for a while
    // still gets its share.
    let disk = mounts::SlowDisk::mount(&tree, Duration::from_millis(2));
    let mut walk = ranks(4, "dwalk");
    let walk = walk.args(["--json", "--threads", "4"]).arg(disk.path());
    let summary = run(walk).expect(0).summary();
    assert_eq!(summary["totals"]["found"]["files"], 20_000);
    let shares = summary["ranks"].as_array().unwrap().iter();
    let shares: Vec<u64> =
        shares.map(|rank| rank["totals"]["examined"].as_u64().unwrap()).collect();
    assert!(shares.iter().all(|share| *share >= 2_000), "shares of the ranks: {shares:?}");
}

#[test]
fn memory_does_not_grow_with_the_number_of_entries() {
    let _turn = alone_here();
    let work = Sandbox::new();
    let peak = |entries: usize| {
        let tree = work.path().join(entries.to_string());
        trees::wide_directory(&tree.join("wide"), entries / 2);
        trees::small_files(&tree.join("deep"), entries / 200, 100);
        let ended = run(ranks(2, "dwalk").arg("--json").arg(&tree)).expect(0);
        std::fs::remove_dir_all(&tree).unwrap();
        largest_peak(&ended)
    };
    let (small, large) = (peak(20_000), peak(400_000));
    assert!(large < small + (32 << 20), "{small} bytes at 20,000 entries, {large} at 400,000");
}

fn largest_peak(ended: &Ended) -> u64 {
    let ranks = ended.summary()["ranks"].clone();
    let peaks = ranks.as_array().unwrap().iter().map(|rank| rank["peak_memory_bytes"].as_u64());
    peaks.max().flatten().unwrap()
}

#[test]
fn a_missing_path_is_said_and_the_others_are_walked() {
    let _turn = alone_here();
    let work = Sandbox::new();
    trees::small_files(&work.at("here"), 2, 3);
    let missing = work.at("missing");
    let ended = run(ranks(2, "dwalk").arg(&missing).arg(work.at("here"))).expect(23);
    assert!(ended.stderr.contains("missing\": No such file or directory"), "{}", ended.stderr);
    run(alone("dwalk").arg(&missing)).expect(3);
    run(alone("dwalk").args(["-o", "/nowhere/list"]).arg(work.path())).expect(3);
}

#[test]
fn devices_are_listed_by_their_kind() {
    need_root!();
    let work = Sandbox::new();
    let tree = work.at("tree");
    std::fs::create_dir(&tree).unwrap();
    for (name, words) in [("char", ["c", "1", "3"]), ("block", ["b", "7", "99"])] {
        run(Command::new("mknod").args(["-m", "600"]).arg(tree.join(name)).args(words)).expect(0);
    }
    let list = |file: &str| work.at(file);
    let text = run(tool(2, "dwalk").args(["-p", "--sort", "name"]).arg(&tree)).expect(0).stdout;
    let letters: String =
        text.lines().filter_map(|line| line.split_once("rw-------")).map(|l| l.0).collect();
    assert_eq!(letters, "bc", "{text}");
    for file in ["list.parquet", "list.ndjson"] {
        run(tool(2, "dwalk").arg("-o").args([&list(file), &tree])).expect(0);
        let again =
            run(tool(2, "dwalk").args(["-p", "--sort", "name", "-i"]).arg(list(file))).expect(0);
        let of_list = |text: &str| -> Vec<String> {
            text.lines().filter(|line| line.contains("rw-------")).map(str::to_owned).collect()
        };
        assert_eq!(of_list(&again.stdout), of_list(&text), "{file}");
    }
    let lines = std::fs::read_to_string(list("list.ndjson")).unwrap();
    assert!(lines.contains("\"char-device\"") && lines.contains("\"block-device\""), "{lines}");
    // As it was written before kinds of devices were told apart.
    let old = lines.replace("char-device", "device").replace("block-device", "device");
    std::fs::write(list("old.ndjson"), old).unwrap();
    let ended = run(tool(1, "dwalk").arg("--json").arg("-i").arg(list("old.ndjson"))).expect(0);
    assert_eq!(ended.summary()["totals"]["found"]["special_files"], 2);
}
