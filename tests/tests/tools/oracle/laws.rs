//! Laws that hold for each entry, whatever another program makes of it: it is as it was, or as in
//! the source, with attributes that are not preserved as they were, or as those of a new entry.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use suite_tests::judge::{Entry, Picture, shown};

use super::documented::names_of;
use super::{Case, Seen};

/// Extended attribute that decides the permissions of new entries in a directory.
const DEFAULT_LIST: &str = "system.posix_acl_default";

impl Case {
    /// Returns entries that follow neither law.
    pub(super) fn unlawful(&self, seen: &Seen) -> Vec<String> {
        let broken = |(path, ours): (&PathBuf, &Entry)| {
            let broken = match seen.source.get(path) {
                Some(source) => self.broken(path, source, ours, seen),
                None if is_as(ours, seen.before.get(path)) => Vec::new(),
                None => vec!["it is not the source's, and not what it was"],
            };
            (!broken.is_empty()).then(|| format!("{}: {}", shown(path), broken.join(", ")))
        };
        seen.ours.iter().filter_map(broken).collect()
    }

    fn broken(&self, path: &Path, source: &Entry, ours: &Entry, seen: &Seen) -> Vec<&'static str> {
        // Names of one file may be what any of them was.
        let names = if self.hard_links { names_of(path, &seen.source) } else { Vec::new() };
        let of = |tree: &'_ Picture| -> Vec<Entry> {
            let paths = names.iter().map(|name| name.as_path()).chain([path]);
            paths.filter_map(|name| tree.get(name).cloned()).collect()
        };
        let [were, older] = [&seen.before, &seen.old].map(of);
        let is_left = were.iter().any(|it| is_as(ours, Some(it)));
        let is_linked = older.iter().any(|it| is_as(ours, Some(it)) && it.content == ours.content);
        let is_passed_over = ours.kind == FileType::Directory && self.has("--ignore-existing");
        if is_left || is_linked || is_passed_over {
            return Vec::new();
        }
        let any = |is_it: &dyn Fn(&Entry) -> bool| were.iter().any(is_it);
        let is_content = ours.content == source.content
            || !self.has("-c") && any(&|it| it.content == ours.content && is_as_long(it, source));
        let laws = [
            ("type", (ours.kind, ours.device) == (source.kind, source.device)),
            ("content", is_content),
            ("mtime", self.has_time(source, ours, &any)),
            ("owner", self.has_owner(path, source, ours, seen, &any)),
            ("mode", self.has_mode(path, source, ours, seen, &any)),
            ("xattrs", self.has_xattrs(source, ours, &any)),
        ];
        laws.into_iter().filter(|(_, holds)| !holds).map(|(law, _)| law).collect()
    }

    fn has_time(&self, source: &Entry, ours: &Entry, any: Any<'_>) -> bool {
        if self.keeps("timestamps") {
            return ours.mtime == source.mtime;
        }
        // That of the run, or that from before.
        ours.mtime == (0, 0) || any(&|it| it.mtime == ours.mtime)
    }

    fn has_owner(
        &self,
        path: &Path,
        source: &Entry,
        ours: &Entry,
        seen: &Seen,
        any: Any<'_>,
    ) -> bool {
        let owner = |entry: &Entry| (entry.uid, entry.gid);
        if self.keeps("ownership") {
            return owner(ours) == owner(source);
        }
        let names = names_of(path, &seen.source).into_iter();
        let mut groups = names.map(|name| Self::inherited_group(name, seen)).chain([0]);
        any(&|it| owner(it) == owner(ours))
            || ours.uid == 0 && groups.any(|group| group == ours.gid)
    }

    fn has_mode(
        &self,
        path: &Path,
        source: &Entry,
        ours: &Entry,
        seen: &Seen,
        any: Any<'_>,
    ) -> bool {
        if self.keeps("mode") {
            // Rights of an owner and a group go with them.
            let is_theirs = [(ours.uid == source.uid, 0o4000), (ours.gid == source.gid, 0o2000)];
            let lost = is_theirs.iter().filter(|(is_theirs, _)| !is_theirs).map(|(_, bit)| bit);
            return ours.mode == source.mode
                || ours.kind != FileType::Directory
                    && ours.mode == source.mode & !lost.sum::<u32>();
        }
        let gives_rights = |tree: &Picture| {
            let mut parents = path.ancestors().skip(1).filter_map(|parent| tree.get(parent));
            parents.any(|parent| parent.xattrs.contains_key(OsStr::new(DEFAULT_LIST)))
        };
        if gives_rights(&seen.before) || gives_rights(&seen.ours) {
            // As in the target's default list, which the comparison with the other program sees to.
            return true;
        }
        let umask = u32::from_str_radix(self.umask, 8).unwrap();
        let plain = match source.kind {
            FileType::Symlink => 0o777,
            FileType::Directory => source.mode & 0o1777 & !umask,
            _ => source.mode & 0o777 & !umask,
        };
        let without = if ours.kind == FileType::Directory { 0o2000 } else { 0 };
        ours.mode & !without == plain
            || any(&|it| it.mode == ours.mode || it.mode & 0o777 == ours.mode)
    }

    fn has_xattrs(&self, source: &Entry, ours: &Entry, any: Any<'_>) -> bool {
        let users = |entry: &Entry| xattrs(entry, "user.");
        let has_users = if self.keeps("xattr") {
            users(ours) == users(source)
        } else {
            users(ours).is_empty() || any(&|it| users(it) == users(ours))
        };
        let lists = |entry: &Entry| xattrs(entry, "system.posix_acl_");
        has_users && (!self.keeps("mode") || lists(ours) == lists(source))
    }
}

/// Function that tells whether a condition holds for any of the earlier entries.
type Any<'a> = &'a dyn Fn(&dyn Fn(&Entry) -> bool) -> bool;

fn xattrs(entry: &Entry, prefix: &str) -> Vec<(OsString, Vec<u8>)> {
    let all =
        entry.xattrs.iter().filter(|(name, _)| name.as_bytes().starts_with(prefix.as_bytes()));
    all.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn is_as_long(one: &Entry, other: &Entry) -> bool {
    one.content.len() == other.content.len()
}

/// Compares entries except for hard links, and for the times of directories in which entries were
/// created.
fn is_as(entry: &Entry, other: Option<&Entry>) -> bool {
    other.is_some_and(|other| {
        let mtime = if entry.kind == FileType::Directory { other.mtime } else { entry.mtime };
        Entry { first_link: other.first_link.clone(), mtime, ..entry.clone() } == *other
    })
}
