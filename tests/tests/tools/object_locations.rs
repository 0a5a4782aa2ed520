//! Tests of locations in S3 on the command line, which are spelled as names are.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use suite_tests::buckets::{go, served};
use suite_tests::job::{run, tool};
use suite_tests::object_server::Behaviour;
use suite_tests::sandbox::Sandbox;
use suite_tests::trees;

/// Checks that a location is spelled as names are, and that no key made from another spelling is
/// used.
#[test]
fn locations_that_end_in_a_key_that_is_no_name_are_refused() {
    let server = served(Behaviour::default());
    let work = Sandbox::new();
    let keys = ["k/l.rclonelink", "k/‛FF", "t‛E2‛80‛9BFF", "t‛FF"];
    for key in keys {
        server.put("data", key, &b"target"[..]);
    }
    let target = work.target().display().to_string();
    for location in ["k/‛FF", "k/l.rclonelink", "t‛FF"].map(|key| format!("s3://data/{key}")) {
        for words in [
            &["drm", &location][..],
            &["dcp", &location, &target],
            &["dsync", &location, &target],
            &["dcmp", &location, &target],
            &["dwalk", &location],
        ] {
            let ended = go(&server, 1, words);
            assert!(!matches!(ended.code, Some(0 | 1)), "{words:?}: {ended:?}");
            assert!(ended.stderr.contains("another name"), "{words:?}: {ended:?}");
        }
        let refused = go(&server, 1, &["dcp", "/etc/hostname", &location]);
        assert!(refused.stderr.contains("another name"), "{refused:?}");
    }
    assert_eq!(server.keys_of("data"), keys);
    // Nor is another directory taken.
    for key in ["u‛FF/f", "u‛E2‛80‛9BFF/f"] {
        server.put("data", key, &b"content"[..]);
    }
    let there = work.at("there").display().to_string();
    fs::create_dir(&there).unwrap();
    let refused = go(&server, 1, &["dcp", "s3://data/u‛FF", &there]);
    assert!(refused.stderr.contains("another name"), "{refused:?}");
    go(&server, 1, &["dcp", "s3://data/u‛FF/", &there]).expect(0);
    for key in ["u‛FF/f", "u‛E2‛80‛9BFF/f"] {
        server.remove("data", key);
    }
    // A link goes by its name.
    go(&server, 1, &["dcp", "s3://data/k/l", &target]).expect(0);
    assert_eq!(fs::read_link(&target).unwrap(), Path::new("target"));
    go(&server, 2, &["drm", "s3://data/k/l"]).expect(0);
    assert_eq!(server.keys_of("data"), keys[1..]);
    // So do a byte that is not UTF-8, and a directory that has one.
    let mut drm = tool(1, "drm");
    drm.arg(OsStr::from_bytes(b"s3://data/k/\xff"));
    run(drm.envs(server.environment())).expect(0);
    assert_eq!(server.keys_of("data"), keys[2..]);
    let named = OsStr::from_bytes(b"d\xff");
    trees::write(&work.at("in").join(named).join("f"), b"content");
    let mut dcp = tool(1, "dcp");
    dcp.arg(work.at("in").join(named)).arg("s3://data/in/");
    run(dcp.envs(server.environment())).expect(0);
    assert_eq!(server.keys_of("data")[0], "in/d‛FF/f");
}

#[test]
fn wildcards_and_links_in_locations_are_told_and_targets_may_have_them() {
    let server = served(Behaviour::default());
    let work = Sandbox::new();
    for key in ["p/[q]/a", "p/[q]/b"] {
        server.put("data", key, &b"content"[..]);
    }
    trees::write(&work.at("f"), b"content");
    let file = work.at("f").display().to_string();
    go(&server, 1, &["dcp", &file, "s3://data/x[1]"]).expect(0);
    go(&server, 1, &["drm", "s3://data/p/[q]"]).expect(0);
    assert_eq!(server.keys_of("data"), ["x[1]"]);
    let target = work.target().display().to_string();
    let missing = go(&server, 1, &["dcp", "s3://data/x*", &target]);
    assert!(missing.stderr.contains("wildcards are not expanded"), "{missing:?}");
    for tool in ["dcp", "dsync"] {
        let refused = go(&server, 1, &[tool, "-L", "s3://data/", &target]).expect(2);
        assert!(refused.stderr.contains("leave out -L"), "{refused:?}");
    }
}
