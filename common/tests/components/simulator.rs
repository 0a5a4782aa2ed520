//! Tests of work stealing and termination under a virtual clock and a network that delays and
//! reorders: every task runs exactly once and the job ends, whatever the seed.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use comm::sim::{SimComm, SimNetwork};
use comm::{Comm, Rank};
use sched::frame::{Frame, Parcel};
use sched::reactor::{LocalWork, Reactor};

const WORKERS: usize = 2;

/// Shapes of the trees that tasks unfold into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Each node has 0 to 4 children, the first ones more than the last.
    Skewed,
    /// Each node has one child: no parallelism at all.
    Chain,
    /// One node with all others as children.
    Giant,
}

/// Counts of the tasks that were created and run, over all ranks.
struct Ledger {
    runs: Vec<u8>,
    budget: u64,
    random: fastrand::Rng,
    shape: Shape,
}

impl Ledger {
    fn create(&mut self) -> u64 {
        self.runs.push(0);
        self.runs.len() as u64 - 1
    }

    fn children(&mut self) -> u64 {
        let wanted = match self.shape {
            Shape::Skewed => self.random.u64(0..5).max(u64::from(self.runs.len() < 8)),
            Shape::Chain => 1,
            Shape::Giant => self.budget,
        };
        let granted = wanted.min(self.budget);
        self.budget -= granted;
        granted
    }
}

/// Threads and queue of one simulated rank.
struct SimWork<'l> {
    ledger: &'l RefCell<Ledger>,
    queue: VecDeque<u64>,
    idle_workers: usize,
    running: usize,
    /// Answers awaited from other ranks, as for the chunks of a file that this rank owns.
    held: usize,
    posted: u64,
    outbox: Vec<(Rank, Frame)>,
}

impl LocalWork for SimWork<'_> {
    fn has_idle_threads(&self) -> bool {
        self.idle_workers > 0
    }

    fn queued(&self) -> u32 {
        self.queue.len() as u32
    }

    fn is_passive(&self) -> bool {
        self.queue.is_empty() && self.running == 0 && self.held == 0
    }

    fn posted(&self) -> u64 {
        self.posted
    }

    fn give(&mut self, tasks: u32) -> Parcel {
        let count = self.queue.len().min(tasks as usize);
        let bytes = self.queue.drain(..count).flat_map(u64::to_le_bytes).collect();
        Parcel { count: count as u32, bytes }
    }

    fn divide(&mut self) {}

    fn take(&mut self, parcel: Parcel) {
        for task in parcel.bytes.chunks_exact(8) {
            self.queue.push_back(u64::from_le_bytes(task.try_into().expect("8 bytes")));
        }
    }

    /// Answers a question; an answer ends the hold that awaited it.
    fn message(&mut self, from: Rank, message: Vec<u8>) {
        if message == b"question" {
            self.post(from, Frame::Message(b"answer".to_vec()));
        } else {
            self.held -= 1;
        }
    }

    fn event(&mut self, _from: Rank, _event: Vec<u8>) {}

    fn progress(&mut self, _from: Rank, _snapshot: Vec<u8>) {}

    fn stop(&mut self) {}

    fn wants_stop(&self) -> bool {
        false
    }
}

impl SimWork<'_> {
    fn post(&mut self, to: Rank, frame: Frame) {
        self.posted += 1;
        self.outbox.push((to, frame));
    }

    /// Ends a task on one of the workers and queues its children; now and then it asks another rank
    /// a question and holds the job open until the answer arrives.
    fn finish_task(&mut self, task: u64, size: u32) {
        let ledger = &mut *self.ledger.borrow_mut();
        ledger.runs[task as usize] += 1;
        for _ in 0..ledger.children() {
            self.queue.push_back(ledger.create());
        }
        let asked = (ledger.random.u8(0..8) == 0).then(|| Rank(ledger.random.u32(0..size)));
        self.running -= 1;
        self.idle_workers += 1;
        if let Some(other) = asked {
            self.held += 1;
            self.post(other, Frame::Message(b"question".to_vec()));
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Wake,
    TaskEnds(u64),
}

struct SimJob<'l> {
    network: SimNetwork,
    comms: Vec<SimComm>,
    reactors: Vec<Reactor>,
    works: Vec<SimWork<'l>>,
    events: BinaryHeap<Reverse<(Duration, u32, Event)>>,
    random: fastrand::Rng,
    steps: u64,
    declared_done: bool,
}

impl<'l> SimJob<'l> {
    fn new(size: u32, seed: u64, ledger: &'l RefCell<Ledger>) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let delay_max = Duration::from_micros(random.u64(1..3000));
        let network = SimNetwork::new(size, seed, delay_max);
        let works = (0..size).map(|_| SimWork {
            ledger,
            queue: VecDeque::new(),
            idle_workers: WORKERS,
            running: 0,
            held: 0,
            posted: 0,
            outbox: Vec::new(),
        });
        Self {
            comms: (0..size).map(|rank| network.comm(Rank(rank))).collect(),
            reactors: (0..size).map(|rank| Reactor::new(Rank(rank), size, seed)).collect(),
            works: works.collect(),
            events: (0..size).map(|rank| Reverse((Duration::ZERO, rank, Event::Wake))).collect(),
            network,
            random,
            steps: 0,
            declared_done: false,
        }
    }

    /// Runs until every rank knows that the job is done.
    fn run(&mut self) {
        while let Some(Reverse((now, rank, event))) = self.events.pop() {
            self.steps += 1;
            assert!(self.steps < 50_000_000, "the job does not end");
            self.network.advance(now);
            let size = self.comms.len() as u32;
            if let Event::TaskEnds(task) = event {
                self.works[rank as usize].finish_task(task, size);
            }
            self.turn(now, rank);
            self.check_declaration(rank);
        }
    }

    /// Checks that all work is done when rank 0 says so: a later check would not notice a premature
    /// end.
    fn check_declaration(&mut self, rank: u32) {
        if rank == 0 && !self.declared_done && self.reactors[0].is_done() {
            self.declared_done = true;
            assert!(self.works.iter().all(SimWork::is_passive), "the end was declared too early");
        }
    }

    /// Does the work of the engine's main thread in one turn.
    fn turn(&mut self, now: Duration, rank: u32) {
        let at = rank as usize;
        let (reactor, work) = (&mut self.reactors[at], &mut self.works[at]);
        let mut out = Vec::new();
        while let Some((from, bytes)) = self.comms[at].try_recv() {
            let frame = Frame::decode(&bytes).expect("our own message");
            reactor.on(now, from, frame, work, &mut out);
        }
        while work.idle_workers > 0
            && let Some(task) = work.queue.pop_back()
        {
            work.idle_workers -= 1;
            work.running += 1;
            let ends = now + Duration::from_micros(self.random.u64(1..2000));
            self.events.push(Reverse((ends, rank, Event::TaskEnds(task))));
        }
        reactor.step(now, work, &mut out);
        out.append(&mut work.outbox);
        for (to, frame) in out {
            self.comms[at].send(to, frame.encode());
        }
        for (arrival, to) in self.network.take_arrivals() {
            self.events.push(Reverse((arrival, to.0, Event::Wake)));
        }
        self.schedule_next_look(now, rank);
    }

    /// Schedules the next turn of an idle rank, when it may ask for work; of rank 0 also for the
    /// next wave.
    fn schedule_next_look(&mut self, now: Duration, rank: u32) {
        let (reactor, work) = (&self.reactors[rank as usize], &self.works[rank as usize]);
        if reactor.is_done() {
            return;
        }
        let ask = reactor.ask_at(work);
        let wave = (rank == 0 && work.is_passive()).then(|| now + Duration::from_micros(100));
        if let Some(at) = ask.into_iter().chain(wave).min() {
            let at = at.max(now + Duration::from_micros(20));
            // One pending turn per rank is enough; duplicates would only repeat it.
            let known =
                self.events.peek().is_some_and(|Reverse(next)| *next == (at, rank, Event::Wake));
            if !known && self.comms.len() > 1 || rank == 0 {
                self.events.push(Reverse((at, rank, Event::Wake)));
            }
        }
    }
}

/// Runs one job and checks that each task ran once and all ranks ended.
fn simulate(size: u32, seed: u64, shape: Shape, tasks: u64) {
    let ledger = RefCell::new(Ledger {
        runs: Vec::new(),
        budget: tasks - 1,
        random: fastrand::Rng::with_seed(seed ^ 0x5eed),
        shape,
    });
    let mut job = SimJob::new(size, seed, &ledger);
    let first = ledger.borrow_mut().create();
    let start = fastrand::Rng::with_seed(seed).u32(0..size);
    job.works[start as usize].queue.push_back(first);
    job.run();

    let context = format!("{size} ranks, seed {seed}, {shape:?}");
    assert!(job.reactors.iter().all(Reactor::is_done), "{context}: a rank did not end");
    assert!(job.works.iter().all(SimWork::is_passive), "{context}: work is left");
    let runs = &ledger.borrow().runs;
    assert!(runs.iter().all(|times| *times == 1), "{context}: a task ran twice or never");
    if shape != Shape::Skewed {
        assert_eq!(runs.len() as u64, tasks, "{context}");
    }
    if shape == Shape::Giant && size > 1 && tasks > 50 * u64::from(size) {
        let took_part =
            job.reactors.iter().filter(|reactor| reactor.counters().steals_succeeded > 0).count();
        assert!(took_part as u32 >= size - 1 - size / 4, "{context}: {took_part} ranks took part");
    }
}

fn shape_of(seed: u64) -> Shape {
    match seed % 4 {
        0 => Shape::Chain,
        1 => Shape::Giant,
        _ => Shape::Skewed,
    }
}

#[test]
fn ten_thousand_seeds_over_2_to_64_ranks() {
    for seed in 0..10_000_u64 {
        let size = 2 + (seed.wrapping_mul(2_654_435_761) >> 7) as u32 % 63;
        let tasks = if shape_of(seed) == Shape::Chain { 25 } else { 200 };
        simulate(size, seed, shape_of(seed), tasks);
    }
}

#[test]
fn a_rank_alone_ends_too() {
    for seed in 0..50 {
        simulate(1, seed, shape_of(seed), 100);
    }
}

#[test]
fn one_giant_directory_spreads_over_all_ranks() {
    for seed in 0..20 {
        simulate(16, seed, Shape::Giant, 4_000);
    }
}

#[test]
fn some_seeds_at_4096_ranks() {
    for (seed, shape) in [(1, Shape::Skewed), (2, Shape::Giant), (3, Shape::Chain)] {
        let tasks = if shape == Shape::Chain { 20 } else { 30_000 };
        simulate(4096, seed, shape, tasks);
    }
}
