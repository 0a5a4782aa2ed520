//! Tests with servers and clients of others: rclone and aws find what the tools put into SeaweedFS,
//! and the reverse.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use suite_tests::buckets::text;
use suite_tests::cloud::{aws, rclone, within};
use suite_tests::job::{Ended, run, tool};
use suite_tests::sandbox::Sandbox;
use suite_tests::seaweed::Seaweed;
use suite_tests::trees;

fn go(server: &Seaweed, count: u32, words: &[&str]) -> Ended {
    run(within(tool(count, words[0]), &server.environment()).args(&words[1..]))
}

/// Creates files of some sizes, one of them with a modification time that has all digits.
fn tree(root: &Path, large_bytes: usize) {
    trees::small_files(root, 3, 5);
    trees::write(&root.join("empty"), b"");
    trees::write(&root.join("a b/ä+%41.txt"), b"odd");
    let mut large = fs::File::create(root.join("large")).unwrap();
    let block = trees::noise(1 << 20);
    for number in 0..large_bytes >> 20 {
        std::io::Write::write_all(&mut large, &number.to_le_bytes()).unwrap();
        std::io::Write::write_all(&mut large, &block[8..]).unwrap();
    }
    let moment = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789);
    let dated = fs::File::options().write(true).open(root.join("d0001/f00002")).unwrap();
    dated.set_modified(moment).unwrap();
}

/// Lists paths, sizes and modification times of all files as `rclone lsl` does.
fn files(root: &Path) -> Vec<String> {
    let format = "%s %TY-%Tm-%Td %TH:%TM:%TS %P\\n";
    let mut find = Command::new("find");
    find.env("TZ", "UTC").arg(root).args(["-type", "f", "-printf", format]);
    lines(&run(&mut find).expect(0).stdout)
}

/// Sorts lines, with single spaces and no more than nine digits of a second.
fn lines(text: &str) -> Vec<String> {
    let short = |word: &str| match word.split_once('.') {
        Some((time, digits)) if time.contains(':') => format!("{time}.{digits:.9}"),
        _ => word.to_owned(),
    };
    let mut lines: Vec<String> = text
        .lines()
        .map(|line| line.split_whitespace().map(short).collect::<Vec<_>>().join(" "))
        .collect();
    lines.sort();
    lines
}

#[test]
fn what_one_of_us_puts_there_the_others_find() {
    let work = Sandbox::new();
    let source = work.at("source");
    tree(&source, 300 << 20);
    let server = Seaweed::start("data");
    go(&server, 4, &["dcp", "-p", text(&source), "s3://data/up"]).expect(0);
    ours_is_all_there(&server, &source);
    rclone_gets_what_we_put(&server, &source, &work.at("down"));
    let smaller = work.at("smaller");
    tree(&smaller, 20 << 20);
    theirs_is_equal_to_us(&server, &smaller);
    the_service_copies_within_itself(&server, &smaller);
}

fn ours_is_all_there(server: &Seaweed, source: &Path) {
    let environment = server.environment();
    let mut check = rclone(&environment);
    run(check.args(["check", "--download"]).arg(source).arg(":s3:data/up")).expect(0);
    let mut sync = aws(&environment);
    let ended =
        run(sync.args(["s3", "sync", "--dryrun"]).arg(source).arg("s3://data/up")).expect(0);
    assert_eq!(ended.stdout, "");
    let listed = run(rclone(&environment).env("TZ", "UTC").args(["lsl", ":s3:data/up"])).expect(0);
    let listed = lines(&listed.stdout);
    assert_eq!(listed, files(source));
    assert!(listed.contains(&"3 2023-11-14 22:13:20.123456789 d0001/f00002".to_owned()));
    go(server, 4, &["dcmp", text(source), "s3://data/up"]).expect(0);
}

fn rclone_gets_what_we_put(server: &Seaweed, source: &Path, down: &Path) {
    run(rclone(&server.environment()).args(["copy", ":s3:data/up"]).arg(down)).expect(0);
    assert_eq!(files(source), files(down));
    let diff = run(Command::new("diff").arg("-r").args([source, down])).expect(0);
    assert_eq!(diff.stdout, "");
    // With its metadata, it keeps modes, too, that it reads from its own keys.
    let back = down.with_file_name("back");
    go(server, 4, &["dcp", "-p", "s3://data/up", text(&back)]).expect(0);
    assert_eq!(files(source), files(&back));
    run(Command::new("diff").arg("-r").args([source, &*back])).expect(0);
}

fn theirs_is_equal_to_us(server: &Seaweed, source: &Path) {
    let environment = server.environment();
    let nothing_to_do = |goal: &str| {
        let ended = go(server, 2, &["dsync", "-D", text(source), goal]).expect(0);
        assert!(ended.stdout.contains("nothing to do"), "{}\n{}", ended.stdout, ended.stderr);
        go(server, 2, &["dcmp", text(source), goal]).expect(0);
    };
    run(rclone(&environment).arg("copy").arg(source).arg(":s3:data/theirs")).expect(0);
    nothing_to_do("s3://data/theirs");
    symlink("d0000/f00000", source.join("link")).unwrap();
    let options = ["copy", "--metadata", "--links"];
    run(rclone(&environment).args(options).arg(source).arg(":s3:data/theirs-all")).expect(0);
    nothing_to_do("s3://data/theirs-all");
}

fn the_service_copies_within_itself(server: &Seaweed, source: &Path) {
    go(server, 4, &["dcp", "-p", "-k", "6MiB", "s3://data/theirs-all", "s3://data/copy"]).expect(0);
    go(server, 4, &["dcmp", text(source), "s3://data/copy"]).expect(0);
}

/// Copies up and down with parts moved by each of four ranks. Needs 15 GiB of disk and some
/// minutes: `cargo test --profile checked --test tools interop:: -- --ignored`.
#[test]
#[ignore = "takes minutes and 15 GiB of disk"]
fn five_gib_go_and_come_by_four_ranks() {
    let work = Sandbox::on_disk();
    let source = work.at("source");
    tree(&source, 5 << 30);
    let server = Seaweed::start("data");
    let all_moved = |ended: &Ended| {
        let moved = |rank: &serde_json::Value| rank["totals"]["chunks"].as_u64().unwrap();
        let ranks: Vec<u64> =
            ended.summary()["ranks"].as_array().unwrap().iter().map(moved).collect();
        println!("chunks by rank {ranks:?}");
        assert!(ranks.len() == 4 && !ranks.contains(&0), "{ranks:?}");
    };
    all_moved(&go(&server, 4, &["dcp", "-p", "--json", text(&source), "s3://data/up"]).expect(0));
    ours_is_all_there(&server, &source);
    let back = work.at("back");
    all_moved(&go(&server, 4, &["dcp", "-p", "--json", "s3://data/up", text(&back)]).expect(0));
    assert_eq!(files(&source), files(&back));
    run(Command::new("cmp").args([source.join("large"), back.join("large")])).expect(0);
}

/// Checks keys that SeaweedFS stores as the paths of files: a backslash is a slash, and two slashes
/// are one. Nothing is replaced or deleted for that without a word.
#[test]
fn keys_that_a_server_takes_for_others_are_refused() {
    let server = Seaweed::start("data");
    let work = Sandbox::new();
    let source = work.source();
    trees::write(&source.join(r"d\f"), b"one");
    trees::write(&source.join("d/f"), b"two");
    let from = format!("{}/", text(&source));
    for words in [
        &["dcp", "-p", "--remove-source", &from, "s3://data/t/"][..],
        &["dsync", "-D", &from, "s3://data/t/"],
    ] {
        let ended = go(&server, 2, words).expect(23);
        assert!(ended.stderr.contains(r#"the service takes "\" in a key for "/""#), "{ended:?}");
        assert!(source.join(r"d\f").exists(), "{ended:?}");
        let back = work.at("back");
        go(&server, 1, &["dcp", "s3://data/t/d/f", text(&back)]).expect(0);
        assert_eq!(fs::read(&back).unwrap(), b"two");
        trees::write(&source.join("d/f"), b"two");
    }
    let left = run(server.aws().args(["s3", "ls", "--recursive", "s3://data"])).expect(0);
    assert_eq!(left.stdout.lines().count(), 1, "{left:?}");
    let walked = go(&server, 1, &["dwalk", "--json", "s3://data/t"]).expect(0);
    assert_eq!(walked.summary()["totals"]["found"]["directories"], 2, "no probe: {walked:?}");

    // Nor is the other object found by such a key.
    let other = r"s3://data/t/d\f";
    for words in [&["dcp", other, text(&work.at("other"))][..], &["drm", other], &["dwalk", other]]
    {
        let ended = go(&server, 1, words).expect(3);
        assert!(ended.stderr.contains("No such file or directory"), "{ended:?}");
    }
    go(&server, 1, &["dcp", "s3://data/t/d/f", text(&work.at("back"))]).expect(0);

    // Parts need not begin with the first one.
    let part = work.at("part");
    trees::write(&part, b"content");
    let key = ["--bucket", "data", "--key", "t/parts"];
    let aws = |operation: &str, words: &[&str]| {
        let mut command = server.aws();
        command.args(["s3api", operation]).args(key).args(words).args(["--output", "text"]);
        run(&mut command).expect(0).stdout.trim().to_owned()
    };
    let id = aws("create-multipart-upload", &["--query", "UploadId"]);
    let upload = ["--upload-id", &id];
    let body = ["--part-number", "2", "--body", text(&part), "--query", "ETag"];
    let etag = aws("upload-part", &[&upload[..], &body].concat());
    let parts = format!(r#"{{"Parts":[{{"PartNumber":2,"ETag":{etag}}}]}}"#);
    aws("complete-multipart-upload", &[&upload[..], &["--multipart-upload", &parts]].concat());
    go(&server, 1, &["dcp", "s3://data/t/parts", text(&work.at("parts"))]).expect(0);
    assert_eq!(fs::read(work.at("parts")).unwrap(), b"content");
}

/// Checks that attributes of directories are told to be lost where SeaweedFS keeps none of their
/// markers, and that such markers are not written again.
#[test]
fn a_server_that_keeps_no_attributes_of_markers_is_told() {
    let server = Seaweed::start("data");
    let work = Sandbox::new();
    for number in 0..9 {
        trees::write(&work.source().join(format!("d{number}/f")), b"content");
    }
    let source = work.source();
    let sync = ["dsync", "-aD", "--json", text(&source), "s3://data/t"];
    let totals = go(&server, 1, &sync).expect(0).summary()["totals"].clone();
    assert!(totals["attributes_not_preserved"].as_u64().unwrap() >= 9, "{totals}");
    assert_eq!(totals["object_properties_not_preserved"], 0, "{totals}");
    // Nothing that can be compared differs.
    let totals = go(&server, 1, &sync).expect(0).summary()["totals"].clone();
    assert_eq!(totals["synced"]["attributes_set"], 0, "{totals}");
}
