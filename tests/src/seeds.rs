//! Random cases by number: a bounded part of them in every run, more on request.

use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::sandbox::Sandbox;
use fastrand::Rng;

/// Number of threads that share the cases: the tools have threads of their own.
const THREADS: usize = 2;

/// Largest number of failures that are shown.
const SHOWN_MAX: usize = 20;

/// Creates a directory for a case; where it is the only case, the directory stays for inspection.
pub fn work() -> Sandbox {
    Sandbox::new().kept_if(is_alone())
}

/// Creates a directory for a case on a disk, as [`work`] does in memory.
pub fn work_on_disk() -> Sandbox {
    Sandbox::on_disk().kept_if(is_alone())
}

/// Returns true where only one seed is run.
pub fn is_alone() -> bool {
    alone().is_some()
}

fn alone() -> Option<u64> {
    std::env::var("SUITE_SEED").ok().map(|text| text.parse().unwrap())
}

/// Returns the seeds to run: one with `SUITE_SEED`; with `SUITE_SEEDS` that many or, as in
/// `500..1000`, a range.
fn seeds(count: u64) -> Range<u64> {
    match (alone(), std::env::var("SUITE_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, Ok(text)) => range(&text),
        (None, Err(_)) => 0..count,
    }
}

fn range(text: &str) -> Range<u64> {
    let (from, to) = text.split_once("..").unwrap_or(("0", text));
    from.parse().unwrap()..to.parse().unwrap()
}

/// Runs a case for each seed from 0, as many as `SUITE_SEEDS` says, or `count` by default; or only
/// for the seed `SUITE_SEED`. Each returns its faults; one that panics is a fault, and the others
/// go on.
///
/// # Panics
/// Where anything is wrong, with the seeds and what it is.
pub fn each(count: u64, case: impl Fn(&mut Rng) -> Vec<String> + Sync) {
    let seeds = seeds(count);
    let next = AtomicU64::new(seeds.start);
    let run = || {
        let mine = std::iter::from_fn(|| {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            (seed < seeds.end).then(|| (seed, wrong(seed, &case)))
        });
        mine.filter(|(_, lines)| !lines.is_empty()).collect::<Vec<_>>()
    };
    let mut wrong: Vec<(u64, Vec<String>)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(run)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    wrong.sort();
    let shown: Vec<String> = wrong
        .iter()
        .take(SHOWN_MAX)
        .map(|(seed, lines)| format!("seed {seed}:\n  {}", lines.join("\n  ")))
        .collect();
    assert!(wrong.is_empty(), "{} of seeds {seeds:?}:\n{}", wrong.len(), shown.join("\n"));
}

fn wrong(seed: u64, case: impl Fn(&mut Rng) -> Vec<String>) -> Vec<String> {
    let ended = catch_unwind(AssertUnwindSafe(|| case(&mut Rng::with_seed(seed))));
    ended.unwrap_or_else(|panic| vec![format!("panicked: {}", message(&*panic))])
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_so_many_or_a_range() {
        assert_eq!((range("7"), range("500..1000")), (0..7, 500..1000));
    }

    #[test]
    fn a_case_that_panics_is_wrong() {
        let found = wrong(3, |random| panic!("at {}", random.u8(..1)));
        assert_eq!(found, ["panicked: at 0"]);
        assert!(wrong(3, |_| Vec::new()).is_empty());
    }
}
