//! Tests of the real engine with real threads, over ranks that are threads of this process.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use comm::mailbox::Mailbox;
use comm::{Comm, Rank, threads};
use sched::context::TaskContext;
use sched::counters::Counters;
use sched::engine::{self, Settings};
use sched::growth::Threads;
use sched::job::{Job, Listener};

/// A task: how many levels are below it, and how long it sleeps.
type Task = (u32, u64);

/// Unfolds a tree of tasks: each has `fanout` children one level down.
struct TreeJob {
    fanout: u32,
    runs: AtomicU64,
    discarded: AtomicU64,
    stop_after: u64,
    panic_at: Option<u64>,
    answers: AtomicU64,
}

impl TreeJob {
    fn new(fanout: u32) -> Self {
        Self {
            fanout,
            runs: AtomicU64::new(0),
            discarded: AtomicU64::new(0),
            stop_after: u64::MAX,
            panic_at: None,
            answers: AtomicU64::new(0),
        }
    }
}

impl Job for TreeJob {
    type Task = Task;
    /// Question (true) or answer (false).
    type Message = bool;
    type Event = u64;
    type Snapshot = u64;
    type Worker = u64;

    fn worker(&self) -> u64 {
        0
    }

    fn run(&self, (below, sleep_ms): Task, worker: &mut u64, context: &TaskContext<'_, Self>) {
        let run = self.runs.fetch_add(1, Ordering::SeqCst) + 1;
        *worker += 1;
        assert_ne!(Some(run), self.panic_at, "the test's own panic");
        std::thread::sleep(Duration::from_millis(sleep_ms));
        if run == self.stop_after {
            context.stop_job();
        }
        if below > 0 {
            for _ in 0..self.fanout {
                context.push((below - 1, sleep_ms));
            }
        }
        if run.is_multiple_of(16) {
            context.hold();
            context.write_to(Rank(context.rank().0 ^ 1), &true);
        }
    }

    fn discard(&self, _task: Task, _worker: &mut u64, _context: &TaskContext<'_, Self>) {
        self.discarded.fetch_add(1, Ordering::SeqCst);
    }

    fn flush(&self, worker: &mut u64, context: &TaskContext<'_, Self>) {
        context.report(&std::mem::take(worker));
    }

    fn message(&self, from: Rank, is_question: bool, context: &TaskContext<'_, Self>) {
        if is_question {
            context.write_to(from, &false);
        } else {
            self.answers.fetch_add(1, Ordering::SeqCst);
            context.release();
        }
    }

    fn snapshot(&self) -> u64 {
        self.runs.load(Ordering::SeqCst)
    }
}

/// Sums up the events of the ranks.
#[derive(Default)]
struct Sum(u64);

impl Listener<TreeJob> for Sum {
    fn event(&mut self, _from: Rank, runs: u64) {
        self.0 += runs;
    }

    fn progress(&mut self, _from: Rank, _snapshot: u64) {}

    fn tick(&mut self) {}
}

/// Runs a job on an even number of ranks; returns runs by rank, the events of rank 0, and counters.
fn run(ranks: u32, threads_max: u32, job: impl Fn() -> TreeJob + Sync, seed: Task) -> Outcome {
    let outcomes = threads::run(ranks, |comm| {
        let is_root = comm.rank() == Rank::ROOT;
        let mail = &mut Mailbox::new(comm);
        let job = job();
        let mut sum = Sum::default();
        let seeds = if is_root { vec![seed] } else { Vec::new() };
        let settings =
            Settings { threads: Threads::UpTo(threads_max), cpu_share: f64::from(threads_max) };
        let counters = engine::run(&job, seeds, &mut sum, mail, settings);
        let runs = job.runs.load(Ordering::SeqCst);
        (runs, job.discarded.load(Ordering::SeqCst), sum.0, counters)
    });
    Outcome {
        runs: outcomes.iter().map(|outcome| outcome.0).collect(),
        discarded: outcomes.iter().map(|outcome| outcome.1).sum(),
        heard: outcomes[0].2,
        counters: outcomes.iter().map(|outcome| outcome.3).collect(),
    }
}

struct Outcome {
    runs: Vec<u64>,
    discarded: u64,
    heard: u64,
    counters: Vec<Counters>,
}

#[test]
fn every_task_runs_once_on_some_rank_and_rank_0_hears_of_all() {
    for ranks in [2, 4, 8] {
        for repeat in 0..20 {
            let outcome = run(ranks, 3, || TreeJob::new(4), (5, 0));
            let tasks: u64 = (0..=5).map(|level| 4_u64.pow(level)).sum();
            let context = format!("{ranks} ranks, run {repeat}");
            assert_eq!(outcome.runs.iter().sum::<u64>(), tasks, "{context}");
            assert_eq!(outcome.heard, tasks, "{context}: a notice was lost");
            let counted: u64 = outcome.counters.iter().map(|counters| counters.tasks_run).sum();
            assert_eq!(counted, tasks, "{context}");
            let given: u64 = outcome.counters.iter().map(|counters| counters.tasks_granted).sum();
            let stolen: u64 = outcome.counters.iter().map(|counters| counters.tasks_stolen).sum();
            assert_eq!(given, stolen, "{context}");
        }
    }
}

#[test]
fn work_that_waits_spreads_over_all_ranks() {
    // 585 tasks of 2 ms on 4 ranks of 2 threads.
    let outcome = run(4, 2, || TreeJob::new(8), (3, 2));
    let tasks: u64 = outcome.runs.iter().sum();
    assert_eq!(tasks, 585);
    for (rank, runs) in outcome.runs.iter().enumerate() {
        assert!(*runs > tasks / 10, "rank {rank} ran {runs} of {tasks}");
    }
}

#[test]
fn a_rank_whose_threads_are_stuck_still_gives_its_tasks_away() {
    // Rank 0's only thread sleeps 400 ms in each task; four ranks share the 9 tasks.
    let outcome = run(4, 1, || TreeJob::new(8), (1, 400));
    assert_eq!(outcome.runs.iter().sum::<u64>(), 9);
    assert!(outcome.runs[0] <= 4, "rank 0 kept {} tasks to itself", outcome.runs[0]);
}

#[test]
fn a_stopped_job_gives_up_what_has_not_begun_and_ends() {
    let stopping = || TreeJob { stop_after: 50, ..TreeJob::new(4) };
    let outcome = run(4, 2, stopping, (7, 1));
    let tasks: u64 = (0..=7).map(|level| 4_u64.pow(level)).sum();
    assert!(outcome.discarded > 0);
    assert!(outcome.runs.iter().sum::<u64>() < tasks / 2);
}

#[test]
fn a_panic_in_a_thread_ends_all_ranks() {
    let first = Mutex::new(true);
    let outcome = std::panic::catch_unwind(|| {
        run(
            4,
            2,
            || {
                let mut first = first.lock().unwrap();
                let panics = std::mem::take(&mut *first);
                TreeJob { panic_at: panics.then_some(5), ..TreeJob::new(8) }
            },
            (4, 1),
        )
    });
    assert!(outcome.is_err(), "the job must not end well");
}
