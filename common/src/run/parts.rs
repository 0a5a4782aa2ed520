//! Parquet lists, of which every rank writes a part: begun under temporary names, named when all
//! parts are whole.

use super::outputs::OutputError;
use super::shared_roots::is_shared_directory;
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;
use comm::Rank;
use comm::collective::{broadcast, gather};
use lists::labels::PartOf;
use lists::part::PartWriter;
use lists::staged::StagedDirectory;
use types::error::Failure;
use types::exit::Exit;
use types::outcome::tally::Tally;

/// The Parquet lists of a job.
pub(super) struct PartLists {
    /// Directories of the lists, on rank 0.
    staged: Vec<StagedDirectory>,
    /// Part of each list that this rank writes; `None` for a list that is text.
    of: Vec<Option<PartOf>>,
}

impl PartLists {
    /// Tells all ranks of the directories that rank 0 has made, one for each list that is not text,
    /// and makes sure that these are the same on all nodes.
    ///
    /// # Errors
    /// The exit code, on all ranks, where rank 0 could not make them, or another node does not have
    /// them; rank 0 has said why.
    pub fn open(
        session: &mut Session<'_, '_>,
        made: Option<Result<Vec<Option<StagedDirectory>>, OutputError>>,
        assume_shared: bool,
        reporter: &mut Reporter,
    ) -> Result<Self, Exit> {
        let made = made.map(|made| made.map_err(|refusal| reporter.refuse(refusal)).ok());
        let paths = made.as_ref().map(|made| {
            let id = format!("{:016x}", fastrand::u64(..));
            made.as_ref().map(|lists| {
                (id, lists.iter().map(|list| list.as_ref().map(paths_of)).collect::<Vec<_>>())
            })
        });
        let told: Option<(String, Vec<Option<ListPaths>>)> = broadcast(session.mail, paths);
        let (id, paths) = told.ok_or(Exit::Unusable)?;
        for [path, target] in paths.iter().flatten() {
            if !is_shared_directory(session, (path, target), assume_shared, reporter) {
                return Err(Exit::Unusable);
            }
        }
        let (part, parts) = (session.mail.comm().rank().0, session.mail.comm().size());
        // A comparison and a manifest have each path once.
        let of = |list| PartOf { list, id: id.clone(), part, parts, sorted: None, roots: Some(1) };
        Ok(Self {
            staged: made.flatten().into_iter().flatten().flatten().collect(),
            of: paths.into_iter().map(|paths| paths.map(|[path, _]| of(path))).collect(),
        })
    }

    /// Part of the only list that this rank describes and writes.
    pub fn only(&mut self) -> Option<&mut PartOf> {
        self.of.iter_mut().flatten().next()
    }

    /// Begins this rank's part of each list.
    ///
    /// # Errors
    /// The exit code, on all ranks, where one cannot be made; rank 0 has said why.
    pub fn create(
        &self,
        session: &mut Session<'_, '_>,
        reporter: &mut Reporter,
    ) -> Result<Vec<Option<PartWriter>>, Exit> {
        let create = |of: &Option<PartOf>| of.as_ref().map(PartWriter::create).transpose();
        let created: Result<Vec<_>, Failure> = self.of.iter().map(create).collect();
        let side_errors = gather(session.mail, &created.as_ref().err().cloned());
        let first = side_errors.map(|side_errors| side_errors.into_iter().flatten().next());
        if let Some(Some(failure)) = &first {
            reporter.refuse(failure);
        }
        let all_made = broadcast(session.mail, first.map(|first| first.is_none()));
        created.ok().filter(|_| all_made).ok_or(Exit::Unusable)
    }

    /// Names the lists, if every rank has written its parts and nothing was cancelled; otherwise
    /// lists that were there stay. The tally is that of this rank.
    pub fn end(
        self,
        session: &mut Session<'_, '_>,
        written: &[Failure],
        tally: &Tally,
        reporter: &mut Reporter,
    ) {
        let told = gather(session.mail, &(written.to_vec(), tally.cancelled_tasks > 0));
        let Some(told) = told else { return };
        debug_assert_eq!(session.mail.comm().rank(), Rank::ROOT);
        let is_cancelled = told.iter().any(|(_, is_cancelled)| *is_cancelled);
        let failures: Vec<Failure> = told.into_iter().flat_map(|(failures, _)| failures).collect();
        for failure in &failures {
            reporter.unwritten(failure);
        }
        for list in self.staged {
            if is_cancelled {
                reporter.withheld(list.target());
            } else if failures.is_empty()
                && let Err(failure) = list.commit()
            {
                reporter.unwritten(failure);
            }
        }
    }
}

/// The path of the directory that a list is written in, and the one that it gets.
type ListPaths = [Vec<u8>; 2];

fn paths_of(list: &StagedDirectory) -> ListPaths {
    [list.path(), list.target()].map(<[u8]>::to_vec)
}
