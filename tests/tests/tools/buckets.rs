//! Tests of the list of a service's buckets.

use suite_tests::buckets::{BUCKET, go, remotes, served};
use suite_tests::job::{run, tool};
use suite_tests::object_server::tearing::{Ending, Tear, Tearing};
use suite_tests::object_server::{Behaviour, Operation, Quirk};

#[test]
fn a_service_without_a_bucket_lists_its_buckets() {
    let server = served(Behaviour::default());
    server.put("another", "key", "content");
    for ranks in [1, 3] {
        let ended = go(&server, ranks, &["dwalk", "s3://"]).expect(0);
        let names: Vec<_> =
            ended.stdout.lines().map(|line| line.split_once("Z ").unwrap().1.trim()).collect();
        assert_eq!(names, ["another", BUCKET]);
    }
    let json = go(&server, 1, &["dwalk", "--json", "s3://"]).expect(0).stdout;
    let events: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!([&events[0]["event"], &events[0]["name"]], ["bucket", "another"]);
    assert!(events[1]["created"].as_str().unwrap().ends_with('Z'), "{json}");
    for words in [&["near:"][..], &["near:/"]] {
        let mut command = remotes(tool(1, "dwalk"), [("NEAR", &server), ("FAR", &server)]);
        let text = run(command.args(words)).expect(0).stdout;
        assert_eq!(text.lines().count(), 2, "{text}");
    }
}

#[test]
fn a_list_of_buckets_that_is_torn_or_denied_is_an_error() {
    let server = served(Behaviour::default());
    for tear in [Tear::AtTag(4), Tear::Empty, Tear::Page, Tear::WithoutElement("Name")] {
        let tearing = Tearing::rule(&[Operation::ListBuckets], tear, Ending::LengthFits, u64::MAX);
        server.behave(Behaviour::with_tearing(tearing));
        let ended = go(&server, 1, &["dwalk", "s3://"]).expect(3);
        assert_eq!(ended.stdout, "", "{tear:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{tear:?}: {}", ended.stderr);
        assert!(server.reset_counts().torn() > 0, "{tear:?}");
    }
    server.behave(Behaviour::with_quirks(&[Quirk::DeniesLists]));
    let ended = go(&server, 1, &["dwalk", "s3://"]).expect(3);
    assert!(ended.stderr.contains("AccessDenied"), "{}", ended.stderr);
    // Other tools need a bucket.
    let ended = go(&server, 1, &["dcp", "s3://", "t"]).expect(2);
    assert!(ended.stderr.contains("bucket is missing"), "{}", ended.stderr);
}
