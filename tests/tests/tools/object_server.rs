//! Tests of the servers that the suite is tested against, with clients of others.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use suite_tests::cloud::{aws, rclone, s5cmd};
use suite_tests::job::{Ended, run};
use suite_tests::object_server::{Behaviour, ObjectServer, Operation, Order, Quirk};
use suite_tests::sandbox::Sandbox;
use suite_tests::seaweed::Seaweed;

/// Keys that servers on file systems, and careless clients, handle wrongly.
const ODD_KEYS: [&str; 12] = [
    "a//b",
    "d",
    "d/",
    "d/x",
    "../up",
    "./here/../there",
    "/lead",
    "plus+ space %41 100%",
    "quotes \"<>&'",
    "Ä日本語🙂",
    "back\\slash",
    "what?#&=",
];

fn started(behaviour: Behaviour) -> ObjectServer {
    let server = ObjectServer::start(behaviour);
    server.make_bucket("bucket");
    server
}

/// Runs `aws s3api OPERATION --bucket bucket …`, without checksums that were not requested.
fn api(server: &ObjectServer, operation: &str, arguments: &[&str]) -> Ended {
    let mut command = aws(&server.environment());
    command.env("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required");
    run(command.args(["s3api", operation, "--bucket", "bucket"]).args(arguments))
}

/// Runs `curl`, which signs the given arguments and adds nothing.
fn curl(server: &ObjectServer, arguments: &[&str], key: &str) -> Ended {
    let (access, secret) = server.keys();
    let mut command = Command::new("curl");
    command.args(["-s", "--aws-sigv4", "aws:amz:us-east-1:s3"]);
    command.args(["--user", &format!("{access}:{secret}")]).args(arguments);
    run(command.arg(format!("{}/bucket/{key}", server.endpoint())))
}

#[track_caller]
fn answer(ended: Ended) -> Value {
    let ended = ended.expect(0);
    if ended.stdout.is_empty() { Value::Null } else { serde_json::from_str(&ended.stdout).unwrap() }
}

#[track_caller]
fn assert_refused(ended: &Ended, code: &str) {
    assert_ne!(ended.code, Some(0));
    assert!(ended.stderr.contains(code), "no {code} in {}", ended.stderr);
}

/// Creates a file with bytes without repetitions.
fn file(dir: &Path, name: &str, size_bytes: usize) -> String {
    let path = dir.join(name);
    let words = (0..=size_bytes as u32 / 4).flat_map(u32::to_le_bytes);
    std::fs::write(&path, words.take(size_bytes).collect::<Vec<u8>>()).unwrap();
    path.to_str().unwrap().to_owned()
}

fn listed_keys(answer: &Value) -> Vec<String> {
    let contents = answer["Contents"].as_array().cloned().unwrap_or_default();
    contents.iter().map(|object| object["Key"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn odd_keys_are_kept_and_listed_in_byte_order() {
    let server = started(Behaviour::default());
    let long = "l".repeat(1024);
    let mut keys: Vec<&str> = ODD_KEYS.to_vec();
    keys.push(&long);
    for key in &keys {
        server.put("bucket", key, key.as_bytes().to_vec());
    }
    keys.sort_unstable();
    assert_eq!(listed_keys(&answer(api(&server, "list-objects-v2", &["--page-size", "3"]))), keys);
    let pages = server.counts().of(Operation::ListObjectsV2);
    assert_eq!(pages, keys.len().div_ceil(3) as u64);
    let top = answer(api(&server, "list-objects-v2", &["--delimiter", "/", "--prefix", "d"]));
    assert_eq!(listed_keys(&top), ["d"]);
    assert_eq!(top["CommonPrefixes"][0]["Prefix"], "d/");
}

#[test]
fn what_one_client_puts_another_gets() {
    let dir = Sandbox::new();
    let server = started(Behaviour::default());
    let small = file(dir.path(), "small", 100_000);
    let got = dir.path().join("got").to_str().unwrap().to_owned();
    for key in ["a//b", "plus+ space %41 100%", "../up"] {
        answer(api(&server, "put-object", &["--key", key, "--body", &small]));
        answer(api(&server, "get-object", &["--key", key, &got]));
        assert_eq!(std::fs::read(&got).unwrap(), std::fs::read(&small).unwrap(), "{key}");
        assert!(server.get("bucket", key).is_some(), "{key}");
    }
    let put = run(s5cmd(&server.environment()).args(["cp", &small, "s3://bucket/five/x"]));
    put.expect(0);
    run(rclone(&server.environment()).args(["copyto", ":s3:bucket/five/x", &got])).expect(0);
    assert_eq!(std::fs::read(&got).unwrap(), std::fs::read(&small).unwrap());
    let listed = run(rclone(&server.environment()).args(["lsf", ":s3:bucket/five"])).expect(0);
    assert_eq!(listed.stdout, "x\n");
}

#[test]
fn keys_of_other_people_are_refused() {
    let server = started(Behaviour::default());
    let mut environment = server.environment();
    for (name, value) in &mut environment {
        if *name == "AWS_SECRET_ACCESS_KEY" {
            "wrong".clone_into(value);
        }
    }
    let list = ["s3api", "list-objects-v2", "--bucket", "bucket"];
    assert_refused(&run(aws(&environment).args(list)), "SignatureDoesNotMatch");
    environment.retain(|(name, _)| *name != "AWS_ACCESS_KEY_ID");
    environment.push(("AWS_ACCESS_KEY_ID", "someone".to_owned()));
    assert_refused(&run(aws(&environment).args(list)), "InvalidAccessKeyId");
}

#[test]
fn a_wrong_checksum_is_refused_and_a_right_one_kept() {
    let dir = Sandbox::new();
    let server = started(Behaviour::default());
    let body = file(dir.path(), "body", 1000);
    let put = |more: &[&str]| {
        api(&server, "put-object", &[&["--key", "k", "--body", &body], more].concat())
    };
    assert_refused(&put(&["--checksum-crc32", "AAAAAA=="]), "BadDigest");
    assert_refused(&put(&["--content-md5", "AAAAAAAAAAAAAAAAAAAAAA=="]), "BadDigest");
    assert!(server.keys_of("bucket").is_empty());
    for (algorithm, field) in [("SHA256", "ChecksumSHA256"), ("SHA1", "ChecksumSHA1")] {
        let sent = answer(put(&["--checksum-algorithm", algorithm]));
        let head =
            answer(api(&server, "head-object", &["--key", "k", "--checksum-mode", "ENABLED"]));
        assert!(head[field].is_string());
        assert_eq!(head[field], sent[field]);
    }
}

#[test]
fn writes_and_reads_can_have_conditions() {
    let dir = Sandbox::new();
    let server = started(Behaviour::default());
    let body = file(dir.path(), "body", 10);
    let put = ["--key", "k", "--body", &body, "--if-none-match", "*"];
    answer(api(&server, "put-object", &put));
    assert_refused(&api(&server, "put-object", &put), "PreconditionFailed");
    let get = ["--key", "k", "--if-match", "\"other\"", "/dev/null"];
    assert_refused(&api(&server, "get-object", &get), "PreconditionFailed");
    let copy = ["--key", "k2", "--copy-source", "bucket/k", "--copy-source-if-match", "\"other\""];
    assert_refused(&api(&server, "copy-object", &copy), "PreconditionFailed");
    server.behave(Behaviour::with_quirks(&[Quirk::NoConditionalWrites]));
    answer(api(&server, "put-object", &put));
}

#[test]
fn metadata_is_kept_and_copied_or_replaced() {
    let dir = Sandbox::new();
    let server = started(Behaviour::default());
    let body = file(dir.path(), "body", 10);
    let kind = ["--content-type", "text/x-odd", "--metadata", "mtime=12.5,mode=0644"];
    answer(api(&server, "put-object", &[&["--key", "k", "--body", &body], &kind[..]].concat()));
    answer(api(&server, "copy-object", &["--key", "same", "--copy-source", "bucket/k"]));
    let new = ["--metadata-directive", "REPLACE", "--metadata", "mtime=13"];
    let copy = ["--key", "other", "--copy-source", "bucket/k"];
    answer(api(&server, "copy-object", &[&copy[..], &new].concat()));
    let same = answer(api(&server, "head-object", &["--key", "same"]));
    assert_eq!(same["Metadata"], serde_json::json!({"mtime": "12.5", "mode": "0644"}));
    assert_eq!(same["ContentType"], "text/x-odd");
    let other = answer(api(&server, "head-object", &["--key", "other"]));
    assert_eq!(other["Metadata"], serde_json::json!({"mtime": "13"}));
}

#[test]
fn ranges_and_deletions() {
    let server = started(Behaviour::default());
    server.put("bucket", "k", &b"0123456789"[..]);
    let dir = Sandbox::new();
    let got = dir.path().join("got").to_str().unwrap().to_owned();
    for (range, expected) in [("bytes=2-4", "234"), ("bytes=-3", "789"), ("bytes=8-99", "89")] {
        answer(api(&server, "get-object", &["--key", "k", "--range", range, &got]));
        assert_eq!(std::fs::read_to_string(&got).unwrap(), expected);
    }
    let beyond = ["--key", "k", "--range", "bytes=10-", &got];
    assert_refused(&api(&server, "get-object", &beyond), "InvalidRange");
    server.put("bucket", "d//", &b""[..]);
    let delete = r#"{"Objects": [{"Key": "d//"}, {"Key": "never there"}]}"#;
    answer(api(&server, "delete-objects", &["--delete", delete]));
    assert_eq!(server.keys_of("bucket"), ["k"]);
    answer(api(&server, "delete-object", &["--key", "k"]));
    assert!(server.keys_of("bucket").is_empty());
}

/// Begins an upload whose checksum is of the whole object.
fn begin(server: &ObjectServer) -> String {
    let whole = ["--checksum-algorithm", "CRC64NVME", "--checksum-type", "FULL_OBJECT"];
    let begun =
        answer(api(server, "create-multipart-upload", &[&["--key", "k"], &whole[..]].concat()));
    begun["UploadId"].as_str().unwrap().to_owned()
}

#[test]
fn parts_are_put_together_and_checked() {
    let dir = Sandbox::new();
    let server = started(Behaviour::default());
    let big = file(dir.path(), "big", 6 << 20);
    server.put("bucket", "source", std::fs::read(&big).unwrap());
    let id = begin(&server);
    let part = |number| ["--key", "k", "--upload-id", &id, "--part-number", number];
    let one = answer(api(&server, "upload-part", &[&part("1")[..], &["--body", &big]].concat()));
    let range = ["--copy-source", "bucket/source", "--copy-source-range", "bytes=10-19"];
    let two = answer(api(&server, "upload-part-copy", &[&part("2")[..], &range].concat()));
    let listed =
        answer(api(&server, "list-parts", &["--key", "k", "--upload-id", &id, "--page-size", "1"]));
    assert_eq!(listed["Parts"][1]["Size"], 10);
    let (one, two) = (&one["ETag"], &two["CopyPartResult"]["ETag"]);
    let list = |first: i32, second: i32| {
        let part = |number, etag| serde_json::json!({"PartNumber": number, "ETag": etag});
        serde_json::json!({"Parts": [part(first, one), part(second, two)]}).to_string()
    };
    let complete = |list: &str, more: &[&str]| {
        let fixed = ["--key", "k", "--upload-id", &id, "--multipart-upload", list];
        api(&server, "complete-multipart-upload", &[&fixed[..], more].concat())
    };
    assert_refused(&complete(&list(2, 1), &[]), "InvalidPartOrder");
    assert_refused(&complete(&list(1, 3), &[]), "InvalidPart");
    assert_refused(&complete(&list(1, 2), &["--checksum-crc64-nvme", "AAAAAAAAAAA="]), "BadDigest");
    assert_refused(&complete(&list(1, 2), &["--mpu-object-size", "5"]), "InvalidRequest");
    let done = answer(complete(&list(1, 2), &[]));
    assert_eq!(done["ChecksumType"], "FULL_OBJECT");
    let bytes = std::fs::read(&big).unwrap();
    assert_eq!(
        server.get("bucket", "k").unwrap().content.to_bytes(),
        [&bytes, &bytes[10..20]].concat()
    );
    assert_eq!(server.open_uploads("bucket"), 0);
}

#[test]
fn small_parts_are_refused_and_uploads_can_be_given_up() {
    let dir = Sandbox::new();
    let server = started(Behaviour::default());
    let small = file(dir.path(), "small", 1000);
    let id = begin(&server);
    let put = |number| {
        let part = ["--key", "k", "--upload-id", &id, "--part-number", number, "--body", &small];
        answer(api(&server, "upload-part", &part))["ETag"].clone()
    };
    let etags = [put("1"), put("2")];
    let parts = serde_json::json!({"Parts": [
        {"PartNumber": 1, "ETag": etags[0]}, {"PartNumber": 2, "ETag": etags[1]},
    ]});
    let list = parts.to_string();
    let complete = ["--key", "k", "--upload-id", &id, "--multipart-upload", &list];
    assert_refused(&api(&server, "complete-multipart-upload", &complete), "EntityTooSmall");
    let open = answer(api(&server, "list-multipart-uploads", &[]));
    assert_eq!(open["Uploads"][0]["UploadId"], *id);
    answer(api(&server, "abort-multipart-upload", &["--key", "k", "--upload-id", &id]));
    assert_eq!(server.open_uploads("bucket"), 0);
    assert_refused(&api(&server, "complete-multipart-upload", &complete), "NoSuchUpload");
}

#[test]
fn clients_that_upload_in_parts_get_what_they_put() {
    let dir = Sandbox::new();
    let server = started(Behaviour::default());
    let big = file(dir.path(), "big", 20 << 20);
    run(aws(&server.environment()).args(["s3", "cp", &big, "s3://bucket/aws"])).expect(0);
    let mut five = s5cmd(&server.environment());
    run(five.args(["cp", "--part-size", "6", &big, "s3://bucket/five"])).expect(0);
    let mut rclone = rclone(&server.environment());
    let parts = ["--s3-upload-cutoff", "6Mi", "--s3-chunk-size", "6Mi"];
    run(rclone.args(["copyto", &big, ":s3:bucket/rclone"]).args(parts)).expect(0);
    let bytes = std::fs::read(&big).unwrap();
    for key in ["aws", "five", "rclone"] {
        let object = server.get("bucket", key).unwrap();
        assert!(object.content.to_bytes() == bytes, "{key}");
        assert!(object.etag.contains('-'), "{key} was not put in parts");
    }
}

#[test]
fn faults_are_seen_and_counted() {
    let server = started(Behaviour { refuse_every: 1, ..Behaviour::default() });
    server.put("bucket", "k", vec![7; 1 << 20]);
    assert_refused(&api(&server, "head-bucket", &[]), "503");
    assert_refused(&api(&server, "list-objects-v2", &[]), "SlowDown");
    let counts = server.reset_counts();
    assert_eq!((counts.total(), counts.refused), (2, 2));
    server.behave(Behaviour { cut_every: 1, cut_after_bytes: 1000, ..Behaviour::default() });
    let get = api(&server, "get-object", &["--key", "k", "/dev/null"]);
    assert_ne!(get.code, Some(0));
    let counts = server.counts();
    assert_eq!((counts.of(Operation::GetObject), counts.cut), (1, 1));
}

#[test]
fn lists_can_be_out_of_order_or_begin_wrongly() {
    let server = started(Behaviour { order: Order::Directories, ..Behaviour::default() });
    for key in ["a-b", "a/b", "a/c", "b"] {
        server.put("bucket", key, key);
    }
    let list = |more: &[&str]| listed_keys(&answer(api(&server, "list-objects-v2", more)));
    assert_eq!(list(&["--page-size", "1"]), ["a/b", "a/c", "a-b", "b"]);
    server.behave(Behaviour::with_quirks(&[Quirk::StartAfterSkipsSubtree]));
    assert_eq!(list(&["--start-after", "a"]), ["a-b", "b"]);
    server.behave(Behaviour { order: Order::Unordered, seed: 3, ..Behaviour::default() });
    let start = api(&server, "list-objects-v2", &["--start-after", "a"]);
    assert_refused(&start, "NotImplemented");
}

#[test]
fn an_old_server_takes_no_trailers_and_keeps_no_checksums() {
    let dir = Sandbox::new();
    let quirks = [Quirk::NoTrailers, Quirk::NoChecksums, Quirk::CopyNeedsLength];
    let server = started(Behaviour::with_quirks(&quirks));
    let body = file(dir.path(), "body", 1000);
    let put = ["--key", "k", "--body", &body];
    let wrong = [&put[..], &["--checksum-crc32", "AAAAAA=="]].concat();
    answer(api(&server, "put-object", &wrong));
    let head = answer(api(&server, "head-object", &["--key", "k", "--checksum-mode", "ENABLED"]));
    assert!(head["ChecksumCRC32"].is_null());
    let trailer = ["-H", "x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER", "-T", &body];
    assert!(curl(&server, &trailer, "k").stdout.contains("XAmzContentSHA256Mismatch"));
    // It sends no length with an empty request.
    let unsigned = ["-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"];
    let copy = ["-X", "PUT", "-H", "x-amz-copy-source: bucket/k"];
    let copy = [&copy[..], &unsigned].concat();
    assert!(curl(&server, &copy, "k2").stdout.contains("MissingContentLength"));
    server.behave(Behaviour::default());
    assert!(curl(&server, &copy, "k2").stdout.contains("CopyObjectResult"));
}

#[test]
fn seaweedfs_starts_and_answers() {
    let dir = Sandbox::new();
    let server = Seaweed::start("bucket");
    let body = file(dir.path(), "body", 100_000);
    let got = dir.path().join("got").to_str().unwrap().to_owned();
    let environment = server.environment();
    run(s5cmd(&environment).args(["cp", &body, "s3://bucket/d/x"])).expect(0);
    run(aws(&environment).args(["s3", "cp", "s3://bucket/d/x", &got])).expect(0);
    assert_eq!(std::fs::read(&got).unwrap(), std::fs::read(&body).unwrap());
}
