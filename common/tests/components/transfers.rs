//! Tests of content on its way over ranks that are threads of this process, from one file system to
//! another: holes stay holes, and a source that changes meanwhile is an error of that file.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::{Arc, Once};

use crate::copy_jobs::job_outcomes;
use host::user::User;
use ops::copy::options::{CopyOptions, JobFacts, Verify};
use posix::PosixStore;
use store::Store;
use store::faulty::{Faults, FaultyStore};
use store::opening::{OpenAs, Symlinks};
use suite_tests::sandbox::Sandbox;
use types::attributes::keep::Keep;
use types::content::transfer::{Rewriting, Sparse, Sums, Transfer};
use types::error::{Cause, Failure};

const BLOCK: u64 = 4096;
const CHUNK: u64 = 64 * BLOCK;

/// Copies on that many ranks; returns the failures.
fn copy(
    ranks: u32,
    source: &(impl Fn() -> Box<dyn Store> + Sync),
    target: &Path,
    transfer: Transfer,
) -> Vec<Failure> {
    let outcomes = job_outcomes(ranks, source, &|| posix(target), &options(transfer));
    outcomes.into_iter().flat_map(|(_, failures)| failures).collect()
}

fn options(transfer: Transfer) -> CopyOptions {
    CopyOptions {
        symlinks: Symlinks::Keep,
        keep: Keep::all(),
        hard_links: ops::copy::options::HardLinks::Separate,
        chunk_bytes: CHUNK,
        buffer_bytes: 5 * BLOCK,
        transfer,
        dry_run: false,
        mkpath: false,
        plan_as: None,
        sync: None,
        going_on: None,
        record: None,
        verify: Verify::Nothing,
        remove_source: false,
        prune_empty_dirs: false,
        job: JobFacts { id: 7, umask: 0o022 },
        user: User::of(false, Vec::new()),
    }
}

fn posix(path: &Path) -> Box<dyn Store> {
    Box::new(PosixStore::open(path.as_os_str().as_bytes(), OpenAs::default()).unwrap())
}

fn allocated_bytes(path: &Path) -> u64 {
    fs::metadata(path).unwrap().blocks() * 512
}

/// Writes a file of holes, data and zeros, in runs of random lengths.
fn write_islands(path: &Path, random: &mut fastrand::Rng) {
    let file = File::create(path).unwrap();
    let size = random.u64(1..5 * CHUNK);
    let mut at = 0;
    while at < size {
        let length = match random.u8(0..3) {
            0 => random.u64(1..100),
            1 => random.u64(1..4) * BLOCK,
            _ => random.u64(1..CHUNK),
        };
        let length = length.min(size - at);
        match random.u8(0..4) {
            0 => file.write_all_at(&vec![0; length as usize], at).unwrap(),
            1 => file.write_all_at(&vec![random.u8(1..); length as usize], at).unwrap(),
            _ => {}
        }
        at += length;
    }
    file.set_len(size).unwrap();
}

/// Returns the bytes in blocks that are not all zeros.
fn bytes_of_data(content: &[u8]) -> u64 {
    let blocks = content.chunks(BLOCK as usize);
    blocks.filter(|block| block.iter().any(|byte| *byte != 0)).count() as u64 * BLOCK
}

#[test]
fn random_islands_arrive_with_no_more_room_than_they_need() {
    let ways = [Sparse::Auto, Sparse::Always, Sparse::Never].into_iter().flat_map(|sparse| {
        [Rewriting::Beside, Rewriting::InPlace].map(|rewriting| Transfer {
            sparse,
            rewriting,
            ..Transfer::default()
        })
    });
    for (seed, transfer) in (0..40).flat_map(|seed| ways.clone().map(move |way| (seed, way))) {
        let mut random = fastrand::Rng::with_seed(seed);
        let work = Sandbox::on_disk();
        let (source, target) = (work.source(), work.target());
        fs::create_dir(&source).unwrap();
        fs::create_dir(&target).unwrap();
        for name in ["a", "b", "c"] {
            write_islands(&source.join(name), &mut random);
            // Old content that shows through would be noticed.
            fs::write(target.join(name), vec![0xff; random.usize(0..6 * CHUNK as usize)]).unwrap();
        }
        let failures = copy(random.u32(1..5), &|| posix(&source), &target, transfer);
        assert_eq!(failures, [], "seed {seed}");
        for name in ["a", "b", "c"] {
            assert_arrived(&source.join(name), &target.join(name), seed, transfer);
        }
    }
}

fn assert_arrived(from: &Path, to: &Path, seed: u64, transfer: Transfer) {
    let content = fs::read(from).unwrap();
    assert!(content == fs::read(to).unwrap(), "seed {seed}, {transfer:?}: {}", from.display());
    let (least, most) = match transfer.sparse {
        Sparse::Auto => (bytes_of_data(&content), allocated_bytes(from)),
        Sparse::Always => (bytes_of_data(&content), bytes_of_data(&content)),
        Sparse::Never => (content.len() as u64, u64::MAX),
    };
    // A file with many holes takes a block to list what is between them.
    let most = most.saturating_add(2 * BLOCK);
    let taken = allocated_bytes(to);
    assert!((least..=most).contains(&taken), "seed {seed}, {transfer:?}: {taken} bytes");
}

/// Returns a source store in which `deed` is applied to a file after its first read.
fn racing_store(
    source: &Path,
    operation: impl Fn(&Path) + Send + Sync + 'static,
) -> Box<dyn Store> {
    let file = source.join("f");
    let faults = Faults::new(0).meanwhile(b"f", move || operation(&file));
    let open_as = OpenAs::default();
    let inner = PosixStore::open(source.as_os_str().as_bytes(), open_as).unwrap();
    Box::new(FaultyStore::new(inner, Arc::new(faults)))
}

/// Checks that a file that changes its size while it is copied, small or large, is an error, also
/// where the truncated part was a hole: nothing is filled in.
#[test]
fn a_source_that_shrinks_or_grows_meanwhile_is_an_error() {
    for (size, ranks) in [(CHUNK / 2, 1), (8 * CHUNK, 1), (8 * CHUNK, 4)] {
        for (has_tail, sparse) in [
            (false, Sparse::Auto),
            (true, Sparse::Auto),
            (false, Sparse::Always),
            (true, Sparse::Never),
        ] {
            for change in [-1, -(BLOCK as i64) * 3, 1] {
                let work = Sandbox::on_disk();
                let (source, target) = (work.source(), work.target());
                fs::create_dir(&source).unwrap();
                fs::create_dir(&target).unwrap();
                let file = File::create(source.join("f")).unwrap();
                file.write_all_at(&[7; BLOCK as usize], 0).unwrap();
                if has_tail {
                    file.write_all_at(&[7; BLOCK as usize], size - BLOCK).unwrap();
                }
                file.set_len(size).unwrap();
                // Each read changes it once more, so that a second attempt must not succeed either.
                let store = || {
                    racing_store(&source, move |path| {
                        let file = File::options().write(true).open(path).unwrap();
                        let now = file.metadata().unwrap().len();
                        file.set_len(now.saturating_add_signed(change)).unwrap();
                    })
                };
                let failures = copy(ranks, &store, &target, only(sparse));
                let causes: Vec<Cause> =
                    failures.iter().map(|failure| failure.error.cause).collect();
                assert_eq!(causes, [Cause::Changed], "{size} {has_tail} {sparse:?} {change}");
                let left = fs::read_dir(&target).unwrap().count();
                assert_eq!(left, 0, "{size} {has_tail} {sparse:?} {change}");
            }
        }
    }
}

/// Checks that a small file that changes once is copied again, and that its copy is complete.
#[test]
fn a_small_source_that_was_cut_off_once_arrives_as_it_is_then() {
    let work = Sandbox::on_disk();
    let (source, target) = (work.source(), work.target());
    fs::create_dir(&source).unwrap();
    fs::create_dir(&target).unwrap();
    let file = File::create(source.join("f")).unwrap();
    file.write_all_at(&[7; BLOCK as usize], 0).unwrap();
    file.set_len(CHUNK / 2).unwrap();
    let store = || {
        let once = Once::new();
        racing_store(&source, move |path| {
            once.call_once(|| {
                File::options().write(true).open(path).unwrap().set_len(2 * BLOCK).unwrap();
            });
        })
    };
    assert_eq!(copy(1, &store, &target, Transfer::default()), []);
    assert!(fs::read(source.join("f")).unwrap() == fs::read(target.join("f")).unwrap());
}

fn only(sparse: Sparse) -> Transfer {
    Transfer { sparse, ..Transfer::default() }
}

/// Checks that a copy that other programs overwrite or truncate while it is read back stays as they
/// have left it, and is a failure.
#[test]
fn a_copy_that_others_change_before_it_is_verified_is_a_failure_and_theirs() {
    let verified = Transfer { sums: Sums::All, ..Transfer::default() };
    let options = CopyOptions { verify: Verify::Transferred, ..options(verified) };
    for (ranks, kept_bytes) in [(1, 3 * BLOCK), (2, 8 * BLOCK)] {
        let work = Sandbox::new();
        let [source, target] = [work.source(), work.target()];
        fs::create_dir(&source).unwrap();
        fs::create_dir(&target).unwrap();
        fs::write(source.join("file"), vec![7; 20 * BLOCK as usize]).unwrap();
        let theirs = target.join("file");
        let operation = move || {
            let file = File::options().write(true).open(&theirs).unwrap();
            file.set_len(kept_bytes).unwrap();
            file.write_all_at(b"theirs", 0).unwrap();
        };
        let faults = Arc::new(Faults::new(1).meanwhile(b"file", operation));
        let changed = || -> Box<dyn Store> {
            let target = PosixStore::open(target.as_os_str().as_bytes(), OpenAs::default());
            Box::new(FaultyStore::new(target.unwrap(), Arc::clone(&faults)))
        };
        let outcomes = job_outcomes(ranks, &|| posix(&source), &changed, &options);
        let failures: Vec<_> = outcomes.iter().flat_map(|(_, failures)| failures).collect();
        let causes: Vec<_> = failures.iter().map(|failure| failure.error.cause).collect();
        assert_eq!(causes, [Cause::ChangedByOthers], "{failures:?}");
        assert_eq!(outcomes.iter().map(|(tally, _)| tally.not_verified).sum::<u64>(), 1);
        assert_eq!(fs::metadata(target.join("file")).unwrap().len(), kept_bytes);
    }
}
