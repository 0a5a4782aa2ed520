//! Number of messages that whole jobs take with trees on another host: none of them waits for a
//! round trip for each small file.

use std::path::Path;
use std::sync::Arc;

use super::{requests, tree, whole_host};
use crate::copies::{copy_with, options};
use crate::runs::compare_options;
use comm::mailbox::Mailbox;
use comm::{Rank, threads};
use ops::compare::options::CompareOptions;
use ops::compare::root::CompareRoot;
use ops::compare::{self, CompareJob};
use ops::copy::options::CopyOptions;
use ops::walk::selection::Selection;
use posix::PosixStore;
use remote::host::Host;
use remote::store::RemoteStore;
use sched::engine::{self, Settings};
use sched::growth::Threads;
use sched::job::Listener;
use store::Store;
use store::opening::OpenAs;
use types::outcome::difference::Fields;
use types::outcome::event::Event;
use types::outcome::tally::Tally;

const FILES: usize = 200;

/// Messages for the directories and for all files: batches are divided while threads are idle, so
/// that not all of them are full.
const MESSAGES_MAX: u64 = FILES as u64 / 5;

/// Creates a tree with a directory of many small files.
fn many_small_files(at: &Path) {
    std::fs::create_dir(at.join("dir")).unwrap();
    for number in 0..FILES {
        std::fs::write(at.join("dir").join(number.to_string()), number.to_string()).unwrap();
    }
}

fn opened(host: &Arc<Host>, at: &Path) -> Box<dyn Store> {
    let path = at.as_os_str().as_encoded_bytes();
    Box::new(RemoteStore::open(host, path, OpenAs::default()).unwrap())
}

fn here(at: &Path) -> Box<dyn Store> {
    Box::new(PosixStore::open(at.as_os_str().as_encoded_bytes(), OpenAs::default()).unwrap())
}

fn whole_files() -> CopyOptions {
    CopyOptions { chunk_bytes: 1 << 20, buffer_bytes: 1 << 20, ..options() }
}

#[test]
fn small_files_are_copied_by_few_messages_in_both_directions() {
    let host = whole_host();
    let work = tempfile::tempdir().unwrap();
    many_small_files(work.path());
    for is_push in [true, false] {
        let (at, _) = tree(&host);
        let there = |path: &Path, is_remote| {
            if is_remote { opened(&host, path) } else { here(path) }
        };
        let source = || there(work.path(), !is_push);
        let target = || there(at.path(), is_push);
        let sent = requests(&host, || {
            let copied = copy_with(1, &source, &target, &whole_files());
            assert_eq!(copied.failures, []);
            assert_eq!(copied.tally.copied.files, FILES as u64);
        });
        assert!(sent <= MESSAGES_MAX, "{sent} messages, is_push: {is_push}");
        for number in 0..FILES {
            let content = std::fs::read_to_string(at.path().join(format!("dir/{number}")));
            assert_eq!(content.unwrap(), number.to_string());
        }
    }
}

struct Deaf;

impl Listener<CompareJob<'_>> for Deaf {
    fn event(&mut self, _from: Rank, event: Event) {
        if let Event::Failure(failure) = event {
            panic!("{failure:?}");
        }
    }

    fn progress(&mut self, _from: Rank, _snapshot: Tally) {}

    fn tick(&mut self) {}
}

#[test]
fn small_files_are_compared_by_few_messages() {
    let host = whole_host();
    let [source, target] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    for tree in [&source, &target] {
        many_small_files(tree.path());
    }
    std::fs::write(target.path().join("dir/7"), "8").unwrap();
    let options =
        CompareOptions { chunk_bytes: 1 << 20, buffer_bytes: 1 << 20, ..compare_options() };
    let sent = requests(&host, || {
        let tallies = threads::run(1, |comm| {
            let root = CompareRoot::of_stores(here(source.path()), opened(&host, target.path()));
            let selection = Selection::all();
            let job = CompareJob::new(&root, &options, &selection, None, Rank::ROOT);
            let settings = Settings { threads: Threads::UpTo(2), cpu_share: 2.0 };
            let seeds = vec![compare::seed(&root).into()];
            engine::run(&job, seeds, &mut Deaf, &mut Mailbox::new(comm), settings);
            job.tally()
        });
        let compared = tallies[0].compared;
        assert_eq!(compared.differing_in(Fields::CONTENT), 1);
        assert_eq!(compared.checksum.files, FILES as u64);
    });
    assert!(sent <= MESSAGES_MAX, "{sent} messages");
}
