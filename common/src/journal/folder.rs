//! The directory of a journal, which rank 0 looks after: whose it is, what of the logs still matters, and
//! its end.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::doubt::LastJob;
use super::record::{Frames, Record, Records, create, frame};
use crate::base::exit::Exit;
use crate::base::limits::JOURNAL_TRIES_MAX;
use crate::base::path::escaped;
use crate::model::entry::Time;
use crate::model::placement::TargetIs;

/// What is copied.
const JOB: &str = "job";

/// What stopped jobs have begun and not ended: the logs without what does not matter any more.
pub(super) const UNFINISHED: &str = "unfinished";

/// How a file is named until it is complete.
const NEW: &str = ".dcp-journal-new";

/// What a job copies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// The sources, from the root directory on.
    pub sources: Vec<Vec<u8>>,
    /// The target, from the root directory on.
    pub target: Vec<u8>,
    /// What was there when the job began: the same command means the same places when it is repeated.
    pub target_was: TargetIs,
    /// When it began.
    pub began: Time,
}

/// A journal that is ready.
#[derive(Debug)]
pub struct Begun {
    /// The job that was stopped, where this one goes on with it.
    pub earlier: Option<JobRecord>,
    /// Keep other jobs away as long as they are open.
    pub locks: [File; 2],
}

/// What becomes of the journal that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// The job goes on where that one was stopped.
    #[default]
    Resume,
    /// It is forgotten.
    Anew,
}

impl JobRecord {
    fn is_same_job(&self, other: &Self) -> bool {
        self.sources == other.sources && self.target == other.target
    }

    fn words(&self) -> String {
        let sources: Vec<_> = self.sources.iter().map(|source| escaped(source)).collect();
        format!("{} to {}", sources.join(" "), escaped(&self.target))
    }
}

/// A place from the root directory on, so that it is the same from wherever it is named; the current directory need
/// not be named.
pub fn absolute(place: &[u8]) -> Vec<u8> {
    let place = if place.is_empty() { b"." } else { place };
    let mut made = match std::path::absolute(OsStr::from_bytes(place)) {
        Ok(made) => made.into_os_string().into_encoded_bytes(),
        Err(_) => return place.to_vec(),
    };
    // A trailing slash means something.
    if place.ends_with(b"/") && !made.ends_with(b"/") {
        made.push(b'/');
    }
    made
}

/// The job that a journal is of, if it is a journal.
///
/// # Errors
/// Those of the system, but for a directory or file that does not exist.
pub fn read(dir: &Path) -> io::Result<Option<JobRecord>> {
    match Frames::open(&dir.join(JOB)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(|mut frames| frames.next_value()),
    }
}

/// Why there is no journal for a job.
#[derive(Debug)]
pub struct Refusal {
    /// One line that says what is wrong and what to do.
    pub words: String,
    /// How the job ends.
    pub exit: Exit,
    /// Another job has removed it meanwhile: it may be tried again.
    is_gone: bool,
}

impl Refusal {
    fn new(dir: &Path, exit: Exit, why: impl fmt::Display) -> Self {
        Self { words: format!("journal {}: {why}", dir.display()), exit, is_gone: false }
    }

    /// The system does not let it be made, read or written.
    fn of_system(dir: &Path, error: &io::Error) -> Self {
        let is_gone = error.kind() == io::ErrorKind::NotFound;
        Self { is_gone, ..Self::new(dir, Exit::Usage, error) }
    }

    /// It cannot be there at all.
    fn of_place(dir: &Path, error: &io::Error) -> Self {
        Self::new(dir, Exit::Unusable, format!("{error}; name another place with --journal"))
    }

    fn in_use(dir: &Path) -> Self {
        let began = read(dir).ok().flatten().map(|job| job.began.seconds);
        let began = began.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
        let since = began.map_or_else(String::new, |began| format!(" since {began}"));
        Self::new(dir, Exit::Usage, format!("its job is at work{since}"))
    }
}

/// Makes a journal for a job, or takes over the one that is there. What a directory has besides a journal is
/// never touched.
///
/// # Errors
/// Why that cannot be.
pub fn begin(dir: &Path, job: &JobRecord, start: Start) -> Result<Begun, Refusal> {
    for _ in 0..JOURNAL_TRIES_MAX {
        match try_begin(dir, job, start) {
            Err(Refusal { is_gone: true, .. }) => {}
            begun => return begun,
        }
    }
    try_begin(dir, job, start)
}

fn try_begin(dir: &Path, job: &JobRecord, start: Start) -> Result<Begun, Refusal> {
    let failed = |error: io::Error| Refusal::of_system(dir, &error);
    refuse_other_job(dir, job, start)?;
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(Refusal::of_place(dir, &error));
        }
        _ => {}
    }
    // From now on nobody else begins here, so what is read stays as it is.
    let place = lock(dir).map_err(failed)?.ok_or_else(|| Refusal::in_use(dir))?;
    refuse_other_job(dir, job, start)?;
    let earlier = read(dir).map_err(failed)?;
    if let Some(foreign) = foreign_entry(dir, earlier.is_some()).map_err(failed)? {
        let why = format!("has {} in it; name a directory of its own", foreign.display());
        return Err(Refusal::new(dir, Exit::Usage, why));
    }
    let lock_job = || lock(&dir.join(JOB)).map_err(failed)?.ok_or_else(|| Refusal::in_use(dir));
    if earlier.is_some() {
        // Where directories cannot be locked; held to the end of this function.
        let _lock = lock_job()?;
    }
    let earlier = earlier.filter(|_| start == Start::Resume);
    let first_began = earlier.as_ref().map(|earlier| earlier.began);
    if earlier.is_none() {
        forget(dir).map_err(failed)?;
        write_whole(dir, JOB, |file| file.write_all(&frame(job))).map_err(failed)?;
    }
    let locks = [place, lock_job()?];
    compact(dir, first_began, job.began).map_err(failed)?;
    Ok(Begun { earlier, locks })
}

fn refuse_other_job(dir: &Path, job: &JobRecord, start: Start) -> Result<(), Refusal> {
    match read(dir).map_err(|error| Refusal::of_system(dir, &error))? {
        Some(earlier) if start == Start::Resume && !earlier.is_same_job(job) => {
            let why = format!(
                "is of another job, {}; name another directory, or forget that job with --no-resume",
                earlier.words()
            );
            Err(Refusal::new(dir, Exit::Usage, why))
        }
        _ => Ok(()),
    }
}

/// Makes sure that no other job is at work with that; `None` where one is. File systems without locks are trusted.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = File::open(path)?;
    Ok(match file.try_lock() {
        Err(TryLockError::WouldBlock) => None,
        Ok(()) | Err(TryLockError::Error(_)) => Some(file),
    })
}

/// Removes a journal: its job is done. What others have put there stays.
///
/// # Errors
/// Those of the system.
pub fn end(dir: &Path) -> io::Result<()> {
    forget(dir)?;
    match fs::remove_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        removed => removed,
    }
}

/// The job's record goes last: without it the rest is of no use.
fn forget(dir: &Path) -> io::Result<()> {
    let paths: Vec<_> = entries(dir)?.into_iter().filter(|path| is_part(path)).collect();
    let is_job = |path: &&PathBuf| path.file_name().is_some_and(|name| name == JOB);
    for path in paths.iter().filter(|path| !is_job(path)).chain(paths.iter().filter(is_job)) {
        fs::remove_file(path)?;
    }
    Ok(())
}

fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path())).collect()
}

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// The job's number in 16 digits, the rank, `log`.
fn is_log(path: &Path) -> bool {
    let words: Vec<&str> = name_of(path).split('.').collect();
    matches!(words[..], [job, rank, "log"]
        if job.len() == 16 && job.bytes().all(|byte| byte.is_ascii_hexdigit())
            && !rank.is_empty() && rank.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_part(path: &Path) -> bool {
    is_log(path) || [JOB, UNFINISHED, NEW].contains(&name_of(path))
}

/// Something in the directory that is no part of a journal: all that there is without the record of a job.
fn foreign_entry(dir: &Path, is_journal: bool) -> io::Result<Option<PathBuf>> {
    let is_foreign = |path: &PathBuf| name_of(path) != NEW && !(is_journal && is_part(path));
    Ok(entries(dir)?.into_iter().find(is_foreign))
}

/// Makes one file of all logs, with what still matters of them, for a job that begins now. Stopped in its midst it
/// leaves the logs, and what is in two files counts once.
fn compact(dir: &Path, first_began: Option<Time>, now: Time) -> io::Result<()> {
    let logs: Vec<PathBuf> = entries(dir)?.into_iter().filter(|path| is_log(path)).collect();
    let before = dir.join(UNFINISHED);
    // What was written last comes last.
    let parts = || before.exists().then_some(&before).into_iter().chain(&logs);
    let (mut begun, mut ended, mut jobs) = (HashSet::new(), HashSet::new(), HashSet::new());
    let mut last_job = LastJob::default();
    for path in parts() {
        for record in Records::open(path)? {
            last_job.add(&record);
            match record {
                Record::Begun { begun: it, .. } | Record::BegunAs { begun: it, .. } => {
                    begun.insert(it.staged)
                }
                Record::Ended { staged } => ended.insert(staged),
                _ => false,
            };
        }
        last_job.end_log();
    }
    let doubts = last_job.doubts(first_began, now);
    let matters = |staged: &Vec<u8>| begun.contains(staged) && !ended.contains(staged);
    write_whole(dir, UNFINISHED, |file| {
        let doubts = doubts.into_iter().map(Record::Doubtful);
        for record in doubts.chain([Record::Started { at: now }]) {
            file.write_all(&record.framed())?;
        }
        for path in parts() {
            for record in Records::open(path)? {
                let is_kept = match &record {
                    Record::Job { id } => jobs.insert(*id),
                    record => record.staged().is_some_and(matters),
                };
                if is_kept {
                    file.write_all(&record.framed())?;
                }
            }
        }
        Ok(())
    })?;
    logs.iter().try_for_each(fs::remove_file)
}

/// Writes a file that has its name when it is complete and on storage.
fn write_whole(
    dir: &Path,
    name: &str,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let new = dir.join(NEW);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut buffered = io::BufWriter::new(create(&new)?);
    fill(&mut buffered)?;
    buffered.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(new, dir.join(name))?;
    File::open(dir)?.sync_all()
}
