//! Going on with a job that was stopped: whether there is one, and the journal of this one on all
//! ranks.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

use super::exit_of;
use super::found_journal::Found;
use super::node_errors::{RankError, agree};
use super::shared_roots::is_shared_directory;
use super::syncing::Syncing;
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;
use comm::Rank;
use comm::collective::{broadcast, gather};
use lists::as_path;
use ops::copy::options::CopyOptions;
use ops::copy::plan::CopyPlan;
use ops::copy::root::CopyRoot;
use ops::copy::sweep;
use ops::journal::Journal;
use ops::journal::folder::{self, Start};
use ops::walk::selection::OwnThings;
use types::error::Failure;
use types::exit::Exit;
use types::operand::placement::Given;
use types::outcome::tally::Tally;
use types::path::escaped;

/// State of resuming on this rank: the journal, and the locks that keep other jobs away from it.
pub(super) struct ResumeState {
    dir: Vec<u8>,
    /// `None` where the job keeps none.
    pub journal: Option<Journal>,
    /// Incomplete files that a dry run has found, on rank 0.
    pub there_bytes: Option<u64>,
    _locks: Option<[File; 2]>,
}

/// A journal that cannot be opened on this rank.
struct NoJournal<'d> {
    dir: &'d [u8],
    error: io::Error,
}

impl RankError for NoJournal<'_> {
    fn words(&self, session: &Session<'_, '_>, _: &Reporter) -> String {
        let (shown, host, error) = (escaped(self.dir), &session.topology.host, &self.error);
        format!("journal {shown}: {error} (on {host}); all ranks must share it")
    }
}

/// Opens the journal on this rank. `None` on all ranks where one of them cannot; without a journal
/// there is nothing to open.
pub(super) fn open(
    session: &mut Session<'_, '_>,
    found: Option<Found>,
    (options, assume_shared): (&CopyOptions, bool),
    reporter: &mut Reporter,
) -> Option<ResumeState> {
    let there_bytes = found.as_ref().and_then(|found| Some(found.planned.as_ref()?.1));
    let (dir, locks) =
        found.map_or((None, None), |found| (found.dir.map(|dir| (dir, found.start)), found.locks));
    let is_root = session.mail.comm().rank() == Rank::ROOT;
    let told: Option<(Vec<u8>, Start)> = broadcast(session.mail, is_root.then_some(dir));
    let Some((dir, start)) = told else {
        return Some(ResumeState { dir: Vec::new(), journal: None, there_bytes, _locks: None });
    };
    let job = (options.job.id, start);
    if !is_shared_directory(session, (&dir, &dir), assume_shared, reporter) {
        return None;
    }
    let opened = Journal::open(as_path(&dir), job, session.mail.comm().rank());
    let opened = opened.map_err(|error| NoJournal { dir: &dir, error });
    let journal = agree(session, opened, reporter)?;
    if is_root {
        journal.enlist(options.job.id);
    }
    Some(ResumeState { dir, journal: Some(journal), there_bytes, _locks: locks })
}

impl ResumeState {
    /// Marks that tell this job's temporary files from those of others.
    pub fn own_things(&self) -> OwnThings {
        let Some(journal) = &self.journal else { return OwnThings::default() };
        let journal_path = folder::absolute(&self.dir);
        let name = Given::new(&journal_path).last_name;
        let inode = std::fs::metadata(as_path(&journal_path)).ok().map(|it| it.ino());
        OwnThings { earlier_jobs: journal.earlier_jobs().to_vec(), journal: name.zip(inode) }
    }

    /// Does the work; where there is a journal, what is copied is brought to storage now and then.
    pub fn during<'s, 'c, T>(
        &self,
        session: &mut Session<'s, 'c>,
        roots: &[CopyRoot],
        work: impl FnOnce(&mut Session<'s, 'c>) -> T,
    ) -> T {
        match &self.journal {
            Some(journal) => {
                let syncing = Syncing::new(journal, roots, session.mail.comm().size());
                syncing.during(|| work(session))
            }
            None => work(session),
        }
    }

    /// Removes what stopped jobs have staged directly in the roots whose entries were named one by
    /// one: nobody walks through those. Returns how much could not be looked through, on rank 0.
    pub fn sweep_roots(
        &self,
        session: &Session<'_, '_>,
        (plan, roots): (&CopyPlan, &[CopyRoot]),
        reporter: &mut Reporter,
    ) -> u64 {
        let is_root = session.mail.comm().rank() == Rank::ROOT;
        let Some(journal) = self.journal.as_ref().filter(|_| is_root) else { return 0 };
        let singles = plan.roots.iter().zip(roots).filter(|(plan, _)| plan.singles.is_some());
        let swept = singles.filter_map(|(_, root)| sweep::sweep_root(journal, root).err());
        let failures: Vec<Failure> = swept.collect();
        for failure in &failures {
            reporter.failure(failure);
        }
        failures.len() as u64
    }

    /// Removes what was staged for nothing, where all is done but that. Returns how much of it
    /// stays, on rank 0.
    pub fn remove_unused(
        &self,
        session: &mut Session<'_, '_>,
        (roots, options): (&[CopyRoot], &CopyOptions),
        (tally, verdict): (&Tally, Exit),
        reporter: &mut Reporter,
    ) -> u64 {
        let Some(journal) = &self.journal else { return 0 };
        let is_done = gather(session.mail, tally).map(|all| {
            let mut totals = Tally::default();
            for tally in &all {
                totals.add(tally);
            }
            exit_of(&totals).worst(verdict) == Exit::Ok
        });
        if !broadcast(session.mail, is_done) {
            return 0;
        }
        let comm = session.mail.comm();
        let share = (comm.rank(), comm.size());
        let here = sweep::remove_unused(journal, roots, share, options.user.is_superuser);
        let failures = gather(session.mail, &here).map_or_else(Vec::new, |all| all.concat());
        for failure in &failures {
            reporter.failure(failure);
        }
        failures.len() as u64
    }

    /// The job has ended: where all is done the journal goes. Where a comparison at its end has
    /// found that something `differs`, the next job believes nothing that it has not compared.
    pub fn end(
        self,
        session: &mut Session<'_, '_>,
        roots: &[CopyRoot],
        (exit, differs): (Exit, bool),
        reporter: &mut Reporter,
    ) {
        let Some(journal) = &self.journal else { return };
        let is_root = session.mail.comm().rank() == Rank::ROOT;
        let is_done = is_root.then_some(exit == Exit::Ok);
        if !broadcast(session.mail, is_done) {
            if is_root && differs {
                journal.distrust();
                reporter.warn(COPIED_AGAIN);
            }
            Syncing::new(journal, roots, session.mail.comm().size()).end();
            return;
        }
        if is_root && let Err(error) = folder::end(as_path(&self.dir)) {
            let shown = escaped(&self.dir);
            reporter.warn(&format!("journal {shown}: cannot be removed: {error}"));
        }
    }
}

/// Warning after a comparison that has found differences.
const COPIED_AGAIN: &str = "run the same command again to repair the differences: it compares the content of all files in \
     the target";
