//! A directory that is reached past the kernel, as DAOS's `libpil4dfs` does it. See `preload/fake_dfs.c`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The directory, and what was done with the descriptors of what was opened in it.
#[derive(Debug)]
pub struct FakeDfs {
    dir: tempfile::TempDir,
}

impl FakeDfs {
    /// An empty one.
    pub fn new(work: &Path) -> Self {
        let work = work.canonicalize().unwrap();
        let dir = tempfile::tempdir_in(work).unwrap();
        std::fs::create_dir(dir.path().join("dfs")).unwrap();
        Self { dir }
    }

    /// Where it is; it can be looked at without the library, too.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("dfs")
    }

    /// The same command, with the library.
    pub fn preload<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .env("LD_PRELOAD", library())
            .env("FAKE_DFS_ROOT", self.path())
            .env("FAKE_DFS_LOG", self.log())
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Functions that the library has answered, and calls that went past it; both are forgotten then.
    pub fn take_log(&self) -> (Vec<String>, Vec<String>) {
        let text = std::fs::read_to_string(self.log()).unwrap_or_default();
        let _ = std::fs::remove_file(self.log());
        let of = |word: &str| {
            let mut names: Vec<String> = text
                .lines()
                .filter_map(|line| line.strip_prefix(word))
                .map(str::to_owned)
                .collect();
            names.sort();
            names.dedup();
            names
        };
        (of("answered "), of("past "))
    }
}

/// Builds the library, once.
fn library() -> PathBuf {
    static BUILT: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    let build = || {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("preload/fake_dfs.c");
        let library = super::job::program_dir().join(format!("fake_dfs-{}.so", std::process::id()));
        let mut compile = Command::new("cc");
        compile.args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(source).arg("-ldl");
        assert!(compile.status().unwrap().success());
        library
    };
    BUILT.get_or_init(build).clone()
}
