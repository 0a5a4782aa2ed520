//! Tests of the tools with a service that misbehaves, or is not there: content arrives whole, or
//! there is an error that people can understand.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use suite_tests::buckets::{
    BUCKET, diff, entries, go, remotes, served, small_tree, stranger, text, with,
};
use suite_tests::cloud::within;
use suite_tests::job::{Ended, mpiexec, program, ranks_of, run, tool};
use suite_tests::object_server::{Behaviour, Operation, Quirk};
use suite_tests::sandbox::Sandbox;
use suite_tests::trees;
use suite_tests::waiting::wait_within;
use types::limits;

/// Checks that a command fails with one line, and with that code.
#[track_caller]
fn assert_one_line(ended: &Ended, code: i32, word: &str) {
    assert_eq!(ended.code, Some(code), "{}", ended.stderr);
    let is_complaint =
        |line: &&str| ["dcp: ", "dcmp: ", "dsync: "].iter().any(|tool| line.starts_with(tool));
    let lines: Vec<&str> = ended.stderr.lines().filter(is_complaint).collect();
    assert!(lines.len() == 1 && lines[0].contains(word), "{}", ended.stderr);
}

#[test]
fn what_cannot_be_reached_is_one_line_and_nothing_is_done() {
    let work = Sandbox::new();
    let source = work.at("source");
    small_tree(&source);
    let server = served(Behaviour::default());
    let mut wrong = server.environment();
    for (name, value) in &mut wrong {
        if *name == "AWS_SECRET_ACCESS_KEY" {
            "wrong".clone_into(value);
        }
    }
    for count in [1, 4] {
        for (from, to) in [(text(&source), "s3://none/x"), ("s3://none/x", "/dev/shm/none")] {
            assert_one_line(&go(&server, count, &["dcp", from, to]), 3, "no such bucket");
        }
        for (from, to) in [(text(&source), "s3://data/x"), ("s3://data/x", "/dev/shm/none")] {
            let ended = run(within(tool(count, "dcp"), &wrong).args([from, to]));
            assert_one_line(&ended, 3, "does not accept the signature");
        }
        let nothing = ["dcp", "s3://data/none", "/dev/shm/none"];
        assert_one_line(&go(&server, count, &nothing), 3, "No such file");
    }
    assert_eq!(server.counts().writes(), 0);
}

#[test]
fn an_endpoint_where_nobody_answers_is_one_line() {
    let work = Sandbox::new();
    let source = work.at("source");
    small_tree(&source);
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = served(Behaviour::default());
    let refused =
        format!("connection refused; check the endpoint's host and port (endpoint http://{gone})");
    let cases =
        [(format!("http://{gone}"), &refused[..]), ("http://none.invalid".into(), "host name")];
    for (endpoint, words) in &cases {
        for (tool, from, to) in [
            ("dcp", text(&source), "s3://data/x"),
            ("dcp", "s3://data/x", "/dev/shm/none"),
            ("dsync", text(&source), "s3://data/x"),
            ("dcmp", "s3://data/x", text(&source)),
        ] {
            let mut command = with(&server, 1, tool);
            command.arg("--s3-endpoint").arg(endpoint);
            assert_one_line(&run(command.args([from, to])), 3, words);
        }
    }
    assert_eq!(server.counts().total(), 0);
}

/// Checks that a service that has never answered is tried a few times, not as often as one that
/// has: the user waits for the error.
#[test]
fn who_never_answers_is_not_asked_often() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&connections);
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            counted.fetch_add(1, Ordering::SeqCst);
            drop(connection);
        }
    });
    let server = served(Behaviour::default());
    let mut dwalk = with(&server, 1, "dwalk");
    let ended = run(dwalk.args(["--s3-endpoint", &endpoint, "s3://data/x"]));
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert!(ended.stderr.contains("cannot be reached"), "{}", ended.stderr);
    let tries = connections.load(Ordering::SeqCst);
    assert!((2..=u64::from(limits::S3_FIRST_ATTEMPTS_MAX)).contains(&tries), "{tries}");
}

#[test]
fn refusals_and_bodies_that_break_off_are_lived_through() {
    let work = Sandbox::new();
    let source = work.at("source");
    small_tree(&source);
    trees::write(&source.join("big"), &trees::noise(11 << 20));
    for count in [1, 4] {
        let storm =
            Behaviour { refuse_every: 3, cut_every: 2, cut_after_bytes: 1, ..Behaviour::default() };
        let server = served(storm);
        let back = work.path().join(format!("back-{count}"));
        go(&server, count, &["dcp", "-p", "-k", "5MiB", text(&source), "s3://data/up"]).expect(0);
        go(&server, count, &["dcp", "-p", "-k", "5MiB", "s3://data/up", text(&back)]).expect(0);
        assert_eq!(entries(&source), entries(&back));
        assert_eq!(diff(&source, &back), "");
        let counts = server.counts();
        assert!(counts.refused > 10 && counts.cut > 10, "{counts}");
    }
}

/// Checks throttling. A window of `w` requests gets some `w * w / 4` answered before it is a
/// request too many again, so few are throttled, whatever the number of ranks: a share of what they
/// send, not of the time. Responses take so long that neither processors nor the number of threads
/// bounds the requests first.
#[test]
fn a_busy_service_is_sent_fewer_requests_by_all_ranks() {
    const REQUESTS_MAX: u64 = 64;
    let work = Sandbox::new();
    let source = work.at("source");
    trees::small_files(&source, 20, 100);
    // Fewer than the threads that a rank surely uses.
    for (count, bears, quirks) in
        [(1, 12, vec![]), (4, 24, vec![]), (4, 24, vec![Quirk::TooManyRequests])]
    {
        let server = served(Behaviour { bears, latency_ms: 30, quirks, ..Behaviour::default() });
        let into = Sandbox::new();
        let back = into.path().join("back");
        let mut told = 0;
        for (from, to) in [(text(&source), "s3://data/up"), ("s3://data/up", text(&back))] {
            let at_once = &format!("--s3-concurrency={REQUESTS_MAX}");
            let json = ["dcp", "--json", at_once, from, to];
            let ended = go(&server, count, &json).expect(0);
            told += ended.summary()["totals"]["throttled_requests"].as_u64().unwrap();
        }
        assert_eq!(diff(&source, &back), "");
        let counts = server.counts();
        assert_eq!(told, counts.refused);
        let (share, ranks) = (bears / u64::from(count), u64::from(count));
        let first_bursts = 2 * (ranks * REQUESTS_MAX - bears);
        let bound = first_bursts + counts.total() * 4 / (share * share);
        assert!((1..bound).contains(&counts.refused), "{bound} {counts}");
        assert!(bound < counts.total() / 4, "that would be no small share: {bound} {counts}");
    }
}

/// Checks that each wrong byte is an error of that file, and nothing else is.
#[test]
fn content_that_arrives_otherwise_is_an_error_of_that_file() {
    let work = Sandbox::new();
    let source = work.at("source");
    small_tree(&source);
    trees::write(&source.join("big"), &trees::noise(11 << 20));
    let files = entries(&source).len() - 2; // without the link
    let server = served(Behaviour { spoil_puts_every: 1, ..Behaviour::default() });
    let ended = go(&server, 4, &["dcp", "-k", "5MiB", text(&source), "s3://data/up"]).expect(23);
    assert!(ended.stderr.contains("does not match its checksum"), "{}", ended.stderr);
    // An empty body cannot be spoilt.
    assert_eq!(server.keys_of(BUCKET), ["up/empty"]);
    assert_eq!(server.open_uploads(BUCKET), 0);
    server.behave(Behaviour::default());
    go(&server, 4, &["dcp", "-p", "-k", "5MiB", text(&source), "s3://data/good"]).expect(0);
    for every in [1, 3] {
        server.behave(Behaviour { spoil_gets_every: every, ..Behaviour::default() });
        server.reset_counts();
        let back = work.path().join(format!("back-{every}"));
        let down = ["dcp", "-p", "--json", "-k", "5MiB", "s3://data/good", text(&back)];
        let ended = go(&server, 4, &down);
        let failed = ended.summary()["totals"]["failed"].as_u64().unwrap() as usize;
        assert!(server.counts().spoilt > 0 && failed <= files);
        // What is small is tried once more.
        assert!(if every == 1 { failed > 0 } else { failed < files }, "{every} {failed}");
        assert_eq!(ended.code, Some(if failed > 0 { 23 } else { 0 }));
        // What is there is right.
        for line in diff(&source, &back).lines() {
            assert!(line.starts_with(&format!("Only in {}", source.display())), "{line}");
        }
        let whole = entries(&back).len();
        assert_eq!(whole + failed, entries(&source).len());
    }
    // Through memory from one service to another, nobody else looks.
    let far = stranger(Behaviour::default());
    server.behave(Behaviour { spoil_gets_every: 1, ..Behaviour::default() });
    let mut dcp = remotes(tool(1, "dcp"), [("NEAR", &server), ("FAR", &far)]);
    run(dcp.args(["near:data/good", "far:data/up"])).expect(23);
    assert_eq!(far.keys_of(BUCKET), ["up/empty"]);
}

/// Checks services that ignore checksums, and those that refuse them: content arrives, and a wrong
/// byte does not.
#[test]
fn services_without_checksums_are_met_with_other_checks() {
    let work = Sandbox::new();
    let source = work.at("source");
    small_tree(&source);
    trees::write(&source.join("big"), &trees::noise(11 << 20));
    for quirk in [Quirk::NoChecksums, Quirk::RefusesChecksums] {
        let old = Behaviour::with_quirks(&[quirk, Quirk::NoTrailers, Quirk::CopyNeedsLength]);
        for count in [1, 4] {
            let server = served(old.clone());
            let up = ["dcp", "-p", "-k", "5MiB", text(&source), "s3://data/up"];
            go(&server, count, &up).expect(0);
            go(&server, 1, &["dcp", "-k", "5MiB", "s3://data/up", "s3://data/copy"]).expect(0);
            for (number, from) in ["s3://data/up", "s3://data/copy"].into_iter().enumerate() {
                let back = work.path().join(format!("{quirk:?}-{count}-{number}"));
                go(&server, count, &["dcp", "-p", "-k", "5MiB", from, text(&back)]).expect(0);
                assert_eq!(diff(&source, &back), "");
            }
            let server = served(Behaviour { spoil_puts_every: 1, ..old.clone() });
            go(&server, count, &up).expect(23);
            assert_eq!(server.keys_of(BUCKET), ["up/empty"], "{quirk:?}");
        }
    }
}

#[test]
fn a_job_that_dies_in_an_upload_leaves_no_object_of_that_name() {
    let work = Sandbox::new();
    let source = work.at("big");
    trees::write(&source, &trees::noise(60 << 20));
    let server = served(Behaviour { hold_parts_after: 2, ..Behaviour::default() });
    let launcher = mpiexec();
    let mut command = Command::new(&launcher[0]);
    command.args(&launcher[1..]).args(["-n", "4"]).arg(program("dcp"));
    let mut command = within(command, &server.environment());
    command.args(["-k", "5MiB", "--threads", "1", text(&source), "s3://data/big"]);
    let mut job =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let sent = || server.counts().of(Operation::UploadPart);
    wait_within(&mut job, "parts are sent", || sent() >= 2);
    let ranks = ranks_of(job.id(), "dcp");
    assert_eq!(ranks.len(), 4);
    run(Command::new("kill").arg("-KILL").arg(ranks[2].to_string())).expect(0);
    assert!(!job.wait().unwrap().success());
    assert_eq!((server.keys_of(BUCKET).len(), server.open_uploads(BUCKET)), (0, 1));
    server.behave(Behaviour::default());
    go(&server, 4, &["dcp", "-k", "5MiB", text(&source), "s3://data/big"]).expect(0);
    let arrived = server.get(BUCKET, "big").unwrap().content.to_bytes();
    assert!(arrived == fs::read(&source).unwrap());
}
