//! Tests that cannot run everywhere: they report what they need, and where `SUITE_NO_SKIP=1` is
//! set, as in CI, a test that is skipped has failed.

use std::io::Write as _;
use std::process::Command;

use crate::job::{mpiexec, run};

/// Skips the test here unless the condition holds, and reports its need, the second argument.
#[macro_export]
macro_rules! need {
    ($holds:expr, $what:expr) => {
        if !$holds {
            return $crate::skips::report($what);
        }
    };
}

/// Skips the test here unless it runs as the superuser, who may mount, and act for other users.
#[macro_export]
macro_rules! need_root {
    () => {
        if !$crate::skips::has_root() {
            return;
        }
    };
}

/// Skips the test here unless the launcher is MPICH's, for which it is meant.
#[macro_export]
macro_rules! need_hydra {
    () => {
        if !$crate::skips::has_hydra() {
            return $crate::skips::tell("it is for MPICH's launcher alone");
        }
    };
}

/// Returns true where this process is the superuser's; reports a skipped test where it is not.
pub fn has_root() -> bool {
    let has_root = rustix::process::geteuid().is_root();
    if !has_root {
        report("the superuser");
    }
    has_root
}

/// Returns true where cargo can be run: an ordinary user may not reach root's.
pub fn has_cargo() -> bool {
    Command::new("cargo").arg("--version").output().is_ok()
}

/// Returns true where the launcher is MPICH's. Others, such as Open MPI's, find hosts and networks
/// in ways of their own.
pub fn has_hydra() -> bool {
    run(Command::new(&mpiexec()[0]).arg("--version")).stdout.contains("HYDRA")
}

/// Reports that a test is skipped because of an unmet need.
///
/// # Panics
/// Where `SUITE_NO_SKIP=1` is set.
pub fn report(what: &str) {
    tell(&format!("it needs {what}"));
    let is_forbidden = std::env::var("SUITE_NO_SKIP").is_ok_and(|value| value == "1");
    assert!(!is_forbidden, "SUITE_NO_SKIP=1, and this test was skipped: it needs {what}");
}

/// Prints a line that no test harness captures.
pub fn tell(why: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[ignore = "run by the other one"]
    fn needs_what_is_nowhere() {
        need!(false, "what is nowhere");
        panic!("it went on");
    }

    #[test]
    fn a_test_that_cannot_run_is_told_of_and_fails_where_none_may_be_skipped() {
        let mut test = Command::new(std::env::current_exe().unwrap());
        test.args(["--ignored", "--exact", "skips::tests::needs_what_is_nowhere"]);
        let told = run(test.env_remove("SUITE_NO_SKIP")).expect(0).stderr;
        assert!(told.starts_with("SKIPPED "), "{told}");
        assert!(told.ends_with(": it needs what is nowhere\n"), "{told}");
        let failed = run(test.env("SUITE_NO_SKIP", "1")).expect(101);
        assert!(failed.stdout.contains("SUITE_NO_SKIP=1, and this test was skipped"), "{failed:?}");
    }
}
