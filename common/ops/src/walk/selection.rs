//! Which entries of a walk take part.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::journal::folder::{BEGINNING_BYTES, LOCKED, is_beginning_of_part, may_be_part};
use crate::walk::place::Place;
use store::Dir;
use types::entry::{Hint, Kind, Metadata};
use types::error::Error;
use types::listed::record::Record;
use types::path::{self, Name, RelPath};
use types::place::staged_name::{is_journal_name, is_of_job, is_staged};
use types::select::filter::{Filter, FilterOptions};

/// What the operator wants of it; rank 0's options hold for all ranks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SelectionOptions {
    /// By path, size and age.
    pub filter: FilterOptions,
    /// Directories on other file systems than their root are not entered.
    pub one_file_system: bool,
}

/// What tells a job's own things from those of other jobs.
#[derive(Debug, Clone, Default)]
pub struct OwnThings {
    /// Numbers of stopped jobs that this one goes on with: what they have staged is its own to remove.
    pub earlier_jobs: Vec<u64>,
    /// Its journal: name and inode.
    pub journal: Option<(Vec<u8>, u64)>,
}

/// The same, ready for use on one rank.
#[derive(Debug)]
pub struct Selection {
    filter: Filter,
    one_file_system: bool,
    /// Files and directories that the job itself writes: name and inode.
    outputs: Vec<(Vec<u8>, u64)>,
    /// What jobs stage and their journals are passed over, where this is known.
    own: Option<OwnThings>,
    passed_over: AtomicU64,
}

impl Selection {
    /// # Errors
    /// One line: a pattern that is none.
    pub fn new(options: &SelectionOptions) -> Result<Self, String> {
        let filter = Filter::new(&options.filter)?;
        let one_file_system = options.one_file_system;
        let (outputs, own, passed_over) = (Vec::new(), None, AtomicU64::new(0));
        Ok(Self { filter, one_file_system, outputs, own, passed_over })
    }

    /// Everything takes part.
    pub fn all() -> Self {
        Self::new(&SelectionOptions::default()).expect("no pattern is a wrong one")
    }

    /// Passes over files and directories that the job itself writes, by name and inode: they get another name at its end.
    #[must_use]
    pub fn without_outputs(mut self, outputs: Vec<(Vec<u8>, u64)>) -> Self {
        self.outputs = outputs;
        self
    }

    /// Passes over what jobs have staged and not given its name, and journals: that is nobody's content. What the
    /// jobs before this one have staged takes part, so that it can be deleted.
    #[must_use]
    pub fn without_things_of_jobs(mut self, own: OwnThings) -> Self {
        self.outputs.extend(own.journal.clone());
        self.own = Some(own);
        self
    }

    /// Names of other jobs that were passed over.
    pub fn passed_over(&self) -> u64 {
        self.passed_over.load(Ordering::Relaxed)
    }

    fn is_of_a_job(&self, dir: &dyn Dir, name: &Name, hint: Hint) -> bool {
        let Some(own) = &self.own else { return false };
        let is_ours = || own.earlier_jobs.iter().any(|job| is_of_job(name, *job));
        let is_it = match hint {
            Hint::Directory => is_journal_name(name.to_bytes()),
            Hint::Object(_) => is_staged(name),
            _ => is_staged(name) && !is_ours() || is_part_of_journal(dir, name),
        };
        if is_it {
            self.passed_over.fetch_add(1, Ordering::Relaxed);
        }
        is_it
    }

    /// Whether a path that was named leads to what a job has staged, or into a journal beside a target.
    pub fn is_named_of_a_job(&self, path: &RelPath) -> bool {
        let is_it = self.own.is_some()
            && (path.components().any(is_journal_name)
                || path.split_last().is_some_and(|(_, name)| is_staged(&name)));
        self.passed_over.fetch_add(u64::from(is_it), Ordering::Relaxed);
        is_it
    }

    /// Whether a file that was named is part of a journal, wherever that is.
    pub fn is_named_part(&self, dir: &dyn Dir, name: &Name) -> bool {
        let is_it = self.own.is_some() && is_part_of_journal(dir, name);
        self.passed_over.fetch_add(u64::from(is_it), Ordering::Relaxed);
        is_it
    }

    /// Whether a directory is a journal: nobody's content, wherever `--journal` has put it.
    pub fn is_journal(&self, dir: &dyn Dir, metadata: &Metadata) -> bool {
        // A journal has no directory in it; most others are told by that.
        let is_it = self.own.is_some() && metadata.links <= 2 && is_part_of_journal(dir, LOCKED);
        self.passed_over.fetch_add(u64::from(is_it), Ordering::Relaxed);
        is_it
    }

    fn is_output(&self, dir: &dyn Dir, name: &Name) -> bool {
        let mut named = self.outputs.iter().filter(|(output, _)| output == name.to_bytes());
        named.any(|(_, inode)| dir.stat(name).is_ok_and(|it| it.inode == *inode))
    }

    /// Whether a name of a directory takes part; whether it is a directory is looked up only where a
    /// filter asks for it and the listing does not say.
    pub fn admits_name(&self, place: &Place, dir: &dyn Dir, name: &Name, hint: Hint) -> bool {
        !self.is_output(dir, name)
            && !self.is_of_a_job(dir, name, hint)
            && self.is_chosen(place, dir, name, hint)
    }

    /// Whether the filters by path let a name of a directory through, as the kind of entry that it is there.
    pub fn is_chosen(&self, place: &Place, dir: &dyn Dir, name: &Name, hint: Hint) -> bool {
        if self.filter.is_trivial() {
            return true;
        }
        let is_directory = match hint {
            Hint::Directory => true,
            Hint::Unknown => dir.stat(name).is_ok_and(|it| it.kind == Kind::Directory),
            Hint::File | Hint::Object(_) | Hint::Recorded(_) | Hint::Symlink | Hint::Other => false,
        };
        let below = path::join(place.path().as_bytes(), name.to_bytes());
        self.filter.admits_path(&below, is_directory)
    }

    /// Whether names may be left out by their paths.
    pub fn has_rules(&self) -> bool {
        self.filter.has_rules()
    }

    /// Whether an entry takes part, by what it is.
    pub fn admits(&self, metadata: &Metadata) -> bool {
        self.filter.admits(metadata)
    }

    /// Whether an entry of a list takes part: it, and every directory between it and its root.
    pub fn admits_record(&self, record: &Record<'_>) -> bool {
        if self.filter.is_trivial() {
            return true;
        }
        let is_directory = record.metadata.kind == Kind::Directory;
        self.admits_below(record.below_root(), is_directory) && self.filter.admits(record.metadata)
    }

    /// Whether a path that was not walked to takes part: it, and every directory above it.
    pub fn admits_below(&self, below: &[u8], is_directory: bool) -> bool {
        if self.filter.is_trivial() || below.is_empty() {
            return true;
        }
        let mut borders = below.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        borders.all(|(end, _)| self.filter.admits_path(&below[..end], true))
            && self.filter.admits_path(below, is_directory)
    }

    /// Whether entries must be looked at to know whether they take part.
    pub fn needs_metadata(&self) -> bool {
        self.filter.needs_metadata()
    }

    /// Whether the time of their last change must be known for that.
    pub fn needs_times(&self) -> bool {
        self.filter.needs_times()
    }

    /// Whether mount points are not entered.
    pub fn is_one_file_system(&self) -> bool {
        self.one_file_system
    }

    /// Whether a directory is on another file system than its root, and so not entered.
    pub fn stops_at(&self, directory: &Metadata, root_device: Result<u64, Error>) -> bool {
        self.one_file_system && root_device.is_ok_and(|device| device != directory.device)
    }
}

/// Whether a file is part of a journal: by its name, and by what it begins with.
pub fn is_part_of_journal(dir: &dyn Dir, name: &Name) -> bool {
    may_be_part(name.to_bytes())
        && dir.open_file(name).is_ok_and(|file| {
            let mut beginning = [0; BEGINNING_BYTES];
            file.read_at(&mut beginning, 0).is_ok() && is_beginning_of_part(&beginning)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::entry::Time;
    use types::select::filter::Rule;

    #[test]
    fn entries_of_a_list_are_chosen_below_their_root() {
        let rules = vec![Rule::exclude(b"/out".to_vec()), Rule::exclude(b"*.o".to_vec())];
        let filter = FilterOptions { rules, ..FilterOptions::default() };
        let options = SelectionOptions { filter, one_file_system: false };
        let selection = Selection::new(&options).unwrap();
        let time = Time { seconds: 0, nanoseconds: 0 };
        let metadata = Metadata {
            kind: Kind::File,
            mode: 0,
            uid: 0,
            gid: 0,
            size_bytes: 0,
            allocated_bytes: 0,
            atime: time,
            mtime: time,
            ctime: time,
            links: 1,
            device: 0,
            inode: 0,
            known: types::outcome::difference::Fields::ALL,
        };
        for (path, depth, admitted) in [
            ("/data/out", 0, true),
            ("/data/out", 1, false),
            ("/data/out/deep/file", 3, false),
            ("/data/in/out", 2, true),
            ("/data/in/a.o", 2, false),
            ("out/file", 1, true),
        ] {
            let path_bytes = path.as_bytes();
            let (user, group, target) = (None, None, None);
            let record = Record {
                path: path_bytes,
                depth,
                metadata: &metadata,
                target,
                user,
                group,
                crc64: None,
                digest: None,
            };
            assert_eq!(selection.admits_record(&record), admitted, "{path} {depth}");
        }
    }
}
