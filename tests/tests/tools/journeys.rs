//! Tests of the law of running again: whatever happens to the runs of a command line and between
//! them, when it has ended with 0 the tree is the one that a single undisturbed run makes, and
//! nothing of any of the runs is left. `SUITE_SEEDS` tells how many journeys there are.

use suite_tests::buckets::served;
use suite_tests::journey::{self, Change, Ranks, Way};
use suite_tests::object_server::Behaviour;
use suite_tests::{need_root, seeds};

#[test]
fn on_ranks_that_are_threads() {
    need_root!();
    seeds::each(60, |random| journey::go(random, Ranks::Threads, Way::Files, &Change::ALL));
}

#[test]
fn on_ranks_that_are_processes() {
    need_root!();
    seeds::each(18, |random| journey::go(random, Ranks::Processes, Way::Files, &Change::ALL));
}

#[test]
fn into_objects() {
    need_root!();
    let server = served(Behaviour::default());
    seeds::each(8, |random| {
        let ranks = *random.choice(&[Ranks::Threads, Ranks::Processes]).unwrap();
        journey::go(random, ranks, Way::ToObjects(&server), &Change::ALL)
    });
}

#[test]
fn within_objects() {
    need_root!();
    let server = served(Behaviour::default());
    seeds::each(6, |random| {
        let ranks = *random.choice(&[Ranks::Threads, Ranks::Processes]).unwrap();
        journey::go(random, ranks, Way::BetweenObjects(&server), &Change::ALL)
    });
}

#[test]
fn out_of_objects() {
    need_root!();
    let server = served(Behaviour::default());
    seeds::each(8, |random| {
        let ranks = *random.choice(&[Ranks::Threads, Ranks::Processes]).unwrap();
        journey::go(random, ranks, Way::FromObjects(&server), &Change::ALL)
    });
}
