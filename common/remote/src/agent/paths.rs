//! Paths as the client gives them: of the whole file system, or below one directory.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use ::store::opening::{OpenAs, Symlinks};
use posix::PosixStore;
use types::entry::Metadata;
use types::error::{Error, Op, Result};
use types::operand::lineage::Lineage;
use types::path::{join, without_end_slashes};
use types::service::Details;

use super::system;

/// Reason why a client that is limited cannot follow links.
const FOLLOWS_NO_LINKS: &str =
    "an agent with --root follows no symbolic links; copy the links themselves";

/// Reason why a path of a limited client is not opened.
const LEADS_OUT: &str = "the path leads out of the directory that the agent has by --root";

/// Access to the paths that a client may use.
pub(super) struct Paths {
    /// Directory below which all paths are.
    root: Option<OwnedFd>,
}

/// A path that can be given to the system, as long as the descriptor in it is open.
struct Reached {
    path: Vec<u8>,
    #[expect(dead_code, reason = "the path leads through it")]
    held: Option<OwnedFd>,
}

impl Paths {
    pub fn new(root: Option<&[u8]>) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |path: &[u8]| rustix::fs::open(path, flags, Mode::empty());
        Ok(Self { root: root.map(open).transpose()? })
    }

    /// Returns a path to a directory. Below a root it leads through a descriptor, which was opened
    /// beneath it; an absolute path begins at the root, as in a change root.
    fn directory(&self, given: &[u8]) -> Result<Reached> {
        let Some(root) = &self.root else {
            let path = if given.is_empty() { b".".to_vec() } else { given.to_vec() };
            return Ok(Reached { path, held: None });
        };
        let below = below_root(given);
        let below = if below.is_empty() { b"." } else { below };
        let held = beneath(root, below, OFlags::DIRECTORY)?;
        Ok(Reached { path: join(&path_of(&held), b"."), held: Some(held) })
    }

    /// Returns a path to an entry, through its parent directory.
    fn entry(&self, given: &[u8]) -> Result<Reached> {
        if self.root.is_none() {
            return self.directory(given);
        }
        let bare = without_end_slashes(below_root(given));
        let slash = bare.iter().rposition(|byte| *byte == b'/');
        let (parent, name) = bare.split_at(slash.map_or(0, |slash| slash + 1));
        if matches!(name, b"" | b"." | b"..") {
            return self.directory(given);
        }
        let parent = self.directory(parent)?;
        Ok(Reached { path: join(&parent.path, name), ..parent })
    }

    /// Returns whether the client is limited to the paths below a directory.
    pub fn is_limited(&self) -> bool {
        self.root.is_some()
    }

    /// Opens the directory at a path. Links below it would lead anywhere if they were followed, so
    /// a limited client may not do that.
    pub fn open(&self, given: &[u8], open_as: OpenAs) -> Result<PosixStore> {
        if self.is_limited() && open_as.symlinks == Symlinks::Follow {
            let refused = Op::Follow.errno(libc::EACCES);
            return Err(told(refused, FOLLOWS_NO_LINKS));
        }
        PosixStore::open(&self.directory(given)?.path, open_as)
    }

    pub fn stat(&self, given: &[u8], symlinks: Symlinks) -> Result<Metadata> {
        let means_directory = given.is_empty() || given.ends_with(b"/");
        match &self.root {
            Some(_) if means_directory => {
                posix::stat_path(&self.directory(given)?.path, Symlinks::Follow)
            }
            Some(root) if symlinks == Symlinks::Follow => {
                let found = beneath(root, below_root(given), OFlags::empty())?;
                posix::stat_path(&path_of(&found), Symlinks::Follow)
            }
            _ => posix::stat_path(&self.entry(given)?.path, symlinks),
        }
    }

    pub fn make_dir(&self, given: &[u8], mode: u32) -> Result<()> {
        posix::make_dir_path(&self.entry(given)?.path, mode)
    }

    pub fn remove_dir(&self, given: &[u8]) -> Result<()> {
        posix::remove_dir_path(&self.entry(given)?.path)
    }

    pub fn is_below(&self, given: &[u8], above: &Metadata) -> bool {
        self.directory(given).is_ok_and(|found| posix::is_below(&found.path, above))
    }

    pub fn lineage(&self, given: &[u8]) -> Option<Lineage> {
        posix::lineage(&self.directory(given).ok()?.path)
    }

    pub fn real_path(&self, given: &[u8]) -> Option<Vec<u8>> {
        posix::real_path(&self.directory(given).ok()?.path)
    }
}

/// Opens an entry for its attributes, or as a directory on the way, if no link leads outside.
fn beneath(root: &OwnedFd, below: &[u8], how: OFlags) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | how;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    openat2(root, below, flags, Mode::empty(), resolve).map_err(|errno| match errno {
        Errno::XDEV => told(Op::Open.errno(libc::EXDEV), LEADS_OUT),
        other => system(Op::Open, &other.into()),
    })
}

/// Adds words to an error, since its number alone would not tell why.
fn told(error: Error, message: &str) -> Error {
    error.with(Some(Details { message: Some(message.to_owned()), ..Details::default() }))
}

fn path_of(held: &OwnedFd) -> Vec<u8> {
    format!("/proc/self/fd/{}", held.as_raw_fd()).into_bytes()
}

fn below_root(given: &[u8]) -> &[u8] {
    let begin = given.iter().position(|byte| *byte != b'/').unwrap_or(given.len());
    &given[begin..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leaves_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(path("root/in")).unwrap();
        std::fs::create_dir(path("outside")).unwrap();
        std::fs::write(path("secret"), "x").unwrap();
        std::os::unix::fs::symlink("../outside", path("root/link")).unwrap();
        std::os::unix::fs::symlink("../secret", path("root/file")).unwrap();
        let paths = Paths::new(Some(path("root").as_os_str().as_encoded_bytes())).unwrap();
        for given in ["..", "../outside", "in/../../outside", "link", "link/", "/../outside"] {
            assert!(paths.open(given.as_bytes(), OpenAs::default()).is_err(), "{given}");
            assert!(paths.stat(given.as_bytes(), Symlinks::Follow).is_err(), "{given}");
        }
        assert!(paths.stat(b"../secret", Symlinks::Keep).is_err());
        // A link that leads outside is a link, and nothing is known of what it points to.
        assert!(paths.stat(b"file", Symlinks::Follow).is_err());
        assert_eq!(paths.stat(b"file", Symlinks::Keep).unwrap().kind, types::entry::Kind::Symlink);
        assert!(paths.make_dir(b"../new", 0o755).is_err() && !path("new").exists());
        assert!(paths.make_dir(b"link/new", 0o755).is_err() && !path("outside/new").exists());
        for given in ["", "/", "in", "/in", "in/", "in/.."] {
            assert!(paths.open(given.as_bytes(), OpenAs::default()).is_ok(), "{given}");
        }
        paths.make_dir(b"/in/new", 0o755).unwrap();
        assert!(path("root/in/new").is_dir());
        paths.remove_dir(b"in/new").unwrap();
    }
}
