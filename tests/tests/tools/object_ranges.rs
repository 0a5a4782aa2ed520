//! Tests of two flat prefixes that are compared or synchronised: both are listed in the same key
//! ranges, by many threads and ranks, and each name is dealt with once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use fastrand::Rng;
use serde_json::Value;
use suite_tests::buckets::{BUCKET, go, served, text};
use suite_tests::cloud::within;
use suite_tests::job::{Ended, program, run};
use suite_tests::object_server::{Behaviour, ObjectServer, Operation, Order, Quirk};
use suite_tests::sandbox::Sandbox;
use suite_tests::seeds;

/// Contents by key below a prefix.
type Keys = BTreeMap<String, &'static str>;

fn put(server: &ObjectServer, name: &str, keys: &Keys) {
    for (key, content) in keys {
        server.put(BUCKET, &format!("{name}/{key}"), *content);
    }
}

fn seen(server: &ObjectServer, name: &str) -> BTreeSet<String> {
    let prefix = format!("{name}/");
    let keys = server.keys_of(BUCKET);
    keys.iter().filter_map(|key| key.strip_prefix(&prefix)).map(str::to_owned).collect()
}

fn flat(count: usize) -> Keys {
    (0..count).map(|number| (format!("part-{number:06}.dat"), "1")).collect()
}

fn sync(server: &ObjectServer, ranks: u32) -> Ended {
    go(server, ranks, &["dsync", "-D", "--size-only", "--json", "s3://data/s/", "s3://data/t/"])
}

/// Compares what listings tell, and returns the counts of the entries on one side or both.
fn compare(server: &ObjectServer, ranks: u32) -> Ended {
    go(server, ranks, &["dcmp", "--lite", "--json", "s3://data/s/", "s3://data/t/"])
}

fn totals(ended: &Ended) -> Value {
    ended.summary()["totals"].clone()
}

#[test]
fn flat_prefixes_are_listed_by_many_at_once() {
    let paged = Behaviour { page_keys: 20, ..Behaviour::default() };
    for ranks in [1, 2] {
        let server = served(Behaviour::default());
        put(&server, "s", &flat(3_000));
        let mut target = flat(3_000);
        target.remove("part-000777.dat");
        target.extend([("part-000001.data".to_owned(), "1"), ("zz".to_owned(), "1")]);
        put(&server, "t", &target);
        server.behave(Behaviour { latency_ms: 10, ..paged.clone() });
        server.reset_counts();
        let ended = compare(&server, ranks).expect(1);
        let compared = &totals(&ended)["compared"];
        assert_eq!(compared["only_in_source"], 1, "{compared}");
        assert_eq!(compared["only_in_target"], 2, "{compared}");
        let counts = server.reset_counts();
        // A thread that looks at objects leaves their listing to others, where there are any.
        assert!(ranks == 1 || counts.lists_at_once("s/") >= 2, "{counts:?}");
        let ended = sync(&server, ranks).expect(0);
        assert_eq!(totals(&ended)["synced"]["deleted"]["files"], 2);
        assert_eq!(seen(&server, "t"), seen(&server, "s"));
        let counts = server.reset_counts();
        assert!(counts.lists_at_once("s/") >= 2, "{counts:?}");
        assert!(counts.lists_at_once("t/") >= 3, "{counts:?}");
        // What listings tell is not asked for again.
        assert!(counts.of(Operation::HeadObject) < 100, "{counts}");
        assert!(counts.of(Operation::ListObjectsV2) < 6 * 150, "{counts}");
    }
}

/// A directory cannot be read in parts, so one thread reads its names, and the prefix on the other
/// side is listed by several.
#[test]
fn a_flat_prefix_beside_a_directory_is_listed_by_many_at_once() {
    for ranks in [1, 2] {
        let (server, sandbox) = (served(Behaviour::default()), Sandbox::new());
        fs::create_dir(sandbox.source()).unwrap();
        let mut names: Vec<String> = flat(3_000).into_keys().collect();
        // Directories list names in orders of their own.
        Rng::with_seed(7).shuffle(&mut names);
        for name in &names {
            fs::write(sandbox.source().join(name), "1").unwrap();
        }
        let mut target = flat(3_000);
        target.remove("part-000777.dat");
        target.extend([("part-000001.data".to_owned(), "1"), ("zz".to_owned(), "1")]);
        put(&server, "t", &target);
        server.behave(Behaviour { page_keys: 20, latency_ms: 10, ..Behaviour::default() });
        let directory = format!("{}/", text(&sandbox.source()));
        let sync = |from: &str, to: &str| {
            server.reset_counts();
            let ended = go(&server, ranks, &["dsync", "-D", "--size-only", "--json", from, to]);
            let deleted = totals(&ended.expect(0))["synced"]["deleted"]["files"].clone();
            (deleted, server.reset_counts())
        };
        let (deleted, counts) = sync(&directory, "s3://data/t/");
        assert_eq!(deleted, 2);
        assert_eq!(seen(&server, "t"), flat(3_000).into_keys().collect());
        assert!(counts.lists_at_once("t/") >= 3, "{counts:?}");
        assert!(counts.of(Operation::HeadObject) < 100, "{counts}");
        // The target is listed to look names up, and once more for what is to be deleted.
        assert!(counts.of(Operation::ListObjectsV2) < 4 * 150, "{counts}");
        fs::write(sandbox.source().join("zz"), "1").unwrap();
        let (deleted, counts) = sync("s3://data/t/", &directory);
        assert_eq!(deleted, 1);
        assert_eq!(fs::read_dir(sandbox.source()).unwrap().count(), 3_000);
        assert!(counts.lists_at_once("t/") >= 3, "{counts:?}");
        assert!(counts.of(Operation::ListObjectsV2) < 2 * 150, "{counts}");
    }
}

/// Threads of a listing get no more descriptors than the job has left.
#[test]
fn few_descriptors_are_enough_for_a_flat_prefix_beside_a_directory() {
    let (server, sandbox) = (served(Behaviour::default()), Sandbox::new());
    fs::create_dir(sandbox.source()).unwrap();
    for name in flat(3_000).keys() {
        fs::write(sandbox.source().join(name), "1").unwrap();
    }
    put(&server, "t", &flat(3_000));
    server.behave(Behaviour { page_keys: 20, latency_ms: 5, ..Behaviour::default() });
    let directory = format!("{}/", text(&sandbox.source()));
    let dsync = format!("exec '{}' -D --size-only \"$@\"", program("dsync").display());
    for limit in [44, 48, 56, 64, 72, 80, 88, 128, 400] {
        for [from, to] in [[&*directory, "s3://data/t/"], ["s3://data/t/", &*directory]] {
            let mut shell = within(Command::new("bash"), &server.environment());
            shell.args(["-c", &format!("ulimit -n {limit}; {dsync}"), "bash", from, to]);
            run(&mut shell).expect(0);
        }
    }
}

/// The source is not what is divided here: the work of the listing is all at the target.
#[test]
fn a_flat_target_is_divided_where_the_source_has_few_names() {
    for few in [0, 3] {
        let server = served(Behaviour::default());
        put(&server, "s", &flat(few));
        put(&server, "t", &flat(3_000));
        server.behave(Behaviour { page_keys: 20, latency_ms: 10, ..Behaviour::default() });
        server.reset_counts();
        // A bucket has no directory without keys, so an empty source is the whole bucket's.
        let ended = if few == 0 {
            server.make_bucket("none");
            go(&server, 2, &["dcmp", "--lite", "--json", "s3://none", "s3://data/t/"])
        } else {
            compare(&server, 2)
        };
        let compared = totals(&ended.expect(1))["compared"].clone();
        assert_eq!(compared["only_in_target"], 3_000 - few, "{compared}");
        let counts = server.reset_counts();
        assert!(counts.lists_at_once("t/") >= 3, "{counts:?}");
        assert!(counts.of(Operation::HeadObject) <= 4 * few as u64, "{counts:?}");
    }
}

/// Creates keys around which services and stores sort differently.
fn awkward(random: &mut Rng) -> Keys {
    let begins = ["a", "a-", "a.", "a0", "run-2024.step_", "é", "日本", "file", "~", "A b+"];
    let ends = ["", "-b", ".c", "0", "/x", "/", "/y/z", ".rclonelink", "é", "~"];
    let digits = random.usize(0..3);
    let mut key = || {
        let begin = random.choice(begins).unwrap();
        let middle: String = (0..random.usize(..=digits)).map(|_| random.digit(10)).collect();
        format!("{begin}{middle}{}", random.choice(ends).unwrap())
    };
    let with_content = |key: String| (key.clone(), if key.ends_with('/') { "" } else { "1" });
    (0..120).map(|_| with_content(key())).collect()
}

/// Removes keys that would have the name of another entry.
fn without_conflicts(keys: &mut Keys) {
    let names: BTreeSet<String> = keys.keys().cloned().collect();
    let is_directory = |name: &str| {
        let below = format!("{name}/");
        names.range(below.clone()..).next().is_some_and(|next| next.starts_with(&below))
    };
    keys.retain(|key, _| {
        let plain = key.strip_suffix(".rclonelink");
        let has_other = plain.is_some_and(|plain| names.contains(plain) || is_directory(plain));
        !has_other && (key.ends_with('/') || !is_directory(key))
    });
}

fn differing(random: &mut Rng, source: &Keys) -> Keys {
    let mut target = source.clone();
    target.retain(|_, _| random.u32(..5) > 0);
    for key in source.keys().filter(|key| !key.contains('/')) {
        if random.u32(..6) == 0 && !key.ends_with(".rclonelink") {
            // A directory in the place of an object.
            target.remove(key);
            target.insert(format!("{key}/inner"), "1");
        }
    }
    if random.bool() {
        target.extend(awkward(random));
    }
    if random.u32(..4) == 0 {
        target.retain(|key, _| key.starts_with('a'));
    }
    without_conflicts(&mut target);
    target
}

/// Returns a behaviour with tiny pages, so that many ranges are cut, in an order that some service
/// lists in.
fn tiny_pages(random: &mut Rng) -> Behaviour {
    let order = *random.choice(&[Order::Bytes, Order::Bytes, Order::Directories]).unwrap();
    let quirks = if random.bool() { vec![Quirk::StartAfterSkipsSubtree] } else { Vec::new() };
    Behaviour {
        page_keys: random.usize(2..5),
        latency_ms: 1,
        order,
        quirks,
        ..Behaviour::default()
    }
}

/// Returns the names of the entries below a prefix.
fn entries(keys: &Keys) -> BTreeSet<String> {
    let mut entries = BTreeSet::new();
    for key in keys.keys() {
        let plain = key.strip_suffix(".rclonelink").unwrap_or(key);
        entries.extend(plain.match_indices('/').map(|(end, _)| plain[..end].to_owned()));
        entries.extend((!key.ends_with('/')).then(|| plain.to_owned()));
    }
    entries
}

/// Returns what a comparison reports of entries that are on one side only, each as often as it was
/// reported.
fn on_one_side(ended: &Ended) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let told = ended.events("difference");
    let told = told.iter().map(|event| (text(&event["state"]), text(&event["path"]["text"])));
    let mut told: Vec<_> = told.filter(|(state, _)| state != "different").collect();
    told.sort();
    told
}

fn compared_once(random: &mut Rng) -> Vec<String> {
    let server = served(Behaviour::default());
    let mut source = awkward(random);
    without_conflicts(&mut source);
    source.insert("kept".into(), "1");
    let target = differing(random, &source);
    put(&server, "s", &source);
    put(&server, "t", &target);
    server.behave(tiny_pages(random));
    let ended = compare(&server, random.u32(1..3));
    let (one, other) = (entries(&source), entries(&target));
    let only = |state: &str, one: &BTreeSet<String>, other: &BTreeSet<String>| {
        one.difference(other).map(|name| (state.to_owned(), name.clone())).collect::<Vec<_>>()
    };
    let expected =
        [only("only_in_source", &one, &other), only("only_in_target", &other, &one)].concat();
    let told = on_one_side(&ended);
    let mut wrong = Vec::new();
    if told != expected || !matches!(ended.code, Some(0 | 1)) {
        wrong.push(format!("{:?} {:?}", ended.code, ended.stderr));
        wrong.extend(told.iter().filter(|it| !expected.contains(it)).map(|it| format!("+{it:?}")));
        wrong.extend(expected.iter().filter(|it| !told.contains(it)).map(|it| format!("-{it:?}")));
        wrong.push(format!("{} told, {} expected", told.len(), expected.len()));
    }
    wrong
}

#[test]
fn each_awkward_name_is_compared_once_wherever_a_range_ends() {
    seeds::each(20, compared_once);
}

/// Returns the files and links of a prefix; directories without content are not copied.
fn files(keys: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    let keys = keys.into_iter().filter(|key| !key.ends_with('/'));
    keys.map(|key| key.strip_suffix(".rclonelink").unwrap_or(&key).to_owned()).collect()
}

/// Returns what a dry run would do, in alphabetical order.
fn plan(server: &ObjectServer, ranks: u32) -> Vec<String> {
    let words = ["dsync", "-D", "--size-only", "--dry-run", "s3://data/s/", "s3://data/t/"];
    let ended = go(server, ranks, &words).expect(0);
    let lines = ended.stdout.lines().filter(|line| line.contains("s3://data/t/"));
    let mut lines: Vec<String> = lines.map(str::to_owned).collect();
    lines.sort();
    lines
}

fn synchronised_alike(random: &mut Rng) -> Vec<String> {
    let server = served(Behaviour::default());
    let mut source = awkward(random);
    without_conflicts(&mut source);
    source.insert("kept".into(), "1");
    put(&server, "s", &source);
    put(&server, "t", &differing(random, &source));
    let undivided = plan(&server, 1);
    server.behave(tiny_pages(random));
    let divided = plan(&server, random.u32(1..3));
    let ended = sync(&server, random.u32(1..3));
    let mut wrong = Vec::new();
    if divided != undivided {
        wrong.push(format!("{divided:?}, not {undivided:?}"));
    }
    if ended.code != Some(0) || files(seen(&server, "t")) != files(source.into_keys()) {
        wrong.push(format!("{:?} {:?} {:?}", ended.code, ended.stderr, seen(&server, "t")));
    }
    wrong
}

#[test]
fn a_divided_synchronisation_does_the_same_as_an_undivided_one() {
    seeds::each(10, synchronised_alike);
}

/// Each of the lists in turn is refused: of the source, of the target, and those that try whether
/// ranges can be divided.
#[test]
fn nothing_that_the_source_has_is_deleted_where_a_range_cannot_be_listed() {
    let source = flat(120);
    let mut target = source.clone();
    target.retain(|key, _| !key.ends_with("7.dat"));
    target.extend((0..120).map(|number| (format!("part-{number:06}-old"), "1")));
    let both: Vec<&String> = source.keys().filter(|key| target.contains_key(*key)).collect();
    let (mut failures, mut kept) = (0, 0);
    for nth in (1..200).step_by(13) {
        let server = served(Behaviour::default());
        put(&server, "s", &source);
        put(&server, "t", &target);
        let paged = Behaviour { page_keys: 4, latency_ms: 1, ..Behaviour::default() };
        server.behave(Behaviour { deny_list: nth, ..paged });
        server.reset_counts();
        let ended = compare(&server, 2);
        assert!(matches!(ended.code, Some(1 | 3 | 23)), "{nth}: {ended:?}");
        if ended.code == Some(1) {
            let compared = &totals(&ended)["compared"];
            assert_eq!(compared["only_in_source"], 12, "{nth}: {compared}");
            assert_eq!(compared["only_in_target"], 120, "{nth}: {compared}");
        }
        server.reset_counts();
        let ended = sync(&server, 2);
        let left = seen(&server, "t");
        assert!(both.iter().all(|key| left.contains(*key)), "{nth}: {left:?}");
        match ended.code {
            Some(0) => assert_eq!(left, seen(&server, "s"), "{nth}"),
            Some(3 | 23) => failures += 1,
            _ => panic!("{nth}: {ended:?}"),
        }
        let is_old = |key: &String| key.ends_with("-old");
        kept += u32::from(left.iter().filter(|key| is_old(key)).count() == 120);
    }
    assert!(failures >= 5 && kept >= 5, "{failures} failures, {kept} targets as they were");
}

/// A name that is both an object and a directory is found in whichever ranges they lie.
#[test]
fn a_name_of_two_entries_is_a_failure_wherever_a_range_ends() {
    for side in ["s", "t"] {
        let server = served(Behaviour::default());
        let mut keys: Keys = (0..150).map(|number| (format!("a-{number:04}"), "1")).collect();
        keys.insert("a.c".into(), "1");
        keys.insert("a0".into(), "1");
        put(&server, "s", &keys);
        put(&server, "t", &keys);
        server.put(BUCKET, &format!("{side}/a"), "1");
        server.put(BUCKET, &format!("{side}/a/b"), "1");
        server.put(BUCKET, "t/extra", "1");
        server.behave(Behaviour { page_keys: 4, latency_ms: 2, ..Behaviour::default() });
        for ranks in [1, 2] {
            let ended = compare(&server, ranks).expect(23);
            let codes = ended.events("failure");
            assert_eq!(codes.len(), 1, "{codes:?}");
            assert_eq!(codes[0]["error_code"], "key-also-directory");
            sync(&server, ranks).expect(23);
            assert!(seen(&server, "t").contains("extra"));
        }
    }
}

#[test]
fn a_link_with_a_key_of_its_own_replaces_an_object_within_a_service() {
    let server = served(Behaviour::default());
    let keys = |keys: [&'static str; 2]| keys.map(|key| (key.to_owned(), "1")).into();
    put(&server, "s", &keys(["l.rclonelink", "m"]));
    put(&server, "t", &keys(["l", "m.rclonelink"]));
    sync(&server, 1);
    assert_eq!(seen(&server, "t"), seen(&server, "s"));
    sync(&server, 1).expect(0);
}
