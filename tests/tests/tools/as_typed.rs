//! Tests of command lines as people type them who know cp, rsync, rclone and s5cmd: what they mean,
//! or one clear line.

use std::fs;
use std::path::Path;
use std::process::Command;

use suite_tests::buckets;
use suite_tests::job::{Ended, alone, run};
use suite_tests::object_server::Behaviour;
use suite_tests::trees;

/// Runs a tool in a directory, with variables of the environment.
fn typed(work: &Path, variables: &[(&str, &str)], words: &[&str]) -> Ended {
    let mut job: Command = alone(words[0]);
    job.current_dir(work).envs(variables.iter().copied());
    run(job.args(&words[1..]))
}

/// Returns a directory with a file, a tree, and a configuration of rclone with two remotes.
fn work() -> (tempfile::TempDir, String) {
    let work = tempfile::tempdir().unwrap();
    trees::write(&work.path().join("f"), b"file");
    trees::write(&work.path().join("data/projA/a"), b"new");
    trees::write(&work.path().join("backup/projA/a"), b"old");
    trees::write(&work.path().join("backup/projB/b"), b"precious");
    let conf = work.path().join("rclone.conf");
    let remote = "type = s3\nprovider = Minio\nendpoint = http://127.0.0.1:1\n";
    fs::write(&conf, format!("[lab]\n{remote}[archive]\n{remote}")).unwrap();
    let conf = conf.to_str().unwrap().to_owned();
    (work, conf)
}

/// Returns the only line on standard error.
fn line(ended: &Ended) -> &str {
    let mut lines = ended.stderr.lines();
    match (lines.next(), lines.next()) {
        (Some(line), None) => line,
        _ => panic!("not one line: {ended:?}"),
    }
}

#[test]
fn a_place_on_another_host_never_becomes_a_local_file() {
    let (work, conf) = work();
    let variables = [("RCLONE_CONFIG", &*conf)];
    for words in [
        &["dcp", "f", "gs:x"][..],
        &["dcp", "gs:x", "f2"],
        &["dsync", "data", "gs:x"],
        &["dsync", "--link-dest=gs:x", "data", "new"],
        &["dcmp", "data", "gs:x"],
        &["dwalk", "gs:x"],
        &["drm", "gs:x"],
        &["dcp", "--clean", "gs:x"],
    ] {
        let ended = typed(work.path(), &variables, words).expect(2);
        let line = line(&ended);
        assert!(line.contains("lab, archive") && line.contains("\"./"), "{words:?}: {line}");
    }
    let words = ["dcp", "-e", "false", "f", "user@host.example:x"];
    let ended = typed(work.path(), &variables, &words).expect(3);
    assert!(line(&ended).contains("user@host.example"), "{ended:?}");
    for words in [
        &["dwalk", "-o", "gs:x.ndjson", "data"][..],
        &["dwalk", "-i", "gs:x.ndjson"],
        &["dwalk", "--report", "gs:x.html", "data"],
        &["dwalk", "--files-from", "gs:x", "data"],
        &["dcp", "--journal", "gs:x", "f", "new"],
        &["dcp", "--manifest", "gs:x", "f", "new"],
        &["dcp", "-i", "gs:x", "data", "new"],
        &["dcmp", "--combined", "gs:x", "data", "backup"],
        &["dcmp", "-o", "EXIST=ONLY_SRC:gs:x", "data", "backup"],
        &["dcmp", "--manifest", "gs:x", "data"],
        &["drm", "-o", "gs:x", "data"],
    ] {
        let ended = typed(work.path(), &variables, words).expect(2);
        assert!(ended.stderr.contains("./gs:x"), "{words:?}: {}", ended.stderr);
    }
    assert_eq!(fs::read_dir(work.path()).unwrap().count(), 4, "nothing was made");
    typed(work.path(), &variables, &["dcp", "f", "./gs:x"]).expect(0);
    typed(work.path(), &variables, &["dwalk", "-o", "./gs:l", "data"]).expect(0);
    assert!(work.path().join("gs:x").exists() && work.path().join("gs:l").exists());
}

#[test]
fn a_mirror_does_not_delete_what_rsync_would_update() {
    let (work, _) = work();
    let sync = |words: &[&str]| typed(work.path(), &[], &[&["dsync"], words].concat());
    for target in ["backup", "backup/"] {
        let refused = sync(&["-D", "data/projA", target]).expect(2);
        let line = line(&refused);
        for spelling in ["\"data/projA/\" \"backup/projA\"", "\"data/projA/\" \"backup"] {
            assert!(line.contains(spelling), "{line}");
        }
    }
    assert_eq!(fs::read(work.path().join("backup/projB/b")).unwrap(), b"precious");
    // Without --delete nothing is lost, and a plan deletes as the job would.
    sync(&["-n", "data/projA", "backup"]).expect(0);
    sync(&["-nD", "data/projA", "backup"]).expect(2);
    sync(&["-nD", "data/projA/", "backup"]).expect(0);
    sync(&["-nD", "data/projA", "backup/projA"]).expect(0);
    // A directory of that name in the source is what the one in the target is a copy of.
    trees::write(&work.path().join("data/projA/projA/c"), b"x");
    sync(&["-D", "data/projA", "backup"]).expect(0);
    assert!(!work.path().join("backup/projB").exists());
}

#[test]
fn a_mirror_in_s3_does_not_delete_what_rsync_would_update() {
    let server = buckets::served(Behaviour::default());
    server.put("data", "backup/projA/a", "old");
    server.put("data", "backup/projB/b", "precious");
    let work = tempfile::tempdir().unwrap();
    let source = work.path().join("projA");
    trees::write(&source.join("a"), b"new");
    let words = ["dsync", "-D", buckets::text(&source), "s3://data/backup"];
    let refused = buckets::go(&server, 1, &words).expect(2);
    assert!(refused.stderr.contains("/projA/\" \"s3://data/backup/projA\""), "{}", refused.stderr);
    assert_eq!(server.keys_of("data").len(), 2);
}

#[test]
fn one_clear_line_for_what_cannot_be() {
    let (work, _) = work();
    for (words, code, expected) in [
        (&["dsync", "data", "backup", "third"][..], 2, "one operand too many, \"third\""),
        (&["dcmp", "data", "backup", "third"], 2, "one operand too many, \"third\""),
        (&["dsync", "-D", "--files-from", "f", "data", "backup"], 2, "would be extraneous"),
        (&["dsync", "-D", "-i", "f", "data", "backup"], 2, "would be extraneous"),
        (&["dcp", "f", "none/x"], 3, "--mkpath"),
        (&["dcp", "data", "none/x"], 3, "--mkpath"),
        (&["dcp", "-n", "data", "none/x"], 3, "--mkpath"),
        (&["dsync", "f", "none/x"], 3, "--mkpath"),
        (&["dsync", "data", "none/x"], 3, "--mkpath"),
        (&["dcp", "f", "data", "none"], 2, "several sources"),
        (&["dcp", "-rf", "data", "new"], 2, "-f is --filter here, and \"data\" is no rule"),
        (&["drm", "-rf", "data"], 2, "leave out the -f"),
    ] {
        let ended = typed(work.path(), &[], words).expect(code);
        assert!(line(&ended).contains(expected), "{words:?}: {}", ended.stderr);
    }
    typed(work.path(), &[], &["dcp", "--clean", "--min-age", "0s", "backup"]).expect(0);
    let here = typed(work.path(), &[], &["dwalk", "--json"]).expect(0);
    assert_eq!(here.summary()["totals"]["found"]["files"], 5);
}

#[test]
fn wildcards_that_no_shell_expands_are_told_of() {
    let server = buckets::served(Behaviour::default());
    server.put("data", "x/a.h5", "a");
    let work = tempfile::tempdir().unwrap();
    let back = work.path().join("back");
    let back = buckets::text(&back);
    for words in [
        &["dcp", "s3://data/x/*.h5", back][..],
        &["dsync", "s3://data/x/*", back],
        &["dcmp", "s3://data/x*", back],
        &["dwalk", "s3://data/*"],
        &["drm", "s3://data/*.h5"],
    ] {
        let ended = buckets::go(&server, 1, words);
        assert!(matches!(ended.code, Some(3 | 23)), "{words:?}: {ended:?}");
        assert!(ended.stderr.contains("--include"), "{words:?}: {}", ended.stderr);
    }
    // A key may have such characters.
    server.put("data", "y/*", "star");
    buckets::go(&server, 1, &["dcp", "s3://data/y/*", back]).expect(0);
    assert_eq!(fs::read(back).unwrap(), b"star");
}

#[test]
fn the_environment_is_read_as_it_is_written() {
    let (work, _) = work();
    let dcp = |variable: &str, value: &str, words: &[&str]| {
        typed(work.path(), &[(variable, value)], &[&["dcp"], words].concat())
    };
    for value in ["1", "yes", "true"] {
        dcp("DCP_DRY_RUN", value, &["f", "new"]).expect(0);
        assert!(!work.path().join("new").exists(), "{value}");
    }
    for (variable, value) in [
        ("DCP_THREADS", "0"),
        ("DCP_DRY_RUN", "perhaps"),
        ("DCP_MIN_AGE", "7"),
        ("DCP_PRESERVE", "colour"),
        ("DCP_EXCLUDE", "[a"),
        ("DCP_JOURNAL", "gs:x"),
    ] {
        let ended = dcp(variable, value, &["-v", "f", "new"]).expect(2);
        assert!(ended.stderr.contains(variable), "{variable}: {}", ended.stderr);
    }
    // The command line is to blame, where it is.
    let ended = dcp("DCP_CHUNKSIZE", "1M", &["--threads=0", "f", "new"]).expect(2);
    assert!(!ended.stderr.contains("environment"), "{}", ended.stderr);
    let ended = dcp("DCP_QUIET", "yes", &["-v", "f", "loud"]).expect(0);
    assert!(ended.stdout.contains("files"), "{}", ended.stdout);
    let ended = dcp("DCP_VERBOSE", "2", &["-q", "f", "quiet"]).expect(0);
    assert_eq!((&*ended.stdout, &*ended.stderr), ("", ""));
    for value in ["0", "no", "false"] {
        dcp("DCP_DRY_RUN", value, &["f", &format!("new{value}")]).expect(0);
        assert!(work.path().join(format!("new{value}")).exists());
    }
    let warned = dcp("DCP_CHUNKSIZ", "1M", &["f", "other"]).expect(0);
    assert!(warned.stderr.contains("DCP_CHUNKSIZE exists"), "{}", warned.stderr);
}

#[test]
fn sizes_are_what_they_say_and_n_is_a_dry_run() {
    let (work, _) = work();
    let ended = typed(work.path(), &[], &["dcp", "-k", "1MB", "f", "new"]).expect(0);
    assert!(ended.stderr.contains("980.0 KiB"), "{}", ended.stderr);
    let ended = typed(work.path(), &[], &["dcp", "-k", "64MB", "f", "new"]).expect(0);
    assert!(ended.stderr.contains("(64,000,000 bytes)"), "{}", ended.stderr);
    let clobber = |words: &[&str]| {
        typed(work.path(), &[], &[&["dcp", "-n"], words].concat()).expect(0).stderr
    };
    assert!(clobber(&["f", "new"]).contains("--ignore-existing"));
    assert!(!clobber(&["f", "newer"]).contains("--ignore-existing"));
    assert!(!clobber(&["-p", "f", "new"]).contains("--ignore-existing"));
}

#[test]
fn names_of_options_can_be_shortened_but_for_those_that_delete() {
    let (work, _) = work();
    for short in ["--dele", "--delete-a"] {
        let said = typed(work.path(), &[], &["dsync", "--dry", short, "data/", "new"]).expect(2);
        assert!(said.stderr.contains("--del"), "{said:?}");
    }
    typed(work.path(), &[], &["dsync", "--dry", "--prune", "data/", "new"]).expect(0);
    assert!(!work.path().join("new").exists());
    let several = typed(work.path(), &[], &["dcp", "--pr", "f", "f2"]).expect(2);
    assert!(line(&several).contains("--preserve, ") && line(&several).contains("--progress"));
    assert!(!work.path().join("f2").exists());
}
