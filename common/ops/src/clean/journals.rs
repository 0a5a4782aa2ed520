//! Removal of journals whose jobs are dead: no process holds the lock, and nothing was written for
//! a while.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::PoisonError;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{CleanJob, CleanRoot};
use crate::journal::folder::{self, LOCKED, StagedBy, may_be_first, may_be_part};
use crate::walk::account::Gathered;
use crate::walk::selection::is_part_of_journal;
use sched::context::TaskContext;
use store::{Dir, SourceFile, Store};
use types::entry::Kind;
use types::error::{Cause, Error};
use types::operand::placement::Given;
use types::operand::staged_name::is_journal_of;
use types::path::{self, RelPath};

/// A journal whose job is dead. Its staged files may be elsewhere.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeadJournal {
    /// The path of the journal.
    pub path: Vec<u8>,
    /// The identification of the files that its jobs have staged; `None` if the journal is damaged.
    pub staged_by: Option<StagedBy>,
}

/// A journal that was found.
struct Found {
    /// The names of its files.
    parts: Vec<CString>,
    /// The time of the last change of any of them, in seconds since 1970-01-01 UTC.
    changed_seconds: i64,
    /// True if a job is at work with it.
    is_at_work: bool,
    /// The lock that keeps a job from beginning as long as it is open.
    _lock: Option<Box<dyn SourceFile>>,
}

/// Evidence that a directory is a journal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Evidence {
    /// The description of a job in it.
    Description,
    /// The name of the directory as well, which a job gave it.
    Name,
}

/// Returns the journal in a directory, if there is one.
fn find(dir: &dyn Dir, evidence: Evidence) -> Result<Option<Found>, Error> {
    if !is_part_of_journal(dir, LOCKED) {
        return if evidence == Evidence::Name { find_remains(dir) } else { Ok(None) };
    }
    let mut parts = Vec::new();
    dir.list(&mut |name, _| {
        if may_be_part(name.to_bytes()) {
            parts.push(name.to_owned());
        }
    })?;
    // The description of the job goes last: the other files are of no use without it, and an
    // interrupted removal must leave a journal that can be recognised.
    parts.sort_by_key(|name| name.as_c_str() == LOCKED);
    let changed_seconds = last_change(dir, &parts)?;
    let file = dir.open_file(LOCKED)?;
    let is_at_work = file.as_fd().is_some_and(|fd| {
        flock(fd, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK)
    });
    let lock = (!is_at_work).then_some(file);
    Ok(Some(Found { parts, changed_seconds, is_at_work, _lock: lock }))
}

/// Returns what is left of a journal if its job was killed before it described itself, or when all
/// but the directory was removed.
fn find_remains(dir: &dyn Dir) -> Result<Option<Found>, Error> {
    let (mut parts, mut is_foreign) = (Vec::new(), false);
    dir.list(&mut |name, _| {
        is_foreign |= !may_be_first(name.to_bytes());
        parts.push(name.to_owned());
    })?;
    if is_foreign {
        return Ok(None);
    }
    // A job that begins now has changed the directory just before.
    let changed_seconds = last_change(dir, &parts)?.max(dir.metadata()?.ctime.seconds);
    Ok(Some(Found { parts, changed_seconds, is_at_work: false, _lock: None }))
}

/// Returns the time of the last change of any of these files, in seconds since 1970-01-01 UTC.
fn last_change(dir: &dyn Dir, parts: &[CString]) -> Result<i64, Error> {
    let changed = parts.iter().map(|name| dir.stat(name).map(|it| it.ctime.seconds));
    let changed: Vec<i64> = changed.collect::<Result<_, Error>>()?;
    Ok(changed.into_iter().max().unwrap_or(i64::MIN))
}

impl CleanJob {
    /// Removes the journal in a directory if there is one and its job is dead, and then the
    /// directory if it is empty.
    pub(super) fn clean_journal(
        &self,
        (store, path): (&dyn Store, &RelPath),
        evidence: Evidence,
        shown: &[u8],
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) -> Result<(), Error> {
        let dir = store.open_dir(path)?;
        let Some(found) = find(&*dir, evidence)? else { return Ok(()) };
        worker.tally.leftovers.found += 1;
        if found.is_at_work || found.changed_seconds > self.options.old_by_seconds {
            worker.tally.leftovers.too_recent += 1;
            return Ok(());
        }
        self.remember(shown);
        let remove = || {
            found.parts.iter().try_for_each(|part| dir.remove(part, Kind::File))?;
            let Some((parent, name)) = path.split_last() else { return Ok(()) };
            match store.open_dir(&parent)?.remove(&name, Kind::Directory) {
                // Someone has put other files there.
                Err(error) if error.cause == Cause::System(libc::ENOTEMPTY) => Ok(()),
                removed => removed,
            }
        };
        let _ = self.remove(shown, "remove", remove, worker, context);
        Ok(())
    }

    /// Remembers a journal that is about to be removed, and reads which files its jobs have staged.
    fn remember(&self, path: &[u8]) {
        let staged_by = match folder::staged_by(Path::new(OsStr::from_bytes(path))) {
            Ok(Some(staged_by)) => Some(staged_by),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => None,
            // The journal is not at this path as this process sees it.
            _ => return,
        };
        let journal = DeadJournal { path: path.to_owned(), staged_by };
        self.journals.lock().unwrap_or_else(PoisonError::into_inner).push(journal);
    }

    /// Removes the journals beside a location that belong to it.
    pub(super) fn clean_beside(
        &self,
        index: u32,
        worker: &mut Gathered,
        context: &TaskContext<'_, Self>,
    ) {
        let CleanRoot::Tree { path, beside: Some(beside), .. } = &self.roots[index as usize] else {
            return;
        };
        let given = Given::new(path);
        let target = given.last_name.as_ref().map(|name| path::escaped(name)).unwrap_or_default();
        let mut journals: Vec<CString> = Vec::new();
        let listed = beside.open_dir(&RelPath::root()).and_then(|dir| {
            dir.list(&mut |name, _| {
                if is_journal_of(name.to_bytes(), &target) {
                    journals.push(name.to_owned());
                }
            })
        });
        // An account that may not read the directory cannot have put a journal there.
        if listed.is_err() {
            return;
        }
        for name in journals {
            let shown = path::join(&given.parent(), name.to_bytes());
            let place = RelPath::root().child(&name);
            if let Err(error) =
                self.clean_journal((&**beside, &place), Evidence::Name, &shown, worker, context)
            {
                self.fail(&shown, error, worker, context);
            }
        }
    }
}
