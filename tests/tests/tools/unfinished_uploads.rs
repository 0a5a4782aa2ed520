//! Tests of uploads that a killed job leaves in S3: no object has the final name; the next job
//! resumes the upload, or it is aborted.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use suite_tests::buckets::{go, served, with};
use suite_tests::job::{Ended, run};
use suite_tests::object_server::{Behaviour, ObjectServer, Operation, Quirk};
use suite_tests::preload::{mark_synced, synced_bytes};
use suite_tests::sandbox::Sandbox;
use suite_tests::trees::noise;
use suite_tests::waiting::wait_within;

const PART_BYTES: u64 = 5 << 20;
const PARTS: u64 = 8;

fn started(quirks: &[Quirk]) -> ObjectServer {
    served(Behaviour::with_quirks(quirks))
}

fn dcp(ranks: u32, server: &ObjectServer, arguments: &[&str]) -> Ended {
    go(server, ranks, &[&["dcp"][..], arguments].concat())
}

fn source() -> (Sandbox, String, Vec<u8>) {
    let work = Sandbox::new();
    let path = work.at("big");
    let bytes = noise((PARTS * PART_BYTES) as usize - 100);
    std::fs::write(&path, &bytes).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (work, path, bytes)
}

fn wait_for_parts(job: &mut Child, server: &ObjectServer, parts: u64) {
    let sent = || server.counts().of(Operation::UploadPart);
    wait_within(job, "parts are sent", || sent() >= parts);
}

/// Parts that are stored before the server holds those that follow.
const STORED: u64 = 4;
/// Requests for parts that are under way at a time: `--s3-concurrency` of the jobs below.
const AT_A_TIME: u64 = 2;

/// Waits until the job has all requests under way that it may have, held by the server: none is
/// left that arrives, and is counted, after the job was killed.
fn wait_for_held_parts(job: &mut Child, server: &ObjectServer) {
    wait_for_parts(job, server, STORED + AT_A_TIME);
}

/// Begins a copy, and kills it when some parts were stored.
fn kill_in_mid_upload(server: &ObjectServer, path: &str) {
    server.behave(Behaviour { hold_parts_after: STORED, ..Behaviour::default() });
    let arguments =
        ["-q", "--s3-part-size=5M", "--s3-concurrency=2", "--chunksize=5M", path, "s3://data/d/"];
    let mut command = with(server, 1, "dcp");
    let mut child = command.args(arguments).stdout(Stdio::null()).spawn().unwrap();
    wait_for_held_parts(&mut child, server);
    child.kill().unwrap();
    child.wait().unwrap();
    server.behave(Behaviour::default());
    assert_eq!(server.open_uploads("data"), 1);
    assert!(server.get("data", "d/big").is_none(), "nothing has the final name yet");
}

/// Begins a copy, and interrupts it when some parts were stored.
fn interrupt_in_mid_upload(server: &ObjectServer, arguments: &[&str]) {
    server.behave(Behaviour { hold_parts_after: STORED, ..Behaviour::default() });
    let mut command = with(server, 1, "dcp");
    let mut child = command.args(arguments).stdout(Stdio::null()).spawn().unwrap();
    wait_for_held_parts(&mut child, server);
    run(Command::new("kill").args(["-TERM", &child.id().to_string()])).expect(0);
    server.behave(Behaviour::default());
    assert_eq!(child.wait().unwrap().code(), Some(20));
    assert_eq!((server.keys_of("data").len(), server.open_uploads("data")), (0, 1));
    server.reset_counts();
}

#[test]
fn an_interrupted_job_with_a_journal_keeps_its_uploads() {
    for ranks in [1, 4] {
        let server = started(&[]);
        let (work, path, bytes) = source();
        let journal = work.at("journal");
        let arguments = with_journal(&journal, &path);
        interrupt_in_mid_upload(&server, &arguments);
        let summary = dcp(ranks, &server, &arguments).expect(0).summary();
        let counts = server.reset_counts();
        let resumed = summary["totals"]["resumed_bytes"].as_u64().unwrap();
        assert!(resumed >= 4 * PART_BYTES, "{summary}");
        assert_eq!(counts.of(Operation::CreateMultipartUpload), 0);
        assert_eq!(counts.of(Operation::UploadPart), PARTS - resumed.div_ceil(PART_BYTES));
        assert_eq!(server.open_uploads("data"), 0);
        assert!(!journal.exists());
        assert_stored(&server, &bytes, &path);
    }
}

#[test]
fn uploads_that_nobody_goes_on_with_are_aborted_by_the_job_that_ends_well() {
    for is_replaced in [true, false] {
        let server = started(&[]);
        let (work, path, _) = source();
        let (tree, journal) = (work.at("tree"), work.at("journal"));
        std::fs::create_dir(&tree).unwrap();
        let file = tree.join("big");
        std::fs::rename(path, &file).unwrap();
        let arguments = with_journal(&journal, tree.to_str().unwrap());
        interrupt_in_mid_upload(&server, &arguments);
        let small = noise(1000);
        if is_replaced {
            std::fs::write(&file, &small).unwrap();
        } else {
            std::fs::remove_file(&file).unwrap();
        }
        dcp(1, &server, &arguments).expect(0);
        assert_eq!(server.open_uploads("data"), 0, "replaced: {is_replaced}");
        let stored = server.get("data", "d/tree/big").map(|object| object.content.to_bytes());
        assert_eq!(stored.as_deref(), is_replaced.then_some(&small[..]));
    }
}

/// Checks a lost node, with which the end of the logs that was not synchronised is lost.
#[test]
fn an_upload_of_a_lost_node_is_aborted_by_the_job_that_ends_well() {
    let server = served(Behaviour { hold_parts_after: STORED, ..Behaviour::default() });
    let work = Sandbox::new();
    let (tree, journal) = (work.at("tree"), work.at("journal"));
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(tree.join("big"), noise((PARTS * PART_BYTES) as usize)).unwrap();
    let arguments = with_journal(&journal, tree.to_str().unwrap());
    let mut command = with(&server, 1, "dcp");
    command.args(arguments).stdout(Stdio::null());
    let mut child = mark_synced(&mut command, work.path()).spawn().unwrap();
    wait_for_held_parts(&mut child, &server);
    child.kill().unwrap();
    child.wait().unwrap();
    server.behave(Behaviour::default());
    assert_eq!(server.open_uploads("data"), 1);
    let parts = std::fs::read_dir(&journal).unwrap().map(|part| part.unwrap().path());
    for log in parts.filter(|part| part.extension().is_some_and(|end| end == "log")) {
        let log_file = std::fs::File::options().write(true).open(&log).unwrap();
        log_file.set_len(synced_bytes(&log).unwrap()).unwrap();
    }
    std::fs::remove_file(tree.join("big")).unwrap();
    dcp(2, &server, &arguments).expect(0);
    assert_eq!(server.open_uploads("data"), 0);
}

/// Checks a job that is killed when the service has begun the upload and the answer is on its way.
/// Uploads that others have begun for the same key stay.
#[test]
fn an_upload_whose_answer_a_killed_job_did_not_get_is_aborted_by_the_job_that_ends_well() {
    for is_gone in [true, false] {
        let server = served(Behaviour { hold_new_uploads: true, ..Behaviour::default() });
        let work = Sandbox::new();
        let (tree, journal) = (work.at("tree"), work.at("journal"));
        std::fs::create_dir(&tree).unwrap();
        let bytes = noise((PARTS * PART_BYTES) as usize);
        std::fs::write(tree.join("big"), &bytes).unwrap();
        let arguments = with_journal(&journal, tree.to_str().unwrap());
        for count in 1..=2 {
            let mut job = with(&server, 1, "dcp").args(arguments).spawn().unwrap();
            wait_within(&mut job, "an upload is open", || server.open_uploads("data") >= count);
            job.kill().unwrap();
            job.wait().unwrap();
        }
        server.behave(Behaviour::default());
        server.leave_upload("data", "d/tree/big", &[]);
        server.leave_upload("data", "d/tree/big", &[b"of another job"]);
        if is_gone {
            std::fs::remove_file(tree.join("big")).unwrap();
        }
        dcp(2, &server, &arguments).expect(0);
        assert_eq!(server.open_uploads("data"), 2, "gone: {is_gone}");
        let stored = server.get("data", "d/tree/big").map(|object| object.content.to_bytes());
        assert!(stored.as_deref() == (!is_gone).then_some(&bytes[..]), "gone: {is_gone}");
    }
}

fn with_journal<'a>(journal: &'a Path, source: &'a str) -> [&'a str; 10] {
    let journal = journal.to_str().unwrap();
    let sizes = ["--s3-part-size=5M", "--chunksize=5M", "--s3-concurrency=2"];
    let [part, chunk, requests] = sizes;
    [
        "--json",
        "-p",
        "--resume",
        "--journal",
        journal,
        part,
        chunk,
        requests,
        source,
        "s3://data/d/",
    ]
}

#[track_caller]
fn assert_stored(server: &ObjectServer, expected: &[u8], path: &str) {
    let back = Path::new(path).with_file_name("back");
    dcp(1, server, &["-q", "s3://data/d/big", back.to_str().unwrap()]).expect(0);
    assert!(std::fs::read(&back).unwrap() == expected, "other bytes came back");
    std::fs::remove_file(&back).unwrap();
}

#[test]
fn parts_that_are_there_are_not_sent_again() {
    for ranks in [1, 4] {
        for quirks in [&[][..], &[Quirk::NoChecksums]] {
            let server = started(quirks);
            let (_work, path, bytes) = source();
            kill_in_mid_upload(&server, &path);
            server.behave(Behaviour::with_quirks(quirks));
            server.reset_counts();
            let arguments =
                ["--json", "--s3-part-size=5M", "--chunksize=5M", &path, "s3://data/d/"];
            let summary = dcp(ranks, &server, &arguments).expect(0).summary();
            let counts = server.reset_counts();
            let resumed = summary["totals"]["resumed_bytes"].as_u64().unwrap();
            assert!(resumed >= STORED * PART_BYTES, "{summary}");
            assert_eq!(counts.of(Operation::CreateMultipartUpload), 0);
            assert_eq!(counts.of(Operation::UploadPart), PARTS - resumed.div_ceil(PART_BYTES));
            assert_eq!(server.open_uploads("data"), 0);
            assert_stored(&server, &bytes, &path);
        }
    }
}

#[test]
fn parts_of_what_the_file_was_are_sent_again_and_its_new_time_is_kept() {
    let server = started(&[]);
    let (_work, path, mut bytes) = source();
    kill_in_mid_upload(&server, &path);
    bytes[1] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let time = std::time::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(time).unwrap();
    let arguments = ["--json", "-p", "--s3-part-size=5M", "--chunksize=5M", &path, "s3://data/d/"];
    let summary = dcp(1, &server, &arguments).expect(0).summary();
    assert!(summary["totals"]["resumed_bytes"].as_u64().unwrap() > 0, "{summary}");
    assert_stored(&server, &bytes, &path);
    go(&server, 1, &["dcmp", "-q", &path, "s3://data/d/big"]).expect(0);
}

/// Starts a job that works on an upload, slowly, until it is waited for.
fn slow_job(server: &ObjectServer, path: &str) -> Child {
    server.behave(Behaviour { latency_ms: 250, ..Behaviour::default() });
    let arguments = ["-q", "--s3-part-size=5M", "--s3-concurrency=1", path, "s3://data/d/"];
    let mut job = with(server, 1, "dcp").args(arguments).stdout(Stdio::null()).spawn().unwrap();
    wait_for_parts(&mut job, server, 2);
    job
}

#[test]
fn an_upload_that_another_job_is_at_work_on_is_left_to_it() {
    let server = started(&[]);
    let (_work, path, bytes) = source();
    let mut first = slow_job(&server, &path);
    dcp(1, &server, &["-q", "--s3-part-size=5M", &path, "s3://data/d/"]).expect(0);
    assert!(first.wait().unwrap().success());
    assert_eq!(server.counts().of(Operation::CreateMultipartUpload), 2);
    assert_eq!(server.open_uploads("data"), 0);
    server.behave(Behaviour::default());
    assert_stored(&server, &bytes, &path);
}

#[test]
fn an_upload_that_is_given_up_elsewhere_is_begun_anew() {
    let server = started(&[]);
    let (_work, path, bytes) = source();
    let mut first = slow_job(&server, &path);
    dcp(1, &server, &["-q", "--min-age=0s", "--clean", "s3://data/d/"]).expect(0);
    assert!(first.wait().unwrap().success());
    assert_eq!(server.counts().of(Operation::CreateMultipartUpload), 2);
    assert_eq!(server.open_uploads("data"), 0);
    server.behave(Behaviour::default());
    assert_stored(&server, &bytes, &path);
}

#[test]
fn parts_of_another_size_begin_a_new_upload() {
    let server = started(&[]);
    let (_work, path, bytes) = source();
    kill_in_mid_upload(&server, &path);
    let arguments = ["-q", "--s3-part-size=8M", "--chunksize=8M", &path, "s3://data/d/"];
    dcp(1, &server, &arguments).expect(0);
    assert_stored(&server, &bytes, &path);
    assert_eq!(server.open_uploads("data"), 1, "the old one waits to be given up");
}

#[test]
fn leftovers_are_given_up_when_they_are_old_enough() {
    let server = started(&[]);
    let (_work, path, _) = source();
    kill_in_mid_upload(&server, &path);
    let young = dcp(1, &server, &["--clean", "s3://data"]).expect(0);
    assert!(young.stdout.contains("too recently"), "{young:?}");
    let elsewhere = ["--min-age=0s", "--clean", "s3://data/dd", "s3://data/d/bi"];
    dcp(1, &server, &elsewhere).expect(0);
    let dry = dcp(1, &server, &["-n", "--min-age=0s", "--clean", "s3://data/d"]).expect(0);
    assert!(dry.stdout.contains("abort upload s3://data/d/big\n"), "{dry:?}");
    assert_eq!(server.open_uploads("data"), 1, "none of these was to give it up");
    let real = ["--json", "--min-age=0s", "--clean", "s3://data/d/"];
    let summary = dcp(4, &server, &real).expect(0).summary();
    assert_eq!(summary["totals"]["leftovers"]["removed"], 1);
    assert_eq!(server.open_uploads("data"), 0);
}

#[test]
fn a_bucket_that_is_not_there_is_said_to_be_missing() {
    let server = started(&[]);
    let missing = dcp(1, &server, &["--clean", "s3://none"]).expect(23);
    assert!(missing.stderr.contains("\"s3://none\": there is no such bucket"), "{missing:?}");
}
