//! Removal of what interrupted jobs have left at the target and no job resumes.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::sync::Arc;

use super::context::Context;
use super::directory::Directories;
use super::env::Env;
use super::resume::{staged_name, vanished_is_gone};
use super::root::CopyRoot;
use super::widen;
use crate::journal::{Journal, TargetFile, Unfinished};
use crate::walk::dir_ref::{DirRef, Trees};
use crate::walk::{WalkTask, account};
use comm::Rank;
use store::Dir;
use types::entry::{Attributes, Hint, Kind, Time};
use types::error::{At, Cause, Error, Failure, Side, SideError};
use types::path::{self, Name, RelPath};

impl Directories {
    /// Removes leftovers of interrupted jobs in an existing directory of the target. The walk
    /// visits all directories, so the cost is one more listing of each; directories in it that the
    /// source does not have any more are walked for this purpose.
    pub(super) fn sweep(
        &self,
        dir_ref: &Arc<DirRef>,
        cx: &mut Context<'_, '_>,
    ) -> Result<(), SideError> {
        let Some(journal) = cx.env.journal.filter(|journal| journal.has_earlier_jobs()) else {
            return Ok(());
        };
        // The directory is opened again, because it may not have been readable before.
        let dir = cx.env.target(dir_ref).open_dir(dir_ref.path()).at(Side::Target)?;
        let found = Swept::of(journal, &*dir).at(Side::Target)?;
        // The walk visits extraneous entries in any case where they are to be deleted or recorded.
        if !cx.env.meets_extraneous() {
            for name in
                found.directories.iter().filter(|name| is_target_alone(cx.env, dir_ref, name))
            {
                let child = DirRef::at(dir_ref.root(), dir_ref.path().child(name));
                child.set_trees(Trees::TargetOnly);
                cx.task.push(WalkTask::List(Arc::new(child)).into());
            }
        }
        if found.left.is_empty() {
            return Ok(());
        }
        self.before_change(cx.env, dir_ref)?;
        remove_all(&*dir, &found.left).at(Side::Target)
    }
}

/// Returns whether the source has no entry of that name in a directory that both have.
fn is_target_alone(env: &Env<'_>, dir_ref: &DirRef, name: &Name) -> bool {
    let source = dir_ref.source_dir(&*env.root(dir_ref).source);
    let found = source.and_then(|dir| dir.stat(name));
    found.is_err_and(|error| error.cause.is_vanished())
}

/// Removes leftovers of interrupted jobs in a directory that only the target has, before it is
/// listed: afterwards several threads would process its entries at the same time.
pub(super) fn sweep_extra(dir_ref: &DirRef, cx: &mut Context<'_, '_>) {
    let swept = cx.env.journal.filter(|journal| journal.has_earlier_jobs());
    let Some(journal) = swept.filter(|_| cx.env.target(dir_ref).keeps_directories()) else {
        return;
    };
    // The directory is opened again, because the walk continues from the position of the other
    // handle.
    let swept = cx.env.target(dir_ref).open_dir(dir_ref.path()).and_then(|dir| {
        let left = Swept::of(journal, &*dir)?.left;
        remove_beside_the_rest(&*dir, &left, cx.env.options.user.is_superuser)
    });
    if let Err(side_error) = swept.at(Side::Target) {
        cx.fail(dir_ref, b"", side_error);
    }
}

/// Contents of a directory of a target, as far as they concern the sweep.
#[derive(Default)]
struct Swept {
    /// Leftovers of interrupted jobs that no job resumes: small files and links.
    left: Vec<CString>,
    directories: Vec<CString>,
}

impl Swept {
    fn of(journal: &Journal, dir: &dyn Dir) -> Result<Self, Error> {
        let mut found = Self::default();
        let listed = dir.list(&mut |name, hint| match hint {
            Hint::Directory => found.directories.push(name.to_owned()),
            _ if journal.was_left(name) => found.left.push(name.to_owned()),
            _ => {}
        });
        match listed {
            // The owner of the directory allows others to create entries in it, but not to list it.
            Err(Error { cause: Cause::System(libc::EACCES), .. }) => Ok(found),
            listed => listed.map(|()| found),
        }
    }
}

/// Removes what interrupted jobs have left directly in a root, small files and links.
///
/// # Errors
/// Returns the error of the first name that stays.
pub fn sweep_root(journal: &Journal, root: &CopyRoot) -> Result<(), Failure> {
    if !journal.has_earlier_jobs() || root.target.holds_objects() {
        return Ok(());
    }
    let swept = root
        .target
        .open_dir(&RelPath::root())
        .and_then(|dir| remove_all(&*dir, &Swept::of(journal, &*dir)?.left));
    swept.map_err(|error| account::failure(Side::Target, &root.shown_target, b"", error))
}

/// Removes what interrupted jobs have staged and this job did not use: the source does not exist
/// any more, or the target has the file already. Each of the given number of ranks handles its
/// share of the directories; returns the failures.
pub fn remove_unused(
    journal: &Journal,
    roots: &[CopyRoot],
    (rank, ranks): (Rank, u32),
    is_superuser: bool,
) -> Vec<Failure> {
    let directories = unused(journal, roots).into_values();
    let mine = directories.skip(rank.index()).step_by(ranks as usize);
    let removed = mine.flat_map(|unused| remove_in(&unused, is_superuser));
    let intended = journal.intended_uploads().iter();
    let mine = intended.skip(rank.index()).step_by(ranks as usize);
    let aborted = mine.filter_map(|(file, at)| abort_intended(roots, file, *at).err());
    removed.chain(aborted).collect()
}

/// Aborts the upload that an interrupted job was about to initiate for a file, if it exists.
fn abort_intended(roots: &[CopyRoot], file: &TargetFile, at: Time) -> Result<(), Failure> {
    let Some((root, parent, name)) = place_of(roots, file) else { return Ok(()) };
    let dir = root.target.open_dir(&parent);
    let aborted = dir.and_then(|dir| dir.abort_unrecorded_uploads(&name, at));
    vanished_is_gone(aborted)
        .map_err(|error| account::failure(Side::Target, &root.shown_target, &file.path, error))
}

/// Returns the root, the directory and the name of a file of the target.
fn place_of<'r>(
    roots: &'r [CopyRoot],
    file: &TargetFile,
) -> Option<(&'r CopyRoot, RelPath, CString)> {
    let root = roots.iter().find(|root| root.real_paths.target == file.root)?;
    let (parent, name) = RelPath::checked(&file.path)?.split_last()?;
    Some((root, parent, name))
}

/// A staged file: its root, its directory, the name of its final file, and its record.
type Unused<'j> = (&'j CopyRoot, RelPath, CString, &'j Unfinished);

/// Returns the unused staged files, by directory.
fn unused<'j>(journal: &'j Journal, roots: &'j [CopyRoot]) -> BTreeMap<Vec<u8>, Vec<Unused<'j>>> {
    let mut directories: BTreeMap<Vec<u8>, Vec<Unused<'_>>> = BTreeMap::new();
    for (file, begun) in journal.all_unfinished() {
        let Some((root, parent, name)) = place_of(roots, file) else { continue };
        let directory = path::join(&file.root, parent.as_bytes());
        directories.entry(directory).or_default().push((root, parent, name, begun));
    }
    directories
}

/// Removes the unused staged files of one directory; returns the failures.
fn remove_in(unused: &[Unused<'_>], is_superuser: bool) -> Vec<Failure> {
    let removed = unused.iter().map(|(root, parent, name, begun)| {
        let staged = staged_name(begun);
        let removed = root.target.open_dir(parent).and_then(|dir| match &staged {
            Some(staged) => {
                remove_beside_the_rest(&*dir, std::slice::from_ref(staged), is_superuser)
            }
            None => vanished_is_gone(dir.abort_upload(name, &begun.staged, None)),
        });
        vanished_is_gone(removed).map_err(|error| {
            let below = path::join(parent.as_bytes(), staged.as_ref().unwrap_or(name).to_bytes());
            account::failure(Side::Target, &root.shown_target, &below, error)
        })
    });
    removed.filter_map(Result::err).collect()
}

fn remove_all(dir: &dyn Dir, names: &[CString]) -> Result<(), Error> {
    names.iter().try_for_each(|name| vanished_is_gone(dir.remove(name, Kind::File)))
}

/// Removes names from a directory that is complete otherwise and keeps its mode and timestamps. No
/// other rank may change the directory meanwhile: if two ranks each restored the timestamps that
/// they found, one of them could have found those that resulted from the removal by the other.
fn remove_beside_the_rest(
    dir: &dyn Dir,
    names: &[CString],
    is_superuser: bool,
) -> Result<(), Error> {
    let is_there = |name: &&CString| !dir.stat(name).is_err_and(|it| it.cause.is_vanished());
    if !names.iter().any(|name| is_there(&name)) {
        return Ok(());
    }
    let before = dir.metadata()?;
    let widened_from = widen(dir, is_superuser)?;
    let removed = remove_all(dir, names);
    let as_before =
        Attributes { mode: widened_from, times: before.times(), ..Attributes::default() };
    match dir.set_attributes(&as_before) {
        // The directory belongs to another user, so this user cannot set its timestamps.
        Err(error) if error.cause != Cause::System(libc::EPERM) => removed.and(Err(error)),
        _ => removed,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::journal::folder::{self, Start};
    use crate::journal::job::JobRecord;
    use posix::PosixStore;
    use store::memory::MemoryStore;
    use store::opening::OpenAs;
    use types::entry::{Identity, Version};
    use types::operand::placement::TargetIs;
    use types::operand::staged_name::staged_name;

    const TIME: Time = Time { seconds: 1, nanoseconds: 2 };

    /// Opens the journal as the second job of its first job, which has staged these names in these
    /// directories.
    fn journal_of(dir: &Path, staged: &[(&str, CString)]) -> Journal {
        let job = JobRecord {
            tool: "dcp".to_owned(),
            sources: Vec::new(),
            target: b"/t".to_vec(),
            target_was: TargetIs::Missing,
            is_copy_new: true,
            names: None,
            settings: Vec::new(),
            began: TIME,
        };
        let open = |number| {
            let begun = folder::begin(dir, &job, Start::Resume);
            drop(begun.map_err(|refusal| refusal.words).expect("is ours"));
            Journal::open(dir, (number, Start::Resume), Rank(0)).expect("is there")
        };
        let first = open(1);
        for (number, (directory, name)) in staged.iter().enumerate() {
            let path = format!("{directory}/{number}").into_bytes();
            let identity = Identity { inode: 7, size_bytes: 300, mtime: TIME };
            let version = Version { identity, ctime: TIME };
            let staged = name.to_bytes().to_vec();
            let begun = Unfinished { version, chunk_bytes: 100, staged, inode: None };
            first.begin(TargetFile { from: b"/s".to_vec(), root: b"/t".to_vec(), path }, begun);
        }
        open(2)
    }

    /// Two ranks that did so at once would each restore the timestamps that they found.
    #[test]
    fn one_rank_alone_removes_what_was_staged_for_nothing_in_a_directory() {
        let (work, target) = (tempfile::tempdir(), tempfile::tempdir());
        let (work, target) = (work.expect("a directory"), target.expect("a directory"));
        let directories = ["d", "d/e", "f"];
        let staged: Vec<_> =
            (0..12).map(|it| (directories[it % 3], staged_name(1, 0, it as u64))).collect();
        std::fs::create_dir_all(target.path().join("d/e")).expect("can be made");
        std::fs::create_dir(target.path().join("f")).expect("can be made");
        let in_target = |(directory, name): &(&str, CString)| {
            target.path().join(directory).join(name.to_str().expect("is text"))
        };
        for staged in &staged {
            std::fs::write(in_target(staged), b"x").expect("can be written");
        }
        let journal = journal_of(&work.path().join("j"), &staged);
        let root = target.path().to_str().expect("is text").as_bytes();
        let store = PosixStore::open(root, OpenAs::default()).expect("is there");
        let roots = [CopyRoot::of(Box::new(MemoryStore::new()), Box::new(store))];
        for rank in 0..5 {
            let left = remove_unused(&journal, &roots, (Rank(rank), 5), true);
            assert_eq!(left, []);
            for directory in directories {
                let of_it = staged.iter().filter(|(of, _)| *of == directory);
                let there = of_it.filter(|staged| in_target(staged).exists()).count();
                assert!([0, 4].contains(&there), "rank {rank} leaves {there} in {directory}");
            }
        }
        assert!(!staged.iter().any(|staged| in_target(staged).exists()));
    }
}
