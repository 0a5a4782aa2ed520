//! The directory below which the entries of a list are looked up.
//!
//! An entry is looked up by the part of its path that follows that directory. A copy of the listed
//! directory has other paths: there, entries are looked up by their paths below the listed one,
//! where the list was made of that directory alone.

use std::os::unix::ffi::{OsStrExt, OsStringExt};

use serde::{Deserialize, Serialize};

use super::as_path;
use super::mfu::write::absolute_path;
use types::listed::record::{OwnedRecord, trimmed};
use types::operand::location::split;

/// Directory below which entries are looked up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// Paths of the directory: as it was given, from the root, and without symbolic links.
    paths: Vec<Vec<u8>>,
    /// Current directory, from which relative paths begin.
    here: Vec<u8>,
    /// Listed directory, of which the directory may be a copy.
    copied: Option<Vec<u8>>,
    /// Use of the entries.
    purpose: Purpose,
}

/// Use of the entries that a list names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// Entries are copied or compared.
    Read,
    /// Entries are deleted or moved: a copy of the listed directory has nothing to do with the
    /// list.
    Delete,
}

impl Base {
    /// Describes the directory at a path, given by the operator.
    pub fn new(given: &[u8], purpose: Purpose) -> Self {
        let here = std::env::current_dir().unwrap_or_default();
        let here = here.as_os_str().as_bytes().to_vec();
        Self { paths: names_of(given, &here), here, copied: None, purpose }
    }

    /// Adds the directory that the list was made of, where entries are found there by other paths:
    /// in a copy of it, or by another name of the same directory.
    #[must_use]
    pub(crate) fn of_copy(self, listed: &[u8]) -> Self {
        if self.depth_of_path(listed).is_some() {
            // The paths of its entries tell.
            return self;
        }
        let of_listed = names_of(listed, &self.here);
        let in_any = |ones: &[Vec<u8>], others: &[Vec<u8>]| {
            ones.iter().any(|one| others.iter().any(|other| depth_below(one, other).is_some()))
        };
        let is_same = self.paths.iter().any(|path| of_listed.contains(path));
        let is_inside = in_any(&self.paths, &of_listed) || in_any(&of_listed, &self.paths);
        let is_meant = match self.purpose {
            Purpose::Read => true,
            Purpose::Delete => self.ends_in(listed),
        };
        let copied = (is_same || is_meant && !is_inside).then(|| listed.to_vec());
        Self { copied, ..self }
    }

    /// Returns the listed directory, where entries may be found in a copy of it.
    pub(crate) fn copied(&self) -> Option<&[u8]> {
        self.copied.as_deref()
    }

    /// Finds entries by their paths alone.
    #[must_use]
    pub(crate) fn without_copy(self) -> Self {
        Self { copied: None, ..self }
    }

    /// Returns whether a relative path is that of the directory, seen from another one.
    fn ends_in(&self, listed: &[u8]) -> bool {
        let tail = [b"/", listed].concat();
        is_local(listed) && self.paths.iter().any(|path| path.ends_with(&tail))
    }

    /// Returns how many directories below this one an entry is; 0 for the directory itself, `None`
    /// for an entry that is elsewhere.
    pub(crate) fn depth(&self, entry: &OwnedRecord) -> Option<u32> {
        self.depth_of_path(&entry.path).or_else(|| {
            let is_copied = self.copied.as_deref() == Some(entry.view().root());
            is_copied.then_some(entry.depth)
        })
    }

    fn depth_of_path(&self, path: &[u8]) -> Option<u32> {
        let below = |path: &[u8]| self.paths.iter().find_map(|base| depth_below(path, base));
        let is_relative = is_local(path) && !path.starts_with(b"/");
        let from_here = || is_relative.then(|| absolute_path(&self.here, path));
        below(path).or_else(|| below(&from_here()?))
    }
}

/// Returns the paths of a directory: as it was given, from the root, and without symbolic links.
fn names_of(given: &[u8], here: &[u8]) -> Vec<Vec<u8>> {
    let mut paths = vec![trimmed(given).to_vec()];
    if is_local(given) {
        let is_plain = given.split(|byte| *byte == b'/').all(|part| part != b"..");
        paths.extend(is_plain.then(|| absolute_path(here, given)));
        let absolute = [here, b"/", given].concat();
        let path = if given.starts_with(b"/") { given } else { &absolute };
        let real = std::fs::canonicalize(as_path(path));
        paths.extend(real.ok().map(|real| real.into_os_string().into_vec()));
    }
    paths
}

fn is_local(path: &[u8]) -> bool {
    split(path).0.is_empty()
}

/// Returns the number of directories between an entry and a directory above it, 0 for that
/// directory itself; `None` for an entry that is elsewhere.
fn depth_below(path: &[u8], root: &[u8]) -> Option<u32> {
    let (path, root) = (trimmed(path), trimmed(root));
    let below = match root {
        b"/" => path.strip_prefix(b"/")?,
        root => match path.strip_prefix(root)? {
            b"" => return Some(0),
            below => below.strip_prefix(b"/")?,
        },
    };
    let parts = below.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).count();
    u32::try_from(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::entry::{Kind, Metadata};
    use types::listed::record::Record;

    fn entry(path: &str, depth: u32) -> OwnedRecord {
        let metadata = Metadata::of_kind(Kind::File);
        let record = Record {
            path: path.as_bytes(),
            depth,
            metadata: &metadata,
            target: None,
            user: None,
            group: None,
            crc64: None,
            digest: None,
        };
        record.to_owned()
    }

    fn base(given: &str, purpose: Purpose, listed: &str) -> Base {
        let here = b"/data".to_vec();
        let paths = names_of(given.as_bytes(), &here);
        Base { paths, here, copied: None, purpose }.of_copy(listed.as_bytes())
    }

    #[test]
    fn purpose_below_the_directory_that_is_named() {
        for purpose in [Purpose::Read, Purpose::Delete] {
            let of = |given, listed, path, depth| {
                base(given, purpose, listed).depth(&entry(path, depth))
            };
            assert_eq!(of("w", "w", "w/a/f", 2), Some(2));
            assert_eq!(of("w", "w/a", "w/a/f", 1), Some(2), "not w/f");
            assert_eq!(of("w", "w/a/f", "w/a/f", 0), Some(2));
            assert_eq!(of("w/a", "w", "w/a/f", 2), Some(1));
            for given in ["w/a", "./w/a", "/data/w/a", "w/w"] {
                assert_eq!(of(given, "w", "w/f", 1), None, "not what is in {given}");
            }
            assert_eq!(of("/data/w", "w", "w/f", 1), Some(1));
            assert_eq!(of("/other/w", "w", "w/f", 1), Some(1), "listed from another directory");
            assert_eq!(of("/other/w", "w", "v/f", 1), None);
            assert_eq!(of("s3://b/p", "s3://b/p", "s3://b/p/k", 1), Some(1));
            assert_eq!(of("s3://b/p", "s3://b/p", "s3://b/p2/k", 1), None);
        }
    }

    #[test]
    fn a_directory_is_known_by_all_its_names() {
        let work = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(work.path().join("dir/sub")).unwrap();
        std::os::unix::fs::symlink("dir", work.path().join("link")).unwrap();
        let at = |name: &str| work.path().join(name).to_str().unwrap().to_owned();
        for purpose in [Purpose::Read, Purpose::Delete] {
            let of = |given, listed: &str, below: &str| {
                let base = base(&at(given), purpose, &at(listed));
                base.depth(&entry(&at(&format!("{listed}/{below}")), 1))
            };
            assert_eq!([of("dir", "link", "f"), of("link", "dir", "f")], [Some(1); 2]);
            assert_eq!([of("dir/sub", "link", "f"), of("link/sub", "dir", "f")], [None; 2]);
        }
    }

    #[test]
    fn a_copy_of_what_was_listed_is_read_and_not_deleted() {
        for (given, listed, path) in [
            ("/copy", "/data/w", "/data/w/f"),
            ("copy", "w", "w/f"),
            ("s3://b/q", "s3://b/p", "s3://b/p/f"),
        ] {
            let depth = |purpose| base(given, purpose, listed).depth(&entry(path, 1));
            assert_eq!(depth(Purpose::Read), Some(1));
            assert_eq!(depth(Purpose::Delete), None);
        }
    }
}
