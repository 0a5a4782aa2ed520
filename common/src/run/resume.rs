//! Going on with a job that was stopped: whether there is one, and the journal of this one on all ranks.

use std::fs::File;
use std::io;

use super::syncing::Syncing;
use super::{agree, exit_of};
use crate::base::crc64::Crc64;
use crate::base::error::{Failure, Side};
use crate::base::exit::Exit;
use crate::base::path::{escaped, join};
use crate::comm::Rank;
use crate::comm::collective::{broadcast, gather};
use crate::copy::options::{CopyOptions, ResumeRequest};
use crate::copy::plan::CopyPlan;
use crate::copy::root::CopyRoot;
use crate::copy::{plan, resume};
use crate::journal::Journal;
use crate::journal::folder::{self, JobRecord, Start};
use crate::lists::as_path;
use crate::model::container::ContainerPath;
use crate::model::entry::Time;
use crate::model::placement::{Given, TargetIs};
use crate::model::tally::Tally;
use crate::model::transfer::Durable;
use crate::store::sites::Sites;
use crate::surface::reporter::Reporter;
use crate::surface::session::Session;

/// A journal as rank 0 has found or made it.
pub(super) struct Found {
    /// Where it is, if this job keeps one.
    pub dir: Option<Vec<u8>>,
    /// The job that was stopped and that this one goes on with.
    pub earlier: Option<JobRecord>,
    /// Held as long as the job is at work.
    locks: Option<[File; 2]>,
}

/// This rank's part of it.
pub(super) struct Kept {
    dir: Vec<u8>,
    /// `None` where the job keeps none.
    pub journal: Option<Journal>,
    _locks: Option<[File; 2]>,
}

/// Rank 0 looks for the job that was stopped, and begins a journal where one is wanted.
///
/// # Errors
/// How the job ends, and one line that says what is wrong and what to do.
pub(super) fn find(
    request: &ResumeRequest,
    sites: &Sites,
    sources: &[Vec<u8>],
    target: &[u8],
    options: &CopyOptions,
) -> Result<Found, (Exit, String)> {
    let mut found = Found { dir: None, earlier: None, locks: None };
    let is_path = !sites.is_object(Side::Target, target) && !is_container(target);
    let sources: Vec<_> = sources.iter().map(|path| recorded(sites, Side::Source, path)).collect();
    let target_place = recorded(sites, Side::Target, target);
    let beside = if is_path { beside(&sources, &target_place) } else { None };
    let is_asked_for = request.dir.is_some() || request.is_wanted;
    let Some(dir) = request.dir.clone().or(beside) else {
        let shown = escaped(target);
        let trouble =
            format!("there is no place for a journal beside {shown}; name one with --journal");
        return if request.is_wanted { Err((Exit::Usage, trouble)) } else { Ok(found) };
    };
    let there = folder::read(as_path(&dir)).unwrap_or_default();
    if options.dry_run {
        found.earlier = there.filter(|_| request.start == Start::Resume);
    } else if is_asked_for || there.is_some() {
        // Looked at only where it is to be remembered: it may be a request to a service.
        let target_was = plan::target_is(sites, target);
        let job = JobRecord { sources, target: target_place, target_was, began: Time::now() };
        let begun = folder::begin(as_path(&dir), &job, request.start)
            .map_err(|refusal| (refusal.exit, refusal.words))?;
        (found.earlier, found.locks) = (begun.earlier, Some(begun.locks));
        found.dir = Some(dir);
    }
    Ok(found)
}

/// As it is to be in the journal: what is no path means the same from everywhere.
fn recorded(sites: &Sites, side: Side, place: &[u8]) -> Vec<u8> {
    let is_path = !sites.is_object(side, place) && !is_container(place);
    if is_path { folder::absolute(place) } else { place.to_vec() }
}

fn is_container(path: &[u8]) -> bool {
    ContainerPath::parse(path).is_ok_and(|parsed| parsed.is_some())
}

/// Where a job's journal is if the operator names no place: the same for the same command.
fn beside(sources: &[Vec<u8>], target: &Vec<u8>) -> Option<Vec<u8>> {
    let given = Given::new(target);
    let name = escaped(given.last_name.as_ref()?);
    let command = [sources, std::slice::from_ref(target)].concat().join(&0);
    let journal = format!(".{name}.dcp-{:016x}", Crc64::of(&command).0);
    Some(join(&given.parent(), journal.as_bytes()))
}

/// Opens the journal on this rank. `None` on all ranks where one of them cannot; without a journal there is
/// nothing to open.
pub(super) fn open(
    session: &mut Session<'_, '_>,
    found: Option<Found>,
    options: &CopyOptions,
    reporter: &mut Reporter,
) -> Option<Kept> {
    let (dir, locks) = found.map_or((None, None), |found| (found.dir, found.locks));
    let is_root = session.mail.comm().rank() == Rank::ROOT;
    let Some(dir): Option<Vec<u8>> = broadcast(session.mail, is_root.then_some(dir)) else {
        return Some(Kept { dir: Vec::new(), journal: None, _locks: None });
    };
    let opened = Journal::open(as_path(&dir), options.job.id, session.mail.comm().rank());
    let words = |error: io::Error| {
        let (shown, host) = (escaped(&dir), &session.team.host);
        format!("journal {shown}: {error} (on {host}); all ranks must share it")
    };
    let opened = opened.map_err(words);
    let journal = agree(session, opened, reporter)?;
    if is_root {
        journal.enlist(options.job.id);
    }
    Some(Kept { dir, journal: Some(journal), _locks: locks })
}

impl Kept {
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

    /// Removes what stopped jobs have staged directly in the roots whose entries were named one by one: nobody walks
    /// through those. Returns how much could not be looked through, on rank 0.
    pub fn sweep_roots(
        &self,
        session: &Session<'_, '_>,
        (plan, roots): (&CopyPlan, &[CopyRoot]),
        reporter: &mut Reporter,
    ) -> u64 {
        let is_root = session.mail.comm().rank() == Rank::ROOT;
        let Some(journal) = self.journal.as_ref().filter(|_| is_root) else { return 0 };
        let singles = plan.roots.iter().zip(roots).filter(|(plan, _)| plan.singles.is_some());
        let swept = singles.filter_map(|(_, root)| resume::sweep_root(journal, root).err());
        let failures: Vec<Failure> = swept.collect();
        for failure in &failures {
            reporter.failure(failure);
        }
        failures.len() as u64
    }

    /// Removes what was staged for nothing, where all is done but that. Returns how much of it stays, on rank 0.
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
        let here = resume::remove_unused(journal, roots, share, options.job.is_superuser);
        let failures = gather(session.mail, &here).map_or_else(Vec::new, |all| all.concat());
        for failure in &failures {
            reporter.failure(failure);
        }
        failures.len() as u64
    }

    /// The job has ended: where all is done the journal goes.
    pub fn end(
        self,
        session: &mut Session<'_, '_>,
        roots: &[CopyRoot],
        exit: Exit,
        reporter: &mut Reporter,
    ) {
        let Some(journal) = &self.journal else { return };
        let is_root = session.mail.comm().rank() == Rank::ROOT;
        let is_done = is_root.then_some(exit == Exit::Ok);
        if !broadcast(session.mail, is_done) {
            Syncing::new(journal, roots, session.mail.comm().size()).end();
            return;
        }
        if is_root && let Err(error) = folder::end(as_path(&self.dir)) {
            let shown = escaped(&self.dir);
            reporter.warn(&format!("journal {shown}: cannot be removed: {error}"));
        }
    }
}

impl Found {
    /// Nothing will be copied: a journal that was made for it goes.
    pub fn give_up(&self) {
        if let (Some(dir), None) = (&self.dir, &self.earlier) {
            // What is left of it is said when it is used.
            let _ = folder::end(as_path(dir));
        }
    }

    /// A copy that goes on copies what is not there. What is finished is told by its time of change, so that
    /// is kept.
    pub fn prepare(&self, options: &mut CopyOptions) {
        options.keep.times |= self.dir.is_some();
        if self.dir.is_some() && options.transfer.durable == Durable::Later {
            options.transfer.durable = Durable::Journaled;
        }
        // Who makes a target equal recognises what is equal in any case.
        if options.sync.is_none() {
            options.going_on_since = self.earlier.as_ref().map(|earlier| earlier.began);
        }
    }

    /// What was at the target when the work began.
    pub fn target_was(&self) -> Option<TargetIs> {
        self.earlier.as_ref().map(|earlier| earlier.target_was)
    }

    /// For the head of the output.
    pub fn words(&self) -> Option<String> {
        let dir = escaped(self.dir.as_ref()?);
        Some(match &self.earlier {
            Some(_) => format!("  goes on where a job was stopped; journal {dir}"),
            None => format!("  journal {dir}"),
        })
    }
}
