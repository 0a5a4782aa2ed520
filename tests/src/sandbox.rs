//! The place of a test: a temporary directory with a source, a target and all else that the test
//! needs, and the tools that run on them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::job::{Ended, program_dir, run_on};

/// Temporary directory of a test, removed at its end.
///
/// A test of a tool reads: `sandbox.run(4, "dcp", &["-p"]).expect(0)`.
#[derive(Debug)]
pub struct Sandbox {
    dir: tempfile::TempDir,
    is_kept: bool,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // An ordinary user deletes nothing from a directory that is not writable.
        if !self.is_kept && !rustix::process::geteuid().is_root() {
            let mut open = Command::new("chmod");
            let _ = open.args(["-R", "u+rwx"]).arg(self.path()).stderr(Stdio::null()).status();
        }
    }
}

impl Sandbox {
    /// Creates a directory in memory where possible: most tests need no disk.
    pub fn new() -> Self {
        let memory = Path::new("/dev/shm");
        Self::below(if memory.is_dir() { memory } else { Path::new("/tmp") })
    }

    /// Creates a directory next to the build, for tests that need what file systems of disks do.
    pub fn on_disk() -> Self {
        let dir = program_dir().with_file_name("tmp");
        fs::create_dir_all(&dir).unwrap();
        Self::below(dir)
    }

    /// Creates a directory that all users may enter and write to, and in which programs may run.
    /// The build may be below a directory of mode 0700, and memory may be mounted `noexec`.
    pub fn for_everybody() -> Self {
        let sandbox = Self::below(std::env::temp_dir());
        fs::set_permissions(sandbox.path(), fs::Permissions::from_mode(0o777)).unwrap();
        sandbox
    }

    /// Creates a directory below another.
    pub fn below(dir: impl AsRef<Path>) -> Self {
        Self { dir: tempfile::tempdir_in(dir).unwrap(), is_kept: false }
    }

    /// Leaves the directory where it is at the end, for inspection, if the condition holds.
    pub fn kept_if(mut self, is_kept: bool) -> Self {
        self.dir.disable_cleanup(is_kept);
        self.is_kept = is_kept;
        self
    }

    /// Returns the directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Returns a path below the directory.
    pub fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(name)
    }

    /// Returns the path of the tree or file to read, which the test makes.
    pub fn source(&self) -> PathBuf {
        self.at("s")
    }

    /// Returns the path of the tree or file to write, or to compare the source with.
    pub fn target(&self) -> PathBuf {
        self.at("t")
    }

    /// Runs a tool with that number of ranks on source and target.
    pub fn run(&self, ranks: u32, name: &str, options: &[&str]) -> Ended {
        run_on(ranks, name, options, [&self.source(), &self.target()])
    }
}
