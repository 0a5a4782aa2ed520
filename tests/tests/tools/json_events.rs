//! Events of `--json`, and `docs/json.md`: each printed key is documented, and each documented key
//! is printed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use suite_tests::buckets::{BUCKET, served, text, with};
use suite_tests::job::{Ended, alone, ranks, run};
use suite_tests::object_server::Behaviour;
use suite_tests::sandbox::Sandbox;
use suite_tests::trees;

const PAGE: &str = include_str!("../../../docs/json.md");

/// Keys of stripes and pools, which are printed for Lustre only; `lustre.rs` reads them.
const ON_LUSTRE: &str = "usage.striping.counts[]";
const POOLS: &str = "usage.striping.pools[]";

/// Returns the rows of the tables of the page, by the heading that they are under: keys with their
/// types.
fn tables() -> BTreeMap<String, Vec<(String, String)>> {
    let mut tables: BTreeMap<String, Vec<_>> = BTreeMap::new();
    let mut heading = String::new();
    for line in PAGE.lines() {
        if line.starts_with('#') {
            line.trim_matches(['#', ' ', '`']).clone_into(&mut heading);
        } else if line.starts_with("| `") {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            let keys = cells[0].split(", ").map(|key| key.trim_matches('`').to_owned());
            let rows = tables.entry(heading.clone()).or_default();
            rows.extend(keys.map(|key| (key, cells[1].to_owned())));
        }
    }
    tables
}

/// Returns the keys of an object of the page, with those of the objects in it.
fn documented(tables: &BTreeMap<String, Vec<(String, String)>>, name: &str) -> BTreeSet<String> {
    let keys = tables[name].iter().flat_map(|(key, kind)| {
        match kind.split_once("](#").and_then(|(_, link)| link.split(')').next()) {
            Some(object) if tables.contains_key(object) => documented(tables, object)
                .into_iter()
                .map(|below| format!("{key}.{below}"))
                .collect(),
            _ => vec![key.clone()],
        }
    });
    keys.collect()
}

/// Collects the keys of a printed value; a path counts as one value.
fn printed(value: &Value, key: &str, keys: &mut BTreeSet<String>) {
    let is_path = |map: &serde_json::Map<String, Value>| {
        map.len() == 1 && (map.contains_key("text") || map.contains_key("bytes"))
    };
    match value {
        Value::Object(map) if !is_path(map) => {
            let at = if key.is_empty() { String::new() } else { format!("{key}.") };
            for (name, below) in map {
                printed(below, &format!("{at}{name}"), keys);
            }
        }
        Value::Array(all) => {
            for below in all {
                printed(below, &format!("{key}[]"), keys);
            }
        }
        _ => drop(keys.insert(key.to_owned())),
    }
}

/// True if the documented key is the printed one, or stands for it with a `*`.
fn is_meant(documented: &str, printed: &str) -> bool {
    let (one, other) = (documented.split('.'), printed.split('.'));
    one.clone().count() == other.clone().count()
        && one.zip(other).all(|(one, other)| one == "*" || one == other)
}

fn json(tool: &str, arguments: &[&str]) -> Command {
    let mut command = alone(tool);
    command.arg("--json").args(arguments);
    command
}

/// Creates a tree with an entry of most types, and a name that is not UTF-8.
fn tree(root: &Path) {
    trees::small_files(root, 2, 3);
    trees::write(&root.join("large"), &trees::noise(3 << 20));
    fs::hard_link(root.join("large"), root.join("linked")).unwrap();
    symlink("large", root.join("symlink")).unwrap();
    symlink("nothing", root.join("dangling")).unwrap();
    fs::write(root.join(OsStr::from_bytes(b"\xff")), "x").unwrap();
    run(Command::new("mkfifo").arg(root.join("fifo"))).expect(0);
}

/// Runs copies, mirrors, comparisons and walks of local trees, some of which fail.
fn local_jobs(work: &Path) -> Vec<Ended> {
    let at = |name: &str| text(&work.join(name)).to_owned();
    let (source, copy, mirror) = (at("source"), at("copy"), at("mirror"));
    tree(Path::new(&source));
    trees::write(&work.join("mirror/extra/file"), b"x");
    trees::write(&work.join("mirror/fifo"), b"x");
    let list = at("missing");
    fs::write(&list, "nowhere\n").unwrap();
    let mut two = ranks(2, "dcp");
    two.args([
        "--json",
        "-k",
        "1MiB",
        "--resume",
        "--chmod=u+r",
        "--stripe=2,1MiB",
        &source,
        &copy,
    ]);
    let compared = ["--also=atime,ctime", "-H", &source, &mirror];
    vec![
        run(&mut two).expect(0),
        run(&mut json("dcp", &["-L", &source, &at("followed")])).expect(23),
        run(&mut json("dcp", &["-n", &source, &at("planned")])).expect(0),
        run(&mut json("dcp", &["--clean", &copy])).expect(0),
        run(&mut json("dcp", &[&at("none"), &copy])).expect(3),
        run(&mut json("dsync", &["--link-dest", &copy, &source, &mirror])).expect(0),
        run(&mut json("dcmp", &compared)).expect(1),
        run(&mut json("dcmp", &["--lite", &source, &source])).expect(0),
        run(&mut json("dwalk", &["--files-from", &list, &source])).expect(23),
        run(&mut json(
            "dwalk",
            &["--report", &at("page.html"), "--striping", "-d", "age", &source],
        ))
        .expect(0),
    ]
}

/// Runs copies to objects and comparisons with them; some copies fail.
fn object_jobs(work: &Path) -> Vec<Ended> {
    let slow = Behaviour { latency_ms: 700, ..Behaviour::default() };
    let (quick, slow) = (served(Behaviour::default()), served(slow));
    let spoilt = served(Behaviour { spoil_puts_every: 1, ..Behaviour::default() });
    let small = work.join("small");
    trees::small_files(&small, 2, 2);
    slow.put(BUCKET, "object", "content");
    let to =
        |server, tool, arguments: &[&str]| run(with(server, 1, tool).arg("--json").args(arguments));
    vec![
        to(&quick, "dcp", &[text(&small), "s3://data/"]).expect(0),
        to(&quick, "dcmp", &[text(&small), "s3://data/small"]).expect(0),
        to(&quick, "dcp", &[text(&small), "s3://none/"]).expect(3),
        to(&spoilt, "dcp", &[text(&small), "s3://data/"]).expect(23),
        to(&slow, "dcp", &["--progress=1", text(&small), "s3://data/"]).expect(0),
    ]
}

#[test]
fn every_key_that_is_printed_is_documented_and_the_other_way_round() {
    let work = Sandbox::new();
    let tables = tables();
    let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for ended in local_jobs(work.path()).into_iter().chain(object_jobs(work.path())) {
        for line in ended.stdout.lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            assert_eq!(event["json_version"], 1, "{line}");
            let name = event["event"].as_str().unwrap().to_owned();
            printed(&event, "", seen.entry(name).or_default());
        }
    }
    let common = ["json_version", "event", "time"].map(str::to_owned);
    let mut wrong = Vec::new();
    for (name, keys) in &seen {
        assert!(tables.contains_key(name), "{name} is not documented");
        let expected = documented(&tables, name);
        let is_documented = |key: &&String| expected.iter().any(|row| is_meant(row, key));
        let unknown = keys.iter().filter(|key| !common.contains(key) && !is_documented(key));
        wrong.extend(unknown.map(|key| format!("{name}: {key} is not documented")));
        let is_missing = |row: &&String| {
            let is_elsewhere = row.starts_with(ON_LUSTRE) || row.starts_with(POOLS);
            // The progress of a job at the time of its report depends on chance.
            let is_elsewhere = is_elsewhere || name == "progress" && row.contains('*');
            !is_elsewhere && !keys.iter().any(|key| is_meant(row, key))
        };
        let missing = expected.iter().filter(is_missing);
        wrong.extend(missing.map(|row| format!("{name}: {row} is not printed")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let events: BTreeSet<&str> = PAGE
        .split("\n## ")
        .find(|part| part.starts_with("Events"))
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .map(|name| name.trim_matches('`'))
        .collect();
    assert_eq!(seen.keys().map(String::as_str).collect::<BTreeSet<_>>(), events);
}

#[test]
fn every_error_code_is_documented_and_the_other_way_round() {
    let sources = [
        include_str!("../../../common/types/src/error.rs"),
        include_str!("../../../common/types/src/service.rs"),
    ];
    let codes: BTreeSet<String> = sources
        .iter()
        .flat_map(|source| source.split("fn code(self)").skip(1))
        .filter_map(|rest| rest.split("\n    }\n").next())
        .flat_map(str::lines)
        .filter_map(|line| line.split("=> \"").nth(1)?.split('"').next())
        .map(str::to_owned)
        .collect();
    let rows = tables().remove("Error codes").unwrap();
    let documented: BTreeSet<String> = rows.into_iter().map(|(code, _)| code).collect();
    assert!(codes.len() > 70, "{codes:?}");
    assert_eq!(codes, documented);
}
