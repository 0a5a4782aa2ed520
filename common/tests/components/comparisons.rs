//! Tests of the comparison while other programs write: a file that was not at rest is never "the
//! same".

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Once};

use crate::runs::compare_options;
use comm::mailbox::Mailbox;
use comm::{Comm, Rank, threads};
use ops::compare::root::CompareRoot;
use ops::compare::{self, CompareJob};
use ops::walk::selection::Selection;
use posix::PosixStore;
use sched::engine::{self, Settings};
use sched::growth::Threads;
use sched::job::Listener;
use store::Store;
use store::faulty::{Faults, FaultyStore};
use store::opening::OpenAs;
use suite_tests::sandbox::Sandbox;
use types::error::{Cause, Failure, Side};
use types::outcome::event::Event;
use types::outcome::tally::Tally;

#[derive(Default)]
struct Ear(Vec<Failure>);

impl Listener<CompareJob<'_>> for Ear {
    fn event(&mut self, _from: Rank, event: Event) {
        if let Event::Failure(failure) = event {
            self.0.push(failure);
        }
    }

    fn progress(&mut self, _from: Rank, _snapshot: Tally) {}

    fn tick(&mut self) {}
}

/// Writes the same number of other bytes, and restores the modification time.
fn rewrite_unnoticed(path: &Path) {
    let before = std::fs::metadata(path).unwrap();
    let ctime = |metadata: &std::fs::Metadata| (metadata.ctime(), metadata.ctime_nsec());
    loop {
        let file = std::fs::File::options().write(true).open(path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"other", 0).unwrap();
        file.set_modified(before.modified().unwrap()).unwrap();
        let after = file.metadata().unwrap();
        assert_eq!((after.len(), after.mtime_nsec()), (before.len(), before.mtime_nsec()));
        // The clock of the file system may stand still for some milliseconds.
        if ctime(&after) != ctime(&before) {
            break;
        }
    }
}

fn opened(tree: &Path, faults: Faults) -> Box<dyn Store> {
    let store = PosixStore::open(tree.as_os_str().as_bytes(), OpenAs::default()).unwrap();
    Box::new(FaultyStore::new(store, Arc::new(faults)))
}

/// Compares two trees on that many ranks, with chunks of 100 bytes; the file `rewritten` of that
/// side changes once, when the first of the ranks reads it.
fn compare(ranks: u32, trees: [&Path; 2], rewritten: Option<Side>) -> (Tally, Vec<Failure>) {
    let options = compare_options();
    let once = Arc::new(Once::new());
    let outcomes = threads::run(ranks, |comm| {
        let rank = comm.rank();
        let open = |side: Side| {
            let tree = trees[side as usize];
            let path = tree.join("rewritten");
            let faults = Faults::new(0);
            let faults = if rewritten == Some(side) {
                let once = Arc::clone(&once);
                faults.meanwhile(b"rewritten", move || once.call_once(|| rewrite_unnoticed(&path)))
            } else {
                faults
            };
            opened(tree, faults)
        };
        let root = CompareRoot::of_stores(open(Side::Source), open(Side::Target));
        let selection = Selection::all();
        let job = CompareJob::new(&root, &options, &selection, None, rank);
        let first = compare::seed(&root).into();
        let seeds = if rank == Rank::ROOT { vec![first] } else { Vec::new() };
        let settings = Settings { threads: Threads::UpTo(2), cpu_share: 2.0 };
        let mut ear = Ear::default();
        engine::run(&job, seeds, &mut ear, &mut Mailbox::new(comm), settings);
        (job.tally(), ear.0)
    });
    let mut tally = Tally::default();
    for (of_rank, _) in &outcomes {
        tally.add(of_rank);
    }
    (tally, outcomes.into_iter().flat_map(|(_, failures)| failures).collect())
}

/// Returns two equal trees with one file that will be rewritten, and one that will not.
fn twins(size: usize) -> (Sandbox, [std::path::PathBuf; 2]) {
    let work = Sandbox::new();
    let trees = [work.source(), work.target()];
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    for tree in &trees {
        std::fs::create_dir(tree).unwrap();
        for name in ["rewritten", "left"] {
            std::fs::write(tree.join(name), vec![b'x'; size]).unwrap();
            let file = std::fs::File::options().write(true).open(tree.join(name)).unwrap();
            file.set_modified(time).unwrap();
        }
        std::fs::File::open(tree).unwrap().set_modified(time).unwrap();
    }
    (work, trees)
}

#[test]
fn a_file_rewritten_with_its_old_size_and_time_while_it_is_read_is_an_error() {
    for size in [50, 1000] {
        for ranks in [1, 3] {
            let (_work, [source, target]) = twins(size);
            let trees = [&*source, &*target];
            let (tally, failures) = compare(ranks, trees, None);
            assert_eq!((failures, tally.compared.same), (Vec::new(), 3));
            for side in [Side::Source, Side::Target] {
                let (_work, [source, target]) = twins(size);
                let (tally, failures) = compare(ranks, [&*source, &*target], Some(side));
                let seen: Vec<_> = failures
                    .iter()
                    .map(|failure| (failure.path.ends_with(b"/rewritten"), failure.error.cause))
                    .collect();
                assert_eq!(seen, [(true, Cause::Changed)], "{size} bytes, {side:?}");
                assert_eq!((tally.compared.same, tally.compared.different), (2, 0));
            }
        }
    }
}
