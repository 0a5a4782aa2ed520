//! Libraries to be preloaded: a directory that is reached past the kernel, as DAOS's `libpil4dfs` does it
//! (`preload/fake_dfs.c`), calls that fail (`preload/faults.c`), file systems that lie or forget
//! (`preload/file_faults.c`), and files at whose opening a program is held (`preload/gates.c`).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

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
            .env("LD_PRELOAD", library("fake_dfs"))
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

/// Calls on some trees that fail or do less than was asked for. See `preload/faults.c`.
#[derive(Debug, Clone)]
pub struct Faults<'f> {
    /// Below which directories.
    pub roots: &'f [&'f Path],
    /// Which of the calls are struck, by chance.
    pub seed: u64,
    /// One in so many is.
    pub every: u64,
    /// Functions of libc, with commas; or `all`.
    pub calls: &'f str,
    /// What becomes of those: `fail`, `interrupt`, `short`, `lie`, `lose`, `spill`, with commas.
    pub kinds: &'f str,
    /// A line for each.
    pub log: &'f Path,
}

impl Faults<'_> {
    /// The same command, with the library.
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

    /// Calls that were struck so far: name, kind, number of the error, path.
    pub fn struck(&self) -> Vec<String> {
        let log = std::fs::read(self.log).unwrap_or_default();
        String::from_utf8_lossy(&log).lines().map(ToOwned::to_owned).collect()
    }
}

/// A program held where it opens files of these names. See `preload/gates.c`.
#[derive(Debug)]
pub struct Gates {
    dir: tempfile::TempDir,
}

impl Gates {
    /// Closed for files of these names.
    pub fn closed(work: &Path, names: &[&str]) -> Self {
        let dir = tempfile::tempdir_in(work).unwrap();
        for name in names {
            std::fs::write(dir.path().join(name), b"").unwrap();
        }
        Self { dir }
    }

    /// The same command, with the library.
    pub fn hold<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env("LD_PRELOAD", library("gates")).env("GATES", self.dir.path())
    }

    /// The program is held there.
    pub fn is_reached(&self, name: &str) -> bool {
        self.dir.path().join(format!("{name}.reached")).exists()
    }

    /// Lets it go on.
    pub fn open(&self, name: &str) {
        std::fs::remove_file(self.dir.path().join(name)).unwrap();
    }
}

/// An end that comes to a job at some call on a tree. See `preload/faults.c`.
#[derive(Debug, Clone)]
pub struct Death<'d> {
    /// Below which directory calls count.
    pub root: &'d Path,
    /// A rank's call of that number.
    pub at: u64,
    /// What it is ended by.
    pub signal: i32,
}

impl Death<'_> {
    /// The same command, and a rank that makes that call is ended.
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

    /// The same command, and the process that was started, such as the launcher, is ended.
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

/// The same command, with what of logs below a directory is on storage written down.
pub fn mark_synced<'c>(command: &'c mut Command, root: &Path) -> &'c mut Command {
    command
        .env("LD_PRELOAD", library("faults"))
        .env("FAULT_ROOTS", root)
        .env("FAULT_SYNCED", ".log")
}

/// How long a log was when it was synced, where that was written down.
pub fn synced_bytes(path: &Path) -> Option<u64> {
    let mut value = [0; 24];
    let length = rustix::fs::lgetxattr(path, "user.synced", &mut value[..]).ok()?;
    str::from_utf8(&value[..length]).unwrap().parse().ok()
}

/// A library of `preload/`, built once.
fn library(name: &'static str) -> PathBuf {
    static BUILT: Mutex<BTreeMap<&str, PathBuf>> = Mutex::new(BTreeMap::new());
    let build = || {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("preload/{name}.c"));
        let library = super::job::program_dir().join(format!("{name}-{}.so", std::process::id()));
        let mut compile = Command::new("cc");
        compile.args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(source).arg("-ldl");
        assert!(compile.status().unwrap().success());
        library
    };
    BUILT.lock().unwrap().entry(name).or_insert_with(build).clone()
}

/// A library that lies about files, or writes down what was done with them. See `preload/file_faults.c`.
#[derive(Debug)]
pub struct FileFaults {
    log: PathBuf,
}

impl FileFaults {
    /// What is done goes into that file.
    pub fn new(log: &Path) -> Self {
        Self { log: log.to_owned() }
    }

    /// The same command, with what it writes and syncs written down.
    pub fn observe<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env("LD_PRELOAD", library("file_faults")).env("FILE_FAULTS_LOG", &self.log)
    }

    /// Takes the content of what was written below these directories and not synced, as a device does that loses
    /// its power: size and times stay. What had lost its name by then is gone anyway. Returns how many files
    /// that were.
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

/// Device and inode of what was written after the last sync of it, or of its file system, had begun.
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

/// The same command, on file systems that say of each file that nothing is in it but a hole: in that way.
pub fn lie_about_holes<'c>(command: &'c mut Command, how: &str) -> &'c mut Command {
    command.env("LD_PRELOAD", library("file_faults")).env("FILE_FAULTS_HOLES", how)
}
