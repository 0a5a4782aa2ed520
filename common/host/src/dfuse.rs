//! DAOS containers mounted for one job, with the site's own `dfuse` (its manual is `dfuse --help`).
//!
//! The program stays a child of this process, in the foreground, so that its end can be waited for;
//! a mount that is left over after a job was killed goes away with `fusermount3 -u`. Ranks are
//! bound to a few processors, and dfuse starts as many threads as it may use: it gets all of the
//! node's. The variables that a launcher sets for a rank are not for it, nor is a preloaded
//! library.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use rustix::thread::{CpuSet, sched_setaffinity};

use super::{interrupt, mounts};
use types::limits::{DFUSE_PAUSE, DFUSE_START_MAX, DFUSE_STOP_MAX};

/// Prefixes of launchers' variables: with these dfuse would take itself for a rank (`PMIX_RANK` in
/// `dfuse_main.c`).
const OF_LAUNCHERS: [&str; 3] = ["PMI_", "PMIX_", "PALS_"];

/// A mounted container, which is unmounted when this is dropped.
#[derive(Debug)]
pub struct Dfuse {
    /// Directory of this user alone, with the mount point in it.
    above: PathBuf,
    server: Child,
}

/// Reason why a container could not be mounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// No directory for the mount point could be created.
    #[error("make a mount point: {0}")]
    MountPoint(#[source] io::Error),
    /// The program is not installed, or not in `PATH`.
    #[error(
        "no such mount, and no program \"dfuse\" in PATH to make one; load the site's DAOS module, or \
         mount the container first"
    )]
    NoProgram,
    /// The program could not be started.
    #[error("start dfuse: {0}")]
    Start(#[source] io::Error),
    /// The program has ended instead of mounting.
    #[error("dfuse: {status}{said}")]
    Ended {
        /// Exit status of the program.
        status: ExitStatus,
        /// Last message of the program, after a colon; empty where there is none.
        said: String,
    },
    /// The state of the program could not be determined.
    #[error("wait for dfuse: {0}")]
    Wait(#[source] io::Error),
    /// The job was interrupted.
    #[error("interrupted while dfuse was mounting")]
    Interrupted,
    /// The program has not mounted in time.
    #[error("dfuse has not mounted within {} s{said}", DFUSE_START_MAX.as_secs())]
    Late {
        /// Last message of the program, after a colon; empty where there is none.
        said: String,
    },
}

impl Dfuse {
    /// Mounts a container, and waits until the mount is there.
    ///
    /// # Errors
    /// Returns the reason, in one line, with dfuse's own message.
    pub fn mount(pool: &str, container: &str) -> Result<Self, MountError> {
        // What is mounted is to be unmounted.
        interrupt::work_begins();
        let above = private_dir().map_err(MountError::MountPoint)?;
        let started = start(&above, pool, container);
        let server = started.map_err(|error| {
            remove(&above);
            match error.kind() {
                io::ErrorKind::NotFound => MountError::NoProgram,
                _ => MountError::Start(error),
            }
        })?;
        let mut dfuse = Self { above, server };
        dfuse.wait_for_mount().map(|()| dfuse)
    }

    /// Returns the mount point.
    pub fn point(&self) -> PathBuf {
        point(&self.above)
    }

    fn wait_for_mount(&mut self) -> Result<(), MountError> {
        let began = Instant::now();
        loop {
            if is_mounted(&self.point()) {
                return Ok(());
            }
            match self.server.try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => return Err(MountError::Ended { status, said: self.said() }),
                Err(error) => return Err(MountError::Wait(error)),
            }
            if interrupt::is_wanted() {
                return Err(MountError::Interrupted);
            }
            if began.elapsed() > DFUSE_START_MAX {
                let _ = self.server.kill();
                return Err(MountError::Late { said: self.said() });
            }
            std::thread::sleep(DFUSE_PAUSE);
        }
    }

    /// Returns the last line that dfuse has written.
    fn said(&self) -> String {
        let text = fs::read(log(&self.above)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let last = text.lines().rfind(|line| !line.trim().is_empty());
        last.map(|line| format!(": {}", line.trim())).unwrap_or_default()
    }

    /// Unmounts the container. Other ranks of this node may still have files in it open for a
    /// moment.
    fn unmount(&self) {
        let began = Instant::now();
        let point = self.point();
        while is_mounted(&point) {
            let is_late = began.elapsed() > DFUSE_STOP_MAX;
            let done = fusermount(if is_late { &["-u", "-z"] } else { &["-u"] }, &point);
            if is_late {
                tracing::warn!(mount = %point.display(), ?done, "is in use, and unmounted later");
                return;
            }
            if !done.is_ok_and(|status| status.success()) {
                std::thread::sleep(DFUSE_PAUSE);
            }
        }
    }

    /// Waits until dfuse has ended. It ends by itself when it is unmounted and has written its
    /// cached data.
    fn wait_for_end(&mut self) {
        let began = Instant::now();
        while let Ok(None) = self.server.try_wait() {
            if began.elapsed() > DFUSE_STOP_MAX {
                tracing::warn!(pid = self.server.id(), "dfuse does not end");
                return;
            }
            std::thread::sleep(DFUSE_PAUSE);
        }
    }
}

impl Drop for Dfuse {
    fn drop(&mut self) {
        // Without a mount yet, dfuse would mount later.
        if !is_mounted(&self.point()) {
            let _ = self.server.kill();
        }
        self.unmount();
        self.wait_for_end();
        remove(&self.above);
    }
}

fn point(above: &Path) -> PathBuf {
    above.join("mount")
}

fn log(above: &Path) -> PathBuf {
    above.join("log")
}

fn is_mounted(point: &Path) -> bool {
    let point = point.as_os_str().as_encoded_bytes();
    mounts::table().iter().any(|mount| mount.point == point)
}

/// Creates a directory on this node, with an empty one in it.
fn private_dir() -> io::Result<PathBuf> {
    let above = std::env::temp_dir().canonicalize()?;
    let above = above.join(format!("daos-{}-{:08x}", std::process::id(), fastrand::u32(..)));
    fs::DirBuilder::new().mode(0o700).create(&above)?;
    fs::create_dir(point(&above))?;
    Ok(above)
}

/// Removes only the entries that were created here, never those of a mount.
fn remove(above: &Path) {
    let _ = fs::remove_file(log(above));
    let _ = fs::remove_dir(point(above));
    let _ = fs::remove_dir(above);
}

fn start(above: &Path, pool: &str, container: &str) -> io::Result<Child> {
    let said = fs::File::create_new(log(above))?;
    let mut dfuse = Command::new("dfuse");
    dfuse.arg("--foreground").arg("--mountpoint").arg(point(above));
    dfuse.args(["--pool", pool, "--container", container]).current_dir("/");
    // Ctrl-C is for the job, which then unmounts.
    dfuse.process_group(0).stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
    dfuse.env_remove("LD_PRELOAD");
    for (name, _) in std::env::vars_os() {
        let is_of = |prefix: &str| name.as_encoded_bytes().starts_with(prefix.as_bytes());
        if OF_LAUNCHERS.iter().any(|prefix| is_of(prefix)) {
            dfuse.env_remove(name);
        }
    }
    // A child inherits the processor affinity of the thread that starts it.
    let spawn = || {
        let mut all = CpuSet::new();
        (0..CpuSet::MAX_CPU).for_each(|number| all.set(number));
        let _ = sched_setaffinity(None, &all);
        dfuse.spawn()
    };
    let spawned = std::thread::scope(|scope| scope.spawn(spawn).join());
    spawned.unwrap_or_else(|_| Err(io::Error::other("its thread panicked")))
}

fn fusermount(flags: &[&str], point: &Path) -> io::Result<std::process::ExitStatus> {
    let run = |program: &str| {
        let mut command = Command::new(program);
        command.args(flags).arg(point).env_remove("LD_PRELOAD");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()
    };
    run("fusermount3").or_else(|_| run("fusermount"))
}
