//! Tests of objects that change while they are copied, mirrored or compared: what was listed and is
//! gone or another one by the time of its turn. Jobs are held at an object, not by a clock.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::fs;
use std::path::Path;
use std::process::Stdio;

use suite_tests::buckets::{served, text, with};
use suite_tests::job::{Ended, run};
use suite_tests::object_server::{Behaviour, ObjectServer};
use suite_tests::sandbox::Sandbox;
use suite_tests::trees::write;
use suite_tests::waiting::wait_within;

/// The objects of the source, in the order in which they are visited.
const NAMES: [&str; 4] = ["a", "held", "replaced", "vanished"];

/// Stores the objects, and writes a tree that is equal to them.
fn equal_trees(server: &ObjectServer, target: &Path) {
    for name in NAMES {
        server.put("data", &format!("tree/{name}"), format!("{name} before"));
        write(&target.join(name), format!("{name} before").as_bytes());
    }
}

/// Runs a tool from the objects to a tree, and calls `change` when all names are listed and the
/// first of them was dealt with.
fn changed_meanwhile(
    server: &ObjectServer,
    (words, target): (&[&str], &Path),
    change: impl FnOnce(),
) -> Ended {
    server.behave(Behaviour { hold_keys_with: Some("held".to_owned()), ..Behaviour::default() });
    let held_before = server.counts().held;
    let mut command = with(server, 1, words[0]);
    command.args(["--json", "--threads=1", "--s3-concurrency=1"]).args(&words[1..]);
    command.args(["s3://data/tree/", text(target)]);
    let job = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut job = job.spawn().unwrap();
    wait_within(&mut job, "it is held", || server.counts().held > held_before);
    change();
    server.behave(Behaviour::default());
    let ended = job.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ended { code: ended.status.code(), stdout: text(&ended.stdout), stderr: text(&ended.stderr) }
}

#[test]
fn objects_that_change_before_their_turn_are_not_taken_for_equal() {
    for words in [&["dcmp"][..], &["dcp"], &["dsync", "-c"], &["dsync", "-D", "-c"]] {
        for is_new in [true, false] {
            let (server, work) = (served(Behaviour::default()), Sandbox::new());
            let target = work.target();
            equal_trees(&server, &target);
            if is_new && words[0] != "dcmp" {
                fs::remove_dir_all(&target).unwrap();
            }
            let ended = changed_meanwhile(&server, (words, &target), || {
                server.put("data", "tree/replaced", "replaced later!");
                server.remove("data", "tree/vanished");
            });
            let ended = ended.expect(24);
            let totals = ended.summary()["totals"].clone();
            let counts = (&totals["vanished"], &totals["failed"]);
            assert_eq!(counts, (&1.into(), &0.into()), "{words:?} {}", ended.stderr);
            assert!(ended.stderr.contains("tree/vanished\": No such file"), "{}", ended.stderr);
            if words[0] == "dcmp" {
                let differences = ended.events("difference");
                assert_eq!(differences.len(), 1, "{differences:?}");
                assert_eq!(differences[0]["path"]["text"], "replaced");
            } else {
                let copy = fs::read_to_string(target.join("replaced")).unwrap();
                assert_eq!(copy, "replaced later!", "{words:?}");
                assert_eq!(target.join("vanished").exists(), !is_new, "{words:?}");
            }
        }
    }
}

/// Checks keys that appear where the listing was already: what only the target had then stays.
#[test]
fn objects_that_appear_keep_what_the_target_has_of_their_names() {
    let (server, work) = (served(Behaviour::default()), Sandbox::new());
    let target = work.target();
    equal_trees(&server, &target);
    for name in ["before/appeared", "appeared", "extra"] {
        write(&target.join(name), b"only here");
    }
    let words = ["dsync", "-D", "-c"];
    let ended = changed_meanwhile(&server, (&words, &target), || {
        server.put("data", "tree/appeared", "too late");
        server.put("data", "tree/before/appeared", "too late");
    });
    let totals = ended.expect(24).summary()["totals"].clone();
    assert_eq!(totals["synced"]["reappeared"], 2, "{totals}");
    assert!(target.join("appeared").exists() && target.join("before/appeared").exists());
    assert!(!target.join("extra").exists());
    run(with(&server, 1, "dsync").args(["-D", "-c", "s3://data/tree/", text(&target)])).expect(0);
    assert_eq!(fs::read_to_string(target.join("before/appeared")).unwrap(), "too late");
}
