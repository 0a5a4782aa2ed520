//! What a copy writes down on its way, so that another job goes on where it was stopped.
//!
//! A journal is a directory that all ranks share. `job` in it says what is copied where ([`folder`]); each
//! rank appends to a log of its own which large files it has staged, which chunks of anybody's it has
//! written, with their checksums, and which files are at their end. The next job, of any number of ranks,
//! takes over what was staged ([`Unfinished`]).
//!
//! What a log says is never believed alone: a chunk counts only where the staged file has bytes of that
//! checksum, and a file only while its source is what it was. Small files need no record: what is
//! finished has its name, size and time of change.

mod doubt;
pub mod folder;
pub mod job;
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
use types::path::Name;
use types::place::staged_name::is_of_job;

/// Of a large file that a stopped job has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfinished {
    /// The source was this.
    pub version: Version,
    /// Size of its chunks.
    pub chunk_bytes: u64,
    /// The name under which it is staged, in its directory.
    pub staged: Vec<u8>,
    /// The inode of what is staged there, if there is such a thing. Devices have other numbers on other nodes.
    #[serde(skip)]
    pub inode: Option<u64>,
}

/// Where a large file goes: the root's target, and the path below it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TargetFile {
    /// The directory that is copied: several may go into one.
    pub from: Vec<u8>,
    /// The directory that receives the copy.
    pub root: Vec<u8>,
    /// The file's path in it.
    pub path: Vec<u8>,
}

/// A chunk, by the file it is staged in and its offset there.
type ChunkKey = (Vec<u8>, u64);

/// One rank's part of a journal.
pub struct Journal {
    log_path: PathBuf,
    /// Made when there is something to write.
    log: Mutex<Option<File>>,
    unfinished: HashMap<TargetFile, Unfinished>,
    chunks: HashMap<ChunkKey, (u64, Crc64)>,
    /// Staged files that were taken over here: each goes to one file.
    taken: Mutex<HashSet<Vec<u8>>>,
    unwritten: AtomicU64,
    /// Directories that the jobs before this one have made and not finished.
    made: HashSet<TargetFile>,
    /// Numbers of the jobs before this one.
    earlier_jobs: Vec<u64>,
    /// When files were changed of which a stopped job's nodes may have lost the content.
    doubts: Vec<Doubt>,
    /// Nothing of what was done before is gone on with.
    is_anew: bool,
}

impl Journal {
    /// Opens what the job before has left, for a rank of the job of this number.
    ///
    /// # Errors
    /// Where the directory cannot be read from this rank.
    pub fn open(dir: &Path, (job, start): (u64, Start), rank: Rank) -> io::Result<Self> {
        let mut journal = Self {
            log_path: dir.join(format!("{job:016x}.{}.log", rank.0)),
            log: Mutex::default(),
            unfinished: HashMap::new(),
            chunks: HashMap::new(),
            taken: Mutex::default(),
            unwritten: AtomicU64::new(0),
            made: HashSet::new(),
            earlier_jobs: Vec::new(),
            doubts: Vec::new(),
            is_anew: start == Start::Anew,
        };
        // There in any case, so that a directory that this node does not have is noticed.
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
                Record::Ended { .. }
                | Record::Started { .. }
                | Record::Syncing { .. }
                | Record::Synced { .. } => {}
            }
        }
        Ok(journal)
    }

    /// Whether there is anything that a stopped job has begun.
    pub fn has_unfinished(&self) -> bool {
        !self.unfinished.is_empty()
    }

    /// What a stopped job has begun of this file.
    pub fn unfinished(&self, file: &TargetFile) -> Option<&Unfinished> {
        self.unfinished.get(file)
    }

    /// What was staged before is begun anew.
    pub fn is_anew(&self) -> bool {
        self.is_anew
    }

    /// What the source was when a stopped job began to stage it under that name.
    pub fn version_staged(&self, staged: &[u8]) -> Option<Version> {
        let begun = self.unfinished.values().find(|begun| begun.staged == staged)?;
        Some(begun.version)
    }

    /// Takes over what is staged under that name; false where that was done before.
    pub fn take(&self, staged: &[u8]) -> bool {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(staged.to_vec())
    }

    /// Whether a stopped job has staged a file under that name, and not ended it.
    pub fn has_staged(&self, name: &[u8]) -> bool {
        self.unfinished.values().any(|begun| begun.staged == name)
    }

    /// There were jobs before this one.
    pub fn has_earlier_jobs(&self) -> bool {
        !self.earlier_jobs.is_empty()
    }

    /// Whether a job before this one has given that name to what nobody will go on with, such as a small file.
    pub fn was_left(&self, name: &Name) -> bool {
        self.earlier_jobs.iter().any(|job| is_of_job(name, *job))
            && !self.has_staged(name.to_bytes())
    }

    /// All files that a stopped job has begun, in an order that is the same on all ranks.
    pub fn all_unfinished(&self) -> Vec<(&TargetFile, &Unfinished)> {
        let mut all: Vec<_> = self.unfinished.iter().collect();
        all.sort_by_key(|(file, _)| *file);
        all
    }

    /// The checksum that a chunk had when it was written into that staged file, by a job that was stopped.
    pub fn written(&self, staged: &[u8], extent: Extent) -> Option<Crc64> {
        if self.chunks.is_empty() {
            return None;
        }
        let (length, crc64) = self.chunks.get(&(staged.to_vec(), extent.offset))?;
        (*length == extent.length).then_some(*crc64)
    }

    /// The job of this number is at work, on all ranks. By that number the next one knows what it has left, so it is on
    /// storage before anything is staged.
    pub fn enlist(&self, id: u64) {
        self.append(&Record::Job { id });
        self.sync_log();
    }

    /// A file is staged.
    pub fn begin(&self, file: TargetFile, begun: Unfinished) {
        self.append(&match begun.inode {
            Some(inode) => Record::BegunAs { file, begun, inode },
            None => Record::Begun { file, begun },
        });
    }

    /// An upload is begun. Where its file is gone later, nothing but this record tells that it is there, so it is on
    /// storage before any part is sent.
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

    /// A directory is about to be made, which was not there.
    pub fn make(&self, directory: TargetFile) {
        self.append(&Record::Made { directory });
    }

    /// Whether a job before this one has made that directory, as far as that was written down.
    pub fn has_made(&self, directory: &TargetFile) -> bool {
        self.made.contains(directory)
    }

    /// A chunk is written.
    pub fn chunk(&self, staged: &[u8], extent: Extent, crc64: Crc64) {
        self.append(&Record::Chunk { staged: staged.to_vec(), extent, crc64 });
    }

    /// Nothing is staged under that name any more.
    pub fn end(&self, staged: &[u8]) {
        self.append(&Record::Ended { staged: staged.to_vec() });
    }

    /// Whether a file of that size, changed then (`ctime`), may lack content that a stopped job has given it.
    pub fn doubts(&self, ctime: Time, size_bytes: u64) -> bool {
        self.doubts.iter().any(|doubt| doubt.covers(ctime, size_bytes))
    }

    /// Writes down that something at the target is not as its source: the next job takes nothing there for finished
    /// without comparing its content.
    pub fn distrust(&self) {
        self.append(&Record::Doubtful(doubt::OF_ALL));
    }

    /// Whether nothing at the target is to be taken for finished by its looks.
    pub fn distrusts(&self) -> bool {
        self.doubts.contains(&doubt::OF_ALL)
    }

    /// Numbers of the jobs before this one.
    pub fn earlier_jobs(&self) -> &[u64] {
        &self.earlier_jobs
    }

    /// Writes down that this rank, one of so many, has brought to storage what it had copied before, where
    /// `sync` has done so. `device` is where that is, as far as it is one place.
    pub fn synced(&self, ranks: u32, device: Option<u64>, sync: impl FnOnce() -> bool) {
        self.append(&Record::Syncing { ranks });
        // The log was changed just now, by the clock of the file system that it is on.
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let now = log.as_ref().and_then(|log| log.metadata().ok());
        drop(log);
        if let (Some(now), true) = (now, sync()) {
            let changed = Time { seconds: now.ctime(), nanoseconds: now.ctime_nsec() as u32 };
            let is_here = device == Some(now.dev());
            let until = if is_here { changed } else { doubt::early(changed) };
            self.append(&Record::Synced { until });
        }
    }

    /// The same for the end of a job, after which nothing more is copied.
    pub fn synced_for_good(&self, ranks: u32) {
        self.append(&Record::Syncing { ranks });
        self.append(&Record::Synced { until: doubt::FOR_GOOD });
    }

    /// Records that could not be written: a job that goes on does more than it must.
    pub fn unwritten(&self) -> u64 {
        self.unwritten.load(Ordering::Relaxed)
    }

    /// One write a record: what a killed process has written is there.
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
    use types::place::placement::TargetIs;
    use types::place::staged_name::staged_name;

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

    /// Two ranks of a job that is stopped; what the next one finds.
    fn stopped_job(dir: &Path) -> Journal {
        let ready = folder::begin(dir, &job(), Start::Resume).expect("a new journal");
        assert_eq!(ready.earlier, None);
        let refusal = folder::begin(dir, &job(), Start::Resume).expect_err("is in use");
        let worker = format!("process {}", std::process::id());
        assert!(refusal.words.contains("at work since "), "{refusal:?}");
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
        let now = Time::now;
        let ranks = begin(1);
        assert!(!ranks[0].doubts(now(), 5), "nothing was before");
        // Killed: all of it is in doubt.
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
                rank.synced_for_good(2);
            }
        }
        let ranks = begin(4);
        assert!(!ranks[0].doubts(now(), 5), "it ended in order");
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

    /// All that is written as a whole: what is wrong or missing is told by the name of its file.
    /// Begins as soon as no process has the lock of a job that has ended: what another test starts has it, too, until it
    /// runs its program.
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
        // The same place as before, and nothing that was finished before now.
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
