//! A path and the host that it is on, and the nearest directory above it.

use std::ffi::CString;

use super::StoreResolver;
use super::hosts::Reached;
use store::opening::Symlinks;
use types::entry::Kind;
use types::operand::lineage::Lineage;
use types::operand::placement::Given;

/// A path, and the host that it is on; `None` for this node.
pub(super) struct Spot<'p> {
    host: Option<&'p Reached>,
    /// Text that names the host; empty for this node.
    pub head: Vec<u8>,
    /// Path there.
    pub path: Vec<u8>,
}

impl Spot<'_> {
    /// Returns whether the path is on an SFTP server.
    pub fn is_on_sftp(&self) -> bool {
        matches!(self.host, Some(Reached::Sftp(_)))
    }

    /// Returns whether the path is on this node.
    pub fn is_here(&self) -> bool {
        self.host.is_none()
    }

    /// Returns whether both paths are on this node, or on one host.
    pub fn is_on_host_of(&self, other: &Self) -> bool {
        match (self.host, other.host) {
            (None, None) => true,
            (Some(one), Some(other)) => std::ptr::eq(one, other),
            _ => false,
        }
    }

    /// Returns the type of what is at a path of the same host; symbolic links are followed.
    pub fn kind(&self, path: &[u8]) -> Option<Kind> {
        let found = match self.host {
            Some(host) => host.stat(path, Symlinks::Follow),
            None => posix::stat_path(path, Symlinks::Follow),
        };
        found.ok().map(|found| found.kind)
    }

    /// Returns the path of a directory of the same host without symbolic links.
    pub fn real_directory(&self, path: &[u8]) -> Option<Vec<u8>> {
        self.kind(path).filter(|kind| *kind == Kind::Directory)?;
        match self.host {
            Some(host) => host.real_path(path),
            None => posix::real_path(path),
        }
    }

    /// Returns a directory of the same host with those above it.
    pub fn lineage(&self, path: &[u8]) -> Option<Lineage> {
        match self.host {
            Some(host) => host.lineage(path),
            None => posix::lineage(path),
        }
    }

    /// Returns what `find` finds at the nearest path, at or above this one, where it finds
    /// something, and the names from there to this path.
    pub fn nearest<T>(&self, find: impl Fn(&[u8]) -> Option<T>) -> Option<(T, Vec<CString>)> {
        let (mut at, mut below) = (self.path.clone(), Vec::new());
        loop {
            if let Some(found) = find(&at) {
                return Some((found, below));
            }
            let given = Given::local(&at);
            below.insert(0, CString::new(given.last_name.clone()?).ok()?);
            at = given.parent();
        }
    }
}

impl StoreResolver {
    /// Returns the host of a path, and the path there.
    pub(super) fn spot<'p>(&'p self, given: &'p [u8]) -> Spot<'p> {
        match self.hosts.of(given) {
            Some(place) => {
                let (head, path) = (place.head.clone(), place.below.to_vec());
                Spot { host: Some(place.host), head, path }
            }
            None => Spot { host: None, head: Vec::new(), path: self.local(given).into_owned() },
        }
    }
}
