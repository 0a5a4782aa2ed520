//! Owner and permissions that the system gives to new files of a directory: read from the first
//! files and assumed of the others, which saves two calls for each; on a parallel file system, two
//! requests.
//!
//! The owner depends on the directory (its set-group-id bit) and on the mount (squashed or mapped
//! users), the mode on the umask and on the mount, so each directory is asked anew.

use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::xattrs::Holder;
use store::NewFile;
use types::attributes::keep::XattrFilter;
use types::entry::{Metadata, Owner};
use types::error::Result;

/// The mode of a new file that only its owner may open: its content may be secret, and its owner
/// and access control list are not set yet.
pub(super) const PRIVATE: u32 = 0o600;

/// A value that no mode has.
const NO_MODE: u32 = u32::MAX;

/// Properties of new files of one directory.
pub(super) struct NewFiles {
    /// Permissions that the default access control list leaves to new entries; read when they are
    /// first needed.
    default_acl: OnceLock<Result<Option<u32>>>,
    /// Owner of the first new file.
    owner: OnceLock<Owner>,
    /// Mode that a file had which was created with it.
    given: AtomicU32,
    /// Mode that a file did not have which was created with it.
    refused: AtomicU32,
}

impl Default for NewFiles {
    fn default() -> Self {
        Self {
            default_acl: OnceLock::new(),
            owner: OnceLock::new(),
            given: AtomicU32::new(NO_MODE),
            refused: AtomicU32::new(NO_MODE),
        }
    }
}

impl NewFiles {
    /// Returns the permission bits that the directory's default access control list leaves to new
    /// entries; `None` where there is none.
    pub fn default_acl_mode(&self, dir: &OwnedFd) -> Result<Option<u32>> {
        let look = || Holder::entry(dir, c".", XattrFilter::default()).default_acl_mode();
        self.default_acl.get_or_init(look).clone()
    }

    /// Returns the owner of new files, where it is known.
    pub fn owner(&self) -> Option<Owner> {
        self.owner.get().copied()
    }

    /// Returns the mode with which a file should be created: its final one, where nothing that is
    /// set later would make a difference to who may open it.
    pub fn mode_of(&self, new: &NewFile<'_>, dir: &OwnedFd) -> u32 {
        let (Some(mode), Some(owner)) = (new.attributes.mode, self.owner()) else {
            return PRIVATE;
        };
        let is_owned = new.attributes.owner.is_none_or(|wanted| wanted == owner);
        let has_acl = || new.attributes.xattrs.as_ref().is_some_and(|xattrs| !xattrs.is_empty());
        let is_plain = mode & !0o777 == 0 && mode & PRIVATE == PRIVATE;
        let is_refused = self.refused.load(Ordering::Relaxed) == mode;
        let is_final = is_plain
            && is_owned
            && !is_refused
            && !new.replaces
            && !has_acl()
            && self.default_acl_mode(dir) == Ok(None);
        if is_final { mode } else { PRIVATE }
    }

    /// Returns true where files that are created with this mode are known to have it.
    pub fn gives(&self, mode: u32) -> bool {
        self.given.load(Ordering::Relaxed) == mode
    }

    /// Records what a file has that was created with this mode.
    pub fn observe(&self, mode: u32, file: &Metadata) {
        let _ = self.owner.set(Owner::from(file));
        let seen = if file.mode == mode { &self.given } else { &self.refused };
        seen.store(mode, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attributes::stat_fd;
    use types::entry::{Attributes, Xattrs};

    const OTHER: Owner = Owner { uid: 7, gid: 7 };

    fn mode_of(files: &NewFiles, attributes: &Attributes, replaces: bool) -> u32 {
        let home = tempfile::tempdir().unwrap();
        let dir = OwnedFd::from(std::fs::File::open(home.path()).unwrap());
        files.mode_of(&NewFile { replaces, ..NewFile::new(c"s", c"n", attributes) }, &dir)
    }

    /// Returns what is known after a file that has got that mode in place of the one asked for.
    fn observed(asked: u32, mode: u32) -> NewFiles {
        let files = NewFiles::default();
        let metadata = stat_fd(tempfile::tempfile().unwrap()).unwrap();
        files.observe(asked, &Metadata { mode, ..metadata });
        files
    }

    fn with(mode: u32, owner: Option<Owner>) -> Attributes {
        Attributes { mode: Some(mode), owner, ..Attributes::default() }
    }

    #[test]
    fn the_first_file_is_private_and_the_next_has_its_mode_at_once() {
        let files = observed(PRIVATE, PRIVATE);
        let attributes = with(0o644, files.owner());
        assert_eq!(mode_of(&NewFiles::default(), &attributes, false), PRIVATE);
        assert_eq!(mode_of(&files, &attributes, false), 0o644);
    }

    #[test]
    fn what_is_set_later_keeps_a_file_private() {
        let files = observed(PRIVATE, PRIVATE);
        let own = files.owner();
        let group_as_it_is = own.map(|own| Owner { gid: Owner::AS_IT_IS, ..own });
        for (attributes, replaces) in [
            (with(0o644, Some(OTHER)), false),
            (with(0o644, own), true),
            (with(0o4755, own), false),
            (with(0o444, own), false),
            (with(0o644, group_as_it_is), false),
            (Attributes::default(), false),
        ] {
            assert_eq!(mode_of(&files, &attributes, replaces), PRIVATE, "{attributes:?}");
        }
        let acl = Xattrs::from([(b"system.posix_acl_access".to_vec(), vec![1])]);
        let attributes = Attributes { xattrs: Some(acl.into()), ..with(0o644, None) };
        assert_eq!(mode_of(&files, &attributes, false), PRIVATE);
    }

    #[test]
    fn a_mode_that_the_system_changes_is_not_tried_again() {
        let files = observed(0o664, 0o644);
        assert!(!files.gives(0o664));
        assert_eq!(mode_of(&files, &with(0o664, None), false), PRIVATE);
        assert_eq!(mode_of(&files, &with(0o644, None), false), 0o644);
        assert!(observed(0o644, 0o644).gives(0o644));
    }
}
