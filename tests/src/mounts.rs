//! File systems made for a test, which are unmounted when dropped. All need the superuser, as CI
//! has it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::sandbox::Sandbox;
use crate::skips;
use crate::waiting::wait_within;

/// A tmpfs of a fixed size.
#[derive(Debug)]
pub struct SmallDisk {
    dir: Sandbox,
}

impl SmallDisk {
    /// Mounts a tmpfs with these options.
    pub fn mount(options: &str) -> Self {
        let dir = Sandbox::for_everybody();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(dir.path());
        assert!(mount.status().unwrap().success());
        Self { dir }
    }

    /// Returns the mount point.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.dir.path()).status();
    }
}

/// A file system in an image file, such as one with coarse timestamps.
#[derive(Debug)]
pub struct Image {
    dir: Sandbox,
}

impl Image {
    /// Makes an ext4 file system of 64 MiB with these options of mkfs.ext4(8), and mounts it.
    /// `None` where there are no loop devices.
    pub fn ext4(options: &[&str]) -> Option<Self> {
        Self::make("/sbin/mkfs.ext4", 64 << 20, &[&["-q", "-F"], options].concat())
    }

    /// Makes a btrfs, which supports reflinks.
    pub fn btrfs() -> Option<Self> {
        Self::make("/sbin/mkfs.btrfs", 256 << 20, &["-q"])
    }

    /// Makes an xfs that supports reflinks; there are no smaller ones.
    pub fn xfs() -> Option<Self> {
        Self::xfs_with("reflink=1")
    }

    /// Makes an xfs with these metadata options.
    pub fn xfs_with(options: &str) -> Option<Self> {
        Self::make("/sbin/mkfs.xfs", 300 << 20, &["-q", "-m", options])
    }

    fn make(program: &str, size_bytes: u64, options: &[&str]) -> Option<Self> {
        let dir = Sandbox::for_everybody();
        let (image, mount) = (dir.path().join("image"), dir.path().join("mount"));
        std::fs::File::create(&image).unwrap().set_len(size_bytes).unwrap();
        std::fs::create_dir(&mount).unwrap();
        let mut make = Command::new(program);
        make.args(options).arg(&image).stderr(Stdio::null());
        assert!(make.status().unwrap().success());
        let mounted = Command::new("mount").args(["-o", "loop"]).args([&image, &mount]).status();
        let is_mounted = mounted.unwrap().success();
        if !is_mounted {
            skips::report("loop devices");
        }
        is_mounted.then_some(Self { dir })
    }

    /// Returns the mount point.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("mount")
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).status();
    }
}

/// A file system in which every operation takes a set time, as a parallel file system behaves for
/// one client; see `latencyfs/latencyfs.c`.
#[derive(Debug)]
pub struct SlowDisk {
    _dir: Sandbox,
    path: PathBuf,
    server: Child,
}

impl SlowDisk {
    /// Mounts the contents of `backing` with that delay per operation.
    pub fn mount(backing: &Path, delay: Duration) -> Self {
        let (dir, delay) = (Sandbox::for_everybody(), delay.as_micros());
        let mut latencyfs = Command::new(latencyfs());
        latencyfs.arg(format!("--delay-us={delay}")).arg("--no-permissions");
        latencyfs.args([backing, dir.path()]).stderr(Stdio::inherit());
        let path = dir.path().to_owned();
        Self::start(&mut latencyfs, dir, path)
    }

    /// Mounts the contents of `backing` with that delay per operation, which are recorded in a file
    /// (see [`crate::operations`]).
    pub fn recording(backing: &Path, delay: Duration, record: &Path) -> Self {
        let (dir, delay) = (Sandbox::for_everybody(), delay.as_micros());
        let mut latencyfs = Command::new(latencyfs());
        latencyfs.arg(format!("--delay-us={delay}")).arg("--no-permissions");
        latencyfs.arg(format!("--record={}", record.display()));
        latencyfs.args([backing, dir.path()]).stderr(Stdio::inherit());
        let path = dir.path().to_owned();
        Self::start(&mut latencyfs, dir, path)
    }

    /// Mounts the contents of `backing` with that delay per operation. So many operations are done
    /// at a time, and others queue. All are recorded in a file (see [`crate::operations`]).
    pub fn queueing(backing: &Path, delay: Duration, at_once: u32, record: &Path) -> Self {
        let (dir, delay) = (Sandbox::for_everybody(), delay.as_micros());
        let mut latencyfs = Command::new(latencyfs());
        latencyfs.arg(format!("--delay-us={delay}")).arg("--no-permissions");
        latencyfs.arg(format!("--at-once={at_once}"));
        latencyfs.arg(format!("--record={}", record.display()));
        latencyfs.args([backing, dir.path()]).stderr(Stdio::inherit());
        let path = dir.path().to_owned();
        Self::start(&mut latencyfs, dir, path)
    }

    /// Mounts the contents of `backing`, whose names are all in lower case, as a case-insensitive
    /// file system.
    pub fn folding(backing: &Path) -> Self {
        let dir = Sandbox::for_everybody();
        let mut latencyfs = Command::new(latencyfs());
        latencyfs.args(["--fold-case", "--no-permissions"]).args([backing, dir.path()]);
        latencyfs.stderr(Stdio::inherit());
        let path = dir.path().to_owned();
        Self::start(&mut latencyfs, dir, path)
    }

    /// Mounts the contents of `backing` as a file system that does not answer at first: the first
    /// `times` calls that open a file fail with `errno`.
    pub fn unanswering(backing: &Path, errno: i32, times: u32) -> Self {
        let dir = Sandbox::for_everybody();
        let mut latencyfs = Command::new(latencyfs());
        latencyfs.arg("--no-permissions").arg(format!("--unanswered={errno}"));
        latencyfs.arg(format!("--in-vain={times}")).args([backing, dir.path()]);
        latencyfs.stderr(Stdio::inherit());
        let path = dir.path().to_owned();
        Self::start(&mut latencyfs, dir, path)
    }

    /// Mounts the contents of `backing` as DAOS's dfuse would show a container with that link, at a
    /// path below a temporary directory. Requests are logged to the file `asked`.
    pub fn as_dfuse(backing: &Path, link: &str, below: &str, asked: &Path) -> Self {
        let dir = Sandbox::for_everybody();
        let path = dir.path().join(below);
        std::fs::create_dir_all(&path).unwrap();
        let mut latencyfs = Command::new(latencyfs());
        latencyfs.args(["-d", "--no-permissions"]).arg(format!("--as-dfuse={link}"));
        latencyfs.args([backing, &path]).args(["-o", "fsname=dfuse,subtype=daos"]);
        latencyfs.stderr(std::fs::File::create(asked).unwrap());
        Self::start(&mut latencyfs, dir, path)
    }

    fn start(latencyfs: &mut Command, dir: Sandbox, path: PathBuf) -> Self {
        let server = latencyfs.stdout(Stdio::null()).spawn().unwrap();
        let mut disk = Self { _dir: dir, path, server };
        wait_within(&mut disk.server, "latencyfs is mounted", || is_mount_point(&disk.path));
        disk
    }

    /// Returns the mount point.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        // A program that inspects all mounts of the machine has it open for a moment.
        let began = Instant::now();
        while let Ok(None) = self.server.try_wait() {
            let is_late = began.elapsed() > Duration::from_secs(10);
            let flags = if is_late { "-uz" } else { "-u" };
            let mut unmount = Command::new("fusermount3");
            let _ = unmount.arg(flags).arg(&self.path).stderr(Stdio::null()).status();
            if is_late {
                let _ = self.server.kill();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Returns true for a mount point.
pub fn is_mount_point(path: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    mounts.lines().any(|line| line.split(' ').nth(1) == path.to_str())
}

/// Builds the file system's server once, and returns its path.
pub fn latencyfs() -> PathBuf {
    static BUILT: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    let build = || {
        let source = crate::job::project().join("tests/latencyfs/latencyfs.c");
        let server = super::job::program_dir().join(format!("latencyfs-{}", std::process::id()));
        let flags =
            Command::new("pkg-config").args(["--cflags", "--libs", "fuse3"]).output().unwrap();
        let flags = String::from_utf8(flags.stdout).unwrap();
        let mut compile = Command::new("cc");
        compile.arg("-O2").arg("-o").arg(&server).arg(source).args(flags.split_whitespace());
        assert!(compile.status().unwrap().success());
        server
    };
    BUILT.get_or_init(build).clone()
}
