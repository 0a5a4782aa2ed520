//! An entry as a list records it: path, attributes, a symbolic link's target, and the names of its
//! owners.

use serde::{Deserialize, Serialize};

use crate::content::crc64::Crc64;
use crate::entry::{Kind, Metadata, Time};
use crate::limits;
use crate::path::without_end_slashes;

/// An entry met by a walk or read from a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'r> {
    /// The path as the operator would write it: the given root and what is below it.
    pub path: &'r [u8],
    /// Number of directories between the entry and the root that it was found from; 0 for a root
    /// itself.
    pub depth: u32,
    /// Attributes of the entry.
    pub metadata: &'r Metadata,
    /// Target of a symbolic link, if it is known.
    pub target: Option<&'r [u8]>,
    /// The owner's name, if there is one.
    pub user: Option<&'r str>,
    /// The group's name, if there is one.
    pub group: Option<&'r str>,
    /// CRC-64 of a file's content, where it was computed.
    pub crc64: Option<Crc64>,
    /// Second checksum of the content, in hexadecimal digits, where it was requested.
    pub digest: Option<&'r str>,
}

/// An entry with its own copy of all data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as in Record")]
pub struct OwnedRecord {
    pub path: Vec<u8>,
    pub depth: u32,
    pub metadata: Metadata,
    pub target: Option<Vec<u8>>,
    pub user: Option<String>,
    pub group: Option<String>,
    pub crc64: Option<Crc64>,
    pub digest: Option<String>,
}

impl<'r> Record<'r> {
    /// Creates the record of an entry of which only path, depth and attributes are known.
    pub fn new(path: &'r [u8], depth: u32, metadata: &'r Metadata) -> Self {
        let (target, user, group, crc64, digest) = (None, None, None, None, None);
        Self { path, depth, metadata, target, user, group, crc64, digest }
    }
}

impl OwnedRecord {
    /// Returns true where the values are possible ones of an entry: a list may be foreign or
    /// damaged.
    pub fn is_sound(&self) -> bool {
        let Metadata { mode, atime, mtime, ctime, .. } = &self.metadata;
        let sound = |time: &Time| time.nanoseconds < 1_000_000_000;
        let is_text = |bytes: &[u8]| !bytes.contains(&0);
        // The path must have at least as many components as its depth says.
        let steps = self.path.split(|byte| *byte == b'/').count() - 1;
        *mode <= 0o7777
            && [atime, mtime, ctime].into_iter().all(sound)
            && !self.path.is_empty()
            && self.depth as usize <= steps.min(limits::LIST_DEPTH_MAX)
            && is_text(&self.path)
            && self.target.as_deref().is_none_or(is_text)
    }

    /// Returns a borrowed view of the entry.
    pub fn view(&self) -> Record<'_> {
        Record {
            path: &self.path,
            depth: self.depth,
            metadata: &self.metadata,
            target: self.target.as_deref(),
            user: self.user.as_deref(),
            group: self.group.as_deref(),
            crc64: self.crc64,
            digest: self.digest.as_deref(),
        }
    }
}

impl<'a> Record<'a> {
    /// Copies the entry and all its data.
    pub fn to_owned(&self) -> OwnedRecord {
        OwnedRecord {
            path: self.path.to_vec(),
            depth: self.depth,
            metadata: *self.metadata,
            target: self.target.map(<[u8]>::to_vec),
            user: self.user.map(str::to_owned),
            group: self.group.map(str::to_owned),
            crc64: self.crc64,
            digest: self.digest.map(str::to_owned),
        }
    }

    /// Returns the path below the root that the entry was found from; empty for the root itself.
    pub fn below_root(&self) -> &[u8] {
        let path = trimmed(self.path);
        let borders = path.iter().enumerate().rev().filter(|(_, byte)| **byte == b'/');
        match self.depth as usize {
            0 => b"",
            depth => {
                let begin = borders.map(|(at, _)| at + 1).nth(depth - 1).unwrap_or(0);
                &path[begin..]
            }
        }
    }

    /// Returns the path that the entry was found from: the entry's own one at depth 0.
    pub fn root(&self) -> &'a [u8] {
        let path = trimmed(self.path);
        match self.below_root().len() {
            0 => path,
            below => trimmed(&path[..path.len() - below]),
        }
    }

    /// Returns the directory that the entry's bytes are counted in, with its depth: a directory
    /// itself, and the parent of any other entry.
    pub fn directory(&self) -> (&[u8], u32) {
        if self.metadata.kind == Kind::Directory {
            (trimmed(self.path), self.depth)
        } else {
            (parent(self.path), self.depth.saturating_sub(1))
        }
    }
}

/// Removes trailing slashes from a path; `/` stays.
pub fn trimmed(path: &[u8]) -> &[u8] {
    match without_end_slashes(path) {
        b"" if !path.is_empty() => b"/",
        trimmed => trimmed,
    }
}

/// Returns the path without its last component; empty where a path has only one.
pub fn parent(path: &[u8]) -> &[u8] {
    let path = trimmed(path);
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => trimmed(&path[..=slash]),
        None => b"",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_go_by_component() {
        for (path, above) in
            [("a/b/c", "a/b"), ("a//b", "a"), ("/a", "/"), ("a", ""), ("/", "/"), ("a/b/", "a")]
        {
            assert_eq!(parent(path.as_bytes()), above.as_bytes(), "{path}");
        }
        assert_eq!(trimmed(b"a//"), b"a");
        assert_eq!(trimmed(b"///"), b"/");
        assert_eq!(trimmed(b""), b"");
    }
}
