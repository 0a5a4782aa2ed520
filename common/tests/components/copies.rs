//! Tests of the copy over ranks that are threads of this process, from memory to memory, with
//! seeded faults: every entry is copied whole or reported, and nothing half-done is left.

use crate::trees;
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::copy_jobs::job_outcomes;
use crate::trees::Picture;
use host::user::User;
use ops::copy::options::{CopyOptions, HardLinks, JobFacts, Verify};
use posix::PosixStore;
use store::Store;
use store::faulty::{Faults, FaultyStore};
use store::memory::MemoryStore;
use store::opening::{Need, OpenAs, Symlinks};
use suite_tests::sandbox::Sandbox;
use types::attributes::keep::Keep;
use types::content::transfer::{Sums, Transfer};
use types::entry::{Attributes, Kind};
use types::error::{Failure, Op};
use types::lustre::layout::Striping;
use types::outcome::tally::Tally;
use types::path::RelPath;

fn grow(random: &mut fastrand::Rng) -> MemoryStore {
    let store = MemoryStore::new();
    trees::build(&trees::random_tree(random), &store);
    store
}

/// Returns an empty target; in every other one large files are cut along their stripes.
fn empty(random: &mut fastrand::Rng) -> MemoryStore {
    let (stripe_bytes, stripe_count) = (random.u64(1..150), random.u64(1..9));
    if random.bool() {
        MemoryStore::striped(Striping { stripe_bytes, stripe_count })
    } else {
        MemoryStore::new()
    }
}

/// Returns the entries of a store, below its root. Directories' attributes are left out, as they
/// are set in a phase of their own.
fn picture(store: &dyn Store) -> Picture {
    let mut picture = trees::picture(store);
    picture.remove(&b""[..]);
    for entry in picture.values_mut().filter(|entry| entry.kind == Kind::Directory) {
        entry.attributes = Attributes::default();
    }
    picture
}

pub struct Copied {
    pub tally: Tally,
    pub failures: Vec<Failure>,
}

/// Copies on that many ranks; chunks of 100 bytes.
fn copy(
    ranks: u32,
    source: &(impl Fn() -> Box<dyn Store> + Sync),
    target: &(impl Fn() -> Box<dyn Store> + Sync),
) -> Copied {
    copy_with(ranks, source, target, &options())
}

pub fn options() -> CopyOptions {
    CopyOptions {
        symlinks: Symlinks::Keep,
        keep: Keep::all(),
        hard_links: HardLinks::Separate,
        chunk_bytes: 100,
        buffer_bytes: 64,
        transfer: Transfer::default(),
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
        user: User::of(true, Vec::new()),
    }
}

pub fn copy_with(
    ranks: u32,
    source: &(impl Fn() -> Box<dyn Store> + Sync),
    target: &(impl Fn() -> Box<dyn Store> + Sync),
    options: &CopyOptions,
) -> Copied {
    let outcomes = job_outcomes(ranks, source, target, options);
    let mut tally = Tally::default();
    for (of_rank, _) in &outcomes {
        tally.add(of_rank);
    }
    let failures = outcomes.into_iter().flat_map(|(_, failures)| failures).collect();
    Copied { tally, failures }
}

#[test]
fn random_trees_arrive_whole_at_any_rank_count() {
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (source, target) = (grow(&mut random), empty(&mut random));
        let ranks = random.u32(1..9);
        let copied = copy(ranks, &|| Box::new(source.clone()), &|| Box::new(target.clone()));
        assert_eq!(copied.failures, [], "seed {seed}");
        let (wanted, got) = (picture(&source), picture(&target));
        assert_eq!(wanted, got, "seed {seed}");
        assert_eq!(copied.tally.copied.total(), wanted.len() as u64 + 1, "seed {seed}");
        assert_eq!(copied.tally.copied_bytes, copied.tally.found_bytes, "seed {seed}");
    }
}

/// Checks that with faults the target is a part of the source, whole entry by entry; that each
/// missing entry is below one that was reported; and that no staged file is left.
#[test]
fn with_faults_every_entry_is_copied_whole_or_reported() {
    let mut struck = 0;
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (source, target) = (grow(&mut random), empty(&mut random));
        let ops = [Op::Open, Op::Stat, Op::Read, Op::ReadLink, Op::List];
        let at_source = Faults::new(seed)
            .fail(ops[random.usize(0..ops.len())], libc::EIO, random.u64(3..40))
            .fail(ops[random.usize(0..ops.len())], libc::EACCES, random.u64(3..40))
            .with_short_reads();
        let ops = [Op::Create, Op::Write, Op::Close, Op::Rename, Op::MakeDir, Op::Symlink];
        let at_target = Faults::new(seed)
            .fail(ops[random.usize(0..ops.len())], libc::EIO, random.u64(3..40))
            .fail(ops[random.usize(0..ops.len())], libc::EPERM, random.u64(3..40));
        let (at_source, at_target) = (Arc::new(at_source), Arc::new(at_target));
        let root_strikes = FaultyStore::new(source.clone(), Arc::clone(&at_source));
        if root_strikes.open_dir(&RelPath::root()).is_err() {
            continue;
        }
        let copied = copy(
            random.u32(1..7),
            &|| Box::new(FaultyStore::new(source.clone(), Arc::clone(&at_source))),
            &|| Box::new(FaultyStore::new(target.clone(), Arc::clone(&at_target))),
        );
        struck += at_source.injected() + at_target.injected();
        check_partial(seed, &picture(&source), &picture(&target), &copied);
    }
    assert!(struck > 1000, "only {struck} faults: the test tests nothing");
}

/// Checks that storage that returns other bytes than were written is noticed, file by file, large
/// and small.
#[test]
fn what_is_not_as_it_was_written_is_found_and_does_not_stay() {
    let transfer = Transfer { sums: Sums::All, ..Transfer::default() };
    let options = CopyOptions { verify: Verify::Transferred, transfer, ..options() };
    let (mut large, mut small) = (0, 0);
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (source, target) = (grow(&mut random), MemoryStore::new());
        let faults = Arc::new(Faults::new(seed).garble_writes(6));
        let copied = copy_with(
            random.u32(1..7),
            &|| Box::new(source.clone()),
            &|| Box::new(FaultyStore::new(target.clone(), Arc::clone(&faults))),
            &options,
        );
        let (wanted, got) = (picture(&source), picture(&target));
        let is_garbled = |path: &[u8], entry: &trees::Entry| {
            let name = path.rsplit(|byte| *byte == b'/').next().unwrap();
            entry.kind == Kind::File && !entry.content.is_empty() && faults.garbles(name)
        };
        for (path, entry) in &wanted {
            let expected = Some(entry).filter(|entry| !is_garbled(path, entry));
            assert_eq!(got.get(path), expected, "seed {seed}: {}", path.escape_ascii());
        }
        let garbled: Vec<_> =
            wanted.iter().filter(|(path, entry)| is_garbled(path, entry)).collect();
        assert_eq!(copied.tally.failed, garbled.len() as u64, "seed {seed}");
        large += garbled.iter().filter(|(_, entry)| entry.content.len() > 100).count();
        small += garbled.iter().filter(|(_, entry)| entry.content.len() <= 100).count();
        let files = wanted.values().filter(|entry| entry.kind == Kind::File).count();
        assert_eq!(copied.tally.verified_files + copied.tally.failed, files as u64, "seed {seed}");
    }
    assert!(large > 10 && small > 10, "{large} large, {small} small: the test tests little");
}

fn check_partial(seed: u64, wanted: &Picture, got: &Picture, copied: &Copied) {
    let reported: BTreeSet<&[u8]> =
        copied.failures.iter().map(|f| &f.path[2.min(f.path.len())..]).collect();
    for (path, entry) in got {
        assert_eq!(wanted.get(path), Some(entry), "seed {seed}: {}", path.escape_ascii());
    }
    for path in wanted.keys().filter(|path| !got.contains_key(*path)) {
        let excused = reported.iter().any(|bad| {
            path.strip_prefix(*bad)
                .is_some_and(|rest| rest.is_empty() || bad.is_empty() || rest[0] == b'/')
        });
        assert!(excused, "seed {seed}: {} is missing and nobody said so", path.escape_ascii());
    }
    let said = copied.tally.failed + copied.tally.vanished;
    assert_eq!(said, copied.failures.len() as u64, "seed {seed}");
}

#[test]
fn a_full_target_stops_the_job_and_leaves_nothing_half_done() {
    for seed in 0..40 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (source, target) = (grow(&mut random), empty(&mut random));
        let full = Arc::new(Faults::new(seed).fail(Op::Write, libc::ENOSPC, 6));
        let copied = copy(random.u32(1..5), &|| Box::new(source.clone()), &|| {
            Box::new(FaultyStore::new(target.clone(), Arc::clone(&full)))
        });
        let (wanted, got) = (picture(&source), picture(&target));
        for (path, entry) in &got {
            assert_eq!(wanted.get(path), Some(entry), "seed {seed}: {}", path.escape_ascii());
        }
        if full.injected() > 0 {
            assert!(!copied.failures.is_empty(), "seed {seed}");
        }
    }
}

/// Copies a directory of many files to a real one, where one in `one_in` files fails with `errno`.
/// Also returns the number of files that arrived.
fn copy_many(files: usize, (errno, one_in): (i32, u64), is_superuser: bool) -> (Copied, usize) {
    let work = Sandbox::new();
    let open = |tree: &str, need| {
        let path = work.path().join(tree);
        let _ = std::fs::create_dir(&path);
        let open_as = OpenAs { need, below: need, ..OpenAs::default() };
        PosixStore::open(path.as_os_str().as_encoded_bytes(), open_as).unwrap()
    };
    open("s", Need::Listing);
    for file in 0..files {
        std::fs::write(work.path().join(format!("s/{file}")), "content").unwrap();
    }
    let faults = Arc::new(Faults::new(1).fail(Op::Create, errno, one_in));
    let user = User::of(is_superuser, Vec::new());
    let copied = copy_with(
        2,
        &|| Box::new(open("s", Need::Listing)),
        &|| Box::new(FaultyStore::new(open("t", Need::Passage), Arc::clone(&faults))),
        &CopyOptions { user, ..options() },
    );
    let arrived = std::fs::read_dir(work.target()).unwrap().count();
    (copied, arrived)
}

/// Checks a target of which one disk is full, as on a parallel file system: there is space for
/// other files.
#[test]
fn one_file_without_room_is_one_files_failure_while_there_is_room() {
    let (copied, arrived) = copy_many(400, (libc::ENOSPC, 3), true);
    assert!((90..180).contains(&copied.failures.len()), "{}", copied.failures.len());
    assert_eq!((arrived + copied.failures.len(), copied.tally.cancelled_tasks), (400, 0));
}

/// Checks that an error that concerns all files ends the job: a user's quota does so for all of the
/// user's files, while the superuser copies for many users.
#[test]
fn what_fails_again_and_again_ends_the_job() {
    for errno in [libc::EDQUOT, libc::EIO] {
        let (copied, arrived) = copy_many(5000, (errno, 1), false);
        assert!((200..4000).contains(&copied.failures.len()), "{}", copied.failures.len());
        assert!(copied.tally.cancelled_tasks > 0 && copied.tally.fatal_errno == errno as u64);
        assert_eq!(arrived, 0);
    }
    let (copied, _) = copy_many(1500, (libc::EDQUOT, 1), true);
    assert_eq!((copied.tally.failed, copied.tally.cancelled_tasks), (1500, 0));
    // One success between failures shows that the target is usable.
    let (copied, arrived) = copy_many(3000, (libc::EDQUOT, 2), false);
    assert_eq!((arrived + copied.tally.failed as usize, copied.tally.cancelled_tasks), (3000, 0));
}
