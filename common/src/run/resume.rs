//! Going on with a job that was stopped: whether there is one, and the journal of this one on all ranks.

use std::fs::File;
use std::io;

use super::agree;
use crate::base::crc64::Crc64;
use crate::base::error::Side;
use crate::base::exit::Exit;
use crate::base::path::{escaped, join};
use crate::comm::Rank;
use crate::comm::collective::broadcast;
use crate::copy::options::{CopyOptions, ResumeRequest};
use crate::copy::root::CopyRoot;
use crate::copy::{plan, resume};
use crate::journal::Journal;
use crate::journal::folder::{self, JobRecord, Start};
use crate::lists::as_path;
use crate::model::container::ContainerPath;
use crate::model::entry::Time;
use crate::model::placement::{Given, TargetIs};
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
    lock: Option<File>,
}

/// This rank's part of it.
pub(super) struct Kept {
    dir: Vec<u8>,
    /// `None` where the job keeps none.
    pub journal: Option<Journal>,
    _lock: Option<File>,
}

/// Rank 0 looks for the job that was stopped, and begins a journal where one is wanted.
///
/// # Errors
/// One line that says what is wrong and what to do.
pub(super) fn find(
    request: &ResumeRequest,
    sites: &Sites,
    sources: &[Vec<u8>],
    target: &[u8],
    options: &CopyOptions,
) -> Result<Found, String> {
    let mut found = Found { dir: None, earlier: None, lock: None };
    let is_path = !sites.is_object(Side::Target, target) && !is_container(target);
    let sources: Vec<_> = sources.iter().map(|path| recorded(sites, Side::Source, path)).collect();
    let target_place = recorded(sites, Side::Target, target);
    let beside = if is_path { beside(&sources, &target_place) } else { None };
    let is_asked_for = request.dir.is_some() || request.is_wanted;
    let Some(dir) = request.dir.clone().or(beside) else {
        let shown = escaped(target);
        let trouble =
            format!("there is no place for a journal beside {shown}; name one with --journal");
        return if request.is_wanted { Err(trouble) } else { Ok(found) };
    };
    let there = folder::read(as_path(&dir)).unwrap_or_default();
    if options.dry_run {
        found.earlier = there.filter(|_| request.start == Start::Resume);
    } else if is_asked_for || there.is_some() {
        // Looked at only where it is to be remembered: it may be a request to a service.
        let target_was = plan::target_is(sites, target);
        let job = JobRecord { sources, target: target_place, target_was, began: Time::now() };
        let begun = folder::begin(as_path(&dir), &job, request.start)?;
        (found.earlier, found.lock) = (begun.earlier, Some(begun.lock));
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
    let (dir, lock) = found.map_or((None, None), |found| (found.dir, found.lock));
    let is_root = session.mail.comm().rank() == Rank::ROOT;
    let Some(dir): Option<Vec<u8>> = broadcast(session.mail, is_root.then_some(dir)) else {
        return Some(Kept { dir: Vec::new(), journal: None, _lock: None });
    };
    let opened = Journal::open(as_path(&dir), options.job.id, session.mail.comm().rank());
    let words = |error: io::Error| {
        let (shown, host) = (escaped(&dir), &session.team.host);
        format!("journal {shown}: {error} (on {host}); all ranks must share it")
    };
    let opened = opened.map_err(words);
    let journal = Some(agree(session, opened, reporter)?);
    Some(Kept { dir, journal, _lock: lock })
}

impl Kept {
    /// The job has ended: where all is done the journal goes, with what was staged for nothing.
    pub fn end(
        self,
        session: &mut Session<'_, '_>,
        roots: &[CopyRoot],
        exit: Exit,
        reporter: &mut Reporter,
    ) {
        let Some(journal) = self.journal else { return };
        let is_root = session.mail.comm().rank() == Rank::ROOT;
        let is_done = is_root.then_some(exit == Exit::Ok);
        if !broadcast(session.mail, is_done) {
            return;
        }
        let comm = session.mail.comm();
        resume::remove_unused(&journal, roots, comm.rank(), comm.size());
        if comm.rank() == Rank::ROOT
            && let Err(error) = folder::end(as_path(&self.dir))
        {
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
