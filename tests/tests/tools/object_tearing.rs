//! Tests of torn answers of a service: each is requested again or an error, and nothing is created,
//! compared or deleted because of it.
//!
//! `docs/s3-requests.md` lists where each request is torn; `object_seeds` tears all of them by
//! chance.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use suite_tests::buckets::{BUCKET, files, served, text, write_all};
use suite_tests::cloud::within;
use suite_tests::job::{Ended, run, tool};
use suite_tests::object_server::tearing::{ENDINGS, Ending, Tear, Tearing};
use suite_tests::object_server::{Behaviour, ObjectServer, Operation, Quirk};
use suite_tests::sandbox::Sandbox;
use suite_tests::trees;

const LISTS: [Operation; 1] = [Operation::ListObjectsV2];

/// Runs a tool with that number of attempts for each request.
fn with_attempts(server: &ObjectServer, ranks: u32, attempts: u32, words: &[&str]) -> Ended {
    let mut command: Command = within(tool(ranks, words[0]), &server.environment());
    run(command.env("AWS_MAX_ATTEMPTS", attempts.to_string()).args(&words[1..]))
}

fn put_all(server: &ObjectServer, prefix: &str, all: &BTreeMap<String, Vec<u8>>) {
    for (name, content) in all {
        server.put(BUCKET, &format!("{prefix}{name}"), content.clone());
    }
}

/// Returns twelve small files in three directories.
fn small() -> BTreeMap<String, Vec<u8>> {
    let name = |number: u32| format!("d{}/f{number:02}", number / 5);
    (0..12).map(|number| (name(number), number.to_string().into_bytes())).collect()
}

/// Checks that dsync -D deletes nothing of a target that is equal to its source, and fails, where
/// answers are torn for good.
#[track_caller]
fn assert_nothing_is_deleted(server: &ObjectServer, tearing: &Tearing) {
    let (work, all) = (Sandbox::new(), small());
    let target = work.at("target");
    write_all(&target, &all);
    server.behave(Behaviour { page_keys: 4, ..Behaviour::with_tearing(tearing.clone()) });
    let words = ["dsync", "-D", "--size-only", "s3://data/tree", text(&target)];
    let ended = with_attempts(server, 1, 1, &words);
    assert!(ended.code != Some(0) && server.reset_counts().torn() > 0, "{tearing:?}: {ended:?}");
    assert_eq!(files(&target), all, "{tearing:?}");
}

/// Approximate number of tags in the list of a directory: further ones repeat.
const LIST_TAGS: usize = 60;

#[test]
fn a_list_that_is_cut_at_any_tag_is_an_error_and_nothing_is_deleted() {
    let server = served(Behaviour::default());
    put_all(&server, "tree/", &small());
    for number in (0..LIST_TAGS).step_by(3) {
        let ending = ENDINGS[number % ENDINGS.len()];
        let tearing = Tearing::rule(&LISTS, Tear::AtTag(number), ending, u64::MAX);
        assert_nothing_is_deleted(&server, &tearing);
    }
}

#[test]
fn a_list_of_another_kind_is_an_error_and_nothing_is_deleted() {
    let server = served(Behaviour::default());
    put_all(&server, "tree/", &small());
    for tear in [
        Tear::Empty,
        Tear::Page,
        Tear::AtByte(1),
        Tear::AtByte(777),
        Tear::WithoutEntry(0),
        Tear::WithoutEntry(2),
        Tear::WithoutElement("NextContinuationToken"),
        Tear::WithoutElement("IsTruncated"),
        Tear::WithoutElement("Key"),
        Tear::Longer,
        Tear::Endless,
    ] {
        for ending in [Ending::LengthFits, Ending::Closes] {
            let tearing = Tearing::rule(&LISTS, tear, ending, u64::MAX);
            assert_nothing_is_deleted(&server, &tearing);
        }
    }
}

/// Checks that a torn answer is requested again.
#[test]
fn lists_that_are_torn_once_are_lived_through() {
    let server = served(Behaviour::default());
    put_all(&server, "tree/", &small());
    let ways = [Tear::AtTag(20), Tear::Empty, Tear::Page, Tear::WithoutEntry(1), Tear::Longer];
    for (number, tear) in ways.into_iter().enumerate() {
        let work = Sandbox::new();
        let target = work.at("target");
        let tearing = Tearing::rule(&LISTS, tear, ENDINGS[number % ENDINGS.len()], 2);
        server.behave(Behaviour { page_keys: 4, ..Behaviour::with_tearing(tearing) });
        server.reset_counts();
        with_attempts(&server, 2, 4, &["dcp", "s3://data/tree", text(&target)]).expect(0);
        assert_eq!(files(&target), small());
        assert_eq!(server.reset_counts().torn(), 2);
    }
}

/// Checks that a page without keys does not end a list, and that repeated pages do, with an error.
#[test]
fn pages_without_keys_and_tokens_in_a_circle() {
    let server = served(Behaviour::default());
    put_all(&server, "tree/", &small());
    let (work, all) = (Sandbox::new(), small());
    let target = work.at("target");
    server.behave(Behaviour { page_keys: 4, ..Behaviour::with_quirks(&[Quirk::EmptyPages]) });
    for ranks in [1, 2] {
        with_attempts(&server, ranks, 1, &["dsync", "-D", "s3://data/tree", text(&target)])
            .expect(0);
        assert_eq!(files(&target), all);
    }
    server.behave(Behaviour { page_keys: 1, ..Behaviour::with_quirks(&[Quirk::TokensInACircle]) });
    let words = ["dsync", "-D", "--size-only", "s3://data/tree", text(&target)];
    let ended = with_attempts(&server, 1, 1, &words).expect(23);
    assert!(ended.stderr.contains("invalid response"), "{}", ended.stderr);
    assert_eq!(files(&target), all);
}

#[test]
fn a_service_that_lists_by_markers_only_is_listed_to_the_end() {
    let server = served(Behaviour::default());
    let all: BTreeMap<_, _> =
        (0..40).map(|number| (format!("d{}/f+{number:02}", number % 3), vec![1])).collect();
    put_all(&server, "tree/", &all);
    let (work, old) = (Sandbox::new(), Behaviour::with_quirks(&[Quirk::ListsByMarker]));
    let old = Behaviour { page_keys: 6, ..old };
    for ranks in [1, 2] {
        let target = work.path().join(format!("target{ranks}"));
        server.behave(old.clone());
        let words = ["dsync", "-D", "s3://data/tree", text(&target)];
        with_attempts(&server, ranks, 1, &words).expect(0);
        assert_eq!(files(&target), all);
        assert!(server.reset_counts().of(Operation::ListObjects) > 3);
        let tearing =
            Tearing::rule(&[Operation::ListObjects], Tear::AtTag(20), Ending::LengthFits, u64::MAX);
        server.behave(Behaviour { tearing: Some(tearing), ..old.clone() });
        assert_ne!(with_attempts(&server, ranks, 1, &words).code, Some(0));
        assert_eq!(files(&target), all);
    }
}

/// Checks changed names, which lead to directories without keys.
#[test]
fn a_listed_directory_without_keys_makes_a_walk_incomplete() {
    let server = served(Behaviour::with_quirks(&[Quirk::PlainPrefixes]));
    let names = ["a+b/x", "c%41d/x", "plain/x"];
    let all: BTreeMap<_, _> = names.iter().map(|name| ((*name).to_owned(), vec![1])).collect();
    put_all(&server, "tree/", &all);
    let work = Sandbox::new();
    let target = work.at("target");
    write_all(&target, &all);
    // Where all keys are read at once, no common prefix is.
    let words = ["dsync", "-D", "--size-only", "s3://data/tree", text(&target)];
    let ended = with_attempts(&server, 1, 1, &words);
    assert_eq!(files(&target), all, "{}", ended.stderr);
    let dwalk = with_attempts(&server, 1, 1, &["dwalk", "s3://data/tree"]);
    let is_told = ended.code == Some(23) && ended.stderr.contains("there is no key in it");
    assert!(is_told && dwalk.code == Some(23), "{ended:?} {dwalk:?}");
}

/// Checks that lists of an earlier job's parts spare requests where they are complete, and nothing
/// where not.
#[test]
fn lists_of_parts_that_are_torn_spare_nothing() {
    let work = Sandbox::new();
    let source = work.at("big");
    trees::write(&source, &trees::noise(11 << 20));
    let lists = [Operation::ListMultipartUploads, Operation::ListParts];
    for tear in [Tear::AtTag(12), Tear::Page, Tear::WithoutEntry(0)] {
        let tearing = Tearing::rule(&lists, tear, Ending::LengthFits, u64::MAX);
        let server = served(Behaviour::with_tearing(tearing));
        let words = ["dcp", "-k", "5MiB", text(&source), "s3://data/big"];
        with_attempts(&server, 1, 1, &words).expect(0);
        let stored = server.get(BUCKET, "big").unwrap().content.to_bytes();
        assert!(stored == fs::read(&source).unwrap(), "{tear:?}");
        assert!(tear == Tear::WithoutEntry(0) || server.counts().torn() > 0, "{tear:?}");
    }
}

/// Checks that no more is read of an endless answer than an honest one may have.
#[test]
fn an_answer_without_an_end_is_read_as_far_as_an_honest_one() {
    let server = served(Behaviour::default());
    put_all(&server, "tree/", &small());
    let attempts = 2;
    let tearing = Tearing::rule(&LISTS, Tear::Endless, Ending::Chunked, u64::MAX);
    server.behave(Behaviour::with_tearing(tearing));
    let ended = with_attempts(&server, 1, attempts, &["dwalk", "s3://data/tree"]).expect(3);
    assert!(ended.stderr.contains("longer than"), "{}", ended.stderr);
    let bound = types::limits::S3_DOCUMENT_BYTES_MAX as u64;
    // What the system keeps on its way counts, too.
    let most = u64::from(attempts) * (bound + (16 << 20));
    assert!((bound..most).contains(&server.endless_bytes()), "{}", server.endless_bytes());
}

/// Checks that a deletion that another server answers is reported as failed, since nothing was
/// deleted.
#[test]
fn a_deletion_that_a_gateway_answers_is_no_deletion() {
    let server = served(Behaviour::default());
    put_all(&server, "tree/", &small());
    let (work, empty) = (Sandbox::new(), BTreeMap::new());
    let source = work.at("source");
    write_all(&source, &empty);
    let tearing =
        Tearing::rule(&[Operation::DeleteObject], Tear::Page, Ending::LengthFits, u64::MAX);
    server.behave(Behaviour::with_tearing(tearing));
    let words = ["dsync", "-D", text(&source), "s3://data/tree"];
    let ended = with_attempts(&server, 1, 2, &words).expect(23);
    assert!(ended.stderr.contains("incomplete response"), "{}", ended.stderr);
}

/// Checks an upload that was begun and not completed, which is looked for in torn lists.
#[test]
fn lists_of_uploads_that_are_torn_are_an_error_of_those_who_remove_them() {
    for operation in [Operation::ListMultipartUploads, Operation::AbortMultipartUpload] {
        let server = served(Behaviour::default());
        let mut aws = suite_tests::cloud::aws(&server.environment());
        let begin = ["s3api", "create-multipart-upload", "--bucket", BUCKET, "--key", "tree/x"];
        run(aws.args(begin)).expect(0);
        // The server has given the upload up, whatever it says.
        let ways: &[_] = match operation {
            Operation::ListMultipartUploads => {
                &[Tear::AtTag(9), Tear::Empty, Tear::Page, Tear::Longer]
            }
            _ => &[Tear::Page],
        };
        for &tear in ways {
            let tearing = Tearing::rule(&[operation], tear, Ending::LengthFits, u64::MAX);
            server.behave(Behaviour::with_tearing(tearing));
            server.reset_counts();
            let words = ["dcp", "--min-age=0s", "--clean", "s3://data/tree"];
            let ended = with_attempts(&server, 1, 1, &words).expect(23);
            assert!(ended.stderr.contains("incomplete response"), "{tear:?}: {}", ended.stderr);
            assert_eq!(server.counts().torn(), 1);
        }
    }
}
