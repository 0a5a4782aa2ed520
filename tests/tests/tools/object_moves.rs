//! Moves from and to buckets: `dcp --remove-source` with locations in S3.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Stdio;

use suite_tests::buckets::{BUCKET, go, served, text, with};
use suite_tests::job::run;
use suite_tests::object_server::{Behaviour, Operation, Quirk};
use suite_tests::sandbox::Sandbox;
use suite_tests::trees;
use suite_tests::waiting::wait_within;

use super::moves::contents;

#[test]
fn objects_move_in_both_directions() {
    for count in [1, 4] {
        let work = Sandbox::new();
        trees::small_files(&work.source(), 5, 30);
        trees::write(&work.at("s/large"), &trees::noise(6 << 20));
        symlink("large", work.at("s/link")).unwrap();
        let all = contents(&work.source());
        let server = served(Behaviour::default());
        server.put(BUCKET, "other", &b"stays"[..]);
        let local = work.source();
        let moved = ["dcp", "-p", "--json", "--remove-source"];
        let up = [&moved[..], &[text(&local), "s3://data/s"]].concat();
        go(&server, count, &up).expect(0);
        assert!(!local.exists());
        assert_eq!(server.keys_of(BUCKET).len(), all.len() + 1);
        // Within the service, too.
        go(&server, count, &[&moved[..], &["s3://data/s/", "s3://data/u/"]].concat()).expect(0);
        assert!(!server.keys_of(BUCKET).iter().any(|key| key.starts_with("s/")));
        server.put(BUCKET, "u/empty/", &b""[..]);
        server.reset_counts();
        let down = [&moved[..], &["s3://data/u", text(&local)]].concat();
        let ended = go(&server, count, &down).expect(0);
        assert_eq!(server.keys_of(BUCKET), ["other"], "{}", ended.stdout);
        assert_eq!(contents(&local), all);
        assert_eq!(fs::read_link(local.join("link")).unwrap(), Path::new("large"));
        // Each is removed on the condition that it is still the same.
        let counts = server.counts();
        let requests = counts.of(Operation::DeleteObjects) + counts.of(Operation::DeleteObject);
        assert!(requests <= all.len() as u64 + 20, "{counts:?}");
    }
}

/// Checks that a bucket is recognised behind another address, and that another one with the same
/// content is not taken for it.
#[test]
fn objects_that_have_two_addresses_are_not_moved_onto_themselves() {
    let (server, replica) = (served(Behaviour::default()), served(Behaviour::default()));
    for key in ["d/a", "d/b/c", "d/e"] {
        server.put(BUCKET, key, "kept");
        replica.put(BUCKET, key, "kept");
    }
    let with_remote = |tool: &str, of: &str, words: &[&str]| {
        let (access, secret) = if of == "here" { server.keys() } else { replica.keys() };
        let at = if of == "here" { server.endpoint() } else { replica.endpoint() };
        let mut command = with(&server, 2, tool);
        command.env("RCLONE_CONFIG", "/dev/null").envs([
            ("RCLONE_CONFIG_ALIAS_TYPE", "s3"),
            ("RCLONE_CONFIG_ALIAS_ENDPOINT", &*at.replace("127.0.0.1", "localhost")),
            ("RCLONE_CONFIG_ALIAS_ACCESS_KEY_ID", access),
            ("RCLONE_CONFIG_ALIAS_SECRET_ACCESS_KEY", secret),
        ]);
        run(command.args(words))
    };
    let keys = server.keys_of(BUCKET);
    for (words, why) in [
        (["--remove-source", "s3://data/d/", "alias:data/d/"], "are the same file"),
        (["--remove-source", "s3://data/d/", "alias:data/d/b/"], "inside the source"),
        (["-q", "s3://data/d/e", "alias:data/d/e"], "are the same file"),
        (["-u", "s3://data/d/", "alias:data/d/"], "are the same file"),
    ] {
        let ended = with_remote("dcp", "here", &words).expect(3);
        assert!(ended.stderr.contains(why), "{words:?}: {ended:?}");
        assert_eq!(server.keys_of(BUCKET), keys, "{words:?}");
    }
    let inside = ["-D", "s3://data/d/b/", "alias:data/d"];
    assert!(with_remote("dsync", "here", &inside).expect(3).stderr.contains("inside the target"));
    assert_eq!(server.keys_of(BUCKET), keys);
    with_remote("dcp", "there", &["--remove-source", "s3://data/d/", "alias:data/d/"]).expect(0);
    assert_eq!((server.keys_of(BUCKET).len(), replica.keys_of(BUCKET)), (0, keys));
}

/// Checks that no time passes between looking at an object and removing it in which it may be
/// stored anew.
#[test]
fn objects_that_are_stored_anew_while_others_are_removed_stay() {
    for quirks in [&[][..], &[Quirk::NoConditionalWrites]] {
        let work = Sandbox::new();
        let server = served(Behaviour::default());
        let keys: Vec<String> = (0..60).map(|number| format!("s/{number:02}")).collect();
        for key in &keys {
            server.put(BUCKET, key, &b"content"[..]);
        }
        let behaviour = Behaviour::with_quirks(quirks);
        server.behave(Behaviour { latency_ms: 10, ..behaviour });
        let mut command = with(&server, 1, "dcp");
        command.args(["--remove-source", "--threads=1"]);
        command.args(["s3://data/s/", text(&work.target())]);
        let job = command.stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::null());
        let mut job = job.spawn().unwrap();
        wait_within(&mut job, "some were looked at", || {
            server.counts().of(Operation::HeadObject) >= 10
        });
        // All but the one that is being removed right now.
        let looked_at = server.counts().of(Operation::HeadObject) as usize;
        for key in &keys[..5] {
            server.put(BUCKET, key, &b"anew"[..]);
        }
        let code = job.wait().unwrap().code();
        assert!(looked_at >= 10 && matches!(code, Some(0 | 23)), "{code:?}");
        let left = server.keys_of(BUCKET);
        assert!(keys[..5].iter().all(|key| left.contains(key)), "{left:?}");
    }
}

/// Checks that the mode of a file goes to an object that has the same content and time, and no
/// mode, before the file is removed.
#[test]
fn a_move_onto_an_equal_object_loses_no_attributes() {
    let work = Sandbox::new();
    let server = served(Behaviour::default());
    let (file, target) = (work.at("s/f"), work.at("back"));
    trees::write(&file, b"content");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let times = "--preserve=timestamps";
    go(&server, 1, &["dcp", times, text(&file), "s3://data/t/f"]).expect(0);
    let source = work.at("s").join("").display().to_string();
    go(&server, 1, &["dcp", "-p", "-u", "--remove-source", &source, "s3://data/t"]).expect(0);
    assert!(!file.exists());
    go(&server, 1, &["dcp", "-p", "s3://data/t/f", text(&target)]).expect(0);
    assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn an_object_that_is_stored_anew_after_it_was_read_stays() {
    let work = Sandbox::new();
    let server = served(Behaviour::default());
    for key in ["s/a", "s/b", "s/held-x"] {
        server.put(BUCKET, key, &b"content"[..]);
    }
    server.behave(Behaviour { hold_keys_with: Some("held".to_owned()), ..Behaviour::default() });
    let mut command = with(&server, 1, "dcp");
    command.args(["--remove-source", "s3://data/s/", text(&work.target())]);
    let mut job =
        command.stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    wait_within(&mut job, "two are copied", || {
        work.target().is_dir() && contents(&work.target()).len() == 2
    });
    server.put(BUCKET, "s/b", &b"anew"[..]);
    server.behave(Behaviour::default());
    assert_eq!(job.wait().unwrap().code(), Some(23));
    assert_eq!(server.keys_of(BUCKET), ["s/b"]);
}
