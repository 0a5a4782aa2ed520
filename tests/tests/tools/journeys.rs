//! The law of running again: whatever happens to the runs of a command line and between them, when it has ended
//! with 0 the tree is the one that a single undisturbed run makes, and nothing of any of the runs is left.
//! `SUITE_SEEDS` says how many journeys there are.

use suite_tests::buckets::served;
use suite_tests::journey::{self, Change, Ranks, Way};
use suite_tests::object_server::Behaviour;
use suite_tests::seeds;

/// What may happen between two runs.
const CHANGES: [Change; 8] = [
    Change::Rewrite,
    Change::Append,
    Change::Touch,
    Change::Rename,
    Change::Delete,
    Change::Add,
    Change::Lose,
    Change::CutOff,
];

#[test]
fn on_ranks_that_are_threads() {
    seeds::each(55, |random| journey::go(random, Ranks::Threads, Way::Files, &CHANGES));
}

#[test]
fn on_ranks_that_are_processes() {
    seeds::each(25, |random| journey::go(random, Ranks::Processes, Way::Files, &CHANGES));
}

#[test]
fn into_objects() {
    let server = served(Behaviour::default());
    seeds::each(10, |random| {
        let ranks = *random.choice(&[Ranks::Threads, Ranks::Processes]).unwrap();
        journey::go(random, ranks, Way::ToObjects(&server), &CHANGES)
    });
}

#[test]
fn out_of_objects() {
    let server = served(Behaviour::default());
    seeds::each(10, |random| {
        let ranks = *random.choice(&[Ranks::Threads, Ranks::Processes]).unwrap();
        journey::go(random, ranks, Way::FromObjects(&server), &CHANGES)
    });
}
