//! A program that mounts containers as DAOS's `dfuse` does, to be found in `PATH`: it has the same
//! options, and shows directories as dfuse shows containers (`latencyfs --as-dfuse`).

use crate::sandbox::Sandbox;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program, and the containers that it can mount.
#[derive(Debug)]
pub struct FakeDfuse {
    dir: Sandbox,
}

const PROGRAM: &str = r#"#!/bin/sh
echo "$@" >> "$HERE/starts"
while [ $# -gt 0 ]; do
    case $1 in
    --mountpoint) at=$2; shift ;;
    --pool) pool=$2; shift ;;
    --container) container=$2; shift ;;
    esac
    shift
done
content=$HERE/containers/$pool/$container
if [ ! -d "$content" ]; then
    echo "Failed to connect to pool: 1005 (No such entity)"
    exit 17
fi
if [ -n "$LD_PRELOAD$PMI_RANK$PMIX_RANK$PALS_RANKID" ]; then
    echo "This is no rank of the job"
    exit 3
fi
exec "LATENCYFS" --no-permissions --as-dfuse=DAOS.POSIX://x/y "$content" "$at" \
    -o fsname=dfuse,subtype=daos
"#;

impl FakeDfuse {
    /// Installs the program, without any containers.
    pub fn new() -> Self {
        let dir = Sandbox::for_everybody();
        let program = dir.path().join("bin/dfuse");
        let latencyfs = super::mounts::latencyfs();
        super::trees::write(
            &program,
            PROGRAM.replace("LATENCYFS", latencyfs.to_str().unwrap()).as_bytes(),
        );
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(dir.path().join("tmp")).unwrap();
        Self { dir }
    }

    /// Creates a container, unless it exists; returns the directory with its content.
    pub fn container(&self, pool: &str, name: &str) -> PathBuf {
        let content = self.dir.path().join("containers").join(pool).join(name);
        fs::create_dir_all(&content).unwrap();
        content
    }

    /// Puts the program into the `PATH` of a command.
    pub fn in_path<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        let path = std::env::var("PATH").unwrap();
        command
            .env("PATH", format!("{}:{path}", self.dir.path().join("bin").display()))
            .env("HERE", self.dir.path())
            .env("TMPDIR", self.temporary())
    }

    fn temporary(&self) -> PathBuf {
        self.dir.path().join("tmp")
    }

    /// Returns how often the program was started since the last call.
    pub fn take_starts(&self) -> usize {
        let starts = self.dir.path().join("starts");
        let count = fs::read_to_string(&starts).unwrap_or_default().lines().count();
        let _ = fs::remove_file(starts);
        count
    }

    /// Returns true where no mount point is left.
    pub fn is_clean(&self) -> bool {
        let is_empty = |dir: &Path| fs::read_dir(dir).unwrap().next().is_none();
        is_empty(&self.temporary())
    }

    /// Returns true while a container is mounted.
    pub fn is_mounted(&self) -> bool {
        let mut entries = fs::read_dir(self.temporary()).unwrap().flatten();
        entries.any(|entry| super::mounts::is_mount_point(&entry.path().join("mount")))
    }
}

impl Default for FakeDfuse {
    fn default() -> Self {
        Self::new()
    }
}
