//! One directory on all nodes: before the first task all ranks make sure that each root is the
//! directory that rank 0 has opened, with the same file systems mounted in it.
//!
//! A node on which a file system is not mounted shows an empty directory, and `/tmp` is another one
//! on each. Work that is shared out over such would end with all the marks of success. So rank 0
//! tells what it sees, each rank compares, and what they have found is joined along a tree: a
//! message up and one down for each rank. Where all that is known of a directory that is to be
//! written to might be that of another one, rank 0 leaves a mark there, which all must see.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::node_errors::{NodeErrors, RankError, agree};
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;
use comm::Rank;
use comm::collective::{broadcast, reduce};
use host::interrupt;
use ops::walk::selection::Selection;
use posix::PosixStore;
use store::opening::OpenAs;
use store::{Dir, NewFile, StagedFile, Store};
use types::entry::Attributes;
use types::error::{Cause, Error, Op, Result};
use types::limits;
use types::operand::root_view::{Agreement, Discrepancy, RootView, Sureness};
use types::operand::staged_name::staged_name;
use types::outcome::difference::Fields;
use types::outcome::tally::Tally;
use types::path::{Name, RelPath, escaped, join};

/// A directory that all ranks are to see alike, or an entry that stands for it.
#[derive(Clone, Copy)]
pub(super) struct SharedRoot<'r> {
    /// Path as the operator wrote it.
    pub shown: &'r [u8],
    /// Open on this rank.
    pub store: &'r dyn Store,
    /// The entry that is meant, where that is not the root itself.
    pub entry: Option<&'r Name>,
    /// The job writes there.
    pub is_written: bool,
}

impl<'r> SharedRoot<'r> {
    /// The entries of it that are meant, where there are few: what else is in their directory, such
    /// as `/`, may be another one on each node. Many are compared by their directory.
    pub fn or_its_entries(self, names: Option<&'r [CString]>) -> Vec<Self> {
        match names {
            Some(names) if names.len() <= limits::ENTRIES_COMPARED_MAX => {
                names.iter().map(|name| Self { entry: Some(name), ..self }).collect()
            }
            _ => vec![self],
        }
    }

    fn words(&self) -> String {
        let below = self.entry.map(Name::to_bytes).unwrap_or_default();
        escaped(&join(self.shown, below))
    }
}

/// Findings of ranks, joined.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Findings {
    errors: NodeErrors,
    /// How far the roots that are alike are, in order.
    agreements: Vec<Option<Agreement>>,
}

impl Findings {
    fn join(&mut self, other: Self) {
        self.errors.join(other.errors);
        for (own, theirs) in self.agreements.iter_mut().zip(other.agreements) {
            match (own, theirs) {
                (Some(own), Some(theirs)) => own.join(theirs),
                (own @ None, theirs) => *own = theirs,
                (Some(_), None) => {}
            }
        }
    }
}

/// View of rank 0, and its host.
#[derive(Serialize, Deserialize)]
struct First {
    host: String,
    views: Vec<Sight>,
}

const ADVICE: &str = "mount it there too, start the job without that node, or name a directory that all nodes share \
(--assume-shared skips this check)";

const ADVICE_BELOW: &str = "mount it on all nodes, start the job without that node, or exclude the \
    mount point with --exclude, or all of them with -x (--assume-shared skips this check)";

/// Makes sure that all ranks see the same roots, and begins to watch what is mounted in them. False
/// on all ranks where they do not; rank 0 has said why. All ranks call it, with the same roots.
pub(super) fn are_shared(
    session: &mut Session<'_, '_>,
    roots: &[SharedRoot<'_>],
    selection: &Selection,
    assume_shared: bool,
    reporter: &mut Reporter,
) -> bool {
    if !selection.is_one_file_system() {
        for root in roots {
            root.store.watch(root.entry);
        }
    }
    if session.topology.ranks == 1 || assume_shared {
        return true;
    }
    let lines = compare(session, roots, selection);
    let lines = match lines {
        Ok(marked) if marked.is_empty() => return true,
        Ok(marked) => look_for_marks(session, roots, &marked, reporter),
        Err(lines) => lines,
    };
    if session.mail.comm().rank() == Rank::ROOT {
        for line in &lines {
            reporter.refuse(line);
        }
    }
    lines.is_empty()
}

/// Makes sure that a directory that all ranks write into, such as that of a list or a journal, is
/// the same on all nodes. False on all ranks where it is not; rank 0 has said why. All ranks call
/// it.
pub(super) fn is_shared_directory(
    session: &mut Session<'_, '_>,
    (path, shown): (&[u8], &[u8]),
    assume_shared: bool,
    reporter: &mut Reporter,
) -> bool {
    if session.topology.ranks == 1 || assume_shared {
        return true;
    }
    let opened = PosixStore::open(path, OpenAs::default());
    let opened = opened.map_err(|error| NotWritable { shown, error });
    let Some(store) = agree(session, opened, reporter) else { return false };
    let root = SharedRoot { shown, store: &store, entry: None, is_written: true };
    are_shared(session, &[root], &Selection::all(), assume_shared, reporter)
}

/// A directory that all ranks write into, and that cannot be opened on this one.
struct NotWritable<'p> {
    shown: &'p [u8],
    error: Error,
}

impl RankError for NotWritable<'_> {
    fn words(&self, session: &Session<'_, '_>, _: &Reporter) -> String {
        let (shown, host, error) = (escaped(self.shown), &session.topology.host, &self.error);
        format!(
            "\"{shown}\" is written by all nodes: {}: {} (on {host}); name a directory that all nodes share",
            error.op, error.cause
        )
    }
}

/// Counts roots that are not what they were, on any rank: what was missing in them had not
/// vanished, and what was listed may not have been all. Rank 0 says so; the count of this rank. All
/// ranks call it.
pub(super) fn lost(
    session: &mut Session<'_, '_>,
    roots: &[SharedRoot<'_>],
    selection: &Selection,
    reporter: &mut Reporter,
) -> Tally {
    let takes_part = |point: &[u8]| selection.admits_below(point, true);
    let (mut errors, mut tally) = (NodeErrors::default(), Tally::default());
    for root in roots {
        let error = root.store.check_mounts(&takes_part).and_then(|()| is_there(root.store)).err();
        if let Some(error) = error {
            let (host, shown) = (&session.topology.host, root.words());
            let line = format!("{} \"{shown}\": {} (on {host})", error.op, error.cause);
            errors.add_one_of_many(line);
            tally.failed += 1;
            tally.unread_directories += 1;
        }
    }
    let lines = errors.of_all(session);
    if session.mail.comm().rank() == Rank::ROOT {
        for line in &lines {
            reporter.warn(line);
        }
    }
    tally
}

/// A root that was removed is still open, and empty.
fn is_there(store: &dyn Store) -> Result<()> {
    if store.holds_objects() || !store.keeps_directories() {
        return Ok(());
    }
    let root = store.open_dir(&RelPath::root()).and_then(|dir| dir.metadata());
    match root {
        Ok(root) if root.links > 0 => Ok(()),
        Ok(_) => Err(Op::List.failed(Cause::RootGone)),
        Err(error) if error.cause.is_vanished() => Err(Op::List.failed(Cause::RootGone)),
        Err(error) => Err(error),
    }
}

/// Compares what this rank sees with what rank 0 does. The numbers of the roots in which a mark
/// must tell.
fn compare(
    session: &mut Session<'_, '_>,
    roots: &[SharedRoot<'_>],
    selection: &Selection,
) -> std::result::Result<Vec<u32>, Vec<String>> {
    let takes_part =
        |point: &[u8]| !selection.is_one_file_system() && selection.admits_below(point, true);
    let see = |root: &SharedRoot<'_>| root.store.view(root.entry, &takes_part);
    let host = session.topology.host.clone();
    let is_root = session.mail.comm().rank() == Rank::ROOT;
    let first =
        is_root.then(|| First { host: host.clone(), views: roots.iter().map(see).collect() });
    let first: First = broadcast(session.mail, first);
    let here = node_of(session, &first.host);
    let mut findings = Findings::default();
    for (root, theirs) in roots.iter().zip(&first.views) {
        match compared(theirs, &see(root)) {
            Ok(agreement) => findings.agreements.push(agreement),
            Err(why) => {
                findings.agreements.push(None);
                findings.errors.add(session, why.line(&root.words(), &here, &first.host));
            }
        }
    }
    let joined = reduce(session.mail, findings, Findings::join);
    let outcome = joined.map(|Findings { mut errors, agreements }| {
        for ((root, theirs), agreement) in roots.iter().zip(&first.views).zip(&agreements) {
            if let (Ok(Some(_)), Some(agreement)) = (theirs, agreement)
                && let Err(why) = confirm(|| see(root), agreement)
            {
                errors.add(session, why.line(&root.words(), "another node", &first.host));
            }
        }
        let lines = errors.into_lines();
        if lines.is_empty() { Ok(marked(roots, &agreements)) } else { Err(lines) }
    });
    broadcast(session.mail, outcome)
}

/// Name of this node in messages, with the rank where rank 0 is on it, too: it may be in a
/// container.
fn node_of(session: &mut Session<'_, '_>, first: &str) -> String {
    let (host, rank) = (&session.topology.host, session.mail.comm().rank().0);
    if host == first { format!("{host} (rank {rank})") } else { host.clone() }
}

/// The roots of which only a mark can tell.
fn marked(roots: &[SharedRoot<'_>], agreements: &[Option<Agreement>]) -> Vec<u32> {
    let is_likely = |agreement: &Option<Agreement>| {
        agreement.as_ref().is_some_and(|agreement| agreement.sureness == Sureness::Likely)
    };
    let numbered = roots.iter().zip(agreements).zip(0..);
    let likely = numbered.filter(|((root, agreement), _)| root.is_written && is_likely(agreement));
    likely.map(|(_, number)| number).collect()
}

/// Why a root is not the same.
enum RootProblem {
    /// Root that cannot be inspected here.
    Unseen(Error),
    /// Root that is another directory.
    Another(Discrepancy),
}

impl RootProblem {
    fn line(&self, shown: &str, here: &str, first: &str) -> String {
        match self {
            Self::Unseen(why) => {
                format!("\"{shown}\" cannot be compared with that of {first}: {why} (on {here})")
            }
            Self::Another(why) => {
                let advice = if why.is_below() { ADVICE_BELOW } else { ADVICE };
                let why = why.words(here, first);
                format!("\"{shown}\" is not the same on all nodes: {why}; {advice}")
            }
        }
    }
}

/// A root as a rank sees it; without a view where the store has none to compare.
type Sight = Result<Option<RootView>>;

fn compared(first: &Sight, here: &Sight) -> std::result::Result<Option<Agreement>, RootProblem> {
    match (first, here) {
        (Ok(Some(first)), Ok(Some(here))) => {
            first.agree(here).map(Some).map_err(RootProblem::Another)
        }
        (Err(why), _) | (_, Err(why)) => Err(RootProblem::Unseen(why.clone())),
        _ => Ok(None),
    }
}

/// Rank 0 looks again, where others have found something changed since it first did.
fn confirm(
    see: impl FnOnce() -> Sight,
    agreement: &Agreement,
) -> std::result::Result<(), RootProblem> {
    if agreement.changed.is_empty() {
        return Ok(());
    }
    match see() {
        Ok(Some(now)) => now.confirm(&agreement.changed).map_err(RootProblem::Another),
        Ok(None) => Ok(()),
        Err(why) => Err(RootProblem::Unseen(why)),
    }
}

/// A file without content in a root, which says to other nodes: it is this one.
struct Mark {
    dir: std::sync::Arc<dyn Dir>,
    staged: Box<dyn StagedFile>,
    /// Attributes of the directory before.
    attributes: Option<Attributes>,
}

impl Mark {
    fn leave(store: &dyn Store, name: &Name) -> Result<Self> {
        let dir = store.open_dir(&RelPath::root())?;
        let before = dir.metadata()?;
        let times = before.times().filter(|_| before.known.contains(Fields::MTIME));
        let staged = dir.stage_file(&NewFile::new(name, name, &Attributes::default()))?;
        Ok(Self {
            dir,
            staged,
            attributes: times.map(|_| Attributes { times, ..Attributes::default() }),
        })
    }

    /// Removes it. That somebody was here leaves no trace where this user may set the directory's
    /// times.
    fn remove(self) -> Result<()> {
        self.staged.abandon()?;
        if let Some(attributes) = &self.attributes {
            let _ = self.dir.set_attributes(attributes);
        }
        Ok(())
    }
}

/// Rank 0 leaves marks in these roots, and all ranks look for them. What is wrong, on all ranks.
/// Where no mark can be left, as little can be written to the root by anybody.
fn look_for_marks(
    session: &mut Session<'_, '_>,
    roots: &[SharedRoot<'_>],
    marked: &[u32],
    reporter: &mut Reporter,
) -> Vec<String> {
    let is_root = session.mail.comm().rank() == Rank::ROOT;
    let of = |number: &u32| &roots[*number as usize];
    let (mut marks, job) = (BTreeMap::new(), fastrand::u64(..));
    if is_root {
        // Marks are to be removed, whatever signal comes.
        interrupt::work_begins();
        for number in marked {
            let name = staged_name(job, 0, u64::from(*number));
            if let Ok(mark) = Mark::leave(of(number).store, &name) {
                marks.insert(*number, (name, mark));
            }
        }
    }
    let left = marks.iter().map(|(number, (name, _))| (*number, name.clone())).collect();
    let (host, left): (String, Vec<(u32, CString)>) =
        broadcast(session.mail, is_root.then(|| (session.topology.host.clone(), left)));
    let here = node_of(session, &host);
    let mut errors = NodeErrors::default();
    for (number, name) in &left {
        let root = of(number);
        if let Err(error) = sees(root.store, name) {
            let (shown, why) = (root.words(), error.cause);
            let line = format!(
                "\"{shown}\" is not the same on all nodes: what {host} writes there is not seen on {here} ({why}); \
                 name a directory that all nodes share"
            );
            errors.add(session, line);
        }
    }
    let lines = errors.of_all(session);
    for (number, (_, mark)) in marks {
        if let Err(error) = mark.remove() {
            reporter.warn(&format!("{} in \"{}\": {}", error.op, of(&number).words(), error.cause));
        }
    }
    lines
}

/// Waits for a mark as long as network file systems may remember that it was not there.
fn sees(store: &dyn Store, name: &Name) -> Result<()> {
    let (mut pause, mut waited) = (Duration::from_millis(5), Duration::ZERO);
    loop {
        let seen = store.open_dir(&RelPath::root()).and_then(|dir| dir.stat(name));
        match seen {
            Err(error) if error.cause.is_vanished() && waited < limits::VISIBLE_WAIT_MAX => {
                std::thread::sleep(pause);
                waited += pause;
                pause *= 2;
            }
            Err(error) => return Err(Op::Stat.failed(error.cause)),
            Ok(_) => return Ok(()),
        }
    }
}
