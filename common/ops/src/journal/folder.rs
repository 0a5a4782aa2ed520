//! The directory of a journal, which rank 0 looks after: whose it is, what of the logs still matters, and
//! its end.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::{CStr, OsStr};
use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::doubt::LastJob;
use super::job::{JobRecord, MadeTarget, Worker};
use super::record::{ANY_FIRST, Ends, Frames, Record, Records, create, frame, seal};
use types::entry::Time;
use types::exit::Exit;
use types::limits::JOURNAL_TRIES_MAX;

/// What is copied.
const JOB: &str = "job";

/// What stopped jobs have begun and not ended: the logs without what does not matter any more.
pub(super) const UNFINISHED: &str = "unfinished";

/// Who is at work.
const AT_WORK: &str = "at-work";

/// The directory that was made for the copy.
const TARGET: &str = "target";

/// How a file is named until it is complete.
const NEW: &str = ".dcp-journal-new";

/// A journal that is ready.
#[derive(Debug)]
pub struct Begun {
    /// The job that was stopped, where this one is that one once more.
    pub earlier: Option<JobRecord>,
    /// Keep other jobs away as long as they are open.
    pub locks: [File; 2],
}

/// What becomes of the journal that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Start {
    /// The job goes on where that one was stopped.
    #[default]
    Resume,
    /// It is done anew, at the same place, and what that one had staged goes.
    Anew,
    /// It is forgotten: what it has copied to is gone.
    Forget,
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
/// Those of the system, but for a directory or file that does not exist; and that it is damaged.
pub fn read(dir: &Path) -> io::Result<Option<JobRecord>> {
    // A job that begins in between writes both.
    for _ in 0..2 {
        let job = read_sealed(dir, JOB)?;
        if job.is_some() || !has_records(dir)? {
            return Ok(job);
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("{JOB} is missing")))
}

/// The directory that was made for the copy, as far as that is known.
///
/// # Errors
/// Those of the system, and that it is damaged.
pub fn made_target(dir: &Path) -> io::Result<Option<MadeTarget>> {
    read_sealed(dir, TARGET)
}

/// Writes down that this directory was made for the copy.
///
/// # Errors
/// Those of the system.
pub fn record_target(dir: &Path, made: MadeTarget) -> io::Result<()> {
    write_sealed(dir, TARGET, &made)
}

/// The one value in a file, if there is such a file.
fn read_sealed<T: for<'d> Deserialize<'d>>(dir: &Path, name: &str) -> io::Result<Option<T>> {
    let mut frames = match Frames::open(&dir.join(name), Ends::Sealed) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    match (frames.next_value()?, frames.next_value::<T>()?) {
        (Some(value), None) => Ok(Some(value)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, format!("{name} is damaged"))),
    }
}

fn write_sealed(dir: &Path, name: &str, value: &impl Serialize) -> io::Result<()> {
    write_whole(dir, name, |file| file.write_all(&frame(value)))
}

/// Whether there is something that only a job writes down.
fn has_records(dir: &Path) -> io::Result<bool> {
    match entries(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        found => Ok(found?.iter().any(|path| is_log(path) || name_of(path) == UNFINISHED)),
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

    /// The system does not let it be made, read or written, or it is damaged.
    pub fn of_system(dir: &Path, error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::InvalidData {
            return Self::new(dir, Exit::Unusable, format!("{error}; {WAY_OUT}"));
        }
        let is_gone = error.kind() == io::ErrorKind::NotFound;
        Self { is_gone, ..Self::new(dir, Exit::Usage, error) }
    }

    /// It cannot be there at all.
    fn of_place(dir: &Path, error: &io::Error) -> Self {
        Self::new(dir, Exit::Unusable, format!("{error}; name another place with --journal"))
    }

    fn in_use(dir: &Path) -> Self {
        let worker: Option<Worker> = read_sealed(dir, AT_WORK).ok().flatten();
        let worker = worker.map_or_else(String::new, |worker| format!(" {worker}"));
        Self::new(dir, Exit::Usage, format!("its job is at work{worker}"))
    }

    /// It is somebody else's.
    pub fn of_other_job(dir: &Path, earlier: &JobRecord) -> Self {
        let why = format!("is of another job, {earlier}; name another directory");
        Self::new(dir, Exit::Usage, why)
    }

    fn of_other_options(dir: &Path, refused: &BTreeSet<&str>) -> Self {
        let shown = refused.iter().copied().collect::<Vec<_>>().join(", ");
        let why = format!(
            "its job was begun with other options ({shown}); repeat it as it was, or begin anew with --no-resume"
        );
        Self::new(dir, Exit::Usage, why)
    }
}

/// What to do where a journal is of no use.
const WAY_OUT: &str = "remove it, and what its job has staged with dcp --clean TARGET; \
the copy begins anew then (SOURCE/ goes to where SOURCE went)";

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
    let earlier = refuse_other_job(dir, job, start)?;
    if let Some(foreign) = foreign_entry(dir, earlier.is_some()).map_err(failed)? {
        let why = format!("has {} in it; name a directory of its own", foreign.display());
        return Err(Refusal::new(dir, Exit::Usage, why));
    }
    let lock_job = || lock(&dir.join(JOB)).map_err(failed)?.ok_or_else(|| Refusal::in_use(dir));
    // Where directories cannot be locked; held to the end of this function.
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
    let locks = [place, lock_job()?];
    compact(dir, first_began, job.began).map_err(failed)?;
    Ok(Begun { earlier, locks })
}

/// The job whose journal is there, which is to be this one.
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

/// The job's record goes last, and before it what its logs were made one of: without them the rest would be damage.
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

/// The job's number in 16 digits, the rank, `log`.
fn is_log(path: &Path) -> bool {
    let words: Vec<&str> = name_of(path).split('.').collect();
    matches!(words[..], [job, rank, "log"]
        if job.len() == 16 && job.bytes().all(|byte| byte.is_ascii_hexdigit())
            && !rank.is_empty() && rank.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_part(path: &Path) -> bool {
    is_log(path) || [JOB, UNFINISHED, AT_WORK, TARGET, NEW].contains(&name_of(path))
}

/// Whether a file of that name may be part of a journal: what it begins with tells.
pub fn may_be_part(name: &[u8]) -> bool {
    is_part(Path::new(OsStr::from_bytes(name)))
}

/// Whether that is how each part of a journal begins.
pub fn is_beginning_of_part(bytes: &[u8]) -> bool {
    bytes.starts_with(ANY_FIRST)
}

/// Bytes at the beginning that tell.
pub const BEGINNING_BYTES: usize = ANY_FIRST.len();

/// The file whose lock keeps other jobs away.
pub const LOCKED: &CStr = c"job";

/// Bytes of unfinished files that the jobs of a journal say they have written.
///
/// # Errors
/// Those of the system.
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

/// Where the jobs of a journal have staged what they copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedBy {
    /// The target, as the record of the job has it.
    pub target: Vec<u8>,
    /// Numbers of these jobs, which are part of the names.
    pub jobs: Vec<u64>,
}

/// Where the jobs of a journal have staged what they copy, if it is a journal.
///
/// # Errors
/// Those of the system, and that it is damaged.
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

/// All that the jobs of a journal have written down.
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

/// Something in the directory that is no part of a journal: all that there is without the record of a job.
fn foreign_entry(dir: &Path, is_journal: bool) -> io::Result<Option<PathBuf>> {
    // Written before the job's record.
    let is_first = |path: &Path| [NEW, AT_WORK].contains(&name_of(path));
    let is_foreign = |path: &PathBuf| !(is_first(path) || is_journal && is_part(path));
    Ok(entries(dir)?.into_iter().find(is_foreign))
}

/// Makes one file of all logs, with what still matters of them, for a job that begins now. Stopped in its midst it
/// leaves the logs, and what is in two files counts once.
fn compact(dir: &Path, first_began: Option<Time>, now: Time) -> io::Result<()> {
    let logs: Vec<PathBuf> = entries(dir)?.into_iter().filter(|path| is_log(path)).collect();
    let before = dir.join(UNFINISHED);
    let has_before = fs::exists(&before)?;
    if !has_before && !logs.is_empty() {
        let why = format!("{UNFINISHED} is missing");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    // What was written last comes last.
    let before = has_before.then_some((&before, Ends::Sealed)).into_iter();
    let parts = || before.clone().chain(logs.iter().map(|log| (log, Ends::Torn)));
    let (mut begun, mut ended, mut jobs) = (HashSet::new(), HashSet::new(), HashSet::new());
    let mut made = HashSet::new();
    let mut last_job = LastJob::default();
    for (path, ends) in parts() {
        for record in Records::open(path, ends)? {
            let record = record?;
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
        Ok(())
    })?;
    logs.iter().try_for_each(fs::remove_file)
}

/// Writes a file that has its name when it is complete, sealed, and on storage.
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
    buffered.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(new, dir.join(name))?;
    File::open(dir)?.sync_all()
}
