//! Engine: runs a [`Job`] on this rank, together with all others, until all its work is done.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_deque::Worker;
use serde::de::DeserializeOwned;

use super::context::TaskContext;
use super::counters::Counters;
use super::frame::{Frame, Parcel, encode};
use super::growth::{self, Advice, Growth, Site, Threads};
use super::job::{Finding, Job, Listener};
use super::pool::Pool;
use super::rates::RateSharing;
use super::reactor::{LocalWork, Reactor};
use comm::Rank;
use comm::mailbox::{Channel, Mailbox, Nap};
use host::process::{
    Usage, address_space_left, limits_of_threads, usage_of_process, usage_of_thread,
};
use host::throttle;
use host::transfers::LargeTransfer;
use host::{bug, interrupt};
use types::exit::Exit;
use types::limits;

/// Resources of this rank that the engine uses.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Number of I/O threads.
    pub threads: Threads,
    /// Number of processors that this rank may use; below 1 where ranks outnumber processors.
    pub cpu_share: f64,
}

/// Runs `job` from `seeds` (this rank's first tasks) to the end of the whole job, which all ranks
/// reach together. Rank 0's `listener` receives the events of all ranks.
///
/// A panic of any thread aborts the job on all ranks with [`Exit::Bug`].
pub fn run<J: Job>(
    job: &J,
    seeds: Vec<J::Task>,
    listener: &mut dyn Listener<J>,
    mail: &mut Mailbox<'_>,
    settings: Settings,
) -> Counters {
    interrupt::work_begins();
    let _limited = throttle::work_begins();
    let began = Instant::now();
    let cpu_before = usage_of_process().cpu;
    let (pool, workers) = Pool::new(settings.threads.max());
    let (rank, size) = (mail.comm().rank(), mail.comm().size());
    let context = TaskContext::<J> { pool: &pool, own: None, rank };
    for seed in seeds {
        context.push(seed);
    }
    let mut funnel = MainThread {
        channel: mail.open(),
        local: Local { job, pool: &pool, listener, mail, rank, undecodable: false },
        reactor: Reactor::new(rank, size, fastrand::u64(..)),
        growth: Growth::new(Site {
            threads: settings.threads,
            cpu_share: settings.cpu_share,
            rank: rank.0,
            ranks: size,
        }),
        began,
        clock_at_begin: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        reported_at: Duration::ZERO,
        rates: RateSharing::new(rank, size),
        started: 0,
        level: Level::default(),
        out: Vec::new(),
    };
    std::thread::scope(|scope| {
        let mut workers = workers.into_iter();
        let mut has_any = false;
        let mut start = |count: u32| -> u32 {
            let mut started = 0;
            while started < count
                && (!has_any || has_room_for_a_thread())
                && let Some(worker) = workers.next()
            {
                let pool = &pool;
                let thread = std::thread::Builder::new()
                    .name(format!("io-{}", rank.0))
                    .stack_size(limits::THREAD_STACK_BYTES)
                    .spawn_scoped(scope, move || work(job, pool, &worker, rank));
                if let Err(error) = thread {
                    tracing::debug!(%error, "no more threads may be started here");
                    break;
                }
                has_any = true;
                started += 1;
            }
            started
        };
        // Also when this thread unwinds: the scope waits for the others.
        let _end = EndOnDrop(&pool);
        funnel.run_to_end(&mut start);
    });
    Counters {
        tasks_run: pool.tasks_run.load(Ordering::Relaxed),
        idle_ns: pool.idle_ns.load(Ordering::Relaxed),
        threads: u64::from(funnel.growth.knee().unwrap_or(funnel.level.threads)),
        threads_most: u64::from(funnel.level.most),
        thread_ns: funnel.level.thread_ns(began.elapsed()),
        wall_ns: began.elapsed().as_nanos() as u64,
        cpu_ns: usage_of_process().cpu.saturating_sub(cpu_before).as_nanos() as u64,
        ..funnel.reactor.counters()
    }
}

/// Returns true where another thread can be expected to get the memory it needs: where it cannot,
/// the process would be aborted.
fn has_room_for_a_thread() -> bool {
    address_space_left().is_none_or(|left| left >= limits::ADDRESS_SPACE_OF_THREADS_BYTES_MIN)
}

/// Guard that ends a pool's threads when the main thread leaves, by a panic too.
struct EndOnDrop<'p, T>(&'p Pool<T>);

impl<T> Drop for EndOnDrop<'_, T> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Runs an I/O thread, from its start to its end.
fn work<J: Job>(job: &J, pool: &Pool<J::Task>, own: &Worker<J::Task>, rank: Rank) {
    let context = TaskContext { pool, own: Some(own), rank };
    pool.starts_to_work();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut worker = job.worker();
        loop {
            while !pool.is_crowded()
                && let Some(task) = pool.find(own)
            {
                // Until what this thread gathered is flushed, the rank is not passive.
                pool.hold();
                context.run(job, task, &mut worker);
                while !pool.is_crowded()
                    && let Some(task) = pool.find(own)
                {
                    context.run(job, task, &mut worker);
                }
                job.flush(&mut worker, &context);
                pool.release();
            }
            if !pool.sleep_until_work() {
                break;
            }
        }
    }));
    if outcome.is_err() {
        pool.tell_of_panic();
    }
}

/// Main thread of a rank: the only one that sends and receives messages.
struct MainThread<'m, 'c, J: Job> {
    channel: Channel,
    local: Local<'m, 'c, J>,
    reactor: Reactor,
    growth: Growth,
    began: Instant,
    reported_at: Duration,
    rates: RateSharing,
    /// Time of the node's clock when the engine began.
    clock_at_begin: Duration,
    /// Threads that exist.
    started: u32,
    level: Level,
    out: Vec<(Rank, Frame)>,
}

/// Number of threads that may work, in the course of the job.
#[derive(Debug, Default)]
struct Level {
    threads: u32,
    most: u32,
    since: Duration,
    earlier_ns: u64,
}

impl Level {
    fn set(&mut self, now: Duration, threads: u32) {
        self.earlier_ns = self.thread_ns(now);
        self.since = now;
        self.threads = threads;
        self.most = self.most.max(threads);
    }

    /// Returns the time that threads might have worked, summed.
    fn thread_ns(&self, now: Duration) -> u64 {
        let last = now.saturating_sub(self.since).as_nanos() as u64;
        self.earlier_ns + last * u64::from(self.threads)
    }
}

impl<J: Job> MainThread<'_, '_, J> {
    fn run_to_end(&mut self, start: &mut impl FnMut(u32) -> u32) {
        self.start_first(start);
        let mut nap = Nap::new();
        while !self.reactor.is_done() {
            if self.local.pool.has_panicked() || bug::has_panicked() || self.local.undecodable {
                self.local.mail.comm().abort(Exit::Bug);
            }
            self.leave_in_time();
            let busy = self.turn();
            self.grow(start);
            if busy {
                nap.reset();
            }
            if !self.reactor.is_done() {
                std::thread::park_timeout(nap.next_nap());
            }
        }
    }

    /// Aborts the job where an interrupted operation does not end in time. It may hang, for
    /// instance in an unresponsive file system, and must not be waited for until the batch system
    /// kills.
    fn leave_in_time(&mut self) {
        if interrupt::wanted_for().is_some_and(|time| time > limits::INTERRUPT_WAIT_MAX) {
            tracing::error!("interrupted: operations in progress do not end, and are abandoned");
            self.local.mail.comm().abort(Exit::Interrupted);
        }
    }

    /// Starts the first thread. A thread of the previous phase may still count against a limit for
    /// a moment.
    fn start_first(&mut self, start: &mut impl FnMut(u32) -> u32) {
        let mut tries = 0;
        while self.started == 0 {
            let first = self.growth.first();
            self.local.pool.set_level(first);
            self.started = start(first);
            self.level.set(self.began.elapsed(), first);
            tries += 1;
            if self.started == 0 && tries >= limits::THREAD_TRIES_MAX {
                let limits = limits_of_threads();
                tracing::error!("this process cannot start any thread; raise {limits}");
                self.local.mail.comm().abort(Exit::Unusable);
            }
            if self.started == 0 {
                std::thread::sleep(limits::GROWTH_WINDOW_MAX);
            }
        }
    }

    /// Runs one round of receiving, due work and sending. Returns true where anything was done.
    fn turn(&mut self) -> bool {
        let now = self.began.elapsed();
        let mut moved = false;
        while let Some((from, bytes)) = self.local.mail.try_recv(self.channel) {
            moved = true;
            let Ok(frame) = Frame::decode(&bytes) else {
                tracing::error!(from = from.0, "message from a different build");
                self.local.undecodable = true;
                return true;
            };
            self.receive(now, from, frame);
        }
        if let Some(throttle) = throttle::own() {
            self.rates.step(throttle, throttle::now(), &mut self.out);
        }
        self.reactor.step(now, &mut self.local, &mut self.out);
        moved |= !self.out.is_empty();
        for (to, frame) in std::mem::take(&mut self.out) {
            self.send(to, frame);
        }
        while self.local.mail.comm().unsent() < limits::UNSENT_MESSAGES_MAX
            && let Some((to, frame)) = self.local.pool.next_posted()
        {
            moved = true;
            self.send(to, frame);
        }
        self.report(now);
        moved
    }

    fn receive(&mut self, now: Duration, from: Rank, frame: Frame) {
        match frame {
            Frame::Demand(demand) => self.rates.hear(from, demand),
            Frame::Share(share) => {
                if let Some(throttle) = throttle::own() {
                    throttle.set(share, throttle::now());
                }
            }
            frame => self.reactor.on(now, from, frame, &mut self.local, &mut self.out),
        }
    }

    /// Sends a message; one to this rank itself is handled at once.
    fn send(&mut self, to: Rank, frame: Frame) {
        if to == self.local.rank {
            let now = self.began.elapsed();
            self.reactor.on(now, to, frame, &mut self.local, &mut self.out);
        } else {
            self.local.mail.send(self.channel, to, &frame.encode());
        }
    }

    fn report(&mut self, now: Duration) {
        let (rank, size) = (self.local.rank, self.local.mail.comm().size());
        if rank == Rank::ROOT {
            self.local.listener.tick();
        }
        if now >= self.reported_at + limits::report_interval(size) {
            self.reported_at = now;
            let pool = self.local.pool;
            self.local.job.deliver(&TaskContext { pool, own: None, rank });
            // Ended before begun: a sum that is equal was equal at one time.
            let ended = self.local.pool.finding_ended.load(Ordering::SeqCst);
            let begun = self.local.pool.finding_begun.load(Ordering::SeqCst);
            let snapshot = encode(&(self.local.job.snapshot(), Finding { begun, ended }));
            self.send(Rank::ROOT, Frame::Progress(snapshot));
        }
    }

    fn grow(&mut self, start: &mut impl FnMut(u32) -> u32) {
        let pool = self.local.pool;
        if pool.is_passive() {
            return;
        }
        let state = growth::PoolState {
            threads: self.level.threads,
            idle: pool.idle(),
            queued: pool.queued().max(0) as u32,
            large_transfers: LargeTransfer::count(),
        };
        let now = self.clock_at_begin + self.began.elapsed();
        match self.growth.advise(now, state, usage_of_threads) {
            Advice::Divide => pool.want(),
            Advice::Use(threads) if threads != self.level.threads => {
                self.use_threads(threads, start);
            }
            Advice::Keep | Advice::Use(_) => {}
        }
    }

    /// Lets so many threads work; starts those that do not exist yet.
    fn use_threads(&mut self, threads: u32, start: &mut impl FnMut(u32) -> u32) {
        self.local.pool.set_level(threads);
        self.started += start(threads.saturating_sub(self.started));
        if self.started < threads {
            self.growth.limit(self.started);
            self.local.pool.set_level(self.started);
        }
        let threads = threads.min(self.started);
        self.level.set(self.began.elapsed(), threads);
    }
}

/// Returns the usage of the I/O threads: the main thread computes little, but often waits.
fn usage_of_threads() -> Usage {
    let (all, main) = (usage_of_process(), usage_of_thread());
    Usage {
        cpu: all.cpu,
        waits: all.waits.saturating_sub(main.waits),
        preemptions: all.preemptions.saturating_sub(main.preemptions),
    }
}

/// State of this rank that the protocol works on.
struct Local<'m, 'c, J: Job> {
    job: &'m J,
    pool: &'m Pool<J::Task>,
    listener: &'m mut dyn Listener<J>,
    mail: &'m mut Mailbox<'c>,
    rank: Rank,
    undecodable: bool,
}

impl<J: Job> Local<'_, '_, J> {
    fn decode<T: DeserializeOwned>(&mut self, bytes: &[u8]) -> Option<T> {
        let value = postcard::from_bytes(bytes).ok();
        self.undecodable |= value.is_none();
        value
    }
}

impl<J: Job> LocalWork for Local<'_, '_, J> {
    fn has_idle_threads(&self) -> bool {
        self.pool.idle() > 0
    }

    fn queued(&self) -> u32 {
        self.pool.queued().max(0) as u32
    }

    fn is_passive(&self) -> bool {
        self.pool.is_passive()
    }

    fn posted(&self) -> u64 {
        self.pool.posted()
    }

    fn give(&mut self, tasks: u32) -> Parcel {
        let mut parcel = Parcel::default();
        self.pool.give(tasks, |task| {
            parcel.count += 1;
            parcel.bytes.extend(encode(&task));
            parcel.bytes.len() < limits::STEAL_BYTES_MAX
        });
        parcel
    }

    fn give_offer(&mut self) -> Parcel {
        let offered = self.pool.give_offer();
        offered.map_or_else(Parcel::default, |task| Parcel { count: 1, bytes: encode(&task) })
    }

    fn divide(&mut self) {
        self.pool.want();
    }

    fn take(&mut self, parcel: Parcel) {
        let mut rest = &parcel.bytes[..];
        for _ in 0..parcel.count {
            match postcard::take_from_bytes(rest) {
                Ok((task, behind)) => {
                    self.pool.push(task, None);
                    rest = behind;
                }
                Err(_) => self.undecodable = true,
            }
        }
    }

    fn message(&mut self, from: Rank, message: Vec<u8>) {
        let context = TaskContext { pool: self.pool, own: None, rank: self.rank };
        if let Some(message) = self.decode(&message) {
            self.job.message(from, message, &context);
        }
    }

    fn event(&mut self, from: Rank, event: Vec<u8>) {
        if let Some(event) = self.decode(&event) {
            self.listener.event(from, event);
        }
    }

    fn progress(&mut self, from: Rank, snapshot: Vec<u8>) {
        if let Some((snapshot, finding)) = self.decode(&snapshot) {
            self.listener.progress(from, snapshot);
            self.listener.finding(from, finding);
        }
    }

    fn stop(&mut self) {
        self.pool.stop();
        throttle::let_go();
    }

    fn wants_stop(&self) -> bool {
        interrupt::is_wanted() || self.pool.is_stop_wanted()
    }
}
