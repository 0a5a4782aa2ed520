//! Tests of dwalk's lists of checksums, verified with the tools that they are for.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal};
use suite_tests::buckets::{BUCKET, go, served, text};
use suite_tests::cloud::{aws, venv};
use suite_tests::job::{alone, run, tool};
use suite_tests::object_server::{Behaviour, Operation};
use suite_tests::preload::Faults;
use suite_tests::sandbox::Sandbox;
use suite_tests::trees;
use suite_tests::waiting::wait_within;

/// Creates a tree with names that must be escaped in a line, or are not UTF-8, and with a symbolic
/// link.
fn files_to_sum(tree: &Path) {
    for name in ["plain", "d/deep er/file", "back\\slash", "line\nfeed", "d/cr\r", "empty"] {
        trees::write(&tree.join(name), name.strip_prefix("empty").unwrap_or(name).as_bytes());
    }
    trees::write(&tree.join(OsStr::from_bytes(b"odd\xff")), b"odd");
    trees::write(&tree.join("large"), &trees::noise(3 << 20));
    symlink("plain", tree.join("link")).unwrap();
}

#[test]
fn sha256sum_and_md5sum_check_lists_of_checksums() {
    let work = Sandbox::new();
    let (tree, list) = (work.source(), work.at("sums"));
    files_to_sum(&tree);
    for (ranks, which, checker) in [(3, "sha256", "sha256sum"), (1, "md5", "md5sum")] {
        let mut dwalk = tool(ranks, "dwalk");
        run(dwalk.args(["--checksum", which, "-o"]).args([&list, &tree])).expect(0);
        let check =
            || run(Command::new(checker).args(["--strict", "-c"]).arg(&list).current_dir(&tree));
        let ended = check().expect(0);
        assert_eq!(ended.stdout.lines().filter(|line| line.ends_with(": OK")).count(), 8);
        fs::write(tree.join("d/cr\r"), "other").unwrap();
        assert_eq!(check().code, Some(1));
        fs::write(tree.join("d/cr\r"), "d/cr\r").unwrap();
    }
}

/// Checks lists with rclone, which does not support escapes: names that need them are left out.
#[test]
fn rclone_checks_lists_of_checksums() {
    let work = Sandbox::new();
    let (tree, list) = (work.source(), work.at("sums"));
    for name in ["plain", "d/deep er/file", "empty"] {
        trees::write(&tree.join(name), name.strip_prefix("empty").unwrap_or(name).as_bytes());
    }
    for which in ["sha256", "blake3", "md5"] {
        let mut dwalk = tool(2, "dwalk");
        run(dwalk.args(["--checksum", which, "--sort=name", "-o"]).args([&list, &tree])).expect(0);
        let lines = fs::read_to_string(&list).unwrap();
        let names: Vec<_> = lines.lines().map(|line| line.split_once("  ").unwrap().1).collect();
        assert_eq!(names, ["d/deep er/file", "empty", "plain"]);
        let check = |code| {
            let mut rclone = Command::new(venv("rclone"));
            rclone.args(["--config", "/dev/null", "check", "--checkfile", which]);
            run(rclone.args([&list, &tree])).expect(code)
        };
        check(0);
        fs::write(tree.join("plain"), "other").unwrap();
        check(1);
        fs::write(tree.join("plain"), "plain").unwrap();
    }
}

#[test]
fn checksums_on_standard_output_are_all_there_is() {
    let work = Sandbox::new();
    let tree = work.source();
    files_to_sum(&tree);
    let of_nothing = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
    // One file, and links that are followed.
    let dwalk = |words: &[&str], path: &Path| {
        run(tool(2, "dwalk").args(["--checksum=blake3"]).args(words).arg(path)).expect(0).stdout
    };
    assert_eq!(dwalk(&["-p"], &tree.join("empty")), format!("{of_nothing}  empty\n"));
    assert_eq!(dwalk(&["-o", "-", "-L"], &tree).lines().count(), 9);
    for wrong in [&[][..], &["-p", "--text"], &["-p", "--json"], &["-o", "sums.parquet"]] {
        run(tool(1, "dwalk").arg("--checksum=md5").args(wrong).arg(&tree)).expect(2);
    }
    run(tool(1, "dwalk").args(["-p", "--checksum=md5"]).args([&tree, &tree])).expect(2);
}

/// Checks that a list in its own tree contains neither itself nor the list that it replaces.
#[test]
fn a_list_of_checksums_in_its_own_tree_has_no_checksum_of_itself() {
    let work = Sandbox::new();
    let (tree, list) = (work.path(), work.at("SUMS"));
    trees::write(&tree.join("a"), b"a");
    for _ in 0..2 {
        run(tool(2, "dwalk").args(["--checksum=sha256", "-o"]).args([&list, tree])).expect(0);
        run(Command::new("sha256sum").arg("-c").arg(&list).current_dir(tree)).expect(0);
        assert_eq!(fs::read_to_string(&list).unwrap().lines().count(), 1);
    }
}

/// Checks that entries without a checksum are reported by the exit code, and by a line that fails
/// where the list is checked.
#[test]
fn a_list_that_lacks_a_checksum_passes_no_check() {
    let work = Sandbox::new();
    let [tree, list, log] = ["s", "sums", "log"].map(|name| work.at(name));
    trees::write(&tree.join("a"), b"a");
    trees::write(&tree.join("b"), b"b");
    fs::write(&list, "old").unwrap();
    let roots = [&*tree.join("b")];
    let (calls, kinds) = ("pread", "fail");
    let faults = Faults { roots: &roots, seed: 1, every: 1, calls, kinds, log: &log };
    let mut dwalk = tool(2, "dwalk");
    dwalk.args(["--checksum", "sha256", "-o"]).args([&list, &tree]);
    run(faults.strike(&mut dwalk)).expect(23);
    assert_eq!(fs::read_to_string(&list).unwrap().lines().count(), 2);
    let ended = run(Command::new("sha256sum").arg("-c").arg(&list).current_dir(&tree));
    assert_eq!(ended.expect(1).stdout.lines().filter(|line| line.ends_with(": OK")).count(), 1);
}

/// Checks that an interrupted job leaves the old list; its report tells that it is incomplete.
#[test]
fn a_stopped_job_leaves_the_old_list_of_checksums() {
    let work = Sandbox::new();
    let (tree, list) = (work.source(), work.at("sums"));
    fs::create_dir(&tree).unwrap();
    // It never ends being read while the test runs: a terabyte of nothing.
    fs::File::create(tree.join("huge")).unwrap().set_len(1 << 40).unwrap();
    fs::write(&list, "old").unwrap();
    let page = work.at("page.html");
    let mut dwalk = alone("dwalk");
    dwalk.args(["--checksum", "sha256", "--report"]).arg(&page).arg("-o").args([&list, &tree]);
    let mut job = dwalk.stderr(Stdio::piped()).spawn().unwrap();
    let partial = work.at(".sums.partial");
    let opened = format!("/proc/{}/fd", job.id());
    let is_read = || {
        let files = fs::read_dir(&opened).into_iter().flatten().flatten();
        files.filter_map(|file| fs::read_link(file.path()).ok()).any(|file| file.ends_with("huge"))
    };
    wait_within(&mut job, "the large file is read", || partial.exists() && is_read());
    rustix::process::kill_process(Pid::from_child(&job), Signal::TERM).unwrap();
    let ended = job.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(20), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(fs::read_to_string(&list).unwrap(), "old");
    // The page is there, and says of what it is.
    assert!(
        fs::read_to_string(&page).unwrap().contains("The job ended before everything was read")
    );
    assert!(!partial.exists());
}

/// Checks that a SHA-256 that the service stores of a whole object is used; all other objects are
/// read.
#[test]
fn checksums_of_objects_are_stored_ones_or_of_their_content() {
    let work = Sandbox::new();
    let (tree, list) = (work.source(), work.at("sums"));
    trees::write(&tree.join("d/plain"), b"plain");
    trees::write(&tree.join("kept"), &trees::noise(11 << 20));
    trees::write(&tree.join("parts"), &trees::noise(11 << 20));
    let server = served(Behaviour::default());
    server.put(BUCKET, "s/d/plain", "plain");
    let put = |words: &[&str]| {
        let mut command = aws(&server.environment());
        run(command.args(words).arg("--checksum-algorithm=SHA256").current_dir(&tree)).expect(0);
    };
    put(&["s3", "cp", "parts", "s3://data/s/parts"]);
    put(&["s3api", "put-object", "--bucket=data", "--body=kept", "--key=s/kept"]);
    for (which, checker, read) in [("sha256", "sha256sum", 2), ("md5", "md5sum", 3)] {
        server.reset_counts();
        let words = ["dwalk", "--checksum", which, "-o", text(&list), "s3://data/s"];
        go(&server, 2, &words).expect(0);
        assert_eq!(server.counts().of(Operation::GetObject), read);
        let mut check = Command::new(checker);
        run(check.args(["--strict", "-c"]).arg(&list).current_dir(&tree)).expect(0);
        assert_eq!(fs::read_to_string(&list).unwrap().lines().count(), 3);
    }
    server.put(BUCKET, "s/d/plain", "other");
    go(&server, 2, &["dwalk", "--checksum=md5", "-o", text(&list), "s3://data/s"]).expect(0);
    run(Command::new("md5sum").arg("-c").arg(&list).current_dir(&tree)).expect(1);
}

/// Checks that content that was damaged on its way has no checksum, where the service has stored
/// one by which that shows.
#[test]
fn damaged_content_of_an_object_is_an_error() {
    let work = Sandbox::new();
    let (tree, list) = (work.source(), work.at("sums"));
    for number in 0..6 {
        trees::write(&tree.join(number.to_string()), &trees::noise(1000 + number));
    }
    let server = served(Behaviour::default());
    go(&server, 1, &["dcp", "-q", text(&tree.join("")), "s3://data/s"]).expect(0);
    server.behave(Behaviour { spoil_gets_every: 3, ..Behaviour::default() });
    let words = ["dwalk", "--checksum", "md5", "-o", text(&list), "s3://data/s"];
    let ended = go(&server, 2, &words).expect(23);
    assert_eq!(ended.stderr.matches("s3://data/s/").count(), 2, "{}", ended.stderr);
    let sums = fs::read_to_string(&list).unwrap();
    assert_eq!(sums.lines().count(), 4 + 1, "{sums}");
    for line in sums.lines().take(4) {
        let (sum, name) = line.split_once("  ").unwrap();
        let md5sum = run(Command::new("md5sum").arg(tree.join(name))).expect(0).stdout;
        assert!(md5sum.starts_with(sum), "{name}");
    }
}
