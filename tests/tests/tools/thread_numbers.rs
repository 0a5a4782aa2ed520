//! Tests of the number of threads where it is known before anything is measured.

use suite_tests::job::{Ended, alone, run};
use suite_tests::sshd::Sshd;
use suite_tests::{need, need_root, trees};

use super::ssh::{there, through};

/// Returns the column of threads in the only row of a table with ranks: at the end, and at most.
fn threads(ended: &Ended) -> &str {
    let row = ended.stdout.lines().find(|line| line.trim_start().starts_with("0 "));
    let column = row.and_then(|row| row.split_whitespace().find(|word| word.contains('/')));
    column.unwrap_or_else(|| panic!("no row of a rank: {ended:?}"))
}

#[test]
fn another_host_is_used_by_all_threads_from_the_beginning() {
    need_root!();
    need!(Sshd::is_installed(), "sshd");
    let (sshd, work) = (Sshd::start(""), tempfile::tempdir().unwrap());
    let path = |name: &str| work.path().join(name);
    trees::write(&path("source/file"), b"content");
    let copy = |more: &[&str], to: &str| {
        let mut copy = through(&sshd, 1, "dcp");
        run(copy.args(["-v", "-a"]).args(more).arg(path("source")).arg(there(&path(to)))).expect(0)
    };
    assert_eq!(threads(&copy(&[], "all")), "32/32");
    assert_eq!(threads(&copy(&["--threads=3"], "three")), "3/3");
}

#[test]
fn memory_is_used_by_as_many_threads_as_there_are_processors() {
    let work = tempfile::Builder::new().tempdir_in("/dev/shm").unwrap();
    let path = |name: &str| work.path().join(name);
    trees::write(&path("source/file"), b"content");
    // Without a launcher, which may bind a process to one of them.
    let processors = std::thread::available_parallelism().unwrap().get().min(32);
    let copy = |more: &[&str], to: &str| {
        let mut copy = alone("dcp");
        run(copy.arg("-v").args(more).arg(path("source")).arg(path(to))).expect(0)
    };
    assert_eq!(threads(&copy(&[], "all")), format!("{processors}/{processors}"));
    assert_eq!(threads(&copy(&["--threads=1"], "one")), "1/1");
}
