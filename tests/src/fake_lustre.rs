//! A tree that looks like Lustre to the tools, as far as layouts are concerned. See `fakelustre/fakelustre.c`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rustix::fs::XattrFlags;

/// Where the library keeps what is shown as `lustre.lov`.
const STORED: &str = "user.f.lov";

/// The tree.
#[derive(Debug)]
pub struct FakeLustre {
    root: PathBuf,
    dir: tempfile::TempDir,
}

impl FakeLustre {
    /// An empty one, in a directory whose file system keeps attributes of users.
    pub fn below(dir: &Path) -> Self {
        let dir = tempfile::tempdir_in(dir.canonicalize().unwrap()).unwrap();
        let root = dir.path().join("lustre");
        std::fs::create_dir(&root).unwrap();
        Self { root, dir }
    }

    /// A whole file system.
    pub fn all_of(root: &Path) -> Self {
        Self { root: root.canonicalize().unwrap(), dir: tempfile::tempdir().unwrap() }
    }

    /// Its root.
    pub fn path(&self) -> PathBuf {
        self.root.clone()
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Lets all ranks of a tool see it.
    pub fn show_to<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .env("LD_PRELOAD", library())
            .env("FAKE_LUSTRE_ROOT", self.path())
            .env("FAKE_LUSTRE_LOG", self.log())
    }

    /// Length of what was noted so far.
    pub fn noted_bytes(&self) -> u64 {
        std::fs::metadata(self.log()).map_or(0, |log| log.len())
    }

    /// What was asked of it so far; then it is forgotten.
    pub fn calls(&self) -> Vec<Call> {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let _ = std::fs::remove_file(self.log());
        log.lines().map(Call::read).collect()
    }
}

/// Gives a file its layout, with objects, or a directory its default.
pub fn put_layout(path: &Path, blob: &[u8]) {
    rustix::fs::setxattr(path, STORED, blob, XattrFlags::empty()).unwrap();
}

/// The layout of a file, with its objects.
pub fn layout(path: &Path) -> Vec<u8> {
    let mut blob = vec![0; 4096];
    let length = rustix::fs::getxattr(path, STORED, &mut blob[..]).unwrap();
    blob.truncate(length);
    blob
}

/// A call that concerns the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// `create`, `bare`, `set`, `write`, `end`, `fstatfs`, `set-by-name`.
    pub what: String,
    /// Of what, below the root.
    pub path: PathBuf,
    /// The rest of the line.
    pub more: Vec<String>,
}

impl Call {
    fn read(line: &str) -> Self {
        let mut words = line.split(' ').map(ToOwned::to_owned);
        let (what, path) = (words.next().unwrap(), words.next().unwrap().into());
        Self { what, path, more: words.collect() }
    }

    /// Where something was written.
    pub fn extent(&self) -> (u64, u64) {
        (self.more[0].parse().unwrap(), self.more[1].parse().unwrap())
    }
}

/// Builds the library, once.
fn library() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("fakelustre/fakelustre.c");
        let library =
            super::job::program_dir().join(format!("fakelustre-{}.so", std::process::id()));
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
