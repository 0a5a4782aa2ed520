//! Results of rsync(1) and cp(1), changed to those that the documentation promises of dsync and
//! dcp: each difference on purpose, and none of it taken from what the two have made where that can
//! be helped.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use suite_tests::judge::{Entry, Picture};

use super::{Case, Seen};

/// Extended attributes that are access control lists.
const LISTS: [&str; 2] = ["system.posix_acl_access", "system.posix_acl_default"];

impl Case {
    /// Returns the expected tree.
    pub(super) fn documented(&self, seen: &Seen) -> Picture {
        let mut wanted = seen.theirs.clone();
        for (path, entry) in &mut wanted {
            let of = |tree: &Picture| tree.get(path).cloned();
            let [source, before, ours] = [&seen.source, &seen.before, &seen.ours].map(of);
            let (Some(source), Some(ours)) = (source, ours) else { continue };
            if seen.old.get(path) == Some(entry) && before.is_none() {
                // Files become links to the old ones, and nothing else does.
                if entry.kind != FileType::RegularFile {
                    *entry = self.as_kept(&source, &ours);
                }
                continue;
            }
            if self.is_newer(&source, before.as_ref()) {
                *entry = before.clone().unwrap_or(source);
                continue;
            }
            // What is left alone is as it was.
            let is_left = self.is_sync && before.as_ref() == Some(entry);
            let of_kind = before.clone().filter(|before| before.kind == entry.kind);
            if !is_left {
                self.give(entry, &source, of_kind.as_ref(), &ours);
            }
            if self.is_sync && !self.keeps("mode") && of_kind.is_none() {
                entry.mode = self.plain_mode(path, &source, seen);
            }
            self.give_of_names(entry, path, &ours, seen);
            if let Some(before) = &of_kind {
                self.give_time(entry, &source, before, &ours);
            }
            if !self.keeps("ownership") && differ(entry, &ours) {
                if of_kind.is_none() && ours.gid == Self::inherited_group(path, seen) {
                    Self::give_group(entry, &source, ours.gid);
                }
                Self::give_own_owner(entry, &source, before.as_ref(), &ours);
            }
        }
        self.leave_newer_links(&mut wanted, seen);
        self.give_to_pruned(&mut wanted, seen);
        for path in seen.source.keys().filter(|path| self.is_equal_link(path, seen)) {
            wanted.insert(path.clone(), seen.ours[path].clone());
        }
        wanted
    }

    /// Sets the attributes of directories that have no content but stay, because the target had
    /// them: rsync leaves them as they are, or with the time of the run, where it deleted something
    /// in them. What filters leave out stays as it is.
    fn give_to_pruned(&self, wanted: &mut Picture, seen: &Seen) {
        if !self.has("--prune-empty-dirs") {
            return;
        }
        let is_content = |it: &Entry| match it.kind {
            FileType::Directory => false,
            FileType::Fifo | FileType::Socket => self.has("--specials"),
            FileType::CharacterDevice | FileType::BlockDevice => self.has("--devices"),
            _ => true,
        };
        let has_content = |path: &PathBuf| {
            let is_in_both = |(below, it): (&PathBuf, &Entry)| {
                below.starts_with(path)
                    && is_content(it)
                    && seen.source.get(below).is_some_and(is_content)
            };
            seen.theirs.iter().any(is_in_both)
        };
        for (path, entry) in wanted.iter_mut() {
            let of = |tree: &Picture| tree.get(path).cloned();
            let [source, before, ours] = [&seen.source, &seen.before, &seen.ours].map(of);
            let (Some(source), Some(before), Some(ours)) = (source, before, ours) else { continue };
            let are_directories =
                [&source, &*entry].iter().all(|it| it.kind == FileType::Directory);
            let is_of_run = entry.mtime == (0, 0);
            let mtime = if is_of_run { entry.mtime } else { before.mtime };
            let is_left = Entry { mtime, ..before.clone() } == *entry;
            // rsync sets the times of all directories but these.
            let is_pruned = is_of_run && self.keeps("timestamps") || !has_content(path);
            if are_directories && is_left && is_pruned && (is_of_run || ours != before) {
                *entry = self.as_kept(&source, &ours);
            }
        }
        for (path, before) in &seen.before {
            let is_directory = |it: &Entry| it.kind == FileType::Directory;
            if self.has("--ignore-existing")
                && seen.source.get(path).is_some_and(is_directory)
                && !is_directory(before)
            {
                wanted.insert(path.clone(), before.clone());
            }
        }
    }

    /// Restores names that stay because they are newer, and that rsync has made hard links of their
    /// group.
    fn leave_newer_links(&self, wanted: &mut Picture, seen: &Seen) {
        let is_kept = |path: &Path| {
            let source = seen.source.get(path);
            source.is_some_and(|source| self.is_newer(source, seen.before.get(path)))
        };
        let groups: BTreeSet<PathBuf> = wanted.values().map(|it| it.first_link.clone()).collect();
        for first in groups {
            let names = names_of(&first, &seen.theirs).into_iter().filter(|name| !is_kept(name));
            let others: Vec<&PathBuf> = names.collect();
            for name in &others {
                if let Some(entry) = wanted.get_mut(*name).filter(|it| it.first_link == first) {
                    entry.first_link.clone_from(others[0]);
                }
            }
        }
    }

    /// Returns the group of a new entry where owners are not preserved: as with cp, a directory
    /// passes on its group to new entries, and the rule that it does so, before it has its own
    /// mode.
    pub(super) fn inherited_group(path: &Path, seen: &Seen) -> u32 {
        let Some(parent) = path.parent() else { return 0 };
        let before = seen.before.get(parent).filter(|it| it.kind == FileType::Directory);
        match before {
            Some(before) if before.mode & 0o2000 != 0 => before.gid,
            Some(_) => 0,
            None => Self::inherited_group(parent, seen),
        }
    }

    /// Sets the attributes of an entry of the source.
    fn give(&self, entry: &mut Entry, source: &Entry, before: Option<&Entry>, ours: &Entry) {
        if !self.is_sync {
            self.give_as_cp(entry, source);
        }
        if !self.keeps("mode") {
            Self::give_plain_mode(entry, before);
        }
        if let Some(before) = before.filter(|before| before.content == ours.content)
            && !self.keeps("mode")
            && self.is_sync
            && ours.mode == before.mode
        {
            entry.mode = before.mode;
        }
        let lists = |entry: &Entry| LISTS.map(|list| entry.xattrs.get(OsStr::new(list)).cloned());
        if let Some(before) = before.filter(|before| lists(before) == lists(ours))
            && !self.keeps("mode")
            && ours.mode == before.mode & 0o777
        {
            // With what was there before, as cp: rsync takes its list away.
            entry.mode = ours.mode;
            give_lists(entry, before);
        }
        if !self.keeps("ownership") {
            Self::give_own_owner(entry, source, before, ours);
        }
        if let Some(before) = before.filter(|_| !self.keeps("xattr"))
            && users(ours) == users(before)
        {
            // As above: a file that is written into keeps them, one that rsync makes has none.
            entry.xattrs.retain(|name, _| !name.as_bytes().starts_with(b"user."));
            entry.xattrs.extend(users(before));
        }
        // rsync takes from a list the group's right that equals the mask, now and then.
        for list in LISTS {
            let of = |entry: &Entry| entry.xattrs.get(OsStr::new(list)).cloned();
            if let (Some(wanted), true) = (of(source), self.keeps("mode") && of(entry).is_some()) {
                entry.xattrs.insert(list.into(), wanted);
            }
        }
    }

    /// Sets the attributes of a file that cp has written into, and that keeps some of its own: dcp
    /// sets the preserved ones.
    fn give_as_cp(&self, entry: &mut Entry, source: &Entry) {
        // cp makes holes of zeros in files that have holes already.
        if entry.content == source.content {
            entry.data.clone_from(&source.data);
        }
        if self.keeps("mode") {
            entry.mode = source.mode;
        }
        if self.keeps("xattr") && self.keeps("mode") {
            entry.xattrs.clone_from(&source.xattrs);
        }
    }

    /// Sets times that are not preserved: that of the run where ours was replaced, and an empty
    /// file, a directory of files, or a file of which an older snapshot may have a hard link, was
    /// written into; the earlier one where the content is the same, which rsync does not check.
    fn give_time(&self, entry: &mut Entry, source: &Entry, before: &Entry, ours: &Entry) {
        let was_written = ours.mtime == (0, 0) && before.mtime == entry.mtime;
        let is_same = ours.mtime == before.mtime && before.content == source.content;
        if !self.keeps("timestamps") && (was_written || is_same) {
            entry.mtime = ours.mtime;
        }
    }

    /// Sets modes that are not preserved: no set-id bit is gained, nor a sticky one of a file.
    fn give_plain_mode(entry: &mut Entry, before: Option<&Entry>) {
        match (entry.kind, before) {
            (FileType::Directory, Some(before)) => {
                // rsync gives a directory that it may not look into the source's mode, and some of
                // its lists.
                entry.mode = before.mode;
                give_lists(entry, before);
            }
            (FileType::Directory | FileType::Symlink, _) => {}
            _ => entry.mode &= 0o777,
        }
    }

    /// Returns the mode of a new entry, as with cp: rsync now and then gives it that of the source,
    /// or of an older copy.
    fn plain_mode(&self, path: &Path, source: &Entry, seen: &Seen) -> u32 {
        let umask = u32::from_str_radix(self.umask, 8).unwrap();
        let parent = path.parent().and_then(|parent| seen.ours.get(parent));
        match source.kind {
            FileType::Symlink => 0o777,
            FileType::Directory => {
                source.mode & 0o1777 & !umask | parent.map_or(0, |parent| parent.mode & 0o2000)
            }
            _ => match seen.before.get(path) {
                // A file keeps that of a file, and a special file that of any but a link.
                Some(before) if replaces(source, before) => before.mode & 0o777,
                _ => source.mode & 0o777 & !umask,
            },
        }
    }

    /// Returns true where the target's file is newer (`-u`), if only by a nanosecond: rsync
    /// compares seconds there.
    fn is_newer(&self, source: &Entry, before: Option<&Entry>) -> bool {
        let is_file = |entry: &Entry| entry.kind == FileType::RegularFile;
        self.has("-u")
            && is_file(source)
            && before.is_some_and(|before| is_file(before) && before.mtime > source.mtime)
    }

    /// Sets owners that are not preserved: a replaced file has its old one, as with cp, where rsync
    /// gives it to the user; and set-id bits are rights that belong to an owner.
    fn give_own_owner(entry: &mut Entry, source: &Entry, before: Option<&Entry>, ours: &Entry) {
        let owner = |entry: &Entry| (entry.uid, entry.gid);
        if before.is_some_and(|before| owner(before) == owner(ours)) {
            (entry.uid, entry.gid) = owner(ours);
        }
        let rights = [(entry.uid == source.uid, 0o4000), (entry.gid == source.gid, 0o2000)];
        for (is_theirs, bit) in rights {
            if entry.kind != FileType::Directory && !is_theirs {
                entry.mode &= !bit;
            }
        }
    }

    /// Sets the group. The set-group-id bit is a right that belongs to a group.
    fn give_group(entry: &mut Entry, source: &Entry, gid: u32) {
        if entry.kind != FileType::Directory && entry.gid != gid && gid == source.gid {
            entry.mode |= source.mode & 0o2000;
        }
        entry.gid = gid;
    }

    /// Sets attributes that depend on the order: which of a file's hard links is copied, and passes
    /// on what is not preserved.
    fn give_of_names(&self, entry: &mut Entry, path: &Path, ours: &Entry, seen: &Seen) {
        let names = names_of(path, &seen.source);
        if !self.hard_links || names.len() < 2 {
            return;
        }
        let there = || names.iter().filter_map(|name| seen.before.get(*name));
        let is_new = there().count() < names.len();
        let plain = seen.source[path].mode & 0o777 & !u32::from_str_radix(self.umask, 8).unwrap();
        let owner = |entry: &Entry| (entry.uid, entry.gid);
        if !self.keeps("mode")
            && (is_new && ours.mode == plain || there().any(|it| it.mode & 0o777 == ours.mode))
        {
            entry.mode = ours.mode;
        }
        if !self.keeps("ownership")
            && (is_new && owner(ours) == (0, 0) || there().any(|it| owner(it) == owner(ours)))
        {
            (entry.uid, entry.gid) = owner(ours);
            entry.mode = if self.keeps("mode") { ours.mode } else { entry.mode };
        }
        let is_handed_on = is_new && ours.xattrs.is_empty();
        if !(self.keeps("xattr") && self.keeps("mode"))
            && (is_handed_on || there().any(|it| it.xattrs == ours.xattrs))
        {
            entry.xattrs.clone_from(&ours.xattrs);
        }
    }

    /// Returns true for a hard link of which the target has names with other content or attributes:
    /// which of the names is compared decides what rsync notices. Ours has become equal to the
    /// source.
    fn is_equal_link(&self, path: &Path, seen: &Seen) -> bool {
        let names = names_of(path, &seen.source);
        let there = || names.iter().filter_map(|name| seen.before.get(*name));
        let are_unlike = there().any(|entry| Some(entry) != there().next());
        let is_as_before = |before: &Entry| {
            let now = seen.ours.get(path);
            now.is_some_and(|now| {
                Entry { first_link: now.first_link.clone(), ..before.clone() } == *now
            })
        };
        let may_be = match seen.before.get(path) {
            // A name that is missing becomes one of those that are there.
            None => !self.has("--existing"),
            Some(before) if self.has("--ignore-existing") => is_as_before(before),
            Some(before) => {
                let may_change =
                    seen.source.get(path).is_some_and(|it| !self.is_newer(it, Some(before)));
                may_change && (are_unlike || there().count() < names.len())
            }
        };
        // The first name cannot be made: another one takes its place.
        let is_blocked = |name: &&PathBuf| {
            let there = seen.before.get(*name);
            there.is_some_and(|there| there.kind == FileType::Directory) && !self.has("-D")
        };
        if self.hard_links && names.iter().any(is_blocked) {
            return seen.ours.contains_key(path);
        }
        let is_equal = seen.ours.get(path).is_some_and(|ours| {
            let source = &seen.source[path];
            // Names that are left out are none.
            let theirs = seen.theirs.get(path).map(|theirs| &theirs.first_link);
            [Some(&source.first_link), theirs].contains(&Some(&ours.first_link))
                && self.as_kept(source, ours) == *ours
        });
        self.hard_links && names.len() > 1 && may_be && is_equal
    }

    /// Returns an entry of the source with the attributes that are not preserved as another entry
    /// has them.
    fn as_kept(&self, source: &Entry, other: &Entry) -> Entry {
        let mut kept = Entry { first_link: other.first_link.clone(), ..source.clone() };
        if !self.keeps("mode") || !self.keeps("ownership") {
            kept.mode = other.mode;
        }
        if !self.keeps("ownership") {
            (kept.uid, kept.gid) = (other.uid, other.gid);
        }
        if !self.keeps("timestamps") {
            kept.mtime = other.mtime;
        }
        if !self.keeps("xattr") || !self.keeps("mode") {
            kept.xattrs.clone_from(&other.xattrs);
        }
        kept
    }
}

/// Returns true where one entry takes the place and the mode of the other.
fn replaces(one: &Entry, other: &Entry) -> bool {
    let is_file = |entry: &Entry| entry.kind == FileType::RegularFile;
    is_file(other)
        || !is_file(one) && ![FileType::Directory, FileType::Symlink].contains(&other.kind)
}

/// Returns true where owner, group or mode differ.
fn differ(one: &Entry, other: &Entry) -> bool {
    let rights = |entry: &Entry| (entry.uid, entry.gid, entry.mode);
    rights(one) != rights(other)
}

/// Replaces the access control lists of an entry by those of another.
fn give_lists(entry: &mut Entry, other: &Entry) {
    for list in LISTS.map(OsString::from) {
        entry.xattrs.remove(&list);
        let value = other.xattrs.get(&list);
        entry.xattrs.extend(value.map(|value| (list, value.clone())));
    }
}

/// Returns the extended attributes that users have set.
fn users(entry: &Entry) -> Vec<(OsString, Vec<u8>)> {
    let users = entry.xattrs.iter().filter(|(name, _)| name.as_bytes().starts_with(b"user."));
    users.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Returns all hard links of a file.
pub(super) fn names_of<'p>(path: &Path, tree: &'p Picture) -> Vec<&'p PathBuf> {
    let first = tree.get(path).map(|entry| &entry.first_link);
    let is_one = |(_, entry): &(&PathBuf, &Entry)| Some(&entry.first_link) == first;
    tree.iter().filter(is_one).map(|(path, _)| path).collect()
}
