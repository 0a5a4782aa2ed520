//! drm with locations in S3: the number of requests, and the treatment of keys that a service does
//! not delete.

use std::process::Stdio;

use suite_tests::buckets::{BUCKET, go, served, text, with};
use suite_tests::object_server::tearing::{Ending, Tear, Tearing};
use suite_tests::object_server::{Behaviour, ObjectServer, Operation, Quirk};
use suite_tests::sandbox::Sandbox;
use suite_tests::trees;
use suite_tests::waiting::wait_within;

/// Creates a server with that number of objects below `old/`, in directories of a hundred, and one
/// object next to them.
fn filled(behaviour: Behaviour, objects: usize) -> ObjectServer {
    let server = served(behaviour);
    for number in 0..objects {
        server.put(BUCKET, &format!("old/d{:03}/f{number:05}", number / 100), &b"content"[..]);
    }
    server.put(BUCKET, "old", &b"stays"[..]);
    server.put(BUCKET, "older/file", &b"stays"[..]);
    server
}

const STAYS: [&str; 2] = ["old", "older/file"];

#[test]
fn twenty_thousand_objects_go_in_21_requests() {
    let server = filled(Behaviour::default(), 20_000);
    let ended = go(&server, 1, &["drm", "--json", "s3://data/old/"]).expect(0);
    assert_eq!(server.keys_of(BUCKET), STAYS);
    let counts = server.reset_counts();
    assert!(counts.of(Operation::DeleteObjects) <= 21, "{counts:?}");
    assert_eq!(counts.of(Operation::DeleteObject), 0);
    assert_eq!(counts.of(Operation::HeadObject), 0);
    let totals = &ended.summary()["totals"];
    assert_eq!(totals["synced"]["deleted"]["files"], 20_000);
    // Listings report the sizes of objects.
    assert_eq!(totals["found_bytes"], 20_000 * 7);
}

#[test]
fn directories_that_a_service_lists_without_objects_are_no_rest() {
    let server = filled(Behaviour::with_quirks(&[Quirk::ListsEmptyDirectories]), 300);
    go(&server, 2, &["drm", "s3://data/old/"]).expect(0);
    assert_eq!(server.keys_of(BUCKET), STAYS);
}

/// Checks that an object which is stored while others are deleted is noticed at the end.
#[test]
fn an_object_that_is_stored_meanwhile_is_a_rest() {
    for root in ["s3://data/old", "s3://data/old/"] {
        let singly = Behaviour::with_quirks(&[Quirk::NoDeleteObjects]);
        let server = served(singly.clone());
        for key in ["old/a", "old/held", "other"] {
            server.put(BUCKET, key, &b"content"[..]);
        }
        let holding = Behaviour { hold_keys_with: Some("held".to_owned()), ..singly.clone() };
        server.behave(holding);
        let mut command = with(&server, 1, "drm");
        let job = command.arg(root).stdin(Stdio::null()).stdout(Stdio::null());
        let mut job = job.stderr(Stdio::piped()).spawn().unwrap();
        wait_within(&mut job, "it is held", || server.counts().held > 0);
        server.put(BUCKET, "old/late", &b"content"[..]);
        server.behave(singly);
        let ended = job.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(23), "{stderr}");
        assert!(stderr.contains("Directory not empty"), "{stderr}");
        assert_eq!(server.keys_of(BUCKET), ["old/late", "other"]);
    }
}

#[test]
fn ranks_share_the_objects_and_markers_go_too() {
    let server = filled(Behaviour::default(), 2500);
    for marker in ["old/", "old/d003/", "old/empty/"] {
        server.put(BUCKET, marker, &b""[..]);
    }
    go(&server, 4, &["drm", "-n", "s3://data/old"]).expect(0);
    assert_eq!(server.keys_of(BUCKET).len(), 2500 + 3 + 2);
    go(&server, 4, &["drm", "s3://data/old"]).expect(0);
    assert_eq!(server.keys_of(BUCKET), STAYS);
    assert!(server.counts().of(Operation::DeleteObjects) <= 2 + 4 + 4);
    // A single object is deleted.
    go(&server, 1, &["drm", "s3://data/older/file"]).expect(0);
    assert_eq!(server.keys_of(BUCKET), ["old"]);
    for bucket in ["s3://data", "s3://data/"] {
        let ended = go(&server, 1, &["drm", bucket]).expect(3);
        assert!(ended.stderr.contains("is a whole bucket"), "{}", ended.stderr);
    }
    go(&server, 1, &["drm", "s3://data/none"]).expect(3);
}

#[test]
fn filters_and_markers_of_directories_that_stay() {
    let server = filled(Behaviour::default(), 300);
    for marker in ["old/d001/", "old/d002/"] {
        server.put(BUCKET, marker, &b""[..]);
    }
    go(&server, 4, &["drm", "--exclude=f0011?", "s3://data/old"]).expect(0);
    let left = server.keys_of(BUCKET);
    assert_eq!(left.len(), 2 + 1 + 10, "{left:?}");
    assert!(left.contains(&"old/d001/".to_owned()) && left.contains(&"old/d001/f00110".to_owned()));
    go(&server, 1, &["drm", "--min-age=1h", "s3://data/old"]).expect(0);
    assert_eq!(server.keys_of(BUCKET).len(), left.len());
}

#[test]
fn a_named_directory_keeps_its_marker_while_it_has_objects() {
    let work = Sandbox::new();
    let server = filled(Behaviour::default(), 300);
    for marker in ["old/d001/", "old/d002/"] {
        server.put(BUCKET, marker, &b""[..]);
    }
    // All of d002 is named, and nothing in d001.
    let named: Vec<_> = (200..300).map(|number| format!("d002/f{number:05}")).collect();
    let list = work.at("named");
    trees::write(&list, format!("d001\nd002\n{}\n", named.join("\n")).as_bytes());
    for count in [2, 1] {
        let words = ["drm", "--json", "--files-from", text(&list), "s3://data/old"];
        let ended = go(&server, count, &words);
        let left = server.keys_of(BUCKET);
        assert_eq!(left.len(), STAYS.len() + 200 + 1, "{ended:?}");
        assert!(left.contains(&"old/d001/".to_owned()), "{ended:?}");
        if count == 2 {
            let synced = &ended.expect(0).summary()["totals"]["synced"];
            assert_eq!(synced["deleted"]["directories"], 1, "{synced}");
            assert_eq!(synced["non_empty_directories"], 1, "{synced}");
        }
    }
}

#[test]
fn a_service_without_batches_is_asked_for_each_object() {
    for quirk in [Quirk::NoDeleteObjects, Quirk::RefusesChecksums] {
        let server = filled(Behaviour::with_quirks(&[quirk]), 300);
        go(&server, 1, &["drm", "s3://data/old"]).expect(0);
        assert_eq!(server.keys_of(BUCKET), STAYS);
        let counts = server.counts();
        assert_eq!(counts.of(Operation::DeleteObjects), 1);
        // Four directory markers might exist, too.
        assert_eq!(counts.of(Operation::DeleteObject), 300 + 4);
    }
}

#[test]
fn keys_that_are_refused_are_failures_and_all_others_go() {
    let server = filled(Behaviour::with_quirks(&[Quirk::LocksKeys, Quirk::BusyKeys]), 150);
    for key in ["old/d000/locked-1", "old/locked-2", "old/d001/busy-3"] {
        server.put(BUCKET, key, &b"x"[..]);
    }
    for count in [1, 4] {
        let ended = go(&server, count, &["drm", "--json", "s3://data/old"]).expect(23);
        let left = [&STAYS[..1], &["old/d000/locked-1", "old/locked-2"], &STAYS[1..]].concat();
        assert_eq!(server.keys_of(BUCKET), left);
        let failures = ended.events("failure");
        assert_eq!(failures.len(), 2, "{}", ended.stdout);
        assert!(failures.iter().all(|it| it["service"]["code"] == "AccessDenied"), "{failures:?}");
    }
    // Keys that were busy are requested one by one, and so are single keys: a marker, and keys of
    // which a rank has only one.
    assert!(server.counts().of(Operation::DeleteObject) <= 4);
}

/// Checks that a response that lacks a key is requested again; nothing is deleted twice, as nothing
/// is left.
#[test]
fn answers_that_do_not_tell_of_each_key_are_asked_for_again() {
    for tear in [Tear::AtTag(20), Tear::Empty, Tear::Page, Tear::WithoutEntry(1)] {
        let tearing = Tearing::rule(&[Operation::DeleteObjects], tear, Ending::LengthFits, 1);
        let server = filled(Behaviour::with_tearing(tearing.clone()), 50);
        go(&server, 1, &["drm", "s3://data/old"]).expect(0);
        assert_eq!(server.keys_of(BUCKET), STAYS);
        assert_eq!(server.counts().torn(), 1, "{tear:?}");
        // The other requests are for the directory markers.
        assert_eq!(server.counts().of(Operation::DeleteObjects), 3);
        let tearing =
            Tearing::rule(&[Operation::DeleteObjects], tear, Ending::LengthFits, u64::MAX);
        let server = filled(Behaviour::with_tearing(tearing), 50);
        go(&server, 1, &["drm", "s3://data/old"]).expect(23);
    }
}

/// Deletes keys that a document would return changed.
#[test]
fn awkward_keys_go() {
    let server = filled(Behaviour::default(), 10);
    for key in ["a\nb", "a\rb", "\u{1}", "ä ö+%2F", "<&>'\"", "‛FF", "x.rclonelink"] {
        server.put(BUCKET, &format!("old/odd/{key}"), &b"x"[..]);
    }
    go(&server, 1, &["drm", "s3://data/old"]).expect(0);
    assert_eq!(server.keys_of(BUCKET), STAYS);
}

/// Checks that the age of an object is that of the file, as with the other tools.
#[test]
fn age_is_that_of_the_file() {
    let server = served(Behaviour::default());
    let work = Sandbox::new();
    for name in ["old", "new"] {
        trees::write(&work.source().join(name), b"x");
    }
    let time = std::time::SystemTime::now() - std::time::Duration::from_hours(2500);
    std::fs::File::open(work.source().join("old")).unwrap().set_modified(time).unwrap();
    let from = work.source().join("");
    go(&server, 1, &["dcp", "-p", text(&from), "s3://data/d"]).expect(0);
    go(&server, 2, &["drm", "--max-age=90d", "s3://data/d"]).expect(0);
    assert_eq!(server.keys_of("data"), ["d/old"]);
}
