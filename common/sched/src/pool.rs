//! The I/O threads of one rank and the tasks they share.
//!
//! Each thread has a deque: it takes its own newest task (depth first keeps queues short), others
//! take its oldest (the largest subtrees). Threads without work sleep on a condition variable.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use crossbeam_deque::{Injector, Steal, Stealer, Worker};

use super::message::Message;
use comm::Rank;
use types::limits;

/// A message for the main thread to send.
type Posted = (Rank, Message);

/// What the threads of a rank share.
pub(super) struct Pool<T> {
    /// Tasks from outside the threads: seeds, and what other ranks gave.
    injector: Injector<T>,
    /// Tasks that only this rank can run.
    pinned: Injector<T>,
    deques: Vec<Stealer<T>>,
    /// Tasks that wait, without the pinned ones.
    queued: AtomicI64,
    /// Tasks that wait or run, and everything else that keeps this rank from being passive.
    pending: AtomicI64,
    sleepers: AtomicU32,
    sleep: Mutex<()>,
    wake: Condvar,
    /// Somebody found nothing to take: running tasks should be divided.
    wanted: AtomicBool,
    stop_wanted: AtomicBool,
    stopped: AtomicBool,
    ended: AtomicBool,
    panicked: AtomicBool,
    main: Thread,
    outbox: (Sender<Posted>, Receiver<Posted>),
    posted: AtomicU64,
    pub tasks_run: AtomicU64,
    pub idle_ns: AtomicU64,
}

impl<T> Pool<T> {
    /// A pool for up to `threads_max` threads; the caller is the main thread. Also returns the
    /// threads' own ends of the deques.
    pub fn new(threads_max: u32) -> (Self, Vec<Worker<T>>) {
        let workers: Vec<Worker<T>> = (0..threads_max).map(|_| Worker::new_lifo()).collect();
        let pool = Self {
            injector: Injector::new(),
            pinned: Injector::new(),
            deques: workers.iter().map(Worker::stealer).collect(),
            queued: AtomicI64::new(0),
            pending: AtomicI64::new(0),
            sleepers: AtomicU32::new(0),
            sleep: Mutex::new(()),
            wake: Condvar::new(),
            wanted: AtomicBool::new(false),
            stop_wanted: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
            main: std::thread::current(),
            outbox: crossbeam_channel::unbounded(),
            posted: AtomicU64::new(0),
            tasks_run: AtomicU64::new(0),
            idle_ns: AtomicU64::new(0),
        };
        (pool, workers)
    }

    /// Queues a task: on the thread's own deque, or for any thread.
    pub fn push(&self, task: T, own: Option<&Worker<T>>) {
        self.hold();
        match own {
            Some(worker) => worker.push(task),
            None => self.injector.push(task),
        }
        self.queued.fetch_add(1, Ordering::SeqCst);
        if self.wanted.load(Ordering::Relaxed) {
            self.wanted.store(false, Ordering::Relaxed);
        }
        self.wake_one();
    }

    /// Queues a task that no other rank may take.
    pub fn push_pinned(&self, task: T) {
        self.hold();
        self.pinned.push(task);
        self.wake_one();
    }

    /// Something keeps this rank from being passive until [`Pool::release`].
    pub fn hold(&self) {
        self.pending.fetch_add(1, Ordering::SeqCst);
    }

    /// Ends one [`Pool::hold`], or a task.
    pub fn release(&self) {
        if self.pending.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.main.unpark();
        }
    }

    fn wake_one(&self) {
        // Pairs with the sleeper, which counts itself before it looks for work.
        fence(Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            drop(self.sleep.lock().unwrap_or_else(PoisonError::into_inner));
            self.wake.notify_one();
        }
    }

    /// The next task for a thread: what only this rank can do, its own newest, then this rank's oldest.
    pub fn find(&self, own: &Worker<T>) -> Option<T> {
        // What is pinned ends something that holds files open.
        if !self.pinned.is_empty()
            && let Some(task) = until_settled(|| self.pinned.steal())
        {
            return Some(task);
        }
        if let Some(task) = own.pop() {
            self.queued.fetch_sub(1, Ordering::SeqCst);
            return Some(task);
        }
        self.take_oldest()
    }

    /// The oldest task that waits anywhere on this rank, pinned ones excepted.
    fn take_oldest(&self) -> Option<T> {
        if self.queued.load(Ordering::SeqCst) <= 0 {
            return None;
        }
        let task = until_settled(|| self.injector.steal())
            .or_else(|| self.deques.iter().find_map(|deque| until_settled(|| deque.steal())))?;
        self.queued.fetch_sub(1, Ordering::SeqCst);
        Some(task)
    }

    /// For another rank: up to `tasks` of what waits, until `accept` has had enough.
    pub fn give(&self, tasks: u32, mut accept: impl FnMut(T) -> bool) {
        self.wanted.store(false, Ordering::Relaxed);
        for _ in 0..tasks {
            let Some(task) = self.take_oldest() else { return };
            let enough = !accept(task);
            self.release();
            if enough {
                return;
            }
        }
    }

    /// A running task should be divided: others are idle and nothing waits for them.
    pub fn is_hungry(&self) -> bool {
        self.queued.load(Ordering::Relaxed) <= 0
            && (self.sleepers.load(Ordering::Relaxed) > 0 || self.wanted.load(Ordering::Relaxed))
    }

    /// Asks running tasks to divide.
    pub fn want(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    /// Sleeps until there may be work; false when the job has ended.
    pub fn sleep_until_work(&self) -> bool {
        let began = Instant::now();
        let mut guard = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        self.main.unpark();
        while !self.has_work() && !self.ended.load(Ordering::SeqCst) {
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        drop(guard);
        let idle_ns = began.elapsed().as_nanos() as u64;
        self.idle_ns.fetch_add(idle_ns, Ordering::Relaxed);
        !self.ended.load(Ordering::SeqCst)
    }

    fn has_work(&self) -> bool {
        self.queued.load(Ordering::SeqCst) > 0 || !self.pinned.is_empty()
    }

    /// Ends all threads: nothing is left to do.
    pub fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        drop(self.sleep.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake.notify_all();
    }

    /// Hands a message to the main thread; waits while too many wait already.
    pub fn post(&self, to: Rank, message: Message) {
        while self.outbox.0.len() >= limits::OUTBOX_LETTERS_MAX && !self.is_main_thread() {
            std::thread::sleep(Duration::from_micros(200));
        }
        self.posted.fetch_add(1, Ordering::SeqCst);
        // The receiver lives as long as the pool.
        let _ = self.outbox.0.send((to, message));
        self.main.unpark();
    }

    fn is_main_thread(&self) -> bool {
        std::thread::current().id() == self.main.id()
    }

    /// The next message that a thread has posted.
    pub fn next_posted(&self) -> Option<(Rank, Message)> {
        self.outbox.1.try_recv().ok()
    }

    /// How many messages were posted so far.
    pub fn posted(&self) -> u64 {
        self.posted.load(Ordering::SeqCst)
    }

    /// Nothing waits, runs or is held.
    pub fn is_passive(&self) -> bool {
        self.pending.load(Ordering::SeqCst) == 0
    }

    /// Tasks that wait.
    pub fn queued(&self) -> i64 {
        self.queued.load(Ordering::SeqCst)
    }

    /// Threads that sleep.
    pub fn sleepers(&self) -> u32 {
        self.sleepers.load(Ordering::SeqCst)
    }

    /// A thread asks for the whole job to stop. This rank gives its tasks up at once: what made one fail would make
    /// each of them fail before the others have heard of it.
    pub fn want_stop(&self) {
        self.stop_wanted.store(true, Ordering::SeqCst);
        self.stop();
        self.main.unpark();
    }

    /// See [`Pool::want_stop`].
    pub fn is_stop_wanted(&self) -> bool {
        self.stop_wanted.load(Ordering::SeqCst)
    }

    /// From now on tasks are given up.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    /// See [`Pool::stop`].
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// A thread has panicked: the main thread ends the job.
    pub fn tell_of_panic(&self) {
        self.panicked.store(true, Ordering::SeqCst);
        self.main.unpark();
    }

    /// See [`Pool::tell_of_panic`].
    pub fn has_panicked(&self) -> bool {
        self.panicked.load(Ordering::SeqCst)
    }
}

/// Repeats a steal that lost a race.
fn until_settled<T>(mut steal: impl FnMut() -> Steal<T>) -> Option<T> {
    loop {
        match steal() {
            Steal::Success(task) => return Some(task),
            Steal::Empty => return None,
            Steal::Retry => std::hint::spin_loop(),
        }
    }
}
