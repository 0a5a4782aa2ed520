//! Tests of users without privileges: entries that they may not inspect, and permissions that they
//! remove from themselves.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use suite_tests::buckets::served;
use suite_tests::job::{Ended, copy_program, mpiexec, nobody, run};
use suite_tests::need_root;
use suite_tests::object_server::Behaviour;
use suite_tests::sandbox::Sandbox;
use suite_tests::trees;

const NOBODY: u32 = 65534;

/// A directory of that user's, and the tools where everybody can run them.
struct Home {
    dir: Sandbox,
}

impl Home {
    fn new() -> Self {
        let dir = Sandbox::new();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        for tool in ["dcp", "dsync", "dwalk"] {
            copy_program(tool, &dir.path().join(tool));
        }
        let home = Self { dir };
        for owned in ["home", "tmp"] {
            fs::create_dir(home.at(owned)).unwrap();
            home.give(owned);
        }
        home
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn give(&self, path: &str) {
        chown(self.at(path), Some(NOBODY), Some(NOBODY)).unwrap();
    }

    /// Creates a file of the user's.
    fn file(&self, path: &str, content: &[u8], mode: u32) {
        trees::write(&self.at(path), content);
        let mut above = Path::new(path);
        while above != Path::new("home") {
            self.give(above.to_str().unwrap());
            above = above.parent().unwrap();
        }
        fs::set_permissions(self.at(path), Permissions::from_mode(mode)).unwrap();
    }

    /// Runs a tool as the user, with a umask that its launcher does not have: Open MPI's could not
    /// use its own directory.
    fn run(&self, ranks: u32, umask: &str, words: &[&str]) -> Ended {
        run(&mut self.command(ranks, umask, words))
    }

    fn command(&self, ranks: u32, umask: &str, words: &[&str]) -> Command {
        let launcher = mpiexec();
        let mut command = nobody();
        if ranks > 1 {
            command.args(&launcher).args(["-n", &ranks.to_string()]);
        }
        command.args(["sh", "-c", &format!("umask {umask}; exec \"$@\""), "sh"]);
        command.arg(self.at(words[0])).args(&words[1..]).env("HOME", self.at("home"));
        // Launchers keep what is theirs there.
        command.env("TMPDIR", self.at("tmp")).current_dir(self.at("home"));
        command
    }
}

/// Checks a file that cannot be inspected at the target: inspecting it would only have saved work.
#[test]
fn what_cannot_be_inspected_at_the_target_counts_as_different() {
    need_root!();
    let home = Home::new();
    for ranks in [1, 3] {
        for options in [&["-c"][..], &["-c", "-k", "1KiB"], &["-c", "--xattrs=user"]] {
            let _ = fs::remove_dir_all(home.at("home/s"));
            let _ = fs::remove_dir_all(home.at("home/t"));
            for (name, bytes) in [("small", 100), ("large", 9000)] {
                let (new, old) = (vec![1; bytes], vec![2; bytes]);
                home.file(&format!("home/s/{name}"), &new, 0o644);
                home.file(&format!("home/t/{name}"), &old, 0o000);
                home.file(&format!("home/s/same-{name}"), &new, 0o644);
                home.file(&format!("home/t/same-{name}"), &new, 0o200);
            }
            home.run(ranks, "022", &[&["dsync"], options, &["s", "t"]].concat()).expect(0);
            for name in ["small", "large", "same-small", "same-large"] {
                let [new, copy] = ["s", "t"].map(|tree| home.at(&format!("home/{tree}/{name}")));
                assert_eq!(fs::read(new).unwrap(), fs::read(copy).unwrap(), "{name} {options:?}");
            }
        }
    }
    // An unreadable file to which it might have been linked does not keep a file from being copied.
    home.file("home/old/small", &[1; 100], 0o000);
    home.run(1, "022", &["dsync", "-c", "--link-dest=old", "s", "new"]).expect(0);
    assert_eq!(fs::read(home.at("home/new/small")).unwrap(), [1; 100]);
}

/// Checks that the owner's permissions stay until a copy is complete, as with cp(1).
#[test]
fn a_umask_that_takes_the_owners_rights_hinders_no_copy() {
    need_root!();
    let home = Home::new();
    home.file("home/s/a/b/small", b"content", 0o644);
    home.file("home/s/a/large", &trees::noise(40_000), 0o755);
    for (ranks, umask) in [(1, "0277"), (3, "0777"), (2, "0700")] {
        for tool in ["dcp", "dsync"] {
            let target = format!("{tool}{umask}");
            home.run(ranks, umask, &[tool, "-k", "4KiB", "s", &target]).expect(0);
            let mask = u32::from_str_radix(umask, 8).unwrap();
            for (path, mode) in
                [("", 0o755), ("a", 0o755), ("a/b/small", 0o644), ("a/large", 0o755)]
            {
                let new = fs::metadata(home.at(&format!("home/{target}")).join(path)).unwrap();
                // dsync keeps modes.
                let mode = if tool == "dcp" { mode & !mask } else { mode };
                assert_eq!(new.mode() & 0o777, mode, "{tool} {umask} {path}");
            }
            let copied = fs::read(home.at(&format!("home/{target}/a/large"))).unwrap();
            assert!(copied == trees::noise(40_000));
        }
    }
}

/// Checks that files which their owner may not write get other content and extended attributes.
#[test]
fn what_its_owner_may_not_write_is_made_equal_all_the_same() {
    need_root!();
    let home = Home::new();
    for (path, content) in
        [("s/f", "new content"), ("t/f", "old"), ("s/g", "same"), ("t/g", "same")]
    {
        home.file(&format!("home/{path}"), content.as_bytes(), 0o644);
    }
    let at = |path: &str| home.at(&format!("home/{path}"));
    let xattr = ["-n", "user.extra", "-v", "1"];
    for path in ["t/g", "t"] {
        run(Command::new("setfattr").args(xattr).arg(at(path))).expect(0);
    }
    for (path, mode) in [("s/f", 0o444), ("t/f", 0o444), ("s/g", 0o400), ("t/g", 0o000)] {
        fs::set_permissions(at(path), Permissions::from_mode(mode)).unwrap();
    }
    for path in ["s", "t"] {
        fs::set_permissions(at(path), Permissions::from_mode(0o755)).unwrap();
    }
    home.run(2, "022", &["dsync", "-a", "-X", "--inplace", "s", "t"]).expect(0);
    assert_eq!(fs::read(at("t/f")).unwrap(), b"new content");
    for (path, mode) in [("t/f", 0o444), ("t/g", 0o400)] {
        assert_eq!(fs::metadata(at(path)).unwrap().mode() & 0o777, mode, "{path}");
    }
    for path in ["t", "t/g"] {
        let listed = run(Command::new("getfattr").arg(at(path))).expect(0);
        assert_eq!(listed.stdout, "", "{path}");
    }
}

/// Checks that a user who may not change owners stores the mode of a file with an equal object that
/// has none before the file is removed.
#[test]
fn a_move_onto_an_equal_object_stores_its_mode() {
    need_root!();
    let (home, server) = (Home::new(), served(Behaviour::default()));
    home.file("home/s/f", b"content", 0o600);
    let with = |words: &[&str]| {
        let words = [&["dcp"], words].concat();
        run(home.command(1, "022", &words).envs(server.environment())).expect(0)
    };
    with(&["--preserve=timestamps", "s/f", "s3://data/t/f"]);
    with(&["-p", "-u", "--remove-source", "s/", "s3://data/t"]);
    assert!(!home.at("home/s/f").exists());
    with(&["-p", "s3://data/t/f", "back"]);
    assert_eq!(fs::metadata(home.at("home/back")).unwrap().mode() & 0o777, 0o600);
}

/// Checks that a file that is written into keeps its mode, as with cp(1), and that only a request
/// for another one is reported as failed.
#[test]
fn a_file_of_somebody_elses_may_be_written_into() {
    need_root!();
    let home = Home::new();
    home.file("home/s/f", b"new content", 0o644);
    trees::write(&home.at("home/t/f"), b"old");
    fs::set_permissions(home.at("home/t/f"), Permissions::from_mode(0o666)).unwrap();
    home.run(1, "022", &["dcp", "--inplace", "s/f", "t"]).expect(0);
    let new = fs::metadata(home.at("home/t/f")).unwrap();
    assert_eq!((new.mode() & 0o777, new.uid()), (0o666, 0));
    assert_eq!(fs::read(home.at("home/t/f")).unwrap(), b"new content");
    home.run(1, "022", &["dcp", "--inplace", "--preserve=mode", "s/f", "t"]).expect(23);
}

/// Checks a directory that may not be opened: its attributes are known to its parent.
#[test]
fn a_directory_that_cannot_be_read_is_in_the_list_beside_the_failure() {
    need_root!();
    let home = Home::new();
    home.file("home/s/shut/inside", b"content", 0o644);
    home.file("home/s/file", b"content", 0o644);
    fs::set_permissions(home.at("home/s/shut"), Permissions::from_mode(0o000)).unwrap();
    for ranks in [1, 3] {
        let ended = home.run(ranks, "022", &["dwalk", "--json", "-o", "list.ndjson", "s"]);
        let summary = ended.expect(23).summary();
        assert_eq!(summary["totals"]["found"]["directories"], 2, "{summary}");
        assert_eq!(summary["totals"]["unread_directories"], 1, "{summary}");
        let list = fs::read_to_string(home.at("home/list.ndjson")).unwrap();
        let is_shut = |line: &&str| line.contains("s/shut\"") && line.contains("\"0000\"");
        assert_eq!(list.lines().filter(is_shut).count(), 1, "{list}");
    }
    fs::set_permissions(home.at("home/s/shut"), Permissions::from_mode(0o755)).unwrap();
}
