//! Running a tool, alone or under `mpiexec`, with a time limit.

use crate::sandbox::Sandbox;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Time limit of a job, long enough for 64 ranks on 2 cores; a job that takes longer hangs.
const TIME_LIMIT: Duration = Duration::from_mins(4);

/// Exit code and output of a job.
#[derive(Debug)]
pub struct Ended {
    /// Exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ended {
    /// Returns the `summary` event of a job that ran with `--json`.
    pub fn summary(&self) -> serde_json::Value {
        self.events("summary").pop().unwrap_or_else(|| panic!("no summary in {self:?}"))
    }

    /// Returns all events of that name.
    pub fn events(&self, name: &str) -> Vec<serde_json::Value> {
        let events = self.stdout.lines().map(|line| serde_json::from_str(line).unwrap());
        events.filter(|event: &serde_json::Value| event["event"] == name).collect()
    }

    /// Fails the test unless the job ended with that code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

/// Returns the path of a tool of the suite, or of a helper program of the tests.
pub fn program(name: &str) -> PathBuf {
    let program = program_dir().join(name);
    assert!(program.exists(), "{} is not built; run make test", program.display());
    program
}

/// Returns a directory that every user can enter, and a tool of the suite in it.
pub fn for_everybody(tool: &str) -> (Sandbox, PathBuf) {
    let dir = Sandbox::for_everybody();
    let copy = dir.path().join(tool);
    copy_program(tool, &copy);
    (dir, copy)
}

/// Copies a tool of the suite to where it is started from. Another process does that: a program
/// that this one has open for writing, as a child of another test has it for a moment, cannot be
/// started (`ETXTBSY` of execve(2)).
pub fn copy_program(tool: &str, target: &Path) {
    run(Command::new("cp").arg(program(tool)).arg(target)).expect(0);
}

/// Returns `setpriv`, to which a program is added that runs as a user without privileges.
pub fn nobody() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command
}

/// Returns the directory of the project. Cargo tells it to each test that it starts, so a build may
/// be moved with its sources.
pub fn project() -> PathBuf {
    let own = || env!("CARGO_MANIFEST_DIR").into();
    let package = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(own));
    let is_project = |dir: &&Path| dir.join("Cargo.lock").exists();
    package.ancestors().find(is_project).unwrap().to_path_buf()
}

/// Returns the directory with the programs of this build.
pub fn program_dir() -> PathBuf {
    // …/target/MPI/PROFILE/deps/test-hash
    std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_path_buf()
}

/// Returns the path for a library that is preloaded into the tools. In `LD_PRELOAD` spaces and
/// colons separate names (ld.so(8)), so in a build whose path has one of these it is elsewhere.
pub fn preloaded(name: &str) -> PathBuf {
    let dir = program_dir();
    let is_one_name = !dir.to_string_lossy().contains([' ', ':']);
    let dir = if is_one_name { dir } else { std::env::temp_dir() };
    dir.join(format!("{name}-{}.so", std::process::id()))
}

/// Returns `mpiexec` with its flags, of the MPI that this build is linked with.
pub fn mpiexec() -> Vec<String> {
    let words = std::env::var("SUITE_MPIEXEC").unwrap_or_else(|_| "mpiexec.mpich".to_owned());
    words.split_whitespace().map(ToOwned::to_owned).collect()
}

/// Returns the command for a tool alone, without a launcher.
pub fn alone(tool: &str) -> Command {
    Command::new(program(tool))
}

/// Returns the command for a tool under `mpiexec` with that number of ranks.
pub fn ranks(count: u32, tool: &str) -> Command {
    let launcher = mpiexec();
    let mut command = Command::new(&launcher[0]);
    command.args(&launcher[1..]).args(["-n", &count.to_string()]).arg(program(tool));
    command
}

/// Returns the command for a tool with that number of ranks: without a launcher for one.
pub fn tool(count: u32, tool: &str) -> Command {
    if count == 1 { alone(tool) } else { ranks(count, tool) }
}

/// Runs a tool with that number of ranks on a source and a target.
pub fn run_on(ranks: u32, name: &str, options: &[&str], paths: [&Path; 2]) -> Ended {
    run(tool(ranks, name).args(options).args(paths))
}

/// Runs dsync on a source and a target.
pub fn sync(ranks: u32, options: &[&str], source: &Path, target: &Path) -> Ended {
    run_on(ranks, "dsync", options, [source, target])
}

/// Runs dcmp on two paths.
pub fn compare(ranks: u32, options: &[&str], source: &Path, target: &Path) -> Ended {
    run_on(ranks, "dcmp", options, [source, target])
}

/// Returns the processes of a job that are the tool itself, by the launcher's process ID.
pub fn ranks_of(job: u32, tool: &str) -> Vec<u32> {
    let listed = run(Command::new("ps").args(["-e", "-o", "pid=,ppid=,comm="])).expect(0).stdout;
    let processes: Vec<(u32, u32, &str)> = listed
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (pid, parent) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            Some((pid, parent, words.next()?))
        })
        .collect();
    let mut family = vec![job];
    while let Some(child) =
        processes.iter().find(|(pid, parent, _)| family.contains(parent) && !family.contains(pid))
    {
        family.push(child.0);
    }
    let is_rank = |(pid, _, name): &&(u32, u32, &str)| family.contains(pid) && *name == tool;
    processes.iter().filter(is_rank).map(|(pid, ..)| *pid).collect()
}

/// Runs a command to its end.
///
/// # Panics
/// When it takes too long: it is killed first.
pub fn run(command: &mut Command) -> Ended {
    let began = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stdout = read_all(child.stdout.take().unwrap());
    let stderr = read_all(child.stderr.take().unwrap());
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if began.elapsed() > TIME_LIMIT {
            child.kill().unwrap();
            panic!("{command:?} hangs; stderr:\n{}", stderr.join().unwrap());
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Ended { code: status.code(), stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

fn read_all(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Compares two trees with other tools, and fails the test where they differ: content by `diff -r`;
/// content, mode, owner, group, times and links by `rsync -nac --itemize-changes`.
#[track_caller]
pub fn assert_identical(source: &Path, target: &Path) {
    let diff = run(Command::new("diff").args(["-r", "--no-dereference"]).args([source, target]));
    assert_eq!((diff.code, &*diff.stdout, &*diff.stderr), (Some(0), "", ""), "diff -r");
    let slash = |path: &Path| format!("{}/", path.display());
    let mut rsync = Command::new("rsync");
    rsync.args(["-nac", "--delete", "--itemize-changes"]).args([slash(source), slash(target)]);
    let rsync = run(&mut rsync);
    assert_eq!((rsync.code, &*rsync.stdout), (Some(0), ""), "rsync -nac: {}", rsync.stderr);
}
