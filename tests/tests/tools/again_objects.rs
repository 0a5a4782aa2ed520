//! Tests of the same command again with locations in S3: an object that was stored again is another
//! version of it, whatever its size and modification time; and the way in which objects are stored
//! is part of the command.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::path::Path;
use std::process::Command;

use suite_tests::buckets::{diff, served, text, with};
use suite_tests::job::{Ended, run};
use suite_tests::object_server::{Behaviour, ObjectServer};
use suite_tests::sandbox::Sandbox;
use suite_tests::trees::{noise, write};
use suite_tests::unfinished::{journals, totals};

/// Key that is not a path: the job ends with 23 as long as it exists.
const UNFIT: &str = "s//key";

/// Uploads a tree to the source: its times are stored with the objects.
fn publish(server: &ObjectServer, tree: &Path) {
    let mut command = with(server, 1, "dsync");
    run(command.args(["-q", "-c"]).arg(tree).arg("s3://data/s/")).expect(0);
}

/// Writes other content of the same size and modification time.
fn rewrite(file: &Path) {
    let time = std::fs::metadata(file).unwrap().modified().unwrap();
    let bytes: Vec<u8> = std::fs::read(file).unwrap().iter().map(|byte| !byte).collect();
    std::fs::write(file, bytes).unwrap();
    std::fs::File::options().write(true).open(file).unwrap().set_modified(time).unwrap();
}

fn tree(work: &Path) -> std::path::PathBuf {
    let tree = work.join("tree");
    for (name, length) in [("a", 3000), ("b", 2000), ("large", 300_000), ("d/c", 10)] {
        write(&tree.join(name), &noise(length));
    }
    tree
}

/// Runs a copy that cannot end well, replaces two objects of its source, and runs it again.
fn replaced_between(server: &ObjectServer, tree: &Path, command: impl Fn(u32) -> Command) -> Ended {
    publish(server, tree);
    server.put("data", UNFIT, "");
    run(&mut command(2)).expect(23);
    for name in ["a", "large"] {
        rewrite(&tree.join(name));
    }
    server.remove("data", UNFIT);
    publish(server, tree);
    run(&mut command(3)).expect(0)
}

#[test]
fn an_object_that_was_replaced_by_one_of_its_size_and_time_is_copied_again() {
    for name in ["dcp", "dsync"] {
        let (server, work) = (served(Behaviour::default()), Sandbox::new());
        let (tree, target) = (tree(work.path()), work.target());
        let ended = replaced_between(&server, &tree, |ranks| {
            let mut command = with(&server, ranks, name);
            command.args(["-p", "--resume", "--json", "--chunksize=64KiB", "s3://data/s/"]);
            command.arg(&target);
            command
        });
        assert_eq!(totals(&ended, "copied_bytes"), 303_000, "{name}: a and large");
        assert_eq!(diff(&tree, &target), "", "{name}");
        assert!(journals(&target).is_empty());
    }
}

#[test]
fn an_object_that_was_replaced_is_copied_again_within_a_service() {
    let (server, work) = (served(Behaviour::default()), Sandbox::new());
    let (tree, journal) = (tree(work.path()), work.at("journal"));
    replaced_between(&server, &tree, |ranks| {
        let mut command = with(&server, ranks, "dcp");
        command.args(["-p", "--json", "--journal", text(&journal), "s3://data/s/", "s3://data/t/"]);
        command
    });
    for name in ["a", "b", "large", "d/c"] {
        let stored = server.get("data", &format!("t/{name}")).unwrap().content.to_bytes();
        assert!(stored == std::fs::read(tree.join(name)).unwrap(), "{name}");
    }
    assert!(!journal.exists());
}

#[test]
fn a_file_that_was_rewritten_in_place_is_stored_again() {
    let (server, work) = (served(Behaviour::default()), Sandbox::new());
    let (tree, journal) = (tree(work.path()), work.at("journal"));
    let command = |ranks| {
        let mut command = with(&server, ranks, "dcp");
        command.args(["-pL", "--json", "--journal", text(&journal)]);
        command.arg(tree.join("")).arg("s3://data/t/");
        command
    };
    unfinished(&tree, command);
    rewrite(&tree.join("a"));
    let ended = run(&mut command(2)).expect(0);
    assert_eq!(totals(&ended, "copied_bytes"), 3000);
    let stored = server.get("data", "t/a").unwrap().content.to_bytes();
    assert!(stored == std::fs::read(tree.join("a")).unwrap());
}

/// Runs a copy that follows symbolic links and ends with 23, because one of them is dangling.
fn unfinished(tree: &Path, command: impl Fn(u32) -> Command) {
    let link = tree.join("link");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    run(&mut command(2)).expect(23);
    std::fs::remove_file(link).unwrap();
}

#[test]
fn how_objects_are_stored_is_part_of_the_command() {
    let (server, work) = (served(Behaviour::default()), Sandbox::new());
    let (tree, journal) = (tree(work.path()), work.at("journal"));
    let command = |ranks, options: &[&str]| {
        let mut command = with(&server, ranks, "dcp");
        command.args(["-pL", "--json", "--journal", text(&journal)]).args(options);
        command.arg(tree.join("")).arg("s3://data/t/");
        command
    };
    unfinished(&tree, |ranks| command(ranks, &[]));
    for (option, name) in [
        ("--storage-class=STANDARD_IA", "--storage-class"),
        ("--sse=AES256", "--sse"),
        ("--acl=private", "--acl"),
        ("--s3-metadata=rclone", "--s3-metadata"),
    ] {
        let ended = run(&mut command(2, &[option])).expect(2);
        assert!(ended.stderr.contains(&format!("other options ({name})")), "{}", ended.stderr);
    }
    // Another service is another location.
    let other = served(Behaviour::default());
    let elsewhere = format!("--s3-endpoint={}", other.endpoint());
    let ended = run(&mut command(2, &[&elsewhere])).expect(2);
    assert!(ended.stderr.contains("belongs to another job"), "{}", ended.stderr);
    let markers = ["--s3-directory-markers", "--s3-part-size=8MiB"];
    run(&mut command(2, &markers)).expect(0);
    assert!(server.get("data", "t/d/").is_some(), "what is finished has them, too");
    assert!(!journal.exists() && other.keys_of("data").is_empty());
}
