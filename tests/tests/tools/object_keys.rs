//! Tests of keys that cannot be paths, and of the number of requests: what is listed is not
//! requested again.

use std::path::Path;
use std::process::Command;

use suite_tests::job::{Ended, run, tool};
use suite_tests::object_server::{Behaviour, ObjectServer, Operation, Order, Quirk};
use suite_tests::sandbox::Sandbox;
use suite_tests::seaweed::Seaweed;

const UNFIT: [(&str, &str); 8] = [
    ("data//empty", "key-empty-component"),
    ("data/../up", "key-dot-component"),
    ("data/in/..", "key-dot-component"),
    ("data/in/./dot", "key-dot-component"),
    ("data/both", "key-also-directory"),
    ("data/link.rclonelink", "key-also-object"),
    ("data/‛C3‛A9", "key-escape"),
    ("data/in/x//", "key-empty-component"),
];

const FIT: [&str; 5] =
    ["data/a", "data/both-1", "data/both/inner", "data/in/plus+ %41 日本", "data/link"];

/// A server of either kind, with the environment to use it.
type Environment = Vec<(&'static str, String)>;

fn served(behaviour: Behaviour) -> ObjectServer {
    let server = ObjectServer::start(behaviour);
    server.make_bucket("bucket");
    server
}

/// Returns a tool of the suite that uses the server.
fn ours(server: &ObjectServer, ranks: u32, name: &str, arguments: &[&str]) -> Ended {
    with(&server.environment(), ranks, name, arguments)
}

fn with(environment: &Environment, ranks: u32, name: &str, arguments: &[&str]) -> Ended {
    let mut command: Command = tool(ranks, name);
    run(command.envs(environment.iter().cloned()).arg("--json").args(arguments))
}

/// Returns the codes of the reported failures, in order.
fn codes(ended: &Ended) -> Vec<String> {
    let events = ended.events("failure");
    let mut codes: Vec<String> =
        events.iter().map(|event| event["error_code"].as_str().unwrap().to_owned()).collect();
    codes.sort_unstable();
    codes
}

fn unfit_codes(long: bool) -> Vec<String> {
    let mut codes: Vec<String> = UNFIT.iter().map(|(_, code)| (*code).to_owned()).collect();
    codes.extend(long.then(|| "key-component-too-long".to_owned()));
    codes.sort_unstable();
    codes
}

fn with_hostile_keys() -> ObjectServer {
    let server = served(Behaviour::default());
    let long = format!("data/{}", "l".repeat(256));
    let invalid_key = UNFIT.iter().map(|(key, _)| *key).chain([&*long]);
    for key in invalid_key.chain(FIT) {
        server.put("bucket", key, key.as_bytes().to_vec());
    }
    server
}

/// Returns the files below a directory, as paths below it, in order.
fn files(dir: &Path) -> Vec<String> {
    let found =
        run(Command::new("find").arg(dir).args(["-type", "f", "-printf", "%P\n"])).expect(0);
    let mut files: Vec<String> = found.stdout.lines().map(str::to_owned).collect();
    files.sort_unstable();
    files
}

#[test]
fn each_unfit_key_is_one_failure_and_the_rest_is_dealt_with() {
    let server = with_hostile_keys();
    for ranks in [1, 3] {
        let walked = ours(&server, ranks, "dwalk", &["s3://bucket/data"]).expect(23);
        assert_eq!(codes(&walked), unfit_codes(true));
        // Those that failed are among those found, as files or as directories.
        let found = walked.summary()["totals"]["found"].clone();
        let all = found["files"].as_u64().unwrap() + found["directories"].as_u64().unwrap();
        assert!(all >= (FIT.len() + UNFIT.len() + 1) as u64, "{found}");
    }
    let dir = Sandbox::new();
    let target = dir.path().join("target");
    let copied = ours(&server, 2, "dcp", &["s3://bucket/data", target.to_str().unwrap()]);
    assert_eq!(codes(&copied.expect(23)), unfit_codes(true));
    let mut expected: Vec<&str> = FIT.iter().map(|key| &key["data/".len()..]).collect();
    expected.sort_unstable();
    assert_eq!(files(&target), expected);
    assert_eq!(files(dir.path()).len(), FIT.len(), "nothing is outside the target");
}

#[test]
fn where_keys_are_unfit_nothing_is_deleted() {
    let server = with_hostile_keys();
    let dir = Sandbox::new();
    let target = dir.path().to_str().unwrap();
    std::fs::write(dir.path().join("extra"), "x").unwrap();
    let synced = ours(&server, 1, "dsync", &["-D", "s3://bucket/data", target]).expect(23);
    assert_eq!(codes(&synced), unfit_codes(true));
    assert!(dir.path().join("extra").exists());
    // Who excludes them knows of them.
    let excluded =
        ["--exclude", "l*", "--exclude", "‛*", "--exclude", "both", "--exclude", "*/", "-D"];
    let arguments: Vec<&str> = excluded.into_iter().chain(["s3://bucket/data", target]).collect();
    let synced = ours(&server, 1, "dsync", &arguments).expect(0);
    assert_eq!(codes(&synced), [""; 0]);
    let mut left: Vec<&str> = FIT.iter().map(|key| &key["data/".len()..]).collect();
    left.sort_unstable();
    assert_eq!(files(dir.path()), left);
}

#[test]
fn unfit_keys_of_a_target_are_told_of_and_stay() {
    let server = with_hostile_keys();
    let dir = Sandbox::new();
    std::fs::write(dir.path().join("a"), "data/a").unwrap();
    let source = dir.path().to_str().unwrap();
    let synced = ours(&server, 1, "dsync", &["-D", source, "s3://bucket/data"]);
    assert_eq!(synced.code, Some(23));
    let all = server.keys_of("bucket");
    assert!(UNFIT.iter().all(|(key, _)| all.iter().any(|kept| kept == key)), "{all:?}");
}

/// Stores 2,500 objects under one prefix and 30 under each of 10 others.
fn with_many_keys(server: &ObjectServer) -> Vec<String> {
    let flat = (0..2_500).map(|number| format!("many/flat/{number:05}"));
    let deep = (0..300).map(|number| format!("many/deep/{:02}/{number}", number % 10));
    let keys: Vec<String> = flat.chain(deep).collect();
    for key in &keys {
        server.put("bucket", key, "content");
    }
    keys
}

#[test]
fn a_walk_asks_for_objects_only_where_it_is_told_to() {
    let server = served(Behaviour::default());
    let keys = with_many_keys(&server);
    server.reset_counts();
    let walked = ours(&server, 1, "dwalk", &["s3://bucket/many"]).expect(0);
    let tally = &walked.summary()["totals"];
    assert_eq!(tally["found"]["files"], keys.len() as u64);
    assert_eq!(tally["found_bytes"], 7 * keys.len() as u64);
    let counts = server.reset_counts();
    assert_eq!(counts.of(Operation::HeadObject), 0);
    // Whether it is there, the root, in vain all keys below it, 3 pages of the flat directory and
    // one or two of the other, at most one for each of those in it; and looks ahead.
    assert!((6..=20).contains(&counts.total()), "{counts}");
    ours(&server, 1, "dwalk", &["--s3-stored-attributes", "s3://bucket/many/deep"]).expect(0);
    assert_eq!(server.reset_counts().of(Operation::HeadObject), 300);
}

#[test]
fn a_download_asks_once_for_each_object() {
    let server = served(Behaviour::default());
    let keys = with_many_keys(&server);
    server.reset_counts();
    let dir = Sandbox::new();
    let target = dir.path().join("target");
    let target = target.to_str().unwrap();
    ours(&server, 1, "dcp", &["s3://bucket/many", target]).expect(0);
    let counts = server.reset_counts();
    assert_eq!(counts.of(Operation::HeadObject), 0, "{counts}");
    assert_eq!(counts.of(Operation::GetObject), keys.len() as u64);
}

#[test]
fn the_chunks_of_a_large_object_do_not_ask_for_it_again() {
    let server = served(Behaviour::default());
    server.put("bucket", "large", vec![7_u8; 40 << 20]);
    let dir = Sandbox::new();
    let target = dir.path().join("large");
    let arguments = ["--chunksize", "1M", "s3://bucket/large", target.to_str().unwrap()];
    ours(&server, 2, "dcp", &arguments).expect(0);
    let counts = server.reset_counts();
    assert!(counts.of(Operation::GetObject) >= 5, "{counts}");
    // To see what it is, to open it, and once on each rank.
    assert!(counts.of(Operation::HeadObject) <= 5, "{counts}");
}

/// Creates a directory with that many files.
fn local_files(dir: &Path, count: usize) {
    for number in 0..count {
        std::fs::write(dir.join(format!("{number:05}")), "content").unwrap();
    }
}

#[test]
fn a_synchronisation_asks_only_for_objects_that_may_be_equal() {
    let server = served(Behaviour::default());
    let dir = Sandbox::new();
    local_files(dir.path(), 1_500);
    let source = dir.path().to_str().unwrap();
    let sync = |options: &[&str]| {
        server.reset_counts();
        let places = [source, "s3://bucket/target"];
        let arguments: Vec<&str> = options.iter().copied().chain(places).collect();
        let synced = ours(&server, 1, "dsync", &arguments).expect(0);
        let copied = synced.summary()["totals"]["copied"]["files"].as_u64().unwrap();
        (copied, server.reset_counts())
    };
    let (copied, counts) = sync(&[]);
    assert_eq!((copied, counts.of(Operation::PutObject)), (1_500, 1_500));
    assert!(counts.of(Operation::HeadObject) < 20, "{counts}");
    for options in
        [&["--size-only"][..], &["--ignore-existing"], &["--update", "--use-server-modtime"]]
    {
        let (copied, counts) = sync(options);
        assert_eq!(copied, 0, "{options:?}");
        assert!(counts.of(Operation::HeadObject) < 20, "{options:?} {counts}");
    }
    let (copied, counts) = sync(&[]);
    assert_eq!((copied, counts.of(Operation::HeadObject) / 100), (0, 15), "{counts}");
    (0..700).for_each(|number| {
        std::fs::write(dir.path().join(format!("{number:05}")), "more content").unwrap();
    });
    let (copied, counts) = sync(&[]);
    assert_eq!((copied, counts.of(Operation::HeadObject) / 100), (700, 8), "{counts}");
}

/// Returns all keys that a walk lists, in order.
fn walked_keys(environment: &Environment, ranks: u32, arguments: &[&str]) -> Vec<String> {
    let dir = Sandbox::new();
    let list = dir.path().join("list.ndjson");
    let output = ["-o", list.to_str().unwrap(), "s3://bucket/flat"];
    let arguments: Vec<&str> = arguments.iter().copied().chain(output).collect();
    with(environment, ranks, "dwalk", &arguments).expect(0);
    let lines = std::fs::read_to_string(&list).unwrap();
    let entries =
        lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let files = entries.filter(|entry| entry["kind"] == "file");
    let path = |entry: serde_json::Value| entry["path"]["text"].as_str().unwrap().to_owned();
    let mut keys: Vec<String> = files.map(path).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn a_flat_prefix_is_listed_by_all_ranks_whatever_the_order_of_the_service() {
    let skips = &[Quirk::StartAfterSkipsSubtree];
    for (order, quirks) in
        [(Order::Bytes, &[][..]), (Order::Directories, skips), (Order::Unordered, &[])]
    {
        let behaviour = Behaviour { order, latency_ms: 5, ..Behaviour::with_quirks(quirks) };
        let server = served(behaviour);
        let mut expected = Vec::new();
        for number in 0..12_000 {
            let slash = if number % 100 == 0 { "/in" } else { "" };
            let key = format!("flat/d{number}{slash}");
            server.put("bucket", &key, "");
            expected.push(format!("s3://bucket/{key}"));
        }
        expected.sort_unstable();
        let environment = server.environment();
        let alone = walked_keys(&environment, 1, &["--s3-concurrency", "1"]);
        assert!(alone == expected, "{order:?}");
        let keys = walked_keys(&environment, 4, &["--s3-concurrency", "2"]);
        assert!(keys == expected, "{order:?}: {} of {}", keys.len(), expected.len());
    }
}

/// Checks that names of the target are found in lists of no order, whose pages are so short that
/// they may be in order by chance.
#[test]
fn names_are_found_in_short_pages_of_no_order() {
    let dir = Sandbox::new();
    for name in ["a", "a.b", "ab", "abc", "b", "c.d", "c/e", "d"] {
        suite_tests::trees::write(&dir.source().join(name), name.as_bytes());
    }
    let source = dir.source().to_str().unwrap().to_owned();
    for seed in 0..6 {
        let paged = Behaviour { order: Order::Unordered, page_keys: 2, ..Behaviour::default() };
        let server = served(Behaviour { seed, ..paged });
        ours(&server, 1, "dsync", &["-q", &source, "s3://bucket/u"]).expect(0);
        ours(&server, 1, "dcmp", &["-q", &source, "s3://bucket/u"]).expect(0);
        let again = ours(&server, 1, "dsync", &[&source, "s3://bucket/u"]).expect(0);
        assert_eq!(again.summary()["totals"]["synced"]["unchanged"], 8, "{seed}: {again:?}");
    }
}

/// Creates directories of some files in two levels, a large one among them, and names that sort
/// around the slash.
fn small_directories() -> Vec<String> {
    let mut keys: Vec<String> =
        (0..2_100).map(|number| format!("d{}/{:03}/f{number}", number % 7, number / 7)).collect();
    keys.extend((0..1_500).map(|number| format!("d3/100/large/{number}")));
    keys.extend((0..300).map(|number| format!("d4-{number}/.in")));
    keys.extend((0..1_800).map(|number| format!("tiny/{:04}/{number}", number / 3)));
    keys
}

#[test]
fn small_directories_are_listed_exactly_whatever_the_order_of_the_service() {
    let skips = &[Quirk::StartAfterSkipsSubtree];
    for (order, quirks) in
        [(Order::Bytes, &[][..]), (Order::Directories, skips), (Order::Unordered, &[])]
    {
        let server = served(Behaviour { order, ..Behaviour::with_quirks(quirks) });
        let keys = small_directories();
        for key in &keys {
            server.put("bucket", &format!("flat/{key}"), "");
        }
        let mut expected: Vec<_> =
            keys.iter().map(|key| format!("s3://bucket/flat/{key}")).collect();
        expected.sort_unstable();
        for (ranks, threads) in [(1, "1"), (1, "16"), (4, "4")] {
            let walked = walked_keys(&server.environment(), ranks, &["--s3-concurrency", threads]);
            assert!(
                walked == expected,
                "{order:?} {ranks}: {} of {}",
                walked.len(),
                expected.len()
            );
        }
    }
}

#[test]
fn tiny_directories_are_not_listed_one_request_each() {
    let server = served(Behaviour::default());
    for number in 0..30_000 {
        server.put("bucket", &format!("tiny/{:05}/{number}", number / 3), "");
    }
    for (ranks, threads) in [(1, "1"), (1, "64"), (4, "1"), (4, "64")] {
        server.reset_counts();
        let walked =
            ours(&server, ranks, "dwalk", &["--s3-concurrency", threads, "s3://bucket/tiny"]);
        let found = walked.expect(0).summary()["totals"]["found"].clone();
        assert_eq!((&found["files"], &found["directories"]), (&30_000.into(), &10_001.into()));
        // 30 pages of keys, 10 of names, and cuts; a directory at the edge of a range may be listed
        // alone.
        let counts = server.reset_counts();
        assert!(counts.total() <= 100, "{ranks} ranks, {threads} threads\n{counts}");
    }
}

#[test]
fn what_is_known_of_directories_serves_copies_and_deletions_too() {
    let server = served(Behaviour::default());
    let keys: Vec<String> = (0..900).map(|number| format!("{:03}/{number}", number / 3)).collect();
    for key in &keys {
        server.put("bucket", &format!("from/{key}"), key.clone());
        server.put("bucket", &format!("to/more/{key}"), "");
    }
    server.put("bucket", "to/more/only", "");
    let dir = Sandbox::new();
    let local = dir.path().join("down");
    let down = local.to_str().unwrap();
    server.reset_counts();
    ours(&server, 2, "dcp", &["s3://bucket/from", down]).expect(0);
    let counts = server.reset_counts();
    assert!(counts.of(Operation::ListObjectsV2) <= 20, "{counts}");
    let copied: Vec<String> =
        keys.iter().map(|key| std::fs::read_to_string(local.join(key)).unwrap()).collect();
    assert_eq!(copied, keys);
    ours(&server, 2, "dsync", &["-D", down, "s3://bucket/to"]).expect(0);
    let mut expected: Vec<String> = keys.iter().map(|key| format!("to/{key}")).collect();
    expected.sort_unstable();
    let mut kept = server.keys_of("bucket");
    kept.retain(|key| key.starts_with("to/"));
    assert_eq!(kept, expected);
}

#[test]
fn small_directories_of_a_real_server_are_listed_exactly() {
    let server = Seaweed::start("bucket");
    let dir = Sandbox::new();
    let mut expected = Vec::new();
    for key in small_directories() {
        let path = dir.path().join(&key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
        expected.push(format!("s3://bucket/flat/{key}"));
    }
    expected.sort_unstable();
    let environment = server.environment();
    with(&environment, 2, "dsync", &[dir.path().to_str().unwrap(), "s3://bucket/flat"]).expect(0);
    for (ranks, threads) in [(1, "1"), (1, "16"), (4, "4")] {
        let keys = walked_keys(&environment, ranks, &["--s3-concurrency", threads]);
        assert!(keys == expected, "{ranks}: {} of {}", keys.len(), expected.len());
    }
}

#[test]
fn a_flat_prefix_of_a_real_server_is_listed_exactly() {
    let server = Seaweed::start("bucket");
    let environment = server.environment();
    let dir = Sandbox::new();
    let mut expected = Vec::new();
    for number in 0..6_000 {
        let mut name = format!("d{number}");
        if number % 40 == 0 {
            std::fs::create_dir(dir.path().join(&name)).unwrap();
            name.push_str("/in");
        }
        std::fs::write(dir.path().join(&name), "").unwrap();
        expected.push(format!("s3://bucket/flat/{name}"));
    }
    expected.sort_unstable();
    with(&environment, 2, "dsync", &[dir.path().to_str().unwrap(), "s3://bucket/flat"]).expect(0);
    for ranks in [1, 4] {
        let keys = walked_keys(&environment, ranks, &["--s3-concurrency", "4"]);
        assert!(keys == expected, "{ranks}: {} of {}", keys.len(), expected.len());
    }
}

#[test]
fn four_ranks_share_a_listing_at_little_more_than_its_cost() {
    let server = served(Behaviour { latency_ms: 20, ..Behaviour::default() });
    for number in 0..100_000 {
        server.put("bucket", &format!("flat/{number:08}"), "");
    }
    server.reset_counts();
    let walked =
        ours(&server, 4, "dwalk", &["--s3-concurrency", "1", "s3://bucket/flat"]).expect(0);
    let counts = server.reset_counts();
    assert_eq!(walked.summary()["totals"]["found"]["files"], 100_000);
    assert!(counts.of(Operation::ListObjectsV2) < 120, "{counts}");
    let ranks = walked.summary()["ranks"].as_array().unwrap().clone();
    let shares: Vec<u64> =
        ranks.iter().map(|rank| rank["totals"]["listed"].as_u64().unwrap()).collect();
    assert!(shares.iter().all(|share| *share >= 1_000), "{shares:?}");
}

#[test]
fn a_key_that_begins_with_a_slash_is_that_key() {
    let server = served(Behaviour::default());
    for (key, content) in [("/x", "right"), ("x", "wrong"), ("/d/y", "right"), ("d/y", "wrong")] {
        server.put("bucket", key, content.as_bytes().to_vec());
    }
    let stored = |key: &str| {
        let object = server.get("bucket", key)?;
        Some(String::from_utf8(object.content.to_bytes().to_vec()).unwrap())
    };
    let work = Sandbox::new();
    let path = |name: &str| work.at(name).to_str().unwrap().to_owned();
    ours(&server, 1, "dcp", &["s3://bucket//x", &path("x")]).expect(0);
    assert_eq!(std::fs::read_to_string(path("x")).unwrap(), "right");
    ours(&server, 1, "dcp", &["s3://bucket//d/", &path("d")]).expect(0);
    assert_eq!(std::fs::read_to_string(path("d/y")).unwrap(), "right");
    std::fs::write(path("new"), "new").unwrap();
    ours(&server, 1, "dcp", &[&path("new"), "s3://bucket//x"]).expect(0);
    assert_eq!([stored("/x"), stored("x")], ["new", "wrong"].map(|text| Some(text.to_owned())));
    std::fs::create_dir(path("empty")).unwrap();
    ours(&server, 2, "dsync", &["-D", &path("empty"), "s3://bucket//d"]).expect(0);
    assert_eq!([stored("/d/y"), stored("d/y")], [None, Some("wrong".to_owned())]);
}

/// Checks that a key with a slash at its end is a directory's marker, whose content cannot be a
/// file.
#[test]
fn the_content_of_a_marker_is_a_failure() {
    let server = served(Behaviour::default());
    for (key, content) in
        [("top/d/", "content"), ("top/d/x", "x"), ("top/alone/", "content"), ("top/e/", "")]
    {
        server.put("bucket", key, content.as_bytes().to_vec());
    }
    let work = Sandbox::new();
    let target = work.at("target");
    let target = target.to_str().unwrap();
    let expected = ["key-marker-content", "key-marker-content"];
    for (ranks, words) in [
        (1, &["dwalk", "s3://bucket/top"][..]),
        (1, &["dcp", "s3://bucket/top", target]),
        (2, &["dcp", "s3://bucket/top", "s3://bucket/other"]),
        (1, &["dsync", "-D", "s3://bucket/top", target]),
        (1, &["dcmp", "s3://bucket/top", target]),
        (2, &["dcmp", "s3://bucket/top", "s3://bucket/other"]),
    ] {
        let ended = ours(&server, ranks, words[0], &words[1..]).expect(23);
        assert_eq!(codes(&ended), expected, "{words:?}");
    }
}

#[test]
fn an_object_that_may_not_be_listed_is_read_and_a_bucket_that_may_not_be_is_written() {
    let server = served(Behaviour::with_quirks(&[Quirk::DeniesLists]));
    server.put("bucket", "d/x", b"hello".to_vec());
    let work = Sandbox::new();
    let path = |name: &str| work.at(name).to_str().unwrap().to_owned();
    for ranks in [1, 2] {
        let back = path(&format!("back{ranks}"));
        ours(&server, ranks, "dcp", &["s3://bucket/d/x", &back]).expect(0);
        assert_eq!(std::fs::read(back).unwrap(), b"hello");
    }
    ours(&server, 1, "dcp", &["s3://bucket/d/none", &path("none")]).expect(3);
    std::fs::create_dir(path("source")).unwrap();
    local_files(&work.at("source"), 3);
    for quirk in [Quirk::DeniesLists, Quirk::DeniesReads] {
        server.behave(Behaviour::with_quirks(&[quirk]));
        let into = format!("s3://bucket/{quirk:?}");
        for _ in ["new", "again"] {
            let target = format!("{into}/file");
            ours(&server, 1, "dcp", &[&path("back1"), &target]).expect(0);
        }
        ours(&server, 2, "dcp", &[&path("source/"), &format!("{into}/tree/")]).expect(0);
        let keys = server.keys_of("bucket");
        let written = keys.iter().filter(|key| key.starts_with(&format!("{quirk:?}/")));
        assert_eq!(written.count(), 4);
        // Those who must know what is there say that they may not.
        let dsync = ours(&server, 1, "dsync", &["-D", &path("source"), &format!("{into}/tree")]);
        assert!(matches!(dsync.code, Some(3 | 23)), "{dsync:?}");
    }
}
