//! Selection of the entries of a walk: filters, file systems, and what belongs to jobs of this
//! program.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::journal::folder::{BEGINNING_BYTES, LOCKED, is_beginning_of_part, may_be_part};
use crate::walk::dir_ref::DirRef;
use store::Dir;
use types::entry::{Hint, Kind, Metadata};
use types::error::Error;
use types::listed::record::Record;
use types::operand::staged_name::{is_journal_name, is_of_job, is_staged};
use types::path::{self, Name, RelPath};
use types::select::filter::{Filter, FilterError, FilterOptions};

/// The options of selection. Those of rank 0 apply on all ranks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SelectionOptions {
    /// Filters by path, size and age.
    pub filter: FilterOptions,
    /// True if directories on other file systems than their root are not entered.
    pub one_file_system: bool,
}

/// The identification of this job's own staged files and journal, as opposed to those of other
/// jobs.
#[derive(Debug, Clone, Default)]
pub struct OwnThings {
    /// The numbers of interrupted jobs that this one resumes, so that it may remove their staged
    /// files.
    pub earlier_jobs: Vec<u64>,
    /// The name and inode number of this job's journal.
    pub journal: Option<(Vec<u8>, u64)>,
}

/// The selection, prepared for use on one rank.
///
/// Each stage of a job asks what it can know:
///
/// | stage | question | method |
/// | --- | --- | --- |
/// | a name was listed | Is it visited? Filters by path, and what belongs to jobs, decide. | [`admits_name`](Self::admits_name) |
/// | names of two trees are compared | Do the filters by path select it, with its type here? | [`is_chosen`](Self::is_chosen) |
/// | the operator has named a tree or an entry | Do the filters by path select it? | [`admits_operand`](Self::admits_operand) |
/// | a path comes from a list, a key or a mount table | Do they select it and all directories above it? | [`admits_below`](Self::admits_below) |
/// | an entry was inspected | Does its metadata select it? | [`admits`](Self::admits) |
/// | an entry comes from a list, with metadata | Do its path and metadata select it? | [`admits_record`](Self::admits_record) |
/// | a directory is about to be entered | Is it on another file system? | [`stops_at`](Self::stops_at) |
/// | `dsync -D` is about to delete | Does its metadata select it? | [`admits`](Self::admits) |
/// | drm is about to delete | Is the entry itself meant, and not only entered? | [`means`](Self::means) |
/// | drm is about to delete | Does its metadata allow it? | [`may_delete`](Self::may_delete) |
#[derive(Debug)]
pub struct Selection {
    filter: Filter,
    one_file_system: bool,
    /// The files and directories that this job itself writes, by name and inode number.
    outputs: Vec<(Vec<u8>, u64)>,
    /// The identification of this job's own things. Staged files and journals are only skipped
    /// where it is present.
    own: Option<OwnThings>,
    passed_over: AtomicU64,
}

impl Selection {
    /// Compiles the options.
    ///
    /// # Errors
    /// Fails for a malformed pattern, and for bounds with no value between them.
    pub fn new(options: &SelectionOptions) -> Result<Self, FilterError> {
        let filter = Filter::new(&options.filter)?;
        let one_file_system = options.one_file_system;
        let (outputs, own, passed_over) = (Vec::new(), None, AtomicU64::new(0));
        Ok(Self { filter, one_file_system, outputs, own, passed_over })
    }

    /// Selects every entry.
    pub fn all() -> Self {
        Self::new(&SelectionOptions::default()).expect("no pattern is a wrong one")
    }

    /// Skips files and directories that this job itself writes, such as an unfinished list.
    #[must_use]
    pub fn without_outputs(mut self, outputs: Vec<(Vec<u8>, u64)>) -> Self {
        self.outputs = outputs;
        self
    }

    /// Skips files that jobs have staged but not renamed, and journals, since these are no content
    /// of the user. Files staged by earlier runs of this job are selected, so that they can be
    /// deleted.
    #[must_use]
    pub fn without_things_of_jobs(mut self, own: OwnThings) -> Self {
        self.outputs.extend(own.journal.clone());
        self.own = Some(own);
        self
    }

    /// Returns the number of entries of other jobs that were skipped.
    pub fn passed_over(&self) -> u64 {
        self.passed_over.load(Ordering::Relaxed)
    }

    /// Returns whether an entry is a staged file or a journal, and counts it. A file staged by an
    /// earlier run of this job is not, so that it can be deleted.
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

    /// Returns whether a path in a list leads to a staged file, or into a journal beside a target.
    pub fn is_named_of_a_job(&self, path: &RelPath) -> bool {
        let is_it = self.own.is_some()
            && (path.components().any(is_journal_name)
                || path.split_last().is_some_and(|(_, name)| is_staged(&name)));
        self.passed_over.fetch_add(u64::from(is_it), Ordering::Relaxed);
        is_it
    }

    /// Returns whether a file in a list is part of a journal, wherever the journal is.
    pub fn is_named_part(&self, dir: &dyn Dir, name: &Name) -> bool {
        let is_it = self.own.is_some() && is_part_of_journal(dir, name);
        self.passed_over.fetch_add(u64::from(is_it), Ordering::Relaxed);
        is_it
    }

    /// Returns whether a directory is a journal, wherever `--journal` has put it.
    pub fn is_journal(&self, dir: &dyn Dir, metadata: &Metadata) -> bool {
        // A journal has no subdirectories, so a link count above 2 excludes most other directories
        // without opening a file.
        let is_it = self.own.is_some() && metadata.links <= 2 && is_part_of_journal(dir, LOCKED);
        self.passed_over.fetch_add(u64::from(is_it), Ordering::Relaxed);
        is_it
    }

    fn is_output(&self, dir: &dyn Dir, name: &Name) -> bool {
        let mut named = self.outputs.iter().filter(|(output, _)| output == name.to_bytes());
        named.any(|(_, inode)| dir.stat(name).is_ok_and(|it| it.inode == *inode))
    }

    /// Returns whether an entry is selected by its name. Its type is looked up only where a filter
    /// depends on it and the listing does not tell it.
    pub fn admits_name(&self, dir_ref: &DirRef, dir: &dyn Dir, name: &Name, hint: Hint) -> bool {
        !self.is_output(dir, name)
            && !self.is_of_a_job(dir, name, hint)
            && self.is_chosen(dir_ref, dir, name, hint)
    }

    /// Returns whether the filters by path select an entry, given the type that it has there.
    pub fn is_chosen(&self, dir_ref: &DirRef, dir: &dyn Dir, name: &Name, hint: Hint) -> bool {
        if self.filter.is_trivial() {
            return true;
        }
        let is_directory = match hint {
            Hint::Directory => true,
            Hint::Unknown => dir.stat(name).is_ok_and(|it| it.kind == Kind::Directory),
            Hint::File | Hint::Object(_) | Hint::Recorded(_) | Hint::Symlink | Hint::Other => false,
        };
        let below = path::join(dir_ref.path().as_bytes(), name.to_bytes());
        self.filter.admits_path(&below, is_directory)
    }

    /// Returns whether the filters by path select an entry that the operator has named
    /// ([`Filter::admits_operand`]).
    pub fn admits_operand(&self, name: &[u8], is_directory: bool) -> bool {
        self.filter.admits_operand(name, is_directory)
    }

    /// Returns whether any filter by path is set.
    pub fn needs_paths(&self) -> bool {
        self.filter.needs_paths()
    }

    /// Returns whether an entry is selected by its metadata.
    pub fn admits(&self, metadata: &Metadata) -> bool {
        self.filter.admits(metadata)
    }

    /// Returns whether a path is selected itself, and not only entered ([`Filter::means_path`]).
    pub fn means(&self, below: &[u8], is_directory: bool) -> bool {
        self.filter.means_path(below, is_directory)
    }

    /// Returns whether an entry may be deleted by its metadata ([`Filter::may_delete`]).
    pub fn may_delete(&self, metadata: &Metadata) -> bool {
        self.filter.may_delete(metadata)
    }

    /// Returns whether an entry of a list is selected, which requires the same of every directory
    /// between it and its root.
    pub fn admits_record(&self, record: &Record<'_>) -> bool {
        if self.filter.is_trivial() {
            return true;
        }
        let is_directory = record.metadata.kind == Kind::Directory;
        self.admits_below(record.below_root(), is_directory) && self.filter.admits(record.metadata)
    }

    /// Returns whether a path that was not reached by walking is selected, which requires the same
    /// of every directory above it.
    pub fn admits_below(&self, below: &[u8], is_directory: bool) -> bool {
        if self.filter.is_trivial() || below.is_empty() {
            return true;
        }
        let mut borders = below.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        borders.all(|(end, _)| self.filter.admits_path(&below[..end], true))
            && self.filter.admits_path(below, is_directory)
    }

    /// Returns whether selection needs the metadata of entries.
    pub fn needs_metadata(&self) -> bool {
        self.filter.needs_metadata()
    }

    /// Returns whether selection needs the modification time of entries.
    pub fn needs_times(&self) -> bool {
        self.filter.needs_times()
    }

    /// Returns whether other file systems below a root are not entered.
    pub fn is_one_file_system(&self) -> bool {
        self.one_file_system
    }

    /// Returns whether a directory is on another file system than its root, and therefore not
    /// entered.
    pub fn stops_at(&self, directory: &Metadata, root_device: Result<u64, Error>) -> bool {
        self.one_file_system && root_device.is_ok_and(|device| device != directory.device)
    }
}

/// Returns whether a file is part of a journal, by its name and its first bytes.
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
    use types::select::filter::Rule;

    #[test]
    fn entries_of_a_list_are_chosen_below_their_root() {
        let rules = vec![Rule::exclude(b"/out".to_vec()), Rule::exclude(b"*.o".to_vec())];
        let filter = FilterOptions { rules, ..FilterOptions::default() };
        let options = SelectionOptions { filter, one_file_system: false };
        let selection = Selection::new(&options).unwrap();
        let metadata = Metadata {
            known: types::outcome::difference::Fields::ALL,
            ..Metadata::of_kind(Kind::File)
        };
        for (path, depth, admitted) in [
            ("/data/out", 0, true),
            ("/data/out", 1, false),
            ("/data/out/deep/file", 3, false),
            ("/data/in/out", 2, true),
            ("/data/in/a.o", 2, false),
            ("out/file", 1, true),
        ] {
            let record = Record::new(path.as_bytes(), depth, &metadata);
            assert_eq!(selection.admits_record(&record), admitted, "{path} {depth}");
        }
    }
}
