//! A tree that looks like Lustre to the tools, as far as layouts are concerned; see
//! `fakelustre/fakelustre.c`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::sandbox::Sandbox;
use rustix::fs::XattrFlags;

/// Extended attribute in which the library stores the value of `lustre.lov`.
const STORED: &str = "user.f.lov";

/// A tree that is shown as one on Lustre.
#[derive(Debug)]
pub struct FakeLustre {
    root: PathBuf,
    dir: Sandbox,
}

impl FakeLustre {
    /// Creates an empty tree, in a directory whose file system supports extended attributes of
    /// users.
    pub fn below(dir: &Path) -> Self {
        let dir = Sandbox::below(dir.canonicalize().unwrap());
        let root = dir.path().join("lustre");
        std::fs::create_dir(&root).unwrap();
        Self { root, dir }
    }

    /// Shows a whole file system as Lustre.
    pub fn all_of(root: &Path) -> Self {
        Self { root: root.canonicalize().unwrap(), dir: Sandbox::for_everybody() }
    }

    /// Returns the root of the tree.
    pub fn path(&self) -> PathBuf {
        self.root.clone()
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Makes all ranks of a tool see the tree.
    pub fn show_to<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .env("LD_PRELOAD", library())
            .env("FAKE_LUSTRE_ROOT", self.path())
            .env("FAKE_LUSTRE_LOG", self.log())
    }

    /// Returns the size of the log so far in bytes.
    pub fn noted_bytes(&self) -> u64 {
        std::fs::metadata(self.log()).map_or(0, |log| log.len())
    }

    /// Returns the calls so far, and clears the log.
    pub fn calls(&self) -> Vec<Call> {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let _ = std::fs::remove_file(self.log());
        log.lines().map(Call::read).collect()
    }
}

/// Sets the layout of a file, with objects, or the default of a directory.
pub fn put_layout(path: &Path, blob: &[u8]) {
    rustix::fs::setxattr(path, STORED, blob, XattrFlags::empty()).unwrap();
}

/// Returns the layout of a file, with its objects.
pub fn layout(path: &Path) -> Vec<u8> {
    let mut blob = vec![0; 4096];
    let length = rustix::fs::getxattr(path, STORED, &mut blob[..]).unwrap();
    blob.truncate(length);
    blob
}

/// A call that concerns the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Name of the call: `create`, `bare`, `set`, `write`, `end`, `fstatfs`, `set-by-name`.
    pub what: String,
    /// Path below the root.
    pub path: PathBuf,
    /// Other words of the line.
    pub more: Vec<String>,
}

impl Call {
    fn read(line: &str) -> Self {
        let mut words = line.split('\t').map(ToOwned::to_owned);
        let (what, path) = (words.next().unwrap(), words.next().unwrap().into());
        Self { what, path, more: words.collect() }
    }

    /// Returns the offsets at which a write began and ended.
    pub fn extent(&self) -> (u64, u64) {
        (self.more[0].parse().unwrap(), self.more[1].parse().unwrap())
    }
}

/// Builds the library once, and returns its path.
fn library() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let source = crate::job::project().join("tests/fakelustre/fakelustre.c");
        let library = super::job::preloaded("fakelustre");
        let mut compile = Command::new("cc");
        compile
            .args(["-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(source);
        assert!(compile.status().unwrap().success());
        library
    };
    BUILT.get_or_init(build).clone()
}
