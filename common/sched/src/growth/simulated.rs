//! A server and the ranks that use it, simulated: each rank has a [`Growth`], or a fixed number of
//! threads, and every thread does one operation after the other.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use fastrand::Rng;
use host::process::Usage;

use super::{Advice, Growth, PoolState, Site, Threads};

/// Server that does a number of operations at a time, and queues the others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Server {
    pub at_a_time: u32,
    pub takes: Duration,
    /// Time on the network, during which the server does others.
    pub on_the_way: Duration,
    /// True where the time varies as widely as a whole, exponentially.
    pub varies: bool,
    /// Operations in its queue beyond which all take longer.
    pub overloaded_beyond: Option<u32>,
    /// Operations in progress that make all take half as long again: they share something, little
    /// by little.
    pub slower_by: Option<u32>,
}

/// Use of the server.
#[derive(Debug, Clone)]
pub(super) struct Scene {
    pub ranks: u32,
    pub cpu_share: f64,
    pub server: Server,
    /// The server from a moment on.
    pub later: Option<(Duration, Server)>,
    /// Threads of another job.
    pub others: u32,
    /// Time that a thread computes after an operation.
    pub computes: Duration,
    pub lasts: Duration,
    /// Time that is not part of the result.
    pub warm_up: Duration,
    /// Interval at which main threads look.
    pub turn: Duration,
}

/// Measurements of a scene after its warm-up.
#[derive(Debug, Default, Clone)]
pub(super) struct Result {
    /// Operations per second of the ranks.
    pub rate: f64,
    /// Operations of the ranks in progress, on average.
    pub in_flight: f64,
    /// The most of them at any time.
    pub in_flight_max: u32,
    /// Operations per second of the other job.
    pub others: f64,
    /// Number of threads of rank 0 at all times at which it grew beyond what it had.
    pub grown: Vec<(Duration, u32)>,
}

impl Result {
    /// Returns the seconds that an operation takes, also one of somebody else.
    pub fn latency(&self) -> f64 {
        self.in_flight / self.rate
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Client {
    Rank(u32),
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Sent(Client),
    Served(Client),
    Answered(Client),
    Turn(u32),
}

#[derive(Debug)]
struct SimRank {
    growth: Growth,
    threads: u32,
    working: u32,
    usage: Usage,
}

#[derive(Debug)]
struct Simulation<'s> {
    scene: &'s Scene,
    server: Server,
    is_fixed: bool,
    random: Rng,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    events_ever: u64,
    now: Duration,
    ranks: Vec<SimRank>,
    queue: VecDeque<Client>,
    served: u32,
    in_flight: u32,
    done: (u32, u32),
    in_flight_time: Duration,
    result: Result,
}

/// Runs a scene with a fixed number of threads of each rank.
pub(super) fn with_fixed(scene: &Scene, threads: u32) -> Result {
    Simulation::new(scene, Some(threads)).run()
}

/// Runs a scene whose ranks choose their numbers of threads.
pub(super) fn with_growth(scene: &Scene) -> Result {
    Simulation::new(scene, None).run()
}

impl<'s> Simulation<'s> {
    fn new(scene: &'s Scene, fixed: Option<u32>) -> Self {
        let rank = |rank| {
            let (cpu_share, ranks) = (scene.cpu_share, scene.ranks);
            let growth = Growth::new(Site { threads: Threads::UpTo(32), cpu_share, rank, ranks });
            let threads = fixed.unwrap_or(growth.first());
            SimRank { growth, threads, working: 0, usage: Usage::default() }
        };
        let mut new = Self {
            scene,
            server: scene.server,
            is_fixed: fixed.is_some(),
            random: Rng::with_seed(7),
            events: BinaryHeap::new(),
            events_ever: 0,
            now: Duration::ZERO,
            ranks: (0..scene.ranks).map(rank).collect(),
            queue: VecDeque::new(),
            served: 0,
            in_flight: 0,
            done: (0, 0),
            in_flight_time: Duration::ZERO,
            result: Result::default(),
        };
        for rank in 0..scene.ranks {
            new.start_threads(rank);
            let turn = new.vary(scene.turn);
            new.after(turn, Event::Turn(rank));
        }
        for _ in 0..scene.others {
            new.after(Duration::ZERO, Event::Sent(Client::Other));
        }
        new
    }

    fn after(&mut self, time: Duration, event: Event) {
        self.events_ever += 1;
        self.events.push(Reverse((self.now + time, self.events_ever, event)));
    }

    /// Returns about that time.
    fn vary(&mut self, time: Duration) -> Duration {
        time.mul_f64(0.8 + 0.4 * self.random.f64())
    }

    fn run(mut self) -> Result {
        while let Some(Reverse((at, _, event))) = self.events.pop()
            && at < self.scene.lasts
        {
            let counted = at.saturating_sub(self.now.max(self.scene.warm_up));
            self.in_flight_time += counted * self.in_flight;
            self.now = at;
            if let Some((_, later)) = self.scene.later.filter(|(begins, _)| at >= *begins) {
                self.server = later;
            }
            match event {
                Event::Sent(client) => self.sent(client),
                Event::Served(client) => self.served(client),
                Event::Answered(client) => self.answered(client),
                Event::Turn(rank) => self.turn(rank),
            }
        }
        let seconds = self.scene.lasts.saturating_sub(self.scene.warm_up).as_secs_f64();
        Result {
            rate: f64::from(self.done.0) / seconds,
            others: f64::from(self.done.1) / seconds,
            in_flight: self.in_flight_time.as_secs_f64() / seconds,
            ..self.result
        }
    }

    fn sent(&mut self, client: Client) {
        self.in_flight += u32::from(client != Client::Other);
        self.result.in_flight_max = self.result.in_flight_max.max(self.in_flight);
        self.queue.push_back(client);
        self.serve();
    }

    fn serve(&mut self) {
        while self.served < self.server.at_a_time
            && let Some(client) = self.queue.pop_front()
        {
            self.served += 1;
            let mut takes = self.server.takes.mul_f64(if self.server.varies {
                -(1.0 - self.random.f64()).ln()
            } else {
                0.9 + 0.2 * self.random.f64()
            });
            if let Some(most) = self.server.overloaded_beyond {
                takes = takes.mul_f64((f64::from(self.in_flight) / f64::from(most)).max(1.0));
            }
            if let Some(half) = self.server.slower_by {
                takes = takes.mul_f64(1.0 + 0.5 * f64::from(self.in_flight) / f64::from(half));
            }
            self.after(takes, Event::Served(client));
        }
    }

    fn served(&mut self, client: Client) {
        self.served -= 1;
        let on_the_way = self.vary(self.server.on_the_way);
        self.after(on_the_way, Event::Answered(client));
        self.serve();
    }

    fn answered(&mut self, client: Client) {
        let counts = self.now >= self.scene.warm_up;
        match client {
            Client::Rank(number) => {
                self.in_flight -= 1;
                self.done.0 += u32::from(counts);
                let rank = &mut self.ranks[number as usize];
                rank.usage.cpu += self.scene.computes;
                // Also a thread that parks waits.
                rank.usage.waits += 1;
                if rank.working > rank.threads {
                    rank.working -= 1;
                } else {
                    self.after(self.scene.computes, Event::Sent(client));
                }
            }
            Client::Other => {
                self.done.1 += u32::from(counts);
                self.after(Duration::ZERO, Event::Sent(client));
            }
        }
    }

    fn start_threads(&mut self, number: u32) {
        let rank = &mut self.ranks[number as usize];
        let more = rank.threads.saturating_sub(rank.working);
        rank.working += more;
        rank.usage.waits += u64::from(more);
        for _ in 0..more {
            let soon = Duration::from_micros(self.random.u64(0..50));
            self.after(soon, Event::Sent(Client::Rank(number)));
        }
    }

    fn turn(&mut self, number: u32) {
        if self.is_fixed {
            return;
        }
        let turn = self.vary(self.scene.turn);
        self.after(turn, Event::Turn(number));
        let rank = &mut self.ranks[number as usize];
        let (threads, usage) = (rank.threads, rank.usage);
        let state = PoolState { threads, idle: 0, queued: 1000, large_transfers: 0 };
        if let Advice::Use(threads) = rank.growth.advise(self.now, state, || usage) {
            rank.threads = threads;
            let most = self.result.grown.last().map_or(0, |(_, most)| *most);
            if number == 0 && threads > most {
                self.result.grown.push((self.now, threads));
            }
            self.start_threads(number);
        }
    }
}
