//! Libraries to be preloaded: a directory that is reached past the kernel, as DAOS's `libpil4dfs`
//! does it (`preload/fake_dfs.c`), calls that fail (`preload/faults.c`), file systems that lie or
//! forget (`preload/file_faults.c`), and files at whose opening a program is held
//! (`preload/gates.c`).

use crate::sandbox::Sandbox;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// A directory past the kernel, and the log of what was done with the descriptors of its entries.
#[derive(Debug)]
pub struct FakeDfs {
    dir: Sandbox,
}

impl FakeDfs {
    /// Creates an empty directory.
    pub fn new(work: &Path) -> Self {
        let work = work.canonicalize().unwrap();
        let dir = Sandbox::below(work);
        std::fs::create_dir(dir.path().join("dfs")).unwrap();
        Self { dir }
    }

    /// Returns the path of the directory, which also exists without the library.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("dfs")
    }

    /// Preloads the library in a command.
    pub fn preload<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .env("LD_PRELOAD", library("fake_dfs"))
            .env("FAKE_DFS_ROOT", self.path())
            .env("FAKE_DFS_LOG", self.log())
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Returns the functions that the library has answered, and the calls that went past it; clears
    /// the log.
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

/// Calls on some trees that fail or do less than was requested; see `preload/faults.c`.
#[derive(Debug, Clone)]
pub struct Faults<'f> {
    /// Directories below which calls are affected.
    pub roots: &'f [&'f Path],
    /// Seed that selects the affected calls.
    pub seed: u64,
    /// Average number of calls of which one is affected.
    pub every: u64,
    /// Functions of libc, separated by commas; or `all`.
    pub calls: &'f str,
    /// Kinds of faults: `fail`, `interrupt`, `short`, `lie`, `lose`, `spill`, separated by commas.
    pub kinds: &'f str,
    /// Log with a line for each affected call.
    pub log: &'f Path,
}

impl Faults<'_> {
    /// Preloads the library in a command.
    pub fn strike<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        let roots: Vec<&str> = self.roots.iter().map(|root| root.to_str().unwrap()).collect();
        command
            .env("LD_PRELOAD", library("faults"))
            .env("FAULT_ROOTS", roots.join(":"))
            .env("FAULT_SEED", self.seed.to_string())
            .env("FAULT_EVERY", self.every.to_string())
            .env("FAULT_CALLS", self.calls)
            .env("FAULT_KINDS", self.kinds)
            .env("FAULT_LOG", self.log)
    }

    /// Returns the affected calls so far: name, kind, number of the error, path.
    pub fn struck(&self) -> Vec<String> {
        let log = std::fs::read(self.log).unwrap_or_default();
        String::from_utf8_lossy(&log).lines().map(ToOwned::to_owned).collect()
    }
}

/// Gates at which a program is held when it opens files of some names; see `preload/gates.c`.
#[derive(Debug)]
pub struct Gates {
    dir: Sandbox,
}

impl Gates {
    /// Creates closed gates for files of these names.
    pub fn closed(work: &Path, names: &[&str]) -> Self {
        let dir = Sandbox::below(work);
        for name in names {
            std::fs::write(dir.path().join(name), b"").unwrap();
        }
        Self { dir }
    }

    /// Preloads the library in a command.
    pub fn hold<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env("LD_PRELOAD", library("gates")).env("GATES", self.dir.path())
    }

    /// Returns true where the program is held at a gate.
    pub fn is_reached(&self, name: &str) -> bool {
        self.dir.path().join(format!("{name}.reached")).exists()
    }

    /// Opens a gate.
    pub fn open(&self, name: &str) {
        std::fs::remove_file(self.dir.path().join(name)).unwrap();
    }
}

/// Death of a process at a certain call on a tree; see `preload/faults.c`.
#[derive(Debug, Clone)]
pub struct Death<'d> {
    /// Directory below which calls count.
    pub root: &'d Path,
    /// Number of the call, counted on each rank.
    pub at: u64,
    /// Signal that ends the process.
    pub signal: i32,
}

impl Death<'_> {
    /// Makes the call end the rank that makes it.
    pub fn of_rank(&self, command: Command) -> Command {
        let mut command = command;
        command
            .env("LD_PRELOAD", library("faults"))
            .env("FAULT_ROOTS", self.root)
            .env("FAULT_KILL_AT", self.at.to_string())
            .env("FAULT_SIGNAL", self.signal.to_string())
            .env("FAULT_SYNCED", ".log");
        command
    }

    /// Makes the call end the process that was started, such as the launcher.
    pub fn of_launcher(&self, command: &Command) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", "FAULT_VICTIM=$$ exec \"$@\"", "sh"]);
        shell.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        if let Some(dir) = command.get_current_dir() {
            shell.current_dir(dir);
        }
        self.of_rank(shell)
    }
}

/// Makes a command record how much of the logs below a directory is synchronised.
pub fn mark_synced<'c>(command: &'c mut Command, root: &Path) -> &'c mut Command {
    command
        .env("LD_PRELOAD", library("faults"))
        .env("FAULT_ROOTS", root)
        .env("FAULT_SYNCED", ".log")
}

/// Returns the size of a log when it was last synchronised, where that was recorded.
pub fn synced_bytes(path: &Path) -> Option<u64> {
    let mut value = [0; 24];
    let length = rustix::fs::lgetxattr(path, "user.synced", &mut value[..]).ok()?;
    str::from_utf8(&value[..length]).unwrap().parse().ok()
}

/// Builds a library of `preload/` once, and returns its path.
fn library(name: &'static str) -> PathBuf {
    static BUILT: Mutex<BTreeMap<&str, PathBuf>> = Mutex::new(BTreeMap::new());
    let build = || {
        let source = crate::job::project().join(format!("tests/preload/{name}.c"));
        let library = super::job::preloaded(name);
        let mut compile = Command::new("cc");
        compile.args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(source).arg("-ldl");
        assert!(compile.status().unwrap().success());
        library
    };
    BUILT.lock().unwrap().entry(name).or_insert_with(build).clone()
}

/// A library that lies about files, or logs what was done with them; see `preload/file_faults.c`.
#[derive(Debug)]
pub struct FileFaults {
    log: PathBuf,
}

impl FileFaults {
    /// Logs to that file.
    pub fn new(log: &Path) -> Self {
        Self { log: log.to_owned() }
    }

    /// Makes a command log its writes and syncs.
    pub fn observe<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env("LD_PRELOAD", library("file_faults")).env("FILE_FAULTS_LOG", &self.log)
    }

    /// Simulates a power failure: removes the content that was written below these directories and
    /// not synchronised; size and times stay. Files that were removed by then are gone anyway.
    /// Returns the number of such files.
    pub fn lose_power(&self, dirs: &[&Path]) -> usize {
        let lost = unsynced(&std::fs::read_to_string(&self.log).unwrap_or_default());
        let _ = std::fs::remove_file(&self.log);
        let files = dirs.iter().flat_map(|dir| super::unfinished::files_in(dir));
        let is_lost = |path: &PathBuf| {
            std::fs::symlink_metadata(path)
                .is_ok_and(|file| file.is_file() && lost.contains(&(file.dev(), file.ino())))
        };
        files.filter(is_lost).map(|path| forget(&path)).count()
    }
}

/// Returns device and inode of the files that were written after their last sync, or that of their
/// file system, had begun.
fn unsynced(log: &str) -> HashSet<(u64, u64)> {
    let (mut written, mut begun, mut synced) = (HashMap::new(), HashMap::new(), HashMap::new());
    for (line, text) in log.lines().enumerate() {
        let words: Vec<&str> = text.split(' ').collect();
        let [what, device, inode, number] = words[..] else { continue };
        let file = (device.parse::<u64>().unwrap(), inode.parse::<u64>().unwrap());
        let _ = match what {
            "w" => written.insert(file, line),
            "b" => begun.insert(number, line),
            _ => synced.insert(file, begun[number]),
        };
    }
    let is_after = |at: usize, file| synced.get(&file).is_none_or(|begun| *begun < at);
    let is_lost = |((device, inode), at): &((u64, u64), usize)| {
        is_after(*at, (*device, *inode)) && is_after(*at, (*device, 0))
    };
    written.into_iter().filter(is_lost).map(|(file, _)| file).collect()
}

fn forget(path: &Path) {
    let metadata = std::fs::metadata(path).unwrap();
    std::fs::write(path, vec![0; metadata.len() as usize]).unwrap();
    let times = std::fs::FileTimes::new()
        .set_accessed(metadata.accessed().unwrap())
        .set_modified(metadata.modified().unwrap());
    std::fs::File::options().write(true).open(path).unwrap().set_times(times).unwrap();
}

/// Makes the file systems lie in that way about each file: it is reported to be nothing but a hole.
pub fn lie_about_holes<'c>(command: &'c mut Command, how: &str) -> &'c mut Command {
    command.env("LD_PRELOAD", library("file_faults")).env("FILE_FAULTS_HOLES", how)
}
