//! Random cases by number: a bounded part of them in every run, more on request.

use std::sync::atomic::{AtomicU64, Ordering};

use fastrand::Rng;

/// Threads that share the cases: the tools have threads of their own.
const THREADS: usize = 2;

/// Failures that are shown.
const SHOWN_MAX: usize = 20;

/// A directory for a case; where it is the only one, it stays for whoever wants to see it.
pub fn work() -> tempfile::TempDir {
    let mut work = crate::buckets::temp();
    work.disable_cleanup(number("SUITE_SEED").is_some());
    work
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Runs a case for each seed from 0, as many as `SUITE_SEEDS` says, or by default so many; or for one seed
/// alone, `SUITE_SEED`. Each says what is wrong.
///
/// # Panics
/// Where anything is wrong, with the seeds and what it is.
pub fn each(count: u64, case: impl Fn(&mut Rng) -> Vec<String> + Sync) {
    let alone = number("SUITE_SEED");
    let end = alone.map_or_else(|| number("SUITE_SEEDS").unwrap_or(count), |seed| seed + 1);
    let next = AtomicU64::new(alone.unwrap_or(0));
    let run = || {
        let mut wrong = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return wrong;
            }
            let found = case(&mut Rng::with_seed(seed));
            if !found.is_empty() {
                wrong.push((seed, found));
            }
        }
    };
    let mut wrong: Vec<(u64, Vec<String>)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(run)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    wrong.sort();
    let shown: Vec<String> = wrong
        .iter()
        .take(SHOWN_MAX)
        .map(|(seed, lines)| {
            format!(
                "seed {seed}:
  {}",
                lines.join(
                    "
  "
                )
            )
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {end} seeds:
{}",
        wrong.len(),
        shown.join(
            "
"
        )
    );
}
