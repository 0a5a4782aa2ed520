//! Tests of what SFTP does not tell, and what must not be lost for that: whether two paths lead to
//! one tree, whether a directory is still there, and changes within a second.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use suite_tests::job::{Ended, for_everybody, nobody, run, tool};
use suite_tests::sandbox::Sandbox;
use suite_tests::sshd::SFTP_SERVER;
use suite_tests::trees;
use suite_tests::unfinished::{begin, files_in};
use suite_tests::waiting::{wait_until, wait_within};
use suite_tests::{need, need_root};

use crate::sftp::{has_server, there};

/// Creates a program in place of ssh that starts the server with these options.
fn server(work: &Sandbox, options: &str) -> String {
    let program = work.at("reach");
    fs::write(&program, format!("#!/bin/sh\nexec {SFTP_SERVER} {options}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program.display().to_string()
}

fn go(shell: &str, name: &str, words: &[&str]) -> Ended {
    run(tool(1, name).args(["--rsh", shell]).args(words))
}

#[test]
fn a_move_and_a_mirror_are_refused_where_no_probe_can_be_made() {
    need_root!();
    need!(has_server(), "sftp-server");
    let work = Sandbox::new();
    let shell = server(&work, "-P mkdir");
    let tree = work.at("x");
    trees::write(&tree.join("sub/deep/f"), b"precious");
    trees::write(&tree.join("g"), b"precious");
    let (here, at_host) = (format!("{}/", tree.display()), format!("{}/", there(&tree)));
    let deep = tree.join("sub/deep").display().to_string();
    for words in [
        &["dcp", "-a", "--remove-source", "-u", &here, &at_host][..],
        &["dcp", "-a", "--remove-source", &at_host, &here],
        &["dsync", "-D", &deep, &at_host],
    ] {
        let ended = go(&shell, words[0], &words[1..]);
        // What a server without directories to make cannot be written to needs no probe.
        assert!(matches!(ended.code, Some(2 | 3)), "{words:?}: {ended:?}");
        assert_eq!(files_in(&tree).len(), 2, "{words:?}: {ended:?}");
    }
    let refused = go(&shell, "dsync", &["-D", &deep, &at_host]);
    assert!(refused.stderr.contains("no directory can be made"), "{refused:?}");
    // A copy loses nothing by it.
    fs::create_dir(work.at("w")).unwrap();
    let file = tree.join("g").display().to_string();
    go(&shell, "dcp", &[&file, &format!("{}/", there(&work.at("w")))]).expect(0);
}

#[test]
fn other_names_of_a_file_keep_what_they_have() {
    need!(has_server(), "sftp-server");
    let work = Sandbox::new();
    let shell = server(&work, "");
    let (source, target) = (work.source(), work.target());
    for name in ["mode", "content"] {
        trees::write(&source.join(name), b"old");
        fs::set_permissions(source.join(name), fs::Permissions::from_mode(0o644)).unwrap();
    }
    run(Command::new("cp").arg("-a").args([&source, &target])).expect(0);
    for name in ["mode", "content"] {
        fs::hard_link(target.join(name), target.join(format!("other-{name}"))).unwrap();
    }
    fs::set_permissions(source.join("mode"), fs::Permissions::from_mode(0o600)).unwrap();
    trees::write(&source.join("content"), b"longer");
    let (from, to) = (format!("{}/", source.display()), there(&target));
    go(&shell, "dsync", &["-a", "--inplace", &from, &to]).expect(0);
    let mode = |name: &str| fs::metadata(target.join(name)).unwrap().mode() & 0o777;
    assert_eq!((mode("mode"), mode("other-mode")), (0o600, 0o644));
    assert_eq!(fs::read(target.join("content")).unwrap(), b"longer");
    assert_eq!(fs::read(target.join("other-content")).unwrap(), b"old");
}

#[test]
fn a_source_that_vanishes_deletes_nothing() {
    need_root!();
    need!(has_server(), "sftp-server");
    let work = Sandbox::new();
    let shell = server(&work, "");
    for number in 0..40 {
        trees::write(&work.source().join(format!("d{number}/e/f")), b"content");
        trees::write(&work.source().join(format!("d{number}/f")), b"content");
    }
    run(Command::new("cp").arg("-a").args([work.source(), work.target()])).expect(0);
    trees::write(&work.source().join("new"), b"new");
    let mut sync = tool(1, "dsync");
    sync.args(["-aD", "--iops-limit=60", "--rsh", &shell]);
    let mut job = begin(sync.arg(there(&work.source())).arg(work.target()));
    wait_within(&mut job, "the job copies", || work.target().join("new").exists());
    fs::rename(work.source(), work.at("moved away")).unwrap();
    fs::create_dir(work.source()).unwrap();
    assert!(matches!(job.wait().unwrap().code(), Some(3 | 23 | 24)));
    assert!(files_in(&work.target()).len() > 80, "{:?}", files_in(&work.target()));
}

/// Checks a directory that may be listed and not searched, whose entries the server leaves out.
#[test]
fn a_directory_that_may_not_be_searched_is_not_empty() {
    need_root!();
    need!(has_server(), "sftp-server");
    let (work, dwalk) = for_everybody("dwalk");
    let shell = server(&work, "");
    let dir = work.source().join("d");
    trees::write(&dir.join("f"), b"content");
    let mode = |mode| fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
    run(Command::new("chown").args(["-R", "65534:65534"]).arg(work.source())).expect(0);
    mode(0o400);
    let mut walk = nobody();
    walk.arg(dwalk).args(["--rsh", &shell]).arg(there(&work.source())).env("HOME", work.path());
    let ended = run(&mut walk).expect(23);
    assert!(ended.stderr.contains("Permission denied"), "{ended:?}");
    mode(0o700);
}

/// Checks that a resumed copy has one version of a file whose change shows by its content alone.
#[test]
fn a_resumed_copy_does_not_mix_versions() {
    need_root!();
    need!(has_server(), "sftp-server");
    let work = Sandbox::new();
    let shell = server(&work, "");
    let (large, time) = (work.source().join("large"), UNIX_EPOCH + Duration::from_hours(400_000));
    let put = |letter: u8| {
        trees::write(&large, &vec![letter; 24 << 20]);
        fs::File::options().write(true).open(&large).unwrap().set_modified(time).unwrap();
    };
    put(b'A');
    let journal = work.at("journal");
    fs::create_dir(&journal).unwrap();
    let copy = |limit: &str| {
        let mut copy = tool(1, "dcp");
        copy.args(["-a", "--resume", "-k1M", "--threads=2", "--rsh", &shell, limit, "--journal"])
            .arg(&journal);
        copy.arg(format!("{}/", there(&work.source()))).arg(work.target());
        copy
    };
    let mut job = begin(&mut copy("--bwlimit=8M"));
    let arrived = || {
        let blocks = |path| fs::metadata(path).map_or(0, |it| it.blocks());
        files_in(&work.target()).iter().map(blocks).sum::<u64>() * 512 > 6 << 20
    };
    wait_within(&mut job, "a part has arrived", arrived);
    run(Command::new("kill").args(["-TERM", &job.id().to_string()])).expect(0);
    assert_eq!(job.wait().unwrap().code(), Some(20));
    put(b'B');
    run(&mut copy("--bwlimit=0")).expect(0);
    let content = fs::read(work.target().join("large")).unwrap();
    assert!(content.iter().all(|byte| *byte == b'B'));
}

/// Checks that a change in the second of the modification time is copied, or told.
#[test]
fn a_change_within_a_second_is_not_lost() {
    need_root!();
    need!(has_server(), "sftp-server");
    let work = Sandbox::new();
    let shell = server(&work, "");
    let file = work.source().join("f");
    trees::write(&file, b"");
    // The change comes in the same second as the first content.
    wait_until("a second begins", || {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_millis() < 50
    });
    fs::write(&file, "old").unwrap();
    let mut copy = tool(1, "dcp");
    copy.args(["-p", "--rsh", &shell]).arg(format!("{}/", there(&work.source())));
    let mut job = begin(copy.arg(work.target()));
    std::thread::sleep(Duration::from_millis(600));
    fs::write(&file, "new").unwrap();
    let code = job.wait().unwrap().code();
    let copied = fs::read(work.target().join("f")).unwrap_or_default();
    assert!(code != Some(0) || copied == b"new", "{code:?}");
}

#[test]
fn times_are_compared_in_seconds_and_a_directory_from_the_future_is_listed_once() {
    need!(has_server(), "sftp-server");
    let work = Sandbox::new();
    let shell = server(&work, "");
    let (source, target) = (work.source(), work.target());
    trees::write(&source.join("f"), b"new and longer");
    trees::write(&target.join("f"), b"old");
    let stamp = |path: &Path, time: &str| {
        run(Command::new("touch").args(["-d", time]).arg(path)).expect(0);
    };
    stamp(&source.join("f"), "2020-01-01 00:00:00.9");
    stamp(&target.join("f"), "2020-01-01 00:00:00.1");
    stamp(&source, "2037-01-01 00:00:00");
    let (from, to) = (format!("{}/", there(&source)), target.display().to_string());
    go(&shell, "dsync", &["-u", &from, &to]).expect(0);
    assert_eq!(fs::read(target.join("f")).unwrap(), b"new and longer");
    go(&shell, "dwalk", &[&from]).expect(0);
}

#[test]
fn a_dry_run_leaves_the_server_as_it_is() {
    need!(has_server(), "sftp-server");
    let work = Sandbox::new();
    let shell = server(&work, "");
    let (source, target) = (work.source(), work.target());
    trees::write(&source.join("f"), b"content");
    fs::create_dir(&target).unwrap();
    let (here, at_host) = (source.display().to_string(), there(&target));
    let seen = || {
        let found = fs::metadata(&target).unwrap();
        (found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec())
    };
    let before = seen();
    go(&shell, "dcp", &["-n", &here, &at_host]).expect(0);
    go(&shell, "dsync", &["-n", "-D", &here, &at_host]).expect(0);
    assert_eq!(seen(), before);
}
