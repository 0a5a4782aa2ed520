//! Going on with a job that was stopped: whether there is one, and the journal of this one on all
//! ranks.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

use super::exit_of;
use super::node_errors::{RankError, agree};
use super::same_command::made_target;
use super::shared_roots::is_shared_directory;
use super::syncing::Syncing;
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;
use comm::Rank;
use comm::collective::{broadcast, gather};
use lists::as_path;
use ops::copy::options::{CopyOptions, GoingOn};
use ops::copy::plan::CopyPlan;
use ops::copy::root::{CopyRoot, RootPlan, RootTarget};
use ops::copy::sweep;
use ops::journal::Journal;
use ops::journal::folder::{self, Start};
use ops::journal::job::JobRecord;
use ops::walk::selection::OwnThings;
use types::content::transfer::Durable;
use types::entry::Time;
use types::error::Failure;
use types::exit::Exit;
use types::operand::placement::{Given, TargetIs};
use types::outcome::tally::Tally;
use types::path::escaped;
use types::size::human_bytes;

/// A journal as rank 0 has found or made it.
pub(super) struct Found {
    /// Directory of the journal, if this job keeps one.
    pub dir: Option<Vec<u8>>,
    /// The job that was stopped and that this one is once more.
    pub earlier: Option<JobRecord>,
    /// Treatment of the earlier job's work.
    pub start: Start,
    /// True if no job was interrupted and the copy exists: the last run has succeeded.
    pub is_copy_there: bool,
    /// Journal of that job that a dry run has found, and the bytes of incomplete files.
    pub planned: Option<(Vec<u8>, u64)>,
    /// Held as long as the job is at work.
    pub locks: Option<[File; 2]>,
}

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

impl Found {
    /// Removes a new journal, because nothing will be copied.
    pub fn give_up(&self) {
        if let (Some(dir), None) = (&self.dir, &self.earlier) {
            // What is left of it is said when it is used.
            let _ = folder::end(as_path(dir));
        }
    }

    /// A copy that goes on copies what is not there. What is finished is told by its time of
    /// change, so that is kept.
    pub fn prepare(&self, options: &mut CopyOptions) {
        options.keep.times |= self.dir.is_some();
        if self.dir.is_some() && options.transfer.durable == Durable::Later {
            options.transfer.durable = Durable::Journaled;
        }
        let of_earlier = self.earlier.as_ref().map(|earlier| earlier.is_copy_new);
        let is_new = of_earlier.unwrap_or(self.is_copy_there);
        let earlier = self.earlier.as_ref().filter(|_| self.start == Start::Resume);
        let since = earlier.map(|earlier| earlier.began);
        // Whenever that was.
        let since = since.or(self.is_copy_there.then_some(Time { seconds: 0, nanoseconds: 0 }));
        options.going_on = since.map(|since| GoingOn { since, is_new });
    }

    /// State of the target when the work began.
    pub fn target_was(&self) -> Option<TargetIs> {
        let of_earlier = self.earlier.as_ref().map(|earlier| earlier.target_was);
        of_earlier.or(self.is_copy_there.then_some(TargetIs::Missing))
    }

    /// Writes down which directory was made to be the copy: another one may have its name when the
    /// job goes on.
    ///
    /// # Errors
    /// Fails where that cannot be written.
    pub fn record_target(&self, plan: &CopyPlan) -> Result<(), Unrecorded> {
        let is_made =
            |root: &&RootPlan| root.target_is == RootTarget::New && root.singles.is_none();
        let (Some(dir), Some(root)) = (&self.dir, plan.roots.iter().find(is_made)) else {
            return Ok(());
        };
        let Some(made) = made_target(&root.target) else { return Ok(()) };
        folder::record_target(as_path(dir), made)
            .map_err(|source| Unrecorded { journal: dir.clone(), source })
    }

    /// Line for the head of the output.
    pub fn words(&self) -> Option<String> {
        if let Some((dir, written_bytes)) = &self.planned {
            let (dir, bytes) = (escaped(dir), human_bytes(*written_bytes));
            return Some(format!(
                "  would resume an interrupted job, with {bytes} of incomplete files; journal {dir}"
            ));
        }
        let dir = escaped(self.dir.as_ref()?);
        Some(match (&self.earlier, self.start) {
            (Some(_), Start::Resume) => {
                format!("  resuming an interrupted job; journal {dir}")
            }
            (Some(_), _) => format!("  starting an interrupted job over; journal {dir}"),
            (None, _) if self.is_copy_there => {
                format!("  resuming after an earlier run; journal {dir}")
            }
            (None, _) => format!("  journal {dir}"),
        })
    }
}

/// Target that could not be written to the journal.
#[derive(Debug, thiserror::Error)]
#[error("journal {}: {source}", escaped(journal))]
pub struct Unrecorded {
    journal: Vec<u8>,
    source: std::io::Error,
}
