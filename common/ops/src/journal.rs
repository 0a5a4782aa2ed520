//! The journal of a copy, by which another job resumes it after an interruption.
//!
//! A journal is a directory that all ranks share. The file `job` in it says what is copied where
//! ([`folder`]). Each rank appends to a log of its own: which large files it has staged, which
//! chunks of any file it has written, with their checksums, and which files are completed. The next
//! job, with any number of ranks, takes over the staged files ([`Unfinished`]).
//!
//! No record of a log is trusted by itself. A chunk counts only if the staged file has bytes with
//! that checksum, and a file only while its source is unchanged. So a log may end anywhere, and
//! need not be written to storage in step with the data. Small files need no record: a completed
//! one is recognised by its name, size and modification time. What a node may have lost in a crash
//! after it was recognisable is covered by the records of syncs (`doubt`).

mod doubt;
pub mod folder;
mod intended;
pub mod job;
mod last_job;
mod record;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use comm::Rank;
use doubt::Doubt;
use folder::Start;
use record::{Ends, Record, Records};
use types::content::chunk::Extent;
use types::content::crc64::Crc64;
use types::entry::{Time, Version};
use types::operand::staged_name::is_of_job;
use types::path::Name;

/// The record of a large file that an interrupted job has begun to copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfinished {
    /// The version that the source had.
    pub version: Version,
    /// The size of the file's chunks in bytes.
    pub chunk_bytes: u64,
    /// The staging name in the file's directory.
    pub staged: Vec<u8>,
    /// The inode number of the staged file; `None` for an upload. The device number is not
    /// recorded, because it differs between nodes.
    #[serde(skip)]
    pub inode: Option<u64>,
}

/// The target of a large file: the roots, and the path below them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TargetFile {
    /// The source directory that is copied, since several may be copied into one target.
    pub from: Vec<u8>,
    /// The directory that receives the copy.
    pub root: Vec<u8>,
    /// The path of the file in it.
    pub path: Vec<u8>,
}

/// The identification of a chunk: the name of its staged file, and its offset in bytes.
type ChunkKey = (Vec<u8>, u64);

/// The part of a journal that belongs to one rank.
pub struct Journal {
    log_path: PathBuf,
    /// The log of this rank, created with the first record.
    log: Mutex<Option<File>>,
    unfinished: HashMap<TargetFile, Unfinished>,
    chunks: HashMap<ChunkKey, (u64, Crc64)>,
    /// The staged files that were taken over by this rank. Each may become one file only.
    taken: Mutex<HashSet<Vec<u8>>>,
    unwritten: AtomicU64,
    /// The files for which earlier jobs may have initiated an upload of unknown identifier, each
    /// with the time.
    intended: Vec<(TargetFile, Time)>,
    /// The directories that earlier jobs have created and not completed.
    made: HashSet<TargetFile>,
    /// The numbers of earlier jobs.
    earlier_jobs: Vec<u64>,
    /// The periods of modification whose files may lack content, because a node of an interrupted
    /// job may have lost it.
    doubts: Vec<Doubt>,
    /// True if nothing that earlier jobs have done is resumed.
    is_anew: bool,
}

impl Journal {
    /// Opens the records of earlier jobs, for a rank of the job of that number.
    ///
    /// # Errors
    /// Returns the error of reading the directory on this rank.
    pub fn open(dir: &Path, (job, start): (u64, Start), rank: Rank) -> io::Result<Self> {
        let mut journal = Self {
            log_path: dir.join(format!("{job:016x}.{}.log", rank.0)),
            log: Mutex::default(),
            unfinished: HashMap::new(),
            chunks: HashMap::new(),
            taken: Mutex::default(),
            unwritten: AtomicU64::new(0),
            intended: Vec::new(),
            made: HashSet::new(),
            earlier_jobs: Vec::new(),
            doubts: Vec::new(),
            is_anew: start == Start::Anew,
        };
        // The file exists in any case, so that a directory that this node does not share is
        // noticed.
        for record in Records::open(&dir.join(folder::UNFINISHED), Ends::Sealed)? {
            match record? {
                Record::Begun { file, begun } => {
                    journal.unfinished.insert(file, begun);
                }
                Record::BegunAs { file, begun, inode } => {
                    journal.unfinished.insert(file, Unfinished { inode: Some(inode), ..begun });
                }
                Record::Chunk { staged, extent, crc64 } => {
                    journal.chunks.insert((staged, extent.offset), (extent.length, crc64));
                }
                Record::Job { id } => journal.earlier_jobs.push(id),
                Record::Doubtful(doubt) => journal.doubts.push(doubt),
                Record::Made { directory } => {
                    journal.made.insert(directory);
                }
                Record::Intended { file, at } => journal.intended.push((file, at)),
                Record::Ended { .. }
                | Record::Started { .. }
                | Record::Syncing { .. }
                | Record::Synced { .. }
                | Record::Left { .. } => {}
            }
        }
        Ok(journal)
    }

    /// Returns whether an interrupted job has left any unfinished file.
    pub fn has_unfinished(&self) -> bool {
        !self.unfinished.is_empty()
    }

    /// Returns the record of an interrupted job about this file.
    pub fn unfinished(&self, file: &TargetFile) -> Option<&Unfinished> {
        self.unfinished.get(file)
    }

    /// Returns whether staged files of earlier jobs are written anew.
    pub fn is_anew(&self) -> bool {
        self.is_anew
    }

    /// Returns the version that the source had when an interrupted job began to stage it under that
    /// name.
    pub fn version_staged(&self, staged: &[u8]) -> Option<Version> {
        let begun = self.unfinished.values().find(|begun| begun.staged == staged)?;
        Some(begun.version)
    }

    /// Takes over the file staged under that name. Returns false if that was done before.
    pub fn take(&self, staged: &[u8]) -> bool {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(staged.to_vec())
    }

    /// Returns whether an interrupted job has staged a file under that name and not completed it.
    pub fn has_staged(&self, name: &[u8]) -> bool {
        self.unfinished.values().any(|begun| begun.staged == name)
    }

    /// Returns whether there were earlier jobs.
    pub fn has_earlier_jobs(&self) -> bool {
        !self.earlier_jobs.is_empty()
    }

    /// Returns whether the name is a staging name of an earlier job that will not be resumed, such
    /// as that of a small file.
    pub fn was_left(&self, name: &Name) -> bool {
        self.earlier_jobs.iter().any(|job| is_of_job(name, *job))
            && !self.has_staged(name.to_bytes())
    }

    /// Returns all unfinished files, in an order that is the same on all ranks.
    pub fn all_unfinished(&self) -> Vec<(&TargetFile, &Unfinished)> {
        let mut all: Vec<_> = self.unfinished.iter().collect();
        all.sort_by_key(|(file, _)| *file);
        all
    }

    /// Returns the checksum that a chunk had when an interrupted job wrote it into that staged
    /// file.
    pub fn written(&self, staged: &[u8], extent: Extent) -> Option<Crc64> {
        if self.chunks.is_empty() {
            return None;
        }
        let (length, crc64) = self.chunks.get(&(staged.to_vec(), extent.offset))?;
        (*length == extent.length).then_some(*crc64)
    }

    /// Records the number of this job. The next job recognises by it what this one has staged, so
    /// the record is synced to storage before anything is staged.
    pub fn enlist(&self, id: u64) {
        self.append(&Record::Job { id });
        self.sync_log();
    }

    /// Records that a file is staged.
    pub fn begin(&self, file: TargetFile, begun: Unfinished) {
        self.append(&match begun.inode {
            Some(inode) => Record::BegunAs { file, begun, inode },
            None => Record::Begun { file, begun },
        });
    }

    /// Records that a multipart upload for that file is about to be initiated. If the job is killed
    /// before it has the answer, the upload exists nevertheless, so the record is synced to storage
    /// before the request.
    pub fn intend_upload(&self, file: TargetFile) {
        self.append(&Record::Intended { file, at: Time::now() });
        self.sync_log();
    }

    /// Returns the files for which an interrupted job was about to initiate an upload, each with
    /// the time, in an order that is the same on all ranks.
    pub fn intended_uploads(&self) -> &[(TargetFile, Time)] {
        &self.intended
    }

    /// Records that a multipart upload was initiated. If its source is gone later, this record is
    /// the only trace of the upload, so it is synced to storage before any part is sent.
    pub fn begin_upload(&self, file: TargetFile, begun: Unfinished) {
        self.begin(file, begun);
        self.sync_log();
    }

    fn sync_log(&self) {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.as_ref().is_none_or(|log| log.sync_all().is_err()) {
            self.unwritten.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Records that a directory is about to be created, which did not exist.
    pub fn make(&self, directory: TargetFile) {
        self.append(&Record::Made { directory });
    }

    /// Returns whether an earlier job has created that directory, as far as its records show.
    pub fn has_made(&self, directory: &TargetFile) -> bool {
        self.made.contains(directory)
    }

    /// Records that a chunk was written.
    pub fn chunk(&self, staged: &[u8], extent: Extent, crc64: Crc64) {
        self.append(&Record::Chunk { staged: staged.to_vec(), extent, crc64 });
    }

    /// Records that nothing is staged under that name any more.
    pub fn end(&self, staged: &[u8]) {
        self.append(&Record::Ended { staged: staged.to_vec() });
    }

    /// Returns whether a file of that size, last changed at `ctime`, may lack content that an
    /// interrupted job has written.
    pub fn doubts(&self, ctime: Time, size_bytes: u64) -> bool {
        self.doubts.iter().any(|doubt| doubt.covers(ctime, size_bytes))
    }

    /// Records that something in the target does not match its source, so that the next job takes
    /// no file there for completed without comparing its content.
    pub fn distrust(&self) {
        self.append(&Record::Doubtful(doubt::OF_ALL));
    }

    /// Returns whether no file in the target may be taken for completed by its metadata.
    pub fn distrusts(&self) -> bool {
        self.doubts.contains(&doubt::OF_ALL)
    }

    /// Returns the numbers of earlier jobs.
    pub fn earlier_jobs(&self) -> &[u64] {
        &self.earlier_jobs
    }

    /// Records that this rank, one of `ranks`, has synced to storage everything that it had copied
    /// before, provided that `sync` succeeds. `device` is the device that was synced, where there
    /// is only one.
    pub fn synced(&self, ranks: u32, device: Option<u64>, sync: impl FnOnce() -> bool) {
        self.append(&Record::Syncing { ranks });
        if let (Some((now, is_here)), true) = (self.time_of_change(device), sync()) {
            let until = if is_here { now } else { doubt::early(now) };
            self.append(&Record::Synced { until });
        }
    }

    /// Records that this rank has synced everything at the end of a job, after which nothing more
    /// is copied.
    pub fn synced_for_good(&self, ranks: u32, device: Option<u64>) {
        self.append(&Record::Syncing { ranks });
        if let Some((now, is_here)) = self.time_of_change(device) {
            let at = if is_here { now } else { doubt::late(now) };
            self.append(&Record::Left { at });
        }
        self.append(&Record::Synced { until: doubt::FOR_GOOD });
    }

    /// Returns the time at which the log was changed last, and whether its file system, whose clock
    /// tells it, is the one with that device number.
    fn time_of_change(&self, device: Option<u64>) -> Option<(Time, bool)> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let log = log.as_ref()?.metadata().ok()?;
        let changed = Time { seconds: log.ctime(), nanoseconds: log.ctime_nsec() as u32 };
        Some((changed, device == Some(log.dev())))
    }

    /// Returns the number of records that could not be written. A job that resumes does more work
    /// for each, but nothing wrong.
    pub fn unwritten(&self) -> u64 {
        self.unwritten.load(Ordering::Relaxed)
    }

    /// Appends a record with a single write(2), so that what was written before a process is killed
    /// is complete.
    fn append(&self, record: &Record) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if self.try_append(&mut log, record).is_err() {
            self.unwritten.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn try_append(&self, log: &mut Option<File>, record: &Record) -> io::Result<()> {
        let log = match log {
            Some(log) => log,
            None => log.insert(record::create(&self.log_path)?),
        };
        log.write_all(&record.framed())
    }
}

#[cfg(test)]
mod tests {
    use super::job::{JobRecord, MadeTarget, SourcePlace};
    use super::*;
    use types::entry::Identity;
    use types::exit::Exit;
    use types::operand::placement::TargetIs;
    use types::operand::staged_name::staged_name;

    const TIME: Time = Time { seconds: 1, nanoseconds: 2 };

    fn job() -> JobRecord {
        JobRecord {
            tool: "dcp".to_owned(),
            sources: vec![SourcePlace { path: b"/src".to_vec(), is_contents: false }],
            target: b"/dst".to_vec(),
            target_was: TargetIs::Missing,
            is_copy_new: true,
            names: None,
            settings: Vec::new(),
            began: TIME,
        }
    }

    fn file(name: &str) -> TargetFile {
        TargetFile { from: b"/src".to_vec(), root: b"/dst".to_vec(), path: name.into() }
    }

    fn begun(staged: &str) -> Unfinished {
        let identity = Identity { inode: 7, size_bytes: 300, mtime: TIME };
        let version = Version { identity, ctime: TIME };
        Unfinished { version, chunk_bytes: 100, staged: staged.into(), inode: None }
    }

    fn extent(offset: u64) -> Extent {
        Extent { offset, length: 100 }
    }

    /// Simulates two ranks of an interrupted job. Returns what the next job finds.
    fn stopped_job(dir: &Path) -> Journal {
        let ready = folder::begin(dir, &job(), Start::Resume).expect("a new journal");
        assert_eq!(ready.earlier, None);
        let refusal = folder::begin(dir, &job(), Start::Resume).expect_err("is in use");
        let worker = format!("process {}", std::process::id());
        assert!(refusal.words.contains("still at work since "), "{refusal:?}");
        assert!(refusal.words.contains(&worker), "{refusal:?}");
        drop(ready);
        let ranks = [0, 1]
            .map(|rank| Journal::open(dir, (1, Start::Resume), Rank(rank)).expect("is there"));
        ranks[0].begin(file("a"), begun("s.a"));
        ranks[0].begin(file("b"), begun("s.b"));
        ranks[1].chunk(b"s.a", extent(100), Crc64(11));
        ranks[1].chunk(b"s.b", extent(0), Crc64(12));
        ranks[0].end(b"s.b");
        let ready = begin_when_free(dir, &job(), Start::Resume).expect("is ours");
        assert_eq!(ready.earlier, Some(job()));
        Journal::open(dir, (2, Start::Resume), Rank(5)).expect("is there")
    }

    #[test]
    fn the_next_job_knows_what_was_staged_and_written() {
        let dir = tempfile::tempdir().expect("a directory");
        let journal = stopped_job(dir.path());
        assert_eq!(journal.unfinished(&file("a")), Some(&begun("s.a")));
        assert_eq!(journal.written(b"s.a", extent(100)), Some(Crc64(11)));
        assert_eq!(journal.written(b"s.a", extent(0)), None);
        assert_eq!(journal.written(b"s.a", Extent { offset: 100, length: 99 }), None);
        assert_eq!(journal.unfinished(&file("b")), None);
        assert_eq!(journal.written(b"s.b", extent(0)), None);
    }

    #[test]
    fn what_no_job_will_go_on_with_is_known_by_the_numbers_of_the_jobs() {
        let dir = tempfile::tempdir().expect("a directory");
        let large = staged_name(40, 0, 1);
        for id in [40, 80, 120] {
            let _ready = begin_when_free(dir.path(), &job(), Start::Resume).expect("is ours");
            let journal =
                Journal::open(dir.path(), (id, Start::Resume), Rank(0)).expect("is there");
            assert_eq!(journal.has_earlier_jobs(), id > 40);
            journal.enlist(id);
            if id == 40 {
                journal.begin(file("a"), begun(large.to_str().expect("is text")));
            }
            if id == 120 {
                let left = |id| journal.was_left(&staged_name(id, 5, 9));
                assert!(left(40) && left(41) && left(80) && left(83));
                assert!(!left(39) && !left(44) && !left(120) && !left(u64::MAX));
                assert!(!journal.was_left(&large) && !journal.was_left(c".dcp.notes"));
            }
        }
    }

    #[test]
    fn the_job_after_the_next_knows_it_too() {
        let dir = tempfile::tempdir().expect("a directory");
        let journal = stopped_job(dir.path());
        journal.chunk(b"s.a", extent(0), Crc64(13));
        let known = Unfinished { inode: Some(77), ..begun("s.c") };
        journal.begin(file("c"), known.clone());
        begin_when_free(dir.path(), &job(), Start::Resume).expect("is ours");
        let journal = Journal::open(dir.path(), (3, Start::Resume), Rank(0)).expect("is there");
        assert_eq!(journal.unfinished(&file("c")), Some(&known));
        assert_eq!(journal.written(b"s.a", extent(100)), Some(Crc64(11)));
        assert_eq!(journal.written(b"s.a", extent(0)), Some(Crc64(13)));
    }

    #[test]
    fn what_was_not_synced_is_in_doubt_for_the_next_job() {
        let dir = tempfile::tempdir().expect("a directory");
        let begin = |number: u64| {
            begin_when_free(dir.path(), &JobRecord { began: Time::now(), ..job() }, Start::Resume)
                .expect("is ours");
            [0, 1].map(|rank| {
                Journal::open(dir.path(), (number, Start::Resume), Rank(rank)).expect("is there")
            })
        };
        let device = std::fs::metadata(dir.path()).ok().map(|it| it.dev());
        let now = Time::now;
        let ranks = begin(1);
        assert!(!ranks[0].doubts(now(), 5), "nothing was before");
        // The job was killed, so all of its files are in doubt.
        let ranks = begin(2);
        assert!(ranks[0].doubts(now(), 5) && ranks[1].doubts(now(), 5));
        assert!(!ranks[0].doubts(now(), u64::MAX), "large files are synced at once");
        let early = Time { seconds: now().seconds - 100_000, nanoseconds: 0 };
        assert!(!ranks[0].doubts(early, 5));
        for start in [Start::Forget, Start::Resume] {
            begin_when_free(dir.path(), &job(), start).expect("is ours");
            let ranks = [0, 1].map(|rank| {
                Journal::open(dir.path(), (3, Start::Resume), Rank(rank)).expect("is there")
            });
            for rank in &ranks {
                rank.synced_for_good(2, device);
            }
        }
        let ended = now();
        let ranks = begin(4);
        let early = Time { seconds: ended.seconds - 5, nanoseconds: 0 };
        assert!(!ranks[0].doubts(early, 5), "it ended in order");
        assert!(ranks[0].doubts(ended, 5) && ranks[0].doubts(ended, u64::MAX), "others did that");
        assert!(!ranks[0].doubts(now(), 5), "this job does that");
    }

    /// An upload that a later job has recorded for the same file is another one.
    #[test]
    fn an_intended_upload_is_known_until_the_journal_ends() {
        let dir = tempfile::tempdir().expect("a directory");
        let open = |id| {
            begin_when_free(dir.path(), &job(), Start::Resume).expect("is ours");
            Journal::open(dir.path(), (id, Start::Resume), Rank(0)).expect("is there")
        };
        open(1).intend_upload(file("a"));
        for id in 2..=4 {
            let journal = open(id);
            let known: Vec<_> = journal.intended_uploads().iter().map(|(file, _)| file).collect();
            assert_eq!(known, [&file("a")], "job {id}");
            journal.intend_upload(file("a"));
            journal.begin_upload(file("a"), begun("ticket"));
        }
    }

    #[test]
    fn a_torn_log_counts_up_to_where_it_is_torn_wherever_that_is() {
        let dir = tempfile::tempdir().expect("a directory");
        folder::begin(dir.path(), &job(), Start::Resume).expect("a new journal");
        let journal = Journal::open(dir.path(), (1, Start::Resume), Rank(0)).expect("is there");
        journal.begin(file("a"), begun("s.a"));
        let one = std::fs::metadata(&journal.log_path).expect("is there").len();
        journal.chunk(b"s.a", extent(0), Crc64(1));
        let log = std::fs::read(&journal.log_path).expect("is there");
        let read = |bytes: &[u8]| -> io::Result<Vec<Record>> {
            std::fs::write(&journal.log_path, bytes).expect("can be written");
            Records::open(&journal.log_path, Ends::Torn)?.collect()
        };
        let all = read(&log).expect("is whole");
        for length in 0..=log.len() {
            let whole = 1 + usize::from(length == log.len());
            let expected = if (length as u64) < one { 0 } else { whole };
            for lost in [0, 1, 100_000] {
                let torn = [&log[..length], &vec![0; lost][..]].concat();
                let found = read(&torn).expect("is torn at its end");
                assert_eq!(found, all[..expected], "cut to {length} of {}", log.len());
            }
        }
        for at in 0..log.len() {
            let mut flipped = log.clone();
            flipped[at] ^= 4;
            // The last record may be torn as well.
            if let Ok(found) = read(&flipped) {
                assert!(at as u64 >= one && found == all[..1], "byte {at} is wrong, {found:?}");
            }
        }
    }

    /// Begins a journal as soon as no process holds the lock of the job that has ended. A process
    /// that another test has just forked holds it too, until it calls exec.
    fn begin_when_free(
        dir: &Path,
        job: &JobRecord,
        start: Start,
    ) -> Result<folder::Begun, folder::Refusal> {
        loop {
            match folder::begin(dir, job, start) {
                Err(refusal) if refusal.exit == Exit::Usage => std::thread::yield_now(),
                begun => return begun,
            }
        }
    }

    #[test]
    fn no_byte_of_a_journal_can_be_wrong_or_missing_unnoticed() {
        let dir = tempfile::tempdir().expect("a directory");
        drop(stopped_job(dir.path()));
        let made = MadeTarget { inode: 7, born: Some(TIME) };
        folder::record_target(dir.path(), made).expect("can be written");
        let check = || {
            let made = folder::made_target(dir.path())?;
            let begun = begin_when_free(dir.path(), &job(), Start::Resume);
            begun.map_err(|refusal| {
                assert_eq!(refusal.exit, Exit::Unusable);
                io::Error::other(refusal.words)
            })?;
            Journal::open(dir.path(), (9, Start::Resume), Rank(0)).map(|_| made)
        };
        assert_eq!(check().expect("is whole"), Some(made));
        for name in ["job", folder::UNFINISHED, "target"] {
            let path = dir.path().join(name);
            let whole = std::fs::read(&path).expect("is there");
            let flipped = (0..whole.len()).map(|at| {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << (at % 8);
                flipped
            });
            let cut = (0..whole.len()).map(|length| whole[..length].to_vec());
            for wrong in flipped.chain(cut) {
                std::fs::write(&path, &wrong).expect("can be written");
                let error = check().expect_err("is damaged").to_string();
                assert!(error.contains(name), "{error}");
            }
            std::fs::write(&path, &whole).expect("can be written");
        }
        check().expect("is whole again");
        std::fs::remove_file(dir.path().join("job")).expect("can be removed");
        assert!(check().expect_err("has no job").to_string().contains("job is missing"));
    }

    #[test]
    fn a_journal_of_another_job_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        stopped_job(dir.path());
        let other = JobRecord { target: b"/elsewhere".to_vec(), ..job() };
        for start in [Start::Resume, Start::Anew, Start::Forget] {
            let refusal = folder::begin(dir.path(), &other, start).expect_err("is another's");
            let words = refusal.words;
            assert!(words.contains("/src") && words.contains("/dst"), "{words}");
        }
        assert!(
            !Journal::open(dir.path(), (4, Start::Resume), Rank(0))
                .expect("is there")
                .unfinished
                .is_empty()
        );
    }

    #[test]
    fn a_job_that_is_done_anew_knows_what_there_was_and_a_forgotten_one_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        stopped_job(dir.path());
        let later = Time { seconds: 9, nanoseconds: 0 };
        let again = JobRecord { target_was: TargetIs::Directory, began: later, ..job() };
        let ready = begin_when_free(dir.path(), &again, Start::Anew).expect("is ours");
        assert_eq!(ready.earlier, Some(job()));
        drop(ready);
        let journal = Journal::open(dir.path(), (4, Start::Anew), Rank(0)).expect("is there");
        assert!(journal.is_anew() && journal.has_unfinished());
        // The location is the same as before, and nothing counts as completed.
        let expected = JobRecord { began: later, ..job() };
        assert_eq!(folder::read(dir.path()).expect("is whole"), Some(expected));
        let ready = begin_when_free(dir.path(), &again, Start::Forget).expect("is ours");
        assert_eq!(ready.earlier, None);
        assert_eq!(folder::read(dir.path()).expect("is whole"), Some(again));
        let journal = Journal::open(dir.path(), (5, Start::Resume), Rank(0)).expect("is there");
        assert!(!journal.has_unfinished());
    }

    #[test]
    fn a_directory_with_other_things_in_it_is_refused_and_stays() {
        let dir = tempfile::tempdir().expect("a directory");
        let precious = dir.path().join("thesis.tex");
        std::fs::write(&precious, "all of it").expect("can be written");
        for start in [Start::Resume, Start::Anew] {
            folder::begin(dir.path(), &job(), start).expect_err("is not a journal");
        }
        assert!(precious.exists());
    }

    #[test]
    fn what_others_put_into_a_journal_stays() {
        let dir = tempfile::tempdir().expect("a directory");
        stopped_job(dir.path());
        for name in ["slurm-1.log", "notes"] {
            std::fs::write(dir.path().join(name), "mine").expect("can be written");
        }
        folder::begin(dir.path(), &job(), Start::Resume).expect_err("has something else in it");
        folder::end(dir.path()).expect("its own files can be removed");
        let left = std::fs::read_dir(dir.path()).expect("is there").count();
        assert_eq!(left, 2);
    }

    #[test]
    fn a_file_that_was_staged_anew_is_the_one_that_counts() {
        let dir = tempfile::tempdir().expect("a directory");
        let journal = stopped_job(dir.path());
        journal.begin(file("a"), begun("s.new"));
        begin_when_free(dir.path(), &job(), Start::Resume).expect("is ours");
        let journal = Journal::open(dir.path(), (3, Start::Resume), Rank(0)).expect("is there");
        assert_eq!(journal.unfinished(&file("a")), Some(&begun("s.new")));
    }

    #[test]
    fn a_journal_is_gone_when_its_job_is_done() {
        let parent = tempfile::tempdir().expect("a directory");
        let dir = parent.path().join("journal");
        stopped_job(&dir);
        folder::end(&dir).expect("can be removed");
        assert!(!dir.exists());
    }
}
