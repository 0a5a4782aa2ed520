//! The store of a tree on an SFTP server.

mod attributes;
mod dir;
mod file;
mod linked_names;
mod staged;

use std::sync::Arc;
use std::time::Duration;

use ::host::user::User;
use ::store::opening::{OpenAs, Symlinks};
use ::store::{Capabilities, Dir, Store};
use types::attributes::keep::XattrChoice;
use types::content::crc64::Crc64;
use types::content::transfer::{Durable, Rewriting};
use types::entry::{self, Metadata};
use types::error::{Cause, Op, Result};
use types::limits::SERVER_CLOCK_BEHIND_MAX;
use types::outcome::compare::TimeRange;
use types::path::{self, Name, RelPath};

use crate::answers;
use crate::host::Host;
use crate::packet::{Attrs, Kind, Packet};
use dir::SftpDir;

/// A tree on an SFTP server.
pub struct SftpStore {
    root: Arc<Root>,
    metadata: Metadata,
    shortcoming: Option<&'static str>,
}

/// Warning about attributes of a source.
const NOT_TOLD: &str = "an SFTP server does not tell extended attributes, access control lists, hard \
                        links and fractions of seconds; they are not preserved";

/// The root of a tree on an SFTP server.
struct Root {
    host: Arc<Host>,
    /// Absolute path without symbolic links.
    path: Vec<u8>,
    number: u32,
    symlinks: Symlinks,
    /// True where files are synced before they get their final names.
    is_durable: bool,
    /// True where files are written in place.
    is_in_place: bool,
}

/// Returns a number that stands for the inode at an absolute path: the protocol has none.
fn inode_of(path: &[u8]) -> u64 {
    Crc64::of(path).0 | 1
}

/// Refuses a path that is too long for any system.
fn checked(op: Op, path: &[u8]) -> Result<()> {
    if path.len() < libc::PATH_MAX as usize { Ok(()) } else { Err(op.errno(libc::ENAMETOOLONG)) }
}

impl Root {
    fn at(&self, below: &RelPath) -> Vec<u8> {
        path::join(&self.path, below.as_bytes())
    }

    /// Returns the metadata of an entry that is not followed.
    fn lstat(&self, path: &[u8]) -> Result<Metadata> {
        checked(Op::Stat, path)?;
        self.host.stat(Kind::Lstat, path, inode_of(path))
    }

    /// Returns the metadata of an entry, or of what a link leads to, wherever that is.
    fn stat_followed(&self, path: &[u8]) -> Result<Metadata> {
        let found = self.lstat(path)?;
        if found.kind != entry::Kind::Symlink {
            return Ok(found);
        }
        let real = self.host.real_path(Op::Stat, path)?;
        self.host.stat(Kind::Stat, path, inode_of(&real))
    }

    fn stat(&self, path: &[u8]) -> Result<Metadata> {
        match self.symlinks {
            Symlinks::Keep => self.lstat(path),
            Symlinks::Follow => self.stat_followed(path),
        }
    }

    /// Renames an entry that a job has staged. A directory is not replaced.
    fn rename(&self, op: Op, staged: &[u8], name: &[u8]) -> Result<()> {
        use crate::session::Extension::PosixRename;
        let renamed = if self.host.has(op, PosixRename)? {
            let request = Packet::extended(PosixRename.name()).text(staged).text(name);
            self.rename_by(&request, (staged, name))
        } else {
            self.rename_in_steps(staged, name)
        };
        renamed.map_err(|error| match self.lstat(name) {
            Ok(found) if found.kind == entry::Kind::Directory => op.failed(Cause::KindDiffers),
            _ => self.host.explained(error, name),
        })
    }

    /// Sends a request for renaming. Where it is repeated, the first one may have been done.
    fn rename_by(&self, request: &Packet, (from, to): (&[u8], &[u8])) -> Result<()> {
        let before = self.lstat(from)?;
        let (reply, is_repeated) = self.host.ask_counted(Op::Rename, request)?;
        match answers::done(Op::Rename, reply) {
            Err(error) if is_repeated && error.cause.is_vanished() => {
                let there = self.lstat(to)?;
                let is_it = (there.size_bytes, there.mtime) == (before.size_bytes, before.mtime);
                if is_it { Ok(()) } else { Err(error) }
            }
            done => done,
        }
    }

    /// Renames an entry where the server replaces none: the old one gets a name beside it until the
    /// new one has its place.
    fn rename_in_steps(&self, staged: &[u8], name: &[u8]) -> Result<()> {
        let rename = |from: &[u8], to: &[u8]| {
            self.rename_by(&Packet::of(Kind::Rename, from).text(to), (from, to))
        };
        match self.lstat(name) {
            Err(error) if error.cause.is_vanished() => return rename(staged, name),
            Ok(old) if old.kind != entry::Kind::Directory => {}
            Ok(_) => return Err(Op::Rename.failed(Cause::KindDiffers)),
            Err(error) => return Err(error),
        }
        let aside = [staged, b"0"].concat();
        rename(name, &aside)?;
        rename(staged, name).inspect_err(|_| {
            let _ = rename(&aside, name);
        })?;
        self.remove_file(&aside)
    }

    fn remove_file(&self, path: &[u8]) -> Result<()> {
        let (reply, is_repeated) =
            self.host.ask_counted(Op::Remove, &Packet::of(Kind::Remove, path))?;
        match answers::done(Op::Remove, reply) {
            Err(error) if is_repeated && error.cause.is_vanished() => Ok(()),
            removed => removed,
        }
    }
}

/// Returns the metadata of what is at a path of a host.
///
/// # Errors
/// Those of the server, and of the connection.
pub fn stat_path(host: &Host, path: &[u8], symlinks: Symlinks) -> Result<Metadata> {
    let path = given(path);
    checked(Op::Stat, path)?;
    let kind = match symlinks {
        Symlinks::Keep => Kind::Lstat,
        Symlinks::Follow => Kind::Stat,
    };
    let found = host.stat(kind, path, 0)?;
    let whole = host.real_path(Op::Stat, path);
    let inode = match found.kind {
        // A link itself is not what its real path leads to.
        entry::Kind::Symlink => inode_of(path),
        _ => inode_of(&whole?),
    };
    Ok(Metadata { inode, ..found })
}

/// Returns a path as the server takes it: an empty one is the home directory.
fn given(path: &[u8]) -> &[u8] {
    if path.is_empty() { b"." } else { path }
}

/// Creates the directory at a path of a host.
///
/// # Errors
/// Those of the server, and of the connection; `EEXIST` where there is something.
pub fn make_dir_path(host: &Host, path: &[u8], mode: u32) -> Result<()> {
    let attrs = Attrs { mode: Some(mode), ..Attrs::default() };
    let request = Packet::of(Kind::Mkdir, path).attrs(&attrs);
    let (reply, is_repeated) = host.ask_counted(Op::MakeDir, &request)?;
    answers::done(Op::MakeDir, reply).or_else(|error| match host.stat(Kind::Lstat, path, 0) {
        Ok(found) if is_repeated && found.kind == entry::Kind::Directory => Ok(()),
        Ok(_) => Err(Op::MakeDir.errno(libc::EEXIST)),
        Err(_) => Err(host.explained(error, path::parent(path).unwrap_or(path))),
    })
}

/// Removes the directory at a path of a host, if it is empty.
///
/// # Errors
/// Those of the server, and of the connection.
pub fn remove_dir_path(host: &Host, path: &[u8]) -> Result<()> {
    dir::remove_dir(host, path)
}

/// Returns whether the directory at a path of a host is `above`, or below it.
pub fn is_below(host: &Host, path: &[u8], above: &Metadata) -> bool {
    host.real_path(Op::Stat, given(path)).is_ok_and(|path| is_path_below(host, &path, above))
}

fn is_path_below(host: &Host, path: &[u8], above: &Metadata) -> bool {
    let mut ancestors = std::iter::successors(Some(path), |path| match *path {
        b"/" => None,
        _ => path.iter().rposition(|byte| *byte == b'/').map(|slash| &path[..slash.max(1)]),
    });
    above.device == host.id() && ancestors.any(|path| inode_of(path) == above.inode)
}

/// Returns the path of a directory of a host, without symbolic links.
pub fn real_path(host: &Host, path: &[u8]) -> Option<Vec<u8>> {
    let path = given(path);
    // Servers resolve the path of an entry that does not exist, too.
    host.stat(Kind::Stat, path, 0).ok()?;
    host.real_path(Op::Stat, path).ok()
}

/// Returns the user that works there, as far as it shows: the owner of its home directory. Root
/// owns the directory to which a server confines users (`ChrootDirectory` of sshd_config(5)), so
/// that they are unknown.
pub fn user(host: &Host) -> User {
    let is_home = host.real_path(Op::Stat, b".").is_ok_and(|path| path != b"/");
    match host.stat(Kind::Stat, b".", 0) {
        Ok(home) if is_home => User::of(home.uid == 0, vec![home.gid]),
        _ => User::unknown(),
    }
}

impl SftpStore {
    /// Opens the directory at a path of a host.
    ///
    /// # Errors
    /// Those of the server, and of the connection.
    pub fn open(host: &Arc<Host>, path: &[u8], open_as: OpenAs) -> Result<Self> {
        let path = given(path);
        checked(Op::Open, path)?;
        let is_followed = host.stat(Kind::Stat, path, 0);
        let found = is_followed.map_err(|error| types::error::Error { op: Op::Open, ..error })?;
        if found.kind != entry::Kind::Directory {
            return Err(Op::Open.errno(libc::ENOTDIR));
        }
        let path = host.real_path(Op::Open, path)?;
        let metadata = Metadata { inode: inode_of(&path), ..found };
        let root = Root {
            host: Arc::clone(host),
            number: host.add_root(&path),
            path,
            symlinks: open_as.symlinks,
            is_durable: open_as.transfer.durable != Durable::Later,
            is_in_place: open_as.transfer.rewriting == Rewriting::InPlace,
        };
        let is_short = open_as.xattrs.others != XattrChoice::None;
        let shortcoming = is_short.then_some(NOT_TOLD);
        Ok(Self { root: Arc::new(root), metadata, shortcoming })
    }

    /// Returns the metadata of the root when it was opened.
    pub fn root_metadata(&self) -> &Metadata {
        &self.metadata
    }
}

impl Store for SftpStore {
    fn open_dir(&self, path: &RelPath) -> Result<Arc<dyn Dir>> {
        SftpDir::enter(&self.root, path.clone()).map(|dir| Arc::new(dir) as Arc<dyn Dir>)
    }

    fn device(&self) -> Result<u64> {
        Ok(self.root.host.id())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            tells_change_times: false,
            holds_directories: false,
            clock_behind: SERVER_CLOCK_BEHIND_MAX,
            shortcoming: self.shortcoming,
            ..Capabilities::default()
        }
    }

    /// Returns `None`: the clock of the other host is its own.
    fn clock_ahead(&self) -> Option<Duration> {
        None
    }

    fn time_range(&self, _: &Metadata) -> TimeRange {
        TimeRange::Seconds
    }
}

/// Adds a name to a path.
fn child(path: &[u8], name: &Name) -> Vec<u8> {
    path::join(path, name.to_bytes())
}
