//! Tests of the tools with locations in S3, under real `mpiexec`, against the embedded server: what
//! arrives, and what is requested from the service.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use suite_tests::buckets::{
    BUCKET, diff, entries, go, remotes, served, small_tree, stranger, text,
};
use suite_tests::cloud::within;
use suite_tests::job::{Ended, run, tool};
use suite_tests::object_server::{Behaviour, ObjectServer, Operation, Quirk};
use suite_tests::sandbox::Sandbox;
use suite_tests::trees;

/// Returns the number of ranks that moved bytes.
fn movers(ended: &Ended) -> usize {
    let moved = |rank: &&serde_json::Value| rank["totals"]["copied_bytes"] != 0;
    ended.summary()["ranks"].as_array().unwrap().iter().filter(moved).count()
}

#[test]
fn one_of_each_awkward_thing_comes_back_as_it_was() {
    let work = Sandbox::new();
    let source = work.at("source");
    trees::awkward_tree(&source);
    for count in [1, 4] {
        let server = served(Behaviour::default());
        let back = work.path().join(format!("back-{count}"));
        go(&server, count, &["dcp", "-p", text(&source), "s3://data/up"]).expect(0);
        go(&server, count, &["dcp", "-p", "s3://data/up", text(&back)]).expect(0);
        assert_eq!(entries(&source), entries(&back));
        // A directory is what is in it.
        assert_eq!(diff(&source, &back), format!("Only in {}/dirs: empty\n", source.display()));
        let names = fs::read_dir(source.join("names")).unwrap().count();
        let keys = server.keys_of(BUCKET);
        assert_eq!(keys.iter().filter(|key| key.starts_with("up/names/")).count(), names);
    }
}

#[test]
fn without_preserve_times_travel_and_owners_do_not() {
    let work = Sandbox::new();
    let (source, back) = (work.at("source"), work.at("back"));
    small_tree(&source);
    let server = served(Behaviour::default());
    go(&server, 1, &["dcp", text(&source), "s3://data/up"]).expect(0);
    let object = server.get(BUCKET, "up/d0000/f00000").unwrap();
    let metadata = object.attributes.metadata.clone().unwrap();
    assert_eq!(metadata.keys().collect::<Vec<_>>(), ["mtime"]);
    go(&server, 1, &["dcp", "-p", "s3://data/up", text(&back)]).expect(0);
    let time = |root: &Path| fs::metadata(root.join("d0000/f00000")).unwrap().modified().unwrap();
    assert_eq!(time(&source), time(&back));
    assert_eq!(diff(&source, &back), "");
}

#[test]
fn extended_attributes_are_counted_as_lost() {
    let work = Sandbox::new();
    let source = work.at("source");
    small_tree(&source);
    run(Command::new("setfattr").args(["-n", "user.a", "-v", "1"]).arg(source.join("empty")))
        .expect(0);
    let server = served(Behaviour::default());
    let ended = go(&server, 1, &["dcp", "-p", "--json", text(&source), "s3://data/up"]).expect(0);
    assert_eq!(ended.summary()["totals"]["xattrs_not_preserved"], 1);
}

/// Checks that latency gives all ranks time to ask for work.
#[test]
fn parts_of_a_large_file_go_and_come_by_several_ranks() {
    let work = Sandbox::new();
    let (source, back) = (work.at("big"), work.at("back"));
    trees::write(&source, &trees::noise((66 << 20) + 1));
    let server = served(Behaviour { latency_ms: 30, ..Behaviour::default() });
    let options = ["--json", "-k", "6MiB"];
    let up = [&["dcp"], &options[..], &[text(&source), "s3://data/big"]].concat();
    let ended = go(&server, 4, &up).expect(0);
    assert!(movers(&ended) > 1, "{}", ended.stdout);
    let counts = server.reset_counts();
    let uploads = [
        Operation::CreateMultipartUpload,
        Operation::UploadPart,
        Operation::CompleteMultipartUpload,
        Operation::PutObject,
        Operation::AbortMultipartUpload,
    ];
    assert_eq!(uploads.map(|operation| counts.of(operation)), [1, 12, 1, 0, 0]);
    assert!(server.get(BUCKET, "big").unwrap().sums.checksum_crc64nvme.is_some());
    let down = [&["dcp"], &options[..], &["s3://data/big", text(&back)]].concat();
    let ended = go(&server, 4, &down).expect(0);
    assert!(movers(&ended) > 1, "{}", ended.stdout);
    assert_eq!(server.counts().of(Operation::GetObject), 12);
    run(Command::new("cmp").args([&source, &back])).expect(0);
}

#[test]
fn dcmp_tells_equal_from_different_in_both_directions() {
    let work = Sandbox::new();
    let source = work.at("source");
    small_tree(&source);
    let server = served(Behaviour::default());
    go(&server, 4, &["dcp", "-p", text(&source), "s3://data/up"]).expect(0);
    let both = |count, code| {
        go(&server, count, &["dcmp", "--combined", "-", text(&source), "s3://data/up"])
            .expect(code);
        go(&server, count, &["dcmp", "--combined", "-", "s3://data/up", text(&source)]).expect(code)
    };
    for count in [1, 4] {
        both(count, 0);
        assert_eq!(server.counts().of(Operation::DeleteObject), 0);
    }
    // The same size and time, another byte.
    let file = source.join("d0001/f00003");
    let time = fs::metadata(&file).unwrap().modified().unwrap();
    let mut bytes = fs::read(&file).unwrap();
    bytes[0] ^= 1;
    fs::write(&file, bytes).unwrap();
    fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
    for count in [1, 4] {
        let ended = both(count, 1);
        assert!(
            ended.stdout.lines().any(|line| line == "* d0001/f00003\tCONTENT"),
            "{}",
            ended.stdout
        );
    }
    fs::remove_file(&file).unwrap();
    let ended = both(1, 1);
    assert!(ended.stdout.lines().any(|line| line == "+ d0001/f00003"), "{}", ended.stdout);
}

#[test]
fn dsync_has_nothing_to_do_the_second_time_up_and_down() {
    let work = Sandbox::new();
    let source = work.at("source");
    small_tree(&source);
    for count in [1, 4] {
        let server = served(Behaviour::default());
        let back = work.path().join(format!("back-{count}"));
        let up = ["dsync", "-D", text(&source), "s3://data/up"];
        let down = ["dsync", "-D", "s3://data/up", text(&back)];
        go(&server, count, &up).expect(0);
        let keys = server.keys_of(BUCKET);
        assert_eq!(keys.len(), entries(&source).len() - 1);
        server.reset_counts();
        for direction in [&up, &down, &down] {
            let ended = go(&server, count, direction).expect(0);
            let idle = ended.stdout.contains("nothing to do, no differences");
            let is_first_down = *direction == down && !idle;
            assert!(idle || is_first_down, "{}", ended.stdout);
            assert_eq!(server.reset_counts().writes(), 0);
        }
        assert_eq!(entries(&source), entries(&back));
        assert!(go(&server, count, &down).stdout.contains("nothing to do"));
    }
}

/// Adds, changes and removes an entry in a tree.
fn drift(tree: &Path) {
    fs::write(tree.join("d0001/f00001"), "changed and longer than before").unwrap();
    fs::write(tree.join("d0002/new"), "new").unwrap();
    fs::remove_file(tree.join("d0003/f00003")).unwrap();
    fs::remove_dir_all(tree.join("d0000")).unwrap();
    fs::remove_file(tree.join("link")).unwrap();
    symlink("elsewhere", tree.join("link")).unwrap();
}

#[test]
fn dsync_follows_and_deletes_and_a_dry_run_only_says_so() {
    let work = Sandbox::new();
    let source = work.at("source");
    small_tree(&source);
    let server = served(Behaviour::default());
    go(&server, 1, &["dsync", text(&source), "s3://data/up"]).expect(0);
    let before = server.keys_of(BUCKET);
    drift(&source);
    server.reset_counts();
    let plan = go(&server, 4, &["dsync", "-nD", text(&source), "s3://data/up"]).expect(0);
    let mut lines: Vec<&str> = plan.stdout.lines().filter(|line| line.contains("s3://")).collect();
    lines.sort_unstable();
    let deleted = ["f00000", "f00001", "f00002", "f00003", "f00004", "f00005", "larger"];
    let mut expected: Vec<String> =
        deleted.iter().map(|name| format!("delete s3://data/up/d0000/{name}")).collect();
    for line in [
        "copy s3://data/up/d0002/new",
        "update s3://data/up/d0001/f00001",
        "delete s3://data/up/d0003/f00003",
        "create symbolic link s3://data/up/link",
    ] {
        expected.push(line.to_owned());
    }
    for line in &expected {
        assert!(lines.contains(&&**line), "{line} is not among {lines:#?}");
    }
    go(&server, 1, &["dcp", "-n", text(&source), "s3://data/other"]).expect(0);
    assert_eq!(server.reset_counts().writes(), 0);
    assert_eq!(server.keys_of(BUCKET), before);
    go(&server, 4, &["dsync", "-D", text(&source), "s3://data/up"]).expect(0);
    assert_eq!(server.counts().of(Operation::PutObject), 3);
    let back = work.at("back");
    go(&server, 1, &["dsync", "s3://data/up", text(&back)]).expect(0);
    assert_eq!(entries(&source), entries(&back));
    assert_eq!(server.keys_of(BUCKET).len(), entries(&source).len() - 1);
}

/// Checks a file that becomes a symbolic link, and the reverse, in either form of links: none of
/// the old objects stays.
#[test]
fn what_changes_its_kind_leaves_no_second_object() {
    for schema in ["aws", "rclone"] {
        let work = Sandbox::new();
        let source = work.at("source");
        small_tree(&source);
        let server = served(Behaviour::default());
        let sync = ["dsync", "-D", "--s3-metadata", schema, text(&source), "s3://data/up"];
        go(&server, 1, &sync).expect(0);
        for name in ["link", "empty"] {
            fs::remove_file(source.join(name)).unwrap();
        }
        fs::write(source.join("link"), "a file now").unwrap();
        symlink("link", source.join("empty")).unwrap();
        go(&server, 1, &sync).expect(0);
        assert_eq!(server.keys_of(BUCKET).len(), entries(&source).len() - 1, "{schema}");
        assert!(go(&server, 1, &sync).stdout.contains("nothing to do"), "{schema}");
        let back = work.at("back");
        go(&server, 1, &["dsync", "s3://data/up", text(&back)]).expect(0);
        assert_eq!(entries(&source), entries(&back), "{schema}");
    }
}

#[test]
fn within_a_service_objects_are_copied_by_the_service() {
    let work = Sandbox::new();
    let source = work.at("source");
    small_tree(&source);
    trees::write(&source.join("big"), &trees::noise(17 << 20));
    for (count, tool) in [(1, "dcp"), (4, "dcp"), (1, "dsync")] {
        let server = served(Behaviour::default());
        server.make_bucket("other");
        go(&server, 1, &["dcp", "-p", text(&source), "s3://data/up"]).expect(0);
        server.reset_counts();
        let preserve = if tool == "dcp" { &["-p"][..] } else { &[] };
        let copy = [&[tool], preserve, &["-k", "6MiB", "s3://data/up", "s3://other/copy"]].concat();
        go(&server, count, &copy).expect(0);
        let counts = server.reset_counts();
        // What is empty is nothing to copy, and a link is read before.
        let by_client = [Operation::UploadPart, Operation::PutObject, Operation::GetObject];
        assert_eq!(by_client.map(|operation| counts.of(operation)), [0, 1, 1], "{counts}");
        assert_eq!(counts.of(Operation::CopyObject), 4 * 6 + 2, "{counts}");
        assert_eq!(counts.of(Operation::UploadPartCopy), 3, "{counts}");
        let back = work.path().join(format!("back-{tool}-{count}"));
        go(&server, 1, &["dcp", "-p", "s3://other/copy", text(&back)]).expect(0);
        assert_eq!(entries(&source), entries(&back));
        assert_eq!(diff(&source, &back), "");
    }
}

#[test]
fn two_services_with_credentials_of_their_own_take_part_in_one_job() {
    let work = Sandbox::new();
    let source = work.at("source");
    small_tree(&source);
    trees::write(&source.join("big"), &trees::noise(17 << 20));
    let (near, far) = (served(Behaviour::default()), stranger(Behaviour::default()));
    go(&near, 1, &["dcp", "-p", text(&source), "s3://data/up"]).expect(0);
    for count in [1, 4] {
        let goal = format!("far:data/copy-{count}");
        let near_and_far = [("NEAR", &near), ("FAR", &far)];
        let mut copy = remotes(tool(count, "dcp"), near_and_far);
        run(copy.args(["-p", "-k", "6MiB", "near:data/up", &goal])).expect(0);
        let mut comparison = remotes(tool(count, "dcmp"), near_and_far);
        run(comparison.args(["near:data/up", &goal])).expect(0);
        let counts = far.reset_counts();
        let copies = [Operation::CopyObject, Operation::UploadPartCopy, Operation::UploadPart];
        assert_eq!(copies.map(|operation| counts.of(operation)), [0, 0, 3]);
    }
    // The same by profiles of AWS's configuration.
    let profile = |name: &str, server: &ObjectServer| {
        let (access, secret) = server.keys();
        let endpoint = server.endpoint();
        format!(
            "[profile {name}]\nregion = us-east-1\nendpoint_url = {endpoint}\n\
             aws_access_key_id = {access}\naws_secret_access_key = {secret}\n"
        )
    };
    let config = work.at("config");
    fs::write(&config, profile("near", &near) + &profile("far", &far)).unwrap();
    let mut dsync = within(tool(1, "dsync"), &[]);
    dsync.env("AWS_CONFIG_FILE", &config).env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    dsync.env("AWS_EC2_METADATA_DISABLED", "true");
    dsync.args(["--s3-source-profile", "near", "--s3-target-profile", "far"]);
    let same = run(dsync.args(["s3://data/up", "s3://data/copy-1"])).expect(0);
    assert!(same.stdout.contains("nothing to do"), "{}", same.stdout);
}

/// Checks that files up to rclone's `upload_cutoff` are sent with one request, unless the command
/// line sets the size of parts.
#[test]
fn what_is_no_larger_than_a_remotes_cutoff_is_one_request() {
    let work = Sandbox::new();
    let source = work.at("source");
    trees::write(&source.join("below"), &trees::noise(11 << 20));
    trees::write(&source.join("above"), &trees::noise(13 << 20));
    let (near, far) = (served(Behaviour::default()), stranger(Behaviour::default()));
    let copy = |more: &[&str], from: &str, to: &str| {
        let mut dcp = remotes(tool(4, "dcp"), [("NEAR", &near), ("FAR", &far)]);
        dcp.env("RCLONE_CONFIG_NEAR_UPLOAD_CUTOFF", "12M");
        dcp.env("RCLONE_CONFIG_NEAR_CHUNK_SIZE", "5M").args(more).args([from, to]);
        run(&mut dcp).expect(0);
    };
    copy(&[], text(&source), "near:data/up");
    let counts = near.reset_counts();
    let sent = [Operation::PutObject, Operation::UploadPart].map(|request| counts.of(request));
    assert_eq!(sent, [1, 3], "{counts}");
    // Nobody asks whether the bucket is there but by listing, nor for what was sent.
    assert_eq!([Operation::HeadBucket, Operation::CreateBucket].map(|of| counts.of(of)), [0, 0]);
    assert_eq!(near.keys_of(BUCKET), ["up/above", "up/below"]);
    copy(&["--s3-part-size", "6MiB"], text(&source), "near:data/parts");
    let counts = near.reset_counts();
    assert_eq!([counts.of(Operation::PutObject), counts.of(Operation::UploadPart)], [0, 5]);
    let back = work.at("back");
    copy(&[], "near:data/up", text(&back));
    assert_eq!(near.counts().of(Operation::GetObject), 6, "it is read in parts all the same");
    assert_eq!(diff(&source, &back), "");
}

#[test]
fn names_and_keys_without_a_counterpart_lead_nowhere() {
    let work = Sandbox::new();
    let (source, back) = (work.at("source"), work.at("back"));
    trees::write(&source.join("good"), b"x");
    trees::write(&source.join("bad.rclonelink"), b"x");
    let server = served(Behaviour::default());
    let ended = go(&server, 1, &["dcp", text(&source), "s3://data/up"]).expect(23);
    assert!(ended.stderr.contains("stands for a symbolic link"), "{}", ended.stderr);
    assert_eq!(server.keys_of(BUCKET), ["up/good"]);
    for key in ["up/../../escape", "up//etc/passwd", "up/..", "up/a//b"] {
        server.put(BUCKET, key, "hostile");
    }
    go(&server, 4, &["dcp", "s3://data/up", text(&back)]);
    assert_eq!(fs::read(back.join("good")).unwrap(), b"x");
    let names: Vec<_> = entries(&back).into_iter().filter(|line| !line.is_empty()).collect();
    assert_eq!(names.len(), 1, "{names:?}");
    assert!(!work.at("escape").exists());
}

#[test]
fn the_summary_tells_what_shows_that_content_arrived() {
    let all_by_crc = serde_json::json!({ "crc64": 3 });
    // Where there is no checksum the MD5s of parts show it.
    let all_by_md5 = serde_json::json!({ "md5": 3 });
    for (quirks, up, down) in
        [(&[][..], "crc64", all_by_crc), (&[Quirk::NoChecksums], "md5", all_by_md5)]
    {
        let work = Sandbox::new();
        let source = work.at("source");
        for (name, bytes) in [("small", 1000), ("middle", 3 << 20), ("large", 12 << 20)] {
            trees::write(&source.join(name), &trees::noise(bytes));
        }
        let server = served(Behaviour::with_quirks(quirks));
        let proven = |words: &[&str]| {
            let options = ["--json", "-k", "5MiB"];
            let ended = go(&server, 1, &[&["dcp"][..], &options, words].concat()).expect(0);
            ended.summary()["totals"]["sent_files_by_check"].clone()
        };
        assert_eq!(proven(&[text(&source), "s3://data/up"]), serde_json::json!({ up: 3 }));
        assert_eq!(
            proven(&["s3://data/up", "s3://data/copy"]),
            serde_json::json!({"server_side_copy": 3})
        );
        let back = work.at("back");
        assert_eq!(proven(&["s3://data/up", text(&back)]), down);
    }
}
