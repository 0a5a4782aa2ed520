//! The directory of a journal, managed by rank 0: which job it belongs to, the compaction of its
//! logs, and its removal.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::{CStr, OsStr};
use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::intended::Intended;
use super::job::{JobRecord, MadeTarget, Worker};
use super::last_job::LastJob;
use super::record::{ANY_FIRST, Ends, Frames, Record, Records, create, frame, seal};
use types::entry::Time;
use types::exit::Exit;
use types::limits::JOURNAL_TRIES_MAX;

/// The file that describes the job.
const JOB: &str = "job";

/// The file of what interrupted jobs have begun and not completed, compacted from their logs.
pub(super) const UNFINISHED: &str = "unfinished";

/// The file that describes the process at work.
const AT_WORK: &str = "at-work";

/// The file that identifies the directory created for the copy.
const TARGET: &str = "target";

/// The name of any of these files until it is complete.
const NEW: &str = ".dcp-journal-new";

/// A journal that is ready for a job.
#[derive(Debug)]
pub struct Begun {
    /// The interrupted job that this one resumes or repeats, if there is one.
    pub earlier: Option<JobRecord>,
    /// The locks that keep other jobs away as long as these files are open.
    pub locks: [File; 2],
}

/// The treatment of an existing journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Start {
    /// The job resumes the interrupted one.
    #[default]
    Resume,
    /// The job starts anew at the same target, and removes what the interrupted one has staged.
    Anew,
    /// The journal is discarded, because the target of its job no longer exists.
    Forget,
}

/// Returns the absolute path of a location, so that it is the same from whichever directory it is
/// named. Symbolic links are not resolved.
pub fn absolute(location: &[u8]) -> Vec<u8> {
    let location = if location.is_empty() { b"." } else { location };
    let mut made = match std::path::absolute(OsStr::from_bytes(location)) {
        Ok(made) => made.into_os_string().into_encoded_bytes(),
        Err(_) => return location.to_vec(),
    };
    // A trailing slash is significant, and `std::path::absolute` may drop it.
    if location.ends_with(b"/") && !made.ends_with(b"/") {
        made.push(b'/');
    }
    made
}

/// Reads the description of a journal's job; `None` if the directory is no journal.
///
/// # Errors
/// Returns the error of the system, except for files that do not exist, and an error for a damaged
/// journal.
pub fn read(dir: &Path) -> io::Result<Option<JobRecord>> {
    // A job that begins between the two calls writes both files, so a missing one is looked for
    // again.
    for _ in 0..2 {
        let job = read_sealed(dir, JOB)?;
        if job.is_some() || !has_records(dir)? {
            return Ok(job);
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("{JOB} is missing")))
}

/// Reads the identification of the directory that was created for the copy, if one was recorded.
///
/// # Errors
/// Returns the error of the system, and an error for a damaged journal.
pub fn made_target(dir: &Path) -> io::Result<Option<MadeTarget>> {
    read_sealed(dir, TARGET)
}

/// Records the directory that was created for the copy.
///
/// # Errors
/// Returns the error of the system.
pub fn record_target(dir: &Path, made: MadeTarget) -> io::Result<()> {
    write_sealed(dir, TARGET, &made)
}

/// Reads the only value in a file; `None` if the file does not exist.
fn read_sealed<T: for<'d> Deserialize<'d>>(dir: &Path, name: &str) -> io::Result<Option<T>> {
    let mut frames = match Frames::open(&dir.join(name), Ends::Sealed) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    match (frames.next_value()?, frames.next_value::<T>()?) {
        (Some(value), None) => Ok(Some(value)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, format!("{name} is corrupt"))),
    }
}

fn write_sealed(dir: &Path, name: &str, value: &impl Serialize) -> io::Result<()> {
    write_whole(dir, name, |file| file.write_all(&frame(value)))
}

/// Returns whether a directory has files that only a job writes.
fn has_records(dir: &Path) -> io::Result<bool> {
    match entries(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        found => Ok(found?.iter().any(|path| is_log(path) || name_of(path) == UNFINISHED)),
    }
}

/// The reason why there is no journal for a job.
#[derive(Debug)]
pub struct Refusal {
    /// One line that says what is wrong and what to do.
    pub words: String,
    /// The exit code of the job.
    pub exit: Exit,
    /// True if another job has removed the journal meanwhile, so that another attempt may succeed.
    is_gone: bool,
}

impl Refusal {
    fn new(dir: &Path, exit: Exit, why: impl fmt::Display) -> Self {
        Self { words: format!("journal {}: {why}", dir.display()), exit, is_gone: false }
    }

    /// Builds the refusal for a journal that cannot be created, read or written, or is damaged.
    pub fn of_system(dir: &Path, error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::InvalidData {
            return Self::new(dir, Exit::Unusable, format!("{error}; {WAY_OUT}"));
        }
        let is_gone = error.kind() == io::ErrorKind::NotFound;
        let exit = if is_gone { Exit::Usage } else { Exit::Unusable };
        Self { is_gone, ..Self::new(dir, exit, error) }
    }

    /// Builds the refusal for a location in which no journal can be created.
    fn of_place(dir: &Path, error: &io::Error) -> Self {
        Self::new(dir, Exit::Unusable, format!("{error}; name another location with --journal"))
    }

    fn in_use(dir: &Path) -> Self {
        let worker: Option<Worker> = read_sealed(dir, AT_WORK).ok().flatten();
        let worker = worker.map_or_else(String::new, |worker| format!(" {worker}"));
        Self::new(dir, Exit::Usage, format!("its job is still at work{worker}"))
    }

    /// Builds the refusal for the journal of another job.
    pub fn of_other_job(dir: &Path, earlier: &JobRecord) -> Self {
        let why = format!("belongs to another job, {earlier}; name another directory");
        Self::new(dir, Exit::Usage, why)
    }

    fn of_other_options(dir: &Path, refused: &BTreeSet<&str>) -> Self {
        let shown = refused.iter().copied().collect::<Vec<_>>().join(", ");
        let why = format!(
            "its job was started with other options ({shown}); repeat it with those, or start over \
             with --no-resume"
        );
        Self::new(dir, Exit::Usage, why)
    }
}

/// The advice for a journal that cannot be used.
const WAY_OUT: &str = "remove it, and the temporary files of its job with dcp --clean TARGET; the \
    copy then starts over (SOURCE/ goes to where SOURCE went)";

/// Creates a journal for a job, or takes over an existing one. Other files in the directory are
/// never touched.
///
/// # Errors
/// Returns the reason why there can be no journal.
pub fn begin(dir: &Path, job: &JobRecord, start: Start) -> Result<Begun, Refusal> {
    for _ in 0..JOURNAL_TRIES_MAX {
        match try_begin(dir, job, start) {
            Err(Refusal { is_gone: true, .. }) => {}
            begun => return begun,
        }
    }
    try_begin(dir, job, start)
}

/// Attempts once to create or take over a journal. The job is compared before the lock is taken, so
/// that a journal of another job is reported as such even while that job runs, and again under the
/// lock.
fn try_begin(dir: &Path, job: &JobRecord, start: Start) -> Result<Begun, Refusal> {
    let failed = |error: io::Error| Refusal::of_system(dir, &error);
    refuse_other_job(dir, job, start)?;
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(Refusal::of_place(dir, &error));
        }
        _ => {}
    }
    // From here on no other job can begin here, so what is read next cannot change.
    let lock_dir = lock(dir).map_err(failed)?.ok_or_else(|| Refusal::in_use(dir))?;
    let earlier = refuse_other_job(dir, job, start)?;
    if let Some(foreign) = foreign_entry(dir, earlier.is_some()).map_err(failed)? {
        let why = format!("has {} in it; name a directory of its own", foreign.display());
        return Err(Refusal::new(dir, Exit::Usage, why));
    }
    let lock_job = || lock(&dir.join(JOB)).map_err(failed)?.ok_or_else(|| Refusal::in_use(dir));
    // The second lock serves file systems on which directories cannot be locked; it is held to the
    // end of this function.
    let _lock = earlier.is_some().then(lock_job).transpose()?;
    let earlier = earlier.filter(|_| start != Start::Forget);
    let first_began = earlier.as_ref().map(|earlier| earlier.began);
    let first_began_now = first_began.filter(|_| start == Start::Resume).unwrap_or(job.began);
    let record = earlier.as_ref().map(|earlier| earlier.gone_on_with(job, first_began_now));
    if earlier.is_none() {
        forget(dir).map_err(failed)?;
    }
    write_sealed(dir, AT_WORK, &Worker::here()).map_err(failed)?;
    write_sealed(dir, JOB, record.as_ref().unwrap_or(job)).map_err(failed)?;
    let locks = [lock_dir, lock_job()?];
    compact(dir, first_began, job.began).map_err(failed)?;
    Ok(Begun { earlier, locks })
}

/// Returns the job of the existing journal, which must be the same as this one.
fn refuse_other_job(
    dir: &Path,
    job: &JobRecord,
    start: Start,
) -> Result<Option<JobRecord>, Refusal> {
    let earlier = read(dir).map_err(|error| Refusal::of_system(dir, &error))?;
    let Some(earlier) = earlier else { return Ok(None) };
    if !earlier.is_same_job(job) {
        return Err(Refusal::of_other_job(dir, &earlier));
    }
    let refused = earlier.refused(job);
    if start == Start::Resume && !refused.is_empty() {
        return Err(Refusal::of_other_options(dir, &refused));
    }
    Ok(Some(earlier))
}

/// Locks a file against other jobs; `None` if one holds it. A file system without locks is assumed
/// to have no other job.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = File::open(path)?;
    Ok(match file.try_lock() {
        Err(TryLockError::WouldBlock) => None,
        Ok(()) | Err(TryLockError::Error(_)) => Some(file),
    })
}

/// Removes a journal whose job is done. Other files in its directory stay.
///
/// # Errors
/// Returns the error of the system.
pub fn end(dir: &Path) -> io::Result<()> {
    forget(dir)?;
    match fs::remove_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        removed => removed,
    }
}

/// Removes the files of a journal. The description of the job goes last, and the compacted file
/// just before it: without them, the remaining files would look like damage if the removal is
/// interrupted.
fn forget(dir: &Path) -> io::Result<()> {
    let mut paths: Vec<_> = entries(dir)?.into_iter().filter(|path| is_part(path)).collect();
    paths.sort_by_key(|path| (name_of(path) == JOB, name_of(path) == UNFINISHED));
    paths.iter().try_for_each(fs::remove_file)
}

fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path())).collect()
}

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// Returns whether the name of a file is that of a log: the job's number in 16 hexadecimal digits,
/// the rank, and `log`.
fn is_log(path: &Path) -> bool {
    let words: Vec<&str> = name_of(path).split('.').collect();
    matches!(words[..], [job, rank, "log"]
        if job.len() == 16 && job.bytes().all(|byte| byte.is_ascii_hexdigit())
            && !rank.is_empty() && rank.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_part(path: &Path) -> bool {
    is_log(path) || [JOB, UNFINISHED, AT_WORK, TARGET, NEW].contains(&name_of(path))
}

/// Returns whether a file may be part of a journal, by its name. Its first bytes decide.
pub fn may_be_part(name: &[u8]) -> bool {
    is_part(Path::new(OsStr::from_bytes(name)))
}

/// Returns whether every part of a journal begins with these bytes.
pub fn is_beginning_of_part(bytes: &[u8]) -> bool {
    bytes.starts_with(ANY_FIRST)
}

/// The number of first bytes of a file that decide.
pub const BEGINNING_BYTES: usize = ANY_FIRST.len();

/// The name of the file that a running job holds locked.
pub const LOCKED: &CStr = c"job";

/// Returns the number of bytes in unfinished files that the jobs of a journal have recorded as
/// written.
///
/// # Errors
/// Returns the error of the system.
pub fn written_bytes(dir: &Path) -> io::Result<u64> {
    let (mut chunks, mut ended) = (HashMap::new(), HashSet::new());
    for_each_record(dir, |record| match record {
        Record::Chunk { staged, extent, .. } => {
            chunks.insert((staged, extent.offset), extent.length);
        }
        Record::Ended { staged } => {
            ended.insert(staged);
        }
        _ => {}
    })?;
    let counted = chunks.into_iter().filter(|((staged, _), _)| !ended.contains(staged));
    Ok(counted.map(|(_, length)| length).sum())
}

/// The identification of the files that the jobs of a journal have staged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedBy {
    /// The target, as the description of the job has it.
    pub target: Vec<u8>,
    /// The numbers of the jobs, which are part of staging names.
    pub jobs: Vec<u64>,
}

/// Returns the identification of the files that the jobs of a journal have staged; `None` if the
/// directory is no journal.
///
/// # Errors
/// Returns the error of the system, and an error for a damaged journal.
pub fn staged_by(dir: &Path) -> io::Result<Option<StagedBy>> {
    let Some(job) = read(dir)? else { return Ok(None) };
    let mut jobs = Vec::new();
    for_each_record(dir, |record| {
        if let Record::Job { id } = record {
            jobs.push(id);
        }
    })?;
    Ok(Some(StagedBy { target: job.target, jobs }))
}

/// Calls `each` with all records of a journal's jobs.
fn for_each_record(dir: &Path, mut each: impl FnMut(Record)) -> io::Result<()> {
    for path in entries(dir)? {
        let ends = match (is_log(&path), name_of(&path)) {
            (true, _) => Ends::Torn,
            (_, UNFINISHED) => Ends::Sealed,
            _ => continue,
        };
        for record in Records::open(&path, ends)? {
            each(record?);
        }
    }
    Ok(())
}

/// Returns whether a file may be one of those that are written before the description of the job.
pub fn may_be_first(name: &[u8]) -> bool {
    is_first(Path::new(OsStr::from_bytes(name)))
}

fn is_first(path: &Path) -> bool {
    [NEW, AT_WORK].contains(&name_of(path))
}

/// Returns a file in the directory that is not part of a journal. Without the description of a job,
/// every file is foreign.
fn foreign_entry(dir: &Path, is_journal: bool) -> io::Result<Option<PathBuf>> {
    let is_foreign = |path: &PathBuf| !(is_first(path) || is_journal && is_part(path));
    Ok(entries(dir)?.into_iter().find(is_foreign))
}

/// Combines all logs into one file, with those of their records that still matter to the job that
/// begins now. An interruption leaves the logs beside the new file, which is harmless, since
/// repeated records count once.
fn compact(dir: &Path, first_began: Option<Time>, now: Time) -> io::Result<()> {
    let logs: Vec<PathBuf> = entries(dir)?.into_iter().filter(|path| is_log(path)).collect();
    let before = dir.join(UNFINISHED);
    let has_before = fs::exists(&before)?;
    if !has_before && !logs.is_empty() {
        let why = format!("{UNFINISHED} is missing");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    // The file from before comes first, so that later records override earlier ones.
    let before = has_before.then_some((&before, Ends::Sealed)).into_iter();
    let parts = || before.clone().chain(logs.iter().map(|log| (log, Ends::Torn)));
    // The first pass finds out which staged files are unfinished, and the second one copies their
    // records: memory is needed for the names only.
    let (mut begun, mut ended, mut jobs) = (HashSet::new(), HashSet::new(), HashSet::new());
    let (mut made, mut intended) = (HashSet::new(), Intended::default());
    let mut last_job = LastJob::default();
    for (path, ends) in parts() {
        for record in Records::open(path, ends)? {
            let record = record?;
            last_job.add(&record);
            intended.add(&record);
            match record {
                Record::Begun { begun: it, .. } | Record::BegunAs { begun: it, .. } => {
                    begun.insert(it.staged)
                }
                Record::Ended { staged } => ended.insert(staged),
                _ => false,
            };
        }
        last_job.end_log();
        intended.end_log();
    }
    let doubts = last_job.doubts(first_began, now);
    let matters = |staged: &Vec<u8>| begun.contains(staged) && !ended.contains(staged);
    write_whole(dir, UNFINISHED, |file| {
        let doubts = doubts.into_iter().map(Record::Doubtful);
        for record in doubts.chain([Record::Started { at: now }]) {
            file.write_all(&record.framed())?;
        }
        for (path, ends) in parts() {
            for record in Records::open(path, ends)? {
                let record = record?;
                let is_kept = match &record {
                    Record::Job { id } => jobs.insert(*id),
                    Record::Made { directory } => made.insert(directory.clone()),
                    record => record.staged().is_some_and(matters),
                };
                if is_kept {
                    file.write_all(&record.framed())?;
                }
            }
        }
        // They come last: an upload that a later job has recorded is another one.
        intended.into_records().try_for_each(|record| file.write_all(&record.framed()))
    })?;
    logs.iter().try_for_each(fs::remove_file)
}

/// Writes a file under a temporary name, and renames it when it is complete, sealed and synced. A
/// crash thus leaves the old file or the new one, never a part.
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
    buffered.write_all(&seal())?;
    // The file is synced before the rename, and the directory after it; otherwise a crash could
    // leave a name without content.
    buffered.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(new, dir.join(name))?;
    File::open(dir)?.sync_all()
}
